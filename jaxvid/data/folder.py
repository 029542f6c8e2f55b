"""A folder of videos as a source: ``folder:PATH``.

The clips are decoded once, scaled to the configured resolution, and written as a set of
tensorflow-datasets (``records.write_set``) into a cache; reading them back is random access. The
cache is keyed by everything that its content depends on: change a file, a caption, the resolution
or the frame rate and the set is prepared anew.
"""

import concurrent.futures
import contextlib
import hashlib
import json
import logging
import os
import pathlib
import re
import shutil
import tempfile
import time
from collections.abc import Iterator
from typing import Any, Literal, NamedTuple

import numpy as np

from jaxvid.config import DataConfig
from jaxvid.data import decode, records, sidecar, transforms
from jaxvid.data.source import Example, class_of, find_labels, split_indices
from jaxvid.typing import UserError, exit_code

logger = logging.getLogger("jaxvid")
FORMAT = 5  # of the cache; raise it when what is stored changes
PIECE = 256  # frames of a record, to twice as many: an hour becomes many, cheap to read one by one
BUILT = pathlib.PurePosixPath("video_folder", records.VERSION)  # where the records are put


def open_folder(
    path: str,
    config: DataConfig,
    *,
    split: Literal["train", "test"],
    seed: int = 0,
    cache_dir: str | pathlib.Path | None = None,
) -> "Folder":
    """Opens a folder of clips, preparing it first where that has not been done.

    About a tenth of the files, chosen by a hash of their paths, is the test split; where the
    sidecar names groups, about a tenth of these, by a hash of their names. Raises UserError for a
    folder that is missing or empty or has no clip that can be decoded, and for a bad sidecar.
    """
    root = pathlib.Path(os.path.expanduser(path))
    if not os.path.isdir(root):
        raise UserError(f"folder:{path}: no such folder; give the folder that holds the videos")
    prepared = prepare(root, config, cache_dir=cache_dir)
    return Folder(root, prepared, config, split=split, seed=seed)


class Folder:
    """A prepared folder. Long clips give several examples, short ones hold their last frame."""

    def __init__(
        self,
        root: pathlib.Path,
        prepared: pathlib.Path,
        config: DataConfig,
        *,
        split: Literal["train", "test"],
        seed: int = 0,
    ) -> None:
        self.name = f"folder:{root}"
        self.key, self.split, self.seed = prepared.name, split, seed
        self.frames, self.resolution = config.frames, config.resolution
        directory = prepared / BUILT
        features = (directory / "features.json").read_text("utf-8")
        self.records = records.Records(directory, "clips", features)
        self.clips: list[dict[str, Any]] = _index(prepared)["clips"]
        whole = {clip["name"]: clip["labels"] for clip in self.clips}  # a film may be in pieces
        self.labels = find_labels(whole.values(), self.name)
        chosen = split_indices([clip["group"] for clip in self.clips], split)
        self.examples = [
            (record, window)
            for record in chosen
            for window in range(transforms.windows(self.clips[record]["frames"], self.frames))
        ]
        if short := sum(self.clips[record]["frames"] < self.frames for record in chosen):
            logger.warning(
                "%d of %d clips in the %s split of %s are shorter than %d frames at %g a second;"
                " their last frame is held",
                *(short, len(chosen), split, root, self.frames, config.fps),
            )

    def __repr__(self) -> str:
        return (
            f"Folder({self.key!r}, {self.split!r}, seed={self.seed}, frames={self.frames}, "
            f"resolution={self.resolution}, length={len(self)})"
        )

    def __len__(self) -> int:
        return len(self.examples)

    def __getitem__(self, index: int) -> Example:
        record, window = self.examples[index]
        clip, stored = self.clips[record], self.records[record]
        start = transforms.window_start(
            clip["frames"], self.frames, window, seed=self.seed + record
        )
        video = transforms.hold(stored["video"][start : start + self.frames], self.frames)
        return Example(
            np.array(video),
            stored["caption"].decode("utf-8"),
            clip["fps"],
            labels={name: text for name, text in clip["labels"].items() if name in self.labels},
            label=class_of(self.labels, clip["labels"]),
        )


def find_clips(root: pathlib.Path) -> list[str]:
    """Video files and folders of numbered images below ``root``: sorted paths with slashes.

    Images beside videos are taken for thumbnails, not for a clip.
    """
    found = []
    seen: set[str] = set()  # links may lead back to where they are

    def unreadable(error: OSError) -> None:
        logger.warning("left out %s: %s", error.filename, error.strerror)

    for folder, subfolders, files in os.walk(root, onerror=unreadable, followlinks=True):
        here = pathlib.Path(folder)
        real = os.path.realpath(here)
        if real in seen:
            subfolders.clear()
            continue
        seen.add(real)
        subfolders[:] = sorted(name for name in subfolders if not name.startswith("."))
        videos = [
            name
            for name in files
            if name.lower().endswith(decode.VIDEO_SUFFIXES) and not name.startswith(".")
        ]
        if all(name.lower().endswith(".webp") for name in videos) and decode.numbered_images(here):
            found.append(here.relative_to(root).as_posix())
        else:
            found += [(here / name).relative_to(root).as_posix() for name in videos]
    return sorted(found)


def cache_root() -> pathlib.Path:
    """``datasets`` in $JAXVID_CACHE, else in $XDG_CACHE_HOME/jaxvid, else in ~/.cache/jaxvid."""
    if own := os.environ.get("JAXVID_CACHE"):
        return pathlib.Path(own) / "datasets"
    shared = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    return pathlib.Path(shared) / "jaxvid" / "datasets"


def prepare(
    root: pathlib.Path, config: DataConfig, *, cache_dir: str | pathlib.Path | None = None
) -> pathlib.Path:
    """Decodes the folder into the cache unless it is there; returns where.

    Written beside its place and renamed when whole: a crash leaves nothing that is taken for a data
    set, and of several processes one prepares and the others wait. Every clip that cannot be
    decoded is logged by name and left out; one that the machine cannot read now (UserError) leaves
    no data set, or it would be missing for ever.
    """
    clips = find_clips(root)
    if not clips:
        kinds = ", ".join(decode.VIDEO_SUFFIXES)
        raise UserError(
            f"folder:{root}: holds no clips; put {kinds} files or folders of images into it"
        )
    cache = pathlib.Path(cache_dir) if cache_dir is not None else cache_root()
    key = _key(root, clips, config)
    label = re.sub(r"[^a-z0-9]+", "-", root.resolve().name.lower()).strip("-")[:40] or "clips"
    target = cache / f"{label}-{key}"
    if _is_whole(target):
        _report(root, _index(target))
        return target
    try:
        cache.mkdir(parents=True, exist_ok=True)
        with _one_at_a_time(cache / f".{key}.lock"):
            if not _is_whole(target):
                for stale in (*cache.glob(f".{key}.tmp*"), target):  # of a run that was killed
                    shutil.rmtree(stale, ignore_errors=True)
                with tempfile.TemporaryDirectory(prefix=f".{key}.tmp", dir=cache) as temporary:
                    whole = pathlib.Path(temporary) / "whole"
                    _build(root, clips, config, whole)
                    os.replace(whole, target)
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise UserError(
            f"{cache}: cannot be written ({reason}); set JAXVID_CACHE to a folder that can",
            code=exit_code(error),
        ) from error
    return target


def _key(root: pathlib.Path, clips: list[str], config: DataConfig) -> str:
    """A hash of what the prepared set depends on."""
    files = {root / name for name in sidecar.NAMES}
    for clip in clips:
        path = root / clip
        files |= set(decode.numbered_images(path)) if path.is_dir() else {path}
        files.add(sidecar.beside(root, clip))
    stats = []
    for file in sorted(files):
        with contextlib.suppress(OSError):
            stat = file.stat()
            stats.append((file.relative_to(root).as_posix(), stat.st_size, stat.st_mtime_ns))
    content = [FORMAT, str(root.resolve()), stats, config.resolution, config.fps, _piece(config)]
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()[:16]


def _index(prepared: pathlib.Path) -> dict[str, Any]:
    return json.loads((prepared / "clips.json").read_text("utf-8"))


def _is_whole(target: pathlib.Path) -> bool:
    return (target / "clips.json").is_file() and (target / BUILT / "features.json").is_file()


@contextlib.contextmanager
def _one_at_a_time(path: pathlib.Path) -> Iterator[None]:
    """Holds a lock that the system frees when the process ends, however it ends."""
    try:
        import fcntl
    except ModuleNotFoundError:  # not on Windows
        yield
        return
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


class _Clip(NamedTuple):
    name: str
    pieces: list[np.ndarray]
    fps: float
    problem: str  # why it cannot be decoded; "" where it can


def _decode(root: pathlib.Path, name: str, config: DataConfig) -> _Clip:
    try:
        video, fps = decode.read_video(root / name, resolution=config.resolution, fps=config.fps)
    except decode.BadVideo as error:
        return _Clip(name, [], 0.0, error.reason)
    return _Clip(name, np.array_split(video, max(1, len(video) // _piece(config))), fps, "")


def _piece(config: DataConfig) -> int:
    """Frames of a record at least, where a film has so many: some windows of it are whole clips."""
    return max(PIECE, 2 * config.frames)


def _decode_all(root: pathlib.Path, names: list[str], config: DataConfig) -> Iterator[_Clip]:
    """Decodes with ``config.threads`` threads, in order, at most a few clips ahead."""
    with concurrent.futures.ThreadPoolExecutor(config.threads) as pool:
        waiting: list[concurrent.futures.Future[_Clip]] = []
        for name in names:
            waiting.append(pool.submit(_decode, root, name, config))
            if len(waiting) > 2 * config.threads:
                yield waiting.pop(0).result()
        for future in waiting:
            yield future.result()


def _build(root: pathlib.Path, names: list[str], config: DataConfig, target: pathlib.Path) -> None:
    """Writes the records and ``clips.json``, their index in the same order, into ``target``."""
    known = sidecar.read(root, names)
    index: dict[str, Any] = {"clips": [], "skipped": []}
    logger.info("preparing %d clips of %s, once, in %s", len(names), root, target.parent.parent)

    def examples() -> Iterator[dict[str, Any]]:
        last = time.monotonic()
        for done, clip in enumerate(_decode_all(root, names, config)):
            if clip.problem:
                index["skipped"].append({"name": clip.name, "reason": clip.problem})
                logger.warning("skipped %s: %s", root / clip.name, clip.problem)
            caption, group, labels = known[clip.name]
            for piece in clip.pieces:
                about = {"frames": len(piece), "fps": clip.fps, "group": group, "labels": labels}
                index["clips"].append({"name": clip.name, **about})
                yield {"video": piece, "caption": caption, "fps": clip.fps}
            if time.monotonic() - last > 5:
                last = time.monotonic()
                logger.info("prepared %d of %d clips", done + 1, len(names))
        if not index["clips"]:
            reason = f"{names[0]}: {index['skipped'][0]['reason']}"
            raise UserError(
                f"folder:{root}: none of {len(names)} clips can be decoded; the first, {reason}"
            )

    def features(f: Any) -> dict[str, Any]:
        shape = (None, config.resolution, config.resolution, 3)
        # by default the encoding would be a number a pixel, 8 bytes each
        video = f.Tensor(shape=shape, dtype=np.uint8, encoding=f.Encoding.BYTES)
        return {"video": video, "caption": f.Text(), "fps": f.Scalar(np.float32)}

    records.write_set(target, BUILT.parts[0], features, {"clips": examples()})
    _report(root, index)
    (target / "clips.json").write_text(json.dumps(index), "utf-8")


def _report(root: pathlib.Path, index: dict[str, Any]) -> None:
    if skipped := index["skipped"]:
        total = len(skipped) + len({clip["name"] for clip in index["clips"]})
        names = ", ".join(entry["name"] for entry in skipped[:3])
        more = "..." if len(skipped) > 3 else ""
        logger.warning("%d of %d clips of %s skipped: %s%s", len(skipped), total, root, names, more)
