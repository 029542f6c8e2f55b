"""Two actors of ``english`` in freer forms: the relation first, looks told late, both at once."""

from jaxvid.data import english_leads as leads
from jaxvid.data import english_words as words
from jaxvid.data.english_leads import FINITE, ING, THAT, Mode
from jaxvid.data.english_notes import Notes
from jaxvid.data.english_phrases import Phrase, acts, split
from jaxvid.data.pieces import Piece
from jaxvid.outline import ANY, TO


class Pairs(Notes):
    """Says a take of two actors; every form is ``take -> Phrase``."""

    def freely(self, i: int, mode: Mode) -> Phrase:
        """One of the forms that suit the beginning of a take; nothing if none is drawn."""
        take, draw = self.takes[i], self.draw
        fresh, noun = all(part.who not in self.known for part in take.parts), mode.kind == "noun"
        if (not noun and mode is not FINITE) or (noun and not fresh):
            return []
        if not noun and (take.side != ANY or take.depth != ANY) and draw.chance(0.45):
            lain = self.open and draw.chance(0.25)
            return self.lain(i) if lain else self.fore(i)
        self.opened = not noun and self.open
        if self.same(i) and draw.chance(0.5) and (fresh or not self.picture):
            said = self.likewise(i)
            if said:
                return said
        return self.coloured(i) if fresh and self.told_apart(i) and draw.either(0.25) else []

    def same(self, i: int) -> bool:
        """Whether both are said to do the same."""
        a, b = self.takes[i].parts
        return acts(a) and (a.motion, a.then, a.speed) == (b.motion, b.then, b.speed)

    def told_apart(self, i: int) -> bool:
        """Whether the kinds tell the looks of a take apart, and there is more to tell of them."""
        a, b = (self.looks[part.who] for part in self.takes[i].parts)
        more = any(v != ANY for look in (a, b) for v in (look.size, look.color))
        return more and ANY not in (a.kind, b.kind) and a.kind != b.kind

    def fore(self, i: int) -> Phrase:
        """ "behind a red circle, a blue star moves up. The circle shrinks" """
        a, b = self.takes[i].parts
        noun, late = self.mention(a.who, pronoun=False), acts(a)
        doing = words.PARTICIPLES.get(a.motion, ()) if a.then == "none" else ()
        if doing and a.speed == "normal" and isinstance(noun[0], Piece) and self.draw.chance(0.5):
            if noun[0].text in ("a", "the"):
                act = Piece(self.pick(doing), self.paths(i, (0,), "motion"))
                noun, late = [noun[0], act, *noun[1:]], False
        said: Phrase = [*self.relation(i, inverse=True), *noun, *self.place(i, 0)]
        self.topic = None
        there = self.pick(("there is", "is", "we see", "sits", "there's", "you see"))
        fresh = b.who not in self.known
        if not acts(b):
            said += [there, *self.mention(b.who, pronoun=False), *self.place(i, 1)]
            self.topic = b.who
        elif fresh and there.startswith("there") and self.draw.chance(0.4):
            if self.draw.chance(0.5):
                said += [there, *self.clause(i, 1, self.pick((THAT, ING)))]
            else:
                said += [there, *self.mention(b.who, pronoun=False), *self.place(i, 1), "."]
                self.topic = b.who
                said += self.clause(i, 1, FINITE)
        else:
            said += [self.pick((",", ",", "")), *self.clause(i, 1, FINITE)]
        if late:
            said += [*split(self.pick((".", ".", ", and", ", while", ";"))), *self.by_name(i, 0)]
        return said

    def lain(self, i: int) -> Phrase:
        """ "a red circle is behind a blue star. The circle moves up", "..., in the back" """
        a, b = self.takes[i].parts
        said = [*self.mention(a.who, pronoun=False), *self.place(i, 0)]
        if self.takes[i].side == ANY and self.draw.chance(0.6):
            far, near = (self.pick(where) for where in (words.FAR, words.NEAR))
            far, near = (far, near) if self.takes[i].depth == "behind" else (near, far)
            slots = (f"takes/{i}/depth",)
            said += [Piece(far, slots), self.pick((",", "and", ", and"))]
            said[-1:] = split(str(said[-1]))
            said += [*self.mention(b.who, pronoun=False), *self.place(i, 1)]
            said += [Piece(near, slots)] if self.draw.chance(0.7) else []
        else:
            said += ["is", *self.relation(i), *self.mention(b.who, pronoun=False)]
            said += self.place(i, 1)
        self.topic = None
        if self.same(i):
            they: Phrase = ["they"] if a.motion in TO else [self.pick(("both", "they both"))]
            return [*said, self.pick((".", ";", ".")), *self.all_of(i, they, FINITE)]
        for n in (0, 1):
            if acts((a, b)[n]):
                said += [self.pick((".", ".", ";", ",")), *self.by_name(i, n)]
        return said

    def by_name(self, i: int, n: int) -> Phrase:
        """A clause that calls its subject by what it is, not "it"."""
        self.topic = None
        return self.clause(i, n, FINITE)

    def likewise(self, i: int) -> Phrase:
        """ "a red circle behind a blue star, both moving up"; nothing if looks are alike."""
        a, b = self.takes[i].parts
        if self.looks[a.who] == self.looks[b.who]:
            return []
        there = self.pick(("", "", "there is", "we see", "here is")) if self.opened else ""
        said: Phrase = [there, *self.mention(a.who, pronoun=False), *self.place(i, 0)]
        said += self.relation(i) or [self.pick(("and", "and", "and", ",", "&"))]
        said += [*self.mention(b.who, pronoun=False), *self.place(i, 1)]
        both, mode = self.draw.pick(leads.BOTH)
        mark, *subject = split(both)
        if a.motion in TO and mode is FINITE and "both" in both:
            subject = ["they"]
        elif a.motion in TO and mode is ING:
            subject = []
        self.topic = None
        return [*said, mark, *self.all_of(i, subject, mode)]

    def all_of(self, i: int, subject: Phrase, mode: Mode) -> Phrase:
        """What both do, after what they are called together."""
        a, b = self.takes[i].parts
        if a.motion == "still" and a.then == "none" and self.draw.chance(0.3) and mode is FINITE:
            return [Piece(self.pick(words.NEITHER), self.paths(i, (0, 1), "motion"))]
        return [*(self.named(subject, a.who, b.who) if subject else []), *self.act(i, (0, 1), mode)]

    def coloured(self, i: int) -> Phrase:
        """ "a circle moves up, a star moves down. The circle is red, the star blue" """
        a, b = self.takes[i].parts
        pair, draw = (a.who, b.who), self.draw
        kept = draw.chance(0.4)  # "a small circle": only the colour is told late
        late = {(n, s) for n in pair for s in (("color",) if kept else ("size", "color"))}
        late = {(n, s) for n, s in late if getattr(self.looks[n], s) != ANY}
        if not late:
            late = {(n, "size") for n in pair if self.looks[n].size != ANY}
        self.untold = late
        relation = self.relation(i)
        if (
            self.opened
            and not relation
            and not self.same(i)
            and acts(a)
            and acts(b)
            and draw.chance(0.5)
        ):
            join = split(self.pick((",", ",", "and", "while", ", and", ".")))
            said = [*self.clause(i, 0, FINITE), *join, *self.clause(i, 1, FINITE)]
            said += [self.pick((".", ".", ";", ",")), *self.colors(pair)]
            self.untold = set()
            return said
        there = self.pick(("there are", "we see", "", "", "here are")) if self.opened else ""
        there = "there is" if relation and there.endswith("are") else there
        said = [there, *self.mention(a.who, pronoun=False), *self.place(i, 0)]
        said += relation or [self.pick(("and", "and", "and", ",", "&"))]
        said += [*self.mention(b.who, pronoun=False), *self.place(i, 1)]
        colors: Phrase = [self.pick((".", ".", ";", ",")), *self.colors(pair)]
        if draw.chance(0.5):
            said, colors, self.untold = [*said, *colors], [], set()
        self.topic = None
        if self.same(i):
            mode = draw.pick((FINITE, FINITE, ING))
            they: Phrase = ["both"] if a.motion not in TO else ["they"] if mode is FINITE else []
            said += [self.pick((".", ".", ",")), *self.all_of(i, they, mode)]
        else:
            for n in (0, 1) if draw.either(0.75) else (1, 0):
                if acts((a, b)[n]):
                    said += [self.pick((".", ".", ",", ";")), *self.by_name(i, n)]
        said, self.untold = [*said, *colors], set()
        return said

    def colors(self, pair: tuple[int, int]) -> Phrase:
        """What was left to tell: "the circle is red, the star blue", "circle = red"."""
        told = [n for n in pair if any(m == n for m, _ in self.untold)]
        told = told[::-1] if self.draw.either(0.15) else told
        the, link, again, join = self.draw.pick(leads.TELLING)
        join = "," if join == "," or not the else join
        said: Phrase = []
        for k, n in enumerate(told):
            size, color = (
                self.word(n, slot) if (n, slot) in self.untold else "" for slot in ("size", "color")
            )
            both = "and" if size and color and the else ""
            noun = self.named([the, self.word(n, "kind")], n)
            linked = split(link if k == 0 else again) if link else []
            said += [*(split(join) if k else []), *noun, *linked, size, both, color]
        return said

    def keywords(self, i: int) -> Phrase:
        """ "red circle above blue star, both still, dark background" """
        a, b = self.takes[i].parts
        mark, draw = self.draw.pick((",", ",", ",", ";", ".", "/", "|", "\n")), self.draw
        self.bare = draw.chance(0.8)
        relation, to = self.relation(i), TO.count(a.motion) + TO.count(b.motion) > 0
        first = [*self.mention(a.who, pronoun=False), *self.place(i, 0)]
        if relation or to or self.same(i):
            join = relation or [self.pick(("and", "and", "&", "+", ","))]
            second = [*self.mention(b.who, pronoun=False), *self.place(i, 1)]
            actors: list[Phrase] = [[*first, *join, *second]]
            self.topic = None
            if self.same(i):
                mode = draw.pick((ING, FINITE))
                both: Phrase = ["both"] if not to else ["they"] if mode is FINITE else []
                actors += [self.all_of(i, both, mode)]
            else:
                actors += [self.by_name(i, n) for n in (0, 1) if acts((a, b)[n])]
        else:
            mode, comma = draw.pick((ING, ING, FINITE)), self.pick(("", "", ","))
            first += [comma, *self.act(i, (0,), mode)] if acts(a) else []
            second = [*self.mention(b.who, pronoun=False), *self.place(i, 1)]
            second += [comma, *self.act(i, (1,), mode)] if acts(b) else []
            actors = [first, second]
        frame = [field for field in (self.backdrop(i), self.shot(i)) if field]
        fields = [*frame, *actors] if draw.chance(0.35) else [*actors, *frame]
        return self.strung(fields, mark)
