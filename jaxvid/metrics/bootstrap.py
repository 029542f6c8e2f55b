"""How sure a mean is: percentile intervals by resampling prompts (Efron, 1979)."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float

RESAMPLES = 4000


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
    picks = np.random.default_rng(seed).integers(0, len(values), (RESAMPLES, len(values)))
    low, high = np.quantile(values[picks].mean(1), (0.025, 0.975))
    return Interval(float(values.mean()), float(low), float(high))
