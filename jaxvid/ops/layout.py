"""The script drawn at pixel resolution: for each actor a soft box and coordinates inside it.

A small per-pixel network learns shape, place and colour from this within a hundred steps, where the
same boxes given as tokens teach nothing in that time (measured; facts of the house, hot paths 5).
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

FEATURES = 21
# Which of them are functions of u alone, of v alone, and of both; the first is constant.
ALONG, DOWN = (1, 3, 5, 13, 14, 17, 18), (2, 4, 6, 15, 16, 19, 20)
BOTH = (7, 8, 9, 10, 11, 12)
PLACES = 8  # of both, and zeros: as many as a vector has
FAINT = 1e-6  # a mask below is 0: nothing need be painted there


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
    within about a pixel of the box's sides, is 0 from the fourth on, and for an actor that is not
    on screen.
    """
    boxes_NBT4, visible_NBT = (jnp.moveaxis(x, 2, 0) for x in (boxes_BTN4, visible_BTN))
    u, v, mask = _places(boxes_NBT4, visible_NBT, height, width)
    u, v = jnp.broadcast_arrays(u[..., None, :], v[..., None])
    terms = {0: jnp.ones_like(u)} | dict(zip(ALONG, _of_one(u), strict=True))
    terms |= dict(zip(DOWN, _of_one(v), strict=True)) | dict(zip(BOTH, _of_both(u, v), strict=True))
    drawn = jnp.stack([terms[i] for i in range(FEATURES)], axis=-1)
    return jnp.moveaxis(drawn, 0, 4), jnp.moveaxis(mask, 0, 4)


class Parts(NamedTuple):
    """Features of pixels, (N,B,T,H,W,D) or one actor's, before they are spread: see ``spread``."""

    places_NBTHWP: Any
    columns_NBTWD: Any
    rows_NBTHD: Any
    kernel_NBPD: Any


def draw_parts(
    boxes_BTN4: Float[Array, "B T N 4"],
    visible_BTN: Float[Array, "B T N"],
    kernel_BNFD: Float[Array, "B N F D"],
    *,
    height: int,
    width: int,
) -> tuple[Parts, Float[Array, "N B T H W"]]:
    """What ``draw`` gives, each actor's features mapped by its kernel, not yet spread, and the
    mask.

    Two thirds of the features depend on the column or on the row alone: these are mapped before
    they are spread over the frame. In training less than half the time of drawing first
    (``python -m benchmarks.frame_synthesis --only ^script``). The others are the PLACES, zeros
    where BOTH are fewer.
    """
    boxes_NBT4, visible_NBT = (jnp.moveaxis(x, 2, 0) for x in (boxes_BTN4, visible_BTN))
    u_NBTW, v_NBTH, mask = _places(boxes_NBT4, visible_NBT, height, width)
    kernel_NBFD = kernel_BNFD.swapaxes(0, 1)
    dtype = kernel_NBFD.dtype

    def mapped(terms: list[Array], rows: tuple[int, ...]) -> Array:
        drawn = jnp.stack(terms, axis=-1).astype(dtype)
        return jnp.einsum("nbtxf,nbfd->nbtxd", drawn, kernel_NBFD[:, :, list(rows)])

    both = _of_both(*jnp.broadcast_arrays(u_NBTW[..., None, :], v_NBTH[..., None]))
    nothing = [jnp.zeros_like(both[0])] * (PLACES - len(BOTH))
    rows = mapped(_of_one(v_NBTH), DOWN) + kernel_NBFD[:, :, 0][:, :, None, None]
    kernel = jnp.pad(kernel_NBFD[:, :, list(BOTH)], ((0, 0), (0, 0), (0, len(nothing)), (0, 0)))
    places = jnp.stack(both + nothing, axis=-1).astype(dtype)
    return Parts(places, mapped(_of_one(u_NBTW), ALONG), rows, kernel), mask


def spread(parts: Parts) -> Array:
    """Features of pixels: places times kernel, + columns + rows."""
    places, columns, rows, kernel = parts
    mapped = jnp.einsum("...thwp,...pd->...thwd", places, kernel)
    return mapped + columns[..., None, :, :] + rows[..., None, :]


def _places(
    boxes_NBT4: jax.Array, visible_NBT: jax.Array, height: int, width: int
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """u (N,B,T,W) and v (N,B,T,H) of columns and rows, and the mask (N,B,T,H,W)."""
    cx, cy, w, h = (boxes_NBT4[..., i, None] for i in range(4))
    half_w, half_h = jnp.maximum(w / 2, 1e-3), jnp.maximum(h / 2, 1e-3)
    dx_NBTW = (jnp.arange(width, dtype=jnp.float32) + 0.5) / width - cx
    dy_NBTH = (jnp.arange(height, dtype=jnp.float32) + 0.5) / height - cy
    across = jax.nn.sigmoid((half_w - jnp.abs(dx_NBTW)) * (4.0 * width)) * visible_NBT[..., None]
    down = jax.nn.sigmoid((half_h - jnp.abs(dy_NBTH)) * (4.0 * height))
    mask = down[..., :, None] * across[..., None, :]
    mask = jnp.where(mask < FAINT, 0.0, mask)
    return jnp.clip(dx_NBTW / half_w, -1.2, 1.2), jnp.clip(dy_NBTH / half_h, -1.2, 1.2), mask


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
