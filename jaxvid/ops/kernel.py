"""What the machine code for CPUs has in common: operands, scratch memory, small loops over it."""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax.custom_derivatives import SymbolicZero

from jaxvid.ops import machine
from jaxvid.ops.machine import OPERANDS, Program
from jaxvid.ops.machine_code import Code, Value

SLOPE = 0.2  # of leaky ReLU


class Kernel:
    """One function, cut into items that threads take one after the other; see ``machine.handler``.

    ``sizes`` are fixed in the program; ``axes``, pairs (operand, axis), are read when it is called.
    A subclass names its operands, writes ``body`` and says how many ``items`` there are.
    """

    inputs: tuple[str, ...] = ()
    outputs: tuple[str, ...] = ()
    axes: tuple[tuple[int, int], ...] = ((0, 0),)

    def __init__(self, program: Program, *sizes: int) -> None:
        self.program, self.sizes = program, sizes
        pointer, number = program.pointer, program.number
        self.code = code = program.function("item", [pointer, number, pointer])
        job, self.item, self.scratch = code.arguments
        names = (*self.inputs, *self.outputs)
        at = range(OPERANDS, OPERANDS + 8 * (len(names) + len(self.axes)), 8)
        self.to = {x: code.word(job, byte, pointer) for x, byte in zip(names, at, strict=False)}
        self.lengths = [code.word(job, byte) for byte in at[len(names) :]]
        self.taken = 0

    def body(self) -> None:
        """Writes the work of ``self.item``."""
        raise NotImplementedError

    def items(self, code: Code, lengths: list[Value]) -> Value:
        """Their number, from the lengths of ``axes``."""
        raise NotImplementedError

    def write(self) -> None:
        """Writes the whole program."""
        self.body()
        self.code.give()
        machine.handler(
            self.program, self.code.function, len(self.inputs), len(self.outputs),
            self.axes, self.items, self.taken,
        )  # fmt: skip

    def room(self, floats: int) -> Value:
        """That many floats of the thread's own."""
        found = self.code.at(self.scratch, self.taken)
        self.taken += -(-floats // machine.LINE) * machine.LINE
        return found

    def fill(self, x: float, to: Value, stop: Any, start: Any = 0) -> None:
        self.code.each(stop, lambda i: self.code.store(x, to, i), start)

    def vectors(self, n: Any, body: Callable[[Value], None]) -> None:
        """``body(i)`` for the first lane of each vector of n floats, a multiple of the lanes."""
        self.code.each(n, body, step=self.program.lanes)

    def shifted(self, to: Value, bias: Value, width: int, n: Any) -> None:
        """n rows: leaky ReLU of row + bias."""
        code = self.code

        def row(i: Value) -> None:
            def some(j: Value) -> None:
                x = code.vector(to, i * width + j) + code.vector(bias, j)
                code.store(code.most(x, x * SLOPE), to, i * width + j)

            self.vectors(width, some)

        code.each(n, row)

    def unbent(self, grad: Value, bent: Value, n: Any) -> None:
        """The gradient before a leaky ReLU, in place of the one behind it, from its output."""
        code = self.code

        def some(i: Value) -> None:
            g = code.vector(grad, i)
            code.store((code.vector(bent, i) < 0.0).where(g * SLOPE, g), grad, i)

        self.vectors(n, some)

    def summed(self, rows: Value, n: Any, width: int, to: Value) -> None:
        """The sum of n rows, added to what is there."""
        code = self.code

        def some(j: Value) -> None:
            def more(i: Value, sums: list[Value]) -> list[Value]:
                return [sums[0] + code.vector(rows, i * width + j)]

            (total,) = code.fold(n, more, [code.vector(to, j)])
            code.store(total, to, j)

        self.vectors(width, some)


def possible(*arrays: jax.Array) -> bool:
    """Whether machine code can take these: float32, not ``followed``, on a CPU with one device."""
    ours = jax.default_backend() == "cpu" and jax.device_count() == 1 and not machine.refusal()
    return ours and all(x.dtype == jnp.float32 for x in arrays) and not followed(*arrays)


def followed(*arrays: Any) -> bool:
    """Whether JAX keeps account of what lies where on a mesh: in ``jax.shard_map`` that checks it,
    and with explicit axes. Gradients by machine code would not have the types it expects."""
    kinds = [jax.typeof(x) for x in arrays]
    varying = (getattr(getattr(kind, "mat", None), "varying", ()) for kind in kinds)
    return any(varying) or any(any(kind.sharding.spec) for kind in kinds)


def call(
    kernel: type[Kernel],
    name: str,
    sizes: Sequence[int],
    shapes: Sequence[tuple[int, ...]],
    *arrays: Any,
    multiple: int = 16,
) -> tuple[Any, ...]:
    """The kernel's outputs, float32, of these shapes. ``multiple``: see ``machine.register``."""
    full = "_".join(map(str, ("jaxvid", name, *sizes)))
    machine.register(full, lambda program: kernel(program, *sizes).write(), multiple)
    kinds = [jax.ShapeDtypeStruct(shape, jnp.float32) for shape in shapes]
    return tuple(jax.ffi.ffi_call(full, kinds, vmap_method="sequential")(*arrays))


def added(x_BIP: jax.Array) -> jax.Array:
    """The sum over I, as a product: XLA's CPU compiler makes a sum over other axes than the last
    20 times as slow."""
    return jnp.einsum("i,bip->bp", jnp.ones(x_BIP.shape[1], x_BIP.dtype), x_BIP)


def differentiable(
    run: Callable[..., Any], gradients: Callable[..., Any], plain: Callable[..., Any]
) -> Callable[..., Any]:
    """``run(*arrays)``, an array, whose gradients are ``gradients(grad, *arrays)``; those of these
    are what the formula ``plain`` gives, so all can be differentiated backwards again."""
    first, second = jax.custom_vjp(run), jax.custom_vjp(gradients)

    def forward(*arrays: Any) -> Any:
        return second(*(values := [x.value for x in arrays])), values

    def backward(kept: Any, changes: Any) -> Any:
        return once_more(lambda grad, *x: jax.vjp(plain, *x)[1](grad), kept, changes)

    first.defvjp(lambda *arrays: (first(*arrays), arrays), lambda kept, g: second(g, *kept))
    second.defvjp(forward, backward, symbolic_zeros=True)
    return first


def once_more(function: Callable[..., Any], arrays: Any, changes: Any) -> Any:
    """The gradients of ``function(*arrays)``, several arrays, by way of those that ``changes`` are
    of: a penalty of the gradient by one array leaves those of the others out, zeros that XLA would
    carry through every product."""
    of = [i for i, change in enumerate(changes) if not isinstance(change, SymbolicZero)]

    def asked(*x: Any) -> Any:
        found = function(*x)
        return [found[i] for i in of]

    return jax.vjp(asked, *arrays)[1]([changes[i] for i in of])
