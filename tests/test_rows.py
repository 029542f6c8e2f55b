"""Rows are the real places of a batch, no more and no less, and so are their gradients."""

import jax
import jax.numpy as jnp
import numpy as np

from jaxvid.ops.rows import pack, real, unpack

MASK = np.array([[1, 1, 0, 0], [0, 0, 0, 0], [1, 0, 1, 1]], bool)
X = jnp.asarray(np.random.default_rng(0).normal(size=(3, 4, 2, 5)), jnp.float32)


def test_packed_are_the_real_places_in_order_and_unpacked_they_stand_where_they_stood():
    rows = real(jnp.asarray(MASK), 7)  # more than there are
    packed = pack(X, rows)
    np.testing.assert_array_equal(packed, [*X[MASK], *np.zeros((2, 2, 5))])
    np.testing.assert_array_equal(unpack(packed, rows), np.where(MASK[..., None, None], X, 0))
    assert pack(X, None) is X and unpack(X, None) is X


def test_places_beyond_the_count_are_left_out():
    rows = real(jnp.asarray(MASK), 3)
    first = MASK & (MASK.cumsum() <= 3).reshape(MASK.shape)
    np.testing.assert_array_equal(pack(X, rows), X[first])
    np.testing.assert_array_equal(unpack(pack(X, rows), rows)[~first], 0)


def test_gradients_are_those_of_indexing():
    at = np.nonzero(MASK)
    for count in (3, 5, 7):
        rows = real(jnp.asarray(MASK), count)
        weight = jnp.arange(count * 10.0).reshape(count, 2, 5)
        kept = min(count, 5)
        ours = jax.grad(lambda x, r=rows, w=weight: (w * pack(x, r) ** 2).sum())(X)
        plain = jax.grad(lambda x, n=kept, w=weight: (w[:n] * x[at][:n] ** 2).sum())(X)
        np.testing.assert_allclose(ours, plain)
        x_N = weight + 1
        back = jax.grad(lambda x, r=rows: (X * unpack(x, r) ** 2).sum())(x_N)
        direct = 2 * x_N[:kept] * X[at][:kept]
        np.testing.assert_allclose(back, [*direct, *np.zeros((count - kept, 2, 5))], rtol=1e-6)
