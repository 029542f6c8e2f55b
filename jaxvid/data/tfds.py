"""Any prepared tensorflow-datasets video set, read without TensorFlow: ``tfds:NAME``.

``tfds.features.Video`` cannot even be constructed without TensorFlow, and a data set with one
cannot be opened. So ``features.json`` is read here, its video node is replaced by a sequence of
encoded images (the same bytes on disk), everything but video and caption is left out, and the
records are read by array_record, or, for sets prepared in tensorflow-datasets' default format, by
``TfRecords``.
"""

import bisect
import dataclasses
import hashlib
import itertools
import json
import os
import pathlib
import re
import struct
import threading
from collections.abc import Iterator, Sequence
from typing import Any, Literal

import numpy as np

from jaxvid.config import DataConfig
from jaxvid.data import decode, sidecar, transforms
from jaxvid.data.source import Example, split_indices
from jaxvid.typing import UserError

_CLASS = "tensorflow_datasets.core.features."
_TEXT = {"pythonClassName": _CLASS + "text_feature.Text", "text": {}}
# The first of these that a set has is taken, else the first video there is.
VIDEO_NAMES = ("video", "image_main", "rgb_screen", "image_sequence", "frames")
CAPTION_NAMES = ("caption", "captions", "text", "description", "sentence", "title", "instruction")

Node = dict[str, Any]
Path = tuple[str, ...]


def open_tfds(
    name: str, config: DataConfig, *, split: Literal["train", "test"], seed: int = 0
) -> "Prepared":
    """Opens ``NAME``, ``NAME/CONFIG``, ``NAME:VERSION``, ``NAME@DATA_DIR``, or a set's own path.

    The set's own test split is used where it has one; otherwise about a tenth is held out. Raises
    UserError where it is not prepared (saying how to) or holds no video.
    """
    return Prepared(locate(name), name, config, split=split, seed=seed)


class Prepared:
    """A prepared set as a source. Frame rates are not stored there: clips count as config.fps."""

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
        splits = list(_info(directory)["splits"])
        chosen, shared = _choose(splits, split)
        self.records = Records(directory, chosen, self.layout)
        names = [str(i) for i in range(len(self.records))]
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
        start = transforms.window_start(len(stored), self.frames, seed=self.seed + record)
        cut = [_pixels(frame) for frame in stored[start : start + self.frames]]
        if not cut:
            raise UserError(f"{self.name}: example {record} has no frames; prepare the set anew")
        video = transforms.fit(np.stack(cut), self.resolution)
        return Example(transforms.hold(video, self.frames), self._caption(example), self.fps)

    def _caption(self, example: Node) -> str:
        if self.layout.caption is None:
            return self.title
        value = _get(example, self.layout.caption)
        if self.layout.labels:
            return sidecar.clean(self.layout.labels[int(value)])
        value = value[0] if isinstance(value, list | np.ndarray) and len(value) else value
        return value.decode("utf-8", errors="replace") if isinstance(value, bytes) else str(value)


@dataclasses.dataclass(frozen=True)
class Layout:
    """Where video and caption are, and the pruned ``features.json`` that reads only those."""

    video: Path
    caption: Path | None
    labels: tuple[str, ...]
    features: str  # JSON


def locate(name: str, data_dir: str | None = None) -> pathlib.Path:
    """The directory with ``features.json`` and records. Raises UserError where there is none."""
    name, _, given = name.partition("@")
    directory = data_dir or given or os.environ.get("TFDS_DATA_DIR") or "~/tensorflow_datasets"
    root = pathlib.Path(directory).expanduser()
    wanted, _, version = name.partition(":")
    path = pathlib.Path(wanted).expanduser()
    base = path if path.is_absolute() or wanted.startswith((".", "~")) else root / wanted
    if (base / "features.json").is_file():
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
    """Finds video and caption among the features. Raises UserError where there is no video."""
    top = _json(directory / "features.json")
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
    labels = [
        path
        for path, node in nodes.items()
        if "classLabel" in node and (directory / f"{'-'.join(path)}.labels.txt").is_file()
    ]
    caption = min(captions or labels, key=lambda path: _rank(path, CAPTION_NAMES), default=None)
    names: tuple[str, ...] = ()
    if caption in labels and caption is not None:
        text = (directory / f"{'-'.join(caption)}.labels.txt").read_text("utf-8")
        names = tuple(text.rstrip("\n").split("\n"))
    features = json.dumps(_prune(top, {video} | ({caption} if caption else set())))
    return Layout(video, caption, names, features)


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


class Records:
    """The examples of one stored split by position, as dicts of the features in ``layout``."""

    def __init__(self, directory: pathlib.Path, split: str, layout: Layout) -> None:
        self.directory, self.split, self.layout = directory, split, layout
        info = _info(directory)
        kind = info.get("fileFormat", "tfrecord")
        stem = f"{info['name']}-{split}.{kind}"
        files = sorted(
            str(file) for file in directory.iterdir() if file.name.startswith(stem + "-")
        )
        lengths = [int(n) for n in info["splits"][split].get("shardLengths", [])]
        if kind not in ("array_record", "tfrecord"):
            raise UserError(
                f"{directory}: holds {kind}; prepare it with --file_format=array_record"
            )
        if len(files) != len([n for n in lengths if n]) and len(files) != len(lengths):
            raise UserError(
                f"{directory}: {len(files)} of {len(lengths)} files {stem}-*; prepare it anew"
            )
        self.data = _array_records(files) if kind == "array_record" else TfRecords(files)
        if len(self.data) != sum(lengths):
            raise UserError(
                f"{directory}: {len(self.data)} of {sum(lengths)} examples; prepare it anew"
            )
        self._features = None

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_features": None}

    def __len__(self) -> int:
        return len(self.data)

    def __getitem__(self, index: int) -> Node:
        if self._features is None:
            self._features = _connector(self.layout.features)
        return self._features.deserialize_example_np(self.data[index])  # type: ignore[attr-defined]


class TfRecords:
    """Random access to TFRecord files: one pass over the length fields, then reads at offsets.

    The format: length (uint64), its checksum (4 bytes), the record, its checksum (4 bytes).
    """

    def __init__(self, files: Sequence[str]) -> None:
        self.files = list(files)
        self.offsets = [list(self._scan(file)) for file in self.files]
        self.ends = list(itertools.accumulate(map(len, self.offsets)))

    @staticmethod
    def _scan(path: str) -> Iterator[tuple[int, int]]:
        size = os.path.getsize(path)
        with open(path, "rb") as file:
            at = 0
            while at < size:
                file.seek(at)
                head = file.read(12)
                length = struct.unpack("<Q", head[:8])[0] if len(head) == 12 else size
                if at + length + 16 > size:
                    raise UserError(f"{path}: is truncated; prepare the data set anew")
                yield at + 12, length
                at += length + 16

    def __len__(self) -> int:
        return self.ends[-1] if self.ends else 0

    def __getitem__(self, index: int) -> bytes:
        file = bisect.bisect_right(self.ends, index)
        offset, length = self.offsets[file][index - (self.ends[file - 1] if file else 0)]
        with open(self.files[file], "rb") as stream:
            stream.seek(offset)
            return stream.read(length)


_connectors: dict[str, Any] = {}
_lock = threading.Lock()


def _connector(features: str) -> Any:
    """The parser of a pruned ``features.json``; building one takes longer than using it."""
    key = hashlib.sha256(features.encode()).hexdigest()
    with _lock:
        if key not in _connectors:
            _connectors[key] = library().features.FeatureConnector.from_json(json.loads(features))
        return _connectors[key]


def library() -> Any:
    """tensorflow_datasets, imported when it is needed."""
    try:
        import tensorflow_datasets
    except ModuleNotFoundError:
        raise UserError(
            "this data set needs tensorflow-datasets; pip install tensorflow-datasets"
        ) from None
    return tensorflow_datasets


def _array_records(files: list[str]) -> Any:
    try:
        from array_record.python.array_record_data_source import ArrayRecordDataSource
    except ModuleNotFoundError:
        raise UserError("this data set needs array-record; pip install array-record") from None
    return ArrayRecordDataSource(files) if files else []


def _info(directory: pathlib.Path) -> Node:
    info = _json(directory / "dataset_info.json")
    return {**info, "splits": {split["name"]: split for split in info.get("splits", [])}}


def _json(path: pathlib.Path) -> Node:
    try:
        return json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(
            f"{path}: cannot be read ({type(error).__name__}); prepare the data set anew"
        ) from None
