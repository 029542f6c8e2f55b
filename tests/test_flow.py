"""Laws of optical flow: textures are followed, stillness is 0, flicker is not motion."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from skimage.registration import optical_flow_ilk

from jaxvid.data.render import render
from jaxvid.metrics import flow, mean
from jaxvid.script import Actor, Entity, Scene, Script, Shot

warp = jax.jit(flow.warp)

SHIFTS = ((0, 0), (1, 0), (0, -2), (3, 0), (2.5, 1.5), (-4, 4))


def texture(x: np.ndarray, y: np.ndarray, *, seed: int) -> np.ndarray:
    """Waves of 6 to 30 pixels in all directions, at any place, 0 to 1."""
    rng = np.random.default_rng(seed)
    total = np.zeros(np.broadcast_shapes(x.shape, y.shape))
    for _ in range(24):
        angle, length = rng.uniform(0, 2 * np.pi), rng.uniform(6, 30)
        step = 2 * np.pi / length
        total += np.sin(step * (np.cos(angle) * x + np.sin(angle) * y) + rng.uniform(0, 6.3))
    return np.clip(0.5 + total / 16, 0, 1).astype(np.float32)


def moving(shift: tuple[float, float], *, frames: int = 3, size: int = 32) -> np.ndarray:
    """A texture that moves by so many pixels a frame, (T,H,W,1)."""
    y, x = np.mgrid[:size, : size + 3]  # not square
    views = [texture(x - t * shift[0], y - t * shift[1], seed=1) for t in range(frames)]
    return np.stack(views)[..., None]


@pytest.fixture(scope="module")
def measure():  # type: ignore[no-untyped-def]
    """Compiled for clips of three channels, of 4 frames of 32 x 32, in batches of 3."""
    return jax.jit(flow.measure)


def endpoint_error(flow_BTHW2: jax.Array, shift: tuple[float, float]) -> np.ndarray:
    return np.linalg.norm(np.asarray(flow_BTHW2) - np.array(shift), axis=-1)


def test_translations_are_recovered() -> None:
    clips = np.stack([moving(shift) for shift in SHIFTS])

    @jax.jit
    def follow(video):  # type: ignore[no-untyped-def]
        forward, backward = flow.between(video)
        errors = flow.warping_error(video, forward, backward)
        return forward, backward, flow.mean_flow(forward), *errors

    forward, backward, lengths, error, occluded = follow(jnp.asarray(clips))
    for clip, shift, there, back in zip(clips, SHIFTS, forward, backward, strict=True):
        inner = endpoint_error(there, shift)[:, 5:-5, 5:-5]
        assert inner.mean() < 0.15, shift
        assert endpoint_error(back, (-shift[0], -shift[1]))[:, 5:-5, 5:-5].mean() < 0.15, shift
        assert np.abs(there).max() < 10  # borders do not run away
        peer = np.stack(optical_flow_ilk(*clip[:2, ..., 0], radius=3)[::-1], axis=-1)
        assert inner.mean() < endpoint_error(peer, shift)[5:-5, 5:-5].mean() + 0.05, shift
    H, W = clips.shape[2:4]
    np.testing.assert_allclose(lengths, [np.hypot(x / W, y / H) for x, y in SHIFTS], atol=0.01)
    unwarped = (np.diff(clips, axis=1) ** 2).mean((1, 2, 3, 4))
    assert (error[1:] < 0.03 * unwarped[1:]).all() and (occluded < 0.3).all()


def test_still_clips_and_one_frame_have_no_flow(measure) -> None:  # type: ignore[no-untyped-def]
    rng = np.random.default_rng(0)
    still = np.repeat(rng.random((3, 1, 32, 32, 3)), 4, axis=1).astype(np.float32)
    still[1] = 0.5
    for value in measure(jnp.asarray(still)).values():
        np.testing.assert_array_equal(value, 0)
    for value in flow.measure(jnp.asarray(still[:, :1])).values():
        np.testing.assert_array_equal(value, 0)
    with pytest.raises(ValueError, match="more"):
        flow.between(jnp.asarray(still[:, :1]))


def test_flicker_and_noise_are_no_motion(measure) -> None:  # type: ignore[no-untyped-def]
    smooth = np.repeat(moving((2, 0), frames=4)[:, :, :32], 3, axis=-1)
    light = np.array([0.06, -0.06, 0.06, -0.06])[:, None, None, None]
    noise = np.random.default_rng(1).normal(0, 0.1, smooth.shape)
    batch = np.clip(np.stack([smooth, smooth + light, smooth + noise]), 0, 1).astype(np.float32)
    values = measure(jnp.asarray(batch))
    assert (values["warping_error"][1:] > 20 * values["warping_error"][0]).all()
    assert (values["occluded"][1:] > values["occluded"][0]).all()
    for value in values.values():
        assert ((value >= 0) & (value <= 1)).all()


def scene(motion: str, *, reach: float = 0.6) -> np.ndarray:
    actor = Actor("e0", motion, (0.1, 0.36, 0.28, 0.28), (reach, 0.36, 0.28, 0.28))
    shot = Scene("light_grid", (Shot(9, (actor,)),))
    return render(Script((Entity("e0", "circle", "red", "small"),), (shot,)))[:4]


def test_flow_of_scenes_follows_the_entity_alone(measure) -> None:  # type: ignore[no-untyped-def]
    video = np.stack([scene("right"), scene("right", reach=0.35), scene("still")])
    fast, slow, still = measure(jnp.asarray(video))["flow"]
    assert still == 0 and 1.5 < fast / slow < 3
    moved = 0.06 * 0.28**2 * np.pi / 4  # per frame, times its area
    assert moved < fast < 4 * moved
    floats = measure(jnp.asarray(video / 255, jnp.float32))
    for name, value in measure(jnp.asarray(video)).items():
        np.testing.assert_allclose(floats[name], value, atol=1e-3)


def test_values_are_of_each_clip_and_merge(measure) -> None:  # type: ignore[no-untyped-def]
    video = jnp.asarray(np.stack([scene("right"), scene("down"), scene("still")]))
    values, swapped = measure(video), measure(video[::-1])
    for name in flow.NAMES:
        np.testing.assert_allclose(values[name], swapped[name][::-1], atol=1e-6)
    parts = [mean.init(flow.NAMES)] * 2
    for i, weight_B in enumerate(([1.0, 0, 0], [0, 1.0, 1.0])):
        parts[i] = mean.update(parts[i], values, weight_B=jnp.array(weight_B))
    merged = mean.compute(mean.merge(*parts))
    for name in flow.NAMES:
        np.testing.assert_allclose(merged[name], values[name].mean(), rtol=1e-6)


def test_flow_along_the_real_clip_counts_neither_stills_nor_flicker() -> None:
    real = moving((0.5, 0), frames=8)
    still = np.repeat(real[:1], 8, axis=0)
    exposure = np.exp(np.random.default_rng(0).normal(0, 0.2, (8, 1, 1, 1)))
    flickering, dark = np.clip(real * exposure, 0, 1), 0.5 * real
    clips = np.stack([real, still, moving((-0.5, 0), frames=8), flickering, dark])

    @jax.jit
    def look(video, real):  # type: ignore[no-untyped-def]
        return flow.flow_along(video, real), flow.mean_flow(flow.between(video)[0])

    found = look(clips.astype(np.float32), np.repeat(real[None], 5, axis=0))
    along, length = (np.asarray(x) for x in found)
    assert along[0] == pytest.approx(length[0], rel=0.2) and abs(along[1]) < 1e-6
    assert along[2] < -0.5 * along[0]
    assert along[3] == pytest.approx(along[0], rel=0.02) and length[3] > 1.1 * length[0]
    assert along[4] == pytest.approx(along[0], rel=0.03)


def test_mean_flow_is_in_widths_and_heights() -> None:
    field = np.zeros((2, 3, 4, 8, 2), np.float32)
    field[0] = (2, 0)
    field[1, 0] = (4, 4)  # in one of three frames
    want = [0.25, np.hypot(0.5, 1) / 3]
    np.testing.assert_allclose(flow.mean_flow(jnp.asarray(field)), want, rtol=1e-6)


def test_warp_is_bilinear_and_knows_the_border() -> None:
    ramp = jnp.asarray(np.mgrid[:4, :6].transpose(1, 2, 0)[None], jnp.float32)  # (row, column)
    step = jnp.broadcast_to(jnp.array([1.25, -0.5]), (1, 4, 6, 2))  # x, y
    seen, inside = warp(ramp, step)
    rows, columns = jnp.clip(jnp.arange(4) - 0.5, 0, 3), jnp.clip(jnp.arange(6) + 1.25, 0, 5)
    np.testing.assert_allclose(seen[0, ..., 0], jnp.broadcast_to(rows[:, None], (4, 6)))
    np.testing.assert_allclose(seen[0, ..., 1], jnp.broadcast_to(columns, (4, 6)))
    want = np.zeros((4, 6), bool)
    want[1:, :4] = True
    np.testing.assert_array_equal(inside[0], want)
    one, _ = warp(jnp.ones((1, 1, 1, 1)), jnp.full((1, 1, 1, 2), 7.0))
    np.testing.assert_allclose(one, 1)
