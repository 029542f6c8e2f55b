"""Chinese wording of an outline, in pieces that know what they state.

A sentence form is a string: Chinese characters and marks stand for themselves and each Latin letter
for a phrase that is built when its turn comes, so that what was named first is known thereafter.
Capitals speak of the first part of a shot (in a group, of both), small letters of the second:

    N noun, or a reference to a known one    U the same, with a measure word, never a pronoun
    Z noun, its adjectives behind it         M noun that its verb phrase modifies
    D two alike   E two alike, modified      J both, joined by "and"   A "both", "together"
    P place with its preposition   L place without   V verb phrase   H "just now"
    F first motion, with its speed   T motion of the second half   X the whole clause
    R where it is to the other part   Q all that is left to say of it
    G on the background   B what the background is   I clause with the background in it
    O new noun of a kind alone, its colour and size left for later
    K the camera   W what the parts do   S the whole shot   C transition   Y ordinal of the shot
and Greek letters, of which ``chinese_acts`` tells.
"""

import functools
import re
from collections.abc import Callable

from jaxvid.data import chinese_acts as acts
from jaxvid.data import chinese_forms as f
from jaxvid.data import chinese_words as w
from jaxvid.data.chinese_nouns import Cast, backdrop, on_ground, sides
from jaxvid.data.pieces import Draw, Piece
from jaxvid.outline import ANY, DEFAULTS, TO, Outline, Part
from jaxvid.script import DIRECTIONS

WORDS = w.WORDS
LETTER = re.compile("[A-Za-zΑ-Ωα-ω]")
Parts = tuple[int, ...]  # indices of parts of a take: one of them, or both in a group


def pieces(
    outline: Outline, draw: Draw, *, picture: bool = False, plain: bool = False
) -> list[Piece]:
    """All that an outline states, in simplified Chinese, as pieces that concatenate to the text.

    With ``picture`` the looks, places and background of the first take are seen, so they are not
    said beyond what tells two looks apart, and a second look that stands still may be left out.
    ``plain`` words it as a caption of a data set: no request and nothing idle.
    """
    return _Story(outline, draw, picture=picture, plain=plain).tell()


@functools.cache
def _split(form: str) -> tuple[str, ...]:
    """A form as single letters and runs of glue."""
    return tuple(re.findall(f"{LETTER.pattern}|[^{LETTER.pattern[1:]}+", form))


class _Story:
    """A text in the making."""

    def __init__(self, outline: Outline, draw: Draw, *, picture: bool, plain: bool) -> None:
        self.takes, self.draw, self.picture, self.plain = outline.takes, draw, picture, plain
        seen = len(self.takes[0].parts) if picture else 0
        where = sides(self.takes[0]) if seen > 1 else {}
        self.cast = Cast(outline.looks, draw, seen=seen, where=where, idle=not plain)
        self.waiting = False  # the background, for a place in the clause
        self.marks = str.maketrans(dict(zip(",.:;", draw.pick(w.MARKS), strict=True)))
        self.leaves = False  # "from" a place was said: the next way is no "from ... to"
        self.doing = False  # "just now" was said
        self.stands = False  # of the second part it was said before its noun that it stands still

    def fill(self, form: str, i: int, ks: Parts = (0,)) -> list[Piece]:
        """A form of take ``i`` said."""
        out: list[Piece] = []
        for run in _split(form):
            say = LETTERS.get(run.upper())
            out += say(self, i, (1,) if run.islower() else ks) if say else [self.glue(run)]
        return out

    def glue(self, text: str) -> Piece:
        return Piece(text.translate(self.marks))

    def one(self, form: tuple[str, ...], i: int, ks: Parts = (0,)) -> list[Piece]:
        """One of the forms said."""
        return self.fill(self.draw.form(form), i, ks)

    # The text and its shots.

    def tell(self) -> list[Piece]:
        many = len(self.takes) > 1
        numbered = many and self.draw.chance(0.3)
        self.shot = self.draw.pick(w.LABELS if numbered else w.SHOTS)
        self.names, self.colon = acts.numbers(self, numbered)
        stop = self.draw.pick("..,;")
        start = ("Y" + self.colon + "S",) if numbered else acts.start(self) if many else ("S",)
        out = [*acts.heading(self, numbered), *self.one(start, 0)]
        for i in range(1, len(self.takes)):
            self.cast.cut(alone=len(self.takes[i - 1].parts) == 1)
            forms = self.turn(i, numbered)
            out.append(self.glue("." if forms is f.NEXT else stop))
            out += self.one(forms, i)
        if not self.plain:
            out = self.asked(out)
        ends = ("", ".") if self.plain else ("", "", ".", ".", "!")
        end = self.glue(self.draw.pick(ends))
        return out if end.text in w.OPEN or out[-1].text[-1] == "？" else [*out, end]

    def turn(self, i: int, numbered: bool) -> tuple[str, ...]:
        """Forms that lead to take ``i``."""
        cut = self.takes[i - 1].link == "cut"
        if numbered:
            form = "Y" + self.colon + "S"
            return (form,) if cut else (self.draw.pick(("C", "C", "c.", "c,")) + form,)
        if not self.static(i, (0,)):
            if cut and self.new(i, (0,)) and self.draw.chance(0.45):
                return f.NEXT
            if self.draw.chance(0.4):
                return f.SUBJECT
        return acts.turn(self, i, cut=cut)

    def asked(self, out: list[Piece]) -> list[Piece]:
        """Often the same as a request, or with an idle tail."""
        forms: tuple[str, ...] = ("S",)
        if self.draw.chance(0.35):
            noun = len(self.takes) == 1 and out[0].text[0] in "一两2"
            clause = noun and not any(piece.text[0] in w.STOPS for piece in out)
            asks = (f.ASK, f.ASK_NOUN if noun else f.ASK, f.ASK_CLAUSE if clause else f.ASK)
            forms = f.ASK_PICTURE if self.picture else self.draw.pick(asks)
        head, _, tail = self.draw.form(forms).partition("S")
        if not tail and self.draw.chance(0.07):
            tail += self.draw.pick(w.TAILS)
        return [*[self.glue(head)] * bool(head), *out, *[self.glue(tail)] * bool(tail)]

    def link(self, i: int, ks: Parts) -> list[Piece]:
        link = self.takes[i - 1].link
        slots = () if link == "cut" else (f"takes/{i - 1}/link",)
        words = w.EFFECTS if ks == (1,) and slots else w.LINKS  # a small letter asks for a noun
        return [Piece(self.draw.pick(words[link]), slots)]

    def ordinal(self, i: int, ks: Parts) -> list[Piece]:
        return [Piece(self.shot.format(self.names[i]))]

    def take(self, i: int, ks: Parts) -> list[Piece]:
        """All of a shot."""
        take = self.takes[i]
        ground = (take.tone, take.pattern) != (ANY, ANY) and not self.seen(i)
        moved = take.camera != DEFAULTS["camera"]
        if ground:
            return self.one(f.SCENERY if moved else f.BACKGROUND, i)
        return self.one(f.CAMERA, i) if moved else self.core(i, ks)

    def seen(self, i: int) -> bool:
        """Whether a picture shows this take."""
        return self.picture and i == 0

    def camera(self, i: int, ks: Parts) -> list[Piece]:
        move, pick = self.takes[i].camera, self.draw.pick
        term = self.draw.chance(0.15)
        words = pick(w.TERMS[move]) if term else pick(w.LENSES) + pick(w.CAMERAS[move])
        return [Piece(words, (f"takes/{i}/camera",))]

    def inside(self, i: int, ks: Parts) -> list[Piece]:
        """The shot with the background in its first clause, or behind it where that has no room."""
        self.waiting = True
        out = self.core(i, ks)
        if self.waiting:
            self.waiting = False
            out += self.fill(",B", i)
        return out

    # One part or two.

    def core(self, i: int, ks: Parts) -> list[Piece]:
        """What the parts of a take do."""
        parts = self.takes[i].parts
        if len(parts) == 1:
            return self.clause(i, ks)
        first, second = parts
        free = acts.two(self, i)
        if free:
            return free
        fresh = self.new(i, (0,)) and self.new(i, (1,))
        alike = fresh and self.cast.looks[first.who] == self.cast.looks[second.who]
        if self.related(i) or first.motion in TO:
            return self.relation(i, fresh)
        if self.same(i) and self.draw.chance(0.85 if alike else 0.75):
            return self.group(i, alike, fresh)
        if self.seen(i) and self.draw.chance(0.5):
            if second.motion == "still" and second.then == "none":
                return self.clause(i, (0,))
            if first.motion == "still" and first.then == "none":
                return self.clause(i, (1,))
        if alike and second.motion not in TO:
            return self.one(f.ONE_OTHER, i)
        return self.one(f.TWO_NEW if fresh else f.TWO, i)

    def group(self, i: int, alike: bool, fresh: bool) -> list[Piece]:
        """Two parts that do the same."""
        idle = self.static(i, (0,))
        if not (idle or alike or self.takes[i].parts[0].motion in TO) and self.draw.chance(0.15):
            return self.one(f.ALSO, i)
        forms: tuple[str, ...]
        if alike:
            forms = f.ALIKE_STATIC if idle else f.ALIKE
        elif fresh:
            forms = f.BOTH_NEW_STATIC if idle else f.BOTH_NEW
        else:
            forms = f.BOTH_STATIC if idle else f.BOTH
        return self.one(forms, i, (0, 1))

    def relation(self, i: int, fresh: bool) -> list[Piece]:
        """Two parts of which the first is said relative to the second."""
        if self.same(i) and self.takes[i].parts[0].motion in TO and self.draw.chance(0.6):
            return self.one(f.MUTUAL_RELATED if self.related(i) else f.MUTUAL, i, (0, 1))
        said = self.new(i, (0,)) or not self.static(i, (0,))
        if said and self.takes[i].parts[0].motion not in TO and self.draw.chance(0.35):
            return self.one(f.INVERSE, i)
        return self.one(f.RELATED_NEW if fresh else f.RELATED, i)

    def clause(self, i: int, ks: Parts) -> list[Piece]:
        if self.seen(i):
            return self.one(f.PICTURE if ks == (0,) else ("NV",), i, ks)
        free = acts.one(self, i, ks)
        if free:
            return free
        idle = self.static(i, ks)
        if self.placed(i, ks) and not idle and self.draw.chance(0.25):
            return self.one(f.PLACED, i, ks)
        if self.new(i, ks):
            if len(self.takes[i].parts) == 1 and self.draw.chance(0.15):
                return [*self.one(f.LATE_STATIC if idle else f.LATE, i, ks), *self.left(i, ks)]
            return self.one(f.NEW_STATIC if idle else f.NEW, i, ks)
        return self.one(f.KNOWN_STATIC if idle else f.KNOWN, i, ks)

    def left(self, i: int, ks: Parts) -> list[Piece]:
        """The colour and the size of a look of which only the kind was said, each a clause."""
        out = self.cast.left(self.part(i, ks).who)
        return [piece for clause in out for piece in (self.glue(","), *clause)]

    def rest(self, i: int, ks: Parts) -> list[Piece]:
        stands, self.stands = self.stands, False
        said = self.placed(i, ks) or not (stands or self.static(i, ks))
        return self.fill(",npv", i) if said else []

    def part(self, i: int, ks: Parts) -> Part:
        """The part spoken of; of a group any, for they do the same."""
        return self.takes[i].parts[ks[0]]

    def new(self, i: int, ks: Parts) -> bool:
        return self.part(i, ks).who >= self.cast.named

    def static(self, i: int, ks: Parts) -> bool:
        """Whether a part needs no verb: it states no movement, and no picture is to move."""
        part = self.part(i, ks)
        return not self.seen(i) and (part.motion, part.then, part.speed) == (ANY, "none", "normal")

    def same(self, i: int) -> bool:
        """Whether all that is said of the two parts of a take is the same."""
        a, b = self.takes[i].parts
        same = (a.motion, a.then, a.speed) == (b.motion, b.then, b.speed)
        return same and (self.seen(i) or (a.x, a.y) == (b.x, b.y))

    def paths(self, i: int, ks: Parts, slot: str) -> tuple[str, ...]:
        return tuple(f"takes/{i}/parts/{k}/{slot}" for k in ks)

    # Where.

    def placed(self, i: int, ks: Parts) -> bool:
        part = self.part(i, ks)
        return not self.seen(i) and (part.x, part.y) in w.PLACES

    def spot(self, i: int, ks: Parts) -> list[Piece]:
        """The bare place; beside another part always "of the picture", lest it be of the other."""
        if not self.placed(i, ks):
            return []
        part = self.part(i, ks)
        slots = [s for s, v in (("x", part.x), ("y", part.y)) if v != ANY]
        paths = tuple(path for slot in slots for path in self.paths(i, ks, slot))
        whole = len(self.takes[i].parts) > 1 or self.draw.chance(0.3)
        text = self.draw.pick(w.PLACES[part.x, part.y])
        return [Piece(self.draw.pick(w.FRAMES) * whole + text, paths)]

    def place(self, i: int, ks: Parts) -> list[Piece]:
        out = self.spot(i, ks)
        if out:
            goes = self.part(i, ks).motion in DIRECTIONS and not self.related(i)
            self.leaves = goes and self.draw.chance(0.6)
            return [Piece("从" if self.leaves else "在"), *out]
        if self.waiting and not self.related(i):
            self.waiting = False
            return on_ground(self.takes[i], i, self.draw)
        return []

    def related(self, i: int) -> bool:
        return (self.takes[i].depth, self.takes[i].side) != (ANY, ANY)

    # What they do.

    def verb(self, i: int, ks: Parts) -> list[Piece]:
        """All that a part does; nothing where nothing is stated and the clause can do without."""
        if not self.static(i, ks):
            part = self.part(i, ks)
            then = part.then != "none"
            if (part.motion, part.then, part.speed) == (ANY, "gone", "normal"):
                return self.one(f.VANISH, i, ks)
            brief = part.motion in w.COUNTED and part.speed == "normal"
            if then and brief and acts.free(self, 0.3):
                return self.fill(self.draw.pick(acts.COUNTS), i, ks)
            return self.one(f.THEN, i, ks) if then else self.first(i, ks)
        alone = len(self.takes[i].parts) == 1 or self.related(i) or self.placed(i, ks)
        return [] if alone else [Piece(self.draw.pick(w.MOVES))]

    def first(self, i: int, ks: Parts, *, before: bool = False) -> list[Piece]:
        """The motion with its speed; ``before`` a noun the speed comes first."""
        part = self.part(i, ks)
        out = acts.act(self, i, ks, part.motion, "motion", before=before)
        if part.speed == "normal":
            return out if before else acts.always(self, i, ks, out)
        paths = self.paths(i, ks, "speed")
        free = not before and part.then == "none" and len(ks) == 1
        if free and self.draw.chance(0.15):
            return [*out, self.glue(","), Piece(self.draw.pick(w.PACES[part.speed]), paths)]
        adverb = Piece(self.draw.pick(w.SPEEDS[part.speed]), paths)
        if part.motion in DIRECTIONS and len(out) == 2 and self.draw.chance(0.25):
            return [out[0], adverb, out[1]]  # to the right, slowly, moving
        return [adverb, *out]

    def later(self, i: int, ks: Parts) -> list[Piece]:
        return acts.act(self, i, ks, self.part(i, ks).then, "then")

    def just_now(self, i: int, ks: Parts) -> list[Piece]:
        part = self.part(i, ks)
        fits = part.then == "none" and part.motion in (*DIRECTIONS, "bounce", "orbit")
        self.doing = fits
        return [Piece(self.draw.pick(("正在", "正在", "在", "在", "正", "在那儿")))] if fits else []

    def together(self, i: int, ks: Parts) -> list[Piece]:
        mutual = self.takes[i].parts[0].motion in TO
        return [] if mutual else [Piece(self.draw.pick(("都", "都", "一起", "同时")))]

    def modified(self, i: int, ks: Parts) -> list[Piece]:
        """New looks with what they do before the noun, or behind it where that is too long."""
        part = self.part(i, ks)
        if part.then != "none" or part.motion in (ANY, *TO):
            return self.fill("DV" if len(ks) > 1 else "uv" if ks == (1,) else "UV", i, ks)
        before = (*self.first(i, ks, before=True), Piece("的"))
        out = self.cast.new(self.looks(i, ks), before=before)
        if len(ks) == 1:
            self.cast.turn(part.who)
        return out

    def looks(self, i: int, ks: Parts) -> Parts:
        return tuple(self.takes[i].parts[k].who for k in ks)


LETTERS: dict[str, Callable[[_Story, int, Parts], list[Piece]]] = {
    "N": lambda story, i, ks: story.cast.subject(story.part(i, ks).who),
    "U": lambda story, i, ks: story.cast.subject(story.part(i, ks).who, bare=False),
    "O": lambda story, i, ks: story.cast.kind(story.part(i, ks).who),
    "Z": lambda story, i, ks: story.cast.after(story.part(i, ks).who, story.glue(",")),
    "M": _Story.modified,
    "D": lambda story, i, ks: story.cast.new(story.looks(i, (0, 1))),
    "E": _Story.modified,
    "J": lambda story, i, ks: story.cast.both(*story.looks(i, (0, 1))),
    "A": _Story.together,
    "P": _Story.place,
    "L": _Story.spot,
    "V": _Story.verb,
    "H": _Story.just_now,
    "F": _Story.first,
    "T": _Story.later,
    "X": _Story.clause,
    "R": acts.position,
    "Q": _Story.rest,
    "G": lambda story, i, ks: on_ground(story.takes[i], i, story.draw, at=story.draw.chance(0.7)),
    "B": lambda story, i, ks: backdrop(story.takes[i], i, story.draw),
    "I": _Story.inside,
    "K": _Story.camera,
    "W": _Story.core,
    "S": _Story.take,
    "C": _Story.link,
    "Y": _Story.ordinal,
    **acts.LETTERS,
}
