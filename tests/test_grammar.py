"""Laws of the grammar: what the automaton lets through is an outline, and nothing is lost."""

import functools

import numpy as np
import pytest

from jaxvid import grammar
from jaxvid.outline import (
    AT,
    GRID,
    MAX_LOOKS,
    MAX_TAKES,
    TO,
    VALUES,
    Look,
    Outline,
    Part,
    Take,
    slots,
)
from jaxvid.typing import UserError

SMALL = Outline((Look("star"),), (Take((Part(0, "up", x="7"),), "dark"),))


@functools.cache
def walks() -> np.ndarray:
    """2,000 walks through the automaton, (2000, LENGTH), all allowed tokens equally likely."""
    table, rng = grammar.tables(), np.random.default_rng(0)
    choices = [np.flatnonzero(may) for may in table.allowed]
    sentences = np.zeros((2000, grammar.LENGTH), np.int32)
    for row, u in zip(sentences, rng.random(sentences.shape), strict=True):
        state = grammar.START
        for s in range(grammar.LENGTH):
            row[s] = choices[state][int(u[s] * len(choices[state]))]
            state = int(table.next_state[state, row[s]])
    return sentences


def test_every_walk_is_an_outline_and_back() -> None:
    for tokens in walks():
        outline = grammar.decode(tokens)  # Outline validates itself
        assert np.array_equal(grammar.encode(outline), tokens)
        assert grammar.decode(grammar.encode(outline)) == outline


def test_every_walk_ends_in_time() -> None:
    """By the tables, not by luck: after LENGTH tokens only padding is left."""
    table = grammar.tables()
    states = {grammar.START}
    for _ in range(grammar.LENGTH - 1):
        states = {int(s) for s in np.unique(table.next_state[sorted(states)]) if s >= 0}
    # One step before that, "link:end" may still be to come; no further take or part may.
    for state in states:
        allowed = {grammar.TOKENS[v] for v in np.flatnonzero(table.allowed[state])}
        assert allowed in ({"pad"}, {"link:end"})
    longest = max(int(np.flatnonzero(tokens)[-1]) + 1 for tokens in walks())
    assert longest == grammar.LENGTH  # no room is wasted


def test_walks_say_all_there_is() -> None:
    outlines = [grammar.decode(tokens) for tokens in walks()]
    assert {len(outline.takes) for outline in outlines} == set(range(1, MAX_TAKES + 1))
    assert {len(outline.looks) for outline in outlines} == set(range(1, MAX_LOOKS + 1))
    said = {
        (path.rpartition("/")[2], value) for outline in outlines for path, value in slots(outline)
    }
    assert said == {(slot, value) for slot, values in VALUES.items() for value in values}
    assert {grammar.TOKENS[v] for v in np.unique(walks())} == set(grammar.TOKENS)


def test_paths_of_the_sentence_are_those_of_the_slots() -> None:
    for tokens in walks()[:300]:
        outline = grammar.decode(tokens)
        words = [(path, slot, value) for slot, value, path in grammar.spell(outline) if path]
        named = [path for path, slot, _ in words if slot == "who"]
        roles = [(i, part.who) for i, take in enumerate(outline.takes) for part in take.parts]
        assert named == [f"takes/{i}/who/{n}" for i, n in roles]
        words = [word for word in words if word[1] != "who"]
        assert {path: value for path, _, value in words} == dict(slots(outline))
        assert len({path for path, *_ in words}) == len(words)
        assert all(path.endswith(f"/{slot}") for path, slot, _ in words)
        glue = {slot for slot, _, path in grammar.spell(outline) if not path}
        assert glue == {"parts", "link"}


def test_one_take_fits_into_short() -> None:
    lengths = [
        len(grammar.spell(outline))
        for outline in map(grammar.decode, walks())
        if len(outline.takes) == 1
    ]
    assert max(lengths) == grammar.SHORT < grammar.LENGTH


def test_a_sentence_reads_as_the_docstring_says() -> None:
    tokens = grammar.encode(SMALL)
    assert [grammar.TOKENS[token] for token in tokens[:14]] == [
        *("tone:dark", "pattern:any", "camera:still", "parts:1"),
        *("who:new", "kind:star", "color:any", "size:any"),
        *("motion:up", "then:none", "speed:normal", "at:7", "y:any", "link:end"),
    ]
    assert not tokens[14:].any() and tokens.dtype == np.int32 and grammar.PAD == 0


def test_tables_agree_with_each_other() -> None:
    table = grammar.tables()
    assert np.array_equal(table.allowed, table.next_state >= 0)
    assert table.allowed.any(axis=1).all() and table.allowed.any(axis=0).all()
    assert table.next_state.shape == (len(table.place), grammar.VOCABULARY)
    assert table.next_state.max() == len(table.place) - 1 and grammar.START == 0
    for (slot, take, part, looks), may in zip(table.place, table.allowed, strict=True):
        names = {grammar.TOKENS[v].partition(":")[0] for v in np.flatnonzero(may)}
        assert names - {"at"} == {grammar.SLOTS[slot]}  # a state is about one slot
        assert ("at" in names) == (grammar.SLOTS[slot] in ("x", "y"))
        assert 0 <= take < MAX_TAKES and 0 <= part < 2 and 0 <= looks <= MAX_LOOKS


def test_places_are_those_of_the_words() -> None:
    table = grammar.tables()
    for tokens in walks()[:100]:
        state, words = grammar.START, grammar.spell(grammar.decode(tokens))
        for token, (slot, _, path) in zip(tokens, words, strict=False):
            name, take, part, looks = table.place[state]
            assert grammar.SLOTS[name] == slot
            if path.startswith("looks"):
                assert path.startswith(f"looks/{looks - 1}/")
            if path.startswith("takes"):
                assert path.startswith(f"takes/{take}/")
                assert "parts" not in path or f"/parts/{part}/" in path
            state = int(table.next_state[state, token])


def test_towards_needs_somebody_to_go_to() -> None:
    table = grammar.tables()
    relative = [grammar.IDS[f"motion:{motion}"] for motion in TO]
    assert not any(grammar.IDS.get(f"then:{motion}") for motion in TO)
    pair = Outline((Look(), Look()), (Take((Part(0, "towards"), Part(1, "away"))),))
    assert grammar.decode(grammar.encode(pair)) == pair
    state = grammar.START
    for token in grammar.encode(SMALL)[:8]:  # to the motion of a lonely one
        state = int(table.next_state[state, token])
    assert table.allowed[state, grammar.IDS["motion:up"]]
    assert not table.allowed[state, relative].any()


def test_numbers_rise_with_their_places() -> None:
    for token, number in zip(grammar.TOKENS, grammar.NUMBERS, strict=True):
        assert np.isnan(number) != token.startswith("at:")
    numbers = [float(grammar.NUMBERS[grammar.IDS[f"at:{k}"]]) for k in AT]
    np.testing.assert_allclose(numbers, np.arange(GRID + 1) / GRID)
    assert len(set(grammar.TOKENS)) == grammar.VOCABULARY


@pytest.mark.parametrize(
    ("position", "token", "name"),
    [
        (0, "pad", "pad"),  # nothing before it
        (3, "parts:2", "link:end"),  # found where the second part would begin
        (4, "who:0", "who:0"),  # nobody was met yet
        (8, "motion:towards", "motion:towards"),
        (11, "kind:star", "kind:star"),
        (13, "link:cut", "pad"),  # another take was announced
        (14, "link:end", "link:end"),  # after the end
    ],
)
def test_forbidden_tokens_are_named(position: int, token: str, name: str) -> None:
    tokens = grammar.encode(SMALL)
    tokens[position] = grammar.IDS[token]
    with pytest.raises(UserError, match=rf"grammar: token \d+ may not be '{name}'"):
        grammar.check(tokens)
    with pytest.raises(UserError, match="allowed"):
        grammar.decode(tokens)


@pytest.mark.parametrize("token", [-1, grammar.VOCABULARY, 99999])
def test_numbers_that_are_no_tokens_are_named(token: int) -> None:
    tokens = grammar.encode(SMALL)
    tokens[2] = token
    with pytest.raises(UserError, match=f"token 2 may not be {token}"):
        grammar.decode(tokens)


def test_sentences_have_one_length() -> None:
    with pytest.raises(UserError, match=rf"shape \(5,\); they must have \({grammar.LENGTH},\)"):
        grammar.decode(grammar.encode(SMALL)[:5])
