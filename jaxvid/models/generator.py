"""The generator: noise, conditions and known frames in, the missing frames out, in one pass.

A factorised space-time Transformer over patches decides what happens where; a per-frame
convolutional decoder draws it, with the script drawn at pixel resolution beside it. Which frames
are known is all that tells the tasks apart: none is text-to-video, the first is image-to-video,
both ends is in-betweening. Additional letters: P patches of a frame, D features of a token.
"""

import functools
from typing import Literal

import flax.linen as nn
import jax
import jax.numpy as jnp
from flax.linen.initializers import zeros

from jaxvid.config import GeneratorConfig
from jaxvid.models.blocks import SMALL, Attention, Dense, FeedForward, ResidualConv, leaky, rms_norm
from jaxvid.models.conditions import ClassEmbed, SceneField
from jaxvid.models.text import TextEncoder
from jaxvid.ops.inbetween import Neighbours, meet, neighbours
from jaxvid.ops.patchify import patchify, unpatchify
from jaxvid.ops.positions import pixel_grid, sinusoids
from jaxvid.ops.space_time import join_windows, split_windows
from jaxvid.ops.warp import warp
from jaxvid.typing import Batch

OCTAVES = 3
REACH = 0.1  # for motion of 1 and a weight of 1: of the frame, and the logarithm of zoom and light
SWAY = nn.initializers.normal(0.2)


class Layer(nn.Module):
    """Attention over the patches of a frame, then over time; the text read; feed-forward.

    That is "factorised": T P² + P T² pairs of tokens. ``attention`` "windowed" relates all patches
    of ``window`` = W frames at once, T W P² pairs, from ``shift`` frames before the clip on; "full"
    those of all frames, T² P².
    """

    heads: int
    attention: Literal["factorised", "windowed", "full"] = "factorised"
    window: int = 4
    shift: int = 0
    implementation: str | None = None

    @nn.compact
    def __call__(
        self,
        x_BTPD: jax.Array,
        frame_BTD: jax.Array,
        memory_BSD: jax.Array,
        memory_mask_BS: jax.Array,
    ) -> jax.Array:
        B, T, P, D = x_BTPD.shape
        attend = functools.partial(Attention, self.heads, self.implementation)
        x = modulate(x_BTPD, frame_BTD[:, :, None], name="frame")
        if self.attention != "factorised":
            shift, window = self.shift, T if self.attention == "full" else self.window
            tokens, there = split_windows(rms_norm(x), window, shift=shift)
            whole = tokens.shape[1] == 1  # then nothing is padded
            joint = attend(name="joint")(tokens, mask=None if whole else there)
            x = x + join_windows(joint, T, P, shift=shift)
        else:
            x = x + attend(name="space")(rms_norm(x))
            across = rms_norm(x).swapaxes(1, 2)
            x = x + attend(name="time")(across).swapaxes(1, 2)
        flat = rms_norm(x).reshape(B, T * P, D)
        read = attend(name="text")(flat, memory_BSD, memory_mask_BS[:, None, None])
        x = x + read.reshape(x.shape)
        return x + FeedForward(name="feed")(rms_norm(x))


def modulate(x: jax.Array, by: jax.Array, *, name: str) -> jax.Array:
    """x (1 + scale) + shift, both read from ``by`` (FiLM: Perez et al., 2018); x at the start."""
    D = x.shape[-1]
    scale, shift = jnp.split(Dense(2 * D, kernel_init=SMALL, name=name)(nn.silu(by)), 2, axis=-1)
    return x * (1.0 + scale) + shift


class Generator(nn.Module):
    """``apply({"params": p}, noise, known, mask, batch, latent, motion) -> video (B,T,H,W,3)``,
    about -1 to 1.

    ``classes`` that clips are of. ``remat``: the layers' activations are computed again for the
    gradient instead of kept. ``implementation`` of attention and of residual blocks: "reference"
    where the network is differentiated forward (jvp).
    """

    config: GeneratorConfig
    classes: int = 0
    remat: bool = False
    implementation: str | None = None

    @nn.compact
    def __call__(
        self,
        noise_BTHWC: jax.Array,
        known_BTHWC: jax.Array,
        mask_BTHW1: jax.Array,
        batch: Batch,
        latent_BZ: jax.Array,
        motion_BTM: jax.Array | None = None,
    ) -> jax.Array:
        """``known`` counts where ``mask`` is 1 and comes back there bit for bit.

        ``batch`` gives times, text, boxes, visible, attributes, background and label (see the
        legend); each is zero where it is unknown. ``latent`` (B, config.latent) says of the whole
        clip what the conditions leave open, ``motion`` (B,T, config.motion + config.actions) of
        each frame: its own numbers, then a policy's (None: zero). Height and width must be
        multiples of the patch size.
        """
        c = self.config
        B, T, H, W, _ = noise_BTHWC.shape
        known_BTHWC = jnp.where(mask_BTHW1 > 0, known_BTHWC, 0.0)
        whole_BT = jnp.min(mask_BTHW1, axis=(2, 3, 4))
        near = meet(neighbours(known_BTHWC, whole_BT, batch["times"]))
        # The noise starts quiet: where conditions settle everything it would only be grain.
        loudness = self.param("noise", nn.initializers.constant(0.25), ())
        given = jnp.where(mask_BTHW1 > 0, known_BTHWC, loudness * noise_BTHWC)
        pixels = jnp.concatenate([given, mask_BTHW1, near.before, near.after], axis=-1)

        memory, memory_mask, text_BD = TextEncoder(c.width, c.text_layers, c.heads, name="text")(
            batch["text"]
        )
        dtype = text_BD.dtype  # of the parameters as they were given: what all is computed in
        pixels = pixels.astype(dtype)
        frame_BTD = sinusoids(batch["times"], width=c.width).astype(dtype)
        facts = [whole_BT, near.both, near.some, near.share, batch["times"]]
        frame_BTD += Dense(c.width, name="frame")(jnp.stack(facts, axis=-1).astype(dtype))
        frame_BTD += Dense(c.width, name="summary")(text_BD)[:, None]
        batch, said, exposure_BT = self._moved(batch, motion_BTM, dtype)
        frame_BTD += said
        if self.classes:
            frame_BTD += ClassEmbed(c.width, self.classes, name="class")(batch["label"])[:, None]
        h, w = H // c.patch, W // c.patch
        x = Dense(c.width, name="patches")(patchify(pixels, c.patch))
        way = self.implementation
        x += SceneField(c.width, way, name="scene_tokens")(batch, height=h, width=w)
        if c.latent:
            z = Dense(c.width, name="latent")(latent_BZ.astype(dtype))
            frame_BTD += z[:, None]
            x += FrameField(c.width, name="field")(frame_BTD, height=h, width=w)
        x += Dense(c.width, name="place")(pixel_grid(h, w, octaves=OCTAVES).astype(dtype))
        x = x.reshape(B, T, h * w, c.width)
        for i in range(c.layers):
            x = self._layer(i)(x, frame_BTD, memory, memory_mask)
        x = rms_norm(x).reshape(B * T, h, w, c.width)
        nn.share_scope(self, decoder := Decoder(c, self.remat, way))
        x = decoder(x, frame_BTD.reshape(B * T, 1, 1, c.width), pixels, batch)
        painted = Dense(3, name="rgb")(x).reshape(noise_BTHWC.shape).astype(jnp.float32)
        if c.motion:  # what is fetched of a known frame has the light of that one
            painted = exposure_BT[..., None, None, None] * (1.0 + painted) - 1.0
        video = Fetch(name="fetch")(x, near, painted)
        return jnp.where(mask_BTHW1 > 0, known_BTHWC, video)

    def _moved(
        self, batch: Batch, motion_BTM: jax.Array | None, dtype: jnp.dtype
    ) -> tuple[Batch, jax.Array, jax.Array]:
        """The batch as a camera sees it, what motion says to frames (B,T,D), exposures (B,T)."""
        c, said, exposure_BT = self.config, jnp.zeros((), dtype), jnp.ones((1, 1))
        if motion_BTM is None:
            motion_BTM = jnp.zeros((*batch["times"].shape, c.motion + c.actions))
        own_BTM, explored_BTA = jnp.split(motion_BTM, [c.motion], axis=-1)
        if c.motion:
            batch, own_BTM, exposure_BT = Camera(name="camera")(batch, own_BTM)
            said += Dense(c.width, use_bias=False, name="motion")(own_BTM.astype(dtype))
        if c.actions:
            said += Dense(c.width, use_bias=False, name="explore")(explored_BTA.astype(dtype))
        return batch, said, exposure_BT

    def _layer(self, i: int) -> nn.Module:
        c, layer = self.config, nn.remat(Layer) if self.remat else Layer
        shift = c.window // 2 * (i % 2)  # every second layer
        how = (c.heads, c.attention, c.window, shift, self.implementation)
        return layer(*how, name=f"layer{i}")


class Camera(nn.Module):
    """Where there is a script, motion (B,T,M) says how a camera takes each frame, and nothing else:
    it moves and zooms all boxes alike, and exposes.

    Returns the batch as the camera sees it, the motion that is left to say, all of it where there
    is no script, and the exposure (B,T), 1 there. Motion that could say more came to say the
    background's tone (measured).
    """

    @nn.compact
    def __call__(self, batch: Batch, motion_BTM: jax.Array) -> tuple[Batch, jax.Array, jax.Array]:
        way = REACH * Dense(4, use_bias=False, kernel_init=SWAY, name="way")(motion_BTM)
        zoom = jnp.exp(way[:, :, None, 2:3])
        places, sizes = jnp.split(batch["boxes"], 2, axis=-1)
        places = 0.5 + zoom * (places - 0.5) + way[:, :, None, :2]
        boxes = jnp.concatenate([places, zoom * sizes], axis=-1)
        scripted_B1 = batch["visible"].max((1, 2))[:, None] > 0
        left_BTM = jnp.where(scripted_B1[..., None], 0.0, motion_BTM)
        return {**batch, "boxes": boxes}, left_BTM, jnp.where(scripted_B1, jnp.exp(way[..., 3]), 1)


class Decoder(nn.Module):
    """Tokens (B T,h,w,D) to features of pixels (B T,H,W,F), doubling the resolution at each stage.

    ``frame`` (B T,1,1,D) modulates every stage; what is known and the script enter at the last one.
    Its parameters stand among the generator's.
    """

    config: GeneratorConfig
    remat: bool = False
    implementation: str | None = None

    @nn.compact
    def __call__(
        self, x: jax.Array, frame: jax.Array, pixels_BTHWC: jax.Array, batch: Batch
    ) -> jax.Array:
        c = self.config
        (B, T, H, W, _), way = pixels_BTHWC.shape, self.implementation
        for i, width in enumerate(c.decoder):
            x = unpatchify(Dense(4 * width, name=f"up{i}")(x), 2)
            x = modulate(x, frame, name=f"modulate{i}")
            if x.shape[1] == H:  # full resolution: what stands in the script and what is known
                drawn = SceneField(c.drawing, way, name="scene")(batch, height=H, width=W)
                drawn += Dense(c.drawing, name="pixels")(pixels_BTHWC)
                drawn = drawn.reshape(B * T, H, W, c.drawing)
                drawn += Dense(c.drawing, name="join")(x)
                x = x + Dense(width, name="draw")(leaky(drawn))
            block = nn.remat(ResidualConv) if self.remat else ResidualConv
            for j in range(c.blocks):
                x = block(width // 2, way, name=f"block{i}_{j}")(x)
        return leaky(x)


class Fetch(nn.Module):
    """What a frame takes over from its known neighbours, and what is painted over it: (B,T,H,W,3).

    From two the blend of both as they meet, from one that one moved along a learnt flow. The flow,
    the blend and how much is covered by paint are read from the frame's pixels (B T,H,W,F).
    Training begins with little paint between two known frames, with more where there is one; what
    has no neighbour is paint alone. After the synthesis of Huang et al., 2022 (RIFE), eq. 1.
    """

    paint: tuple[float, float] = (-1.0, -5.0)  # logits at the start: of one neighbour, of two

    @nn.compact
    def __call__(self, x: jax.Array, near: Neighbours, painted_BTHWC: jax.Array) -> jax.Array:
        shape = near.before.shape
        before, after = (v.reshape(-1, *shape[2:]) for v in (near.before, near.after))
        head = Dense(6, kernel_init=zeros, name="flow")(x).astype(jnp.float32)
        share, both, some = (v.reshape(-1, 1, 1, 1) for v in near[2:])
        flow = (1.0 - both) * head[..., :4]  # two that meet are moved already
        before, after = warp(before, flow[..., :2])[0], warp(after, flow[..., 2:])[0]
        share = jnp.clip(share + head[..., 4:5], 0.0, 1.0)
        fetched = (1.0 - share) * before + share * after
        one, two = self.paint
        cover = nn.sigmoid(head[..., 5:6] + jnp.where(both > 0, two, one))
        cover = jnp.where(some > 0, cover, 1.0)
        return (fetched + cover * (painted_BTHWC.reshape(fetched.shape) - fetched)).reshape(shape)


class FrameField(nn.Module):
    """A field of features over each frame (B,T,h,w,features), read from the frame's own vector.

    Harmonics of the place, weighted by a linear map of the vector: with it a vector can say where
    something is, where FiLM alone can only say what.
    """

    features: int

    @nn.compact
    def __call__(self, frame_BTD: jax.Array, *, height: int, width: int) -> jax.Array:
        grid_HWF = pixel_grid(height, width, octaves=OCTAVES).astype(frame_BTD.dtype)
        F = grid_HWF.shape[-1]
        h = nn.silu(Dense(self.features, name="hidden")(nn.silu(frame_BTD)))
        weights = Dense(F * self.features, name="weights")(h)
        weights_BTFD = weights.reshape(*frame_BTD.shape[:2], F, self.features) / F**0.5
        return jnp.einsum("hwf,btfd->bthwd", grid_HWF, weights_BTFD)
