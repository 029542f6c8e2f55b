"""An outline in English, in as many ways as people write: pieces that know what they state.

A text is built as a sentence is: a beginning ("show me") sets how the verbs stand (``Mode``), a
form sets who is named when, and ``english_phrases`` says nouns, places, movements and the rest.
"""

from collections.abc import Callable

from jaxvid.data import english_words as words
from jaxvid.data.english_phrases import Phrase, Phrases, acts, compose, split
from jaxvid.data.english_words import BE, FINITE, ING, THAT, WHICH_IS, WORDS, Mode
from jaxvid.data.pieces import Draw, Piece
from jaxvid.outline import ANY, TO, Outline

__all__ = ["WORDS", "pieces"]


def pieces(
    outline: Outline, draw: Draw, *, picture: bool = False, plain: bool = False
) -> list[Piece]:
    """The outline in words: every slot that it states, and nothing that could be another's.

    Args:
      draw: the choices of the wording; held-out forms only if it is a held-out one.
      picture: the looks, places and background of the first take are in a picture that comes with
        the text, which says of them only what tells two looks apart, or a word by chance. A look
        that rests there may be passed over.
      plain: as the caption of a clip, without requests and pleasantries.

    Returns:
      Pieces that concatenate to the text. Places in numbers have no words.
    """
    teller = _Teller(outline, draw, picture, plain)
    phrase = [word for i in range(len(outline.takes)) for word in teller.take(i)]
    lead, long = str(phrase[0]), len(outline.takes) > 1
    if not plain and not long and "please" not in lead and draw.chance(0.05):
        phrase += split(draw.pick(words.CLOSINGS))
    mark = "?" if lead.startswith(("can ", "could ")) and "." not in phrase else "."
    stop = mark if draw.chance(0.8 if long else 0.5) else ""
    return compose(phrase, capitals=draw.chance(0.6), stop=stop)


class _Teller(Phrases):
    """Says the takes of one outline."""

    def __init__(self, outline: Outline, draw: Draw, picture: bool, plain: bool) -> None:
        super().__init__(outline, draw, picture, plain)
        self.ending: Phrase = []  # a background that a first sentence may take along
        self.open = self.short = False  # a take's beginning lets a place follow; its text is short
        self.numbered = len(self.takes) > 1 and draw.chance(0.15)

    def take(self, i: int) -> Phrase:
        """A take, with what leads to it."""
        pictured = self.picture and i == 0
        self.placed = set(self.known) if pictured else set()
        self.topic = self.topic if len(self.known) == 1 else None
        lead, mode = self.lead(i)
        begin = str(lead[-1])
        if i == 0:
            self.bare = begin == "" and self.draw.chance(0.25)
        else:
            runs_on = begin == "then" and self.short and self.draw.chance(0.4)
            lead = ["," if runs_on else ".", *lead]
        # "A clip where on a grid, ..." would be clumsy.
        self.open = begin in ("", "then") or begin.endswith((",", ":"))
        camera = self.camera(i)
        if camera[:1] == ["front"]:
            camera[0] = ","
            if mode is FINITE and (begin == "" or begin.endswith(":")):
                lead, camera = [*lead, *camera[1:], self.pick(("while", "as"))], []
                self.open = False
        where, preposition = self.draw.form(words.BACKGROUNDS)
        ground = [] if pictured else self.ground(i, predicate=where == "sentence")
        self.ending = []
        if where == "front" and ground and self.open:
            return [*lead, preposition, *ground, ",", *self.core(i, mode), *camera]
        if ground and where in ("end", "front"):
            self.ending = [preposition, *ground]
        core = self.core(i, mode)
        if self.ending[:1] == ["with"] and "with" in (*core, *camera):
            self.ending[0] = "on"
        self.short = "." not in core and where != "sentence" and not camera
        core = [*lead, *core, *self.ending]
        if ground and where == "comma":
            core += [",", *(ground if camera else ground[1:])]
        if ground and where == "sentence":
            return [*core, *camera, ".", "the background is", *ground]
        return [*core, *camera]

    def lead(self, i: int) -> tuple[Phrase, Mode]:
        """How a take begins."""
        draw = self.draw
        if i == 0:
            if self.numbered:
                return ["shot 1:"], FINITE
            requests = words.PLAIN if self.plain else words.REQUESTS
            text, mode = draw.form(words.ANIMATE if self.picture else requests)
            return [text], mode
        names = {"n": i + 1, "number": words.NUMBERS[i], "nth": words.ORDINALS[i]}
        link = self.takes[i - 1].link
        if link != "cut":
            before, form, after, mode = draw.form(words.TURNS)
            word = Piece(draw.pick(words.LINKS[link])[form], (f"takes/{i - 1}/link",))
            return [before, word, after.format(**names)], mode
        if self.numbered:
            return [f"shot {i + 1}:"], FINITE
        # A new name alone shows that the shot is new.
        fresh = self.takes[i].parts[0].who not in self.known
        text, mode = draw.form(words.THEN if fresh and draw.chance(0.6) else words.CUTS)
        if text == "next," and i == len(self.takes) - 1 > 1 and draw.chance(0.6):
            text = "finally,"
        return [text.format(**names)], mode

    def core(self, i: int, mode: Mode) -> Phrase:
        """Who does what."""
        parts = self.takes[i].parts
        fresh = parts[0].who not in self.known
        if len(parts) == 1:
            way = parts[0].motion in words.WAYS and parts[0].speed == "normal"
            asked = i == 0 and mode is FINITE and self.open and not (self.plain or self.numbered)
            if way and asked and self.draw.chance(0.12):
                return self.moved()
            if mode.kind == "clause" and not (fresh and mode is FINITE):
                return self.clause(i, 0, mode)
            return self.draw.form(_ONE[mode.kind, fresh])(self, i, mode)
        only = self.only() if self.picture and i == 0 else None
        if only is not None:
            return self.clause(i, only, mode)
        return self.two(i, mode, fresh)

    # One actor

    def clause(self, i: int, n: int, mode: Mode) -> Phrase:
        """ "a red circle on the left moves up" """
        who = self.takes[i].parts[n].who
        known, place = who in self.known, self.place(i, n)
        subject = self.mention(who, pronoun=mode.kind != "noun" and not place)
        front: Phrase = []
        if known and place and mode.kind == "clause":
            front, place = [*place, ","], []
        count = len(self.known)
        act = self.act(i, (n,), mode)
        self.topic = who if len(self.known) == count else None
        if self.picture and i == 0 and mode is ING and count == 1 and acts(self.takes[0].parts[n]):
            return act  # "moving up"
        return [*front, *subject, *place, *act]

    def one(self, i: int, mode: Mode) -> Phrase:
        """One clause."""
        return self.clause(i, 0, mode)

    def there(self, i: int, mode: Mode) -> Phrase:
        """ "there is a red circle that moves up" """
        return ["there is", *self.clause(i, 0, self.pick((ING, THAT)))]

    def that(self, i: int, mode: Mode) -> Phrase:
        """ "a red circle that moves up" """
        return self.clause(i, 0, self.pick((THAT, WHICH_IS)))

    def which(self, i: int, mode: Mode) -> Phrase:
        """ "the red circle, which moves up" """
        part = self.takes[i].parts[0]
        subject = [*self.mention(part.who, pronoun=False), *self.place(i, 0)]
        return [*subject, ",", "which", *self.act(i, (0,), FINITE)] if acts(part) else subject

    def apiece(self, i: int, mode: Mode) -> Phrase:
        """ "there is a red circle on a dark grid. It moves up" """
        part = self.takes[i].parts[0]
        said: Phrase = ["there is"] if mode.kind == "clause" else []
        said += [*self.mention(part.who, pronoun=False), *self.place(i, 0), *self.ending]
        self.ending, self.topic = [], part.who
        return [*said, ".", "it", *self.act(i, (0,), FINITE)] if acts(part) else said

    def fronted(self, i: int, mode: Mode) -> Phrase:
        """ "on the left, a red circle moves up" """
        place = self.place(i, 0) if self.open else []
        return [*place, "," if place else "", *self.clause(i, 0, mode)]

    def attributive(self, i: int, mode: Mode) -> Phrase:
        """ "a bouncing red circle" """
        part = self.takes[i].parts[0]
        simple = part.then == "none" and part.speed == "normal"
        participle = words.PARTICIPLES.get(part.motion) if simple else None
        if participle is None:
            return self.clause(i, 0, mode)
        there = "there is" if mode.kind == "clause" else ""
        article, *noun = self.introduce(part.who)
        if article == "something":
            return [there, article, *noun, *self.place(i, 0), *self.act(i, (0,), ING)]
        doing = Piece(participle, self.paths(i, (0,), "motion"))
        return [there, article, doing, *noun, *self.place(i, 0)]

    def starting(self, i: int, mode: Mode) -> Phrase:
        """ "a red circle starts on the left and moves up" """
        part = self.takes[i].parts[0]
        if not acts(part) or (part.x == ANY and part.y == ANY):
            return self.clause(i, 0, mode)
        subject = self.mention(part.who)
        return [*subject, "starts", *self.place(i, 0), "and", *self.act(i, (0,), FINITE)]

    # Two actors

    def two(self, i: int, mode: Mode, fresh: bool) -> Phrase:
        """Two actors and how they lie to each other, by what is stated of them."""
        take = self.takes[i]
        a, b = take.parts
        related, to = take.side != ANY or take.depth != ANY, a.motion in TO
        same = (a.motion, a.then, a.speed) == (b.motion, b.then, b.speed)
        if same and acts(a) and not related and not self.located(i) and self.draw.chance(0.7):
            return self.together(i, mode, fresh)
        case = "to" if to else "free"
        if related:
            far = a.then != "none" or (take.side != ANY and a.motion in words.TRAVELS)
            case = "related to" if to else "far" if far else "near"
        elif not acts(a) and fresh and mode.kind != "base":
            case = "idle"
        return self.draw.form(_TWO[case, mode.kind if fresh else "known"])(self, i, mode)

    def together(self, i: int, mode: Mode, fresh: bool) -> Phrase:
        """ "two red circles move up", "a red circle and a blue star both move up" """
        a, b = (part.who for part in self.takes[i].parts)
        pair, each = (0, 1), self.takes[i].parts[0].motion in TO
        there = fresh and mode is FINITE and self.draw.chance(0.3)
        mode = ING if there else mode
        both = "" if each or mode.aux[1] or not (mode is ING or self.draw.chance(0.5)) else "both"
        if self.alike(i):
            subject, both = self.couple(i), ""
        elif sorted(self.known) == [a, b] == [0, 1] and mode.kind != "noun":
            they = ("both of them", "they") if mode.kind == "clause" else ("both of them", "them")
            subject, both = [self.pick(they)], ""
        else:
            subject = [*self.mention(a, pronoun=False), "and", *self.mention(b, pronoun=False)]
        comma = "," if both and mode is ING else ""
        act = self.act(i, pair, mode)
        return ["there are" if there else "", *subject, comma, both, *act]

    def joined(self, i: int, mode: Mode) -> Phrase:
        """ "a red circle moves up while a blue star shrinks" """
        a, b = self.takes[i].parts
        said = self.clause(i, 0, mode)
        if not acts(b):
            return [*said, *self.bystander(i, mode)]
        join, other = self.draw.form(words.JOINS)
        mark = "," if a.then != "none" else ""
        return [*said, mark, *split(join), *self.clause(i, 1, other or mode)]

    def bystander(self, i: int, mode: Mode) -> Phrase:
        """A second actor of whom nothing is said but that it is there: "with a blue star"."""
        b = self.takes[i].parts[1]
        if b.motion in TO or (b.who in self.known and self.takes[i].parts[0].motion in TO):
            place = self.place(i, 1)
            return ["while", *self.refer(b.who, False), "is", *place] if place else []
        fresh = b.who not in self.known
        noun = [*self.mention(b.who, pronoun=False), *self.place(i, 1)]
        if fresh and mode is FINITE and self.draw.chance(0.5):
            return [",", "and there is", *noun]
        return [",", "with", *noun]

    def sentences(self, i: int, mode: Mode) -> Phrase:
        """ "a red circle moves up. Meanwhile, a blue star shrinks" """
        said = self.clause(i, 0, mode)
        if not acts(self.takes[i].parts[1]):
            return [*said, *self.bystander(i, mode)]
        return [*said, ".", self.pick(words.BESIDES), *self.clause(i, 1, FINITE)]

    def those(self, i: int, mode: Mode) -> Phrase:
        """ "a red circle that moves up and a blue star that shrinks" """
        a, _ = self.takes[i].parts
        there = "there is" if mode.kind == "clause" else ""
        first = self.clause(i, 0, THAT)
        mark = "," if a.then != "none" else ""
        return [there, *first, mark, "and", *self.clause(i, 1, THAT)]

    def listed(self, i: int, mode: Mode) -> Phrase:
        """ "a red circle and a blue star: the circle moves up, the other one shrinks" """
        a, b = self.takes[i].parts
        relation = self.relation(i)
        there = mode.kind == "clause"
        active = [n for n in (0, 1) if acts((a, b)[n])]
        names: list[Phrase] = []
        if self.alike(i) and not relation and not self.located(i):
            said = ["there are" if there else "", *self.couple(i)]
            names = [["one"], ["the other"]]
        else:
            first = [*self.mention(a.who, pronoun=False), *self.place(i, 0)]
            second, place = self.mention(b.who, pronoun=False), self.place(i, 1)
            alone = place and len(first) > 1 and not relation
            second = [",", *place, ",", *second] if alone else [*second, *place]
            said = ["there is" if there else "", *first, *(relation or ["and"]), *second]
        self.topic = None
        for k, n in enumerate(active):
            mark = [self.pick((":", "."))] if k == 0 else split(self.pick((",", ", and")))
            if names:
                said += [*mark, *names[n], *self.act(i, (n,), FINITE)]
            else:
                said += [*mark, *self.clause(i, n, FINITE)]
        return said

    def aside(self, i: int, mode: Mode) -> Phrase:
        """ "there is a red circle, while a blue star shrinks" """
        a, b = self.takes[i].parts
        if not acts(b):
            return self.listed(i, mode)
        said: Phrase = ["there is"] if mode.kind == "clause" else []
        said += [*self.mention(a.who, pronoun=False), *self.place(i, 0)]
        self.topic = a.who
        return [*said, *split(self.pick((", while", "."))), *self.clause(i, 1, FINITE)]

    def chained(self, i: int, mode: Mode) -> Phrase:
        """ "a red circle moves towards a blue star, which shrinks" """
        return [*self.clause(i, 0, mode), *self.tail(i, mode)]

    def tail(self, i: int, mode: Mode) -> Phrase:
        """What the second does, right after its name."""
        a, b = self.takes[i].parts
        if not acts(b):
            return []
        self.topic = a.who
        if a.then == "none" and self.draw.chance(0.6):
            return [",", "which", *self.act(i, (1,), FINITE)]
        join = split(self.pick((", while", ", and", ".")))
        return [*join, *self.clause(i, 1, FINITE)]

    def beside(self, i: int, mode: Mode) -> Phrase:
        """ "a red circle shrinks behind a blue star, which moves up" """
        a, b = self.takes[i].parts
        subject = [*self.mention(a.who, pronoun=mode.kind != "noun"), *self.place(i, 0)]
        act = self.act(i, (0,), mode) if acts(a) else [mode.aux[0], BE[mode.form[0]]]
        there = [*self.mention(b.who, pronoun=False), *self.place(i, 1)]
        return [*subject, *act, *self.relation(i), *there, *self.tail(i, mode)]

    def inverted(self, i: int, mode: Mode) -> Phrase:
        """ "a red circle moves up, and in front of it a blue star shrinks" """
        said = self.clause(i, 0, mode)
        relation = [*self.relation(i, inverse=True), "it"]
        if acts(self.takes[i].parts[1]):
            return [*said, ",", "and", *relation, *self.clause(i, 1, mode)]
        b = self.takes[i].parts[1]
        return [
            *said,
            ",",
            "with",
            *self.mention(b.who, pronoun=False),
            *self.place(i, 1),
            *relation,
        ]

    def apart(self, i: int, mode: Mode) -> Phrase:
        """ "a red circle moves up and a blue star shrinks. The circle is behind the star" """
        a, b = self.takes[i].parts
        said = self.chained(i, mode) if a.motion in TO else self.joined(i, mode)
        first = self.refer(a.who, not acts(b))
        self.topic = None
        return [*said, ".", *first, "is", *self.relation(i), *self.refer(b.who, False)]


Form = Callable[[_Teller, int, Mode], Phrase]
# By what may follow the beginning and whether the actor is new; of four or more forms the last
# quarter is held out, so that each of those is seen elsewhere.
_ONE: dict[tuple[str, bool], tuple[Form, ...]] = {
    ("clause", True): (
        *(_Teller.one, _Teller.one, _Teller.one, _Teller.apiece, _Teller.there),
        *(_Teller.starting, _Teller.fronted, _Teller.attributive),
    ),
    ("noun", True): (
        *(_Teller.one, _Teller.one, _Teller.one, _Teller.attributive, _Teller.apiece),
        *(_Teller.apiece, _Teller.that),
    ),
    ("noun", False): (_Teller.one, _Teller.which, _Teller.apiece),
    ("base", True): (_Teller.one,),
    ("base", False): (_Teller.one,),
}
_JOINED, _SENTENCES, _LISTED = _Teller.joined, _Teller.sentences, _Teller.listed
_CHAINED, _BESIDE, _INVERTED = _Teller.chained, _Teller.beside, _Teller.inverted
_APART = _Teller.apart
_TWO: dict[tuple[str, str], tuple[Form, ...]] = {
    ("free", "clause"): (_JOINED, _JOINED, _SENTENCES, _LISTED, _JOINED, _Teller.those),
    ("free", "noun"): (_JOINED, _Teller.those, _JOINED, _LISTED),
    ("free", "base"): (_JOINED,),
    ("free", "known"): (_JOINED,),
    ("idle", "clause"): (_LISTED, _Teller.aside),
    ("idle", "noun"): (_LISTED, _Teller.aside),
    ("to", "clause"): (_CHAINED, _CHAINED, _LISTED, _JOINED, _SENTENCES),
    ("to", "noun"): (_CHAINED, _JOINED, _CHAINED, _LISTED),
    ("to", "base"): (_CHAINED, _JOINED),
    ("to", "known"): (_CHAINED, _JOINED),
    ("near", "clause"): (_BESIDE, _BESIDE, _LISTED, _INVERTED, _APART),
    ("near", "noun"): (_BESIDE, _LISTED, _BESIDE, _INVERTED),
    ("near", "base"): (_BESIDE, _INVERTED),
    ("near", "known"): (_BESIDE, _INVERTED, _APART),
    ("far", "clause"): (_INVERTED, _APART, _INVERTED, _LISTED),
    ("far", "noun"): (_LISTED, _INVERTED, _APART),
    ("far", "base"): (_INVERTED, _APART),
    ("far", "known"): (_INVERTED, _APART),
    ("related to", "clause"): (_LISTED, _APART),
    ("related to", "noun"): (_LISTED, _APART),
    ("related to", "base"): (_APART,),
    ("related to", "known"): (_APART,),
}
