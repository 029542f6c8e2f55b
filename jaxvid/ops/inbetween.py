"""Known frames as the neighbours of all others, and the linear blend that a network must beat."""

from typing import NamedTuple

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from jaxvid.ops.flow import estimate
from jaxvid.ops.warp import warp


class Neighbours(NamedTuple):
    """For each frame the nearest known ones, itself included; the other one where a side has none.

    ``before``, ``after`` (B,T,H,W,C), zero where nothing is known; ``share`` (B,T): how far the
    frame is from before (0) to after (1) in time; ``both`` and ``some`` (B,T): 1 where there is a
    known frame on both sides, on any.
    """

    before: Array
    after: Array
    share: Array
    both: Array
    some: Array


def neighbours(
    video_BTHWC: Float[Array, "B T H W C"],
    known_BT: Float[Array, "B T"],
    times_BT: Float[Array, "B T"],
) -> Neighbours:
    """The neighbours of every frame among those where ``known`` is 1."""
    T = times_BT.shape[1]
    order = jnp.arange(T)
    known = known_BT > 0.5
    before_BT = jnp.max(
        jnp.where(known[:, None, :] & (order[None, :] <= order[:, None]), order, -1), axis=-1
    )
    after_BT = jnp.min(
        jnp.where(known[:, None, :] & (order[None, :] >= order[:, None]), order, T), axis=-1
    )
    has_before, has_after = before_BT >= 0, after_BT < T
    first_BT = jnp.where(has_before, before_BT, after_BT)
    last_BT = jnp.where(has_after, after_BT, before_BT)
    t0 = jnp.take_along_axis(times_BT, jnp.clip(first_BT, 0, T - 1), axis=1)
    t1 = jnp.take_along_axis(times_BT, jnp.clip(last_BT, 0, T - 1), axis=1)
    share_BT = jnp.where(t1 > t0, (times_BT - t0) / jnp.maximum(t1 - t0, 1e-6), 0.0)
    some_BT = (has_before | has_after).astype(jnp.float32)

    def fetch(index_BT: Array) -> Array:
        index = jnp.clip(index_BT, 0, T - 1)[:, :, None, None, None]
        frames = jnp.take_along_axis(video_BTHWC, index, axis=1)
        return frames * some_BT[:, :, None, None, None]

    both_BT = (has_before & has_after).astype(jnp.float32)
    return Neighbours(fetch(first_BT), fetch(last_BT), share_BT, both_BT, some_BT)


def meet(near: Neighbours) -> Neighbours:
    """The neighbours moved along the flow between them to where the frame is in time.

    Flows of the moment from those between the neighbours, as if both were straight: Jiang et al.,
    2018 (Super SloMo), eq. 4; ``before`` and ``after`` in -1..1. The flow has no gradient. One
    neighbour stays.
    """
    B, T, H, W, C = near.before.shape
    before, after = (x.reshape(B * T, H, W, C) for x in near[:2])
    # Example by example, so that a batch that is split over devices stays where it is.
    pairs = jnp.stack([before, after], axis=1), jnp.stack([after, before], axis=1)
    first, second = (0.5 + 0.5 * pair.reshape(-1, H, W, C) for pair in pairs)
    flow = estimate(lax.stop_gradient(first), lax.stop_gradient(second)).reshape(B * T, 2, H, W, 2)
    there, back = flow[:, 0], flow[:, 1]
    t = near.share.reshape(-1, 1, 1, 1)
    before, _ = warp(before, t * t * back - (1 - t) * t * there)
    after, _ = warp(after, (1 - t) ** 2 * there - t * (1 - t) * back)
    shape = near.before.shape
    return near._replace(before=before.reshape(shape), after=after.reshape(shape))


def blend(
    video_BTHWC: Float[Array, "B T H W C"],
    known_BT: Float[Array, "B T"],
    times_BT: Float[Array, "B T"],
) -> Float[Array, "B T H W C"]:
    """Each frame as the blend of its known neighbours, weighted by time; beyond them a copy of the
    nearest; zero where nothing is known.
    """
    near = neighbours(video_BTHWC, known_BT, times_BT)
    share = near.share[:, :, None, None, None]
    return (1.0 - share) * near.before + share * near.after
