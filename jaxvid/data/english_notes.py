"""Notes of ``english``: a shot as keywords, labelled fields or short sentences of their own."""

from jaxvid.data import english_leads as leads
from jaxvid.data import english_words as words
from jaxvid.data.english_actors import Actors
from jaxvid.data.english_leads import BARE, FINITE, ING, Mode
from jaxvid.data.english_phrases import Phrase, acts
from jaxvid.data.pieces import Piece
from jaxvid.outline import ANY


class Notes(Actors):
    """Says a take of one actor that is new in notes; every form is ``take -> Phrase``."""

    def tags(self, i: int) -> Phrase:
        """ "red circle, on the left, moving up, dark background, zoom in" in some order."""
        mark = self.draw.pick(leads.TAG_MARKS)
        part = self.takes[i].parts[0]
        self.bare = self.draw.chance(0.7)
        noun = self.mention(part.who, pronoun=False)
        place = self.place(i, 0)
        mode = self.draw.pick((ING, ING, FINITE, BARE))
        act = self.act(i, (0,), mode) if acts(part) else []
        actor = [*noun, mark, *place] if place and self.draw.chance(0.5) else [*noun, *place]
        # A comma only where the act is none that goes on over several sentences.
        actor += [mark if act and self.draw.chance(0.5) else "", *act]
        if i == 0 and acts(part) and part.then == "none" and self.draw.chance(0.15):
            actor = [*act, mark, *noun, *place]
        frame = [field for field in (self.backdrop(i), self.shot(i)) if field]
        if self.draw.chance(0.3):
            frame.reverse()
        fields = [*frame, actor] if self.draw.chance(0.35) else [actor, *frame]
        return self.strung(fields, mark)

    def labelled(self, i: int) -> Phrase:
        """ "background: dark. object: red circle. motion: moves up. camera: zoom in" """
        part = self.takes[i].parts[0]
        mark = self.draw.pick((".", ";", "/", ",", "\n", "\n"))
        dash = mark == "\n" and i == 0 and self.draw.chance(0.5)
        self.bare = self.draw.chance(0.7)
        label = self.draw.pick(leads.OBJECT_LABELS)
        noun, place = self.mention(part.who, pronoun=False), self.place(i, 0)
        actor: Phrase = [label, *noun, *place]
        if self.looks[part.who].kind != ANY and self.draw.chance(0.3) and not place:
            size, color, kind = (self.word(part.who, a) for a in ("size", "color", "kind"))
            actor = [label, *self.named([kind], part.who)]
            actor += [mark, "color:", color] if color else []
            actor += [mark, "size:", size] if size else []
        if acts(part):
            act = self.act(i, (0,), self.draw.pick((ING, FINITE)))
            actor += [mark, self.draw.pick(leads.ACT_LABELS), *act]
        ground = self.ground(i, predicate=True)
        frame = [[self.draw.pick(leads.GROUND_LABELS), *ground]] if ground else []
        camera = self.turn(i, BARE if self.draw.chance(0.5) else ING, named=True)
        frame += [["camera:", *camera]] if camera else []
        if self.draw.chance(0.3):
            frame.reverse()
        fields = [*frame, actor] if self.draw.chance(0.5) else [actor, *frame]
        said = self.strung(fields, mark)
        if dash:
            bullets = ([word, "-"] if word == "\n" else [word] for word in said)
            return ["\n" if self.headline else "", "-", *(w for pair in bullets for w in pair)]
        return said

    def described(self, i: int) -> Phrase:
        """ "there is a circle. It is red and small. It moves up. The background is dark" """
        part = self.takes[i].parts[0]
        look, draw = self.looks[part.who], self.draw
        size, color, kind = (self.word(part.who, a) for a in ("size", "color", "kind"))
        keep = bool(size and color) and draw.chance(0.5)
        noun = self.named(["a", size if keep else "", kind], part.who)
        it = self.named(["it"], part.who)
        said = ["" if keep else size, "and" if size and color and not keep else "", color]
        self.known.append(part.who)
        self.topic = part.who
        place = self.place(i, 0)
        plain = look.color == ANY and look.size == ANY
        start = draw.pick(leads.THERE)
        if place and draw.chance(0.4):
            first: Phrase = [*place, draw.pick(("there is", "is", "we see")), *noun]
        else:
            first = [start, *noun, *place]
        if not plain and not place and draw.chance(0.4):
            first += [",", "which is", *said]
        elif not plain:
            first += [".", *it, "is", *said]
        if acts(part):
            first += [".", *it, *self.act(i, (0,), FINITE)]
        return self.strung([*self.sentences_of(i, first)], ".")

    def late(self, i: int) -> Phrase:
        """ "a circle moves up. It is red and small. The background is dark" """
        part = self.takes[i].parts[0]
        look, draw = self.looks[part.who], self.draw
        if not acts(part) or (look.color == ANY and look.size == ANY):
            return self.described(i)
        size, color, kind = (self.word(part.who, a) for a in ("size", "color", "kind"))
        keep = bool(size and color) and draw.chance(0.5)
        noun = self.named(["a", size if keep else "", kind], part.who)
        self.known.append(part.who)
        self.topic = part.who
        first = [*noun, *self.place(i, 0), *self.act(i, (0,), FINITE), "."]
        it = draw.pick(("it", "it", "the shape", "the", "this"))
        its = draw.pick(("its color", "its colour")) if not size or keep else ""
        who: Phrase = [its] if its and draw.chance(0.3) else ["the", kind] if it == "the" else [it]
        said = ["" if keep else size, "and" if size and color and not keep else "", color]
        first += [*self.named(who, part.who), "is", *said]
        return self.strung([*self.sentences_of(i, first)], ".")

    def headed(self, i: int) -> Phrase:
        """ "a red circle: it moves up. The background is dark" """
        part = self.takes[i].parts[0]
        first = [*self.mention(part.who, pronoun=False), *self.place(i, 0)]
        self.topic = part.who
        if acts(part):
            it = self.named(["it"], part.who)
            first += [self.draw.pick((":", "-", "...")), *it, *self.act(i, (0,), FINITE)]
        return self.strung([*self.sentences_of(i, first)], ".")

    def sentences_of(self, i: int, actor: Phrase) -> list[Phrase]:
        """The actor, and the background and the camera as sentences, in some order."""
        ground = self.ground(i, predicate=True)
        start = self.draw.pick(leads.GROUND_IS)
        frame = [[start, *ground]] if ground else []
        camera = self.turn(i, FINITE, named=True)
        frame += [["the camera", *camera]] if camera else []
        return [*frame, actor] if self.draw.chance(0.5) else [actor, *frame]

    def backdrop(self, i: int) -> Phrase:
        """The background as a keyword: "dark grid background"."""
        ground = self.ground(i)
        tone = self.takes[i].tone
        if tone != ANY and self.takes[i].pattern == ANY and self.draw.chance(0.3):
            return [Piece(self.pick(words.WORDS["tone"][tone]), (f"takes/{i}/tone",))]
        return ground[1:] if self.draw.chance(0.7) else ground and ["on", *ground]

    def shot(self, i: int) -> Phrase:
        """The camera as a keyword: "zoom in", "camera pans left"."""
        mode = self.draw.pick((BARE, ING, FINITE))
        named = mode is FINITE or self.draw.chance(0.5)
        turn = self.turn(i, mode, named=named)
        return ["camera" if named else "", *turn] if turn else []

    def turn(self, i: int, mode: Mode, *, named: bool) -> Phrase:
        """What the camera does, without saying whose movement it is."""
        motion = self.takes[i].camera
        if motion == "still":
            return []
        verbs = words.CAMERAS[motion]
        text = self.pick(verbs if named and self.draw.chance(0.5) else verbs[:2])[mode.form[0]]
        return [Piece(text, (f"takes/{i}/camera",))]

    def strung(self, fields: list[Phrase], mark: str) -> Phrase:
        """Fields with a mark between them."""
        said: Phrase = []
        for field in fields:
            said += [mark if said else "", *field]
        return said
