"""Attention in one pass over tiles that stay in the core's cache, written with ``machine_code``.

The algorithm is that of Dao et al., 2022 (arXiv 2205.14135, 1 and 4): probabilities are made tile
by tile, never kept, and made again for the gradient. A tile stands transposed, keys down and
queries across: then keys and values are used as they lie, the softmax runs along vectors of
queries, and only queries are turned.
"""

import math
from typing import Any

from jaxvid.ops import machine
from jaxvid.ops.kernel import Kernel
from jaxvid.ops.machine import Program, product
from jaxvid.ops.machine_code import Code, Value

LOW = -1e30  # the largest logit of a query that has seen no key
LOG2E = math.log2(math.e)


def _up(n: Any, to: int) -> Any:
    return (n + (to - 1)) // to * to


class Tiles(Kernel):
    """What forward and backward share. Items are blocks of queries of a head (forward) or heads of
    keys (backward)."""

    axes = ((0, 0), (0, 1), (0, 2), (1, 1), (1, 2))
    most = (0, 0)  # queries and keys of a tile

    def __init__(self, program: Program, *sizes: int) -> None:
        super().__init__(program, *sizes)
        (self.A, self.queries, self.keys), self.tall = sizes, program.tall
        self.spaced = self.queries + machine.LINE  # from a row of a tile to the next: no power of 2
        self.AP = _up(self.A, program.lanes)  # floats from a row of features to the next
        self.B, self.L, self.K, self.S, self.G = self.lengths
        self.lanes = range(0, self.queries, program.lanes)

    def query_place(self, b: Value, row: Value, h: Value) -> Value:
        return ((b * self.L + row) * self.K + h) * self.A

    def key_place(self, b: Value, row: Value, g: Value) -> Value:
        return ((b * self.S + row) * self.G + g) * self.A

    def rows(self, source: Value, step: Value, n: Value, to: Value, padded: Any) -> None:
        """n rows of features to rows of AP floats, zeros beyond them and up to ``padded`` rows."""
        code, A, AP = self.code, self.A, self.AP

        def row(t: Value) -> None:
            code.each(A, lambda a: code.store(code.load(source, t * step + a), to, t * AP + a))
            if AP > A:
                self.fill(0.0, code.at(to, t * AP), AP, A)

        code.each(n, row)
        self.fill(0.0, to, padded * AP, n * AP)

    def turned(self, source: Value, step: Value, n: Value, to: Value, factor: Any) -> None:
        """n rows times the factor as columns, zeros beyond them.

        Row after row: a column's loads, a power of two apart, would displace one another.
        """
        code = self.code

        def row(t: Value) -> None:
            line, place = code.at(source, t * step), code.at(to, t)
            code.each(
                self.A, lambda a: code.store(code.load(line, a) * factor, place, a * self.spaced)
            )

        code.each(n, row)
        code.each(self.A, lambda a: self.fill(0.0, code.at(to, a * self.spaced), self.queries, n))

    # Who reads what

    def limits(self, b: Value, row: Value, n: Value, limit: Value, segment: Value) -> Value:
        """Fills in limits and segments of n queries from ``row`` on; the highest limit."""
        code, mine = self.code, self.who(b, row)

        def one(r: Value, highest: list[Value]) -> list[Value]:
            many = code.load(mine, r, code.program.integer)
            code.store(code.to_real(many), limit, r)
            code.store(code.load(mine, self.L + r), segment, r)  # bits, whatever they mean
            return [code.most(highest[0], code.to_number(many))]

        (highest,) = code.fold(n, one, [code.whole(0)])
        self.fill(0.0, limit, self.queries, n)
        self.fill(0.0, segment, self.queries, n)
        return highest

    def who(self, b: Value, place: Any) -> Value:
        return self.code.at(self.to["who"], b * (self.L * 2 + self.S) + place)

    def readers(self, b: Value, j: Value, t: Value, limit: Value, segment: Value) -> list[Value]:
        """Which queries may read key j + t, one vector of truths for each of the lanes."""
        code = self.code
        key = code.spread(code.to_real(j + t))
        theirs = code.spread(code.load(self.who(b, self.L * 2 + j), t, code.program.integer))
        found = []
        for c in self.lanes:
            mine = code.load(segment, c, code.program.integers)
            found.append((key < code.vector(limit, c)) & mine.equals(theirs))
        return found


class Forward(Tiles):
    """(q, k, v, scale, who) -> out (B,L,K,A), log-sum-exp (B,K,L)."""

    inputs, outputs = ("q", "k", "v", "scale", "who"), ("out", "lse")
    most = (128, 256)

    def items(self, code: Code, lengths: list[Value]) -> Value:
        B, L, K, *_ = lengths
        return B * K * (_up(L, self.queries) // self.queries)

    def body(self) -> None:
        code, program, AP = self.code, self.program, self.AP
        self.logits = product(program, "logits", (AP, 1), self.spaced, self.spaced, self.queries)
        self.values = product(program, "values", (1, self.spaced), AP, AP, AP, add=True)
        self.QT, self.ST = self.room(self.A * self.spaced), self.room(self.keys * self.spaced)
        self.KR, self.VR = self.room(self.keys * AP), self.room(self.keys * AP)
        self.out = self.room(self.queries * AP)
        self.top, self.total, self.fade = (self.room(self.queries) for _ in range(3))
        self.limit, self.segment = self.room(self.queries), self.room(self.queries)

        blocks = _up(self.L, self.queries) // self.queries
        row, h = self.item % blocks * self.queries, self.item // blocks % self.K
        b = self.item // blocks // self.K
        n = code.least(self.queries, self.L - row)
        at, step = self.query_place(b, row, h), self.K * self.A
        factor = code.load(self.to["scale"]) * LOG2E
        self.turned(code.at(self.to["q"], at), step, n, self.QT, factor)
        seen = self.limits(b, row, n, self.limit, self.segment)
        self.fill(LOW, self.top, self.queries)
        self.fill(0.0, self.total, self.queries)
        self.fill(0.0, self.out, self.queries * AP)
        g = h // (self.K // self.G)
        code.each(
            seen, lambda j: self.block(b, g, j, code.least(self.keys, seen - j)), step=self.keys
        )
        code.each(n, lambda r: self.finish(r, at + r * step, (b * self.K + h) * self.L + row + r))

    def block(self, b: Value, g: Value, j: Value, n: Value) -> None:
        """Adds what n keys from j on give."""
        code, padded = self.code, _up(n, self.tall)
        at, step = self.key_place(b, j, g), self.G * self.A
        self.rows(code.at(self.to["k"], at), step, n, self.KR, padded)
        self.rows(code.at(self.to["v"], at), step, n, self.VR, padded)
        code.call(self.logits, self.KR, self.QT, self.ST, padded, self.A)
        self.softmax(b, j, n)

        def weaker(r: Value) -> None:
            line, factor = code.at(self.out, r * self.AP), code.load(self.fade, r)
            code.each(self.AP, lambda a: code.store(code.load(line, a) * factor, line, a))

        code.each(self.queries, weaker)
        code.call(self.values, self.ST, self.VR, self.out, self.queries, padded)

    def softmax(self, b: Value, j: Value, n: Value) -> None:
        """Logits to exponentials below the largest so far, with their sums."""
        code, lanes = self.code, self.lanes

        def highest(t: Value, tops: list[Value]) -> list[Value]:
            line, found = code.at(self.ST, t * self.spaced), []
            for c, y, may in zip(lanes, tops, self.readers(b, j, t, *who), strict=True):
                x = may.where(code.vector(line, c), LOW)
                code.store(x, line, c)
                found.append(code.most(x, y))
            return found

        def exponentials(t: Value, sums: list[Value]) -> list[Value]:
            line, found = code.at(self.ST, t * self.spaced), []
            for c, y, s in zip(lanes, new, sums, strict=True):
                x = code.vector(line, c)
                # A query that has seen no key: its logits are as low as its largest.
                p = (x < LOW / 2).where(0.0, code.exp2(x - y))
                code.store(p, line, c)
                found.append(s + p)
            return found

        who = self.limit, self.segment
        old = [code.vector(self.top, c) for c in lanes]
        new = code.fold(n, highest, old)
        shrink = [code.exp2(x - y) for x, y in zip(old, new, strict=True)]
        sums = [code.vector(self.total, c) * x for c, x in zip(lanes, shrink, strict=True)]
        sums = code.fold(n, exponentials, sums)
        for c, x, y, z in zip(lanes, new, sums, shrink, strict=True):
            for vector, to in ((x, self.top), (y, self.total), (z, self.fade)):
                code.store(vector, to, c)

    def finish(self, r: Value, to: Value, line: Value) -> None:
        """Writes the output and the log-sum-exp of query r."""
        code, real = self.code, self.program.real
        total = code.most(1e-37, code.load(self.total, r))
        out = code.at(self.out, r * self.AP)
        code.each(self.A, lambda a: code.store(code.load(out, a) / total, self.to["out"], to + a))
        log2 = self.program.external("llvm.log2.f32", real, [real])
        lse = (code.load(self.top, r) + code.call(log2, total)) * (1 / LOG2E)
        code.store(lse, self.to["lse"], line)


class Backward(Tiles):
    """(q, k, v, scale, who, out, log-sum-exp, the gradients of these two) -> those of q, k, v."""

    inputs = ("q", "k", "v", "scale", "who", "out", "lse", "grad", "grad_lse")
    outputs = ("dq", "dk", "dv")
    most = (64, 512)

    def items(self, code: Code, lengths: list[Value]) -> Value:
        return lengths[0] * lengths[4]

    def body(self) -> None:
        code, program, AP = self.code, self.program, self.AP
        self.logits = product(program, "logits", (AP, 1), self.spaced, self.spaced, self.queries)
        self.add_keys = product(program, "keys", (self.spaced, 1), AP, AP, AP, add=True)
        self.set_queries = product(program, "queries", (1, self.spaced), AP, AP, AP)
        self.QT, self.GT = self.room(self.A * self.spaced), self.room(self.A * self.spaced)
        self.PT, self.DT = self.room(self.keys * self.spaced), self.room(self.keys * self.spaced)
        self.KR, self.VR, self.DK, self.DV = (self.room(self.keys * AP) for _ in range(4))
        self.QR, self.GR, self.DQ = (self.room(self.queries * AP) for _ in range(3))
        self.limit, self.segment = self.room(self.queries), self.room(self.queries)
        self.lse, self.inner = self.room(self.queries), self.room(self.queries)
        self.scale = code.load(self.to["scale"])

        b, g = self.item // self.G, self.item % self.G

        def clear(r: Value) -> None:
            at = self.query_place(b, r, g * (self.K // self.G))
            self.fill(0.0, code.at(self.to["dq"], at), self.K // self.G * self.A)

        code.each(self.L, clear)
        code.each(self.S, lambda j: self.of_keys(b, g, j), step=self.keys)

    def of_keys(self, b: Value, g: Value, j: Value) -> None:
        """A block of keys and all queries of the heads that read them."""
        code, A, AP = self.code, self.A, self.AP
        n, group = code.least(self.keys, self.S - j), self.K // self.G
        at, step = self.key_place(b, j, g), self.G * A
        self.rows(code.at(self.to["k"], at), step, n, self.KR, _up(n, self.tall))
        self.rows(code.at(self.to["v"], at), step, n, self.VR, _up(n, self.tall))
        self.fill(0.0, self.DK, self.keys * AP)
        self.fill(0.0, self.DV, self.keys * AP)

        def of_head(h: Value) -> None:
            code.each(self.L, lambda row: self.of_queries(b, h, row, j, n), step=self.queries)

        code.each(group, lambda x: of_head(g * group + x))

        def write(source: Value, to: Value, factor: Any) -> None:
            def row(t: Value) -> None:
                line, place = code.at(source, t * AP), at + t * step
                code.each(A, lambda a: code.store(code.load(line, a) * factor, to, place + a))

            code.each(n, row)

        write(self.DK, self.to["dk"], self.scale)
        write(self.DV, self.to["dv"], 1.0)

    def of_queries(self, b: Value, h: Value, row: Value, j: Value, n: Value) -> None:
        """What a block of queries gives, and gets from n keys from j on."""
        code = self.code
        rows = code.least(self.queries, self.L - row)
        highest = self.limits(b, row, rows, self.limit, self.segment)
        seen = code.least(n, highest - j)
        with code.when(code.whole(0) < seen):
            self.tile(b, h, row, rows, j, seen)

    def tile(self, b: Value, h: Value, row: Value, rows: Value, j: Value, seen: Value) -> None:
        code, padded = self.code, _up(seen, self.tall)
        at, step = self.query_place(b, row, h), self.K * self.A
        q, grad = code.at(self.to["q"], at), code.at(self.to["grad"], at)
        self.turned(q, step, rows, self.QT, self.scale * LOG2E)
        self.turned(grad, step, rows, self.GT, 1.0)
        self.rows(q, step, rows, self.QR, self.queries)
        self.rows(grad, step, rows, self.GR, self.queries)
        line = (b * self.K + h) * self.L + row
        self.means(code.at(self.to["out"], at), step, rows, line)
        code.call(self.logits, self.KR, self.QT, self.PT, padded, self.A)
        code.call(self.logits, self.VR, self.GT, self.DT, padded, self.A)
        code.each(seen, lambda t: self.probabilities(b, j, t))
        for room in (self.PT, self.DT):
            self.fill(0.0, code.at(room, seen * self.spaced), (padded - seen) * self.spaced)
        code.call(self.add_keys, self.PT, self.GR, self.DV, padded, self.queries)
        code.call(self.add_keys, self.DT, self.QR, self.DK, padded, self.queries)
        code.call(self.set_queries, self.DT, self.KR, self.DQ, self.queries, padded)

        def add(r: Value) -> None:
            to, line = code.at(self.to["dq"], at + r * step), code.at(self.DQ, r * self.AP)
            code.each(
                self.A,
                lambda a: code.store(code.load(to, a) + code.load(line, a) * self.scale, to, a),
            )

        code.each(rows, add)

    def means(self, out: Value, step: Value, n: Value, line: Value) -> None:
        """Log-sum-exp of n queries in powers of 2, and the mean gradient of their logits."""
        code, W = self.code, self.program.lanes
        self.rows(out, step, n, self.DQ, n)

        def one(r: Value) -> None:
            grad, out = code.at(self.GR, r * self.AP), code.at(self.DQ, r * self.AP)

            def more(a: Value, sums: list[Value]) -> list[Value]:
                return [code.fma(code.vector(grad, a), code.vector(out, a), sums[0])]

            (sums,) = code.fold(self.AP, more, [code.spread(0.0)], step=W)
            mean = code.total(sums) - code.load(self.to["grad_lse"], line + r)
            code.store(mean, self.inner, r)
            code.store(code.load(self.to["lse"], line + r) * LOG2E, self.lse, r)

        code.each(n, one)
        self.fill(0.0, self.lse, self.queries, n)
        self.fill(0.0, self.inner, self.queries, n)

    def probabilities(self, b: Value, j: Value, t: Value) -> None:
        """Key t's logits to probabilities, their gradients to those of the logits."""
        code = self.code
        p_line, d_line = code.at(self.PT, t * self.spaced), code.at(self.DT, t * self.spaced)
        readers = self.readers(b, j, t, self.limit, self.segment)
        for c, may in zip(self.lanes, readers, strict=True):
            p = code.exp2(code.vector(p_line, c) - code.vector(self.lse, c))
            p = may.where(p, 0.0)
            code.store(p, p_line, c)
            code.store(p * (code.vector(d_line, c) - code.vector(self.inner, c)), d_line, c)
