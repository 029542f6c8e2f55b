"""Products of rounded factors, and their gradients: the same as NumPy's of the same factors."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from numpy.testing import assert_allclose

from jaxvid.ops.products import LOW, low_dot_general


def rounded(x):
    return np.asarray(jnp.asarray(x, LOW), np.float64)


def test_a_layer_and_its_gradients_are_those_of_the_rounded_factors():
    x = jax.random.normal(jax.random.key(0), (3, 5, 32))
    layer = nn.Dense(16, use_bias=False, dot_general=low_dot_general)
    params = layer.init(jax.random.key(1), x)
    grad = jax.random.normal(jax.random.key(2), (3, 5, 16))
    got, back = jax.vjp(layer.apply, params, x)
    of_params, of_x = back(grad)
    kernel, of_kernel = params["params"]["kernel"], of_params["params"]["kernel"]
    assert got.dtype == of_x.dtype == of_kernel.dtype == jnp.float32
    assert_allclose(got, rounded(x) @ rounded(kernel), atol=1e-5)
    assert_allclose(of_x, rounded(grad) @ rounded(kernel).T, atol=1e-5)
    asked = np.einsum("abk,abn->kn", rounded(x), rounded(grad))
    assert_allclose(of_kernel, asked, atol=1e-5)
    assert np.abs(got - x @ kernel).max() > 1e-4  # they are rounded
