"""Staging: from an outline, which holds what was said, to a whole script; a seed fills the rest.

Looks that were not described are drawn, colours apart from each other; places, travels and paths
are drawn so that what was said holds: everything stays inside the frame, motions can be seen, one
actor does not hide the other, "behind" is seen where both meet, "to the left of" is to the left,
"towards" leads there. Lengths are shares of the frame unless said to be in steps of the grid, 1/32
of it.
"""

import dataclasses
import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from jaxvid.outline import ANY, AT, GRID, TO, Look, Outline, Part, Take
from jaxvid.script import (
    BACKGROUNDS,
    CAMERAS,
    COLORS,
    DIRECTIONS,
    EXTENTS,
    KINDS,
    MOTIONS,
    SIZES,
    TRANSITIONS,
    Actor,
    Box,
    Entity,
    Scene,
    Script,
    Shot,
    path,
)

AT_LEAST = 4  # steps of travel: less is hard to see
TRAVEL = {"slow": (4, 7), "normal": (8, 16), "fast": (14, 20)}  # least and most, in steps
RADIUS = {"slow": (4, 5), "normal": (5, 9), "fast": (7, 9)}  # of an orbit
MOVING = tuple(motion for motion in MOTIONS if motion != "still")
ZONES = {"left": (0, 13), "top": (0, 13), "center": (13, 19), "right": (19, 32), "bottom": (19, 32)}
APART = 5  # steps between centres for one to be to the left of the other, or above it
HIDDEN = (0.3, 0.6)  # at most of the rear box behind the front one: mean, and in any frame
MEET = 0.2  # at least of it, in some frame, where who is behind whom was said
TRIES = (60, 30, 10)  # placements of a take; then of shorter ways; then with a place given up
_GIVEN_UP = 5.0  # as bad as so many steps beside what was said
_TIMES, _HALF = np.linspace(0, 1, 16), np.linspace(0, 1, 8)
_STEPS = {"bounce": (0, -1), "orbit": (0, 1), **DIRECTIONS}  # from the first box to the last
_UNITS = {name: (x / math.hypot(x, y), y / math.hypot(x, y)) for name, (x, y) in DIRECTIONS.items()}


Point = tuple[int, int]  # x and y in steps


class _Leg(NamedTuple):
    """One motion over a stretch of a take: ``travel`` in steps, widths at its start and end."""

    motion: str
    travel: int
    widths: tuple[float, float]

    @property
    def reach(self) -> tuple[int, int, int, int]:
        """How far the centre goes from where it starts, in steps: least x, most x, least y..."""
        if self.motion == "orbit":  # the start is the top of the circle
            return -self.travel, self.travel, 0, 2 * self.travel
        dx, dy = self.step
        return min(dx, 0), max(dx, 0), min(dy, 0), max(dy, 0)

    @property
    def step(self) -> Point:
        """From the centre of the first box to that of the last, in steps."""
        x, y = _STEPS.get(self.motion, (0, 0))
        return self.travel * x, self.travel * y

    @property
    def end(self) -> Point:
        """Where the centre is in the end, from where it starts, in steps."""
        return self.step if self.motion in DIRECTIONS else (0, 0)


def stage(
    outline: Outline,
    seed: int | np.integer | np.random.Generator,
    *,
    frames: int = 16,
    fps: float = 8.0,
    size: tuple[int, int] = (32, 32),
) -> Script:
    """The script of an outline; the same seed gives the same script on any machine.

    An actor of which nothing is said stays where it is beside one that moves; else it does
    anything. ``frames`` are those of a take, ``size`` is height and width in pixels; neither
    changes what happens. What contradicts itself (left of it, in the right corner) is held as far
    as possible; places from a picture are moved only where a motion would lead out of the frame,
    or where the second part could not be put there without missing the rest by far.
    """
    rng = seed if isinstance(seed, np.random.Generator) else np.random.default_rng(seed)
    looks = fill_looks(outline.looks, rng)
    entities = [
        Entity(f"e{n}", _one(KINDS, look.kind), _one(COLORS, look.color), _one(SIZES, look.size))
        for n, look in enumerate(looks)
    ]
    scenes: list[Scene] = []
    background = ""
    for i, take in enumerate(outline.takes):
        background = _background(take, background, rng)
        link = _one(TRANSITIONS, take.link if i + 1 < len(outline.takes) else "cut")
        camera = _one(CAMERAS, take.camera)
        shot = Shot(frames, _act(take, looks, rng), camera=camera, transition=link)
        if scenes and scenes[-1].background == background:
            scenes[-1] = Scene(background, (*scenes[-1].shots, shot))
        else:
            scenes.append(Scene(background, (shot,)))
    return Script(tuple(entities), tuple(scenes), fps=fps, size=size)


def _one(values: tuple[Any, ...], name: str) -> Any:
    """The name as the literal that it is, for the type checker. It is one of the values."""
    return values[values.index(name)]


def fill_looks(looks: Sequence[Look], rng: np.random.Generator) -> list[Look]:
    """Looks without ``any``: colours that nobody said are unlike those that others have."""
    taken = {look.color for look in looks}
    filled = []
    for look in looks:
        kind, size = (
            _pick(rng, values) if said == ANY else said
            for said, values in ((look.kind, KINDS), (look.size, SIZES))
        )
        color = look.color
        if color == ANY:
            color = _pick(rng, [c for c in COLORS if c not in taken])
            taken.add(color)
        filled.append(Look(kind, color, size))
    return filled


def _pick(rng: np.random.Generator, values: Sequence[str]) -> str:
    return values[int(rng.random() * len(values))]


def _background(take: Take, before: str, rng: np.random.Generator) -> str:
    if take.tone == ANY == take.pattern and before:
        return before
    fits = [
        name
        for name in BACKGROUNDS
        for tone, _, pattern in [name.partition("_")]
        if take.tone in (ANY, tone) and take.pattern in (ANY, pattern)
    ]
    return _pick(rng, fits)


def _act(take: Take, looks: Sequence[Look], rng: np.random.Generator) -> tuple[Actor, ...]:
    """The actors of a take, placed so that the relations hold; the best of some tries."""
    best, least = None, math.inf
    for n in range(sum(TRIES)):
        if n == TRIES[0] + TRIES[1] and len(take.parts) > 1:  # two in one place: one must leave it
            free = dataclasses.replace(take.parts[1], x=ANY, y=ANY)
            take = dataclasses.replace(take, parts=(take.parts[0], free))
            least -= _GIVEN_UP
        placed, wrong = _place(take, looks, rng, short=n >= TRIES[0])
        if wrong < least:
            best, least = placed, wrong
        if wrong == 0:
            break
    assert best is not None
    return best


def _motion(part: Part, take: Take, rng: np.random.Generator) -> str:
    """What was said, or nothing beside one that moves, or anything."""
    if part.motion != ANY:
        return part.motion
    watches = any(other.motion not in (ANY, "still") for other in take.parts)
    if watches and part.speed == "normal" and part.then != "still":
        return "still"
    return _pick(rng, [motion for motion in MOVING if motion != part.then])


def _place(
    take: Take, looks: Sequence[Look], rng: np.random.Generator, *, short: bool
) -> tuple[tuple[Actor, ...], float]:
    """A try, and by how much what was said is missed. ``short`` ways leave more places free."""
    motions = [_motion(part, take, rng) for part in take.parts]
    centres, chosen, wrong = [], [], 0.0
    for part, motion in zip(take.parts, motions, strict=True):
        way = "right" if motion in TO else motion  # turned below
        legs = _legs(part, way, 2 if short else 1, rng)
        centre, missed = _centre(part, looks[part.who].size, legs, rng)
        centres.append(centre)
        chosen.append(legs)
        wrong += missed
    for n, motion in enumerate(motions):
        if motion in TO:
            a, b = (n, 1 - n) if motion == "towards" else (1 - n, n)
            gap = centres[b][0] - centres[a][0], centres[b][1] - centres[a][1]
            legs, missed = _follow(chosen[n], gap, centres[n], looks[take.parts[n].who].size)
            chosen[n] = legs
            wrong += missed
    order = [1, 0] if take.depth == "front" else [0, 1]
    actors = [
        _actors(part, looks[part.who].size, legs, centre, z=order[n])
        for n, (part, legs, centre) in enumerate(zip(take.parts, chosen, centres, strict=True))
    ]
    if len(actors) > 1:
        least = MEET if take.depth != ANY and take.side == ANY else 0.0
        back, front = (actors[n] for n in order)
        wrong += _beside(take.side, centres) + _hidden(back, front, least)
    return tuple(actor for part in actors for actor in part), wrong


def _legs(part: Part, motion: str, share: int, rng: np.random.Generator) -> list[_Leg]:
    """What a part does, one motion or two, over a ``share``th of the usual travel.

    The second half of the take has half the time.
    """
    goes_on = part.then in ("none", "gone", part.motion)
    motions = [motion] if goes_on else [motion, part.then]
    if part.then != "none":
        share *= 2
    if motions[-1] == "zoom_in" and motions[0] not in ("zoom_in", "zoom_out"):
        widths = [0.5, 0.5, 1.0]
    else:
        widths = [0.5 if motions[0] == "zoom_in" else 1.0]
        for name in motions:
            widths.append({"zoom_in": 1.0, "zoom_out": 0.5}.get(name, widths[-1]))
    legs = []
    for n, name in enumerate(motions):
        least, most = (RADIUS if name == "orbit" else TRAVEL)[part.speed]
        travel = max(AT_LEAST, int(rng.integers(least, most + 1)) // share)
        travels = name in DIRECTIONS or name in ("bounce", "orbit")
        legs.append(_Leg(name, travel if travels else 0, (widths[n], widths[n + 1])))
    return legs


def _span(legs: Sequence[_Leg], size: str) -> tuple[Point, Point]:
    """First centres that keep every leg inside the frame: lowest and highest x, lowest and highest
    y. Empty (lowest over highest) where the legs are too long for the frame.
    """
    low = math.ceil(EXTENTS[size] / 2 * GRID - 1e-9)
    x = y = left = right = up = down = 0
    for leg in legs:
        x_least, x_most, y_least, y_most = leg.reach
        left, right = min(left, x + x_least), max(right, x + x_most)
        up, down = min(up, y + y_least), max(down, y + y_most)
        x, y = x + leg.end[0], y + leg.end[1]
    return (low - left, GRID - low - right), (low - up, GRID - low - down)


def _centre(
    part: Part, size: str, legs: list[_Leg], rng: np.random.Generator
) -> tuple[Point, float]:
    """A first centre, inside the zones that were said where the legs allow it, and by how many
    steps it is not. Legs get shorter for that, in place, down to what can still be seen.
    """
    zones = [
        (int(said), int(said)) if said in AT else ZONES.get(said, (0, GRID))
        for said in (part.x, part.y)
    ]
    while True:
        spans = _span(legs, size)
        n = max(range(len(legs)), key=lambda n: legs[n].travel)
        fits = all(
            max(low, first) <= min(high, last)
            for (low, high), (first, last) in zip(spans, zones, strict=True)
        )
        if fits or legs[n].travel <= AT_LEAST:
            break
        legs[n] = legs[n]._replace(travel=legs[n].travel - 1)
    centre, wrong = [], 0.0
    for (low, high), (first, last) in zip(spans, zones, strict=True):
        wrong += max(0, low - last, first - high)
        low, high = max(low, min(first, high)), min(high, max(last, low))
        centre.append(int(rng.integers(low, high + 1)))
    return (centre[0], centre[1]), wrong


def _follow(
    legs: list[_Leg], way: tuple[int, int], centre: Point, size: str
) -> tuple[list[_Leg], float]:
    """The first leg turned to the nearest of the eight directions, as long as the frame allows."""
    x, y = way
    name = max(_UNITS, key=lambda name: _UNITS[name][0] * x + _UNITS[name][1] * y)
    turned = [legs[0]._replace(motion=name), *legs[1:]]
    for travel in range(max(AT_LEAST, legs[0].travel), AT_LEAST - 1, -1):
        turned[0] = turned[0]._replace(travel=travel)
        spans = _span(turned, size)
        if all(low <= c <= high for (low, high), c in zip(spans, centre, strict=True)):
            # 22.5 degrees off is the worst for eight directions; near is no direction at all
            return turned, 0.0 if math.hypot(x, y) >= AT_LEAST + 1 else 2.0
    return legs, 100.0


def _actors(
    part: Part, size: str, legs: Sequence[_Leg], centre: Point, *, z: int
) -> tuple[Actor, ...]:
    """A part as actors, one for each leg, over its stretch of the take."""
    actors, (x, y) = [], centre
    shares = len(legs) if part.then != "gone" else 2
    for n, leg in enumerate(legs):
        first, last = (EXTENTS[size] * width for width in leg.widths)
        start, end = _box(x, y, first), _box(x + leg.step[0], y + leg.step[1], last)
        enter, leave = n / shares, (n + 1) / shares
        motion = _one(MOTIONS, leg.motion)
        actors.append(Actor(f"e{part.who}", motion, start, end, z, enter=enter, exit=leave))
        x, y = x + leg.end[0], y + leg.end[1]
    return tuple(actors)


def _box(x: int, y: int, side: float) -> Box:
    # Six decimals hold steps and extents exactly, and keep the JSON short.
    left, top = round(x / GRID - side / 2, 6), round(y / GRID - side / 2, 6)
    return (left, top, round(side, 6), round(side, 6))


def _beside(side: str, centres: Sequence[Point]) -> float:
    """By how many steps ``side`` is missed."""
    if side == ANY:
        return 0.0
    (x, y), (other_x, other_y) = centres
    dx, dy = other_x - x, other_y - y
    gap = {"left": dx, "right": -dx, "above": dy, "below": -dy}[side]
    return float(max(0, APART - gap))


def _hidden(back: tuple[Actor, ...], front: tuple[Actor, ...], least: float) -> float:
    """By how much too much of the rear part is hidden, or in no frame ``least``; in steps, as other
    misses are. They may pass, but one must not hide the other."""
    back_T4, front_T4 = _route(back), _route(front)
    gap_T2 = np.abs(back_T4[:, :2] - front_T4[:, :2])
    reach_T2 = (back_T4[:, 2:] + front_T4[:, 2:]) / 2
    both_T2 = np.clip(reach_T2 - gap_T2, 0, np.minimum(back_T4[:, 2:], front_T4[:, 2:]))
    hidden_T = both_T2.prod(1) / back_T4[:, 2:].prod(1)
    mean, worst = HIDDEN
    over = max(0.0, hidden_T.mean() - mean) + max(0.0, hidden_T.max() - worst)
    over += max(0.0, least - hidden_T.max())
    return GRID * float(over)  # who cannot be seen is worse than who is in a wrong place


def _route(actors: tuple[Actor, ...]) -> np.ndarray:
    """Boxes of a part over the whole take, (16, 4)."""
    if len(actors) == 1:
        return path(actors[0], np.minimum(_TIMES / actors[0].exit, 1.0))
    return np.concatenate([path(actor, _HALF) for actor in actors])


def script_paths(outline: Outline, script: Script) -> dict[str, str]:
    """Where in its staged script each slot of an outline went: path to path."""
    names = [(a, b) for a, scene in enumerate(script.scenes) for b in range(len(scene.shots))]
    paths = {
        f"looks/{n}/{slot}": f"entities/{n}/{slot}"
        for n in range(len(outline.looks))
        for slot in ("kind", "color", "size")
    }
    for i, (take, (a, b)) in enumerate(zip(outline.takes, names, strict=True)):
        scene, shot = f"scenes/{a}", f"scenes/{a}/shots/{b}"
        paths |= {f"takes/{i}/{slot}": f"{scene}/background" for slot in ("tone", "pattern")}
        paths |= {f"takes/{i}/camera": f"{shot}/camera", f"takes/{i}/link": f"{shot}/transition"}
        at, firsts = 0, []
        for n, part in enumerate(take.parts):
            firsts.append(at)
            legs = 1 if part.then in ("none", "gone", part.motion) else 2
            here, last = f"{shot}/actors/{at}", f"{shot}/actors/{at + legs - 1}"
            then = f"{last}/exit" if part.then == "gone" else f"{last}/motion"
            slots = {"motion": f"{here}/motion", "then": then, "speed": f"{here}/to"}
            slots |= {"x": f"{here}/from", "y": f"{here}/from"}
            paths |= {f"takes/{i}/parts/{n}/{slot}": path for slot, path in slots.items()}
            at += legs
        nearer = firsts[0 if take.depth == "front" else -1]  # the other's z is 0, not in the JSON
        paths |= {f"takes/{i}/depth": f"{shot}/actors/{nearer}/z"}
        paths |= {f"takes/{i}/side": f"{shot}/actors/0/from"}
    return paths


def outline_of(script: Script, scene: int = 0, shot: int = 0) -> Outline:
    """What one shot shows, as a scene's caption would say it: its looks, how each first moves, and
    its background. Paths by key positions are some motion; an empty shot cannot be said."""
    entities = {entity.id: entity for entity in script.entities}
    looks: dict[str, Look] = {}
    motions = []
    for actor in sorted(script.scenes[scene].shots[shot].actors, key=lambda a: (a.z, a.enter)):
        if actor.entity not in looks:
            entity = entities[actor.entity]
            looks[actor.entity] = Look(entity.kind, entity.color, entity.size)
            motions.append(actor.motion if actor.motion in MOTIONS else ANY)
    background = script.scenes[scene].background
    tone, _, pattern = (background if isinstance(background, str) else "any_any").partition("_")
    parts = tuple(Part(n, motion) for n, motion in enumerate(motions))
    return Outline(tuple(looks.values()), (Take(parts, tone, pattern),))
