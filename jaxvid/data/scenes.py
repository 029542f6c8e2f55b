"""The embedded data: captioned scenes, each a deterministic function of (seed, split, index).

One actor (60 %) or two of different colours before one background. ``heldout`` shows combinations
of kind, colour and motion that ``train`` and ``test`` never show; ``test`` shows other scenes than
``train``. Boxes are the grammar's own, so that the planner can say every scene exactly.
"""

import functools
import zlib

import numpy as np

from jaxvid import grammar
from jaxvid.data import captions
from jaxvid.data.render import render
from jaxvid.data.source import Example, Split
from jaxvid.script import (
    BACKGROUNDS,
    COLORS,
    KINDS,
    MOTIONS,
    SIZES,
    Actor,
    Entity,
    Scene,
    Script,
    Shot,
    path,
)

SPLITS: tuple[Split, ...] = ("train", "test", "heldout")
Combination = tuple[str, str, str]  # kind, colour, motion

_TWO_ACTORS = 0.4
_HELDOUT = 10  # one combination in so many is held out
_TRAVEL = (8, 16)  # least and most travel, in steps of the grid
_RADIUS = (5, 9)  # of an orbit
_HIDDEN = (0.3, 0.6)  # at most of the rear box behind the front one: mean, and in any frame


@functools.cache
def combinations(split: Split) -> tuple[Combination, ...]:
    """All (kind, colour, motion) that actors of a split may have; 10 % belong to ``heldout``."""
    every = [(kind, color, motion) for kind in KINDS for color in COLORS for motion in MOTIONS]
    held = [zlib.crc32(" ".join(triple).encode()) % _HELDOUT == 0 for triple in every]
    return tuple(t for t, out in zip(every, held, strict=True) if out == (split == "heldout"))


def sample_script(
    seed: int,
    split: Split,
    index: int,
    *,
    frames: int = 16,
    fps: float = 8.0,
    resolution: int = 32,
) -> Script:
    """The script of one scene; the same arguments give the same scene on any machine.

    ``frames``, ``fps`` and ``resolution`` change only how the scene is sampled, not what happens.
    """
    rng = np.random.default_rng((seed, SPLITS.index(split), index))
    background = BACKGROUNDS[rng.integers(len(BACKGROUNDS))]
    count = 2 if rng.random() < _TWO_ACTORS else 1
    while True:  # until the two differ in colour and both can be seen
        pairs = [_sample_actor(rng, split, n) for n in range(count)]
        entities, actors = zip(*pairs, strict=True)
        if count == 1 or (entities[0].color != entities[1].color and _readable(actors)):
            break
    shot = Shot(frames, tuple(actors))
    return Script(tuple(entities), (Scene(background, (shot,)),), fps, (resolution, resolution))


def _sample_actor(rng: np.random.Generator, split: Split, n: int) -> tuple[Entity, Actor]:
    choices = combinations(split)
    kind, color, motion = choices[rng.integers(len(choices))]
    size = SIZES[rng.integers(len(SIZES))]
    ways = _ways(size, motion)
    travel, (x_low, x_high, y_low, y_high) = ways[rng.integers(len(ways))]
    x, y = int(rng.integers(x_low, x_high + 1)), int(rng.integers(y_low, y_high + 1))
    start, end = grammar.place(size, motion, travel, x, y)
    return Entity(f"e{n}", kind, color, size), Actor(f"e{n}", motion, start, end, z=n)


@functools.cache
def _ways(size: str, motion: str) -> tuple[tuple[int, tuple[int, int, int, int]], ...]:
    """Travels that a motion may have, with the first centres that keep it inside the frame."""
    least, most = _RADIUS if motion == "orbit" else _TRAVEL
    travels = [k for k in range(grammar.GRID) if k == 0 or least <= k <= most]
    spans = [(k, grammar.start_range(size, motion, k)) for k in travels]
    return tuple((k, span) for k, span in spans if span is not None)


def _readable(actors: tuple[Actor, ...]) -> bool:
    """Whether enough of the rear actor shows: they may pass, but one must not hide the other."""
    u_T = np.linspace(0, 1, 16)
    back_T4, front_T4 = (path(actor, u_T) for actor in actors)
    gap_T2 = np.abs(back_T4[:, :2] - front_T4[:, :2])
    reach_T2 = (back_T4[:, 2:] + front_T4[:, 2:]) / 2
    both_T2 = np.clip(reach_T2 - gap_T2, 0, np.minimum(back_T4[:, 2:], front_T4[:, 2:]))
    hidden_T = both_T2.prod(1) / back_T4[:, 2:].prod(1)
    mean, worst = _HIDDEN
    return bool(hidden_T.mean() <= mean and hidden_T.max() <= worst)


class Scenes:
    """The embedded data as a source: ``Scenes(...)[i]`` is an ``Example``.

    Captions are by turns English (even indices) and Chinese (odd). Random access, picklable.
    """

    name = "scenes"

    def __init__(
        self,
        split: Split = "train",
        *,
        seed: int = 0,
        resolution: int = 32,
        frames: int = 16,
        fps: float = 8.0,
        length: int = 20_000,
    ) -> None:
        self.split, self.seed, self.length = split, seed, length
        self.resolution, self.frames, self.fps = resolution, frames, fps

    def __repr__(self) -> str:
        return (
            f"Scenes({self.split!r}, seed={self.seed}, resolution={self.resolution}, "
            f"frames={self.frames}, fps={self.fps}, length={self.length})"
        )

    def __len__(self) -> int:
        return self.length

    def script(self, index: int) -> Script:
        """The script alone, many times faster than the whole example."""
        return sample_script(
            self.seed,
            self.split,
            range(self.length)[index],
            frames=self.frames,
            fps=self.fps,
            resolution=self.resolution,
        )

    def __getitem__(self, index: int) -> Example:
        index = range(self.length)[index]  # IndexError past the end; negative counts from the end
        script = self.script(index)
        rng = np.random.default_rng((self.seed, SPLITS.index(self.split), index, 1))
        caption = captions.caption(script, rng, language="zh" if index % 2 else "en")
        return Example(video=render(script), caption=caption, fps=self.fps, script=script)
