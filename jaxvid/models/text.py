"""Text encoder: UTF-8 bytes in any language to a short sequence of vectors and one summary."""

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxvid.models.blocks import Attention, FeedForward, leaky, rms_norm
from jaxvid.ops.ngrams import ngram_ids

BYTES = 257  # 256 byte values after the padding id 0
NGRAMS = (3, 6, 9)  # bytes: one, two and three Chinese characters
BUCKETS = 2048


class TextEncoder(nn.Module):
    """(B,L) ids -> tokens (B,L/4,width), their mask (B,L/4), and a summary (B,width).

    A byte enters with the hashed n-grams that end at it, so that a word is known by its row of a
    table rather than spelt out by layers; two strided convolutions and Transformer layers relate
    words. The summary is made of the greatest value of each word feature (Kim, 2014). Both are for
    speed: what words mean is learnt in a few hundred steps instead of thousands.
    """

    width: int
    layers: int
    heads: int

    @nn.compact
    def __call__(self, text_BL: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
        unit = nn.initializers.normal(1.0)
        x = nn.Embed(BYTES, self.width, embedding_init=unit, name="embed")(text_BL)
        for n in NGRAMS:
            table = nn.Embed(BUCKETS, self.width, embedding_init=unit, name=f"ngram{n}")
            x = x + table(ngram_ids(text_BL, n=n, buckets=BUCKETS))
        x = x * (text_BL > 0)[..., None]
        x = leaky(nn.Conv(self.width, (5,), strides=2, name="conv0")(x))
        x = nn.Conv(self.width, (5,), strides=2, name="conv1")(leaky(x))
        mask_BL = jnp.any((text_BL > 0).reshape(*x.shape[:2], -1), axis=-1)
        wide = nn.Dense(4 * self.width, name="words")(leaky(x))
        found_BD = jnp.max(jnp.where(mask_BL[..., None], leaky(wide), -1e3), axis=1)
        found_BD = jnp.where(mask_BL.any(1, keepdims=True), found_BD, 0.0)
        if self.layers:  # without layers only the summary is of use, and it has no order
            x = x + self.param("place", nn.initializers.normal(0.02), x.shape[1:])
        for i in range(self.layers):
            attend = Attention(self.heads, name=f"attention{i}")
            x = x + attend(rms_norm(x), mask=mask_BL[:, None, None, :])
            x = x + FeedForward(name=f"feed{i}")(rms_norm(x))
        x = rms_norm(x) * mask_BL[..., None]
        summary = nn.Dense(self.width, use_bias=False, name="summary")  # 0 where nothing is said
        return x, mask_BL, summary(rms_norm(found_BD))
