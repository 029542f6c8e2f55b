"""Laws of the distances between clips."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jaxtyping import TypeCheckError

from jaxvid.losses.reconstruction import charbonnier, transport

RNG = np.random.default_rng(0)
X, Y = (jnp.asarray(RNG.normal(size=(3, 2, 4, 5, 3)).astype(np.float32)) for _ in range(2))


def test_charbonnier_equals_its_formula() -> None:
    x, y = np.asarray(X, np.float64), np.asarray(Y, np.float64)
    for epsilon in (1e-3, 0.05, 1.0):
        expected = (np.sqrt((x - y) ** 2 + epsilon**2) - epsilon).mean((1, 2, 3, 4))
        value = charbonnier(X, Y, epsilon=epsilon)
        assert value.shape == (3,)
        np.testing.assert_allclose(value, expected, rtol=1e-5, atol=1e-6)
        np.testing.assert_array_equal(value, charbonnier(Y, X, epsilon=epsilon))


def test_charbonnier_is_zero_and_flat_for_equal_clips_and_l1_far_away() -> None:
    np.testing.assert_array_equal(charbonnier(X, X), 0)
    np.testing.assert_array_equal(jax.grad(lambda y: charbonnier(y, X).sum())(X), 0)
    np.testing.assert_allclose(charbonnier(X + 10, X), 10, rtol=1e-2)
    slope = jax.grad(lambda y: charbonnier(y, X).sum())(X + 10) * X[0].size
    np.testing.assert_allclose(slope, 1, rtol=1e-3)


def test_transport_is_the_mean_square() -> None:
    x, y = np.asarray(X, np.float64), np.asarray(Y, np.float64)
    np.testing.assert_allclose(transport(X, Y), ((x - y) ** 2).mean((1, 2, 3, 4)), rtol=1e-5)
    np.testing.assert_array_equal(transport(X, X), 0)


def test_an_example_has_its_own_distance() -> None:
    for distance in (charbonnier, transport):
        np.testing.assert_allclose(distance(X[1:2], Y[1:2]), distance(X, Y)[1:2], rtol=1e-6)
        for y in (Y[:1], Y[:, :1], Y[..., :1], Y[0]):
            with pytest.raises(TypeCheckError):
                distance(X, y)
