"""One writer for a run folder. The system drops the lock with its process, however that ends, so
that none is ever stale; the text in it says who holds it, and is for people alone.
"""

import contextlib
import functools
import os
import pathlib
import socket
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import jax

from jaxvid.typing import UserError

R = TypeVar("R")
NAME = ".lock"
_held: set[pathlib.Path] = set()  # by this process


@contextlib.contextmanager
def one_writer(folder: pathlib.Path) -> Iterator[None]:
    """Holds the lock of ``folder``, which is made if need be and goes again if nothing is written.

    A process may take it again. Of several that train together the first takes it for all. Raises
    UserError (exit code 73) at once where another process has it.
    """
    mine = folder.absolute()
    if mine in _held or (jax.distributed.is_initialized() and jax.process_index()):
        yield
        return
    made = [path for path in (mine, *mine.parents) if not path.exists()]
    file = _open(folder)
    _held.add(mine)
    try:
        for left in (*folder.glob(".*.tmp"), *folder.glob("samples/.*.tmp")):
            left.unlink(missing_ok=True)  # of a process that was killed while it wrote
        yield
    finally:
        _held.discard(mine)
        with contextlib.suppress(OSError):
            if [path.name for path in mine.iterdir()] == [NAME]:
                (mine / NAME).unlink()
            for path in made:
                path.rmdir()
        os.close(file)


def locked(train: Callable[..., R]) -> Callable[..., R]:
    """``train(run, folder, ...)`` with the folder's lock."""

    @functools.wraps(train)
    def holding(run: Any, folder: pathlib.Path, **options: Any) -> R:
        with one_writer(folder):
            return train(run, folder, **options)

    return holding


def _open(folder: pathlib.Path) -> int:
    """The locked file's number."""
    try:
        import fcntl
    except ModuleNotFoundError:  # not on Windows
        fcntl = None  # type: ignore[assignment]
    path = folder / NAME
    while True:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        except OSError as error:
            raise UserError(
                f"cannot write to {folder}: {error.strerror}; choose another --run"
            ) from None
        if fcntl is None:
            return file
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.pread(file, 200, 0).decode("utf-8", "replace").strip()
            os.close(file)
            raise UserError(
                f"{folder} is being written by another process ({holder or 'unknown'}); wait for "
                "it, stop it, or choose another --run",
                code=73,
            ) from None
        except OSError:
            return file  # a file system without locks
        try:
            there = path.stat().st_ino == os.fstat(file).st_ino
        except FileNotFoundError:
            there = False
        if there:  # not a file that its last holder removed meanwhile
            os.ftruncate(file, 0)
            os.pwrite(file, f"process {os.getpid()} on {socket.gethostname()}\n".encode(), 0)
            return file
        os.close(file)
