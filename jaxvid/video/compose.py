"""From the shots of a script to one clip, in time order."""

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
