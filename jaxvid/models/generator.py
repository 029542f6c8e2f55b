"""The generator: noise, conditions and known frames in, the missing frames out, in one pass.

A factorised space-time Transformer over patches decides what happens where; a per-frame
convolutional decoder draws it, with the script drawn at pixel resolution beside it. Which frames
are known is all that tells the tasks apart: none is text-to-video, the first is image-to-video,
both ends is in-betweening. Additional letters: P patches of a frame, D features of a token.
"""

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxvid.config import GeneratorConfig
from jaxvid.models.blocks import (
    SMALL,
    Attention,
    FeedForward,
    ResidualConv,
    leaky,
    rms_norm,
)
from jaxvid.models.conditions import SceneField
from jaxvid.models.text import TextEncoder
from jaxvid.ops.inbetween import blend
from jaxvid.ops.patchify import patchify, unpatchify
from jaxvid.ops.positions import pixel_grid, sinusoids
from jaxvid.typing import Batch


class Trunk(nn.Module):
    """Spatial, then temporal attention, the text read in between, feed-forward; ``layers`` times.

    ``shift_B1TD`` is added to the tokens of each frame before each layer (time, noise, conditions).
    """

    layers: int
    heads: int

    @nn.compact
    def __call__(
        self,
        x_BTPD: jax.Array,
        frame_BTD: jax.Array,
        memory_BSD: jax.Array,
        memory_mask_BS: jax.Array,
    ) -> jax.Array:
        B, T, P, D = x_BTPD.shape
        x = x_BTPD
        for i in range(self.layers):
            x = modulate(x, frame_BTD[:, :, None], name=f"frame{i}")
            x = x + Attention(self.heads, name=f"space{i}")(rms_norm(x))
            across = rms_norm(x).swapaxes(1, 2)
            x = x + Attention(self.heads, name=f"time{i}")(across).swapaxes(1, 2)
            flat = rms_norm(x).reshape(B, T * P, D)
            read = Attention(self.heads, name=f"text{i}")
            x = x + read(flat, memory_BSD, memory_mask_BS[:, None, None]).reshape(x.shape)
            x = x + FeedForward(name=f"feed{i}")(rms_norm(x))
        return x


def modulate(x: jax.Array, by: jax.Array, *, name: str) -> jax.Array:
    """x (1 + scale) + shift, both read from ``by`` (FiLM: Perez et al., 2018); x at the start."""
    D = x.shape[-1]
    scale, shift = jnp.split(nn.Dense(2 * D, kernel_init=SMALL, name=name)(nn.silu(by)), 2, axis=-1)
    return x * (1.0 + scale) + shift


class Generator(nn.Module):
    """``apply({"params": p}, noise, known, mask, batch) -> video (B,T,H,W,3)``, about -1 to 1."""

    config: GeneratorConfig

    @nn.compact
    def __call__(
        self, noise_BTHWC: jax.Array, known_BTHWC: jax.Array, mask_BTHW1: jax.Array, batch: Batch
    ) -> jax.Array:
        """``known`` counts where ``mask`` is 1 and comes back there bit for bit.

        ``batch`` gives times, text, boxes, visible, attributes and background (see the legend);
        each is zero where it is unknown. Height and width must be multiples of the patch size.
        """
        c = self.config
        B, T, H, W, _ = noise_BTHWC.shape
        known_BTHWC = jnp.where(mask_BTHW1 > 0, known_BTHWC, 0.0)
        whole_BT = jnp.min(mask_BTHW1, axis=(2, 3, 4))
        base_BTHWC, based_BT = blend(known_BTHWC, whole_BT, batch["times"])
        # The noise starts quiet: where conditions settle everything it would only be grain.
        loudness = self.param("noise", nn.initializers.constant(0.25), ())
        given = jnp.where(mask_BTHW1 > 0, known_BTHWC, loudness * noise_BTHWC)
        pixels = jnp.concatenate([given, mask_BTHW1, base_BTHWC], axis=-1)

        memory, memory_mask, text_BD = TextEncoder(c.width, c.text_layers, c.heads, name="text")(
            batch["text"]
        )
        frame_BTD = sinusoids(batch["times"], width=c.width)
        frame_BTD += nn.Dense(c.width, name="frame")(
            jnp.stack([whole_BT, based_BT, batch["times"]], axis=-1)
        )
        frame_BTD += nn.Dense(c.width, name="summary")(text_BD)[:, None]

        h, w = H // c.patch, W // c.patch
        x = nn.Dense(c.width, name="patches")(patchify(pixels, c.patch))
        x += SceneField(c.width, name="scene_tokens")(batch, height=h, width=w)
        x += nn.Dense(c.width, name="place")(pixel_grid(h, w, octaves=3))
        x = x.reshape(B, T, h * w, c.width)
        x = Trunk(c.layers, c.heads, name="trunk")(x, frame_BTD, memory, memory_mask)
        x = rms_norm(x).reshape(B * T, h, w, c.width)
        y = self._decode(x, frame_BTD.reshape(B * T, 1, 1, c.width), pixels, batch)
        video = base_BTHWC + y.reshape(noise_BTHWC.shape)
        return jnp.where(mask_BTHW1 > 0, known_BTHWC, video)

    def _decode(
        self, x: jax.Array, frame: jax.Array, pixels_BTHWC: jax.Array, batch: Batch
    ) -> jax.Array:
        """Tokens (B T,h,w,D) to frames (B T,H,W,3), doubling the resolution at each stage."""
        c = self.config
        B, T, H, W, _ = pixels_BTHWC.shape
        for i, width in enumerate(c.decoder):
            x = unpatchify(nn.Dense(4 * width, name=f"up{i}")(x), 2)
            x = modulate(x, frame, name=f"modulate{i}")
            if x.shape[1] == H:  # full resolution: what stands in the script and what is known
                drawn = SceneField(c.drawing, name="scene")(batch, height=H, width=W)
                drawn += nn.Dense(c.drawing, name="pixels")(pixels_BTHWC)
                drawn = drawn.reshape(B * T, H, W, c.drawing)
                drawn += nn.Dense(c.drawing, name="join")(x)
                x = x + nn.Dense(width, name="draw")(leaky(drawn))
            for j in range(c.blocks):
                x = ResidualConv(width // 2, name=f"block{i}_{j}")(x)
        return nn.Dense(3, name="rgb")(leaky(x))
