"""The policy of reinforcement learning: which motion noise the generator gets in each frame."""

import flax.linen as nn
import jax
import jax.numpy as jnp
from flax.linen.initializers import zeros

from jaxvid import script
from jaxvid.models.blocks import Attention, FeedForward, leaky, rms_norm
from jaxvid.models.conditions import UNIT
from jaxvid.models.text import TextEncoder
from jaxvid.ops.positions import sinusoids
from jaxvid.typing import Batch

CELLS = 8  # rows and columns that it sees of a known first frame
NARROW, WIDE = -4.0, 0.5  # bounds of the log standard deviation


class Policy(nn.Module):
    """Conditions and a known first frame -> mean and log standard deviation (B,T,actions), float32.

    Both are 0 at the start: N(0, I), which is the frozen reference.
    """

    actions: int
    width: int = 64

    @nn.compact
    def __call__(
        self, batch: Batch, known_BTHWC: jax.Array, mask_BTHW1: jax.Array
    ) -> tuple[jax.Array, jax.Array]:
        boxes, visible = batch["boxes"], batch["visible"]
        B, T, N, _ = boxes.shape
        step = jnp.concatenate([jnp.zeros_like(boxes[:, :1]), jnp.diff(boxes, axis=1)], axis=1)
        path = jnp.concatenate([boxes, 10 * step, visible[..., None]], axis=-1)
        x = nn.Dense(self.width, name="path")(path.reshape(B, T, -1))
        x += nn.Dense(self.width, name="time")(sinusoids(batch["times"], width=self.width))
        counts = (len(script.KINDS), len(script.COLORS), len(script.SIZES))
        looks = [
            nn.Embed(count + 1, 8, embedding_init=UNIT, name=name)(batch["attributes"][..., i])
            for i, (name, count) in enumerate(zip(("kind", "color", "size"), counts, strict=True))
        ]
        _, _, said_BD = TextEncoder(self.width, 0, 1, name="text")(batch["text"])
        still = jnp.where(mask_BTHW1[:, 0] > 0, known_BTHWC[:, 0], 0.0)
        small = jax.image.resize(still, (B, CELLS, CELLS, 3), "linear")
        whole = [*(look.reshape(B, -1) for look in looks), said_BD, small.reshape(B, -1)]
        x += nn.Dense(self.width, name="clip")(jnp.concatenate(whole, axis=-1))[:, None]
        x = x + Attention(4, name="attention")(rms_norm(x))
        x = leaky(x + FeedForward(name="feed")(rms_norm(x)))
        mean = nn.Dense(self.actions, kernel_init=zeros, name="mean")(x)
        spread = nn.Dense(self.actions, kernel_init=zeros, name="log_std")(x)
        return mean.astype(jnp.float32), jnp.clip(spread.astype(jnp.float32), NARROW, WIDE)
