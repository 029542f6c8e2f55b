"""Laws of the stories: an address is a story, splits do not meet, texts and pictures tell truly."""

import dataclasses
import difflib
import functools

import numpy as np
import pytest

from jaxvid.data import stories
from jaxvid.data.pieces import LANGUAGES, Draw, Language
from jaxvid.data.render import background
from jaxvid.data.source import Split
from jaxvid.data.stories import SPLITS, Combination, Story, combinations, story, word
from jaxvid.outline import ANY, GRID, Outline, roles, slots, stated
from jaxvid.script import COLORS, EXTENTS, KINDS, MOTIONS
from jaxvid.shapes import PALETTE

LONG = 10_000  # bytes: whatever is drawn is said


SWAPPED = {*"kind color size tone pattern motion then speed camera link x y".split()}


@functools.cache
def sample(split: Split, noise: str | None = None) -> tuple[Story, ...]:
    return tuple(story(4, split, index, noise=noise) for index in range(150))


@functools.cache
def pictured() -> tuple[Story, ...]:
    return tuple(story(5, "train", index, takes=1, picture=True) for index in range(200))


def shown(outline: Outline) -> set[Combination]:
    """(kind, colour, motion) of each part."""
    looks = outline.looks
    parts = [part for take in outline.takes for part in take.parts]
    return {(looks[part.who].kind, looks[part.who].color, part.motion) for part in parts}


def test_the_same_address_is_the_same_story() -> None:
    for picture in (False, True):
        a, b = (story(1, "train", 7, takes=1, picture=picture) for _ in range(2))
        assert (a.wording, a.outline, a.language, a.noise) == (
            b.wording, b.outline, b.language, b.noise
        )  # fmt: skip
        assert (a.picture is None) == (not picture)
        assert np.array_equal(a.picture, b.picture) and a.script == b.script
    others = [(1, "train", 7), (2, "train", 7), (1, "test", 7), (1, "heldout", 7), (1, "train", 8)]
    assert len({story(*address).wording.text for address in others}) == len(others)


@pytest.mark.parametrize("picture", [False, True])
def test_twins_say_the_same_in_two_languages(picture: bool) -> None:
    for index in range(40):
        takes = 1 if picture else 1 + index % 3
        en, zh = (
            story(2, "train", index, takes=takes, length=LONG, language=language, picture=picture)
            for language in LANGUAGES
        )
        assert en.outline == zh.outline and np.array_equal(en.picture, zh.picture)
        assert (en.language, zh.language, en.noise) == ("en", "zh", zh.noise)
        if en.noise == "none":
            assert en.wording.text.isascii() and not zh.wording.text.isascii()


def test_what_is_asked_for_is_given() -> None:
    for takes in (1, 2, 3):
        made = story(0, "test", takes, takes=takes, language="zh", noise="misspelt", picture=False)
        assert (len(made.outline.takes), made.language, made.noise) == (takes, "zh", "misspelt")
    for index in range(60):
        assert len(story(0, "train", index, takes=1, length=60).wording.text.encode()) <= 60


def test_all_kinds_of_stories_are_told() -> None:
    told = sample("train")
    assert {made.language for made in told} == set(LANGUAGES)
    assert {made.noise for made in told} == {"none", "mixed", "misspelt", "babble"}
    assert {len(made.outline.takes) for made in told} == {1, 2, 3}
    assert 5 < sum(made.picture is not None for made in told) < 40
    assert all(len(made.outline.takes) == 1 for made in told if made.picture is not None)
    texts = [made.wording.text for made in told]
    assert len(set(texts)) == len(texts) and max(len(text.encode()) for text in texts) <= 256


def test_combinations_part_the_world() -> None:
    train, heldout = set(combinations("train")), set(combinations("heldout"))
    assert not train & heldout and combinations("test") == combinations("train")
    assert len(train | heldout) == len(KINDS) * len(COLORS) * len(MOTIONS)
    assert 0.07 < len(heldout) / len(train | heldout) < 0.13
    for position, names in enumerate((KINDS, COLORS, MOTIONS)):  # every name is on both sides
        for side in (train, heldout):
            assert {triple[position] for triple in side} == set(names)


def test_held_out_combinations_are_shown_to_no_training() -> None:
    heldout = set(combinations("heldout"))
    for made in (*sample("train"), *sample("test"), *pictured()):
        assert not shown(made.outline) & heldout
    told = [bool(shown(made.outline) & heldout) for made in sample("heldout")]
    assert np.mean(told) > 0.6  # elsewhere kind, colour or motion are left open


class Listener(Draw):
    """A draw that remembers which forms were chosen."""

    def __init__(self, *, heldout: bool) -> None:
        super().__init__(np.random.default_rng(0), heldout=heldout)
        self.held: list[bool] = []

    def form(self, forms):
        chosen = super().form(forms)
        if len(forms) >= 4:
            self.held.append(chosen not in forms[: len(forms) - len(forms) // 4])
        return chosen


@pytest.mark.parametrize("language", LANGUAGES)
def test_held_out_forms_are_in_held_out_wordings_alone(language: Language) -> None:
    train, heldout = Listener(heldout=False), Listener(heldout=True)
    for made in sample("train"):
        word(made.outline, train, language)
        word(made.outline, heldout, language)
    assert not any(train.held) and np.mean(heldout.held) > 0.5


@pytest.mark.parametrize("split", SPLITS)
def test_stories_are_worded_in_the_forms_of_their_split(
    split: Split, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = set()

    class Watched(Draw):
        def form(self, forms):
            given.add((self.heldout, self.training))
            return super().form(forms)

        def either(self, *chances):
            given.add((split == "heldout", self.training))
            return super().either(*chances)

    monkeypatch.setattr(stories, "Draw", Watched)
    for index in range(10):
        story(4, split, index)
    assert given == {(split == "heldout", split == "train")}


@pytest.mark.parametrize("split", SPLITS)
def test_spans_lie_inside_the_text_and_name_its_slots(split: Split) -> None:
    for made in sample(split):
        text, known = made.wording.text, dict(slots(made.outline))
        for span in made.wording.spans:
            assert 0 <= span.start < span.end <= len(text)
            said = text[span.start : span.end]
            assert said == said.strip()
            take, _, look = span.slot.partition("/who/")
            assert span.slot in known or int(look) in roles(made.outline)[int(take[6:])]
        if made.picture is None:
            assert {span.slot for span in made.wording.spans} >= set(stated(made.outline))


@pytest.mark.parametrize("noise", ["mixed", "misspelt"])
def test_noise_changes_words_and_moves_spans_along(noise: str) -> None:
    """Each span still holds the word that it held, as it is written now."""
    changed = []
    for index in range(150):
        clean, noisy = (
            story(6, "train", index, noise=kind, picture=False, length=LONG)
            for kind in ("none", noise)
        )
        assert clean.outline == noisy.outline
        spans = [span.slot for span in clean.wording.spans]
        assert [span.slot for span in noisy.wording.spans] == spans
        pairs = [
            (clean.wording.text[a.start : a.end], noisy.wording.text[b.start : b.end])
            for a, b in zip(clean.wording.spans, noisy.wording.spans, strict=True)
        ]
        swapped = {
            (a.start, a.end) for a in clean.wording.spans if a.slot.rpartition("/")[2] in SWAPPED
        }
        for (before, after), span in zip(pairs, clean.wording.spans, strict=True):
            if noise == "misspelt":
                assert abs(len(before) - len(after)) <= 1
                likeness = difflib.SequenceMatcher(None, before, after, autojunk=False).ratio()
                assert likeness > 0.6 or len(before) < 5
            else:
                assert before == after or (span.start, span.end) in swapped
        changed.append(clean.wording.text != noisy.wording.text)
    assert np.mean(changed) > 0.95  # "它绕圈" can hardly be misspelt


def test_mixed_stories_are_of_two_languages() -> None:
    for made in sample("train", "mixed"):
        if made.picture is None:  # beside a picture it may be "it" that moves
            text = made.wording.text
            assert any(c.isascii() and c.isalpha() for c in text)
            assert any("\u4e00" <= c <= "\u9fff" for c in text)


def test_looks_can_be_told_apart() -> None:
    """By a slot that both state; but for twins, which come together."""
    alike = []
    for made in (*sample("train"), *sample("heldout"), *pictured()):
        looks = made.outline.looks
        for b in range(len(looks)):
            for a in range(b):
                if looks[a] == looks[b]:
                    assert any(
                        {part.who for part in take.parts} == {a, b} for take in made.outline.takes
                    )
                else:
                    pairs = zip(
                        dataclasses.astuple(looks[a]), dataclasses.astuple(looks[b]), strict=True
                    )
                    alike.append(all(ANY in pair or pair[0] == pair[1] for pair in pairs))
    assert np.mean(alike) < 0.03  # "a thing and a small star"


def test_pictures_show_what_their_outlines_say() -> None:
    """Whatever differs from the background is the look, centred where the outline has it."""
    alone = [made for made in pictured() if len(made.outline.looks) == 1]
    assert len(alone) > 40
    for made in alone:
        (look,), (take,) = made.outline.looks, made.outline.takes
        assert made.picture is not None
        difference = made.picture - background(f"{take.tone}_{take.pattern}", 64, 64)
        y_P, x_P = np.nonzero(np.abs(difference).max(2) > 12)
        centre = np.array([x_P.min() + x_P.max() + 1, y_P.min() + y_P.max() + 1]) / 128
        (part,) = take.parts
        np.testing.assert_allclose(centre * GRID, (int(part.x), int(part.y)), atol=1)
        color = np.median(made.picture[y_P, x_P], axis=0)
        assert COLORS[likest(color[None], PALETTE)[0]] == look.color


def likest(rgb_P3: np.ndarray, rgb_K3: np.ndarray) -> np.ndarray:
    """Which of K colours each of these is, in light or in shade."""
    unit = [rgb / np.linalg.norm(rgb, axis=1, keepdims=True) for rgb in (rgb_P3, rgb_K3 + 0.0)]
    return (unit[0] @ unit[1].T).argmax(1)


def test_pictures_of_two_show_each_where_it_is() -> None:
    """Pixels of a look's colour are around its place, where the other is not in front of it."""
    found = 0
    for made in pictured():
        (take,) = made.outline.takes
        ways = [np.array([int(part.x), int(part.y)]) for part in take.parts]
        room = GRID * sum(EXTENTS[look.size] for look in made.outline.looks) / 2
        if len(ways) < 2 or np.abs(ways[0] - ways[1]).max() < room or made.picture is None:
            continue
        difference = made.picture - background(f"{take.tone}_{take.pattern}", 64, 64)
        y_P, x_P = np.nonzero(np.abs(difference).max(2) > 60)
        rgb_23 = PALETTE[[COLORS.index(look.color) for look in made.outline.looks]]
        nearest_P = likest(made.picture[y_P, x_P], rgb_23)
        for n, way in enumerate(ways):
            # the median: the other's rim is taken for this one here and there
            middle = [np.median(at_P[nearest_P == n]) / 2 for at_P in (x_P, y_P)]
            np.testing.assert_allclose(middle, way, atol=4)  # triangles are wider below
            found += 1
    assert found > 15


def test_pictures_are_first_frames_of_their_scripts() -> None:
    for made in pictured()[:20]:
        assert made.script is not None and made.picture is not None
        assert made.picture.shape == (64, 64, 3) and made.picture.dtype == np.uint8
        looks = [(e.kind, e.color, e.size) for e in made.script.entities]
        assert sorted(looks) == sorted(dataclasses.astuple(look) for look in made.outline.looks)
        (scene,) = made.script.scenes
        (take,) = made.outline.takes
        assert scene.background == f"{take.tone}_{take.pattern}"
