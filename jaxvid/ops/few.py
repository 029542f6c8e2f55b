"""Attention among few tokens, such as the frames of a place, as machine code for CPUs.

XLA makes a product of 8 x 8 numbers for every head and example, at a tenth of the CPU's rate;
here a head's queries, keys and values are read as they lie and all between stays in the cache.
"""

from typing import Any

import jax
import jax.numpy as jnp

from jaxvid.ops.flash_kernels import LOG2E
from jaxvid.ops.kernel import Kernel, call, differentiable
from jaxvid.ops.machine import Program, product
from jaxvid.ops.machine_code import Code, Value

TOKENS = (8, 16)
EXAMPLES = 16  # of an item


def fits(q_shape: tuple[int, ...], k_shape: tuple[int, ...]) -> bool:
    """8 or 16 tokens, as many heads of keys as of queries, features in eights."""
    L, S, A = q_shape[-3], k_shape[-3], q_shape[-1]
    return L in TOKENS and S in TOKENS and q_shape[-2] == k_shape[-2] and A % 8 == 0 and A <= 128


def attend(scale: float, q: jax.Array, k: jax.Array, v: jax.Array) -> jax.Array:
    """softmax(scale Q Kᵀ) V, float32: q (B,L,K,A), k and v (B,S,K,A); else by XLA."""
    same = k.shape == v.shape == (q.shape[0], k.shape[1], *q.shape[2:])
    way = _attend if same and fits(q.shape, k.shape) else plain
    return way(q * jnp.float32(scale), k, v)


def plain(q: Any, k: Any, v: Any) -> Any:
    """The formula, by XLA."""
    weights = jax.nn.softmax(jnp.einsum("blka,bska->bkls", q, k), axis=-1)
    return jnp.einsum("bkls,bska->blka", weights, v)


class Heads(Kernel):
    """What forward and backward share, of sizes (L,S,K,A). An item is EXAMPLES examples."""

    def __init__(self, program: Program, *sizes: int) -> None:
        super().__init__(program, *sizes)
        self.L, self.S, self.K, self.A = sizes
        self.step = self.K * self.A  # floats from a token to the next
        self.logits = product(program, "logits", (self.step, 1), self.S, self.S, self.S)
        self.turned, self.P = self.room(self.A * self.S), self.room(self.L * self.S)
        self.keys = range(0, self.S, program.lanes)

    def items(self, code: Code, lengths: list[Value]) -> Value:
        return (lengths[0] + (EXAMPLES - 1)) // EXAMPLES

    def body(self) -> None:
        first = self.item * EXAMPLES
        n = self.code.least(EXAMPLES, self.lengths[0] - first)
        self.code.each(n, lambda b: self.code.each(self.K, lambda h: self.head(first + b, h)))

    def head(self, b: Value, h: Value) -> None:
        """Writes the work of one head of one example."""
        raise NotImplementedError

    def of(self, name: str, b: Value, h: Value, tokens: int) -> Value:
        return self.code.at(self.to[name], b * (tokens * self.step) + h * self.A)

    def against(self, rows: Value, of: Value, to: Value) -> None:
        """L rows times S rows turned: (L,S)."""
        code, A, S = self.code, self.A, self.S

        def column(t: Value) -> None:
            source, line = code.at(of, t * self.step), code.at(self.turned, t)
            code.each(A, lambda a: code.store(code.load(source, a), line, a * S))

        code.each(S, column)
        code.call(self.logits, rows, self.turned, to, self.L, A)

    def probabilities(self, b: Value, h: Value) -> None:
        code = self.code
        self.against(self.of("q", b, h, self.L), self.of("k", b, h, self.S), self.P)

        def row(i: Value) -> None:
            line = code.at(self.P, i * self.S)
            x = [code.vector(line, c) * LOG2E for c in self.keys]
            top = code.spread(code.highest(x[0] if len(x) == 1 else code.most(*x)))
            p = [code.exp2(y - top) for y in x]
            share = 1.0 / code.total(sum(p, code.spread(0.0)))
            for c, y in zip(self.keys, p, strict=True):
                code.store(y * share, line, c)

        code.each(self.L, row)


class Forward(Heads):
    """(q, k, v) -> out (B,L,K,A)."""

    inputs, outputs = ("q", "k", "v"), ("out",)

    def __init__(self, program: Program, *sizes: int) -> None:
        super().__init__(program, *sizes)
        step = self.step
        self.values = product(program, "values", (self.S, 1), step, step, self.A)

    def head(self, b: Value, h: Value) -> None:
        self.probabilities(b, h)
        v = self.of("v", b, h, self.S)
        self.code.call(self.values, self.P, v, self.of("out", b, h, self.L), self.L, self.S)


class Backward(Heads):
    """(q, k, v, the gradient of out) -> those of q, k, v."""

    inputs, outputs = ("q", "k", "v", "grad"), ("dq", "dk", "dv")

    def __init__(self, program: Program, *sizes: int) -> None:
        super().__init__(program, *sizes)
        step, A = self.step, self.A
        self.over_keys = product(program, "over_keys", (self.S, 1), step, step, A)
        self.over_queries = product(program, "over_queries", (1, self.S), step, step, A)
        self.D = self.room(self.L * self.S)

    def head(self, b: Value, h: Value) -> None:
        code, (L, S) = self.code, (self.L, self.S)
        q, dq, grad = (self.of(name, b, h, L) for name in ("q", "dq", "grad"))
        k, v, dk, dv = (self.of(name, b, h, S) for name in ("k", "v", "dk", "dv"))
        self.probabilities(b, h)
        self.against(grad, v, self.D)

        def row(i: Value) -> None:
            p_line, d_line = code.at(self.P, i * S), code.at(self.D, i * S)
            pairs = [(code.vector(p_line, c), code.vector(d_line, c)) for c in self.keys]
            inner = code.spread(code.total(sum((p * d for p, d in pairs), code.spread(0.0))))
            for c, (p, d) in zip(self.keys, pairs, strict=True):
                code.store(p * (d - inner), d_line, c)

        code.each(L, row)
        code.call(self.over_queries, self.P, grad, dv, S, L)
        code.call(self.over_keys, self.D, k, dq, L, S)
        code.call(self.over_queries, self.D, q, dk, S, L)


def _run(q: Any, k: Any, v: Any) -> Any:
    return _call(Forward, "few", [q.shape], q, k, v)[0]


def _gradients(grad: Any, q: Any, k: Any, v: Any) -> Any:
    return _call(Backward, "few_gradient", [q.shape, k.shape, v.shape], q, k, v, grad)


def _call(kernel: type[Heads], name: str, shapes: Any, q: Any, k: Any, *rest: Any) -> Any:
    sizes = (q.shape[1], k.shape[1], *q.shape[2:])
    return call(kernel, name, sizes, shapes, q, k, *rest, multiple=k.shape[1] | q.shape[3])


_attend = differentiable(_run, _gradients, plain)
