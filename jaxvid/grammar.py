"""The outline as a sentence over a closed vocabulary, and the automaton that keeps it valid.

A sentence gives take after take, a look where it first appears:

    take := tone pattern camera parts part{1,2} (depth side)? link
    part := who (kind color size)? motion then speed x y

``who:new`` brings a new look with its attributes, ``who:0``... one that was met before and is not
in this take yet, so that a reference can neither dangle nor repeat; ``depth`` and ``side`` stand
where there are two parts, which is also where ``towards`` and ``away`` may be said. ``link:end``
ends the story. Token 0 is padding.

``tables`` is a deterministic automaton: whatever is drawn from the tokens that it allows ends
within ``LENGTH`` tokens and is exactly one ``outline.Outline``; ``encode`` and ``decode`` are
inverse to each other.
"""

import functools
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from jaxvid.outline import (
    AT,
    MAX_LOOKS,
    MAX_PARTS,
    MAX_TAKES,
    TO,
    VALUES,
    Look,
    Outline,
    Part,
    Take,
)
from jaxvid.typing import UserError

HEAD = ("tone", "pattern", "camera", "parts")
LOOK = ("kind", "color", "size")
PART = ("motion", "then", "speed", "x", "y")
PAIR = ("depth", "side")
SLOTS = (*HEAD, "who", *LOOK, *PART, *PAIR, "link", "pad")
_TAKE = len(HEAD) + MAX_PARTS * (1 + len(PART)) + len(PAIR) + 1  # without looks
LENGTH = MAX_TAKES * _TAKE + MAX_LOOKS * len(LOOK)
SHORT = _TAKE + MAX_PARTS * len(LOOK)  # tokens are enough for one take
PAD = 0
START = 0  # state of the automaton before the first token

_EXTRA = {
    "parts": tuple(str(n + 1) for n in range(MAX_PARTS)),
    "who": ("new", *(str(n) for n in range(MAX_LOOKS))),
    "link": ("end", *VALUES["link"]),
}
_WORDS = {**VALUES, **_EXTRA}
TOKENS = (
    "pad",
    *(f"{slot}:{v}" for slot in SLOTS[:-1] for v in _WORDS[slot] if v not in AT or slot in _EXTRA),
    *(f"at:{k}" for k in AT),  # x and y share their numbers
)
IDS = {token: i for i, token in enumerate(TOKENS)}
VOCABULARY = len(TOKENS)
# How far along 0..1 a token's number is, nan for tokens without one.
NUMBERS = np.array(
    [int(t[3:]) / (len(AT) - 1) if t.startswith("at:") else np.nan for t in TOKENS], np.float32
)


class State(NamedTuple):
    """Where in a sentence: the slot to come, and what later tokens depend on."""

    slot: str
    take: int = 0
    part: int = 0
    parts: int = 0  # in this take
    looks: int = 0  # met so far
    used: tuple[int, ...] = ()  # in this take


class Tables(NamedTuple):
    """``next_state`` int16 (states, V), -1 where forbidden; ``allowed`` bool (states, V).

    ``place`` int32 (states, 4): of the token to come its slot (in ``SLOTS``), take and part, and
    how many looks were met before it or with it.
    """

    next_state: np.ndarray
    allowed: np.ndarray
    place: np.ndarray


@functools.cache
def tables() -> Tables:
    """The automaton, some hundred states; state ``START`` stands before the first token."""
    numbers: dict[State, int] = {State("tone"): START}
    todo = [State("tone")]
    rows = []
    for state in todo:  # grows while it is walked: breadth first
        row = np.full(VOCABULARY, -1, np.int16)
        for token, after in _moves(state):
            if after not in numbers:
                numbers[after] = len(numbers)
                todo.append(after)
            row[token] = numbers[after]
        rows.append(row)
    next_state = np.stack(rows)
    place = np.array([(SLOTS.index(s.slot), s.take, s.part, s.looks) for s in todo], np.int32)
    return Tables(next_state, next_state >= 0, place)


def _token(slot: str, value: str) -> int:
    return IDS[f"at:{value}" if slot in ("x", "y") and value in AT else f"{slot}:{value}"]


def _moves(state: State) -> Iterator[tuple[int, State]]:
    """Tokens allowed in a state and the states that they lead to."""
    if state.slot == "pad":
        yield PAD, state
        return
    for value in _WORDS[state.slot]:
        if state.slot == "motion" and value in TO and state.parts < 2:
            continue
        after = _after(state, value)
        if after is not None:
            yield _token(state.slot, value), after


def _after(state: State, value: str) -> State | None:
    """The state after a value of ``state.slot``, None where it is not allowed."""
    slot = state.slot
    if slot == "parts":
        return state._replace(slot="who", parts=int(value))
    if slot == "who":
        who = state.looks if value == "new" else int(value)
        if who in state.used or who > state.looks - (value != "new") or who >= MAX_LOOKS:
            return None
        looks = max(state.looks, who + 1)
        return state._replace(
            slot="kind" if value == "new" else "motion", looks=looks, used=(*state.used, who)
        )
    if slot == "link":
        if value == "end":
            return State("pad", take=state.take)
        if state.take + 1 == MAX_TAKES:
            return None
        return State("tone", take=state.take + 1, looks=state.looks)
    if slot == "y" and state.part + 1 < state.parts:
        return state._replace(slot="who", part=state.part + 1)
    if slot == "y":
        return state._replace(slot=PAIR[0] if state.parts > 1 else "link", used=())
    order = (*HEAD, *LOOK, *PART) if slot not in PAIR else (*PAIR, "link")
    return state._replace(slot=order[order.index(slot) + 1])


def spell(outline: Outline) -> list[tuple[str, str, str]]:
    """The sentence as (slot, value, path): the path in ``outline.slots``, "" for its glue.

    The path of ``who`` is that of the words that name the look in this take: "takes/1/who/0".
    """
    words: list[tuple[str, str, str]] = []
    met = 0
    for i, take in enumerate(outline.takes):
        words += [(slot, getattr(take, slot), f"takes/{i}/{slot}") for slot in HEAD[:-1]]
        words.append(("parts", str(len(take.parts)), ""))
        for n, part in enumerate(take.parts):
            who = "new" if part.who == met else str(part.who)
            words.append(("who", who, f"takes/{i}/who/{part.who}"))
            if part.who == met:
                look = outline.looks[met]
                words += [(slot, getattr(look, slot), f"looks/{met}/{slot}") for slot in LOOK]
                met += 1
            path = f"takes/{i}/parts/{n}"
            words += [(slot, getattr(part, slot), f"{path}/{slot}") for slot in PART]
        if len(take.parts) > 1:
            words += [(slot, getattr(take, slot), f"takes/{i}/{slot}") for slot in PAIR]
        last = i + 1 == len(outline.takes)
        words.append(("link", "end", "") if last else ("link", take.link, f"takes/{i}/link"))
    return words


def encode(outline: Outline) -> np.ndarray:
    """The outline as tokens, int32 (LENGTH,), padded with 0."""
    tokens = np.zeros(LENGTH, np.int32)
    words = spell(outline)
    tokens[: len(words)] = [_token(slot, value) for slot, value, _ in words]
    return tokens


def check(tokens: np.ndarray) -> None:
    """Raises UserError naming the first token of int (LENGTH,) that the automaton forbids."""
    if tokens.shape != (LENGTH,):
        raise UserError(f"grammar: tokens have shape {tokens.shape}; they must have ({LENGTH},)")
    next_state, state = tables().next_state, START
    for position, token in enumerate(tokens.tolist()):
        known = 0 <= token < VOCABULARY
        state = int(next_state[state, token]) if known else -1
        if state < 0:
            name = TOKENS[token] if known else token
            raise UserError(
                f"grammar: token {position} may not be {name!r}; draw tokens under tables().allowed"
            )


def decode(tokens: np.ndarray) -> Outline:
    """The outline of a sentence, int (LENGTH,); undoes ``encode``.

    Raises UserError for tokens that the automaton forbids.
    """
    tokens = np.asarray(tokens)
    check(tokens)
    values = iter([TOKENS[token].partition(":")[2] for token in tokens.tolist()])
    looks: list[Look] = []
    takes: list[Take] = []
    while True:
        tone, pattern, camera, count = (next(values) for _ in HEAD)
        parts = []
        for _ in range(int(count)):
            who = next(values)
            if who == "new":
                looks.append(Look(*(next(values) for _ in LOOK)))
            number = len(looks) - 1 if who == "new" else int(who)
            parts.append(Part(number, *(next(values) for _ in PART)))
        pair = [next(values) for _ in PAIR] if len(parts) > 1 else []
        link = next(values)
        last = link == "end"
        words = dict(zip(PAIR, pair, strict=False), **({} if last else {"link": link}))
        takes.append(Take(tuple(parts), tone, pattern, camera, **words))
        if last:
            return Outline(tuple(looks), tuple(takes))
