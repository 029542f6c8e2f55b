"""Laws of the shapes: they fill their boxes, distances are distances, colours differ."""

import colorsys

import numpy as np
import pytest

from jaxvid.script import KINDS
from jaxvid.shapes import PALETTE, coverage, signed_distance

GRID = np.linspace(-1.2, 1.2, 481)  # steps of 1/200


def distance(kind: str) -> np.ndarray:
    return signed_distance(kind, GRID[None, :], GRID[:, None])


@pytest.mark.parametrize("kind", KINDS)
def test_touches_all_four_sides_of_its_box_and_stays_inside(kind: str) -> None:
    inside = distance(kind) < -1e-9
    for profile in (inside.any(0), inside.any(1)):
        ends = GRID[profile][[0, -1]]
        np.testing.assert_allclose(ends, [-1, 1], atol=0.02)


@pytest.mark.parametrize("kind", KINDS)
def test_is_a_distance_near_the_outline(kind: str) -> None:
    d = distance(kind)
    slope = np.hypot(*np.gradient(d, GRID, GRID))
    near = np.abs(d) < 0.05
    assert np.median(np.abs(slope[near] - 1)) < 0.1
    assert np.percentile(slope[near], 98) < 1.2  # all but corners


@pytest.mark.parametrize("kind", KINDS)
def test_is_symmetric_from_left_to_right(kind: str) -> None:
    np.testing.assert_allclose(distance(kind), distance(kind)[:, ::-1], atol=1e-12)


def test_kinds_differ_in_at_least_a_tenth_of_the_box() -> None:
    inside = np.stack([distance(kind) < 0 for kind in KINDS])
    for i in range(len(KINDS)):
        for j in range(i):
            assert (inside[i] ^ inside[j]).sum() / (2 / 2.4 * len(GRID)) ** 2 > 0.1, (
                KINDS[i],
                KINDS[j],
            )


def test_coverage_is_half_on_the_outline_and_one_pixel_wide() -> None:
    np.testing.assert_allclose(
        coverage(np.array([-1.0, -0.1, 0.0, 0.05, 0.1]), 0.2), [1, 1, 0.5, 0.25, 0]
    )


def test_unknown_kind_names_the_known_ones() -> None:
    with pytest.raises(ValueError, match="use one of circle"):
        signed_distance("blob", GRID, GRID)


def test_colours_are_saturated_and_differ_in_hue() -> None:
    hsv = np.array([colorsys.rgb_to_hsv(*(rgb / 255)) for rgb in PALETTE])
    assert hsv[:, 1].min() > 0.55
    hue = np.sort(hsv[:, 0])
    assert np.diff(np.append(hue, hue[0] + 1)).min() > 18 / 360
