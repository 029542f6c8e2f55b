"""Laws of captions: they say what the script shows, in one meaning only, and fit the tokenizer."""

import importlib.util

import numpy as np
import pytest

from jaxvid import grammar
from jaxvid.data import captions
from jaxvid.script import BACKGROUNDS, COLORS, KINDS, MOTIONS, SIZES, Script

LIMIT = 128  # config.DataConfig.text_length


def sentence(*actors: tuple[str, str, str, str], background: str = "dark_grid") -> Script:
    """A script of actors (kind, colour, size, motion), back to front, somewhere in the frame."""
    names = [f"background:{background}", f"actors:{len(actors)}"]
    for kind, color, size, motion in actors:
        names += [f"kind:{kind}", f"color:{color}", f"size:{size}", f"motion:{motion}"]
        fits = ((k, grammar.start_range(size, motion, k)) for k in range(grammar.GRID))
        travel, span = next((k, span) for k, span in fits if span is not None)
        names += [f"at:{travel}", f"at:{span[0]}", f"at:{span[2]}"]
    tokens = np.zeros(grammar.LENGTH, np.int32)
    tokens[: len(names)] = [grammar.IDS[name] for name in names]
    return grammar.decode(tokens)


def draw(rng: np.random.Generator, *, count: int) -> Script:
    colors = rng.permutation(COLORS)
    actors = [
        (str(rng.choice(KINDS)), str(colors[n]), str(rng.choice(SIZES)), str(rng.choice(MOTIONS)))
        for n in range(count)
    ]
    return sentence(*actors, background=str(rng.choice(BACKGROUNDS)))


def motion_words(motion: str, language: str) -> list[str]:
    if language == "en":
        if motion in captions.WAYS_EN:
            ways = captions.WAYS_EN[motion]
            return [f"{verb} {way}" for pair in captions.GO_EN for verb in pair for way in ways]
        return [form for pair in captions.ACTS_EN[motion] for form in pair]
    if motion in captions.WAYS_ZH:
        return [way + go for way in captions.WAYS_ZH[motion] for go in captions.GO_ZH]
    return list(captions.ACTS_ZH[motion])


@pytest.mark.parametrize("language", captions.LANGUAGES)
def test_what_is_stated_is_in_the_words(language):
    rng = np.random.default_rng(0)
    for i in range(1500):
        script = draw(rng, count=1 + i % 2)
        said = captions.describe(script, rng, language=language)
        text = said.text[0].lower() + said.text[1:]
        for entity, sized in zip(script.entities, said.sizes, strict=True):
            assert any(word in text for word in captions.KINDS[language][entity.kind])
            assert any(word in text for word in captions.COLORS[language][entity.color])
            if sized:
                assert any(word in text for word in captions.SIZES[language][entity.size])
        for actor in script.scenes[0].shots[0].actors:
            assert any(word in text for word in motion_words(actor.motion, language))
        tone, _, _ = script.scenes[0].background.partition("_")
        tones = captions.TONES[language]
        assert any(word in text for word in tones[tone]) == said.background
        if said.background:
            others = [w for t, words in tones.items() if t != tone for w in words]
            assert not any(word in text.replace("upright", "") for word in others)


def test_every_caption_fits_whatever_the_script():
    rng = np.random.default_rng(1)
    worst = sentence(
        ("square", "pink", "medium", "down_right"), ("star", "orange", "medium", "up_left")
    )
    scripts = [worst] * 300 + [draw(rng, count=2) for _ in range(700)]
    texts = [captions.caption(script, rng) for script in scripts]
    assert max(len(text.encode()) for text in texts) <= captions.AIM < LIMIT


def test_the_last_resort_is_short():
    rng = np.random.default_rng(2)
    nobody = captions._Draw(None)
    for language in captions.LANGUAGES:
        for depth in (False, True):
            for _ in range(200):
                script = draw(rng, count=2)
                cast = list(zip(script.entities, script.scenes[0].shots[0].actors, strict=True))
                text = captions._word(nobody, language, cast, (False, False), None, depth)
                assert len(text.encode()) <= captions.AIM


def test_no_word_has_two_meanings():
    tables = [
        *(t[n] for t in (captions.KINDS, captions.COLORS, captions.SIZES) for n in ("en", "zh")),
        *(t[n] for t in (captions.TONES, captions.PATTERNS) for n in ("en", "zh")),
        *(captions.WAYS_EN, captions.WAYS_ZH, captions.ACTS_EN, captions.ACTS_ZH),
    ]
    for table in tables:
        owner: dict[object, str] = {}
        for value, words in table.items():
            for word in words:
                assert owner.setdefault(word, value) == value
    for language in captions.LANGUAGES:
        for table, values in ((captions.KINDS, KINDS), (captions.COLORS, COLORS)):
            assert tuple(table[language]) == values
    assert {*captions.WAYS_EN, *captions.ACTS_EN} == {*captions.WAYS_ZH, *captions.ACTS_ZH}
    assert {*captions.WAYS_EN, *captions.ACTS_EN} == {*MOTIONS}


def test_two_actors_are_bound_and_ordered():
    rng = np.random.default_rng(4)
    script = sentence(("star", "blue", "small", "bounce"), ("ring", "yellow", "large", "left"))
    for _ in range(600):
        said = captions.describe(script, rng, language="en")
        text = said.text.lower()
        blue, yellow = text.index("blue"), text.index("yellow")
        behind, before = "behind" in text, "in front of" in text
        assert (behind or before) == said.depth
        if not said.depth:
            assert blue < yellow, "unsaid depth: from back to front"
        # kind follows its own colour with nothing between them
        assert "blue star" in text
        assert "yellow ring" in text or "yellow hoop" in text


def test_a_caption_is_a_function_of_script_and_seed():
    script = draw(np.random.default_rng(5), count=2)
    first, again = (captions.caption(script, np.random.default_rng(6)) for _ in range(2))
    assert first == again
    rng = np.random.default_rng(7)
    assert len({captions.caption(script, rng) for _ in range(300)}) > 250


def test_languages():
    script, rng = draw(np.random.default_rng(8), count=1), np.random.default_rng(8)
    texts = [captions.describe(script, rng) for _ in range(400)]
    for said in texts:
        assert said.text.isascii() == (said.language == "en")
    assert 120 < sum(said.language == "en" for said in texts) < 280


def test_the_example_of_the_readme_is_a_caption():
    rng = np.random.default_rng(9)
    script = sentence(("circle", "red", "large", "right"))
    texts = {captions.caption(script, rng, language="en") for _ in range(4000)}
    assert "a large red circle moves to the right" in texts


@pytest.mark.skipif(
    importlib.util.find_spec("jaxvid.data.tokenizer") is None, reason="the tokenizer is not there"
)
def test_prompts_are_batches_by_index():
    from jaxvid.data.prompts import PromptSource

    source = PromptSource("heldout", seed=3)
    batch = source.batch([5, 9, 1_000])
    assert {key: (v.shape, v.dtype.name) for key, v in batch.items()} == {
        "index": ((3,), "int32"),
        "text": ((3, 128), "int32"),
        "tokens": ((3, grammar.LENGTH), "int32"),
    }
    again = PromptSource("heldout", seed=3).batch(np.array([1_000]))
    assert np.array_equal(again["text"][0], batch["text"][2])
    assert np.array_equal(again["tokens"][0], batch["tokens"][2])
    said, script = source[9]
    assert np.array_equal(grammar.encode(script), batch["tokens"][1])
    row = batch["text"][1]
    assert bytes((row[row > 0] - 1).tolist()).decode() == said.text
    with pytest.raises(IndexError):
        source[len(source)]
