"""What the planner that comes with jaxvid must keep: bounds below its figures in the README."""

import json

import jax
import numpy as np
import pytest
from test_handwritten import load as handwritten

from jaxvid import cli, screenwriter, training_planner
from jaxvid.data.stories import story
from jaxvid.lint import lint
from jaxvid.metrics import outlines
from jaxvid.script import from_json, validate
from jaxvid.typing import UserError

COUNT = 100


@pytest.fixture(scope="module")
def writer():
    return screenwriter.load(batch=20)


def exact(pairs) -> float:
    return float(np.mean([outlines.score(truth, read).exact for truth, read in pairs]))


def read(writer, stories):
    drafts = writer.write_all(
        [s.wording.text for s in stories], images=[s.picture for s in stories]
    )
    return [(s.outline, draft.outline) for s, draft in zip(stories, drafts, strict=True)], drafts


def test_it_is_small():
    assert training_planner.SHIPPED.stat().st_size <= 8_000_000


def test_prompts_that_people_wrote(writer):
    prompts, _, truths = zip(*handwritten(), strict=True)
    drafts = writer.write_all(list(prompts))
    scores = [outlines.score(t, d.outline) for t, d in zip(truths, drafts, strict=True)]
    right = sum(score.exact for score in scores)
    print(f"{right} of {len(scores)} prompts written by hand are right; these are not:")
    for prompt, score in zip(prompts, scores, strict=True):
        if not score.exact:
            print(f"  {prompt} ({', '.join(score.missed) or 'looks and shots'})")
    assert right / len(scores) >= 0.8


@pytest.mark.parametrize(
    "options, least",
    [
        ({"language": "en", "noise": "none", "picture": False}, 0.9),
        ({"language": "zh", "noise": "none", "picture": False}, 0.9),
        ({"noise": "mixed", "picture": False}, 0.87),
        ({"noise": "misspelt", "picture": False}, 0.85),
        ({"takes": 2, "noise": "none"}, 0.87),
    ],
    ids=["english", "chinese", "mixed", "misspelt", "two shots"],
)
def test_wordings_never_seen(writer, options, least):
    stories = [story(1001, "heldout", i, **options) for i in range(COUNT)]
    pairs, drafts = read(writer, stories)
    assert exact(pairs) >= least
    assert not any(lint(draft.script) for draft in drafts)


def test_what_is_in_doubt_is_often_wrong_and_what_is_not_seldom(writer):
    stories = [story(1001, "heldout", i, noise="none", picture=False) for i in range(COUNT)]
    pairs, drafts = read(writer, stories)
    wrong = np.array([not outlines.score(*pair).exact for pair in pairs])
    unsure = np.array([bool(draft.doubts) for draft in drafts])
    print(f"unsure {unsure.mean():.0%}; wrong if so {wrong[unsure].mean():.0%}, ", end="")
    print(f"if not {wrong[~unsure].mean():.0%}")
    assert 0.01 < unsure.mean() < 0.3
    assert wrong[unsure].mean() > 3 * wrong[~unsure].mean()


def test_words_that_it_does_not_know_are_named(writer):
    assert screenwriter.unsure(writer.write("a red circle moves right")) is None
    told = screenwriter.unsure(writer.write("a cat walks to the left"))
    assert told is not None and "not sure of entities/0/kind: " in told


def test_what_a_picture_shows(writer):
    stories = [story(1001, "heldout", i, noise="none", picture=True) for i in range(COUNT)]
    pairs, _ = read(writer, stories)
    slots = ("kind", "color", "x", "y")
    missed = [
        any(path.endswith(slots) for path in outlines.score(truth, found).missed)
        for truth, found in pairs
    ]
    assert np.mean(missed) <= 0.12


def test_shots_that_a_picture_would_hide_are_said(writer):
    text = "a red circle moves right. Cut to a blue star that bounces on a dark grid"
    picture = story(1001, "heldout", 0, noise="none", picture=True).picture
    assert len(writer.write(text).outline.takes) == 2
    with pytest.raises(UserError, match="tells of 2 shots, and beside a picture it is read as one"):
        writer.write(text, image=picture)
    assert len(writer.write("it moves to the left", image=picture).outline.takes) == 1


def test_words_are_pointed_at(writer):
    stories = [story(1001, "heldout", i, noise="none", picture=False) for i in range(COUNT)]
    hits = []
    for s, draft in zip(stories, read(writer, stories)[1], strict=True):
        for span in draft.spans:
            truths = [t for t in s.wording.spans if t.slot == span.slot]
            if truths:
                hits.append(any(span.start < t.end and t.start < span.end for t in truths))
    assert np.mean(hits) >= 0.93


def test_the_command_works_without_a_run(capsys, tmp_path):
    cli.main(
        ["script", "a small red star bounces on a dark grid", "--out", str(tmp_path / "s.json")]
    )
    script = from_json((tmp_path / "s.json").read_text(encoding="utf-8"))
    entity = script.entities[0]
    assert (entity.kind, entity.color, entity.size) == ("star", "red", "small")
    assert script.scenes[0].background == "dark_grid"
    cli.main(["script", "--preview", str(tmp_path / "s.json")])
    assert (tmp_path / "s.gif").stat().st_size > 1000
    assert json.loads((tmp_path / "s.json").read_text(encoding="utf-8"))["prompt"]


@pytest.mark.slow
@pytest.mark.parametrize("trained", [True, False], ids=["trained", "untrained"])
def test_ten_thousand_scripts_drawn_at_temperature_2_are_valid_and_clean(trained):
    planner, params, run = training_planner.read_planner(training_planner.SHIPPED)
    if not trained:
        params = training_planner.prepare_planner(run)[1](jax.random.key(0)).params
    hot = screenwriter.Screenwriter(planner, params, temperature=2.0, batch=50)
    stories = (story(5, "heldout", i, picture=False) for i in range(10_000))
    drafts = hot.write_all([made.wording.text for made in stories], seed=3)
    for draft in drafts:
        validate(draft.script)
        assert not lint(draft.script)
    assert len({repr(draft.outline) for draft in drafts}) > 5000
