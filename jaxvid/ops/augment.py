"""Differentiable augmentation for the critics (Zhao et al., 2020, DiffAugment).

One draw for a real clip and for the generated clip that it is paired with, and for all frames of a
clip, from the example's own key. No mirroring: captions speak of left and right.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key


def augment(
    keys_B: Key[Array, "B"], video_BTHWC: Float[Array, "B T H W C"], *, strength: float
) -> Float[Array, "B T H W C"]:
    """Brightness, contrast, a shift by up to 1/8 of the frame, edges held; ``strength`` 0 to 1."""
    if strength == 0:
        return video_BTHWC

    def one(key: jax.Array, video_THWC: jax.Array) -> jax.Array:
        bright, contrast, shift = jax.random.split(key, 3)
        H, W = video_THWC.shape[1:3]
        mean = video_THWC.mean()
        gain = 1.0 + strength * jax.random.uniform(contrast, (), minval=-0.3, maxval=0.3)
        offset = strength * jax.random.uniform(bright, (), minval=-0.3, maxval=0.3)
        video_THWC = (video_THWC - mean) * gain + mean + offset
        most = jnp.array([H, W], jnp.float32) * (strength / 8)
        dy, dx = jnp.round(jax.random.uniform(shift, (2,), minval=-most, maxval=most)).astype(int)
        rows = jnp.clip(jnp.arange(H) + dy, 0, H - 1)
        columns = jnp.clip(jnp.arange(W) + dx, 0, W - 1)
        return video_THWC[:, rows][:, :, columns]

    return jax.vmap(one)(keys_B, video_BTHWC)
