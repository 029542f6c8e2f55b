"""The outline: what a prompt says and nothing else, from which ``staging`` makes a whole script.

A prompt leaves most of a storyboard open: where things are, how far they go, often their colours.
Every slot that it does not state is ``any`` here (or its default: a still camera, a normal speed).
The planner writes outlines (``grammar`` spells them as tokens), so that reading has one right
answer and two languages can agree to the letter; a seed fills the rest.

A slot is named by its path: ``looks/0/color``, ``takes/1/camera``, ``takes/0/parts/1/motion``.
"""

import dataclasses
from collections.abc import Iterator

from jaxvid.script import COLORS, DIRECTIONS, KINDS, MOTIONS, PATTERNS, SIZES, TONES
from jaxvid.typing import UserError

ANY = "any"
MAX_LOOKS = 3  # entities in a story
MAX_TAKES = 3  # shots
MAX_PARTS = 2  # entities in a shot
GRID = 32  # places that a picture gives are in 1/32 of the frame
TOLERANCE = 1.6  # steps of that: 0.05 of the frame

AT = tuple(str(k) for k in range(GRID + 1))
# Slot -> its values, the first being what stands there when nothing was said.
VALUES: dict[str, tuple[str, ...]] = {
    "kind": (ANY, *KINDS),
    "color": (ANY, *COLORS),
    "size": (ANY, *SIZES),
    "tone": (ANY, *TONES),
    "pattern": (ANY, *PATTERNS),
    "camera": ("still", "pan_left", "pan_right", "pan_up", "pan_down", "zoom_in", "zoom_out"),
    "motion": (ANY, *MOTIONS, "towards", "away"),
    "then": ("none", *MOTIONS, "gone"),
    "speed": ("normal", "slow", "fast"),
    "x": (ANY, "left", "center", "right", *AT),
    "y": (ANY, "top", "center", "bottom", *AT),
    "depth": (ANY, "behind", "front"),
    "side": (ANY, "left", "right", "above", "below"),
    "link": ("cut", "fade", "wipe"),
}
DEFAULTS = {slot: values[0] for slot, values in VALUES.items()}


@dataclasses.dataclass(frozen=True)
class Look:
    """What an entity looks like. Looks are in the order in which the prompt first names them."""

    kind: str = ANY
    color: str = ANY
    size: str = ANY


@dataclasses.dataclass(frozen=True)
class Part:
    """What a look does in a take.

    ``motion``, and in the second half of the take ``then`` (``none``: the motion goes on; ``gone``:
    it has left). ``towards`` and ``away`` are relative to where the other part is. ``x`` and ``y``
    say where the centre is at first: a third of the frame, or k/32 of it where a picture shows it.
    """

    who: int
    motion: str = ANY
    then: str = "none"
    speed: str = "normal"
    x: str = ANY
    y: str = ANY


@dataclasses.dataclass(frozen=True)
class Take:
    """A shot: parts in the order of their looks or of mention, and what holds between them.

    ``depth`` and ``side``: the first part is ``behind`` or in ``front`` of the second, and to the
    ``left`` of it, ``above`` it... at first. A background of which nothing is said is that of the
    take before. ``link`` leads to the next take.
    """

    parts: tuple[Part, ...]
    tone: str = ANY
    pattern: str = ANY
    camera: str = "still"
    depth: str = ANY
    side: str = ANY
    link: str = "cut"


@dataclasses.dataclass(frozen=True)
class Outline:
    """The whole of it. Raises UserError where a value is unknown or parts and looks do not fit."""

    looks: tuple[Look, ...]
    takes: tuple[Take, ...]

    def __post_init__(self) -> None:
        for path, value in slots(self):
            if value not in VALUES[path.rpartition("/")[2]]:
                raise UserError(f"outline: {path}: {value!r} is not known")
        if not 1 <= len(self.takes) <= MAX_TAKES or not 1 <= len(self.looks) <= MAX_LOOKS:
            raise UserError(f"outline: 1 to {MAX_TAKES} takes and 1 to {MAX_LOOKS} looks, please")
        met = 0
        for i, take in enumerate(self.takes):
            who = [part.who for part in take.parts]
            if not 1 <= len(who) <= MAX_PARTS or len(set(who)) != len(who):
                raise UserError(f"outline: takes/{i}: needs 1 to {MAX_PARTS} different looks")
            for n in who:
                if n > met:
                    raise UserError(f"outline: takes/{i}: look {n} comes before look {met}")
                met = max(met, n + 1)
            alone = len(who) == 1
            if alone and (take.depth != ANY or take.side != ANY or take.parts[0].motion in TO):
                raise UserError(f"outline: takes/{i}: a relation needs two parts")
        if met != len(self.looks):
            raise UserError(f"outline: look {met} is in no take")


TO = ("towards", "away")
assert set(DIRECTIONS) < set(MOTIONS)


def slots(outline: Outline) -> Iterator[tuple[str, str]]:
    """Every slot's path and value; the last take has no ``link``, a part alone no relation."""
    for n, look in enumerate(outline.looks):
        for slot in ("kind", "color", "size"):
            yield f"looks/{n}/{slot}", getattr(look, slot)
    last = len(outline.takes) - 1
    for i, take in enumerate(outline.takes):
        for slot in ("tone", "pattern", "camera"):
            yield f"takes/{i}/{slot}", getattr(take, slot)
        for n, part in enumerate(take.parts):
            for slot in ("motion", "then", "speed", "x", "y"):
                yield f"takes/{i}/parts/{n}/{slot}", getattr(part, slot)
        if len(take.parts) > 1:
            for slot in ("depth", "side"):
                yield f"takes/{i}/{slot}", getattr(take, slot)
        if i < last:
            yield f"takes/{i}/link", take.link


def stated(outline: Outline) -> dict[str, str]:
    """The slots that the prompt states: path to value, those at their defaults left out."""
    return {path: v for path, v in slots(outline) if v != DEFAULTS[path.rpartition("/")[2]]}


def agree(asked: str, found: str) -> bool:
    """Whether a slot was read rightly: the same value, of places within 0.05 of the frame."""
    if asked.isdigit() and found.isdigit():
        return abs(int(asked) - int(found)) <= TOLERANCE
    return asked == found


def roles(outline: Outline) -> tuple[tuple[int, ...], ...]:
    """Which looks are in which take, in the order of their parts."""
    return tuple(tuple(part.who for part in take.parts) for take in outline.takes)
