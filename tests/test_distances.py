"""Laws of distances of features: equal to float64 oracles, safe where singular; states merge."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.linalg

from jaxvid.metrics import distances

update, merge = jax.jit(distances.update), jax.jit(distances.merge)


def sets(
    seed: int, *, samples: int, features: int, decay: float = 0.0, offset: float = 0.0
) -> list[np.ndarray]:
    """Two sets of correlated features of unlike means; variances fall as a power of their rank."""
    rng = np.random.default_rng(seed)
    turn = np.linalg.qr(rng.normal(size=(features, features)))[0]
    scale = (np.arange(features) + 1.0) ** -decay
    a, b = rng.normal(size=(2, samples, features)) * scale @ turn + offset
    return [a.astype(np.float32), (1.5 * b + 0.1).astype(np.float32)]


def collect(x_NF: np.ndarray, *, batch: int = 50) -> distances.Gaussian:
    """Through the state, the last batch padded with NaN."""
    state = distances.init(x_NF.shape[1])
    for start in range(0, len(x_NF), batch):
        part = x_NF[start : start + batch]
        padded = np.full((batch, x_NF.shape[1]), np.nan, np.float32)
        padded[: len(part)] = part
        weight = jnp.asarray(np.arange(batch) < len(part), jnp.float32)
        state = update(state, jnp.asarray(padded), weight_B=weight)
    return distances.compute(state)


def by_scipy(a: np.ndarray, b: np.ndarray) -> float:
    """The formula as it is written, in float64."""
    a, b = a.astype(float), b.astype(float)
    s1, s2 = np.cov(a.T), np.cov(b.T)
    cross = np.trace(scipy.linalg.sqrtm(s1 @ s2).real)
    return ((a.mean(0) - b.mean(0)) ** 2).sum() + np.trace(s1) + np.trace(s2) - 2 * cross


def by_samples(a: np.ndarray, b: np.ndarray) -> float:
    """The same without any covariance: the cross term is a nuclear norm of centred samples."""
    a, b = a.astype(float), b.astype(float)
    x, y = a - a.mean(0), b - b.mean(0)
    cross = np.linalg.svd(x @ y.T, compute_uv=False).sum() / np.sqrt((len(x) - 1) * (len(y) - 1))
    spread = (x**2).sum() / (len(x) - 1) + (y**2).sum() / (len(y) - 1)
    return ((a.mean(0) - b.mean(0)) ** 2).sum() + spread - 2 * cross


def test_frechet_equals_scipy_in_float64() -> None:
    for seed, offset in ((0, 0.0), (1, 30.0)):
        a, b = sets(seed, samples=230, features=24, decay=0.5, offset=offset)
        want = by_scipy(a, b)
        np.testing.assert_allclose(distances.frechet_distance(a, b), want, rtol=1e-9)
        np.testing.assert_allclose(distances.frechet(collect(a), collect(b)), want, rtol=1e-4)


def test_frechet_is_right_where_covariances_are_singular() -> None:
    for samples, features, offset in ((20, 64, 0.0), (20, 64, 10.0), (2, 8, 0.0)):
        a, b = sets(2, samples=samples, features=features, decay=1, offset=offset)
        want = by_samples(a, b)
        np.testing.assert_allclose(distances.frechet_distance(a, b), want, rtol=1e-9)
        np.testing.assert_allclose(distances.frechet(collect(a), collect(b)), want, rtol=1e-4)
    a, b = sets(2, samples=20, features=128)  # roots of rounding in 109 directions would add up
    got = distances.frechet(collect(a), collect(b))
    np.testing.assert_allclose(got, by_samples(a, b), rtol=3e-8)
    a, b = sets(3, samples=90, features=6)
    a[:, 2], b[:, 2] = 0, 0  # a dead feature, and one twice
    a[:, 4], b[:, 4] = a[:, 3], b[:, 3]
    got = distances.frechet(collect(a), collect(b))
    np.testing.assert_allclose(got, by_samples(a, b), rtol=1e-4)


def test_frechet_of_known_gaussians_and_of_the_same_set() -> None:
    def gaussian(mean: list[float], variances: list[float]) -> distances.Gaussian:
        return distances.Gaussian(1e9, np.array(mean), np.diag(variances))

    a, b = gaussian([0, 1], [4, 0]), gaussian([3, 1], [9, 16])
    np.testing.assert_allclose(distances.frechet(a, b), 9 + 1 + 16)
    np.testing.assert_allclose(distances.frechet(b, a), 26)
    x = sets(4, samples=100, features=16)[0]
    assert distances.frechet(collect(x), collect(x)) < 1e-6
    np.testing.assert_allclose(distances.frechet_distance(x, x + 2), 4 * 16, rtol=1e-5)


def test_merged_moments_equal_the_whole() -> None:
    x = sets(5, samples=103, features=12, offset=100.0)[0]
    want = np.cov(x.astype(float).T)
    whole = collect(x, batch=200)
    parts = [update(distances.init(12), jnp.asarray(p)) for p in np.split(x, [7, 50, 51])]
    parts.append(distances.init(12))
    for order in (parts, parts[::-1]):
        merged = distances.compute(functools.reduce(merge, order))
        assert merged.samples == 103
        np.testing.assert_allclose(merged.mean_F, whole.mean_F, rtol=1e-6)
        np.testing.assert_allclose(merged.covariance_FF, want, atol=1e-5)
    np.testing.assert_allclose(collect(x, batch=10).covariance_FF, want, atol=1e-5)


def test_frames_count_like_clips_of_one_frame() -> None:
    x_BTF = jnp.asarray(sets(6, samples=24, features=5)[0].reshape(4, 6, 5))
    framewise = distances.compute(update(distances.init(5), x_BTF))
    np.testing.assert_allclose(
        framewise.covariance_FF, np.cov(x_BTF.reshape(-1, 5).T), rtol=1e-4, atol=1e-6
    )
    over_time = jax.jit(distances.over_time)
    clips = over_time(x_BTF)
    np.testing.assert_allclose(clips[:, :5], x_BTF.mean(1), rtol=1e-5)
    order = jnp.array([0, 3, 1, 4, 2, 5])
    shuffled = over_time(x_BTF[:, order])
    np.testing.assert_allclose(shuffled[:, :5], clips[:, :5], atol=1e-6)
    assert not np.allclose(shuffled[:, 5:], clips[:, 5:], atol=1e-3)
    np.testing.assert_allclose(over_time(x_BTF[:, :1])[:, 5:], 0)


def by_loops(a: np.ndarray, b: np.ndarray) -> float:
    def k(x: np.ndarray, y: np.ndarray) -> float:
        return float((x @ y / len(x) + 1) ** 3)

    n, m = len(a), len(b)
    aa = sum(k(a[i], a[j]) for i in range(n) for j in range(n) if i != j) / (n * (n - 1))
    bb = sum(k(b[i], b[j]) for i in range(m) for j in range(m) if i != j) / (m * (m - 1))
    return aa + bb - 2 * sum(k(x, y) for x in a for y in b) / (n * m)


def test_kernel_distance_equals_its_definition() -> None:
    a, b = sets(7, samples=23, features=6)
    want = by_loops(a.astype(float), b[:17].astype(float))
    np.testing.assert_allclose(distances.kernel_distance(a, b[:17]), want, rtol=1e-10)
    np.testing.assert_allclose(distances.kernel_distance(jnp.asarray(a), b[:17]), want, rtol=1e-10)
    pieces = distances.kernel_distance(np.repeat(a, 60, axis=0), b)  # over one part of 1024
    repeated = by_loops(a.astype(float), b.astype(float))
    assert np.isfinite(pieces) and pieces > repeated  # copies are pairs that agree


def test_kernel_distance_is_unbiased_where_frechet_is_not() -> None:
    rng = np.random.default_rng(8)
    kernel, frechet = {}, {}
    for n in (16, 64):
        pairs = rng.normal(size=(300 if n == 16 else 100, 2, n, 8))
        values = [distances.kernel_distance(*pair) for pair in pairs]
        kernel[n] = np.mean(values) / (np.std(values) / len(values) ** 0.5)  # in its errors
        frechet[n] = np.mean([distances.frechet_distance(*pair) for pair in pairs[:100]])
    assert abs(kernel[16]) < 3 and abs(kernel[64]) < 3
    np.testing.assert_allclose(frechet[16] / frechet[64], 4, rtol=0.2)  # a constant over N


def test_floor_is_the_distance_of_real_halves() -> None:
    a, b = sets(10, samples=401, features=8)
    value, deviation = distances.floor(a, distances.frechet_distance)
    assert 0 < deviation < value < 0.2 * distances.frechet_distance(a[:200], b[:200])
    sizes = []
    distances.floor(a, lambda x, y: sizes.append((len(x), len(y))) or 0.0, splits=1)
    assert sizes == [(200, 200)]
    seen = []
    tagged = np.arange(40.0)[:, None]
    distances.floor(tagged, lambda x, y: seen.append({*x.ravel(), *y.ravel()}) or 0.0)
    assert all(len(both) == 40 for both in seen)  # no sample on both sides


def test_too_little_and_broken_features_are_refused() -> None:
    x = jnp.ones((4, 3))
    one = update(distances.init(3), x, weight_B=jnp.array([1.0, 0, 0, 0]))
    with pytest.raises(ValueError, match="add some"):
        distances.compute(one)
    with pytest.raises(ValueError, match="NaN"):
        distances.compute(update(distances.init(3), x.at[0, 0].set(jnp.nan)))
    with pytest.raises(ValueError, match="two or more"):
        distances.kernel_distance(np.ones((1, 3)), np.ones((5, 3)))
