"""From rewards of frames to what a policy learns from: returns, advantages, the clipped ratio.

Pure maths on arrays; examples of a group (clips of one prompt) stand side by side along B.
"""

from typing import Literal

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

CLIP = 5.0  # largest advantage (DDPO, DanceGRPO)

Frames = Float[Array, "B T"]


def rewards_to_go(
    reward_BT: Frames, *, discount: float, reads: tuple[int, int] | None = None
) -> Frames:
    """Q[t] = Σ_{k >= t} discount^(k - t) r[k]: what a frame's action can still change.

    ``reads``: r[k] reads frames k - before to k + after alone, so that it answers for the actions
    of these and no others: Q[t] = Σ r[k] over t - after <= k <= t + before, undiscounted. That is
    exact where an action changes its own frame alone, and without the noise of all later rewards.
    """
    t = jnp.arange(reward_BT.shape[1])
    ahead = t[:, None] - t[None, :]  # of k after t
    if reads is None:
        weight = jnp.where(ahead >= 0, discount ** jnp.maximum(ahead, 0).astype(jnp.float32), 0.0)
    else:
        before, after = reads
        weight = ((ahead >= -after) & (ahead <= before)).astype(jnp.float32)
    return jnp.einsum("bk,kt->bt", reward_BT, weight, precision="highest")


def group_advantages(
    value_BT: Frames,
    *,
    group: int,
    baseline: Literal["group", "leave_one_out"] = "group",
    acts_BT: Frames | None = None,
    least: float = 0.0,
) -> tuple[Frames, Float[Array, ""]]:
    """How much better than its group's clips a clip does from frame t on, and the share of groups
    that say nothing because all of their clips did the same.

    ``group``: (Q - mean over the group) / (standard deviation over group and time + 1e-4), clipped
    to ±5 (GRPO: Shao et al., 2024; over time as well, since that of single frames amplifies the
    noise of the last ones). The deviation is ``least`` at least, in the unit of Q: once a policy
    has narrowed, what its clips still differ by is noise, which is not to count as much as what
    they differed by before. ``leave_one_out``: Q minus the mean of the others (RLOO: Kool et al.,
    2019). A group without variance has advantage 0. ``acts``: 1 where there is an action, 0
    elsewhere; the deviation is over these, so that short sentences count no more than long ones.
    """
    B, T = value_BT.shape
    value = value_BT.reshape(B // group, group, T)
    centred = value - value.mean(1, keepdims=True)
    acts = jnp.ones_like(value) if acts_BT is None else acts_BT.reshape(value.shape)
    total = (acts * centred**2).sum((1, 2), keepdims=True)
    spread = jnp.sqrt(total / jnp.maximum(acts.sum((1, 2), keepdims=True), 1.0))
    flat = spread < 1e-6
    if baseline == "group":
        advantage = jnp.clip(centred / (jnp.maximum(spread, least) + 1e-4), -CLIP, CLIP)
    else:
        advantage = centred * group / max(group - 1, 1)
    advantage = jnp.where(flat, 0.0, advantage)
    return advantage.reshape(B, T), flat.astype(jnp.float32).mean()


def log_prob(
    action_BTA: Float[Array, "B T A"],
    mean_BTA: Float[Array, "B T A"],
    log_std_BTA: Float[Array, "B T A"],
) -> Frames:
    """log N(action; mean, std²), summed over A, in nats."""
    z = (action_BTA - mean_BTA) * jnp.exp(-log_std_BTA)
    return (-0.5 * z**2 - log_std_BTA - 0.5 * jnp.log(2 * jnp.pi)).sum(-1)


def natural(
    mean_BTA: Float[Array, "B T A"], log_std_BTA: Float[Array, "B T A"]
) -> Float[Array, "B T A"]:
    """The mean, whose gradient comes back times the variance: the natural gradient (Kakade, 2001;
    a Gaussian's mean has the Fisher information 1 / std²). That of ``log_prob`` by itself grows as
    1 / std, so that a policy that has become narrow is moved by noise, against which a divergence
    can do nothing.
    """
    fixed = jax.lax.stop_gradient(mean_BTA)
    return fixed + jax.lax.stop_gradient(jnp.exp(2 * log_std_BTA)) * (mean_BTA - fixed)


def divergence(
    mean_BTA: Float[Array, "B T A"], log_std_BTA: Float[Array, "B T A"]
) -> Float[Array, "B T"]:
    """KL(N(mean, std²) || N(0, I)) in nats a frame: from the frozen reference, exact."""
    spread = jnp.exp(2 * log_std_BTA) - 1.0 - 2 * log_std_BTA
    return 0.5 * (mean_BTA**2 + spread).sum(-1)


def clipped(ratio_BT: Frames, advantage_BT: Frames, *, clip: float) -> Frames:
    """min(ρ A, clamp(ρ, 1 - clip, 1 + clip) A), to be made large (PPO: Schulman et al., 2017)."""
    limited = jnp.clip(ratio_BT, 1.0 - clip, 1.0 + clip)
    return jnp.minimum(ratio_BT * advantage_BT, limited * advantage_BT)
