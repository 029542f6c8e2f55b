"""The one training loop: next batch, step, hooks; resume, stop, save.

It drives opaque steps and knows no model. Metrics are fetched one step late, so the device is never
waited for; a non-finite value stops the run with its step number. SIGTERM and Ctrl-C save first and
exit with 143 and 130.
"""

import contextlib
import dataclasses
import math
import os
import pathlib
import platform
import signal
import sys
from collections.abc import Callable, Iterator
from typing import Any

import jax

from jaxvid._version import __version__
from jaxvid.config import TrainConfig
from jaxvid.io.checkpoint import Checkpoints
from jaxvid.io.log import RunLog, say
from jaxvid.parallel import CompiledStep, prefetch, replicate
from jaxvid.typing import HostBatch, Metrics, UserError


@dataclasses.dataclass(frozen=True)
class Phase:
    """A stretch of a run: the step that is used up to (not including) step ``until``."""

    step: CompiledStep
    until: int


Hook = Callable[[Any, int], float | None]


def run(
    name: str,
    folder: pathlib.Path,
    *,
    config: TrainConfig,
    phases: list[Phase],
    state: Any,
    batches: Callable[[int], Iterator[HostBatch]],
    on_sample: Hook | None = None,
) -> Any:
    """Trains from the newest checkpoint in ``folder`` (or ``state``) to ``config.steps``.

    ``batches(step)`` yields the batches from that step on. ``on_sample(state, step)`` runs every
    ``sample_every`` steps and at the end; what it returns (lower is better) marks the best
    checkpoint. Returns the final state.
    """
    mesh = phases[0].step.mesh
    state, key = replicate((state, jax.random.key(config.seed)), mesh)
    with contextlib.ExitStack() as stack:
        scored = on_sample is not None
        checkpoints = stack.enter_context(
            Checkpoints(folder / "checkpoints", keep=config.keep, scored=scored)
        )
        if checkpoints.latest is not None:
            state = _resume(name, checkpoints, state)
        start = int(state.step)
        if start >= config.steps:
            return state
        stop = stack.enter_context(_signals())
        stream = prefetch(batches(start), mesh)
        log = stack.enter_context(_open_log(name, folder, config, start))
        pending: tuple[int, Metrics] | None = None
        for step in range(start, config.steps):
            batch = next(stream)
            phase = next(p for p in phases if step < p.until)
            if not phase.step.compiled(batch):  # a new phase, or batches of another shape
                say(f"{name}: compiling")
                _announce(name, phase.step.compile(state, batch, key))
            with jax.transfer_guard_device_to_host("disallow"):
                state, metrics = phase.step(state, batch, key)
            _record(log, pending)
            pending = (step + 1, metrics)
            done, last = step + 1, step + 1 == config.steps
            if not (stop or last or done % config.sample_every == 0 or _due(done, config)):
                continue
            _record(log, pending)  # before a save: nothing non-finite is ever saved
            pending = None
            score = None
            if on_sample and (last or done % config.sample_every == 0):
                score = on_sample(state, done)
            if stop or last or _due(done, config):
                checkpoints.save(done, state, _note(), score=score)
            if stop:
                say(f"{name}: stopped at step {done}; the same command goes on from there")
                raise SystemExit(128 + stop[0])
    return state


def _due(done: int, config: TrainConfig) -> bool:
    return done % config.checkpoint_every == 0


def _resume(name: str, checkpoints: Checkpoints, like: Any) -> Any:
    state, note = checkpoints.restore(like)
    _compare(note)
    say(f"{name}: resuming at step {int(state.step)}")
    return state


def _open_log(name: str, folder: pathlib.Path, config: TrainConfig, start: int) -> RunLog:
    return RunLog(
        folder,
        name=name,
        start=start,
        steps=config.steps,
        log_every=config.log_every,
        batch_size=config.batch_size,
        tensorboard=config.tensorboard,
    )


def _record(log: RunLog, pending: tuple[int, Metrics] | None) -> None:
    if pending is None:
        return
    step, metrics = pending
    values = {key: float(value) for key, value in sorted(jax.device_get(metrics).items())}
    bad = [key for key, value in values.items() if not math.isfinite(value)]
    if bad:
        raise UserError(
            f"step {step}: {bad[0]} is {values[bad[0]]}; lower --optim.lr, or resume from the "
            "checkpoint before it with another --train.seed"
        )
    log.metrics(step, values)


def _announce(name: str, costs: dict[str, float]) -> None:
    say(
        f"{name}: compiled in {costs['seconds']:.1f} s "
        f"({costs['flops'] / 1e9:.1f} GFLOP and {costs['bytes'] / 2**20:.0f} MiB a step)"
    )


def _note() -> dict[str, Any]:
    """The conditions under which a resumed run is bit for bit the same."""
    return {
        "jaxvid": __version__,
        "jax": jax.__version__,
        "python": platform.python_version(),
        "devices": jax.device_count(),
        "cores": os.cpu_count(),
    }


def _compare(note: dict[str, Any]) -> None:
    here = _note()
    for key in ("jax", "devices", "cores"):
        if note.get(key) != here[key]:
            say(
                f"note: saved with {key} {note.get(key)}, resumed with {here[key]}: results agree "
                "to rounding, not to the bit"
            )


@contextlib.contextmanager
def _signals() -> Iterator[list[int]]:
    """Collects SIGTERM and SIGINT in a list; a second one ends the program at once."""
    caught: list[int] = []

    def handle(number: int, frame: Any) -> None:
        if caught:
            sys.exit(128 + number)
        caught.append(number)

    try:
        previous = {s: signal.signal(s, handle) for s in (signal.SIGTERM, signal.SIGINT)}
    except ValueError:  # not the main thread: the program that embeds the loop handles signals
        yield caught
        return
    try:
        yield caught
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
