"""Clips of any length and any task by one network: what is known decides, pass by pass.

A canvas holds a clip of which some pixels are known. ``passes`` plans which frames go through the
generator together: key frames first, then the frames between them; beyond the known frames windows
slide on, each beginning with the last frames of the one before. ``fill`` runs the plan.
"""

import dataclasses
from collections.abc import Callable, Iterator

import numpy as np
from jaxtyping import Bool, Float32, Int, UInt8

from jaxvid.typing import HostBatch

HOP = 4  # frames from one key frame to the next
Index = Int[np.ndarray, "t"]
Sample = Callable[[HostBatch], UInt8[np.ndarray, "t H W 3"]]


@dataclasses.dataclass(frozen=True, eq=False)
class Canvas:
    """A clip to be filled: ``video`` (T,H,W,3) counts where ``known`` (T,H,W) is True; ``times``
    in seconds."""

    video: UInt8[np.ndarray, "T H W 3"]
    known: Bool[np.ndarray, "T H W"]
    times: Float32[np.ndarray, "T"]


def fill(
    sample: Sample, canvas: Canvas, conditions: HostBatch, *, window: int, keys: bool
) -> UInt8[np.ndarray, "T H W 3"]:
    """The whole clip. ``sample(batch)`` makes the frames of one pass.

    ``conditions`` is a batch of one example with T frames; its video is not read. ``window``: most
    frames of a pass. ``keys``: of clips longer than that make key frames first; what fits into one
    pass is smoother made at once (jerk 0.93 times that of real scenes, against 1.59).
    """
    video, known = canvas.video.copy(), canvas.known.copy()
    partly = bool((known.any((1, 2)) & ~known.all((1, 2))).any())
    whole_T = np.asarray(known.all((1, 2)))
    plan = (
        slides(len(video), window)
        if partly
        else passes(whole_T, window, keys=keys and len(video) > window)
    )
    for index in plan:
        mask = known[index, ..., None]
        if mask.all():
            continue
        times = canvas.times[index] - canvas.times[index[0]]
        batch = conditions | {
            "video": video[None, index],
            "mask": mask[None].astype(np.float32),
            "times": times[None].astype(np.float32),
            "boxes": conditions["boxes"][:, index],
            "visible": conditions["visible"][:, index],
        }
        video[index] = np.where(mask, video[index], sample(batch))
        known[index] = True
    return video


def slides(frames: int, window: int) -> Iterator[Index]:
    """Windows over all frames, each sharing its first quarter with the one before."""
    step = max(1, window - window // HOP)
    for start in range(0, max(1, frames - window // HOP), step):
        yield np.arange(start, min(start + window, frames))


def passes(known_T: Bool[np.ndarray, "T"], window: int, *, keys: bool) -> Iterator[Index]:
    """The frames of each pass, in order; every frame that is not known is in one, and once filled
    counts as known. No pass has more than ``window`` frames, which must be 2 or more.
    """
    T = len(known_T)
    places = np.flatnonzero(known_T)
    if not len(places):
        end = min(window, T)
        yield from _window(np.arange(end), keys)
        places = np.arange(end)
    yield from _between(places, window)
    first, last = int(places[0]), int(places[-1])
    for edge, forwards in ((first, False), (last, True)):
        held = last - first + 1 if not forwards else last + 1
        yield from _onwards(edge, T, window, keys, held=held, forwards=forwards)


def _window(index: Index, keys: bool) -> Iterator[Index]:
    """A window's key frames, then all of it; its first frame or none is known."""
    if keys and len(index) > HOP + 1:
        count = (len(index) - 1) // HOP + 1
        yield index[np.linspace(0, len(index) - 1, count + 1).round().astype(int)]
    yield index


def _between(places: Index, window: int) -> Iterator[Index]:
    """Between known frames: neighbouring gaps together while they fit, wide ones by halves."""
    start = 0
    while start < len(places) - 1:
        end = start + 1
        while end + 1 < len(places) and places[end + 1] - places[start] < window:
            end += 1
        first, last = int(places[start]), int(places[end])
        if last - first >= window:  # a gap wider than a window: frames spread over it first
            spread = np.linspace(first, last, window).round().astype(int)
            yield spread
            yield from _between(spread, window)
        elif last - first > end - start:
            yield np.arange(first, last + 1)
        start = end


def _onwards(
    edge: int, T: int, window: int, keys: bool, *, held: int, forwards: bool
) -> Iterator[Index]:
    """Windows that slide from the known frame ``edge`` to the end of the clip (or its start).

    ``held``: frames in a row that are known on the other side of the edge, itself included.
    """
    context = min(max(1, window // HOP), held)
    while edge < T - 1 if forwards else edge > 0:
        if forwards:
            start = max(0, edge + 1 - context)
            index = np.arange(start, min(start + window, T))
        else:
            stop = min(T, edge + context)
            index = np.arange(max(0, stop - window), stop)
        yield from _window(index, keys)
        edge = int(index[-1] if forwards else index[0])
        context = max(1, window // HOP)
