"""Rewards of plans: what is said and staged has no fault, and a fault counts at its own token."""

import dataclasses

import numpy as np
import pytest

from jaxvid import grammar
from jaxvid.data.stories import story
from jaxvid.outline import Look, Outline, Part, Take
from jaxvid.rl import plans
from jaxvid.script import Actor, Entity, Scene, Script, Shot
from jaxvid.staging import stage

NAMES = tuple(plans.PLAN_REWARDS)
TWO = Outline(
    (Look("circle", "red", "small"), Look("star", "blue", "small")),
    (Take((Part(0, "right"), Part(1, "still")), depth="behind", side="left"),),
)
NEAR = Outline(TWO.looks, (Take((Part(0, "towards"), Part(1, "still"))),))


def rewards(asked: Outline, *read: Outline) -> np.ndarray:
    """(sentences, words, terms)."""
    sentences = np.stack([grammar.encode(outline) for outline in read])
    return plans.plan_rewards(grammar.encode(asked)[None], sentences, np.array([3]), names=NAMES)


def word(outline: Outline, path: str) -> int:
    return [at for *_, at in grammar.spell(outline)].index(path)


def change(outline: Outline, part: int | None = None, **values: str) -> Outline:
    (take,) = outline.takes
    if part is None:
        return dataclasses.replace(outline, takes=(dataclasses.replace(take, **values),))
    parts = list(take.parts)
    parts[part] = dataclasses.replace(parts[part], **values)
    return dataclasses.replace(outline, takes=(dataclasses.replace(take, parts=tuple(parts)),))


def test_what_is_said_has_no_fault() -> None:
    stories = [story(5, "test", i, noise="none", picture=False).outline for i in range(300)]
    total = np.stack([rewards(outline, outline)[0].sum(0) for outline in stories])
    assert not total[:, [NAMES.index("unread"), NAMES.index("invented")]].any()
    # A few prompts contradict themselves; staging then misses something.
    assert ((total < 0).any(1)).mean() < 0.05


@pytest.mark.parametrize("outline", [TWO, NEAR, change(NEAR, 0, motion="away")])
def test_relations_are_seen_in_the_boxes(outline: Outline) -> None:
    for seed in range(8):
        assert not list(plans.unrelated(outline, outline, stage(outline, seed)))


@pytest.mark.parametrize(
    ("asked", "read", "path", "terms"),
    [
        (TWO, change(TWO, side="right"), "takes/0/side", {"unread": -1, "unrelated": -1}),
        (TWO, change(TWO, depth="front"), "takes/0/depth", {"unread": -1, "unrelated": -1}),
        (
            NEAR,
            change(NEAR, 0, motion="away"),
            "takes/0/parts/0/motion",
            {"unread": -1, "unrelated": -1},
        ),
        (TWO, change(TWO, camera="zoom_in"), "takes/0/camera", {"invented": -1}),
        (TWO, change(TWO, 1, motion="bounce"), "takes/0/parts/1/motion", {"unread": -1}),
    ],
)
def test_a_fault_counts_at_its_word(
    asked: Outline, read: Outline, path: str, terms: dict[str, int]
) -> None:
    found = rewards(asked, read)[0]
    expected = np.zeros_like(found)
    for name, value in terms.items():
        expected[word(read, path), NAMES.index(name)] = value
    np.testing.assert_array_equal(found, expected)


def test_what_is_missing_counts_at_the_last_word() -> None:
    alone = Outline(TWO.looks[:1], (Take((Part(0, "right"),)),))
    found = rewards(TWO, alone)[0][:, NAMES.index("unread")]
    missing = 3 + 1 + 2 + 1  # the star's look and motion, two relations, the roles
    assert found[len(grammar.spell(alone)) - 1] == found.sum() == -missing


def test_boxes_that_leave_and_hide_are_faults() -> None:
    read = Outline((Look(), Look()), (Take((Part(0), Part(1))),))
    box = (0.4, 0.4, 0.2, 0.2)
    actors = [Actor(f"e{n}", "still", box, box) for n in range(2)]
    circle = Actor("e1", "orbit", (0.0, 0.4, 0.2, 0.2), (0.3, 0.4, 0.2, 0.2))
    wide = Actor("e1", "orbit", (0.0, 0.1, 0.2, 0.2), (0.4, 0.1, 0.2, 0.2))

    def staged(second: Actor) -> Script:
        entities = tuple(Entity(f"e{n}", "circle", "red", "small") for n in range(2))
        return Script(entities, (Scene("dark_grid", (Shot(16, (actors[0], second)),)),))

    assert list(plans.colliding(read, read, staged(actors[1]))) == ["takes/0/side"]
    assert not list(plans.colliding(read, read, staged(circle)))
    assert not list(plans.outside(read, read, staged(circle)))
    assert list(plans.outside(read, read, staged(wide))) == ["takes/0/parts/1/motion"]


def test_groups_stand_side_by_side() -> None:
    asked = np.stack([grammar.encode(TWO), grammar.encode(NEAR)])
    read = np.stack([grammar.encode(outline) for outline in (TWO, NEAR, NEAR, NEAR)])
    found = plans.plan_rewards(asked, read, np.array([0, 1]), names=NAMES)
    assert not found[0].any() and found[1].any() and not found[2:].any()
    short = plans.plan_rewards(asked[:, : grammar.SHORT], read, np.array([0, 1]), names=NAMES)
    np.testing.assert_array_equal(short, found)
