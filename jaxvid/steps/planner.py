"""One step of planner training: maximum likelihood of the script given the prompt."""

from collections.abc import Callable
from typing import Any

import jax
import optax

from jaxvid.losses.tokens import accuracy, cross_entropy
from jaxvid.models.planner import Planner
from jaxvid.state import PlannerState, ema_update
from jaxvid.typing import Batch, Metrics, Params, Reduce


def make_planner_step(
    planner: Planner,
    tx: optax.GradientTransformation,
    *,
    free_weight: float = 0.1,
    ema: float = 0.99,
    reduce: Reduce = lambda tree: tree,
) -> Callable[[PlannerState, Batch, jax.Array], tuple[PlannerState, Metrics]]:
    """``step(state, batch, key)`` on the keys ``text`` and ``tokens`` of a batch; draws nothing.

    ``free_weight`` is the weight of the slots that a prompt leaves open, as in ``cross_entropy``:
    they need little training and their noise slows the rest. ``ema`` is the decay of the moving
    average. Metrics: ``loss``, and ``accuracy`` of the tokens that a prompt can state (those that
    it leaves unsaid included, so it stays below 1), both under teacher forcing.
    """

    def losses(params: Params, batch: Batch) -> tuple[jax.Array, jax.Array]:
        logits_BSV: Any = planner.apply({"params": params}, batch["text"], batch["tokens"])
        loss_B = cross_entropy(logits_BSV, batch["tokens"], free_weight=free_weight)
        return loss_B.mean(), logits_BSV

    def step(state: PlannerState, batch: Batch, key: jax.Array) -> tuple[PlannerState, Metrics]:
        del key  # maximum likelihood draws nothing
        (loss, logits_BSV), grads = jax.value_and_grad(losses, has_aux=True)(state.params, batch)
        metrics = {"loss": loss, "accuracy": accuracy(logits_BSV, batch["tokens"]).mean()}
        grads, metrics = reduce((grads, metrics))
        updates, opt_state = tx.update(grads, state.opt_state, state.params)
        params = optax.apply_updates(state.params, updates)
        average = ema_update(state.ema, params, decay=ema, step=state.step)
        return PlannerState(state.step + 1, params, average, opt_state), metrics

    return step
