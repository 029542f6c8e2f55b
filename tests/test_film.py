"""Plans of passes: everything unknown is filled once, from what is known by then, in windows."""

import numpy as np
import pytest

from jaxvid.film import Canvas, fill, passes, slides

WINDOW = 8
TIMES = np.arange(100, dtype=np.float32)


def known(frames: int, places: tuple[int, ...] = ()) -> np.ndarray:
    mask = np.zeros(frames, bool)
    mask[list(places)] = True
    return mask


CASES = [
    known(5), known(8), known(9), known(40), known(1), known(2),
    known(30, (0,)), known(30, (0, 1, 2, 3)), known(25, tuple(range(0, 25, 4))),
    known(65, (0, 64)), known(20, (19,)), known(20, (7,)), known(33, (3, 4, 20)),
    known(6, tuple(range(6))), known(17, tuple(range(0, 17, 2))), known(200, (0, 90, 199)),
]  # fmt: skip


@pytest.mark.parametrize("keys", [False, True])
@pytest.mark.parametrize("mask", CASES, ids=lambda m: f"{len(m)}-{m.sum()}")
def test_every_frame_is_filled_and_no_pass_is_wider_than_the_window(
    mask: np.ndarray, keys: bool
) -> None:
    filled, first = mask.copy(), not mask.any()
    for index in passes(mask, WINDOW, keys=keys):
        assert 1 <= len(index) <= WINDOW
        assert (np.diff(index) > 0).all() and index[0] >= 0 and index[-1] < len(mask)
        assert first or filled[index].any()  # it hangs together with what is there
        filled[index], first = True, False
    assert filled.all()


def test_between_known_frames_both_sides_are_known() -> None:
    for places in ((0, 4, 8, 12, 16), (0, 5, 16), (0, 60)):
        mask = known(places[-1] + 1, places)
        filled = mask.copy()
        for index in passes(mask, WINDOW, keys=True):
            assert filled[index[0]] and filled[index[-1]]
            filled[index] = True


def test_key_frames_come_first() -> None:
    keys, whole = list(passes(known(8), 8, keys=True))
    np.testing.assert_array_equal(keys, [0, 4, 7])
    np.testing.assert_array_equal(whole, np.arange(8))
    assert len(list(passes(known(8), 8, keys=False))) == 1


def test_a_continuation_begins_with_the_frames_before() -> None:
    plan = list(passes(known(20, tuple(range(6))), WINDOW, keys=False))
    np.testing.assert_array_equal(plan[0], np.arange(4, 12))
    assert plan[1][0] == 10 and plan[-1][-1] == 19


def test_windows_slide_over_all_frames() -> None:
    for frames in (1, 7, 8, 9, 31):
        plan = list(slides(frames, WINDOW))
        assert set(np.concatenate(plan)) == set(range(frames))
        assert all(len(set(a) & set(b)) >= 2 for a, b in zip(plan, plan[1:], strict=False))


def conditions(frames: int) -> dict[str, np.ndarray]:
    return {
        "index": np.zeros(1, np.int32),
        "boxes": np.arange(frames, dtype=np.float32)[None, :, None, None] * np.ones((1, 1, 2, 4)),
        "visible": np.ones((1, frames, 2), np.float32),
        "text": np.zeros((1, 4), np.int32),
    }


def paint(batch: dict[str, np.ndarray]) -> np.ndarray:
    """A generator that draws each frame as the number in its boxes, all pixels, known or not."""
    number = batch["boxes"][0, :, 0, 0].astype(np.uint8)
    return np.broadcast_to(number[:, None, None, None], batch["video"].shape[1:])


def test_known_pixels_stay_and_conditions_belong_to_their_frames() -> None:
    T = 30
    rng = np.random.default_rng(0)
    video = rng.integers(100, 200, (T, 4, 4, 3)).astype(np.uint8)
    mask = np.zeros((T, 4, 4), bool)
    mask[[0, 1, 9]] = True
    times = np.arange(T, dtype=np.float32) / 8
    seen = []

    def sample(batch: dict[str, np.ndarray]) -> np.ndarray:
        assert batch["times"][0, 0] == 0 and batch["mask"].dtype == np.float32
        np.testing.assert_allclose(
            np.diff(batch["times"][0]), np.diff(batch["boxes"][0, :, 0, 0]) / 8, atol=1e-6
        )
        seen.append(batch["mask"][0, :, 0, 0, 0])
        return paint(batch)

    out = fill(sample, Canvas(video, mask, times), conditions(T), window=WINDOW, keys=True)
    np.testing.assert_array_equal(out[mask], video[mask])
    numbers = np.broadcast_to(np.arange(T)[:, None, None, None], out.shape)
    np.testing.assert_array_equal(out[~mask], numbers[~mask])
    assert video.min() >= 100 and len(seen) > 3  # the canvas is left as it was
    assert all(m.any() for m in seen)


def test_holes_are_filled_in_windows_that_overlap() -> None:
    T = 20
    video = np.full((T, 4, 4, 3), 100, np.uint8)
    mask = np.ones((T, 4, 4), bool)
    mask[:, 1:3, 1:3] = False
    canvas = Canvas(video, mask, np.arange(T, dtype=np.float32))
    out = fill(paint, canvas, conditions(T), window=WINDOW, keys=True)
    assert (out[mask] == 100).all()
    assert (out[:, 1, 1, 0] == np.arange(T)).all()


def test_what_is_known_costs_no_pass() -> None:
    canvas = Canvas(np.zeros((5, 4, 4, 3), np.uint8), np.ones((5, 4, 4), bool), TIMES[:5])
    fill(lambda batch: pytest.fail("asked"), canvas, conditions(5), window=WINDOW, keys=True)
