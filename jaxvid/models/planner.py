"""The planner: an encoder-decoder Transformer that reads a prompt and writes an outline.

The encoder makes word features out of UTF-8 bytes by strided convolutions, patch features out of
the picture that may stand beside them, and relates both by self-attention; the decoder writes
tokens of ``jaxvid.grammar`` one by one, each attending to those before it and to the prompt
(Vaswani et al., 2017), and points at the place of the prompt that says so (Vinyals et al., 2015).
``sample`` decodes inside one ``lax.scan`` with a key-value cache and the grammar's mask in the
graph, so that only valid outlines can come out.

Further letters: M places of the encoded prompt, I of them of the picture; F features of a number.
"""

from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from flax.linen.initializers import normal

from jaxvid import grammar
from jaxvid.models.blocks import rms_norm
from jaxvid.ops.attention import attention, extend
from jaxvid.ops.automaton import allowed, restrict, states
from jaxvid.typing import Params

Pair = tuple[jax.Array, jax.Array]  # keys and values, each (B,S,K,A)
BYTES = 257  # 256 byte values after the padding id 0
STRIDE = 4  # bytes a place of the encoded prompt
PICTURE = 64  # pixels of the picture that is read, height and width
GRIDS = 4  # places of the picture along each side


class Prompt(NamedTuple):
    """What the decoder reads: keys and values for each layer, keys to point at, which are real."""

    pairs: tuple[Pair, ...]
    pointed_BMD: jax.Array  # of the text alone
    mask_BM: jax.Array
    text_mask_BM: jax.Array


class Sample(NamedTuple):
    """``tokens`` int32 (B,S), log p of each (B,S), and what each points at: weights (B,S,M)."""

    tokens_BS: jax.Array
    logp_BS: jax.Array
    weights_BSM: jax.Array


class Heads(nn.Module):
    """Multi-head attention with normalised queries and keys, its memory projected apart."""

    width: int
    heads: int

    def setup(self) -> None:
        self.query = nn.Dense(self.width, use_bias=False)
        self.pair = nn.Dense(2 * self.width, use_bias=False)
        self.out = nn.Dense(self.width)
        self.gain = self.param("gain", nn.initializers.constant(2.0), (self.heads, 1))

    def memory(self, x_BSD: jax.Array) -> Pair:
        """Keys and values of what is attended to."""
        pair = self.pair(x_BSD).reshape(*x_BSD.shape[:-1], 2, self.heads, -1)
        return rms_norm(pair[..., 0, :, :]), pair[..., 1, :, :]

    def __call__(self, x_BLD: jax.Array, memory: Pair, **limits: Any) -> jax.Array:
        """``limits``: which keys each query reads, as ``ops.attention`` takes them."""
        query_BLKA = self.query(x_BLD).reshape(*x_BLD.shape[:-1], self.heads, -1)
        read = attention(rms_norm(query_BLKA) * self.gain, *memory, **limits)
        return self.out(read.reshape(x_BLD.shape))


class FeedForward(nn.Module):
    """W2 gelu(W1 norm(x)) with a hidden width of 4 D."""

    @nn.compact
    def __call__(self, x_BLD: jax.Array) -> jax.Array:
        D = x_BLD.shape[-1]
        return nn.Dense(D, name="down")(nn.gelu(nn.Dense(4 * D, name="up")(rms_norm(x_BLD))))


class EncoderLayer(nn.Module):
    """Self-attention half of whose heads look back and half ahead, then a feed-forward.

    What is said first and what is behind what are then one step away, without distances to learn.
    With this, and places shared by the slots of both actors, 1,000 steps did better than 1,500
    without (prompts of two actors wholly right: 83 % against 73 %). ``way`` (K,M,M) says which
    head may look where.
    """

    width: int
    heads: int

    @nn.compact
    def __call__(self, x_BMD: jax.Array, mask_BM: jax.Array, way_KMM: jax.Array) -> jax.Array:
        attend = Heads(self.width, self.heads, name="attend")
        h = rms_norm(x_BMD)
        x_BMD = x_BMD + attend(h, attend.memory(h), mask=mask_BM[:, None, None, :] & way_KMM)
        return x_BMD + FeedForward(name="feed")(x_BMD)


class PromptEncoder(nn.Module):
    """(B,L) ids and a picture -> features (B,M,width), and where there is something, bool (B,M).

    The first L / 4 places are those of the text, the last I = GRIDS² those of the picture; there
    are none of it where no example of the batch has one (an image without pixels). Two
    strided convolutions see 13 bytes (a word, four Chinese characters), a third joins the words of
    a phrase, attention the rest. L must be divisible by 4 and at most ``text_length``.
    """

    width: int
    layers: int
    heads: int
    byte_width: int
    text_length: int

    @nn.compact
    def __call__(self, text_BL: jax.Array, image_BHWC: jax.Array) -> tuple[jax.Array, jax.Array]:
        x = nn.Embed(BYTES, self.byte_width, embedding_init=normal(1.0), name="embed")(text_BL)
        x = x * (text_BL > 0)[..., None]
        x = nn.gelu(nn.Conv(self.width, (5,), strides=2, name="conv0")(x))
        x = x * _any_text(text_BL, STRIDE // 2)[..., None]
        x = nn.Conv(self.width, (5,), strides=2, name="conv1")(x)
        mask_BM = _any_text(text_BL, STRIDE)
        # Padding is zero before every convolution: its length must not matter.
        place_MD = self.param("place", normal(0.02), (self.text_length // STRIDE, self.width))
        x = (x + place_MD[: x.shape[1]]) * mask_BM[..., None]
        x = x + nn.Conv(self.width, (5,), name="phrase")(nn.gelu(rms_norm(x)))
        text = x.shape[1]
        if image_BHWC.size:
            seen_BID, there_BI = Picture(self.width, name="picture")(image_BHWC)
            x, mask_BM = jnp.concatenate([x, seen_BID], 1), jnp.concatenate([mask_BM, there_BI], 1)
        way_KMM = self._ways(text, x.shape[1])
        for i in range(self.layers):
            x = EncoderLayer(self.width, self.heads, name=f"layer{i}")(x, mask_BM, way_KMM)
        return rms_norm(x), mask_BM

    def _ways(self, text: int, places: int) -> jax.Array:
        """Which head may look where: half back, half ahead in the text, all at the picture."""
        back_MM = np.tri(places, dtype=bool)
        free_MM = np.ones((places, places), bool)
        free_MM[:text, :text] = False
        looks_back_K11 = (np.arange(self.heads) < self.heads // 2)[:, None, None]
        return jnp.asarray(np.where(looks_back_K11, back_MM, back_MM.T) | free_MM)


class Picture(nn.Module):
    """uint8 (B,PICTURE,PICTURE,3) -> features (B,I,width) and whether there is a picture (B,I).

    A picture that is zero everywhere is none. Four strided convolutions, then a place for each
    16 x 16 pixels, which learns where it is and what can be seen there.
    """

    width: int

    @nn.compact
    def __call__(self, image_BHWC: jax.Array) -> tuple[jax.Array, jax.Array]:
        there_B = image_BHWC.max(axis=(1, 2, 3)) > 0
        x = image_BHWC.astype(jnp.float32) / 127.5 - 1.0
        for i, width in enumerate((24, 48, 96, self.width)):
            x = nn.Conv(width, (4, 4), strides=2, name=f"conv{i}")(x)
            x = x + nn.Conv(width, (3, 3), name=f"mix{i}")(nn.gelu(rms_norm(x))) if i else x
            x = nn.gelu(rms_norm(x))
        x = nn.Dense(self.width, name="out")(x.reshape(len(x), GRIDS * GRIDS, self.width))
        x = x + self.param("place", normal(0.5), x.shape[1:])
        there_BI = jnp.broadcast_to(there_B[:, None], x.shape[:2])
        return x * there_BI[..., None], there_BI


def _any_text(text_BL: jax.Array, stride: int) -> jax.Array:
    """Which runs of ``stride`` bytes hold text, bool (B, L / stride)."""
    return jnp.any((text_BL > 0).reshape(text_BL.shape[0], -1, stride), axis=-1)


class DecoderLayer(nn.Module):
    """Causal self-attention over a cache of S positions, attention to the prompt, feed-forward."""

    width: int
    heads: int

    def setup(self) -> None:
        self.own = Heads(self.width, self.heads)
        self.cross = Heads(self.width, self.heads)
        self.feed = FeedForward()

    def __call__(
        self, x_BLD: jax.Array, at: jax.Array, cache: Pair, prompt: Pair, mask: jax.Array
    ) -> tuple[jax.Array, Pair]:
        """L tokens from position ``at`` on: all at once in training, one at a time in decoding."""
        h = rms_norm(x_BLD)
        cache = extend(cache, *self.own.memory(h), at)
        x_BLD = x_BLD + self.own(h, cache, causal=True, offset=at)
        x_BLD = x_BLD + self.cross(rms_norm(x_BLD), prompt, mask=mask)
        return x_BLD + self.feed(x_BLD), cache


class Planner(nn.Module):
    """Prompt and outline so far -> logits of the next token; see ``config.PlannerConfig``."""

    width: int = 128
    encoder_layers: int = 1
    decoder_layers: int = 1
    heads: int = 4
    byte_width: int = 32
    text_length: int = 128  # bytes at most

    def setup(self) -> None:
        self.encoder = PromptEncoder(
            self.width, self.encoder_layers, self.heads, self.byte_width, self.text_length
        )
        self.layers = [DecoderLayer(self.width, self.heads) for _ in range(self.decoder_layers)]
        self.embed = nn.Embed(grammar.VOCABULARY, self.width, embedding_init=normal(0.5))
        # A position is a slot of a part of a take: what is learnt about a slot serves all of them.
        # The number of looks met says which one a look's words describe: "the red one" finds it.
        counts = tuple(int(n) + 1 for n in grammar.tables().place.max(0))
        self.places = [nn.Embed(count, self.width, embedding_init=normal(0.5)) for count in counts]
        self.number = nn.Dense(self.width, use_bias=False)
        self.logits = nn.Dense(grammar.VOCABULARY)
        self.number_logits = nn.Dense(NUMBER_VF.shape[1], use_bias=False)
        self.pointer = nn.Dense(self.width, use_bias=False)
        self.pointed = nn.Dense(self.width, use_bias=False)

    def __call__(
        self, text_BL: jax.Array, image_BHWC: jax.Array, tokens_BS: jax.Array
    ) -> tuple[jax.Array, jax.Array]:
        """Teacher forcing: of each token, given those before it, the logits (B,S,V) and where it
        points, log weights (B,S,M) over the places of the text; S at most LENGTH."""
        before_BS = jnp.pad(tokens_BS, ((0, 0), (1, 0)))[:, :-1]  # padding stands for the start
        prompt = self.read(text_BL, image_BHWC)
        cache = self.empty_cache(*tokens_BS.shape)
        logits, weights, _ = self.write(before_BS, states(tokens_BS), jnp.int32(0), cache, prompt)
        return logits, weights

    def read(self, text_BL: jax.Array, image_BHWC: jax.Array) -> Prompt:
        """Encodes the prompt and projects it for every decoder layer, once.

        ``image`` uint8 (B,PICTURE,PICTURE,3), zero where there is none; (B,0,0,3) if nowhere.
        """
        x_BMD, mask_BM = self.encoder(text_BL, image_BHWC)
        pairs = tuple(layer.cross.memory(x_BMD) for layer in self.layers)
        text = text_BL.shape[1] // STRIDE
        return Prompt(pairs, self.pointed(x_BMD[:, :text]), mask_BM, mask_BM[:, :text])

    def empty_cache(self, batch: int, length: int) -> tuple[Pair, ...]:
        """Room for keys and values of ``length`` tokens, for every decoder layer."""
        empty = jnp.zeros((batch, length, self.heads, self.width // self.heads))
        return tuple((empty, empty) for _ in self.layers)

    def write(
        self,
        before_BL: jax.Array,
        states_BL: jax.Array,
        at: jax.Array,
        cache: tuple[Pair, ...],
        prompt: Prompt,
    ) -> tuple[jax.Array, jax.Array, tuple[Pair, ...]]:
        """Logits (B,L,V) and log weights (B,L,M) at positions ``at``, ``at + 1``...

        ``before`` are the previous tokens, ``states`` those of the automaton. The cache must hold
        the positions before ``at``, and comes back with these added.
        """
        x = self.embed(before_BL) + self.number(jnp.asarray(NUMBER_VF)[before_BL])
        place_BL4 = jnp.asarray(grammar.tables().place)[states_BL]
        for n, places in enumerate(self.places):
            x = x + places(place_BL4[..., n])
        after = []
        for layer, old, pair in zip(self.layers, cache, prompt.pairs, strict=True):
            x, new = layer(x, at, old, pair, prompt.mask_BM[:, None, None, :])
            after.append(new)
        h = rms_norm(x)
        logits = self.logits(h) + self.number_logits(h) @ jnp.asarray(NUMBER_VF).T
        score_BLM = self.pointer(h) @ prompt.pointed_BMD.swapaxes(1, 2) * self.width**-0.5
        score_BLM = jnp.where(prompt.text_mask_BM[:, None], score_BLM, -1e30)
        weights = jax.nn.log_softmax(score_BLM.astype(jnp.float32), axis=-1)
        return logits.astype(jnp.float32), weights, tuple(after)


def _number_features() -> np.ndarray:
    """A token's number as features (V,F), zero for words: near numbers are alike."""
    at_V1 = np.nan_to_num(grammar.NUMBERS, nan=0.0)[:, None]
    waves_VF = np.pi * at_V1 * np.array([1, 2, 4, 8])
    features_VF = np.concatenate([np.ones_like(at_V1), np.sin(waves_VF), np.cos(waves_VF)], 1)
    return (features_VF * ~np.isnan(grammar.NUMBERS)[:, None]).astype(np.float32)


NUMBER_VF = _number_features()


def repeat(prompt: Prompt, times: int) -> Prompt:
    """Every encoded prompt so many times, side by side."""
    return jax.tree.map(lambda x: jnp.repeat(x, times, axis=0), prompt) if times > 1 else prompt


def sample(
    model: Planner,
    params: Params,
    text_BL: jax.Array,
    image_BHWC: jax.Array,
    key: jax.Array,
    *,
    temperature: float = 1.0,
    top_p: float = 1.0,
    group: int = 1,
    index_B: jax.Array | None = None,
) -> Sample:
    """Draws outlines token by token from ``ops.automaton.restrict`` of the logits.

    ``group`` of them for each prompt, side by side (N = B x group).

    ``temperature`` 0 takes the likeliest token everywhere; log p is then that at temperature 1.
    ``grammar.decode`` accepts all that comes out, and ``losses.tokens.log_probs`` recomputes log p.
    The draw of an example depends on ``key`` and its ``index`` (its place in the batch, if that is
    None), not on the batch's size.
    """
    next_state = jnp.asarray(grammar.tables().next_state)
    B = text_BL.shape[0] * group
    index = jnp.arange(text_BL.shape[0]) if index_B is None else index_B
    keys_B = jax.vmap(jax.random.fold_in, (None, 0))(key, jnp.repeat(index, group))
    keys_B = jax.vmap(jax.random.fold_in)(keys_B, jnp.tile(jnp.arange(group), len(index)))
    prompt: Any = model.apply({"params": params}, text_BL, image_BHWC, method="read")
    prompt = repeat(prompt, group)

    def noise(key: jax.Array, at: jax.Array) -> jax.Array:
        return jax.random.gumbel(jax.random.fold_in(key, at), (grammar.VOCABULARY,))

    def body(carry: tuple, at: jax.Array) -> tuple:
        cache, state_B, before_B = carry
        written: Any = model.apply(
            {"params": params}, before_B[:, None], state_B[:, None], at, cache, prompt,
            method="write",
        )  # fmt: skip
        logits_B1V, weights_B1M, cache = written
        logp_BV = restrict(
            logits_B1V[:, 0], allowed(state_B), temperature=temperature or 1.0, top_p=top_p
        )
        # The Gumbel-max trick: the argmax of log p + noise is a draw from p.
        score_BV = logp_BV
        if temperature > 0:
            score_BV = logp_BV + jax.vmap(noise, (0, None))(keys_B, at)
        token_B = jnp.argmax(score_BV, axis=-1).astype(jnp.int32)
        chosen_B = jnp.take_along_axis(logp_BV, token_B[:, None], axis=-1)[:, 0]
        state_B = next_state[state_B, token_B].astype(jnp.int32)
        return (cache, state_B, token_B), (token_B, chosen_B, jnp.exp(weights_B1M[:, 0]))

    cache = model.apply({"params": params}, B, grammar.LENGTH, method="empty_cache")
    first = (cache, jnp.full(B, grammar.START, jnp.int32), jnp.zeros(B, jnp.int32))
    out: tuple[jax.Array, jax.Array, jax.Array]
    _, out = jax.lax.scan(body, first, jnp.arange(grammar.LENGTH))
    return Sample(out[0].T, out[1].T, out[2].swapaxes(0, 1))
