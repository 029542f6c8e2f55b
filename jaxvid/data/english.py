"""An outline in English, in as many ways as people write: pieces that know what they state.

A text is built as a sentence is: a beginning ("show me") sets how the verbs stand (``Mode``), a
form sets who is named when, and ``english_phrases`` says nouns, places, movements and the rest.
"""

from collections.abc import Callable

from jaxvid.data import english_leads as leads
from jaxvid.data import english_words as words
from jaxvid.data.english_leads import BARE, FINITE, ING, Mode
from jaxvid.data.english_pairs import Pairs
from jaxvid.data.english_phrases import Phrase, acts, compose, split
from jaxvid.data.english_words import WORDS
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
        phrase += split(draw.pick(leads.CLOSINGS))
    asks = lead.startswith(("can ", "could ", "may ", "would ", "how about", "is it"))
    mark = "?" if asks and "." not in phrase else "."
    mark = "!" if mark == "." and not plain and draw.chance(0.08) else mark
    stop = mark if draw.chance(0.8 if long else 0.5) else ""
    said = compose(phrase, capitals=draw.chance(0.6), stop=stop)
    loud = not plain and draw.chance(0.02)
    return [Piece(piece.text.upper(), piece.slots) for piece in said] if loud else said


class _Teller(Pairs):
    """Says the takes of one outline."""

    def __init__(self, outline: Outline, draw: Draw, picture: bool, plain: bool) -> None:
        super().__init__(outline, draw, picture, plain)
        self.short = False  # a take's text is short
        self.numbered = len(self.takes) > 1 and draw.chance(0.3)
        self.label, self.mark = draw.pick(leads.LABELS), draw.pick(leads.BREAKS)
        links = {take.link for take in self.takes[:-1]}
        self.announced = self.numbered and len(links) == 1 and draw.chance(0.4)
        self.announced = self.announced and "cut" not in links

    def take(self, i: int) -> Phrase:
        """A take, with what leads to it."""
        pictured, self.now = self.picture and i == 0, i
        self.placed = set(self.known) if pictured else set()
        self.topic = self.topic if len(self.known) == 1 else None
        lead, mode = self.lead(i)
        begin = self.headline = str(lead[-1])
        if i == 0:
            self.bare = begin == "" and self.draw.chance(0.25)
            self.bare = self.bare or (self.numbered and self.draw.chance(0.3))
        else:
            runs_on = begin == "then" and self.short and self.draw.chance(0.4)
            mark = self.mark if self.numbered else ","
            if mark != "," or not (runs_on or (self.numbered and self.short)):
                mark = mark if self.numbered and mark != "," else "."
            lead = [mark, *lead]
        # "A clip where on a grid, ..." would be clumsy.
        self.open = (
            begin in ("", "then")
            or begin.endswith((",", ":", ")", "-", "."))
            or begin[-1:].isdigit()
        )
        if self.noted(i, mode):
            self.short = False
            form = self.draw.form(_NOTES) if len(self.takes[i].parts) == 1 else _Teller.keywords
            return [*lead, *form(self, i)]
        camera = self.camera(i)
        if camera[:1] == ["front"]:
            camera[0] = ","
            if mode is FINITE and (begin == "" or begin.endswith(":")):
                lead, camera = [*lead, *camera[1:], self.pick(("while", "as"))], []
                self.open = False
        if mode is FINITE and self.open and self.takes[i].camera != "still":
            if self.draw.chance(0.25):
                return [*lead, *self.filmed(i, pictured)]
        return self.framed(i, mode, lead, camera)

    def framed(self, i: int, mode: Mode, lead: Phrase, camera: Phrase) -> Phrase:
        """A take with its background."""
        pictured = self.picture and i == 0
        where, preposition = self.draw.form(leads.BACKGROUNDS)
        preposition = self.pick(leads.ON) if preposition == "on" else preposition
        ground = [] if pictured else self.ground(i, predicate=where in ("sentence", "first"))
        self.ending = []
        hours = words.HOURS.get(self.takes[i].tone) if self.takes[i].pattern == ANY else None
        if ground and hours and where in ("front", "end") and self.draw.chance(0.2):
            preposition, ground = "", [Piece(self.pick(hours), (f"takes/{i}/tone",))]
        elif ground and hours and where in ("front", "end") and self.draw.chance(0.15):
            shade = Piece(self.pick(WORDS["tone"][self.takes[i].tone]), (f"takes/{i}/tone",))
            preposition, ground = "in", ["a", shade, self.pick(words.ROOMS)]
            if where == "front" and self.open and self.draw.chance(0.3):
                heading = self.pick(("interior:", "int.", "setting:"))
                return [*lead, heading, *ground[1:], "-", *self.core(i, mode), *camera]
        elif ground and where == "front" and self.open and self.draw.chance(0.2):
            frame = ground[0 if self.draw.chance(0.5) else 1 :]
            return [*lead, *frame, self.pick((".", ":", ",", "-")), *self.core(i, mode), *camera]
        if where in ("first", "canvas") and ground and mode is FINITE and self.open:
            first = [self.pick(leads.GROUND_IS[:3]) if where == "first" else "there is", *ground]
            return [*lead, *first, ".", *self.core(i, mode), *camera]
        if where == "front" and ground and self.open:
            return [*lead, preposition, *ground, ",", *self.core(i, mode), *camera]
        if ground and where not in ("sentence", "comma"):
            self.ending = [preposition, *(ground if where != "first" else self.ground(i))]
        core = self.core(i, mode)
        if self.ending[:1] == ["with"] and "with" in (*core, *camera):
            self.ending[0] = "on"
        self.short = "." not in core and where != "sentence" and not camera
        core = [*lead, *core, *self.ending]
        if ground and where == "comma":
            core += [",", *(ground if camera else ground[1:])]
        if ground and where == "sentence":
            return [*core, *camera, ".", self.pick(leads.GROUND_IS), *ground]
        return [*core, *camera]

    def filmed(self, i: int, pictured: bool) -> Phrase:
        """ "zoom out on a dark grid: a red circle", "pan left. ...", "zoom in on a red circle" """
        turn = self.turn(i, BARE, named=False)
        turn = ["camera:", *turn] if self.draw.chance(0.2) else turn
        ground = [] if pictured else self.ground(i)
        self.ending, self.short = [], False
        if ground and self.draw.chance(0.6):
            over = self.pick(("on", "over", "across", "on"))
            return [*turn, over, *ground, self.pick((":", ":", ".", "-")), *self.core(i, FINITE)]
        self.ending = ["on", *ground] if ground else []
        fresh = self.takes[i].parts[0].who not in self.known
        if fresh and len(turn) == 1 and self.draw.chance(0.4):
            way = "on" if self.takes[i].camera == "zoom_in" else self.pick(("on", "over"))
            core: Phrase = [*turn, way, *self.core(i, ING)]
        else:
            core = [*turn, self.pick((":", ",", ".", "-")), *self.core(i, FINITE)]
        return [*core, *self.ending]

    def lead(self, i: int) -> tuple[Phrase, Mode]:
        """How a take begins."""
        draw = self.draw
        if i == 0:
            if self.numbered:
                return [*self.links(), self.name(i)], FINITE
            if not self.picture and self.draw.chance(0.2):
                return [""], FINITE
            requests = leads.PLAIN if self.plain else leads.REQUESTS
            text, mode = draw.form(leads.ANIMATE if self.picture else requests)
            return [text], mode
        names = {"n": i + 1, "number": words.NUMBERS[i], "nth": words.ORDINALS[i]}
        link = self.takes[i - 1].link
        if link != "cut" and self.numbered and (self.announced or draw.chance(0.4)):
            turn = Piece(draw.pick(words.LINKS[link])[0], (f"takes/{i - 1}/link",))
            way = "to" if self.label.startswith(("scene", "clip", "part")) else "."
            before: Phrase = [] if self.announced else [turn, self.pick((way, "."))]
            return [*before, self.name(i)], FINITE
        if link != "cut":
            start, form, after, mode = draw.form(leads.TURNS)
            word = Piece(draw.pick(words.LINKS[link])[form], (f"takes/{i - 1}/link",))
            return [start.format(**names), word, *split(after.format(**names))], mode
        if self.numbered:
            return [self.name(i)], FINITE
        # A new name alone shows that the shot is new.
        fresh = self.takes[i].parts[0].who not in self.known
        text, mode = draw.form(leads.THEN if fresh and draw.chance(0.6) else leads.CUTS)
        if text == "next," and i == len(self.takes) - 1 > 1 and draw.chance(0.6):
            text = "finally,"
        return [text.format(**names)], mode

    def name(self, i: int) -> str:
        """What a shot is called where all are numbered: "scene 2:"."""
        number, nth, letter = words.NUMBERS[i], words.ORDINALS[i], "abc"[i]
        return self.label.format(n=i + 1, number=number, nth=nth, letter=letter)

    def links(self) -> Phrase:
        """ "two scenes.", "fade between shots." """
        if not self.announced:
            what = "shots" if "shot" in self.label else "scenes"
            count = f"{words.NUMBERS[len(self.takes) - 1]} {what}"
            return [count, self.pick((".", ":"))] if self.draw.chance(0.2) else []
        word = self.draw.pick(words.LINKS[self.takes[0].link])[0]
        slots = tuple(f"takes/{i}/link" for i in range(len(self.takes) - 1))
        return [Piece(word, slots), self.pick(leads.BETWEEN), self.pick((".", ".", ":", ","))]

    def noted(self, i: int, mode: Mode) -> bool:
        """Whether a take is said in notes: one of new actors, after what lets them follow."""
        parts = self.takes[i].parts
        fits = all(part.who not in self.known for part in parts) and mode is FINITE and self.open
        return fits and self.draw.chance(0.5 if len(parts) == 1 else 0.3)

    def core(self, i: int, mode: Mode) -> Phrase:
        """Who does what."""
        parts = self.takes[i].parts
        fresh = parts[0].who not in self.known
        if len(parts) == 1:
            way = parts[0].motion in words.WAYS and parts[0].speed == "normal"
            asked = i == 0 and mode is FINITE and self.open and not (self.plain or self.numbered)
            if way and asked and self.draw.chance(0.12):
                return self.moved()
            if fresh and mode is FINITE and self.open and self.draw.chance(0.12):
                return self.draw.pick((_Teller.swift, _Teller.posed))(self, i, mode)
            if mode.kind == "clause" and not (fresh and mode is FINITE):
                return self.clause(i, 0, mode)
            return self.draw.form(_ONE[mode.kind, fresh])(self, i, mode)
        only = self.only() if self.picture and i == 0 else None
        if only is not None:
            return self.clause(i, only, mode)
        return self.two(i, mode, fresh)

    def two(self, i: int, mode: Mode, fresh: bool) -> Phrase:
        """Two actors and how they lie to each other, by what is stated of them."""
        if freely := self.freely(i, mode):
            return freely
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


Form = Callable[[_Teller, int, Mode], Phrase]
_NOTES: tuple[Callable[[_Teller, int], Phrase], ...] = (
    *(_Teller.late, _Teller.tags, _Teller.late, _Teller.tags),
    *(_Teller.described, _Teller.labelled, _Teller.headed),
)
# By what may follow the beginning and whether the actor is new; of four or more forms the last
# quarter is held out, so that each of those is seen elsewhere.
_ONE: dict[tuple[str, bool], tuple[Form, ...]] = {
    ("clause", True): (
        *(_Teller.one, _Teller.one, _Teller.one, _Teller.apiece, _Teller.there),
        *(_Teller.paced, _Teller.cleft, _Teller.lying),
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
_APART, _GAPPED, _COUPLED = _Teller.apart, _Teller.gapped, _Teller.coupled
_TWO: dict[tuple[str, str], tuple[Form, ...]] = {
    ("free", "clause"): (_GAPPED, _COUPLED, _JOINED, _JOINED, _SENTENCES, _LISTED, _Teller.those),
    ("free", "noun"): (_JOINED, _Teller.those, _JOINED, _LISTED),
    ("free", "base"): (_JOINED,),
    ("free", "known"): (_JOINED, _GAPPED),
    ("idle", "clause"): (_COUPLED, _LISTED, _Teller.aside),
    ("idle", "noun"): (_LISTED, _Teller.aside),
    ("to", "clause"): (_COUPLED, _CHAINED, _CHAINED, _LISTED, _JOINED, _SENTENCES),
    ("to", "noun"): (_CHAINED, _JOINED, _CHAINED, _LISTED),
    ("to", "base"): (_CHAINED, _JOINED),
    ("to", "known"): (_CHAINED, _JOINED),
    ("near", "clause"): (_COUPLED, _BESIDE, _BESIDE, _LISTED, _INVERTED, _APART),
    ("near", "noun"): (_BESIDE, _LISTED, _BESIDE, _INVERTED),
    ("near", "base"): (_BESIDE, _INVERTED),
    ("near", "known"): (_BESIDE, _INVERTED, _APART),
    ("far", "clause"): (_COUPLED, _INVERTED, _APART, _INVERTED, _LISTED),
    ("far", "noun"): (_LISTED, _INVERTED, _APART),
    ("far", "base"): (_INVERTED, _APART),
    ("far", "known"): (_INVERTED, _APART),
    ("related to", "clause"): (_COUPLED, _LISTED, _APART),
    ("related to", "noun"): (_LISTED, _APART),
    ("related to", "base"): (_APART,),
    ("related to", "known"): (_APART,),
}
