"""Scaled dot-product attention, softmax(Q Kᵀ / √A) V (Vaswani et al., 2017, eq. 1).

One functional entry for every Transformer here, and several ways to compute it. ``best`` says which
one ``attention`` takes where none is named. The softmax is float32 whatever the inputs are.
"""

import functools
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from jaxvid.ops import few, kernel, machine, tiled
from jaxvid.ops import flash as flash_
from jaxvid.ops.tiled import Limits, Plan, Plans
from jaxvid.typing import UserError

Place = int | Int[Array, ""]
Offset = Place | Int[Array, "*#B"]  # one for all examples, or one an example


class Extras(NamedTuple):
    """What an implementation is given beside q, k and v; see ``attention``."""

    mask: Any
    bias: Any
    causal: bool
    segments: Any
    key_segments: Any
    scale: Any
    offset: Any
    length: Any


def attention(
    q_BLKA: Float[Array, "*B L K A"],
    k_BSKA: Float[Array, "*B S G A"],
    v_BSKA: Float[Array, "*B S G A2"],
    *,
    mask: Bool[Array, "*#B #K #L S"] | None = None,
    bias: Float[Array, "*#B #K #L #S"] | None = None,
    causal: bool = False,
    segments: Int[Array, "*#B L"] | None = None,
    key_segments: Int[Array, "*#B S"] | None = None,
    scale: float | None = None,
    offset: Offset = 0,
    length: Offset | None = None,
    implementation: str | None = None,
) -> Float[Array, "*B L K A2"]:
    """softmax(scale · Q Kᵀ + bias) V: L queries read S keys with K heads of A features.

    ``scale`` is 1/√A. A query reads a key if all of these let it; without any it reads zeros:

    * ``mask``: True where a key may be read;
    * ``causal``: query l reads keys up to ``offset`` + l. The offset, one or one an example, is the
      place of the first query in a cache of keys and values that holds the past and has room for
      more (``extend``): L = 1 then gives what the whole pass gives at this place;
    * ``segments``: numbers; only keys of the query's own number (``key_segments``, or the same);
    * ``length``: only that many keys from the first on, one or one an example;
    * ``bias``: more than minus infinity.

    Keys and values may have G < K heads, where G divides K: each serves K/G heads of queries
    (Ainslie et al., 2023). ``implementation`` is one of ``IMPLEMENTATIONS``, or None: ``best``.
    The output is of q's dtype. What ``best`` takes may have no forward mode (jvp): for that, name
    "reference". Raises UserError where a named one cannot do what is asked, or shapes do not fit.
    """
    extras = Extras(mask, bias, causal, segments, key_segments, scale, offset, length)
    extras = _checked(q_BLKA, k_BSKA, v_BSKA, extras)
    plain = not _refused_by_flash(q_BLKA, v_BSKA, extras)
    followed = kernel.followed(*jax.tree.leaves((q_BLKA, k_BSKA, v_BSKA, extras)))
    alike = {(x.dtype, x.shape[-1]) for x in (q_BLKA, k_BSKA, v_BSKA)}  # as cuDNN wants them
    name = implementation or best(
        q_BLKA.shape, k_BSKA.shape, q_BLKA.dtype if len(alike) == 1 else jnp.float32,
        plain=plain, bias=bias is not None, followed=followed,
    )  # fmt: skip
    if name not in IMPLEMENTATIONS:
        raise UserError(f"no attention {name!r} is known; use {', '.join(IMPLEMENTATIONS)} or None")
    return IMPLEMENTATIONS[name](q_BLKA, k_BSKA, v_BSKA, extras).astype(q_BLKA.dtype)


def attention_weights(
    q_BLKA: Float[Array, "*B L K A"], k_BSKA: Float[Array, "*B S G A"], **options: Any
) -> Float[Array, "*B K L S"]:
    """The weights with which values are read, float32, for explanations: see ``attention``.

    They add up to 1 over the keys, or are all zero where a query may read none.
    """
    extras = Extras(*(options.pop(name, default) for name, default in _DEFAULTS.items()))
    if options:
        raise UserError(f"attention_weights does not take {', '.join(options)}")
    extras = _checked(q_BLKA, k_BSKA, k_BSKA, extras)
    return _weights(q_BLKA, _repeated(k_BSKA, q_BLKA), extras)


_DEFAULTS = dict(mask=None, bias=None, causal=False, segments=None, key_segments=None, scale=None,
                 offset=0, length=None)  # fmt: skip


def best(
    q_shape: tuple[int, ...],
    k_shape: tuple[int, ...],
    dtype: Any = jnp.float32,
    *,
    plain: bool = True,
    bias: bool = False,
    followed: bool = False,
    platform: str | None = None,
    devices: int | None = None,
) -> str:
    """The implementation that ``attention`` takes for these shapes if none is named.

    ``plain``: without bias, values as wide as keys, no mask but of keys (*#B,1,1,S). CPU with one
    device (over several, a loop over examples would gather the batch), not ``kernel.followed``:
    flash for 24 tokens and more and for 8 or 16 (``few``) where it is plain; blocked for 128 and
    more; fused where the logits of the whole call are few. GPU: cudnn for half precision without
    ``bias``. Elsewhere: chunked where logits are too many to be kept. Else reference.
    """
    platform, devices = platform or jax.default_backend(), devices or jax.device_count()
    L, S = q_shape[-3], k_shape[-3]
    if platform == "cpu":
        if devices > 1 or followed:
            return "reference"
        of_size = min(L, S) >= 24 or few.fits(q_shape, k_shape)
        if plain and of_size and not _no_flash(q_shape[-1]):
            return "flash"
        if min(L, S) >= 128:
            return "blocked"
        return "fused" if math.prod(q_shape[:-1]) * S <= FEW else "reference"
    if platform in ("gpu", "cuda") and not bias and not _refusal(q_shape[-1], dtype, platform):
        return "cudnn"
    return "chunked" if L * S >= 2**22 else "reference"


def extend(
    cache: tuple[Float[Array, "B S K A"], Float[Array, "B S K A2"]],
    k_BLKA: Float[Array, "B L K A"],
    v_BLKA: Float[Array, "B L K A2"],
    at: Place,
) -> tuple[Float[Array, "B S K A"], Float[Array, "B S K A2"]]:
    """The cache with keys and values of L more tokens from place ``at`` on (at most S - L)."""
    put = functools.partial(jax.lax.dynamic_update_slice_in_dim, start_index=at, axis=1)
    k_BLKA, v_BLKA = k_BLKA.astype(cache[0].dtype), v_BLKA.astype(cache[1].dtype)
    return put(cache[0], k_BLKA), put(cache[1], v_BLKA)


# Implementations: (q, k, v, extras) -> output


def reference(q: Array, k: Array, v: Array, extras: Extras) -> Array:
    """The formula as it stands: O(L S) memory, differentiable as often as one likes."""
    weights = _weights(q, _repeated(k, q), extras)
    return jnp.einsum("...kls,...ska->...lka", weights.astype(v.dtype), _repeated(v, q))


def blocked(q: Array, k: Array, v: Array, extras: Extras) -> Array:
    """Head by head, O(N) memory: what is fastest on CPU (see ``tiled``), in tiles chosen there."""
    L, S = q.shape[-3], k.shape[-3]
    if L * S > 2**18:
        read, back = LONG_CAUSAL if extras.causal else LONG
        return _tiled(q, k, v, extras, read, read, back)
    if extras.causal:
        return _tiled(q, k, v, extras, (1024, 64, 4), (1024, 64, 4), (1024, 128, 4))
    # XLA makes one fused loop of all heads where their logits are few enough to stay in the cache.
    few = math.prod(q.shape[:-1]) * S <= FEW
    return _tiled(q, k, v, extras, (1024, 1024, 0 if few else 4), SHORT, SHORT)


def fused(q: Array, k: Array, v: Array, extras: Extras) -> Array:
    """The output alone as one loop that XLA's CPU compiler fuses; differentiated, the reference.

    Without a gradient two to five times as fast as the reference at the shapes of small networks.
    """

    def whole(*arrays: Any) -> Any:
        q, k, v, bias, rest = arrays
        return q, k, v, extras._replace(bias=bias, **rest)

    @jax.custom_jvp
    def read(*arrays: Any) -> Array:
        return _tiled(*whole(*arrays), *[(ONE_TILE, ONE_TILE, 0)] * 3)

    @read.defjvp
    def tangent(arrays: Any, tangents: Any) -> Any:
        *inputs, rest = arrays
        return jax.jvp(lambda *x: reference(*whole(*x, rest)), tuple(inputs), tuple(tangents[:4]))

    static = {"causal", "scale", "bias"} | ({"offset"} if isinstance(extras.offset, int) else set())
    rest = {name: x for name, x in extras._asdict().items() if name not in static}
    return read(q, k, v, extras.bias, rest)


FEW = 2**21  # logits, 8 MiB
ONE_TILE = 2**30
SHORT = (1024, 1024, 4)  # tile, block and heads of an iteration
LONG, LONG_CAUSAL = ((2048, 512, 2), (1024, 512, 2)), ((1024, 256, 2), (1024, 256, 2))


def flash(q: Array, k: Array, v: Array, extras: Extras) -> Array:
    """Machine code made for this CPU (``ops.flash``): O(N) memory, no bias, a mask only of keys.

    It can be differentiated backwards as often as one likes, not forward (jvp).
    """
    why = _refused_by_flash(q, v, extras) or _no_flash(q.shape[-1], jax.default_backend())
    if why:
        raise UserError(f"attention 'flash' {why}; leave the implementation out")
    lead, (L, S) = q.shape[:-3], (q.shape[-3], k.shape[-3])
    B = math.prod(lead)
    q_, k_, v_ = (x.astype(jnp.float32).reshape(B, *x.shape[-3:]) for x in (q, k, v))
    limits = (extras.mask, extras.length, extras.segments)
    everyone = not extras.causal and all(x is None for x in limits)
    if everyone and few.fits(q.shape, k.shape):
        return few.attend(extras.scale, q_, k_, v_).reshape(q.shape).astype(q.dtype)
    limit = jnp.full((*lead, L), S, jnp.int32)
    if extras.causal:
        limit = jnp.minimum(limit, jnp.asarray(extras.offset)[..., None] + jnp.arange(L) + 1)
    if extras.length is not None:
        limit = jnp.minimum(limit, jnp.asarray(extras.length)[..., None])
    groups = [(extras.segments, L), (extras.key_segments, S)]
    if extras.mask is not None:  # keys that may be read are of the queries' segment
        groups = [(jnp.ones(L, jnp.int32), L), (extras.mask[..., 0, 0, :], S)]
    who = [jnp.zeros((*lead, n), jnp.int32) if x is None else jnp.broadcast_to(x, (*lead, n))
           for x, n in groups]  # fmt: skip
    who_BN = jnp.concatenate([limit, *who], axis=-1).astype(jnp.int32).reshape(B, 2 * L + S)
    return flash_.attend(extras.scale, q_, k_, v_, who_BN).reshape(q.shape).astype(q.dtype)


def _refused_by_flash(q: Array, v: Array, extras: Extras) -> str | None:
    """What ``flash`` cannot do of what is asked, or None."""
    if extras.bias is not None or q.shape[-1] != v.shape[-1]:
        return "takes no bias and no values wider or narrower than keys"
    of_keys = extras.mask is None or extras.mask.shape[-3:-1] == (1, 1)
    if not of_keys or (extras.mask is not None and extras.segments is not None):
        return "takes no mask but one of keys, (*B,1,1,S), and that not beside segments"
    return None


def _no_flash(features: int, platform: str = "cpu") -> str | None:
    """Why ``flash`` cannot be used, or None."""
    if platform != "cpu":
        return f"is for CPUs, and this program runs on {platform}"
    if features > 256:
        return f"needs a head size of at most 256, not {features}"
    return machine.refusal()


def chunked(q: Array, k: Array, v: Array, extras: Extras) -> Array:
    """In tiles, O(N) memory: for accelerators without a fused kernel, all heads at once there; on
    CPUs what needs least memory, at half the time again of tiles of 512."""
    cut = (256, 256, 1) if jax.default_backend() == "cpu" else (512, 512, 0)
    return _tiled(q, k, v, extras, cut, cut, cut)


def cudnn(q: Array, k: Array, v: Array, extras: Extras) -> Array:
    """NVIDIA's fused kernel: GPU, half precision, no bias, differentiable once."""
    why = _refusal(q.shape[-1], q.dtype, jax.default_backend())
    if why or extras.bias is not None:
        why = why or "takes no bias, whose gradient it would leave out"
        raise UserError(f"attention 'cudnn' {why}; leave the implementation out")
    lead, (L, S) = q.shape[:-3], (q.shape[-3], k.shape[-3])
    causal = extras.causal and isinstance(extras.offset, int) and extras.offset == 0
    # The kernel's own causal mask skips what is not seen.
    mask = _allowed(extras._replace(causal=extras.causal and not causal), L, S, lead)
    q, k, v = (x.reshape(-1, *x.shape[-3:]) for x in (q, k, v))
    if mask is not None or S % 2:
        mask = jnp.ones((1, 1, 1), bool) if mask is None else mask
        mask = _flat(mask if mask.ndim > 2 else mask[None], lead, 3)
        mask = jnp.broadcast_to(mask, (*mask.shape[:2], L, S))
    padded = mask  # its gradient is for even numbers of tokens alone
    if L % 2 or S % 2:
        more_q, more_k = (((0, 0), (0, n % 2), (0, 0), (0, 0)) for n in (L, S))
        q, k, v = jnp.pad(q, more_q), jnp.pad(k, more_k), jnp.pad(v, more_k)
        if mask is not None:
            padded = jnp.pad(mask, ((0, 0), (0, 0), (0, L % 2), (0, S % 2)))
    out = jax.nn.dot_product_attention(
        q, k, v, None, padded, scale=extras.scale, is_causal=causal, implementation="cudnn"
    )[:, :L]
    if mask is not None:
        out = jnp.where(mask.any(-1, keepdims=True).swapaxes(1, 2), out, 0)
    return out.reshape(*lead, *out.shape[1:])


IMPLEMENTATIONS: dict[str, Callable[[Array, Array, Array, Extras], Array]] = {
    "reference": reference,
    "fused": fused,
    "flash": flash,
    "blocked": blocked,
    "chunked": chunked,
    "cudnn": cudnn,
}


def _refusal(features: int, dtype: Any, platform: str) -> str | None:
    """Why cuDNN's kernel cannot be used, or None."""
    if platform not in ("gpu", "cuda"):
        return f"needs an NVIDIA GPU, and this program runs on {platform}"
    if jnp.dtype(dtype) not in (jnp.bfloat16, jnp.float16):
        return f"needs bfloat16 or float16, not {jnp.dtype(dtype)}"
    if features % 8 or features > 128:
        return f"needs a head size divisible by 8 and at most 128, not {features}"
    return None


def _weights(q: Array, k: Array, extras: Extras) -> Array:
    logits = jnp.einsum(
        "...lka,...ska->...kls", q * extras.scale, k, preferred_element_type=jnp.float32
    )
    if extras.bias is not None:
        logits = logits + extras.bias.astype(jnp.float32)
    allowed = _allowed(extras, q.shape[-3], k.shape[-3], q.shape[:-3])
    if allowed is None:
        return jax.nn.softmax(logits, axis=-1)
    # Finite, and zeroed afterwards: -inf would make the gradient of a row without keys NaN.
    logits = jnp.where(allowed, logits, jnp.finfo(jnp.float32).min)
    return jnp.where(allowed, jax.nn.softmax(logits, axis=-1), 0.0)


def _allowed(extras: Extras, L: int, S: int, lead: tuple[int, ...]) -> Array | None:
    """Who may read what, (*#B,#K,#L,S); None: everyone everything."""

    def column(x: Any) -> Any:  # one number or one an example, to be compared with (*B,K,L,S)
        return x if jnp.ndim(x) == 0 else x[..., None, None, None]

    found = [] if extras.mask is None else [extras.mask]
    if extras.bias is not None:
        found.append(extras.bias > -jnp.inf)
    if extras.causal:
        found.append(jnp.arange(S) <= column(extras.offset) + jnp.arange(L)[:, None])
    if extras.length is not None:
        found.append(jnp.arange(S)[None, None] < column(extras.length))
    if extras.segments is not None:
        same = extras.segments[..., :, None] == extras.key_segments[..., None, :]
        found.append(same[..., None, :, :])
    return functools.reduce(jnp.logical_and, found) if found else None


def _tiled(q: Array, k: Array, v: Array, extras: Extras, *sizes: tuple[int, int, int]) -> Array:
    lead = q.shape[:-3]
    B, L, S = math.prod(lead), q.shape[-3], k.shape[-3]
    static = extras.offset if isinstance(extras.offset, int) else None
    plans = Plans(*(Plan(extras.scale, extras.causal, static, *size) for size in sizes))

    def per_example(x: Any) -> Any:
        return None if x is None else jnp.broadcast_to(x, lead or (1,)).reshape(B)

    def per_token(x: Any, n: int) -> Any:
        return None if x is None else jnp.broadcast_to(x, (*lead, n)).reshape(B, n)

    limits = Limits(
        None if extras.mask is None else _flat(extras.mask, lead, 3),
        per_token(extras.segments, L),
        per_token(extras.key_segments, S),
        None if static is not None else per_example(extras.offset),
        per_example(extras.length),
    )
    bias = None if extras.bias is None else _flat(extras.bias, lead, 3)
    q_, k_, v_ = (x.reshape(B, *x.shape[-3:]) for x in (q, _repeated(k, q), _repeated(v, q)))
    return tiled.attend(plans, q_, k_, v_, bias, limits).reshape(*q.shape[:-1], v.shape[-1])


def _flat(x: Array, lead: tuple[int, ...], rest: int) -> Array:
    """The leading axes as one, of size 1 where they all are."""
    own = x.shape[:-rest]
    if all(size == 1 for size in own):
        return x.reshape(1, *x.shape[-rest:])
    return jnp.broadcast_to(x, (*lead, *x.shape[-rest:])).reshape(-1, *x.shape[-rest:])


def _repeated(x_BSGA: Array, q_BLKA: Array) -> Array:
    """Each of G heads K / G times."""
    times = q_BLKA.shape[-2] // x_BSGA.shape[-2]
    return x_BSGA if times == 1 else jnp.repeat(x_BSGA, times, axis=-2)


def _checked(q: Array, k: Array, v: Array, extras: Extras) -> Extras:
    """Raises UserError with the fix where shapes do not fit; fills in scale and keys' segments."""
    (L, K, A), (S, G) = q.shape[-3:], k.shape[-3:-1]
    if k.shape[:-1] != v.shape[:-1] or q.shape[:-3] != k.shape[:-3] or A != k.shape[-1]:
        raise UserError(
            f"q {q.shape}, k {k.shape}, v {v.shape} must be (*B,L,K,A), (*B,S,G,A), (*B,S,G,A2)"
        )
    if K % G:
        fits = max(d for d in range(1, K + 1) if K % d == 0 and d <= G)
        raise UserError(f"{G} heads of keys do not divide {K} of queries; try {fits}")
    for name, x in (("mask", extras.mask), ("bias", extras.bias)):
        shape = (1, 1, 1) if x is None else x.shape
        if not all(n in (1, m) for n, m in zip((0, 0, *shape)[-3:], (K, L, S), strict=True)):
            raise UserError(f"{name} {shape} must be (*#B,#K,#L,#S): {K} heads, {L} and {S} tokens")
    if extras.scale is None:
        extras = extras._replace(scale=A**-0.5)
    if extras.segments is None and extras.key_segments is not None:
        raise UserError("key_segments were given without segments; give both")
    if extras.segments is not None and extras.key_segments is None:
        if L != S:
            raise UserError("segments of queries are not those of keys; give key_segments too")
        extras = extras._replace(key_segments=extras.segments)
    return extras
