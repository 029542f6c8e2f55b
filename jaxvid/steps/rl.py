"""One step of reinforcement learning: J(θ) = E[Σ_t r_t], over the generator's motion noise.

    1. For each prompt of the batch a group of clips is made: everything equal (noise, latent, first
       frame) but the actions a[t] ~ N(μ_θ, σ_θ²) of the policy: the generator's own motion, and
       numbers that change a frame as it answers to most (``reinforce``).
    2. Each frame is rewarded (``rl.rewards``), each term in units of what real clips spread.
    3. ``policy``: advantages of the rewards to go within each group, the clipped ratio, its
       gradient (GRPO with credit a frame). ``path``: the rewards' gradient through generator and
       actions (DRaFT: Clark et al., 2024; one pass here, not a chain). Both with
       β KL(π_θ || N(0, I)), exact.

The generator is frozen, so N(0, I) is the frozen reference. Where the first frame is known, it has
no action. The critics may learn on, on these clips and real ones, while they serve as a reward.
"""

import dataclasses
import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from jaxvid import health
from jaxvid.config import RlConfig
from jaxvid.rl import advantages, rewards
from jaxvid.state import RlState, ema_update
from jaxvid.steps.gan import Game, critic_grads, to_unit
from jaxvid.steps.tasks import Purpose, draw_latent, draw_motion, example_keys, mismatched
from jaxvid.typing import Batch, Metrics, Params, Reduce, Step

LEAST = 0.5  # spreads of real clips: what a group's rewards to go differ by, to count in full
Made = tuple[jax.Array, dict[str, jax.Array]]  # clips (N,T,H,W,3) and each reward (N,T)


class Update(NamedTuple):
    """What an update of a step knows: clips and rewards of an earlier one on the same actions, if
    there was one, and from which policy these came.
    """

    first: Params
    made: Made | None
    reduce: Reduce


@dataclasses.dataclass(frozen=True)
class Tuning:
    """What a step closes over. ``game`` has the networks, and the critics' optimizer and loss."""

    game: Game
    policy: Any
    tx: optax.GradientTransformation
    config: RlConfig

    @property
    def terms(self) -> dict[str, float]:
        """The rewards and their weights."""
        return dict(zip(self.config.rewards, self.config.weights, strict=True))


def make_rl_step(tuning: Tuning, *, reduce: Reduce = lambda tree: tree) -> Step:
    """A pure ``step(state, batch, key) -> (state, metrics)``; ``batch`` holds prompts with their
    real clips. A group stays on its prompt's device.
    """
    config = tuning.config
    learn = {"policy": _policy_grads, "path": _path_grads}[config.algorithm]

    def step(state: RlState, batch: Batch, key: jax.Array) -> tuple[RlState, Metrics]:
        draw = _draw(tuning, batch, key, state.step)
        new = state
        made: Made | None = None
        metrics = dict[str, jax.Array]()
        for i in range(config.updates):
            grads, found, made = learn(tuning, new, draw, Update(state.params, made, reduce))
            grads = reduce(grads)
            updates, opt_state = tuning.tx.update(grads, new.opt_state, new.params)
            params = optax.apply_updates(new.params, updates)
            new = new.replace(params=params, opt_state=opt_state)
            # As before any update, but for the ratio, which is 1 there.
            metrics = found if not i else metrics | {k: v for k, v in found.items() if k == "ratio"}
        metrics = reduce(metrics)
        metrics["gradient"] = optax.tree.norm(grads)
        ema = ema_update(state.ema, new.params, decay=config.ema, step=state.step)
        new = new.replace(step=state.step + 1, ema=ema)
        if config.critics_learn and made is not None:
            new, found = _train_critics(tuning, new, draw, made[0], reduce)
            metrics |= found
        return health.keep_if_finite(state, new, metrics)

    return step


def act(tuning: Tuning, params: Params, draw: dict[str, Any]) -> tuple[jax.Array, jax.Array]:
    """Mean and log standard deviation (N,T,A) of the policy for every clip of the groups.

    Beside the generator's own motion its mean makes the clips and the spread only explores. That
    stays the reference's: it would be narrowed for rewards that no clip gets.
    """
    prompt = draw["prompt"]
    mean, log_std = tuning.policy.apply(
        {"params": params}, prompt["batch"], prompt["real"], prompt["mask"]
    )
    log_std = log_std.at[..., tuning.game.generator.config.motion :].set(0.0)
    group = tuning.config.group
    return jnp.repeat(mean, group, axis=0), jnp.repeat(log_std, group, axis=0)


def play(tuning: Tuning, state: RlState, draw: dict[str, Any], action: jax.Array) -> jax.Array:
    """The clips (N,T,H,W,3) of these actions. A frame without an action has the reference's."""
    free = draw["free"][..., None]
    motion = free * action + (1.0 - free) * draw["still"]
    return tuning.game.generator.apply(
        {"params": state.reference}, draw["noise"], draw["real"], draw["mask"], draw["batch"],
        draw["latent"], motion,
    )  # fmt: skip


def reward(
    tuning: Tuning, state: RlState, draw: dict[str, Any], video: jax.Array
) -> dict[str, jax.Array]:
    """Every term's reward (N,T), -10 to 0, before its weight."""
    script = witness(tuning, state.critic_params, video, draw, group=tuning.config.group)
    return {
        name: rewards.score(name, video, script, state.scales[i])
        for i, name in enumerate(tuning.terms)
    }


def witness(
    tuning: Tuning, critic_params: Params, video: jax.Array, draw: dict[str, Any], *, group: int
) -> dict[str, Any]:
    """The conditions, the real clips, and what the critics see of the clips where a reward asks;
    ``group`` clips side by side have the same conditions.
    """
    batch = draw["batch"]
    script = {**batch, "real": draw["real"]}
    if not any(rewards.REWARDS[name].critics for name in tuning.terms):
        return script
    T = video.shape[1]

    def look(batch: Batch) -> tuple[jax.Array, jax.Array]:
        logits, kept = tuning.game.critics.apply(
            {"params": critic_params}, video, draw["picked"], batch,
            capture_intermediates=lambda module, _: module.name == "clip",
            mutable="intermediates",
        )  # fmt: skip
        return logits[:, -T:], kept["intermediates"]["clip"]["__call__"][0]

    script["logits"], script["features"] = look(batch)
    if "agreement" in tuning.terms:
        names = ("text", "boxes", "visible", "attributes", "background", "label")
        wrong = {name: jnp.roll(batch[name], group, axis=0) for name in names}
        script["wrong"], _ = look({**batch, **wrong})
    return script


def _policy_grads(
    tuning: Tuning, state: RlState, draw: dict[str, Any], update: Update
) -> tuple[Params, Metrics, Made]:
    """Gradient of the policy by the ratio of probabilities.

    Old and new probabilities come from one pass where they are of one policy, so that their ratio
    is exactly 1 before the first update.
    """
    config, free = tuning.config, draw["free"]
    now, pull = jax.vjp(lambda params: act(tuning, params, draw), state.params)
    made = update.made
    then = now if made is None else act(tuning, update.first, draw)
    action = jax.lax.stop_gradient(then[0] + jnp.exp(then[1]) * draw["epsilon"])
    before = advantages.log_prob(action, *then)
    if made is None:
        video = play(tuning, state, draw, action)
        made = video, reward(tuning, state, draw, video)
    terms = made[1]
    total, flat = jnp.zeros_like(free), jnp.zeros(())
    for name, weight in tuning.terms.items():
        value = advantages.rewards_to_go(
            terms[name], discount=config.discount, reads=rewards.REWARDS[name].reads
        )
        better, same = advantages.group_advantages(
            value, group=config.group, baseline=config.baseline, least=LEAST
        )
        total, flat = total + weight * better, flat + same / len(tuning.terms)

    def objective(now: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, Metrics]:
        likely = advantages.log_prob(action, advantages.natural(*now), now[1])
        ratio = jnp.exp(likely - before)
        gain = (free * advantages.clipped(ratio, total, clip=config.clip)).mean()
        kl = _mean(advantages.divergence(*now), free, update.reduce)
        return config.kl * kl - gain, {"kl": kl, "ratio": ratio.max()}

    outer, metrics = jax.grad(objective, has_aux=True)(now)
    metrics |= {"spread": jnp.exp(now[1]).mean(), "flat_groups": flat}
    return pull(outer)[0], metrics | _report(tuning, terms), made


def _mean(values_BT: jax.Array, weight_BT: jax.Array, reduce: Reduce) -> jax.Array:
    """Weighted mean of a device's share, so that ``reduce`` of it is the mean over all devices."""
    return (weight_BT * values_BT).sum() / jnp.maximum(reduce(weight_BT.sum()), 1e-6)


def _path_grads(
    tuning: Tuning, state: RlState, draw: dict[str, Any], update: Update
) -> tuple[Params, Metrics, Made]:
    """Gradient of the rewards through the generator, of clips made anew in each update; only frames
    of the draw's window act and count.
    """
    config, free, own = tuning.config, draw["free"], tuning.game.generator.config.motion

    def objective(params: Params) -> tuple[jax.Array, Any]:
        mean, log_std = act(tuning, params, draw)
        window = draw["window"][..., None]
        # A gradient needs no exploration.
        spread = jnp.exp(log_std[..., :own]) * draw["epsilon"][..., :own]
        action = mean.at[..., :own].add(spread)
        action = window * action + (1.0 - window) * jax.lax.stop_gradient(action)
        video = play(tuning, state, draw, action)
        terms = reward(tuning, state, draw, video)
        total = jnp.zeros_like(free)
        for name, weight in tuning.terms.items():
            total = total + weight * terms[name]
        kl = _mean(advantages.divergence(mean, log_std), free, update.reduce)
        gain = _mean(total, draw["window"], update.reduce)
        metrics = {"kl": kl, "spread": jnp.exp(log_std).mean()}
        return config.kl * kl - gain, (metrics, video, terms)

    grads, (metrics, video, terms) = jax.grad(objective, has_aux=True)(state.params)
    return grads, metrics | _report(tuning, terms), (jax.lax.stop_gradient(video), terms)


def _report(tuning: Tuning, terms: dict[str, jax.Array]) -> Metrics:
    """Each term's mean reward, and J: their weighted sum over time."""
    metrics = {f"r_{name}": value.mean() for name, value in terms.items()}
    weighted = [weight * terms[name].sum(1).mean() for name, weight in tuning.terms.items()]
    return metrics | {"return": jnp.sum(jnp.stack(weighted))}


def _train_critics(
    tuning: Tuning, state: RlState, draw: dict[str, Any], video: jax.Array, reduce: Reduce
) -> tuple[RlState, Metrics]:
    """One update of the critics: one clip of each group against its real one."""
    one = {"fake": jax.lax.stop_gradient(video)[:: tuning.config.group]}
    grads, metrics = critic_grads(tuning.game, state, draw["prompt"], played=one)
    grads = reduce(grads)
    updates, opt_state = tuning.game.critic_tx.update(
        grads, state.critic_opt_state, state.critic_params
    )
    critic_params = optax.apply_updates(state.critic_params, updates)
    state = state.replace(critic_params=critic_params, critic_opt_state=opt_state)
    return state, reduce(metrics) | {"d_gradient": optax.tree.norm(grads)}


def _draw(tuning: Tuning, batch: Batch, key: jax.Array, step: jax.Array) -> dict[str, Any]:
    """All random choices of a step. ``prompt`` holds what each prompt has once (B); the rest is
    repeated for every clip of its group (N = B x group)."""
    config, sizes = tuning.config, tuning.game.generator.config
    real = to_unit(batch["video"])
    B, T, H, W, _ = real.shape
    index = batch["index"]

    def keys(purpose: Purpose) -> jax.Array:
        return example_keys(key, step, index, purpose)

    known_B = jax.vmap(jax.random.uniform)(keys(Purpose.TASK)) < config.first
    known_BT = (known_B[:, None] & (jnp.arange(T) == 0)).astype(jnp.float32)
    mask = jnp.broadcast_to(known_BT[..., None, None, None], (B, T, H, W, 1))

    def pick(key: jax.Array) -> jax.Array:
        count = min(tuning.game.critics.config.frames, T)
        return jnp.sort(jax.random.permutation(key, T)[:count])

    def start(key: jax.Array) -> jax.Array:
        return jax.random.randint(key, (), 0, T - config.window + 1)

    window_B1 = jax.vmap(start)(keys(Purpose.TIMES))[:, None] if 0 < config.window < T else 0
    own_BTM = draw_motion(key, step, index, frames=T, size=sizes.motion)
    actions, width = sizes.motion + sizes.actions, config.window or T
    t = jnp.arange(T)
    window_BT = jnp.broadcast_to((t >= window_B1) & (t < window_B1 + width), (B, T))
    prompt: dict[str, Any] = {
        "batch": dict(batch),
        "real": real,
        "mask": mask,
        "noise": jax.vmap(lambda k: jax.random.normal(k, real.shape[1:]))(keys(Purpose.NOISE)),
        "latent": draw_latent(key, step, index, size=sizes.latent)[0],
        "still": jnp.pad(own_BTM, ((0, 0), (0, 0), (0, sizes.actions))),
        "free": 1.0 - known_BT,
        "window": window_BT.astype(jnp.float32) * (1.0 - known_BT),
        "picked": jax.vmap(pick)(keys(Purpose.FRAMES)),
        "penalty_keys": keys(Purpose.PENALTY),
        "augment_keys": keys(Purpose.AUGMENT),
        "wrong": mismatched(keys(Purpose.MISMATCH), batch),
    }
    once = ("wrong", "penalty_keys", "augment_keys")
    every = {name: value for name, value in prompt.items() if name not in once}
    draw = jax.tree.map(functools.partial(jnp.repeat, repeats=config.group, axis=0), every)

    def explore(key: jax.Array) -> jax.Array:
        return jax.random.normal(key, (config.group, T, actions))

    epsilon = jax.vmap(explore)(keys(Purpose.ACTION))
    return {**draw, "prompt": prompt, "epsilon": epsilon.reshape(-1, T, actions)}
