"""The discriminator's confusion matrix: real or generated, against judged real or generated."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float


class Confusion(NamedTuple):
    """Counts, rows: is real, is generated; columns: judged real, judged generated.

    A clip is judged real where its score is over ``threshold``. 0 is the boundary of a classifier
    of real against generated; critics whose scores only compare (relativistic) have none of their
    own, and want one that was set on other clips than those counted here.
    """

    counts_22: jax.Array
    threshold: jax.Array


def init(threshold: float = 0.0) -> Confusion:
    """Nothing judged yet."""
    return Confusion(jnp.zeros((2, 2), jnp.int32), jnp.asarray(threshold, jnp.float32))


def update(
    state: Confusion,
    score_B: Float[Array, "B"],
    real_B: Bool[Array, "B"],
    *,
    valid_B: Bool[Array, "B"] | None = None,
) -> Confusion:
    """Adds a batch. ``valid_B`` is False for clips that only pad it. A score of NaN: generated."""
    valid_B = jnp.ones_like(real_B) if valid_B is None else valid_B
    judged_B = score_B > state.threshold
    rows = jnp.stack([real_B, ~real_B]) & valid_B
    columns = jnp.stack([judged_B, ~judged_B])
    counts = (rows[:, None] & columns[None]).sum(-1, dtype=jnp.int32)
    return state._replace(counts_22=state.counts_22 + counts)


def merge(a: Confusion, b: Confusion) -> Confusion:
    """The state of both together; their thresholds must be the same."""
    return a._replace(counts_22=a.counts_22 + b.counts_22)


def compute(state: Confusion) -> dict[str, jax.Array]:
    """The four counts, and rates: ``real_recall`` (real clips judged real), ``generated_recall``
    (generated ones found out) and their mean ``accuracy``, which does not depend on how many of
    each were shown: 0.5 is a discriminator that cannot tell. NaN where a row is empty.
    """
    counts = state.counts_22.astype(jnp.float32)
    recall_2 = jnp.diag(counts) / counts.sum(1)
    return {
        "real_judged_real": state.counts_22[0, 0],
        "real_judged_generated": state.counts_22[0, 1],
        "generated_judged_real": state.counts_22[1, 0],
        "generated_judged_generated": state.counts_22[1, 1],
        "real_recall": recall_2[0],
        "generated_recall": recall_2[1],
        "accuracy": recall_2.mean(),
        "threshold": state.threshold,
    }
