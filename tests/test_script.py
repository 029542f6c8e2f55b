"""Laws of the script: JSON loses nothing, hostile documents are refused, motions are as told."""

import dataclasses
import json
import time
from typing import Any

import numpy as np
import pytest

from jaxvid import script
from jaxvid.data.scenes import sample_script
from jaxvid.script import Actor, Entity, Scene, Script, Shot, from_json, path, to_json, tracks
from jaxvid.typing import UserError

A, B = (0.1, 0.2, 0.2, 0.2), (0.6, 0.5, 0.3, 0.4)


def one_actor(motion: str = "right", start: Any = A, end: Any = B, frames: int = 9) -> Script:
    entity = Entity("e0", "star", "blue", "large")
    shot = Shot(frames, (Actor("e0", motion, start, end),))
    return Script((entity,), (Scene("dark_grid", (shot,)),))


def document(**changes: Any) -> dict[str, Any]:
    """A valid document as a dict, with top-level keys changed."""
    return {**json.loads(to_json(one_actor())), **changes}


def centre(box: Any) -> np.ndarray:
    x, y, w, h = box
    return np.array([x + w / 2, y + h / 2])


@pytest.mark.parametrize("split", ["train", "heldout"])
def test_json_loses_nothing(split: str) -> None:
    for index in range(100):
        original = sample_script(7, split, index, frames=index + 1, fps=0.5 + index / 3)
        assert from_json(to_json(original)) == original
        assert from_json(to_json(original, indent=None)) == original


def test_json_keeps_shots_depth_and_ids_in_any_language() -> None:
    entities = (Entity("球", "ring", "pink", "small"), Entity("b", "cross", "red", "medium"))
    front = Actor("球", "bounce", A, B, z=5)
    back = Actor("b", "orbit", B, A, z=-3)
    shots = (Shot(3, (front, back)), Shot(1), Shot(4, (back,)))
    film = Script(
        entities, (Scene("warm_noise", shots), Scene("cool_plain", shots[:1])), 23.976, (64, 48)
    )
    assert film.frames == 3 + 1 + 4 + 3
    assert from_json(to_json(film)) == film


def test_version_fps_size_and_z_may_be_left_out() -> None:
    short = document()
    for key in ("version", "fps", "size"):
        del short[key]
    del short["scenes"][0]["shots"][0]["actors"][0]["z"]
    assert from_json(json.dumps(short)) == one_actor()


def spoil(*keys: Any, value: Any) -> str:
    """The valid document as JSON with the value at ``keys`` replaced."""
    spoilt = document()
    at: Any = spoilt
    for key in keys[:-1]:
        at = at[key]
    at[keys[-1]] = value
    return json.dumps(spoilt)


SHOT = ("scenes", 0, "shots", 0)
ACTOR = (*SHOT, "actors", 0)
ACTORS = document()["scenes"][0]["shots"][0]["actors"]
HOSTILE = {
    "empty": ("", "JSON"),
    "not JSON": ("a red circle", "JSON"),
    "half": (to_json(one_actor())[:-9], "JSON"),
    "null": ("null", "object"),
    "list": ("[]", "object"),
    "nothing in it": ("{}", "lacks entities, scenes"),
    "deep": ("[" * 200_000, "JSON"),
    "deep object": ('{"entities":' * 50_000, "JSON"),
    "huge": (json.dumps(document(version="x" * 2_000_000)), "at most"),
    "newer": (spoil("version", value="jaxvid.script/2"), "version"),
    "newer with new keys": (json.dumps(document(version="jaxvid.script/2", mood=1)), "version"),
    "version of a wrong type": (spoil("version", value=["jaxvid.script/1"]), "version"),
    "unknown key": (json.dumps(document(mood="sad")), "mood"),
    "unknown key inside": (spoil(*ACTOR, "colour", value="red"), "colour"),
    "long unknown key": (json.dumps(document(**{"k" * 500_000: 1})), "unknown key"),
    "no entities": (spoil("entities", value=None), "entities"),
    "text for a list": (spoil("scenes", value="scene"), "scenes"),
    "no scene": (spoil("scenes", value=[]), "scenes"),
    "no shot": (spoil("scenes", 0, "shots", value=[]), "scenes"),
    "too many scenes": (spoil("scenes", value=[{}] * 5000), "at most"),
    "unknown kind": (spoil("entities", 0, "kind", value="dragon"), "circle, square"),
    "long kind": (spoil("entities", 0, "kind", value="d" * 500_000), "circle, square"),
    "kind of a wrong type": (spoil("entities", 0, "kind", value={"circle": 1}), "entities[0].kind"),
    "id of a wrong type": (spoil("entities", 0, "id", value=None), "entities[0].id"),
    "empty id": (spoil("entities", 0, "id", value=""), "entities[0].id"),
    "id that no file can hold": (spoil("entities", 0, "id", value="\ud800"), "entities[0].id"),
    "id of two lines": (spoil("entities", 0, "id", value="a\nb"), "entities[0].id"),
    "double id": (spoil("entities", value=document()["entities"] * 2), "twice"),
    "dangling actor": (spoil(*ACTOR, "entity", value="e9"), "e9"),
    "same actor twice": (spoil(*SHOT, "actors", value=ACTORS * 2), "twice"),
    "three actors": (spoil(*SHOT, "actors", value=ACTORS * 3), "at most 2"),
    "unknown motion": (spoil(*ACTOR, "motion", value="teleport"), "bounce"),
    "unknown background": (spoil("scenes", 0, "background", value="../../etc"), "background"),
    "NaN box": (spoil(*ACTOR, "from", value=[float("nan"), 0, 0.1, 0.1]), "finite"),
    "infinite box": (spoil(*ACTOR, "to", value=[0, 0, float("inf"), 0.1]), "finite"),
    "box of an enormous integer": (spoil(*ACTOR, "to", value=[0, 0, 10**400, 0.1]), "finite"),
    "box of text": (spoil(*ACTOR, "from", value=["0", 0, 0.1, 0.1]), "finite"),
    "box of truth": (spoil(*ACTOR, "from", value=[True, 0, 0.1, 0.1]), "finite"),
    "short box": (spoil(*ACTOR, "from", value=[0, 0, 0.1]), "four"),
    "flat box": (spoil(*ACTOR, "from", value=[0, 0, 0.1, 0]), "inside the frame"),
    "box outside": (spoil(*ACTOR, "to", value=[0.95, 0, 0.1, 0.1]), "inside the frame"),
    "no frame": (spoil(*SHOT, "frames", value=0), "frames"),
    "half a frame": (spoil(*SHOT, "frames", value=2.5), "whole"),
    "fifth of a pixel": (spoil("size", value=[32.2, 32]), "whole"),
    "half a depth": (spoil(*ACTOR, "z", value=0.5), "whole"),
    "enormous depth": (spoil(*ACTOR, "z", value=10**400), "finite"),
    "too many frames": (spoil(*SHOT, "frames", value=1e9), "4096"),
    "frames in all": (
        spoil("scenes", 0, "shots", value=[{"frames": 4000, "actors": []}] * 2),
        "8000",
    ),
    "fps zero": (spoil("fps", value=0), "fps"),
    "fps NaN": (spoil("fps", value=float("nan")), "fps"),
    "fps enormous": (spoil("fps", value=10**400), "fps"),
    "digits without end": ('{"fps": ' + "1" * 100_000 + "}", "script"),
    "three sides": (spoil("size", value=[32, 32, 3]), "size"),
    "giant": (spoil("size", value=[100_000, 32]), "size"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_documents_are_refused_in_one_short_line(name: str) -> None:
    text, said = HOSTILE[name]
    began = time.thread_time()
    with pytest.raises(UserError) as caught:
        from_json(text)
    message = str(caught.value)
    assert said in message
    assert "\n" not in message and len(message) < 400
    message.encode()  # can be printed anywhere
    assert time.thread_time() - began < 1.0


def test_scripts_made_in_python_are_checked_too() -> None:
    good = one_actor()
    with pytest.raises(UserError, match="fps"):
        dataclasses.replace(good, fps=float("inf"))
    with pytest.raises(UserError, match=r"scenes\[0\].shots\[0\].actors\[0\].to"):
        one_actor(end=(0.5, 0.5, 0.6, 0.1))


U = np.linspace(0, 1, 33)


@pytest.mark.parametrize("motion", [*script.DIRECTIONS, "zoom_in", "zoom_out"])
def test_straight_motions_go_from_box_to_box_evenly(motion: str) -> None:
    boxes = path(Actor("e0", motion, A, B), U)
    np.testing.assert_allclose(boxes[0], [*centre(A), *A[2:]])
    np.testing.assert_allclose(boxes[-1], [*centre(B), *B[2:]])
    np.testing.assert_allclose(np.diff(boxes, 2, axis=0), 0, atol=1e-12)


def test_orbit_keeps_its_radius_and_turns_once_clockwise() -> None:
    around = path(Actor("e0", "orbit", A, B), U)[:, :2] - centre(B)
    np.testing.assert_allclose(np.hypot(*around.T), np.hypot(*(centre(A) - centre(B))))
    angle = np.unwrap(np.arctan2(around[:, 1], around[:, 0]))
    assert np.all(np.diff(angle) > 0)  # y points down, so growing angles are clockwise
    np.testing.assert_allclose(angle[-1] - angle[0], 2 * np.pi)


def test_bounce_touches_its_highest_point_twice_and_lands_between() -> None:
    boxes = path(Actor("e0", "bounce", A, B), np.array([0, 0.25, 0.5, 0.75, 1]))
    np.testing.assert_allclose(boxes[[1, 3], :2], [centre(B)] * 2)
    np.testing.assert_allclose(boxes[[0, 2, 4], :2], [centre(A)] * 3, atol=1e-12)
    share = (path(Actor("e0", "bounce", A, B), U)[:, :2] - centre(A)) / (centre(B) - centre(A))
    assert share.min() >= -1e-12 and share.max() <= 1 + 1e-12  # never under the floor


def test_still_stands_still_wherever_it_ends() -> None:
    boxes = path(Actor("e0", "still", A, B), U)
    np.testing.assert_array_equal(boxes[:, :2], np.broadcast_to(centre(A), (33, 2)))


@pytest.mark.parametrize("motion", script.MOTIONS)
def test_resampling_in_time_keeps_the_ends(motion: str) -> None:
    film = one_actor(motion, frames=9)
    whole, fine, coarse = (tracks(film, frames=n).boxes_TN4 for n in (None, 17, 2))
    assert whole.shape == (9, script.MAX_ACTORS, 4) and whole.dtype == np.float32
    np.testing.assert_allclose(fine[::2], whole, atol=1e-6)
    np.testing.assert_allclose(coarse, whole[[0, -1]], atol=1e-6)
    np.testing.assert_allclose(tracks(film, frames=1).boxes_TN4[0], whole[0], atol=1e-6)


def test_tracks_sort_by_depth_and_pad() -> None:
    entities = (Entity("a", "ring", "pink", "small"), Entity("b", "cross", "red", "large"))
    near, far = Actor("a", "still", A, A, z=2), Actor("b", "right", B, B, z=1)
    film = Script(
        entities, (Scene("dark_plain", (Shot(2, (near, far)), Shot(3, (near,)), Shot(4))),)
    )
    both, alone, nobody = (tracks(film, shot=n) for n in range(3))
    pink_ring = [1 + script.KINDS.index("ring"), 1 + script.COLORS.index("pink"), 1]
    red_cross = [1 + script.KINDS.index("cross"), 1 + script.COLORS.index("red"), 3]
    np.testing.assert_array_equal(both.attributes_N3, [red_cross, pink_ring])  # back to front
    np.testing.assert_allclose(both.boxes_TN4[0, 0, :2], centre(B), atol=1e-6)
    np.testing.assert_array_equal(alone.attributes_N3, [pink_ring, [0, 0, 0]])
    np.testing.assert_array_equal(alone.visible_TN, [[1, 0]] * 3)
    assert not nobody.visible_TN.any() and not nobody.boxes_TN4.any()
    assert both.background == 1 + script.BACKGROUNDS.index("dark_plain")
