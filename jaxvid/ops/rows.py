"""The real places of a padded batch, one after another, so that padding costs nothing.

What works place by place (linear layers) takes the rows; what joins places (attention) the batch.
Letters: B examples of M places, N rows; D: any further axes.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp


class Rows(NamedTuple):
    """The place (of B M) of each row (N,), the row of each place (B,M); beyond the last: none."""

    place_N: jax.Array
    row_BM: jax.Array


def real(mask_BM: jax.Array, count: int) -> Rows:
    """The places where ``mask`` is True, in order, in ``count`` rows; the rest is left out."""
    flat = mask_BM.reshape(-1)
    place_N = jnp.nonzero(flat, size=count, fill_value=flat.size)[0]
    row_BM = jnp.where(flat, jnp.cumsum(flat) - 1, count).reshape(mask_BM.shape)
    return Rows(place_N, row_BM)


def pack(x_BMD: jax.Array, rows: Rows | None) -> jax.Array:
    """What stands at the places, by rows (N,D), zero where there is none; as it is without rows."""
    if rows is None:
        return x_BMD
    return _take(x_BMD.reshape(-1, *x_BMD.shape[2:]), rows.place_N, rows.row_BM.reshape(-1))


def unpack(x_ND: jax.Array, rows: Rows | None) -> jax.Array:
    """The rows at their places (B,M,D), zero where a place has none; as they are without rows."""
    if rows is None:
        return x_ND
    x = _take(x_ND, rows.row_BM.reshape(-1), rows.place_N)
    return x.reshape(*rows.row_BM.shape, *x_ND.shape[1:])


@jax.custom_vjp
def _take(x: jax.Array, index: jax.Array, back: jax.Array) -> jax.Array:
    """x[index], zero where there is none; ``back`` are the indices of its inverse, by which the
    gradient is taken too: as a sum over indices it would be slow on CPUs."""
    return x.at[index].get(mode="fill", fill_value=0)


def _forward(
    x: jax.Array, index: jax.Array, back: jax.Array
) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
    return _take(x, index, back), (index, back)


def _backward(
    indices: tuple[jax.Array, jax.Array], grad: jax.Array
) -> tuple[jax.Array, None, None]:
    index, back = indices
    return _take(grad, back, index), None, None


_take.defvjp(_forward, _backward)
