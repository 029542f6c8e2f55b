"""Captions of a folder of clips.

In this order: ``captions.jsonl`` or ``captions.csv`` in the folder (columns ``file`` and
``caption``; ``file_name`` and ``text`` are read too), ``clip.txt`` beside ``clip.mp4``, the class
folder, the file name. A sidecar only names clips that were found; it opens nothing, and paths that
leave the folder are refused.
"""

import csv
import json
import logging
import pathlib
import re
from collections.abc import Iterator
from typing import Any

from jaxvid.data import tokenizer
from jaxvid.typing import UserError

logger = logging.getLogger("jaxvid")
NAMES = ("captions.jsonl", "captions.csv")
MAX_BYTES = 2**28  # of a sidecar
MAX_CHARACTERS = 4096  # of a caption that are kept


def captions(root: pathlib.Path, clips: list[str]) -> dict[str, str]:
    """The caption of each clip, named by its path in ``root`` with forward slashes.

    Bytes that are not UTF-8 become U+FFFD; how many captions that touched is logged, as is how many
    sidecar lines name no clip. Raises UserError, with the line, for a sidecar that cannot be read.
    """
    listed = _sidecar(root, set(clips))
    found = {clip: listed[clip] if clip in listed else _caption(root, clip) for clip in clips}
    if damaged := sum("\ufffd" in text for text in found.values()):
        logger.warning("%d captions of %s are not UTF-8; save them as UTF-8", damaged, root)
    return {
        clip: tokenizer.normalise(text).strip()[:MAX_CHARACTERS] for clip, text in found.items()
    }


def clean(name: str) -> str:
    """A name as words: ``ApplyEyeMakeup`` is ``Apply Eye Makeup``, ``a_red-dot`` ``a red dot``."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])", " ", re.sub(r"[_\-\s]+", " ", name)).strip()


def beside(root: pathlib.Path, clip: str) -> pathlib.Path:
    """The text file of a clip: ``clip.txt`` for ``clip.mp4`` or for the folder ``clip``."""
    if clip == ".":  # the folder itself is the clip
        return root / "caption.txt"
    path = root / clip
    return path.with_name(f"{path.name}.txt") if path.is_dir() else path.with_suffix(".txt")


def _caption(root: pathlib.Path, clip: str) -> str:
    path, text = root / clip, beside(root, clip)
    if text.is_file():
        with text.open("rb") as file:
            return file.read(4 * MAX_CHARACTERS).decode("utf-8-sig", errors="replace").strip()
    folder = pathlib.PurePosixPath(clip).parent.name
    return clean(folder or (root.resolve().name if clip == "." else path.stem))


def _sidecar(root: pathlib.Path, clips: set[str]) -> dict[str, str]:
    path = next((root / name for name in NAMES if (root / name).is_file()), None)
    if path is None:
        return {}
    if path.stat().st_size > MAX_BYTES:
        raise UserError(f"{path}: is over {MAX_BYTES >> 20} MiB; a caption a line is enough")
    text = path.read_bytes().decode("utf-8-sig", errors="replace")
    rows = _csv(path, text) if path.suffix == ".csv" else _jsonl(path, text)
    listed: dict[str, str] = {}
    strangers = 0
    for line, row in rows:
        file, caption = _pick(row, "file", "file_name"), _pick(row, "caption", "text")
        if file is None or caption is None:
            raise UserError(f"{path}:{line}: needs a file and a caption, both text")
        name = _inside(root, file, f"{path}:{line}")
        if name in clips:
            listed.setdefault(name, caption)
        else:
            strangers += 1
    if strangers:
        logger.warning(
            "%s: %d lines name no clip in the folder; check their paths", path, strangers
        )
    return listed


def _jsonl(path: pathlib.Path, text: str) -> Iterator[tuple[int, dict[str, Any]]]:
    for number, line in enumerate(text.split("\n"), 1):  # not splitlines: captions may hold U+2028
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (ValueError, RecursionError):
            row = None
        if not isinstance(row, dict):
            raise UserError(
                f'{path}:{number}: must be a JSON object like {{"file": "a.mp4", "caption": "..."}}'
            )
        yield number, row


def _csv(path: pathlib.Path, text: str) -> Iterator[tuple[int, dict[str, Any]]]:
    reader = csv.DictReader(text.splitlines(keepends=True))
    try:
        for row in reader:
            yield reader.line_num, row
    except csv.Error as error:
        raise UserError(
            f"{path}:{reader.line_num}: {error}; quote the caption or use captions.jsonl"
        ) from None


def _pick(row: dict[str, Any], *keys: str) -> str | None:
    return next((row[key] for key in keys if isinstance(row.get(key), str)), None)


def _inside(root: pathlib.Path, file: str, where: str) -> str:
    """The path as a clip's name. Raises UserError where it leaves the folder."""
    name = file.replace("\\", "/")
    pure = pathlib.PurePosixPath(name)
    if not name or "\0" in name or len(name) > 1024:
        raise UserError(f"{where}: {name[:40]!r} is no file name; write the path inside the folder")
    if pure.is_absolute() or ".." in pure.parts or re.match(r"[A-Za-z]:", name):
        raise UserError(f"{where}: {name!r} leaves the folder; write the path inside the folder")
    path = root / pure
    if path.is_symlink() and not path.resolve().is_relative_to(root.resolve()):
        raise UserError(f"{where}: {name!r} is a link out of the folder; copy the file into it")
    return pure.as_posix()
