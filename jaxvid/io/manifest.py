"""What a folder holds, by size and SHA-256 of every file: whoever reads it later knows that it is
whole. Orbax loads flipped bits without an error, so nobody else would.
"""

import hashlib
import json
import pathlib

from jaxvid.io.media import atomic_write_bytes

NAME = "manifest.json"


class Damaged(Exception):
    """A folder is not what was written; the message names the file."""


def write(folder: pathlib.Path) -> None:
    """Writes ``manifest.json`` into ``folder``, whole or not at all."""
    files = {
        path.relative_to(folder).as_posix(): [path.stat().st_size, _digest(path)]
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not path.name.startswith(".") and path.name != NAME
    }
    atomic_write_bytes(folder / NAME, _encode({"version": 1, "files": files}))


def check(folder: pathlib.Path) -> bool:
    """Whether ``folder`` has a manifest, with which all then agrees, or is unverified.

    Raises Damaged where a file of it is missing or another, the manifest itself included.
    """
    path = folder / NAME
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return False
    try:
        found = json.loads(data)
        files = {str(name): (int(size), str(digest)) for name, (size, digest) in
                 found["files"].items()}  # fmt: skip
        same = _encode(found) == data and bool(files)  # a flipped bit may well be JSON
    except (ValueError, KeyError, TypeError, AttributeError):
        same = False
    if not same:
        raise Damaged(f"{NAME} is broken")
    for name, (size, _) in files.items():
        file = folder / name
        if not file.is_file():
            raise Damaged(f"{name} is missing")
        if (has := file.stat().st_size) != size:
            raise Damaged(f"{name} has {has} bytes, not {size}")
    for name, (_, digest) in files.items():
        if _digest(folder / name) != digest:
            raise Damaged(f"{name} holds other bytes than were written")
    return True


def _encode(manifest: object) -> bytes:
    return json.dumps(manifest, separators=(",", ":"), sort_keys=True).encode()


def _digest(path: pathlib.Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
