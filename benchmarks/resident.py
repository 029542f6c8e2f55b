"""Resident memory of what runs on CPUs, in processes of its own, read from /proc."""

import concurrent.futures
import gc
import multiprocessing
import pathlib
import re
from collections.abc import Callable
from typing import Any

from jaxvid import memory
from jaxvid.typing import UserError


def in_child(function: Callable[[], Any]) -> Any:
    """What the function returns in a new process. It must be importable (or a partial of such)."""
    context = multiprocessing.get_context("spawn")
    with concurrent.futures.ProcessPoolExecutor(1, mp_context=context) as pool:
        return pool.submit(function).result()


def peak_growth(run: Callable[[], object]) -> float:
    """Bytes by which the peak of resident memory during ``run`` exceeds what was there before,
    without garbage: the run would use its memory again, unseen."""
    status, refs = pathlib.Path("/proc/self/status"), pathlib.Path("/proc/self/clear_refs")
    if not refs.exists():
        raise UserError("peak memory is read from /proc; run this benchmark on Linux")
    gc.collect()
    memory.give_back()
    refs.write_text("5")  # the peak begins anew (man 5 proc)

    def kilobytes(field: str) -> int:
        found = re.search(rf"{field}:\s+(\d+) kB", status.read_text())
        assert found is not None
        return int(found[1])

    before = kilobytes("VmRSS")
    run()
    return 1024.0 * (kilobytes("VmHWM") - before)
