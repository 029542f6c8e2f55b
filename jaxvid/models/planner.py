"""The planner: an encoder-decoder Transformer that reads a prompt and writes an outline.

The encoder makes features of words out of their UTF-8 bytes, patch features out of the picture that
may stand beside them, and relates both by self-attention; the decoder writes tokens of
``jaxvid.grammar`` one by one, each attending to those before it and to the prompt (Vaswani et al.,
2017). Half-way it points at the word of the prompt that says so, and at the place of the picture
that shows it (Vinyals et al., 2015), and reads on from there. A look that comes again is found by
how much its words are like those that described it (Vinyals et al., 2016).
``sample`` decodes inside one ``lax.scan`` with a key-value cache and the grammar's mask in the
graph, so that only valid outlines can come out.

Further letters: M places of the encoded prompt, I of them of the picture; F features of a number.
"""

import functools
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from flax.linen.initializers import normal

from jaxvid import grammar
from jaxvid.models.blocks import rms_norm
from jaxvid.models.prompt import Dense, FeedForward, Heads, Pair, PromptEncoder
from jaxvid.ops.attention import extend
from jaxvid.ops.automaton import allowed, restrict, states
from jaxvid.ops.products import low_dot_general
from jaxvid.ops.rows import Rows, pack, real, unpack
from jaxvid.ops.words import most_words
from jaxvid.outline import MAX_LOOKS
from jaxvid.typing import Params


class Places(NamedTuple):
    """Where can be pointed at: keys, what is read there, and which are real."""

    keys_BMD: jax.Array
    said_BMD: jax.Array
    mask_BM: jax.Array


class Prompt(NamedTuple):
    """What the decoder reads: keys and values for each layer, which are real; where it points. And
    whom words speak of (``models.prompt.Reference``), scores (B,2,M,M) between words."""

    pairs: tuple[Pair, ...]
    mask_BM: jax.Array
    text: Places
    picture: Places
    refers_B2MM: jax.Array


class Sample(NamedTuple):
    """``tokens`` int32 (B,S), log p of each (B,S), and where in the text each points: weights
    (B,S,M)."""

    tokens_BS: jax.Array
    logp_BS: jax.Array
    weights_BSM: jax.Array


class DecoderLayer(nn.Module):
    """Causal self-attention over a cache of S positions, attention to the prompt, feed-forward."""

    width: int
    heads: int
    dense: Dense = nn.Dense

    def setup(self) -> None:
        self.own = Heads(self.width, self.heads, self.dense)
        self.cross = Heads(self.width, self.heads, self.dense)
        self.feed = FeedForward(self.dense)

    def __call__(
        self,
        x: jax.Array,
        rows: Rows | None,
        at: jax.Array,
        cache: Pair,
        prompt: Pair,
        mask: jax.Array,
    ) -> tuple[jax.Array, Pair]:
        """L tokens, x (B,L,D) or its rows, from position ``at`` on: all at once in training, one at
        a time in decoding."""
        h = rms_norm(x)
        cache = extend(cache, *self.own.memory(h, rows), at)
        x = x + self.own(h, cache, rows, causal=True, offset=at)
        x = x + self.cross(rms_norm(x), prompt, rows, mask=mask)
        return x + self.feed(x), cache


class Planner(nn.Module):
    """Prompt and outline so far -> logits of the next token; see ``config.PlannerConfig``.

    ``low``: factors of the linear layers' products are rounded to bfloat16. It is for training: log
    p of a token then depends on how many tokens are computed at once.
    """

    width: int = 128
    encoder_layers: int = 1
    decoder_layers: int = 1
    heads: int = 4
    byte_width: int = 32
    text_length: int = 128  # bytes at most
    low: bool = False

    def setup(self) -> None:
        low: Dense = functools.partial(nn.Dense, dot_general=low_dot_general)
        dense = low if self.low else nn.Dense
        self.encoder = PromptEncoder(
            self.width, self.encoder_layers, self.heads, self.byte_width, self.text_length, dense
        )
        self.layers = [
            DecoderLayer(self.width, self.heads, dense) for _ in range(self.decoder_layers)
        ]
        self.embed = nn.Embed(grammar.VOCABULARY, self.width, embedding_init=normal(0.5))
        # A position is a slot of a part of a take: what is learnt about a slot serves all of them.
        # The number of looks met says which one a look's words describe: "the red one" finds it.
        counts = tuple(int(n) + 1 for n in grammar.tables().place.max(0))
        self.places = [nn.Embed(count, self.width, embedding_init=normal(0.5)) for count in counts]
        self.number = nn.Dense(self.width, use_bias=False)
        self.logits = nn.Dense(grammar.VOCABULARY)
        self.number_logits = nn.Dense(NUMBER_VF.shape[1], use_bias=False)
        self.mention = nn.Dense(self.width, use_bias=False)
        self.alike = self.param("alike", nn.initializers.constant(0.3), ())
        for name in ("text", "picture"):
            for part in ("pointer", "pointed", "said"):
                setattr(self, f"{name}_{part}", nn.Dense(self.width, use_bias=False))

    def __call__(
        self,
        text_BL: jax.Array,
        image_BHWC: jax.Array,
        tokens_BS: jax.Array,
        counts: tuple[int, int] | None = None,
    ) -> tuple[jax.Array, jax.Array, jax.Array]:
        """Teacher forcing: of each token, given those before it, the logits (B,S,V) and where it
        points, scores (B,S,M) of the places of the text, then (B,S,I) of those of the picture, in
        one array, about -1e30 where nothing is; S at most LENGTH. And the prompt's ``refers``.
        ``counts``: no more words and tokens than these are computed in the whole batch, which then
        must not have more."""
        words, tokens = counts or (None, None)
        before_BS = jnp.pad(tokens_BS, ((0, 0), (1, 0)))[:, :-1]  # padding stands for the start
        prompt = self.read(text_BL, image_BHWC, words)
        cache = self.empty_cache(*tokens_BS.shape)
        rows = real(tokens_BS != grammar.PAD, tokens) if tokens else None
        state_BS = states(tokens_BS)
        logits, scores, _ = self.write(before_BS, state_BS, jnp.int32(0), cache, prompt, rows)
        return logits, scores, prompt.refers_B2MM

    def read(self, text_BL: jax.Array, image_BHWC: jax.Array, count: int | None = None) -> Prompt:
        """Encodes the prompt and projects it for every decoder layer, once.

        ``image`` uint8 (B,PICTURE,PICTURE,3), zero where there is none; (B,0,0,3) if nowhere.
        """
        x, rows, mask_BM, refers_B2MM = self.encoder(text_BL, image_BHWC, count)
        pairs = tuple(layer.cross.memory(x, rows) for layer in self.layers)
        x_BMD = unpack(x, rows)
        text = most_words(text_BL.shape[1])
        said = x_BMD[:, :text], mask_BM[:, :text]
        seen = x_BMD[:, text:], mask_BM[:, text:]
        return Prompt(
            pairs,
            mask_BM,
            Places(self.text_pointed(said[0]), self.text_said(said[0]), said[1]),
            Places(self.picture_pointed(seen[0]), self.picture_said(seen[0]), seen[1]),
            refers_B2MM,
        )

    def empty_cache(self, batch: int, length: int) -> tuple[Pair, ...]:
        """Room for ``length`` tokens: keys and values of each layer, and what ``meet`` compares."""
        empty = jnp.zeros((batch, length, self.heads, self.width // self.heads))
        words, looks = (jnp.zeros((batch, length, 1, n)) for n in (self.width, len(WHO_NV)))
        return (*((empty, empty) for _ in self.layers), (words, looks))

    def write(
        self,
        before_BL: jax.Array,
        states_BL: jax.Array,
        at: jax.Array,
        cache: tuple[Pair, ...],
        prompt: Prompt,
        rows: Rows | None = None,
    ) -> tuple[jax.Array, jax.Array, tuple[Pair, ...]]:
        """Logits (B,L,V) and scores of places (B,L,M+I) at positions ``at``, ``at + 1``...

        ``before`` are the previous tokens, ``states`` those of the automaton. The cache must hold
        the positions before ``at``, and comes back with these added. ``rows``: the tokens that are
        real, if only those are to be computed.
        """
        before, place_BL4 = pack(before_BL, rows), jnp.asarray(grammar.tables().place)[states_BL]
        place = pack(place_BL4, rows)
        x = self.embed(before) + self.number(jnp.asarray(NUMBER_VF)[before])
        for n, places in enumerate(self.places):
            x = x + places(place[..., n])
        after: list[Pair] = []
        scores = []
        for layer, old, pair in zip(self.layers, cache[:-1], prompt.pairs, strict=True):
            x, new = layer(x, rows, at, old, pair, prompt.mask_BM[:, None, None, :])
            after.append(new)
            if len(after) == max(len(self.layers) - 1, 1):  # a layer is left, if there is another
                h = rms_norm(x)
                text_BLM, said_BLD = point(unpack(self.text_pointer(h), rows), prompt.text)
                query_BLD = unpack(self.picture_pointer(h), rows)
                picture_BLI, seen_BLD = point(query_BLD, prompt.picture)
                scores = [text_BLM, picture_BLI]
                said = pack(said_BLD, rows)
                again_BLN, met = self.meet(said, place_BL4, cache[-1], at, rows)
                x = x + said + pack(seen_BLD, rows)
        h = rms_norm(x)
        logits = self.logits(h) + self.number_logits(h) @ jnp.asarray(NUMBER_VF).T
        logits = unpack(logits, rows) + again_BLN @ jnp.asarray(WHO_NV)
        return logits.astype(jnp.float32), jnp.concatenate(scores, -1), (*after, met)

    def meet(
        self,
        said: jax.Array,
        place_BL4: jax.Array,
        met: Pair,
        at: jax.Array,
        rows: Rows | None = None,
    ) -> tuple[jax.Array, Pair]:
        """How like what is pointed at is what described each look (B,L,N); ``met`` with this added.

        a Σ_s m(said)·m(said_s) / √D over the slots s of the look so far, m one normalised
        projection for both: a word that is said again is alike before anything is learnt.
        """
        word_BLD = rms_norm(unpack(self.mention(said), rows))
        describes_BL = jnp.isin(place_BL4[..., 0], jnp.asarray(LOOK))
        look_BLN = jax.nn.one_hot(place_BL4[..., 3] - 1, len(WHO_NV)) * describes_BL[..., None]
        met = extend(met, word_BLD[:, :, None], look_BLN[:, :, None], at)
        alike_BLS = self.alike * self.width**-0.5 * word_BLD @ met[0][:, :, 0].swapaxes(1, 2)
        L, S = alike_BLS.shape[1:]
        return alike_BLS * (jnp.arange(S) <= at + jnp.arange(L)[:, None]) @ met[1][:, :, 0], met


def point(query_BLD: jax.Array, places: Places) -> tuple[jax.Array, jax.Array]:
    """Scores (B,L,M) of the places, q·k / √D, float32, and what is read there (B,L,D) by weights
    that are their softmax.

    Without a place that is real the weights are none's, and nothing is read.
    """
    mask_B1M = places.mask_BM[:, None]
    score_BLM = query_BLD @ places.keys_BMD.swapaxes(1, 2) * query_BLD.shape[-1] ** -0.5
    score_BLM = jnp.where(mask_B1M, score_BLM.astype(jnp.float32), -1e30)
    weights_BLM = jnp.where(mask_B1M, jax.nn.softmax(score_BLM), 0.0).astype(query_BLD.dtype)
    return score_BLM, weights_BLM @ places.said_BMD


def _number_features() -> np.ndarray:
    """A token's number as features (V,F), zero for words: near numbers are alike."""
    at_V1 = np.nan_to_num(grammar.NUMBERS, nan=0.0)[:, None]
    waves_VF = np.pi * at_V1 * np.array([1, 2, 4, 8])
    features_VF = np.concatenate([np.ones_like(at_V1), np.sin(waves_VF), np.cos(waves_VF)], 1)
    return (features_VF * ~np.isnan(grammar.NUMBERS)[:, None]).astype(np.float32)


NUMBER_VF = _number_features()
LOOK = np.array([grammar.SLOTS.index(slot) for slot in grammar.LOOK])
WHO_NV = np.array([[t == f"who:{n}" for t in grammar.TOKENS] for n in range(MAX_LOOKS)], np.float32)


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

    ``group`` of them for each prompt, side by side (N = B x group). ``temperature`` 0 takes the
    likeliest token everywhere; log p is then that at temperature 1.
    ``grammar.decode`` accepts all that comes out; ``losses.tokens.log_probs`` knows its p.
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
    limit = functools.partial(restrict, temperature=temperature or 1.0, top_p=top_p)
    write: Any = functools.partial(model.apply, {"params": params}, method="write")

    def noise(key: jax.Array, at: jax.Array) -> jax.Array:
        return jax.random.gumbel(jax.random.fold_in(key, at), (grammar.VOCABULARY,))

    def body(carry: tuple, at: jax.Array) -> tuple:
        cache, state_B, before_B = carry
        now = before_B[:, None], state_B[:, None], at
        logits_B1V, score_B1M, cache = write(*now, cache, prompt)
        logp_BV = limit(logits_B1V[:, 0], allowed(state_B))
        # The Gumbel-max trick: the argmax of log p + noise is a draw from p.
        drawn_BV = jax.vmap(noise, (0, None))(keys_B, at) if temperature > 0 else 0.0
        token_B = jnp.argmax(logp_BV + drawn_BV, axis=-1).astype(jnp.int32)
        chosen_B = jnp.take_along_axis(logp_BV, token_B[:, None], axis=-1)[:, 0]
        state_B = next_state[state_B, token_B].astype(jnp.int32)
        pointed_BM = jax.nn.softmax(score_B1M[:, 0, : prompt.text.mask_BM.shape[1]])
        return (cache, state_B, token_B), (token_B, chosen_B, pointed_BM)

    cache = model.apply({"params": params}, B, grammar.LENGTH, method="empty_cache")
    first = (cache, jnp.full(B, grammar.START, jnp.int32), jnp.zeros(B, jnp.int32))
    out: tuple[jax.Array, jax.Array, jax.Array]
    _, out = jax.lax.scan(body, first, jnp.arange(grammar.LENGTH))
    return Sample(out[0].T, out[1].T, out[2].swapaxes(0, 1))
