"""Batches for training: deterministic in (seed, step), resumable at any step, read ahead.

Which examples a step sees is computed, not remembered, so there is no stream to save: the whole
state is the step. Grain reads ahead over ``Batches``, a random-access sequence of whole batches,
which moves several times more clips a second than a pipeline of single examples.
"""

import functools
from collections.abc import Callable, Iterator
from typing import Any, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Int

from jaxvid.data.batch import collate as default_collate
from jaxvid.data.source import Source
from jaxvid.typing import HostBatch, UserError

ENDLESS = 2**40  # steps


@runtime_checkable
class Collate(Protocol):
    """From examples to a batch; a pure function of each example, since its results may be kept."""

    def __call__(self, examples: Any, indices: Any, *, text_length: int) -> HostBatch: ...


class Batches:
    """``batches[step]`` is the part of the step's batch that belongs to one process.

    Every epoch is a new order of the examples, cut into whole batches; the few left at its end are
    dropped, others in the next. A set smaller than a batch is repeated, each time in a new order.
    The batch over all processes does not depend on their number.

    ``memory_gb``: sets that fit are kept as arrays, each example from the first time it is read.
    Needs no Grain, and may be called from several threads.
    """

    def __init__(
        self,
        source: Source,
        *,
        batch_size: int,
        seed: int,
        text_length: int,
        memory_gb: float = 0.0,
        process_index: int = 0,
        process_count: int = 1,
        collate: Collate = default_collate,
    ) -> None:
        if len(source) < 1:
            raise UserError(f"{source.name} has no examples; choose another split or add clips")
        if batch_size % process_count:
            raise UserError(
                f"batch_size {batch_size} must be divisible by the {process_count} processes;"
                f" try {-(-batch_size // process_count) * process_count}"
            )
        self.source, self.batch_size, self.seed = source, batch_size, seed
        share = batch_size // process_count
        # neighbouring rows, as jax.make_array_from_process_local_data puts them together
        self._slice = slice(process_index * share, (process_index + 1) * share)
        self._collate = functools.partial(collate, text_length=text_length)
        self._memory: dict[str, np.ndarray] | None = None
        self._held = np.zeros(len(source), bool)
        first = self._read(np.zeros(1, np.int64))
        if sum(array.nbytes for array in first.values()) * len(source) <= memory_gb * 1e9:
            self._memory = {
                key: np.empty((len(source), *array.shape[1:]), array.dtype)
                for key, array in first.items()
            }

    def __len__(self) -> int:
        return ENDLESS

    def __repr__(self) -> str:
        return (
            f"Batches({self.source!r}, batch_size={self.batch_size}, seed={self.seed}, "
            f"{self._slice})"
        )

    def indices(self, step: int) -> Int[np.ndarray, "B"]:
        """The examples of a step over all processes, as positions in the source."""
        size, B = len(self.source), self.batch_size
        if B <= size:
            epoch, batch = divmod(step, size // B)
            return order(self.seed, epoch, size)[batch * B : (batch + 1) * B]
        first, last = step * B, (step + 1) * B - 1
        epochs = range(first // size, last // size + 1)
        stream = np.concatenate([order(self.seed, epoch, size) for epoch in epochs])
        return stream[first % size :][:B]

    def __getitem__(self, step: int) -> HostBatch:
        mine = self.indices(step)[self._slice]
        batch = self._held_or_read(mine)
        if self.batch_size > len(self.source) and "index" in batch:
            # Copies of an example in one batch are drawn for alike unless their addresses differ.
            first, size = step * self.batch_size, len(self.source)
            epochs = (first + np.arange(self.batch_size)) // size - first // size
            batch["index"] = batch["index"] + (size * epochs[self._slice]).astype(np.int32)
        return batch

    def _held_or_read(self, mine: Int[np.ndarray, "B"]) -> HostBatch:
        if self._memory is None:
            return self._read(mine)
        # Two threads may read the same example; both write the same values, so no lock is needed.
        missing = np.unique(mine[~self._held[mine]])
        if len(missing):
            for key, array in self._read(missing).items():
                self._memory[key][missing] = array
            self._held[missing] = True
        return {key: array[mine] for key, array in self._memory.items()}

    def _read(self, indices: Int[np.ndarray, "B"]) -> HostBatch:
        examples = [self.source[int(index)] for index in indices]
        return self._collate(examples, indices)


@functools.lru_cache(maxsize=4)
def order(seed: int, epoch: int, size: int) -> Int[np.ndarray, "N"]:
    """The order of an epoch: a permutation by sorting random keys.

    Built on the raw bits of Philox, which NumPy promises to keep, unlike ``Generator.permutation``.
    """
    bits = np.random.Philox(key=np.array([seed % 2**64, epoch], np.uint64)).random_raw(size)
    permutation = np.argsort(bits, kind="stable")
    permutation.flags.writeable = False  # shared by all who ask
    return permutation


class Loader(Iterator[HostBatch]):
    """An endless iterator of batches, read ahead by threads. Closing it ends them."""

    def __init__(self, batches: Batches, *, threads: int, start_step: int = 0) -> None:
        try:
            import grain
        except ModuleNotFoundError:
            raise UserError("loading data needs grain; pip install grain") from None
        self.batches = batches
        options = grain.ReadOptions(num_threads=threads, prefetch_buffer_size=2 * threads)
        # Grain asks for more than Batches promises (a typing.Protocol of its own), not at run time.
        source: Any = batches
        self._iterator: Any = iter(grain.MapDataset.source(source).to_iter_dataset(options))
        if start_step:
            self._iterator.set_state({"next_index": start_step})

    def __next__(self) -> HostBatch:
        return next(self._iterator)

    def close(self) -> None:
        """Ends the reading threads."""
        self._iterator.close()


def make_loader(
    source: Source,
    *,
    batch_size: int,
    seed: int,
    text_length: int,
    threads: int,
    memory_gb: float,
    process_index: int = 0,
    process_count: int = 1,
    start_step: int = 0,
    collate: Callable[..., HostBatch] = default_collate,
) -> Loader:
    """The batches of a source, from ``start_step`` on, for ever; see ``Batches`` and ``Loader``.

    ``batch_size`` counts over all processes. ``collate`` must be a pure function of each example.
    """
    batches = Batches(
        source,
        batch_size=batch_size,
        seed=seed,
        text_length=text_length,
        memory_gb=memory_gb,
        process_index=process_index,
        process_count=process_count,
        collate=collate,
    )
    return Loader(batches, threads=threads, start_step=start_step)
