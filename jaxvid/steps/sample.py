"""The sampler: one pass of the generator, and what is known decides the task."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from jaxvid.steps.gan import Purpose, example_keys, to_unit
from jaxvid.typing import Batch, Params

Sampler = Callable[[Params, Batch, jax.Array], jax.Array]


def make_sampler(generator: Any) -> Sampler:
    """A pure ``sample(params, batch, key) -> video (B,T,H,W,3)`` in -1..1.

    ``batch["video"]`` gives the shape and, where ``batch["mask"]`` (B,T,H,W,1) is 1, the known
    pixels, which come back unchanged; without a mask nothing is known.
    """

    def sample(params: Params, batch: Batch, key: jax.Array) -> jax.Array:
        known = to_unit(batch["video"])
        mask = batch.get("mask", jnp.zeros_like(known[..., :1]))
        keys_B = example_keys(key, jnp.int32(0), batch["index"], Purpose.NOISE)
        noise = jax.vmap(lambda k: jax.random.normal(k, known.shape[1:]))(keys_B)
        return generator.apply({"params": params}, noise, known, mask, batch)

    return sample


def to_bytes(video_BTHWC: jax.Array) -> jax.Array:
    """-1..1 to uint8 0..255, rounded and clipped: the inverse of ``to_unit`` for bytes."""
    return jnp.clip(jnp.round((video_BTHWC + 1.0) * 127.5), 0, 255).astype(jnp.uint8)
