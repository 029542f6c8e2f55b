"""From a prompt to a file, timed: ``python -m benchmarks.generate --run runs/quickstart``.

Cold: a new process, from the shell to the finished mp4 (programs may come from the compile cache).
Warm: planner, generator and mp4 in a process that has done it before. Medians with quartiles.
"""

import dataclasses
import json
import pathlib
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence

import numpy as np
import tyro

from jaxvid import cli

PROMPT = "a large red circle moves to the right"


@dataclasses.dataclass(frozen=True)
class Options:
    """Times the way from a prompt to a video file."""

    run: pathlib.Path = pathlib.Path("runs/quickstart")
    """Folder of a trained run."""
    repeats: int = 20
    """Warm repeats; cold ones are a fifth of it."""


def main(argv: Sequence[str] | None = None) -> None:
    """Prints a JSON row for each measurement."""
    options = tyro.cli(Options, args=argv, prog="benchmarks.generate")
    with cli.user_errors(), tempfile.TemporaryDirectory() as folder:
        out = pathlib.Path(folder) / "clip.mp4"
        program = "import sys; from jaxvid.cli import main; main(sys.argv[1:])"
        arguments = ["generate", "--run", str(options.run), "--out", str(out), PROMPT]
        command = [sys.executable, "-c", program, *arguments]

        def cold() -> None:
            subprocess.run(command, check=True, capture_output=True)

        _row("cold: process to mp4", _times(cold, max(3, options.repeats // 5)))
        from jaxvid import parallel

        parallel.start()
        from jaxvid import pipeline

        pipe = pipeline.load(options.run)
        _row("warm: prompt to clip", _times(lambda: pipe.generate(PROMPT), options.repeats))
        _row(
            "warm: prompt to mp4",
            _times(lambda: pipe.generate(PROMPT).save(out), options.repeats),
        )


def _times(work: Callable[[], object], repeats: int) -> np.ndarray:
    """Seconds of each repeat, after one that is not counted."""
    work()
    times = []
    for _ in range(repeats):
        began = time.perf_counter()
        work()
        times.append(time.perf_counter() - began)
    return np.array(times)


def _row(name: str, seconds: np.ndarray) -> None:
    import jax

    low, middle, high = np.percentile(seconds, [25, 50, 75])
    git = ["git", "rev-parse", "--short", "HEAD"]
    commit = subprocess.run(git, capture_output=True, text=True, check=False).stdout.strip()
    row = {
        "name": name,
        "median_s": round(float(middle), 4),
        "quartiles_s": [round(float(low), 4), round(float(high), 4)],
        "repeats": len(seconds),
        "device": f"{jax.device_count()} x {jax.devices()[0].device_kind}, {platform.machine()}",
        "jax": jax.__version__,
        "python": platform.python_version(),
        "commit": commit or None,
    }
    print(json.dumps(row), flush=True)


if __name__ == "__main__":
    main()
