"""Products of rounded factors, and their gradients: the same as NumPy's of the same factors."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpy.testing import assert_allclose

from jaxvid.ops import machine
from jaxvid.ops.products import LOW, low_dot_general
from jaxvid.training import say_precision


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


def test_gradients_have_the_types_of_their_factors():
    x, w = jnp.ones((2, 8), LOW), jnp.ones((8, 4), jnp.float32)
    grad = jax.grad(lambda x, w: low_dot_general(jnp.sin(x), w).sum(), (0, 1))(x, w)
    assert [g.dtype for g in grad] == [LOW, jnp.float32]


@pytest.mark.parametrize(
    "features, dtype, said",
    [
        ({"avx512bf16": False, "amx-bf16": False}, "bfloat16", True),
        ({"avx512bf16": False, "amx-bf16": False}, "float32", False),
        ({"avx512bf16": True, "amx-bf16": False}, "bfloat16", False),
        ({"bf16": False}, "bfloat16", True),
        ({}, "bfloat16", False),  # nobody can tell
    ],
)
def test_a_cpu_that_cannot_round_is_named(features, dtype, said, monkeypatch, capsys):
    monkeypatch.setattr(machine.binding, "get_host_cpu_features", lambda: features)
    machine.rounds.cache_clear()
    say_precision(dtype)
    machine.rounds.cache_clear()
    assert ("--compute.dtype float32" in capsys.readouterr().out) is said
