"""One adversarial step, written once for a batch.

    1. Draw each example's task (which frames are known) and noise from its own address.
    2. y = G(noise, known, conditions), kept with its pull-back.
    3. Critics: relativistic pairs of x and y, zero-centred penalties on both, real clips under a
       wrong script as further negatives, logits centred. Update.
    4. Generator: the updated critics' gradient at the same y, plus the distance to x. Update, EMA.

Since y is generated before the critics move and G moves after them, this is the alternating game
with shared samples: the same gradients as two passes with one noise, for one forward pass less.
"""

import dataclasses
import functools
from enum import IntEnum
from typing import Any

import jax
import jax.numpy as jnp
import optax

from jaxvid import script
from jaxvid.config import LossConfig, TaskConfig
from jaxvid.losses.adversarial import centring, critic_loss, generator_loss
from jaxvid.losses.penalties import exact, finite
from jaxvid.losses.reconstruction import charbonnier, transport
from jaxvid.ops.augment import augment
from jaxvid.state import GanState, ema_update
from jaxvid.typing import Batch, Metrics, Params, Reduce, Step


class Purpose(IntEnum):
    """What a random number is for: the second part of its address."""

    TASK = 0
    NOISE = 1
    FRAMES = 2
    PENALTY = 3
    AUGMENT = 4
    MISMATCH = 5
    TIMES = 6


def example_keys(key: jax.Array, step: jax.Array, index_B: jax.Array, purpose: int) -> jax.Array:
    """One key an example: the number of devices and the place in the batch do not matter."""
    key = jax.random.fold_in(jax.random.fold_in(key, step), purpose)
    return jax.vmap(lambda index: jax.random.fold_in(key, index))(index_B)


def to_unit(video_BTHWC: jax.Array) -> jax.Array:
    """uint8 0..255 to float32 -1..1."""
    return video_BTHWC.astype(jnp.float32) / 127.5 - 1.0


def pick_frames(batch: Batch, key: jax.Array, step: jax.Array, frames: int) -> Batch:
    """The batch with ``frames`` of its frames, in order: at even hops for half of the examples."""
    T = batch["video"].shape[1]
    if frames >= T:
        return batch

    def one(key: jax.Array) -> jax.Array:
        how, scatter, offset = jax.random.split(key, 3)
        uneven = jnp.sort(jax.random.permutation(scatter, T)[:frames])
        hop = T // frames
        even = hop * jnp.arange(frames) + jax.random.randint(offset, (), 0, T - hop * (frames - 1))
        return jnp.where(jax.random.bernoulli(how), even, uneven)

    index_Bt = jax.vmap(one)(example_keys(key, step, batch["index"], Purpose.TIMES))

    def take(array: jax.Array) -> jax.Array:
        return jax.vmap(lambda rows, index: rows[index])(array, index_Bt)

    return {**batch, **{k: take(batch[k]) for k in ("video", "times", "boxes", "visible")}}


def sample_tasks(keys_B: jax.Array, frames: int, tasks: TaskConfig) -> jax.Array:
    """Known frames (B,T) in {0,1}, drawn by the shares of ``tasks``."""
    t = jnp.arange(frames)
    nothing, first = jnp.zeros(frames), (t == 0).astype(jnp.float32)
    ends = ((t == 0) | (t == frames - 1)).astype(jnp.float32)
    fourth = jnp.maximum((t % 4 == 0).astype(jnp.float32), ends)
    shares = jnp.array(
        [tasks.nothing, tasks.first, tasks.ends / 2, tasks.ends / 2, tasks.scattered]
    )

    def one(key: jax.Array) -> jax.Array:
        pick, scatter = jax.random.split(key)
        scattered = jax.random.bernoulli(scatter, 0.25, (frames,)).astype(jnp.float32)
        choices = jnp.stack([nothing, first, ends, fourth, scattered])
        return choices[jax.random.categorical(pick, jnp.log(shares + 1e-9))]

    return jax.vmap(one)(keys_B)


def mismatched(keys_B: jax.Array, batch: Batch) -> Batch:
    """The same batch with every actor's kind or colour replaced by another one."""
    counts = jnp.array([len(script.KINDS), len(script.COLORS)])

    def one(key: jax.Array, attributes_N3: jax.Array) -> jax.Array:
        which, how_far = jax.random.split(key)
        column = jax.random.randint(which, (), 0, 2)
        offset = jax.random.randint(how_far, (), 1, counts[column])
        changed_N = (attributes_N3[:, column] - 1 + offset) % counts[column] + 1
        changed_N = jnp.where(attributes_N3[:, column] > 0, changed_N, 0)
        return attributes_N3.at[:, column].set(changed_N)

    return {**batch, "attributes": jax.vmap(one)(keys_B, batch["attributes"])}


@dataclasses.dataclass(frozen=True)
class Game:
    """What a step closes over: networks, optimizers, weights; ``steps``: the run's length."""

    generator: Any
    critics: Any
    tx: optax.GradientTransformation
    critic_tx: optax.GradientTransformation
    loss: LossConfig
    tasks: TaskConfig
    steps: int
    critic_frames: int


def make_gan_step(
    game: Game, *, adversarial: bool = True, reduce: Reduce = lambda tree: tree
) -> Step:
    """A pure ``step(state, batch, key) -> (state, metrics)``.

    Of each clip ``loss.frames`` frames are drawn at random times, so that a step sees more clips
    for its cost and the generator learns any spacing. Without ``adversarial`` only the
    reconstruction trains the generator (the warm-up, on ``loss.warmup_frames`` frames) and the
    critics rest.
    ``reduce`` averages a tree over devices: identity under jit, pmean under pmap.
    """
    loss = game.loss
    frames = loss.frames if adversarial else loss.warmup_frames

    def step(state: GanState, batch: Batch, key: jax.Array) -> tuple[GanState, Metrics]:
        batch = pick_frames(batch, key, state.step, frames)
        draw = _draw(game, batch, key, state.step)
        real = to_unit(batch["video"])
        mask = draw["known"][:, :, None, None, None] * jnp.ones_like(real[..., :1])
        fake, pull = jax.vjp(
            lambda p: game.generator.apply({"params": p}, draw["noise"], real, mask, batch),
            state.params,
        )
        metrics: Metrics = {}
        if adversarial:
            views = (draw["view"](real), draw["view"](fake))
            objective = functools.partial(_critic_objective, game, views=views, draw=draw)
            grads, metrics = jax.grad(objective, has_aux=True)(state.critic_params)
            grads = reduce(grads)
            updates, critic_opt_state = game.critic_tx.update(
                grads, state.critic_opt_state, state.critic_params
            )
            critic_params = optax.apply_updates(state.critic_params, updates)
            state = state.replace(critic_params=critic_params, critic_opt_state=critic_opt_state)
            metrics["d_gradient"] = optax.tree.norm(grads)
        objective = functools.partial(
            _generator_objective, game, state=state, real=real, draw=draw, adversarial=adversarial
        )
        pixel_grad, g_metrics = jax.grad(objective, has_aux=True)(fake)
        grads = reduce(pull(pixel_grad)[0])
        updates, opt_state = game.tx.update(grads, state.opt_state, state.params)
        params = optax.apply_updates(state.params, updates)
        metrics = {**reduce({**metrics, **g_metrics}), "g_gradient": optax.tree.norm(grads)}
        ema = ema_update(state.ema, params, decay=loss.ema, step=state.step)
        state = state.replace(step=state.step + 1, params=params, opt_state=opt_state, ema=ema)
        return state, metrics

    return step


def _critic_objective(
    game: Game, params: Params, *, views: tuple[jax.Array, jax.Array], draw: dict[str, Any]
) -> tuple[jax.Array, Metrics]:
    """Loss and metrics of the critics on paired clips, real and generated; step 3 of the module."""
    loss, (x, y), batch = game.loss, views, draw["batch"]

    def judge(video: jax.Array) -> jax.Array:
        return game.critics.apply({"params": params}, video, draw["picked"], batch)

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
    weight = loss.penalty_weight * (x[0].size / 4 + game.critic_frames * x[0, 0].size)
    if loss.penalty == "finite":
        terms["r1"] = weight * finite(real, logits[2], epsilon=loss.penalty_epsilon)
        terms["r2"] = weight * finite(fake, logits[3], epsilon=loss.penalty_epsilon)
    elif loss.penalty == "exact":
        terms["r1"], terms["r2"] = weight * exact(judge, x), weight * exact(judge, y)
    if loss.mismatch:
        scripted_B = batch["visible"].max(axis=(1, 2))
        wrong_B = critic_loss("relativistic", real, logits[-1])
        terms["mismatch"] = loss.mismatch * scripted_B * wrong_B
    metrics = {f"d_{name}": term.mean() for name, term in terms.items()}
    metrics["gap"] = (real - fake).mean()
    metrics["sign_accuracy"] = (real > fake).astype(jnp.float32).mean()
    return _total(terms), metrics


def _generator_objective(
    game: Game,
    y: jax.Array,
    *,
    state: GanState,
    real: jax.Array,
    draw: dict[str, Any],
    adversarial: bool,
) -> tuple[jax.Array, Metrics]:
    """The generator's loss as a function of its clip y; step 4 of the module."""
    loss, batch = game.loss, draw["batch"]
    falling = 0.5 + 0.5 * jnp.cos(jnp.pi * jnp.minimum(state.step / game.steps, 1.0))
    spread = loss.reconstruction - loss.reconstruction_final
    weight = loss.reconstruction_final + spread * falling
    terms = {"reconstruction": weight * charbonnier(y, real)}
    if adversarial:
        views = [draw["view"](real), draw["view"](y)]
        logits = _judge_all(game, state.critic_params, views, draw["picked"], [batch, batch])
        terms["generator"] = loss.generator * generator_loss(loss.adversarial, *logits)
    if loss.transport:
        free_B = (1.0 - draw["known"].max(1)) * (1.0 - batch["visible"].max((1, 2)))
        terms["transport"] = loss.transport * free_B * transport(y, draw["noise"])
    metrics = {f"g_{name}": term.mean() for name, term in terms.items()}
    metrics["mse"] = ((y - real) ** 2).mean() / 4.0  # of pixels in 0..1
    return _total(terms), metrics


def _total(terms: dict[str, jax.Array]) -> jax.Array:
    return jnp.sum(jnp.stack([term.mean() for term in terms.values()]))


def _draw(game: Game, batch: Batch, key: jax.Array, step: jax.Array) -> dict[str, Any]:
    """All random choices of a step, and the conditions that go with them."""
    shape = batch["video"].shape[1:]

    def keys(purpose: Purpose) -> jax.Array:
        return example_keys(key, step, batch["index"], purpose)

    def view(video: jax.Array) -> jax.Array:
        if not game.loss.augment:
            return video
        # A scripted clip stays as it is: its boxes would no longer fit.
        scripted = batch["visible"].max(axis=(1, 2))[:, None, None, None, None] > 0
        moved = augment(keys(Purpose.AUGMENT), video, strength=game.loss.augment)
        return jnp.where(scripted, video, moved)

    def pick(key: jax.Array) -> jax.Array:
        return jnp.sort(jax.random.permutation(key, shape[0])[: game.critic_frames])

    return {
        "batch": batch,
        "view": view,
        "known": sample_tasks(keys(Purpose.TASK), shape[0], game.tasks),
        "noise": jax.vmap(lambda k: jax.random.normal(k, shape))(keys(Purpose.NOISE)),
        "picked": jax.vmap(pick)(keys(Purpose.FRAMES)),
        "penalty_keys": keys(Purpose.PENALTY),
        "wrong": mismatched(keys(Purpose.MISMATCH), batch),
    }


def _judge_all(
    game: Game,
    params: Params,
    videos: list[jax.Array],
    picked: jax.Array,
    conditions: list[Batch],
) -> list[jax.Array]:
    """Logits of several clips an example in one call: XLA compiles one critic, not five."""
    n, (B, *_) = len(videos), videos[0].shape
    names = ("times", "text", "boxes", "visible", "attributes", "background")

    def join(arrays: list[jax.Array]) -> jax.Array:
        # Example-major, so that a batch sharded over devices stays where it is.
        return jnp.stack(arrays, axis=1).reshape(B * n, *arrays[0].shape[1:])

    joined = {name: join([c[name] for c in conditions]) for name in names}
    logits = game.critics.apply({"params": params}, join(videos), join([picked] * n), joined)
    return list(logits.reshape(B, n, -1).swapaxes(0, 1))
