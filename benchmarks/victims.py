"""Small trainings in processes of their own, to be killed and starved: see reliability.py."""

import json
import os
import pathlib
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from typing import Any

from benchmarks.multihost import QUICK

ROOT = pathlib.Path(__file__).parents[1]
UNFINISHED = "orbax-checkpoint-tmp"


def child(
    kind: str, folder: str, steps: int, every: int, width: int = 16, critics: bool = True
) -> None:
    """Trains in ``folder``, as the script of that kind does, and prints the final digest."""
    from jaxvid import cli, parallel

    with cli.user_errors():
        parallel.start()
        from jaxvid.io.checkpoint import tree_digest

        state = _train(kind, pathlib.Path(folder), steps, every, width, critics)
        print(json.dumps({"digest": tree_digest(state), "step": int(state.step)}), flush=True)


def _train(
    kind: str, folder: pathlib.Path, steps: int, every: int, width: int, critics: bool
) -> Any:
    """``critics``: the game; else its warm-up, which compiles in a fraction of the time."""
    from jaxvid import config, gate, reinforce, training, training_planner

    train = config.TrainConfig(
        steps=steps, batch_size=8, checkpoint_every=every, log_every=1, sample_every=10**6
    )
    if kind == "planner":
        planner = config.PlannerConfig(width=width, encoder_layers=1, decoder_layers=1, heads=2)
        plan = config.PlannerRun(planner=planner, train=train)
        return training_planner.train_planner(plan, folder)
    if kind in ("gan", "base"):
        run = config.GanRun(
            data=config.DataConfig(resolution=8, frames=4, text_length=32),
            generator=config.GeneratorConfig(
                width=width, layers=1, heads=2, decoder=(8, 8), drawing=8
            ),
            critic=config.CriticConfig(
                frames=2, frame_widths=(8,), clip_width=8, clip_layers=1, heads=2
            ),
            # What makes the program larger and is no part of the state is left out.
            loss=config.LossConfig(
                warmup=0 if critics else steps,
                frames=4,
                warmup_frames=4,
                augment=0.0,
                mismatch=0.0,
                penalty="none",
                adversarial="hinge",
            ),
            train=train,
        )
        return training.train_gan(run, folder) if kind == "gan" else _untrained(run, folder)
    gate.GLANCE, reinforce.REAL = (2, 2), 8
    tuning = config.RlConfig(
        rewards=("acceleration", "motion"), weights=(1.0, 1.0), group=2, actions=2, width=8
    )
    return reinforce.train_rl(config.RlRun(rl=tuning, train=train), folder)


def _untrained(run: Any, folder: pathlib.Path) -> Any:
    """A run folder of a generator that has not learnt anything, to be tuned."""
    from jaxvid import training
    from jaxvid.data.loader import Batches
    from jaxvid.io.checkpoint import Checkpoints

    run, source = training.open_training(run)
    training.open_run(folder, run)
    batch = Batches(source, batch_size=1, seed=0, text_length=run.data.text_length)[0]
    state = training.build_gan(run, batch)[1]
    with Checkpoints(folder / "checkpoints") as checkpoints:
        checkpoints.save(1, state, {})
    return state


class Training:
    """A training in a process; its lines are read as they come."""

    def __init__(
        self, kind: str, folder: pathlib.Path, steps: int, every: int, **more: Any
    ) -> None:
        call = f"child({kind!r}, {str(folder / kind)!r}, {steps}, {every}, **{more!r})"
        self.folder = folder / kind
        self.lines: list[str] = []
        self.process = subprocess.Popen(
            [sys.executable, "-c", f"from benchmarks.victims import child; {call}"],
            cwd=ROOT,
            env=environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        with self.process.stdout as lines:
            for line in lines:
                self.lines.append(line.rstrip())

    @property
    def text(self) -> str:
        return "\n".join(self.lines)

    def until(self, found: Callable[[], bool], seconds: float = 300.0) -> bool:
        """Waits until something is so; False where the process ended before."""
        end = time.monotonic() + seconds
        while not found():
            if self.process.poll() is not None:
                return False
            if time.monotonic() > end:
                self.process.kill()
                raise TimeoutError(self.text)
            time.sleep(0.001)
        return True

    def kill(self) -> None:
        """Ends it as a power cut would."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()
        self._reader.join()

    def finish(self) -> str:
        """The digest of the final state."""
        code = self.process.wait(600)
        self._reader.join()
        if code:
            raise RuntimeError(f"exit code {code}:\n{self.text}")
        return json.loads(self.lines[-1])["digest"]

    def saving(self) -> bool:
        """Whether Orbax is writing a checkpoint."""
        folder = self.folder / "checkpoints"
        return folder.is_dir() and any(UNFINISHED in name for name in os.listdir(folder))

    def saved(self) -> int:
        """The newest checkpoint."""
        folder = self.folder / "checkpoints"
        names = os.listdir(folder) if folder.is_dir() else []
        return max([int(name) for name in names if name.isdecimal()], default=0)


def environment() -> dict[str, str]:
    cache = pathlib.Path(tempfile.gettempdir()) / f"jaxvid-reliability-{os.getuid()}"
    set_here = {
        "JAX_PLATFORMS": "cpu",
        "XLA_FLAGS": QUICK,
        "JAX_COMPILATION_CACHE_DIR": str(cache),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1",
        "PYTHONPATH": str(ROOT),
    }
    rest = {k: v for k, v in os.environ.items() if not k.startswith(("JAX_", "XLA_"))}
    return rest | set_here
