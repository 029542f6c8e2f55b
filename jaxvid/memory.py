"""The process's own memory: what the C library keeps, and Python's search for garbage.

Elsewhere than with glibc the former stays as it is.
"""

import contextlib
import ctypes
import gc
import os
from collections.abc import Iterator

# Parameters of mallopt(3), as malloc.h has them.
M_TRIM_THRESHOLD, M_MMAP_MAX, M_ARENA_MAX = -1, -4, -8


def start(on_cpu: bool) -> None:
    """Sets what this process does with its memory; a user's own MALLOC_* variables stay.

    Arenas (mallopt(3)): by default glibc makes eight a core, for threads that come and go, and each
    of them keeps what a save has left in it. Now one a core, or a single one with ``on_cpu``, where
    JAX computes in this memory and what is freed is to be used again, until ``give_back``: by
    default a block of more than 32 MB goes back to the system. XLA frees what lies between after
    every call, 0.6 GB in a step of the quickstart's game, which the system then clears anew, page
    by page: a fifth of the step. The first arena alone can keep such a block (the others' heaps
    have 64 MB), and which thread asks for it is chance.

    Python's search for garbage leaves out what has been imported, and begins a hundredth as often:
    it is what cycles hold that it finds, and programs make few.
    """
    with contextlib.suppress(OSError, AttributeError, TypeError):
        mallopt = ctypes.CDLL(None).mallopt
        if "MALLOC_ARENA_MAX" not in os.environ:
            mallopt(M_ARENA_MAX, 1 if on_cpu else os.cpu_count() or 1)
        own = any(name.startswith(("MALLOC_MMAP_", "MALLOC_TRIM_")) for name in os.environ)
        if on_cpu and not own:
            mallopt(M_MMAP_MAX, 0)
            mallopt(M_TRIM_THRESHOLD, -1)  # never
    gc.freeze()
    gc.set_threshold(100_000, 20, 50)


def give_back() -> None:
    """Gives memory that was freed back to the system. Of what compiling the step of ``tiny`` takes
    on a CPU glibc else keeps 1.7 GB as long as the process lives (malloc_trim(3))."""
    with contextlib.suppress(OSError, AttributeError, TypeError):
        ctypes.CDLL(None).malloc_trim(0)


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
