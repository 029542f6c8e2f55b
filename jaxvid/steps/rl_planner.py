"""One step of reinforcement learning of the planner, where an action is a token of the script.

    1. For each prompt of the batch a group of outlines is sampled under the grammar.
    2. They are staged, and every fault counts at the token that made it (``rl.plans``), on the
       host: the step calls back.
    3. Advantages of the rewards to go within each group, the clipped ratio of probabilities, its
       gradient (GRPO: Shao et al., 2024; with credit a token), and β KL(π_θ || π_ref), exact at
       every token: the reference is the planner before the first step.

Both are sums over a sentence's tokens, so that a token counts the same in short and long ones (Liu
et al., 2025), and only those count among which the grammar leaves a choice.
"""

import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from jaxvid import health
from jaxvid.config import PlannerRlConfig
from jaxvid.models.planner import Planner, Sample, repeat, sample
from jaxvid.ops.automaton import allowed, restrict, states
from jaxvid.rl import advantages
from jaxvid.rl.plans import plan_rewards
from jaxvid.state import PlannerRlState, ema_update
from jaxvid.typing import Batch, Metrics, Params, Reduce, Step

ROUNDING = 1e-5  # log probabilities of two programs that differ by less are the same


@dataclasses.dataclass(frozen=True)
class Rehearsal:
    """What a step closes over."""

    planner: Planner
    tx: optax.GradientTransformation
    config: PlannerRlConfig


def make_planner_rl_step(tuning: Rehearsal, *, reduce: Reduce = lambda tree: tree) -> Step:
    """A pure ``step(state, batch, key) -> (state, metrics)`` on ``text``, ``image``, ``tokens`` (of
    the true outlines, which only the rewards see) and ``index``. A group stays on its device.

    Metrics: the mean reward of a sentence ``r_<name>``, ``return`` their weighted sum, ``exact``
    the share without fault in the first of them, ``kl`` in nats a sentence, ``ratio`` at most.
    """
    config = tuning.config

    def step(state: PlannerRlState, batch: Batch, key: jax.Array) -> tuple[Any, Metrics]:
        key = jax.random.fold_in(key, state.step)
        draw = sample(
            tuning.planner, state.params, batch["text"], batch["image"], key,
            temperature=config.temperature, group=config.group, index_B=batch["index"],
        )  # fmt: skip
        reward_NSR = _rewards(config, batch, draw)
        better_NS, flat = weigh(config, reward_NSR, _choices(draw))
        fixed = jax.lax.stop_gradient(distribution(tuning, state.reference, batch, draw)[0])
        then, new, metrics = None, state, dict[str, jax.Array]()
        for i in range(config.updates):

            def objective(params: Params, then: Any = then) -> tuple[jax.Array, Any]:
                return _objective(tuning, params, batch, draw, better_NS, fixed, then)

            grads, (found, said_NS) = jax.grad(objective, has_aux=True)(new.params)
            then = said_NS if then is None else then
            metrics = found if not i else metrics | {"ratio": found["ratio"]}
            grads = reduce(grads)
            updates, opt_state = tuning.tx.update(grads, new.opt_state, new.params)
            new = new.replace(params=optax.apply_updates(new.params, updates), opt_state=opt_state)
        total_NR = reward_NSR.sum(1)
        metrics |= {f"r_{name}": total_NR[:, r].mean() for r, name in enumerate(config.rewards)}
        metrics["return"] = (total_NR @ jnp.asarray(config.weights)).mean()
        metrics |= {"exact": (total_NR[:, 0] == 0).mean(), "flat_groups": flat}
        metrics = reduce(metrics)
        metrics["gradient"] = optax.tree.norm(grads)
        ema = ema_update(state.ema, new.params, decay=config.ema, step=state.step)
        return health.keep_if_finite(state, new.replace(step=state.step + 1, ema=ema), metrics)

    return step


def distribution(
    tuning: Rehearsal, params: Params, batch: Batch, draw: Sample
) -> tuple[jax.Array, jax.Array]:
    """log p of every token (N,S,V) in the place of each that was drawn, and of those (N,S)."""
    N, S = draw.tokens_BS.shape
    apply = functools.partial(tuning.planner.apply, {"params": params})
    prompt: Any = apply(batch["text"], batch["image"], method="read")
    before_NS = jnp.pad(draw.tokens_BS, ((0, 0), (1, 0)))[:, :-1]  # padding stands for the start
    state_NS = states(draw.tokens_BS)
    cache: Any = apply(N, S, method="empty_cache")
    prompt = repeat(prompt, tuning.config.group)
    written: Any = apply(before_NS, state_NS, jnp.int32(0), cache, prompt, method="write")
    logp_NSV = restrict(written[0], allowed(state_NS), temperature=tuning.config.temperature)
    return logp_NSV, jnp.take_along_axis(logp_NSV, draw.tokens_BS[..., None], axis=-1)[..., 0]


def _choices(draw: Sample) -> jax.Array:
    """1 where more than one token was allowed, 0 elsewhere and behind the sentence (N,S)."""
    return (allowed(states(draw.tokens_BS)).sum(-1) > 1).astype(jnp.float32)


def weigh(
    config: PlannerRlConfig, reward_NSR: jax.Array, choice_NS: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """Advantages (N,S) of all terms by their weights, and the share of groups without variance."""
    total, flat = jnp.zeros(reward_NSR.shape[:2]), jnp.zeros(())
    for r, weight in enumerate(config.weights):
        value = advantages.rewards_to_go(reward_NSR[..., r], discount=config.discount)
        better, same = advantages.group_advantages(
            value, group=config.group, baseline=config.baseline, acts_BT=choice_NS
        )
        total, flat = total + weight * better, flat + same / len(config.weights)
    return total, flat


def _objective(
    tuning: Rehearsal,
    params: Params,
    batch: Batch,
    draw: Sample,
    better_NS: jax.Array,
    fixed_NSV: jax.Array,
    then_NS: jax.Array | None,
) -> tuple[jax.Array, tuple[Metrics, jax.Array]]:
    """What has the gradient of β KL minus the gain. Old and new probabilities are one number before
    the first update, so that their ratio is exactly 1 there."""
    logp_NSV, said_NS = distribution(tuning, params, batch, draw)
    old_NS = jax.lax.stop_gradient(said_NS if then_NS is None else then_NS)
    ratio_NS = jnp.exp(said_NS - old_NS)
    choice_NS = _choices(draw)
    gain = (choice_NS * advantages.clipped(ratio_NS, better_NS, clip=tuning.config.clip)).sum(-1)
    # The gradient of KL is Σ_v p (log p - log p_ref) ∇log p: exactly zero before the first update.
    apart_NSV = logp_NSV - fixed_NSV
    apart_NSV = jnp.where(jnp.abs(apart_NSV) < ROUNDING, 0.0, apart_NSV)
    share_NSV = jnp.exp(logp_NSV) * apart_NSV
    kl = (choice_NS * share_NSV.sum(-1)).sum(-1).mean()
    slope_NS = (jax.lax.stop_gradient(share_NSV) * logp_NSV).sum(-1)
    pull = (choice_NS * slope_NS).sum(-1).mean()
    metrics = {"kl": kl, "ratio": (choice_NS * ratio_NS).max()}
    return tuning.config.kl * pull - gain.mean(), (metrics, old_NS)


def _rewards(config: PlannerRlConfig, batch: Batch, draw: Sample) -> jax.Array:
    """(N,S,R), counted on the host."""
    count = functools.partial(plan_rewards, names=config.rewards)
    shape = jax.ShapeDtypeStruct((*draw.tokens_BS.shape, len(config.rewards)), jnp.float32)
    asked = batch["tokens"], draw.tokens_BS, batch["index"]
    return jax.pure_callback(lambda *arrays: count(*map(np.asarray, arrays)), shape, *asked)
