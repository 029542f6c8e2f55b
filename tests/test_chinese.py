"""Laws of the Chinese wording: it says all that is stated, nothing else, and never two things."""

import re

import numpy as np
import pytest

from jaxvid.data import chinese, chinese_forms, chinese_words
from jaxvid.data.pieces import Draw, Wording, join
from jaxvid.outline import DEFAULTS, TO, VALUES, Look, Outline, Part, Take, stated

ALL = {slot: tuple(v for v in values[1:] if not v.isdigit()) for slot, values in VALUES.items()}
# A world so small that the same words come again and again.
SMALL = {slot: () for slot in ALL} | {
    "kind": ("star",),
    "color": ("red",),
    "tone": ("dark",),
    "motion": ("up", "towards"),
    "then": ("still",),
    "speed": ("slow",),
    "y": ("top",),
    "side": ("left", "right"),
}
TINY = {slot: () for slot in ALL} | {"kind": ("star",), "motion": ("up",), "then": ("still",)}
FORMS = {
    name: value
    for name, value in vars(chinese_forms).items()
    if isinstance(value, tuple) and any(c.isascii() and c.isalpha() for v in value for c in v)
}


class Recorder(Draw):
    """A draw that remembers which forms it gave."""

    given: list[tuple[tuple[str, ...], str]]

    def form(self, forms):
        form = super().form(forms)
        self.given.append((tuple(forms), form))
        return form


class FirstWord(Draw):
    """A draw of any form; what is no form is always said in the same words."""

    def pick(self, options):
        forms = [o for o in options if isinstance(o, str) and chinese.LETTER.search(o)]
        return forms[int(self.rng.random() * len(forms))] if forms else options[0]

    def form(self, forms):
        return forms[int(self.rng.random() * len(forms))]


class World:
    """Random valid outlines over the values of a world, looks alike more often than by chance."""

    def __init__(self, seed: int, values: dict[str, tuple[str, ...]] = ALL) -> None:
        self.rng, self.values = np.random.default_rng(seed), values

    def chance(self, share: float) -> bool:
        return bool(self.rng.random() < share)

    def some(self, slot: str, share: float, never: tuple[str, ...] = ()) -> str:
        """A value of a slot, with a probability, else its default."""
        values = [v for v in self.values[slot] if v not in never]
        some = values and self.chance(share)
        return values[int(self.rng.random() * len(values))] if some else DEFAULTS[slot]

    def part(self, who: int, alone: bool, seen: bool) -> Part:
        motion = self.some("motion", 0.8, TO if alone else ())
        then = self.some("then", 0.2, (motion,))
        speed = "normal" if motion == "still" else self.some("speed", 0.3)
        if seen and self.chance(0.7):
            return Part(who, motion, then, speed, *(str(k) for k in self.rng.integers(33, size=2)))
        return Part(who, motion, then, speed, self.some("x", 0.2), self.some("y", 0.2))

    def take(self, who: list[int], seen: bool) -> Take:
        parts = [self.part(n, len(who) == 1, seen) for n in who]
        if len(who) == 2 and self.chance(0.3):
            a, b = parts
            where = (b.x, b.y) if seen else (a.x, a.y)
            parts[1] = Part(b.who, a.motion, a.then, a.speed, *where)
        names = {s: self.some(s, 1 if seen else 0.3) for s in ("tone", "pattern")}
        names |= {s: self.some(s, 0.3) for s in ("camera", "link")}
        names |= {s: self.some(s, 0.25) for s in ("depth", "side") if len(who) == 2}
        return Take(tuple(parts), **names)

    def outline(self, takes: int, *, picture: bool = False) -> Outline:
        met, shots = 0, []
        for i in range(takes):
            count = 1 + self.chance(0.5)
            new = int(self.rng.integers(0 if met else 1, min(count, 3 - met) + 1))
            fresh, old = [*range(met, met + new)], self.rng.permutation(met)[: count - new].tolist()
            who = fresh + old if self.chance(0.5) else old + fresh
            shots.append(self.take(who, picture and i == 0))
            met += new
        share = 1 if picture else 0.6
        looks = [
            Look(*(self.some(s, share) for s in ("kind", "color", "size"))) for _ in range(met)
        ]
        if met > 1 and self.chance(0.3):
            looks[1] = looks[0]
        return Outline(tuple(looks), tuple(shots))


def said(outline: Outline, seed: int, **how: bool) -> Wording:
    heldout = seed % 4 == 0
    return join(chinese.pieces(outline, Draw(np.random.default_rng(seed), heldout=heldout), **how))


def clean(text: str) -> None:
    assert text == text.strip() and "  " not in text
    text = re.sub("(镜头|画面)[ABC]", "镜头一", text)
    assert not any(c.isascii() and c.isalpha() for c in text), "a letter of a form is left"
    marks = ",.:;!\uff0c\u3002\uff1a\uff1b\u3001\uff01"
    assert text[0] not in marks
    assert not any(a in marks and b in marks for a, b in zip(text, text[1:], strict=False)), text


@pytest.mark.parametrize("takes", [1, 2, 3])
@pytest.mark.parametrize("plain", [False, True])
def test_all_that_is_stated_is_said_and_nothing_else(takes, plain):
    world = World(takes)
    for seed in range(200):
        outline = world.outline(takes)
        wording = said(outline, seed, plain=plain)
        clean(wording.text)
        named = {f"takes/{i}/who/{p.who}" for i, t in enumerate(outline.takes) for p in t.parts}
        assert {span.slot for span in wording.spans} == {*stated(outline), *named}
        assert all(0 <= span.start < span.end <= len(wording.text) for span in wording.spans)


def test_looks_are_named_in_their_order():
    world = World(5)
    for seed in range(300):
        outline = world.outline(1 + seed % 3)
        first: dict[int, int] = {}
        for span in said(outline, seed).spans:
            if span.slot.startswith("looks/"):
                n = int(span.slot.split("/")[1])
                first[n] = min(first.get(n, span.start), span.start)
        starts = [first[n] for n in sorted(first)]
        assert starts == sorted(starts)


def test_parts_are_told_in_their_order():
    world = World(6)
    for seed in range(300):
        outline = world.outline(1 + seed % 3)
        spans = said(outline, seed).spans
        for i, take in enumerate(outline.takes):
            path = f"takes/{i}/parts/"
            starts = [[s.start for s in spans if s.slot.startswith(f"{path}{k}/")] for k in (0, 1)]
            if all(starts) and take.parts[0].motion not in TO:  # "goes to the one that ..."
                assert min(starts[0]) <= min(starts[1])


def test_a_picture_is_not_described():
    world = World(7)
    told_apart = 0
    for seed in range(300):
        outline = world.outline(1 + seed % 2, picture=True)
        wording = said(outline, seed, picture=True)
        clean(wording.text)
        slots = {span.slot for span in wording.spans if "/who/" not in span.slot}
        all_stated = stated(outline)
        assert slots <= all_stated.keys()
        first = outline.takes[0].parts
        seen = {f"takes/0/{s}" for s in ("tone", "pattern")}
        seen |= {f"takes/0/parts/{k}/{s}" for k in (0, 1) for s in "xy"}
        assert not slots & seen
        looks = {f"looks/{part.who}/{s}" for part in first for s in ("kind", "color", "size")}
        left = all_stated.keys() - slots - seen - looks
        still = {k for k, p in enumerate(first) if (p.motion, p.then) == ("still", "none")}
        unsaid = {f"takes/0/parts/{k}/motion" for k in still} if len(first) == 2 else set()
        assert left <= unsaid
        told_apart += bool(slots & looks)
    assert 0 < told_apart < 300


def test_no_word_has_two_meanings():
    tables = [*chinese.WORDS.values(), chinese_words.PATTERNS, chinese_words.SPEEDS]
    tables += [chinese_words.ACTS, chinese_words.THENS, chinese_words.WAYS, chinese_words.PLACES]
    tables += [chinese_words.CAMERAS, chinese_words.LINKS, chinese_words.TO_OTHER]
    for table in tables:
        owner: dict[str, object] = {}
        for value, words in table.items():
            for word in words:
                assert owner.setdefault(word, value) == value
    for slot, table in chinese.WORDS.items():
        assert tuple(table) == VALUES[slot][1:]


@pytest.mark.parametrize("slot", ["depth", "side"])
def test_a_relation_is_turned_around_where_the_second_is_told_of(slot):
    table = {"depth": chinese_words.DEPTHS, "side": chinese_words.SIDES}[slot]
    looks, parts = (Look(kind="star"), Look(kind="ring")), (Part(0), Part(1))
    turned = 0
    for seed in range(400):
        value = ALL[slot][seed % len(ALL[slot])]
        wording = said(Outline(looks, (Take(parts, **{slot: value}),)), seed, plain=True)
        (span,) = [span for span in wording.spans if span.slot == f"takes/0/{slot}"]
        before = wording.text[: span.start].removesuffix("的")
        text = wording.text[span.start : span.end]
        if text in chinese_words.HIDES + chinese_words.HIDDEN:
            assert (value == "behind") == (text in chinese_words.HIDDEN and "被" in before)
            continue
        inverse = before.endswith(("它", *chinese_words.KINDS["star"]))
        assert inverse != before.endswith(chinese_words.KINDS["ring"])
        value = chinese_words.OPPOSITE[value] if inverse else value
        assert text in table[value]
        turned += inverse
    assert 0 < turned < 400


def test_words_of_sides_have_their_characters():
    signs = {"left": "左", "right": "右", "up": "上", "down": "下", "above": "上", "below": "下"}
    tables = [chinese_words.WAYS, chinese_words.SIDES, chinese_words.CAMERAS]
    for value, words in [item for table in tables for item in table.items()]:
        if not value.startswith("zoom"):
            sides = {signs[name] for name in value.removeprefix("pan_").split("_")}
            assert all({c for c in word if c in "左右上下"} >= sides for word in words)
            opposite = {"左": "右", "右": "左", "上": "下", "下": "上"}
            assert not any(opposite[c] in word for c in sides for word in words)


def test_a_look_like_a_known_one_is_another():
    looks = (Look(kind="star", color="red"),) * 2
    takes = (Take((Part(0, "up"),)), Take((Part(1, "up"),)))
    for seed in range(200):
        text = said(Outline(looks, takes), seed).text
        assert "另一" in text or "新的" in text, text


@pytest.mark.parametrize("takes, values", [(1, SMALL), (2, TINY)])
def test_no_text_has_two_meanings(takes, values):
    world, meant, again = World(8, values), {}, 0
    for seed in range(1200):
        outline = world.outline(takes)
        draw = FirstWord(np.random.default_rng(seed))
        text = join(chinese.pieces(outline, draw, plain=True)).text
        again += text in meant
        assert meant.setdefault(text, stated(outline)) == stated(outline), text
    assert again, "the world is too large to show anything"


def test_heldout_forms_never_come_in_training():
    assert len(FORMS) > 20
    long = [forms for forms in FORMS.values() if len(forms) >= 4]
    held = {form for forms in long for form in forms[-max(1, len(forms) // 4) :]}
    world, given = World(9), {True: [], False: []}
    for seed in range(500):
        outline = world.outline(1 + seed % 3, picture=seed % 5 == 0)
        for heldout in (False, True):
            draw = Recorder(np.random.default_rng(seed), heldout=heldout)
            draw.given = given[heldout]
            chinese.pieces(outline, draw, picture=seed % 5 == 0)
    assert not held & {form for _, form in given[False]}
    assert len(held & {form for _, form in given[True]}) > 0.8 * len(held)


def test_plain_captions_ask_for_nothing():
    world = World(10)
    asks = [form.partition("S")[0] for form in chinese_forms.ASK + chinese_forms.ASK_NOUN]
    texts = [said(world.outline(1), seed, plain=True).text for seed in range(400)]
    assert not any(text.startswith(ask) for text in texts for ask in asks if ask)
    assert not any(word in text for text in texts for word in chinese_words.IDLE)
