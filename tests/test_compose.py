"""Laws of composition: every frame once, in order."""

import numpy as np
import pytest

from jaxvid.typing import UserError
from jaxvid.video.compose import join, tile


def test_shots_follow_each_other_without_loss() -> None:
    rng = np.random.default_rng(0)
    shots = [rng.integers(0, 256, (t, 4, 6, 3), dtype=np.uint8) for t in (3, 1, 5)]
    film = join(shots)
    assert film.shape == (9, 4, 6, 3) and film.dtype == np.uint8
    np.testing.assert_array_equal(film[:3], shots[0])
    np.testing.assert_array_equal(film[3], shots[1][0])
    np.testing.assert_array_equal(film[4:], shots[2])
    np.testing.assert_array_equal(join(shots[:1]), shots[0])


def test_nothing_and_shots_of_other_sizes_are_refused() -> None:
    with pytest.raises(UserError, match="no shots"):
        join([])
    with pytest.raises(UserError, match="one size"):
        join([np.zeros((2, 4, 6, 3), np.uint8), np.zeros((2, 6, 4, 3), np.uint8)])


def test_tiles_stand_where_they_should() -> None:
    videos = np.random.default_rng(0).integers(0, 255, (5, 3, 4, 6, 3)).astype(np.uint8)
    sheet = tile(videos, columns=2, gap=1)
    assert sheet.shape == (3, 3 * 5 - 1, 2 * 7 - 1, 3)
    for b in range(5):
        top, left = b // 2 * 5, b % 2 * 7
        np.testing.assert_array_equal(sheet[:, top : top + 4, left : left + 6], videos[b])
    assert (sheet[:, 4] == 255).all() and (sheet[:, 10:, 7:] == 255).all()
