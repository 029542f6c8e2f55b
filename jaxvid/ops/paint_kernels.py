"""Actors painted over a background, rows at a time that stay in the core's cache: see ``paint``."""

import math
from collections.abc import Callable
from typing import Any

from jaxvid.ops.kernel import SLOPE, Kernel
from jaxvid.ops.layout import PLACES
from jaxvid.ops.machine import Program, product
from jaxvid.ops.machine_code import Code, Value

PIXELS = 64  # of a block, or a row where that is more
LOG2E = math.log2(math.e)


class Painter(Kernel):
    """What forward and backward share, of N actors in frames (B,T,H,W), with D features of a shape
    and F of the field. An item is a frame; a block some rows of it. The index of an actor comes
    before all others.
    """

    axes = ((0, 1), (0, 2))

    def __init__(self, program: Program, *sizes: int) -> None:
        super().__init__(program, *sizes)
        self.N, self.H, self.W, self.D, self.F = sizes
        self.B, self.T = self.lengths
        self.example = self.item // self.T
        self.many = max(1, PIXELS // self.W)  # rows of a block
        size, D, F = self.many * self.W, self.D, self.F
        self.place = product(program, "place", (PLACES, 1), D, D, D)
        self.edge = product(program, "edge", (D, 1), D, D, D)
        self.spread = product(program, "spread", (D, 1), F, F, F)
        # E and H of each actor, its gates, and how far its values are from the field
        self.slot = size * 2 * (D + F)
        self.slots = self.room(self.N * self.slot)
        self.starts = (0, size * D, size * 2 * D, size * (2 * D + F))

    def items(self, code: Code, lengths: list[Value]) -> Value:
        return lengths[0] * lengths[1]

    def blocks(self, body: Callable[[Value, Value], None]) -> None:
        """``body(first row, rows)`` for each block of the frame."""
        code = self.code

        def block(r: Value) -> None:
            body(r, code.least(self.many, r * -1 + self.H))

        code.each(self.H, block, step=self.many)

    def of(self, name: str, actor: Any, per: int, at: Any = 0) -> Value:
        """The frame's (or example's) part of an actor's operand: ``per`` floats of each."""
        still = name in ("kernel", "kernelt", "look")
        whole, mine = (self.B, self.example) if still else (self.B * self.T, self.item)
        return self.code.at(self.to[name], (whole * actor + mine) * per + at)

    def pixel(self, name: str, actor: Any, r: Value, features: int) -> Value:
        """From row r on."""
        return self.of(name, actor, self.H * self.W * features, r * (self.W * features))

    def shown(self, actor: Value, r: Value, rows: Value) -> Value:
        """Whether the mask of some rows is not zero everywhere."""
        code, mask = self.code, self.pixel("mask", actor, r, 1)

        def some(i: Value, sums: list[Value]) -> list[Value]:
            x = code.vector(mask, i)
            return [code.fma(x, x, sums[0])]

        (total,) = code.fold(rows * self.W, some, [code.spread(0.0)], step=self.program.lanes)
        zero = code.same(0.0, total := code.total(total))[0]
        return Value(code, code.builder.fcmp_unordered("!=", total.raw, zero.raw))  # or no number

    def of_slot(self, actor: Value) -> list[Value]:
        return [self.code.at(self.slots, actor * self.slot + start) for start in self.starts]

    def over(self, r: Value, rows: Value, field: Value) -> None:
        """All actors painted over the field of some rows, but for those that nothing is seen of."""

        def actor(n: Value) -> None:
            with self.code.when(self.shown(n, r, rows)):
                self.layers(n, r, rows)
                self.painted(n, r, rows, field)

        self.code.each(self.N, actor)

    def layers(self, actor: Value, r: Value, rows: Value) -> None:
        """E, H, the gate before its sigmoid and the value without the look, of some rows."""
        code, D, W, n = self.code, self.D, self.W, rows * self.W
        E, H, gate, value = self.of_slot(actor)
        kernel = self.of("kernel", actor, PLACES * D)
        code.call(self.place, self.pixel("places", actor, r, PLACES), kernel, E, n, PLACES)
        columns = self.of("columns", actor, W * D)

        def row(t: Value) -> None:
            down = self.of("rows", actor, self.H * D, (r + t) * D)

            def some(x: Value, d: Value) -> None:
                place = (t * W + x) * D + d
                y = code.vector(E, place) + code.vector(columns, x * D + d) + code.vector(down, d)
                code.store(code.most(y, y * SLOPE), E, place)

            code.each(W, lambda x: self.vectors(D, lambda d: some(x, d)))

        code.each(rows, row)
        code.call(self.edge, E, self.to["we"], H, n, D)
        self.shifted(H, self.to["be"], D, n)
        code.call(self.spread, H, self.to["wg"], gate, n, D)
        code.call(self.spread, H, self.to["wv"], value, n, D)

    def painted(self, actor: Value, r: Value, rows: Value, field: Value) -> None:
        """The field with the actor over it; gates and distances are left in the slot."""
        code, F = self.code, self.F
        _, _, gates, values = self.of_slot(actor)
        mask, look = self.pixel("mask", actor, r, 1), self.of("look", actor, F)

        def some(t: Value, f: Value) -> None:
            place = t * F + f
            logit = code.vector(gates, place) + code.vector(self.to["bg"], f)
            gate = code.spread(1.0) / (code.exp2(code.least(126.0, logit * -LOG2E)) + 1.0)
            behind = code.vector(field, place)
            far = code.vector(values, place) + code.vector(look, f) - behind
            code.store(gate, gates, place)
            code.store(far, values, place)
            code.store(code.fma(gate * code.load(mask, t), far, behind), field, place)

        code.each(rows * self.W, lambda t: self.vectors(F, lambda f: some(t, f)))

    def ground(self, r: Value, rows: Value, to: Value) -> None:
        """The background of some rows."""
        size = self.W * self.F
        source = self.code.at(self.to["ground"], (self.example * self.H + r) * size)
        self.vectors(rows * size, lambda i: self.code.store(self.code.vector(source, i), to, i))


class Forward(Painter):
    """(places (N,B,T,H,W,PLACES), columns (N,B,T,W,D), rows (N,B,T,H,D), kernel (N,B,PLACES,D),
    mask (N,B,T,H,W), ground (B,H,W,F), We, be, Wg, bg, Wv, look (N,B,F)) -> field (B,T,H,W,F)."""

    inputs = ("places", "columns", "rows", "kernel", "mask", "ground",
              "we", "be", "wg", "bg", "wv", "look")  # fmt: skip
    outputs = ("out",)

    def body(self) -> None:
        self.blocks(self.block)

    def block(self, r: Value, rows: Value) -> None:
        field = self.pixel("out", 0, r, self.F)
        self.ground(r, rows, field)
        self.over(r, rows, field)


class Backward(Painter):
    """(the same, the gradient, Weᵀ, Wgᵀ, Wvᵀ, kernelᵀ (N,B,D,PLACES)) -> those of places, columns,
    rows and mask, that of the ground (B,T,H,W,F), frame by frame, and what each frame adds to those
    of the weights and, of each actor, of kernel and look (B T, parts)."""

    inputs = (*Forward.inputs, "grad", "wet", "wgt", "wvt", "kernelt")
    outputs = ("d_places", "d_columns", "d_rows", "d_mask", "d_ground", "parts")

    def body(self) -> None:
        code, program, D, F = self.code, self.program, self.D, self.F
        size = self.many * self.W
        self.joined = product(program, "joined", (F, 1), D, D, D)
        self.more = product(program, "more", (F, 1), D, D, D, add=True)
        self.of_edge = product(program, "of_edge", (1, D), D, D, D, add=True)
        self.of_spread = product(program, "of_spread", (1, D), F, F, F, add=True)
        self.of_kernel = product(program, "of_kernel", (1, PLACES), D, D, D, add=True)
        self.of_places = product(program, "of_places", (D, 1), PLACES, PLACES, PLACES)
        self.field, self.DG, self.DV = (self.room(size * F) for _ in range(3))
        self.DH, self.DE = self.room(size * D), self.room(size * D)
        sizes = parts(self.N, D, F)
        at = self.item * sum(sizes)
        self.part = [code.at(self.to["parts"], at + sum(sizes[:i])) for i in range(len(sizes))]
        self.fill(0.0, self.part[0], sum(sizes))

        def clear(n: Value) -> None:
            self.fill(0.0, self.of("d_columns", n, self.W * D), self.W * D)
            self.fill(0.0, self.of("d_rows", n, self.H * D), self.H * D)

        code.each(self.N, clear)
        self.blocks(self.block)

    def block(self, r: Value, rows: Value) -> None:
        code = self.code
        self.ground(r, rows, self.field)
        self.over(r, rows, self.field)
        grad, to = self.pixel("grad", 0, r, self.F), self.pixel("d_ground", 0, r, self.F)
        self.vectors(rows * self.W * self.F, lambda i: code.store(code.vector(grad, i), to, i))

        def actor(i: Value) -> None:
            n = i * -1 + (self.N - 1)
            for name, per in (("d_places", PLACES), ("d_mask", 1)):
                self.fill(0.0, self.pixel(name, n, r, per), rows * (self.W * per))
            with code.when(self.shown(n, r, rows)):
                self.of_actor(n, r, rows, to)

        code.each(self.N, actor)

    def of_actor(self, actor: Value, r: Value, rows: Value, grad: Value) -> None:
        """An actor's gradients, from that of the field with it to that of the field without."""
        code, D, F, n = self.code, self.D, self.F, rows * self.W
        E, H, *_ = self.of_slot(actor)
        code.each(n, lambda t: self.of_pixel(actor, r, t, grad))
        of_we, of_be, of_wg, of_bg, of_wv, kernels, looks = self.part
        code.call(self.of_spread, H, self.DG, of_wg, D, n)
        code.call(self.of_spread, H, self.DV, of_wv, D, n)
        self.summed(self.DG, n, F, of_bg)
        self.summed(self.DV, n, F, code.at(looks, actor * F))
        code.call(self.joined, self.DG, self.to["wgt"], self.DH, n, F)
        code.call(self.more, self.DV, self.to["wvt"], self.DH, n, F)
        self.unbent(self.DH, H, n * D)
        code.call(self.of_edge, E, self.DH, of_we, D, n)
        self.summed(self.DH, n, D, of_be)
        code.call(self.edge, self.DH, self.to["wet"], self.DE, n, D)
        self.unbent(self.DE, E, n * D)
        of_kernel = code.at(kernels, actor * (PLACES * D))
        code.call(
            self.of_kernel, self.pixel("places", actor, r, PLACES), self.DE, of_kernel, PLACES, n
        )
        turned = self.of("kernelt", actor, PLACES * D)
        code.call(self.of_places, self.DE, turned, self.pixel("d_places", actor, r, PLACES), n, D)
        columns = self.of("d_columns", actor, self.W * D)

        def row(t: Value) -> None:
            line = code.at(self.DE, t * (self.W * D))
            self.summed(line, self.W, D, self.of("d_rows", actor, self.H * D, (r + t) * D))

            def some(i: Value) -> None:
                code.store(code.vector(columns, i) + code.vector(line, i), columns, i)

            self.vectors(self.W * D, some)

        code.each(rows, row)

    def of_pixel(self, actor: Value, r: Value, t: Value, grad: Value) -> None:
        """The gradients of a pixel's mask, of what is mixed there, and of what lies behind."""
        code, F = self.code, self.F
        _, _, gates, fars = self.of_slot(actor)
        mask = code.load(self.pixel("mask", actor, r, 1), t)

        def some(f: Value, sums: list[Value]) -> list[Value]:
            place = t * F + f
            gate, far, g = (code.vector(x, place) for x in (gates, fars, grad))
            shown = g * gate
            code.store(g - shown * mask, grad, place)
            code.store(shown * mask, self.DV, place)
            code.store(shown * far * (1.0 - gate) * mask, self.DG, place)
            return [code.fma(shown, far, sums[0])]

        (total,) = code.fold(F, some, [code.spread(0.0)], step=self.program.lanes)
        code.store(code.total(total), self.pixel("d_mask", actor, r, 1), t)


def parts(N: int, D: int, F: int) -> tuple[int, ...]:
    """Sizes of the gradients of We, be, Wg, bg, Wv, of all kernels and of all looks, which lie one
    after the other."""
    return D * D, D, D * F, F, D * F, N * PLACES * D, N * F
