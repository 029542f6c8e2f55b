"""The pieces that the networks share: norms, attention, feed-forward, residual convolutions."""

import functools
from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from flax.linen.initializers import variance_scaling, zeros

from jaxvid.ops import thin
from jaxvid.ops.attention import attention
from jaxvid.ops.residual import plain, residual

Dense = functools.partial(nn.Dense, dot_general=thin.dot_general)
SMALL = variance_scaling(0.01, "fan_in", "truncated_normal")  # residual branches start near zero
FAN_IN = variance_scaling(2.0, "fan_in", "normal")  # He et al., 2015, for leaky ReLU


def leaky(x: jax.Array) -> jax.Array:
    """Leaky ReLU of slope 0.2, the activation of convolutional GANs."""
    return nn.leaky_relu(x, 0.2)


def rms_norm(x: jax.Array) -> jax.Array:
    """Root mean square normalisation without a scale (Zhang and Sennrich, 2019), in float32."""
    x32 = x.astype(jnp.float32)
    scale = jax.lax.rsqrt(jnp.mean(x32 * x32, axis=-1, keepdims=True) + 1e-6)
    return (x32 * scale).astype(x.dtype)


class Attention(nn.Module):
    """Multi-head attention over the second last axis, normalised queries and keys (QK-norm).

    ``implementation``: see ``ops.attention``. What is differentiated twice or
    forward (jvp) needs "reference".
    """

    heads: int
    implementation: str | None = None

    @nn.compact
    def __call__(
        self, x_BLD: jax.Array, memory_BSD: jax.Array | None = None, mask: jax.Array | None = None
    ) -> jax.Array:
        D = x_BLD.shape[-1]
        memory_BSD = x_BLD if memory_BSD is None else memory_BSD
        split = (self.heads, D // self.heads)
        q = Dense(D, use_bias=False, name="q")(x_BLD)
        k = Dense(D, use_bias=False, name="k")(memory_BSD)
        v = Dense(D, use_bias=False, name="v")(memory_BSD)
        q, k, v = (t.reshape(*t.shape[:-1], *split) for t in (q, k, v))
        gain = self.param("gain", nn.initializers.constant(2.0), (self.heads, 1))
        way = self.implementation
        y = attention(rms_norm(q) * gain, rms_norm(k), v, mask=mask, implementation=way)
        return Dense(D, kernel_init=SMALL, name="out")(y.reshape(x_BLD.shape))


class FeedForward(nn.Module):
    """SwiGLU (Shazeer, 2020): (silu(x W) * x V) U with a hidden width of 2 D."""

    @nn.compact
    def __call__(self, x_BLD: jax.Array) -> jax.Array:
        D = x_BLD.shape[-1]
        gate, value = jnp.split(Dense(4 * D, use_bias=False, name="up")(x_BLD), 2, axis=-1)
        return Dense(D, kernel_init=SMALL, name="down")(nn.silu(gate) * value)


class Weights(nn.Module):
    """The parameters of a dense layer or a convolution, for a function that applies them."""

    shape: tuple[int, ...]
    kernel_init: Callable[..., Any]

    @nn.compact
    def __call__(self, bias: bool = True) -> list[jax.Array]:
        found = [self.param("kernel", self.kernel_init, self.shape)]
        return [*found, self.param("bias", zeros, self.shape[-1:])] if bias else found


class ResidualConv(nn.Module):
    """x + W₃ lrelu(W₂ * lrelu(W₁ x)): 1x1, dense 3x3, 1x1, no norm, the last zero (R3GAN, D).

    ``implementation``: None, or "reference" where it is differentiated forward (jvp); see
    ``ops.residual``.
    """

    inner: int
    implementation: str | None = None

    @nn.compact
    def __call__(self, x_BHWC: jax.Array) -> jax.Array:
        C, F = x_BHWC.shape[-1], self.inner
        w1, b1 = Weights((C, F), FAN_IN, name="reduce")()
        w2, b2 = Weights((3, 3, F, F), FAN_IN, name="conv")()
        (w3,) = Weights((F, C), zeros, name="expand")(bias=False)
        apply = plain if self.implementation == "reference" else residual
        return apply(x_BHWC, w1, b1, w2, b2, w3)
