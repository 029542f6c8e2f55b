"""Laws of the rules: what is inside passes, what is outside reads well, other types are let be."""

from typing import Any

import pytest

from jaxvid.rules import Choice, Length, Pattern, Range, Rule, brief

RULES: dict[str, tuple[Rule, list[Any], list[tuple[Any, str]], dict[str, Any], dict[str, Any]]] = {
    "range": (
        Range(0, 10),
        [0, 10, 2.5, True, "x", None, [99]],
        [
            (-1, "-1 must be from 0 to 10"),
            (10.5, "10.5 must be from 0 to 10"),
            (float("nan"), "nan must be from 0 to 10"),
            (float("inf"), "inf must be from 0 to 10"),
            (10**400, "1" + "0" * 56 + "... must be from 0 to 10"),
        ],
        {"type": "integer"},
        {"minimum": 0, "maximum": 10},
    ),
    "open range": (
        Range(0, 240, open=True),
        [1e-9, 240],
        [(0, "0 must be over 0 and at most 240")],
        {"type": "number"},
        {"exclusiveMinimum": 0, "maximum": 240},
    ),
    "range with slack": (
        Range(0, 1, slack=0.5),
        [-0.5, 1.5],
        [(1.6, "1.6 must be from 0 to 1"), (-0.6, "-0.6 must be from 0 to 1")],
        {"type": "number"},
        {"minimum": -0.5, "maximum": 1.5},
    ),
    "length of a text": (
        Length(1, 3),
        ["a", "雪雪雪", 7, None],
        [
            ("", "has 0 characters; it must have 1 to 3"),
            ("abcd", "has 4 characters; it must have 1 to 3"),
        ],
        {"type": "string"},
        {"minLength": 1, "maxLength": 3},
    ),
    "length of a list": (
        Length(0, 2),
        [[], (1, 2)],
        [([1, 2, 3], "has 3 items; it must have 0 to 2")],
        {"type": "array"},
        {"maxItems": 2},
    ),
    "pattern": (
        Pattern("a|bc", "a or bc"),
        ["a", "bc", 3],
        [("ac", "'ac' must be a or bc"), ("a\n", "'a\\n' must be a or bc")],
        {"type": "string"},
        {"pattern": "^(?:a|bc)$"},
    ),
    "choice": (
        Choice(("up", "down")),
        ["up", None],
        [("left", "'left' is not known; use one of up, down")],
        {"type": "string"},
        {"enum": ["up", "down"]},
    ),
}


@pytest.mark.parametrize("name", RULES)
def test_rules(name: str) -> None:
    rule, good, bad, of, schema = RULES[name]
    assert [rule.problem(value) for value in good] == [None] * len(good)
    assert [rule.problem(value) for value, _ in bad] == [said for _, said in bad]
    assert rule.schema(of) == schema


def test_the_plain_rule_adds_nothing() -> None:
    assert Rule().problem(3) is None and Rule().schema({"type": "string"}) == {}


@pytest.mark.parametrize(
    "value, said",
    [
        (None, "null"),
        ({"a": 1}, "an object"),
        ([1], "a list"),
        ("球\n", "'\\u7403\\n'"),
        (2.5, "2.5"),
    ],
)
def test_values_are_named_in_one_line_of_ascii(value: object, said: str) -> None:
    assert brief(value) == said


def test_long_values_are_cut() -> None:
    assert len(brief("x" * 1_000_000)) == 60


def test_a_list_that_is_too_deep_to_print_has_a_name() -> None:
    deep: list[Any] = []
    for _ in range(100_000):
        deep = [deep]
    assert brief(deep) == "a list"
    while deep:  # taken apart by hand: freeing it at once may recurse
        deep = deep.pop()
