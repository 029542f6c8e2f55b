"""What the planner reads: bytes of a prompt, and a picture beside it, as features of places.

Further letters: M places of the encoded prompt, I of them of the picture.
"""

from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from flax.linen.initializers import normal

from jaxvid.models.blocks import rms_norm
from jaxvid.ops.attention import attention
from jaxvid.ops.positions import rotate
from jaxvid.ops.rows import Rows, pack, real, unpack
from jaxvid.ops.words import most_words, words

Pair = tuple[jax.Array, jax.Array]  # keys and values, each (B,S,K,A)
Dense = Callable[..., nn.Dense]  # makes linear layers
BYTES = 257  # 256 byte values after the padding id 0
PICTURE = 64  # pixels of the picture that is read, height and width
GRIDS = 4  # places of the picture along each side


class Heads(nn.Module):
    """Multi-head attention with normalised queries and keys, its memory projected apart."""

    width: int
    heads: int
    dense: Dense = nn.Dense

    def setup(self) -> None:
        self.query = self.dense(self.width, use_bias=False)
        self.pair = self.dense(2 * self.width, use_bias=False)
        self.out = self.dense(self.width)
        self.gain = self.param("gain", nn.initializers.constant(2.0), (self.heads, 1))

    def memory(self, x: jax.Array, rows: Rows | None = None, at: jax.Array | None = None) -> Pair:
        """Keys and values of what is attended to: x (B,S,D), or the rows of that. ``at`` (S,):
        places, if what is read is to depend on how far away it is."""
        pair = unpack(self.pair(x), rows)
        pair = pair.reshape(*pair.shape[:-1], 2, self.heads, -1)
        key = rms_norm(pair[..., 0, :, :])
        return key if at is None else rotate(key, at), pair[..., 1, :, :]

    def __call__(
        self,
        x: jax.Array,
        memory: Pair,
        rows: Rows | None = None,
        at: jax.Array | None = None,
        **limits: Any,
    ) -> jax.Array:
        """What x (B,L,D), or its rows, reads, as x is. ``limits``: which keys each query reads, as
        ``ops.attention`` takes them; ``at`` as for ``memory``."""
        return self.join(attention(self.ask(x, rows, at), *memory, **limits), rows)

    def ask(self, x: jax.Array, rows: Rows | None, at: jax.Array | None) -> jax.Array:
        """Queries (B,L,K,A) of x."""
        query = unpack(self.query(x), rows)
        query = rms_norm(query.reshape(*query.shape[:-1], self.heads, -1)) * self.gain
        return query if at is None else rotate(query, at)

    def join(self, read_BLKA: jax.Array, rows: Rows | None) -> jax.Array:
        """What all heads read, as x was."""
        return self.out(pack(read_BLKA.reshape(*read_BLKA.shape[:2], -1), rows))


class FeedForward(nn.Module):
    """W2 gelu(W1 norm(x)) with a hidden width of 4 D."""

    dense: Dense = nn.Dense

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        D = x.shape[-1]
        return self.dense(D, name="down")(nn.gelu(self.dense(4 * D, name="up")(rms_norm(x))))


class EncoderLayer(nn.Module):
    """Self-attention half of whose heads look back and half ahead, then a feed-forward.

    What is behind what is then one step away. ``way`` (K,M,M) says which head may look where, and
    ``at`` (M,) where each place is.
    """

    width: int
    heads: int
    dense: Dense = nn.Dense

    @nn.compact
    def __call__(
        self,
        x: jax.Array,
        rows: Rows | None,
        mask_BM: jax.Array,
        way_KMM: jax.Array,
        at_M: jax.Array,
    ) -> jax.Array:
        attend = Heads(self.width, self.heads, self.dense, name="rotary")
        h = rms_norm(x)
        mask_BKMM = mask_BM[:, None, None, :] & way_KMM
        x = x + attend(h, attend.memory(h, rows, at_M), rows, at_M, mask=mask_BKMM)
        return x + FeedForward(self.dense, name="feed")(x)


class Reference(nn.Module):
    """Whom words speak of: self-attention of two heads that training teaches where to look, as
    Strubell et al. (2018, arXiv 1804.08199) teach one to look at a word's head.

    One finds, for words that state something, those that name whom they state it of, the other, for
    words that name somebody, those that did before. Without, "the star is red" behind a star and a
    ring is as likely red for the ring.
    """

    width: int
    dense: Dense = nn.Dense

    @nn.compact
    def __call__(
        self, x: jax.Array, rows: Rows | None, mask_BM: jax.Array, at_M: jax.Array
    ) -> tuple[jax.Array, jax.Array]:
        """x and what was read, and the scores (B,2,M,M), float32, about -1e30 where it may not."""
        heads = Heads(self.width, 2, self.dense, name="heads")
        h, M = rms_norm(x), len(at_M)
        (key, value), query = heads.memory(h, rows, at_M), heads.ask(h, rows, at_M)
        way_2MM = np.stack([~np.eye(M, dtype=bool), np.tri(M, k=-1, dtype=bool)])
        may = mask_BM[:, None, None, :] & jnp.asarray(way_2MM)
        scores = jnp.einsum("blka,bska->bkls", query, key).astype(jnp.float32)
        scores = jnp.where(may, scores * query.shape[-1] ** -0.5, -1e30)
        weights = jnp.where(may, jax.nn.softmax(scores), 0.0).astype(value.dtype)
        return x + heads.join(jnp.einsum("bkls,bska->blka", weights, value), rows), scores


class PromptEncoder(nn.Module):
    """(B,L) ids and a picture -> features (B,M,width), None, where there is something, bool (B,M),
    and the scores of ``Reference`` between words. With a ``count`` the features are rows, and those
    come too (``ops.rows``): so many of the text, which must be enough, and all of the picture.

    The first places are the words of the text (``ops.words``), each read byte by byte from its own
    beginning, so that it looks the same wherever it stands; the last I = GRIDS² are those of the
    picture, and there are none of it where no example of the batch has one (an image without
    pixels). A convolution joins the words of a phrase, attention, which knows how far apart words
    are, the rest. Capitals are read as small letters: a shouted prompt is the same prompt. L is at
    most ``text_length``.
    """

    width: int
    layers: int
    heads: int
    byte_width: int
    text_length: int
    dense: Dense = nn.Dense

    @nn.compact
    def __call__(
        self, text_BL: jax.Array, image_BHWC: jax.Array, count: int | None = None
    ) -> tuple[jax.Array, Rows | None, jax.Array, jax.Array]:
        capital_BL = (text_BL > ord("A")) & (text_BL <= ord("Z") + 1)  # an id is a byte plus 1
        word_BMC = words(text_BL + (ord("a") - ord("A")) * capital_BL)
        mask_BM = word_BMC[..., 0] > 0
        rows = real(mask_BM, count) if count else None
        byte = pack(word_BMC, rows)
        embed = nn.Embed(BYTES, self.byte_width, embedding_init=normal(1.0), name="embed")
        x = embed(byte) * (byte > 0)[..., None]
        x = nn.Dense(2 * self.width, name="spell0")(x.reshape(*byte.shape[:-1], -1))
        x = nn.Dense(self.width, name="spell1")(nn.gelu(x))
        # Padding is zero before the convolution: its length must not matter.
        place_MD = self.param("place", normal(0.02), (most_words(self.text_length), self.width))
        place_BMD = jnp.broadcast_to(place_MD[: mask_BM.shape[1]], (*mask_BM.shape, self.width))
        x = (x + pack(place_BMD, rows)) * pack(mask_BM[..., None], rows)
        phrase = nn.Conv(self.width, (5,), name="phrase")
        x = x + pack(phrase(unpack(nn.gelu(rms_norm(x)), rows)), rows)
        text = mask_BM.shape[1]
        if image_BHWC.size:
            seen_BID, there_BI = Picture(self.width, name="picture")(image_BHWC)
            x = jnp.concatenate([unpack(x, rows), seen_BID], 1)
            mask_BM = jnp.concatenate([mask_BM, there_BI], 1)
            rows = real(mask_BM, count + there_BI.size) if count else None
            x = pack(x, rows)
        way_KMM = self._ways(text, mask_BM.shape[1])
        # Of the picture all places are the first one, where nothing is turned.
        at_M = jnp.where(jnp.arange(mask_BM.shape[1]) < text, jnp.arange(mask_BM.shape[1]), 0.0)
        for i in range(self.layers):
            layer = EncoderLayer(self.width, self.heads, self.dense, name=f"layer{i}")
            x = layer(x, rows, mask_BM, way_KMM, at_M)
            if i == 0:
                refer = Reference(self.width, self.dense, name="refer")
                x, refers_B2MM = refer(x, rows, mask_BM, at_M)
        return rms_norm(x), rows, mask_BM, refers_B2MM[..., :text, :text]

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
    16 x 16 pixels, which learns where it is and what can be seen there. Beside them the colours of
    its 4 x 4 parts, which the norms of the convolutions would make hard to see.
    """

    width: int

    @nn.compact
    def __call__(self, image_BHWC: jax.Array) -> tuple[jax.Array, jax.Array]:
        there_B = image_BHWC.max(axis=(1, 2, 3)) > 0
        x = image_BHWC.astype(jnp.float32) / 127.5 - 1.0
        colors = nn.Conv(self.width, (4, 4), strides=4, name="colors")(
            nn.avg_pool(x, (4, 4), (4, 4))
        )
        for i, width in enumerate((24, 48, 96, self.width)):
            x = nn.Conv(width, (4, 4), strides=2, name=f"conv{i}")(x)
            x = x + nn.Conv(width, (3, 3), name=f"mix{i}")(nn.gelu(rms_norm(x))) if i else x
            x = nn.gelu(rms_norm(x))
        x = jnp.concatenate([x, colors], axis=-1).reshape(len(x), GRIDS * GRIDS, -1)
        x = nn.Dense(self.width, name="out")(x)
        x = x + self.param("place", normal(0.5), x.shape[1:])
        there_BI = jnp.broadcast_to(there_B[:, None], x.shape[:2])
        return x * there_BI[..., None], there_BI
