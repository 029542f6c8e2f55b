"""One adversarial step, written once for a batch.

    1. Draw each example's task (which frames are known) and noise from its own address.
    2. y = G(noise, known, conditions), kept with its pull-back.
    3. Critics: relativistic pairs of x and y, zero-centred penalties on both, real clips under a
       wrong script as further negatives, logits centred. Update.
    4. Generator: the updated critics' gradient at the same y, plus the distance to x. Update, EMA.

Since y is generated before the critics move and G moves after them, this is the alternating game
with shared samples: the same gradients as two passes with one noise, for one forward pass less.
"""

from collections.abc import Callable
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
    shares = jnp.array([tasks.nothing, tasks.first, tasks.ends / 2, tasks.ends / 2, tasks.scattered])

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


def make_gan_step(
    generator: Any,
    critics: Any,
    tx: optax.GradientTransformation,
    critic_tx: optax.GradientTransformation,
    *,
    loss: LossConfig,
    tasks: TaskConfig,
    steps: int,
    critic_frames: int,
    adversarial: bool = True,
    reduce: Reduce = lambda tree: tree,
) -> Step:
    """A pure ``step(state, batch, key) -> (state, metrics)``; ``steps`` is the length of the run.

    Of each clip ``loss.frames`` frames are drawn at random times, so that a step sees more clips for its
    cost and the generator learns any spacing. Without ``adversarial`` only the reconstruction trains the generator (the warm-up) and the
    critics rest. ``reduce`` averages a tree over devices: identity under jit, pmean under pmap.
    """

    def critic_objective(params: Params, views: dict[str, jax.Array], draw: dict[str, Any]) -> Any:
        """Loss and metrics of the critics on paired clips; see step 3 of the module."""
        x, y, batch, picked = views["real"], views["fake"], draw["batch"], draw["picked"]

        def judge(video: jax.Array, conditions: Batch = batch) -> jax.Array:
            return critics.apply({"params": params}, video, picked, conditions)

        def noisy(purpose: int, video: jax.Array) -> jax.Array:
            keys_B = jax.vmap(lambda k: jax.random.fold_in(k, purpose))(draw["penalty_keys"])
            noise = jax.vmap(lambda k: jax.random.normal(k, video.shape[1:]))(keys_B)
            return video + loss.penalty_epsilon * noise

        groups, conditions = [x, y], [batch, batch]
        if loss.penalty == "finite":
            groups, conditions = [*groups, noisy(0, x), noisy(1, y)], [*conditions, batch, batch]
        if loss.mismatch:
            groups, conditions = [*groups, x], [*conditions, draw["wrong"]]
        logits = _judge_all(critics, params, groups, picked, conditions)
        real, fake = logits[0], logits[1]
        terms = {
            "critic": critic_loss(loss.adversarial, real, fake),
            "centring": loss.centring * centring(real, fake),
        }
        weight = loss.penalty_weight * (x[0].size / 4 + critic_frames * x[0, 0].size)
        if loss.penalty == "finite":
            terms["r1"] = weight * finite(real, logits[2], epsilon=loss.penalty_epsilon)
            terms["r2"] = weight * finite(fake, logits[3], epsilon=loss.penalty_epsilon)
        elif loss.penalty == "exact":
            terms["r1"], terms["r2"] = weight * exact(judge, x), weight * exact(judge, y)
        if loss.mismatch:
            scripted_B = batch["visible"].max(axis=(1, 2))
            wrong = critic_loss("relativistic", real, logits[-1])
            terms["mismatch"] = loss.mismatch * scripted_B * wrong
        metrics = {f"d_{name}": term.mean() for name, term in terms.items()}
        metrics["gap"] = (real - fake).mean()
        metrics["sign_accuracy"] = (real > fake).astype(jnp.float32).mean()
        return sum(term.mean() for term in terms.values()), metrics

    def train_critics(
        state: GanState, views: dict[str, jax.Array], draw: dict[str, Any]
    ) -> tuple[GanState, Metrics]:
        grads, metrics = jax.grad(critic_objective, has_aux=True)(state.critic_params, views, draw)
        grads = reduce(grads)
        updates, opt_state = critic_tx.update(grads, state.critic_opt_state, state.critic_params)
        metrics["d_gradient"] = optax.global_norm(grads)
        params = optax.apply_updates(state.critic_params, updates)
        return state.replace(critic_params=params, critic_opt_state=opt_state), metrics

    def pixel_objective(
        y: jax.Array, state: GanState, real: jax.Array, draw: dict[str, Any]
    ) -> tuple[jax.Array, Metrics]:
        """The generator's loss as a function of its clip y; see step 4 of the module."""
        progress = jnp.minimum(state.step / steps, 1.0)
        falling = 0.5 + 0.5 * jnp.cos(jnp.pi * progress)
        weight = loss.reconstruction_final
        weight = weight + (loss.reconstruction - loss.reconstruction_final) * falling
        terms = {"reconstruction": weight * charbonnier(y, real)}
        if adversarial:
            x_view, y_view = draw["view"](real), draw["view"](y)
            logits = _judge_all(
                critics,
                state.critic_params,
                [x_view, y_view],
                draw["picked"],
                [draw["batch"], draw["batch"]],
            )
            adversary = generator_loss(loss.adversarial, logits[0], logits[1])
            terms["generator"] = loss.generator * adversary
        if loss.transport:
            free_B = (1.0 - draw["known"].max(1)) * (1.0 - draw["batch"]["visible"].max((1, 2)))
            terms["transport"] = loss.transport * free_B * transport(y, draw["noise"])
        metrics = {f"g_{name}": term.mean() for name, term in terms.items()}
        metrics["mse"] = ((y - real) ** 2).mean() / 4.0  # of pixels in 0..1
        return jnp.sum(jnp.stack([term.mean() for term in terms.values()])), metrics

    def step(state: GanState, batch: Batch, key: jax.Array) -> tuple[GanState, Metrics]:
        frames = loss.frames if adversarial else loss.warmup_frames
        batch = pick_frames(batch, key, state.step, frames)
        draw = _draw(batch, key, state.step, tasks=tasks, loss=loss, critic_frames=critic_frames)
        real = to_unit(batch["video"])
        mask = draw["known"][:, :, None, None, None] * jnp.ones_like(real[..., :1])
        fake, pull = jax.vjp(
            lambda params: generator.apply({"params": params}, draw["noise"], real, mask, batch),
            state.params,
        )
        metrics: Metrics = {}
        if adversarial:
            views = {"real": draw["view"](real), "fake": draw["view"](fake)}
            state, metrics = train_critics(state, views, draw)
        pixel_grad, g_metrics = jax.grad(pixel_objective, has_aux=True)(fake, state, real, draw)
        grads = reduce(pull(pixel_grad)[0])
        updates, opt_state = tx.update(grads, state.opt_state, state.params)
        params = optax.apply_updates(state.params, updates)
        metrics = reduce({**metrics, **g_metrics})
        metrics["g_gradient"] = optax.global_norm(grads)
        state = state.replace(
            step=state.step + 1,
            params=params,
            opt_state=opt_state,
            ema=ema_update(state.ema, params, decay=loss.ema, step=state.step),
        )
        return state, metrics

    return step


def _draw(
    batch: Batch,
    key: jax.Array,
    step: jax.Array,
    *,
    tasks: TaskConfig,
    loss: LossConfig,
    critic_frames: int,
) -> dict[str, Any]:
    """All random choices of a step, and the conditions that go with them."""
    shape = batch["video"].shape[1:]

    def keys(purpose: Purpose) -> jax.Array:
        return example_keys(key, step, batch["index"], purpose)

    def view(video: jax.Array) -> jax.Array:
        # A scripted clip stays as it is: its boxes would no longer fit.
        scripted = batch["visible"].max(axis=(1, 2))[:, None, None, None, None] > 0
        moved = augment(keys(Purpose.AUGMENT), video, strength=loss.augment)
        return video if moved is video else jnp.where(scripted, video, moved)

    return {
        "batch": batch,
        "view": view,
        "known": sample_tasks(keys(Purpose.TASK), shape[0], tasks),
        "noise": jax.vmap(lambda k: jax.random.normal(k, shape))(keys(Purpose.NOISE)),
        "picked": jax.vmap(
            lambda k: jnp.sort(jax.random.permutation(k, shape[0])[:critic_frames])
        )(keys(Purpose.FRAMES)),
        "penalty_keys": keys(Purpose.PENALTY),
        "wrong": mismatched(keys(Purpose.MISMATCH), batch),
    }


def _judge_all(
    critics: Any,
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
    logits = critics.apply({"params": params}, join(videos), join([picked] * n), joined)
    return list(logits.reshape(B, n, -1).swapaxes(0, 1))


MakeStep = Callable[..., Step]
