"""Products of a tall matrix and a small one, X W: as machine code on CPUs, else by XLA.

What dense layers of small networks are. XLA's products are as fast where both sides of W are wide;
where one is not, the gradient of W, for which XLA turns a matrix first, gains most, and X W alone
can lose (``python -m benchmarks.frame_synthesis --only ^dense``).
"""

from typing import Any

import jax
import jax.numpy as jnp
from jax.extend.core import Primitive
from jax.interpreters import ad, batching, mlir

from jaxvid.ops.kernel import Kernel, added, call, possible
from jaxvid.ops.machine import product
from jaxvid.ops.machine_code import Code, Value

ROWS, LONG = 128, 1024  # rows of an item: of X W, and of Xᵀ G
WIDE = 2**18  # numbers of W beyond which XLA is as fast


def dot_general(
    x: jax.Array,
    w: jax.Array,
    dims: Any,
    precision: Any = None,
    preferred_element_type: Any = None,
    **options: Any,
) -> jax.Array:
    """``lax.dot_general``; x (..., C) times w (C, D) with machine code where it can be.

    That is float32, on a CPU with one device, with C, D and the rows of x multiples of 8 and W of
    at most ``WIDE`` numbers. For ``dot_general`` of ``nn.Dense``; differentiable either way, as
    often as one likes.
    """
    plain = dims == (((x.ndim - 1,), (0,)), ((), ())) and w.ndim == 2 and w.size <= WIDE
    rows, kind = x.size // max(1, x.shape[-1]), preferred_element_type
    plain = plain and w.shape[0] == x.shape[-1] and (kind is None or kind == jnp.float32)
    fits = plain and rows >= 2 * LONG and not (rows % 8 or w.shape[0] % 8 or w.shape[1] % 8)
    fits = fits and not any(options.values())
    if not fits or not possible(x, w):
        return jax.lax.dot_general(x, w, dims, precision, kind, **options)
    return _times.bind(x.reshape(rows, -1), w).reshape(*x.shape[:-1], w.shape[1])


def matmul(x: jax.Array, w: jax.Array) -> jax.Array:
    """x (..., C) times w (C, D): see ``dot_general``."""
    return dot_general(x, w, (((x.ndim - 1,), (0,)), ((), ())))


class Times(Kernel):
    """(X (N,C), W (C,D)) -> X W; an item is ROWS rows."""

    inputs, outputs = ("x", "w"), ("y",)

    def items(self, code: Code, lengths: list[Value]) -> Value:
        return (lengths[0] + (ROWS - 1)) // ROWS

    def body(self) -> None:
        code, (C, D) = self.code, self.sizes
        times = product(self.program, "times", (C, 1), D, D, D, packed=True)
        panel, row = self.room(3 * C * self.program.lanes), self.item * ROWS
        n = code.least(ROWS, self.lengths[0] - row)
        x, y = code.at(self.to["x"], row * C), code.at(self.to["y"], row * D)
        code.call(times, x, self.to["w"], y, n, C, panel)


class Outer(Kernel):
    """(X (N,C), G (N,D)) -> Xᵀ G of every LONG rows (items, C D)."""

    inputs, outputs = ("x", "g"), ("parts",)

    def items(self, code: Code, lengths: list[Value]) -> Value:
        return (lengths[0] + (LONG - 1)) // LONG

    def body(self) -> None:
        code, (C, D) = self.code, self.sizes
        outer = product(self.program, "outer", (1, C), D, D, D, add=True, packed=True)
        panel = self.room(3 * ROWS * self.program.lanes)
        to = code.at(self.to["parts"], self.item * (C * D))
        self.fill(0.0, to, C * D)
        stop = code.least(self.lengths[0], self.item * LONG + LONG)

        def block(row: Value) -> None:
            x, g = code.at(self.to["x"], row * C), code.at(self.to["g"], row * D)
            code.call(outer, x, g, to, C, code.least(ROWS, stop - row), panel)

        code.each(stop, block, self.item * LONG, ROWS)


def _times_now(x: Any, w: Any) -> Any:
    (C, D), shapes = w.shape, [(len(x), w.shape[1])]
    return call(Times, "times", (C, D), shapes, x, w, multiple=D)[0]


def _outer_now(x: Any, g: Any) -> Any:
    (N, C), D = x.shape, g.shape[1]
    shapes = [(-(-N // LONG), C * D)]
    parts = call(Outer, "outer", (C, D), shapes, x, g, multiple=D)[0]
    return added(parts[None])[0].reshape(C, D)


def _primitive(name: str, now: Any, shape: Any, by_first: Any, by_second: Any, plain: Any) -> Any:
    """A bilinear function of two matrices, with its gradients."""
    made = Primitive(name)
    made.def_impl(now)
    made.def_abstract_eval(lambda a, b: jax.core.ShapedArray(shape(a, b), a.dtype))
    mlir.register_lowering(made, mlir.lower_fun(now, multiple_results=False))
    ad.defbilinear(made, by_first, by_second)

    def batched(arrays: Any, axes: Any) -> Any:
        return jax.vmap(plain, in_axes=axes)(*arrays), 0

    batching.primitive_batchers[made] = batched
    return made


_times: Any = _primitive(
    "thin_times", _times_now, lambda x, w: (x.shape[0], w.shape[1]),
    lambda grad, x, w: _times.bind(grad, w.T), lambda grad, x, w: _outer.bind(x, grad),
    lambda x, w: x @ w,
)  # fmt: skip
_outer: Any = _primitive(
    "thin_outer", _outer_now, lambda x, g: (x.shape[1], g.shape[1]),
    lambda grad, x, g: _times.bind(g, grad.T), lambda grad, x, g: _times.bind(x, grad),
    lambda x, g: x.T @ g,
)  # fmt: skip
