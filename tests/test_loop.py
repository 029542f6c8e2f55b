"""The loop: resume equals the straight run, bad numbers stop it, signals save first."""

import dataclasses
import functools
import json
import os
import pathlib
import shutil
import signal
from collections.abc import Iterator

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxvid import loop
from jaxvid.config import TrainConfig
from jaxvid.health import keep_if_finite
from jaxvid.io.checkpoint import Checkpoints, tree_digest
from jaxvid.parallel import CompiledStep, compile_step, make_mesh, place_batch, replicate
from jaxvid.state import PlannerState, init_planner
from jaxvid.typing import Batch, HostBatch, Metrics, UserError

TX = optax.adam(1e-2)


def make_step(*, reduce=lambda tree: tree, turned=10_000):  # type: ignore[no-untyped-def]
    """Least squares with noise from the example's address: small, but a whole training state. From
    step ``turned`` on it draws as after a return.
    """

    def step(state: PlannerState, batch: Batch, key: jax.Array) -> tuple[PlannerState, Metrics]:
        def loss(w: jax.Array) -> jax.Array:
            keys = key, jax.random.fold_in(key, 1)
            noises = [jax.random.normal(jax.random.fold_in(k, state.step)) for k in keys]
            noise = jnp.where(state.step < turned, *noises)
            return ((batch["x"] @ w - 1.0 + 0.1 * noise) ** 2).mean()

        value, grad = jax.value_and_grad(loss)(state.params)
        value = jnp.asarray(value)
        updates, opt_state = TX.update(reduce(grad), state.opt_state)
        params = optax.apply_updates(state.params, updates)
        new = state.replace(step=state.step + 1, params=params, ema=params, opt_state=opt_state)
        return keep_if_finite(state, new, reduce({"loss": value}))

    return step


def batches(start: int, order: int = 0) -> Iterator[HostBatch]:
    for step in range(start, 10_000):
        rng = np.random.default_rng((order, step))
        yield {"x": rng.normal(size=(4, 3)).astype(np.float32)}


def shifted(start: int, order: int, *, by: int) -> Iterator[HostBatch]:
    return batches(start, order + by)


def poisoned(
    start: int, order: int, *, at: range, orders: tuple[int, ...] = (0,)
) -> Iterator[HostBatch]:
    for step, batch in enumerate(batches(start, order), start):
        bad = step in at and order in orders
        yield {"x": batch["x"] * np.float32("nan")} if bad else batch


def train(  # type: ignore[no-untyped-def]
    folder: pathlib.Path, steps: int, *, source=batches, config=None, step=None, **kwargs
):
    config = config or TrainConfig(steps=steps, batch_size=4, checkpoint_every=4, log_every=5)
    step = step or compile_step(make_step, make_mesh(jax.devices()[:1]))
    folder.mkdir(exist_ok=True)
    kwargs.setdefault("state", init_planner(jnp.zeros(3), TX))
    return loop.run(
        "test",
        folder,
        config=config,
        phases=[loop.Phase(step, 10_000)],
        batches=source,
        **kwargs,
    )


def returned(at: int) -> CompiledStep:
    """A step that draws from step ``at`` on as after a return."""
    return compile_step(functools.partial(make_step, turned=at), make_mesh(jax.devices()[:1]))


def logged(folder: pathlib.Path) -> list[int]:
    lines = (folder / "metrics.jsonl").read_text().splitlines()
    return [json.loads(line)["step"] for line in lines]


@pytest.mark.parametrize("stop", [1, 5, 11])
def test_resumed_run_is_bit_equal_to_a_straight_one(tmp_path: pathlib.Path, stop: int) -> None:
    straight = train(tmp_path / "straight", 12)
    train(tmp_path / "resumed", stop)
    resumed = train(tmp_path / "resumed", 12)
    assert tree_digest(resumed) == tree_digest(straight)
    assert logged(tmp_path / "resumed") == logged(tmp_path / "straight") == list(range(1, 13))
    rows = [(tmp_path / name / "metrics.jsonl").read_text() for name in ("straight", "resumed")]
    assert rows[0] == rows[1]


def test_a_finished_run_is_left_alone(tmp_path: pathlib.Path) -> None:
    done = train(tmp_path, 6)
    assert tree_digest(train(tmp_path, 6)) == tree_digest(done)


def test_a_signal_saves_and_the_next_run_goes_on(tmp_path: pathlib.Path) -> None:
    def interrupting(start: int, order: int) -> Iterator[HostBatch]:
        for step, batch in enumerate(batches(start, order), start):
            if step == 7:
                os.kill(os.getpid(), signal.SIGTERM)
            yield batch

    with pytest.raises(SystemExit) as stopped:
        train(tmp_path / "stopped", 12, source=interrupting)
    assert stopped.value.code == 128 + signal.SIGTERM
    with Checkpoints(tmp_path / "stopped" / "checkpoints") as checkpoints:
        assert 0 < (checkpoints.latest or 0) < 12
        assert checkpoints.latest not in (4, 8)  # not the regular ones: the one of the signal
    resumed = train(tmp_path / "stopped", 12)
    assert tree_digest(resumed) == tree_digest(train(tmp_path / "straight", 12))


def test_a_step_that_is_not_finite_is_skipped(
    tmp_path: pathlib.Path, capsys: pytest.CaptureFixture
) -> None:
    """The state is that of a run that never saw the batch, and the log has a null."""
    state = train(tmp_path, 12, source=functools.partial(poisoned, at=range(6, 7)))
    assert "step 7: loss is not finite; skipped" in capsys.readouterr().out
    assert int(state.step) == 11 and logged(tmp_path) == list(range(1, 13))
    lines = (tmp_path / "metrics.jsonl").read_text().splitlines()
    assert json.loads(lines[6]) == {"loss": None, "skipped": 1.0, "step": 7}

    def without(start: int, order: int) -> Iterator[HostBatch]:
        yield from (b for at, b in enumerate(batches(0), 0) if at != 6 and at >= start)

    assert tree_digest(state) == tree_digest(train(tmp_path / "other", 11, source=without))


CAREFUL = TrainConfig(steps=12, batch_size=4, checkpoint_every=4, log_every=5, skips=2, rollbacks=2)


def test_several_in_a_row_go_back_to_the_checkpoint_and_another_order(
    tmp_path: pathlib.Path, capsys: pytest.CaptureFixture
) -> None:
    source = functools.partial(poisoned, at=range(5, 12))
    state = train(tmp_path / "a", 12, source=source, config=CAREFUL)
    assert "back to step 4 (return 1)" in capsys.readouterr().out
    assert logged(tmp_path / "a") == list(range(1, 13))
    # the same as a run of order 0 up to the checkpoint, and of order 1 from there

    def turning(start: int, order: int) -> Iterator[HostBatch]:
        yield from (next(batches(step, step >= 4)) for step in range(start, 12))

    wanted = train(tmp_path / "b", 12, source=turning, config=CAREFUL, step=returned(4))
    assert tree_digest(state) == tree_digest(wanted)
    # resumed after the return, it goes on in that order
    config = dataclasses.replace(CAREFUL, steps=16)
    longer = train(tmp_path / "a", 16, source=source, config=config)

    def turned(start: int, order: int) -> Iterator[HostBatch]:
        yield from (next(batches(step, step >= 4)) for step in range(start, 16))

    assert tree_digest(longer) == tree_digest(
        train(tmp_path / "b", 16, source=turned, config=config, step=returned(4))
    )


@pytest.mark.parametrize(
    "key", ["jaxvid", "jax", "jaxlib", "python", "device", "cores", "usable cores", "devices"]
)
def test_another_machine_or_version_is_said(
    key: str,
    tmp_path: pathlib.Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture,
) -> None:
    note = loop._note
    monkeypatch.setattr(loop, "_note", lambda *args: note(*args) | {key: "old"})
    train(tmp_path / "other", 4)
    monkeypatch.setattr(
        loop, "_note", lambda *args: {k: v for k, v in note(*args).items() if k != key}
    )
    train(tmp_path / "before", 4)  # as versions did that had no such key
    monkeypatch.undo()
    train(tmp_path / "before", 8)
    assert "note:" not in capsys.readouterr().out
    train(tmp_path / "other", 8)
    assert f"note: saved with {key} old, resumed with" in capsys.readouterr().out


def test_changed_data_are_said(tmp_path: pathlib.Path, capsys: pytest.CaptureFixture) -> None:
    train(tmp_path, 4, data="clips(10)")
    train(tmp_path, 8, data="clips(10)")
    assert "note:" not in capsys.readouterr().out
    train(tmp_path, 12, data="clips(11)")
    assert (
        "saved with data clips(10), resumed with clips(11): changed or moved; if"
        in capsys.readouterr().out
    )


def test_a_resumed_run_counts_on(tmp_path: pathlib.Path) -> None:
    """Two bad steps, a checkpoint between them: the second is still the second in a row."""
    source = functools.partial(poisoned, at=range(3, 5))
    straight = train(tmp_path / "a", 12, source=source, config=CAREFUL)
    short = dataclasses.replace(CAREFUL, steps=4)
    train(tmp_path / "b", 4, source=source, config=short)
    resumed = train(tmp_path / "b", 12, source=source, config=CAREFUL)
    assert tree_digest(resumed) == tree_digest(straight)
    assert json.loads((tmp_path / "b" / "accounting.json").read_text())["lost_steps"] == 1


def test_no_checkpoint_is_ahead_of_the_log(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever is killed after a save, the steps before it are in the log."""
    seen: list[int] = []
    save = Checkpoints.save

    def saving(self, step, *rest, **more):  # type: ignore[no-untyped-def]
        seen.append(len(logged(tmp_path)) - step)
        save(self, step, *rest, **more)

    monkeypatch.setattr(Checkpoints, "save", saving)
    train(tmp_path, 12, config=dataclasses.replace(CAREFUL, log_every=1000))
    assert seen == [0, 0, 0]


def test_the_account_of_a_run(tmp_path: pathlib.Path, capsys: pytest.CaptureFixture) -> None:
    def account() -> dict:
        found = json.loads((tmp_path / "accounting.json").read_text())
        assert all(seconds >= 0 for seconds in found["seconds"].values())
        whole = sum(found["seconds"].values())
        assert found["goodput"] == pytest.approx(found["seconds"]["productive"] / whole, rel=1e-3)
        return found

    train(tmp_path, 10, on_sample=lambda state, step: 1.0)
    first = account()
    assert first["steps"] == 10 and first["lost_steps"] == first["resumes"] == 0
    assert first["flops"] > 0 and first["matrix_rate"] > 0 and first["peak_memory"]["host"] > 2**20
    assert "productive" in (said := capsys.readouterr().out) and "GiB at most" in said
    assert "goodput" in said
    shutil.rmtree(tmp_path / "checkpoints" / "10")  # as if it had been killed after step 10
    train(tmp_path, 12, on_sample=lambda state, step: 1.0)
    second = account()
    assert second["steps"] == 12 and second["lost_steps"] == 2 and second["resumes"] == 1
    assert second["seconds"]["lost"] > 0
    assert sum(second["seconds"].values()) > sum(first["seconds"].values())
    assert second["flops"] == pytest.approx(first["flops"] * 1.2)


def test_a_run_that_is_lost_again_and_again_stops(tmp_path: pathlib.Path) -> None:
    source = functools.partial(poisoned, at=range(5, 12), orders=(0, 1, 2))
    with pytest.raises(UserError, match="lost 3 times.*lower --optim.lr"):
        train(tmp_path, 12, source=source, config=CAREFUL)
    with Checkpoints(tmp_path / "checkpoints") as checkpoints:
        assert checkpoints.latest == 4


def test_a_run_goes_back_to_its_very_beginning(tmp_path: pathlib.Path) -> None:
    source = functools.partial(poisoned, at=range(0, 3))
    state = train(tmp_path / "a", 6, source=source, config=dataclasses.replace(CAREFUL, steps=6))
    other = train(tmp_path / "b", 6, source=functools.partial(shifted, by=1), step=returned(0))
    assert tree_digest(state) == tree_digest(other)


def test_the_best_checkpoint_outlives_the_latest(tmp_path: pathlib.Path) -> None:
    config = TrainConfig(steps=20, batch_size=4, checkpoint_every=4, sample_every=4, keep=2)
    scores = {4: 3.0, 8: 1.0, 12: 2.0, 16: 4.0, 20: 5.0}
    train(tmp_path, 20, config=config, on_sample=lambda state, step: scores[step])
    kept = {int(path.name) for path in (tmp_path / "checkpoints").iterdir()}
    assert kept == {8, 16, 20}


def test_phases_follow_one_another(tmp_path: pathlib.Path) -> None:
    """A phase is used up to its last step, also when a run is resumed in the middle of one."""

    def halted(**kwargs):  # type: ignore[no-untyped-def]
        inner = make_step(**kwargs)

        def step(state, batch, key):  # type: ignore[no-untyped-def]
            new, metrics = inner(state, batch, key)
            return new.replace(params=state.params), metrics

        return step

    mesh = make_mesh(jax.devices()[:1])
    phases = [
        loop.Phase(compile_step(make_step, mesh), 5),
        loop.Phase(compile_step(halted, mesh), 100),
    ]

    def go(folder: pathlib.Path, steps: int) -> PlannerState:
        folder.mkdir(exist_ok=True)
        config = dataclasses.replace(TrainConfig(steps=steps, batch_size=4), checkpoint_every=3)
        return loop.run(
            "test",
            folder,
            config=config,
            phases=phases,
            state=init_planner(jnp.zeros(3), TX),
            batches=batches,
        )

    five, nine = go(tmp_path / "a", 5), go(tmp_path / "b", 9)
    np.testing.assert_array_equal(five.params, nine.params)
    go(tmp_path / "c", 7)
    assert tree_digest(go(tmp_path / "c", 9)) == tree_digest(nine)


@pytest.mark.parametrize("backend", ["jit", "pmap"])
def test_four_devices_go_through_the_loop(tmp_path: pathlib.Path, backend: str) -> None:
    """The loop is the same for both backends, and a checkpoint of one device goes on on four."""
    straight = train(tmp_path / "one", 8)
    train(tmp_path / "many", 4)
    step = compile_step(make_step, make_mesh(jax.devices()[:4]), backend=backend)  # type: ignore[arg-type]
    many = train(tmp_path / "many", 8, step=step)
    np.testing.assert_allclose(many.params, straight.params, atol=1e-6)
    assert logged(tmp_path / "many") == list(range(1, 9))


def alternating(start: int, order: int = 0) -> Iterator[HostBatch]:
    """Batches of four and eight rows by turns, and now and then an array of no elements."""
    for step in range(start, 10_000):
        x = np.random.default_rng(step).normal(size=(4 + 4 * (step % 2), 3)).astype(np.float32)
        yield {"x": x, "image": np.zeros((len(x), 0, 3), np.uint8)}


@pytest.mark.parametrize("backend", ["jit", "pmap"])
def test_batches_of_two_shapes_compile_twice(
    tmp_path: pathlib.Path, capsys: pytest.CaptureFixture, backend: str
) -> None:
    traced: list[tuple[int, ...]] = []

    def counted(**kwargs):  # type: ignore[no-untyped-def]
        inner = make_step(**kwargs)

        def step(state, batch, key):  # type: ignore[no-untyped-def]
            traced.append(batch["x"].shape)
            return inner(state, batch, key)

        return step

    step = compile_step(counted, make_mesh(jax.devices()[:4]), backend=backend)  # type: ignore[arg-type]
    state = train(tmp_path, 9, source=alternating, step=step)
    assert len(traced) == len(set(traced)) == 2
    assert capsys.readouterr().out.count("test: compiled in") == 2
    assert int(state.step) == 9 and logged(tmp_path) == list(range(1, 10))


@pytest.mark.parametrize("backend", ["jit", "pmap"])
def test_a_step_keeps_one_program_for_each_shape(backend: str) -> None:
    step = compile_step(make_step, make_mesh(jax.devices()[:2]), backend=backend)  # type: ignore[arg-type]
    key = replicate(jax.random.key(0), step.mesh)
    small, large = (place_batch(next(alternating(n)), step.mesh) for n in (0, 1))

    def fresh() -> PlannerState:
        return replicate(init_planner(jnp.zeros(3), TX), step.mesh)

    plain = [step(fresh(), batch, key)[0] for batch in (small, large)]  # not ahead of time
    assert not step.compiled(small) and not step.compiled(large)
    assert step.compile(fresh(), small, key)["seconds"] > 0
    assert step.compiled(small) and not step.compiled(large)
    step.compile(fresh(), large, key)
    assert step.compiled(small) and step.compiled(large)
    for batch, wanted in zip((small, large), plain, strict=True):
        assert tree_digest(step(fresh(), batch, key)[0]) == tree_digest(wanted)


def draw(key: jax.Array) -> PlannerState:
    return init_planner(jax.random.normal(key, (3,)), TX)


@pytest.mark.parametrize("devices", (1, 4))
def test_a_drawn_state_begins_as_if_it_were_given(tmp_path: pathlib.Path, devices: int) -> None:
    step = compile_step(make_step, make_mesh(jax.devices()[:devices]))
    given = train(tmp_path / "given", 6, state=draw(jax.random.key(3)), step=step)
    drawn = train(tmp_path / "drawn", 6, state=loop.Drawn(draw, 3), step=step)
    assert tree_digest(drawn) == tree_digest(given)


def test_a_run_that_goes_on_never_draws(tmp_path: pathlib.Path, monkeypatch) -> None:
    train(tmp_path, 6, state=loop.Drawn(draw, 3))

    def stop(self: loop.Drawn) -> None:
        raise AssertionError("drawn")

    monkeypatch.setattr(loop.Drawn, "draw", stop)
    state = train(tmp_path, 9, state=loop.Drawn(draw, 3))
    assert int(state.step) == 9 and logged(tmp_path) == list(range(1, 10))


def test_a_run_lost_before_its_first_checkpoint_draws_again(tmp_path: pathlib.Path) -> None:
    lost = functools.partial(poisoned, at=range(0, 20))
    config = TrainConfig(steps=30, batch_size=4, checkpoint_every=40, log_every=50, skips=3)
    state = train(tmp_path / "lost", 30, state=loop.Drawn(draw, 3), source=lost, config=config)
    other = functools.partial(shifted, by=1)
    first = loop.Drawn(draw, 3)
    whole = train(tmp_path / "w", 30, state=first, source=other, config=config, step=returned(0))
    assert tree_digest(state) == tree_digest(whole)


def test_what_fails_while_it_is_drawn_is_raised(tmp_path: pathlib.Path) -> None:
    def fail() -> np.ndarray:
        raise ValueError("no numbers")

    def broken(key: jax.Array) -> PlannerState:
        shape = jax.ShapeDtypeStruct((3,), jnp.float32)
        return init_planner(jax.pure_callback(fail, shape), TX)

    with pytest.raises(Exception, match="no numbers"):
        train(tmp_path, 6, state=loop.Drawn(broken, 0))


def test_a_hook_finds_all_steps_in_the_log(tmp_path: pathlib.Path) -> None:
    config = TrainConfig(steps=9, batch_size=4, checkpoint_every=9, sample_every=3, log_every=50)
    seen: list[list[int]] = []
    train(tmp_path, 9, config=config, on_sample=lambda *_: seen.append(logged(tmp_path)))
    assert [steps[-1] for steps in seen] == [3, 6, 9]


def test_a_hook_can_end_a_run_for_good(tmp_path: pathlib.Path) -> None:
    config = TrainConfig(steps=20, batch_size=4, checkpoint_every=20, sample_every=6, log_every=5)

    def hook(state: PlannerState, step: int) -> float:
        if step == 12:
            raise loop.Enough("far enough", score=0.5)
        return 1.0

    ended = train(tmp_path, 20, config=config, on_sample=hook)
    again = train(tmp_path, 20, config=config, on_sample=hook)
    assert int(ended.step) == int(again.step) == 12 and logged(tmp_path)[-1] == 12
    assert tree_digest(ended) == tree_digest(again)
    with Checkpoints(tmp_path / "checkpoints") as checkpoints:
        assert checkpoints.best == checkpoints.latest == 12
