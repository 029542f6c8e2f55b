"""The benchmark of a careless planner: what its scripts leave out, its runs, its table."""

import numpy as np
import pytest

from benchmarks import rl_planner
from jaxvid import reinforce_planner
from jaxvid.data.prompts import Kind, PromptSource
from jaxvid.metrics.bootstrap import Interval
from jaxvid.outline import TO, slots


@pytest.mark.parametrize("kind", ["long", "pictured"])
def test_careless_scripts_leave_out_relations_and_nothing_else(kind: Kind) -> None:
    plain, careless = PromptSource("train"), rl_planner.Careless("train")
    related = left_out = 0
    for index in range(120):
        (said, outline, picture), (wording, found, shown) = (
            source.example(index, kind) for source in (plain, careless)
        )
        assert said == wording and (picture is None) == (shown is None)
        assert found in (outline, rl_planner.unrelated(outline))
        assert found.looks == outline.looks
        if reinforce_planner.relates(outline):
            related += 1
            left_out += not reinforce_planner.relates(found)
    assert related > 10 and abs(left_out / related - rl_planner.LEFT_OUT) < 0.2
    np.testing.assert_array_equal(
        careless.batch([3], kind)["tokens"], careless.batch([3], kind)["tokens"]
    )


@pytest.mark.parametrize("index", range(12))
def test_what_is_left_out_is_how_actors_stand_to_each_other(index: int) -> None:
    _, outline, _ = PromptSource("train").example(index, "long")
    before, after = dict(slots(outline)), dict(slots(rl_planner.unrelated(outline)))
    assert list(before) == list(after)
    for at, value in before.items():
        relation = at.endswith(("/depth", "/side")) or value in TO
        assert after[at] == ("any" if relation else value), at


def test_the_runs_are_those_that_are_asked_for() -> None:
    run, tuning = rl_planner.runs(rl_planner.Options(careless=3, steps=5, seed=2))
    assert run.base == "shipped" and run.train.steps == 3 and run.data.workers == 0
    assert (tuning.train.steps, tuning.train.seed) == (5, 2)


def test_the_table_says_what_is_gone() -> None:
    change = reinforce_planner.Change(0.8, 0.95, Interval(0.15, 0.1, 0.2), 40)
    valid = change._replace(before=1.0, after=1.0)
    rows = rl_planner.table({"related": change, "valid": valid}, {"related": 0.97, "valid": 1.0})
    related, valid_row = rows.splitlines()[2:]
    assert related == "| related (40) | 80.0% | 95.0% | +10.0% to +20.0% | 75% | 97.0% |"
    assert valid_row.split(" | ")[-2:] == ["-", "100.0% |"]
