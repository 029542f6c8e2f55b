"""Captions of a script in English and Chinese, in many phrasings.

Kind, colour and motion of every actor are always said. Sizes and background are sometimes left
out, and so is which of two actors is nearer: then they are mentioned from back to front. Two actors
never share a colour, so "the red one" is unambiguous.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Literal, TypeVar

import numpy as np

from jaxvid.script import Actor, Entity, Script

Language = Literal["en", "zh"]
Words = Mapping[Language, Mapping[str, tuple[str, ...]]]  # a synonym twice is twice as likely
LANGUAGES: tuple[Language, ...] = ("en", "zh")
AIM = 120  # bytes of UTF-8; longer wordings are drawn again
TRIES = 12
SAY_SIZE, SAY_BACKGROUND, SAY_DEPTH = 0.75, 0.6, 0.6  # probabilities


@dataclasses.dataclass(frozen=True)
class Caption:
    """A caption and what it says beside kind, colour and motion; ``sizes`` from back to front."""

    text: str
    language: Language
    sizes: tuple[bool, ...]
    background: bool
    depth: bool


KINDS: Words = {
    "en": {
        "circle": ("circle", "circle", "disc", "dot"),
        "square": ("square", "square", "box"),
        "triangle": ("triangle",),
        "star": ("star",),
        "diamond": ("diamond", "rhombus"),
        "cross": ("cross", "plus sign"),
        "ring": ("ring", "hoop"),
        "heart": ("heart",),
    },
    "zh": {
        "circle": ("圆形", "圆点", "圆"),
        "square": ("正方形", "方块", "方形"),
        "triangle": ("三角形", "三角"),
        "star": ("星形", "星星", "五角星"),
        "diamond": ("菱形",),
        "cross": ("十字", "十字形", "加号"),
        "ring": ("圆环", "环形"),
        "heart": ("心形", "爱心"),
    },
}
COLORS: Words = {
    "en": {
        "red": ("red", "red", "crimson"),
        "orange": ("orange",),
        "yellow": ("yellow",),
        "green": ("green",),
        "cyan": ("cyan", "turquoise"),
        "blue": ("blue",),
        "purple": ("purple", "violet"),
        "pink": ("pink",),
    },
    "zh": {
        "red": ("红色",),
        "orange": ("橙色", "橘色"),
        "yellow": ("黄色",),
        "green": ("绿色",),
        "cyan": ("青色",),
        "blue": ("蓝色",),
        "purple": ("紫色",),
        "pink": ("粉色", "粉红色"),
    },
}
SIZES: Words = {
    "en": {
        "small": ("small", "small", "little", "tiny"),
        "medium": ("medium", "medium-sized", "mid-sized"),
        "large": ("large", "big", "big", "huge"),
    },
    "zh": {
        "small": ("小", "小小的", "小的"),
        "medium": ("中等的", "中号的", "中等大小的"),
        "large": ("大", "大的", "巨大的"),
    },
}
TONES: Words = {
    "en": {
        "light": ("light", "bright", "pale"),
        "dark": ("dark",),
        "warm": ("warm",),
        "cool": ("cool", "cold"),
    },
    "zh": {
        "light": ("浅色", "亮色"),
        "dark": ("深色", "暗色"),
        "warm": ("暖色", "暖色调"),
        "cool": ("冷色", "冷色调"),
    },
}
PATTERNS: Words = {  # {} is the tone
    "en": {
        "plain": ("a {} background", "a plain {} background"),
        "gradient": ("a {} gradient", "a {} gradient background"),
        "grid": ("a {} grid", "a {} grid background"),
        "noise": ("a {} noise texture", "a {} cloudy background", "a {} textured background"),
    },
    "zh": {
        "plain": ("{}背景", "{}纯色背景"),
        "gradient": ("{}渐变背景", "{}渐变"),
        "grid": ("{}网格", "{}网格背景"),
        "noise": ("{}噪点背景", "{}纹理背景", "{}云纹背景"),
    },
}
GO_EN = (  # finite form, participle
    ("moves", "moving"),
    ("moves", "moving"),
    ("goes", "going"),
    ("drifts", "drifting"),
    ("slides", "sliding"),
    ("travels", "travelling"),
)
WAYS_EN = {
    "right": ("to the right", "right", "rightwards", "from left to right"),
    "left": ("to the left", "left", "leftwards", "from right to left"),
    "up": ("up", "upwards", "to the top"),
    "down": ("down", "downwards", "to the bottom"),
    "up_right": ("to the upper right", "to the top right", "up and to the right", "up right"),
    "up_left": ("to the upper left", "to the top left", "up and to the left", "up left"),
    "down_right": ("to the lower right", "to the bottom right", "down and right", "down right"),
    "down_left": ("to the lower left", "to the bottom left", "down and left", "down left"),
}
ACTS_EN = {
    "bounce": (
        ("bounces", "bouncing"),
        ("hops", "hopping"),
        ("jumps up and down", "jumping up and down"),
    ),
    "orbit": (
        ("moves in a circle", "moving in a circle"),
        ("circles around", "circling around"),
        ("goes round and round", "going round and round"),
    ),
    "zoom_in": (
        ("grows", "growing"),
        ("gets bigger", "getting bigger"),
        ("zooms in", "zooming in"),
    ),
    "zoom_out": (
        ("shrinks", "shrinking"),
        ("gets smaller", "getting smaller"),
        ("zooms out", "zooming out"),
    ),
    "still": (
        ("stays still", "staying still"),
        ("stands still", "standing still"),
        ("does not move", "not moving"),
    ),
}
GO_ZH = ("移动", "移动", "移动", "滑动", "运动", "走")
WAYS_ZH = {
    "right": ("右", "右边", "右侧"),
    "left": ("左", "左边", "左侧"),
    "up": ("上", "上方"),
    "down": ("下", "下方"),
    "up_right": ("右上", "右上方", "右上角"),
    "up_left": ("左上", "左上方", "左上角"),
    "down_right": ("右下", "右下方", "右下角"),
    "down_left": ("左下", "左下方", "左下角"),
}
ACTS_ZH = {
    "bounce": ("弹跳", "上下跳动", "蹦跳"),
    "orbit": ("转圈", "绕圈移动", "做圆周运动"),
    "zoom_in": ("变大", "逐渐变大", "放大"),
    "zoom_out": ("变小", "逐渐变小", "缩小"),
    "still": ("静止不动", "保持静止", "停在原地"),
}
# {a} noun phrase, {v} finite verb, {g} participle (Chinese: modifier), {c} "the red one", {o} the
# place; 0 is the actor at the back. ``{o}`` brings its own preposition and space, or is empty.
ONE: Mapping[Language, tuple[str, ...]] = {
    "en": (
        "{a0} {v0}{o}",
        "{a0} {v0}{o}",
        "{a0} {g0}{o}",
        "{a0}{o} {v0}",
        "there is {a0}{o}, it {v0}",
        "there is {a0} that {v0}{o}",
        "a video of {a0} {g0}{o}",
    ),
    "zh": (
        "{a0}{o}{v0}",
        "{a0}{o}{v0}",
        "{o}{a0}{v0}",
        "{o}有{a0},它{v0}",
        "{o}有{g0}{a0}",
        "{g0}{a0}{o}",
    ),
}
TWO_SAID: Mapping[Language, tuple[str, ...]] = {
    "en": (
        "{a0} {v0} behind {a1} that {v1}{o}",
        "{a0} {g0} behind {a1} {g1}{o}",
        "{a0} {v0}{o}, in front of it {a1} {v1}",
        "{a1} {v1} in front of {a0} that {v0}{o}",
        "{a1} {g1} in front of {a0} {g0}{o}",
        "{a1} {v1}{o}, behind it {a0} {v0}",
        "behind {a1} that {v1}, {a0} {v0}{o}",
    ),
    "zh": (
        "{o}{a0}在{g1}{a1}后面{v0}",
        "{o}{a0}在{a1}后面{v0},{c1}{v1}",
        "{o}{a0}{v0},{a1}在它前面{v1}",
        "{o}{a1}在{g0}{a0}前面{v1}",
        "{o}{a1}在{a0}前面{v1},{c0}{v0}",
        "{o}{a1}{v1},{a0}在它后面{v0}",
    ),
}
TWO_UNSAID: Mapping[Language, tuple[str, ...]] = {
    "en": (
        "{a0} {v0} and {a1} {v1}{o}",
        "{a0} {v0} while {a1} {v1}{o}",
        "{a0} {g0}, {a1} {g1}{o}",
        "{a0} and {a1}{o}: {c0} {v0}, {c1} {v1}",
        "there is {a0} that {v0} and {a1} that {v1}{o}",
    ),
    "zh": (
        "{o}{a0}{v0},{a1}{v1}",
        "{o}{a0}{v0},同时{a1}{v1}",
        "{o}有{a0}和{a1},{c0}{v0},{c1}{v1}",
        "{o}有{g0}{a0}和{g1}{a1}",
    ),
}


T = TypeVar("T")


class _Draw:
    """Choices that depend on a generator; without one, always the first and never."""

    def __init__(self, rng: np.random.Generator | None) -> None:
        self.rng = rng

    def pick(self, options: Sequence[T]) -> T:
        # random() costs a tenth of integers() and choice().
        return options[int(self.rng.random() * len(options))] if self.rng else options[0]

    def chance(self, probability: float) -> bool:
        return self.rng is not None and bool(self.rng.random() < probability)


def caption(script: Script, rng: np.random.Generator, *, language: Language | None = None) -> str:
    """What the first shot shows, in at most ``AIM`` bytes of UTF-8; see ``describe``."""
    return describe(script, rng, language=language).text


def describe(
    script: Script, rng: np.random.Generator, *, language: Language | None = None
) -> Caption:
    """A caption of the first shot (one or two actors), and what it says.

    ``language`` None draws one. What is left out, and the wording, come from ``rng``.
    """
    language = language or LANGUAGES[int(rng.random() * 2)]
    scene = script.scenes[0]
    actors = sorted(scene.shots[0].actors, key=lambda actor: actor.z)
    entities = {entity.id: entity for entity in script.entities}
    cast = [(entities[actor.entity], actor) for actor in actors]
    draw = _Draw(rng)
    sizes = tuple(draw.chance(SAY_SIZE) for _ in cast)
    place = scene.background if draw.chance(SAY_BACKGROUND) else None
    depth = len(cast) == 2 and draw.chance(SAY_DEPTH)
    for _ in range(TRIES):
        text = _word(draw, language, cast, sizes, place, depth)
        if len(text.encode()) <= AIM:
            return Caption(text, language, sizes, place is not None, depth)
        sizes, place = _less(draw, sizes, place)
    text = _word(_Draw(None), language, cast, (False,) * len(cast), None, depth)  # the shortest
    return Caption(text, language, (False,) * len(cast), False, depth)


def _less(
    draw: _Draw, sizes: tuple[bool, ...], place: str | None
) -> tuple[tuple[bool, ...], str | None]:
    """Often the same again, sometimes without the background or without a size."""
    if place is not None and draw.chance(0.3):
        return sizes, None
    return tuple(size and not draw.chance(0.15) for size in sizes), place


def _word(
    draw: _Draw,
    language: Language,
    cast: list[tuple[Entity, Actor]],
    sizes: tuple[bool, ...],
    place: str | None,
    depth: bool,
) -> str:
    forms = (ONE if len(cast) == 1 else TWO_SAID if depth else TWO_UNSAID)[language]
    words: dict[str, str] = {}
    for n, ((entity, actor), sized) in enumerate(zip(cast, sizes, strict=True)):
        parts = (_english if language == "en" else _chinese)(draw, entity, actor.motion, sized)
        words |= {f"{key}{n}": part for key, part in parts.items()}
    form = draw.pick(forms)
    if language == "en":
        on = _place_english(draw, place)
        if on and draw.chance(0.2):
            form, on = f"{on[1:]}, {form}", ""
        text = form.format(o=on, **words)
        return f"{text[0].upper()}{text[1:]}." if draw.chance(0.25) else text
    text = form.format(o=_place_chinese(draw, place, form), **words)
    text = text.replace(",", "\uff0c") if draw.chance(0.5) else text  # the full-width comma
    return text + "\u3002" if draw.chance(0.25) else text


def _english(draw: _Draw, entity: Entity, motion: str, sized: bool) -> dict[str, str]:
    color, kind = (draw.pick(t["en"][v]) for t, v in ((COLORS, entity.color), (KINDS, entity.kind)))
    noun = f"{draw.pick(SIZES['en'][entity.size])} {color} {kind}" if sized else f"{color} {kind}"
    if motion in WAYS_EN:
        way = draw.pick(WAYS_EN[motion])
        finite, participle = (f"{form} {way}" for form in draw.pick(GO_EN))
    else:
        finite, participle = draw.pick(ACTS_EN[motion])
    article = "an" if noun[0] in "aeiou" else "a"
    return {"a": f"{article} {noun}", "c": f"the {color} one", "v": finite, "g": participle}


def _chinese(draw: _Draw, entity: Entity, motion: str, sized: bool) -> dict[str, str]:
    color, kind = (draw.pick(t["zh"][v]) for t, v in ((COLORS, entity.color), (KINDS, entity.kind)))
    of = draw.pick(("", "", "的"))
    size = draw.pick(SIZES["zh"][entity.size]) if sized else ""
    # "red big circle" needs a plain adjective; "big red circle" takes any.
    turned = bool(size) and draw.chance(0.3)
    noun = f"{color}的{size}{kind}" if turned else f"{size}{color}{of}{kind}"
    if motion in WAYS_ZH:
        verb = draw.pick("向向往朝") + draw.pick(WAYS_ZH[motion]) + draw.pick(GO_ZH)
    else:
        verb = draw.pick(ACTS_ZH[motion])
    one = "一颗" if entity.kind in ("star", "heart") and draw.chance(0.5) else "一个"
    noun = one + noun if draw.chance(0.4) else noun
    return {"a": noun, "c": f"{color}的", "v": verb, "g": f"{verb}的"}


def _place_english(draw: _Draw, place: str | None) -> str:
    if place is None:
        return ""
    tone, _, pattern = place.partition("_")
    what = draw.pick(PATTERNS["en"][pattern]).format(draw.pick(TONES["en"][tone]))
    return f" {draw.pick(('on', 'on', 'over', 'against'))} {what}"


def _place_chinese(draw: _Draw, place: str | None, form: str) -> str:
    if place is None:
        return ""
    tone, _, pattern = place.partition("_")
    what = draw.pick(PATTERNS["zh"][pattern]).format(draw.pick(TONES["zh"][tone]))
    if form.endswith("{o}"):
        return f",{what}"
    if form.startswith("{o}"):
        return draw.pick((f"{what}上,", f"在{what}上", f"{what}上"))
    return f"在{what}上"
