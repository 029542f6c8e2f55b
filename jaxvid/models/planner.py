"""The planner: an encoder-decoder Transformer that reads a prompt and writes a script.

The encoder turns UTF-8 bytes into word features by strided convolutions and relates them by
self-attention; the decoder writes tokens of ``jaxvid.grammar`` one by one, each attending to those
before it and to the prompt (Vaswani et al., 2017). ``sample`` decodes inside one ``lax.scan`` with a
key-value cache and the grammar's mask in the graph, so that only valid scripts can come out.
"""

from typing import Literal

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxvid import grammar
from jaxvid.models.blocks import rms_norm
from jaxvid.ops.attention import attention
from jaxvid.typing import Params

Greedy = Literal["none", "attributes", "all"]
Pair = tuple[jax.Array, jax.Array]  # keys and values, each (B,S,K,A)
BYTES = 257  # 256 byte values after the padding id 0


class FeedForward(nn.Module):
    """W2 gelu(W1 norm(x)), hidden width 4 D, zero at the start."""

    @nn.compact
    def __call__(self, x_BLD: jax.Array) -> jax.Array:
        D = x_BLD.shape[-1]
        h = nn.gelu(nn.Dense(4 * D, name="up")(rms_norm(x_BLD)))
        return nn.Dense(D, name="down")(h)


class Heads(nn.Module):
    """Projections of one attention: ``query`` and ``memory`` in, ``out`` back. QK-norm."""

    heads: int
    width: int

    def setup(self) -> None:
        self.q = nn.Dense(self.width, use_bias=False)
        self.kv = nn.Dense(2 * self.width, use_bias=False)
        self.out = nn.Dense(self.width)
        self.gain = self.param("gain", nn.initializers.constant(2.0), (self.heads, 1))

    def memory(self, x_BSD: jax.Array) -> Pair:
        """Keys and values of what is attended to."""
        kv = self.kv(x_BSD)
        kv = kv.reshape(*kv.shape[:-1], 2, self.heads, -1)
        return rms_norm(kv[..., 0, :, :]), kv[..., 1, :, :]

    def __call__(self, x_BLD: jax.Array, memory: Pair, mask: jax.Array) -> jax.Array:
        q = self.q(x_BLD)
        q = rms_norm(q.reshape(*q.shape[:-1], self.heads, -1)) * self.gain
        return self.out(attention(q, *memory, mask=mask).reshape(x_BLD.shape))


class EncoderLayer(nn.Module):
    heads: int
    width: int

    @nn.compact
    def __call__(self, x_BLD: jax.Array, mask: jax.Array) -> jax.Array:
        attend = Heads(self.heads, self.width, name="attention")
        h = rms_norm(x_BLD)
        x_BLD = x_BLD + attend(h, attend.memory(h), mask)
        return x_BLD + FeedForward(name="feed")(x_BLD)


class DecoderLayer(nn.Module):
    """Causal self-attention over a cache of S positions, cross-attention, feed-forward."""

    heads: int
    width: int

    def setup(self) -> None:
        self.own = Heads(self.heads, self.width)
        self.cross = Heads(self.heads, self.width)
        self.feed = FeedForward()

    def __call__(
        self, x_BLD: jax.Array, at: jax.Array, cache: Pair, prompt: Pair, mask: jax.Array
    ) -> tuple[jax.Array, Pair]:
        """L tokens at positions ``at``, ``at + 1``...: all of them in training, one in decoding."""
        h = rms_norm(x_BLD)
        cache = tuple(
            jax.lax.dynamic_update_slice(old, new, (0, at, 0, 0))
            for old, new in zip(cache, self.own.memory(h), strict=True)
        )
        L, S = x_BLD.shape[1], cache[0].shape[1]
        causal_LS = jnp.arange(S) <= at + jnp.arange(L)[:, None]
        x_BLD = x_BLD + self.own(h, cache, causal_LS[None, None])
        x_BLD = x_BLD + self.cross(rms_norm(x_BLD), prompt, mask)
        return x_BLD + self.feed(x_BLD), cache


class Encoder(nn.Module):
    width: int
    layers: int
    heads: int
    embed: int = 64
    kernels: tuple = (5, 5)
    strides: tuple = (2, 2)

    @nn.compact
    def __call__(self, text_BL):
        x = nn.Embed(BYTES, self.embed, name="embed", embedding_init=nn.initializers.normal(1.0))(text_BL)
        x = x * (text_BL > 0)[..., None]
        for i,(k,s) in enumerate(zip(self.kernels,self.strides)):
            x = nn.Conv(self.width, (k,), strides=s, name=f"conv{i}")(x)
            if i < len(self.kernels)-1: x = nn.gelu(x)
        mask_BL = jnp.any((text_BL > 0).reshape(*x.shape[:2], -1), axis=-1)
        x = x + self.param("place", nn.initializers.normal(0.02), x.shape[1:])
        for i in range(self.layers):
            x = EncoderLayer(self.heads, self.width, name=f"layer{i}")(x, mask_BL[:, None, None, :])
        return rms_norm(x), mask_BL


class Planner(nn.Module):
    width: int
    encoder_layers: int
    decoder_layers: int
    heads: int
    embed: int = 64
    kernels: tuple = (5, 5)
    strides: tuple = (2, 2)

    def setup(self) -> None:
        self.encoder = Encoder(self.width, self.encoder_layers, self.heads, self.embed, self.kernels, self.strides)
        self.layers = [
            DecoderLayer(self.heads, self.width) for _ in range(self.decoder_layers)
        ]
        self.embed_tokens = nn.Embed(grammar.VOCABULARY, self.width, embedding_init=nn.initializers.normal(0.5))
        self.place = self.param("place", nn.initializers.normal(0.5), (grammar.LENGTH, self.width))
        self.head = nn.Dense(grammar.VOCABULARY)

    def __call__(self, text_BL, tokens_BS):
        before_BS = jnp.pad(tokens_BS, ((0, 0), (1, 0)))[:, :-1]
        caches, prompts, mask = self.start(text_BL)
        return self.step(before_BS, jnp.int32(0), caches, prompts, mask)[0]

    def start(self, text_BL):
        memory_BLD, mask_BL = self.encoder(text_BL)
        prompts = [layer.cross.memory(memory_BLD) for layer in self.layers]
        B = text_BL.shape[0]
        empty = jnp.zeros((B, grammar.LENGTH, self.heads, self.width // self.heads), memory_BLD.dtype)
        return [(empty, empty) for _ in self.layers], prompts, mask_BL[:, None, None, :]

    def step(self, before_BL, at, caches, prompts, mask):
        place_LD = jax.lax.dynamic_slice_in_dim(self.place, at, before_BL.shape[1])
        x = self.embed_tokens(before_BL) + place_LD
        after = []
        for layer, cache, prompt in zip(self.layers, caches, prompts, strict=True):
            x, cache = layer(x, at, cache, prompt, mask)
            after.append(cache)
        return self.head(rms_norm(x)), after


def sample(
    model: Planner,
    params: Params,
    text_BL: jax.Array,
    key: jax.Array,
    *,
    temperature: float = 1.0,
    greedy: Greedy = "none",
) -> tuple[jax.Array, jax.Array]:
    table = grammar.tables()
    next_state, may = jnp.asarray(table.next_state), jnp.asarray(table.allowed)
    variables = {"params": params}
    caches, prompts, mask = model.apply(variables, text_BL, method="start")
    B = text_BL.shape[0]
    fixed = {"none": jnp.zeros(grammar.LENGTH, bool), "attributes": ~jnp.asarray(grammar.FREE), "all": jnp.ones(grammar.LENGTH, bool)}
    keys_B = jax.vmap(jax.random.fold_in, (None, 0))(key, jnp.arange(B))

    def body(carry, slot):
        caches, state_B, before_B = carry
        at, fixed = slot
        logits, caches = model.apply(variables, before_B[:, None], at, caches, prompts, mask, method="step")
        z_BV = jnp.where(may[state_B], logits[:, 0].astype(jnp.float32) / temperature, -1e30)
        logp_BV = jax.nn.log_softmax(z_BV)
        noise_BV = jax.vmap(lambda k: jax.random.gumbel(jax.random.fold_in(k, at), z_BV.shape[1:]))(keys_B)
        token_B = jnp.argmax(z_BV + jnp.where(fixed, 0.0, noise_BV), axis=-1).astype(jnp.int32)
        logp_B = jnp.take_along_axis(logp_BV, token_B[:, None], axis=-1)[:, 0]
        return (caches, next_state[state_B, token_B].astype(jnp.int32), token_B), (token_B, logp_B)

    first = (caches, jnp.full(B, grammar.START, jnp.int32), jnp.zeros(B, jnp.int32))
    _, (tokens_SB, logp_SB) = jax.lax.scan(body, first, (jnp.arange(grammar.LENGTH), fixed[greedy]))
    return tokens_SB.T, logp_SB.T
