"""The process's own memory: what the C library asks the system for and keeps, and Python's search
for garbage. Elsewhere than on Linux with glibc the former stays as it is.
"""

import contextlib
import ctypes
import gc
import logging
import os
import pathlib
import platform
import sys
from collections.abc import Callable, Iterator

M_ARENA_MAX = -8  # of mallopt(3), as malloc.h has it
ASK = "glibc.malloc.hugetlb"  # a tunable of glibc 2.35 and later
ANEW = "JAXVID_ANEW"  # says that a program has begun anew, also to one that lost the tunable
HUGE_PAGES = pathlib.Path("/sys/kernel/mm/transparent_hugepage/enabled")

logger = logging.getLogger("jaxvid")


def huge_pages() -> dict[str, str]:
    """The environment in which a new process asks for huge pages; empty where they are given
    unasked, or not at all, where this one asks, and where the user has decided.

    XLA frees what lies between after every call (0.9 GB in a step of ``tiny``'s game), glibc gives
    such blocks back to the system, and that clears them anew for the next call, page by page:
    214,000 of 4 kB, a fifth of the step. Of huge pages it takes some hundreds.
    """
    own = os.environ.get("GLIBC_TUNABLES", "")
    try:
        given = "[madvise]" not in HUGE_PAGES.read_text()
    except OSError:
        given = True
    libc, version = platform.libc_ver()
    old = libc != "glibc" or tuple(map(int, version.split(".")[:2])) < (2, 35)
    if given or old or ASK in own:
        return {}
    return {"GLIBC_TUNABLES": f"{own}:{ASK}=1".lstrip(":")}


def program(main: Callable[[], object]) -> None:
    """Calls the ``main`` of a program, in a process with ``huge_pages``. glibc reads its tunables
    before Python is there, so the program begins anew, as long as nothing has been imported that
    takes time; once, and not under a debugger, which would lose it."""
    ask = huge_pages()
    if ask and ANEW not in os.environ and sys.executable and sys.gettrace() is None:
        sys.stdout.flush()
        environment = os.environ | ask | {ANEW: "1"}
        os.execve(sys.executable, [sys.executable, *sys.orig_argv[1:]], environment)
    main()


def start() -> None:
    """Sets what this process does with its memory.

    Arenas (mallopt(3)): by default glibc makes eight a core, for threads that come and go, and each
    of them keeps what a save has left in it. Now two a core, so that threads seldom wait for each
    other; a user's own MALLOC_ARENA_MAX stays.

    Python's search for garbage leaves out what has been imported, and begins a hundredth as often:
    it is what cycles hold that it finds, and programs make few.
    """
    if ASK in (tunables := os.environ.get("GLIBC_TUNABLES", "")):
        logger.info("GLIBC_TUNABLES=%s: whether large blocks are huge pages", tunables)
    if "MALLOC_ARENA_MAX" not in os.environ:
        with contextlib.suppress(OSError, AttributeError, TypeError):
            ctypes.CDLL(None).mallopt(M_ARENA_MAX, 2 * (os.cpu_count() or 1))
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
