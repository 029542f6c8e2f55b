"""How far the features of generated clips are from those of real ones, as sets.

Any features: name a figure after the network that made them. None is called FID or FVD here, which
mean those of two particular networks. Features may be of frames or of clips (``over_time`` makes
the latter out of the former).

Both sets need the same size, and every figure wants the ``floor`` beside it, which two sets of real
clips reach: the Fréchet distance of N samples is too large by about a constant over N, and by more
where N is less than F; the kernel distance is right on average for any N.

Moments are updated in float32 on any device, by Chan's rule; distances are taken in float64 on the
host. Against float64 throughout that costs 1e-9 to 1e-5 of a Fréchet distance, and 2e-4 where the
variances of features span ten decimals; sums of products would cost 0.2 to 0.8 of it there.
Letters beyond the legend: F features, N samples, M samples of the other set.
"""

import math
from collections.abc import Callable, Iterator
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

Features = Float[Array, "N F"] | Float[np.ndarray, "N F"]
Others = Float[Array, "M F"] | Float[np.ndarray, "M F"]


class Moments(NamedTuple):
    """Sum of weights, weighted mean, and sum of the outer products of what differs from it."""

    weight: jax.Array
    mean_F: jax.Array
    scatter_FF: jax.Array


class Gaussian(NamedTuple):
    """Mean and covariance (of N - 1) of so many samples, float64."""

    samples: float
    mean_F: np.ndarray
    covariance_FF: np.ndarray


def over_time(features_BTF: Float[Array, "B T F"]) -> Float[Array, "B F2"]:
    """Features of clips from those of frames: means over time, then mean absolute differences of
    neighbours (0 of one frame), which see shuffled, frozen and flickering frames.
    """
    mean_BF = features_BTF.mean(1)
    if features_BTF.shape[1] < 2:
        return jnp.concatenate([mean_BF, jnp.zeros_like(mean_BF)], axis=1)
    change_BF = jnp.abs(jnp.diff(features_BTF, axis=1)).mean(1)
    return jnp.concatenate([mean_BF, change_BF], axis=1)


def init(features: int) -> Moments:
    """Nothing seen yet of so many features."""
    return Moments(jnp.zeros(()), jnp.zeros(features), jnp.zeros((features, features)))


def update(
    state: Moments, features_BF: Float[Array, "*B F"], *, weight_B: Float[Array, "*B"] | None = None
) -> Moments:
    """Adds a batch, of clips (B,F) or of frames (B,T,F).

    ``weight_B`` is 1, or 0 for those that only pad it, which may be NaN.
    """
    x_BF = features_BF.reshape(-1, features_BF.shape[-1]).astype(jnp.float32)
    weight_B = jnp.ones(len(x_BF)) if weight_B is None else weight_B.reshape(-1)
    x_BF = jnp.where(weight_B[:, None] > 0, x_BF, 0)
    count = weight_B.sum()
    mean_F = (x_BF * weight_B[:, None]).sum(0) / jnp.maximum(count, 1)
    away_BF = x_BF - mean_F
    scatter_FF = jnp.matmul((away_BF * weight_B[:, None]).T, away_BF, precision="highest")
    return merge(state, Moments(count, mean_F, scatter_FF))


def merge(a: Moments, b: Moments) -> Moments:
    """The state of both together; order does not matter. Chan et al. 1982."""
    count = a.weight + b.weight
    some = jnp.maximum(count, 1)
    away_F = b.mean_F - a.mean_F
    mean_F = (a.mean_F * a.weight + b.mean_F * b.weight) / some
    between_FF = jnp.outer(away_F, away_F) * (a.weight * b.weight / some)
    return Moments(count, mean_F, a.scatter_FF + b.scatter_FF + between_FF)


def compute(state: Moments) -> Gaussian:
    """Mean and covariance. Raises ValueError for fewer than two samples, or any not finite."""
    return _gaussian(*(np.asarray(x, np.float64) for x in state))


def frechet(a: Gaussian, b: Gaussian) -> float:
    """Fréchet (2-Wasserstein) distance of two Gaussians, squared, in squared units of features.

    ``|m1 - m2|² + tr S1 + tr S2 - 2 tr (S1^½ S2 S1^½)^½`` (Dowson and Landau 1982; of features,
    Heusel et al. 2017), from 0. The last trace is the sum of the singular values of
    ``S1^½ S2^½``, which needs no root of a product and keeps twice the digits. Safe where
    covariances are singular: eigenvalues beyond the N - 1 that N samples can have are 0.
    """
    roots = []
    for samples, _, covariance_FF in (a, b):
        values_F, vectors_FF = np.linalg.eigh(covariance_FF)
        values_F[: max(len(values_F) - math.ceil(samples - 1), 0)] = 0  # the least: rounding only
        roots.append(vectors_FF * np.sqrt(values_F.clip(0)))
    # the other factors of the roots are rotations, which change no singular value
    common = np.linalg.svd(roots[0].T @ roots[1], compute_uv=False).sum()
    spread = np.trace(a.covariance_FF) + np.trace(b.covariance_FF) - 2 * common
    return float(max(((a.mean_F - b.mean_F) ** 2).sum() + spread, 0))


def frechet_distance(a_NF: Features, b_MF: Others) -> float:
    """``frechet`` of two arrays of features, in float64 throughout. Raises as ``compute``."""
    fits = []
    for features_NF in (a_NF, b_MF):
        x_NF = np.asarray(features_NF, np.float64)
        away_NF = x_NF - x_NF.mean(0)
        fits.append(_gaussian(np.asarray(len(x_NF)), x_NF.mean(0), away_NF.T @ away_NF))
    return frechet(*fits)


def kernel_distance(a_NF: Features, b_MF: Others) -> float:
    """Squared maximum mean discrepancy under ``k(a, b) = (a.b / F + 1)³``; near 0 for equal sets.

    Unbiased, and with the kernel of KID (Bińkowski et al. 2018): means of k over pairs
    of different samples within each set, less twice the mean between the sets. So it may be below
    0. Over all pairs, which varies less than their means of subsets; in float64.
    Raises ValueError for fewer than two samples in a set.
    """
    a, b = np.asarray(a_NF, np.float64), np.asarray(b_MF, np.float64)
    if min(len(a), len(b)) < 2:
        raise ValueError(f"sets of {len(a)} and {len(b)} samples have no pairs; take two or more")
    within = [(_kernel_sum(x, x) - _kernel_own(x)) / (len(x) * (len(x) - 1)) for x in (a, b)]
    return float(sum(within) - 2 * _kernel_sum(a, b) / (len(a) * len(b)))


def floor(
    real_NF: Features,
    distance: Callable[[np.ndarray, np.ndarray], float],
    *,
    splits: int = 4,
    seed: int = 0,
) -> tuple[float, float]:
    """Real against real: mean and standard deviation of a distance of two random halves.

    It is what a perfect generator would reach **at N/2 samples a side**: a Fréchet distance falls
    about as 1/N, so compare with N/2 generated against N/2 real clips (or collect twice as many
    real ones). Halves of frames of the same clips, or of clips of the same person, are too much
    alike, and their floor too low: give one set in which samples are independent.
    """
    real = np.asarray(real_NF)
    half, rng = len(real) // 2, np.random.default_rng(seed)
    found = []
    for _ in range(splits):
        order = rng.permutation(len(real))
        found.append(distance(real[order[:half]], real[order[half : 2 * half]]))
    return float(np.mean(found)), float(np.std(found))


def _gaussian(weight: np.ndarray, mean_F: np.ndarray, scatter_FF: np.ndarray) -> Gaussian:
    if weight < 2:
        raise ValueError(f"a covariance takes two samples or more, there are {weight:g}; add some")
    if not np.isfinite(scatter_FF).all():
        raise ValueError("features hold NaN or infinity; leave those samples out by weight 0")
    return Gaussian(float(weight), mean_F, scatter_FF / (weight - 1))


def _kernel(product: np.ndarray, features: int) -> np.ndarray:
    return (product / features + 1) ** 3


def _kernel_own(x_NF: np.ndarray) -> float:
    return float(_kernel((x_NF**2).sum(1), x_NF.shape[1]).sum())


def _kernel_sum(a_NF: np.ndarray, b_MF: np.ndarray) -> float:
    return sum(float(_kernel(part @ b_MF.T, a_NF.shape[1]).sum()) for part in _parts(a_NF))


def _parts(x_NF: np.ndarray) -> Iterator[np.ndarray]:
    return (x_NF[i : i + 1024] for i in range(0, len(x_NF), 1024))  # a matrix of pairs is large
