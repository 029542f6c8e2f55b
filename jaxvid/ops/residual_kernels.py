"""A residual block of convolutions in one pass over rows that stay in the core's cache.

x + W3 lrelu(W2 * lrelu(W1 x + b1) + b2), W2 a convolution of 3 x 3, as ``models.blocks`` has it.
XLA makes three products and as many passes over what lies between them; here a block of rows goes
through all of it, and the gradient makes what lies between again. The convolution is three products
a row: what a pixel reads of one row of its neighbours lies side by side.
"""

from typing import Any

from jaxvid.ops.kernel import Kernel
from jaxvid.ops.machine import Program, product
from jaxvid.ops.machine_code import Code, Value

ROWS = 16  # of an item


class Block(Kernel):
    """What forward and backward share, of images (N,H,W,C) with F features between.

    An item is ROWS rows of an image.
    """

    def __init__(self, program: Program, *sizes: int) -> None:
        super().__init__(program, *sizes)
        self.H, self.W, self.C, self.F = sizes
        self.wide = self.W + 2  # pixels of a row with its border
        self.reduce = product(program, "reduce", (self.C, 1), self.F, self.F, self.F)
        per = items(self.H)
        self.image, self.row = self.item // per, self.item % per * ROWS
        self.rows = self.code.least(ROWS, self.row * -1 + self.H)

    def items(self, code: Code, lengths: list[Value]) -> Value:
        return lengths[0] * items(self.H)

    def of_row(self, name: str, r: Value) -> Value:
        """Row r of the item, in an image of C features."""
        place = ((self.image * self.H + self.row + r) * self.W) * self.C
        return self.code.at(self.to[name], place)

    def line(self, room: Value, r: Any) -> Value:
        """Row r of rows with borders, from the left border on."""
        return self.code.at(room, r * (self.wide * self.F))

    def inside(self, r: Value) -> Value:
        """Whether row r of the item is one of the image."""
        row = self.row + r
        return (row < self.H) & (row * -1 < 1)

    def reduced(self, room: Value, many: Any, before: int) -> None:
        """lrelu(W1 x + b1) of ``many`` rows, ``before`` of them above the item's; zeros beyond."""
        code = self.code

        def row(t: Value) -> None:
            line, r = self.line(room, t), t - before
            self.fill(0.0, line, self.wide * self.F)
            with code.when(self.inside(r)):
                pixels = code.at(line, self.F)
                code.call(self.reduce, self.of_row("x", r), self.to["w1"], pixels, self.W, self.C)
                self.shifted(pixels, self.to["b1"], self.F, self.W)

        code.each(many, row)

    def convolved(
        self, function: Any, more: Any, room: Value, t: Value, by: Value, to: Value
    ) -> None:
        """The convolution of rows t, t + 1 and t + 2 with (3, 3 F, F): one row of W pixels."""
        step = 3 * self.F * self.F
        for dy, product_of in enumerate((function, more, more)):
            line = self.line(room, t + dy)
            self.code.call(product_of, line, self.code.at(by, dy * step), to, self.W, 3 * self.F)


class Forward(Block):
    """(x, W1 (C,F), b1, W2 (3,3,F,F), b2, W3 (F,C)) -> y."""

    inputs, outputs = ("x", "w1", "b1", "w2", "b2", "w3"), ("y",)

    def body(self) -> None:
        code, program, C, F = self.code, self.program, self.C, self.F
        first = product(program, "first", (F, 1), F, F, F)
        more = product(program, "more", (F, 1), F, F, F, add=True)
        expand = product(program, "expand", (F, 1), C, C, C, add=True)
        H1, H2 = self.room((ROWS + 2) * self.wide * F), self.room(self.W * F)
        self.reduced(H1, self.rows + 2, 1)

        def row(r: Value) -> None:
            self.convolved(first, more, H1, r, self.to["w2"], H2)
            self.shifted(H2, self.to["b2"], F, self.W)
            x, y = self.of_row("x", r), self.of_row("y", r)
            self.vectors(self.W * C, lambda i: code.store(code.vector(x, i), y, i))
            code.call(expand, H2, self.to["w3"], y, self.W, F)

        code.each(self.rows, row)


class Backward(Block):
    """(x, W1, b1, W2, b2, the gradient of y, W1ᵀ, W2 turned (3,3,F,F), W3ᵀ) -> that of x, and what
    each item adds to those of W1, b1, W2, b2, W3 (items, parts)."""

    inputs = ("x", "w1", "b1", "w2", "b2", "dy", "w1t", "w2t", "w3t")
    outputs = ("dx", "parts")

    def body(self) -> None:
        code, program, C, F, W = self.code, self.program, self.C, self.F, self.W
        self.first = product(program, "first", (F, 1), F, F, F)
        self.more = product(program, "more", (F, 1), F, F, F, add=True)
        self.expand = product(program, "expand", (F, 1), C, C, C, add=True)
        add_w1 = product(program, "add_w1", (1, C), F, F, F, add=True)
        add_w2 = product(program, "add_w2", (1, F), F, F, F, add=True)
        add_w3 = product(program, "add_w3", (1, F), C, C, C, add=True)
        self.H1 = self.room((ROWS + 4) * self.wide * F)
        self.D2 = self.room((ROWS + 2) * self.wide * F)
        self.H2, self.D1 = self.room((ROWS + 2) * W * F), self.room(ROWS * W * F)
        own_parts, at = parts(C, F), self.item * sum(parts(C, F))
        self.fill(0.0, code.at(self.to["parts"], at), sum(own_parts))
        starts = [sum(own_parts[:i]) for i in range(5)]
        of_w1, of_b1, of_w2, of_b2, of_w3 = (code.at(self.to["parts"], at + i) for i in starts)

        self.reduced(self.H1, self.rows + 4, 2)
        code.each(self.rows + 2, self.of_second)
        own, first = self.rows * W, code.whole(0)
        code.call(add_w3, code.at(self.H2, W * F), self.of_row("dy", first), of_w3, F, own)
        # The borders of the gradient are zeros: rows follow one another as if there were none.
        pixels, many = code.at(self.line(self.D2, code.whole(1)), F), self.rows * self.wide - 2
        for dy in range(3):
            to = code.at(of_w2, dy * 3 * F * F)
            code.call(add_w2, self.line(self.H1, code.whole(1 + dy)), pixels, to, 3 * F, many)
        self.summed(pixels, many, F, of_b2)
        code.each(self.rows, self.of_first)
        code.call(add_w1, self.of_row("x", first), self.D1, of_w1, C, own)
        self.summed(self.D1, own, F, of_b1)

    def of_second(self, t: Value) -> None:
        """The gradient of what the second activation is of, in row t - 1."""
        code, r, line = self.code, t - 1, self.line(self.D2, t)
        self.fill(0.0, line, self.wide * self.F)
        with code.when(self.inside(r)):
            pixels, bent = code.at(line, self.F), code.at(self.H2, t * (self.W * self.F))
            self.convolved(self.first, self.more, self.H1, t, self.to["w2"], bent)
            self.shifted(bent, self.to["b2"], self.F, self.W)
            code.call(self.reduce, self.of_row("dy", r), self.to["w3t"], pixels, self.W, self.C)
            self.unbent(pixels, bent, self.W * self.F)

    def of_first(self, r: Value) -> None:
        """Row r of the gradient of x, by way of that of the first activation."""
        code = self.code
        grad = code.at(self.D1, r * (self.W * self.F))
        self.convolved(self.first, self.more, self.D2, r, self.to["w2t"], grad)
        self.unbent(grad, code.at(self.line(self.H1, r + 2), self.F), self.W * self.F)
        dy, dx = self.of_row("dy", r), self.of_row("dx", r)
        self.vectors(self.W * self.C, lambda i: code.store(code.vector(dy, i), dx, i))
        code.call(self.expand, grad, self.to["w1t"], dx, self.W, self.F)


def items(height: int) -> int:
    """Of an image."""
    return -(-height // ROWS)


def parts(C: int, F: int) -> tuple[int, ...]:
    """Sizes of the gradients of W1, b1, W2, b2 and W3, which lie one after the other."""
    return C * F, F, 9 * F * F, F, F * C
