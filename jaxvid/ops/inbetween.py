"""Linear in-betweening over known frames: what the generator starts from and must beat."""

import jax.numpy as jnp
from jaxtyping import Array, Float


def blend(
    video_BTHWC: Float[Array, "B T H W C"],
    known_BT: Float[Array, "B T"],
    times_BT: Float[Array, "B T"],
) -> tuple[Float[Array, "B T H W C"], Float[Array, "B T"]]:
    """Each frame as the blend of the nearest known frames before and after it, weighted by time.

    Returns the blend and 1 for the frames that have one (a known frame on both sides, itself
    included), which are zero elsewhere.
    """
    T = times_BT.shape[1]
    order = jnp.arange(T)
    known = known_BT > 0.5
    before_BT = jnp.max(
        jnp.where(known[:, None, :] & (order[None, :] <= order[:, None]), order, -1), axis=-1
    )
    after_BT = jnp.min(
        jnp.where(known[:, None, :] & (order[None, :] >= order[:, None]), order, T), axis=-1
    )
    both_BT = ((before_BT >= 0) & (after_BT < T)).astype(jnp.float32)
    t0 = jnp.take_along_axis(times_BT, jnp.maximum(before_BT, 0), axis=1)
    t1 = jnp.take_along_axis(times_BT, jnp.minimum(after_BT, T - 1), axis=1)
    share_BT = jnp.where(t1 > t0, (times_BT - t0) / jnp.maximum(t1 - t0, 1e-6), 0.0)
    weights_BTT = (before_BT[..., None] == order) * (1.0 - share_BT)[..., None]
    weights_BTT += (after_BT[..., None] == order) * share_BT[..., None]
    weights_BTT *= both_BT[..., None]
    return jnp.einsum("bts,bshwc->bthwc", weights_BTT, video_BTHWC), both_BT
