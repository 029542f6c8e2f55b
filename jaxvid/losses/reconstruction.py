"""Distances between a generated clip and the real one, per example."""

import jax.numpy as jnp
from jaxtyping import Array, Float

Video = Float[Array, "B T H W C"]


def charbonnier(
    fake_BTHWC: Video, real_BTHWC: Video, *, epsilon: float = 0.05
) -> Float[Array, "B"]:
    """mean √((y - x)² + ε²) - ε: absolute error, smooth at zero (Charbonnier et al., 1994)."""
    distance = jnp.sqrt((fake_BTHWC - real_BTHWC) ** 2 + epsilon**2) - epsilon
    return distance.mean(axis=(1, 2, 3, 4))


def transport(fake_BTHWC: Video, noise_BTHWC: Video) -> Float[Array, "B"]:
    """mean (G(n) - n)²: of all maps from noise to data the nearest (Adversarial Flow, eq. 8)."""
    return ((fake_BTHWC - noise_BTHWC) ** 2).mean(axis=(1, 2, 3, 4))


def divergence(
    mean_BZ: Float[Array, "B *T Z"], log_std_BZ: Float[Array, "B *T Z"]
) -> Float[Array, "B *T"]:
    """KL(N(mean, std²) || N(0, I)) in nats: ½ Σ (mean² + std² - 1 - 2 log std).

    Kingma and Welling, 2014, appendix B.
    """
    spread = jnp.exp(2 * log_std_BZ) - 1.0 - 2 * log_std_BZ
    return 0.5 * (mean_BZ**2 + spread).sum(axis=-1)
