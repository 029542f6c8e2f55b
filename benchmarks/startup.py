"""From the shell to the first training step, in new processes: ``python -m benchmarks.startup``.

Cold: with an empty folder of compiled programs. Warm: with what another process left in it. A
process is ended when its log has the first step, which it writes while the second is under way.
"""

import contextlib
import dataclasses
import os
import pathlib
import subprocess
import sys
import tempfile
from collections.abc import Iterator

from benchmarks import harness
from benchmarks.harness import Options, Row, Way
from jaxvid import memory

ROOT = pathlib.Path(__file__).parents[1]
LIMITS = {"cold": 60.0, "warm": 12.0}  # seconds
KINDS = ("planner", "gan")


def rows(options: Options) -> Iterator[Row]:
    """The two trainings of the quickstart, each cold and warm."""
    fewer = dataclasses.replace(options, repeats=max(3, options.repeats // 5))
    for kind in KINDS:
        for mode, limit in LIMITS.items():
            if not harness.wanted(options, f"first step, {kind}", mode):
                continue
            with tempfile.TemporaryDirectory() as name:
                folder = pathlib.Path(name)
                cache = folder / "cache" if mode == "warm" else None

                def run(kind: str = kind, cache: pathlib.Path | None = cache) -> None:
                    first_step(kind, cache)

                yield harness.compare(
                    f"first step, {kind}", ours="jaxvid", ways={"jaxvid": Way(run)}, options=fewer,
                    shapes="quickstart", mode=mode, limit=limit,
                )  # fmt: skip


def first_step(kind: str, cache: pathlib.Path | None) -> None:
    """Starts a training of the quickstart and returns when it has logged a step.

    ``cache``: the folder of compiled programs; None: a new one. Raises RuntimeError with what the
    process said where it ended before.
    """
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as name:
        folder = pathlib.Path(name)
        # As from a shell; modules may be kept compiled, as after any start.
        settings = ("JAX_", "XLA_", "PYTHON", "GLIBC_", memory.ANEW)
        env = {k: v for k, v in os.environ.items() if not k.startswith(settings)}
        env |= {"JAXVID_CACHE": str(cache or folder / "cache"), "PYTHONPATH": str(ROOT)}
        command = ["-u", "-m", f"train.{kind}", "--preset", "quickstart"]
        command += ["--run", str(folder / "run"), "--train.log-every", "1"]
        child = subprocess.Popen(
            [sys.executable, *command], cwd=ROOT, env=env, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip
        said = []
        assert child.stdout is not None
        with child.stdout, contextlib.ExitStack() as end:
            end.callback(child.wait)
            end.callback(child.kill)
            for line in child.stdout:
                said.append(line)
                if ": step 1/" in line:
                    return
        raise RuntimeError("".join(said[-20:]))


if __name__ == "__main__":
    harness.program({"startup": rows})
