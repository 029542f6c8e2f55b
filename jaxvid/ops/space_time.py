"""Attention over the patches of a video: windows of frames, and frames that see only the past.

With T frames of P patches, in pairs of tokens: full T² P², windowed T W P² (W frames a window),
factorised T P² + P T² (over the patches of a frame, then over the frames of a place).
"""

from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from jaxvid.ops.attention import Place, attention, extend
from jaxvid.typing import UserError

Cache = tuple[Float[Array, "B S K A"], Float[Array, "B S K A"]]


def split_windows(
    x_BTPD: Float[Array, "B T P D"], window: int, *, shift: int = 0
) -> tuple[Float[Array, "B N L D"], Bool[Array, "1 N 1 1 L"]]:
    """N windows of L = ``window`` · P tokens, and a mask of those that are there.

    The first window begins ``shift`` (0 to window - 1) frames before the clip: layers that shift by
    turns let windows hear of each other (Liu et al., 2021, arXiv 2103.14030). A clip that fits into
    one window is one.
    """
    B, T, P, D = x_BTPD.shape
    window, shift = (T, 0) if window >= T else (window, shift)
    count = -(-(T + shift) // window)
    after = count * window - T - shift
    padded = jnp.pad(x_BTPD, ((0, 0), (shift, after), (0, 0), (0, 0)))
    there = np.pad(np.ones(T, bool), (shift, after)).reshape(1, count, 1, 1, window)
    return padded.reshape(B, count, window * P, D), jnp.asarray(there.repeat(P, axis=-1))


def join_windows(
    x_BNLD: Float[Array, "B N L D"], frames: int, patches: int, *, shift: int = 0
) -> Float[Array, "B T P D"]:
    """The inverse of ``split_windows``, for a clip of so many frames of so many patches."""
    B, count, _, D = x_BNLD.shape
    start = 0 if count == 1 else shift
    whole = x_BNLD.reshape(B, -1, patches, D)
    return whole[:, start : start + frames]


def frame_causal(
    q_BTPKA: Float[Array, "B T P K A"],
    k_BTPKA: Float[Array, "B T P K A"],
    v_BTPKA: Float[Array, "B T P K A"],
    *,
    cache: Cache | None = None,
    at: Place = 0,
    implementation: str | None = None,
) -> tuple[Float[Array, "B T P K A"], Cache]:
    """Each patch reads all patches of its own frame and of earlier ones. Also returns the cache.

    ``cache``: keys and values of S tokens (``empty_cache``), into which those of these T frames,
    frame ``at`` and on, are put. Frame after frame with the cache gives what all frames at once
    give without, for T P S pairs a call in place of (T P)². Raises UserError for frames beyond the
    cache where ``at`` is a number; a traced one overwrites the last ones.
    """
    B, T, P, K, A = q_BTPKA.shape
    if cache is not None and isinstance(at, int) and not 0 <= at * P <= cache[0].shape[1] - T * P:
        raise UserError(f"{T} frames from {at} on do not fit into the cache; make a longer one")
    q, k, v = (x.reshape(B, T * P, K, A) for x in (q_BTPKA, k_BTPKA, v_BTPKA))
    cache = (k, v) if cache is None else extend(cache, k, v, at * P)
    frame_L, frame_S = (jnp.arange(n) // P for n in (T * P, cache[0].shape[1]))
    mask = frame_S <= at + frame_L[:, None]
    out = attention(q, *cache, mask=mask[None, None], implementation=implementation)
    return out.reshape(q_BTPKA.shape), cache


def empty_cache(
    batch: int, frames: int, patches: int, heads: int, features: int, dtype: Any = jnp.float32
) -> Cache:
    """Room for the keys and values of so many frames, in their dtype."""
    empty = jnp.zeros((batch, frames * patches, heads, features), dtype)
    return empty, empty
