"""Asks a planner held-out prompts and scores what it read, word by word and box by box.

Prompts use sentence forms, and combinations of kind, colour and motion, that no training saw.
"""

import dataclasses
import json
import pathlib
import re
import time
from collections.abc import Sequence
from typing import Any

import numpy as np

from jaxvid.data.pieces import LANGUAGES
from jaxvid.data.stories import Story, story
from jaxvid.io.log import say
from jaxvid.io.media import atomic_write_text, check_writable
from jaxvid.lint import lint
from jaxvid.metrics import outlines
from jaxvid.outline import roles, stated
from jaxvid.reinforce_planner import relates
from jaxvid.screenwriter import Draft, Screenwriter, load
from jaxvid.script import DIRECTIONS, Script
from jaxvid.staging import script_paths

BATCH = 50
PRONOUN = re.compile(r"\b(it|they|its|them|both|one)\b|它|另一个", re.IGNORECASE)
SEED = 7  # apart from those of trainings, which are small and used with the split "train"


def evaluate_planner(run: pathlib.Path | None, *, prompts: int = 2000) -> dict[str, Any]:
    """Scores the planner of ``run`` (None: the one that comes with jaxvid).

    ``prompts`` a language, half as many with slips or two languages, with pictures and as twins.
    Writes ``run/planner/evaluation.json`` where there is a run, beside the weights where it is a
    file of them; returns what it wrote.
    """
    began = time.monotonic()
    target = None if run is None else check_writable(_target(pathlib.Path(run)))
    writer = load(run, batch=BATCH)

    def ask(count: int, **how: Any) -> list[Story]:
        return [story(SEED, "heldout", i, length=writer.length, **how) for i in range(count)]

    result: dict[str, Any] = {}
    asked: list[tuple[Story, Draft]] = []
    for language in LANGUAGES:
        stories = ask(prompts, language=language, noise="none", picture=False)
        pairs = _read(writer, stories)
        result[language] = _summary(pairs)
        asked += pairs
    for noise in ("mixed", "misspelt"):
        result[noise] = _summary(_read(writer, ask(prompts // 2, noise=noise, picture=False)))
    for name, takes in (("two shots", 2), ("three shots", 3)):
        result[name] = _summary([p for p in asked if len(p[0].outline.takes) == takes])
    result["relations"] = _summary([p for p in asked if relates(p[0].outline)])
    result["pronouns"] = _summary([p for p in asked if PRONOUN.search(p[0].wording.text)])
    result["pictures"] = _pictures(_read(writer, ask(prompts // 2, noise="none", picture=True)))
    result["twins"] = _twins(writer, prompts // 2)
    result["direction"] = _directions(asked)
    result["pointing"] = _pointing(asked)
    result["lint_clean"] = _mean([not lint(draft.script) for _, draft in asked])
    result["milliseconds"] = _latency(run)
    result["seconds"] = round(time.monotonic() - began, 1)
    _tell(result)
    if target is not None:
        atomic_write_text(target, json.dumps(result, indent=1) + "\n")
    return result


def _target(run: pathlib.Path) -> pathlib.Path:
    if run.suffix == ".safetensors":
        return run.with_suffix(".evaluation.json")
    return (run / "planner" if (run / "planner").is_dir() else run) / "evaluation.json"


def _read(writer: Screenwriter, stories: Sequence[Story]) -> list[tuple[Story, Draft]]:
    drafts = writer.write_all(
        [s.wording.text for s in stories], images=[s.picture for s in stories], seed=1
    )
    return list(zip(stories, drafts, strict=True))


def _summary(pairs: Sequence[tuple[Story, Draft]]) -> dict[str, Any]:
    scores = [outlines.score(s.outline, draft.outline) for s, draft in pairs]
    return {**outlines.summarise(scores), "missed": outlines.slots_missed(scores)}


def _pictures(pairs: Sequence[tuple[Story, Draft]]) -> dict[str, Any]:
    """Shares of pictures all of whose kinds, colours, places are right, and all three."""
    counts = {"kind": 0, "color": 0, "place": 0, "all": 0}
    for s, draft in pairs:
        missed = {p.rpartition("/")[2] for p in outlines.score(s.outline, draft.outline).missed}
        if roles(s.outline) != roles(draft.outline):
            missed |= {"kind", "color", "x"}
        slots = {"kind": {"kind"}, "color": {"color"}, "place": {"x", "y"}}
        wrong = {name: bool(missed & those) for name, those in slots.items()}
        for name, value in wrong.items():
            counts[name] += not value
        counts["all"] += not any(wrong.values())
    return {**{k: n / max(len(pairs), 1) for k, n in counts.items()}, **_summary(pairs)}


def _twins(writer: Screenwriter, count: int) -> dict[str, Any]:
    """Share of outlines of which the English and the Chinese prompt give the same script."""
    pairs = []
    for i in range(count):
        how: dict[str, Any] = {"noise": "none", "picture": False, "length": writer.length}
        twins = [story(SEED, "heldout", i, language=language, **how) for language in LANGUAGES]
        if twins[0].outline == twins[1].outline:  # else one of them was too long to be said
            pairs.append(twins)
    drafts = [
        writer.write_all([pair[n].wording.text for pair in pairs], seed=1)
        for n in range(len(LANGUAGES))
    ]
    same = [_bare(a.script) == _bare(b.script) for a, b in zip(*drafts, strict=True)]
    return {"count": len(same), "same": _mean(same)}


def _bare(script: Script) -> Script:
    """The script without the prompt that it was read from."""
    return dataclasses.replace(script, prompt="", spans=())


def _directions(pairs: Sequence[tuple[Story, Draft]]) -> dict[str, Any]:
    """Share of stated directions in which the scripts' boxes go, where the looks were found."""
    right = []
    for s, draft in pairs:
        if roles(s.outline) != roles(draft.outline):
            continue
        places = script_paths(draft.outline, draft.script)
        for path, value in stated(s.outline).items():
            if path.endswith("/motion") and value in DIRECTIONS:
                _, a, _, b, _, k, _ = places[path].split("/")
                actor = draft.script.scenes[int(a)].shots[int(b)].actors[int(k)]
                way = np.array(actor.end[:2]) - np.array(actor.start[:2])
                step = np.array(DIRECTIONS[value])
                cosine = way @ step / max(np.hypot(*way) * np.hypot(*step), 1e-9)
                right.append(cosine > np.cos(np.pi / 8))
    return {"count": len(right), "right": _mean(right)}


def _pointing(pairs: Sequence[tuple[Story, Draft]]) -> dict[str, Any]:
    """Share of rightly read slots whose span meets the words that state them."""
    hits, covered = [], []
    for s, draft in pairs:
        right = set(outlines.score(s.outline, draft.outline).right)
        for span in draft.spans:
            truths = [t for t in s.wording.spans if t.slot == span.slot]
            if span.slot in right and truths:
                hits.append(any(span.start < t.end and t.start < span.end for t in truths))
                best = max(min(span.end, t.end) - max(span.start, t.start) for t in truths)
                covered.append(max(best, 0) / (span.end - span.start))
    return {"count": len(hits), "hit": _mean(hits), "precision": _mean(covered)}


def _mean(values: Sequence[Any]) -> float:
    """The mean, 0 of nothing: a planner of a few steps gets nothing right that could be asked."""
    return float(np.mean(values)) if values else 0.0


def _latency(run: pathlib.Path | None) -> float:
    """Median milliseconds from a prompt to its script, one at a time, warm."""
    writer = load(run)
    times = []
    for i in range(21):
        began = time.monotonic()
        writer.write(f"a red circle moves right, then a blue star bounces, take {i}")
        times.append(1000 * (time.monotonic() - began))
    return float(np.median(times[1:]))


def _tell(result: dict[str, Any]) -> None:
    say("held-out prompts: all stated slots right (and nothing else read), F1 over slots")
    for name, row in result.items():
        if isinstance(row, dict) and "exact" in row:
            missed = ", ".join(f"{k} {v}" for k, v in list(row["missed"].items())[:4])
            say(
                f"  {name:<12}{row['count']:>6}  {row['exact']:>6.1%} ({row['strict']:.1%})  "
                f"{row['f1']:.3f}  missed: {missed or 'nothing'}"
            )
    pictures = result["pictures"]
    shares = ", ".join(f"{k} {pictures[k]:.1%}" for k in ("kind", "color", "place", "all"))
    say(f"  of pictures: {shares}")
    say(
        f"  twins alike {result['twins']['same']:.1%}, "
        f"directions {result['direction']['right']:.1%}, "
        f"pointing {result['pointing']['hit']:.1%}, lint-clean {result['lint_clean']:.1%}, "
        f"{result['milliseconds']:.0f} ms a prompt"
    )
