"""Laws of the scores of outlines: what counts as right, missed and invented."""

import dataclasses

import numpy as np
import pytest

from jaxvid.data.stories import story
from jaxvid.metrics.outlines import Score, roles, score, slots_missed, summarise
from jaxvid.outline import Look, Outline, Part, Take, stated

CIRCLE = Outline((Look("circle", "red"),), (Take((Part(0, "right"),), tone="dark"),))
PAIR = Outline(
    (Look("circle", "red"), Look("star", "blue", "small")),
    (
        Take((Part(0, "right"), Part(1, "still")), depth="behind", link="fade"),
        Take((Part(1, "up", x="8", y="20"),), camera="zoom_in"),
    ),
)


def look(outline: Outline, n: int, **slots: str) -> Outline:
    """The outline with another look."""
    looks = list(outline.looks)
    looks[n] = dataclasses.replace(looks[n], **slots)
    return dataclasses.replace(outline, looks=tuple(looks))


def part(outline: Outline, i: int, n: int, **slots: str) -> Outline:
    """The outline with another part."""
    takes, parts = list(outline.takes), list(outline.takes[i].parts)
    parts[n] = dataclasses.replace(parts[n], **slots)
    takes[i] = dataclasses.replace(takes[i], parts=tuple(parts))
    return dataclasses.replace(outline, takes=tuple(takes))


@pytest.mark.parametrize("outline", [CIRCLE, PAIR], ids=["one", "two"])
def test_what_was_said_is_right(outline: Outline) -> None:
    got = score(outline, outline)
    assert got == Score(True, True, tuple(stated(outline)), (), ())


def test_another_value_is_missed_and_invented() -> None:
    got = score(CIRCLE, look(CIRCLE, 0, color="blue"))
    assert not got.exact and not got.strict
    assert got.missed == got.invented == ("looks/0/color",)
    assert set(got.right) == {"looks/0/kind", "takes/0/tone", "takes/0/parts/0/motion"}


def test_what_was_not_read_is_missed() -> None:
    got = score(CIRCLE, look(CIRCLE, 0, color="any"))
    assert not got.exact
    assert (got.missed, got.invented) == (("looks/0/color",), ())


def test_what_was_not_said_is_invented_but_may_be_exact() -> None:
    got = score(CIRCLE, look(CIRCLE, 0, size="large"))
    assert got.exact and not got.strict
    assert (got.missed, got.invented) == ((), ("looks/0/size",))


@pytest.mark.parametrize(("x", "right"), [("7", True), ("9", True), ("6", False), ("10", False)])
def test_places_may_be_a_step_off(x: str, right: bool) -> None:
    """One step of 1/32 is under 0.05 of the frame, two are over it."""
    got = score(PAIR, part(PAIR, 1, 0, x=x))
    assert got.exact == right
    assert ("takes/1/parts/0/x" in got.right) == right


@pytest.mark.parametrize("x", ["left", "any"])
def test_words_are_no_places(x: str) -> None:
    assert score(PAIR, part(PAIR, 1, 0, x=x)).missed == ("takes/1/parts/0/x",)


def test_roles_must_agree() -> None:
    """All that was stated is there, but somebody else does it, or more happens."""
    twins = Outline((Look("star"), Look("star")), (Take((Part(0), Part(1))), Take((Part(0),))))
    other = dataclasses.replace(twins, takes=(twins.takes[0], Take((Part(1),))))
    more = dataclasses.replace(twins, takes=(*twins.takes, Take((Part(0),))))
    assert roles(twins) == ((0, 1), (0,)) and roles(other) == ((0, 1), (1,))
    for read in (other, more):
        got = score(twins, read)
        assert not got.missed and not got.exact and not got.strict
    assert score(twins, twins).strict


def test_optional_slots_count_in_neither() -> None:
    read = part(PAIR, 1, 0, x="30", y="any")
    assert not score(PAIR, read).exact
    got = score(PAIR, read, optional=("x", "y"))
    assert got.strict
    assert not any(path.endswith(("/x", "/y")) for path in got.right)
    assert not score(CIRCLE, look(CIRCLE, 0, size="small")).strict
    assert score(CIRCLE, look(CIRCLE, 0, size="small"), optional=("size",)).strict


def test_the_summary_is_by_the_definition() -> None:
    scores = [
        score(CIRCLE, CIRCLE),
        score(CIRCLE, look(CIRCLE, 0, size="large")),
        score(CIRCLE, look(CIRCLE, 0, color="blue")),
        score(CIRCLE, look(CIRCLE, 0, kind="any", color="any")),
    ]
    got = summarise(scores)
    # read 4, 5, 4, 2 slots of 4, of which 4, 4, 3, 2 right
    assert got == {
        "count": 4, "exact": 0.5, "strict": 0.25, "f1": pytest.approx(2 * 13 / (16 + 15)),
    }  # fmt: skip
    assert slots_missed(scores) == {"color": 2, "kind": 1}
    assert list(slots_missed(scores)) == ["color", "kind"]
    assert summarise([]) == {"count": 0, "exact": 0.0, "strict": 0.0, "f1": 0.0}


def test_exact_means_that_all_stated_values_were_found() -> None:
    """On outlines of stories, against a count by hand."""
    rng = np.random.default_rng(0)
    outlines = [story(0, "test", i, picture=False).outline for i in range(60)]
    for truth in outlines:
        read = look(truth, 0, color=str(rng.choice(["red", truth.looks[0].color])))
        asked, found = stated(truth), stated(read)
        got = score(truth, read)
        assert got.exact == all(found.get(path) == value for path, value in asked.items())
        assert got.strict == (asked == found)
        assert len(got.right) + len(got.missed) == len(asked)
        assert len(got.right) + len(got.invented) == len(found)
