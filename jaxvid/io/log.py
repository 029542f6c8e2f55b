"""What a run says: ``metrics.jsonl``, plain lines or a live bar, TensorBoard when asked for."""

import json
import math
import os
import pathlib
import sys
import time
from collections.abc import Callable
from typing import Any

from jaxvid import cluster
from jaxvid.io.media import atomic_write_text


def say(text: str) -> None:
    """One line for a person; of several processes the first one says it."""
    if not cluster.index():
        print(text, flush=True)


class RunLog:
    """Metrics of a run that ends at ``steps``, appended to ``folder/metrics.jsonl``, a line a step.

    Opened at step ``start`` it drops lines of later steps: a resumed run has each step once.
    ``past`` is told the metrics of every step before. Of several processes the first one writes.
    """

    def __init__(
        self,
        folder: pathlib.Path,
        *,
        name: str,
        start: int,
        steps: int,
        log_every: int,
        batch_size: int,
        tensorboard: bool = False,
        past: Callable[[dict[str, float]], object] = lambda row: None,
    ) -> None:
        self.name, self.steps, self.log_every, self.batch_size = name, steps, log_every, batch_size
        self._path = folder / "metrics.jsonl"
        self.dropped = 0  # steps that were logged beyond ``start``
        if self._path.exists():
            kept, self.dropped = _read(self._path, start, past)
            if not cluster.index():
                atomic_write_text(self._path, kept)
        path = os.devnull if cluster.index() else self._path
        self._file = open(path, "a", encoding="utf-8")  # noqa: SIM115 - closed in close()
        self._writer = _tensorboard(folder) if tensorboard and not cluster.index() else None
        self._bar = (
            _bar(name, start, steps) if sys.stdout.isatty() and not cluster.index() else None
        )
        self._last = time.monotonic()
        self._pace: float | None = None  # seconds a step

    def __enter__(self) -> "RunLog":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def metrics(self, step: int, values: dict[str, float], more: str = "") -> None:
        """Records the metrics of the step that ended as number ``step`` (the first is 1).

        ``more``: what else stands in the line that a person reads.
        """
        finite = {key: v if math.isfinite(v) else None for key, v in values.items()}  # JSON's null
        self._file.write(json.dumps({"step": step, **finite}) + "\n")
        if self._writer:
            for key, value in values.items():
                self._writer.add_scalar(f"{self.name}/{key}", value, step)
        now = time.monotonic()
        took, self._last = now - self._last, now
        # Over the last steps, not the whole: a run may go on with another step, or compile one.
        pace = took if self._pace is None else self._pace
        self._pace = 0.9 * pace + 0.1 * min(took, 4 * pace)  # a step that compiles says little
        rate = 1.0 / max(self._pace, 1e-6)
        left = (self.steps - step) / rate
        facts = " ".join(f"{key} {value:.3g}" for key, value in values.items() if key in _SHOWN)
        line = f"{facts} | {rate * self.batch_size:.1f} clips/s | {_clock(left)} left"
        line += f" | {more}" if more else ""
        if self._bar:
            self._bar.update(self._bar.task_ids[0], completed=step, facts=line)
        elif step % self.log_every == 0 or step == self.steps:
            say(f"{self.name}: step {step}/{self.steps} | {line}")
        if step % self.log_every == 0:
            self._file.flush()

    def flush(self) -> None:
        """Writes out what is buffered: before a checkpoint, which must not be ahead of the log."""
        self._file.flush()
        if not cluster.index():
            os.fsync(self._file.fileno())

    def close(self) -> None:
        """Writes out what is buffered."""
        if self._bar:
            self._bar.stop()
        if self._writer:
            self._writer.close()
        self.flush()
        self._file.close()


_SHOWN = ("loss", "accuracy", "mse", "d_critic", "g_generator", "gap", "g_reconstruction",
          "return", "kl")  # fmt: skip


def _read(
    path: pathlib.Path, start: int, past: Callable[[dict[str, float]], object]
) -> tuple[str, int]:
    """The whole lines up to step ``start`` and how many more there are; a torn line is dropped."""
    kept, beyond = [], 0
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            row = json.loads(line)
            if row.pop("step") > start:
                beyond += 1
                continue
            values = {key: math.nan if v is None else float(v) for key, v in row.items()}
        except (ValueError, KeyError, TypeError, AttributeError):
            continue
        kept.append(line + "\n")
        past(values)
    return "".join(kept), beyond


def _clock(seconds: float) -> str:
    minutes, seconds = divmod(int(seconds), 60)
    return f"{minutes}:{seconds:02d}"


def _tensorboard(folder: pathlib.Path) -> Any:
    try:
        from tensorboardX import SummaryWriter
    except ImportError:
        say("no TensorBoard log: pip install 'jaxvid[tensorboard]'")
        return None
    return SummaryWriter(str(folder / "tensorboard"))


def _bar(name: str, start: int, steps: int) -> Any:
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

    columns = (
        TextColumn(name),
        BarColumn(20),
        MofNCompleteColumn(),
        TextColumn("{task.fields[facts]}"),
    )
    bar = Progress(*columns)
    bar.add_task(name, total=steps, completed=start, facts="")
    bar.start()
    return bar
