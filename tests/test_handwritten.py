"""Sixty prompts as people type them, each with the outline that it means: ``handwritten.json``.

Written without a look at ``jaxvid.data``, so that they ask a planner for words that its training
did not choose. An entry spells the slots that its prompt states, and no others.
"""

import collections
import json
import pathlib
import re

from jaxvid.outline import ANY, VALUES, Look, Outline, Part, Take, stated
from jaxvid.script import COLORS, KINDS, MOTIONS

FILE = pathlib.Path(__file__).with_name("handwritten.json")
MAX_BYTES = 256  # of a prompt


def build(document: dict) -> Outline:
    """The Outline of an entry; raises TypeError or UserError where it is not one."""
    takes = (
        Take(**(take | {"parts": tuple(Part(**part) for part in take["parts"])}))
        for take in document["takes"]
    )
    return Outline(tuple(Look(**look) for look in document["looks"]), tuple(takes))


def load() -> list[tuple[str, str, Outline]]:
    """All entries as (prompt, language, outline), languages being ``en``, ``zh`` and ``mixed``."""
    entries = json.loads(FILE.read_text(encoding="utf-8"))
    return [(e["prompt"], e["language"], build(e["outline"])) for e in entries]


def test_prompts_are_many_different_and_short() -> None:
    prompts = [prompt for prompt, _, _ in load()]
    assert len(prompts) >= 50
    assert len({prompt.casefold() for prompt in prompts}) == len(prompts)
    for prompt in prompts:
        assert prompt == prompt.strip() and 0 < len(prompt.encode()) <= MAX_BYTES, prompt


def test_languages_are_what_they_say() -> None:
    for prompt, language, _ in load():
        latin, chinese = re.search("[A-Za-z]", prompt), re.search("[\u4e00-\u9fff]", prompt)
        if language == "en":
            assert prompt.isascii(), prompt
        elif language == "zh":
            assert chinese and not latin, prompt
        else:
            assert language == "mixed", prompt
    counts = collections.Counter(language for _, language, _ in load())
    assert min(counts["en"], counts["zh"]) >= 20 and counts["mixed"] >= 8


def test_entries_spell_the_stated_slots_and_no_others() -> None:
    for entry in json.loads(FILE.read_text(encoding="utf-8")):
        document = entry["outline"]
        parts = [part for take in document["takes"] for part in take["parts"]]
        spelled = sum(map(len, [*document["looks"], *document["takes"], *parts]))
        spelled -= len(document["takes"]) + len(parts)  # the keys "parts" and "who" are no slots
        assert spelled == len(stated(build(document))), entry["prompt"]


def test_every_value_is_said_by_somebody() -> None:
    said: dict[str, set[str]] = {slot: set() for slot in VALUES}
    for _, _, outline in load():
        for path, value in stated(outline).items():
            said[path.rpartition("/")[2]].add(value)
    assert said["motion"] == {*MOTIONS, "towards", "away"}
    assert said["kind"] == set(KINDS) and said["color"] == set(COLORS)
    for slot in ("size", "tone", "pattern", "camera", "speed", "depth", "side", "link"):
        assert said[slot] == set(VALUES[slot][1:]), slot


def test_hard_cases_are_not_rare() -> None:
    outlines = [outline for _, _, outline in load()]
    takes = [take for outline in outlines for take in outline.takes]
    motions = [{part.motion for part in take.parts} for take in takes]
    related = [
        take.depth != ANY or take.side != ANY or bool(motion & {"towards", "away"})
        for take, motion in zip(takes, motions, strict=True)
    ]
    assert sum(len(outline.takes) > 1 for outline in outlines) >= 10
    assert sum(related) >= 10
    assert sum(part.then != "none" for take in takes for part in take.parts) >= 8
    assert sum(len(stated(outline)) <= 2 for outline in outlines) >= 3  # nearly nothing is said
