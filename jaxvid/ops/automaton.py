"""The grammar's automaton inside a compiled program: states, masks, truncated distributions."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from jaxvid import grammar

FORBIDDEN = -1e30  # a logit that no sum of exponentials notices


def states(tokens_BS: Int[Array, "B S"]) -> Int[Array, "B S"]:
    """The state of the automaton before each token, given those before it."""
    next_state = jnp.asarray(grammar.tables().next_state)

    def advance(state_B: jax.Array, token_B: jax.Array) -> tuple[jax.Array, jax.Array]:
        return next_state[state_B, token_B].astype(jnp.int32), state_B

    start_B = jnp.full(tokens_BS.shape[0], grammar.START, jnp.int32)
    return jax.lax.scan(advance, start_B, tokens_BS.T)[1].T


def allowed(states_BS: Int[Array, "*B"]) -> Bool[Array, "*B V"]:
    """Which tokens may follow in each state."""
    return jnp.asarray(grammar.tables().allowed)[states_BS]


def restrict(
    logits_BSV: Float[Array, "*B V"],
    may_BSV: Bool[Array, "*B V"],
    *,
    temperature: float = 1.0,
    top_p: float = 1.0,
) -> Float[Array, "*B V"]:
    """log p of what is drawn from, float32: softmax(logits / temperature) over the allowed tokens.

    ``top_p`` < 1 keeps the fewest likeliest tokens whose probabilities reach it together (nucleus:
    Holtzman et al., 2020) and renormalises. What is left out has about -1e30.
    """
    z = jnp.where(may_BSV, logits_BSV.astype(jnp.float32) / temperature, FORBIDDEN)
    logp = jax.nn.log_softmax(z, axis=-1)
    if top_p >= 1.0:
        return logp
    order = jnp.argsort(-logp, axis=-1)
    p = jnp.take_along_axis(jnp.exp(logp), order, axis=-1)
    before = jnp.cumsum(p, axis=-1) - p  # of the likelier tokens, 0 for the likeliest
    within = before < max(top_p, 1e-9)  # the likeliest stays, also where top_p is 0
    kept = jnp.take_along_axis(within, jnp.argsort(order, axis=-1), axis=-1)
    return jax.nn.log_softmax(jnp.where(kept, logp, FORBIDDEN), axis=-1)
