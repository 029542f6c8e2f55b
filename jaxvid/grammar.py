"""The script as a short sentence over a closed vocabulary, and the automaton that keeps it valid.

A sentence names the background, the number of actors and then, from back to front, each actor:

    background actors (kind color size motion travel x y){1,2}

``x y`` is the centre of the first box on a grid of 1/32 of the frame; ``travel``, in that unit, is
how far the centre goes along the motion's direction (bounce: how high; orbit: the radius, and the
first centre is the top of the circle; still and zooms: 0). The last box follows from these, so that
direction and motion cannot disagree. Boxes are as wide and high as ``script.EXTENTS[size]``; a zoom
runs between half of it and all of it.

``tables`` is a deterministic automaton: whatever is drawn from the tokens that it allows ends
within ``LENGTH`` tokens and decodes to a script that passes ``script.validate``, with every box
inside the frame, travel that can be seen, and no colour used twice. Token 0 is padding and ends the
sentence.
"""

import functools
import math
from typing import NamedTuple

import numpy as np

from jaxvid.script import (
    BACKGROUNDS,
    COLORS,
    DIRECTIONS,
    EXTENTS,
    KINDS,
    MAX_ACTORS,
    MOTIONS,
    SIZES,
    Actor,
    Box,
    Entity,
    Scene,
    Script,
    Shot,
)
from jaxvid.typing import UserError

GRID = 32
AT_LEAST = 4  # of travel in units of the grid, where a motion travels: less is hard to see
SLOTS = ("kind", "color", "size", "motion", "travel", "x", "y")  # of an actor, in this order
FREE_SLOTS = ("travel", "x", "y")  # that a prompt leaves open
HEAD = 2  # tokens before the first actor
LENGTH = HEAD + len(SLOTS) * MAX_ACTORS
PAD = 0
START = 0  # state of the automaton before the first token

TOKENS = (
    "pad",
    *(f"background:{name}" for name in BACKGROUNDS),
    *(f"actors:{count}" for count in range(1, MAX_ACTORS + 1)),
    *(f"kind:{name}" for name in KINDS),
    *(f"color:{name}" for name in COLORS),
    *(f"size:{name}" for name in SIZES),
    *(f"motion:{name}" for name in MOTIONS),
    *(f"at:{k}" for k in range(GRID + 1)),
)
IDS = {token: i for i, token in enumerate(TOKENS)}
VOCABULARY = len(TOKENS)
LAYOUT = ("background", "actors", *SLOTS * MAX_ACTORS)  # the slot at each position
# True where a prompt never says what stands there: sampled even when the rest is decoded greedily.
FREE = np.array([slot in FREE_SLOTS for slot in LAYOUT])

State = tuple[object, ...]


class Tables(NamedTuple):
    """``next_state`` int16 (states, V), -1 where forbidden; ``allowed`` bool (states, V)."""

    next_state: np.ndarray
    allowed: np.ndarray


@functools.cache
def tables() -> Tables:
    """The automaton, about 5,000 states; state ``START`` stands before the first token."""
    numbers: dict[State, int] = {("background",): START}
    todo: list[State] = [("background",)]
    rows = []
    for state in todo:  # grows while it is walked: breadth first
        row = np.full(VOCABULARY, -1, np.int16)
        for token, after in _moves(state).items():
            if after not in numbers:
                numbers[after] = len(numbers)
                todo.append(after)
            row[IDS[token]] = numbers[after]
        rows.append(row)
    next_state = np.stack(rows)
    return Tables(next_state, next_state >= 0)


def _moves(state: State) -> dict[str, State]:
    """Tokens allowed in a state and the states that they lead to.

    ``left`` counts the actors after this one; ``used`` holds the colours that these may not take. A
    state carries what later tokens depend on and nothing else: that keeps the automaton small.
    """
    slot, *rest = state
    if slot == "background":
        return {f"background:{name}": ("actors",) for name in BACKGROUNDS}
    if slot == "actors":
        return {f"actors:{n}": ("kind", n - 1, ()) for n in range(1, MAX_ACTORS + 1)}
    if slot == "end":
        return {"pad": ("end",)}
    left, used, *memory = rest
    assert isinstance(left, int) and isinstance(used, tuple)
    if slot == "kind":
        return {f"kind:{name}": ("color", left, used) for name in KINDS}
    if slot == "color":
        free = [name for name in COLORS if name not in used]
        return {f"color:{c}": ("size", left, (*used, c) if left else ()) for c in free}
    if slot == "size":
        return {f"size:{name}": ("motion", left, used, name) for name in SIZES}
    if slot == "motion":
        return {f"motion:{name}": ("travel", left, used, *memory, name) for name in MOTIONS}
    if slot == "travel":
        fits = {k: start_range(str(memory[0]), str(memory[1]), k) for k in range(GRID + 1)}
        return {f"at:{k}": ("x", left, used, *span) for k, span in fits.items() if span is not None}
    low, high, *then = memory
    assert isinstance(low, int) and isinstance(high, int)
    if slot == "x":
        return {f"at:{k}": ("y", left, used, *then) for k in range(low, high + 1)}
    after: State = ("kind", left - 1, used) if left else ("end",)
    return {f"at:{k}": after for k in range(low, high + 1)}


def start_range(size: str, motion: str, travel: int) -> tuple[int, int, int, int] | None:
    """First centres that keep the whole motion inside the frame: lowest and highest x, then y.

    In units of the grid; None where the motion does not fit, is too short to be seen, or where a
    motion that does not travel is given a travel.
    """
    low = math.ceil(EXTENTS[size] / 2 * GRID - 1e-9)
    high = GRID - low
    dx, dy = DIRECTIONS.get(motion, (0, -1 if motion == "bounce" else 0))
    if motion == "orbit":
        span = (low + travel, high - travel, low, high - 2 * travel)
    else:
        span = (
            low + travel * (dx < 0),
            high - travel * (dx > 0),
            low + travel * (dy < 0),
            high - travel * (dy > 0),
        )
    travels = motion in DIRECTIONS or motion in ("bounce", "orbit")
    right = travel >= AT_LEAST if travels else travel == 0
    return span if right and span[0] <= span[1] and span[2] <= span[3] else None


def place(size: str, motion: str, travel: int, x: int, y: int) -> tuple[Box, Box]:
    """First and last box of an actor whose centre starts at ``(x, y)`` on the grid."""
    extent = EXTENTS[size]
    start = extent / 2 if motion == "zoom_in" else extent
    end = extent / 2 if motion == "zoom_out" else extent
    dx, dy = DIRECTIONS.get(motion, (0, {"bounce": -1, "orbit": 1}.get(motion, 0)))
    return _box(x, y, start), _box(x + travel * dx, y + travel * dy, end)


def _box(x: int, y: int, side: float) -> Box:
    # Six decimals hold x / 32 and the extents exactly, and keep the JSON short.
    return (round(x / GRID - side / 2, 6), round(y / GRID - side / 2, 6), side, side)


def encode(script: Script) -> np.ndarray:
    """The script as tokens, int32 (LENGTH,), padded with 0; its actors in order of depth.

    Frame count, frame rate and frame size are not part of the sentence. Raises UserError for a
    script that the sentence cannot hold: several shots, boxes off the grid or of another size.
    """
    if len(script.scenes) != 1 or len(script.scenes[0].shots) != 1:
        raise UserError("grammar: the script has several shots; encode one shot at a time")
    scene = script.scenes[0]
    entities = {entity.id: entity for entity in script.entities}
    actors = sorted(scene.shots[0].actors, key=lambda actor: actor.z)
    names = [f"background:{scene.background}", f"actors:{len(actors)}"]
    for actor in actors:
        names += _actor_tokens(entities[actor.entity], actor)
    tokens = np.zeros(LENGTH, np.int32)
    tokens[: len(names)] = [IDS.get(name, PAD) for name in names]
    check(tokens)
    return tokens


def _actor_tokens(entity: Entity, actor: Actor) -> list[str]:
    (ax, ay), (bx, by) = (
        ((box[0] + box[2] / 2) * GRID, (box[1] + box[3] / 2) * GRID)
        for box in (actor.start, actor.end)
    )
    x, y = round(ax), round(ay)
    travel = round(max(abs(bx - ax), abs(by - ay)))
    boxes = place(entity.size, actor.motion, travel, x, y)
    off = max(abs(p - q) for p, q in zip(sum(boxes, ()), actor.start + actor.end, strict=True))
    if off > 1e-4:
        raise UserError(
            f"grammar: the boxes of {actor.entity!r} are {off:.3f} off what {entity.size} and "
            f"{actor.motion} give; use centres on the 1/{GRID} grid and boxes of EXTENTS[size]"
        )
    attributes = [f"kind:{entity.kind}", f"color:{entity.color}", f"size:{entity.size}"]
    return [*attributes, f"motion:{actor.motion}", f"at:{travel}", f"at:{x}", f"at:{y}"]


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


def decode(
    tokens: np.ndarray, *, frames: int = 16, fps: float = 8.0, size: tuple[int, int] = (32, 32)
) -> Script:
    """The script of a sentence, int (LENGTH,), as one shot; undoes ``encode``.

    ``size`` is height and width in pixels. Raises UserError for tokens that the automaton forbids.
    """
    tokens = np.asarray(tokens)
    check(tokens)
    values = [TOKENS[token].partition(":")[2] for token in tokens.tolist()]
    entities, actors = [], []
    for n in range(int(values[1])):
        at = HEAD + n * len(SLOTS)
        kind, color, extent, motion, travel, x, y = values[at : at + len(SLOTS)]
        start, end = place(extent, motion, int(travel), int(x), int(y))
        entities.append(Entity(f"e{n}", kind, color, extent))
        actors.append(Actor(f"e{n}", motion, start, end, z=n))
    scene = Scene(values[0], (Shot(frames, tuple(actors)),))
    return Script(tuple(entities), (scene,), fps=fps, size=size)
