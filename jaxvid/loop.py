"""The one training loop: next batch, step, hooks; resume, stop, save, go back.

It drives opaque steps and knows no model. Metrics are fetched one step late, so the device is never
waited for. A step that is not finite leaves the state alone; several in a row, or a game that is
lost (``health.Monitor``), send the run back to its checkpoint, on with another order of the data,
and after a few such returns it stops. SIGTERM and Ctrl-C save first and exit with 143 and 130.

Of several processes all run this loop alike and stop at the same step; the first one writes.
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

from jaxvid import cluster
from jaxvid._version import __version__
from jaxvid.config import TrainConfig
from jaxvid.health import Monitor
from jaxvid.io.checkpoint import Checkpoints
from jaxvid.io.log import RunLog, say
from jaxvid.parallel import CompiledStep, place_state, prefetch, replicate
from jaxvid.typing import HostBatch, Metrics, UserError


@dataclasses.dataclass(frozen=True)
class Phase:
    """A stretch of a run: the step that is used up to (not including) step ``until``."""

    step: CompiledStep
    until: int


Hook = Callable[[Any, int], float | None]


class Enough(Exception):
    """What ``on_sample`` raises to end a run before its last step; the message says why."""

    def __init__(self, text: str, *, score: float | None = None) -> None:
        super().__init__(text)
        self.score = score


class _GoBack(Exception):
    """The run is lost since its last checkpoint; the message says why."""


def run(
    name: str,
    folder: pathlib.Path,
    *,
    config: TrainConfig,
    phases: list[Phase],
    state: Any,
    batches: Callable[[int, int], Iterator[HostBatch]],
    on_sample: Hook | None = None,
) -> Any:
    """Trains from the newest checkpoint in ``folder`` (or ``state``) to ``config.steps``.

    ``batches(step, order)`` yields the batches from that step on; ``order`` counts the times that
    the run went back, each of which wants another order of the data. ``on_sample(state, step)``
    runs every ``sample_every`` steps and at the end, on every process, and must return the same on
    all; what it returns (lower is better) marks the best checkpoint, and ``Enough`` from it ends
    the run. Returns the final state. Raises UserError where the run was lost more than
    ``config.rollbacks`` times.
    """
    first = jax.device_get(state)  # steps donate theirs, and a run may go back to its beginning
    with contextlib.ExitStack() as stack:
        scored = on_sample is not None
        watchdog = stack.enter_context(cluster.Watchdog(config.watchdog))
        cluster.meet()
        checkpoints = stack.enter_context(
            Checkpoints(folder / "checkpoints", keep=config.keep, scored=scored)
        )
        stop = stack.enter_context(_signals())
        mesh, back = phases[0].step.mesh, 0
        while True:
            state = place_state(first, mesh)
            key = replicate(jax.random.key(config.seed), mesh)
            start, order = 0, back
            if checkpoints.latest is not None:
                state, start, note = _resume(name, checkpoints, state)
                order = max(order, int(note.get("order", 0)) + (1 if back else 0))
                if ended := note.get("ended"):
                    say(f"{name}: ended at step {start}: {ended}")
                    return state
            if start >= config.steps:
                return state
            drive = _Drive(name, folder, config, phases, checkpoints, on_sample, stop, watchdog)
            try:
                return drive(state, key, start, order, batches)
            except _GoBack as lost:
                back = order + 1
                say(f"{name}: {lost}; back to step {checkpoints.latest or 0} (return {back})")
                if back > config.rollbacks:
                    raise UserError(
                        f"{name}: lost {back} times, at last because {lost}; lower --optim.lr and "
                        "--critic-optim.lr, or look at the data"
                    ) from None


@dataclasses.dataclass
class _Drive:
    """One stretch of a run: from a start to its end, its interruption, or its loss."""

    name: str
    folder: pathlib.Path
    config: TrainConfig
    phases: list[Phase]
    checkpoints: Checkpoints
    on_sample: Hook | None
    stop: list[int]
    watchdog: cluster.Watchdog
    skipped: int = 0  # steps in a row
    monitor: Monitor = dataclasses.field(default_factory=Monitor)

    def __call__(
        self,
        state: Any,
        key: jax.Array,
        start: int,
        order: int,
        batches: Callable[[int, int], Iterator[HostBatch]],
    ) -> Any:
        config, stop, mesh = self.config, self.stop, self.phases[0].step.mesh
        stream = prefetch(batches(start, order), mesh)
        with _open_log(self.name, self.folder, config, start) as log:
            pending: tuple[int, Metrics] | None = None
            for step in range(start, config.steps):
                batch = next(stream)
                phase = next(p for p in self.phases if step < p.until)
                if not phase.step.compiled(batch):  # a new phase, or batches of another shape
                    say(f"{self.name}: compiling")
                    _announce(self.name, phase.step.compile(state, batch, key))
                    cluster.meet()
                with jax.transfer_guard_device_to_host("disallow"):
                    state, metrics = phase.step(state, batch, key)
                self._record(log, pending)
                pending = (step + 1, metrics)
                done, last = step + 1, step + 1 == config.steps
                self.watchdog.feed()
                if cluster.preempted(done):
                    stop.append(signal.SIGTERM)
                if not (stop or last or done % config.sample_every == 0 or _due(done, config)):
                    continue
                self._record(log, pending)  # before a save: nothing that is lost is ever saved
                pending = None
                score, ended = None, ""
                if self.on_sample and (last or done % config.sample_every == 0):
                    try:
                        score = self.on_sample(state, done)
                    except Enough as enough:
                        score, ended = enough.score, str(enough)
                if stop or last or ended or _due(done, config):
                    note = _note() | {"order": order} | ({"ended": ended} if ended else {})
                    self.checkpoints.save(done, state, note, score=score)
                if ended:
                    say(f"{self.name}: ended at step {done}: {ended}")
                    return state
                if stop:
                    say(f"{self.name}: stopped at step {done}; the same command goes on from there")
                    raise SystemExit(128 + stop[0])
        return state

    def _record(self, log: RunLog | None, pending: tuple[int, Metrics] | None) -> None:
        """Logs the metrics of a step; raises _GoBack where they say that the run is lost."""
        if pending is None:
            return
        step, metrics = pending
        values = {key: float(value) for key, value in sorted(jax.device_get(metrics).items())}
        if log is not None:
            log.metrics(step, values)
        bad = [key for key, value in values.items() if not math.isfinite(value)]
        self.skipped = self.skipped + 1 if bad or values.get("skipped") else 0
        if self.skipped == 1:
            say(f"{self.name}: step {step}: {bad[0] if bad else 'a weight'} is not finite; skipped")
        if self.skipped >= self.config.skips:
            raise _GoBack(f"step {step} is the {self.skipped}th in a row that is not finite")
        for finding in self.monitor.watch(values):
            say(f"{self.name}: step {step}: {finding.text}")
            if finding.severe:
                raise _GoBack(f"step {step}: {finding.text}")


def _due(done: int, config: TrainConfig) -> bool:
    return done % config.checkpoint_every == 0


def _resume(name: str, checkpoints: Checkpoints, like: Any) -> tuple[Any, int, dict[str, Any]]:
    """The newest state, the step it was saved at, and its note."""
    at = checkpoints.latest
    assert at is not None
    state, note = checkpoints.restore(like, at)
    _compare(note)
    say(f"{name}: resuming at step {at}")
    return state, at, note


def _open_log(name: str, folder: pathlib.Path, config: TrainConfig, start: int) -> Any:
    """The log of a run; of several processes only the first one has one."""
    if cluster.index():
        return contextlib.nullcontext()
    return RunLog(
        folder,
        name=name,
        start=start,
        steps=config.steps,
        log_every=config.log_every,
        batch_size=config.batch_size,
        tensorboard=config.tensorboard,
    )


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
    """Collects SIGTERM and SIGINT in a list; a second one ends the program at once.

    Of several processes each hands its signal to JAX's runtime, which catches SIGTERM by itself
    and tells all of them the step to stop at (``cluster.preempted``).
    """
    caught: list[int] = []

    def handle(number: int, frame: Any) -> None:
        if caught:
            sys.exit(128 + number)
        caught.append(number)

    def hand_on(number: int, frame: Any) -> None:
        signal.raise_signal(signal.SIGTERM)

    handlers = {signal.SIGTERM: handle, signal.SIGINT: handle}
    if cluster.count() > 1:
        handlers = {signal.SIGINT: hand_on}
    try:
        previous = {s: signal.signal(s, handler) for s, handler in handlers.items()}
    except ValueError:  # not the main thread: the program that embeds the loop handles signals
        yield caught
        return
    try:
        yield caught
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
