"""Laws of composition: mixtures of light, every frame once, in order."""

import numpy as np
import pytest

from jaxvid.script import CAMERAS
from jaxvid.typing import UserError
from jaxvid.video.compose import film, move, over, tile, to_linear, to_srgb


def light(codes: np.ndarray) -> np.ndarray:
    """IEC 61966-2-1, in float64."""
    v = codes.astype(np.float64) / 255
    return np.where(v <= 0.04045, v / 12.92, ((np.maximum(v, 0.04045) + 0.055) / 1.055) ** 2.4)


def codes(linear: np.ndarray) -> np.ndarray:
    curve = 1.055 * np.maximum(linear, 0.0031308) ** (1 / 2.4) - 0.055
    return 255 * np.where(linear <= 0.0031308, 12.92 * linear, curve)


def clip(frames: int, seed: int = 0, size: tuple[int, int] = (12, 10)) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (frames, *size, 3), dtype=np.uint8)


def plain(level: int, frames: int, size: tuple[int, int] = (4, 32)) -> np.ndarray:
    return np.full((frames, *size, 3), level, np.uint8)


def test_bytes_go_to_light_and_come_back() -> None:
    every = np.arange(256).astype(np.uint8)
    np.testing.assert_allclose(to_linear(every), light(every), atol=1e-7)
    np.testing.assert_array_equal(to_srgb(to_linear(every)), every)
    np.testing.assert_array_equal(to_srgb(np.array([-1.0, 2.0])), [0, 255])


@pytest.mark.parametrize("frames", [1, 5])
def test_over_mixes_linear_light_to_a_byte(frames: int) -> None:
    front, back = clip(5), clip(frames, seed=1)
    alpha = np.random.default_rng(2).random((5, 12, 10))
    a = alpha[..., None]
    wanted = codes(a * light(front) + (1 - a) * light(back))
    assert np.abs(over(front, back, alpha) - wanted).max() < 1


def test_over_shows_what_is_in_front_and_nothing_else() -> None:
    front, back = clip(2), clip(1, seed=1)
    np.testing.assert_array_equal(over(front, back, np.ones((2, 12, 10))), front)
    np.testing.assert_array_equal(over(front, back, np.zeros((2, 12, 10)))[1], back[0])
    half = over(plain(255, 1), plain(0, 1), np.full((1, 4, 32), 0.5))
    assert (half == 188).all()
    with pytest.raises(ValueError):
        over(clip(3), clip(2), np.ones((3, 12, 10)))


WINDOWS = {  # left, top, side: at the first and at the last frame
    "pan_left": ((1 / 4, 1 / 8, 3 / 4), (0, 1 / 8, 3 / 4)),
    "pan_right": ((0, 1 / 8, 3 / 4), (1 / 4, 1 / 8, 3 / 4)),
    "pan_up": ((1 / 8, 1 / 4, 3 / 4), (1 / 8, 0, 3 / 4)),
    "pan_down": ((1 / 8, 0, 3 / 4), (1 / 8, 1 / 4, 3 / 4)),
    "zoom_in": ((0, 0, 1), (1 / 4, 1 / 4, 1 / 2)),
    "zoom_out": ((1 / 4, 1 / 4, 1 / 2), (0, 0, 1)),
}


@pytest.mark.parametrize("camera", WINDOWS)
def test_a_camera_goes_from_window_to_window(camera: str) -> None:
    """On ramps of light the place that a pixel looks at can be read off."""
    H, W = 24, 40
    x_W, y_H = (np.arange(W) + 0.5) / W, (np.arange(H) + 0.5) / H
    x_HW, y_HW = np.broadcast_to(x_W, (H, W)), np.broadcast_to(y_H[:, None], (H, W))
    frame = np.rint(codes(0.2 + 0.6 * np.stack([x_HW, y_HW, 0 * x_HW], -1))).astype(np.uint8)
    moved = move(np.repeat(frame[None], 9, axis=0), camera)
    assert moved.shape == (9, H, W, 3)
    for t, (left, top, side) in zip((0, -1), WINDOWS[camera], strict=True):
        seen_x = np.clip(left + side * x_HW, 0.5 / W, 1 - 0.5 / W)
        seen_y = np.clip(top + side * y_HW, 0.5 / H, 1 - 0.5 / H)
        wanted = codes(0.2 + 0.6 * np.stack([seen_x, seen_y, 0 * x_HW], -1))
        assert np.abs(moved[t] - wanted).max() < 1.5
    middle = moved[4, H // 2 - 1 : H // 2 + 1, W // 2 - 1 : W // 2 + 1].mean((0, 1))
    assert np.abs(middle - codes(np.array([0.5, 0.5, 0.2]))).max() < 1.5  # half way, all are


def test_all_cameras_are_known_and_one_stands_still() -> None:
    video = clip(3)
    assert {*WINDOWS, "still"} == set(CAMERAS)
    assert move(video, "still") is video
    np.testing.assert_array_equal(move(video, "zoom_in")[0], video[0])
    still = np.repeat(video[:1], 5, axis=0)
    np.testing.assert_array_equal(move(still, "zoom_in"), move(still, "zoom_out")[::-1])
    assert move(video[:1], "pan_up").shape == (1, 12, 10, 3)


def test_cuts_lose_no_frame() -> None:
    shots = [clip(t, seed=t) for t in (3, 1, 5)]
    joined = film(shots, ["cut"] * 3)
    np.testing.assert_array_equal(joined, np.concatenate(shots))
    np.testing.assert_array_equal(film(shots[:1], ["cut"]), shots[0])


@pytest.mark.parametrize(("frames", "mixed"), [(7, 4), (4, 4), (2, 2), (1, 1)])
def test_a_fade_mixes_the_last_frame_into_the_next_shot(frames: int, mixed: int) -> None:
    before, after = clip(3), clip(frames, seed=1)
    faded = film([before, after], ["fade", "cut"])
    assert len(faded) == 3 + frames
    np.testing.assert_array_equal(faded[:3], before)
    np.testing.assert_array_equal(faded[3 + mixed :], after[mixed:])
    for t in range(mixed):
        share = (t + 1) / (mixed + 1)
        wanted = codes(share * light(after[t]) + (1 - share) * light(before[-1]))
        assert np.abs(faded[3 + t] - wanted).max() < 1


def test_a_wipe_uncovers_the_next_shot_from_the_left() -> None:
    wiped = film([plain(0, 2), plain(255, 6)], ["wipe", "wipe"])
    assert len(wiped) == 8 and (wiped[6:] == 255).all() and (wiped[:2] == 0).all()
    rows = wiped[2:6, 0, :, 0].astype(int)
    assert (np.diff(rows, axis=1) <= 0).all()  # new to the left, old to the right
    for t, row in enumerate(rows):
        assert row[0] == 255 and row[-1] == 0
        assert 1 <= ((row > 0) & (row < 255)).sum() <= 3  # a soft edge of two pixels
        assert abs((row > 127).sum() - 32 * (t + 1) / 5) < 2
    assert (np.diff(rows, axis=0) >= 0).all()


def test_what_comes_after_the_last_shot_does_not_matter() -> None:
    shots = [clip(2), clip(6, seed=1), clip(5, seed=2)]
    np.testing.assert_array_equal(
        film(shots, ["fade", "wipe", "cut"]), film(shots, ["fade", "wipe", "fade"])
    )
    np.testing.assert_array_equal(
        film(shots, ["cut", "wipe", "cut"])[:8], np.concatenate(shots[:2])
    )


def test_nothing_and_shots_of_other_sizes_are_refused() -> None:
    with pytest.raises(UserError, match="no shots"):
        film([], [])
    with pytest.raises(UserError, match="one size"):
        film([clip(2, size=(4, 6)), clip(2, size=(6, 4))], ["cut", "cut"])


def test_tiles_stand_where_they_should() -> None:
    videos = np.random.default_rng(0).integers(0, 255, (5, 3, 4, 6, 3)).astype(np.uint8)
    sheet = tile(videos, columns=2, gap=1)
    assert sheet.shape == (3, 3 * 5 - 1, 2 * 7 - 1, 3)
    for b in range(5):
        top, left = b // 2 * 5, b % 2 * 7
        np.testing.assert_array_equal(sheet[:, top : top + 4, left : left + 6], videos[b])
    assert (sheet[:, 4] == 255).all() and (sheet[:, 10:, 7:] == 255).all()
