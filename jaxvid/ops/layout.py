"""The script drawn at pixel resolution: for each actor a soft box and coordinates inside it.

A small per-pixel network learns shape, place and colour from this within a hundred steps, where the
same boxes given as tokens teach nothing in that time (measured; facts of the house, hot paths 5).
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

FEATURES = 21
# Which of them are functions of u alone, of v alone, and of both; the first is constant.
ALONG, DOWN = (1, 3, 5, 13, 14, 17, 18), (2, 4, 6, 15, 16, 19, 20)
BOTH = (7, 8, 9, 10, 11, 12)


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
    u_BTWN, v_BTHN, mask = _places(boxes_BTN4, visible_BTN, height, width)
    u, v = jnp.broadcast_arrays(u_BTWN[:, :, None], v_BTHN[:, :, :, None])
    terms = {0: jnp.ones_like(u)} | dict(zip(ALONG, _of_one(u), strict=True))
    terms |= dict(zip(DOWN, _of_one(v), strict=True)) | dict(zip(BOTH, _of_both(u, v), strict=True))
    return jnp.stack([terms[i] for i in range(FEATURES)], axis=-1), mask


def draw_mapped(
    boxes_BTN4: Float[Array, "B T N 4"],
    visible_BTN: Float[Array, "B T N"],
    kernel_BNFD: Float[Array, "B N F D"],
    *,
    height: int,
    width: int,
) -> tuple[list[Float[Array, "B T H W D"]], Float[Array, "B T H W N"]]:
    """What ``draw`` gives, each actor's features mapped by its kernel, and the mask.

    Two thirds of the features depend on the column or on the row alone: these are mapped before
    they are spread over the frame. In training less than half the time of drawing first
    (``python -m benchmarks.frame_synthesis --only ^script``).
    """
    u_BTWN, v_BTHN, mask = _places(boxes_BTN4, visible_BTN, height, width)
    mapped = []
    for n in range(boxes_BTN4.shape[2]):
        kernel_BFD = kernel_BNFD[:, n]
        u_BTW, v_BTH = u_BTWN[..., n], v_BTHN[..., n]
        both = _of_both(*jnp.broadcast_arrays(u_BTW[:, :, None], v_BTH[..., None]))
        parts = []
        for rows, terms in ((ALONG, _of_one(u_BTW)), (DOWN, _of_one(v_BTH)), (BOTH, both)):
            drawn = jnp.stack(terms, axis=-1).astype(kernel_BFD.dtype)
            parts.append(jnp.einsum("bt...f,bfd->bt...d", drawn, kernel_BFD[:, list(rows)]))
        rows_BTHD = parts[1] + kernel_BFD[:, 0][:, None, None]
        mapped.append(parts[2] + parts[0][:, :, None] + rows_BTHD[:, :, :, None])
    return mapped, mask


def _places(
    boxes_BTN4: jax.Array, visible_BTN: jax.Array, height: int, width: int
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """u (B,T,W,N) and v (B,T,H,N) of columns and rows, and the mask (B,T,H,W,N)."""
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
    return u_BTWN, v_BTHN, mask


def _of_one(x: jax.Array) -> list[jax.Array]:
    return [x, jnp.abs(x), x * x] + [f(jnp.pi * k * x) for k in (1, 2) for f in (jnp.sin, jnp.cos)]


def _of_both(u: jax.Array, v: jax.Array) -> list[jax.Array]:
    radius = jnp.sqrt(u * u + v * v + 1e-6)
    across, down = jnp.abs(u), jnp.abs(v)
    cos, cos2 = -v / radius, (v * v - u * u) / radius**2
    cos3 = cos * (2 * cos2 - 1)
    cos5 = 2 * cos2 * cos3 - cos
    larger, smaller = jnp.maximum(across, down), jnp.minimum(across, down)
    return [u * v, radius, larger, smaller, cos3 * radius, cos5 * radius]
