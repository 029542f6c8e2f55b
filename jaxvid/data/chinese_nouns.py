"""Chinese noun phrases: the looks of a story, introduced once and then referred to; backgrounds."""

from jaxvid.data import chinese_words as w
from jaxvid.data.pieces import Draw, Piece
from jaxvid.outline import ANY, GRID, Look, Take

Looks = tuple[int, ...]  # one, or two that are alike
ATTRIBUTES = ("size", "color", "kind")
REFERENCES = (("color",), ("kind",), ("color", "kind"), ("size",), ("size", "kind"), ATTRIBUTES)


class Cast:
    """The looks of a story in the making: which are named, in which words, which one 它 would mean.

    ``seen`` looks are named from the start: a picture shows them, ``where`` holds the sides that
    tell two of them apart, and a reference to one states what it says of it.
    """

    def __init__(
        self, looks: tuple[Look, ...], draw: Draw, *, seen: int, where: dict[int, str], idle: bool
    ) -> None:
        self.looks, self.draw, self.where, self.idle = looks, draw, where, idle
        self.seen = self.named = seen
        self.it = 0 if seen == 1 else None
        self.before: int | None = None  # the subject before ``it``
        self.acting: int | None = None  # the last subject of this shot
        self.beside: int | None = None  # what was last said beside it
        self.words: dict[tuple[int, str], str] = {}
        self.shot = 0  # the one that is being said

    def cut(self, *, alone: bool) -> None:
        """A new shot begins; 它 stays clear where the last one showed a look ``alone``."""
        self.shot += 1
        self.acting = None
        self.it = self.it if alone else None

    def named_by(self, ns: Looks, said: list[Piece]) -> list[Piece]:
        """The words, which state that these looks are in the shot."""
        slots = tuple(f"takes/{self.shot}/who/{n}" for n in ns)
        return [Piece(piece.text, (*piece.slots, *slots)) for piece in said]

    def subject(self, n: int, *, bare: bool = True) -> list[Piece]:
        """A look as a subject; not ``bare``: with a measure word where new, and no pronoun."""
        if n >= self.named:
            out = self.new((n,), bare=bare)
        elif bare and n == self.it and (n == self.acting or self.draw.chance(0.7)):
            out = self.named_by((n,), [Piece("它")])
        elif self.named == 2 and self.acting == 1 - n and self.draw.chance(0.3):
            out = self.named_by((n,), [Piece("另一个")])
        else:
            out = self.refer(n)
        self.turn(n)
        return out

    def turn(self, n: int) -> None:
        """A look is the subject from here on."""
        self.before, self.it, self.acting, self.beside = self.acting, n, n, None

    def object(self, n: int) -> list[Piece]:
        """A look beside the subject: 它 if the last clause was about it, or it was just said."""
        again, self.beside = n == self.beside, n
        if n >= self.named:
            return self.new((n,), bare=True)
        if again or (n == self.before and self.draw.chance(0.6)):
            return self.named_by((n,), [Piece("它")])
        return self.refer(n)

    def both(self, a: int, b: int) -> list[Piece]:
        """Two looks joined."""
        if max(a, b) < self.named == 2 and self.draw.chance(0.4):
            they = Piece(self.draw.pick(("它们", "它们俩", "这两个图形")))
            return self.named_by((a, b), [they])
        bare = self.draw.chance(0.5)
        first, second = (
            self.new((n,), bare=bare) if n >= self.named else self.refer(n) for n in (a, b)
        )
        joins = "和和和与跟、"
        out = [*first, Piece(self.draw.pick(joins)), *second]
        self.it = self.acting = None
        return out

    def word(self, n: int, slot: str) -> str:
        """The word that a look got for an attribute, "" where it states none; or for a "shape"."""
        if (n, slot) not in self.words:
            value = slot if slot == "shape" else getattr(self.looks[n], slot)
            words = w.SHAPES if slot == "shape" else w.WORDS[slot].get(value, ("",))
            self.words[n, slot] = self.draw.pick(words)
        return self.words[n, slot]

    def phrase(self, ns: Looks, slots: tuple[str, ...], *, says: bool) -> list[Piece]:
        """Adjectives and noun, of the attributes ``slots`` alone."""
        size, color, kind = (self.word(ns[0], s) if s in slots else "" for s in ATTRIBUTES)
        if len(color) == 1 and (size == "大" or not kind):
            color += "色"  # 大红 is one word, and 红东西 is none
        order = [("size", size), ("color", color)]
        if len(size) == 1 and len(color) > 1:
            order.reverse()
        out = []
        for slot, text in order:
            if text:
                out.append(Piece(text, self.paths(ns, slot) if says else ()))
            short = len(kind) == 1 and not (order[1][0] == "size" and size)  # right before it
            if slot == "color" and len(text) > 1 and (short or self.draw.chance(0.5)):
                out.append(Piece("的"))
        paths = self.paths(ns, "kind") if says and kind else ()
        return [*out, Piece(kind or self.word(ns[0], "shape"), paths)]

    def paths(self, ns: Looks, slot: str) -> tuple[str, ...]:
        return tuple(f"looks/{n}/{slot}" for n in ns)

    def measure(self, n: int) -> str:
        """The measure word that a look got."""
        if (n, "measure") not in self.words:
            self.words[n, "measure"] = self.draw.pick(w.MEASURES.get(self.word(n, "kind"), ("个",)))
        return self.words[n, "measure"]

    def count(self, ns: Looks) -> tuple[str, bool]:
        """Number and measure word, "another" where a known look could be meant; whether it could.

        A look of which less is said than of a known one is "another"; one that only may be the
        same keeps its "a".
        """
        n, draw, look = ns[0], self.draw, self.looks[ns[0]]
        may_be = any(_agree(look, known, ANY) for known in self.looks[: self.named])
        same = [m for m in range(self.named) if may_be and _agree(look, self.looks[m])]
        other = bool(same)
        for slot in ATTRIBUTES if other else ():  # "another" calls for the same words
            if getattr(look, slot) != ANY:
                self.words[n, slot] = self.word(same[0], slot)
        if len(ns) > 1:
            return "另外两" + self.measure(n) if other else self.two(n), may_be
        if other and self.named == 1 and draw.chance(0.7):
            return "另一" + self.measure(n), True
        return "一" + self.measure(n) + "新的" * other, may_be

    def two(self, n: int) -> str:
        return "一对" if self.draw.chance(0.15) else self.draw.pick("两两2") + self.measure(n)

    def new(self, ns: Looks, *, bare: bool = False, before: tuple[Piece, ...] = ()) -> list[Piece]:
        """The first mention; ``bare`` may go without a measure word, ``before`` are modifiers."""
        count, may_be = self.count(ns)
        described = any(self.word(ns[0], slot) for slot in ATTRIBUTES)
        bare = described and len(ns) == 1 and not may_be and self.draw.chance(0.6 if bare else 0.2)
        out = [] if bare else [Piece(count)]
        if self.idle and self.draw.chance(0.05):
            out.append(Piece(self.draw.pick(w.IDLE)))
        phrase = self.phrase(ns, ATTRIBUTES, says=True)
        self.words |= {(n, s): t for (m, s), t in self.words.items() if m == ns[0] for n in ns[1:]}
        self.named += len(ns)
        return [*self.named_by(ns, out), *before, *self.named_by(ns, phrase)]

    def after(self, n: int, comma: Piece) -> list[Piece]:
        """The first mention with the adjectives behind the noun."""
        out = self.kind(n)
        color, size = self.word(n, "color"), self.looks[n].size
        if color:
            text = color + "色" * (len(color) == 1)
            out += [comma, Piece(text, self.paths((n,), "color")), Piece("的")]
        if size != ANY:
            out += [comma, Piece(w.SIZE_ALONE[size], self.paths((n,), "size"))]
        return out

    def kind(self, n: int) -> list[Piece]:
        """The first mention by the kind alone; ``left`` is to tell the rest."""
        out = [Piece(self.count((n,))[0]), *self.phrase((n,), ("kind",), says=True)]
        self.named += 1
        self.turn(n)
        return self.named_by((n,), out)

    def left(self, n: int) -> list[list[Piece]]:
        """Clauses on the colour and the size of a look."""
        pick, out = self.draw.pick, []
        color, size = self.word(n, "color"), self.looks[n].size
        if color:
            head, tail = pick(w.COLORED)
            text = Piece(color + "色" * (len(color) == 1), self.paths((n,), "color"))
            out.append([*[Piece(head)] * bool(head), text, *[Piece(tail)] * bool(tail)])
        if size != ANY:
            out.append([Piece(pick(w.SIZED[size]), self.paths((n,), "size"))])
        return out if self.draw.chance(0.6) else out[::-1]

    def refer(self, n: int) -> list[Piece]:
        """A known look by what sets it apart from the other known ones."""
        return self.named_by((n,), self.apart(n))

    def apart(self, n: int) -> list[Piece]:
        """The words for that."""
        others = [look for m, look in enumerate(self.looks[: self.named]) if m != n]
        if not others:
            return self.told(n, self.draw.pick((("kind",), ("kind",), ("color", "kind"))))
        if n in self.where and self.draw.chance(0.2):
            return [Piece(self.where[n] + "那个")]
        known = [names for names in REFERENCES if _sets_apart(names, self.looks[n], others)]
        if known:
            return self.told(n, self.draw.pick(known))
        if self.named == 2 and self.acting == 1 - n and n != self.before:
            return [Piece("另一个")]
        return [Piece(self.where.get(n, f"第{w.NUMBERS[n]}个") + "图形")]

    def told(self, n: int, names: tuple[str, ...]) -> list[Piece]:
        """A reference by some attributes."""
        draw, says = self.draw, n < self.seen
        if "kind" in names:
            out = self.phrase((n,), names, says=says)
            if draw.chance(0.45):
                return out
            that = draw.pick(("这", "这", "那", "那", "同一", "刚才那")) + self.measure(n)
            return [Piece(draw.pick(("图中的", "图里的", that)) if says else that), *out]
        paths = self.paths((n,), names[0]) if says else ()
        if names == ("size",):
            return [Piece(w.SIZE_ALONE[self.looks[n].size], paths), Piece("那个")]
        return [Piece(self.word(n, "color"), paths), Piece(draw.pick(("的", "的那个", "的那个")))]


def _agree(look: Look, other: Look, *free: str) -> bool:
    """Whether all that a look states holds for the other, or has a ``free`` value there."""
    pairs = ((getattr(look, name), getattr(other, name)) for name in ATTRIBUTES)
    return all(a in (ANY, b) or b in free for a, b in pairs)


def _sets_apart(names: tuple[str, ...], look: Look, others: list[Look]) -> bool:
    """Whether a look states all of these attributes, and no other one the same."""
    if any(getattr(look, name) == ANY for name in names):
        return False
    return all(any(getattr(o, s) != getattr(look, s) for s in names) for o in others)


def sides(take: Take) -> dict[int, str]:
    """What to call two parts of a picture by where they are."""
    first, second = take.parts
    for a, b, words in (
        (first.x, second.x, ("左边的", "右边的")),
        (first.y, second.y, ("上面的", "下面的")),
    ):
        if a.isdigit() and b.isdigit() and abs(int(a) - int(b)) > GRID // 8:
            return dict(zip((0, 1), words if int(a) < int(b) else words[::-1], strict=True))
    return {}


def ground(take: Take, i: int, draw: Draw) -> list[Piece]:
    """Tone and pattern of take ``i``, as adjectives."""
    out = []
    if take.tone != ANY:
        out.append(Piece(draw.pick(w.TONES[take.tone]), (f"takes/{i}/tone",)))
        if out[0].text[-1] != "的" and take.pattern != "plain" and draw.chance(0.3):
            out.append(Piece("的"))
    if take.pattern != ANY:
        out.append(Piece(draw.pick(w.PATTERNS[take.pattern]), (f"takes/{i}/pattern",)))
    return out


def on_ground(take: Take, i: int, draw: Draw, *, at: bool = True) -> list[Piece]:
    """Where: "on a dark grid"."""
    if take.pattern == ANY and draw.chance(0.2):
        return [Piece(draw.pick(w.AMID[take.tone]), (f"takes/{i}/tone",))]
    out = ground(take, i, draw)
    bare = take.pattern == "grid" and draw.chance(0.4)
    return [*[Piece("在")] * at, *out, Piece("上" if bare else draw.pick(w.UPON))]


def backdrop(take: Take, i: int, draw: Draw) -> list[Piece]:
    """A clause: "the background is a dark grid", or becomes one."""
    out = ground(take, i, draw)
    if take.pattern == ANY and draw.chance(0.25):
        around, text = draw.pick(w.AROUND[take.tone])
        return [*[Piece(around)] * bool(around), Piece(text, (f"takes/{i}/tone",))]
    if out[-1].text[-1] == "的" or draw.chance(0.35):
        return [
            *[Piece("换成")] * (i > 0),
            *out,
            Piece(draw.pick(("背景", "背景", "背景", "底", "底色"))),
        ]
    if take.pattern == "noise":
        out.append(Piece("图案"))
    return [Piece(draw.pick(w.BECOMES if i else w.IS)), *out]
