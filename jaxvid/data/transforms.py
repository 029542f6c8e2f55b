"""Pure functions from frames to an example's frames: crop, resize, pick a window, hold the last.

NumPy on ``uint8``, without randomness: a clip is the same whichever thread or process prepares it.
"""

import functools

import numpy as np
from jaxtyping import Float32, UInt8

from jaxvid.typing import UserError

Frames = UInt8[np.ndarray, "T H W 3"]
Output = UInt8[np.ndarray, "T2 H2 W2 3"]
FLAT = 0.4  # levels of 255


@functools.lru_cache(maxsize=64)
def _weights(size: int, target: int) -> Float32[np.ndarray, "target size"]:
    """Rows of a triangle filter as wide as a target pixel, so shrinking does not alias."""
    scale = size / target
    reach = max(scale, 1.0)
    centres = (np.arange(target) + 0.5) * scale - 0.5
    rows = np.maximum(0.0, 1.0 - np.abs(np.arange(size)[None] - centres[:, None]) / reach)
    return (rows / rows.sum(axis=1, keepdims=True)).astype(np.float32)


def resize(video_THWC: Frames, height: int, width: int) -> Output:
    """Resizes with an antialiased triangle filter: ``jax.image.resize(..., "linear")``, rounded.

    What was enlarged by whole factors, pixel for pixel, as jaxvid writes small clips, comes back as
    it was: the filter would blur it.
    """
    _, H, W, _ = video_THWC.shape
    if (H, W) == (height, width):
        return video_THWC
    out = np.empty((len(video_THWC), height, width, 3), np.uint8)
    for t, frame_HWC in enumerate(video_THWC):  # a frame at a time: float32 of a long clip is large
        small_HWC = before_enlarging(frame_HWC, height, width)
        if small_HWC is None:
            rows_HWC = np.tensordot(_weights(H, height), frame_HWC.astype(np.float32), axes=(1, 0))
            small_HWC = np.tensordot(_weights(W, width), rows_HWC, axes=(1, 1)).transpose(1, 0, 2)
        out[t] = np.clip(np.rint(small_HWC), 0, 255)
    return out


def before_enlarging(frame_HWC: np.ndarray, height: int, width: int) -> np.ndarray | None:
    """The means of blocks that are of one colour, but for what compression adds; None for others.

    ``frame_HWC`` has any number of channels. On average a block's pixels are 0.13 levels from its
    mean in an mp4 of a scene, enlarged by 8, and 0.7 to 17 in films, by 2 to 8.
    """
    H, W, _ = frame_HWC.shape
    if H % height or W % width:
        return None
    blocks = frame_HWC.reshape(height, H // height, width, W // width, -1).astype(np.float32)
    mean_HWC = blocks.mean((1, 3))
    return mean_HWC if np.abs(blocks - mean_HWC[:, None, :, None]).mean() < FLAT else None


def centre_square(video_THWC: Frames) -> Output:
    """The largest square in the middle of the frame."""
    _, H, W, _ = video_THWC.shape
    side = min(H, W)
    top, left = (H - side) // 2, (W - side) // 2
    return video_THWC[:, top : top + side, left : left + side]


def fit(video_THWC: Frames, resolution: int) -> Output:
    """Centre crop to a square, then resize to ``resolution`` pixels a side."""
    return resize(centre_square(video_THWC), resolution, resolution)


def check_picture(image: np.ndarray) -> np.ndarray:
    """The picture, if it is one: (H,W,3) uint8. Raises UserError for anything else."""
    shape = np.shape(image)
    if getattr(image, "dtype", None) != np.uint8 or len(shape) != 3 or shape[2] != 3 or 0 in shape:
        kind = getattr(image, "dtype", type(image).__name__)
        raise UserError(f"the picture is {kind} {shape}; it must be uint8 (H, W, 3), 0 to 255")
    return image


def windows(length: int, frames: int) -> int:
    """How many examples of ``frames`` frames a clip of ``length`` frames gives, at least one."""
    return max(1, length // frames)


def window_start(
    length: int, frames: int, window: int = 0, *, seed: int = 0, count: int = 0
) -> int:
    """First frame of a window. They do not overlap; ``seed`` chooses among what is left over.

    A clip of 29 frames has one window of 16, which starts somewhere in 0..13; which one is fixed by
    the seed, so an example is the same in every epoch and can be held in memory. ``count``: how
    many windows are made of the clip; 0 for as many as fit.
    """
    slack = max(0, length - (count or windows(length, frames)) * frames)
    shift = int(np.random.Philox(key=seed % 2**64).random_raw() % (slack + 1))
    return window * frames + shift


def hold(video_THWC: Frames, frames: int) -> Output:
    """Cuts to ``frames`` frames, or repeats the last frame up to that number."""
    short = frames - len(video_THWC)
    if short <= 0:
        return video_THWC[:frames]
    return np.concatenate([video_THWC, np.repeat(video_THWC[-1:], short, axis=0)])
