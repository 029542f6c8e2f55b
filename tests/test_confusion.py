"""Laws of the confusion matrix: every clip is counted once, in its place, and states merge."""

import jax
import jax.numpy as jnp
import numpy as np

from jaxvid.metrics import confusion

SCORES = jnp.array([2.0, 0.5, -1.0, 1.5, -0.5, jnp.nan])
REAL = jnp.array([True, True, True, False, False, False])


def test_counts_by_hand() -> None:
    result = confusion.compute(confusion.update(confusion.init(1.0), SCORES, REAL))
    names = "real_judged_real", "real_judged_generated", "generated_judged_real"
    counts = [int(result[name]) for name in (*names, "generated_judged_generated")]
    assert counts == [1, 2, 1, 2]
    np.testing.assert_allclose(result["real_recall"], 1 / 3)
    np.testing.assert_allclose(result["generated_recall"], 2 / 3)
    np.testing.assert_allclose(result["accuracy"], 0.5)
    assert result["threshold"] == 1.0


def test_a_score_at_the_threshold_is_judged_generated() -> None:
    state = confusion.update(confusion.init(0.0), jnp.zeros(2), jnp.array([True, False]))
    np.testing.assert_array_equal(state.counts_22, [[0, 1], [0, 1]])


def test_merged_states_equal_the_whole_and_padding_does_not_count() -> None:
    whole = confusion.update(confusion.init(0.0), SCORES, REAL)
    update = jax.jit(confusion.update)
    first = update(confusion.init(0.0), SCORES[:2], REAL[:2])
    padded = jnp.append(SCORES[2:], 9.0), jnp.append(REAL[2:], True)
    second = update(confusion.init(0.0), *padded, valid_B=jnp.arange(5) < 4)
    np.testing.assert_array_equal(confusion.merge(first, second).counts_22, whole.counts_22)
    assert whole.counts_22.sum() == len(SCORES)


def test_accuracy_does_not_depend_on_how_many_of_each() -> None:
    few = confusion.update(confusion.init(), SCORES, REAL)
    many = few
    for _ in range(5):
        many = confusion.update(many, SCORES[:3], REAL[:3])
    np.testing.assert_allclose(
        confusion.compute(many)["accuracy"], confusion.compute(few)["accuracy"], rtol=1e-6
    )
