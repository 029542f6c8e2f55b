"""OptimConfig -> optax chain. Schedules read the step inside, so nothing recompiles."""

from typing import Any

import jax
import optax
from optax.contrib import MuonDimensionNumbers, muon

from jaxvid.config import OptimConfig

HEADS = {"logits", "rgb", "flow"}  # last layers, which Muon would move however small their gradient
ADAM_SHARE = 0.2  # of Muon's learning rate, for what is no matrix


def schedule(config: OptimConfig, steps: int, *, share: float = 1.0) -> optax.Schedule:
    """Linear warm-up to ``share * lr``, then a cosine down to ``final`` times that at ``steps``."""
    warmup = min(config.warmup, max(1, steps // 2))
    return optax.warmup_cosine_decay_schedule(
        init_value=share * config.lr / (warmup + 1),
        peak_value=share * config.lr,
        warmup_steps=warmup,
        decay_steps=max(steps, warmup + 1),
        end_value=share * config.lr * config.final,
    )


def make_optimizer(config: OptimConfig, steps: int) -> optax.GradientTransformation:
    """Adam (Kingma and Ba, 2015) or Muon (Jordan et al., 2024) behind a clip by global norm.

    Muon orthogonalises the momentum of the hidden matrices; their updates are scaled to a root mean
    square of 0.2 times the learning rate, about Adam's. Embeddings, biases and the logits go by
    Adam. The planner of stories reads 64 % of held-out prompts of one shot exactly after 400 steps
    of Muon (lr 1e-2), none after 400 of Adam (lr 2e-3).
    """
    if config.kind == "adam":
        rule = optax.adam(schedule(config, steps), b1=config.b1, b2=config.b2)
    else:
        rule = muon(
            schedule(config, steps),
            adam_learning_rate=schedule(config, steps, share=ADAM_SHARE),
            adam_b1=config.b1,
            adam_b2=config.b2,
            muon_weight_dimension_numbers=_matrices,
            consistent_rms=0.2,
        )
    return optax.chain(optax.clip_by_global_norm(config.clip), rule)


def _matrices(params: Any) -> Any:
    """Which axes of which parameters are the rows and columns of a matrix; None: of no matrix.

    Kernels are, those of convolutions with all but the last axis as one; the last layer is not.
    """

    def axes(path: tuple[Any, ...], leaf: Any) -> MuonDimensionNumbers | None:
        names = [getattr(key, "key", "") for key in path]
        if names[-1] != "kernel" or not HEADS.isdisjoint(names) or leaf.ndim < 2:
            return None
        return MuonDimensionNumbers(tuple(range(leaf.ndim - 1)), (leaf.ndim - 1,))

    return jax.tree_util.tree_map_with_path(axes, params)
