"""OptimConfig -> optax chain. Schedules read the step inside, so nothing recompiles."""

import collections
import contextlib
import re
from typing import Any

import jax
import jax.numpy as jnp
import optax
from optax.contrib import MuonDimensionNumbers, MuonState, scale_by_muon

from jaxvid.config import OptimConfig

# Last layers, which Muon would move however small their gradient.
HEADS = {"logits", "rgb", "flow", "way"}
ADAM_SHARE = 0.2  # of Muon's learning rate, for what is no matrix
RMS = 0.2  # of Muon's updates at a learning rate of 1: about that of Adam's (Liu et al., 2025)
# Elements of a matrix whose products are mostly the cost of starting them, and of compiling them.
SMALL, SMALL_ON_ACCELERATORS = 2**16, 2**24


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
    square of 0.2 times the learning rate, about Adam's. What is no kernel (embeddings, biases) and
    the layers of ``HEADS`` go by Adam, whose moments ``b1`` and ``b2`` are; Muon's is 0.95. The
    planner of stories reads 64 % of held-out prompts of one shot exactly after 400 steps of Muon
    (lr 1e-2), none after 400 of Adam (lr 2e-3).
    """
    if config.kind == "adam":
        rule = optax.adam(schedule(config, steps), b1=config.b1, b2=config.b2)
    else:
        rule = _muon(config, steps)
    return optax.chain(optax.clip_by_global_norm(config.clip), rule)


def _muon(config: OptimConfig, steps: int) -> optax.GradientTransformation:
    """``optax.contrib.muon``, whose state this keeps, by fewer and larger products."""

    def label(params: Any) -> Any:
        return jax.tree_util.tree_map_with_path(
            lambda path, leaf: "muon" if _hidden(path, leaf) else "adam", params
        )

    matrices = optax.chain(
        _turn_together(),
        optax.stateless(lambda updates, params: jax.tree.map(_even, updates)),
        optax.scale(RMS),
        optax.scale_by_learning_rate(schedule(config, steps)),
    )
    rate = schedule(config, steps, share=ADAM_SHARE)
    rest = optax.adamw(rate, b1=config.b1, b2=config.b2, weight_decay=0.0, nesterov=True)
    return optax.partition({"muon": matrices, "adam": rest}, label)


def _hidden(path: tuple[Any, ...], leaf: Any) -> bool:
    """Whether a parameter is a hidden matrix: a kernel (its last axis the columns, as for
    convolutions all others the rows), but not of the last layer."""
    names = [getattr(key, "key", "") for key in path]
    return names[-1] == "kernel" and HEADS.isdisjoint(names) and leaf.ndim >= 2


def _even(update: jax.Array) -> jax.Array:
    """An orthogonal matrix scaled to a root mean square that does not depend on its shape."""
    return max(update.size // update.shape[-1], update.shape[-1]) ** 0.5 * update


def _turn_together() -> optax.GradientTransformation:
    """Muon's momentum and orthogonalisation, small matrices of one shape as one stack.

    The matrices of ``tiny`` are many and small: one by one they were a third of the operations of
    its step (``benchmarks/README.md``), and of ``small`` 3,000 of 4,200 calls of a GPU's products.
    """

    def axes(stacks: Any) -> Any:
        return jax.tree.map(lambda _: MuonDimensionNumbers(1, 2), stacks)

    rule = scale_by_muon(weight_dimension_numbers=axes)

    def update(updates: Any, state: MuonState, params: Any = None) -> tuple[Any, MuonState]:
        del params
        stacked = state._replace(mu=_stack(state.mu))
        with _rounded_products():
            turned, new = rule.update(_stack(updates), stacked)
        return _unstack(turned, updates), new._replace(mu=_unstack(new.mu, updates))

    return optax.GradientTransformation(rule.init, update)


def _rounded_products() -> contextlib.AbstractContextManager[Any]:
    """Of NVIDIA's GPUs that can: factors of products rounded to bfloat16, as Jordan et al. do."""
    named = getattr(jax.devices()[0], "compute_capability", "")
    if jax.default_backend() == "gpu" and re.fullmatch(r"\d+\.\d", named) and float(named) >= 8:
        return jax.default_matmul_precision("BF16_BF16_F32")
    return contextlib.nullcontext()


def _groups(leaves: list[jax.Array]) -> dict[str, list[int]]:
    """Which leaves are one stack: small ones of as many rows and columns; large ones alone."""
    groups = collections.defaultdict(list)
    small = SMALL if jax.default_backend() == "cpu" else SMALL_ON_ACCELERATORS
    for at, leaf in enumerate(leaves):
        name = f"{leaf.size // leaf.shape[-1]}x{leaf.shape[-1]}"
        groups[name if leaf.size <= small else f"{name}, {at}"].append(at)
    return dict(groups)


def _stack(tree: Any) -> dict[str, jax.Array]:
    """Kernels (...,columns) -> stacks (N,rows,columns) by shape."""
    leaves = jax.tree.leaves(tree)
    return {
        name: jnp.stack([leaves[at].reshape(-1, leaves[at].shape[-1]) for at in group])
        for name, group in _groups(leaves).items()
    }


def _unstack(stacks: dict[str, jax.Array], like: Any) -> Any:
    """The tree of kernels of which ``_stack`` made the stacks; ``like`` has its structure."""
    leaves, structure = jax.tree.flatten(like)
    for name, group in _groups(leaves).items():
        for at, matrix in zip(group, stacks[name], strict=True):
            leaves[at] = matrix.reshape(leaves[at].shape)
    return jax.tree.unflatten(structure, leaves)
