"""One step of planner training: maximum likelihood of the outline given the prompt."""

from collections.abc import Callable
from typing import Any

import jax
import optax

from jaxvid.health import keep_if_finite
from jaxvid.losses.tokens import cross_entropy, exact, pointing
from jaxvid.models.planner import Planner
from jaxvid.ops.words import most_words
from jaxvid.state import PlannerState, ema_update
from jaxvid.typing import Batch, Metrics, Params, Reduce


def make_planner_step(
    planner: Planner,
    tx: optax.GradientTransformation,
    *,
    pointing_weight: float = 0.3,
    ema: float = 0.995,
    reduce: Reduce = lambda tree: tree,
) -> Callable[[PlannerState, Batch, jax.Array], tuple[PlannerState, Metrics]]:
    """``step(state, batch, key)`` on ``text``, ``image``, ``tokens`` and ``spans`` of a batch.

    It draws nothing. ``pointing_weight`` is that of pointing at the words that state a slot or name
    a look, and at the part of the picture that shows it. ``ema`` is the decay of the moving
    average. Metrics: ``loss``, its parts ``tokens`` and ``pointing``, and ``exact``, the share of
    prompts all of whose tokens are the likeliest, under teacher forcing. A step that is not finite
    leaves the state as it was.
    """

    def losses(params: Params, batch: Batch) -> tuple[jax.Array, Metrics]:
        out: Any = planner.apply({"params": params}, batch["text"], batch["image"], batch["tokens"])
        logits_BSV, weights_BSM = out
        said = cross_entropy(logits_BSV, batch["tokens"]).mean()
        text = most_words(batch["text"].shape[1])
        pointed = pointing(weights_BSM[..., :text], batch["spans"][..., :text]).mean()
        if batch["image"].size:  # where in the picture, too
            pointed += pointing(weights_BSM[..., text:], batch["spans"][..., text:]).mean()
        loss = said + pointing_weight * pointed
        right = exact(logits_BSV, batch["tokens"]).mean()
        return loss, {"loss": loss, "tokens": said, "pointing": pointed, "exact": right}

    def step(state: PlannerState, batch: Batch, key: jax.Array) -> tuple[PlannerState, Metrics]:
        del key  # maximum likelihood draws nothing
        (_, metrics), grads = jax.value_and_grad(losses, has_aux=True)(state.params, batch)
        grads, metrics = reduce((grads, metrics))
        updates, opt_state = tx.update(grads, state.opt_state, state.params)
        params = optax.apply_updates(state.params, updates)
        average = ema_update(state.ema, params, decay=ema, step=state.step)
        new = PlannerState(state.step + 1, params, average, opt_state)
        norm = optax.tree.norm(grads)
        return keep_if_finite(state, new, {**metrics, "gradient": norm})

    return step
