"""Returns, advantages, probabilities, against plain NumPy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxvid.rl import advantages as rl

RNG = np.random.default_rng(0)
REWARD = RNG.normal(size=(6, 5)).astype(np.float32)


def test_rewards_to_go_are_sums_of_what_follows() -> None:
    found = np.asarray(rl.rewards_to_go(jnp.asarray(REWARD), discount=0.9))
    wanted = np.zeros_like(REWARD)
    for t in range(5):
        wanted[:, t] = sum(0.9 ** (k - t) * REWARD[:, k] for k in range(t, 5))
    np.testing.assert_allclose(found, wanted, atol=1e-6)
    blind = np.asarray(rl.rewards_to_go(jnp.asarray(REWARD), discount=0.0))
    np.testing.assert_array_equal(blind, REWARD)


def test_a_reward_answers_for_the_frames_that_it_reads() -> None:
    """Of three before its own and one after: the action of frame t has those of t - 1 to t + 3."""
    found = np.asarray(rl.rewards_to_go(jnp.asarray(REWARD), discount=0.1, reads=(3, 1)))
    for t in range(5):
        wanted = REWARD[:, max(t - 1, 0) : t + 4].sum(1)
        np.testing.assert_allclose(found[:, t], wanted, atol=1e-6)


def test_credit_by_what_is_read_is_the_gradient() -> None:
    """Of E[Σ r] by each action's mean, where r[t] = -|a[t-1] - 2 a[t] + a[t+1]|²: what an action
    does to the reward of the frame before is not left out.
    """
    N, T = 200_000, 5
    mean = np.array([0.3, -0.5, 0.9, 0.1, -0.4])
    noise = np.random.default_rng(1).normal(size=(N, T))
    action = mean + noise
    bend = action[:, :-2] - 2 * action[:, 1:-1] + action[:, 2:]
    reward = jnp.asarray(np.pad(-(bend**2), ((0, 0), (1, 1))), jnp.float32)
    value = np.asarray(rl.rewards_to_go(reward, discount=1.0, reads=(1, 1)))
    found = (noise * (value - value.mean(0))).mean(0)
    curve = mean[:-2] - 2 * mean[1:-1] + mean[2:]
    wanted = -2 * sum(curve[k] * np.eye(T)[k] - 2 * curve[k] * np.eye(T)[k + 1]
                      + curve[k] * np.eye(T)[k + 2] for k in range(3))  # fmt: skip
    np.testing.assert_allclose(found, wanted, atol=0.2)


def test_group_advantages_are_those_of_numpy() -> None:
    found, flat = rl.group_advantages(jnp.asarray(REWARD), group=3)
    groups = REWARD.reshape(2, 3, 5).astype(np.float64)
    centred = groups - groups.mean(1, keepdims=True)
    spread = np.sqrt((centred**2).mean((1, 2), keepdims=True))
    np.testing.assert_allclose(found, (centred / (spread + 1e-4)).reshape(6, 5), atol=1e-5)
    assert float(flat) == 0.0


def test_what_stands_behind_a_sentence_does_not_make_it_count_for_more() -> None:
    """Sentences of five tokens, alone and in an array of thirteen."""
    longer = np.pad(REWARD, ((0, 0), (0, 8)))
    acts = jnp.asarray(np.pad(np.ones_like(REWARD), ((0, 0), (0, 8))))
    alone, _ = rl.group_advantages(jnp.asarray(REWARD), group=3)
    found, _ = rl.group_advantages(jnp.asarray(longer), group=3, acts_BT=acts)
    np.testing.assert_allclose(found[:, :5], alone, atol=1e-6)
    assert not np.asarray(found[:, 5:]).any()


def test_leave_one_out_compares_with_the_others() -> None:
    found, _ = rl.group_advantages(jnp.asarray(REWARD), group=3, baseline="leave_one_out")
    for i in range(6):
        others = [j for j in range(6) if j // 3 == i // 3 and j != i]
        wanted = REWARD[i] - REWARD[others].mean(0)
        np.testing.assert_allclose(found[i], wanted, atol=1e-5)


def test_a_group_without_variance_says_nothing() -> None:
    value = np.concatenate([np.ones((3, 5)), REWARD[3:]]).astype(np.float32)
    for baseline in ("group", "leave_one_out"):
        found, flat = rl.group_advantages(jnp.asarray(value), group=3, baseline=baseline)  # type: ignore[arg-type]
        assert not np.asarray(found[:3]).any() and np.asarray(found[3:]).any()
        assert float(flat) == 0.5


def test_what_differs_little_counts_for_little() -> None:
    small = jnp.asarray(1e-2 * REWARD)
    full, _ = rl.group_advantages(small, group=3)
    found, flat = rl.group_advantages(small, group=3, least=0.5)
    spread = np.sqrt((_centred(small) ** 2).mean((1, 2), keepdims=True))
    np.testing.assert_allclose(found.reshape(2, 3, 5), _centred(small) / 0.5, rtol=1e-3, atol=1e-7)
    assert (spread < 0.1).all() and np.abs(found).max() < 0.2 * np.abs(full).max() and not flat
    large = jnp.asarray(1e2 * REWARD)
    np.testing.assert_array_equal(
        *(rl.group_advantages(large, group=3, least=least)[0] for least in (0.0, 0.5))
    )


def _centred(value: jax.Array) -> np.ndarray:
    groups = np.asarray(value).reshape(2, 3, 5)
    return groups - groups.mean(1, keepdims=True)


def test_an_outlier_is_clipped() -> None:
    value = np.zeros((64, 2), np.float32)
    value[0] = 1e6
    found, _ = rl.group_advantages(jnp.asarray(value), group=64)
    assert float(found.max()) == rl.CLIP


def test_log_probabilities_and_their_gradient() -> None:
    action, mean, log_std = (jnp.asarray(RNG.normal(size=(2, 3, 4)) * s) for s in (1.0, 0.5, 0.3))
    found = rl.log_prob(action, mean, log_std)
    std = np.exp(log_std)
    density = np.exp(-0.5 * ((action - mean) / std) ** 2) / (std * np.sqrt(2 * np.pi))
    np.testing.assert_allclose(found, np.log(density).sum(-1), rtol=1e-5)
    for which in (1, 2):
        inputs = [action, mean, log_std]

        def total(x: jax.Array, inputs: list[jax.Array] = inputs, which: int = which) -> jax.Array:
            return rl.log_prob(*(x if i == which else y for i, y in enumerate(inputs))).sum()

        slope = jax.grad(total)(inputs[which])
        step = jnp.zeros((2, 3, 4)).at[1, 2, 3].set(1e-2)
        rough = (total(inputs[which] + step) - total(inputs[which] - step)) / 2e-2
        assert float(slope[1, 2, 3]) == pytest.approx(float(rough), rel=1e-2)


def test_the_natural_gradient_of_a_mean_is_its_own_times_the_variance() -> None:
    action, mean, log_std = (jnp.asarray(RNG.normal(size=(4, 5, 3)), jnp.float32) for _ in range(3))
    np.testing.assert_array_equal(rl.natural(mean, log_std), mean)

    def likely(mean: jax.Array, log_std: jax.Array, *, natural: bool) -> jax.Array:
        way = rl.natural(mean, log_std) if natural else mean
        return rl.log_prob(action, way, log_std).sum()

    plain, natural = (
        jax.grad(lambda m, s, n=n: likely(m, s, natural=n), argnums=(0, 1))(mean, log_std)
        for n in (False, True)
    )
    np.testing.assert_allclose(natural[0], plain[0] * np.exp(2 * log_std), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(natural[0], action - mean, rtol=1e-4, atol=1e-5)  # no 1 / std left
    np.testing.assert_array_equal(natural[1], plain[1])


def test_divergence_is_the_mean_of_the_log_ratio() -> None:
    shape = (200_000, 1, 1)
    mean, log_std = jnp.full(shape, 0.7), jnp.full(shape, -0.4)
    noise = jnp.asarray(RNG.normal(size=shape))
    action = mean + jnp.exp(log_std) * noise
    ratio = rl.log_prob(action, mean, log_std) - rl.log_prob(action, 0 * mean, 0 * log_std)
    assert float(rl.divergence(mean, log_std)[0, 0]) == pytest.approx(float(ratio.mean()), abs=5e-3)
    assert float(rl.divergence(0 * mean, 0 * log_std)[0, 0]) == 0.0


@pytest.mark.parametrize(
    ("ratio", "better", "gain"),
    [(1.0, 2.0, 2.0), (1.5, 2.0, 2.4), (0.5, 2.0, 1.0), (1.5, -2.0, -3.0), (0.5, -2.0, -1.6)],
)
def test_the_ratio_pays_only_within_its_bounds(ratio: float, better: float, gain: float) -> None:
    found = rl.clipped(jnp.full((1, 1), ratio), jnp.full((1, 1), better), clip=0.2)
    assert float(found[0, 0]) == pytest.approx(gain)
