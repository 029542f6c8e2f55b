"""Laws of the planner's evaluation: reading all rightly is 1, reading nothing rightly is 0."""

import dataclasses
import json
import pathlib

import pytest

from jaxvid import evaluate_planner as evaluation
from jaxvid import script as scripts
from jaxvid.data.stories import Story, story
from jaxvid.outline import Look, Outline, Part, Take
from jaxvid.screenwriter import Draft, Screenwriter
from jaxvid.staging import stage

EXACT = ("en", "zh", "mixed", "misspelt", "two shots", "three shots", "relations", "pictures")
SHARES = (("twins", "same"), ("direction", "right"), ("pointing", "hit"), ("pointing", "precision"))


class Oracle(Screenwriter):
    """Knows what was asked, and answers with it, or with something else."""

    def __init__(self, other: Outline | None = None) -> None:
        self.length, self.other = 256, other
        self.asked: dict[str, Story] = {}

    def story(self, *args, **options) -> Story:
        made = story(*args, **options)
        assert len(made.wording.text.encode()) <= self.length
        self.asked[made.wording.text] = made
        return made

    def write_all(self, prompts, *, images=None, seed=0, **_) -> list[Draft]:
        return [self.draft(prompt, seed) for prompt in prompts]

    def draft(self, prompt: str, seed: int) -> Draft:
        asked = self.asked[prompt]
        outline = self.other or asked.outline
        spans = [scripts.Span(s.slot, s.start, s.end) for s in asked.wording.spans]
        script = dataclasses.replace(stage(outline, seed), prompt=prompt)
        return Draft(prompt, outline, script, () if self.other else tuple(spans), 0.0, ())


def evaluated(oracle: Oracle, monkeypatch: pytest.MonkeyPatch, prompts: int = 24) -> dict:
    monkeypatch.setattr(evaluation, "load", lambda *_, **__: oracle)
    monkeypatch.setattr(evaluation, "story", oracle.story)
    monkeypatch.setattr(evaluation, "_latency", lambda *_: 1.0)
    return evaluation.evaluate_planner(None, prompts=prompts)


def test_reading_all_rightly_is_right(monkeypatch: pytest.MonkeyPatch) -> None:
    result = evaluated(Oracle(), monkeypatch)
    for name in EXACT:
        row = result[name]
        assert row["count"] > 0 and row["exact"] == row["strict"] == row["f1"] == 1
        assert row["missed"] == {}
    for name, share in SHARES:
        assert result[name]["count"] > 0 and result[name][share] == 1, name
    assert all(result["pictures"][name] == 1 for name in ("kind", "color", "place", "all"))
    assert result["en"]["count"] == result["zh"]["count"] == 2 * result["mixed"]["count"] == 24
    assert result["lint_clean"] > 0.9


def test_reading_something_else_is_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    """The twins are read alike, though."""
    other = Outline((Look("ring"),), (Take((Part(0, "still", x="1", y="1"),)),) * 3)
    result = evaluated(Oracle(other), monkeypatch)
    for name in EXACT:
        assert result[name]["exact"] == result[name]["strict"] == 0
        assert result[name]["f1"] < 0.2 and sum(result[name]["missed"].values()) > 0
    assert result["pictures"]["all"] == 0 and result["twins"]["same"] == 1
    assert result["pointing"] == {"count": 0, "hit": 0, "precision": 0}


def test_no_story_is_longer_than_what_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    oracle = Oracle()
    oracle.length = 160
    evaluated(oracle, monkeypatch, prompts=6)  # story() above looks at each
    assert oracle.asked


def test_a_run_of_two_steps_is_evaluated_and_written(
    tiny_run: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(evaluation, "BATCH", 4)
    result = evaluation.evaluate_planner(tiny_run, prompts=4)
    path = tiny_run / "planner" / "evaluation.json"
    assert json.loads(path.read_text(encoding="utf-8")) == result
    assert evaluation._target(tiny_run / "a.safetensors") == tiny_run / "a.evaluation.json"
    assert evaluation._target(tiny_run / "gan") == tiny_run / "gan" / "evaluation.json"
    assert 0 <= result["en"]["exact"] < 0.5 and 0 <= result["en"]["f1"] < 0.9
    assert 0 <= result["lint_clean"] <= 1 and result["milliseconds"] > 0
