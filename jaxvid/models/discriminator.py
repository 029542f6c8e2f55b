"""The critics: one sees single frames, one the whole clip (DVD-GAN's split, arXiv 1907.06571).

Both see the script drawn beside the pixels and score caption and class by projection (Miyato and
Koyama, 2018). They return logits, larger is more real; no statistic is taken across examples.
``Posterior`` has the eyes of the clip critic and says which latent a real clip has.
"""

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxvid.config import CriticConfig
from jaxvid.models.blocks import (
    FAN_IN,
    Attention,
    Dense,
    FeedForward,
    ResidualConv,
    leaky,
    rms_norm,
)
from jaxvid.models.conditions import ClassEmbed, SceneField
from jaxvid.models.text import TextEncoder
from jaxvid.ops.patchify import patchify
from jaxvid.ops.positions import sinusoids
from jaxvid.typing import Batch

PLACES = 4  # rows and columns that the clip critic keeps of a frame
AWAY = 30.0  # for the posterior a way of a thirtieth of the frame is 1, and a thirtieth of a size


def _pool(x_BHWC: jax.Array) -> jax.Array:
    """Mean over 2 x 2 pixels."""
    *lead, H, W, C = x_BHWC.shape
    return x_BHWC.reshape(*lead, H // 2, 2, W // 2, 2, C).mean(axis=(-4, -2))


def _projected(h: jax.Array, text_BD: jax.Array, name: str) -> jax.Array:
    """Linear score of features (B,n,D) plus their product with the caption's summary: (B,n)."""
    D = h.shape[-1]
    caption = Dense(D, name=f"{name}_caption")(text_BD)[:, None]
    return Dense(1, name=f"{name}_score")(h)[..., 0] + (h * caption).sum(-1) / D**0.5


class FrameCritic(nn.Module):
    """Frames (B,n,H,W,3) with their slice of the conditions -> logits (B,n)."""

    config: CriticConfig

    @nn.compact
    def __call__(self, frames_BTHWC: jax.Array, batch: Batch, text_BD: jax.Array) -> jax.Array:
        B, T, H, W, _ = frames_BTHWC.shape
        widths = self.config.frame_widths
        h, w = H // 2, W // 2
        x = Dense(widths[0], name="pixels")(patchify(frames_BTHWC, 2))
        x += SceneField(widths[0], name="scene")(batch, height=h, width=w)
        x = x.reshape(B * T, h, w, widths[0])
        for i, width in enumerate(widths):
            if i:
                x = Dense(width, name=f"down{i}")(patchify(x, 2))
            x = nn.Conv(width, (3, 3), kernel_init=FAN_IN, name=f"conv{i}")(leaky(x))
            x = ResidualConv(width, name=f"block{i}")(x)
        x = leaky(x).reshape(B, T, -1)
        x = leaky(Dense(widths[-1], name="flat")(x))
        return _projected(x, text_BD, "frame")


class ClipEyes(nn.Module):
    """A clip (B,T,H,W,3), seen at half resolution, -> features of each frame (B,T,D).

    ``scripted``: with the script drawn beside the pixels.
    """

    config: CriticConfig
    scripted: bool = True
    remat: bool = False

    @nn.compact
    def __call__(self, video_BTHWC: jax.Array, batch: Batch) -> jax.Array:
        c = self.config
        video = _pool(video_BTHWC)
        B, T, H, W, _ = video.shape
        x = Dense(c.clip_width // 2, name="pixels")(patchify(video, 2))
        if self.scripted:
            x += SceneField(c.clip_width // 2, name="scene")(batch, height=H // 2, width=W // 2)
        x = nn.Conv(c.clip_width // 2, (3, 3), kernel_init=FAN_IN, name="conv")(leaky(x))
        x = Dense(c.clip_width, name="patches")(patchify(leaky(x), 2))
        x = self._neighbours(x)  # motion is a difference of adjacent frames
        i = 0
        while min(x.shape[2:4]) > PLACES and not (x.shape[2] % 2 or x.shape[3] % 2):
            x = Dense(c.clip_width, name=f"down{i}")(patchify(leaky(x), 2))
            i += 1
        x = x.reshape(B, T, -1)
        x = Dense(c.clip_width, name="frame")(leaky(x))
        times = sinusoids(batch["times"], width=c.clip_width).astype(x.dtype)
        x += Dense(c.clip_width, name="time")(times)
        attend = nn.remat(Attention) if self.remat else Attention
        for i in range(c.clip_layers):
            # The exact penalties differentiate twice.
            x = x + attend(c.heads, "reference", name=f"attention{i}")(rms_norm(x))
            x = x + FeedForward(name=f"feed{i}")(rms_norm(x))
        return rms_norm(x)

    @staticmethod
    def _neighbours(x_BTHWC: jax.Array) -> jax.Array:
        """A temporal convolution of width 3 as a product of shifted frames, edges held."""
        before = jnp.concatenate([x_BTHWC[:, :1], x_BTHWC[:, :-1]], axis=1)
        after = jnp.concatenate([x_BTHWC[:, 1:], x_BTHWC[:, -1:]], axis=1)
        joined = jnp.concatenate([before, x_BTHWC, after], axis=-1)
        return x_BTHWC + Dense(x_BTHWC.shape[-1], name="neighbours")(leaky(joined))


class Critics(nn.Module):
    """Both critics on one clip: ``(video, picked frames (B,n), batch) -> logits (B, n + T)``.

    Text and label may be of fewer, (B/k): each is that of k clips in a row.
    """

    config: CriticConfig
    classes: int = 0
    remat: bool = False

    @nn.compact
    def __call__(self, video_BTHWC: jax.Array, picked_Bn: jax.Array, batch: Batch) -> jax.Array:
        c = self.config
        _, _, said_BD = TextEncoder(c.text_width, 0, c.heads, name="text")(batch["text"])
        if self.classes:
            said_BD += ClassEmbed(c.text_width, self.classes, name="class")(batch["label"])
        said_BD = jnp.repeat(said_BD, len(video_BTHWC) // len(said_BD), axis=0)
        video = video_BTHWC.astype(said_BD.dtype)
        index = picked_Bn[:, :, None, None]
        frames = jnp.take_along_axis(video, index[..., None], axis=1)
        still = {
            **batch,
            "boxes": jnp.take_along_axis(batch["boxes"], index, axis=1),
            "visible": jnp.take_along_axis(batch["visible"], index[..., 0], axis=1),
        }
        frame_logits = FrameCritic(c, name="frame")(frames, still, said_BD)
        seen_BTD = ClipEyes(c, remat=self.remat, name="clip")(video, batch)
        clip_logits = _projected(seen_BTD, said_BD, "clip")
        return jnp.concatenate([frame_logits, clip_logits], axis=1).astype(jnp.float32)


class Posterior(nn.Module):
    """A real clip -> mean and log standard deviation (B,latent) of the latent that it came from,
    and the same of each frame's motion (B,T,motion).

    ``camera`` (B,T,4), where there is motion: how each frame's actors stand to the script's places,
    how large and light they are beside other frames' (``rewards.camera``), finer than eyes see it.

    The video comes in the type that is computed in; the results are float32.

    Trained with the generator as a conditional variational autoencoder (Larsen et al., 2016; for
    video Lee et al., 2018, SAVP): what the conditions leave open has somewhere to be said.
    """

    config: CriticConfig
    latent: int
    motion: int = 0

    @nn.compact
    def __call__(
        self, video_BTHWC: jax.Array, batch: Batch, camera_BT4: jax.Array | None = None
    ) -> tuple[tuple[jax.Array, jax.Array], tuple[jax.Array, jax.Array]]:
        seen_BTD = ClipEyes(self.config, scripted=False, name="clip")(video_BTHWC, batch)
        h = leaky(Dense(self.config.clip_width, name="mix")(seen_BTD.mean(axis=1)))
        clip = Dense(2 * self.latent, name="latent")(h) if self.latent else h[:, :0]
        frame = seen_BTD[..., :0]
        if self.motion:
            assert camera_BT4 is not None
            found = [leaky(seen_BTD), AWAY * camera_BT4.astype(seen_BTD.dtype)]
            frame = Dense(2 * self.motion, name="motion")(jnp.concatenate(found, axis=-1))
        return _narrow(clip), _narrow(frame)


def _narrow(head: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Mean and log standard deviation. It begins narrow: a latent that is mostly noise teaches the
    generator to ignore it.
    """
    mean, log_std = jnp.split(head.astype(jnp.float32), 2, axis=-1)
    return mean, jnp.clip(log_std - 2.0, -6.0, 2.0)
