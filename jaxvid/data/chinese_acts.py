"""What the parts of a Chinese text do and where they are to each other, and freer ways to say so.

The lists of forms here are training's own: a held-out wording (``Draw``) takes none of them. Greek
letters in them, capital for the first part of a shot, small for the second (see ``chinese``):

    Ω where the other one is, from this one: "behind the box"   Φ hides the other, is hidden by it
    Σ stands still in its place   Θ circles around the other   Ψ goes to or from "there"
    Δ some rounds or hops   Λ two of a kind, "one red, one blue"   Π two, colours left for later
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from jaxvid.data import chinese_forms as f
from jaxvid.data import chinese_words as w
from jaxvid.data.pieces import Piece
from jaxvid.outline import ANY, TO
from jaxvid.script import DIRECTIONS

if TYPE_CHECKING:
    from jaxvid.data.chinese import Parts, _Story

# Two parts: the place first; both do the same; one hides; related first, what they do behind.
BESIDE = tuple("Ω有upv 在Ω有upv Ω有upv 在Ω,upv Ω,upv 只见Ω有upv Ω是upv".split())
BESIDE_MOVES = (*BESIDE, *"Ω有u,nphv Ω有u,npv 在Ω有u,nphv".split())
SAME = tuple("UR,两个都V NR,都V NR,它们AV NR,二者都V UR,俩都V NR,两个AV".split())
MUTUAL = tuple("NR,二者V UR,它们V NR,两个V UR,两者V NR,它们俩V".split())
HIDES = tuple("UΦ NΦ 只见NΦ NΦ".split())
RELATED = tuple("UR NR UR NR 一开始NR".split())  # and then what they do
CHASE = tuple("NΨ,nψ NΨ,npv NV,nψ NV,n则pv NV,n就ψ UΨ,uψ NV;nψ".split())
AROUND = tuple("NPΘq UPΘq 只见NPΘq NPΘq".split())
TOPIC = tuple("NPV;n呢,pv N呢,PV;n呢,pv NPV,n则pv N只管PV,n呢,就pv NPV,至于n,pv".split())
# Two new looks: of a kind, that differ, that do the same; likewise of colours told behind.
UNLIKE = tuple("Λ,NPV,npv Λ:NPV,npv 有Λ,NPV,npv 画面里有Λ,NPV,npv".split())
UNLIKE_SAME = tuple("Λ,AV Λ,都V 有Λ,它们AV ΛAV".split())
UNLIKE_RELATED = tuple("Λ,NRVq 有Λ,NRVq 画面里有Λ,NRVq".split())
LATER = tuple("Π,NPV,npv Π;NPV;npv 有Π,NPV,npv".split())
LATER_SAME = tuple("Π,都V Π,它们AV 有Π,两个AV".split())
LATER_RELATED = tuple("Π,NRVq 有Π,NRVq".split())
# One part: in its place; at first elsewhere; known and alone; known, of two that were there.
STAYS = tuple("NΣ UΣ NΣ 有UΣ 只见NΣ UΣ".split())
PLACED = tuple(
    "N,起初在L,随后V N起初在L,之后V N最初在L,接着V N先是在L,然后V N一开始在L,随后V".split()
)
KNOWN = tuple("这次NPV 轮到NPV N又PV N自己PV 画面里只有N,它PV 仍是N,它PV 接着NPV".split())
LEFT = tuple("只剩N,它PV 只剩下N,它PV 只有NPV 只剩NPV N自己PV N单独PV 就剩N,它PV".split())
# Some rounds, then something else.
COUNTS = tuple("先Δ,之后就T Δ,然后T 先Δ,再T Δ之后T 先Δ,最后T Δ就T Δ,接着T".split())
# To the next shot.
CUT = tuple("切镜.S 换个镜头,S 接着是S 后来是S 切,S 然后是S 镜头换了,S 画面一换,S".split())
SHIFT = tuple(
    "画面c,接着S c.S c,切换到S c,S 画面c,换成S 再c,S c,接着是S 用c切换,S 画面c.S c,Y是S".split()
)
ANY_LINK = tuple("CS 画面CS 镜头CS 接着CS 再CS".split())
LAST = {True: ("最后S", "最后是S", "最后一个镜头是S"), False: ("再c,最后S", "c,最后一个镜头是S")}
FIRST = tuple("先是S 开头是S 首先是S 先拍S 开场是S".split())

STANDS = (
    "停在",
    "停在",
    "停留在",
    "放在",
    "定格在",
    "待在",
    "悬停在",
    "静静地待在",
    "一动不动地停在",
    "定在",
    "静止在",
)
STANDING = ("静止", "一动不动", "不动", "站着不动", "停着")  # before 的
ONWARD = ("", "", "一路", "一直", "径直", "直直地", "一个劲儿")
ALWAYS = ("一直", "一直", "始终", "就那么")
CIRCLES = ("绕着O转圈", "围着O转", "绕着O转", "绕O盘旋", "围着O打转", "绕着O飞", "围着O绕圈")
COLORS = dict(zip(w.COLORS, "红橙黄绿青蓝紫粉", strict=True))


def free(story: _Story, probability: float) -> bool:
    """Whether a form of these lists is to be taken."""
    return not story.draw.heldout and story.draw.chance(probability)


def some(story: _Story, forms: tuple[str, ...], i: int, ks: Parts = (0,)) -> list[Piece]:
    """One of the forms said."""
    return story.fill(story.draw.pick(forms), i, ks)


# The text.


def numbers(story: _Story, numbered: bool) -> tuple[str, str]:
    """How shots are counted, and what stands behind the count."""
    draw = story.draw
    names = "123" if draw.chance(0.3) else "一二三"
    if numbered and free(story, 0.2):
        story.shot = draw.pick(("{}", "{}", "{}", "镜头{}", "画面{}"))
        names = "①②③" if story.shot == "{}" else "甲乙丙" if draw.chance(0.2) else "ABC"
        return names, draw.pick(("", "", ":")) if story.shot == "{}" else ":"
    if numbered and len(story.takes) == 2 and free(story, 0.1):
        story.shot = draw.pick(("{}一个", "{}一个镜头", "{}一段"))
        return "前后", draw.pick((":", "是", ","))
    colons = (":", ":", ":", ",", "是", "中,", " ")
    return names, draw.pick(colons) if free(story, 0.5) else ":"


def heading(story: _Story, numbered: bool) -> list[Piece]:
    """How many shots there are to be."""
    if not numbered or story.plain or not free(story, 0.2):
        return []
    count = "两三"[len(story.takes) - 2]
    heads = (f"{count}个镜头:", f"我想要{count}个镜头:", "分镜:", f"一共{count}幕:", "分镜脚本:")
    return [story.glue(story.draw.pick(heads))]


def start(story: _Story) -> tuple[str, ...]:
    """How the first of several shots begins."""
    return (story.draw.pick(FIRST),) if free(story, 0.25) else f.FIRST


def turn(story: _Story, i: int, *, cut: bool) -> tuple[str, ...]:
    """Forms that lead to take ``i``."""
    if i > 1 and free(story, 0.15):
        return (story.draw.pick(LAST[cut]),)
    if not story.static(i, (0,)) and free(story, 0.2):
        return (story.draw.pick(ANY_LINK),)
    if free(story, 0.35):
        return (story.draw.pick(CUT if cut else SHIFT),)
    return f.CUT if cut else f.SHIFT


# The parts of a shot.


def two(story: _Story, i: int) -> list[Piece]:
    """Both parts in a form of these, if one fits."""
    take = story.takes[i]
    a, b = take.parts
    idle, related, same = story.static(i, (0,)), story.related(i), story.same(i)
    bare = not any(story.placed(i, (k,)) for k in (0, 1))
    if story.seen(i):
        return []
    pair = _pair(story, i)
    if pair:
        return pair
    if a.motion in TO and b.motion in TO and same:
        return some(story, MUTUAL, i, (0, 1)) if related and bare and free(story, 0.35) else []
    if related:
        if idle and story.new(i, (1,)) and not story.placed(i, (0,)) and b.motion not in TO:
            forms = BESIDE if story.static(i, (1,)) else BESIDE_MOVES
            return some(story, forms, i) if free(story, 0.65) else []
        if take.side == ANY and free(story, 0.25):
            return _then_acts(story, i, some(story, HIDES, i))
        if same and bare and not idle and free(story, 0.45):
            return some(story, SAME, i, (0, 1))
        return [] if idle or not free(story, 0.4) else _then_acts(story, i, some(story, RELATED, i))
    if {a.motion, b.motion} == {*TO}:
        plain = all((p.then, p.speed) == ("none", "normal") for p in (a, b))
        return some(story, CHASE, i) if plain and bare and free(story, 0.6) else []
    if (a.motion, a.then, a.speed) == ("orbit", "none", "normal") and b.motion not in TO:
        return some(story, AROUND, i) if free(story, 0.4) else []
    loose = not (same or idle or story.static(i, (1,)) or a.motion in TO)
    return some(story, TOPIC, i) if loose and free(story, 0.2) else []


def _then_acts(story: _Story, i: int, said: list[Piece]) -> list[Piece]:
    """Behind a relation what the parts do, mostly by name: "it" might be the other one."""
    if story.draw.chance(0.6):
        story.cast.it = None
    return [*said, *story.fill("q" if story.static(i, (0,)) else ",NPVq", i)]


def _pair(story: _Story, i: int) -> list[Piece]:
    """Two new looks of a kind that differ, or two of which the colours are told behind."""
    parts = story.takes[i].parts
    a, b = (story.cast.looks[part.who] for part in parts)
    if story.cast.named or ANY in (a.kind, b.kind) or parts[1].motion in TO:
        return []
    if a.kind == b.kind:
        hues = ANY not in (a.color, b.color) and a.color != b.color and a.size == b.size == ANY
        fits, share = hues or (a.color == b.color and {a.size, b.size} == {"small", "large"}), 0.5
        forms = UNLIKE, UNLIKE_SAME, UNLIKE_RELATED
    else:
        fits, share = ANY not in (a.color, b.color), 0.1
        forms = LATER, LATER_SAME, LATER_RELATED
    if not fits or not free(story, share):
        return []
    if story.related(i) or parts[0].motion in TO:
        return some(story, forms[2], i)
    same = story.same(i) and not story.static(i, (0,)) and not story.placed(i, (0,))
    return some(story, forms[1], i, (0, 1)) if same else some(story, forms[0], i)


def one(story: _Story, i: int, ks: Parts) -> list[Piece]:
    """One part in a form of these, if one fits."""
    part, alone = story.part(i, ks), len(story.takes[i].parts) == 1
    if story.seen(i):
        return []
    if story.placed(i, ks):
        if (part.motion, part.then, part.speed) == ("still", "none", "normal"):
            return some(story, STAYS, i, ks) if free(story, 0.6) else []
        moves = part.then == "none" and part.motion not in (ANY, "still", *TO)
        return some(story, PLACED, i, ks) if moves and free(story, 0.2) else []
    if alone and not story.new(i, ks) and not story.static(i, ks):
        met = [[p.who for p in take.parts] for take in story.takes[:i]]
        left = i > 0 and len(met[-1]) > 1 and part.who in met[-1]
        again = any(part.who in who for who in met)  # not only just now, as what follows
        return some(story, LEFT if left else KNOWN, i, ks) if again and free(story, 0.4) else []
    short = alone and story.new(i, ks) and free(story, 0.35)
    return some(story, ("NPV",), i, ks) if short else []


# Where they are to each other.


def _slots(story: _Story, i: int, k: int) -> tuple[str, str, tuple[str, ...]]:
    """Side and depth of part ``k``, relative to the other one, and which slots these state."""
    side, depth = story.takes[i].side, story.takes[i].depth
    if k:
        side, depth = w.OPPOSITE[side], w.OPPOSITE[depth]
    slots = [f"takes/{i}/{s}" for s, v in (("depth", depth), ("side", side)) if v != ANY]
    return side, depth, tuple(slots)


def _where(story: _Story, side: str, depth: str) -> str:
    if side == ANY:
        return story.draw.pick(w.DEPTHS[depth])
    return story.draw.pick(w.SIDES[side]) if depth == ANY else w.CORNERS[side, depth]


def position(story: _Story, i: int, ks: Parts) -> list[Piece]:
    """Depth and side of a part, relative to the other one."""
    if not story.related(i):
        return []
    side, depth, slots = _slots(story, i, ks[0])
    text = _where(story, side, depth)
    heads = ["在", "在", "在", "位于", "处在"]
    if side == ANY:
        heads[2:] = ("躲在", "藏在") if depth == "behind" else ("挡在", "站在")
    out = [story.glue(",")] if story.placed(i, ks) else []
    other = story.cast.object(story.takes[i].parts[1 - ks[0]].who)
    return [*out, Piece(story.draw.pick(heads)), *other, *_of(story, other), Piece(text, slots)]


def _of(story: _Story, said: list[Piece]) -> list[Piece]:
    return [Piece("的")] if said[-1].text[-1] != "的" and free(story, 0.25) else []


def beside(story: _Story, i: int, ks: Parts) -> list[Piece]:
    """Behind this one, where the other is."""
    side, depth, slots = _slots(story, i, 1 - ks[0])
    this = story.cast.subject(story.part(i, ks).who)
    return [*this, *_of(story, this), Piece(_where(story, side, depth), slots)]


def hides(story: _Story, i: int, ks: Parts) -> list[Piece]:
    """It is in front of the other one, or behind it."""
    _, depth, slots = _slots(story, i, ks[0])
    other = story.cast.object(story.takes[i].parts[1 - ks[0]].who)
    if depth == "front":
        return [Piece(story.draw.pick(w.HIDES), slots), *other]
    return [Piece("被"), *other, Piece(story.draw.pick(w.HIDDEN), slots)]


# What they do.


def act(
    story: _Story, i: int, ks: Parts, motion: str, slot: str, *, before: bool = False
) -> list[Piece]:
    """The words of a motion; a way and its verb are two pieces."""
    paths, pick, part = story.paths(i, ks, slot), story.draw.pick, story.part(i, ks)
    doing, story.doing = story.doing, False
    if motion == ANY:
        return [Piece(pick(w.WAKES if story.seen(i) else w.MOVES))]
    if motion in TO and len(ks) > 1:
        return [Piece(pick(w.MUTUAL[motion]), paths)]
    if motion in TO:
        return _with_other(story, i, ks, pick(w.TO_OTHER[motion]), paths)
    leaves, story.leaves = story.leaves, False
    if motion in DIRECTIONS and (leaves or story.draw.chance(0.75)):
        way = pick(w.TO_WAY) + pick(w.WAYS[motion])
        if not (before or doing or part.speed != "normal") and free(story, 0.15):
            onward = pick(ONWARD) if slot == "motion" else ""
            return [*[Piece(onward)] * bool(onward), Piece(way, paths)]
        return [Piece(way, paths), Piece(pick(w.GO), paths)]
    if slot == "then" and motion in w.THENS:
        return [Piece(pick(w.THENS[motion]), paths)]
    if motion in w.STEADY and part.speed == "normal" and story.draw.chance(0.4):
        return [Piece(pick(w.STEADY[motion]), paths)]
    brief = slot == "motion" and part.speed == "normal" and part.then == "none" and not before
    if brief and motion in w.BRIEF and free(story, 0.25):
        return [*[Piece("在")] * (not doing), Piece(pick(w.BRIEF[motion]), paths)]
    return [Piece(pick(w.ACTS[motion]), paths)]


def _with_other(
    story: _Story, i: int, ks: Parts, words: str, paths: tuple[str, ...]
) -> list[Piece]:
    """Words with the other part in them, which may be said to stand still."""
    head, _, tail = words.partition("O")
    k = 1 - ks[0]
    part, cast = story.takes[i].parts[k], story.cast
    plain = (part.motion, part.then, part.speed) == ("still", "none", "normal")
    if k and plain and part.who >= cast.named and not story.placed(i, (k,)) and free(story, 0.35):
        still = Piece(story.draw.pick(STANDING), story.paths(i, (k,), "motion"))
        other, story.stands = cast.new((part.who,), before=(still, Piece("的"))), True
    else:
        other = cast.object(part.who)
    return [Piece(head, paths), *other, *[Piece(tail, paths)] * bool(tail)]


def always(story: _Story, i: int, ks: Parts, said: list[Piece]) -> list[Piece]:
    """Often "all the time", of what does not end."""
    part = story.part(i, ks)
    lasts = part.then == "none" and part.motion != ANY and not story.seen(i)
    if not lasts or len(said[0].slots) == 0 or not free(story, 0.08):
        return said
    still = part.motion == "still"
    return [Piece(story.draw.pick(ALWAYS if still else ("一直", "一直", "不停地"))), *said]


def stays(story: _Story, i: int, ks: Parts) -> list[Piece]:
    """It stands still where it is."""
    stands = Piece(story.draw.pick(STANDS), story.paths(i, ks, "motion"))
    return [stands, *story.spot(i, ks)]


def circles(story: _Story, i: int, ks: Parts) -> list[Piece]:
    """It goes in circles around the other one."""
    return _with_other(story, i, ks, story.draw.pick(CIRCLES), story.paths(i, ks, "motion"))


def there(story: _Story, i: int, ks: Parts) -> list[Piece]:
    """It goes to the other one, or from it, without naming it."""
    words = story.draw.pick(w.THERE[story.part(i, ks).motion])
    return [Piece(words, story.paths(i, ks, "motion"))]


def counted(story: _Story, i: int, ks: Parts) -> list[Piece]:
    """It hops or turns a few times."""
    words = story.draw.pick(w.COUNTED[story.part(i, ks).motion])
    return [Piece(words, story.paths(i, ks, "motion"))]


# Two new looks.


def unlike(story: _Story, i: int, ks: Parts) -> list[Piece]:
    """Two of a kind that differ in colour or in size."""
    ns, cast, draw = story.looks(i, (0, 1)), story.cast, story.draw
    slot = "color" if cast.looks[ns[0]].color != cast.looks[ns[1]].color else "size"
    for n in ns:
        look = cast.looks[n]
        if slot == "color":
            cast.words[n, "color"] = COLORS[look.color]
        else:
            cast.words[n, "size"] = {"small": "小", "large": "大"}[look.size]
            cast.words[n, "color"] = cast.word(ns[0], "color")
        cast.words[n, "kind"] = cast.word(ns[0], "kind")
    words = [Piece(cast.words[n, slot], cast.paths((n,), slot)) for n in ns]
    each = "一" + cast.measure(ns[0]) * draw.chance(0.4)
    split = [Piece(each), words[0], Piece(each), words[1]]
    slots = tuple(s for s in ("color", "kind") if s != slot)
    alike = [Piece("两" + cast.measure(ns[0])), *cast.phrase(ns, slots, says=True)]
    cast.named = 2
    cast.it = cast.acting = None
    mark = story.glue(",") if draw.chance(0.5) else Piece("")
    out = [*split, *alike] if len(each) == 1 and draw.chance(0.6) else [*alike, mark, *split]
    return cast.named_by(ns, [piece for piece in out if piece.text])


def later(story: _Story, i: int, ks: Parts) -> list[Piece]:
    """Two by their kinds, then their colours, in any order."""
    ns, cast, draw = story.looks(i, (0, 1)), story.cast, story.draw
    out = [*cast.kind(ns[0]), Piece(draw.pick("和和与、")), *cast.kind(ns[1])]
    for n in ns if draw.chance(0.5) else ns[::-1]:
        color, size = cast.word(n, "color"), cast.looks[n].size
        said = Piece(color + "色" * (len(color) == 1), cast.paths((n,), "color"))
        is_, of = draw.pick((("是", "的"), ("是", ""), ("", "的"), ("要", "的"), ("颜色是", "")))
        name = cast.named_by((n,), [Piece(cast.word(n, "kind"))])
        out += [story.glue(","), *name, *[Piece(is_)] * bool(is_), said, *[Piece(of)] * bool(of)]
        if size != ANY:
            out += [story.glue(","), Piece(draw.pick(w.SIZED[size]), cast.paths((n,), "size"))]
    cast.it = cast.acting = cast.before = None
    return out


LETTERS: dict[str, Callable[[_Story, int, Parts], list[Piece]]] = {
    "Ω": beside,
    "Φ": hides,
    "Σ": stays,
    "Θ": circles,
    "Ψ": there,
    "Δ": counted,
    "Λ": unlike,
    "Π": later,
}
