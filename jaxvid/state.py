"""What a training carries from step to step: arrays and nothing else.

Modules and optimizers are closed over by the step, so a state is a checkpoint, printable and
shardable by ``jax.tree.map``. Every leaf is a typed array: a Python number would be weakly typed
and cost a second compilation.
"""

from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import struct

from jaxvid.typing import Params

Leaf = Any  # an array; its description while JAX traces or lowers, or Orbax restores


class PlannerState(struct.PyTreeNode):
    """Planner training: ``ema`` is the moving average of ``params`` that is used and exported."""

    step: Leaf
    params: Params
    ema: Params
    opt_state: Any


class GanState(struct.PyTreeNode):
    """Adversarial training. ``critic_params`` holds the frame and the clip critic side by side."""

    step: Leaf
    params: Params
    ema: Params
    opt_state: Any
    critic_params: Params
    critic_opt_state: Any


class PlannerRlState(struct.PyTreeNode):
    """Reinforcement learning of a planner: ``params`` learn, ``reference`` is frozen."""

    step: Leaf
    params: Params
    ema: Params
    opt_state: Any
    reference: Params


class RlState(struct.PyTreeNode):
    """Reinforcement learning: ``params`` of the policy; the generator ``reference`` is frozen.

    ``scales`` (R,2): where each reward begins, and its unit (``rl.rewards.measure_scale``).
    """

    step: Leaf
    params: Params
    ema: Params
    opt_state: Any
    reference: Params
    critic_params: Params
    critic_opt_state: Any
    scales: Leaf


def init_planner(params: Params, tx: optax.GradientTransformation) -> PlannerState:
    """The state before the first step."""
    return PlannerState(jnp.int32(0), params, copy(params), tx.init(params))


def init_gan(
    params: Params,
    critic_params: Params,
    tx: optax.GradientTransformation,
    critic_tx: optax.GradientTransformation,
) -> GanState:
    """The state before the first step."""
    return GanState(
        jnp.int32(0),
        params,
        copy(params),
        tx.init(params),
        critic_params,
        critic_tx.init(critic_params),
    )


def init_planner_rl(params: Params, tx: optax.GradientTransformation) -> PlannerRlState:
    """The state before the first step: the trained ``params`` are the reference as well."""
    opt_state = tx.init(params)
    return PlannerRlState(jnp.int32(0), params, copy(params), opt_state, copy(params))


def init_rl(
    params: Params,
    reference: Params,
    critic_params: Params,
    scales: Leaf,
    tx: optax.GradientTransformation,
    critic_tx: optax.GradientTransformation,
) -> RlState:
    """The state before the first step."""
    return RlState(
        jnp.int32(0),
        params,
        copy(params),
        tx.init(params),
        reference,
        critic_params,
        critic_tx.init(critic_params),
        scales,
    )


def copy(tree: Params) -> Params:
    """New buffers with the same values, so that a donated state never holds one buffer twice."""
    return jax.tree.map(jnp.array, tree)


def ema_update(ema: Params, params: Params, *, decay: float, step: jax.Array) -> Params:
    """Exponential moving average whose decay grows as (1 + step) / (10 + step) up to ``decay``.

    The ramp keeps the first average from being the random initialisation (as in TensorFlow's
    ``ExponentialMovingAverage`` with ``num_updates``).
    """
    step = step.astype(jnp.float32)
    rate = 1.0 - jnp.minimum(decay, (1.0 + step) / (10.0 + step))
    return jax.tree.map(lambda e, p: (e + rate * (p - e)).astype(e.dtype), ema, params)
