"""What each platform setting gives on CPUs: ``python -m benchmarks.settings`` (20 minutes).

A step of ``tiny``'s game, compiled anew and repeated, in processes that have all that
``parallel.start`` and ``memory.program`` set, and in processes that have all but one.
"""

import contextlib
import os
import statistics
import time
from collections.abc import Iterator, Mapping

from benchmarks import harness, resident
from benchmarks.circumstances import threads
from benchmarks.harness import Options, Row
from jaxvid import memory, parallel

OURS, LEFT = "jaxvid", "without"
STEPS = 10
# What a user sets to be without it: a user's own settings win.
SETTINGS: dict[str, dict[str, str]] = {
    "convolutions on every core": {"XLA_FLAGS": parallel.CONVOLUTION_FLAG.replace("=-", "=+")},
    "huge pages": {"GLIBC_TUNABLES": f"{memory.ASK}=0"},
    "two arenas a core": {"MALLOC_ARENA_MAX": str(8 * threads())},  # as many as glibc makes
}
MODES = ("compile", "step")


def rows(options: Options) -> Iterator[Row]:
    """Each setting's gain in seconds of compiling and of a step; none on an accelerator."""
    import jax

    wanted = {
        (name, mode) for name in SETTINGS for mode in MODES if harness.wanted(options, name, mode)
    }
    if not wanted or jax.default_backend() != "cpu":
        return
    without = {name: SETTINGS[name] for name in SETTINGS if wanted & {(name, m) for m in MODES}}
    samples: dict[str, list[tuple[float, ...]]] = {name: [] for name in (OURS, *without)}
    for _ in range(max(3, options.repeats // 5)):
        for name, measured in samples.items():
            with environment(without.get(name, {})):
                measured.append(resident.in_child(measure))
    for name in without:
        pairs = {OURS: zip(*samples[OURS], strict=True), LEFT: zip(*samples[name], strict=True)}
        values = {way: dict(zip(MODES, found, strict=True)) for way, found in pairs.items()}
        for mode in MODES:
            if (name, mode) in wanted:
                yield harness.record(
                    name, ours=OURS, shapes="gan tiny", mode=mode,
                    samples={way: found[mode] for way, found in values.items()},
                )  # fmt: skip


@contextlib.contextmanager
def environment(own: Mapping[str, str]) -> Iterator[None]:
    """That of new processes: a shell's, the user's ``own``, and what ``memory.program`` adds."""
    before = dict(os.environ)
    try:
        for name in ("XLA_FLAGS", "GLIBC_TUNABLES", "MALLOC_ARENA_MAX"):
            os.environ.pop(name, None)
        os.environ.update(own)
        os.environ.update(memory.huge_pages())
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


def measure() -> tuple[float, float]:
    """Seconds to compile the step, and of one of its later calls, in this process."""
    from benchmarks.train_step import step_way, tiny_gan

    parallel.start(cache=False)
    way = step_way(tiny_gan("finite"), "jit")
    times = []
    for _ in range(STEPS):
        began = time.perf_counter()
        way.run()
        times.append(time.perf_counter() - began)
    return way.compile_s, statistics.median(times)


if __name__ == "__main__":
    harness.program({"settings": rows})
