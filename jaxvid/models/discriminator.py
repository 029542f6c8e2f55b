"""The critics: one sees single frames, one the whole clip (DVD-GAN's split, arXiv 1907.06571).

Both see the script drawn beside the pixels and score the caption by projection (Miyato and Koyama,
2018). They return logits, larger is more real; no statistic is taken across examples.
"""

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxvid.config import CriticConfig
from jaxvid.models.blocks import FAN_IN, Attention, FeedForward, ResidualConv, leaky, rms_norm
from jaxvid.models.conditions import SceneField
from jaxvid.models.text import TextEncoder
from jaxvid.ops.patchify import patchify
from jaxvid.ops.positions import sinusoids
from jaxvid.typing import Batch


def _pool(x_BHWC: jax.Array) -> jax.Array:
    """Mean over 2 x 2 pixels."""
    *lead, H, W, C = x_BHWC.shape
    return x_BHWC.reshape(*lead, H // 2, 2, W // 2, 2, C).mean(axis=(-4, -2))


def _projected(h: jax.Array, text_BD: jax.Array, name: str) -> jax.Array:
    """Linear score of features (B,n,D) plus their product with the caption's summary: (B,n)."""
    D = h.shape[-1]
    caption = nn.Dense(D, name=f"{name}_caption")(text_BD)[:, None]
    return nn.Dense(1, name=f"{name}_score")(h)[..., 0] + (h * caption).sum(-1) / D**0.5


class FrameCritic(nn.Module):
    """Frames (B,n,H,W,3) with their slice of the conditions -> logits (B,n)."""

    config: CriticConfig

    @nn.compact
    def __call__(self, frames_BTHWC: jax.Array, batch: Batch, text_BD: jax.Array) -> jax.Array:
        B, T, H, W, _ = frames_BTHWC.shape
        widths = self.config.frame_widths
        h, w = H // 2, W // 2
        x = nn.Dense(widths[0], name="pixels")(patchify(frames_BTHWC, 2))
        x += SceneField(widths[0], name="scene")(batch, height=h, width=w)
        x = x.reshape(B * T, h, w, widths[0])
        for i, width in enumerate(widths):
            if i:
                x = nn.Dense(width, name=f"down{i}")(patchify(x, 2))
            x = nn.Conv(width, (3, 3), kernel_init=FAN_IN, name=f"conv{i}")(leaky(x))
            x = ResidualConv(width, name=f"block{i}")(x)
        x = leaky(x).reshape(B, T, -1)
        x = leaky(nn.Dense(widths[-1], name="flat")(x))
        return _projected(x, text_BD, "frame")


class ClipCritic(nn.Module):
    """A clip (B,T,H,W,3), seen at half resolution, -> one logit a frame (B,T)."""

    config: CriticConfig

    @nn.compact
    def __call__(self, video_BTHWC: jax.Array, batch: Batch, text_BD: jax.Array) -> jax.Array:
        c = self.config
        video = _pool(video_BTHWC)
        B, T, H, W, _ = video.shape
        x = nn.Dense(c.clip_width // 2, name="pixels")(patchify(video, 2))
        x += SceneField(c.clip_width // 2, name="scene")(batch, height=H // 2, width=W // 2)
        x = nn.Conv(c.clip_width // 2, (3, 3), kernel_init=FAN_IN, name="conv")(leaky(x))
        x = nn.Dense(c.clip_width, name="patches")(patchify(leaky(x), 2))
        x = self._neighbours(x)  # motion is a difference of adjacent frames
        x = x.reshape(B, T, -1)
        x = nn.Dense(c.clip_width, name="frame")(leaky(x))
        x += nn.Dense(c.clip_width, name="time")(sinusoids(batch["times"], width=c.clip_width))
        for i in range(c.clip_layers):
            x = x + Attention(c.heads, name=f"attention{i}")(rms_norm(x))
            x = x + FeedForward(name=f"feed{i}")(rms_norm(x))
        return _projected(rms_norm(x), text_BD, "clip")

    @staticmethod
    def _neighbours(x_BTHWC: jax.Array) -> jax.Array:
        """A temporal convolution of width 3 as a product of shifted frames, edges held."""
        before = jnp.concatenate([x_BTHWC[:, :1], x_BTHWC[:, :-1]], axis=1)
        after = jnp.concatenate([x_BTHWC[:, 1:], x_BTHWC[:, -1:]], axis=1)
        joined = jnp.concatenate([before, x_BTHWC, after], axis=-1)
        return x_BTHWC + nn.Dense(x_BTHWC.shape[-1], name="neighbours")(leaky(joined))


class Critics(nn.Module):
    """Both critics on one clip: ``(video, picked frames (B,n), batch) -> logits (B, n + T)``."""

    config: CriticConfig

    @nn.compact
    def __call__(self, video_BTHWC: jax.Array, picked_Bn: jax.Array, batch: Batch) -> jax.Array:
        c = self.config
        _, _, text_BD = TextEncoder(c.text_width, 0, c.heads, name="text")(batch["text"])
        index = picked_Bn[:, :, None, None]
        frames = jnp.take_along_axis(video_BTHWC, index[..., None], axis=1)
        still = {
            **batch,
            "boxes": jnp.take_along_axis(batch["boxes"], index, axis=1),
            "visible": jnp.take_along_axis(batch["visible"], index[..., 0], axis=1),
        }
        frame_logits = FrameCritic(c, name="frame")(frames, still, text_BD)
        clip_logits = ClipCritic(c, name="clip")(video_BTHWC, batch, text_BD)
        return jnp.concatenate([frame_logits, clip_logits], axis=1).astype(jnp.float32)
