"""Laws of the pieces: what is joined keeps its spans, and held-out forms stay held out."""

import numpy as np
import pytest

from jaxvid.data.pieces import LANGUAGES, Draw, Piece, Span, join


def test_spans_are_the_pieces_without_the_space_around_them() -> None:
    pieces = [
        Piece("a "),
        Piece("red ", ("looks/0/color",)),
        Piece("圆形", ("looks/0/kind",)),
        Piece(" moves"),
        Piece(" on dark grid ", ("takes/0/tone", "takes/0/pattern")),
        Piece(""),
    ]
    wording = join(pieces)
    assert wording.text == "a red 圆形 moves on dark grid "
    said = {span.slot: wording.text[span.start : span.end] for span in wording.spans}
    assert said == {
        "looks/0/color": "red",
        "looks/0/kind": "圆形",
        "takes/0/tone": "on dark grid",
        "takes/0/pattern": "on dark grid",
    }


def test_a_slot_may_be_said_twice() -> None:
    wording = join([Piece("two", ("a",)), Piece(" "), Piece("both", ("a",))])
    assert wording.spans == (Span("a", 0, 3), Span("a", 4, 8))
    assert join([]).text == "" and join([]).spans == ()


def test_choices_are_a_function_of_the_generator() -> None:
    a, b = (Draw(np.random.default_rng(3)) for _ in range(2))
    assert [a.pick(range(100)) for _ in range(20)] == [b.pick(range(100)) for _ in range(20)]


def test_every_option_is_picked_about_equally_often() -> None:
    draw = Draw(np.random.default_rng(0))
    counts = np.bincount([draw.pick((0, 1, 2, 3, 4)) for _ in range(2000)])
    assert counts.min() > 300 and len(counts) == 5


@pytest.mark.parametrize("probability", [0.0, 0.25, 1.0])
def test_chances(probability: float) -> None:
    draw = Draw(np.random.default_rng(0))
    share = np.mean([draw.chance(probability) for _ in range(2000)])
    assert abs(share - probability) < 0.04 * (0 < probability < 1) + 1e-9


@pytest.mark.parametrize(("training", "share"), [(False, 0.1), (True, 0.5)])
def test_of_two_orders_neither_is_seldom_in_training(training: bool, share: float) -> None:
    draw = Draw(np.random.default_rng(0))
    draw.training = training
    assert abs(np.mean([draw.either(0.1) for _ in range(2000)]) - share) < 0.04


@pytest.mark.parametrize(("count", "held"), [(1, 0), (3, 0), (4, 1), (7, 1), (8, 2), (20, 5)])
def test_the_last_quarter_of_the_forms_is_held_out(count: int, held: int) -> None:
    forms = tuple(range(count))
    rng = np.random.default_rng(0)
    trained = [Draw(rng).form(forms) for _ in range(600)]
    assert set(trained) == set(forms[: count - held])
    heldout = [Draw(rng, heldout=True).form(forms) for _ in range(600)]
    assert set(heldout) == set(forms)  # a prompt of known and of new forms
    if held:
        assert 0.6 < np.mean(np.array(heldout) >= count - held) < 0.8


def test_languages_are_two() -> None:
    assert LANGUAGES == ("en", "zh")
