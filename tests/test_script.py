"""Laws of the script: JSON loses nothing, hostile documents are refused, motions are as told."""

import copy
import dataclasses
import json
import pathlib
import random
from typing import Any

import numpy as np
import pytest

from jaxvid import script
from jaxvid.script import (
    Actor,
    Entity,
    Fill,
    Key,
    Picture,
    Scene,
    Script,
    Shot,
    Span,
    from_json,
    path,
    to_json,
    tracks,
)
from jaxvid.typing import UserError

A, B = (0.1, 0.2, 0.2, 0.2), (0.6, 0.5, 0.3, 0.4)
MIDDLE = (0.3, 0.3, 0.1, 0.2)
E0, E1 = Entity("e0", "star", "blue", "large"), Entity("e1", "cross", "red", "medium")
ROUTE = (Key(0.0, A), Key(0.25, B), Key(1.0, MIDDLE))
WINDING = Actor("e0", "path", A, MIDDLE, keys=ROUTE)


def film(*actors: Actor, frames: int = 9, **changes: Any) -> Script:
    scene = Scene("dark_grid", (Shot(frames, actors),))
    return Script((E0, E1), (scene,), **changes)


def one_actor(motion: Any = "right", start: Any = A, end: Any = B, frames: int = 9) -> Script:
    return film(Actor("e0", motion, start, end), frames=frames)


EVERYTHING = Script(
    (
        Entity("球", "ring", "pink", "small", "knitted,\nfrayed \U0001f9f6", "looks/ball.PNG"),
        Entity("b", "cross", "red", "medium"),
    ),
    (
        Scene(
            "warm_noise",
            (
                Shot(3, (Actor("球", "bounce", A, B, 5), Actor("b", "orbit", B, A, -3)), "pan_up"),
                Shot(1, transition="fade"),
                Shot(
                    8,
                    (
                        Actor("b", "left", B, A, exit=0.5),
                        Actor("球", "path", A, MIDDLE, 2, 0.1, 0.9, ROUTE),
                        Actor("b", "still", A, A, enter=0.5),
                    ),
                    narration='"再见" \\ <b>',
                ),
            ),
        ),
        Scene(Fill((0, 128, 255)), (Shot(2, transition="wipe"),)),
        Scene(Picture("backs/sea side.mp4"), (Shot(5),)),
    ),
    23.976,
    (64, 48),
    "一个粉色的圆环",
    (Span("entities/0/color", 2, 5), Span("scenes/0/shots/2/actors/1/motion", 0, 7)),
)


def document(**changes: Any) -> dict[str, Any]:
    """A valid document as a dict, with top-level keys changed."""
    return {**json.loads(to_json(one_actor())), **changes}


def centre(box: Any) -> np.ndarray:
    x, y, w, h = box
    return np.array([x + w / 2, y + h / 2])


def _box(draw: random.Random) -> script.Box:
    w, h = draw.uniform(1e-3, 1), draw.uniform(1e-3, 1)
    return (draw.uniform(0, 1 - w), draw.uniform(0, 1 - h), w, h)


def _actor(draw: random.Random, who: str, z: int, enter: float, leave: float) -> Actor:
    start, end = _box(draw), _box(draw)
    motion = draw.choice((*script.MOTIONS, "path"))
    keys: tuple[Key, ...] = ()
    if motion == "path":
        times = sorted({0.0, 1.0, *(draw.random() for _ in range(draw.randrange(5)))})
        keys = tuple(Key(t, _box(draw)) for t in times)
        start, end = keys[0].box, keys[-1].box
    return Actor(who, motion, start, end, z, enter, leave, keys)


def _shot(draw: random.Random, ids: list[str]) -> Shot:
    actors = []
    for who in draw.sample(ids, draw.randint(0, min(2, len(ids)))):
        cuts = sorted({0.0, 1.0, *(draw.random() for _ in range(draw.randrange(4)))})
        z = draw.randint(-9, 9)
        actors += [_actor(draw, who, z, *ends) for ends in zip(cuts[:-1], cuts[1:], strict=True)]
    draw.shuffle(actors)
    said = draw.choice(("", "Night falls.", "夜幕降临\t\n", "\U0001f31a" * 9))
    camera, link = draw.choice(script.CAMERAS), draw.choice(script.TRANSITIONS)
    return Shot(draw.randint(1, 99), tuple(actors), camera, link, said)


def random_script(seed: int) -> Script:
    draw = random.Random(seed)
    ids = [
        draw.choice(("e", "雪", "\U0001f480 ", "'\"\\")) + str(n) for n in range(draw.randrange(5))
    ]
    entities = tuple(
        Entity(
            who,
            draw.choice(script.KINDS),
            draw.choice(script.COLORS),
            draw.choice(script.SIZES),
            draw.choice(("", "old")),
            draw.choice((None, "a.png", "a/b c.Webp")),
        )
        for who in ids
    )
    backs = (*script.BACKGROUNDS, Fill((1, 2, 255)), Picture("x.mkv"))
    scenes = tuple(
        Scene(draw.choice(backs), tuple(_shot(draw, ids) for _ in range(draw.randint(1, 3))))
        for _ in range(draw.randint(1, 3))
    )
    prompt = draw.choice(("", "a star"))
    spans = (Span("entities/0", 0, 6),) if prompt else ()
    return Script(
        entities, scenes, draw.uniform(1e-3, 240), (draw.randint(1, 4096), 9), prompt, spans
    )


@pytest.mark.parametrize("seed", range(200))
def test_json_loses_nothing(seed: int) -> None:
    original = random_script(seed)
    assert from_json(to_json(original)) == original
    assert from_json(to_json(original, indent=None)) == original


def test_json_loses_nothing_of_everything() -> None:
    assert EVERYTHING.frames == 3 + 1 + 8 + 2 + 5
    again = from_json(to_json(EVERYTHING))
    assert again == EVERYTHING
    assert hash(again) == hash(EVERYTHING)  # tuples stay tuples


def test_a_script_too_long_to_be_read_again_is_not_written() -> None:
    spans = (Span("entities/" + "0" * 190, 0, 1),) * 4096
    with pytest.raises(UserError, match="at most 1,000,000"):
        to_json(dataclasses.replace(one_actor(), spans=spans))


def test_json_is_what_people_write() -> None:
    assert document() == {
        "version": "jaxvid.script/1",
        "fps": 8.0,
        "size": [32, 32],
        "entities": [
            {"id": "e0", "kind": "star", "color": "blue", "size": "large"},
            {"id": "e1", "kind": "cross", "color": "red", "size": "medium"},
        ],
        "scenes": [
            {
                "background": "dark_grid",
                "shots": [
                    {
                        "frames": 9,
                        "actors": [
                            {"entity": "e0", "motion": "right", "from": list(A), "to": list(B)}
                        ],
                    }
                ],
            }
        ],
    }
    shots = json.loads(to_json(EVERYTHING))["scenes"]
    assert [shot["background"] for shot in shots[1:]] == [
        {"color": [0, 128, 255]},
        {"image": "backs/sea side.mp4"},
    ]
    winding = shots[0]["shots"][2]["actors"][1]
    assert winding["keys"][1] == {"t": 0.25, "box": list(B)}
    assert "from" not in winding and "to" not in winding


def test_what_has_a_default_may_be_left_out_and_whole_floats_count() -> None:
    short = document()
    for key in ("version", "fps", "size"):
        del short[key]
    short["scenes"][0]["shots"][0]["frames"] = 9.0
    assert from_json(json.dumps(short)) == one_actor()
    short["scenes"][0]["shots"] = [{"frames": 2}]
    assert from_json(json.dumps(short)).scenes[0].shots == (Shot(2),)


def spoil(*keys: Any, value: Any, of: dict[str, Any] | None = None) -> str:
    """The valid document as JSON with the value at ``keys`` replaced."""
    spoilt = copy.deepcopy(of) if of else document()
    at: Any = spoilt
    for key in keys[:-1]:
        at = at[key]
    at[keys[-1]] = value
    return json.dumps(spoilt)


SHOT = ("scenes", 0, "shots", 0)
ACTOR = (*SHOT, "actors", 0)
ACTORS = document()["scenes"][0]["shots"][0]["actors"]
BACK = ("scenes", 0, "background")
MANY = [{"id": f"e{n}", "kind": "star", "color": "red", "size": "small"} for n in range(65)]
TWICE = '{"version": "jaxvid.script/1", "entities": [], "entities": [], "scenes": []}'


def routed(*keys: tuple[float, Any], **changes: Any) -> str:
    route = [{"t": t, "box": list(box)} for t, box in keys]
    return spoil(*ACTOR, value={"entity": "e0", "motion": "path", "keys": route, **changes})


def acted(*actors: dict[str, Any]) -> str:
    return spoil(*SHOT, "actors", value=[{**ACTORS[0], **actor} for actor in actors])


HOSTILE = {
    "empty": ("", "JSON"),
    "not JSON": ("a red circle", "JSON"),
    "half": (to_json(one_actor())[:-9], "JSON"),
    "null": ("null", "script: null must be a JSON object"),
    "list": ("[]", "object"),
    "number": ("7", "object"),
    "nothing in it": ("{}", "lacks entities, scenes"),
    "deep": ("[" * 100_000, "JSON"),
    "deep object": ('{"entities":' * 50_000, "JSON"),
    "as deep as can be read": ('{"entities":' + "[" * 900 + "]" * 900 + ', "scenes": 0}', "script"),
    "huge": (json.dumps(document(version="x" * 10_000_000)), "at most"),
    "key twice": (TWICE, "'entities' is given twice"),
    "keys twice": ('{"a": 1, ' + '"a": 1, ' * 99_999 + '"b": 2}', "'a' is given twice"),
    "key twice inside": (
        to_json(one_actor()).replace('"kind": "star"', '"kind": "star", "kind": "ring"'),
        "script: entities[0]: the key 'kind' is given twice",
    ),
    "newer": (spoil("version", value="jaxvid.script/2"), "update jaxvid"),
    "newer with new keys": (json.dumps({"version": "jaxvid.script/2", "mood": 1}), "update jaxvid"),
    "version of a wrong type": (spoil("version", value=["jaxvid.script/1"]), "version"),
    "unknown key": (json.dumps(document(mood="sad")), "unknown key 'mood'"),
    "unknown key inside": (spoil("entities", 0, "colour", value="red"), "did you mean 'color'?"),
    "long unknown key": (json.dumps(document(**{"k" * 500_000: 1})), "unknown key"),
    "no entities": (spoil("entities", value=None), "entities: null must be a list"),
    "text for a list": (spoil("scenes", value="scene"), "scenes"),
    "no scene": (spoil("scenes", value=[]), "scenes: has 0 items"),
    "no shot": (spoil("scenes", 0, "shots", value=[]), "scenes[0].shots: has 0 items"),
    "too many scenes": (spoil("scenes", value=[{}] * 5000), "1 to 64"),
    "too many entities": (spoil("entities", value=MANY), "0 to 64"),
    "unknown kind": (
        spoil("entities", 0, "kind", value="blob"),
        "script: entities[0].kind: 'blob' is not known; use one of circle, square",
    ),
    "long kind": (spoil("entities", 0, "kind", value="d" * 500_000), "circle, square"),
    "kind of a wrong type": (spoil("entities", 0, "kind", value={"circle": 1}), "entities[0].kind"),
    "id of a wrong type": (spoil("entities", 0, "id", value=None), "entities[0].id"),
    "empty id": (spoil("entities", 0, "id", value=""), "entities[0].id"),
    "long id": (spoil("entities", 0, "id", value="e" * 65), "entities[0].id"),
    "id that no file can hold": (spoil("entities", 0, "id", value="\ud800"), "entities[0].id"),
    "id of two lines": (spoil("entities", 0, "id", value="a\nb"), "entities[0].id"),
    "id that ends the line": (spoil("entities", 0, "id", value="e0\n"), "entities[0].id"),
    "id with a zero byte": (spoil("entities", 0, "id", value="e\0"), "entities[0].id"),
    "id that turns the line": (spoil("entities", 0, "id", value="\u202e0e"), "entities[0].id"),
    "half a character in a text": (spoil("prompt", value="\udfff"), "prompt"),
    "zero byte in a text": (spoil(*SHOT, "narration", value="a\0b"), "narration"),
    "long text": (spoil(*SHOT, "narration", value="a" * 1001), "0 to 1000"),
    "long prompt": (spoil("prompt", value="a" * 4097), "0 to 4096"),
    "double id": (spoil("entities", 1, "id", value="e0"), "entities[1].id: 'e0' is used twice"),
    "dangling actor": (spoil(*ACTOR, "entity", value="e9"), "no entity has the id 'e9'"),
    "same actor twice": (acted({}, {}), "on screen twice"),
    "stretches that overlap": (acted({"enter": 0.4}, {"exit": 0.5}), "on screen twice"),
    "stretches at two depths": (acted({"exit": 0.5}, {"enter": 0.5, "z": 1}), "changes its z"),
    "stretch of no time": (acted({"enter": 0.5, "exit": 0.5}), "exit: 0.5 must be over enter"),
    "stretch backwards": (acted({"enter": 0.9, "exit": 0.5}), "over enter"),
    "stretch beyond the shot": (acted({"exit": 1.5}), "exit: 1.5 must be from 0 to 1"),
    "seventeen actors": (acted(*[{}] * 17), "0 to 16"),
    "unknown motion": (spoil(*ACTOR, "motion", value="teleport"), "bounce"),
    "unknown camera": (spoil(*SHOT, "camera", value="drone"), "pan_left"),
    "unknown transition": (spoil(*SHOT, "transition", value="explode"), "wipe"),
    "unknown background": (spoil(*BACK, value="../../etc"), "background"),
    "background of a number": (spoil(*BACK, value=3), "background: 3 must be text or an object"),
    "empty background": (spoil(*BACK, value={}), "an object with color"),
    "both backgrounds": (spoil(*BACK, value={"color": [0, 0, 0], "image": "a.png"}), "'image'"),
    "colour of two": (spoil(*BACK, value={"color": [0, 0]}), "background.color"),
    "colour too bright": (spoil(*BACK, value={"color": [0, 0, 256]}), "from 0 to 255"),
    "colour of fractions": (spoil(*BACK, value={"color": [0, 0, 0.5]}), "whole"),
    "NaN box": (spoil(*ACTOR, "from", value=[float("nan"), 0, 0.1, 0.1]), "actors[0].from[0]: nan"),
    "infinite box": (spoil(*ACTOR, "to", value=[0, 0, float("inf"), 0.1]), "to[2]: inf"),
    "box of an overflow": (to_json(one_actor()).replace("0.6", "1e400"), "to[0]: inf"),
    "box of an enormous integer": (spoil(*ACTOR, "to", value=[0, 0, 10**400, 0.1]), "to[2]"),
    "box of text": (spoil(*ACTOR, "from", value=["0", 0, 0.1, 0.1]), "finite"),
    "box of truth": (spoil(*ACTOR, "from", value=[True, 0, 0.1, 0.1]), "finite"),
    "short box": (spoil(*ACTOR, "from", value=[0, 0, 0.1]), "from: has 3 items; it must have 4"),
    "flat box": (spoil(*ACTOR, "from", value=[0, 0, 0.1, 0]), "inside the frame"),
    "box outside": (spoil(*ACTOR, "to", value=[0.95, 0, 0.1, 0.1]), "inside the frame"),
    "path without keys": (spoil(*ACTOR, "motion", value="path"), "keys: needed by"),
    "path of one key": (routed((0, A)), "keys: has 1 items"),
    "path that starts late": (routed((0.1, A), (1, B)), "from 0 to 1"),
    "path that ends early": (routed((0, A), (0.9, B)), "from 0 to 1"),
    "path that halts time": (routed((0, A), (0.5, A), (0.5, B), (1, B)), "from 0 to 1"),
    "path that leaves": (routed((0, A), (1, (0.9, 0, 0.2, 0.2))), "keys[1].box"),
    "no keys beside a start": (acted({"keys": []}, {}), "actors[0].keys: has 0 items"),
    "null keys beside a start": (acted({"keys": None}, {}), "actors[0].keys: null must be a list"),
    "path with a start": (routed((0, A), (1, B), **{"from": list(A)}), "follows from keys"),
    "keys of another motion": (routed((0, A), (1, B), motion="left"), "keys: needed by"),
    "no frame": (spoil(*SHOT, "frames", value=0), "frames"),
    "half a frame": (spoil(*SHOT, "frames", value=2.5), "whole"),
    "true frames": (spoil(*SHOT, "frames", value=True), "whole"),
    "fifth of a pixel": (spoil("size", value=[32.2, 32]), "whole"),
    "half a depth": (spoil(*ACTOR, "z", value=0.5), "whole"),
    "enormous depth": (spoil(*ACTOR, "z", value=10**400), "z: inf must be from -1000"),
    "too many frames": (spoil(*SHOT, "frames", value=1e9), "4096"),
    "frames in all": (spoil("scenes", 0, "shots", value=[{"frames": 4000}] * 2), "8000"),
    "shots in all": (
        spoil("scenes", value=[{"background": "dark_grid", "shots": [{"frames": 1}] * 129}] * 2),
        "258 shots in all; at most 256",
    ),
    "fps zero": (spoil("fps", value=0), "fps: 0 must be from 0.1 to 240"),
    "fps NaN": (spoil("fps", value=float("nan")), "fps"),
    "fps enormous": (spoil("fps", value=10**400), "fps"),
    "digits without end": ('{"fps": ' + "1" * 100_000 + "}", "script"),
    "three sides": (spoil("size", value=[32, 32, 3]), "size"),
    "giant": (spoil("size", value=[100_000, 32]), "size[0]"),
    "span before the prompt": (
        spoil("spans", value=[{"slot": "entities/0", "from": -1, "to": 2}]),
        "spans[0].from",
    ),
    "span of a strange slot": (spoil("spans", value=[{"slot": "a b", "from": 0, "to": 2}]), "slot"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_documents_are_refused_in_one_short_line(name: str) -> None:
    text, said = HOSTILE[name]
    with pytest.raises(UserError) as caught:
        from_json(text)
    message = str(caught.value)
    assert said in message
    assert message.startswith("script: ")
    assert "\n" not in message and len(message) < 400
    message.encode()  # can be printed anywhere


PATHS_OUT = {
    "": "has 0 characters",
    "/etc/passwd.png": "below",
    "//host/share.png": "below",
    "../a.png": "below",
    "a/../../b.png": "below",
    "a/..": "below",
    "C:/a.png": "below",
    "C:a.png": "below",
    "a\\b.png": "below",
    "\\\\host\\a.png": "below",
    "http://host/a.png": "below",
    "file:a.png": "below",
    "a\0.png": "below",
    "a\n.png": "below",
    "a.png\n": "below",
    "a\u202egnp.exe": "below",
    "a.svg": "below",
    "a": "below",
    "png": "below",
    "\ud800.png": "half a character",
    "a" * 252 + ".png": "1 to 255",
    "/." * 9_000 + ".png": "1 to 255",
}


@pytest.mark.parametrize("reference", PATHS_OUT, ids=range(len(PATHS_OUT)))
def test_references_stay_below_the_folder_of_the_script(reference: str) -> None:
    pictured = json.loads(spoil(*BACK, value={"image": "a.png"}))
    for keys in (("entities", 0, "ref"), (*BACK, "image")):
        with pytest.raises(UserError) as caught:
            from_json(spoil(*keys, value=reference, of=pictured))
        assert f"{keys[-1]}: " in str(caught.value)
        assert PATHS_OUT[reference] in str(caught.value)


@pytest.mark.parametrize("reference", ["a.png", "./a.JPG", "b c/雪..x/.a.webp", "a" * 251 + ".gif"])
def test_references_to_images_are_kept(reference: str) -> None:
    story = from_json(spoil("entities", 0, "ref", value=reference))
    assert story.entities[0].ref == reference
    assert from_json(spoil(*BACK, value={"image": reference})).scenes[0].background == Picture(
        reference
    )


def test_a_clip_may_be_behind_but_not_be_who_is_there() -> None:
    assert from_json(spoil(*BACK, value={"image": "sea.mp4"}))
    with pytest.raises(UserError, match="ref: 'sea.mp4'"):
        from_json(spoil("entities", 0, "ref", value="sea.mp4"))


def nodes(value: Any, at: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The paths of all values in a document."""
    if not isinstance(value, dict | list):
        return [at]
    inner = value.items() if isinstance(value, dict) else enumerate(value)
    return [at, *(path for key, item in inner for path in nodes(item, (*at, key)))]


WHOLE = json.loads(to_json(EVERYTHING))


@pytest.mark.parametrize("wrong", [None, 1, "x", [], {}, float("nan"), -1e999])
def test_a_node_of_another_kind_is_refused_or_means_something(wrong: Any) -> None:
    for keys in nodes(WHOLE)[1:]:
        try:
            story = from_json(spoil(*keys, value=wrong, of=WHOLE))
        except UserError as error:
            assert "\n" not in str(error) and len(str(error)) < 400
        else:
            assert from_json(to_json(story)) == story


def test_every_node_is_looked_at() -> None:
    for keys in nodes(WHOLE)[1:]:
        with pytest.raises(UserError):
            from_json(spoil(*keys, value={"surely": "not"}, of=WHOLE))


def test_scripts_made_in_python_are_checked_too() -> None:
    good = one_actor()
    with pytest.raises(UserError, match="fps"):
        dataclasses.replace(good, fps=float("inf"))
    with pytest.raises(UserError, match=r"scenes\[0\].shots\[0\].actors\[0\].to"):
        one_actor(end=(0.5, 0.5, 0.6, 0.1))
    with pytest.raises(UserError, match=r"actors\[0\].from: must be what keys says"):
        film(dataclasses.replace(WINDING, start=B))
    with pytest.raises(UserError, match=r"actors: 3 different entities; at most 2"):
        crowd = tuple(Entity(f"e{n}", "ring", "red", "small") for n in range(3))
        shot = Shot(2, tuple(Actor(f"e{n}", "still", A, A) for n in range(3)))
        Script(crowd, (Scene("dark_grid", (shot,)),))


def test_rounding_does_not_put_a_box_outside() -> None:
    assert one_actor(start=(-1e-9, 0.0, 0.3, 0.3), end=(0.7 + 1e-9, 0.9, 0.3, 0.1))


def test_the_packaged_schema_is_the_schema() -> None:
    text = json.dumps(script.schema(), indent=2) + "\n"
    file = pathlib.Path(script.__file__).with_name("script.schema.json")
    again = (
        "python -c 'import json; from jaxvid.script import schema; "
        "print(json.dumps(schema(), indent=2))' > jaxvid/script.schema.json"
    )
    assert file.read_text(encoding="utf-8") == text, f"run: {again}"


U = np.linspace(0, 1, 33)


@pytest.mark.parametrize("motion", [*script.DIRECTIONS, "zoom_in", "zoom_out"])
def test_straight_motions_go_from_box_to_box_evenly(motion: Any) -> None:
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


def test_a_path_is_at_its_keys_on_time_and_between_them_on_lines() -> None:
    boxes = path(WINDING, np.array([0, 0.125, 0.25, 1]))
    want = [[*centre(key.box), *key.box[2:]] for key in ROUTE]
    np.testing.assert_allclose(boxes[[0, 2, 3]], want)
    np.testing.assert_allclose(boxes[1], np.mean(want[:2], axis=0))


@pytest.mark.parametrize("motion", script.MOTIONS)
def test_resampling_in_time_keeps_the_ends(motion: Any) -> None:
    story = one_actor(motion, frames=9)
    whole, fine, coarse = (tracks(story, frames=n).boxes_TN4 for n in (None, 17, 2))
    assert whole.shape == (9, script.MAX_ACTORS, 4) and whole.dtype == np.float32
    np.testing.assert_allclose(fine[::2], whole, atol=1e-6)
    np.testing.assert_allclose(coarse, whole[[0, -1]], atol=1e-6)
    np.testing.assert_allclose(tracks(story, frames=1).boxes_TN4[0], whole[0], atol=1e-6)


@pytest.mark.parametrize("frames", [0, -1])
def test_no_frames_is_an_error(frames: int) -> None:
    with pytest.raises(UserError, match=f"frames is {frames}"):
        tracks(one_actor(), frames=frames)


def test_tracks_sort_by_depth_and_pad() -> None:
    entities = (Entity("a", "ring", "pink", "small"), Entity("b", "cross", "red", "large"))
    near, far = Actor("a", "still", A, A, z=2), Actor("b", "right", B, B, z=1)
    story = Script(
        entities, (Scene("dark_plain", (Shot(2, (near, far)), Shot(3, (near,)), Shot(4))),)
    )
    both, alone, nobody = (tracks(story, shot=n) for n in range(3))
    pink_ring = [1 + script.KINDS.index("ring"), 1 + script.COLORS.index("pink"), 1]
    red_cross = [1 + script.KINDS.index("cross"), 1 + script.COLORS.index("red"), 3]
    np.testing.assert_array_equal(both.attributes_N3, [red_cross, pink_ring])  # back to front
    np.testing.assert_allclose(both.boxes_TN4[0, 0, :2], centre(B), atol=1e-6)
    np.testing.assert_array_equal(alone.attributes_N3, [pink_ring, [0, 0, 0]])
    np.testing.assert_array_equal(alone.visible_TN, [[1, 0]] * 3)
    assert not nobody.visible_TN.any() and not nobody.boxes_TN4.any()
    assert both.background == 1 + script.BACKGROUNDS.index("dark_plain")


def test_entities_of_one_depth_are_in_the_order_of_their_mention() -> None:
    late = Actor("e1", "still", A, A, enter=0.5)
    early = Actor("e1", "still", A, A, exit=0.5)
    other = Actor("e0", "still", B, B)
    for actors, first in (((late, other, early), E1), ((other, late, early), E0)):
        row = tracks(film(*actors)).attributes_N3[0, 0]
        assert row == 1 + script.KINDS.index(first.kind)


def test_rounding_makes_nobody_late() -> None:
    """Who enters with a frame is on it, and who exits with one is not, however many there are."""
    for frames in range(3, 80):
        for k in range(1, frames - 1):
            come = Actor("e0", "still", A, A, enter=k / (frames - 1))
            gone = Actor("e1", "still", B, B, exit=k / (frames - 1))
            wanted = np.arange(frames) >= k
            found = tracks(film(come, gone, frames=frames)).visible_TN
            np.testing.assert_array_equal(found, np.stack([wanted, ~wanted], 1), f"{frames} {k}")


def test_boxes_have_a_size() -> None:
    speck = (0.0, 0.0, 1e-170, 1e-170)
    with pytest.raises(UserError, match="must have a size"):
        film(Actor("e0", "still", speck, speck))


def test_one_thing_after_the_other_is_one_row() -> None:
    left = Actor("e0", "left", B, A, enter=0.25, exit=0.5)
    stop = Actor("e0", "still", A, A, enter=0.5, exit=0.75)
    boxes, visible, attributes, _ = tracks(film(stop, left, frames=9))
    np.testing.assert_array_equal(visible[:, 0], [0, 0, 1, 1, 1, 1, 0, 0, 0])
    assert not visible[:, 1].any() and not attributes[1].any()
    first, last = ([*centre(box), *box[2:]] for box in (B, A))
    halfway = np.mean([first, last], axis=0)
    want = [first, first, first, halfway, last, last, last, last, last]
    np.testing.assert_allclose(boxes[:, 0], want, atol=1e-6)


def test_what_begins_where_another_ends_is_shown_from_its_own_start() -> None:
    first = Actor("e0", "still", A, A, exit=0.5)
    then = Actor("e0", "still", B, B, enter=0.5)
    boxes, visible, _, _ = tracks(film(first, then, frames=3))
    np.testing.assert_allclose(boxes[:, 0, :2], [centre(A), centre(B), centre(B)], atol=1e-6)
    assert visible[:, 0].all()


@pytest.mark.parametrize(("frames", "share"), [(36, 0.2), (99, 0.5)])
def test_a_jump_shows_the_new_place_in_the_frame_it_is_said_of(frames: int, share: float) -> None:
    """Whatever rounding makes of the share."""
    before, after = Actor("e0", "still", A, A, exit=share), Actor("e0", "still", B, B, enter=share)
    found = tracks(film(before, after, frames=frames))
    at = round(share * (frames - 1))
    assert found.visible_TN[:, 0].all()
    places = found.boxes_TN4[at - 1 : at + 1, 0, :2]
    np.testing.assert_allclose(places, [centre(A), centre(B)], atol=1e-6)


def test_between_two_stretches_the_nearest_box_is_held() -> None:
    before = Actor("e0", "still", A, A, exit=0.25)
    after = Actor("e0", "still", B, B, enter=0.75)
    boxes, visible, _, _ = tracks(film(before, after, frames=9))
    np.testing.assert_array_equal(visible[:, 0], [1, 1, 0, 0, 0, 0, 1, 1, 1])
    np.testing.assert_allclose(boxes[:4, 0, :2], [centre(A)] * 4, atol=1e-6)
    np.testing.assert_allclose(boxes[5:, 0, :2], [centre(B)] * 4, atol=1e-6)


@pytest.mark.parametrize("back", [Fill((9, 9, 9)), Picture("sea.webm")])
def test_a_background_without_a_name_has_the_index_0(back: Any) -> None:
    assert tracks(Script((), (Scene(back, (Shot(2),)),))).background == 0
