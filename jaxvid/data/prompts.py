"""Prompts and their outlines as batches: what the planner is trained on."""

import dataclasses
import signal
from collections.abc import Sequence
from typing import Literal

import numpy as np

from jaxvid import grammar
from jaxvid.data import scenes, tokenizer
from jaxvid.data.pieces import Wording
from jaxvid.data.source import Split
from jaxvid.data.stories import story
from jaxvid.models.prompt import GRIDS, PICTURE
from jaxvid.ops.words import most_words, word_starts
from jaxvid.outline import GRID, Outline
from jaxvid.typing import HostBatch

Example = tuple[Wording, Outline, np.ndarray | None]
Kind = Literal["short", "long", "pictured"]  # stories of one take, of more, beside a picture
SHORT = 160  # bytes for stories of one take


def leave_signals(worker: int, workers: int) -> None:
    """For a process that makes prompts: the one that trains hears Ctrl-C and SIGTERM too, saves,
    and ends this one.
    """
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)


@dataclasses.dataclass(frozen=True)
class PromptSource:
    """Any prompt from its index alone, without a video.

    ``stories``: prompts as people write them (``data.stories``). ``scenes``: the captions of the
    embedded scenes, whose held-out combinations stay held out.
    """

    split: Split = "train"
    _: dataclasses.KW_ONLY
    source: Literal["stories", "scenes"] = "stories"
    seed: int = 0
    text_length: int = 256

    def example(self, index: int, kind: Kind = "short") -> Example:
        """The prompt, what it says, and the picture beside it, if any."""
        if self.source == "scenes":
            wording, outline = scenes.caption(self.seed, self.split, index)
            return wording, outline, None
        long = kind == "long"
        made = story(
            self.seed,
            self.split,
            index,
            takes=2 + index % 2 if long else 1,
            length=self.text_length if long else min(SHORT, self.text_length),
            picture=kind == "pictured",
        )
        return made.wording, made.outline, made.picture

    def batch(self, indices: Sequence[int] | np.ndarray, kind: Kind = "short") -> HostBatch:
        """What a planner step reads; see ``collate``. A batch is of one kind, so that a short one
        costs less: of stories, only long ones have all of S and L, only pictured ones an image."""
        examples = [self.example(int(index), kind) for index in indices]
        short = self.source == "stories" and kind != "long"
        length = min(SHORT, self.text_length) if short else self.text_length
        tokens = grammar.LENGTH if kind == "long" else grammar.SHORT
        batch = collate(examples, text_length=length, tokens=tokens)
        return {"index": np.asarray(indices, np.int32), **batch}


def collate(examples: Sequence[Example], *, text_length: int, tokens: int) -> HostBatch:
    """``text`` int32 (B,L), ``tokens`` int32 (B,S), ``spans`` bool (B,S,M), ``refers`` bool
    (B,2,M,M), ``image`` uint8.

    ``spans``: the words of the prompt (``ops.words``) that state what a token says, then, where
    there is an image, its places that show it. ``refers``: whom words speak of, see ``refer``.
    ``image``: (B,PICTURE,PICTURE,3), zero for an example without one; (B,0,0,3) where none has one.
    """
    side = PICTURE if any(picture is not None for *_, picture in examples) else 0
    blank = np.zeros((side, side, 3), np.uint8)
    text_BL = np.stack([tokenizer.encode(wording.text, text_length) for wording, *_ in examples])
    word_BL = np.cumsum(word_starts(text_BL), axis=1) - 1
    word_BL = np.where((text_BL > 0) & (word_BL < most_words(text_length)), word_BL, -1)
    pairs = list(zip(examples, word_BL, strict=True))
    spans = [_spans(wording, said, tokens, word_L) for (wording, said, _), word_L in pairs]
    refers = [refer(wording, said, word_L) for (wording, said, _), word_L in pairs]
    if side:
        shown = [_shown(None if p is None else outline, tokens) for _, outline, p in examples]
        spans = [np.concatenate(pair, axis=1) for pair in zip(spans, shown, strict=True)]
    return {
        "text": text_BL,
        "image": np.stack([blank if p is None else p for *_, p in examples]),
        "tokens": np.stack([grammar.encode(outline)[:tokens] for _, outline, _ in examples]),
        "spans": np.stack(spans),
        "refers": np.stack(refers),
    }


def _spans(wording: Wording, outline: Outline, tokens: int, word_L: np.ndarray) -> np.ndarray:
    """bool (S,M) for a text whose bytes are of these words, -1 if none; see ``collate``."""
    spans: dict[str, list[np.ndarray]] = {}
    for slot, words in _words(wording, word_L):
        spans.setdefault(slot, []).append(words)
    marks = np.zeros((tokens, most_words(len(word_L)) + 1), bool)
    for s, (_, _, path) in enumerate(grammar.spell(outline)):
        for words in spans.get(path, ()):
            marks[s, words] = True
    return marks[:, :-1]  # the last one is none


def _words(wording: Wording, word_L: np.ndarray) -> list[tuple[str, np.ndarray]]:
    """Of each span its slot, and of which words its bytes are."""
    at = np.cumsum([0, *(len(char.encode()) for char in wording.text)])
    return [(span.slot, word_L[at[span.start] : at[span.end]]) for span in wording.spans]


def refer(wording: Wording, outline: Outline, word_L: np.ndarray) -> np.ndarray:
    """bool (2,M,M): at which words a word is to look, for a text whose bytes are of ``word_L``.

    First those that state something of a look, at the nearest words that name it: mostly a verb at
    its subject. Second those that name a look, at all that named it before; mentions side by side
    are one.
    """
    M = most_words(len(word_L))
    said, marks = _words(wording, word_L), np.zeros((2, M, M), bool)
    named: dict[int, set[int]] = {}
    for slot, words in said:
        if "/who/" in slot:
            named.setdefault(int(slot[-1]), set()).update(words[words >= 0].tolist())
    # Of a look, the words of each mention.
    runs: dict[int, list[list[int]]] = {n: [] for n in named}
    for n, names in named.items():
        for w in sorted(names):
            if w - 1 not in names:
                runs[n].append([])
            runs[n][-1].append(w)
        for k, run in enumerate(runs[n]):
            marks[1][np.ix_(run, sum(runs[n][:k], []))] = True
    for slot, words in said:
        match slot.split("/"):
            case ["looks", number, _]:
                n = int(number)
            case ["takes", take, "parts", part, _]:
                n = outline.takes[int(take)].parts[int(part)].who
            case _:
                continue
        for w in {*words[words >= 0].tolist()} - named.get(n, set()):
            if runs.get(n):
                marks[0, w, min(runs[n], key=lambda run: min(abs(v - w) for v in run))] = True
    return marks


def _shown(outline: Outline | None, tokens: int) -> np.ndarray:
    """bool (S,I): in which part of the picture the centre is of whom a token speaks."""
    marks = np.zeros((tokens, GRIDS * GRIDS), bool)
    if outline is None:
        return marks
    parts = iter(outline.takes[0].parts)
    places: list[int] = []
    for s, (slot, _, _) in enumerate(grammar.spell(outline)[: grammar.SHORT]):
        if slot == "who":
            part = next(parts)
            at = [min(int(k) * GRIDS // GRID, GRIDS - 1) for k in (part.y, part.x) if k.isdigit()]
            places = [at[0] * GRIDS + at[1]] if len(at) == 2 else []
        if slot in ("who", *grammar.LOOK, "x", "y"):
            marks[s, places] = True
    return marks
