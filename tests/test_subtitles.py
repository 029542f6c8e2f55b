"""Laws of subtitles: told at the right time, in one cue, or drawn where they can be read."""

import re

import numpy as np
import pytest

from jaxvid.script import Scene, Script, Shot
from jaxvid.typing import UserError
from jaxvid.video.subtitles import burn, srt


def told(*narrations: str, frames: int = 4, fps: float = 8.0) -> Script:
    shots = tuple(Shot(frames, narration=narration) for narration in narrations)
    return Script((), (Scene("dark_plain", shots),), fps)


def grey(frames: int, size: tuple[int, int] = (192, 256)) -> np.ndarray:
    return np.full((frames, *size, 3), 128, np.uint8)


def test_a_cue_lasts_from_the_first_frame_of_its_shot_to_its_last() -> None:
    assert srt(told("One.", "", "  \n", "Четыре, 四")) == (
        "1\n00:00:00,000 --> 00:00:00,500\nOne.\n\n2\n00:00:01,500 --> 00:00:02,000\nЧетыре, 四\n"
    )
    assert srt(told("", "")) == ""


def test_shots_are_counted_through_the_scenes() -> None:
    script = told("a", "b")
    twice = Script((), (*script.scenes, *told("c", frames=3).scenes))
    assert "00:00:01,000 --> 00:00:01,375\nc\n" in srt(twice)


@pytest.mark.parametrize("fps", [8.0, 23.976, 30000 / 1001, 240.0, 0.5])
def test_times_do_not_drift(fps: float) -> None:
    cues = srt(told(*["a"] * 200, frames=20, fps=fps))
    starts = re.findall(r"(\d\d+):(\d\d):(\d\d),(\d{3}) -->", cues)
    assert len(starts) == 200
    for n, (hours, minutes, seconds, milliseconds) in enumerate(starts):
        assert int(minutes) < 60 and int(seconds) < 60
        time = 3600 * int(hours) + 60 * int(minutes) + int(seconds) + int(milliseconds) / 1000
        assert abs(time - n * 20 / fps) <= 0.0005 + 1e-9


def test_a_narration_cannot_end_its_cue() -> None:
    text = srt(told("one\n\n2\r\n00:00:09,000 --> 00:00:10,000\u2028two\x85three"))
    assert text.count("-->") == 1 and len(text.splitlines()) == 3
    assert "one 2 00:00:09,000 → 00:00:10,000 two three" in text


def test_text_is_drawn_below_in_its_shot_and_nowhere_else() -> None:
    video = grey(8)
    drawn = burn(video, told("", "A red circle."))
    assert (video == 128).all()  # the argument is left alone
    np.testing.assert_array_equal(drawn[:4], video[:4])
    np.testing.assert_array_equal(drawn[4:, :160], video[4:, :160])
    below = drawn[4, 160:, :, 0].astype(int)
    assert below.max() > 240 and (below > 200).sum() > 60  # letters
    assert np.median(below[10:]) < 64  # on the dark
    assert below[0].min() > 100 and (np.diff(below[:10, 0]) <= 0).all()  # that begins softly
    inside = np.flatnonzero((below > 200).any(0))
    assert abs(inside[0] + inside[-1] - 255) < 8  # in the middle
    assert (drawn[4:] == drawn[4]).all()
    assert (drawn != burn(video, told("", "A blue circle."))).any()


def rows_of_letters(video: np.ndarray) -> int:
    return int((video[0, ..., 0] > 200).any(1).sum())


def test_long_text_wraps_and_short_text_is_larger() -> None:
    long = "The small red circle goes to the right and the large blue star follows it slowly"
    small = burn(grey(4), told(long))
    lit = small[0, 160:, :, 0] > 200
    lines = np.flatnonzero(np.diff(lit.any(1).astype(int)) == 1)
    assert len(lines) >= 2
    assert not lit[:, :2].any() and not lit[:, -2:].any()  # nothing is cut off
    assert rows_of_letters(burn(grey(4), told("Tg"))) > rows_of_letters(small) / len(lines)


def test_what_the_font_lacks_is_named() -> None:
    with pytest.raises(UserError, match=r"the font has no '圆红'; write an \.srt") as caught:
        burn(grey(4), told("a 红 圆"))
    assert "\n" not in str(caught.value)
    burn(grey(4), told(" ".join(map(chr, range(33, 127)))))  # all of ASCII can be drawn


@pytest.mark.parametrize(("text", "size"), [("word " * 190, (192, 256)), ("A circle", (16, 16))])
def test_what_does_not_fit_is_refused(text: str, size: tuple[int, int]) -> None:
    with pytest.raises(UserError, match=r"does not fit .* enlarge the video, or write") as caught:
        burn(grey(4, size), told(text))
    assert "\n" not in str(caught.value)


def test_a_film_of_another_script_is_refused() -> None:
    with pytest.raises(UserError, match="film of 5 frames .* which has 4"):
        burn(grey(5), told("a"))
