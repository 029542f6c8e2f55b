"""The stored records of a tensorflow-datasets set: files, random access, parsing, writing.

Read by array_record, or, in tensorflow-datasets' default format, by ``TfRecords``; written as
ArrayRecord, which needs no TensorFlow.
"""

import bisect
import hashlib
import itertools
import json
import os
import pathlib
import struct
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from jaxvid.typing import UserError

Node = dict[str, Any]
VERSION = "1.0.0"  # of sets that are written here
SHARD = 4096  # examples of a file
BUFFER = 2**24  # bytes of examples that are written together


class Records:
    """The examples of one stored split by position, as dicts of ``features`` (JSON)."""

    def __init__(self, directory: pathlib.Path, split: str, features: str) -> None:
        self.directory, self.split, self.features = directory, split, features
        info = read_info(directory)
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
        self._parser = None

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_parser": None}

    def __len__(self) -> int:
        return len(self.data)

    def __getitem__(self, index: int) -> Node:
        if self._parser is None:
            self._parser = _connector(self.features)
        return self._parser.deserialize_example_np(self.data[index])  # type: ignore[attr-defined]


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


def write_set(
    root: pathlib.Path,
    name: str,
    features: Callable[[Any], dict[str, Any]],
    splits: Mapping[str, Iterable[Node]],
) -> pathlib.Path:
    """Writes a set, readable by ``tfds.builder_from_directory``; returns where it is.

    In order and as examples come: tensorflow-datasets' builders keep up to 1 GB of a set in memory
    and need TensorFlow beyond. ``features`` gets ``tensorflow_datasets.features``.
    """
    ds = library()
    directory = root / name / VERSION
    directory.mkdir(parents=True, exist_ok=True)
    identity = ds.core.dataset_info.DatasetIdentity(
        name=name, version=ds.core.Version(VERSION), data_dir=str(directory), module_name=__name__
    )
    described = ds.features.FeaturesDict(features(ds.features))
    info = ds.core.DatasetInfo(builder=identity, features=described)
    writer = ds.core.SequentialWriter(info, SHARD, file_format="array_record")
    writer.initialize_splits(list(splits))
    for split, examples in splits.items():
        waiting: list[Node] = []
        size = 0
        for example in examples:
            waiting.append(example)
            size += sum(getattr(value, "nbytes", 0) for value in example.values())
            if size > BUFFER:
                writer.add_examples({split: waiting})  # each call writes the set's description anew
                waiting, size = [], 0
        writer.add_examples({split: waiting})
    writer.close_all()
    return directory


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


def read_info(directory: pathlib.Path) -> Node:
    """``dataset_info.json`` with its splits by name."""
    info = read_json(directory / "dataset_info.json")
    return {**info, "splits": {split["name"]: split for split in info.get("splits", [])}}


def read_json(path: pathlib.Path) -> Node:
    """A file of a prepared set. Raises UserError where it cannot be read."""
    try:
        return json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(
            f"{path}: cannot be read ({type(error).__name__}); prepare the data set anew"
        ) from None
