"""Laws of the embedded data: an address is a scene, splits do not meet, captions say what is."""

import functools
import pickle
from collections import Counter

import numpy as np
import pytest

from jaxvid.data.pieces import LANGUAGES, Draw
from jaxvid.data.scenes import CAPTION, Scenes, caption, leave_out, sample_outline, sample_script
from jaxvid.data.stories import SPLITS, combinations
from jaxvid.outline import ANY, slots, stated
from jaxvid.script import (
    BACKGROUNDS,
    COLORS,
    KINDS,
    MOTIONS,
    SIZES,
    Script,
    from_json,
    to_json,
    tracks,
)


@functools.cache
def sample() -> tuple[Script, ...]:
    return tuple(sample_script(3, split, i) for split in SPLITS for i in range(250))


def triples(script: Script) -> set[tuple[str, str, str]]:
    """(kind, colour, motion) of each actor."""
    entities = {entity.id: entity for entity in script.entities}
    return {
        (entities[a.entity].kind, entities[a.entity].color, a.motion)
        for a in script.scenes[0].shots[0].actors
    }


def test_the_same_address_is_the_same_scene() -> None:
    assert sample_script(1, "train", 5) == sample_script(1, "train", 5)
    variants = {(1, "train", 5), (2, "train", 5), (1, "test", 5), (1, "train", 6)}
    assert len({to_json(sample_script(*address)) for address in variants}) == len(variants)


def test_sampling_does_not_change_what_happens() -> None:
    for i in range(10):
        small = sample_script(1, "train", i)
        large = sample_script(1, "train", i, frames=40, fps=24.0, resolution=128)
        assert small.entities == large.entities
        assert small.scenes[0].shots[0].actors == large.scenes[0].shots[0].actors
        assert (large.frames, large.fps, large.size) == (40, 24.0, (128, 128))


def test_held_out_combinations_are_never_trained_on() -> None:
    heldout = set(combinations("heldout"))
    for script in sample()[:500]:
        assert not heldout & triples(script)
    for script in sample()[500:]:
        assert heldout >= triples(script)


def test_scenes_are_what_was_settled() -> None:
    for i in range(60):
        outline, script = sample_outline(4, "train", i), sample_script(4, "train", i)
        (take,), (scene,) = outline.takes, script.scenes
        assert ANY not in (take.tone, take.pattern) and len(scene.shots) == 1
        assert scene.background == f"{take.tone}_{take.pattern}"
        for look, part, entity, actor in zip(
            outline.looks, take.parts, script.entities, scene.shots[0].actors, strict=True
        ):
            assert (look.kind, look.color, look.size) == (entity.kind, entity.color, entity.size)
            assert part.motion == actor.motion and (actor.enter, actor.exit) == (0, 1)


def test_every_choice_is_made_about_equally_often() -> None:
    scripts = sample()
    actors = Counter(len(script.entities) for script in scripts)
    assert 0.33 < actors[2] / len(scripts) < 0.47
    for names, seen in (
        (KINDS, Counter(e.kind for s in scripts for e in s.entities)),
        (COLORS, Counter(e.color for s in scripts for e in s.entities)),
        (SIZES, Counter(e.size for s in scripts for e in s.entities)),
        (MOTIONS, Counter(a.motion for s in scripts for a in s.scenes[0].shots[0].actors)),
        (BACKGROUNDS, Counter(s.scenes[0].background for s in scripts)),
    ):
        assert set(seen) == set(names)
        assert min(seen.values()) > 0.45 * sum(seen.values()) / len(names)


def test_two_actors_differ_in_colour_and_the_rear_one_shows() -> None:
    passes, hides, fronts = 0, [], 0
    for script in sample():
        if len(script.entities) == 2:
            assert script.entities[0].color != script.entities[1].color
            depths = [actor.z for actor in script.scenes[0].shots[0].actors]
            assert sorted(depths) == [0, 1]
            fronts += depths[0]
            boxes_TN4 = tracks(script).boxes_TN4  # back to front
            gap = np.abs(boxes_TN4[:, 0, :2] - boxes_TN4[:, 1, :2])
            both = np.clip(boxes_TN4[:, :, 2:].mean(1) - gap, 0, boxes_TN4[:, :, 2:].min(1)).prod(1)
            hidden = both / boxes_TN4[:, 0, 2:].prod(1)  # of the rear box, at most
            assert hidden.mean() < 0.7
            hides.append(hidden.mean() > 0.31 or hidden.max() > 0.61)
            passes += bool(hidden.max() > 0.05)
    assert passes > 100 and np.mean(hides) < 0.1  # two large ones have no room
    assert 0.4 < fronts / len(hides) < 0.6


def test_scripts_survive_json() -> None:
    for script in sample()[::20]:
        assert from_json(to_json(script)) == script


@pytest.mark.parametrize("split", SPLITS)
def test_captions_say_what_is_seen_and_fit(split: str) -> None:
    for i in range(100):
        wording, said = caption(4, split, i)
        assert len(wording.text.encode()) <= CAPTION
        full = dict(slots(sample_outline(4, split, i)))
        assert all(full[path] == value for path, value in stated(said).items())
        assert {span.slot for span in wording.spans} >= set(stated(said))
        assert all(0 <= span.start < span.end <= len(wording.text) for span in wording.spans)
        for path in full:  # these are always said
            if path.endswith(("/kind", "/color", "/motion")):
                assert path in stated(said)
        assert wording.text.isascii() == (i % 2 == 0)


def test_captions_are_in_either_language() -> None:
    for i in range(10):
        en, zh = (caption(4, "train", i, language=language) for language in LANGUAGES)
        assert en[0].text.isascii() and not zh[0].text.isascii()
    wordings = {caption(4, "train", 0, language=language)[0].text for language in LANGUAGES}
    assert wordings == {caption(4, "train", 0, language=language)[0].text for language in LANGUAGES}
    assert caption(4, "train", 0)[0].text in wordings


def test_where_no_depth_is_said_the_later_one_is_in_front() -> None:
    unsaid = left_out = 0
    for i in range(200):
        full = sample_outline(5, "train", i)
        said = leave_out(full, Draw(np.random.default_rng(i)))
        if len(full.looks) == 2 and said.takes[0].depth == ANY:
            assert full.takes[0].depth == "behind"
            first, second = sample_script(5, "train", i).scenes[0].shots[0].actors
            assert first.z < second.z
            unsaid += 1
        left_out += said.takes[0].tone == ANY
    assert unsaid > 5 and 50 < left_out < 110


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
        assert a.caption == caption(2, "test", i)[0].text
        assert a.video.shape == (4, 32, 32, 3)
    assert scenes[0].caption.isascii() and not scenes[1].caption.isascii()
    assert scenes[-1].caption == scenes[9].caption
    with pytest.raises(IndexError):
        scenes[10]
