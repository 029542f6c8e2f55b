"""What dense flow between neighbouring frames tells of a clip's motion.

A flow field holds x and y, in pixels (``ops.flow``). Clips are [0, 1] floats or uint8; collect the
values with ``metrics.mean``.
"""

import jax.numpy as jnp
from jaxtyping import Array, Float, Num

from jaxvid.metrics.motion import unit
from jaxvid.ops.flow import estimate
from jaxvid.ops.warp import warp

NAMES = ("flow", "warping_error", "occluded")


def measure(video_BTHWC: Num[Array, "B T H W C"]) -> dict[str, Float[Array, "B"]]:
    """All of them, keys ``NAMES``; all 0 for clips of one frame."""
    if video_BTHWC.shape[1] < 2:
        return {name: jnp.zeros(len(video_BTHWC)) for name in NAMES}
    forward, backward = between(video_BTHWC)
    error_B, occluded_B = warping_error(video_BTHWC, forward, backward)
    return {"flow": mean_flow(forward), "warping_error": error_B, "occluded": occluded_B}


def between(
    video_BTHWC: Num[Array, "B T H W C"],
) -> tuple[Float[Array, "B t H W 2"], Float[Array, "B t H W 2"]]:
    """Flow from each frame to the next, and back from the next to it: t = T - 1 pairs."""
    B, T, H, W, C = video_BTHWC.shape
    if T < 2:
        raise ValueError("flow is between two frames, the clip has one; give it more")
    video = unit(video_BTHWC)
    pairs = [(video[:, :-1], video[:, 1:]), (video[:, 1:], video[:, :-1])]
    first, second = (jnp.concatenate(x).reshape(-1, H, W, C) for x in zip(*pairs, strict=True))
    forward, backward = estimate(first, second).reshape(2, B, T - 1, H, W, 2)
    return forward, backward


def mean_flow(flow_BTHW2: Float[Array, "B t H W 2"]) -> Float[Array, "B"]:
    """Mean length over pixels and frames, in frames (x in widths, y in heights) a frame; from 0.

    Over all pixels: an entity that covers a tenth of the frame and moves by 0.05 counts 0.005 for
    itself, and what is within some pixels of it counts as well: 2.3 times as much for scenes at
    32 px, where it agrees with the entities' areas times speeds at a correlation of 0.94.
    """
    H, W = flow_BTHW2.shape[2:4]
    return jnp.hypot(flow_BTHW2[..., 0] / W, flow_BTHW2[..., 1] / H).mean((1, 2, 3))


def flow_along(
    video_BTHWC: Num[Array, "B T H W C"], real_BTHWC: Num[Array, "B T H W C"]
) -> Float[Array, "B"]:
    """How far a clip moves the way that the real one does: the mean over pixels and frames of its
    flow's part along the real clip's, in frame widths a frame. About the ``mean_flow`` of the real
    clip for itself, 0 for a still; less where it moves elsewhere, negative where it moves back.

    Shaking and flicker, which a mean flow counts as motion, are on average across the real clip's
    way, and frames are brought to one light and contrast first: flow between unlike exposures is
    too short. At exposures that change by 25 % (standard deviation) from frame to frame, sprites
    have 0.99 times this, and would have 0.90 times without; at 0.7 times their light 1.00, and
    0.93. Both clips should begin with the same frame.
    """
    if video_BTHWC.shape[1] < 2:
        return jnp.zeros(len(video_BTHWC))
    scale = jnp.array(video_BTHWC.shape[3:1:-1])  # width, height
    (flow, _), (asked, _) = (between(_evened(clip)) for clip in (video_BTHWC, real_BTHWC))
    flow, asked = flow / scale, asked / scale
    length = jnp.sqrt((asked**2).sum(-1) + 1e-12)
    return ((flow * asked).sum(-1) / length).mean((1, 2, 3))


def _evened(video_BTHWC: Array) -> Array:
    """Every frame with a mean of 1/2 and the standard deviation of a usual one."""
    video = unit(video_BTHWC)
    away = video - video.mean((2, 3, 4), keepdims=True)
    return 0.5 + 0.2 * away / (away.std((2, 3, 4), keepdims=True) + 5e-3)


def warping_error(
    video_BTHWC: Num[Array, "B T H W C"],
    forward_BTHW2: Float[Array, "B t H W 2"],
    backward_BTHW2: Float[Array, "B t H W 2"],
) -> tuple[Float[Array, "B"], Float[Array, "B"]]:
    """What motion does not explain: mean of ``(frame - previous frame warped along the flow)²``.

    0 to 1, 1 is black for white. Over the pixels that are in both frames: those where the flow
    back to the previous frame b, and the flow f that it meets there, nearly cancel,
    ``|b + f|² < 0.01 (|b|² + |f|²) + 0.5`` (Sundaram et al. 2010), and that come from inside it.
    The second value is the share of the others, 0 to 1. Read both: where all flickers, little is
    left to compare. If nothing is, the error is over all pixels. After Lai et al. 2018.
    """
    B, T, H, W, C = video_BTHWC.shape
    video = unit(video_BTHWC)
    back, forth = (x.reshape(-1, H, W, 2) for x in (backward_BTHW2, forward_BTHW2))
    met, inside = warp(forth, back)
    square = jnp.sum((back + met) ** 2, axis=-1)
    size = jnp.sum(back**2, axis=-1) + jnp.sum(met**2, axis=-1)
    seen = (inside & (square < 0.01 * size + 0.5)).reshape(B, -1)
    warped, _ = warp(video[:, :-1].reshape(-1, H, W, C), back)
    error = jnp.mean((video[:, 1:].reshape(-1, H, W, C) - warped) ** 2, axis=-1).reshape(B, -1)
    some_B = seen.any(1)
    counted = seen | ~some_B[:, None]
    return jnp.where(counted, error, 0).sum(1) / counted.sum(1), (~seen).mean(1)
