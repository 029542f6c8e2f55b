"""Products of matrices whose factors are rounded: twice as fast where a machine has the means."""

from typing import Any

import jax
import jax.numpy as jnp

LOW = jnp.bfloat16


def low_dot_general(
    x: jax.Array, w: jax.Array, dims: Any = None, precision: Any = None, **options: Any
) -> jax.Array:
    """x (...,K) times w (K,N): factors rounded to bfloat16, sums float32, like both gradients.

    For ``flax.linen.Dense(dot_general=...)``: everything between products stays float32, which on
    CPUs is faster than a network that is bfloat16 throughout (Micikevicius et al., 2018, keep sums
    and weights in float32 as here).
    """
    del dims, precision, options  # those of a linear layer
    x, w = x.astype(jnp.float32), w.astype(jnp.float32)  # so that gradients have their own types
    return _product(x.reshape(-1, x.shape[-1]), w).reshape(*x.shape[:-1], w.shape[-1])


def _dot(x: jax.Array, y: jax.Array, axes: tuple[int, int]) -> jax.Array:
    dims = (((axes[0],), (axes[1],)), ((), ()))
    return jax.lax.dot_general(x, y, dims, preferred_element_type=jnp.float32)


@jax.custom_vjp
def _product(x_MK: jax.Array, w_KN: jax.Array) -> jax.Array:
    return _dot(x_MK.astype(LOW), w_KN.astype(LOW), (1, 0))


def _forward(x_MK: jax.Array, w_KN: jax.Array) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
    factors = x_MK.astype(LOW), w_KN.astype(LOW)
    return _dot(*factors, (1, 0)), factors


def _backward(
    factors: tuple[jax.Array, jax.Array], grad_MN: jax.Array
) -> tuple[jax.Array, jax.Array]:
    (x_MK, w_KN), grad_MN = factors, grad_MN.astype(LOW)
    x_KM = x_MK.T
    if jax.default_backend() == "cpu":  # where a sum over rows is slower than this copy
        x_KM = jax.lax.optimization_barrier(x_KM)
    return _dot(grad_MN, w_KN, (1, 1)), _dot(x_KM, grad_MN, (1, 0))


_product.defvjp(_forward, _backward)
