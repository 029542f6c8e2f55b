"""Laws of the gradient penalties: the finite difference is the exact one in the mean."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jaxtyping import TypeCheckError

from jaxvid.losses.penalties import exact, finite

SHAPE = (3, 2, 4, 4, 1)  # B T H W C
RNG = np.random.default_rng(0)
VIDEO = jnp.asarray(RNG.normal(size=SHAPE).astype(np.float32))
PLANE = jnp.asarray(RNG.normal(size=(32, 5)).astype(np.float32)) / 6
OUT = jnp.asarray(RNG.normal(size=(5, 2)).astype(np.float32))


def linear(video: jax.Array) -> jax.Array:
    """Five logits an example; |∇D|² is that of their mean, the same everywhere."""
    return video.reshape(len(video), -1) @ PLANE + 0.3


def curved(video: jax.Array) -> jax.Array:
    return jnp.tanh(video.reshape(len(video), -1) @ PLANE) @ OUT


def test_exact_equals_the_analytic_value() -> None:
    slope = np.asarray(PLANE, np.float64).mean(1)
    np.testing.assert_allclose(jax.jit(lambda x: exact(linear, x))(VIDEO), slope @ slope, rtol=1e-5)


def test_exact_equals_central_differences_of_a_network() -> None:
    plane, out = np.asarray(PLANE, np.float64), np.asarray(OUT, np.float64)

    def judge(x: np.ndarray) -> np.ndarray:
        return (np.tanh(x @ plane) @ out).mean(-1)

    flat = np.asarray(VIDEO, np.float64).reshape(3, -1)
    moves = 1e-5 * np.eye(32)
    slopes = (judge(flat[:, None] + moves) - judge(flat[:, None] - moves)) / 2e-5
    value = jax.jit(lambda x: exact(curved, x))(VIDEO)
    np.testing.assert_allclose(value, (slopes**2).sum(1), rtol=1e-4)


@pytest.mark.parametrize("critic", [linear, curved])
def test_finite_is_exact_in_the_mean_over_noise(critic: object) -> None:
    epsilon, draws = 1e-2, 4000

    @jax.jit
    def mean(x: jax.Array) -> jax.Array:
        def one(key: jax.Array) -> jax.Array:
            moved = x + epsilon * jax.random.normal(key, x.shape)
            return finite(critic(x), critic(moved), epsilon=epsilon)  # type: ignore[operator]

        return jax.lax.map(one, jax.random.split(jax.random.key(0), draws), batch_size=1000).mean(0)

    # (g·n)² has a standard deviation of √2 |g|²: 2 % after 4,000 draws.
    np.testing.assert_allclose(mean(VIDEO), exact(critic, VIDEO), rtol=0.1)  # type: ignore[arg-type]


def test_finite_is_per_example_and_zero_where_nothing_moves() -> None:
    a, b = linear(VIDEO), linear(VIDEO + 0.1)
    value = finite(a, b, epsilon=0.1)
    assert value.shape == (3,) and np.all(np.asarray(value) > 0)
    np.testing.assert_array_equal(finite(a, a, epsilon=0.1), 0)
    np.testing.assert_allclose(finite(a[1:2], b[1:2], epsilon=0.1), value[1:2])


def test_exact_can_be_trained_through() -> None:
    """d |w|² / dw = 2 w: the gradient of a gradient."""

    def penalty(w: jax.Array) -> jax.Array:
        return exact(lambda x: x.reshape(len(x), -1) @ w[:, None], VIDEO).mean()

    w = PLANE[:, 0]
    np.testing.assert_allclose(jax.jit(jax.grad(penalty))(w), 2 * w, rtol=1e-5)

    def bent(plane: jax.Array) -> jax.Array:
        return exact(lambda x: jnp.tanh(x.reshape(len(x), -1) @ plane), VIDEO).mean()

    slope = jax.jit(jax.grad(bent))(PLANE)
    step = 1e-2 * slope / jnp.linalg.norm(slope)
    rise = (bent(PLANE + step) - bent(PLANE - step)) / 2
    np.testing.assert_allclose(rise, 1e-2 * jnp.linalg.norm(slope), rtol=1e-2)


def test_flat_logits_are_refused() -> None:
    with pytest.raises(TypeCheckError):
        finite(jnp.zeros(3), jnp.zeros(3), epsilon=0.1)
    with pytest.raises(TypeCheckError):
        finite(jnp.zeros((3, 1)), jnp.zeros((3, 2)), epsilon=0.1)
