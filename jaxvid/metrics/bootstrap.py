"""How sure a mean is: percentile intervals by resampling prompts (Efron, 1979)."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float

RESAMPLES = 4000
TINY = 1e-12


class Interval(NamedTuple):
    """A mean and its 95 % interval."""

    mean: float
    low: float
    high: float


def interval(values_P: Float[np.ndarray, "P"], *, seed: int = 0) -> Interval:
    """The mean of independent values, one a prompt, and where 95 % of resampled means lie.

    Values of one prompt that depend on each other are to be averaged before.
    """
    values = np.asarray(values_P, np.float64)
    low, high = np.quantile(values[_picks(len(values), seed)].mean(1), (0.025, 0.975))
    return Interval(float(values.mean()), float(low), float(high))


def crossed(values_CP: Float[np.ndarray, "C P"], *, seed: int = 0) -> Interval:
    """The mean of values that depend on a critic, say, and on a prompt, both drawn by chance.

    Rows and columns are resampled independently (the pigeonhole bootstrap: Owen, 2007).
    """
    values = np.asarray(values_CP, np.float64)
    rows, columns = _picks(len(values), seed), _picks(values.shape[1], seed + 1)
    drawn = values[rows[:, :, None], columns[:, None]].mean((1, 2))
    low, high = np.quantile(drawn, (0.025, 0.975))
    return Interval(float(values.mean()), float(low), float(high))


def ratio(
    after_P: Float[np.ndarray, "P"], before_P: Float[np.ndarray, "P"], *, seed: int = 0
) -> Interval:
    """The mean of one over the mean of the other, drawn in pairs of a prompt; 0 / 0 is 1."""
    after, before = (np.asarray(x, np.float64) for x in (after_P, before_P))
    picks = _picks(len(after), seed)
    drawn = (after[picks].mean(1) + TINY) / (before[picks].mean(1) + TINY)
    low, high = np.quantile(drawn, (0.025, 0.975))
    mean = (after.mean() + TINY) / (before.mean() + TINY)
    return Interval(float(mean), float(low), float(high))


def _picks(count: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, count, (RESAMPLES, count))
