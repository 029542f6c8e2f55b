"""Text encoder: UTF-8 bytes in any language to a short sequence of vectors and one summary."""

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxvid.models.blocks import Attention, FeedForward, leaky, rms_norm

BYTES = 257  # 256 byte values after the padding id 0


class TextEncoder(nn.Module):
    """(B,L) ids -> tokens (B,L/4,width), their mask (B,L/4), and their mean (B,width).

    Two strided convolutions make word features out of bytes, then Transformer layers relate them.
    """

    width: int
    layers: int
    heads: int

    @nn.compact
    def __call__(self, text_BL: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
        x = nn.Embed(BYTES, self.width, name="embed")(text_BL)
        x = x * (text_BL > 0)[..., None]
        x = leaky(nn.Conv(self.width, (5,), strides=2, name="conv0")(x))
        x = nn.Conv(self.width, (5,), strides=2, name="conv1")(leaky(x))
        mask_BL = jnp.any((text_BL > 0).reshape(*x.shape[:2], -1), axis=-1)
        place = self.param("place", nn.initializers.normal(0.02), x.shape[1:])
        x = x + place
        for i in range(self.layers):
            attend = Attention(self.heads, name=f"attention{i}")
            x = x + attend(rms_norm(x), mask=mask_BL[:, None, None, :])
            x = x + FeedForward(name=f"feed{i}")(rms_norm(x))
        x = rms_norm(x) * mask_BL[..., None]
        mean = x.sum(1) / jnp.maximum(mask_BL.sum(1, keepdims=True), 1)
        return x, mask_BL, mean
