"""Laws of crop, resize, windows and hold."""

import itertools

import jax
import numpy as np
import pytest

from jaxvid.data import transforms


def noise(*shape, seed=0):
    return np.random.default_rng(seed).integers(0, 256, shape, np.uint8)


@pytest.mark.parametrize(("height", "width"), [(5, 7), (16, 9), (32, 40), (3, 60)])
def test_resize_equals_the_reference(height, width):
    video_THWC = noise(2, 20, 24, 3)
    ours = transforms.resize(video_THWC, height, width)
    theirs = jax.image.resize(
        video_THWC.astype(np.float32), (2, height, width, 3), "linear", antialias=True
    )
    assert ours.dtype == np.uint8
    np.testing.assert_allclose(ours, np.clip(theirs, 0, 255), atol=0.51)


@pytest.mark.parametrize(("high", "wide"), [(2, 2), (8, 8), (1, 3)])
def test_what_was_enlarged_comes_back(high, wide):
    small = noise(2, 6, 10, 3)
    large = small.repeat(high, axis=1).repeat(wide, axis=2)
    np.testing.assert_array_equal(transforms.resize(large, 6, 10), small)


def test_resize_to_the_same_size_changes_nothing():
    video_THWC = noise(2, 6, 6, 3)
    np.testing.assert_array_equal(transforms.resize(video_THWC, 6, 6), video_THWC)


@pytest.mark.parametrize(("height", "width"), [(4, 8), (8, 4), (5, 5), (1, 9)])
def test_fit_keeps_the_middle_of_the_long_side(height, width):
    video_THWC = noise(1, height, width, 3)
    side = min(height, width)
    fitted = transforms.fit(video_THWC, side)
    top, left = (height - side) // 2, (width - side) // 2
    np.testing.assert_array_equal(fitted, video_THWC[:, top : top + side, left : left + side])


@pytest.mark.parametrize("length", [1, 5, 8, 9, 23, 24])
def test_windows_lie_inside_and_do_not_overlap(length):
    frames = 8
    for seed in range(20):
        count = transforms.windows(length, frames)
        starts = [transforms.window_start(length, frames, w, seed=seed) for w in range(count)]
        assert starts[0] >= 0 and all(b - a == frames for a, b in itertools.pairwise(starts))
        assert starts[-1] + frames <= max(length, frames)


def test_window_position_depends_on_the_seed_alone():
    starts = [transforms.window_start(100, 60, seed=seed) for seed in range(50)]
    assert starts == [transforms.window_start(100, 60, seed=seed) for seed in range(50)]
    assert len(set(starts)) > 15 and min(starts) < 5 and max(starts) > 35


def test_hold_repeats_the_last_frame_or_cuts():
    video_THWC = noise(3, 2, 2, 3)
    held = transforms.hold(video_THWC, 5)
    np.testing.assert_array_equal(held, video_THWC[[0, 1, 2, 2, 2]])
    np.testing.assert_array_equal(transforms.hold(video_THWC, 2), video_THWC[:2])
