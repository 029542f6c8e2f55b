"""Losses on sequences of script tokens, under the grammar.

The grammar forbids most tokens at most positions. Training renormalises over what is allowed, as
sampling does, so that the network need not learn what the automaton knows, and a probability means
the same in both.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from jaxvid import grammar


def allowed(tokens_BS: Int[Array, "B S"]) -> Bool[Array, "B S V"]:
    """Which tokens the grammar allows at each position, given those before it."""
    table = grammar.tables()
    next_state, may = jnp.asarray(table.next_state), jnp.asarray(table.allowed)

    def advance(state_B: jax.Array, token_B: jax.Array) -> tuple[jax.Array, jax.Array]:
        return next_state[state_B, token_B].astype(jnp.int32), state_B

    start_B = jnp.full(tokens_BS.shape[0], grammar.START, jnp.int32)
    _, states_SB = jax.lax.scan(advance, start_B, tokens_BS.T)
    return may[states_SB.T]


def log_probs(
    logits_BSV: Float[Array, "B S V"],
    tokens_BS: Int[Array, "B S"],
    *,
    temperature: float = 1.0,
) -> Float[Array, "B S"]:
    """log p of each token under the grammar, float32; 0 where only one token is allowed (padding).

    log p(t) = z_t / temperature - log sum_{v allowed} exp(z_v / temperature): what
    ``models.planner.sample`` draws from. A forbidden token has about -1e30.
    """
    z_BSV = _masked(logits_BSV, tokens_BS) / temperature
    picked_BS1 = jnp.take_along_axis(z_BSV, tokens_BS[..., None], axis=-1)
    return picked_BS1[..., 0] - jax.nn.logsumexp(z_BSV, axis=-1)


def _masked(logits_BSV: jax.Array, tokens_BS: jax.Array) -> jax.Array:
    return jnp.where(allowed(tokens_BS), logits_BSV.astype(jnp.float32), -1e30)


def accuracy(logits_BSV: Float[Array, "B S V"], tokens_BS: Int[Array, "B S"]) -> Float[Array, " B"]:
    """Share of the tokens that a prompt can state which are the likeliest allowed, float32 (B,).

    What a prompt leaves unsaid is a guess, so the best that can be reached is below 1.
    """
    counts_BS = ~jnp.asarray(grammar.FREE) & (tokens_BS != grammar.PAD)
    right_BS = counts_BS & (_masked(logits_BSV, tokens_BS).argmax(-1) == tokens_BS)
    return right_BS.sum(-1) / jnp.maximum(counts_BS.sum(-1), 1).astype(jnp.float32)


def cross_entropy(
    logits_BSV: Float[Array, "B S V"],
    tokens_BS: Int[Array, "B S"],
    *,
    free_weight: float = 1.0,
) -> Float[Array, " B"]:
    """Mean over a sequence's tokens of -log p under the grammar, float32 (B,).

    -sum_s w_s log p(t_s | t_<s) / sum_s w_s over the tokens that are not padding. ``free_weight``
    is the w of the slots that a prompt leaves open (``grammar.FREE``), whose entropy no training
    can remove; it is 1 elsewhere.
    """
    w_S = jnp.where(jnp.asarray(grammar.FREE), free_weight, 1.0)
    w_BS = jnp.where(tokens_BS != grammar.PAD, w_S, 0.0)
    total_B = -(w_BS * log_probs(logits_BSV, tokens_BS)).sum(-1)
    return total_B / jnp.maximum(w_BS.sum(-1), 1e-6)
