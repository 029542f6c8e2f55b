"""Fixed position features: where and when a token or pixel is."""

import jax.numpy as jnp
from jaxtyping import Array, Float


def fourier(x: Float[Array, "*S"], *, octaves: int) -> Float[Array, "*S F"]:
    """x itself, sin and cos of pi 2^k x for k < octaves: F = 2 octaves + 1; x in about -1..1."""
    angles = jnp.pi * x[..., None] * 2.0 ** jnp.arange(octaves, dtype=jnp.float32)
    return jnp.concatenate([x[..., None], jnp.sin(angles), jnp.cos(angles)], axis=-1)


def pixel_grid(height: int, width: int, *, octaves: int) -> Float[Array, "H W F"]:
    """A constant and Fourier features of y and x of each pixel centre: F = 4 octaves + 3."""
    y_H = (jnp.arange(height, dtype=jnp.float32) + 0.5) / height * 2 - 1
    x_W = (jnp.arange(width, dtype=jnp.float32) + 0.5) / width * 2 - 1
    y_HWF = jnp.broadcast_to(
        fourier(y_H, octaves=octaves)[:, None], (height, width, 2 * octaves + 1)
    )
    x_HWF = jnp.broadcast_to(
        fourier(x_W, octaves=octaves)[None, :], (height, width, 2 * octaves + 1)
    )
    return jnp.concatenate([jnp.ones((height, width, 1)), y_HWF, x_HWF], axis=-1)


def sinusoids(
    x: Float[Array, "*S"], *, width: int, shortest: float = 0.2, longest: float = 64.0
) -> Float[Array, "*S D"]:
    """Transformer position features (Vaswani et al., 2017, section 3.5) of a real-valued position.

    Wavelengths go geometrically from ``shortest`` to ``longest`` in the unit of ``x`` (of times in
    seconds: from neighbouring frames to minutes); D = width, which must be even.
    """
    rates = 2 * jnp.pi / jnp.geomspace(shortest, longest, width // 2).astype(jnp.float32)
    angles = x[..., None] * rates
    return jnp.concatenate([jnp.sin(angles), jnp.cos(angles)], axis=-1)
