"""Clips put together: one over another, one after another in time, or side by side.

Pixels come in and go out as sRGB bytes and are mixed in linear light, as lenses and eyes do: a
mean of black and white is 188, not 128.
"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Float32, UInt8

from jaxvid.camera import windows
from jaxvid.script import Camera, Script, Transition
from jaxvid.typing import UserError

__all__ = ["edit", "film", "move", "over", "tile", "to_linear", "to_srgb"]

Video = UInt8[np.ndarray, "T H W 3"]
Shots = Sequence[UInt8[np.ndarray, "_ _ _ 3"]]  # each with frames of its own

TRANSITION_FRAMES = 4
_FEATHER = 1 / 16  # of the edge of a wipe, in widths of the frame

# IEC 61966-2-1: a line near black, a power above
_CODES = np.arange(256) / 255
_LINEAR = np.where(_CODES <= 0.04045, _CODES / 12.92, ((_CODES + 0.055) / 1.055) ** 2.4).astype(
    np.float32
)


def to_linear(srgb: UInt8[np.ndarray, "*shape"]) -> Float32[np.ndarray, "*shape"]:
    """Linear light from 0 to 1 of sRGB bytes; ``to_srgb`` is its inverse, exactly."""
    return _LINEAR[srgb]


def to_srgb(linear: Float[np.ndarray, "*shape"]) -> UInt8[np.ndarray, "*shape"]:
    """The nearest sRGB bytes of linear light; what is outside of 0 to 1 is clipped."""
    light = np.clip(linear, 0, 1)
    codes = np.where(light <= 0.0031308, light * 12.92, 1.055 * light ** (1 / 2.4) - 0.055)
    return np.rint(codes * 255).astype(np.uint8)


def over(
    foreground_THWC: Video,
    background_THWC: UInt8[np.ndarray, "S H W 3"],
    alpha_THW: Float[np.ndarray, "T H W"],
) -> Video:
    """The foreground before the background: ``a F + (1 - a) B`` in linear light.

    ``background_THWC`` has as many frames as the foreground, or one, which stands still.
    ``alpha_THW`` runs from 0, where only the background is seen, to 1. Raises ValueError for
    another number of frames.
    """
    background_THWC = np.broadcast_to(background_THWC, foreground_THWC.shape)
    out_THWC = np.empty_like(foreground_THWC)
    for t, alpha_HW in enumerate(alpha_THW):  # a frame at a time: floats of a long clip are large
        under_HWC = to_linear(background_THWC[t])
        out_THWC[t] = to_srgb(
            under_HWC + alpha_HW[..., None] * (to_linear(foreground_THWC[t]) - under_HWC)
        )
    return out_THWC


def move(video_THWC: Video, camera: Camera) -> Video:
    """The clip as a moving camera sees it, in the same size: bilinear, in linear light.

    ``camera`` is one of ``script.CAMERAS`` and says where it looks as time goes, evenly from the
    first frame to the last:
        still                            the clip itself
        pan_left, _right, _up, _down     3/4 of the frame; the window goes to that side, so that
                                         what is seen goes to the other
        zoom_in, zoom_out                the whole frame to its middle half, and back; each frame
                                         enlarges by the same factor
    """
    if camera == "still":
        return video_THWC
    out_THWC = np.empty_like(video_THWC)
    for t, (x, y, side) in enumerate(windows(camera, len(video_THWC))):
        rows_HWC = _window(to_linear(video_THWC[t]), y, side)
        out_THWC[t] = to_srgb(_window(rows_HWC.swapaxes(0, 1), x, side).swapaxes(0, 1))
    return out_THWC


def _window(light_HWC: np.ndarray, centre: float, side: float) -> np.ndarray:
    """The rows of a window in as many rows as the whole, interpolated between the nearest two."""
    H = len(light_HWC)
    at_H = (centre + ((np.arange(H) + 0.5) / H - 0.5) * side) * H - 0.5
    at_H = np.clip(at_H, 0, H - 1)  # the frame ends at its outer rows' middles
    low_H = at_H.astype(int)
    part_H11 = (at_H - low_H).astype(np.float32)[:, None, None]
    low_HWC, high_HWC = light_HWC[low_H], light_HWC[np.minimum(low_H + 1, H - 1)]
    return low_HWC + part_H11 * (high_HWC - low_HWC)


def film(shots: Shots, transitions: Sequence[Transition]) -> Video:
    """Shots one after another: as many frames as they have together, in their order.

    ``transitions`` holds for each shot one of ``script.TRANSITIONS``, how it goes over to the next
    one; the last one's goes nowhere. During the first frames of the next shot, 4 or all that it
    has, the last frame of the shot before is still seen:
        cut     not at all
        fade    less and less, in linear light
        wipe    to the right of a soft edge that goes from left to right

    Raises UserError where there are no shots or they differ in size.
    """
    if not shots:
        raise UserError("nothing to join: the script has no shots")
    sizes = {shot.shape[1:] for shot in shots}
    if len(sizes) != 1:
        raise UserError(f"shots of one film must have one size, not {sorted(sizes)}")
    joined_THWC = np.concatenate(list(shots))
    start = 0
    for n in range(1, len(shots)):
        start += len(shots[n - 1])
        if transitions[n - 1] != "cut":
            opening_THWC = shots[n][:TRANSITION_FRAMES]
            alpha_THW = _uncovered(transitions[n - 1], opening_THWC.shape[:3])
            opening_THWC = over(opening_THWC, shots[n - 1][-1:], alpha_THW)
            joined_THWC[start : start + len(opening_THWC)] = opening_THWC
    return joined_THWC


def _uncovered(transition: Transition, shape: tuple[int, int, int]) -> np.ndarray:
    """How much is seen of the next shot, (T,H,W): evenly from none, before, to all, after."""
    T, _, W = shape
    done_T11 = (np.arange(1, T + 1) / (T + 1))[:, None, None]
    if transition == "fade":
        return np.broadcast_to(done_T11, shape)
    x_W = (np.arange(W) + 0.5) / W
    edge_T11 = done_T11 * (1 + _FEATHER)
    return np.broadcast_to(np.clip((edge_T11 - x_W) / _FEATHER, 0, 1), shape)


def edit(script: Script, shots: Shots) -> Video:
    """The finished film: the shots of a script, in its order, under its cameras and transitions."""
    said = [shot for scene in script.scenes for shot in scene.shots]
    moved = [move(video, shot.camera) for video, shot in zip(shots, said, strict=True)]
    return film(moved, [shot.transition for shot in said])


def tile(videos_BTHWC: np.ndarray, *, columns: int, gap: int = 2) -> np.ndarray:
    """Clips (B,T,H,W,3) uint8 side by side, ``columns`` in a row, ``gap`` white pixels between."""
    B, T, H, W, C = videos_BTHWC.shape
    rows = -(-B // columns)
    shape = (T, rows * (H + gap) - gap, columns * (W + gap) - gap, C)
    sheet_THWC = np.full(shape, 255, np.uint8)
    for b, video_THWC in enumerate(videos_BTHWC):
        top, left = b // columns * (H + gap), b % columns * (W + gap)
        sheet_THWC[:, top : top + H, left : left + W] = video_THWC
    return sheet_THWC
