"""Clauses of ``english``: one actor or two, who is named when, and in how many sentences."""

from jaxvid.data import english_leads as leads
from jaxvid.data import english_words as words
from jaxvid.data.english_leads import BARE, FINITE, ING, THAT, WHICH_IS, Mode
from jaxvid.data.english_phrases import Phrase, Phrases, acts, split
from jaxvid.data.english_words import BE
from jaxvid.data.pieces import Draw, Piece
from jaxvid.outline import ANY, TO, Outline


class Actors(Phrases):
    """Says who does what in a take; every form is ``(take, mode) -> Phrase``."""

    def __init__(self, outline: Outline, draw: Draw, picture: bool, plain: bool) -> None:
        super().__init__(outline, draw, picture, plain)
        self.ending: Phrase = []  # a background that a first sentence may take along
        self.opened = False  # a take may begin with "there is"
        self.headline = ""  # what a take begins with
        self.open = False  # a take's beginning lets a place follow

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
        alone = i > 0 and len(self.takes[i].parts) < len(self.takes[i - 1].parts)
        if known and alone and self.draw.chance(0.3):
            subject = [*subject, self.pick(("alone", "on its own", "by itself"))]
        elif not known and act and mode is FINITE and self.draw.chance(0.04):
            act = [self.pick(("appears and", "comes along and", "shows up and")), *act]
        self.topic = who if len(self.known) == count else None
        if self.picture and i == 0 and mode is ING and count == 1 and acts(self.takes[0].parts[n]):
            return act  # "moving up"
        comma = "," if act and mode is ING and self.draw.chance(0.1) else ""
        return [*front, *subject, *place, comma, *act]

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
        it = self.named(["it"], part.who)
        if acts(part) and not self.plain and self.draw.chance(0.15):
            order = self.pick(("make", "make", "let", "have"))  # "make it move up"
            return [*said, ".", order, *it, *self.act(i, (0,), BARE)]
        return [*said, ".", *it, *self.act(i, (0,), FINITE)] if acts(part) else said

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
        article, *noun = self.mention(part.who)
        if article == "something":
            return [there, article, *noun, *self.place(i, 0), *self.act(i, (0,), ING)]
        doing = Piece(self.pick(participle), self.paths(i, (0,), "motion"))
        return [there, article, doing, *noun, *self.place(i, 0)]

    def starting(self, i: int, mode: Mode) -> Phrase:
        """ "a red circle starts on the left and moves up" """
        part = self.takes[i].parts[0]
        if not acts(part) or (part.x == ANY and part.y == ANY):
            return self.clause(i, 0, mode)
        subject = self.mention(part.who)
        return [*subject, "starts", *self.place(i, 0), "and", *self.act(i, (0,), FINITE)]

    def paced(self, i: int, mode: Mode) -> Phrase:
        """ "a red circle moves up. It is slow" """
        part = self.takes[i].parts[0]
        if part.speed == "normal" or part.then != "none" or part.motion == ANY:
            return self.clause(i, 0, mode)
        slots = self.paths(i, (0,), "motion")
        ways, many = words.WAYS.get(part.motion), words.ACTS.get(part.motion, ())
        verb = self.pick(words.GO if ways else many)
        text = f"{verb[mode.form[0]]} {self.pick(ways) if ways else ''}".rstrip()
        pace = Piece(self.pick(leads.PACES[part.speed]), self.paths(i, (0,), "speed"))
        subject = [*self.mention(part.who, pronoun=False), *self.place(i, 0)]
        after = self.pick(("it is", "the movement is", "its motion is", "this is"))
        return [*subject, mode.aux[0], Piece(text, slots), *self.ended(), ".", after, pace]

    def swift(self, i: int, mode: Mode) -> Phrase:
        """ "slowly, from the right, a red circle moves left" """
        part = self.takes[i].parts[0]
        front: Phrase = []
        if part.speed != "normal":
            pace = self.pick((*words.BEFORE[part.speed], *words.AFTER[part.speed][:5]))
            front, self.hasty = [Piece(pace, self.paths(i, (0,), "speed")), ","], True
        place = self.place(i, 0)
        if acts(part) and place and place[0] in ("on the", "in the", "at the"):
            front += [self.pick(("", "", "starting")), "from the", *place[1:], ","]
            place = []
        said = [*front, *self.mention(part.who, pronoun=False), *place]
        if part.motion == ANY and part.then != "none":
            said += [self.pick(("appears and", "shows up and", "comes along and"))]
        said += self.act(i, (0,), mode) if acts(part) else [self.pick(("appears", "is there"))]
        self.hasty = False
        return said

    def posed(self, i: int, mode: Mode) -> Phrase:
        """ "the circle is red and small, it moves up" """
        part = self.takes[i].parts[0]
        look = self.looks[part.who]
        size, color, kind = (self.word(part.who, a) for a in ("size", "color", "kind"))
        if look.kind == ANY or (look.size == ANY and look.color == ANY) or not acts(part):
            return self.swift(i, mode)
        self.known.append(part.who)
        self.topic = part.who
        first, second = self.pick(((size, color), (color, size)))
        both = "and" if size and color else ""
        noun = self.named([self.pick(("the", "the", "our", "my")), kind], part.who)
        it = self.named([self.pick(("it", "it", "and it"))], part.who)
        mark = self.pick((",", ",", ".", ";"))
        said = [*noun, *self.place(i, 0), "is", first, both, second, mark, *it]
        return [*said, *self.act(i, (0,), FINITE)]

    def ended(self) -> Phrase:
        """The background that this sentence takes along."""
        ending, self.ending = self.ending, []
        return ending

    def cleft(self, i: int, mode: Mode) -> Phrase:
        """ "what we see is a red circle that moves up" """
        start = self.pick(("it is", "what we see is", "this is", "what you see is", "here comes"))
        return [start, *self.clause(i, 0, self.pick((THAT, ING)))]

    def lying(self, i: int, mode: Mode) -> Phrase:
        """ "a red circle is on the left. It moves up" """
        part = self.takes[i].parts[0]
        if not acts(part) or (part.x == ANY and part.y == ANY):
            return self.clause(i, 0, mode)
        subject = self.mention(part.who, pronoun=False)
        self.topic, place = part.who, self.place(i, 0)
        is_there = self.pick(("is", "is", "sits", "can be seen"))
        it = self.named(["it"], part.who)
        return [*subject, is_there, *place, *self.ended(), ".", *it, *self.act(i, (0,), FINITE)]

    # Two actors

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
            they = (
                "both of them",
                "both",
                "the two",
                "the two of them",
                "the pair",
                "they",
                "they",
            )
            who = self.pick(they)
            who = "them" if who == "they" and mode.kind != "clause" else who
            subject, both = self.named([who], a, b), ""
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
        join, other = self.draw.form(leads.JOINS)
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
        return [*said, ".", self.pick(leads.BESIDES), *self.clause(i, 1, FINITE)]

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
            names = [self.named(["one"], a.who), self.named(["the other"], b.who)]
        else:
            first = [*self.mention(a.who, pronoun=False), *self.place(i, 0)]
            second, place = self.mention(b.who, pronoun=False), self.place(i, 1)
            alone = place and len(first) > 1 and not relation
            second = [",", *place, ",", *second] if alone else [*second, *place]
            said = ["there is" if there else "", *first, *(relation or ["and"]), *second]
        self.topic = None
        if not names and len(active) == 2 and self.draw.chance(0.15):
            names = [self.named(["the former"], a.who), self.named(["the latter"], b.who)]
        elif not names and self.draw.either(0.2):
            active.reverse()
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
        if a.then == "none" and self.draw.chance(0.2):
            return self.act(i, (1,), THAT)
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
        it = self.named(["it"], self.takes[i].parts[0].who)
        relation = [*self.relation(i, inverse=True), *it]
        if acts(self.takes[i].parts[1]):
            return [*said, ",", "and", *relation, *self.clause(i, 1, mode)]
        noun = self.mention(self.takes[i].parts[1].who, pronoun=False)
        return [*said, ",", "with", *noun, *self.place(i, 1), *relation]

    def apart(self, i: int, mode: Mode) -> Phrase:
        """ "a red circle moves up and a blue star shrinks. The circle is behind the star" """
        a, b = self.takes[i].parts
        said = self.chained(i, mode) if a.motion in TO else self.joined(i, mode)
        if self.draw.either(0.3):  # the other way round
            self.topic, names = None, [self.refer(part.who, False) for part in (b, a)]
            return [*said, ".", *names[0], "is", *self.relation(i, inverse=True), *names[1]]
        first = self.refer(a.who, not acts(b))
        self.topic = None
        return [*said, ".", *first, "is", *self.relation(i), *self.refer(b.who, False)]

    def gapped(self, i: int, mode: Mode) -> Phrase:
        """ "a red circle moves left, a blue star right" """
        a, b = self.takes[i].parts
        usual = all(p.speed == "normal" and p.motion in words.WAYS for p in (a, b))
        if not usual or a.then != "none" or self.alike(i):
            return self.joined(i, mode)
        subject = [*self.mention(a.who, pronoun=False), *self.place(i, 0)]
        verb, joint = self.pick(words.GO), self.pick((", ", "and", ", and", "; "))
        way = Piece(self.pick(words.WAYS[b.motion]), self.paths(i, (1,), "motion"))
        first = Piece(
            f"{verb[mode.form[0]]} {self.pick(words.WAYS[a.motion])}", self.paths(i, (0,), "motion")
        )
        other = [*self.mention(b.who, pronoun=False), *self.place(i, 1)]
        then = self.then(i, (1,), mode) if b.then != "none" else []
        return [*subject, mode.aux[0], first, *split(joint.strip()), *other, way, *then]

    def coupled(self, i: int, mode: Mode) -> Phrase:
        """ "there are a circle and a star. The circle is red, the star blue" """
        a, b = self.takes[i].parts
        first, second = self.looks[a.who], self.looks[b.who]
        fresh = a.who not in self.known and b.who not in self.known
        told = all(look.size != ANY or look.color != ANY for look in (first, second))
        if not fresh or not told or ANY in (first.kind, second.kind) or first.kind == second.kind:
            return self.listed(i, mode)
        kinds = [self.word(n, "kind") for n in (a.who, b.who)]
        said: Phrase = [self.pick(("there are", "we see", "here are"))]
        said += [
            *self.named(["a", kinds[0]], a.who),
            *self.place(i, 0),
            *(self.relation(i) or ["and"]),
        ]
        said += [*self.named(["a", kinds[1]], b.who), *self.place(i, 1), "."]
        for n, kind, joint in ((a.who, kinds[0], ("",)), (b.who, kinds[1], (",", ", and"))):
            size, color = self.word(n, "size"), self.word(n, "color")
            linked = "and" if size and color else ""
            noun = self.named(["the", kind], n)
            said += [*split(self.pick(joint)), *noun, "is", size, linked, color]
        self.known += [a.who, b.who]
        self.topic = None
        for n in (0, 1):
            if acts((a, b)[n]):
                said += [".", *self.clause(i, n, FINITE)]
        return said
