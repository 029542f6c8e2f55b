"""The process's own memory: what the C library keeps, and Python's search for garbage.

Elsewhere than with glibc the first two do nothing.
"""

import contextlib
import ctypes
import gc
import os
from collections.abc import Iterator

M_ARENA_MAX = -8  # malloc.h


def give_back() -> None:
    """Gives memory that was freed back to the system. Of what compiling the step of ``tiny`` takes
    on a CPU glibc else keeps 1.7 GB as long as the process lives (malloc_trim(3))."""
    with contextlib.suppress(OSError, AttributeError, TypeError):
        ctypes.CDLL(None).malloc_trim(0)


def limit_arenas() -> None:
    """One arena of memory a core (mallopt(3)). By default glibc makes eight, for threads that come
    and go, and each of them keeps what a save has left in it."""
    if "MALLOC_ARENA_MAX" not in os.environ:
        with contextlib.suppress(OSError, AttributeError, TypeError):
            ctypes.CDLL(None).mallopt(M_ARENA_MAX, os.cpu_count() or 1)


def search_less() -> None:
    """Python's search for garbage leaves out what has been imported, and begins a hundredth as
    often: it is what cycles hold that it finds, and programs make few."""
    gc.freeze()
    gc.set_threshold(100_000, 20, 50)


@contextlib.contextmanager
def uncollected() -> Iterator[None]:
    """No search for garbage: while JAX traces it finds little, and takes a sixth of the time. What
    was made meanwhile, programs that stay, is left out of later ones."""
    on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        if on:
            gc.enable()
