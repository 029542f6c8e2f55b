"""Laws of the outline: only what holds together can be built, and every slot has one path."""

import dataclasses

import pytest

from jaxvid.outline import (
    AT,
    DEFAULTS,
    GRID,
    MAX_LOOKS,
    MAX_TAKES,
    VALUES,
    Look,
    Outline,
    Part,
    Take,
    slots,
    stated,
)
from jaxvid.typing import UserError

LOOKS = (Look("circle", "red"), Look("star"))
PAIR = Take((Part(0, "towards"), Part(1)), "dark", depth="behind", side="left", link="fade")
STORY = Outline(LOOKS, (PAIR, Take((Part(1, "up", "gone", "fast", "left", "12"),))))


def at(outline: Outline, path: str) -> str:
    """What stands at a path, by walking it."""
    here: object = outline
    for key in path.split("/"):
        here = here[int(key)] if isinstance(here, tuple) else getattr(here, key)
    assert isinstance(here, str)
    return here


def test_slots_are_paths_to_their_values() -> None:
    paths = [path for path, _ in slots(STORY)]
    assert len(set(paths)) == len(paths) == 2 * 3 + 2 * 3 + 3 * 5 + 2 + 1
    for path, value in slots(STORY):
        assert at(STORY, path) == value
    assert "takes/0/link" in paths and "takes/1/link" not in paths  # the last leads nowhere
    assert "takes/0/side" in paths and "takes/1/side" not in paths  # of one part


def test_stated_is_what_is_not_a_default() -> None:
    assert stated(STORY) == {
        "looks/0/kind": "circle",
        "looks/0/color": "red",
        "looks/1/kind": "star",
        "takes/0/tone": "dark",
        "takes/0/parts/0/motion": "towards",
        "takes/0/depth": "behind",
        "takes/0/side": "left",
        "takes/0/link": "fade",
        "takes/1/parts/0/motion": "up",
        "takes/1/parts/0/then": "gone",
        "takes/1/parts/0/speed": "fast",
        "takes/1/parts/0/x": "left",
        "takes/1/parts/0/y": "12",
    }
    assert stated(Outline((Look(),), (Take((Part(0),)),))) == {}


def test_defaults_of_the_dataclasses_are_those_of_the_slots() -> None:
    for made in (Look(), Part(0), PAIR):
        for field in dataclasses.fields(made):
            if field.name in VALUES:
                assert field.default == DEFAULTS[field.name] == VALUES[field.name][0]


def test_values_are_told_apart() -> None:
    for values in VALUES.values():
        assert len(set(values)) == len(values)
    assert AT[0] == "0" and AT[-1] == str(GRID) and set(AT) < set(VALUES["x"])


@pytest.mark.parametrize("slot", VALUES)
def test_every_value_is_taken_and_no_other(slot: str) -> None:
    (path,) = [path for path, _ in slots(STORY) if path.endswith(f"/{slot}")][:1]

    def change(value: str) -> Outline:
        if path.startswith("looks"):
            looks = (dataclasses.replace(LOOKS[0], **{slot: value}), LOOKS[1])
            return dataclasses.replace(STORY, looks=looks)
        if "parts" in path:
            part = dataclasses.replace(PAIR.parts[0], **{slot: value})
            take = dataclasses.replace(PAIR, parts=(part, PAIR.parts[1]))
        else:
            take = dataclasses.replace(PAIR, **{slot: value})
        return dataclasses.replace(STORY, takes=(take, STORY.takes[1]))

    for value in VALUES[slot]:
        assert at(change(value), path) == value
    with pytest.raises(UserError, match=f"outline: {path}: 'mauve' is not known"):
        change("mauve")


def take(*who: int, **changes: str) -> Take:
    return Take(tuple(Part(n) for n in who), **changes)


@pytest.mark.parametrize(
    ("looks", "takes", "problem"),
    [
        (1, (), "1 to 3 takes"),
        (1, (take(0),) * (MAX_TAKES + 1), "1 to 3 takes"),
        (0, (take(),), "looks, please"),
        (MAX_LOOKS + 1, (take(0, 1), take(2, 3)), "1 to 3 looks"),
        (1, (take(),), "takes/0: needs 1 to 2 different looks"),
        (1, (take(0), take(0, 0)), "takes/1: needs 1 to 2 different looks"),
        (3, (take(0, 1, 2),), "takes/0: needs 1 to 2 different looks"),
        (2, (take(1, 0),), "takes/0: look 1 comes before look 0"),
        (3, (take(0), take(2), take(1)), "takes/1: look 2 comes before look 1"),
        (2, (take(0),), "look 1 is in no take"),
        (1, (take(0, side="left"),), "takes/0: a relation needs two parts"),
        (1, (take(0, depth="front"),), "takes/0: a relation needs two parts"),
        (1, (Take((Part(0, "away"),)),), "takes/0: a relation needs two parts"),
    ],
)
def test_what_does_not_hold_together_is_refused(
    looks: int, takes: tuple[Take, ...], problem: str
) -> None:
    with pytest.raises(UserError, match=problem) as caught:
        Outline((Look(),) * looks, takes)
    assert "\n" not in str(caught.value)


def test_parts_may_look_where_they_want() -> None:
    """Looks come in the order of their first part; later takes use them in any."""
    Outline((Look(),) * 3, (take(0, 1), take(1, 0), take(2, 0)))
