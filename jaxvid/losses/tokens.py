"""Losses on sequences of script tokens, under the grammar.

The grammar forbids most tokens at most positions. Training renormalises over what is allowed, as
sampling does, so that the network need not learn what the automaton knows, and a probability means
the same in both.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from jaxvid import grammar
from jaxvid.ops.automaton import allowed, restrict, states


def log_probs(
    logits_BSV: Float[Array, "B S V"],
    tokens_BS: Int[Array, "B S"],
    *,
    temperature: float = 1.0,
    top_p: float = 1.0,
) -> Float[Array, "B S"]:
    """log p of each token under the grammar, float32; 0 where only one token is allowed (padding).

    log p(t) = z_t / temperature - log sum_{v allowed} exp(z_v / temperature), renormalised over the
    nucleus where ``top_p`` < 1: exactly what ``models.planner.sample`` draws from. A token that
    cannot be drawn has about -1e30.
    """
    may_BSV = allowed(states(tokens_BS))
    logp_BSV = restrict(logits_BSV, may_BSV, temperature=temperature, top_p=top_p)
    return jnp.take_along_axis(logp_BSV, tokens_BS[..., None], axis=-1)[..., 0]


def cross_entropy(
    logits_BSV: Float[Array, "B S V"], tokens_BS: Int[Array, "B S"]
) -> Float[Array, " B"]:
    """Mean over a sequence's tokens of -log p under the grammar, float32 (B,); padding is none."""
    real_BS = tokens_BS != grammar.PAD
    total_B = -jnp.where(real_BS, log_probs(logits_BSV, tokens_BS), 0.0).sum(-1)
    return total_B / jnp.maximum(real_BS.sum(-1), 1)


def exact(logits_BSV: Float[Array, "B S V"], tokens_BS: Int[Array, "B S"]) -> Float[Array, " B"]:
    """1 where every token is the likeliest allowed one, float32 (B,): greedy decoding would be
    right."""
    may_BSV = allowed(states(tokens_BS))
    best_BS = jnp.where(may_BSV, logits_BSV, -jnp.inf).argmax(-1)
    return (best_BS == tokens_BS).all(-1).astype(jnp.float32)


def pointing(
    scores_BSM: Float[Array, "B S M"], spans_BSM: Bool[Array, "B S M"]
) -> Float[Array, " B"]:
    """Mean of -log of the weight that lies inside a token's span, float32 (B,).

    -log sum_{m in span} w_m, w the softmax of the scores over the places, for the tokens that have
    a span (some place of the prompt states them), 0 for a sequence without any.
    """
    has_BS = spans_BSM.any(-1)
    log_BSM = jax.nn.log_softmax(scores_BSM.astype(jnp.float32), axis=-1)
    inside_BSM = jnp.where(spans_BSM, log_BSM, -1e30)
    total_B = -jnp.where(has_BS, jax.nn.logsumexp(inside_BSM, axis=-1), 0.0).sum(-1)
    return total_B / jnp.maximum(has_BS.sum(-1), 1)
