"""Captions, labels and groups of a folder of clips.

Captions, in this order: ``captions.jsonl`` or ``captions.csv`` in the folder (columns ``file`` and
``caption``; ``file_name`` and ``text`` are read too), ``clip.txt`` beside ``clip.mp4``, the class
folder, the file name. A sidecar only names clips that were found; it opens nothing, and paths that
leave the folder are refused. Its column ``group`` says which clips (of a person, of a run) must
stay in one split; all other columns of texts or whole numbers may be labels. Without a sidecar, a
class folder gives the label ``class``.
"""

import csv
import io
import json
import logging
import pathlib
import re
from collections.abc import Iterator
from typing import Any, NamedTuple

from jaxvid.data import tokenizer
from jaxvid.data.source import CLASS
from jaxvid.typing import UserError

logger = logging.getLogger("jaxvid")
NAMES = ("captions.jsonl", "captions.csv")
MAX_BYTES = 2**28  # of a sidecar
MAX_CHARACTERS = 4096  # of a caption that are kept
MAX_LABEL = 128  # characters of a label that are kept
MORE = "\0"  # no name of a column: where the cells go for which there is none
LABEL = re.compile(r"\w[\w -]{0,63}")  # names of labels
RESERVED = ("file", "file_name", "caption", "text", "group")  # columns that are no labels


class Entry(NamedTuple):
    """What is known of a clip beside its pixels."""

    caption: str
    group: str
    labels: dict[str, str]


def read(root: pathlib.Path, clips: list[str]) -> dict[str, Entry]:
    """What is known of each clip, named by its path in ``root`` with forward slashes.

    Bytes that are not UTF-8 become U+FFFD; how many captions that touched is logged, as is how many
    sidecar lines name no clip. Raises UserError, with the line, for a sidecar that cannot be read.
    """
    try:
        return _read(root, clips)
    except OSError as error:
        raise UserError(f"{error.filename or root}: cannot be read ({error.strerror})") from error


def _read(root: pathlib.Path, clips: list[str]) -> dict[str, Entry]:
    listed = _sidecar(root, set(clips))
    found = {}
    for clip in clips:
        entry = (listed or {}).get(clip) or Entry(_caption(root, clip), clip, {})
        folder = clean(pathlib.PurePosixPath(clip).parent.name)
        if listed is None and folder:
            entry.labels[CLASS] = tidy(folder)
        found[clip] = entry._replace(caption=tidy(entry.caption, MAX_CHARACTERS))
    if damaged := sum("\ufffd" in entry.caption for entry in found.values()):
        logger.warning("%d captions of %s are not UTF-8; save them as UTF-8", damaged, root)
    return found


def tidy(text: str, limit: int = MAX_LABEL) -> str:
    """The text composed, without space around it, and no longer than ``limit``."""
    whole = text.encode("utf-8", errors="replace").decode("utf-8")  # lone surrogates become "?"
    return tokenizer.normalise(whole).strip()[:limit]


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


def _sidecar(root: pathlib.Path, clips: set[str]) -> dict[str, Entry] | None:
    path = next((root / name for name in NAMES if (root / name).is_file()), None)
    if path is None:
        return None
    if path.stat().st_size > MAX_BYTES:
        raise UserError(f"{path}: is over {MAX_BYTES >> 20} MiB; a caption a line is enough")
    text = path.read_bytes().decode("utf-8-sig", errors="replace")
    rows = _csv(path, text) if path.suffix == ".csv" else _jsonl(path, text)
    listed: dict[str, Entry] = {}
    strangers = 0
    for line, row in rows:
        file, caption = _pick(row, "file", "file_name"), _pick(row, "caption", "text")
        if file is None or caption is None:
            raise UserError(f"{path}:{line}: needs a file and a caption, both text")
        name = _inside(root, file, f"{path}:{line}")
        if name in clips:
            given = row.get("group")
            group = "" if given is None else _text(given)
            if group is None:  # to leave it out would spread the group over both splits
                raise UserError(f"{path}:{line}: group must be text or a whole number")
            listed.setdefault(name, Entry(caption, group or name, _labels(row)))
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
    reader = csv.DictReader(io.StringIO(text, newline=""), restkey=MORE)  # U+2028 ends no line
    try:
        for row in reader:
            if any(cell.strip() for cell in row.pop(MORE, [])):
                raise UserError(
                    f"{path}:{reader.line_num}: has more cells than the first line has names; "
                    "quote the caption or use captions.jsonl"
                )
            yield reader.line_num, dict(row)
    except csv.Error as error:
        raise UserError(
            f"{path}:{reader.line_num}: {error}; quote the caption or use captions.jsonl"
        ) from None


def _labels(row: dict[str, Any]) -> dict[str, str]:
    """The columns that may be labels. Names that are no plain words are left out."""
    return {
        name: text
        for name, value in row.items()
        if isinstance(name, str) and name not in RESERVED and LABEL.fullmatch(name)
        if (text := _text(value))
    }


def _text(value: Any) -> str | None:
    """A text or whole number as text; None for anything else."""
    whole = isinstance(value, int) and not isinstance(value, bool)
    return tidy(str(value)) if isinstance(value, str) or whole else None


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
