"""The process's own memory: what the C library keeps, and Python's search for garbage.

Elsewhere than with glibc the first three do nothing.
"""

import contextlib
import ctypes
import gc
import os
from collections.abc import Iterator

# Parameters of mallopt(3), as malloc.h has them.
M_TRIM_THRESHOLD, M_MMAP_MAX, M_ARENA_MAX = -1, -4, -8


def start(on_cpu: bool) -> None:
    """Sets what this process does with its memory; what a user has set himself stays.

    ``on_cpu``: JAX computes in this memory.
    """
    limit_arenas(1 if on_cpu else os.cpu_count() or 1)
    if on_cpu:
        keep_blocks()
    search_less()


def give_back() -> None:
    """Gives memory that was freed back to the system. Of what compiling the step of ``tiny`` takes
    on a CPU glibc else keeps 1.7 GB as long as the process lives (malloc_trim(3))."""
    with contextlib.suppress(OSError, AttributeError, TypeError):
        ctypes.CDLL(None).malloc_trim(0)


def limit_arenas(count: int) -> None:
    """So many arenas of memory (mallopt(3)). By default glibc makes eight a core, for threads that
    come and go, and each of them keeps what a save has left in it."""
    if "MALLOC_ARENA_MAX" not in os.environ:
        with contextlib.suppress(OSError, AttributeError, TypeError):
            ctypes.CDLL(None).mallopt(M_ARENA_MAX, count)


def keep_blocks() -> None:
    """What is freed is used again (mallopt(3)), until ``give_back``.

    By default glibc takes a block of more than 32 MB from the system and gives it back when it is
    freed. XLA frees what lies between after every call, 0.6 GB in a step of the quickstart's game,
    which the system then clears anew, page by page: a fifth of the step. The first arena alone can
    keep such a block (the others' heaps have 64 MB), and which thread asks for it is chance.
    """
    if not any(name.startswith(("MALLOC_MMAP_", "MALLOC_TRIM_")) for name in os.environ):
        with contextlib.suppress(OSError, AttributeError, TypeError):
            library = ctypes.CDLL(None)
            library.mallopt(M_MMAP_MAX, 0)
            library.mallopt(M_TRIM_THRESHOLD, -1)  # never


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
