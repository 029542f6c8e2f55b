"""Backward warping: each pixel fetches its value from where its flow points."""

import itertools

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

_NEAR = 1 / 4096  # of a pixel; places of frames of 1,024 pixels are rounded to a quarter of it


@jax.custom_jvp
def _snapped(x: jax.Array) -> jax.Array:
    """On the whole pixel what is near it, with the gradient of x.

    XLA makes a place twice, to fetch and to weigh, and may round once otherwise: 5.9999998 was
    fetched from 5 and weighed as from 6, a whole pixel off.
    """
    whole = jnp.round(x)
    return jnp.where(jnp.abs(x - whole) < _NEAR, whole, x)


_snapped.defjvps(lambda tangent, _, x: tangent)


def warp(
    x_BHWC: Float[Array, "B H W C"], flow_BHW2: Float[Array, "B H W 2"]
) -> tuple[Float[Array, "B H W C"], Bool[Array, "B H W"]]:
    """``x`` at each pixel's place plus its flow (x, y in pixels), bilinear between pixels.

    Also a mask (B,H,W): where that is inside of the frame; outside it is the border's value.
    """
    B, H, W, C = x_BHWC.shape
    x, y = jnp.arange(W) + flow_BHW2[..., 0], jnp.arange(H)[:, None] + flow_BHW2[..., 1]
    inside = (x >= 0) & (x <= W - 1) & (y >= 0) & (y <= H - 1)
    x, y = _snapped(jnp.clip(x, 0, W - 1)), _snapped(jnp.clip(y, 0, H - 1))
    left, top = x.astype(jnp.int32), y.astype(jnp.int32)
    pixels = x_BHWC.reshape(B, H * W, C)
    total = jnp.zeros_like(x_BHWC)
    for right, below in itertools.product((0, 1), (0, 1)):
        column, row = jnp.minimum(left + right, W - 1), jnp.minimum(top + below, H - 1)
        index = (row * W + column).reshape(B, -1, 1)
        # Held in the frame above: checked again here, a fetch takes three times as long on CPU.
        at = jnp.take_along_axis(pixels, index, axis=1, mode="promise_in_bounds")
        # No abs of it: at whole pixels, where flows begin, that has the slope of neither side.
        share = (x - left if right else 1 - (x - left)) * (y - top if below else 1 - (y - top))
        total = total + at.reshape(x_BHWC.shape) * share[..., None]
    return total, inside
