"""Laws of the automaton in the graph: it is the grammar's, and leaves exactly the nucleus."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxvid import grammar
from jaxvid.ops.automaton import allowed, restrict, states


def walks(count: int, seed: int = 0) -> np.ndarray:
    """Sentences of random allowed tokens, int32 (count, LENGTH)."""
    table, rng = grammar.tables(), np.random.default_rng(seed)
    rows = []
    for _ in range(count):
        state, row = grammar.START, []
        for _ in range(grammar.LENGTH):
            row.append(int(rng.choice(np.flatnonzero(table.allowed[state]))))
            state = int(table.next_state[state, row[-1]])
        rows.append(row)
    return np.array(rows, np.int32)


def nucleus(logits_V: np.ndarray, may_V: np.ndarray, temperature: float, top_p: float):
    """p (V,) by the definition, float64, and how far the decision was from going otherwise."""
    z_V = np.where(may_V, logits_V.astype(np.float64) / temperature, -np.inf)
    p_V = np.exp(z_V - z_V.max())
    p_V /= p_V.sum()
    kept, total, margin = np.zeros(len(p_V), bool), 0.0, 1.0
    for v in sorted(np.flatnonzero(may_V), key=lambda v: -p_V[v]):
        if top_p < 1:
            margin = min(margin, abs(total - top_p))
        if total >= top_p:
            break
        kept[v] = True
        total += p_V[v]
    return np.where(kept, p_V, 0) / p_V[kept].sum(), margin


@pytest.fixture(scope="module")
def case() -> tuple[jax.Array, jax.Array]:
    """Logits (N, V) and what is allowed, in all kinds of states."""
    rng = np.random.default_rng(2)
    states_N = rng.permutation(len(grammar.tables().allowed))[:150]
    logits_NV = rng.normal(size=(150, grammar.VOCABULARY)).astype(np.float32) * 2
    return jnp.asarray(logits_NV), allowed(jnp.asarray(states_N))


def test_states_are_those_before_each_token() -> None:
    tokens_BS, table = walks(20), grammar.tables()
    got_BS = np.asarray(states(jnp.asarray(tokens_BS)))
    assert got_BS.dtype == np.int32 and (got_BS[:, 0] == grammar.START).all()
    after = table.next_state[got_BS, tokens_BS]
    np.testing.assert_array_equal(after[:, :-1], got_BS[:, 1:])
    cut_BS = states(jnp.asarray(tokens_BS[:, :7]))  # later tokens change nothing
    np.testing.assert_array_equal(cut_BS, got_BS[:, :7])


def test_allowed_are_the_rows_of_the_table() -> None:
    every = np.arange(len(grammar.tables().allowed))
    np.testing.assert_array_equal(allowed(jnp.asarray(every)), grammar.tables().allowed)
    assert allowed(jnp.zeros((2, 3), jnp.int32)).shape == (2, 3, grammar.VOCABULARY)


@pytest.mark.parametrize("temperature", [1.0, 0.3, 2.0])
@pytest.mark.parametrize("top_p", [1.0, 0.9, 0.5, 0.05])
def test_restrict_keeps_exactly_the_nucleus(case, temperature, top_p) -> None:
    logits_NV, may_NV = case
    logp_NV = restrict(logits_NV, may_NV, temperature=temperature, top_p=top_p)
    assert logp_NV.dtype == jnp.float32
    sure = 0
    for logits_V, may_V, logp_V in zip(*map(np.asarray, (logits_NV, may_NV, logp_NV)), strict=True):
        want_V, margin = nucleus(logits_V, may_V, temperature, top_p)
        if margin > 1e-5:  # else float32 may decide otherwise
            sure += 1
            np.testing.assert_allclose(np.exp(logp_V), want_V, atol=1e-6)
            assert (logp_V[want_V == 0] < -1e29).all()
    assert sure > 140


@pytest.mark.parametrize("top_p", [1e-6, 0.0])
def test_the_smallest_nucleus_is_the_likeliest_token(case, top_p) -> None:
    logits_NV, may_NV = case
    logp_NV = np.asarray(restrict(logits_NV, may_NV, top_p=top_p))
    best_N = np.where(may_NV, logits_NV, -np.inf).argmax(1)
    np.testing.assert_array_equal(logp_NV.argmax(1), best_N)
    np.testing.assert_allclose(logp_NV.max(1), 0, atol=1e-6)
    assert (np.sort(logp_NV, 1)[:, :-1] < -1e29).all()


@pytest.mark.parametrize("top_p", [1.0, 0.7])
def test_a_shift_of_all_logits_changes_nothing(case, top_p) -> None:
    logits_NV, may_NV = case
    forbidden_NV = jnp.where(may_NV, logits_NV, 99.0)  # nor do those of forbidden tokens
    want_NV, got_NV = (
        jnp.exp(restrict(z_NV, may_NV, top_p=top_p)) for z_NV in (logits_NV, forbidden_NV + 5)
    )
    np.testing.assert_allclose(got_NV, want_NV, atol=1e-5)


def test_gradients_are_finite_and_leave_the_forbidden_alone(case) -> None:
    logits_NV, may_NV = case
    best_N = jnp.where(may_NV, logits_NV, -jnp.inf).argmax(1)

    def likelihood(z_NV: jax.Array) -> jax.Array:
        logp_NV = restrict(z_NV, may_NV, temperature=0.5, top_p=0.8)
        return jnp.take_along_axis(logp_NV, best_N[:, None], 1).sum()

    grad_NV = jax.grad(likelihood)(logits_NV)
    assert jnp.isfinite(grad_NV).all() and jnp.abs(grad_NV).max() > 0.1
    assert (jnp.where(may_NV, 0.0, grad_NV) == 0).all()


def test_half_precision_logits_give_float32(case) -> None:
    logits_NV, may_NV = case
    logp_NV = restrict(logits_NV.astype(jnp.bfloat16), may_NV, top_p=0.9)
    assert logp_NV.dtype == jnp.float32
    np.testing.assert_allclose(jnp.exp(logp_NV).sum(1), 1, atol=1e-5)
