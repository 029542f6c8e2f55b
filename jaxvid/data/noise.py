"""How people really write: two languages in one prompt, misspelt words, words that say nothing.

Works on pieces, so that which characters state which slot stays known.
"""

import collections
import dataclasses
from collections.abc import Sequence

from jaxvid.data import chinese_words
from jaxvid.data.chinese_mixed import CHINESE, ENGLISH, GLUE, THERE, TOGETHER, Words
from jaxvid.data.pieces import Draw, Language, Piece
from jaxvid.outline import TO, Outline, slots

# Characters that are typed for each other: same sound, or nearly the same form.
_ALIKE = {
    "圆": "园", "形": "型", "蓝": "兰", "橙": "澄", "紫": "子", "向": "像", "动": "洞", "跳": "挑",
    "移": "宜", "背": "被", "景": "境", "静": "净", "止": "只", "变": "便", "快": "块", "慢": "漫",
    "停": "亭", "消": "销", "镜": "境", "头": "投", "星": "腥", "菱": "凌", "角": "脚", "渐": "惭",
}  # fmt: skip
_NEAR = {  # neighbours on the keyboard
    "a": "s", "b": "v", "c": "x", "d": "f", "e": "r", "f": "g", "g": "h", "h": "j", "i": "o",
    "j": "k", "k": "l", "l": "k", "m": "n", "n": "m", "o": "p", "p": "o", "q": "w", "r": "t",
    "s": "a", "t": "r", "u": "y", "v": "b", "w": "e", "x": "z", "y": "u", "z": "x",
}  # fmt: skip


def mix(
    pieces: Sequence[Piece], outline: Outline, draw: Draw, words: Words, *, share: float = 0.6
) -> list[Piece]:
    """Some words said in the other language, whose ``words`` are given; one at least, if any can.

    ``words`` has those of looks and tones, ``ENGLISH`` and ``CHINESE`` the rest.
    """
    said, gap, mixed = dict(slots(outline)), draw.pick(("", " ", " ")), list(pieces)
    english = words["kind"]["star"][0].isascii()
    words = {**(ENGLISH if english else CHINESE), **words}
    often = collections.Counter(path for piece in mixed for path in piece.slots)
    options: dict[int, tuple[str, ...]] = {}
    pairs: set[int] = set()  # a way and its verb
    for n, piece in enumerate(mixed):
        paths = [path for path in piece.slots if path in said]  # not who is named
        names = {path.rpartition("/")[2] for path in paths}
        values = {said[path] for path in paths}
        if names & {"motion", "then"}:
            if piece.slots == (pieces[n + 1].slots if n + 1 < len(pieces) else ()):
                pairs.add(n)
            if len(paths) > 1 and english and values <= {*TOGETHER}:
                options[n] = TOGETHER[values.pop()]
                continue
            if english and piece.text in chinese_words.THERE.get(said[paths[0]], ()):
                options[n] = THERE[said[paths[0]]]
                continue
            if often[paths[0]] > 1 + (n in pairs) or (len(paths) > 1 and values & {*TO}):
                continue  # in words that are apart, or "each other"
        if names == {"tone"} and piece.text[-1] in "里上下处天中":
            continue  # "in the night" is no adjective
        if len(names) == len(values) == 1:
            (name,), (value,) = names, values
            others = words.get(name, {}).get(value, ())
            options[n] = tuple(o for o in others if " " in o or n not in pairs)
            if english and name == "link" and piece.text[-1] == "到":
                options[n] += tuple(f"{o} 到" for o in others if not o.endswith(" to"))
        elif english and names == {"x", "y"}:
            x, y = (said[path] for path in sorted(paths)[:: len(paths) - 1])
            middle = ("center", "middle of the screen")
            options[n] = middle if x == y else (f"{y} {x}", f"{y} {x} corner", f"{y} {x} 角落")
    found = [n for n, others in options.items() if others]
    for n in [n for n in found if draw.chance(share)] or found[:1]:
        before, word, rest = mixed[n - 1].text if n else "", draw.pick(options[n]), ""
        if n in pairs:
            word, _, rest = word.partition(" ")
            mixed[n + 1] = dataclasses.replace(mixed[n + 1], text=f" {rest}{gap}")
        text = _swap(mixed[n].text, word, before, gap)
        mixed[n] = dataclasses.replace(mixed[n], text=text.rstrip() if rest else text)
    glue = draw.chance(0.4)
    return [_glued(piece, english) if glue and not piece.slots else piece for piece in mixed]


def _glued(piece: Piece, english: bool) -> Piece:
    """What states nothing, with words of the other language."""
    text = piece.text
    for zh, en in GLUE:
        text = text.replace(zh, f" {en} ") if english else text.replace(f" {en}", f" {zh}")
    return dataclasses.replace(piece, text=text)


def _swap(text: str, word: str, before: str, gap: str) -> str:
    """The word in place of the text behind ``before``; English apart from English."""
    left, right = text[: len(text) - len(text.lstrip())], text[len(text.rstrip()) :]
    if word.isascii() and not text.isascii():
        apart = gap if before[-1:].strip() else ""
        left, right = " " if before[-1:].isascii() and before[-1:].isalnum() else apart, gap
    elif not gap and not before.isascii():
        left = ""
    return f"{left}{word}{right}"


def misspell(pieces: Sequence[Piece], draw: Draw) -> list[Piece]:
    """One to three slips: letters swapped, left out, doubled or mistaken; characters confused."""
    found = [(n, at) for n, piece in enumerate(pieces) for at in _slips(piece.text)]
    slipped = [piece.text for piece in pieces]
    for _ in range(1 + int(draw.rng.random() * 3)):
        if not found:
            break
        n, at = found.pop(int(draw.rng.random() * len(found)))
        found = [(m, b) for m, b in found if m != n]  # one in a piece: offsets stay right
        slipped[n] = _slip(slipped[n], at, draw)
    return [
        dataclasses.replace(piece, text=text) for piece, text in zip(pieces, slipped, strict=True)
    ]


def _slips(text: str) -> list[int]:
    """Where a slip may be: inside of words of five letters and more, or at a confusable sign."""
    places = [at for at, sign in enumerate(text) if sign in _ALIKE]
    start = 0
    for at in range(len(text) + 1):
        if at == len(text) or not (text[at].isascii() and text[at].isalpha()):
            if at - start >= 5:
                places += range(start + 1, at - 2)  # the first and last letters mostly stay
            start = at + 1
    return places


def _slip(text: str, at: int, draw: Draw) -> str:
    if text[at] in _ALIKE:
        return text[:at] + _ALIKE[text[at]] + text[at + 1 :]
    way = int(draw.rng.random() * 4)
    if way == 0 and text[at] != text[at + 1]:
        return text[:at] + text[at + 1] + text[at] + text[at + 2 :]
    if way == 1:
        return text[:at] + text[at + 1 :]
    if way == 2:
        return text[: at + 1] + text[at:]
    return text[:at] + _NEAR[text[at].lower()] + text[at + 1 :]


def babble(pieces: Sequence[Piece], draw: Draw, language: Language) -> list[Piece]:
    """Words that nobody knows, and that say nothing: before the text, or one between its words.

    What people put around what they want is in no list of sentence forms.
    """
    between = [n for n, piece in enumerate(pieces) if piece.text[:1] == " "]
    if language == "en" and between and draw.chance(0.4):
        at = draw.pick(between)
        return [*pieces[:at], Piece(f" {_strange(draw)}"), *pieces[at:]]
    count = 1 + int(draw.rng.random() * 3)
    if language == "zh":
        said = "".join(chr(draw.pick(_HAN)) for _ in range(2 * count))
        return [Piece(said + draw.pick(("：", "，", "。", ""))), *pieces]
    words = [draw.pick(_BEFORE), *(_strange(draw) for _ in range(count))]
    said = " ".join(filter(None, words)) + draw.pick((":", ":", ",", ".", " -", "")) + " "
    return [Piece(said[0].upper() + said[1:] if draw.chance(0.5) else said), *pieces]


def _strange(draw: Draw) -> str:
    syllables = (
        draw.pick(_ONSETS) + draw.pick(_VOWELS) for _ in range(1 + int(draw.rng.random() * 2))
    )
    return "".join(syllables) + draw.pick(_ENDS)


_HAN = range(0x4E00, 0x7000)
_BEFORE = ("", "", "", "for", "for the", "from", "by", "a", "the", "my", "our", "this", "with")
_ONSETS = (*"b ch d f g h j k l m n p r s st t v w".split(), "")
_VOWELS = ("a", "e", "i", "o", "u", "ai", "ee", "oo", "ou")
_ENDS = ("", "", "b", "ck", "d", "ft", "l", "m", "n", "nd", "p", "r", "s", "st", "t", "x", "y")
