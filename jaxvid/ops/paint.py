"""Actors painted over a background: as machine code on CPUs (``paint_kernels``), else by XLA."""

import functools
from typing import Any

import jax
import jax.numpy as jnp

from jaxvid.ops.kernel import SLOPE, added, call, differentiable, possible
from jaxvid.ops.layout import PLACES, Parts, spread
from jaxvid.ops.paint_kernels import Backward, Forward, parts


def paint(
    shapes: Parts,
    mask_NBTHW: jax.Array,
    ground_BHWF: jax.Array,
    edge: tuple[jax.Array, jax.Array],
    gate: tuple[jax.Array, jax.Array],
    value: jax.Array,
    look_NBF: jax.Array,
) -> jax.Array:
    """The field (B,T,H,W,F): N actors over the ground, one after the other,
    field + mask sigmoid(Wg h + bg) (Wv h + look - field), h = lrelu(We lrelu(shape) + be).

    ``shapes``: of features D, see ``layout.draw_parts``; ``edge``: We (D,D) and be; ``gate``: Wg
    (D,F) and bg; ``value``: Wv (D,F). Machine code on a CPU with one device, float32, where D, F
    and the width are multiples of 8; it can be differentiated backwards as often as one likes. It
    leaves an actor out of rows where all of its mask is 0, and the mask has no gradient there.
    """
    arrays: tuple[Any, ...] = (*shapes, mask_NBTHW, ground_BHWF, *edge, *gate, value, look_NBF)
    (N, B, T, H, W), (D, F) = mask_NBTHW.shape, value.shape
    still = [(D, D), (D,), (D, F), (F,), (D, F), (N, B, F)]
    sizes = [(N, B, T, H, W, PLACES), (N, B, T, W, D), (N, B, T, H, D), (N, B, PLACES, D),
             (N, B, T, H, W), (B, H, W, F), *still]  # fmt: skip
    fits = not (D % 8 or F % 8 or W % 8) and [x.shape for x in arrays] == sizes
    way = _fused if fits and possible(*arrays) else _plain
    return way(*arrays)


def plain(
    shapes: Parts, mask: Any, ground: Any, edge: Any, gate: Any, value: Any, look: Any
) -> jax.Array:
    """``paint`` by XLA."""
    return _plain(*shapes, mask, ground, *edge, *gate, value, look)


def _plain(*arrays: Any) -> Any:
    *shapes, mask, ground, we, be, wg, bg, wv, look = arrays
    leaky = functools.partial(jax.nn.leaky_relu, negative_slope=SLOPE)
    field = jnp.broadcast_to(ground[:, None], (*mask.shape[1:], ground.shape[-1]))
    for n in range(len(mask)):
        h = leaky(leaky(spread(Parts(*(x[n] for x in shapes)))) @ we + be)
        share = jax.nn.sigmoid(h @ wg + bg) * mask[n][..., None]
        field = field + share * (h @ wv + look[n][:, None, None, None] - field)
    return field


def _run(*arrays: Any) -> Any:
    mask, ground = arrays[4:6]
    return _call(Forward, "paint", [(*mask.shape[1:], ground.shape[-1])], *arrays)[0]


def _gradients(grad: Any, *arrays: Any) -> Any:
    """Those of all twelve; differentiated, what the formula gives."""
    *shapes, mask, _, we, be, wg, bg, wv, look = arrays
    kernel, (N, B, F), D = shapes[-1], look.shape, len(be)
    sizes = parts(N, D, F)
    outputs = [x.shape for x in (*shapes[:3], mask, grad)] + [(B * grad.shape[1], sum(sizes))]
    turned = (we.T, wg.T, wv.T, kernel.swapaxes(2, 3))
    *found, of_ground, part = _call(Backward, "paint_gradient", outputs, *arrays, grad, *turned)
    ends = [sum(sizes[: i + 1]) for i in range(len(sizes) - 1)]
    *split, kernels, looks = jnp.split(added(part.reshape(B, -1, sum(sizes))), ends, axis=1)
    weights = (g.sum(axis=0).reshape(a.shape) for g, a in zip(split, arrays[6:11], strict=True))
    of_ground = added(of_ground.reshape(*grad.shape[:2], -1)).reshape(arrays[5].shape)
    of_kernel = kernels.reshape(B, N, *kernel.shape[2:]).swapaxes(0, 1)
    of_look = looks.reshape(B, N, F).swapaxes(0, 1)
    return *found[:3], of_kernel, found[3], of_ground, *weights, of_look


def _call(kernel: Any, name: str, shapes: Any, *arrays: Any) -> Any:
    (N, _, _, H, W), (D, F) = arrays[4].shape, arrays[10].shape
    return call(kernel, name, (N, H, W, D, F), shapes, *arrays, multiple=8)


_fused = differentiable(_run, _gradients, _plain)
