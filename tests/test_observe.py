"""Clips as scripts: who is seen where, and how it goes on."""

import dataclasses
import functools

import numpy as np
import pytest

from jaxvid.data.render import render
from jaxvid.lint import lint
from jaxvid.metrics import reader
from jaxvid.observe import WINDOW, observe
from jaxvid.outline import Look, Outline, Part, Take
from jaxvid.script import Actor, Entity, Scene, Script, Shot, tracks
from jaxvid.staging import stage


@functools.cache
def told(motion: str, frames: int = 16) -> Script:
    """A star in front of a grid."""
    look, part = Look("star", "red", "medium"), Part(0, motion)
    return stage(Outline((look,), (Take((part,), "dark", "grid"),)), 0, frames=frames)


def box(script: Script, t: int, n: int = 0) -> np.ndarray:
    return tracks(script).boxes_TN4[t, n]


@pytest.mark.parametrize("motion", ["right", "up", "down_left", "zoom_in", "still"])
def test_what_moves_moves_on(motion: str) -> None:
    script = told(motion)
    video = render(script)
    for known in (6, 16):
        found = observe(video[:known], 16, fps=8.0)
        assert found is not None and (found.fps, found.size) == (8.0, (32, 32))
        (entity,), (scene,) = found.entities, found.scenes
        assert (entity.color, entity.kind) == ("red", "star") and scene.background == "dark_grid"
        assert found.frames == 16 and tracks(found).visible_TN[:, 0].all()
        for t in (0, known - 1, 15):
            assert np.abs(box(found, t) - box(script, t)).max() < 0.06, (known, t)


@pytest.mark.parametrize("motion", ["bounce", "orbit"])
def test_hops_and_turns_are_done_again(motion: str) -> None:
    video = render(told(motion))
    found = observe(video, 31, fps=8.0)
    assert found is not None
    again = reader.read_clip(render(found)[15:])[0]
    assert again.motion == motion
    for t in (4, 9, 15):
        assert np.abs(box(found, 15 + t) - box(found, t)).max() < 0.02


def test_it_ends_at_the_edge_of_the_frame() -> None:
    found = observe(render(told("right")), 64, fps=8.0)
    assert found is not None and not lint(found)
    x, _, width, _ = box(found, 63)
    assert x + width / 2 == pytest.approx(1.0, abs=1e-5)


def test_only_the_end_of_a_long_clip_says_how_it_goes_on() -> None:
    clip = np.concatenate([render(told("still", 40)), render(told("up"))])
    found = observe(clip, len(clip) + 4, fps=8.0)
    assert found is not None and len(clip) > 2 * WINDOW
    assert box(found, len(clip) + 3)[1] < box(found, len(clip) - 1)[1] - 0.05


def plan(*actors: Actor, frames: int) -> Script:
    entities = (Entity("e0", "star", "red", "medium"), Entity("e1", "ring", "blue", "small"))
    return Script(entities, (Scene("dark_grid", (Shot(frames, actors),)),))


def test_a_plan_goes_on_from_where_its_actors_are_seen() -> None:
    script = told("right")
    video = render(script)
    side = 0.4
    up = Actor("e0", "up", (0.1, 0.6, side, side), (0.1, 0.5, side / 2, side / 2), exit=0.5)
    new = Actor("e1", "still", (0.7, 0.7, 0.2, 0.2), (0.7, 0.7, 0.2, 0.2), z=1)
    found = observe(video, 25, fps=8.0, plan=plan(up, new, frames=10))
    assert found is not None and [e.color for e in found.entities] == ["red", "blue"]
    seen, after = box(found, 15), box(found, 19)
    assert np.abs(seen - box(script, 15)).max() < 0.06
    share = 4 / 4.5  # of its stretch, half of nine steps
    moved = np.array([-0.1, -0.2]) * share  # of its centre
    np.testing.assert_allclose(after[:2] - seen[:2], moved, atol=0.01)
    np.testing.assert_allclose(after[2:] / seen[2:], 1 - 0.5 * share, atol=0.03)
    shown = tracks(found).visible_TN
    assert shown[:20, 0].all() and not shown[21:, 0].any()  # it leaves
    assert not shown[:16, 1].any() and shown[16:, 1].all()  # it comes
    np.testing.assert_allclose(box(found, 20, 1), [0.8, 0.8, 0.2, 0.2], atol=1e-5)


def test_who_leaves_at_the_end_or_at_once() -> None:
    ring, box_ = Entity("e1", "ring", "blue", "small"), (0.7, 0.7, 0.2, 0.2)
    leaves = Actor("e0", "still", (0.3, 0.3, 0.3, 0.3), (0.3, 0.3, 0.3, 0.3), exit=0.9)
    at_once = Actor("e1", "still", box_, box_, exit=0.05)
    star = Entity("e0", "star", "red", "medium")
    plan = Script((star, ring), (Scene("dark_grid", (Shot(3, (leaves, at_once)),)),))
    found = observe(render(told("still")), 18, fps=8.0, plan=plan)
    assert found is not None and [e.color for e in found.entities] == ["red"]
    shown = tracks(found).visible_TN[:, 0]
    assert shown[:17].all() and not shown[17]


@pytest.mark.parametrize("frames", [16, 41, 48])
def test_a_long_clip_is_read_throughout(frames: int) -> None:
    low, high = (0.0, 0.6, 0.28, 0.28), (0.05, 0.05, 0.4, 0.4)
    right = Actor("e0", "right", low, (0.72, 0.6, 0.28, 0.28))
    back = Actor("e1", "right", high, (0.55, 0.05, 0.4, 0.4), exit=0.5)
    forth = Actor("e1", "left", (0.55, 0.05, 0.4, 0.4), high, enter=0.5)
    entities = Entity("e0", "circle", "red", "small"), Entity("e1", "square", "blue", "medium")
    script = Script(entities, (Scene("light_plain", (Shot(frames, (right, back, forth)),)),))
    found = observe(render(script), frames, fps=8.0)
    assert found is not None and len(found.entities) == 2
    colors = [entity.color for entity in found.entities]
    for n, color in enumerate(("red", "blue")):
        off = tracks(found).boxes_TN4[:, colors.index(color)] - tracks(script).boxes_TN4[:, n]
        assert np.abs(off).max() < 0.06
    assert tracks(found).visible_TN.all()


def test_who_comes_later_is_read_from_then_on() -> None:
    """With the size that it comes to have."""
    grows = told("zoom_in", 32)
    nobody = dataclasses.replace(grows, scenes=(Scene("dark_grid", (Shot(32),)),))
    found = observe(np.concatenate([render(nobody), render(grows)]), 64, fps=8.0)
    assert found is not None and found.entities[0].size == "medium"
    np.testing.assert_array_equal(tracks(found).visible_TN[:, 0], [0] * 32 + [1] * 32)


@pytest.mark.parametrize("more", [0, 8])
@pytest.mark.parametrize("front", [0, 1])
def test_who_is_in_front_stays_there(front: int, more: int) -> None:
    small, large = (0.3, 0.3, 0.28, 0.28), (0.44, 0.2, 0.56, 0.56)
    still = Actor("e0", "still", small, small, z=1 - front)
    left = Actor("e1", "left", large, (0.25, 0.2, 0.56, 0.56), z=front)
    entities = Entity("e0", "circle", "red", "small"), Entity("e1", "square", "blue", "large")
    script = Script(entities, (Scene("light_plain", (Shot(16, (still, left)),)),))
    found = observe(render(script), 16 + more, fps=8.0)
    assert found is not None
    back_to_front = [entity.color for entity in found.entities]
    assert back_to_front == (["red", "blue"] if front else ["blue", "red"])


@pytest.mark.parametrize("frames", [1, 2])
def test_short_clips(frames: int) -> None:
    found = observe(render(told("right"))[:frames], frames, fps=8.0)
    assert found is not None and found.frames == frames


def test_what_is_longer_than_scripts_has_none() -> None:
    video = render(told("right"))
    assert observe(video, 4096, fps=8.0) is not None and observe(video, 4097, fps=8.0) is None


def test_nobody_is_seen_in_an_empty_clip() -> None:
    assert observe(np.full((4, 32, 32, 3), 200, np.uint8), 8, fps=8.0) is None
