"""The sampler: one pass of the generator, and what is known decides the task."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from jaxvid.steps.gan import lower, to_unit
from jaxvid.steps.tasks import Purpose, draw_latent, draw_motion, example_keys, without
from jaxvid.typing import Batch, Params

Sampler = Callable[[Params, Batch, jax.Array], jax.Array]


def make_sampler(
    generator: Any, policy: Any = None, *, dtype: str = "float32", guided: bool = False
) -> Sampler:
    """A pure ``sample(params, batch, key) -> video (B,T,H,W,3)`` in -1..1.

    ``batch["video"]`` gives the shape and, where ``batch["mask"]`` (B,T,H,W,1) is 1, the known
    pixels, which come back unchanged; without a mask nothing is known. Noise, latent and motion are
    drawn from ``key`` and ``batch["index"]``; a ``policy``, whose parameters stand in the
    generator's tree under that name, says the mean and spread of the motion.

    ``guided``: two passes, with the conditions and without them, and
    y = y₀ + guidance (y₁ - y₀) with ``batch["guidance"]`` (B,): 1 follows the conditions as
    trained, more exaggerates them (Ho and Salimans, 2022, eq. 6, on pixels instead of scores).
    """

    def sample(params: Params, batch: Batch, key: jax.Array) -> jax.Array:
        known = to_unit(batch["video"])
        mask = batch.get("mask", jnp.zeros_like(known[..., :1]))
        zero = jnp.int32(0)
        keys_B = example_keys(key, zero, batch["index"], Purpose.NOISE)
        noise = jax.vmap(lambda k: jax.random.normal(k, known.shape[1:]))(keys_B)
        z_BZ, _ = draw_latent(key, zero, batch["index"], size=generator.config.latent)
        config, T = generator.config, known.shape[1]
        m_BTM = draw_motion(key, zero, batch["index"], frames=T, size=config.motion)
        if policy is not None:
            mean, log_std = policy.apply({"params": params["policy"]}, batch, known, mask)
            spread = jnp.exp(log_std[..., : config.motion]) * m_BTM
            acted = mean.at[..., : config.motion].add(spread)
            known_BT1 = mask.min((2, 3, 4))[..., None]  # such a frame has no action
            m_BTM = jnp.where(
                known_BT1 > 0, jnp.zeros_like(acted).at[..., : config.motion].set(m_BTM), acted
            )
        weights = lower(params, dtype)

        def play(batch: Batch) -> jax.Array:
            return generator.apply({"params": weights}, noise, known, mask, batch, z_BZ, m_BTM)

        video = play(batch)
        if not guided:
            return video
        all_B = jnp.ones(len(known), bool)
        free = play(without(batch, text=all_B, script=all_B, label=all_B))
        strength = batch["guidance"][:, None, None, None, None]
        return jnp.where(mask > 0, known, free + strength * (video - free))

    return sample


def to_bytes(video_BTHWC: jax.Array) -> jax.Array:
    """-1..1 to uint8 0..255, rounded and clipped: the inverse of ``to_unit`` for bytes."""
    return jnp.clip(jnp.round((video_BTHWC + 1.0) * 127.5), 0, 255).astype(jnp.uint8)
