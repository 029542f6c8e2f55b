"""Laws of the sequence losses: they are distributions over exactly what the grammar allows."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxvid import grammar
from jaxvid.losses.tokens import accuracy, allowed, cross_entropy, log_probs


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


@pytest.fixture(scope="module")
def case() -> tuple[np.ndarray, np.ndarray]:
    tokens_BS = walks(6)
    assert len({row[1] for row in tokens_BS.tolist()}) == 2, "one actor and two"
    rng = np.random.default_rng(1)
    shape = (*tokens_BS.shape, grammar.VOCABULARY)
    return rng.normal(size=shape).astype(np.float32) * 3, tokens_BS


def oracle(logits_BSV: np.ndarray, tokens_BS: np.ndarray, temperature: float = 1.0) -> np.ndarray:
    """log p by the definition, float64, one token after the other."""
    table, out = grammar.tables(), np.zeros(tokens_BS.shape)
    for b, row in enumerate(tokens_BS.tolist()):
        state = grammar.START
        for s, token in enumerate(row):
            z = logits_BSV[b, s, table.allowed[state]].astype(np.float64) / temperature
            out[b, s] = logits_BSV[b, s, token] / temperature - np.log(np.exp(z).sum())
            state = int(table.next_state[state, token])
    return out


def test_allowed_is_the_automaton_along_the_sentence(case):
    _, tokens_BS = case
    may_BSV = np.asarray(allowed(jnp.asarray(tokens_BS)))
    assert np.take_along_axis(may_BSV, tokens_BS[..., None], 2).all()
    table = grammar.tables()
    for b, row in enumerate(tokens_BS.tolist()):
        state = grammar.START
        for s, token in enumerate(row):
            assert np.array_equal(may_BSV[b, s], table.allowed[state])
            state = int(table.next_state[state, token])


@pytest.mark.parametrize("temperature", [1.0, 0.5, 2.0])
def test_log_probs_equal_the_definition(case, temperature):
    logits_BSV, tokens_BS = case
    got = log_probs(jnp.asarray(logits_BSV), jnp.asarray(tokens_BS), temperature=temperature)
    np.testing.assert_allclose(got, oracle(logits_BSV, tokens_BS, temperature), atol=1e-5)


@pytest.mark.parametrize("free_weight", [1.0, 0.1, 0.0])
def test_cross_entropy_is_the_weighted_mean(case, free_weight):
    logits_BSV, tokens_BS = case
    w_BS = np.where(grammar.FREE, free_weight, 1.0) * (tokens_BS != grammar.PAD)
    want_B = -(w_BS * oracle(logits_BSV, tokens_BS)).sum(1) / w_BS.sum(1)
    got_B = cross_entropy(jnp.asarray(logits_BSV), jnp.asarray(tokens_BS), free_weight=free_weight)
    assert got_B.shape == (6,) and got_B.dtype == jnp.float32
    np.testing.assert_allclose(got_B, want_B, rtol=1e-5)


def test_padding_and_forced_tokens_cost_nothing(case):
    logits_BSV, tokens_BS = case
    got_BS = np.asarray(log_probs(jnp.asarray(logits_BSV), jnp.asarray(tokens_BS)))
    padding_BS = tokens_BS == grammar.PAD
    assert padding_BS.any() and (got_BS[padding_BS] == 0).all()
    assert (got_BS[~padding_BS] < 0).mean() > 0.9


def test_gradients_are_finite_and_leave_forbidden_tokens_alone(case):
    logits_BSV, tokens_BS = (jnp.asarray(array) for array in case)
    grad_BSV = jax.grad(lambda z: cross_entropy(z, tokens_BS).sum())(logits_BSV)
    may_BSV = allowed(tokens_BS)
    assert jnp.isfinite(grad_BSV).all()
    assert (jnp.where(may_BSV, 0.0, grad_BSV) == 0).all()
    np.testing.assert_allclose(grad_BSV.sum(-1), 0.0, atol=1e-6)  # of a softmax


def test_half_precision_logits_give_a_float32_loss(case):
    logits_BSV, tokens_BS = (jnp.asarray(array) for array in case)
    loss_B = cross_entropy(logits_BSV.astype(jnp.bfloat16), tokens_BS)
    assert loss_B.dtype == jnp.float32


def test_accuracy_counts_what_a_prompt_can_state(case):
    _, tokens_BS = case
    right_BSV = np.eye(grammar.VOCABULARY, dtype=np.float32)[tokens_BS]
    free_wrong_BSV = np.where(grammar.FREE[None, :, None], -right_BSV, right_BSV)
    forbidden_BSV = np.where(np.asarray(allowed(jnp.asarray(tokens_BS))), free_wrong_BSV, 9.0)
    got_B = accuracy(jnp.asarray(forbidden_BSV), jnp.asarray(tokens_BS))
    assert (np.asarray(got_B) == 1.0).all()
    no_background_BSV = right_BSV.copy()
    no_background_BSV[:, 0] *= -1
    stated_B = (~grammar.FREE & (tokens_BS != grammar.PAD)).sum(1)
    got_B = accuracy(jnp.asarray(no_background_BSV), jnp.asarray(tokens_BS))
    np.testing.assert_allclose(got_B, 1 - 1 / stated_B, rtol=1e-6)
