"""A function for the CPU's vector units, written in Python: ``Code`` and its ``Value``s (LLVM)."""

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

try:
    from llvmlite import ir
except (ImportError, OSError):  # a platform without it; see ``machine.refusal``
    ir = None

if TYPE_CHECKING:
    from jaxvid.ops.machine import Program


class Value:
    """A number, a vector or an address in the program; operators add instructions to it."""

    def __init__(self, code: "Code", raw: Any) -> None:
        self.code, self.raw = code, raw

    def _with(self, other: Any, whole: str, real: str, turned: bool = False) -> "Value":
        a, b = self.code.same(self, other)
        a, b = (b, a) if turned else (a, b)
        return Value(self.code, getattr(self.code.builder, real if a.real else whole)(a.raw, b.raw))

    @property
    def real(self) -> bool:
        kind = self.raw.type
        return (kind.element if isinstance(kind, ir.VectorType) else kind) == ir.FloatType()

    def __add__(self, other: Any) -> "Value":
        return self._with(other, "add", "fadd")

    def __sub__(self, other: Any) -> "Value":
        return self._with(other, "sub", "fsub")

    def __rsub__(self, other: Any) -> "Value":
        return self._with(other, "sub", "fsub", turned=True)

    def __mul__(self, other: Any) -> "Value":
        return self._with(other, "mul", "fmul")

    def __floordiv__(self, other: Any) -> "Value":
        return self._with(other, "sdiv", "fdiv")

    def __truediv__(self, other: Any) -> "Value":
        return self._with(other, "sdiv", "fdiv")

    def __mod__(self, other: Any) -> "Value":
        return self._with(other, "srem", "frem")

    def __rtruediv__(self, other: Any) -> "Value":
        return self._with(other, "sdiv", "fdiv", turned=True)

    def __lshift__(self, bits: int) -> "Value":
        return self._with(bits, "shl", "shl")

    def __lt__(self, other: Any) -> "Value":
        a, b = self.code.same(self, other)
        compare = self.code.builder.fcmp_ordered if a.real else self.code.builder.icmp_signed
        return Value(self.code, compare("<", a.raw, b.raw))

    __radd__, __rmul__ = __add__, __mul__

    def __and__(self, other: Any) -> "Value":
        return self._with(other, "and_", "and_")

    def equals(self, other: Any) -> "Value":
        """Of whole numbers."""
        a, b = self.code.same(self, other)
        return Value(self.code, self.code.builder.icmp_signed("==", a.raw, b.raw))

    def where(self, yes: Any, no: Any) -> "Value":
        """This as a condition; one of them may be a number."""
        yes, no = self.code.same(yes, no)
        return Value(self.code, self.code.builder.select(self.raw, yes.raw, no.raw))


class Code:
    """One function being written; ``lanes`` floats make a vector."""

    def __init__(self, program: "Program", function: Any) -> None:
        self.program, self.function, self.lanes = program, function, program.lanes
        self.builder = ir.IRBuilder(function.append_basic_block())
        self.arguments = [Value(self, x) for x in function.args]

    # Numbers

    def same(self, a: Any, b: Any) -> tuple[Value, Value]:
        """Both as values of one type: numbers take the other's, a single one is spread."""
        if not isinstance(a, Value):
            a = Value(self, _constant(b.raw.type, a))
        if not isinstance(b, Value):
            b = Value(self, _constant(a.raw.type, b))
        if isinstance(a.raw.type, ir.VectorType) and not isinstance(b.raw.type, ir.VectorType):
            b = self.spread(b)
        elif isinstance(b.raw.type, ir.VectorType) and not isinstance(a.raw.type, ir.VectorType):
            a = self.spread(a)
        return a, b

    def whole(self, number: int) -> Value:
        return Value(self, ir.Constant(ir.IntType(64), number))

    def spread(self, x: Value | float) -> Value:
        """A vector that holds x in every lane."""
        if not isinstance(x, Value):
            return Value(self, _constant(self.program.vector, x))
        kind = ir.VectorType(x.raw.type, self.lanes)
        one = self.builder.insert_element(
            ir.Constant(kind, ir.Undefined), x.raw, ir.Constant(ir.IntType(32), 0)
        )
        zeros = ir.Constant(ir.VectorType(ir.IntType(32), self.lanes), [0] * self.lanes)
        return Value(self, self.builder.shuffle_vector(one, ir.Constant(kind, ir.Undefined), zeros))

    def to_real(self, x: Value) -> Value:
        return Value(self, self.builder.sitofp(x.raw, ir.FloatType()))

    def to_number(self, x: Value) -> Value:
        """A 32-bit whole number as one of 64."""
        return Value(self, self.builder.sext(x.raw, ir.IntType(64)))

    def least(self, a: Any, b: Any) -> Value:
        """The smaller; b where one is not a number."""
        a, b = self.same(a, b)
        return (a < b).where(a, b)

    def most(self, a: Any, b: Any) -> Value:
        """The larger; b where one is not a number."""
        a, b = self.same(a, b)
        return (b < a).where(a, b)

    def fma(self, a: Value, b: Value, c: Value) -> Value:
        """a b + c, as one instruction where the CPU has it; else the product is rounded too."""
        name = f"llvm.fmuladd.v{self.lanes}f32"
        vector = self.program.vector
        return self.call(self.program.external(name, vector, [vector] * 3), a, b, c)

    def total(self, x: Value) -> Value:
        """The sum of a vector's lanes, in whatever order."""
        real = self.program.real
        name = f"llvm.vector.reduce.fadd.v{self.lanes}f32"
        function = self.program.external(name, real, [real, self.program.vector])
        zero = ir.Constant(real, 0.0)
        return Value(self, self.builder.call(function, [zero, x.raw], fastmath=("reassoc",)))

    def highest(self, x: Value) -> Value:
        """The largest of a vector's lanes."""
        name = f"llvm.vector.reduce.fmax.v{self.lanes}f32"
        return self.call(self.program.external(name, self.program.real, [self.program.vector]), x)

    def exp2(self, x: Value) -> Value:
        """2 to the power of a vector that is at most 127; relative error 2e-7, zero up to -126.

        The nearest whole number goes into the exponent, the rest through a polynomial. What is not
        a number stays so: its bits, added to the exponent, could make it one.
        """
        bright = self.spread(-126.0) < x
        x = self.most(-126.0, x)
        magic = 12582912.0  # 1.5 x 2^23: what is added to it is rounded to whole numbers
        high = x + magic
        rest = x - (high - magic)
        y = self.spread(EXP2[0])
        for coefficient in EXP2[1:]:
            y = self.fma(y, rest, self.spread(coefficient))
        bits = ir.VectorType(ir.IntType(32), self.lanes)
        power = Value(self, self.builder.bitcast(high.raw, bits)) << 23
        made = Value(self, self.builder.bitcast(y.raw, bits)) + power
        y = Value(self, self.builder.bitcast(made.raw, self.program.vector))
        return bright.where(y, x - x)

    # Memory: addresses, and places counted in floats

    def at(self, address: Value, place: Any) -> Value:
        _, place = self.same(self.whole(0), place)
        return Value(self, self.builder.gep(address.raw, [place.raw], source_etype=ir.FloatType()))

    def load(self, address: Value, place: Any = 0, kind: Any = None) -> Value:
        """A float, or another kind from 4-byte places."""
        raw = self.builder.load(self.at(address, place).raw, typ=kind or ir.FloatType(), align=4)
        return Value(self, raw)

    def vector(self, address: Value, place: Any = 0) -> Value:
        return self.load(address, place, self.program.vector)

    def store(self, x: Any, address: Value, place: Any = 0) -> None:
        x = x if isinstance(x, Value) else Value(self, ir.Constant(ir.FloatType(), x))
        self.builder.store(x.raw, self.at(address, place).raw, align=4)

    def word(self, address: Value, byte: int, kind: Any = None) -> Value:
        """A 64-bit number, or an address (``program.pointer``), at a byte of a structure."""
        return self.load(address, byte // 4, kind or ir.IntType(64))

    def set_word(self, x: Value, address: Value, byte: int) -> None:
        self.builder.store(x.raw, self.at(address, byte // 4).raw, align=8)

    def words(self, n: int) -> Value:
        """The address of n 64-bit words that last until the function returns."""
        raw = self.builder.alloca(ir.ArrayType(ir.IntType(64), n))
        raw.type = self.program.pointer
        return Value(self, raw)

    def counted(self, address: Value, byte: int, change: int) -> Value:
        """The number before the change, which no other thread can come between."""
        raw = self.builder.atomic_rmw(
            "add", self.at(address, byte // 4).raw, ir.Constant(ir.IntType(64), change), "seq_cst"
        )
        return Value(self, raw)

    # Control

    def fold(
        self,
        stop: Any,
        body: Callable[[Value, list[Value]], Sequence[Value]],
        carry: Sequence[Value] = (),
        start: Any = 0,
        step: int = 1,
    ) -> list[Value]:
        """``carry = body(i, carry)`` for i from start to before stop."""
        builder = self.builder
        stop, start = (x if isinstance(x, Value) else self.whole(x) for x in (stop, start))
        before = builder.block
        head, inside, after = (self.function.append_basic_block() for _ in range(3))
        builder.branch(head)
        builder.position_at_end(head)
        phis = [builder.phi(x.raw.type) for x in (start, *carry)]
        for phi, x in zip(phis, (start, *carry), strict=True):
            phi.add_incoming(x.raw, before)
        i, *values = (Value(self, phi) for phi in phis)
        builder.cbranch((i < stop).raw, inside, after)
        builder.position_at_end(inside)
        new = (i + step, *body(i, values))
        for phi, x in zip(phis, new, strict=True):
            phi.add_incoming(x.raw, builder.block)
        builder.branch(head)
        builder.position_at_end(after)
        return values

    def each(self, stop: Any, body: Callable[[Value], None], start: Any = 0, step: int = 1) -> None:
        """``body(i)`` for i from start to before stop."""

        def once(i: Value, _: list[Value]) -> list[Value]:
            body(i)
            return []

        self.fold(stop, once, (), start, step)

    def repeat(self, condition: Callable[[], Value], body: Callable[[], Any]) -> None:
        """``body()`` while ``condition()``."""
        head, inside, after = (self.function.append_basic_block() for _ in range(3))
        self.builder.branch(head)
        self.builder.position_at_end(head)
        self.builder.cbranch(condition().raw, inside, after)
        self.builder.position_at_end(inside)
        body()
        self.builder.branch(head)
        self.builder.position_at_end(after)

    @contextlib.contextmanager
    def when(self, condition: Value) -> Iterator[None]:
        with self.builder.if_then(condition.raw):
            yield

    def call(self, function: Any, *arguments: Any) -> Value:
        kinds = function.function_type.args
        raw = [
            x.raw if isinstance(x, Value) else _constant(kind, x)
            for x, kind in zip(arguments, kinds, strict=True)
        ]
        return Value(self, self.builder.call(function, raw))

    def give(self, x: Value | None = None) -> None:
        """Return."""
        self.builder.ret(x.raw) if x is not None else self.builder.ret_void()


# 2^x on [-1/2, 1/2]: the polynomial of degree five with the smallest relative error (9.1e-8)
EXP2 = (1.32647e-3, 9.67151e-3, 5.550734e-2, 2.4022242e-1, 6.9314698e-1, 1.0)


def _constant(kind: Any, x: Any) -> Any:
    if isinstance(kind, ir.VectorType):
        return ir.Constant(kind, [x] * kind.count)
    return ir.Constant(kind, x)
