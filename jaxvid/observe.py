"""Clips of the embedded scenes as scripts: who is seen where, and how it goes on.

A generator that scripts drive knows from them alone where an actor will be. Where frames are known
and nobody has written a script, this one is read from the frames.
"""

import dataclasses
from typing import Any

import numpy as np

from jaxvid.data.render import background, render
from jaxvid.metrics import reader
from jaxvid.metrics.reader import Reading
from jaxvid.script import (
    BACKGROUNDS,
    COLORS,
    KINDS,
    MAX_ACTORS,
    MAX_FRAMES,
    SIZES,
    Actor,
    Entity,
    Key,
    Scene,
    Script,
    Shot,
    tracks,
)

WINDOW = 16  # frames that are read together; of a clip that goes on the last ones


@dataclasses.dataclass
class _Way:
    """Who, and its boxes (T,4) as centre x, y, width, height; on screen from ``first`` to before
    ``last``."""

    kind: Any
    color: Any
    size: Any
    boxes_T4: np.ndarray
    first: int
    last: int


def observe(
    video_THWC: np.ndarray, frames: int, *, fps: float | int, plan: Script | None = None
) -> Script | None:
    """The script of one shot of ``frames`` frames that begins as the clip (T,H,W,3) uint8 does.

    A clip that does not go on is read window by window, so that its boxes are right throughout.
    Beyond the clip the first shot of ``plan``, whose first frame is the clip's last, goes on from
    where its actors are seen; others move as they did: straight on to the edge of the frame, hops
    and turns once more. Who is in front is tried out: what looks more like the clip. None where
    nobody is seen, as ``metrics.reader`` knows embedded scenes alone, or no script is so long.
    """
    known, (H, W) = len(video_THWC), video_THWC.shape[1:3]
    lead = max(known - WINDOW, 0) if frames > known else 0
    late = video_THWC[lead:]
    if frames > known:
        ways = [
            _Way(r.kind, r.color, r.size, _go_on(r, frames - lead, lead), 0, frames)
            for r in reader.read_clip(late)[:MAX_ACTORS]
        ]
    else:
        ways = _seen(video_THWC)
    if not ways or frames > MAX_FRAMES:
        return None
    if plan is not None and frames > known:
        _follow(ways, plan, known, frames)
    shown = np.median(video_THWC, axis=0)
    name = min(BACKGROUNDS, key=lambda name: float(np.abs(shown - background(name, H, W)).mean()))
    stories = []
    for order in (ways, ways[::-1])[: len(ways)]:  # back to front
        entities = tuple(Entity(f"e{n}", w.kind, w.color, w.size) for n, w in enumerate(order))
        shot = Shot(frames, tuple(_actor(f"e{n}", way) for n, way in enumerate(order)))
        stories.append(Script(entities, (Scene(name, (shot,)),), fps=float(fps), size=(H, W)))
    return min(stories, key=lambda story: _unlike(render(story)[lead:known], late))


def _unlike(one: np.ndarray, other: np.ndarray) -> float:
    return float(np.abs(one.astype(np.int16) - other).mean())


def _seen(video_THWC: np.ndarray) -> list[_Way]:
    """Who is seen most in a whole clip, and where: every frame as its own window shows it."""
    T, ways = len(video_THWC), dict[str, _Way]()
    for start in (max(min(t, T - WINDOW), 0) for t in range(0, T, WINDOW)):  # the last is whole
        for r in reader.read_clip(video_THWC[start : start + WINDOW]):
            empty_T4 = np.full((T, 4), np.nan)
            way = ways.setdefault(r.color, _Way(r.kind, r.color, r.size, empty_T4, start, 0))
            if SIZES.index(r.size) > SIZES.index(way.size):  # as scripts count, and best to be read
                way.kind, way.size = r.kind, r.size
            way.last = start + len(r.boxes_T4)
            way.boxes_T4[start : way.last] = r.boxes_T4
    for way in ways.values():
        seen_T = np.flatnonzero(np.isfinite(way.boxes_T4[:, 0]))
        for side_T in way.boxes_T4.T:
            side_T[:] = np.interp(np.arange(T), seen_T, side_T[seen_T])
    return sorted(ways.values(), key=lambda way: way.first - way.last)[:MAX_ACTORS]


def _go_on(seen: Reading, frames: int, lead: int) -> np.ndarray:
    """The boxes (lead + frames,4) as seen, before that the first of them, and how it goes on."""
    boxes_T4 = seen.boxes_T4
    T = len(boxes_T4)
    if seen.motion in ("bounce", "orbit"):
        boxes_T4 = boxes_T4[np.arange(frames) % max(T - 1, 1)]
    else:
        step = (boxes_T4[-1] - boxes_T4[0]) / max(T - 1, 1)
        after = np.arange(1, frames - T + 1)[:, None]
        boxes_T4 = np.concatenate([boxes_T4, boxes_T4[-1] + after * step])
    return np.pad(boxes_T4, ((lead, 0), (0, 0)), mode="edge")


def _follow(ways: list[_Way], plan: Script, known: int, frames: int) -> None:
    """Lets the actors of a plan do what it says after the known frames; new ones come there."""
    planned = tracks(plan, frames=frames - known + 1)
    for n, (kind, color, size) in enumerate(planned.attributes_N3 - 1):
        if color < 0:
            continue
        boxes_T4, shown_T = planned.boxes_TN4[:, n], planned.visible_TN[:, n] > 0
        way = next((way for way in ways if way.color == COLORS[color]), None)
        if way is None and len(ways) < MAX_ACTORS:
            still = np.repeat(boxes_T4[:1], frames, axis=0)
            way = _Way(KINDS[kind], COLORS[color], SIZES[size], still, known, frames)
            ways.append(way)
        if way is not None:
            here_4, start_4 = way.boxes_T4[known - 1], boxes_T4[0]
            way.boxes_T4[known:, :2] = here_4[:2] + boxes_T4[1:, :2] - start_4[:2]
            way.boxes_T4[known:, 2:] = here_4[2:] * boxes_T4[1:, 2:] / start_4[2:]
            if not shown_T[-1]:  # it leaves
                way.last = known + int(np.flatnonzero(shown_T).max(initial=0))
    ways[:] = [way for way in ways if way.last > way.first]  # who leaves at once never came


def _actor(entity: str, way: _Way) -> Actor:
    """As a path inside the frame."""
    T = len(way.boxes_T4)
    side_T2 = way.boxes_T4[:, 2:].clip(0.05, 1.0)
    corner_T2 = (way.boxes_T4[:, :2] - side_T2 / 2).clip(0.0, 1.0 - side_T2)
    boxes: Any = np.concatenate([corner_T2, side_T2], axis=1).tolist()
    first, last = way.first, min(way.last, T - 1)
    if last <= first:
        return Actor(entity, "still", tuple(boxes[first]), tuple(boxes[first]))
    keys = tuple(Key((t - first) / (last - first), tuple(boxes[t])) for t in range(first, last + 1))
    enter = first / (T - 1)
    leave = 1.0 if way.last >= T else min(last / (T - 1), 1 - 1e-6)  # at 1 the last frame counts
    return Actor(entity, "path", keys[0].box, keys[-1].box, enter=enter, exit=leave, keys=keys)
