"""The adversarial step: laws of the seam, of the tasks and of the game."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxvid import training
from jaxvid.config import (
    CriticConfig,
    DataConfig,
    GanRun,
    GeneratorConfig,
    LossConfig,
    OptimConfig,
    TaskConfig,
    TrainConfig,
)
from jaxvid.data.loader import Batches
from jaxvid.data.source import open_source
from jaxvid.models.discriminator import Critics
from jaxvid.models.generator import Generator
from jaxvid.parallel import CompiledStep, compile_step, make_mesh, place_batch, replicate
from jaxvid.state import GanState
from jaxvid.steps import gan as gan_step
from jaxvid.steps.sample import make_sampler, to_bytes
from jaxvid.typing import HostBatch

B, T, R = 8, 4, 8
RUN = GanRun(
    data=DataConfig(resolution=R, frames=T, text_length=32),
    generator=GeneratorConfig(width=16, layers=1, heads=2, decoder=(8, 8), drawing=8),
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
    return Batches(source, batch_size=B, seed=0, text_length=RUN.data.text_length)[0]


def device(batch: HostBatch) -> dict[str, jax.Array]:
    return {name: jnp.asarray(value) for name, value in batch.items()}


def game(run: GanRun, generator: Generator, critics: Critics) -> gan_step.Game:
    return gan_step.Game(
        generator,
        critics,
        tx=training.make_optimizer(run.optim, run.train.steps),
        critic_tx=training.make_optimizer(run.critic_optim, run.train.steps),
        loss=run.loss,
        tasks=run.tasks,
        steps=run.train.steps,
        critic_frames=run.critic.frames,
    )


def compiled(run: GanRun, batch: HostBatch, devices: int, backend: str) -> CompiledStep:
    generator, critics, _ = training.build_gan(run, batch)
    make_step = functools.partial(gan_step.make_gan_step, game(run, generator, critics))
    return compile_step(make_step, make_mesh(jax.devices()[:devices]), backend=backend)  # type: ignore[arg-type]


def after(step: CompiledStep, batch: HostBatch, state: GanState, steps: int) -> GanState:
    state = replicate(jax.tree.map(jnp.array, state), step.mesh)
    key = replicate(jax.random.key(0), step.mesh)
    for i in range(steps):
        moved = {**batch, "index": batch["index"] + i}
        state, metrics = step(state, place_batch(moved, step.mesh), key)
        assert all(np.isfinite(float(v)) for v in metrics.values())
    return state


@pytest.fixture(scope="module")
def one_device(batch: HostBatch) -> tuple[CompiledStep, GanState, GanState]:
    start = training.build_gan(RUN, batch)[2]
    step = compiled(RUN, batch, 1, "jit")
    return step, start, after(step, batch, start, 3)


@pytest.mark.parametrize("backend", ["jit", "pmap"])
def test_eight_devices_agree_with_one(batch: HostBatch, one_device: tuple, backend: str) -> None:
    """Parameters and both optimizer states after three steps, to 1e-5."""
    _, start, expected = one_device
    actual = after(compiled(RUN, batch, 8, backend), batch, start, 3)
    for (path, a), b in zip(
        jax.tree_util.tree_leaves_with_path(actual), jax.tree.leaves(expected), strict=True
    ):
        name = jax.tree_util.keystr(path)
        np.testing.assert_allclose(np.asarray(a), np.asarray(b), atol=1e-5, err_msg=name)
    moved = [
        float(jnp.abs(a - b).max())
        for a, b in zip(jax.tree.leaves(actual.params), jax.tree.leaves(start.params), strict=True)
    ]
    assert max(moved) > 1e-4  # agreement of something that happened


def test_compiles_once(batch: HostBatch, one_device: tuple) -> None:
    step, _, _ = one_device
    assert step._function._cache_size() == 1


def test_bit_equal_when_repeated(batch: HostBatch, one_device: tuple) -> None:
    step, start, expected = one_device
    again = after(step, batch, start, 3)
    for a, b in zip(jax.tree.leaves(again), jax.tree.leaves(expected), strict=True):
        np.testing.assert_array_equal(np.asarray(a), np.asarray(b))


@pytest.mark.parametrize(
    ("kind", "penalty"), [("nonsaturating", "none"), ("minimax", "exact"), ("hinge", "exact")]
)
def test_every_game_is_differentiable(batch: HostBatch, kind: str, penalty: str) -> None:
    """Each loss and penalty makes a step that keeps the shape of the state, and says its terms."""
    loss = dataclasses.replace(RUN.loss, adversarial=kind, penalty=penalty)  # type: ignore[arg-type]
    run = dataclasses.replace(RUN, loss=loss)
    generator, critics, state = training.build_gan(run, batch)
    step = gan_step.make_gan_step(game(run, generator, critics))
    new, metrics = jax.eval_shape(step, state, device(batch), jax.random.key(0))
    assert jax.tree.structure(new) == jax.tree.structure(state)
    has_penalty = {"d_r1", "d_r2"} <= metrics.keys()
    assert has_penalty == (penalty != "none")


def test_tasks_follow_their_shares() -> None:
    keys = jax.vmap(lambda i: jax.random.fold_in(jax.random.key(0), i))(jnp.arange(4000))
    tasks = TaskConfig(nothing=0.4, first=0.2, ends=0.3, scattered=0.1)
    known = np.asarray(gan_step.sample_tasks(keys, 16, tasks))
    assert abs((known.sum(1) == 0).mean() - 0.4) < 0.03
    first_only = (known[:, 0] == 1) & (known.sum(1) == 1)
    assert abs(first_only.mean() - 0.2) < 0.03
    both_ends = (known[:, 0] == 1) & (known[:, -1] == 1)
    assert both_ends.mean() > 0.28


def test_mismatched_scripts_differ_where_there_is_an_actor(batch: HostBatch) -> None:
    keys = jax.vmap(lambda i: jax.random.fold_in(jax.random.key(1), i))(jnp.arange(B))
    true = batch["attributes"]
    wrong = np.asarray(gan_step.mismatched(keys, device(batch))["attributes"])
    there = true[..., 0] > 0
    assert ((wrong != true).sum(-1)[there] == 1).all()
    assert (wrong[~there] == true[~there]).all()
    assert (wrong[..., 0] <= 8).all() and (wrong[..., 1] <= 8).all() and (wrong >= 0).all()


def test_picked_frames_are_in_order_and_belong_together(batch: HostBatch) -> None:
    picked = gan_step.pick_frames(device(batch), jax.random.key(0), jnp.int32(3), 2)
    assert picked["video"].shape == (B, 2, R, R, 3)
    for b in range(B):
        at = [list(batch["times"][b]).index(t) for t in np.asarray(picked["times"][b])]
        assert at == sorted(set(at))
        np.testing.assert_array_equal(picked["video"][b], batch["video"][b][at])
        np.testing.assert_array_equal(picked["boxes"][b], batch["boxes"][b][at])


def test_sampler_returns_known_pixels_bit_for_bit(batch: HostBatch) -> None:
    generator, _, state = training.build_gan(RUN, batch)
    mask = np.random.default_rng(0).integers(0, 2, (B, T, R, R, 1)).astype(np.float32)
    sample = jax.jit(make_sampler(generator))
    video = to_bytes(sample(state.params, device({**batch, "mask": mask}), jax.random.key(0)))
    same = np.asarray(video) == batch["video"]
    assert same[np.broadcast_to(mask > 0, same.shape)].all()
    assert not same[np.broadcast_to(mask == 0, same.shape)].all()


def test_one_batch_overfits(batch: HostBatch, one_device: tuple) -> None:
    """The error halves within 300 steps on one batch."""
    step, start, _ = one_device
    state, key = replicate((jax.tree.map(jnp.array, start), jax.random.key(0)), step.mesh)
    errors = []
    for _ in range(300):
        state, metrics = step(state, place_batch(batch, step.mesh), key)
        errors.append(float(metrics["mse"]))
    assert np.mean(errors[-5:]) < np.mean(errors[:2]) / 2
