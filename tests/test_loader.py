"""Laws of the loader: every batch is a function of (seed, step), however it is reached."""

import builtins
import itertools
import pickle
import sys
import threading
import time

import numpy as np
import pytest

from jaxvid.config import DataConfig
from jaxvid.data.loader import Batches, make_loader, order
from jaxvid.data.source import Example, open_source, split_indices
from jaxvid.typing import UserError


class Numbers:
    """Clips that are filled with their own index."""

    name = "numbers"
    labels = {}

    def __init__(self, length):
        self.length, self.reads, self.threads = length, 0, set()

    def __repr__(self):
        return f"Numbers({self.length})"

    def __len__(self):
        return self.length

    def __getitem__(self, index):
        assert 0 <= index < self.length
        self.reads += 1
        self.threads.add(threading.current_thread().name)
        return Example(np.full((2, 4, 4, 3), index % 256, np.uint8), f"clip {index}", 8.0)


def batches(length=23, batch_size=5, **options):
    options = {"seed": 0, "text_length": 8, **options}
    return Batches(Numbers(length), batch_size=batch_size, **options)


def loader(source=None, **options):
    options = {"batch_size": 4, "seed": 0, "threads": 2, "memory_gb": 0.0, **options}
    return make_loader(source or Numbers(22), text_length=8, **options)


def take(it, count):
    return [batch["index"].tolist() for batch in itertools.islice(it, count)]


def equal(a, b):
    return a.keys() == b.keys() and all(np.array_equal(a[key], b[key]) for key in a)


def test_an_epoch_sees_each_example_at_most_once_and_drops_the_rest():
    data = batches(23, 5)
    epoch = np.concatenate([data.indices(step) for step in range(4)])
    assert len(set(epoch)) == 20
    assert set(np.concatenate([data.indices(step) for step in range(4 * 30)])) == set(range(23))


def test_epochs_and_seeds_have_different_orders():
    orders = [order(seed, epoch, 50).tolist() for seed in range(3) for epoch in range(3)]
    assert len({tuple(o) for o in orders}) == 9
    assert all(sorted(o) == list(range(50)) for o in orders)


def test_the_order_never_changes():
    # Runs resume across versions of NumPy and of this package: these numbers are a promise.
    assert order(0, 0, 8).tolist() == [0, 2, 1, 5, 4, 3, 6, 7]
    assert order(7, 3, 8).tolist() == [2, 5, 7, 3, 0, 6, 4, 1]


def test_a_set_smaller_than_a_batch_is_repeated_evenly():
    data = batches(3, 8)
    drawn = np.concatenate([data.indices(step) for step in range(3)])
    assert len(drawn) == 24
    assert np.bincount(drawn).tolist() == [8, 8, 8]
    for start in range(0, 24, 3):  # each time in whole
        assert sorted(drawn[start : start + 3]) == [0, 1, 2]
    assert data[0]["video"].shape == (8, 2, 4, 4, 3)


@pytest.mark.parametrize("memory_gb", [0.0, 1.0])
def test_copies_of_an_example_have_addresses_of_their_own(memory_gb):
    """What is drawn for an example, noise above all, is drawn from its address."""
    data = batches(3, 8, memory_gb=memory_gb)
    for step in (0, 1, 5, 1):
        index = data[step]["index"]
        assert len(set(index.tolist())) == 8
        np.testing.assert_array_equal(index % 3, data.indices(step))
        np.testing.assert_array_equal(data[step]["video"][:, 0, 0, 0, 0], index % 3)
    parts = [batches(3, 8, process_index=p, process_count=2)[5]["index"] for p in (0, 1)]
    np.testing.assert_array_equal(np.concatenate(parts), data[5]["index"])


@pytest.mark.parametrize("count", [1, 2, 4])
def test_the_global_batch_does_not_depend_on_the_processes(count):
    whole = batches(23, 8)[5]
    parts = [batches(23, 8, process_index=p, process_count=count)[5] for p in range(count)]
    joined = {key: np.concatenate([part[key] for part in parts]) for key in whole}
    assert equal(joined, whole)


def test_a_batch_that_cannot_be_shared_names_one_that_can():
    with pytest.raises(UserError, match="batch_size 6 must be divisible by the 4 .* try 8"):
        batches(23, 6, process_count=4)


def test_an_empty_source_is_refused():
    with pytest.raises(UserError, match="numbers has no examples"):
        batches(0)


@pytest.mark.parametrize("memory_gb", [0.0, 1.0])
def test_memory_changes_speed_not_values(memory_gb):
    data, plain = batches(9, 4, memory_gb=memory_gb), batches(9, 4)
    for step in range(12):
        assert equal(data[step], plain[step])
    assert (data.source.reads <= 1 + 9) == (memory_gb > 0)


def test_sets_over_the_budget_are_not_held():
    size = sum(array.nbytes for array in batches(9, 1)[0].values())
    assert batches(9, 4, memory_gb=9 * size / 1e9)._memory is not None
    assert batches(9, 4, memory_gb=8.9 * size / 1e9)._memory is None


def test_a_batch_may_be_changed_without_harm():
    data = batches(9, 4, memory_gb=1.0)
    before = data[0]["video"].copy()
    data[0]["video"][:] = 0
    np.testing.assert_array_equal(data[0]["video"], before)


def test_threads_may_fill_the_memory_together():
    data, plain = batches(64, 16, memory_gb=1.0), batches(64, 16)
    found = [None] * 40
    work = [
        threading.Thread(target=lambda s=s: found.__setitem__(s, data[s]))
        for s in range(len(found))
    ]
    for thread in work:
        thread.start()
    for thread in work:
        thread.join()
    assert all(equal(batch, plain[step]) for step, batch in enumerate(found))


@pytest.mark.parametrize("threads", [1, 4])
def test_the_loader_gives_the_batches_in_order(threads):
    it = loader(threads=threads)
    assert take(it, 20) == [it.batches.indices(step).tolist() for step in range(20)]
    it.close()


@pytest.mark.parametrize("at", [1, 5, 11])
def test_resuming_is_exact(at):
    straight = take(loader(), 16)
    assert take(loader(start_step=at), 16 - at) == straight[at:]


def test_examples_are_read_off_the_training_thread_and_ahead():
    source, before = Numbers(64), set(threading.enumerate())
    it = loader(source)
    source.threads.clear()
    next(it)
    deadline = time.monotonic() + 5
    while source.reads < 1 + 3 * 4 and time.monotonic() < deadline:
        time.sleep(0.01)
    assert source.reads >= 1 + 3 * 4
    assert threading.current_thread().name not in source.threads
    it.close()
    for thread in set(threading.enumerate()) - before:
        thread.join(timeout=5)
        assert not thread.is_alive()


def test_a_failing_source_fails_the_next_batch():
    class Broken(Numbers):
        def __getitem__(self, index):
            if self.reads > 20:
                raise UserError("clip 7 is gone")
            return super().__getitem__(index)

    with pytest.raises(UserError, match="clip 7 is gone"):
        take(loader(Broken(30)), 30)


def test_nothing_is_printed(capfd):
    it = loader()
    take(it, 5)
    it.close()
    assert capfd.readouterr() == ("", "")


def test_without_grain_the_message_names_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "grain", None)
    with pytest.raises(UserError, match="pip install grain"):
        loader()
    assert batches()[0]["index"].shape == (5,)  # the batches themselves need no Grain


def test_unknown_sources_name_the_known_ones():
    for name in ("scene", "folder", "tfds:", "http://x"):
        with pytest.raises(UserError, match="use scenes, folder:PATH or tfds:NAME"):
            open_source(DataConfig(source=name), split="train")


def test_scenes_need_neither_tensorflow_datasets_nor_pyav(monkeypatch):
    real = builtins.__import__

    def without(name, *args, **options):
        if name.split(".")[0] in ("tensorflow_datasets", "array_record", "av", "imageio", "PIL"):
            raise ModuleNotFoundError(name)
        return real(name, *args, **options)

    monkeypatch.setattr(builtins, "__import__", without)
    config = DataConfig(resolution=8, frames=2)
    for split in ("train", "test", "heldout"):
        source = open_source(config, split=split)
        batch = Batches(source, batch_size=2, seed=0, text_length=32)[0]
        assert batch["video"].shape == (2, 2, 8, 8, 3) and batch["visible"].any()
        copy = pickle.loads(pickle.dumps(source))
        assert repr(copy) == repr(source)
        np.testing.assert_array_equal(copy[1].video, source[1].video)


def test_a_split_holds_out_a_tenth_and_keeps_pieces_together():
    names = [f"clip{i // 3}" for i in range(900)]
    train, test = split_indices(names, "train"), split_indices(names, "test")
    assert sorted(train + test) == list(range(900))
    assert 0.05 < len(test) / 900 < 0.16
    assert not {names[i] for i in train} & {names[i] for i in test}


@pytest.mark.parametrize("count", range(1, 30))
def test_no_split_is_empty(count):
    for prefix in "abc":
        names = [f"{prefix}{i}" for i in range(count)]
        train, test = split_indices(names, "train"), split_indices(names, "test")
        assert train and test
        assert (train == test) if count == 1 else sorted(train + test) == list(range(count))
