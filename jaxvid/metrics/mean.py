"""Means over a split: a state to update a batch at a time, and to merge over batches and hosts."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float


class Means(NamedTuple):
    """Sums of named per-clip values, and of the clips' weights. A pytree of scalars."""

    totals: dict[str, jax.Array]
    weight: jax.Array


def init(names: Sequence[str]) -> Means:
    """Nothing seen yet."""
    return Means({name: jnp.zeros(()) for name in names}, jnp.zeros(()))


def update(
    state: Means,
    values: Mapping[str, Float[Array, "B"]],
    *,
    weight_B: Float[Array, "B"] | None = None,
) -> Means:
    """Adds a batch. ``weight_B`` is 0 for clips that only pad it; their values may be NaN."""
    first = next(iter(values.values()))
    weight_B = jnp.ones_like(first) if weight_B is None else weight_B
    totals = {
        name: total + jnp.sum(jnp.where(weight_B > 0, values[name] * weight_B, 0))
        for name, total in state.totals.items()
    }
    return Means(totals, state.weight + weight_B.sum())


def merge(a: Means, b: Means) -> Means:
    """The state of both together; order does not matter."""
    return jax.tree.map(jnp.add, a, b)


def compute(state: Means) -> dict[str, jax.Array]:
    """The means; NaN where nothing was seen."""
    return {name: total / state.weight for name, total in state.totals.items()}
