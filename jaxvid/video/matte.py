"""The actors of a clip cut out of it, by their colours and boxes, to stand before something else.

The background of the clip stands still, so it is known where no actor was at some time. Colours
are compared in sRGB, which generated clips are blended in, along two axes of chroma and one of
brightness that counts half: shading then matters little, and an edge still lies on the line from
the background to its colour. Measured on 60 clips each, mean error of alpha in the boxes: analytic
0.013 at 32 pixels (sRGB 0.018, linear light 0.043) and 0.006 at 64; generated 0.033 at 32.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Float32, UInt8

__all__ = ["Matte", "matte"]

Video = UInt8[np.ndarray, "T H W 3"]

_FEATHER = 2.0  # pixels outside of its box at which an actor has ended
_RIM = 0.8  # brightness of an actor at its edge
_NOTHING, _ALL = 0.05, 0.95  # shares of the way to the actor's colour that are noise

# orthogonal axes: two of chroma, one of brightness
_AXES = np.array(
    [[2, 0, 0.5**0.5], [-1, 3**0.5, 0.5**0.5], [-1, -(3**0.5), 0.5**0.5]], np.float32
) / np.float32(6**0.5)


class Matte(NamedTuple):
    """The actors of a clip, for ``compose.over``."""

    foreground_THWC: np.ndarray  # uint8, their colours without what shone through at their edges
    alpha_THW: np.ndarray  # float32, how much of a pixel they cover, 0 to 1


def matte(
    video_THWC: Video,
    boxes_TN4: Float[np.ndarray, "T N 4"],
    visible_TN: Float[np.ndarray, "T N"],
    colors_N3: UInt8[np.ndarray, "N 3"],
) -> Matte:
    """Cuts the actors out of a clip whose background and camera stand still.

    Args:
      boxes_TN4, visible_TN: where they are, as ``script.tracks`` says it.
      colors_N3: their colours, of ``shapes.PALETTE``; anything for actors that are never visible.

    Returns:
      Alpha and colours, one layer: who is before whom the clip itself shows.
    """
    T, H, W, _ = video_THWC.shape
    beyond_NTHW = np.stack([_beyond(box_T4, H, W) for box_T4 in boxes_TN4.swapaxes(0, 1)])
    beyond_NTHW[visible_TN.T == 0] = np.inf
    ground_HWC = _ground(video_THWC, beyond_NTHW.min(0) >= _FEATHER)
    way_THWC = (video_THWC - ground_HWC) @ _AXES  # from the background
    alpha_THW, near_THW = np.zeros((T, H, W), np.float32), np.zeros((T, H, W), int)
    for beyond_THW, rgb_3 in zip(beyond_NTHW, colors_N3, strict=True):
        whole_HWC = (rgb_3 * np.float32(_RIM) - ground_HWC) @ _AXES
        squared_HW = np.maximum((whole_HWC**2).sum(-1), 1)
        share_THW = (way_THWC * whole_HWC).sum(-1) / squared_HW
        share_THW = np.clip((share_THW - _NOTHING) / (_ALL - _NOTHING), 0, 1)
        share_THW *= np.clip(_FEATHER - beyond_THW, 0, 1)
        alpha_THW += share_THW
        near_THW += _around(share_THW).max((-2, -1)) > 0.5
    alpha_THW = np.minimum(alpha_THW, 1)
    # Where two actors meet, their mixture may look like the background: close the seam.
    closed_THW = _around(_around(alpha_THW).max((-2, -1))).min((-2, -1))
    alpha_THW = np.where(near_THW > 1, closed_THW, alpha_THW)
    # What the actors alone look like: F of ``video = a F + (1 - a) ground``.
    own_THWC = ground_HWC + (video_THWC - ground_HWC) / np.maximum(alpha_THW, 1e-3)[..., None]
    return Matte(np.rint(np.clip(own_THWC, 0, 255)).astype(np.uint8), alpha_THW)


def _beyond(box_T4: np.ndarray, H: int, W: int) -> Float32[np.ndarray, "T H W"]:
    """How many pixels each pixel's centre is outside of the box, along rows or columns; < 0: in."""
    x_T1, y_T1, w_T1, h_T1 = (np.asarray(box_T4, np.float32) * [W, H, W, H]).T[..., None]
    across_TW = np.abs(np.arange(W) + 0.5 - x_T1) - w_T1 / 2
    down_TH = np.abs(np.arange(H) + 0.5 - y_T1) - h_T1 / 2
    return np.maximum(across_TW[:, None, :], down_TH[:, :, None]).astype(np.float32)


def _ground(video_THWC: np.ndarray, free_THW: np.ndarray) -> np.ndarray:
    """The background, (H,W,3) float32: each pixel's median where it is free of actors, or filled
    smoothly from around it where it never is."""
    known_HW = free_THW.max(0)
    seen_TPC = np.where(free_THW[..., None], video_THWC, np.float32(np.nan))[:, known_HW]
    ground_HWC = np.zeros(video_THWC.shape[1:], np.float32)
    ground_HWC[known_HW] = np.nanmedian(seen_TPC, axis=0)
    return _fill(ground_HWC, known_HW)


def _fill(image_HWC: np.ndarray, known_HW: np.ndarray) -> np.ndarray:
    """Unknown pixels from the picture at half the size, where they are filled likewise; an image of
    which nothing is known is grey."""
    if known_HW.all():
        return image_HWC
    if not known_HW.any():
        return np.full_like(image_HWC, 128)
    H, W = known_HW.shape
    rows, cols = -(-H // 2), -(-W // 2)
    padded = np.zeros((2 * rows, 2 * cols, 4), np.float32)  # colours, and what is known of them
    padded[:H, :W, :3], padded[:H, :W, 3] = image_HWC * known_HW[..., None], known_HW
    halved = padded.reshape(rows, 2, cols, 2, 4).sum((1, 3))
    small_HWC = _fill(halved[..., :3] / np.maximum(halved[..., 3:], 1), halved[..., 3] > 0)
    large_HWC = _double(_double(small_HWC).swapaxes(0, 1)).swapaxes(0, 1)[:H, :W]
    return np.where(known_HW[..., None], image_HWC, large_HWC)


def _double(image_HWC: np.ndarray) -> np.ndarray:
    """Twice as many rows, interpolated."""
    above_HWC = np.concatenate([image_HWC[:1], image_HWC[:-1]])
    below_HWC = np.concatenate([image_HWC[1:], image_HWC[-1:]])
    pairs = np.stack([0.75 * image_HWC + 0.25 * next_HWC for next_HWC in (above_HWC, below_HWC)], 1)
    return pairs.reshape(-1, *image_HWC.shape[1:])


def _around(image_THW: np.ndarray) -> np.ndarray:
    """Each pixel's 3 x 3 neighbours, (T,H,W,3,3)."""
    padded = np.pad(image_THW, ((0, 0), (1, 1), (1, 1)), mode="edge")
    return np.lib.stride_tricks.sliding_window_view(padded, (3, 3), axis=(1, 2))
