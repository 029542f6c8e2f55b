"""One adversarial step, written once for a batch.

    1. Draw each example's frames, task (what is known), conditions and noise from its own address.
    2. y = G(noise, latent, known, conditions), kept with its pull-back. Where conditions leave much
       open, the latent of some examples is read from the real clip x by the posterior. Those, and
       examples that are settled, are compared with x; the rest is held to the critics alone.
    3. Critics: relativistic pairs of x and y, zero-centred penalties on both, real clips under a
       wrong script as further negatives, logits centred. Update.
    4. Generator: the updated critics' gradient at the same y, the distance to x, the posterior's
       divergence. Update, EMA.

Since y is generated before the critics move and G moves after them, this is the alternating game
with shared samples: the same gradients as two passes with one noise, for one forward pass less.
A step whose numbers are not finite leaves the state as it was.
"""

import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp
import optax

from jaxvid import health
from jaxvid.config import ComputeConfig, LossConfig, TaskConfig
from jaxvid.losses.adversarial import centring, critic_loss, generator_loss
from jaxvid.losses.penalties import exact, finite
from jaxvid.losses.reconstruction import charbonnier, divergence, transport
from jaxvid.ops.augment import augment
from jaxvid.rl import rewards
from jaxvid.state import GanState, ema_update
from jaxvid.steps.tasks import (
    Purpose,
    draw_latent,
    draw_motion,
    drop_conditions,
    example_keys,
    mismatched,
    pick_frames,
    sample_tasks,
)
from jaxvid.typing import Batch, Metrics, Params, Reduce, Step

# Nats that each motion number may say of a frame for next to nothing, else it learns to say nothing
# before anything is drawn that could move (free bits: Kingma et al., 2016, arXiv:1606.04934). They
# cost this share of what more costs: were they free, what is read would stay as far from N(0, 1) as
# it happens to be, and draws of N(0, 1) would lie beyond what the generator has learnt.
FREE, SHARE = 2.0, 0.2


def to_unit(video_BTHWC: jax.Array) -> jax.Array:
    """uint8 0..255 to float32 -1..1."""
    return video_BTHWC.astype(jnp.float32) / 127.5 - 1.0


@dataclasses.dataclass(frozen=True)
class Game:
    """What a step closes over: networks, optimizers, weights; ``steps``: the run's length.

    ``posterior`` is None where the generator has neither latent nor motion; its parameters stand in
    the generator's tree under that name.
    """

    generator: Any
    posterior: Any
    critics: Any
    tx: optax.GradientTransformation
    critic_tx: optax.GradientTransformation
    loss: LossConfig
    tasks: TaskConfig
    compute: ComputeConfig
    steps: int

    def judge(self, params: Params, video: jax.Array, picked: jax.Array, batch: Batch) -> jax.Array:
        """The critics' logits (B,K), float32."""
        params = lower(params, self.compute.dtype)
        return self.critics.apply({"params": params}, video, picked, batch)


def lower(params: Params, dtype: str) -> Params:
    """The parameters in the type that is computed in; gradients come back in their own."""
    return jax.tree.map(lambda p: p.astype(dtype), params)


def make_gan_step(
    game: Game, *, adversarial: bool = True, reduce: Reduce = lambda tree: tree
) -> Step:
    """A pure ``step(state, batch, key) -> (state, metrics)``.

    Of each clip ``loss.frames`` frames are drawn at random times, so that a step sees more clips
    for its cost and the generator learns any spacing. Without ``adversarial`` only the
    reconstruction trains the generator (the warm-up, on ``loss.warmup_frames`` frames) and the
    critics rest. With ``compute.accumulate`` over 1 the batch is computed in parts, with the same
    result to rounding.
    ``reduce`` averages a tree over devices: identity under jit, pmean under pmap.
    """
    loss, parts = game.loss, game.compute.accumulate
    frames = loss.frames if adversarial else loss.warmup_frames

    def step(state: GanState, batch: Batch, key: jax.Array) -> tuple[GanState, Metrics]:
        batch = pick_frames(batch, key, state.step, frames)
        draw = _draw(game, batch, key, state.step, adversarial)
        if parts == 1:
            played, pull = jax.vjp(functools.partial(_play, game, draw=draw), state.params)
        new, metrics = state, dict[str, jax.Array]()
        if adversarial:
            if parts == 1:
                grads, metrics = critic_grads(game, state, draw, played=played)
            else:
                grads, metrics = _mean_of_parts(
                    lambda part: critic_grads(
                        game, state, part, played=_play(game, state.params, draw=part)
                    ),
                    _parts(draw, parts),
                )
            grads = reduce(grads)
            updates, opt_state = game.critic_tx.update(
                grads, state.critic_opt_state, state.critic_params
            )
            critic_params = optax.apply_updates(state.critic_params, updates)
            new = state.replace(critic_params=critic_params, critic_opt_state=opt_state)
            metrics = {**metrics, "d_gradient": optax.tree.norm(grads)}
        generator_grads = functools.partial(_generator_grads, game, new, adversarial=adversarial)
        if parts == 1:
            grads, g_metrics, moments = generator_grads(draw, played=played, pull=pull)
        else:
            grads, g_metrics, moments = _mean_of_parts(generator_grads, _parts(draw, parts))
        grads = reduce(grads)
        updates, opt_state = game.tx.update(grads, state.opt_state, state.params)
        params = optax.apply_updates(state.params, updates)
        metrics = reduce({**metrics, **g_metrics}) | health.signals(reduce(moments))
        metrics["g_gradient"] = optax.tree.norm(grads)
        ema = ema_update(state.ema, params, decay=loss.ema, step=state.step)
        new = new.replace(step=state.step + 1, params=params, opt_state=opt_state, ema=ema)
        return health.keep_if_finite(state, new, metrics)

    return step


def _parts(draw: dict[str, Any], parts: int) -> dict[str, Any]:
    """Every array (B,...) as (parts, B/parts, ...): each part has examples of every device."""
    return jax.tree.map(
        lambda x: jnp.moveaxis(x.reshape(len(x) // parts, parts, *x.shape[1:]), 1, 0), draw
    )


def _mean_of_parts(function: Any, parts: Any) -> Any:
    """The mean over the parts of a tree that ``function(part)`` gives, one part after another."""
    results = jax.lax.map(function, parts)
    return jax.tree.map(lambda x: x.mean(0), results)


def _play(game: Game, params: Params, *, draw: dict[str, Any]) -> dict[str, jax.Array]:
    """The generated clip ``fake``, and the posterior's divergences of clip and frames (B,) where
    there is one.

    ``params`` is the generator's tree, lowered here.
    """
    params = lower(params, game.compute.dtype)
    real, batch, z_BZ, m_BTM = (draw[name] for name in ("real", "batch", "latent", "motion"))
    played = {}
    if game.posterior is not None:
        seen = real.astype(game.compute.dtype)
        camera_BT4 = rewards.camera(real, batch) if m_BTM.shape[-1] else None
        read = {"params": params["posterior"]}
        clip, frame = game.posterior.apply(read, seen, batch, camera_BT4)
        z_BZ = jnp.where(draw["read"][:, None] > 0, clip[0] + jnp.exp(clip[1]) * z_BZ, z_BZ)
        read_BTM = frame[0] + jnp.exp(frame[1]) * m_BTM
        m_BTM = jnp.where(draw["followed"][:, None, None] > 0, read_BTM, m_BTM)
        nats_BT = divergence(*frame)
        beyond_BT = jnp.maximum(nats_BT - FREE * m_BTM.shape[-1], 0.0)
        motion_kl = SHARE * nats_BT + (1.0 - SHARE) * beyond_BT
        played = {"kl": divergence(*clip), "motion_kl": motion_kl.mean(1)}
    known = (draw["noise"], real, draw["mask"])
    fake = game.generator.apply({"params": params}, *known, batch, z_BZ, m_BTM)
    return {**played, "fake": fake}


def critic_grads(
    game: Game, state: Any, draw: dict[str, Any], *, played: dict[str, jax.Array]
) -> tuple[Params, Metrics]:
    """Gradient and metrics of the state's critics on paired clips, real and generated."""
    views = (_view(game, draw, draw["real"]), _view(game, draw, played["fake"]))
    objective = functools.partial(_critic_objective, game, views=views, draw=draw)
    return jax.grad(objective, has_aux=True)(state.critic_params)


def _generator_grads(
    game: Game,
    state: GanState,
    draw: dict[str, Any],
    *,
    adversarial: bool,
    played: dict[str, jax.Array] | None = None,
    pull: Any = None,
) -> tuple[Params, Metrics, Any]:
    """Gradient, metrics and moments of the generator; plays where that has not been done."""
    if played is None:
        played, pull = jax.vjp(functools.partial(_play, game, draw=draw), state.params)
    assert played is not None
    objective = functools.partial(
        _generator_objective, game, state=state, draw=draw, adversarial=adversarial
    )
    outer, metrics = jax.grad(objective, has_aux=True)(played)
    return pull(outer)[0], metrics, health.moments(draw["real"], played["fake"])


def _critic_objective(
    game: Game, params: Params, *, views: tuple[jax.Array, jax.Array], draw: dict[str, Any]
) -> tuple[jax.Array, Metrics]:
    """Loss and metrics of the critics on paired clips, real and generated; step 3 of the module."""
    loss, (x, y), batch = game.loss, views, draw["batch"]

    def judge(video: jax.Array) -> jax.Array:
        return game.judge(params, video, draw["picked"], batch)

    def moved(video: jax.Array, which: int) -> jax.Array:
        keys_B = jax.vmap(lambda k: jax.random.fold_in(k, which))(draw["penalty_keys"])
        noise = jax.vmap(lambda k: jax.random.normal(k, video.shape[1:]))(keys_B)
        return video + loss.penalty_epsilon * noise

    videos, conditions = [x, y], [batch, batch]
    if loss.penalty == "finite":
        videos, conditions = [*videos, moved(x, 0), moved(y, 1)], [*conditions, batch, batch]
    if loss.mismatch:
        videos, conditions = [*videos, x], [*conditions, draw["wrong"]]
    logits = _judge_all(game, params, videos, draw["picked"], conditions)
    real, fake = logits[0], logits[1]
    terms = {
        "critic": critic_loss(loss.adversarial, real, fake),
        "centring": loss.centring * centring(real, fake),
    }
    # The elements that the critics see: half the resolution, and some frames of the whole.
    weight = loss.penalty_weight * (x[0].size / 4 + draw["picked"].shape[1] * x[0, 0].size)
    if loss.penalty == "finite":
        slopes = [
            finite(still, moved, epsilon=loss.penalty_epsilon)
            for still, moved in zip(logits[:2], logits[2:4], strict=True)
        ]
    else:
        penalised = {"exact": (x, y), "r1": (x,), "none": ()}[loss.penalty]
        slopes = [exact(judge, video) for video in penalised]
    terms |= {name: weight * slope for name, slope in zip(("r1", "r2"), slopes, strict=False)}
    if loss.mismatch:
        scripted_B = batch["visible"].max(axis=(1, 2))
        wrong_B = critic_loss("relativistic", real, logits[-1])
        terms["mismatch"] = loss.mismatch * scripted_B * wrong_B
    metrics = {f"d_{name}": term.mean() for name, term in terms.items()}
    for name, slope in zip(("slope_real", "slope_fake"), slopes, strict=False):
        metrics[name] = slope.mean()  # |∇D|²: alike on both in a healthy game
    metrics["gap"] = (real - fake).mean()
    metrics["sign_accuracy"] = (real > fake).astype(jnp.float32).mean()
    return _total(terms), metrics


def _generator_objective(
    game: Game,
    played: dict[str, jax.Array],
    *,
    state: GanState,
    draw: dict[str, Any],
    adversarial: bool,
) -> tuple[jax.Array, Metrics]:
    """The generator's loss as a function of what it played; step 4 of the module."""
    loss, batch, y, real = game.loss, draw["batch"], played["fake"], draw["real"]
    falling = 0.5 + 0.5 * jnp.cos(jnp.pi * jnp.minimum(state.step / game.steps, 1.0))
    spread = loss.reconstruction - loss.reconstruction_final
    weight = loss.reconstruction_final + spread * falling
    error_B = charbonnier(y, real, epsilon=loss.reconstruction_epsilon)
    terms = {"reconstruction": weight * _settled(game, draw) * error_B}
    if game.posterior is not None:
        rising = jnp.minimum(state.step / max(1, loss.warmup), 1.0)  # else it wins at the start
        kl_B = draw["read"] * played["kl"] + draw["followed"] * played["motion_kl"]
        terms["kl"] = loss.kl * rising * kl_B
    if adversarial:
        views = [_view(game, draw, real), _view(game, draw, y)]
        logits = _judge_all(game, state.critic_params, views, draw["picked"], [batch, batch])
        terms["generator"] = loss.generator * generator_loss(loss.adversarial, *logits)
    if loss.transport:
        free_B = (1.0 - draw["mask"].max((1, 2, 3, 4))) * (1.0 - batch["visible"].max((1, 2)))
        terms["transport"] = loss.transport * free_B * transport(y, draw["noise"])
    metrics = {f"g_{name}": term.mean() for name, term in terms.items()}
    metrics["mse"] = ((y - real) ** 2).mean() / 4.0  # of pixels in 0..1
    return _total(terms), metrics


def _total(terms: dict[str, jax.Array]) -> jax.Array:
    return jnp.sum(jnp.stack([term.mean() for term in terms.values()]))


def _settled(game: Game, draw: dict[str, Any]) -> jax.Array:
    """1 for the examples (B,) that the real clip is the answer to: held by their conditions, or
    read. The others may show any clip that fits, not the mean of all.
    """
    settled_B = jnp.ones(len(draw["real"]), bool)
    if game.posterior is not None and game.generator.config.latent:
        settled_B = _held(draw["mask"], draw["batch"]) | (draw["read"] > 0)
    if game.generator.config.motion:
        settled_B &= draw["followed"] > 0
    return settled_B.astype(jnp.float32)


def _held(mask_BTHW1: jax.Array, batch: Batch) -> jax.Array:
    """Whether a clip (B,) is one by its conditions: scripted, or known at both ends."""
    share_BT = mask_BTHW1.mean((2, 3, 4))
    scripted_B = batch["visible"].max((1, 2)) > 0
    return scripted_B | ((share_BT[:, 0] > 0) & (share_BT[:, -1] > 0))


def _view(game: Game, draw: dict[str, Any], video: jax.Array) -> jax.Array:
    """What the critics see of a clip, real and generated alike."""
    if not game.loss.augment:
        return video
    # A scripted clip stays as it is: its boxes would no longer fit.
    scripted = draw["batch"]["visible"].max(axis=(1, 2))[:, None, None, None, None] > 0
    moved = augment(draw["augment_keys"], video, strength=game.loss.augment)
    return jnp.where(scripted, video, moved)


def _draw(
    game: Game, batch: Batch, key: jax.Array, step: jax.Array, adversarial: bool
) -> dict[str, Any]:
    """All random choices of a step, and what goes with them; every array has a leading B."""
    shape = batch["video"].shape[1:]

    def keys(purpose: Purpose) -> jax.Array:
        return example_keys(key, step, batch["index"], purpose)

    def pick(key: jax.Array) -> jax.Array:
        count = min(game.critics.config.frames, shape[0])
        return jnp.sort(jax.random.permutation(key, shape[0])[:count])

    sizes = game.generator.config
    latent_BZ, chance_B = draw_latent(key, step, batch["index"], size=sizes.latent)
    motion_BTM = draw_motion(key, step, batch["index"], frames=shape[0], size=sizes.motion)
    share = game.loss.posterior if adversarial else 1.0
    batch = drop_conditions(keys(Purpose.DROP), batch, game.tasks)
    mask = sample_tasks(keys(Purpose.TASK), shape[:3], game.tasks)
    # A latent that is read where all is settled would say it too, and contradict it when drawn.
    open_B = ~_held(mask, batch)
    return {
        "batch": batch,
        "real": to_unit(batch["video"]),
        "mask": mask,
        "noise": jax.vmap(lambda k: jax.random.normal(k, shape))(keys(Purpose.NOISE)),
        "latent": latent_BZ,
        "motion": motion_BTM,
        "read": ((chance_B < share) & open_B).astype(jnp.float32),
        "followed": (chance_B < share).astype(jnp.float32),
        "picked": jax.vmap(pick)(keys(Purpose.FRAMES)),
        "penalty_keys": keys(Purpose.PENALTY),
        "augment_keys": keys(Purpose.AUGMENT),
        "wrong": mismatched(keys(Purpose.MISMATCH), batch),
    }


def _judge_all(
    game: Game, params: Params, videos: list[jax.Array], picked: jax.Array, conditions: list[Batch]
) -> list[jax.Array]:
    """Logits of several clips an example in one call: XLA compiles one critic, not five. Their text
    is the same, and read once."""
    n, (B, *_) = len(videos), videos[0].shape
    names = ("times", "boxes", "visible", "attributes", "background")

    def join(arrays: list[jax.Array]) -> jax.Array:
        # Example-major, so that a batch sharded over devices stays where it is.
        return jnp.stack(arrays, axis=1).reshape(B * n, *arrays[0].shape[1:])

    joined = {name: join([c[name] for c in conditions]) for name in names}
    said = {name: conditions[0][name] for name in ("text", "label")}
    logits = game.judge(params, join(videos), join([picked] * n), joined | said)
    return list(logits.reshape(B, n, -1).swapaxes(0, 1))
