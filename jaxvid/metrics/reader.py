"""The analytic reader: pixels in, what is on screen out, without a network and without the script.

It reads clips of the embedded scenes, real or generated: one or two entities of the palette's
colours before a pale background that stands still. ``segment`` finds the colours and masks them,
``trace`` fits boxes and motion to the masks and compares them with templates of the kinds. All in
NumPy, a few milliseconds a clip.
"""

import dataclasses
import itertools
from collections.abc import Sequence

import numpy as np
from jaxtyping import UInt8

from jaxvid.metrics import segment, trace
from jaxvid.script import COLORS, DIRECTIONS, EXTENTS, SIZES, Script

ATTRIBUTES = ("color", "kind", "size", "motion")
SIZE = ATTRIBUTES.index("size")


@dataclasses.dataclass(frozen=True)
class Reading:
    """One entity as read. ``boxes_T4``: centre x, y, width, height; ``area``: both in frames."""

    kind: str
    color: str
    size: str
    motion: str
    boxes_T4: np.ndarray
    area: float  # mean share of the frame that is seen of it


def read_clip(video_THWC: UInt8[np.ndarray, "T H W 3"]) -> list[Reading]:
    """What is on screen in a clip of one shot: up to two entities, more colour first."""
    colors, smooth_KTHW, crisp_KTHW = segment.segment(video_THWC)
    readings = []
    for color, mask_THW, crisp_THW in zip(colors, smooth_KTHW, crisp_KTHW, strict=True):
        if mask_THW.max() < 0.5:
            continue
        motion, seen_T4 = trace.track(mask_THW)
        kind, boxes_T4 = trace.recognise(crisp_THW, crisp_KTHW.sum(0) - crisp_THW, seen_T4)
        extent = np.sqrt(boxes_T4[:, 2] * boxes_T4[:, 3]).max()
        size = min(SIZES, key=lambda name: abs(np.log(EXTENTS[name] / extent)))
        area = float(mask_THW.mean())
        readings.append(Reading(kind, COLORS[color], size, motion, boxes_T4, area))
    return readings


def score(
    readings: Sequence[Reading], script: Script, sized: Sequence[bool] | None = None
) -> dict[str, np.ndarray]:
    """Whether each scripted entity was shown as written, under the matching that is kindest to all.

    ``sized`` says whether each actor's size was asked for: where it was not, ``size`` has no
    element and ``all`` takes any size. None: it always was.

    Returns:
      Boolean arrays with one element an actor, in the script's order: ``color``, ``kind``,
      ``size``, ``motion``, ``all`` four; ``direction`` is ``motion`` of those actors that go in one
      of the eight directions;
      ``clip`` has one element: all of all, and nothing else on screen. A missing entity is wrong.

    Raises:
      ValueError: the script has several shots; read and score them one by one.
    """
    if len(script.scenes) > 1 or len(script.scenes[0].shots) > 1:
        raise ValueError("the script has several shots; cut the clip and score each shot alone")
    actors = script.scenes[0].shots[0].actors
    entities = {entity.id: entity for entity in script.entities}
    wanted = [
        (e.color, e.kind, e.size, actor.motion)
        for actor in actors
        for e in [entities[actor.entity]]
    ]
    seen: list[tuple[str, ...] | None] = [(r.color, r.kind, r.size, r.motion) for r in readings]
    seen += [None] * (len(wanted) - len(seen))

    def compare(order: Sequence[tuple[str, ...] | None]) -> np.ndarray:
        pairs = list(zip(wanted, order, strict=True))
        right = [[s is not None and s[i] == w[i] for i in range(4)] for w, s in pairs]
        return np.array(right, bool).reshape(len(wanted), 4)

    # by the number of right attributes; of equals, by colour
    right_N4 = max(
        (compare(order) for order in itertools.permutations(seen, len(wanted))),
        key=lambda right: right.sum() + 0.1 * right[:, 0].sum(),
    )
    asked_N = np.ones(len(wanted), bool) if sized is None else np.asarray(sized, bool)
    result: dict[str, np.ndarray] = {name: right_N4[:, i] for i, name in enumerate(ATTRIBUTES)}
    directed = np.array([actor.motion in DIRECTIONS for actor in actors], bool)
    result["direction"] = result["motion"][directed]
    result["size"] = right_N4[asked_N, SIZE]
    right_N4[:, SIZE] |= ~asked_N
    result["all"] = np.asarray(right_N4.all(1))
    result["clip"] = np.array([right_N4.all() and len(readings) == len(wanted)])
    return result


def evaluate_clips(
    videos: Sequence[UInt8[np.ndarray, "T H W 3"]],
    scripts: Sequence[Script],
    sized: Sequence[Sequence[bool]] | None = None,
) -> dict[str, float]:
    """Accuracies of clips against the scripts that they were made from, keys as in ``score``.

    Beside each, ``<key>_floor``: the same readings against other clips' scripts, which is what a
    generator would reach that shows scenes without reading its prompt. A key without any case (no
    entity with a direction) is left out, and so are the floors of a single clip.
    """
    if len(videos) != len(scripts):
        raise ValueError(
            f"{len(videos)} videos and {len(scripts)} scripts; give one script a video"
        )
    readings = [read_clip(np.asarray(video)) for video in videos]
    asked = list(sized) if sized is not None else [None] * len(scripts)
    result = _mean([score(*case) for case in zip(readings, scripts, asked, strict=True)])
    others = [
        score(r, scripts[(i + shift) % len(scripts)], asked[(i + shift) % len(scripts)])
        for shift in range(1, min(5, len(scripts)))
        for i, r in enumerate(readings)
    ]
    return result | {f"{key}_floor": value for key, value in _mean(others).items()}


def _mean(scores: list[dict[str, np.ndarray]]) -> dict[str, float]:
    keys = scores[0] if scores else {}
    pooled = {key: np.concatenate([one[key] for one in scores]) for key in keys}
    return {key: float(values.mean()) for key, values in pooled.items() if len(values)}
