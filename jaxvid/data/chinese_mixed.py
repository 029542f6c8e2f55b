"""The words of ``chinese`` and of ``english`` that ``noise.mix`` puts into the other language."""

from collections.abc import Mapping, Sequence

from jaxvid.data import chinese_words as w
from jaxvid.data import english_words as e

Words = Mapping[str, Mapping[str, tuple[str, ...]]]


def _forms(table: Mapping[str, Sequence[Sequence[str]]]) -> dict[str, tuple[str, ...]]:
    """Of English verbs "move", "moves" and "moving"."""
    return {v: tuple(verb[n] for verb in verbs for n in (0, 1, 3)) for v, verbs in table.items()}


_GO = ("move", "go", "fly", "moving", "slide")
_MOVES = {v: tuple(f"{go} {way}" for way in ws for go in _GO) for v, ws in e.WAYS.items()}
_MOVES = {**_MOVES, **_forms({k: v for k, v in e.ACTS.items() if k not in e.WAYS}), **_forms(e.TO)}
ENGLISH: Words = {
    "motion": _MOVES,
    "then": {**_MOVES, **_forms({"still": e.STOP, "gone": e.GONE})},
    "camera": {
        v: tuple(f"{lens}{n[0]}" for n in verbs for lens in ("camera ", "镜头 "))
        for v, verbs in e.CAMERAS.items()
    },
    "link": {
        "fade": ("fade to", "crossfade to", "fade", "fade out", "dissolve"),
        "wipe": ("wipe to", "wipe"),
    },
    "speed": {v: (*e.BEFORE[v], *e.AFTER[v], f"very {v}", f"super {v}") for v in e.BEFORE},
    "pattern": {**e.PATTERNS, "grid": ("grid",), "noise": ("noise", "textured", "noisy")},
    "x": {"left": ("left", "left side"), "right": ("right", "right side")},
    "y": {"top": ("top",), "bottom": ("bottom",)},
}
_ROUTES = {
    v: tuple(f"{to}{way}{go}" for to in "向往" for way in ways for go in ("移动", "飞", "走"))
    for v, ways in w.WAYS.items()
}
_TO = {v: tuple(o[:-1] for o in os if o[-1] == "O") for v, os in w.TO_OTHER.items()}
_ACTS = {**w.ACTS, **{v: (*_ROUTES[v], *w.ACTS[v]) for v in _ROUTES}, **_TO}
CHINESE: Words = {
    "motion": _ACTS,
    "then": {**_ACTS, **w.THENS},
    "camera": w.CAMERAS,
    "link": w.EFFECTS,
    "speed": w.SPEEDS,
    "pattern": w.PATTERNS,
}
TOGETHER = {  # both to each other, or from each other
    "towards": ("互相 approach", "互相 approach 对方", "move closer 彼此", "互相 move closer"),
    "away": ("互相 move away", "互相 run away", "互相 move apart", "彼此 drift apart"),
}
THERE = {  # one to the other, or from it, which is not named
    "towards": ("approach", "come closer", "chase", "过去 chase", "去 follow", "get closer"),
    "away": ("run away", "move away", "escape", "flee", "back off", "就 run away", "retreat"),
}
GLUE = (  # what states nothing
    *(("然后", "then"), ("同时", "meanwhile"), ("背景", "background"), ("这时", "while")),
    *(("下一个镜头", "next shot"), ("视频", "video"), ("谢谢", "thanks"), ("之后", "after that")),
    *(("第一个镜头", "the first shot"), ("第二个镜头", "the second shot"), ("镜头一", "shot one")),
    *(("镜头1", "shot 1"), ("镜头2", "shot 2"), ("镜头3", "shot 3"), ("镜头二", "shot two")),
    *(("场景1", "scene 1"), ("场景2", "scene 2"), ("场景一", "scene one"), ("切换到", "cut to")),
    *(("场景二", "scene two"), ("切到", "cut to"), ("最后", "finally"), ("开头", "opening")),
)
