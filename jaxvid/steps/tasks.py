"""What a step draws by chance, each from the example's own address: the frames that are looked at,
the task (what is known of the clip), the conditions that are left out, the wrong scripts.
"""

from enum import IntEnum

import jax
import jax.numpy as jnp

from jaxvid import script
from jaxvid.config import TaskConfig
from jaxvid.typing import Batch


class Purpose(IntEnum):
    """What a random number is for: the second part of its address."""

    TASK = 0
    NOISE = 1
    FRAMES = 2
    PENALTY = 3
    AUGMENT = 4
    MISMATCH = 5
    TIMES = 6
    LATENT = 7
    DROP = 8
    MOTION = 9
    ACTION = 10


def example_keys(key: jax.Array, step: jax.Array, index_B: jax.Array, purpose: int) -> jax.Array:
    """One key an example: the number of devices and the place in the batch do not matter."""
    key = jax.random.fold_in(jax.random.fold_in(key, step), purpose)
    return jax.vmap(lambda index: jax.random.fold_in(key, index))(index_B)


def draw_latent(
    key: jax.Array, step: jax.Array, index_B: jax.Array, *, size: int
) -> tuple[jax.Array, jax.Array]:
    """z ~ N(0, I) (B,size), and a uniform number an example (B,), from the examples' addresses."""
    keys_B = example_keys(key, step, index_B, Purpose.LATENT)
    z_BZ = jax.vmap(lambda k: jax.random.normal(jax.random.fold_in(k, 0), (size,)))(keys_B)
    return z_BZ, jax.vmap(lambda k: jax.random.uniform(jax.random.fold_in(k, 1)))(keys_B)


def draw_motion(
    key: jax.Array, step: jax.Array, index_B: jax.Array, *, frames: int, size: int
) -> jax.Array:
    """m ~ N(0, I) (B,frames,size), from the examples' addresses."""
    keys_B = example_keys(key, step, index_B, Purpose.MOTION)
    return jax.vmap(lambda k: jax.random.normal(k, (frames, size)))(keys_B)


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
    return take_frames(batch, index_Bt)


def take_frames(batch: Batch, index_Bt: jax.Array) -> Batch:
    """The batch with the frames (B,t) of everything that has frames."""

    def take(array: jax.Array) -> jax.Array:
        return jax.vmap(lambda rows, index: rows[index])(array, index_Bt)

    return {**batch, **{k: take(batch[k]) for k in ("video", "times", "boxes", "visible")}}


def sample_tasks(keys_B: jax.Array, shape: tuple[int, int, int], tasks: TaskConfig) -> jax.Array:
    """Known pixels (B,T,H,W,1) in {0,1} of clips of ``shape`` (T,H,W), by the shares of ``tasks``.

    Half of the in-betweening knows both ends only, the rest every fourth or every second frame.
    """
    T, H, W = shape
    t = jnp.arange(T)
    ends = (t == 0) | (t == T - 1)
    shares = [tasks.nothing, tasks.first, tasks.start]
    shares += [tasks.ends / 2, tasks.ends / 4, tasks.ends / 4, tasks.scattered, tasks.region]
    logits = jnp.log(jnp.array(shares) + 1e-9)

    def one(key: jax.Array) -> jax.Array:
        pick, scatter, length, box = jax.random.split(key, 4)
        start = t < jax.random.randint(length, (), 1, max(T, 2))
        scattered = jax.random.bernoulli(scatter, 0.25, (T,))
        frames = [t < 0, t == 0, start, ends, ends | (t % 4 == 0), ends | (t % 2 == 0), scattered]
        whole = [jnp.broadcast_to(f[:, None, None], shape) for f in frames]
        masks = jnp.stack([*whole, jnp.broadcast_to(~_box(box, H, W), shape)])
        return masks[jax.random.categorical(pick, logits)][..., None].astype(jnp.float32)

    return jax.vmap(one)(keys_B)


def _box(key: jax.Array, H: int, W: int) -> jax.Array:
    """A box (H,W) of a quarter to three quarters of the frame's sides, anywhere."""
    size, place = jax.random.split(key)
    sides = jax.random.uniform(size, (2,), minval=0.25, maxval=0.75)
    y0, x0 = jax.random.uniform(place, (2,)) * (1 - sides)
    y_H1, x_W = ((jnp.arange(H) + 0.5) / H)[:, None], (jnp.arange(W) + 0.5) / W
    return (y_H1 > y0) & (y_H1 < y0 + sides[0]) & (x_W > x0) & (x_W < x0 + sides[1])


def drop_conditions(keys_B: jax.Array, batch: Batch, tasks: TaskConfig) -> Batch:
    """The batch with text, script or class of some examples left out (all zero)."""
    chances = jnp.array([tasks.drop_text, tasks.drop_script, tasks.drop_class])
    kept_B3 = jax.vmap(lambda k: jax.random.uniform(k, (3,)) >= chances)(keys_B)
    return without(batch, text=~kept_B3[:, 0], script=~kept_B3[:, 1], label=~kept_B3[:, 2])


def without(batch: Batch, *, text: jax.Array, script: jax.Array, label: jax.Array) -> Batch:
    """The batch with these conditions left out where the (B,) booleans are True."""
    groups = {"text": text, "label": label}
    groups |= dict.fromkeys(("boxes", "visible", "attributes", "background"), script)
    changed = {}
    for name, out_B in groups.items():
        array = batch[name]
        changed[name] = jnp.where(out_B.reshape(-1, *[1] * (array.ndim - 1)), 0, array)
    return {**batch, **changed}


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
