"""Laws of the English wording: it says an outline, the whole of it and nothing else, in one sense.

The texts were also read: sixty of each kind beside their outlines.
"""

import numpy as np
import pytest

from jaxvid.data import english
from jaxvid.data import english_words as vocabulary
from jaxvid.data.pieces import Draw, join
from jaxvid.outline import AT, DEFAULTS, VALUES, Look, Outline, Part, Take, stated

NAMED = {slot: tuple(v for v in values if v not in AT) for slot, values in VALUES.items()}
SITUATIONS = ({}, {"plain": True}, {"picture": True})


def choose(rng: np.random.Generator, options):
    return options[int(rng.random() * len(options))]


def value(rng: np.random.Generator, slot: str, likely: float, *, but: tuple[str, ...] = ()) -> str:
    """A value of a slot, its default unless a coin says otherwise."""
    if rng.random() >= likely:
        return DEFAULTS[slot]
    return choose(rng, [v for v in NAMED[slot][1:] if v not in but])


def draw_part(rng: np.random.Generator, who: int, alone: bool) -> Part:
    relative = ("towards", "away") if alone else ()
    motion = value(rng, "motion", 0.9, but=relative)
    then = value(rng, "then", 0.25, but=(motion,))
    speed = value(rng, "speed", 0 if motion == "still" else 0.25)
    x, y = (value(rng, slot, 0.15) for slot in ("x", "y"))
    return Part(who, motion, then, speed, x, y)


def draw_outline(rng: np.random.Generator, *, takes: int | None = None) -> Outline:
    """Any outline; what a picture shows is drawn from here too."""
    count = takes or choose(rng, (1, 1, 1, 2, 3))
    shots: list[Take] = []
    met = 0
    for i in range(count):
        choices = [*range(met), *([met] if met < 3 else [])]
        first = choose(rng, choices) if i else 0
        met = max(met, first + 1)
        others = [n for n in (*range(met), *([met] if met < 3 else [])) if n != first]
        who = [first] + ([choose(rng, others)] if rng.random() < 0.45 else [])
        met = max(met, who[-1] + 1)
        parts = [draw_part(rng, n, len(who) == 1) for n in who]
        if len(who) > 1 and rng.random() < 0.2:
            a, b = parts
            parts[1] = Part(b.who, a.motion, a.then, a.speed)
        pair = len(who) > 1
        shots.append(
            Take(
                tuple(parts),
                tone=value(rng, "tone", 0.3),
                pattern=value(rng, "pattern", 0.3),
                camera=value(rng, "camera", 0.2),
                depth=value(rng, "depth", 0.2 * pair),
                side=value(rng, "side", 0.2 * pair),
                link=value(rng, "link", 0.3) if i < count - 1 else "cut",
            )
        )
    looks = []
    for _ in range(met):
        kind, color, size = (
            value(rng, s, p) for s, p in (("kind", 0.85), ("color", 0.8), ("size", 0.4))
        )
        looks.append(Look(kind, color, size))
    if met > 1 and rng.random() < 0.2:
        looks[1] = looks[0]
    return Outline(tuple(looks), tuple(shots))


def names(outline: Outline) -> list[str]:
    """The slots that words can state, their looks being the numbers of the parts."""
    return [path for path, v in stated(outline).items() if v not in AT]


def identity(outline: Outline) -> object:
    who = tuple(tuple(part.who for part in take.parts) for take in outline.takes)
    return tuple(stated(outline).items()), who


@pytest.mark.parametrize("plain", (False, True))
def test_every_stated_slot_is_said_and_no_other(plain):
    rng = np.random.default_rng(0)
    for n in range(1500):
        outline = draw_outline(rng)
        wording = join(english.pieces(outline, Draw(rng, heldout=n % 2 == 0), plain=plain))
        named = {f"takes/{i}/who/{p.who}" for i, t in enumerate(outline.takes) for p in t.parts}
        assert {span.slot for span in wording.spans} == {*names(outline), *named}, wording.text
        for span in wording.spans:
            said = wording.text[span.start : span.end]
            assert said and said == said.strip()


def test_beside_a_picture_only_stated_slots_are_said_and_what_happens_is_never_left_out():
    rng = np.random.default_rng(1)
    for n in range(1500):
        outline = draw_outline(rng)
        pieces = english.pieces(outline, Draw(rng, heldout=n % 2 == 0), picture=True)
        said = {slot for piece in pieces for slot in piece.slots if "/who/" not in slot}
        assert said <= set(names(outline))
        seen = {part.who for part in outline.takes[0].parts}
        shown = [f"looks/{n}/" for n in seen] + ["takes/0/tone", "takes/0/pattern"]
        shown += [f"takes/0/parts/{n}/{slot}" for n in seen for slot in ("x", "y")]
        for path in set(names(outline)) - said:
            resting = path.startswith("takes/0") and stated(outline)[path] == "still"
            assert resting or path.startswith(tuple(shown)), "".join(p.text for p in pieces)


@pytest.mark.parametrize("situation", SITUATIONS)
def test_texts_are_set_as_texts_are(situation):
    rng = np.random.default_rng(2)
    for _ in range(1500):
        text = join(english.pieces(draw_outline(rng), Draw(rng), **situation)).text
        assert text and text == text.strip()
        assert not any(
            bad in text for bad in ("  ", " ,", " ?", ".?", " .", " ;", " :", ",,", ",.", "..", "{")
        )
        assert text.isascii() and text[0] not in ",.;:"
        said = text.lower().split()
        pairs = list(zip(said, said[1:], strict=False))
        assert all((b[0] in "aeiou") <= b.startswith("uni") for a, b in pairs if a == "a"), text
        assert all(b[0] in "aeiou" for a, b in pairs if a == "an"), text
        assert all(a != b for a, b in pairs), text


def test_a_word_means_one_value():
    for slot, table in english.WORDS.items():
        assert set(table) == set(VALUES[slot][1:])
    owners: dict[str, object] = {}
    for slot, table in {**english.WORDS, "pattern": vocabulary.PATTERNS}.items():
        for value_, said in table.items():
            for word in said:
                assert owners.setdefault(word, (slot, value_)) == (slot, value_)
    acts = {**vocabulary.ACTS, **vocabulary.TO, "any": vocabulary.ROAM, "gone": vocabulary.GONE}
    motions = {value_: {form[1] for form in verbs} for value_, verbs in acts.items()}
    cameras = {value_: {form[1] for form in forms} for value_, forms in vocabulary.CAMERAS.items()}
    for table in (motions, cameras, {k: set(ways) for k, ways in vocabulary.WAYS.items()}):
        assert sum(map(len, table.values())) == len(set().union(*table.values()))


class Frugal(Draw):
    """Uses few words and forms, so that outlines that could be said alike are."""

    def pick(self, options):
        return options[0]

    def form(self, forms):
        return super().form(forms[-6:])


def small_outline(rng: np.random.Generator) -> Outline:
    """One of few outlines: two of the slots that words could confuse may be stated."""
    open_slots = (choose(rng, sorted(NAMED)), choose(rng, sorted(NAMED)), "motion")

    def coin(slot: str, *options: str) -> str:
        return choose(rng, (DEFAULTS[slot], *options)) if slot in open_slots else DEFAULTS[slot]

    def part(who: int, *relative: str) -> Part:
        motion, then = coin("motion", "left", *relative), coin("then", "still", "gone")
        return Part(who, motion, then, coin("speed", "slow"), coin("x", "left"), coin("y", "top"))

    def take(i: int, *who: int) -> Take:
        frame = {slot: coin(slot, *NAMED[slot][1:3]) for slot in ("tone", "pattern", "camera")}
        if len(who) > 1:
            frame |= {slot: coin(slot, *NAMED[slot][1:3]) for slot in ("depth", "side")}
        relative = ("towards",) if len(who) > 1 else ()
        link = coin("link", "fade", "wipe") if i + 1 < len(cast) else "cut"
        return Take(tuple(part(n, *relative) for n in who), link=link, **frame)

    cast = choose(
        rng, (((0,),), ((0, 1),), ((0,), (0,)), ((0,), (1,)), ((0, 1), (0, 1)), ((0, 1), (1, 0)))
    )
    colors = ("red", "blue")[: 1 + max(max(who) for who in cast)]
    looks = [Look(coin("kind", "circle"), color, coin("size", "small")) for color in colors]
    return Outline(tuple(looks), tuple(take(i, *who) for i, who in enumerate(cast)))


def test_different_outlines_are_never_said_alike():
    rng = np.random.default_rng(3)
    meant: dict[str, object] = {}
    again = 0
    for n in range(6_600):
        outline = small_outline(rng) if n % 6 else draw_outline(rng)
        text = join(english.pieces(outline, (Frugal if n % 6 else Draw)(rng))).text
        key = text.lower().replace(".", "")
        again += key in meant
        assert meant.setdefault(key, identity(outline)) == identity(outline), text
    assert again > 800, "too few texts come twice to show anything"


def test_looks_are_named_in_their_order():
    rng = np.random.default_rng(4)
    for _ in range(1500):
        outline = draw_outline(rng)
        first: dict[int, int] = {}
        for span in join(english.pieces(outline, Draw(rng))).spans:
            if span.slot.startswith("looks/"):
                n = int(span.slot.split("/")[1])
                first[n] = min(span.start, first.get(n, span.start))
        assert [first[n] for n in sorted(first)] == sorted(first.values())


class Recorder(Draw):
    """Keeps the lists of forms, which are the same objects each time, and what each gave."""

    def __init__(self, rng: np.random.Generator, *, heldout: bool = False) -> None:
        super().__init__(rng, heldout=heldout)
        self.given: dict[int, tuple[tuple, set]] = {}

    def form(self, forms):
        form = super().form(forms)
        self.given.setdefault(id(forms), (forms, set()))[1].add(form)
        return form


def test_heldout_forms_never_come_in_training():
    rng = np.random.default_rng(5)
    training, heldout = Recorder(rng), Recorder(rng, heldout=True)
    for n in range(3000):
        english.pieces(draw_outline(rng), training, **SITUATIONS[n % 3])
        english.pieces(draw_outline(rng), heldout, **SITUATIONS[n % 3])
    lists = [forms for forms, _ in training.given.values() if len(forms) >= 4]
    assert len(lists) > 15
    for forms in lists:
        held = set(forms[-(len(forms) // 4) :])
        shown = training.given[id(forms)][1]
        assert not shown & held
        assert shown == set(forms) - held, "every other form comes"
        assert held <= heldout.given[id(forms)][1]


def test_the_words_follow_from_outline_and_seed():
    outline = draw_outline(np.random.default_rng(6), takes=2)
    texts = [join(english.pieces(outline, Draw(np.random.default_rng(7)))).text for _ in range(2)]
    assert texts[0] == texts[1]
    rng = np.random.default_rng(8)
    assert len({join(english.pieces(outline, Draw(rng))).text for _ in range(300)}) > 250


def test_captions_ask_for_nothing():
    rng = np.random.default_rng(9)
    asked = 0
    for _ in range(500):
        outline = draw_outline(rng, takes=1)
        plain, free = (
            join(english.pieces(outline, Draw(rng), plain=p)).text for p in (True, False)
        )
        requests = ("please", "show me", "make", "want", "thank", "daughter", "cute", "imagine")
        assert not any(word in plain.lower() for word in requests)
        asked += any(word in free.lower() for word in requests)
    assert asked > 75


def test_numbers_of_a_picture_are_never_said():
    part = Part(0, "up", x="3", y="29")
    outline = Outline((Look("circle", "red"),), (Take((part,)),))
    rng = np.random.default_rng(10)
    for _ in range(200):
        text = join(english.pieces(outline, Draw(rng), picture=True)).text
        assert not any(c.isdigit() for c in text)


def test_a_relation_to_it_is_that_of_the_second_to_the_first():
    rng = np.random.default_rng(11)
    looks = (Look("circle", "red"), Look("star", "blue"))
    turned = {"behind": "in front of it", "front": "behind it", "above": "below it"}
    seen = set()
    for _ in range(300):
        for slot, value_ in (("depth", "behind"), ("depth", "front"), ("side", "above")):
            take = Take((Part(0, "bounce"), Part(1, "zoom_in")), **{slot: value_})
            text = join(english.pieces(Outline(looks, (take,)), Draw(rng))).text
            text = text.replace("underneath", "below")
            for other, words in turned.items():
                assert words not in text or other == value_, text
                seen |= {other} if words in text else set()
    assert seen == set(turned)
