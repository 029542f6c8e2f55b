"""One step of planner training: maximum likelihood of the outline given the prompt."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from jaxvid import grammar
from jaxvid.health import keep_if_finite
from jaxvid.losses.tokens import cross_entropy, exact, pointing
from jaxvid.models.planner import Planner
from jaxvid.ops.words import most_words, word_starts
from jaxvid.state import PlannerState, ema_update
from jaxvid.typing import Batch, Metrics, Params, Reduce


def make_planner_step(
    planner: Planner,
    tx: optax.GradientTransformation,
    *,
    pointing_weight: float = 0.3,
    ema: float = 0.995,
    packed: bool = False,
    reduce: Reduce = lambda tree: tree,
) -> Callable[[PlannerState, Batch, jax.Array], tuple[PlannerState, Metrics]]:
    """``step(state, batch, key)`` on a batch of ``data.prompts``.

    It draws nothing. ``pointing_weight`` is that of pointing at the words that state a slot or name
    a look, among the words and, by the same scores, among the tokens (both ways, as Radford et al.,
    2021, match texts and images), at the part of the picture that shows it, and of words at those
    that name whom they speak of. ``ema`` is the decay of the moving average. ``packed``: padding is
    not computed (``ops.rows``), but a batch of stories is cut short where it has more words or
    tokens than ``usual_counts``. Metrics: ``loss``, its parts ``tokens`` and ``pointing``, and
    ``exact``, the share of prompts all of whose tokens are the likeliest, under teacher forcing. A
    step that is not finite leaves the state as it was.
    """

    def losses(params: Params, batch: Batch) -> tuple[jax.Array, Metrics]:
        counts = usual_counts(batch) if packed else None
        share, batch = fitting(batch, counts) if counts else (1.0, batch)
        inputs = batch["text"], batch["image"], batch["tokens"], counts
        out: Any = planner.apply({"params": params}, *inputs)
        logits_BSV, scores_BSM, refers_B2MM = out
        said = cross_entropy(logits_BSV, batch["tokens"]).mean() / share
        text = most_words(batch["text"].shape[1])
        spans_BSM, real_BS1 = batch["spans"], (batch["tokens"] != grammar.PAD)[..., None]
        scores_BSM = jnp.where(real_BS1, scores_BSM, -1e30)
        pointed = pointing(scores_BSM[..., :text], spans_BSM[..., :text]).mean()
        # And the other way: among all tokens, a word is pointed at from those that it states.
        back = (x[..., :text].swapaxes(1, 2) for x in (scores_BSM, spans_BSM))
        pointed += pointing(*back).mean()
        pairs = (x.reshape(len(x), -1, text) for x in (refers_B2MM, batch["refers"]))
        pointed += pointing(*pairs).mean()
        if batch["image"].size:  # where in the picture, too
            pointed += pointing(scores_BSM[..., text:], spans_BSM[..., text:]).mean()
        pointed /= share
        loss = said + pointing_weight * pointed
        right = exact(logits_BSV, batch["tokens"]).mean() / share
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


# Mean and standard deviation of a story's words and tokens, by the tokens of its batch and whether
# pictures stand beside it (1,500 training prompts of each kind).
STORIES = {
    (grammar.SHORT, False): ((27.1, 11.4), (21.8, 5.0)),
    (grammar.SHORT, True): ((19.8, 10.6), (21.9, 5.0)),
    (grammar.LENGTH, False): ((53.0, 18.0), (42.1, 9.2)),
}


def usual_counts(batch: Batch) -> tuple[int, int]:
    """Words and tokens that a batch of stories seldom exceeds: three standard deviations above the
    mean, or all that it has room for; of one example, all of them always fit."""
    B, S = batch["tokens"].shape
    one = most_words(batch["text"].shape[1]), S
    story = STORIES.get((S, batch["image"].size > 0), ((np.inf, 0.0), (np.inf, 0.0)))
    usual = [mean * B + 3 * deviation * B**0.5 for mean, deviation in story]
    words, tokens = (int(min(max(n, many), many * B)) for n, many in zip(usual, one, strict=True))
    return words, tokens


def fitting(batch: Batch, counts: tuple[int, int]) -> tuple[jax.Array, Batch]:
    """The share of the examples that fit into so many words and tokens, and the batch with the
    others, which come last, made padding."""
    words_B = word_starts(batch["text"]).sum(-1)
    tokens_B = (batch["tokens"] != grammar.PAD).sum(-1)
    words_B = jnp.minimum(words_B, most_words(batch["text"].shape[1]))
    fits_B = (jnp.cumsum(words_B) <= counts[0]) & (jnp.cumsum(tokens_B) <= counts[1])
    keys = "text", "tokens", "spans", "refers", "image"
    kept = {key: _only(batch[key], fits_B) for key in keys}
    return fits_B.mean(), {**batch, **kept}


def _only(x: jax.Array, keep_B: jax.Array) -> jax.Array:
    return x * keep_B.reshape(-1, *[1] * (x.ndim - 1)).astype(x.dtype)
