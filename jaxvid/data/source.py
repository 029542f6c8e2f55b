"""What a data source is, and how one is opened by name.

A source is a random-access sequence of ``Example``s, all with the same number of frames and pixels.
The loader (``data.loader``) gathers them into batches.
"""

import dataclasses
import hashlib
import pathlib
from typing import Literal, Protocol, runtime_checkable

import numpy as np

from jaxvid.config import DataConfig
from jaxvid.script import Script
from jaxvid.typing import UserError

Split = Literal["train", "test", "heldout"]


@dataclasses.dataclass(frozen=True, eq=False)
class Example:
    """A captioned clip: ``video`` (T,H,W,3) uint8 sRGB, and its script where it is known."""

    video: np.ndarray
    caption: str
    fps: float
    script: Script | None = None


@runtime_checkable
class Source(Protocol):
    """A sequence of examples, which can be pickled; its ``repr`` is the same in every run.

    ``source[i]`` is the same example at every call, and may be called from several threads.
    """

    @property
    def name(self) -> str: ...

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> Example: ...


def open_source(
    config: DataConfig,
    *,
    split: Split,
    seed: int = 0,
    cache_dir: str | pathlib.Path | None = None,
) -> Source:
    """Opens ``config.source``: ``scenes``, ``folder:PATH`` or ``tfds:NAME``.

    ``split``: ``heldout`` shows combinations that training never sees (scenes); elsewhere ``test``.
    ``seed``: of the scenes, and of where long clips are cut.
    ``cache_dir``: where folders are prepared once; see ``data.folder``.
    Raises UserError for an unknown scheme and for sets that are missing or empty.
    """
    scheme, _, rest = config.source.partition(":")
    if config.source == "scenes":
        from jaxvid.data.scenes import Scenes

        return Scenes(
            split=split,
            seed=seed,
            resolution=config.resolution,
            frames=config.frames,
            fps=config.fps,
        )
    seen: Literal["train", "test"] = "train" if split == "train" else "test"
    if scheme == "folder" and rest:
        from jaxvid.data.folder import open_folder

        return open_folder(rest, config, split=seen, seed=seed, cache_dir=cache_dir)
    if scheme == "tfds" and rest:
        from jaxvid.data.tfds import open_tfds

        return open_tfds(rest, config, split=seen, seed=seed)
    raise UserError(
        f"data source {config.source!r} is not known; use scenes, folder:PATH or tfds:NAME"
    )


def in_test(name: str) -> bool:
    """Whether a clip is of the tenth held out, by a hash of its name: adding clips moves none."""
    return hashlib.sha256(name.encode("utf-8", errors="replace")).digest()[0] < 26


def split_indices(names: list[str], split: Literal["train", "test"]) -> list[int]:
    """Positions of the names in a split: about a tenth in ``test``, at least one in each.

    Equal names (pieces of one file) stay together. A single name is in both splits.
    """
    groups = sorted(set(names), key=lambda name: (not in_test(name), name))
    held_out = {name for name in groups if in_test(name)} or {groups[0]}
    if len(held_out) == len(groups) > 1:
        held_out.remove(groups[-1])
    if len(groups) == 1:
        return list(range(len(names)))
    return [i for i, name in enumerate(names) if (name in held_out) == (split == "test")]
