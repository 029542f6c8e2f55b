"""Laws of the motion measures: known paths give known speeds; shaking and stillness show."""

import jax
import jax.numpy as jnp
import numpy as np

from jaxvid.data.render import render
from jaxvid.metrics import motion
from jaxvid.script import Actor, Entity, Scene, Script, Shot

measure = jax.jit(motion.measure)


def clip(motion_name: str, *, place: str = "light_plain", frames: int = 9) -> np.ndarray:
    start, end = (0.1, 0.36, 0.28, 0.28), (0.6, 0.36, 0.28, 0.28)
    actor = Actor("e0", motion_name, start, end)
    scene = Scene(place, (Shot(frames, (actor,)),))
    return render(Script((Entity("e0", "circle", "red", "small"),), (scene,)))


def test_a_straight_path_has_its_speed_and_no_acceleration() -> None:
    for place in ("light_plain", "warm_noise", "cool_grid"):
        values = measure(jnp.asarray(clip("right", place=place))[None])
        assert set(values) == set(motion.NAMES)
        np.testing.assert_allclose(values["speed"], 0.5 / 8, rtol=0.01)
        assert values["acceleration"][0] < 0.003 and values["jerk"][0] < 0.006


def test_centroids_are_where_the_entity_is() -> None:
    path_T2 = motion.centroids(jnp.asarray(clip("right"))[None])[0]
    np.testing.assert_allclose(path_T2[:, 0], np.linspace(0.24, 0.74, 9), atol=0.004)
    np.testing.assert_allclose(path_T2[:, 1], 0.5, atol=0.02)


def test_mass_is_on_the_entity_alone() -> None:
    video = np.full((1, 2, 8, 8, 3), 0.9, np.float32)
    video[:, 1, 2:4, 3:6] = (0.9, 0.1, 0.1)
    mass_THW = motion.mass(jnp.asarray(video))[0]
    assert (mass_THW[0] == 0).all() and (mass_THW[1] > 0).sum() == 6
    np.testing.assert_allclose(mass_THW[1, 2:4, 3:6], 0.8 - 0.12, rtol=1e-6)
    np.testing.assert_allclose(
        mass_THW, motion.mass(jnp.asarray((video * 255).round(), jnp.uint8))[0], atol=0.005
    )


def test_a_still_clip_does_not_move_at_all() -> None:
    for value in measure(jnp.asarray(clip("still"))[None]).values():
        np.testing.assert_allclose(value, 0, atol=1e-6)


def test_shaking_raises_jerk_more_than_speed() -> None:
    smooth = clip("right")
    shaken = np.stack([np.roll(frame, 2 * (t % 2), axis=1) for t, frame in enumerate(smooth)])
    calm, rough = (measure(jnp.asarray(x)[None]) for x in (smooth, shaken))
    assert rough["jerk"][0] > 20 * calm["jerk"][0]
    assert rough["speed"][0] < 2 * calm["speed"][0]


def test_roughness_equals_finite_differences_of_polynomials() -> None:
    t = jnp.arange(6.0)
    xs, ys = (t, t**2, t**3), (0 * t, t**2, 0 * t)
    path_BT2 = jnp.stack([jnp.stack(xs), jnp.stack(ys)], axis=-1)
    np.testing.assert_allclose(motion.roughness(path_BT2, order=1)[0], 1)
    np.testing.assert_allclose(motion.roughness(path_BT2, order=2)[:2], [0, 8**0.5], rtol=1e-6)
    np.testing.assert_allclose(motion.roughness(path_BT2, order=3), [0, 0, 6], atol=1e-5)
    np.testing.assert_allclose(motion.roughness(path_BT2[:, :2], order=2), 0)


def test_difference_is_the_share_of_the_range_and_the_same_for_floats() -> None:
    video = np.zeros((1, 3, 4, 4, 3), np.uint8)
    video[:, 1] = 51
    np.testing.assert_allclose(motion.difference(jnp.asarray(video)), 0.2, rtol=1e-6)
    np.testing.assert_allclose(
        motion.difference(jnp.asarray(video / 255, jnp.float32)), 0.2, rtol=1e-6
    )
    np.testing.assert_allclose(motion.difference(jnp.asarray(video[:, :1])), 0)


def test_empty_frames_are_finite_also_in_gradients() -> None:
    grey = jnp.full((2, 5, 8, 8, 3), 0.5)
    for value in measure(grey).values():
        np.testing.assert_allclose(value, 0)
    slope = jax.jit(jax.grad(lambda x: motion.centroids(x).sum()))(grey)
    assert jnp.isfinite(slope).all()
