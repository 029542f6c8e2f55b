"""Phrases of ``english``: nouns and what refers to them, places, movements, relations, backgrounds.

A phrase is a list of words without spaces around them: plain ones as ``str``, stating ones as
``Piece``; ``compose`` puts in spaces, capitals and "an". Where a text would be "a , b" or end with
a comma, ``compose`` drops the comma, so that builders need not know what follows.
"""

from collections.abc import Sequence
from typing import TypeVar

from jaxvid.data import english_leads as leads
from jaxvid.data import english_words as words
from jaxvid.data.english_leads import BARE, FINITE, PROGRESSIVE, THAT, WHICH_IS, Mode
from jaxvid.data.english_words import WORDS
from jaxvid.data.pieces import Draw, Piece
from jaxvid.outline import ANY, TO, Outline, Part

Phrase = list[str | Piece]
T = TypeVar("T")
ATTRIBUTES = ("size", "color", "kind")
MARKS = (",", ".", ";", ":", "?", "!", "\n")


def split(text: str) -> Phrase:
    """A punctuation mark at the beginning of a text, and its rest, as two words."""
    return [text[0], text[1:].lstrip()] if text.startswith(MARKS) else [text]


def compose(phrase: Phrase, *, capitals: bool, stop: str) -> list[Piece]:
    """The words with their spaces, plain ones that meet as one piece; ``stop`` ends the text."""
    flat = [(word, ()) if isinstance(word, str) else (word.text, word.slots) for word in phrase]
    flat = [pair for pair in (*flat, (stop, ())) if pair[0]]
    done: list[Piece] = []
    glue, begins, fresh = "", capitals, False
    for k, (text, slots) in enumerate(flat):
        after = flat[k + 1][0] if k + 1 < len(flat) else "."
        if text == "," and after.startswith(MARKS):
            continue
        if text == "a" and after[0] in "aeiou" and not after.startswith("uni"):
            text = "an"
        if begins:
            text = text[0].upper() + text[1:]
        begins = capitals and text in (".", "\n")
        gap = " " if (done or glue) and not text.startswith(MARKS) and not fresh else ""
        fresh = text == "\n"
        if not slots:
            glue += gap + text
            continue
        if glue:
            done.append(Piece(glue))
        done.append(Piece(gap + text, slots))
        glue = ""
    return [*done, Piece(glue)] if glue else done


def acts(part: Part) -> bool:
    """Whether anything is said of what a part does."""
    return part.motion != ANY or part.then != "none" or part.speed != "normal"


def rests(part: Part) -> bool:
    """Whether a part can be passed over where a picture shows it."""
    return part.motion in (ANY, "still") and part.then == "none" and part.speed == "normal"


class Phrases:
    """Builds the phrases of one outline, remembering what was said of whom."""

    def __init__(self, outline: Outline, draw: Draw, picture: bool, plain: bool) -> None:
        self.looks, self.takes, self.draw = outline.looks, outline.takes, draw
        self.picture, self.plain = picture, plain
        self.nouns: dict[tuple[int, str], str] = {}  # (look, attribute) -> the word for it
        # The looks that have been named; all that a picture shows are known from the start.
        self.known = [part.who for part in self.takes[0].parts] if picture else []
        self.topic: int | None = None  # whom "it" would mean
        self.placed: set[int] = set()  # the looks whose place in this take has been said
        self.now = 0  # the take that is being said
        self.bare = False  # without articles
        self.untold: set[tuple[int, str]] = set()  # the attributes that are told later
        self.hasty = False  # a speed has been said

    def pick(self, options: Sequence[T]) -> T:
        """Any of the options; in a long story rather a short one."""
        if len(self.takes) < 3:
            return self.draw.pick(options)
        return min(self.draw.pick(options), self.draw.pick(options), key=lambda o: len(str(o)))

    # Nouns

    def word(self, n: int, attribute: str, *, also: tuple[int, ...] = ()) -> str | Piece:
        """The word for an attribute of a look, the same whenever it is named; "" if unstated."""
        value = getattr(self.looks[n], attribute)
        if value == ANY and attribute != "kind":
            return ""
        if (n, attribute) not in self.nouns:
            options = words.THINGS if value == ANY else WORDS[attribute][value]
            usual = value != ANY and self.draw.chance(0.2)  # most people say the plain word
            self.nouns[n, attribute] = options[0] if usual else self.pick(options)
        text = self.nouns[n, attribute]
        if also and attribute == "kind":
            text += "es" if text.endswith(("x", "s")) else "s"
        slots = tuple(f"looks/{m}/{attribute}" for m in (n, *also))
        return Piece(text, slots) if value != ANY else text

    def mention(self, n: int, *, pronoun: bool = True) -> Phrase:
        """A look by all that is stated of it, or, once it is known, by what tells it apart."""
        return self.named(self.refer(n, pronoun) if n in self.known else self.introduce(n), n)

    def named(self, said: Phrase, *looks: int) -> Phrase:
        """The words, which state that these looks are in the take."""
        slots = tuple(f"takes/{self.now}/who/{n}" for n in looks)
        pieces = (Piece(word) if isinstance(word, str) else word for word in said)
        return [Piece(p.text, (*p.slots, *slots)) if p.text.strip(",") else p.text for p in pieces]

    def introduce(self, n: int) -> Phrase:
        """ "a small red circle" """
        draw, look = self.draw, self.looks[n]
        twins = [m for m in self.known if self.looks[m] == look]
        if twins:
            self.lend(twins[0], n)
        self.known.append(n)
        size, color, kind = (
            "" if (n, attribute) in self.untold else self.word(n, attribute)
            for attribute in ATTRIBUTES
        )
        if twins:
            second = draw.chance(0.3) and len(twins) == 1
            return ["a second" if second else "another", size, color, kind]
        dice = draw.rng.random()
        if look.kind == ANY and dice < 0.2:
            return ["something", size, "and" if size and color else "", color]
        article = "" if self.bare else "a"
        if color and dice > 0.95:
            return [article, size, kind, self.pick(("in", "in", "colored", "painted")), color]
        if color and size and dice > 0.92:
            return [article, kind, ",", color, "and", size, ","]
        cute = self.pick(words.CUTE) if article and dice < 0.06 and not self.plain else ""
        return [article, cute, size, color, kind]

    def refer(self, n: int, pronoun: bool) -> Phrase:
        """A known look: "it", "the other one", "the red one"."""
        draw, look = self.draw, self.looks[n]
        others = [self.looks[m] for m in self.known if m != n]
        if pronoun and (self.topic == n or not others) and draw.chance(0.6):
            return ["it"]
        if len(others) == 1 and self.topic not in (None, n) and draw.chance(0.3):
            return [self.pick(("the other one", "the other"))]
        own = [a for a in ATTRIBUTES if getattr(look, a) != ANY and (n, a) not in self.untold]
        keep = [a for a in own if all(getattr(o, a) != getattr(look, a) for o in others)]
        if keep:
            keep = [self.pick(keep)]
            if draw.chance(0.3):
                keep.append(self.pick(own))
        elif all(any(getattr(o, a) != getattr(look, a) for a in own) for o in others):
            keep = own
        else:
            return ["the", self.rank(n), "one"]
        noun: str | Piece = self.pick(words.THINGS) if not others else "one"
        if self.picture and not others and not self.topic and draw.chance(0.2):
            return ["the", noun, "in the picture"]
        said = [self.word(n, a) for a in ("size", "color") if a in keep]
        the = "" if self.bare and draw.chance(0.6) else "the"
        the = "the same" if the and self.now and draw.chance(0.08) else the
        return [the, *said, self.word(n, "kind") if "kind" in keep or not keep else noun]

    def rank(self, n: int) -> str:
        """What tells a look from one that looks alike: its place in a picture, or its number."""
        parts = self.takes[0].parts
        if self.picture and n in (part.who for part in parts) and len(parts) == 2:
            first, second = parts if parts[0].who == n else parts[::-1]
            for low, high, axis in (("left", "right", "x"), ("upper", "lower", "y")):
                a, b = getattr(first, axis), getattr(second, axis)
                if a != b and a.isdigit() and b.isdigit():
                    return low if int(a) < int(b) else high
        return words.ORDINALS[n]

    def couple(self, i: int) -> Phrase:
        """Two new looks of which the same is stated: "two red circles"."""
        first, second = (part.who for part in self.takes[i].parts)
        self.known += [first, second]
        said = [self.word(first, attribute, also=(second,)) for attribute in ATTRIBUTES]
        self.lend(first, second)
        return self.named([self.pick(words.PAIRS), *said], first, second)

    def lend(self, n: int, m: int) -> None:
        """Has look m called by the words for look n, which is stated alike."""
        self.nouns |= {(m, a): text for a in ATTRIBUTES if (text := self.nouns.get((n, a)))}

    def located(self, i: int) -> bool:
        """Whether a place in a take is yet to be said."""
        parts = [part for part in self.takes[i].parts if part.who not in self.placed]
        return any(v != ANY and not v.isdigit() for part in parts for v in (part.x, part.y))

    def only(self) -> int | None:
        """The one part that needs words where a picture shows who is there; None: both do."""
        take = self.takes[0]
        first, second = take.parts
        if take.depth != ANY or take.side != ANY or not self.draw.chance(0.6):
            return None
        if rests(second) and acts(first):
            return 0
        # The first may be passed over only if it never comes again: looks are in order of mention.
        return 1 if rests(first) and acts(second) and len(self.takes) == 1 else None

    def alike(self, i: int) -> bool:
        """Whether the parts of a take are two new looks of which the same is stated."""
        a, b = (part.who for part in self.takes[i].parts)
        return self.looks[a] == self.looks[b] and a not in self.known and b not in self.known

    # Places

    def place(self, i: int, n: int) -> Phrase:
        """Where a part is at first, unless that was said: "in the top left corner"."""
        part, draw = self.takes[i].parts[n], self.draw
        if part.who in self.placed:
            return []
        self.placed.add(part.who)
        path = f"takes/{i}/parts/{n}/"
        across, height = words.ACROSS.get(part.x), words.HEIGHT.get(part.y)
        x = Piece(self.pick(across), (path + "x",)) if across else None
        y = Piece(self.pick(height), (path + "y",)) if height else None
        sided = self.takes[i].side != ANY  # "on the left left of" would be clumsy
        middle = [axis for axis in ("x", "y") if getattr(part, axis) == "center"]
        if x and y:
            plain = Piece(words.ACROSS[part.x][0], x.slots)
            corners = ("corner", "corner", "corner of the screen", "")
            corner = self.pick(corners[: 3 if sided else 4])
            return [self.pick(("in the", "in the", "at the")), y, plain, corner]
        if len(middle) == 2:
            return [Piece(self.pick(words.CENTER), (path + "x", path + "y"))]
        said: Phrase = []
        if x:
            edged = sided or x.text != part.x or draw.chance(0.4)
            edge = self.pick(("side", "side", "edge")) if edged else ""
            said = ["at the" if edge == "edge" else "on the", x, edge]
        if y:
            said = ["at the", y, "edge" if y.text != part.y else self.pick(("", "", "edge"))]
        for axis in middle:
            said = [*said, Piece(self.pick(words.MIDWAY[axis]), (path + axis,))]
        whole = said and not middle and draw.chance(0.15)
        return [*said, self.pick(words.OF_SCREEN)] if whole else said

    def relation(self, i: int, *, inverse: bool = False) -> Phrase:
        """How the first part lies to the second ("behind"), or the second to the first."""
        take, said = self.takes[i], Phrase()
        for slot, value, table in (
            ("depth", take.depth, words.DEPTHS),
            ("side", take.side, words.SIDES),
        ):
            if value != ANY:
                options = table[words.INVERSE[value] if inverse else value]
                said += ["and" if said else "", Piece(self.pick(options), (f"takes/{i}/{slot}",))]
        return said

    # Acts

    def act(self, i: int, ns: tuple[int, ...], mode: Mode) -> Phrase:
        """What a part does, or two do alike."""
        part, many = self.takes[i].parts[ns[0]], int(len(ns) > 1)
        if not acts(part) and mode in (THAT, WHICH_IS):
            return []
        if not acts(part) and mode is PROGRESSIVE:
            mode = FINITE
        aux, form = mode.aux[many], mode.form[many]
        if part.motion == ANY and part.then == "gone" and part.speed == "normal":
            return [aux, Piece(self.pick(words.GONE)[form], self.paths(i, ns, "then"))]
        motion = self.motion(i, ns, form)
        if part.then != "none" and mode is FINITE and self.draw.chance(0.15):
            aux = "first"
        return [aux, *motion, *(self.then(i, ns, mode) if part.then != "none" else [])]

    def paths(self, i: int, ns: tuple[int, ...], slot: str) -> tuple[str, ...]:
        """The paths of a slot of parts of a take."""
        return tuple(f"takes/{i}/parts/{n}/{slot}" for n in ns)

    def motion(self, i: int, ns: tuple[int, ...], form: int) -> Phrase:
        """The first of the movements, with its speed and what it is relative to."""
        draw, part = self.draw, self.takes[i].parts[ns[0]]
        slots, way, what = self.paths(i, ns, "motion"), "", Phrase()
        if part.motion == ANY:
            still = part.then == "none" and part.speed == "normal"
            verb, slots = self.pick(words.IDLE if still else words.ROAM), ()
        elif part.motion in TO and len(ns) > 1:
            verb = self.pick(words.EACH_OTHER[part.motion])
        elif part.motion in TO and ns[0] and draw.chance(0.2) and self.flees(i):
            verb = self.pick(words.TO_ALONE[part.motion])
        elif part.motion in TO:
            verb = self.pick(words.TO[part.motion])
            other = 1 - ns[0]
            what = self.mention(self.takes[i].parts[other].who)
            what += self.place(i, other)
        elif part.motion in words.WAYS and (part.motion not in words.ACTS or draw.chance(0.8)):
            verb, way = self.pick(words.GO), self.pick(words.WAYS[part.motion])
        else:
            verb = self.pick(words.ACTS[part.motion])
        text, dice = verb[form], draw.rng.random()
        if part.speed == "normal" or self.hasty:
            return [Piece(f"{text} {way}".rstrip(), slots) if slots else text, *what]
        pace = self.paths(i, ns, "speed")
        if way and dice < 0.2:
            return [Piece(self.pick(words.HURRY[part.speed])[form], pace), Piece(way, slots)]
        verb_said = Piece(text, slots) if slots else text
        if dice < 0.5 or what:
            return [
                Piece(self.pick(words.BEFORE[part.speed]), pace),
                verb_said,
                way and Piece(way, slots),
                *what,
            ]
        if way and dice < 0.7:
            return [verb_said, Piece(self.pick(words.BEFORE[part.speed]), pace), Piece(way, slots)]
        adverb = Piece(self.pick(words.AFTER[part.speed]), pace)
        return [Piece(f"{text} {way}".rstrip(), slots) if slots else text, adverb]

    def then(self, i: int, ns: tuple[int, ...], mode: Mode) -> Phrase:
        """What follows in the same take: ", then stops"."""
        draw, take = self.draw, self.takes[i]
        part, many = take.parts[ns[0]], int(len(ns) > 1)
        alone = part.motion not in TO and (many or len(take.parts) == 1)
        forms = leads.IT_THEN if alone and draw.chance(0.35) else leads.THEREAFTER
        join, other = draw.form(forms)
        said = split(join.replace("{it}", "they" if many else "it"))
        form = other.form[many] if other else mode.after[many]
        slots = self.paths(i, ns, "then")
        if part.then in words.WAYS:
            way = self.pick(words.WAYS[part.then])
            short = part.motion in words.WAYS and "then" in join and other is None
            text = way if short and draw.chance(0.3) else f"{self.pick(words.GO)[form]} {way}"
        else:
            table = {"still": words.STOP, "gone": words.GONE}
            text = self.pick(table.get(part.then) or words.ACTS[part.then])[form]
        return [*said, Piece(text, slots)]

    def flees(self, i: int) -> bool:
        """Whether one of the two actors chases the other, who flees."""
        return {part.motion for part in self.takes[i].parts} == set(TO)

    def moved(self) -> Phrase:
        """ "move a red circle up" """
        part = self.takes[0].parts[0]
        path = self.paths(0, (0,), "motion")
        what = [*self.mention(part.who), *self.place(0, 0)]
        verb, way = self.pick(("move", "move", "slide")), self.pick(words.WAYS[part.motion])
        then = self.then(0, (0,), BARE) if part.then != "none" else []
        return [Piece(verb, path), *what, Piece(way, path), *then]

    # The frame

    def ground(self, i: int, *, predicate: bool = False) -> Phrase:
        """The background: "a dark grid", "dark and textured"; nothing if nothing is stated."""
        draw, tone, pattern = self.draw, self.takes[i].tone, self.takes[i].pattern
        shade: Phrase = []
        if tone != ANY:
            shade = [Piece(self.pick(WORDS["tone"][tone]), (f"takes/{i}/tone",))]
        if pattern == ANY and shade and not predicate and draw.chance(0.12):
            time = Piece(self.pick(words.TIMES[tone]), (f"takes/{i}/tone",))
            return ["a", time, self.pick(("sky", "scene", *words.GROUNDS))]
        if pattern == ANY:
            return shade if predicate or not shade else ["a", *shade, self.pick(words.GROUNDS)]
        slots, surfaces = (f"takes/{i}/pattern",), words.SURFACES.get(pattern)
        if draw.chance(0.15) and (shade or not predicate):
            within: Phrase = ["with", Piece(self.pick(words.WITHIN[pattern]), slots)]
            return [*shade, *within] if predicate else ["a", *shade, words.GROUNDS[0], *within]
        if surfaces and (draw.chance(0.5) or (predicate and pattern != "noise")):
            surface = self.pick(surfaces)
            article = "" if surface == words.GRAPH_PAPER else "a"
            return [article, *shade, Piece(surface, slots)]
        kind = Piece(self.pick(words.PATTERNS[pattern]), slots)
        if predicate:
            return [*shade, "and" if shade else "", kind]
        said = [kind, *shade] if pattern == "plain" else [*shade, kind]
        return ["a", *said, self.pick(words.GROUNDS)]

    def camera(self, i: int) -> Phrase:
        """What the camera does, and how that is joined to what was said before."""
        motion = self.takes[i].camera
        if motion == "still":
            return split(self.pick(leads.STILL)) if self.draw.chance(0.02) else []
        join, who, mode = self.draw.form(leads.MOVES)
        verbs = words.CAMERAS[motion]
        verb = self.pick(verbs) if who else verbs[0]
        text = f"{mode.aux[0]} {verb[mode.form[0]]}".lstrip()
        return [*split(join), who, Piece(text, (f"takes/{i}/camera",))]
