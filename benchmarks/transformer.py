"""A plain Transformer out of jaxvid's blocks, to time a training step of nothing else."""

from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import optax
from flax.linen.initializers import normal

from jaxvid.models.blocks import Attention, Dense, FeedForward, rms_norm
from jaxvid.typing import Batch, Metrics, Params, Reduce


class Transformer(nn.Module):
    """Tokens (B,L) -> logits (B,L,vocabulary): an encoder, every token reads all."""

    width: int = 256
    layers: int = 6
    heads: int = 4
    vocabulary: int = 256

    @nn.compact
    def __call__(self, tokens_BL: jax.Array) -> jax.Array:
        x = nn.Embed(self.vocabulary, self.width, embedding_init=normal(1.0), name="embed")(
            tokens_BL
        )
        x = x + self.param("place", normal(0.02), x.shape[1:])
        for i in range(self.layers):
            x = x + Attention(self.heads, name=f"attention{i}")(rms_norm(x))
            x = x + FeedForward(name=f"feed{i}")(rms_norm(x))
        return Dense(self.vocabulary, name="logits")(rms_norm(x))


def transformer_loss(model: Transformer, params: Params, batch: Batch) -> jax.Array:
    """Mean cross-entropy of ``targets`` (B,L) given ``tokens`` (B,L)."""
    logits: Any = model.apply({"params": params}, batch["tokens"])
    return optax.softmax_cross_entropy_with_integer_labels(logits, batch["targets"]).mean()


def make_transformer_step(
    model: Transformer,
    tx: optax.GradientTransformation,
    *,
    reduce: Reduce = lambda tree: tree,
) -> Callable[[Any, Batch, jax.Array], tuple[Any, Metrics]]:
    """``step((params, optimizer's state), batch, key)``, which draws nothing."""

    def step(state: Any, batch: Batch, key: jax.Array) -> tuple[Any, Metrics]:
        del key
        params, opt_state = state
        loss, grads = jax.value_and_grad(lambda p: transformer_loss(model, p, batch))(params)
        loss, grads = reduce((loss, grads))
        updates, opt_state = tx.update(grads, opt_state, params)
        return (optax.apply_updates(params, updates), opt_state), {"loss": loss}

    return step
