"""The embedded data: captioned scenes, each a deterministic function of (seed, split, index).

One actor (60 %) or two of different colours before one background. ``heldout`` shows combinations
of kind, colour and motion that ``train`` and ``test`` never show; ``test`` shows other scenes than
``train``. Scenes are staged outlines, as the planner's scripts are.
"""

import dataclasses
import types
from collections.abc import Mapping

import numpy as np

from jaxvid.data.pieces import LANGUAGES, Draw, Language, Wording
from jaxvid.data.render import render
from jaxvid.data.source import Example, Split
from jaxvid.data.stories import SPLITS, combinations, word
from jaxvid.outline import ANY, Look, Outline, Part, Take
from jaxvid.script import PATTERNS, SIZES, TONES, Script
from jaxvid.staging import stage

TWO_ACTORS = 0.4
SAY_SIZE, SAY_BACKGROUND, SAY_DEPTH = 0.75, 0.6, 0.6  # probabilities
CAPTION = 128  # bytes of UTF-8 at most


def sample_outline(seed: int, split: Split, index: int) -> Outline:
    """What happens in one scene, every look, motion and the background settled."""
    draw = Draw(np.random.default_rng((seed, SPLITS.index(split), index)))
    combos = combinations(split)
    count = 2 if draw.chance(TWO_ACTORS) else 1
    while True:
        chosen = [combos[int(draw.rng.random() * len(combos))] for _ in range(count)]
        if len({color for _, color, _ in chosen}) == count:
            break
    looks = tuple(Look(kind, color, draw.pick(SIZES)) for kind, color, _ in chosen)
    parts = tuple(Part(n, motion) for n, (_, _, motion) in enumerate(chosen))
    depth = draw.pick(("behind", "front")) if count == 2 else ANY
    return Outline(looks, (Take(parts, draw.pick(TONES), draw.pick(PATTERNS), depth=depth),))


def sample_script(
    seed: int, split: Split, index: int, *, frames: int = 16, fps: float = 8.0, resolution: int = 32
) -> Script:
    """The script of one scene; the same arguments give the same scene on any machine.

    ``frames``, ``fps`` and ``resolution`` change only how the scene is sampled, not what happens.
    """
    rng = np.random.default_rng((seed, SPLITS.index(split), index, 1))
    outline = sample_outline(seed, split, index)
    return stage(outline, rng, frames=frames, fps=fps, size=(resolution, resolution))


def caption(
    seed: int, split: Split, index: int, *, language: Language | None = None
) -> tuple[Wording, Outline]:
    """A caption of the scene and what it says: kinds, colours, motions, sometimes the rest.

    ``language`` None: English for even indices, Chinese for odd ones.
    """
    draw = Draw(np.random.default_rng((seed, SPLITS.index(split), index, 2)))
    language = language or LANGUAGES[index % 2]
    outline = sample_outline(seed, split, index)
    while True:
        said = leave_out(outline, draw)
        wording = word(said, draw, language, plain=True)
        if len(wording.text.encode()) <= CAPTION:
            return wording, said


def leave_out(outline: Outline, draw: Draw) -> Outline:
    """What a caption says of a scene. Where it says no depth, the later of two is in front."""
    looks = tuple(
        look if draw.chance(SAY_SIZE) else dataclasses.replace(look, size=ANY)
        for look in outline.looks
    )
    take = outline.takes[0]
    if not draw.chance(SAY_BACKGROUND):
        take = dataclasses.replace(take, tone=ANY, pattern=ANY)
    if take.depth == "behind" and not draw.chance(SAY_DEPTH):
        take = dataclasses.replace(take, depth=ANY)
    return Outline(looks, (take,))


class Scenes:
    """The embedded data as a source: ``Scenes(...)[i]`` is an ``Example``.

    Captions are by turns English (even indices) and Chinese (odd). Random access, picklable.
    """

    name = "scenes"
    labels: Mapping[str, tuple[str, ...]] = types.MappingProxyType({})  # scripts say all

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
        wording, _ = caption(self.seed, self.split, index)
        return Example(video=render(script), caption=wording.text, fps=self.fps, script=script)
