"""The judge of own data: which of its labels a clip shows. A plain convolutional classifier."""

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxvid.models.blocks import FAN_IN, leaky
from jaxvid.ops.patchify import patchify

WINDOW = 4  # frames that are seen at once
GRID = 8  # places a side where frames are read, at most


class JudgeNet(nn.Module):
    """Clips (B,T,H,W,3) in -1..1 -> the logits of each label, (B, values) each, and features (B,F).

    Runs of four frames, stacked as channels, go through 2-D convolutions, so that motion is a
    pattern like any other. What is found is pooled over places and runs by mean and by maximum: a
    digit is one wherever it is. Any T, H and W.
    """

    values: tuple[int, ...]  # how many each label has
    width: int = 32
    features: int = 128

    @nn.compact
    def __call__(self, video_BTHWC: jax.Array) -> tuple[tuple[jax.Array, ...], jax.Array]:
        x = video_BTHWC
        x = jnp.concatenate([x, jnp.repeat(x[:, -1:], -x.shape[1] % WINDOW, axis=1)], axis=1)
        B, T, H, W, C = x.shape
        x = x.reshape(-1, WINDOW, H, W, C).transpose(0, 2, 3, 1, 4).reshape(-1, H, W, WINDOW * C)
        width, i = self.width, 0
        while max(x.shape[1:3]) > GRID and x.shape[1] % 2 == x.shape[2] % 2 == 0:
            x = leaky(nn.Dense(width, kernel_init=FAN_IN, name=f"down{i}")(patchify(x, 2)))
            x = leaky(nn.Conv(width, (3, 3), kernel_init=FAN_IN, name=f"conv{i}")(x))
            width, i = min(2 * width, self.features), i + 1
        x = leaky(nn.Conv(self.features, (3, 3), kernel_init=FAN_IN, name="last")(x))
        x = jnp.concatenate([x.mean(axis=(1, 2)), x.max(axis=(1, 2))], axis=-1)
        x = leaky(nn.Dense(self.features, kernel_init=FAN_IN, name="run")(x))
        x = x.reshape(B, T // WINDOW, -1)
        x = jnp.concatenate([x.mean(axis=1), x.max(axis=1)], axis=-1)
        x = leaky(nn.Dense(self.features, kernel_init=FAN_IN, name="clip")(x))
        heads = [nn.Dense(size, name=f"label{i}")(x) for i, size in enumerate(self.values)]
        return tuple(head.astype(jnp.float32) for head in heads), x.astype(jnp.float32)
