"""What a data source is, and how one is opened by name.

A source is a random-access sequence of ``Example``s, all with the same number of frames and pixels.
The loader (``data.loader``) gathers them into batches.
"""

import dataclasses
import hashlib
import logging
import pathlib
import types
from collections.abc import Collection, Iterable, Mapping
from typing import Literal, Protocol, runtime_checkable

import numpy as np

from jaxvid.config import DataConfig
from jaxvid.script import Script
from jaxvid.typing import UserError

logger = logging.getLogger("jaxvid")
Split = Literal["train", "test", "heldout"]
CLASS = "class"  # the label that networks are conditioned on
MAX_VALUES = 1000  # of a label


@dataclasses.dataclass(frozen=True, eq=False)
class Example:
    """A captioned clip: ``video`` (T,H,W,3) uint8 sRGB, and its script where it is known.

    ``labels``: what else is known, as {"action": "walk"}; cannot be changed. ``label``: 1 + place
    of its class among the source's ``labels["class"]``, 0 where it has none.
    """

    video: np.ndarray
    caption: str
    fps: float
    script: Script | None = None
    labels: Mapping[str, str] = dataclasses.field(default_factory=dict)
    label: int = 0

    def __post_init__(self) -> None:
        object.__setattr__(self, "labels", types.MappingProxyType(dict(self.labels)))


@runtime_checkable
class Source(Protocol):
    """A sequence of examples, which can be pickled; its ``repr`` is the same in every run.

    ``source[i]`` is the same example at every call, and may be called from several threads.
    ``labels``: the names of all labels with their sorted values over all splits.
    """

    @property
    def name(self) -> str: ...

    @property
    def labels(self) -> Mapping[str, tuple[str, ...]]: ...

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> Example: ...


def open_source(
    config: DataConfig, *, split: Split, seed: int = 0, cache_dir: str | pathlib.Path | None = None
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


def find_labels(
    rows: Iterable[Mapping[str, str]], name: str, *, columns: Collection[str] = ()
) -> dict[str, tuple[str, ...]]:
    """Which text columns of a set are labels, with their sorted values: texts that clips share.

    A column with one text for all, with another for each clip, or with over ``MAX_VALUES`` is none;
    that is logged. ``columns``: all there are, if known; reading ends where none can be a label.
    """
    values: dict[str, set[str]] = {column: set() for column in columns}
    counts = dict.fromkeys(columns, 0)
    for row in rows:
        for column, text in row.items():
            seen = values.setdefault(column, set())
            counts[column] = counts.get(column, 0) + 1
            if len(seen) <= MAX_VALUES:
                seen.add(text)
        if columns and all(len(values[column]) > MAX_VALUES for column in columns):
            break
    found = {
        column: tuple(sorted(seen))
        for column, seen in sorted(values.items())
        if 1 < len(seen) < counts[column] and len(seen) <= MAX_VALUES
    }
    for column in sorted(values.keys() - found.keys()):
        logger.info(
            "%s: %s is no label: %d texts in %d clips",
            *(name, column, len(values[column]), counts[column]),
        )
    return found


def class_of(labels: Mapping[str, tuple[str, ...]], known: Mapping[str, str]) -> int:
    """1 + place of an example's class among those of its source, 0 where it has none."""
    classes = labels.get(CLASS, ())
    return 1 + classes.index(known[CLASS]) if known.get(CLASS) in classes else 0


def in_test(name: str) -> bool:
    """Whether a clip is of the tenth held out, by a hash of its name: adding clips moves none."""
    return hashlib.sha256(name.encode("utf-8", errors="replace")).digest()[0] < 26


def split_indices(names: list[str], split: Literal["train", "test"]) -> list[int]:
    """Positions of the names in a split: about a tenth in ``test``, at least one in each.

    Equal names (pieces of a file, files of a group) stay together. A single one is in both splits.
    """
    groups = sorted(set(names), key=lambda name: (not in_test(name), name))
    held_out = {name for name in groups if in_test(name)} or {groups[0]}
    if len(held_out) == len(groups) > 1:
        held_out.remove(groups[-1])
    if len(groups) == 1:
        return list(range(len(names)))
    return [i for i, name in enumerate(names) if (name in held_out) == (split == "test")]
