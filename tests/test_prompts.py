"""Laws of batches of prompts: tokens are the outlines', marks are on the words that say them."""

from typing import get_args

import numpy as np
import pytest

from jaxvid import grammar
from jaxvid.data import tokenizer
from jaxvid.data.pieces import Span, Wording
from jaxvid.data.prompts import SHORT, Kind, PromptSource, collate
from jaxvid.data.stories import story
from jaxvid.models.prompt import GRIDS, PICTURE
from jaxvid.ops.words import BYTES, most_words, words
from jaxvid.outline import Look, Outline, Part, Take

INDICES = np.arange(6)
OUTLINE = Outline((Look("star", "red"),), (Take((Part(0, "up"),)),))


def marked(batch: dict[str, np.ndarray], b: int, s: int) -> str:
    """The words marked for a token."""
    spelt = words(batch["text"][b : b + 1])[0]
    return tokenizer.decode(spelt[batch["spans"][b, s, : len(spelt)]].ravel())


def position(outline: Outline, path: str) -> int:
    """Of the token that says a slot."""
    return [word[2] for word in grammar.spell(outline)].index(path)


@pytest.mark.parametrize(
    ("kind", "length", "tokens", "side"),
    [
        ("short", SHORT, grammar.SHORT, 0),
        ("long", 256, grammar.LENGTH, 0),
        ("pictured", SHORT, grammar.SHORT, PICTURE),
    ],
)
def test_shapes_follow_the_kind(kind: Kind, length: int, tokens: int, side: int) -> None:
    batch = PromptSource("train").batch(INDICES, kind)
    assert {name: (array.shape, str(array.dtype)) for name, array in batch.items()} == {
        "index": ((6,), "int32"),
        "text": ((6, length), "int32"),
        "image": ((6, side, side, 3), "uint8"),
        "tokens": ((6, tokens), "int32"),
        "spans": ((6, tokens, most_words(length) + (GRIDS * GRIDS if side else 0)), "bool"),
        "refers": ((6, 2, most_words(length), most_words(length)), "bool"),
    }
    assert np.array_equal(batch["index"], INDICES)
    assert batch["image"].any(axis=(1, 2, 3)).all() == (side > 0) or side == 0


@pytest.mark.parametrize("kind", get_args(Kind))
def test_rows_are_the_examples(kind: Kind) -> None:
    source = PromptSource("test", seed=3)
    batch = source.batch(INDICES, kind)
    for b, index in enumerate(INDICES):
        wording, outline, picture = source.example(int(index), kind)
        assert tokenizer.decode(batch["text"][b]) == wording.text
        tokens = np.zeros(grammar.LENGTH, np.int32)
        tokens[: len(batch["tokens"][b])] = batch["tokens"][b]
        assert grammar.decode(tokens) == outline
        assert (len(outline.takes) > 1) == (kind == "long")
        assert (picture is None) == (kind != "pictured")
        assert picture is None or np.array_equal(batch["image"][b], picture)


@pytest.mark.parametrize("source", ["stories", "scenes"])
@pytest.mark.parametrize("kind", ["short", "long"])
def test_marks_are_on_the_bytes_that_say_it(kind: Kind, source: str) -> None:
    prompts = PromptSource("train", source=source, seed=2)
    batch = prompts.batch(np.arange(40), kind)
    languages = set()
    for b in range(40):
        wording, outline, _ = prompts.example(b, kind)
        assert wording.text == tokenizer.normalise(wording.text)  # else its bytes were others
        languages.add(wording.text.isascii())
        spans = {}
        for span in wording.spans:
            spans.setdefault(span.slot, []).append(wording.text[span.start : span.end])
        for s, (*_, path) in enumerate(grammar.spell(outline)):
            said = spans.pop(path, [])
            text = marked(batch, b, s)
            assert all(word in text for word in said)
            # of Chinese nothing else, signs apart; of English the letters beside it
            letters, wanted = (sum(map(str.isalnum, t)) for t in (text, "".join(said)))
            assert letters <= wanted + 2 * BYTES * sum(map(str.isascii, said))
        assert not spans  # every span found its token
        assert not batch["spans"][b, len(grammar.spell(outline)) :].any()
    assert languages == {True, False}


@pytest.mark.parametrize(
    ("text", "word", "places"),
    [
        ("a red star goes up", "red", [1]),
        ("the dark-red star", "dark-red", [1, 2]),
        ("一颗红色星形", "红色", [2, 3]),
    ],
)
def test_places_of_a_word(text: str, word: str, places: list[int]) -> None:
    start = text.index(word)
    wording = Wording(text, (Span("looks/0/color", start, start + len(word)),))
    batch = collate([(wording, OUTLINE, None)], text_length=64, tokens=grammar.SHORT)
    s = position(OUTLINE, "looks/0/color")
    assert np.flatnonzero(batch["spans"][0, s]).tolist() == places
    assert word in marked(batch, 0, s)
    assert batch["spans"].sum() == len(places)


def test_words_refer_to_those_that_name_whom_they_speak_of() -> None:
    text = "a star, a ring: the ring is blue. It shrinks behind the star"
    outline = Outline(
        (Look("star"), Look("ring", "blue")), (Take((Part(0), Part(1, "zoom_out")), depth="front"),)
    )
    found, start = [], 0
    for word, slot in (
        ("a star", "takes/0/who/0"), ("a ring", "takes/0/who/1"), ("the ring", "takes/0/who/1"),
        ("blue", "looks/1/color"), ("It", "takes/0/who/1"),
        ("shrinks", "takes/0/parts/1/motion"), ("behind", "takes/0/depth"),
        ("the star", "takes/0/who/0"),
    ):  # fmt: skip
        start = text.index(word, start)
        found.append(Span(slot, start, start + len(word)))
    batch = collate([(Wording(text, tuple(found)), outline, None)], text_length=96, tokens=25)
    says, again = (
        {m: np.flatnonzero(row).tolist() for m, row in enumerate(rows) if row.any()}
        for rows in batch["refers"][0]
    )
    # "blue" and "shrinks" at "It"; "It" at "a ring: the ring", "the star" at "a star".
    assert says == {7: [8], 9: [8]}
    assert again == {8: [2, 3, 4, 5], 11: [0, 1], 12: [0, 1]}


def test_what_is_cut_off_marks_nothing() -> None:
    """A text of more bytes, and one of more words, than are read."""
    for text in ("a star that goes up and up and is red", "a b c d e f g h i red"):
        start = text.index("red")
        said = Span("takes/0/who/0", 0, 3), Span("looks/0/color", start, start + 3)
        long, short = (
            collate([(Wording(text, said), OUTLINE, None)], text_length=length, tokens=25)
            for length in (64, 24)
        )
        s = position(OUTLINE, "looks/0/color")
        assert long["spans"][0, s].sum() == 1 and not short["spans"][0, s].any()
        assert long["refers"][0, 0].sum() == 2 and not short["refers"].any()  # red: a star


def test_the_place_in_the_picture_is_marked_of_whom_a_token_speaks() -> None:
    source = PromptSource("train", seed=4)
    batch = source.batch(np.arange(60), "pictured")
    shown = batch["spans"][..., most_words(batch["text"].shape[1]) :].reshape(60, -1, GRIDS, GRIDS)
    for b in range(60):
        _, outline, _ = source.example(b, "pictured")
        speaks = [words[0] for words in grammar.spell(outline)]
        first = [s for s, slot in enumerate(speaks) if slot == "who"]
        assert not shown[b, : first[0]].any() and not shown[b, len(speaks) :].any()
        for part, start in zip(outline.takes[0].parts, first, strict=True):
            slots = ["who", "kind", "color", "size", "motion", "then", "speed", "x", "y"]
            assert speaks[start : start + 9] == slots
            marked = [slots[s] for s in range(9) if shown[b, start + s].any()]
            assert marked == ["who", "kind", "color", "size", "x", "y"]
            ((row, column),) = np.argwhere(shown[b, start])
            for at, k in ((int(part.x), column), (int(part.y), row)):
                assert k == min(at // (32 // GRIDS), GRIDS - 1)


def test_a_picture_among_others_leaves_them_blank() -> None:
    picture = np.full((PICTURE, PICTURE, 3), 7, np.uint8)
    wording = Wording("up", ())
    examples = [(wording, OUTLINE, None), (wording, OUTLINE, picture)]
    image = collate(examples, text_length=16, tokens=grammar.SHORT)["image"]
    assert image.shape == (2, PICTURE, PICTURE, 3)
    assert not image[0].any() and np.array_equal(image[1], picture)
    assert collate(examples[:1], text_length=16, tokens=grammar.SHORT)["image"].shape == (
        1,
        0,
        0,
        3,
    )


def test_a_batch_is_a_function_of_its_indices() -> None:
    source = PromptSource("train", seed=1)
    batch, again = source.batch([4, 9]), PromptSource("train", seed=1).batch([9, 4])
    for name, array in batch.items():
        assert np.array_equal(array, again[name][::-1])
    other = PromptSource("train", seed=2).batch([4, 9])
    assert not np.array_equal(batch["text"], other["text"])
    assert repr(source) == (
        "PromptSource(split='train', source='stories', seed=1, text_length=256)"
    )


@pytest.mark.parametrize("kind", ["short", "long"])
def test_stories_are_of_the_split_and_the_length(kind: Kind) -> None:
    length = {"short": 100, "long": 208}[kind]
    source = PromptSource("heldout", seed=3, text_length=length)
    assert source.batch(INDICES, kind)["text"].shape == (6, length)
    for index in range(20):
        wording, outline, _ = source.example(index, kind)
        assert len(wording.text.encode()) <= length
        takes = 1 if kind == "short" else 2 + index % 2
        same = story(3, "heldout", index, takes=takes, length=length, picture=False)
        assert (wording, outline) == (same.wording, same.outline)


def test_scenes_keep_their_length_and_have_no_picture() -> None:
    batch = PromptSource("train", source="scenes", text_length=128).batch(INDICES)
    assert batch["text"].shape == (6, 128) and batch["tokens"].shape == (6, grammar.SHORT)
    assert batch["image"].size == 0
