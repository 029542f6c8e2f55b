"""Clips put together: one after another in time, or side by side to be looked at."""

from collections.abc import Sequence

import numpy as np

from jaxvid.typing import UserError


def join(shots: Sequence[np.ndarray]) -> np.ndarray:
    """Shots (T,H,W,3) uint8 one after another, cut to cut: their frames in order, none lost."""
    if not shots:
        raise UserError("nothing to join: the script has no shots")
    sizes = {shot.shape[1:] for shot in shots}
    if len(sizes) != 1:
        raise UserError(f"shots of one film must have one size, not {sorted(sizes)}")
    return np.concatenate(list(shots))


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
