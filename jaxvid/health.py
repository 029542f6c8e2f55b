"""The health of the adversarial game: signals that a step measures, and a monitor that reads them.

``moments`` and ``signals`` are pure functions of clips; means over devices and parts of a batch are
taken between the two, so that a signal is the same however a batch is split.
"""

import collections
import dataclasses
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import numpy as np

from jaxvid.typing import Metrics

S = TypeVar("S")
POOLED = 4  # cells of a side, for diversity


def moments(real_BTHWC: jax.Array, fake_BTHWC: jax.Array) -> dict[str, dict[str, jax.Array]]:
    """Means over the batch from which ``signals`` are computed."""
    values = {}
    for name, video in (("real", real_BTHWC), ("fake", fake_BTHWC)):
        video = jax.lax.stop_gradient(video)
        B, T, H, W, C = video.shape
        h, w = (min(POOLED, n) for n in (H, W))
        cells = video[:, :, : H // h * h, : W // w * w]
        cells = cells.reshape(B, T, h, H // h, w, W // w, C).mean((1, 3, 5))
        step = jnp.diff(video, axis=1)
        bend = jnp.diff(video, n=2, axis=1)
        values[name] = {
            "mean": cells.mean(0),
            "square": (cells**2).mean(0),
            "step": jnp.abs(step).mean() if step.size else jnp.ones(()),
            "bend": jnp.abs(bend).mean() if bend.size else jnp.ones(()),
        }
    return values


def signals(values: Any) -> Metrics:
    """Generated over real, 1 where they are alike, and where there is nothing to compare: one
    clip, too few frames.

    ``diversity``: standard deviation over the batch of clips averaged to 4 x 4 cells; 0 where all
    samples are one. ``motion``: mean |x[t+1] - x[t]|; 0 is a still. ``flicker``: mean
    |x[t+1] - 2 x[t] + x[t-1]|.
    """

    def spread(of: dict[str, jax.Array]) -> jax.Array:
        return jnp.sqrt(jnp.maximum(of["square"] - of["mean"] ** 2, 0.0).mean())

    real, fake = values["real"], values["fake"]
    return {
        "diversity": jnp.where(spread(real) > 1e-5, spread(fake) / (spread(real) + 1e-6), 1.0),
        "motion": fake["step"] / (real["step"] + 1e-6),
        "flicker": fake["bend"] / (real["bend"] + 1e-6),
    }


def keep_if_finite(before: S, after: S, metrics: Metrics) -> tuple[S, Metrics]:
    """``after``, or ``before`` bit for bit where a metric is not finite, the norms of all gradients
    being among them; ``metrics["skipped"]`` says which.
    """
    fine = jnp.all(jnp.isfinite(jnp.stack([*metrics.values()])))
    state = jax.tree.map(lambda old, new: jnp.where(fine, new, old), before, after)
    return state, {**metrics, "skipped": 1.0 - fine.astype(jnp.float32)}


@dataclasses.dataclass(frozen=True)
class Finding:
    """What is wrong and what helps; ``severe``: going back to a checkpoint is better than on."""

    name: str
    text: str
    severe: bool = False


class Monitor:
    """Reads the metrics of the last ``window`` steps; each trouble is reported once until it ends.

    Thresholds are wide: they are crossed by games that are lost, not by hard ones.
    """

    def __init__(self, window: int = 50) -> None:
        self._rows: collections.deque[dict[str, float]] = collections.deque(maxlen=window)
        self._first: float | None = None
        self._best = np.inf
        self._known: set[str] = set()

    def watch(self, values: dict[str, float]) -> list[Finding]:
        """Takes in the metrics of a step; the troubles that it began.

        The error is ``mse``, or ``loss`` where there is none: a planner's, never negative.
        """
        if not np.isfinite(values.get("mse", values.get("loss", np.nan))):
            return []
        self._rows.append(values)
        if len(self._rows) < (self._rows.maxlen or 0):
            return []
        found = self._judge()
        new = [finding for finding in found if finding.name not in self._known]
        self._known = {finding.name for finding in found}
        return new

    def _mean(self, name: str) -> float | None:
        values = [row[name] for row in self._rows if name in row]
        return float(np.mean(values)) if len(values) == len(self._rows) else None

    def _judge(self) -> list[Finding]:
        error, least = self._mean("mse"), 0.02  # of pixels in 0..1
        if error is None:
            error = self._mean("loss") or 0.0
            self._first = error if self._first is None else self._first
            least = max(self._first / 2, 0.1)  # nats a token: trained weights begin near 0
        self._best = min(self._best, error)
        found = []
        if error > 4 * self._best and error > least:
            text = f"the error grew to {error / self._best:.0f} times its best; lower --optim.lr"
            found.append(Finding("explosion", text, severe=True))
        right, gap = self._mean("sign_accuracy"), self._mean("gap")
        if right is None or gap is None:
            return found
        if right > 0.98 and gap > 3:
            text = f"the critics win ({right:.0%} of pairs told apart, gap {gap:.1f})"
            found.append(Finding("critics", text + "; raise --loss.penalty-weight"))
        diversity, motion, flicker = (self._mean(n) for n in ("diversity", "motion", "flicker"))
        if diversity is not None and diversity < 0.25:
            text = f"the samples look alike: diversity {diversity:.0%} of the real clips'"
            found.append(Finding("collapse", text + "; raise --loss.reconstruction-final", True))
        if motion is not None and motion < 0.25:
            found.append(Finding("still", f"the samples hardly move: {motion:.0%} of real motion"))
        if flicker is not None and flicker > 3:
            found.append(
                Finding("flicker", f"the samples flicker {flicker:.1f} times as real ones")
            )
        real, fake = self._mean("slope_real"), self._mean("slope_fake")
        if real is not None and fake is not None and not 0.05 < (fake + 1e-9) / (real + 1e-9) < 20:
            text = "the critics' gradients on real and generated clips differ by more than 20 times"
            found.append(Finding("slopes", text + "; raise --loss.penalty-weight"))
        return found
