"""The adversarial step: laws of the seam, of the tasks and of the game."""

import collections
import dataclasses
import functools
import itertools
import math
import pathlib
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxvid import training
from jaxvid.config import (
    ComputeConfig,
    CriticConfig,
    DataConfig,
    GanRun,
    GeneratorConfig,
    LossConfig,
    OptimConfig,
    TrainConfig,
)
from jaxvid.data.loader import Batches
from jaxvid.data.source import open_source
from jaxvid.io.checkpoint import tree_digest
from jaxvid.parallel import CompiledStep, compile_step, make_mesh, place_batch, replicate
from jaxvid.sizes import collectives
from jaxvid.state import GanState
from jaxvid.steps import gan as gan_step
from jaxvid.steps.sample import make_sampler, to_bytes
from jaxvid.typing import Batch, HostBatch, Metrics, Params, Reduce, Step, UserError

B, T, R = 8, 4, 8
RUN = GanRun(
    data=DataConfig(resolution=R, frames=T, text_length=32),
    generator=GeneratorConfig(width=16, layers=1, heads=2, decoder=(8, 8), drawing=8, latent=4),
    critic=CriticConfig(frames=2, frame_widths=(8,), clip_width=8, clip_layers=1, heads=2),
    loss=LossConfig(frames=T, warmup_frames=T, reconstruction_final=10.0),
    # Adam moves a weight whose gradient is rounding noise by up to lr, so lr bounds the agreement.
    optim=OptimConfig(lr=3e-4, b1=0.5, warmup=2),
    critic_optim=OptimConfig(lr=3e-4, b1=0.5, warmup=2),
    train=TrainConfig(steps=100, batch_size=B),
)


@pytest.fixture(scope="module")
def batch() -> HostBatch:
    source = open_source(RUN.data, split="train")
    batch = Batches(source, batch_size=B, seed=0, text_length=RUN.data.text_length)[0]
    return {**batch, "poison": np.full(B, -1, np.int32)}  # which mean is spoilt, see ``poisonable``


def device(batch: HostBatch) -> dict[str, jax.Array]:
    return {name: jnp.asarray(value) for name, value in batch.items()}


def poisonable(game: gan_step.Game, *, reduce: Reduce = lambda tree: tree) -> Step:
    """The step, but for a NaN in the n-th tree that it averages over devices, by ``poison``."""

    def step(state: GanState, batch: Batch, key: jax.Array) -> tuple[GanState, Metrics]:
        calls = itertools.count()

        def spoil(tree: Params) -> Params:
            leaves, structure = jax.tree.flatten(tree)
            spoilt = batch["poison"][0] == next(calls)
            leaves[-1] = jnp.where(spoilt, jnp.nan, leaves[-1])
            return reduce(jax.tree.unflatten(structure, leaves))

        clean = {name: value for name, value in batch.items() if name != "poison"}
        return gan_step.make_gan_step(game, reduce=spoil)(state, clean, key)

    return step


def compiled(run: GanRun, batch: HostBatch, devices: int, backend: str) -> CompiledStep:
    game = training.make_game(run, training.make_nets(run))
    make_step = functools.partial(poisonable, game)
    return compile_step(make_step, make_mesh(jax.devices()[:devices]), backend=backend)  # type: ignore[arg-type]


def after(step: CompiledStep, batch: HostBatch, state: GanState, steps: int) -> GanState:
    state = replicate(jax.tree.map(jnp.array, state), step.mesh)
    key = replicate(jax.random.key(0), step.mesh)
    if step.mesh.size > 1:  # ahead of time, so that the program can be read
        step.compile(state, place_batch(batch, step.mesh), key)
    for i in range(steps):
        moved = {**batch, "index": batch["index"] + i}
        state, metrics = step(state, place_batch(moved, step.mesh), key)
        assert all(np.isfinite(float(v)) for v in metrics.values())
    return state


@pytest.fixture(scope="module")
def built(batch: HostBatch) -> GanState:
    return training.build_gan(RUN, batch)[1]


@pytest.fixture(scope="module")
def one_device(batch: HostBatch, built: GanState) -> tuple[CompiledStep, GanState, GanState]:
    start = built
    step = compiled(RUN, batch, 1, "jit")
    return step, start, after(step, batch, start, 3)


def atol(name: str) -> float:
    """How far programs that round differently may be apart: the optimizers' states to 1e-5.

    Adam divides a gradient by its own size: one that is rounding noise moves its parameter by up to
    the learning rate.
    """
    return 0.1 * RUN.optim.lr if "params" in name else 1e-5


@pytest.mark.parametrize("backend", ["jit", "pmap"])
def test_eight_devices_agree_with_one(batch: HostBatch, one_device: tuple, backend: str) -> None:
    """Both optimizer states after three steps, to 1e-5, and parameters."""
    _, start, expected = one_device
    step = compiled(RUN, batch, 8, backend)
    actual = after(step, batch, start, 3)
    for (path, a), b in zip(
        jax.tree_util.tree_leaves_with_path(actual), jax.tree.leaves(expected), strict=True
    ):
        name = jax.tree_util.keystr(path)
        np.testing.assert_allclose(np.asarray(a), np.asarray(b), atol=atol(name), err_msg=name)
    moved = [
        float(np.abs(np.asarray(a) - np.asarray(b)).max())
        for a, b in zip(jax.tree.leaves(actual.params), jax.tree.leaves(start.params), strict=True)
    ]
    assert max(moved) > 1e-4  # agreement of something that happened
    if backend == "jit":
        check_exchanges(step.text(place_batch(batch, step.mesh)), start)


def check_exchanges(program: str, start: GanState) -> None:
    """Devices exchange nothing but the gradients, once, and the metrics: a few sums over all."""
    found = collectives(program)
    assert {(c.kind, c.group) for c in found} == {("all-reduce", 8)}
    assert 2 <= len(found) <= 4  # how they are packed is XLA's
    sums = collections.Counter(math.prod(shape) for c in found for _, shape in c.shapes)
    leaves = jax.tree.leaves((start.params, start.critic_params))
    weights = collections.Counter(leaf.size for leaf in leaves)
    # Every gradient once; that of a place is also that of the field's bias, and summed for both.
    same = start.params["place"]["kernel"].size
    assert start.params["field"]["weights"]["bias"].size == same
    assert weights - sums <= collections.Counter([same])
    assert (sums - weights).total() < 100
    volume = sum(c.bytes for c in found) / sum(4 * leaf.size for leaf in leaves)
    assert 0.99 < volume < 1.01  # the rest are means for metrics, and moments


def test_compiles_once(batch: HostBatch, one_device: tuple) -> None:
    step, _, _ = one_device
    assert step._function._cache_size() == 1


def test_bit_equal_when_repeated(batch: HostBatch, one_device: tuple) -> None:
    step, start, expected = one_device
    again = after(step, batch, start, 3)
    for a, b in zip(jax.tree.leaves(again), jax.tree.leaves(expected), strict=True):
        np.testing.assert_array_equal(np.asarray(a), np.asarray(b))


@pytest.mark.parametrize(
    ("kind", "penalty"), [("nonsaturating", "none"), ("minimax", "exact"), ("hinge", "r1")]
)
def test_every_game_is_differentiable(
    batch: HostBatch, built: GanState, kind: str, penalty: str
) -> None:
    """Each loss and penalty makes a step that keeps the shape of the state, and says its terms."""
    loss = dataclasses.replace(RUN.loss, adversarial=kind, penalty=penalty)  # type: ignore[arg-type]
    run = dataclasses.replace(RUN, loss=loss)
    step = gan_step.make_gan_step(training.make_game(run, training.make_nets(run)))
    new, metrics = jax.eval_shape(step, built, device(batch), jax.random.key(0))
    assert jax.tree.structure(new) == jax.tree.structure(built)
    wanted = {"none": set(), "exact": {"d_r1", "d_r2"}, "r1": {"d_r1"}}[penalty]
    assert {"d_r1", "d_r2"} & metrics.keys() == wanted
    assert ("slope_real" in metrics, "slope_fake" in metrics) == (bool(wanted), len(wanted) == 2)


def test_sampler_returns_known_pixels_bit_for_bit(batch: HostBatch, built: GanState) -> None:
    nets = training.make_nets(RUN)
    mask = np.random.default_rng(0).integers(0, 2, (B, T, R, R, 1)).astype(np.float32)
    sample = jax.jit(make_sampler(nets.generator))
    video = to_bytes(sample(built.params, device({**batch, "mask": mask}), jax.random.key(0)))
    same = np.asarray(video) == batch["video"]
    assert same[np.broadcast_to(mask > 0, same.shape)].all()
    assert not same[np.broadcast_to(mask == 0, same.shape)].all()


def test_guidance_of_one_is_none_and_more_exaggerates(batch: HostBatch, built: GanState) -> None:
    nets = training.make_nets(RUN)
    # Some branches begin at zero.
    params = jax.tree.map(lambda p: np.asarray(p) + np.float32(0.05), built.params)
    plain = jax.jit(make_sampler(nets.generator))
    guided = jax.jit(make_sampler(nets.generator, guided=True))

    def film(strength: float) -> np.ndarray:
        asked = {**batch, "guidance": np.full(B, strength, np.float32)}
        return np.asarray(guided(params, device(asked), jax.random.key(0)))

    one = np.asarray(plain(params, device(batch), jax.random.key(0)))
    nothing = {k: np.zeros_like(v) for k, v in batch.items() if k not in ("index", "times")}
    free = np.asarray(plain(params, device({**batch, **nothing}), jax.random.key(0)))
    assert np.abs(one - free).max() > 1e-3
    for strength in (0.0, 1.0, 2.5):
        wanted = free + strength * (one - free)
        np.testing.assert_allclose(film(strength), wanted, atol=1e-4)


def test_parts_of_a_batch_are_the_whole(batch: HostBatch, one_device: tuple) -> None:
    """Four parts, on two devices: parameters, optimizer states and metrics of one step.

    Frames between known ones moved by whole pixels (less a rounding) are among them: see ``warp``.
    """
    run = dataclasses.replace(RUN, compute=ComputeConfig(accumulate=4))
    _, start, _ = one_device
    results = []
    for step in (one_device[0], compiled(run, batch, 2, "jit")):
        state = replicate(jax.tree.map(jnp.array, start), step.mesh)
        key = replicate(jax.random.key(0), step.mesh)
        results.append(step(state, place_batch(batch, step.mesh), key))
    for (path, a), b in zip(
        jax.tree_util.tree_leaves_with_path(results[0]), jax.tree.leaves(results[1]), strict=True
    ):
        name = jax.tree_util.keystr(path)
        np.testing.assert_allclose(np.asarray(a), np.asarray(b), atol=atol(name), err_msg=name)
    for name in ("params", "ema", "opt_state", "critic_params", "critic_opt_state"):
        one, parts = (optax.tree.norm(getattr(state, name)) for state, _ in results)
        assert float(one) > 0 and abs(float(parts) / float(one) - 1) <= 1e-3


def test_bad_numbers_leave_the_state_bit_for_bit(batch: HostBatch, one_device: tuple) -> None:
    """A condition that is not finite spoils loss and gradients of both sides."""
    step, start, _ = one_device
    before = replicate(jax.tree.map(jnp.array, start), step.mesh)
    spoilt = {**batch, "boxes": np.full_like(batch["boxes"], np.nan)}
    key = replicate(jax.random.key(0), step.mesh)
    after, metrics = step(before, place_batch(spoilt, step.mesh), key)
    assert float(metrics["skipped"]) == 1 and not np.isfinite(float(metrics["g_gradient"]))
    for a, b in zip(jax.tree.leaves(after), jax.tree.leaves(start), strict=True):
        np.testing.assert_array_equal(np.asarray(a), np.asarray(b))


def test_a_poisoned_number_leaves_the_state_bit_for_bit(
    batch: HostBatch, one_device: tuple
) -> None:
    """One NaN in the critics' gradient, the generator's, a loss, or a moment of the signals."""
    step, start, _ = one_device
    for which in range(4):
        before = replicate(jax.tree.map(jnp.array, start), step.mesh)
        poisoned = {**batch, "poison": np.full(B, which, np.int32)}
        key = replicate(jax.random.key(0), step.mesh)
        after, metrics = step(before, place_batch(poisoned, step.mesh), key)
        assert float(metrics["skipped"]) == 1, which
        assert tree_digest(after) == tree_digest(start), which
        assert np.isfinite(float(metrics["d_gradient"])) == (which != 0)
        assert np.isfinite(float(metrics["g_gradient"])) == (which > 1)  # after the critics


def test_motion_is_read_from_each_frame_and_moves_it(batch: HostBatch) -> None:
    generator = dataclasses.replace(RUN.generator, motion=2)
    # What the critics are besides held to says nothing of motion, and compiles for long.
    loss = dataclasses.replace(RUN.loss, penalty="none", mismatch=0.0, augment=0.0)
    run = dataclasses.replace(RUN, generator=generator, loss=loss)
    nets, state = training.build_gan(run, batch)
    assert nets.posterior is not None
    seen = {"params": state.params["posterior"]}
    read = jax.jit(nets.posterior.apply)
    still = jnp.zeros((B, T, 4))
    _, frame = read(seen, jnp.zeros((B, T, R, R, 3)), device(batch), still)
    assert frame[0].shape == frame[1].shape == (B, T, 2)
    _, other = read(seen, jnp.zeros((B, T, R, R, 3)), device(batch), still.at[:, 1].set(0.1))
    changed = np.abs(np.asarray(other[0] - frame[0])).max((0, 2)) > 0
    np.testing.assert_array_equal(changed, np.arange(T) == 1)  # how far its actors are away
    step = jax.jit(gan_step.make_gan_step(training.make_game(run, nets)))
    later = state.replace(step=jnp.int32(1))  # the divergence's weight rises from 0
    free = {**batch, "visible": np.zeros_like(batch["visible"])}
    for clips, names in ((batch, ("camera", "posterior")), (free, ("motion", "posterior"))):
        after, metrics = step(later, device(clips), jax.random.key(0))
        assert float(metrics["skipped"]) == 0 and float(metrics["g_kl"]) > 0
        for name in ("camera", "motion", "posterior"):  # a script's boxes move, or it is said
            same = tree_digest(after.params[name]) == tree_digest(state.params[name])
            assert same != (name in names), name
    game = training.make_game(run, nets)

    @jax.jit
    def drawn(batch: Batch, key: jax.Array) -> tuple[jax.Array, jax.Array]:
        draw = gan_step._draw(game, batch, key, jnp.int32(0), True)
        return draw["followed"], gan_step._settled(game, draw)

    followed, settled = map(np.asarray, drawn(device(batch), jax.random.key(0)))
    assert not settled[followed == 0].any()  # drawn motion is no answer


def test_motion_within_its_free_nats_is_still_drawn_to_the_prior(batch: HostBatch) -> None:
    """A fifth of what more costs: what is drawn from N(0, 1) must be what is read."""
    run = dataclasses.replace(RUN, generator=dataclasses.replace(RUN.generator, motion=1))
    game = training.make_game(run, training.make_nets(run))
    sizes = {"latent": jnp.zeros((B, 4)), "motion": jnp.zeros((B, T, 1)), "followed": jnp.ones(B)}
    video = jnp.zeros((B, T, R, R, 3))
    draw = {"real": video, "batch": device(batch), "noise": video, "mask": video[..., :1]}
    draw |= {**sizes, "read": jnp.ones(B)}

    def cost(mean: jax.Array, log_std: float) -> jax.Array:
        clip = jnp.zeros((B, 4)), jnp.zeros((B, 4))
        frame = jnp.full((B, T, 1), mean), jnp.full((B, T, 1), log_std)
        posterior = SimpleNamespace(apply=lambda *_: (clip, frame))
        generator = SimpleNamespace(apply=lambda *_: video)
        played = dataclasses.replace(game, posterior=posterior, generator=generator)
        return gan_step._play(played, {"posterior": {}}, draw=draw)["motion_kl"].mean()

    for log_std, share in ((-1.0, 0.2), (-4.0, 1.0)):  # 0.7 and 3.6 nats, where 2 are free
        assert float(jax.grad(cost)(0.5, log_std)) == pytest.approx(0.5 * share, rel=1e-4)
    nothing = float(cost(jnp.float32(0.0), 0.0))
    assert nothing == pytest.approx(0.0, abs=1e-6)
    assert float(cost(jnp.float32(0.0), -4.0)) == pytest.approx(0.2 * 2.0 + 1.5, abs=0.01)


def test_policies_are_not_trained_with_the_generator(tmp_path: pathlib.Path) -> None:
    run = dataclasses.replace(RUN, generator=dataclasses.replace(RUN.generator, policy=8))
    with pytest.raises(UserError, match="filled by train.rl"):
        training.train_gan(run, tmp_path / "gan")


def test_only_settled_examples_are_held_to_the_real_clip(batch: HostBatch) -> None:
    """Scripted, read by the posterior, or held at both ends; without a latent: all."""
    draw = {
        "followed": jnp.ones(5),
        "real": jnp.zeros((5, T, R, R, 3)),
        "mask": jnp.zeros((5, T, R, R, 1)).at[1, jnp.array([0, -1])].set(1).at[2, 0].set(1),
        "read": jnp.array([0.0, 0, 0, 1, 0]),
        "batch": {"visible": jnp.zeros((5, T, 2)).at[4].set(1)},
    }
    game = training.make_game(RUN, training.make_nets(RUN))
    np.testing.assert_array_equal(gan_step._settled(game, draw), [0, 1, 0, 1, 1])
    free = dataclasses.replace(game, posterior=None)
    np.testing.assert_array_equal(gan_step._settled(free, draw), np.ones(5))


def test_one_batch_overfits(batch: HostBatch, one_device: tuple) -> None:
    """The error halves within 300 steps on one batch."""
    step, start, _ = one_device
    state, key = replicate((jax.tree.map(jnp.array, start), jax.random.key(0)), step.mesh)
    errors = []
    for _ in range(300):
        state, metrics = step(state, place_batch(batch, step.mesh), key)
        errors.append(float(metrics["mse"]))
    assert np.mean(errors[-5:]) < np.mean(errors[:2]) / 2


def test_a_run_knows_its_data(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By more than how many there are: another seed draws as many other scenes."""
    told: list[str] = []

    def run(*args: object, data: str, **more: object) -> None:
        told.append(data)
        raise InterruptedError

    monkeypatch.setattr(training.loop, "run", run)
    for seed in (0, 0, 1):
        changed = dataclasses.replace(RUN, train=dataclasses.replace(RUN.train, seed=seed))
        with pytest.raises(InterruptedError):
            training.train_gan(changed, tmp_path / str(seed))
    assert told[0] == told[1] != told[2]
