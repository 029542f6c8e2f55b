"""What is told: the narration of a script as SubRip text, or drawn into the frames."""

import fractions
from collections.abc import Iterator
from typing import Any

import numpy as np
from jaxtyping import UInt8

from jaxvid.script import Script
from jaxvid.typing import UserError
from jaxvid.video.compose import over

Video = UInt8[np.ndarray, "T H W 3"]

_BAND = 1 / 6  # of the height of the frame
_DARK = 0.85  # how much the band hides of what is under it
_LARGEST, _SMALLEST = 0.5, 7  # size of the letters: in heights of the band, and in pixels
_FINE = 4  # letters are drawn so much larger and averaged: small ones keep their distances
_NOWHERE = "\U0010ffff"  # no character at all: what a font draws for it, it draws for any it lacks


def srt(script: Script) -> str:
    """The narrations as a SubRip file: a cue from the first frame of its shot to its last.

    Times are exact to the millisecond that the format counts in. A narration is put on one line and
    ``-->``, which would end it, becomes an arrow; a shot without one has no cue.
    """
    rate = fractions.Fraction(script.fps)
    return "\n".join(
        f"{number}\n{_time(first / rate)} --> {_time(last / rate)}\n{text.replace('-->', '→')}\n"
        for number, (first, last, text) in enumerate(_cues(script), 1)
    )


def _cues(script: Script) -> Iterator[tuple[int, int, str]]:
    """First frame, frame after the last, and text on one line, of every shot that has one."""
    last = 0
    for scene in script.scenes:
        for shot in scene.shots:
            first, last = last, last + shot.frames
            if text := " ".join(shot.narration.split()):
                yield first, last, text


def _time(seconds: fractions.Fraction) -> str:
    rest, milliseconds = divmod(round(seconds * 1000), 1000)
    minutes, second = divmod(rest, 60)
    hours, minute = divmod(minutes, 60)
    return f"{hours:02}:{minute:02}:{second:02},{milliseconds:03}"


def burn(video_THWC: Video, script: Script) -> Video:
    """The film of a script with the narrations drawn into its lower sixth, white on a dark band.

    The letters are as large as the wrapped text allows. Raises UserError for a film of another
    length than the script, for characters that the font lacks, and for a text that does not fit:
    enlarge small films first.
    """
    T, H, W, _ = video_THWC.shape
    if T != script.frames:
        raise UserError(f"a film of {T} frames is not of this script, which has {script.frames}")
    rows = max(1, round(H * _BAND))
    rise = np.clip((np.arange(rows) + 0.5) / rows * 3, 0, 1)  # in the upper third: smoothstep
    band_HW = np.broadcast_to(_DARK * (rise * rise * (3 - 2 * rise))[:, None], (rows, W))
    out_THWC = video_THWC.copy()
    for first, last, text in _cues(script):
        below = out_THWC[first:last, H - rows :]
        for tone, alpha_HW in ((0, band_HW), (255, _letters(text, rows, W))):
            alpha_THW = np.broadcast_to(alpha_HW, below.shape[:3])
            below = over(np.full_like(below, tone), below, alpha_THW)
        out_THWC[first:last, H - rows :] = below
    return out_THWC


def check(script: Script, size: tuple[int, int]) -> None:
    """Raises UserError where ``burn`` would, for frames of (H, W); call it before filming."""
    for _, _, text in _cues(script):
        _letters(text, max(1, round(size[0] * _BAND)), size[1])


def _letters(text: str, rows: int, width: int) -> np.ndarray:
    """The text, wrapped and centred in the largest size that fits: coverage (rows, width), 0 to 1.

    Raises UserError naming the characters that the font lacks, or where no size fits.
    """
    from PIL import Image, ImageDraw, ImageFont

    _check_drawable(text, ImageFont.load_default(16))
    W, H = width * _FINE, rows * _FINE
    for size in range(max(_SMALLEST, int(rows * _LARGEST)), _SMALLEST - 1, -1):
        font, spacing = ImageFont.load_default(size * _FINE), size
        lines = _wrap(text, font, 0.94 * W)
        picture = Image.new("L", (W, H))
        draw = ImageDraw.Draw(picture)
        left, _, right, bottom = draw.multiline_textbbox((0, 0), lines, font, spacing=spacing)
        if right - left <= 0.98 * W and bottom <= 0.94 * H:
            centre = (W / 2, H / 2)
            draw.multiline_text(centre, lines, 255, font, "mm", spacing=spacing, align="center")
            fine = np.asarray(picture, np.float32).reshape(rows, _FINE, width, _FINE)
            return fine.mean((1, 3)) / 255
    raise UserError(
        f"narration {ascii(text[:40])} does not fit into {rows} rows of {width} pixels; "
        "shorten it, enlarge the video, or write an .srt file"
    )


def _wrap(text: str, font: Any, width: float) -> str:
    """Lines as long as the width allows; a word that is longer has its own."""
    lines = [""]
    for word in text.split(" "):
        longer = f"{lines[-1]} {word}".lstrip()
        if lines[-1] and font.getlength(longer) > width:
            lines.append(word)
        else:
            lines[-1] = longer
    return "\n".join(lines)


def _check_drawable(text: str, font: Any) -> None:
    blank = bytes(font.getmask(_NOWHERE))
    if lacking := sorted({c for c in text if bytes(font.getmask(c)) == blank}):
        shown = "".join(lacking[:12])
        raise UserError(
            f"narration {text[:40]!r}: the font has no {shown!r}; write an .srt file instead, "
            "without --burn"
        )
