"""Laws of the lint: a story as it should be is clean, and each slip of the pen is named."""

import dataclasses
import functools
from collections.abc import Mapping
from typing import Any

import pytest

from jaxvid.data.scenes import sample_script
from jaxvid.lint import Finding, lint
from jaxvid.script import (
    DIRECTIONS,
    MOTIONS,
    Actor,
    Box,
    Entity,
    Key,
    Scene,
    Script,
    Shot,
    Span,
    from_json,
    to_json,
)

E0, E1 = Entity("e0", "star", "blue", "large"), Entity("e1", "square", "red", "medium")


def box(x: float, y: float, side: float = 0.2) -> Box:
    """The box with this centre."""
    return (x - side / 2, y - side / 2, side, side)


def does(motion: Any, start: Box, end: Box, **changes: Any) -> Actor:
    return Actor("e0", motion, start, end, **changes)


MIDDLE, SMALL = box(0.5, 0.5), box(0.5, 0.5, 0.1)
CLEAN: dict[str, Actor] = {
    way: does(way, MIDDLE, box(0.5 + 0.3 * dx, 0.5 + 0.3 * dy))
    for way, (dx, dy) in DIRECTIONS.items()
}
CLEAN |= {
    "bounce": does("bounce", MIDDLE, box(0.5, 0.2)),
    "orbit": does("orbit", box(0.5, 0.2), MIDDLE),
    "zoom_in": does("zoom_in", SMALL, MIDDLE),
    "zoom_out": does("zoom_out", MIDDLE, SMALL),
    "still": does("still", MIDDLE, MIDDLE),
    "path": does("path", MIDDLE, SMALL, keys=(Key(0.0, MIDDLE), Key(1.0, SMALL))),
}
OTHER = Actor("e1", "still", box(0.2, 0.7), box(0.2, 0.7), z=-1)
THIRD = Entity("e2", "ring", "pink", "small")


def film(*actors: Actor, **changes: Any) -> Script:
    """Two shots; changes are of the first."""
    shot = dataclasses.replace(Shot(9, (*actors, OTHER)), **changes)
    return Script((E0, E1), (Scene("dark_grid", (shot,)), Scene("warm_plain", (Shot(9),))))


def edited(**changes: Any) -> Script:
    return dataclasses.replace(film(CLEAN["right"]), prompt="a star", **changes)


def test_every_motion_has_a_clean_way() -> None:
    assert CLEAN.keys() == {*MOTIONS, "path"}


@pytest.mark.parametrize("motion", CLEAN)
def test_motions_as_they_are_meant_are_clean(motion: str) -> None:
    assert lint(film(CLEAN[motion], transition="fade", narration="x" * 22)) == []


@pytest.mark.parametrize("rise", [0.05, 0.15])
def test_a_motion_may_go_a_little_aslant(rise: float) -> None:
    assert lint(film(does("right", MIDDLE, box(0.7, 0.5 - rise)))) == []


@pytest.mark.parametrize("index", range(300))
def test_scenes_are_clean(index: int) -> None:
    assert lint(sample_script(5, ("train", "test", "heldout")[index % 3], index)) == []


AT = "scenes[0].shots[0]"
ACTOR = f"{AT}.actors[0]"
UNDER, OVER = (
    functools.partial(Actor, who, "still", box(0.7, 0.7, side), box(0.7, 0.7, side))
    for who, side in (("e0", 0.2), ("e1", 0.5))
)
WRONG: Mapping[str, tuple[Script, str, str]] = {
    "unused": (edited(entities=(E0, E1, THIRD)), "entities[2]", "no shot shows it"),
    "orbit out": (film(does("orbit", box(0.5, 0.15), box(0.5, 0.75))), ACTOR, "leaves the frame"),
    "bounce out": (
        film(does("bounce", box(0.5, 0.5, 0.8), box(0.5, 0.05, 0.1))),
        ACTOR,
        "the bounce leaves the frame",
    ),
    "never seen": (
        film(does("still", MIDDLE, MIDDLE, enter=0.51, exit=0.6)),
        ACTOR,
        "none of the 9 frames",
    ),
    "a pan past it": (
        film(does("still", box(0.06, 0.06, 0.12), box(0.06, 0.06, 0.12)), camera="pan_right"),
        ACTOR,
        "the camera, pan_right, does not see it at any time; move its boxes",
    ),
    "a zoom past it": (
        film(does("still", box(0.12, 0.12, 0.24), box(0.12, 0.12, 0.24)), camera="zoom_in"),
        ACTOR,
        "the camera, zoom_in, does not see it at the end; move its boxes",
    ),
    "before a zoom out": (
        film(does("left", box(0.2, 0.2, 0.1), box(0.1, 0.2, 0.1), exit=0.2), camera="zoom_out"),
        ACTOR,
        "the camera, zoom_out, does not see it at any time; move its boxes",
    ),
    "right goes left": (
        film(does("right", MIDDLE, box(0.2, 0.5))),
        f"{ACTOR}.motion",
        "right, but it goes left; use left",
    ),
    "right goes steeply up": (
        film(does("right", MIDDLE, box(0.6, 0.2))),
        f"{ACTOR}.motion",
        "right, but it goes up",
    ),
    "still moves": (film(does("still", MIDDLE, box(0.2, 0.5))), f"{ACTOR}.motion", "elsewhere"),
    "still grows": (film(does("still", SMALL, MIDDLE)), f"{ACTOR}.motion", "size changes"),
    "bounce down": (film(does("bounce", MIDDLE, box(0.5, 0.8))), f"{ACTOR}.motion", "highest"),
    "zoom in shrinks": (film(does("zoom_in", MIDDLE, SMALL)), f"{ACTOR}.motion", "use zoom_out"),
    "zoom out grows": (film(does("zoom_out", SMALL, MIDDLE)), f"{ACTOR}.motion", "use zoom_in"),
    "zoom of nothing": (film(does("zoom_in", MIDDLE, MIDDLE)), f"{ACTOR}.motion", "hardly changes"),
    "no travel": (film(does("left", MIDDLE, box(0.49, 0.5))), f"{ACTOR}.motion", "hardly moves"),
    "orbit of nothing": (film(does("orbit", MIDDLE, MIDDLE)), f"{ACTOR}.motion", "hardly moves"),
    "path of nothing": (
        film(does("path", MIDDLE, MIDDLE, keys=(Key(0.0, MIDDLE), Key(1.0, MIDDLE)))),
        f"{ACTOR}.motion",
        "goes nowhere",
    ),
    "hidden": (
        edited(scenes=(Scene("dark_grid", (Shot(9, (UNDER(z=0), OVER(z=1))),)),)),
        f"{AT}.actors",
        "'e1' hides 'e0' all the time; set their boxes apart or swap their z",
    ),
    "fade to nothing": (
        edited(scenes=(Scene("dark_grid", (Shot(9, (CLEAN["up"], OTHER), transition="fade"),)),)),
        f"{AT}.transition",
        "no shot follows",
    ),
    "wipe to a moment": (
        edited(
            scenes=(
                Scene("dark_grid", (Shot(9, (CLEAN["up"], OTHER), transition="wipe"), Shot(1))),
            )
        ),
        f"{AT}.transition",
        "too short for a wipe",
    ),
    "long narration": (
        film(CLEAN["up"], narration="x" * 23),
        f"{AT}.narration",
        "23 characters cannot be read in 1.1 s; shorten it or give the shot 10 frames",
    ),
    "span outside": (
        edited(spans=(Span("entities/0", 2, 7),)),
        "spans[0]",
        "2 to 7 is no part of 6",
    ),
    "span of nothing": (edited(spans=(Span("entities/0", 2, 2),)), "spans[0]", "2 to 2"),
    "span backwards": (edited(spans=(Span("entities/0", 3, 2),)), "spans[0]", "3 to 2"),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_is_surely_not_meant_is_named(name: str) -> None:
    story, path, said = WRONG[name]
    findings = lint(from_json(to_json(story)))
    assert [finding.path for finding in findings] == [path]
    assert said in str(findings[0]) and str(findings[0]).startswith(f"{path}: ")
    assert "\n" not in str(findings[0])


def test_a_camera_may_see_an_actor_for_a_while() -> None:
    corner, middle, side = box(0.12, 0.12, 0.24), box(0.5, 0.5), box(0.5, 0.06, 0.12)
    for actor, camera in (
        (does("still", corner, corner, exit=0.9), "zoom_in"),
        (does("still", corner, corner), "zoom_out"),
        (does("still", side, side), "pan_up"),
        (does("zoom_out", corner, box(0.12, 0.12, 0.12)), "zoom_in"),
        (does("down_right", corner, middle), "zoom_in"),
    ):
        assert lint(film(actor, camera=camera)) == [], (actor, camera)


SLOTS = ["entities/0", "entities/1/color", "scenes/0/background", "scenes/0/shots/0/camera"]
SLOTS += ["scenes/0/shots/0/actors/1/motion", "scenes/0/shots/0/actors/0/from", "scenes", "fps"]
NOWHERE = ["entities/2", "entities/0/colour", "scenes/0/shots/0/actors/0/start", "entities/x"]
NOWHERE += ["entities//", "fps/0", "scenes/0/background/tone", "_", "0"]


@pytest.mark.parametrize("slot", [*SLOTS, *NOWHERE])
def test_spans_lead_to_slots(slot: str) -> None:
    findings = lint(edited(spans=(Span(slot, 0, 6),)))
    assert [finding.path for finding in findings] == ["spans[0].slot"] * (slot in NOWHERE)


def test_a_ring_does_not_hide_what_stands_in_its_hole() -> None:
    ring, inside = dataclasses.replace(E1, kind="ring"), box(0.7, 0.7, 0.15)
    shot = Shot(9, (does("still", inside, inside), OVER(z=1)))
    story = Script((E0, ring), (Scene("dark_grid", (shot,)),))
    assert lint(story) == []


def test_a_diamond_is_hidden_though_the_corners_of_its_box_are_not() -> None:
    entities = dataclasses.replace(E0, kind="diamond"), dataclasses.replace(E1, kind="circle")
    shot = Shot(9, (UNDER(), Actor("e1", "still", box(0.7, 0.7, 0.22), box(0.7, 0.7, 0.22), z=1)))
    findings = lint(Script(entities, (Scene("dark_grid", (shot,)),)))
    assert [finding.path for finding in findings] == [f"{AT}.actors"]


@pytest.mark.parametrize("changes", [{"exit": 0.5}, {"enter": 0.5}])
def test_who_is_hidden_for_a_while_is_not_hidden(changes: dict[str, float]) -> None:
    shot = Shot(9, (UNDER(z=0), OVER(z=1, **changes)))
    assert lint(Script((E0, E1), (Scene("dark_grid", (shot,)),))) == []


def test_nobody_knows_what_a_picture_hides() -> None:
    pictured = dataclasses.replace(E1, ref="a.png")
    shot = Shot(9, (UNDER(z=0), OVER(z=1)))
    (only,) = lint(Script((E0, pictured), (Scene("dark_grid", (shot,)),)))
    assert only.path == "entities[1].ref" and "not the picture" in only.problem


def test_findings_come_in_the_order_of_the_document() -> None:
    actors = (does("right", MIDDLE, box(0.2, 0.5)), OTHER)
    shots = (Shot(1, narration="x" * 99), Shot(9, actors, transition="fade"))
    story = Script((E0, E1, THIRD), (Scene("dark_grid", shots),), spans=(Span("fps", 0, 1),))
    assert [finding.path for finding in lint(story)] == [
        "entities[2]",
        "scenes[0].shots[0].narration",
        "scenes[0].shots[1].actors[0].motion",
        "scenes[0].shots[1].transition",
        "spans[0]",
    ]


def test_a_finding_is_one_line() -> None:
    assert str(Finding("fps", "too low", "use 8")) == "fps: too low; use 8"
