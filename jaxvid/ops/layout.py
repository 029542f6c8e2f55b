"""The script drawn at pixel resolution: for each actor a soft box and coordinates inside it.

A small per-pixel network learns shape, place and colour from this within a hundred steps, where the
same boxes given as tokens teach nothing in that time (measured; facts of the house, hot paths 5).
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

FEATURES = 21


def draw(
    boxes_BTN4: Float[Array, "B T N 4"],
    visible_BTN: Float[Array, "B T N"],
    *,
    height: int,
    width: int,
) -> tuple[Float[Array, "B T H W N F"], Float[Array, "B T H W N"]]:
    """Features of each pixel's place in each actor's box, and the box's mask; F = FEATURES.

    With (u, v) the pixel's place in the box, both -1..1 from side to side and held a little beyond:
    1, u, v, |u|, |v|, u², v², uv, r = √(u²+v²), max and min of |u| and |v|, r cos 3θ and r cos 5θ
    of the angle θ = atan2(u, -v), and sin and cos of πu, πv, 2πu, 2πv. The mask falls from 1 to 0
    within about a pixel of the box's sides and is 0 for an actor that is not on screen.
    """
    cx, cy, w, h = (boxes_BTN4[..., i] for i in range(4))
    half_w, half_h = jnp.maximum(w / 2, 1e-3), jnp.maximum(h / 2, 1e-3)
    x_W = (jnp.arange(width, dtype=jnp.float32) + 0.5) / width
    y_H = (jnp.arange(height, dtype=jnp.float32) + 0.5) / height
    dx_BTWN = x_W[:, None] - cx[:, :, None]
    dy_BTHN = y_H[:, None] - cy[:, :, None]
    inside_BTWN = jax.nn.sigmoid((half_w[:, :, None] - jnp.abs(dx_BTWN)) * (4.0 * width))
    inside_BTHN = jax.nn.sigmoid((half_h[:, :, None] - jnp.abs(dy_BTHN)) * (4.0 * height))
    mask = inside_BTHN[:, :, :, None] * (inside_BTWN * visible_BTN[:, :, None])[:, :, None]
    u_BTWN = jnp.clip(dx_BTWN / half_w[:, :, None], -1.2, 1.2)
    v_BTHN = jnp.clip(dy_BTHN / half_h[:, :, None], -1.2, 1.2)
    u, v = u_BTWN[:, :, None], v_BTHN[:, :, :, None]
    u, v = jnp.broadcast_arrays(u, v)
    radius = jnp.sqrt(u * u + v * v + 1e-6)
    across, down = jnp.abs(u), jnp.abs(v)
    terms = [jnp.ones_like(u), u, v, across, down, u * u, v * v, u * v, radius]
    terms += [jnp.maximum(across, down), jnp.minimum(across, down)]
    cos, cos2 = -v / radius, (v * v - u * u) / radius**2
    cos3 = cos * (2 * cos2 - 1)
    cos5 = 2 * cos2 * cos3 - cos
    terms += [cos3 * radius, cos5 * radius]
    terms += [f(jnp.pi * k * x) for k in (1, 2) for x in (u, v) for f in (jnp.sin, jnp.cos)]
    return jnp.stack(terms, axis=-1), mask
