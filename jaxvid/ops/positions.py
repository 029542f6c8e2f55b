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


def rotate(x: Float[Array, "*B S K A"], at: Float[Array, " S"]) -> Float[Array, "*B S K A"]:
    """Rotary position embedding (Su et al., 2021, section 3.4.2): pairs of the first A/2 features
    turned by angles that grow with the place ``at``, by 1 rad to nearly 1/100 a step, so that
    products of queries and keys know how far apart they are; the others know nothing of places.
    """
    F = x.shape[-1] // 4
    angle_S1F = (at[:, None] * 100.0 ** (-jnp.arange(F) / F))[:, None]
    cos, sin = jnp.cos(angle_S1F), jnp.sin(angle_S1F)
    one, other, rest = x[..., :F], x[..., F : 2 * F], x[..., 2 * F :]
    return jnp.concatenate([one * cos - other * sin, one * sin + other * cos, rest], axis=-1)
