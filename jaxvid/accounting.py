"""Where the time of a run goes: ``accounting.json`` in its folder, summed over resumes.

Productive time is what is left of the whole after what is measured apart: ``start`` (from the start
of the process, or of a later run in it), ``compile``, ``data`` (the loop waited for a batch),
``checkpoint`` (it waited for a save), ``sample`` (samples and short evaluations) and ``lost``
(steps that were done again after a resume or a return; their number is exact, their time that of
the mean step). Goodput is the productive share. Utilisation is the operations that XLA counts in
the steps that were kept, over productive time, against the rate of a matrix product on this device.
"""

import contextlib
import functools
import json
import os
import pathlib
import sys
import time
from collections.abc import Iterator
from typing import Any, Literal

import jax
import jax.numpy as jnp

from jaxvid import cluster, parallel
from jaxvid.io.log import say
from jaxvid.io.media import atomic_write_text

Part = Literal["start", "compile", "data", "checkpoint", "sample"]
NAME = "accounting.json"
WORDS = {"start": "start-up", "compile": "compiling", "data": "waiting for data"}
WORDS |= {"checkpoint": "checkpoints", "sample": "samples", "lost": "lost work"}


class Account:
    """The account of one run, which goes on with what stands in its folder."""

    def __init__(self, folder: pathlib.Path) -> None:
        before = read(folder) or {}
        self._path = folder / NAME
        compiled = parallel.compile_seconds() if _process_start else 0.0
        self._began = _process_start.pop() if _process_start else time.monotonic()
        seconds = before.get("seconds", {})
        self._earlier = float(sum(seconds.values()))
        self._seconds = {part: float(seconds.get(part, 0.0)) for part in WORDS}
        self._flops, self._steps = float(before.get("flops", 0.0)), int(before.get("steps", 0))
        self._lost_steps, self._resumes = before.get("lost_steps", 0), before.get("resumes", -1) + 1
        self._recompiled: dict[str, int] = before.get("recompiled", {})
        self._step = int(before.get("step", 0))
        self._rate = matrix_rate()
        self._seconds["compile"] += compiled
        self._seconds["start"] += time.monotonic() - self._began - compiled

    @contextlib.contextmanager
    def part(self, name: Part) -> Iterator[None]:
        """Counts the time of the block as ``name``; what it compiles, as ``compile``."""
        began, compiled = time.monotonic(), parallel.compile_seconds()
        try:
            yield
        finally:
            took = time.monotonic() - began
            share = took if name == "compile" else parallel.compile_seconds() - compiled
            share = min(share, took)
            self._seconds["compile"] += share
            self._seconds[name] += took - share

    @contextlib.contextmanager
    def step(self, number: int) -> Iterator[None]:
        """Counts a step, which ends as ``number``; names what compiles in it though nothing
        should.
        """
        before = parallel.programs()
        yield
        self._step, self._steps = number, self._steps + 1
        if (now := parallel.programs()) != before:
            for name in sorted(now):
                if times := now[name] - before.get(name, 0):
                    self._recompiled[name] = self._recompiled.get(name, 0) + times
                    say(f"accounting: step {number} compiled {name}, which costs time")

    def count(self, flops: float) -> None:
        """Counts the operations of a step."""
        self._flops += flops

    def lost(self, start: int, logged: int) -> None:
        """A run goes on at step ``start`` though ``logged`` steps were logged beyond it."""
        mean = self._productive() / self._steps if self._steps else 0.0  # else nobody knows
        counted = max(0, min(self._step - start, logged, self._steps))  # in what was written down
        self._flops *= 1 - counted / max(1, self._steps)
        self._steps -= counted
        self._lost_steps += logged
        self._seconds["lost"] += logged * mean
        self._began -= (logged - counted) * mean  # time that nobody wrote down
        self._step = start

    def live(self) -> str:
        """For the line of a step."""
        rate = self._utilisation()
        mfu = f", MFU {rate:.0%}" if rate is not None else ""
        return f"goodput {self._productive() / max(1e-9, self._whole()):.0%}{mfu}"

    def write(self) -> None:
        """Writes ``accounting.json``; of several processes the first one does."""
        if not cluster.index():
            atomic_write_text(self._path, json.dumps(self._values(), indent=1) + "\n")

    def close(self, name: str) -> None:
        """Writes the account, and says it in a line or two."""
        self.write()
        found = self._values()
        parts = ", ".join(
            f"{WORDS[part]} {_clock(seconds)}"
            for part, seconds in found["seconds"].items()
            if part != "productive" and seconds >= 0.5
        )
        say(
            f"{name}: {found['goodput']:.0%} of {_clock(self._whole())} productive"
            f"{f' ({parts})' if parts else ''}"
        )
        mfu = found["utilisation"]
        again = "".join(f", {what} compiled again" for what in found["recompiled"])
        use = f"{mfu:.0%} of {self._rate / 1e9:,.0f} GFLOP/s, " if mfu is not None else ""
        say(f"{name}: {use}{found['peak_memory']['host'] / 2**30:.1f} GiB at most{again}")

    def _whole(self) -> float:
        return self._earlier + time.monotonic() - self._began

    def _productive(self) -> float:
        return max(0.0, self._whole() - sum(self._seconds.values()))

    def _utilisation(self) -> float | None:
        productive = self._productive()
        return self._flops / productive / self._rate if productive and self._flops else None

    def _values(self) -> dict[str, Any]:
        productive, whole = self._productive(), self._whole()
        return {
            "step": self._step,
            "steps": self._steps,
            "lost_steps": self._lost_steps,
            "resumes": self._resumes,
            "seconds": {"productive": productive, **self._seconds},
            "goodput": productive / max(1e-9, whole),
            "flops": self._flops,
            "matrix_rate": self._rate,
            "utilisation": self._utilisation(),
            "device": jax.devices()[0].device_kind,
            "programs": parallel.programs(),
            "recompiled": self._recompiled,
            "peak_memory": _peak_memory(),
        }


def read(folder: pathlib.Path) -> dict[str, Any] | None:
    """The account in a run's folder; None where there is none that can be read."""
    try:
        found = json.loads((folder / NAME).read_text(encoding="utf-8"))
        return found if isinstance(found, dict) and isinstance(found["seconds"], dict) else None
    except (OSError, ValueError, KeyError):
        return None


def facts(folder: pathlib.Path) -> dict[str, str]:
    """The account of a run for its report; {} where there is none."""
    found = read(folder)
    if found is None:
        return {}
    parts = {WORDS.get(part, part): s for part, s in found["seconds"].items() if s >= 0.5}
    told = {
        "training": ", ".join(f"{name} {_clock(seconds)}" for name, seconds in parts.items()),
        "productive time": f"{found['goodput']:.0%}",
        "lost steps": f"{found['lost_steps']} of {found['steps'] + found['lost_steps']}",
        "memory at most": f"{found['peak_memory']['host'] / 2**30:.1f} GiB",
    }
    if found["utilisation"] is not None:
        rate = f"{found['matrix_rate'] / 1e9:,.0f} GFLOP/s"
        told["utilisation"] = f"{found['utilisation']:.0%} of {rate}"
    return told


@functools.cache
def matrix_rate() -> float:
    """Operations a second of a matrix product on the first device, the best of a few; tens of
    milliseconds. bfloat16 on accelerators, which is what they are built for, float32 on CPUs.
    """
    cpu = jax.default_backend() == "cpu"
    size, times = (512, 4) if cpu else (8192, 8)
    product: Any = parallel.compile_function(lambda a: a @ a)
    matrix = jnp.full((size, size), 1e-3, jnp.float32 if cpu else jnp.bfloat16)
    product(matrix).block_until_ready()
    best = float("inf")
    for _ in range(times):
        began = time.monotonic()
        product(matrix).block_until_ready()
        best = min(best, time.monotonic() - began)
    return 2 * size**3 / max(best, 1e-9)


def _peak_memory() -> dict[str, int]:
    """Bytes at most: of the process, and of the first device where it tells."""
    found = {"host": 0}
    with contextlib.suppress(ModuleNotFoundError):  # not on Windows
        import resource

        unit = 1 if sys.platform == "darwin" else 1024
        found["host"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
    stats = jax.local_devices()[0].memory_stats() or {}
    if "peak_bytes_in_use" in stats:
        found["device"] = int(stats["peak_bytes_in_use"])
    return found


def _started() -> float:
    """When this process began, on the clock of ``time.monotonic``; now where nothing says it."""
    try:
        ticks = pathlib.Path("/proc/self/stat").read_text().rpartition(")")[2].split()[19]
        up = float(pathlib.Path("/proc/uptime").read_text().split()[0])
        return time.monotonic() - (up - int(ticks) / os.sysconf("SC_CLK_TCK"))
    except (OSError, ValueError, IndexError):
        return time.monotonic()


_process_start = [_started()]  # taken by the first account of a process


def _clock(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:.0f} s"
    minutes, seconds = divmod(int(seconds), 60)
    return f"{minutes}:{seconds:02d} minutes"
