"""Attention tile by tile, in memory that grows with the tokens and not with their square.

A tile (some queries, some keys) gives an output and the log-sum-exp of its logits; two of the same
queries are joined by these (online softmax: Milakov and Gimelshein, 2018, arXiv 1805.02867). For
the gradient the probabilities are computed again, tile by tile, from the log-sum-exp (Dao et al.,
2022, arXiv 2205.14135, algorithm 4). What XLA's CPU compiler does best was measured
(``python -m benchmarks.attention``): plain products of matrices, one head each; within a tile the
queries are cut into blocks that are unrolled, so that what the future hides is not computed; the
scale goes into Q, and exponentials are normalised after their product with V.
"""

import functools
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

UNSEEN = -1e30  # log-sum-exp of a query that has seen no key; finite, so that differences are too


class Plan(NamedTuple):
    """What is known when the program is built, and how the work is cut.

    ``offset``: place of the first query among the keys, None where it is only known at run time.
    ``tile`` queries by keys at once, in unrolled blocks of ``block`` rows; ``heads`` of an
    iteration of the loop over examples and heads; 0: no such loop, all of them at once.
    """

    scale: float
    causal: bool
    offset: int | None
    tile: int
    block: int
    heads: int


class Limits(NamedTuple):
    """What else decides who reads what, each None or an array: mask (#B,#K,#L,#S), segments (B,L)
    and (B,S), offset and length (B,)."""

    mask: Any = None
    segments: Any = None
    key_segments: Any = None
    offset: Any = None
    length: Any = None


class Head(NamedTuple):
    """One head of one example: q (L,A), scaled; k, v (S,A); its bias (#L,#S) and limits."""

    q: Any
    k: Any
    v: Any
    bias: Any
    limits: Limits


class Plans(NamedTuple):
    """A plan for the output alone, one for it as part of training, one for the gradient."""

    alone: Plan
    forward: Plan
    backward: Plan


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def attend(plans: Plans, q: Any, k: Any, v: Any, bias: Any, limits: Limits) -> Any:
    """q (B,L,K,A), k and v (B,S,K,A), bias (#B,#K,#L,#S) or None -> (B,L,K,A)."""
    return _read(plans.alone, q, k, v, bias, limits)[0]


def _forward(plans: Plans, q: Any, k: Any, v: Any, bias: Any, limits: Limits) -> Any:
    out, lse = _read(plans.forward, q, k, v, bias, limits)
    return out, (q, k, v, bias, limits, out, lse)


def _read(plan: Plan, q: Any, k: Any, v: Any, bias: Any, limits: Limits) -> tuple[Any, Any]:
    """The output (B,L,K,A) and the log-sum-exp (B,K,L)."""

    def one(head: Head) -> tuple[Any, Any]:
        out_LA, lse_L = _forward_head(plan, head)
        return out_LA.astype(q.dtype), lse_L

    B, L, K, _ = q.shape
    shapes = [((B, L, K, v.shape[-1]), q.dtype), ((B, K, L), jnp.float32)]
    out, lse = _each_head(plan, one, (q, k, v, bias, limits), (), shapes)
    return out, lse


def _backward(plans: Plans, kept: Any, grad: Any) -> Any:
    plan, (q, k, v, bias, limits, out, lse) = plans.backward, kept
    inputs = q, k, v, bias, limits

    def product(head: Head, grad_LA: Any, out_LA: Any) -> tuple[Any]:
        return (jnp.sum(grad_LA.astype(jnp.float32) * out_LA, axis=-1),)

    def one(head: Head, grad_LA: Any, lse_L: Any, inner_L: Any) -> tuple[Any, ...]:
        dq, dk, dv, dbias = _backward_head(plan, head, grad_LA, lse_L, inner_L)
        dq = (dq * plan.scale).astype(q.dtype)
        return dq, dk.astype(k.dtype), dv.astype(v.dtype), *(() if bias is None else (dbias,))

    shapes = [(x.shape, x.dtype) for x in (q, k, v)]
    if bias is not None:
        shapes.append((bias.shape, jnp.promote_types(bias.dtype, jnp.float32)))
    # Not of all heads at once, where XLA takes five times the output's memory; before the rest.
    (inner_BKL,) = _each_head(plan, product, inputs, (grad, out), [(lse.shape, jnp.float32)])
    grads = _each_head(plan, one, inputs, (grad, lse, inner_BKL), shapes)
    return *grads[:3], None if bias is None else grads[3].astype(bias.dtype), None


attend.defvjp(_forward, _backward)


# Heads


def _each_head(
    plan: Plan, one: Callable[..., Any], inputs: Any, more: Any, shapes: list[Any]
) -> tuple[Any, ...]:
    """``one(Head, *more)`` of every example and head, in loops over them or all at once.

    Arrays of four axes are (B,L,K,A), those of three (B,K,L); a last of four shapes is the bias's.
    """
    q, k, v, bias, limits = inputs
    B, _, K, _ = q.shape

    def head(b: Any, h: Any, q_LA: Any, k_SA: Any, v_SA: Any) -> Head:
        mine = Limits(
            _of_head(limits.mask, b, h), *(None if x is None else _at(x, b) for x in limits[1:])
        )
        q_LA = (q_LA * plan.scale).astype(q.dtype)
        return Head(q_LA, k_SA, v_SA, _of_head(bias, b, h), mine)

    def whole(b: Any, h: Any, q_LA: Any, k_SA: Any, v_SA: Any, *rest: Any) -> Any:
        return one(head(b, h, q_LA, k_SA, v_SA), *rest)

    arrays = (q, k, v, *more)
    if not plan.heads:
        axes = [1 if x.ndim == 4 else 0 for x in arrays]
        out = [1 if len(shape) == 4 and i < 3 else 0 for i, (shape, _) in enumerate(shapes)]
        over_heads = jax.vmap(whole, in_axes=(None, 0, *axes), out_axes=tuple(out))
        over_all = jax.vmap(over_heads, in_axes=(0, None, *[0] * len(arrays)))
        made = list(over_all(jnp.arange(B), jnp.arange(K), *arrays))
        if len(made) == 4:
            made[3] = _summed(made[3], shapes[3][0]).astype(shapes[3][1])
        return tuple(made)

    per = math.gcd(plan.heads, K)

    def body(i: Any, carry: Any) -> Any:
        b, h = i // (K // per), i % (K // per) * per
        cut = [_heads(x, b, h, per) for x in arrays]
        results = [whole(b, h + t, *(x[t] for x in cut)) for t in range(per)]
        joined = [_put(x, [r[n] for r in results], b, h) for n, x in enumerate(carry[:3])]
        for x in carry[3:]:
            for t, result in enumerate(results):
                at = (b if x.shape[0] > 1 else 0, h + t if x.shape[1] > 1 else 0, 0, 0)
                x = _add(x, result[3][None, None], at)
            joined.append(x)
        return tuple(joined)

    empty = tuple(jnp.zeros(shape, dtype) for shape, dtype in shapes)
    return lax.fori_loop(0, B * K // per, body, empty)


def _at(x: Any, b: Any) -> Any:
    """Row b of an array over examples."""
    return lax.dynamic_index_in_dim(x, b, keepdims=False)


def _of_head(x: Any, b: Any, h: Any) -> Any:
    """(#L,#S) of (#B,#K,#L,#S)."""
    if x is None:
        return None
    x = _at(x, b) if x.shape[0] > 1 else x[0]
    return _at(x, h) if x.shape[0] > 1 else x[0]


def _heads(x: Any, b: Any, h: Any, per: int) -> list[Any]:
    """``per`` heads from h on of example b, each an array of its own."""
    if x.ndim == 3:
        x_KL = lax.dynamic_slice(x, (b, h, 0), (1, per, x.shape[2]))[0]
        return [x_KL[t] for t in range(per)]
    x_LKA = lax.dynamic_slice(x, (b, 0, h, 0), (1, x.shape[1], per, x.shape[3]))[0]
    return [x_LKA[:, t] for t in range(per)]


def _put(x: Any, heads: list[Any], b: Any, h: Any) -> Any:
    """The inverse of ``_heads``."""
    if x.ndim == 3:
        return lax.dynamic_update_slice(x, jnp.stack(heads)[None], (b, h, 0))
    return lax.dynamic_update_slice(x, jnp.stack(heads, axis=1)[None], (b, 0, h, 0))


def _add(x: Any, part: Any, at: tuple[Any, ...]) -> Any:
    """x with ``part`` added from ``at`` on."""
    old = lax.dynamic_slice(x, at, part.shape)
    return lax.dynamic_update_slice(x, old + part.astype(x.dtype), at)


def _summed(x: Any, shape: tuple[int, ...]) -> Any:
    """x summed over the axes along which ``shape`` is 1."""
    axes = tuple(i for i, size in enumerate(shape) if size == 1 and x.shape[i] > 1)
    return x.sum(axis=axes, keepdims=True) if axes else x


# Tiles of one head


def _tiles(plan: Plan, L: int, S: int) -> dict[tuple[int, int, Any], list[tuple[int, int]]]:
    """Where tiles begin, by what they have in common: queries, keys, and the diagonal.

    The diagonal d says that query r of the tile reads its keys up to r + d; None: all of them.
    """
    found: dict[tuple[int, int, Any], list[tuple[int, int]]] = {}
    for i in range(0, L, plan.tile):
        for j in range(0, S, plan.tile):
            n, m, d = min(plan.tile, L - i), min(plan.tile, S - j), None
            if plan.causal and plan.offset is not None:
                d = plan.offset + i - j
                if n - 1 + d < 0:
                    continue  # the future of all its queries
                d = None if d >= m - 1 else d
            found.setdefault((n, m, d), []).append((i, j))
    return found


def _forward_head(plan: Plan, head: Head) -> tuple[Any, Any]:
    L, S = len(head.q), len(head.k)
    state = jnp.zeros((L, head.v.shape[1]), jnp.float32), jnp.full((L,), UNSEEN, jnp.float32)
    for (n, m, d), places in _tiles(plan, L, S).items():
        if (n, m) == (L, S):
            return _forward_tile(plan, head, 0, 0, n, m, d)

        def body(t: Any, state: Any, n: int = n, m: int = m, d: Any = d, p: Any = places) -> Any:
            i, j = jnp.asarray(np.array(p, np.int32))[t]
            out, lse = (lax.dynamic_slice_in_dim(x, i, n) for x in state)
            new, new_lse = _forward_tile(plan, head, i, j, n, m, d)
            both = jnp.logaddexp(lse, new_lse)
            out = out * jnp.exp(lse - both)[:, None] + new * jnp.exp(new_lse - both)[:, None]
            pairs = zip(state, (out, both), strict=True)
            return tuple(lax.dynamic_update_slice_in_dim(x, y, i, 0) for x, y in pairs)

        state = lax.fori_loop(0, len(places), body, state)
    return state


def _backward_head(plan: Plan, head: Head, grad: Any, lse: Any, inner: Any) -> tuple[Any, ...]:
    L, S = len(head.q), len(head.k)
    shapes = [head.q.shape, head.k.shape, head.v.shape]
    if head.bias is not None:
        shapes.append(head.bias.shape)
    sums = tuple(jnp.zeros(shape, jnp.float32) for shape in shapes)
    for (n, m, d), places in _tiles(plan, L, S).items():
        if (n, m) == (L, S):
            return _backward_tile(plan, head, (grad, lse, inner), 0, 0, m, d)

        def body(t: Any, sums: Any, n: int = n, m: int = m, d: Any = d, p: Any = places) -> Any:
            i, j = jnp.asarray(np.array(p, np.int32))[t]
            mine = (_cut(x, i, n) for x in (grad, lse, inner))
            parts = _backward_tile(plan, head, tuple(mine), i, j, m, d)
            at = [(i, 0), (j, 0), (j, 0)]
            if head.bias is not None:
                at.append((i if sums[3].shape[0] > 1 else 0, j if sums[3].shape[1] > 1 else 0))
            return tuple(_add(x, y, a) for x, y, a in zip(sums, parts, at, strict=False))

        sums = lax.fori_loop(0, len(places), body, sums)
    return (*sums, None)[:4]


def _cut(x: Any, i: Any, n: int) -> Any:
    """Rows i to i + n."""
    return x[i : i + n] if isinstance(i, int) else lax.dynamic_slice_in_dim(x, i, n)


def _visible(plan: Plan, d: Any, r: int, n: int, m: int) -> tuple[int, bool]:
    """How many of m keys the queries r to r + n of a tile may see, and whether not all may all."""
    if not plan.causal or (d is None and plan.offset is not None):
        return m, False
    if plan.offset is None:
        return m, True
    return max(0, min(m, r + n + d)), r + d + 1 < min(m, r + n + d)


def _forward_tile(
    plan: Plan, head: Head, i: Any, j: Any, n: int, m: int, d: Any
) -> tuple[Any, Any]:
    """Output (n,A) and log-sum-exp (n,) of queries from i on over m keys from j on."""
    q, k, v = _cut(head.q, i, n), _cut(head.k, j, m), _cut(head.v, j, m)
    outs, lses = [], []
    for r in range(0, n, plan.block):
        rows = min(plan.block, n - r)
        seen, edge = _visible(plan, d, r, rows, m)
        if not seen:
            outs.append(jnp.zeros((rows, v.shape[1]), jnp.float32))
            lses.append(jnp.full((rows,), UNSEEN, jnp.float32))
            continue
        s = _logits(plan, head, _dot(q[r : r + rows], k[:seen], 1, 1), i + r, j, edge, False)
        top = jnp.maximum(s.max(axis=1), UNSEEN)
        p = jnp.exp(s - top[:, None])
        total = jnp.maximum(p.sum(axis=1), 1e-37)
        outs.append(_dot(p.astype(v.dtype), v[:seen], 1, 0) / total[:, None])
        lses.append(top + jnp.log(total))
    return jnp.concatenate(outs), jnp.concatenate(lses)


def _backward_tile(
    plan: Plan, head: Head, rows: tuple[Any, ...], i: Any, j: Any, m: int, d: Any
) -> tuple[Any, ...]:
    """Gradients of the tile's q (without the scale), k and v, and of the bias.

    Blocks are of keys, and probabilities stand transposed (keys, queries): then only one of the
    five products runs along the long side of a transposed matrix.
    """
    grad, lse, inner = rows
    n = len(grad)
    q, k, v = _cut(head.q, i, n), _cut(head.k, j, m), _cut(head.v, j, m)
    dq, dks, dvs, dss = jnp.zeros(q.shape, jnp.float32), [], [], []
    for c in range(0, m, plan.block):
        cols = min(plan.block, m - c)
        # The first query that sees the block's first key, and whether some see only part of it.
        first, edge = 0, plan.causal and (plan.offset is None or d is not None)
        if edge and plan.offset is not None:
            first, edge = max(0, min(n, c - d)), d < c + cols - 1
        kc, vc, qf, gf = k[c : c + cols], v[c : c + cols], q[first:], grad[first:]
        s = _logits(plan, head, _dot(kc, qf, 1, 1), i + first, j + c, edge, True)
        p = jnp.exp(s - lse[first:])
        ds = p * (_dot(vc, gf, 1, 1) - inner[first:])
        low = ds.astype(k.dtype)
        dvs.append(_dot(p.astype(v.dtype), gf, 1, 0))
        dks.append(_dot(low, qf, 1, 0))
        dq += jnp.pad(_dot(low, kc, 0, 0), ((first, 0), (0, 0)))
        if head.bias is not None:
            dss.append(jnp.pad(ds, ((0, 0), (first, 0))))
    dbias = None
    if head.bias is not None:
        shape = [size if size == 1 else full for size, full in
                 zip(head.bias.shape, (n, m), strict=True)]  # fmt: skip
        dbias = _summed(jnp.concatenate(dss).T, tuple(shape))
    return dq, jnp.concatenate(dks), jnp.concatenate(dvs), dbias


def _dot(a: Any, b: Any, i: int, j: int) -> Any:
    """Matrices multiplied along axis i of a and j of b, in float32."""
    a = a.astype(b.dtype)
    return lax.dot_general(a, b, (((i,), (j,)), ((), ())), preferred_element_type=jnp.float32)


def _logits(plan: Plan, head: Head, s: Any, i: Any, j: Any, edge: bool, turned: bool) -> Any:
    """Logits with the bias, and minus infinity where a query (from i on) may not read a key.

    ``turned``: s is (keys, queries).
    """
    n, m = s.shape[::-1] if turned else s.shape
    limits, allowed = head.limits, []
    if head.bias is not None:
        bias = _window(head.bias, i, j, n, m).astype(jnp.float32)
        s = s + (bias.T if turned else bias)
    rows, cols = i + jnp.arange(n)[:, None], j + jnp.arange(m)
    if edge:
        offset = limits.offset if plan.offset is None else plan.offset
        allowed.append(rows + offset >= cols)
    if limits.mask is not None:
        allowed.append(_window(limits.mask, i, j, n, m))
    if limits.length is not None:
        allowed.append((cols < limits.length)[None])
    if limits.segments is not None:
        same = _cut(limits.segments, i, n)[:, None] == _cut(limits.key_segments, j, m)
        allowed.append(same)
    if not allowed:
        return s
    may = functools.reduce(jnp.logical_and, allowed)
    return jnp.where(may.T if turned else may, s, -jnp.inf)


def _window(x: Any, i: Any, j: Any, n: int, m: int) -> Any:
    """(n,m) of (#L,#S) from (i,j) on; axes of size 1 stay."""
    x = x if x.shape[0] == 1 else _cut(x, i, n)
    return x if x.shape[1] == 1 else lax.dynamic_slice_in_dim(x, j, m, axis=1)
