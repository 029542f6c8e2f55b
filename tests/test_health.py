"""Signals of the game on clips whose health is known, and what the monitor makes of them."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxvid import health

RNG = np.random.default_rng(0)
B, T, R = 16, 6, 8


def clips(seed: int = 0) -> np.ndarray:
    """Smoothly moving blobs of other colours: (B,T,R,R,3)."""
    rng = np.random.default_rng(seed)
    t, x = np.arange(T)[None, :, None, None, None], np.arange(R)[None, None, None, :, None]
    speed, phase = rng.uniform(0.2, 0.6, (2, B, 1, 1, 1, 1))
    color = rng.uniform(-1, 1, (B, 1, 1, 1, 3))
    return (color * np.sin(speed * t + phase * 6 + x) * np.ones((B, T, R, R, 1))).astype(np.float32)


def signals(real: np.ndarray, fake: np.ndarray) -> dict[str, float]:
    moments = health.moments(jnp.asarray(real), jnp.asarray(fake))
    return {k: float(v) for k, v in health.signals(moments).items()}


def test_like_clips_have_signals_of_one() -> None:
    same = signals(clips(), clips())
    assert same == pytest.approx({"diversity": 1, "motion": 1, "flicker": 1}, abs=1e-3)
    other = signals(clips(), clips(1))
    assert all(0.5 < value < 2 for value in other.values())


def test_collapse_stills_and_flicker_are_seen() -> None:
    real = clips()
    assert signals(real, np.repeat(real[:1], B, 0))["diversity"] < 0.01
    still = signals(real, np.repeat(real[:, :1], T, 1))
    assert still["motion"] == 0 and still["flicker"] == 0 and still["diversity"] > 0.5
    shaken = real + 0.5 * (-1.0) ** np.arange(T, dtype=np.float32)[None, :, None, None, None]
    assert signals(real, shaken)["flicker"] > 3


def test_means_of_parts_are_those_of_the_whole() -> None:
    real, fake = map(jnp.asarray, (clips(), clips(1)))
    parts = [health.moments(real[i::4], fake[i::4]) for i in range(4)]
    mean = jax.tree.map(lambda *x: sum(x) / 4, *parts)
    whole = health.signals(health.moments(real, fake))
    for name, value in health.signals(mean).items():
        np.testing.assert_allclose(value, whole[name], rtol=1e-4)


def test_single_frames_have_no_motion() -> None:
    one = signals(clips()[:, :1], clips(1)[:, :1])
    np.testing.assert_allclose([one["motion"], one["flicker"]], 1, rtol=1e-5)
    assert np.isfinite(one["diversity"])


def test_a_single_clip_has_no_diversity_to_lose() -> None:
    assert signals(clips()[:1], clips(1)[:1])["diversity"] == 1


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_the_state_stays_where_a_metric_is_not_finite(bad: float) -> None:
    before, after = {"a": jnp.arange(3.0)}, {"a": jnp.full(3, bad)}
    kept, metrics = health.keep_if_finite(
        before, after, {"x": jnp.float32(1), "y": jnp.float32(bad)}
    )
    np.testing.assert_array_equal(kept["a"], before["a"])
    assert metrics["skipped"] == 1
    moved, metrics = health.keep_if_finite(before, {"a": jnp.ones(3)}, {"x": jnp.float32(1)})
    np.testing.assert_array_equal(moved["a"], np.ones(3))
    assert metrics["skipped"] == 0


FINE = {
    "mse": 0.01,
    "sign_accuracy": 0.7,
    "gap": 0.5,
    "diversity": 0.9,
    "motion": 1.0,
    "flicker": 1.1,
    "slope_real": 0.1,
    "slope_fake": 0.2,
}
TROUBLES = {
    "explosion": {"mse": 0.2},
    "critics": {"sign_accuracy": 1.0, "gap": 8.0},
    "collapse": {"diversity": 0.05},
    "still": {"motion": 0.05},
    "flicker": {"flicker": 6.0},
    "slopes": {"slope_fake": 50.0},
}


@pytest.mark.parametrize("name", TROUBLES)
def test_each_trouble_is_reported_once_until_it_ends(name: str) -> None:
    monitor = health.Monitor(window=5)
    said = [f for _ in range(10) for f in monitor.watch(FINE)]
    assert not said
    ill = FINE | TROUBLES[name]
    said = [f for _ in range(10) for f in monitor.watch(ill)]
    assert [f.name for f in said] == [name]
    assert said[0].severe == (name in ("explosion", "collapse"))
    assert not [f for _ in range(10) for f in monitor.watch(FINE)]
    assert [f.name for _ in range(10) for f in monitor.watch(ill)] == [name]


def test_warm_up_and_skipped_steps_are_no_trouble() -> None:
    monitor = health.Monitor(window=3)
    rows = [{"mse": 1 / n} for n in range(1, 20)] + [{"loss": 3.0}, {"mse": float("nan")}]
    assert not [f for row in rows for f in monitor.watch(row)]


def test_a_planners_loss_that_explodes_while_finite_is_noticed() -> None:
    monitor = health.Monitor(window=5)
    fine = [{"loss": 40 / n} for n in range(1, 30)] + [{"loss": 0.01}] * 9 + [{"loss": 0.1}] * 9
    assert not [f for row in fine for f in monitor.watch(row)]
    found = [f for row in [{"loss": 1e6}] * 5 for f in monitor.watch(row)]
    assert [(f.name, f.severe) for f in found] == [("explosion", True)]


def test_a_trained_planner_that_is_trained_on_may_grow_worse_at_first() -> None:
    """Its first errors are next to nothing; at a high rate of learning those after are not."""
    monitor = health.Monitor(window=5)
    fine = [{"loss": x} for x in (*[0.002] * 9, *[0.05] * 9)]
    assert not [f for row in fine for f in monitor.watch(row)]
    assert [f.name for row in [{"loss": 0.5}] * 5 for f in monitor.watch(row)] == ["explosion"]
