"""What clips show and keep: one content a clip, many at one prompt, none copied from training.

Clips are [0, 1] floats or uint8. Distances between clips are root mean squared differences of all
values, 0 (equal) to 1 (black against white), after frames were averaged down to at most 16 x 16:
noise of single pixels and shifts by less than one are neither variety nor hide a copy, figures at
all resolutions compare, and a set of clips fits in memory.
Letters beyond the legend: F features, P prompts, K clips of one prompt, N training clips.
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Bool, Float, Int, Num

from jaxvid.metrics.motion import mass, unit

_POOLED = 16  # pixels of a side


def average_content_distance(video_BTHWC: Num[Array, "B T H W 3"]) -> Float[Array, "B"]:
    """How much the entity's colour changes in a clip, from 0 (constant) to sqrt(3).

    ACD of MoCoGAN (Tulyakov et al. 2018): mean distance of two frames' mean colours of
    the object; here the mean weighted by ``motion.mass``, of two entities over both. Frames without
    colour are left out; 0 where fewer than two are left. Antialiased edges, and entities that hide
    one another, cost real clips something (scenes at 32 px: 0.008 with one entity, 0.02 in all,
    0.34 if another clip's end is put in): compare with theirs.
    """
    mass_BTHW = mass(video_BTHWC)
    total_BT = mass_BTHW.sum((2, 3))
    colours_BTC = jnp.einsum(
        "bthw,bthwc->btc", mass_BTHW, unit(video_BTHWC), precision=lax.Precision.HIGHEST
    )
    present_BT = total_BT > 1e-3
    colours_BTC = colours_BTC / jnp.where(present_BT, total_BT, 1)[..., None]
    return content_distance(colours_BTC, valid_BT=present_BT)


def content_distance(
    features_BTF: Float[Array, "B T F"], *, valid_BT: Bool[Array, "B T"] | None = None
) -> Float[Array, "B"]:
    """The same of any features of frames (MoCoGAN: of faces): mean distance of two frames, from 0.

    Mean over pairs s < t of ``|f_s - f_t|``, among valid frames; 0 where there is no pair.
    """
    B, T, _ = features_BTF.shape
    valid_BT = jnp.ones((B, T), bool) if valid_BT is None else valid_BT
    s, t = np.triu_indices(T, 1)
    apart_BP = jnp.linalg.norm(features_BTF[:, s] - features_BTF[:, t], axis=-1)
    pair_BP = valid_BT[:, s] & valid_BT[:, t]
    return jnp.where(pair_BP, apart_BP, 0).sum(1) / jnp.maximum(pair_BP.sum(1), 1)


def diversity(video_PKTHWC: Num[Array, "P K T H W C"]) -> Float[Array, "P"]:
    """How unlike the K clips of each prompt are: mean distance of two, 0 (all the same) to 1.

    To be read beside that of K real clips of the same prompt. Raises ValueError for one clip.
    """
    P, K = video_PKTHWC.shape[:2]
    if K < 2:
        raise ValueError("diversity is between clips of a prompt, each has one; make more of each")
    pooled = _pooled(video_PKTHWC.reshape(P * K, *video_PKTHWC.shape[2:])).reshape(P, K, -1)
    j, k = np.triu_indices(K, 1)
    apart = lax.map(lambda clips_KF: _distance(clips_KF[j], clips_KF[k]), pooled)
    return apart.mean(1)


def light(video_BTHWC: Num[Array, "B T H W C"]) -> dict[str, Float[Array, "B T"]]:
    """Each frame's ``light``, the mean of its pixels, 0 to 1, and ``contrast``, their standard
    deviation, 0 to 1/2, mean over channels.
    """
    video = unit(video_BTHWC)
    return {"light": video.mean((2, 3, 4)), "contrast": video.std((2, 3)).mean(-1)}


class Nearest(NamedTuple):
    """Clips, the distance to the nearest training clip seen yet, and its index."""

    clips_BF: jax.Array
    distance_B: jax.Array
    index_B: jax.Array


def init(video_BTHWC: Num[Array, "B T H W C"]) -> Nearest:
    """For each of these clips nothing was seen: infinitely far, index -1."""
    B = len(video_BTHWC)
    clips_BF = _pooled(video_BTHWC).reshape(B, -1)
    return Nearest(clips_BF, jnp.full(B, jnp.inf), jnp.full(B, -1, jnp.int32))


def update(
    state: Nearest,
    train_NTHWC: Num[Array, "N T H W C"],
    index_N: Int[Array, "N"],
    *,
    valid_N: Bool[Array, "N"] | None = None,
) -> Nearest:
    """Looks at a batch of training clips with as many frames, a Batch's ``video`` and ``index``.

    ``valid_N`` is False for clips that only pad it. Of equally near clips the lowest index counts.
    """
    pooled_NF = _pooled(train_NTHWC).reshape(len(train_NTHWC), -1)
    if pooled_NF.shape[1] != state.clips_BF.shape[1]:
        raise ValueError("clips and training clips differ in frames or shape; cut them to the same")
    # one after the other and no products, whose rounding would hide that a copy is exact
    apart_NB = lax.map(lambda clip_F: _distance(state.clips_BF, clip_F), pooled_NF)
    if valid_N is not None:
        apart_NB = jnp.where(valid_N[:, None], apart_NB, jnp.inf)
    nearest_B = apart_NB.min(0)
    last = jnp.iinfo(jnp.int32).max
    index_B = jnp.where(apart_NB == nearest_B, index_N.astype(jnp.int32)[:, None], last).min(0)
    index_B = jnp.where(jnp.isfinite(nearest_B), index_B, -1)
    return merge(state, Nearest(state.clips_BF, nearest_B, index_B))


def merge(a: Nearest, b: Nearest) -> Nearest:
    """The state after the training clips of both; the clips must be the same, order is free."""
    tie = (b.distance_B == a.distance_B) & (b.index_B < a.index_B)
    nearer = (b.distance_B < a.distance_B) | tie
    return Nearest(
        a.clips_BF,
        jnp.where(nearer, b.distance_B, a.distance_B),
        jnp.where(nearer, b.index_B, a.index_B),
    )


def compute(state: Nearest) -> dict[str, jax.Array]:
    """``distance`` (B,), 0 for a copy, and ``index`` (B,) of the nearest training clip.

    Memorised are clips that are much nearer than held-out real clips are to the same training set;
    the nearest distance falls as that grows.
    """
    return {"distance": state.distance_B, "index": state.index_B}


def _distance(a_F: Array, b_F: Array) -> Array:
    return jnp.sqrt(((a_F - b_F) ** 2).mean(-1))


def _pooled(video_BTHWC: Array) -> Array:
    rows, columns = (_areas(n) for n in video_BTHWC.shape[2:4])
    exact = lax.Precision.HIGHEST
    x = jnp.einsum("hH,btHWc->bthWc", rows, unit(video_BTHWC), precision=exact)
    return jnp.einsum("wW,bthWc->bthwc", columns, x, precision=exact)


@functools.lru_cache(maxsize=16)
def _areas(pixels: int) -> np.ndarray:
    """Matrix whose rows average equal parts of the pixels; the identity where they are few."""
    parts = min(_POOLED, pixels)
    edges = np.arange(parts + 1) * pixels / parts
    starts = np.maximum(edges[:-1, None], np.arange(pixels))
    ends = np.minimum(edges[1:, None], np.arange(pixels) + 1)
    return (np.maximum(ends - starts, 0) * parts / pixels).astype(np.float32)
