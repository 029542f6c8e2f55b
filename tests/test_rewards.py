"""Rewards: what real clips earn, what spoils them, and that gradients are what they say."""

import dataclasses
import functools
from collections.abc import Iterator

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from benchmarks.rl import _seen
from jaxvid.data.batch import collate
from jaxvid.data.scenes import Scenes
from jaxvid.rl.rewards import (
    FLAT,
    REWARDS,
    WORST,
    camera,
    entities,
    measure_scale,
    score,
    travel,
)
from jaxvid.typing import Batch

SCENES = Scenes("train", frames=8)
T = 8


def scripted(count: int = 6) -> tuple[jax.Array, Batch]:
    examples = [SCENES[i] for i in range(count)]
    batch = collate(examples, np.arange(count), text_length=128)
    real = jnp.asarray(batch["video"], jnp.float32) / 127.5 - 1.0
    noise = jax.random.normal(jax.random.key(0), (count, T, 5))
    logits = jax.random.normal(jax.random.key(1), (2, count, T))
    seen = {"features": noise, "logits": logits[0], "wrong": logits[1], "real": real}
    return real, {name: jnp.asarray(value) for name, value in {**batch, **seen}.items()}


REAL, SCRIPT = scripted()


@pytest.fixture(scope="module", autouse=True)
def compiled() -> Iterator[None]:
    """Each error is one program of its shapes instead of hundreds of small ones."""
    with pytest.MonkeyPatch.context() as patch:
        for name, reward in list(REWARDS.items()):
            one = dataclasses.replace(reward, error=jax.jit(reward.error))
            patch.setitem(REWARDS, name, one)
        yield


@functools.cache
def scale_of(name: str) -> jax.Array:
    errors = np.asarray(REWARDS[name].error(REAL, SCRIPT))
    return jnp.array(measure_scale(REWARDS[name], errors))


def earned(name: str, video: jax.Array, script: Batch = SCRIPT) -> np.ndarray:
    return np.asarray(score(name, video, script, scale_of(name)))


def shaken(video: jax.Array) -> jax.Array:
    """Odd frames a pixel to the right, even ones a pixel to the left."""
    return jnp.stack([jnp.roll(video[:, t], 1 if t % 2 else -1, axis=2) for t in range(T)], axis=1)


@pytest.mark.parametrize("name", list(REWARDS))
def test_a_reward_is_in_its_range_and_of_its_own_clip(name: str) -> None:
    noisy = REAL + 0.3 * jax.random.normal(jax.random.key(2), REAL.shape)
    values = earned(name, noisy)
    assert values.shape == REAL.shape[:2]
    assert values.min() >= -WORST and values.max() <= 0 and values.std() > 0
    order = np.array([3, 0, 5, 1, 4, 2])
    other = {key: value[order] for key, value in SCRIPT.items()}
    np.testing.assert_allclose(earned(name, noisy[order], other), values[order], atol=2e-4)


@pytest.mark.parametrize("name", [name for name, r in REWARDS.items() if r.reads is not None])
def test_a_reward_reads_the_frames_that_it_says(name: str) -> None:
    """Errors change where they read a frame that changes, to the first and the last of them."""
    reward, changed = REWARDS[name], T // 2 - 1
    assert reward.reads is not None
    before, after = reward.reads
    video = REAL + 0.1 * jax.random.normal(jax.random.key(2), REAL.shape)
    other = video.at[:, changed].set(REAL[:, changed])
    moved = np.abs(np.asarray(reward.error(video, SCRIPT) - reward.error(other, SCRIPT))).max(0)
    where = np.flatnonzero(moved > 1e-6)
    assert where.min() == changed - after and where.max() == changed + before


@pytest.mark.parametrize("name", [name for name, r in REWARDS.items() if r.saturates])
def test_half_of_real_frames_earn_all_there_is(name: str) -> None:
    # and no clip earns more: a clip that is smoother than real ones is not better
    assert (earned(name, REAL)[:, 1:-1] == 0).mean() >= 0.45


def test_shaking_costs_smoothness() -> None:
    for name in ("acceleration", "interpolation", "warping"):
        assert earned(name, shaken(REAL)).mean() < earned(name, REAL).mean() - 0.3, name


@pytest.mark.parametrize("name", ["interpolation", "warping", "dynamics"])
def test_the_dark_is_no_smoother(name: str) -> None:
    """Differences shrink with the light; nothing is to be earned by it."""
    noisy = REAL + 0.1 * jax.random.normal(jax.random.key(2), REAL.shape)
    dark = 0.7 * (noisy + 1) - 1
    errors = (np.asarray(REWARDS[name].error(video, SCRIPT)) for video in (noisy, dark))
    light, less = (error[:, 1:-1].mean() for error in errors)
    assert less == pytest.approx(light, rel=0.05)


def test_flicker_of_colour_and_size_costs_coherence() -> None:
    light = jnp.array([1.0, 0.6] * (T // 2))[None, :, None, None, None]
    assert (
        earned("appearance", (REAL + 1) * light - 1).mean() < earned("appearance", REAL).mean() - 1
    )
    steady = jnp.broadcast_to(SCRIPT["features"][:, :1], SCRIPT["features"].shape)
    change = {**SCRIPT, "features": steady}
    assert earned("coherence", REAL, change).mean() > earned("coherence", REAL).mean()


def test_a_still_is_smooth_and_pays_for_it() -> None:
    still = jnp.broadcast_to(REAL[:, :1], REAL.shape)
    assert earned("stillness", still).max() == 0 and earned("interpolation", still).max() == 0
    assert earned("motion", still).mean() < earned("motion", REAL).mean() - 1
    assert earned("dynamics", still).mean() < earned("dynamics", REAL).mean() - 1


def test_light_that_comes_and_goes_is_no_motion() -> None:
    still = jnp.broadcast_to(REAL[:, :1], REAL.shape)
    light = jnp.asarray(np.random.default_rng(0).uniform(0.7, 1.0, T))[:, None, None, None]
    errors = (REWARDS["dynamics"].error(x, SCRIPT) for x in (still, (still + 1) * light - 1))
    none, flickering = (np.asarray(error)[:, 1:].mean() for error in errors)
    assert none > 1 and flickering > 0.8 * none


def test_who_vanishes_does_not_move() -> None:
    ground = jnp.broadcast_to(jnp.median(REAL, axis=(2, 3), keepdims=True), REAL.shape)
    assert earned("motion", ground).mean() < earned("motion", REAL).mean() - 1


def test_travel_is_of_what_moves_and_not_of_what_shakes() -> None:
    still = jnp.broadcast_to(REAL[:, :1], REAL.shape)
    shifts = np.random.default_rng(0).integers(-1, 2, (len(REAL), T, 2))
    shaky = [
        [np.roll(f, s, (0, 1)) for f, s in zip(*x, strict=True)]
        for x in zip(np.asarray(REAL), shifts, strict=True)
    ]
    ground = jnp.broadcast_to(jnp.median(REAL, axis=(2, 3), keepdims=True), REAL.shape)
    way = jax.jit(travel)
    videos = REAL, jnp.asarray(shaky), still, ground
    far, shake, none, gone = (np.asarray(way(v, SCRIPT)).mean() for v in videos)
    assert far > 0.02 and abs(shake / far - 1) < 0.05
    assert none < 0.3 * far and gone < 0.15 * far


def test_entities_are_found_where_the_script_puts_them() -> None:
    seen = jax.jit(entities)(REAL, SCRIPT)
    shown = np.asarray(SCRIPT["visible"]) > 0
    assert np.abs(np.asarray(seen["away"]))[shown].max(initial=0) < 0.12  # some hide others
    assert np.median(np.linalg.norm(np.asarray(seen["away"]), axis=-1)[shown]) < 0.02


def test_a_camera_is_read_from_who_it_sees() -> None:
    """A hand that moves, zooms and exposes, one of these at a time and all at once: what is read
    goes with what was done, about as far, and for the most part with nothing else.
    """
    rng, there = np.random.default_rng(0), np.asarray(SCRIPT["visible"]).max(2) > 0
    read, video = jax.jit(camera), np.asarray(127.5 * (REAL + 1))
    done = rng.normal(size=(len(video), T, 4)) * np.array([1.0, 1.0, 0.1, 0.05])
    unit = np.array([1 / 32, 1 / 32, 1, 1])  # pixels are fractions of the frame

    def taken(clip: np.ndarray, hand_T4: np.ndarray) -> np.ndarray:
        way = zip(clip, hand_T4[:, 1::-1], np.exp(hand_T4[:, 2]), strict=True)
        seen = np.stack([_seen(*frame) for frame in way])
        return np.clip(np.rint(seen * np.exp(hand_T4[:, 3])[:, None, None, None]), 0, 255)

    def beside(x: np.ndarray) -> np.ndarray:
        return np.concatenate([clip[t] - clip[t].mean(0) for clip, t in zip(x, there, strict=True)])

    before = np.asarray(read(REAL, SCRIPT))
    for kind in ([0, 1], [2], [3], [0, 1, 2, 3]):
        hand = done * np.isin(np.arange(4), kind)
        clips = np.stack([taken(*one) for one in zip(video, hand, strict=True)])
        moved = np.asarray(read(jnp.asarray(clips / 127.5 - 1, jnp.float32), SCRIPT)) - before
        found, wanted = beside(moved), beside(hand * unit)
        for n in range(4):
            if n in kind:
                assert np.corrcoef(wanted[:, n], found[:, n])[0, 1] > 0.75, (kind, n)
                assert 0.6 < np.polyfit(wanted[:, n], found[:, n], 1)[0] < 1.4, (kind, n)
            else:
                assert found[:, n].std() < 0.8 * (done * unit)[..., n].std(), (kind, n)
    nobody = {**SCRIPT, "visible": jnp.zeros_like(SCRIPT["visible"])}
    assert not np.asarray(read(REAL, nobody)).any()


def test_a_script_that_is_not_there_earns_nothing() -> None:
    without = {**SCRIPT, "visible": jnp.zeros_like(SCRIPT["visible"])}
    for name in ("acceleration", "appearance", "motion"):
        assert not earned(name, shaken(REAL), without).any()


@pytest.mark.parametrize("name", ["acceleration", "appearance", "motion", "dynamics"])
def test_gradients_are_those_of_finite_differences(name: str) -> None:
    video = REAL[:2] + 0.05 * jax.random.normal(jax.random.key(3), REAL[:2].shape)
    script = {key: value[:2] for key, value in SCRIPT.items()}
    weight = jax.random.normal(jax.random.key(5), video.shape[:2])

    def total(video: jax.Array) -> jax.Array:
        return (weight * REWARDS[name].error(video, script)).sum()

    # Along itself, where the kinks of absolute values weigh little.
    both = jax.jit(jax.value_and_grad(total))
    slope = both(video)[1]
    way = slope / jnp.sqrt((slope**2).mean())
    rough = float(both(video + 5e-4 * way)[0] - both(video - 5e-4 * way)[0]) / 1e-3
    assert float((slope * way).sum()) == pytest.approx(rough, rel=0.05)


def test_interpolation_draws_neighbours_too() -> None:
    """Of blank frames of grey g nothing moves: e[t] = |g[t] - (g[t-1] + g[t+1]) / 2|, in units of
    what flat frames have for a contrast.
    """
    grey = jnp.asarray([0.1, 0.3, -0.2, 0.25, 0.0])

    def total(grey: jax.Array) -> jax.Array:
        video = jnp.broadcast_to(grey[None, :, None, None, None], (1, 5, 16, 16, 3))
        return REWARDS["interpolation"].error(video, {}).sum()

    signs = np.sign([0.3 - (0.1 - 0.2) / 2, -0.2 - (0.3 + 0.25) / 2, 0.25 - (-0.2 + 0.0) / 2])
    expected = np.pad(signs, 1)
    expected[:-1] -= 0.5 * np.pad(signs, (0, 1))
    expected[1:] -= 0.5 * np.pad(signs, (1, 0))
    np.testing.assert_allclose(FLAT * jax.jit(jax.grad(total))(grey), expected, atol=2e-3)


@pytest.mark.parametrize("name", list(REWARDS))
def test_what_has_a_gradient_says_so(name: str) -> None:
    def total(video: jax.Array) -> jax.Array:
        return REWARDS[name].error(video, {**SCRIPT, "logits": video.mean((2, 3, 4)),
                                           "features": video[:, :, 0, :, 0]}).sum()  # fmt: skip

    slope = np.asarray(jax.jit(jax.grad(total))(shaken(REAL)))
    assert np.isfinite(slope).all()
    if REWARDS[name].differentiable:
        assert np.abs(slope).max() > 0


def test_the_unit_of_a_reward_has_a_floor() -> None:
    assert measure_scale(REWARDS["motion"], np.zeros((4, 6))) == (0.0, REWARDS["motion"].least)
    assert measure_scale(REWARDS["stillness"], np.ones((4, 6))) == (0.0, 0.01)
    errors = np.tile(np.linspace(0, 1, 11)[:, None], (1, 5))
    assert measure_scale(REWARDS["motion"], errors) == pytest.approx((0.5, 0.4))
