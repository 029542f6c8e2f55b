"""Stories: outlines as people might have them in mind, and prompts that say them.

A prompt is a deterministic function of (seed, split, index). ``heldout`` uses sentence forms that
``train`` and ``test`` never use (``pieces.Draw``), and combinations of kind, colour and motion that
they never show (``combinations``). ``train`` has more of what is hard: two actors, how they lie to
each other, in English the second spoken of first (``pieces.Draw.either``). Some prompts are mixed,
misspelt or have words that nobody knows, and some stand beside a picture that says the rest.
"""

import dataclasses
import functools
import zlib
from collections.abc import Sequence

import numpy as np

from jaxvid.data import chinese, english
from jaxvid.data.noise import babble, misspell, mix
from jaxvid.data.pieces import LANGUAGES, Draw, Language, Wording, join
from jaxvid.data.render import render_shot
from jaxvid.data.source import Split
from jaxvid.models.prompt import PICTURE
from jaxvid.outline import ANY, GRID, MAX_LOOKS, TO, VALUES, Look, Outline, Part, Take
from jaxvid.script import COLORS, KINDS, MOTIONS, SIZES, Script
from jaxvid.staging import stage

SPLITS: tuple[Split, ...] = ("train", "test", "heldout")
Combination = tuple[str, str, str]  # kind, colour, motion
WORDERS = {"en": english, "zh": chinese}

_HELDOUT = 10  # one combination in so many is held out
_TRIES = 8  # wordings, until one is short enough
_FAR = 1.2  # times the length: of a longer wording the outline is given up


@functools.cache
def combinations(split: Split) -> tuple[Combination, ...]:
    """All (kind, colour, motion) that a split may have; 10 % belong to ``heldout``."""
    every = [(kind, color, motion) for kind in KINDS for color in COLORS for motion in MOTIONS]
    held = [zlib.crc32(" ".join(triple).encode()) % _HELDOUT == 0 for triple in every]
    return tuple(t for t, out in zip(every, held, strict=True) if out == (split == "heldout"))


@dataclasses.dataclass(frozen=True, eq=False)
class Story:
    """A prompt with the outline that it says, ``kind`` of noise, and the picture if there is one.

    ``picture`` uint8 (64,64,3): the first frame of ``script``; both None without one.
    """

    wording: Wording
    outline: Outline
    language: Language
    noise: str  # none, mixed, misspelt, babble
    picture: np.ndarray | None = None
    script: Script | None = None


def story(
    seed: int,
    split: Split,
    index: int,
    *,
    takes: int | None = None,
    length: int = 256,
    language: Language | None = None,
    noise: str | None = None,
    picture: bool | None = None,
) -> Story:
    """The story of an index; what is None is drawn: 1 to 3 takes, the language, noise, a picture.

    ``length``: bytes of UTF-8 at most; an outline is drawn again if a wording of it is far longer,
    or the first eight are. Two calls that differ in ``language`` alone say the same outline, if
    neither draws again.
    """
    rng = np.random.default_rng((seed, SPLITS.index(split), index))
    draw = Draw(rng)
    draw.training = split == "train"
    if takes is None:
        takes = 1 if draw.chance(0.5) else 2 if draw.chance(0.65) else 3
    if picture is None:
        picture = takes == 1 and draw.chance(0.25)
    drawn = LANGUAGES[int(draw.chance(0.5))]
    kind = draw.pick(("none",) * 5 + ("babble", "babble", "mixed", "misspelt", "misspelt"))
    language, noise = language or drawn, noise or kind
    while True:
        outline, script = sample_outline(draw, split, takes, picture)
        # Wordings have a stream of their own: twins in two languages must share the outline.
        words = Draw(np.random.default_rng((seed, SPLITS.index(split), index, 1)))
        words.heldout, words.training = split == "heldout", split == "train"
        for _ in range(_TRIES):
            wording = word(outline, words, language, picture=picture, noise=noise)
            size = len(wording.text.encode())
            if size > _FAR * length:
                break  # a shorter outline is sooner found than a wording of this one
            if size <= length:
                side = (PICTURE, PICTURE)
                image = render_shot(script, 0, 0, frames=1, size=side)[0] if script else None
                return Story(wording, outline, language, noise, image, script)


def word(
    outline: Outline,
    draw: Draw,
    language: Language,
    *,
    picture: bool = False,
    plain: bool = False,
    noise: str = "none",
) -> Wording:
    """A prompt that says the outline; ``plain``: as the caption of a clip would."""
    pieces = WORDERS[language].pieces(outline, draw, picture=picture, plain=plain)
    if noise == "mixed":
        other = WORDERS["zh" if language == "en" else "en"]
        pieces = mix(pieces, outline, draw, other.WORDS)
    elif noise == "misspelt":
        pieces = misspell(pieces, draw)
    elif noise == "babble":
        pieces = babble(pieces, draw, language)
    return join(pieces)


def sample_outline(
    draw: Draw, split: Split, takes: int, picture: bool = False
) -> tuple[Outline, Script | None]:
    """What somebody has in mind; with the script of the picture that shows it, where there is."""
    while True:
        outline, script = (
            _pictured(draw, split) if picture else (_imagined(draw, split, takes), None)
        )
        shown = {
            (outline.looks[part.who].kind, outline.looks[part.who].color, part.motion)
            for take in outline.takes
            for part in take.parts
        }
        # looks meet again with other motions, and give way to each other's colours
        if split == "heldout" or shown.isdisjoint(combinations("heldout")):
            return outline, script


def _imagined(draw: Draw, split: Split, takes: int) -> Outline:
    looks: list[Look] = []
    made = [_take(draw, split, looks, i, takes) for i in range(takes)]
    return Outline(tuple(looks), tuple(made))


def _take(draw: Draw, split: Split, looks: list[Look], i: int, takes: int) -> Take:
    """A take; adds the looks that it brings to ``looks``."""
    count = 2 if draw.either(0.4, 0.75 if takes == 1 else 0.5) else 1
    who: list[int] = []
    twins = count == 2 and len(looks) + 2 <= MAX_LOOKS and draw.chance(0.15)
    combos = combinations(split)
    motions: list[str] = []
    for _ in range(count):
        kind, color, motion = combos[int(draw.rng.random() * len(combos))]
        old = [n for n in range(len(looks)) if n not in who]
        if old and (draw.chance(0.5) or len(looks) == MAX_LOOKS) and not twins:
            who.append(draw.pick(old))
        elif twins and who:
            looks.append(looks[who[0]])
            who.append(len(looks) - 1)
            motion = motions[0]
        elif len(looks) < MAX_LOOKS:
            looks.append(_look(draw, kind, color, looks))
            who.append(len(looks) - 1)
        else:
            continue
        motions.append(motion)
    parts = [_part(draw, n, motion, takes) for n, motion in zip(who, motions, strict=True)]
    if twins and len(parts) == 2:
        parts[1] = dataclasses.replace(parts[0], who=parts[1].who)
    if any(looks.count(looks[n]) > 1 for n in who) and not twins:
        # "the red circle" would be one of two: they only appear together, as twins do
        parts = parts[:1] if looks.count(looks[who[0]]) == 1 else parts
    between = {"depth": ANY, "side": ANY}
    if len(parts) == 2 and not twins and draw.chance(0.12):  # two looks, one doing
        a, b = parts
        parts[1] = dataclasses.replace(b, motion=a.motion, then=a.then, speed=a.speed)
    if len(parts) == 2 and not twins:
        parts, between = _relate(draw, parts)
    tone, pattern = _background(draw, 0.55 if i == 0 else 0.3)
    camera = draw.pick(VALUES["camera"][1:]) if draw.chance(0.13) else "still"
    link = draw.pick(("cut", "cut", "cut", "fade", "fade", "wipe", "wipe"))
    link = link if i + 1 < takes else "cut"
    return Take(tuple(parts), tone, pattern, camera, link=link, **between)


def _look(draw: Draw, kind: str, color: str, others: Sequence[Look]) -> Look:
    """Mostly kind and colour; always something that no other look has."""
    size = draw.pick(SIZES) if draw.chance(0.45) else ANY
    look = Look(kind if draw.chance(0.94) else ANY, color if draw.chance(0.84) else ANY, size)
    if not others:
        return look
    # One that is like the last but for its size: "the small one" and "the large one".
    other = others[-1]
    sizes = [s for s in SIZES if dataclasses.replace(other, size=s) not in others]
    if ANY not in (other.kind, other.size) and sizes and draw.chance(0.15):
        return dataclasses.replace(other, size=draw.pick(sizes))
    # Beside others, colours differ where both have one, else kinds: "the red one" is one of them.
    colors = {other.color for other in others}
    kinds = {other.kind for other in others}
    if not {look.kind, ANY} & {*kinds, *colors} and look.kind != ANY and draw.chance(0.1):
        return dataclasses.replace(look, color=others[0].color)
    if look.color in colors or look.color == ANY or ANY in colors:
        free = [k for k in KINDS if k not in kinds]
        kind = look.kind if look.kind in free else draw.pick(free)
        color = draw.pick([c for c in COLORS if c not in colors])
        return Look(kind, ANY if ANY not in kinds and draw.chance(0.35) else color, size)
    return dataclasses.replace(look, kind=other.kind) if draw.chance(0.12) else look


def _part(draw: Draw, who: int, motion: str, takes: int) -> Part:
    motion = ANY if draw.chance(0.06) else motion
    then = "none"
    if draw.chance(0.28 if takes == 1 else 0.1):
        others = [m for m in MOTIONS if m != motion]
        then = draw.pick(("still", "gone")) if draw.chance(0.35) else draw.pick(others)
        then = "gone" if then == motion or motion == ANY else then
    speed = "normal"
    if motion not in (ANY, "still") and draw.chance(0.16):
        speed = draw.pick(("slow", "fast"))
    x = y = ANY
    if draw.chance(0.3 if motion == "still" else 0.14):
        x = draw.pick((ANY, "left", "center", "right"))
        y = draw.pick((ANY, "top", "center", "bottom"))
        if "center" in (x, y):  # the middle is one place
            x = y = "center"
    return Part(who, motion, then, speed, x, y)


def _relate(draw: Draw, parts: list[Part]) -> tuple[list[Part], dict[str, str]]:
    """Relations between two parts, often none."""
    between = {"depth": ANY, "side": ANY}
    if draw.either(0.26):
        n, way = int(draw.either(0.3)), draw.pick((*TO, TO[0]))
        other = way if draw.chance(0.2) else "still" if draw.chance(0.6) else ANY
        if draw.chance(0.25):  # one chases, the other flees
            other = TO[1 - TO.index(way)]
        parts[n] = dataclasses.replace(parts[n], motion=way, x=ANY, y=ANY)
        parts[1 - n] = dataclasses.replace(
            parts[1 - n], motion=other, then="none", speed="normal", x=ANY, y=ANY
        )
    if draw.either(0.3):
        between["depth"] = draw.pick(("behind", "front"))
    elif draw.either(0.3):
        between["side"] = draw.pick(VALUES["side"][1:])
        parts = [dataclasses.replace(part, x=ANY, y=ANY) for part in parts]
    if between["depth"] != between["side"] and draw.chance(0.45):  # where it is, and no more
        parts[0] = _idle(parts[0])
        parts[1] = _idle(parts[1]) if draw.chance(0.5) else parts[1]
    return parts, between


def _idle(part: Part) -> Part:
    """The part without a motion, unless it goes to the other one."""
    if part.motion in TO:
        return part
    return dataclasses.replace(part, motion=ANY, then="none", speed="normal")


def _background(draw: Draw, share: float) -> tuple[str, str]:
    tone, pattern = draw.pick(VALUES["tone"][1:]), draw.pick(VALUES["pattern"][1:])
    if not draw.chance(share):
        return ANY, ANY
    if draw.chance(0.6):
        return tone, pattern
    return (tone, ANY) if draw.chance(0.6) else (ANY, pattern)


def _pictured(draw: Draw, split: Split) -> tuple[Outline, Script]:
    """One or two looks of a picture, each where it is."""
    looks: list[Look] = []
    take = _take(draw, split, looks, 0, 1)
    while len(looks) == 2 and looks[0] == looks[1]:
        looks.clear()
        take = _take(draw, split, looks, 0, 1)
    parts = [dataclasses.replace(part, x=ANY, y=ANY) for part in take.parts]
    # Who moves is spoken of first; who just stands there, or of whom nothing is said, last.
    parts.sort(key=lambda part: {"still": 2, ANY: 1}.get(part.motion, 0))
    full = [_whole(draw, looks[part.who]) for part in parts]
    parts = [dataclasses.replace(part, who=n) for n, part in enumerate(parts)]
    for n, part in enumerate(parts):
        if "zoom_in" in (part.motion, part.then):  # starts at half its size: only that can be seen
            full[n] = dataclasses.replace(full[n], size="large")
    if len(full) == 2 and full[0].color == full[1].color:
        free = [c for c in COLORS if c != full[0].color]
        full[1] = dataclasses.replace(full[1], color=draw.pick(free))
    take = dataclasses.replace(
        take, parts=tuple(parts), depth=ANY, side=ANY,
        tone=draw.pick(VALUES["tone"][1:]), pattern=draw.pick(VALUES["pattern"][1:]),
    )  # fmt: skip
    script = stage(Outline(tuple(full), (take,)), draw.rng, frames=16)
    return _seen(Outline(tuple(full), (take,)), script), script


def _whole(draw: Draw, look: Look) -> Look:
    """The look without ``any``."""
    values = zip(dataclasses.astuple(look), (KINDS, COLORS, SIZES), strict=True)
    return Look(*(draw.pick(options) if said == ANY else said for said, options in values))


def _seen(outline: Outline, script: Script) -> Outline:
    """The outline with the places where the script's first frame shows its looks; of two that do
    the same, the left one first."""
    actors = {actor.entity: actor for actor in reversed(script.scenes[0].shots[0].actors)}
    take = outline.takes[0]
    parts = []
    for part in take.parts:
        x, y, w, h = actors[f"e{part.who}"].start
        at = (str(round((x + w / 2) * GRID)), str(round((y + h / 2) * GRID)))
        parts.append(dataclasses.replace(part, x=at[0], y=at[1]))
    looks = outline.looks
    if len(parts) == 2 and int(parts[0].x) > int(parts[1].x) and _alike(*parts):
        # "both jump" names none first: the left one is
        looks = looks[::-1]
        parts = [dataclasses.replace(part, who=n) for n, part in enumerate(reversed(parts))]
    return Outline(looks, (dataclasses.replace(take, parts=tuple(parts)),))


def _alike(one: Part, other: Part) -> bool:
    """Whether both do the same."""
    return (one.motion, one.then, one.speed) == (other.motion, other.then, other.speed)
