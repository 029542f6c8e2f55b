"""Laws of the embedded data: an address is a scene, splits do not meet, all stays in frame."""

import pickle
from collections import Counter

import numpy as np
import pytest

from jaxvid import grammar
from jaxvid.data.scenes import SPLITS, Scenes, combinations, sample_script
from jaxvid.script import (
    BACKGROUNDS,
    COLORS,
    DIRECTIONS,
    EXTENTS,
    KINDS,
    MOTIONS,
    SIZES,
    Script,
    from_json,
    to_json,
    tracks,
)

SAMPLE = [sample_script(3, split, i) for split in SPLITS for i in range(400)]


def triples(script: Script) -> list[tuple[str, str, str]]:
    """(kind, colour, motion) of each actor."""
    entities = {entity.id: entity for entity in script.entities}
    return [
        (entities[a.entity].kind, entities[a.entity].color, a.motion)
        for a in script.scenes[0].shots[0].actors
    ]


def test_the_same_address_is_the_same_scene() -> None:
    assert sample_script(1, "train", 5) == sample_script(1, "train", 5)
    variants = {(1, "train", 5), (2, "train", 5), (1, "test", 5), (1, "train", 6)}
    assert len({to_json(sample_script(*address)) for address in variants}) == len(variants)


def test_sampling_does_not_change_what_happens() -> None:
    small, large = (
        sample_script(1, "train", 5),
        sample_script(1, "train", 5, frames=40, fps=24.0, resolution=128),
    )
    assert small.entities == large.entities
    assert small.scenes[0].shots[0].actors == large.scenes[0].shots[0].actors
    assert (large.frames, large.fps, large.size) == (40, 24.0, (128, 128))


def test_held_out_combinations_are_a_tenth_and_never_trained_on() -> None:
    train, heldout = set(combinations("train")), set(combinations("heldout"))
    assert not train & heldout
    assert len(train | heldout) == len(KINDS) * len(COLORS) * len(MOTIONS)
    assert 0.07 < len(heldout) / len(train | heldout) < 0.13
    assert combinations("test") == combinations("train")
    for position, names in enumerate((KINDS, COLORS, MOTIONS)):  # every name occurs on both sides
        for side in (train, heldout):
            assert {triple[position] for triple in side} == set(names)
    for split in ("train", "test"):
        for i in range(100):
            assert not heldout & set(triples(sample_script(0, split, i)))
    for i in range(100):
        assert heldout >= set(triples(sample_script(0, "heldout", i)))


def test_everything_stays_in_the_frame_on_the_grid() -> None:
    for script in SAMPLE:
        (scene,) = script.scenes
        (shot,) = scene.shots
        boxes_TN4 = tracks(script, frames=33).boxes_TN4[:, : len(shot.actors)]
        assert (boxes_TN4[..., :2] - boxes_TN4[..., 2:] / 2).min() > -1e-6
        assert (boxes_TN4[..., :2] + boxes_TN4[..., 2:] / 2).max() < 1 + 1e-6
        for actor, entity in zip(shot.actors, script.entities, strict=True):
            for x, y, w, h in (actor.start, actor.end):
                for centre in (x + w / 2, y + h / 2):
                    assert abs(centre * 32 - round(centre * 32)) < 1e-9
            zoom = {"zoom_in": (0.5, 1.0), "zoom_out": (1.0, 0.5)}.get(actor.motion, (1.0, 1.0))
            np.testing.assert_allclose(
                (actor.start[2:], actor.end[2:]),
                [[factor * EXTENTS[entity.size]] * 2 for factor in zoom],
            )


def test_motions_travel_as_named() -> None:
    for script in SAMPLE:
        for actor in script.scenes[0].shots[0].actors:
            first, last = np.array(actor.start), np.array(actor.end)
            dx, dy = (last[:2] + last[2:] / 2) - (first[:2] + first[2:] / 2)
            if actor.motion in DIRECTIONS:
                travel = max(abs(dx), abs(dy))
                np.testing.assert_allclose(
                    (dx, dy), np.multiply(DIRECTIONS[actor.motion], travel), atol=1e-9
                )
                assert 0.25 <= travel <= 0.5
            elif actor.motion == "bounce":
                assert abs(dx) < 1e-9 and -0.5 <= dy <= -0.25
            elif actor.motion == "orbit":
                assert abs(dx) < 1e-9 and 0.15 <= dy <= 0.3
            else:
                assert max(abs(dx), abs(dy)) < 1e-9


def test_every_choice_is_made_about_equally_often() -> None:
    actors = Counter(len(script.entities) for script in SAMPLE)
    assert 0.33 < actors[2] / len(SAMPLE) < 0.47
    for names, seen in (
        (KINDS, Counter(e.kind for s in SAMPLE for e in s.entities)),
        (COLORS, Counter(e.color for s in SAMPLE for e in s.entities)),
        (SIZES, Counter(e.size for s in SAMPLE for e in s.entities)),
        (MOTIONS, Counter(a.motion for s in SAMPLE for a in s.scenes[0].shots[0].actors)),
        (BACKGROUNDS, Counter(s.scenes[0].background for s in SAMPLE)),
    ):
        assert set(seen) == set(names)
        assert min(seen.values()) > 0.5 * sum(seen.values()) / len(names)


def test_two_actors_differ_in_colour_and_sometimes_pass() -> None:
    passes = 0
    for script in SAMPLE:
        if len(script.entities) == 2:
            assert script.entities[0].color != script.entities[1].color
            assert [a.z for a in script.scenes[0].shots[0].actors] == [0, 1]
            boxes_TN4 = tracks(script).boxes_TN4
            gap = np.abs(boxes_TN4[:, 0, :2] - boxes_TN4[:, 1, :2])
            both = np.clip(boxes_TN4[:, :, 2:].mean(1) - gap, 0, boxes_TN4[:, :, 2:].min(1)).prod(1)
            hidden = both / boxes_TN4[:, 0, 2:].prod(1)  # of the rear box, at most
            assert hidden.mean() < 0.31 and hidden.max() < 0.61
            passes += bool((gap < boxes_TN4[:, :, 2:].mean(1)).all(1).any())
    assert passes > 100


def test_scripts_survive_json_and_the_grammar() -> None:
    for script in SAMPLE[::20]:
        assert grammar.decode(grammar.encode(script)) == script
        assert from_json(to_json(script)) == script


def test_source_is_random_access_picklable_and_bilingual() -> None:
    scenes = Scenes("test", seed=2, length=10, frames=4)
    again = pickle.loads(pickle.dumps(scenes))
    assert repr(again) == repr(scenes) == repr(Scenes("test", seed=2, length=10, frames=4))
    assert len(scenes) == 10 and scenes.name == "scenes"
    for i in (3, 0, 9):
        a, b = scenes[i], again[i]
        np.testing.assert_array_equal(a.video, b.video)
        assert (a.caption, a.script) == (b.caption, b.script)
        assert a.script == scenes.script(i)
        assert a.video.shape == (4, 32, 32, 3)
    assert scenes[0].caption.isascii() and not scenes[1].caption.isascii()
    with pytest.raises(IndexError):
        scenes[10]
