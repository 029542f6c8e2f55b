"""Laws of the noise: pieces stay pieces, with the slots that they state."""

import collections

import numpy as np
import pytest

from jaxvid.data import chinese, english
from jaxvid.data.chinese_mixed import CHINESE as ZH
from jaxvid.data.chinese_mixed import ENGLISH as EN
from jaxvid.data.noise import babble, misspell, mix
from jaxvid.data.pieces import Draw, Piece, join
from jaxvid.outline import Look, Outline, Part, Take

OUTLINE = Outline((Look("star", "yellow"),), (Take((Part(0, "up"),), tone="dark"),))
ENGLISH = [
    Piece("A "),
    Piece("yellow ", ("looks/0/color",)),
    Piece("star", ("looks/0/kind",)),
    Piece(" slowly rises", ("takes/0/parts/0/motion",)),
    Piece(" on "),
    Piece("black", ("takes/0/tone",)),
    Piece("."),
]
CHINESE = [
    Piece("黑色背景下,", ("takes/0/tone",)),
    Piece("黄色的", ("looks/0/color",)),
    Piece("星形", ("looks/0/kind",)),
    Piece("向上移动", ("takes/0/parts/0/motion",)),
]


def draws(count: int = 300) -> list[Draw]:
    return [Draw(np.random.default_rng(n)) for n in range(count)]


def same_slots(before: list[Piece], after: list[Piece]) -> bool:
    return [piece.slots for piece in before] == [piece.slots for piece in after]


def distance(a: str, b: str) -> int:
    """Letters to put in, leave out, change, or swap with the next (optimal string alignment)."""
    d = np.add.outer(np.arange(len(a) + 1), np.arange(len(b) + 1))
    for i in range(1, len(a) + 1):
        for j in range(1, len(b) + 1):
            d[i, j] = min(
                d[i - 1, j] + 1, d[i, j - 1] + 1, d[i - 1, j - 1] + (a[i - 1] != b[j - 1])
            )
            if i > 1 and j > 1 and a[i - 1] == b[j - 2] and a[i - 2] == b[j - 1]:
                d[i, j] = min(d[i, j], d[i - 2, j - 2] + 1)
    return int(d[-1, -1])


@pytest.mark.parametrize("pieces", [ENGLISH, CHINESE], ids=["en", "zh"])
def test_slips_are_one_to_three_each_in_a_piece_of_its_own(pieces: list[Piece]) -> None:
    counts = collections.Counter()
    for draw in draws():
        slipped = misspell(pieces, draw)
        assert same_slots(pieces, slipped)
        edits = [distance(a.text, b.text) for a, b in zip(pieces, slipped, strict=True)]
        assert max(edits) == 1
        counts[sum(edits)] += 1
    assert set(counts) == {1, 2, 3} and min(counts.values()) > 50


def test_short_words_and_ends_of_words_stay() -> None:
    for draw in draws():
        for before, after in zip(ENGLISH, misspell(ENGLISH, draw), strict=True):
            if len(before.text.strip()) < 5:
                assert after == before
            words, slips = before.text.split(), after.text.split()
            assert [w[0] for w in words] == [w[0] for w in slips]
            assert [w[-1] for w in words] == [w[-1] for w in slips]


@pytest.mark.parametrize("word", ["yellow", "jazzy", "expand", "aaaaaaa", "buffed", "MOVING"])
def test_a_slip_is_always_seen(word: str) -> None:
    for draw in draws():
        (slipped,) = misspell([Piece(word)], draw)
        assert slipped.text != word and distance(slipped.text.lower(), word.lower()) == 1


def test_what_cannot_be_misspelt_is_left() -> None:
    pieces = [Piece("a red box", ("looks/0/kind",)), Piece(" 红")]
    assert misspell(pieces, Draw(np.random.default_rng(0))) == pieces


@pytest.mark.parametrize(
    ("pieces", "words", "others"),
    [(ENGLISH, chinese.WORDS, english.WORDS), (CHINESE, english.WORDS, chinese.WORDS)],
    ids=["en", "zh"],
)
def test_mixed_words_say_the_same_in_the_other_language(pieces, words, others) -> None:
    said = {"looks/0/color": ("color", "yellow"), "looks/0/kind": ("kind", "star")}
    said |= {"takes/0/tone": ("tone", "dark"), "takes/0/parts/0/motion": ("motion", "up")}
    more = {**(ZH if words is chinese.WORDS else EN), **words}
    counts = collections.Counter()
    for draw in draws():
        mixed = mix(pieces, OUTLINE, draw, words)
        assert same_slots(pieces, mixed)
        changed = [(a, b) for a, b in zip(pieces, mixed, strict=True) if a != b]
        assert changed
        for before, after in changed:
            (slot,) = before.slots
            name, value = said[slot]
            assert after.text.strip() in more[name][value]
        counts[len(changed)] += 1
        wording = join(mixed)
        for span in wording.spans:
            text = wording.text[span.start : span.end]
            assert text == text.strip() and text
    assert set(counts) == {1, 2, 3, 4}


def test_english_words_stand_apart_from_each_other() -> None:
    for draw in draws(100):
        mixed = mix(CHINESE, OUTLINE, draw, english.WORDS, share=1.0)
        assert "  " not in join(mixed).text
        for one, other in zip(mixed, mixed[1:], strict=False):
            assert not (one.text[-1] + other.text[0]).encode().isalpha()


def test_nothing_to_mix_is_left() -> None:
    pieces = [Piece("it rises", ("takes/0/who/0",)), Piece(".")]
    assert mix(pieces, OUTLINE, Draw(np.random.default_rng(0)), chinese.WORDS) == pieces


def test_a_movement_in_two_pieces_is_swapped_as_a_whole() -> None:
    path = ("takes/0/parts/0/motion",)
    pieces = [Piece("它"), Piece("向上", path), Piece("移动", path)]
    for draw in draws(50):
        mixed = mix(pieces, OUTLINE, draw, english.WORDS)
        assert same_slots(pieces, mixed)
        assert join(mixed[1:]).text.strip() in EN["motion"]["up"]
    apart = [pieces[1], Piece("慢慢"), pieces[2]]
    assert mix(apart, OUTLINE, draws(1)[0], english.WORDS) == apart


def test_words_that_say_nothing_leave_the_rest() -> None:
    seen = set()
    for seed in range(60):
        draw = Draw(np.random.default_rng(seed))
        added = babble(ENGLISH, draw, "en")
        at = next((n for n, p in enumerate(added[:-1]) if p != ENGLISH[n]), len(ENGLISH))
        assert [*added[:at], *added[at + 1 :]] == ENGLISH and not added[at].slots
        assert added[at].text.isascii() and added[at].text.strip()
        seen.add(min(at, 1))
        (first, *rest) = babble(CHINESE, draw, "zh")
        assert rest == CHINESE and not first.text.isascii() and not first.slots
    assert seen == {0, 1}  # before the text, and between its words
