"""The one training loop: next batch, step, hooks; resume, stop, save, go back.

It drives opaque steps and knows no model. Metrics are fetched one step late, so the device is never
waited for. A step that is not finite leaves the state alone; several in a row, or a game that is
lost (``health.Monitor``), send the run back to its checkpoint, on with another order of the data,
and after a few such returns it stops. SIGTERM and Ctrl-C save first and exit with 143 and 130.

Of several processes all run this loop alike and stop at the same step; the first one writes.
"""

import concurrent.futures
import contextlib
import dataclasses
import math
import os
import pathlib
import platform
import re
import signal
import sys
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jaxlib
from jax.sharding import Mesh

from jaxvid import cluster, health, memory
from jaxvid._version import __version__
from jaxvid.accounting import Account
from jaxvid.config import TrainConfig
from jaxvid.io.checkpoint import Checkpoints
from jaxvid.io.lock import one_writer
from jaxvid.io.log import RunLog, say
from jaxvid.parallel import (
    CompiledStep,
    compile_function,
    place_state,
    prefetch,
    replicate,
    shardings,
)
from jaxvid.typing import HostBatch, Metrics, UserError


@dataclasses.dataclass(frozen=True)
class Phase:
    """A stretch of a run: the step that is used up to (not including) step ``until``."""

    step: CompiledStep
    until: int


Hook = Callable[[Any, int], float | None]


class Drawn:
    """A first state by one program, compiled and run beside what needs the state's shapes alone.

    ``init(key)`` draws it. Leaf by leaf that would be a hundred programs, none of them kept. A run
    that goes on from a checkpoint never draws.
    """

    def __init__(self, init: Callable[[jax.Array], Any], seed: int) -> None:
        self._key = jax.random.key(seed)
        compiled: Any = compile_function(init, once=True)
        with memory.uncollected():
            self._traced = compiled.trace(self._key)
        self.shapes = jax.tree.map(_shape, self._traced.out_info)

    def draw(self) -> Callable[[], Any]:
        """Begins to draw; what is returned waits for it, and gives arrays of NumPy."""
        with memory.uncollected():
            lowered = self._traced.lower()
        pool = concurrent.futures.ThreadPoolExecutor(1)
        drawn = pool.submit(lambda: jax.device_get(lowered.compile()(self._key)))
        pool.shutdown(wait=False)
        return drawn.result


class _Given:
    """A first state that is there."""

    def __init__(self, state: Any) -> None:
        self.shapes = jax.tree.map(_shape, state)
        self._host = jax.device_get(state)  # steps donate theirs, and a run may begin again

    def draw(self) -> Callable[[], Any]:
        return lambda: self._host


def describe(state: Any, mesh: Mesh) -> Any:
    """The state as shapes that say where they go on the mesh: enough to compile and to restore."""
    return jax.tree.map(_shape, state, shardings(state, mesh))


def _shape(leaf: Any, sharding: Any = None) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding)


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
    data: str = "",
    on_sample: Hook | None = None,
) -> Any:
    """Trains from the newest checkpoint in ``folder`` (or ``state``, arrays or ``Drawn``) to
    ``config.steps``.

    ``batches(step, order)`` yields the batches from that step on; ``order`` counts the times that
    the run went back, each of which wants another order of the data and draws otherwise;
    ``data`` tells these from others. ``on_sample(state, step)`` runs every ``sample_every`` steps
    and at the end, on every process, and must return the same on all; what it returns (lower is
    better) marks the best checkpoint, and ``Enough`` from it ends the run. Returns the final state.
    Raises UserError where the run was lost more than ``config.rollbacks`` times.
    """
    first = state if isinstance(state, Drawn) else _Given(state)
    with contextlib.ExitStack() as stack:
        stack.enter_context(one_writer(folder))
        account = Account(folder)
        watchdog = stack.enter_context(cluster.Watchdog(config.watchdog))
        cluster.meet()
        checkpoints = stack.enter_context(
            Checkpoints(folder / "checkpoints", keep=config.keep, scored=on_sample is not None)
        )
        stop = stack.enter_context(_signals())
        mesh, back, note = phases[0].step.mesh, 0, _note(phases[0].step.mesh, data)
        like = describe(first.shapes, mesh)
        while True:
            state, start, order = None, 0, back
            with account.part("checkpoint"):
                if resumed := checkpoints.latest is not None:
                    state, start, before = _resume(name, checkpoints, like, note)
            if resumed:
                order = max(order, int(before.get("order", 0)) + (1 if back else 0))
                if ended := before.get("ended"):
                    say(f"{name}: ended at step {start}: {ended}")
                if ended or start >= config.steps:
                    return state
            drive = _Drive(
                *(name, folder, config, phases, checkpoints, account, on_sample, stop, watchdog),
                *(like, first.draw() if state is None else None, note),
            )
            try:
                return drive(
                    state, replicate(_key(config.seed, order), mesh), start, order, batches
                )
            except _GoBack as lost:
                back = order + 1
                say(f"{name}: {lost}; back to step {checkpoints.latest or 0} (return {back})")
                if back > config.rollbacks:
                    raise UserError(
                        f"{name}: lost {back} times, at last because {lost}; look at the data, or "
                        "lower --optim.lr and --critic-optim.lr in a new --run"
                    ) from None


def _key(seed: int, order: int) -> jax.Array:
    """What all is drawn from; after a return from another one."""
    key = jax.random.key(seed)
    return jax.random.fold_in(key, order) if order else key


@dataclasses.dataclass
class _Drive:
    """One stretch of a run: from a start to its end, its interruption, or its loss."""

    name: str
    folder: pathlib.Path
    config: TrainConfig
    phases: list[Phase]
    checkpoints: Checkpoints
    account: Account
    on_sample: Hook | None
    stop: list[int]
    watchdog: cluster.Watchdog
    like: Any  # the state's shapes and places
    first: Callable[[], Any] | None  # where there is no checkpoint: the state to begin with
    note: dict[str, Any]
    skipped: int = 0  # steps in a row
    monitor: health.Monitor = dataclasses.field(default_factory=health.Monitor)

    def __call__(
        self,
        state: Any,
        key: jax.Array,
        start: int,
        order: int,
        batches: Callable[[int, int], Iterator[HostBatch]],
    ) -> Any:
        config, account, mesh = self.config, self.account, self.phases[0].step.mesh
        stream = prefetch(batches(start, order), mesh)
        with self._open_log(start) as log:
            account.lost(start, log.dropped)
            pending: tuple[int, Metrics] | None = None
            for step in range(start, config.steps):
                with account.part("data"):
                    batch = next(stream)
                phase = next(p for p in self.phases if step < p.until)
                if not phase.step.compiled(batch):  # a new phase, or batches of another shape
                    say(f"{self.name}: compiling")
                    with account.part("compile"):
                        _announce(self.name, phase.step.compile(self.like, batch, key))
                        cluster.meet()
                if self.first and state is None:
                    state = place_state(self.first(), mesh)
                with account.step(step + 1), jax.transfer_guard_device_to_host("disallow"):
                    state, metrics = phase.step(state, batch, key)
                account.count(phase.step.flops)
                self._record(log, pending)
                pending = (step + 1, metrics)
                done, last = step + 1, step + 1 == config.steps
                self.watchdog.feed()
                if cluster.preempted(done):
                    self.stop.append(signal.SIGTERM)
                due = self.stop or last or done % config.checkpoint_every == 0
                if not (due or done % config.sample_every == 0):
                    continue
                self._record(log, pending)  # before a save: nothing that is lost is ever saved
                pending = None
                if self._pause(log, state, done, order):
                    return state
        return state

    def _pause(self, log: RunLog, state: Any, done: int, order: int) -> bool:
        """Samples and saves where that is due after step ``done``; whether the run ends there."""
        config, last = self.config, done == self.config.steps
        score, ended = None, ""
        if self.on_sample and (last or done % config.sample_every == 0):
            log.flush()  # a hook may read it, and is to find the same however often that is written
            try:
                with self.account.part("sample"):
                    score = self.on_sample(state, done)
            except Enough as enough:
                score, ended = enough.score, str(enough)
        if self.stop or last or ended or done % config.checkpoint_every == 0:
            note = self.note | {"order": order} | ({"ended": ended} if ended else {})
            with self.account.part("checkpoint"):
                log.flush()
                memory.give_back()  # what the save before has freed: else each one adds some 30 MB
                self.checkpoints.save(done, state, note, score=score)
                if self.stop or last or ended:
                    self.checkpoints.wait()
            self.account.write()
        if ended:
            say(f"{self.name}: ended at step {done}: {ended}")
        elif self.stop:
            at = self.checkpoints.latest or 0
            say(f"{self.name}: stopped at step {done}; the same command goes on from step {at}")
            raise SystemExit(128 + self.stop[0])
        if last or ended:
            self.account.close(self.name)
        return bool(ended)

    def _open_log(self, start: int) -> RunLog:
        return RunLog(
            self.folder,
            name=self.name,
            start=start,
            steps=self.config.steps,
            log_every=self.config.log_every,
            batch_size=self.config.batch_size,
            tensorboard=self.config.tensorboard,
            past=self._watch,  # so that it knows what an uninterrupted run would
        )

    def _watch(self, values: dict[str, float]) -> list[health.Finding]:
        """Takes in the metrics of a step; the troubles that it began."""
        bad = values.get("skipped") or not all(map(math.isfinite, values.values()))
        self.skipped = self.skipped + 1 if bad else 0
        return self.monitor.watch(values)

    def _record(self, log: RunLog, pending: tuple[int, Metrics] | None) -> None:
        """Logs the metrics of a step; raises _GoBack where they say that the run is lost."""
        if pending is None:
            return
        step, metrics = pending
        values = {key: float(value) for key, value in sorted(jax.device_get(metrics).items())}
        log.metrics(step, values, self.account.live())
        findings = self._watch(values)
        bad = [key for key, value in values.items() if not math.isfinite(value)]
        if self.skipped == 1:
            say(f"{self.name}: step {step}: {bad[0] if bad else 'a weight'} is not finite; skipped")
        if self.skipped >= self.config.skips:
            raise _GoBack(f"step {step} is the {self.skipped}th in a row that is not finite")
        for finding in findings:
            say(f"{self.name}: step {step}: {finding.text}")
            if finding.severe:
                raise _GoBack(f"step {step}: {finding.text}")


def _resume(
    name: str, checkpoints: Checkpoints, like: Any, here: dict[str, Any]
) -> tuple[Any, int, dict[str, Any]]:
    """The newest good state, the step it was saved at, and its note."""
    state, note = checkpoints.restore(like)
    at = checkpoints.latest or 0
    _compare(note, here)
    say(f"{name}: resuming at step {at}")
    return state, at, note


def _announce(name: str, costs: dict[str, float]) -> None:
    say(
        f"{name}: compiled in {costs['seconds']:.1f} s "
        f"({costs['flops'] / 1e9:.1f} GFLOP and {costs['bytes'] / 2**20:.0f} MiB a step)"
    )


def _note(mesh: Mesh, data: str) -> dict[str, Any]:
    """The conditions under which a resumed run is bit for bit the same."""
    return {
        "jaxvid": __version__,
        "jax": jax.__version__,
        "jaxlib": jaxlib.__version__,
        "python": platform.python_version(),
        "platform": jax.default_backend(),
        "device": _device(),
        "devices": jax.device_count(),
        "processes": cluster.count(),
        "mesh": dict(mesh.shape),
        "cores": os.cpu_count(),
        "usable cores": len(os.sched_getaffinity(0)) if sys.platform == "linux" else None,
        "data": data,
    }


def _device() -> str:
    """The kind of the devices; of a CPU the model."""
    kind, about = jax.devices()[0].device_kind, pathlib.Path("/proc/cpuinfo")
    if kind != "cpu" or not about.is_file():
        return kind
    return (re.findall(r"model name\s*: (.*)", about.read_text("utf-8")) or [kind])[0]


def _compare(note: dict[str, Any], here: dict[str, Any]) -> None:
    """Says what a resumed run has otherwise than the one that was saved; notes grew over time."""
    rest = {"data": "changed or moved; if they are others, training goes on by others"}
    for key in here:
        if note.get(key, here[key]) != here[key]:
            text = rest.get(key, "results agree to rounding, not to the bit")
            say(f"note: saved with {key} {note[key]}, resumed with {here[key]}: {text}")


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
