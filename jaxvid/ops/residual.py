"""A residual block of convolutions: as machine code on CPUs (``residual_kernels``), else by XLA."""

from typing import Any

import jax
import jax.numpy as jnp

from jaxvid.ops.kernel import SLOPE, added, call, differentiable, possible
from jaxvid.ops.residual_kernels import Backward, Block, Forward, items, parts
from jaxvid.ops.thin import matmul


def residual(
    x_NHWC: jax.Array, w1: jax.Array, b1: jax.Array, w2: jax.Array, b2: jax.Array, w3: jax.Array
) -> jax.Array:
    """x + W3 lrelu(W2 * lrelu(W1 x + b1) + b2), lrelu of slope 0.2, zeros around the image.

    W1 (C,F), W2 (3,3,F,F), W3 (F,C). Machine code on a CPU with one device, float32, where C, F and
    the width are multiples of 8 and F is at most 64 (beyond, XLA's products are as fast); it can be
    differentiated backwards as often as one likes.
    """
    arrays = (x_NHWC, w1, b1, w2, b2, w3)
    (C, F), width = w1.shape, x_NHWC.shape[-2]
    shapes = [(*x_NHWC.shape[:3], C), (C, F), (F,), (3, 3, F, F), (F,), (F, C)]
    fits = not (C % 8 or F % 8 or width % 8) and F <= 64 and [x.shape for x in arrays] == shapes
    return _fused(*arrays) if fits and possible(*arrays) else plain(*arrays)


def plain(x: Any, w1: Any, b1: Any, w2: Any, b2: Any, w3: Any) -> Any:
    """The formula, by XLA."""
    h = jax.nn.leaky_relu(matmul(x, w1) + b1, SLOPE)
    dims = ("NHWC", "HWIO", "NHWC")
    h = jax.lax.conv_general_dilated(h, w2, (1, 1), "SAME", dimension_numbers=dims)
    return x + matmul(jax.nn.leaky_relu(h + b2, SLOPE), w3)


def _run(*arrays: Any) -> Any:
    return _call(Forward, "residual", [arrays[0].shape], *arrays)[0]


def _gradients(grad: Any, *arrays: Any) -> Any:
    """Those of all six; differentiated, what the formula gives."""
    x, w1, b1, w2, b2, w3 = arrays
    sizes = parts(*w1.shape)
    turned = (w1.T, w2[::-1, ::-1].swapaxes(2, 3), w3.T)
    shapes = [x.shape, (x.shape[0] * items(x.shape[1]), sum(sizes))]
    dx, found = _call(Backward, "residual_gradient", shapes, x, w1, b1, w2, b2, grad, *turned)
    ends = [sum(sizes[: i + 1]) for i in range(4)]
    split = jnp.split(added(found[None])[0], ends)
    return dx, *(g.reshape(a.shape) for g, a in zip(split, arrays[1:], strict=True))


def _call(kernel: type[Block], name: str, shapes: Any, *arrays: Any) -> Any:
    (H, W, C), F = arrays[0].shape[1:], arrays[1].shape[1]
    multiple = C | F  # its factors of two are those that both have
    return call(kernel, name, (H, W, C, F), shapes, *arrays, multiple=multiple)


_fused = differentiable(_run, _gradients, plain)
