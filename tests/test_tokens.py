"""Laws of the sequence losses: they are distributions over exactly what the grammar allows."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from test_automaton import nucleus, walks

from jaxvid import grammar
from jaxvid.losses.tokens import cross_entropy, exact, log_probs, pointing
from jaxvid.ops.automaton import allowed, states

M = 10  # places of a prompt


@pytest.fixture(scope="module")
def case() -> tuple[np.ndarray, np.ndarray]:
    tokens_BS = walks(6)
    lengths = {int((row != grammar.PAD).sum()) for row in tokens_BS}
    assert len(lengths) > 2, "one take and several"
    rng = np.random.default_rng(1)
    shape = (*tokens_BS.shape, grammar.VOCABULARY)
    return rng.normal(size=shape).astype(np.float32) * 3, tokens_BS


@pytest.fixture(scope="module")
def pointed() -> tuple[np.ndarray, np.ndarray]:
    """Scores and spans: of none, of one place and of several; the last prompt states none."""
    rng = np.random.default_rng(3)
    z_BSM = rng.normal(size=(5, 7, M)).astype(np.float32)
    spans_BSM = (rng.random((5, 7, M)) < 0.3) & (rng.random((5, 7, 1)) < 0.6)
    spans_BSM[-1] = False
    assert {0, 1, 3} <= set(spans_BSM.sum(-1).ravel())
    return z_BSM, spans_BSM


def oracle(
    logits_BSV: np.ndarray, tokens_BS: np.ndarray, temperature: float = 1.0, top_p: float = 1.0
) -> np.ndarray:
    """log p by the definition, float64, one token after the other; -inf where it is not drawn."""
    table, out = grammar.tables(), np.zeros(tokens_BS.shape)
    for b, row in enumerate(tokens_BS.tolist()):
        state = grammar.START
        for s, token in enumerate(row):
            p_V, _ = nucleus(logits_BSV[b, s], table.allowed[state], temperature, top_p)
            out[b, s] = np.log(p_V[token]) if p_V[token] else -np.inf
            state = int(table.next_state[state, token])
    return out


@pytest.mark.parametrize("temperature", [1.0, 0.5, 2.0])
def test_log_probs_equal_the_definition(case, temperature) -> None:
    logits_BSV, tokens_BS = case
    got = log_probs(jnp.asarray(logits_BSV), jnp.asarray(tokens_BS), temperature=temperature)
    np.testing.assert_allclose(got, oracle(logits_BSV, tokens_BS, temperature), atol=1e-5)


def test_what_is_outside_of_the_nucleus_cannot_have_been_drawn(case) -> None:
    logits_BSV, tokens_BS = case
    want_BS = oracle(logits_BSV, tokens_BS, 1.5, 0.8)
    got_BS = log_probs(jnp.asarray(logits_BSV), jnp.asarray(tokens_BS), temperature=1.5, top_p=0.8)
    drawn_BS = np.isfinite(want_BS)
    assert 0.1 < drawn_BS.mean() < 0.9
    np.testing.assert_allclose(np.asarray(got_BS)[drawn_BS], want_BS[drawn_BS], atol=1e-5)
    assert (np.asarray(got_BS)[~drawn_BS] < -1e29).all()


def test_cross_entropy_is_the_mean_over_a_sequence(case) -> None:
    logits_BSV, tokens_BS = case
    real_BS = tokens_BS != grammar.PAD
    want_B = -(real_BS * oracle(logits_BSV, tokens_BS)).sum(1) / real_BS.sum(1)
    got_B = cross_entropy(jnp.asarray(logits_BSV), jnp.asarray(tokens_BS))
    assert got_B.shape == (6,) and got_B.dtype == jnp.float32
    np.testing.assert_allclose(got_B, want_B, rtol=1e-5)


def test_padding_weighs_nothing(case) -> None:
    logits_BSV, tokens_BS = (jnp.asarray(array) for array in case)
    padding_BS = case[1] == grammar.PAD
    got_BS = np.asarray(log_probs(logits_BSV, tokens_BS))
    assert padding_BS.any() and (got_BS[padding_BS] == 0).all()
    assert (got_BS[~padding_BS] < 0).mean() > 0.9
    length = int((~padding_BS[0]).sum())
    assert length < grammar.LENGTH
    whole_B = cross_entropy(logits_BSV, tokens_BS)
    cut_1 = cross_entropy(logits_BSV[:1, :length], tokens_BS[:1, :length])
    np.testing.assert_allclose(cut_1, whole_B[:1], rtol=1e-6)


def test_gradients_are_finite_and_leave_forbidden_tokens_and_padding_alone(case) -> None:
    logits_BSV, tokens_BS = (jnp.asarray(array) for array in case)
    grad_BSV = np.asarray(jax.grad(lambda z: cross_entropy(z, tokens_BS).sum())(logits_BSV))
    may_BSV, real_BS = np.asarray(allowed(states(tokens_BS))), case[1] != grammar.PAD
    assert np.isfinite(grad_BSV).all()
    assert (grad_BSV[~may_BSV] == 0).all() and (grad_BSV[~real_BS] == 0).all()
    assert (np.abs(grad_BSV[real_BS]).max(-1) > 0).mean() > 0.9
    np.testing.assert_allclose(grad_BSV.sum(-1), 0.0, atol=1e-6)  # of a softmax


def test_half_precision_gives_float32_losses(case, pointed) -> None:
    logits_BSV, tokens_BS = (jnp.asarray(array) for array in case)
    scores_BSM, spans_BSM = (jnp.asarray(array) for array in pointed)
    half = jnp.bfloat16
    assert cross_entropy(logits_BSV.astype(half), tokens_BS).dtype == jnp.float32
    assert pointing(scores_BSM.astype(half), spans_BSM).dtype == jnp.float32


def test_exact_is_all_tokens_likeliest_among_the_allowed(case) -> None:
    _, tokens_BS = case
    right_BSV = np.eye(grammar.VOCABULARY, dtype=np.float32)[tokens_BS]
    may_BSV = np.asarray(allowed(states(jnp.asarray(tokens_BS))))
    forbidden_BSV = np.where(may_BSV, right_BSV, 9.0)
    got_B = exact(jnp.asarray(forbidden_BSV), jnp.asarray(tokens_BS))
    assert got_B.dtype == jnp.float32 and (np.asarray(got_B) == 1).all()
    one_wrong_BSV = forbidden_BSV.copy()
    one_wrong_BSV[::2, 0] *= -1  # the tone: several are allowed
    got_B = exact(jnp.asarray(one_wrong_BSV), jnp.asarray(tokens_BS))
    np.testing.assert_array_equal(got_B, [0, 1, 0, 1, 0, 1])


def test_pointing_equals_the_definition(pointed) -> None:
    scores_BSM, spans_BSM = pointed
    got_B = np.asarray(pointing(jnp.asarray(scores_BSM), jnp.asarray(spans_BSM)))
    for b, got in enumerate(got_B):
        inside = [
            np.exp(z_M.astype(np.float64))[span_M].sum() / np.exp(z_M.astype(np.float64)).sum()
            for z_M, span_M in zip(scores_BSM[b], spans_BSM[b], strict=True)
            if span_M.any()
        ]
        want = -np.mean(np.log(inside)) if inside else 0.0
        np.testing.assert_allclose(got, want, rtol=1e-5)
    assert got_B[-1] == 0 and (got_B[:-1] > 0.1).all()


def test_pointing_has_gradients_at_tokens_with_a_span_alone(pointed) -> None:
    scores_BSM, spans_BSM = (jnp.asarray(array) for array in pointed)

    grad_BSM = jax.grad(lambda z_BSM: pointing(z_BSM, spans_BSM).sum())(scores_BSM)
    assert jnp.isfinite(grad_BSM).all()
    np.testing.assert_array_equal(jnp.abs(grad_BSM).max(-1) > 0, spans_BSM.any(-1))
    inside_BS = jnp.where(spans_BSM, grad_BSM, 0).sum(-1)
    assert (inside_BS[spans_BSM.any(-1)] < 0).all()  # more weight inside is better
