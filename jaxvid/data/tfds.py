"""Any prepared tensorflow-datasets video set, read without TensorFlow: ``tfds:NAME``.

``tfds.features.Video`` cannot even be constructed without TensorFlow, and a data set with one
cannot be opened. So ``features.json`` is read here, its video node is replaced by a sequence of
encoded images (the same bytes on disk), and everything but video, caption and labels is left out.
"""

import dataclasses
import functools
import json
import logging
import os
import pathlib
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Literal

import numpy as np

from jaxvid.config import DataConfig
from jaxvid.data import decode, sidecar, transforms
from jaxvid.data.records import Node, Records, read_info, read_json
from jaxvid.data.source import CLASS, MAX_VALUES, Example, class_of, find_labels, split_indices
from jaxvid.typing import UserError

logger = logging.getLogger("jaxvid")
_CLASS = "tensorflow_datasets.core.features."
_TEXT = {"pythonClassName": _CLASS + "text_feature.Text", "text": {}}
# The first of these that a set has is taken, else the first video there is.
VIDEO_NAMES = ("video", "image_main", "rgb_screen", "image_sequence", "frames")
CAPTION_NAMES = ("caption", "captions", "text", "description", "sentence", "title", "instruction")
CLASS_NAMES = ("class", "label")  # of several features with class names, the one for ``class``
GROUP = "group"

Path = tuple[str, ...]


def open_tfds(
    name: str, config: DataConfig, *, split: Literal["train", "test"], seed: int = 0
) -> "Prepared":
    """Opens ``NAME``, ``NAME/CONFIG``, ``NAME:VERSION``, ``NAME@DATA_DIR``, or a set's own path.

    The set's own test split is used where it has one; otherwise about a tenth is held out, whole
    groups where there is a text ``group``. Raises UserError where it is not prepared (saying how
    to) or holds no video.
    """
    return Prepared(locate(name), name, config, split=split, seed=seed)


class Prepared:
    """A prepared set as a source. Frame rates are not stored there: clips count as config.fps.

    A record is one example, however long: a window of it, anywhere, fixed by seed and record.
    """

    def __init__(
        self,
        directory: pathlib.Path,
        name: str,
        config: DataConfig,
        *,
        split: Literal["train", "test"],
        seed: int = 0,
    ) -> None:
        self.name = f"tfds:{name}"
        self.split, self.seed = split, seed
        self.frames, self.resolution, self.fps = config.frames, config.resolution, config.fps
        self.layout = read_layout(directory)
        self.title = sidecar.clean(re.split(r"[/:@]", name.rstrip("/"))[0] or directory.parent.name)
        splits = list(read_info(directory)["splits"])
        chosen, shared = _choose(splits, split)
        self.records = Records(directory, chosen, self.layout.features)
        self.labels, groups = read_labels(directory)
        names = groups.get(chosen) or [str(i) for i in range(len(self.records))]
        self.indices = split_indices(names, split) if shared else list(range(len(names)))
        if not self.indices:
            raise UserError(
                f"{self.name}: the split {chosen} of {directory} has no examples; prepare it anew"
            )
        self[0]  # a set that cannot be read says so now, not in the middle of a training

    def __repr__(self) -> str:
        return (
            f"Prepared({self.name!r}, {self.split!r}, seed={self.seed}, frames={self.frames}, "
            f"resolution={self.resolution}, fps={self.fps}, length={len(self)})"
        )

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, index: int) -> Example:
        record = self.indices[index]
        example = self.records[record]
        stored = _get(example, self.layout.video)
        stored = stored if isinstance(stored, np.ndarray) else list(stored)
        seed = self.seed + record
        start = transforms.window_start(len(stored), self.frames, seed=seed, count=1)
        cut = [_pixels(frame) for frame in stored[start : start + self.frames]]
        if not cut:
            raise UserError(f"{self.name}: example {record} has no frames; prepare the set anew")
        video = transforms.fit(np.stack(cut), self.resolution)
        known = self.layout.known(example, self.labels)
        return Example(
            transforms.hold(video, self.frames),
            self._caption(example),
            self.fps,
            labels=known,
            label=class_of(self.labels, known),
        )

    def _caption(self, example: Node) -> str:
        path = self.layout.caption
        text = None if path is None else self.layout.text(example, path)
        return self.title if text is None else text


@dataclasses.dataclass(frozen=True)
class Layout:
    """Where everything is, and the pruned ``features.json`` that reads only that."""

    video: Path
    caption: Path | None
    columns: Mapping[str, Path]  # what may be a label, and the group
    classes: Mapping[Path, tuple[str, ...]]  # features that are numbers, with their names
    features: str  # JSON

    def text(self, example: Node, path: Path) -> str | None:
        """A feature as text, the first of several; None for none, or a number without a name."""
        value = _get(example, path)
        if path in self.classes:
            names = self.classes[path]
            return names[value] if 0 <= value < len(names) else None
        if isinstance(value, list | np.ndarray):
            if not len(value):
                return None
            value = value[0]
        return value.decode("utf-8", errors="replace") if isinstance(value, bytes) else str(value)

    def known(self, example: Node, names: Iterable[str]) -> dict[str, str]:
        """The columns of an example that say something."""
        texts = {name: self.text(example, self.columns[name]) for name in names}
        return {name: tidy for name, text in texts.items() if (tidy := sidecar.tidy(text or ""))}


def locate(name: str, data_dir: str | None = None) -> pathlib.Path:
    """The directory with ``features.json`` and records. Raises UserError where there is none."""
    name, _, given = name.partition("@")
    directory = data_dir or given or os.environ.get("TFDS_DATA_DIR") or "~/tensorflow_datasets"
    root = pathlib.Path(os.path.expanduser(directory))
    wanted, _, version = name.partition(":")
    path = pathlib.Path(os.path.expanduser(wanted))
    base = path if path.is_absolute() or wanted.startswith((".", "~")) else root / wanted
    if os.path.isfile(base / "features.json"):
        return base
    found = sorted(
        {file.parent for pattern in ("*", "*/*") for file in base.glob(f"{pattern}/features.json")}
    )
    found = [place for place in found if not version or place.name == version]
    parents = {place.parent for place in found}
    if len(parents) > 1:
        choices = ", ".join(f"{wanted}/{parent.name}" for parent in sorted(parents))
        raise UserError(f"tfds:{name} has several configurations; name one of {choices}")
    if not found:
        raise UserError(
            f"tfds:{name} is not prepared in {root}; where TensorFlow is installed run"
            f" `tfds build {wanted} --file_format=array_record --data_dir={root}`,"
            f" or name the folder that holds it: tfds:{wanted}@FOLDER"
        )
    return max(found, key=lambda place: [int(n) for n in re.findall(r"\d+", place.name)])


def read_layout(directory: pathlib.Path) -> Layout:
    """Finds them among the features. Raises UserError where there is no video."""
    top = read_json(directory / "features.json")
    nodes = dict(_walk(top))
    videos = [path for path, node in nodes.items() if _is_video(node)]
    if not videos:
        known = ", ".join("/".join(path) for path in nodes if path)
        raise UserError(
            f"{directory}: has no video among its features ({known}); choose a video set"
        )
    video = min(videos, key=lambda path: _rank(path, VIDEO_NAMES))
    captions = [
        path for path, node in nodes.items() if "text" in node and path[-1] in CAPTION_NAMES
    ]
    classes = {
        path: tuple(
            sidecar.clean(name) for name in file.read_text("utf-8").rstrip("\n").split("\n")
        )
        for path, node in nodes.items()
        if "classLabel" in node and (file := directory / f"{'-'.join(path)}.labels.txt").is_file()
    }
    caption = min(captions or classes, key=lambda path: _rank(path, CAPTION_NAMES), default=None)
    columns = _columns(top, classes)
    keep = {video, *columns.values()} | ({caption} if caption else set())
    return Layout(video, caption, columns, classes, json.dumps(_prune(top, keep)))


def _columns(top: Node, classes: Mapping[Path, tuple[str, ...]]) -> dict[str, Path]:
    """The features that may be labels, and the group: texts and classes at the top level."""
    columns: dict[str, Path] = {
        name: (name,)
        for name, node in top.get("featuresDict", {}).get("features", {}).items()
        if ("text" in node and name not in CAPTION_NAMES) or (name,) in classes
        if sidecar.LABEL.fullmatch(name)
    }
    if CLASS not in columns and classes:
        path = min(classes, key=lambda path: _rank(path, CLASS_NAMES))
        if len(classes) == 1 or path[-1] in CLASS_NAMES:
            columns = {name: at for name, at in columns.items() if at != path} | {CLASS: path}
    return columns


def read_labels(directory: pathlib.Path) -> tuple[dict[str, tuple[str, ...]], dict[str, list[str]]]:
    """The labels of a set with their values, and the group of each example of each split.

    Classes are known by name; texts are read from all examples there are, once in a process.
    """
    return _read_labels(directory, (directory / "dataset_info.json").stat().st_mtime_ns)


@functools.lru_cache(maxsize=16)
def _read_labels(
    directory: pathlib.Path, _: int
) -> tuple[dict[str, tuple[str, ...]], dict[str, list[str]]]:
    layout = read_layout(directory)
    columns, classes = layout.columns, layout.classes
    texts = {n: at for n, at in columns.items() if at not in classes or n == GROUP}
    pruned = _prune(read_json(directory / "features.json"), set(texts.values()))
    groups: dict[str, list[str]] = {}

    def rows() -> Iterator[dict[str, str]]:
        for split in read_info(directory)["splits"]:
            try:
                records = Records(directory, split, json.dumps(pruned))
            except UserError:
                continue  # who reads another split does not need this one
            for i in range(len(records)):
                row = layout.known(records[i], texts)
                if GROUP in texts:
                    groups.setdefault(split, []).append(row.pop(GROUP, f"{split} {i}"))
                yield row

    values = {n: tuple(sorted({*classes[at]})) for n, at in columns.items() if n not in texts}
    labels = {n: names for n, names in values.items() if 1 < len(names) <= MAX_VALUES}
    name = f"tfds:{directory}"
    if texts:
        logger.info("%s: reading %s of all examples", name, ", ".join(texts))
        labels |= find_labels(rows(), name, columns=() if GROUP in texts else texts)
    return labels, groups


def _rank(path: Path, names: Sequence[str]) -> int:
    return names.index(path[-1]) if path[-1] in names else len(names)


def _walk(node: Node, path: Path = ()) -> Iterator[tuple[Path, Node]]:
    """All features below a node; sequences of dicts are walked into, other sequences are leaves."""
    inner = node.get("sequence", {}).get("feature", {})
    fields = node.get("featuresDict") or inner.get("featuresDict")
    if fields is None:
        # a sequence of texts is a text with several readings
        yield path, (inner if "text" in inner else node)
        return
    for name, child in fields["features"].items():
        in_sequence = "featuresDict" in inner
        for below, leaf in _walk(child, (*path, name)):
            yield (
                below,
                {"sequence": {"feature": leaf}} if in_sequence and "image" in leaf else leaf,
            )


def _is_video(node: Node) -> bool:
    shape = node.get("tensor", {}).get("shape", {}).get("dimensions", [])
    images = "image" in node.get("sequence", {}).get("feature", {})
    pixels = len(shape) == 4 and node["tensor"].get("dtype") == "uint8" and int(shape[3]) in (1, 3)
    return "video" in node or images or pixels


def _prune(node: Node, keep: set[Path], path: Path = ()) -> Node:
    """The node with only the features in ``keep``; encoded frames stay bytes until needed."""
    inner = node.get("sequence", {}).get("feature")
    if "video" in node:
        sequence = {"feature": _TEXT, "length": "-1"}
        return {"pythonClassName": _CLASS + "sequence_feature.Sequence", "sequence": sequence}
    if "image" in node:
        return _TEXT
    if inner is not None:
        return {**node, "sequence": {**node["sequence"], "feature": _prune(inner, keep, path)}}
    if "featuresDict" not in node:
        return node
    features = {
        name: _prune(child, keep, (*path, name))
        for name, child in node["featuresDict"]["features"].items()
        if any(kept[: len(path) + 1] == (*path, name) for kept in keep)
    }
    return {**node, "featuresDict": {"features": features}}


def _get(example: Node, path: Path) -> Any:
    value: Any = example
    for name in path:
        value = value[name]
    return value


def _pixels(frame: Any) -> np.ndarray:
    frame_HWC = decode.read_image(frame) if isinstance(frame, bytes) else np.asarray(frame)
    return np.repeat(frame_HWC, 3, axis=-1) if frame_HWC.shape[-1] == 1 else frame_HWC


def _choose(splits: list[str], split: str) -> tuple[str, bool]:
    """The stored split to read, and whether train and test must share it."""
    tests = [name for name in ("test", "validation", "val") if name in splits]
    others = [name for name in splits if name not in tests]
    if tests and others:
        return (tests[0] if split == "test" else "train" if "train" in others else others[0]), False
    return ("train" if "train" in splits else splits[0]), True
