"""Attention for CPUs as machine code (``flash_kernels``), differentiable as often as one likes."""

import functools
from typing import Any

import jax
import jax.numpy as jnp

from jaxvid.ops.flash_kernels import LOW, Backward, Forward, Tiles
from jaxvid.ops.kernel import call, once_more


def attend(scale: float, q: jax.Array, k: jax.Array, v: jax.Array, who: jax.Array) -> jax.Array:
    """softmax(scale Q Kᵀ) V, float32: q (B,L,K,A), k and v (B,S,G,A), each for K/G heads of q.

    ``who`` (B, 2 L + S), int32: the number of keys from the first on that each query may read, the
    segments of the queries and those of the keys; a query reads keys of its own segment.
    """
    (B, L, K, A), (S, G) = q.shape, k.shape[1:3]
    fits = k.shape == v.shape == (B, S, G, A) and who.shape == (B, 2 * L + S) and K % G == 0
    return (_read if fits else _plain)(scale, q, k, v, who)[0]


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _read(scale: float, q: Any, k: Any, v: Any, who: Any) -> Any:
    """The output and the log-sum-exp (B,K,L) of the logits."""
    B, L, K, _ = q.shape
    shapes = [q.shape, (B, K, L)]
    return _call(Forward, "attention", shapes, q, k, v, jnp.float32(scale), who)


def _read_forward(scale: float, q: Any, k: Any, v: Any, who: Any) -> Any:
    made = _read(scale, q, k, v, who)
    return made, (q, k, v, who, *made)


def _read_backward(scale: float, kept: Any, grads: Any) -> Any:
    return *_gradients(scale, *grads, *kept), None


_read.defvjp(_read_forward, _read_backward)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _gradients(scale: float, grad: Any, grad_lse: Any, *kept: Any) -> Any:
    """Those of q, k and v; differentiated, what the formula gives."""
    q, k, v, who, out, lse = kept
    shapes = [x.shape for x in (q, k, v)]
    arrays = q, k, v, jnp.float32(scale), who, out, lse, grad, grad_lse
    return _call(Backward, "attention_gradient", shapes, *arrays)


def _gradients_forward(scale: float, *given: Any) -> Any:
    return _gradients(scale, *(values := [x.value for x in given])), values


def _gradients_backward(scale: float, given: Any, changes: Any) -> Any:
    *grads, q, k, v, who, _, _ = given

    def gradients(grad: Any, grad_lse: Any, *x: Any) -> Any:
        return jax.vjp(lambda q, k, v: _plain(scale, q, k, v, who), *x)[1]((grad, grad_lse))

    return *once_more(gradients, (*grads, q, k, v), changes), None, None, None


_gradients.defvjp(_gradients_forward, _gradients_backward, symbolic_zeros=True)


def _plain(scale: float, q: Any, k: Any, v: Any, who: Any) -> Any:
    """What ``_read`` gives, as the formula stands."""
    (L, K), (S, G) = q.shape[1:3], k.shape[1:3]
    k, v = (jnp.repeat(x, K // G, axis=2) for x in (k, v))
    limit, mine, theirs = jnp.split(who, [L, 2 * L], axis=1)
    may = jnp.arange(S) < limit[:, :, None]
    may = (may & (mine[:, :, None] == theirs[:, None]))[:, None]
    logits = jnp.where(may, jnp.einsum("blka,bska->bkls", q, k) * scale, LOW)
    weights = jnp.where(may, jax.nn.softmax(logits, axis=-1), 0.0)
    lse = jax.nn.logsumexp(logits, axis=-1)
    return jnp.einsum("bkls,bska->blka", weights, v), lse


def _call(kernel: type[Tiles], name: str, shapes: Any, q: Any, k: Any, *rest: Any) -> Any:
    """In tiles no larger than what there is."""
    A, (queries, keys) = q.shape[-1], kernel.most
    queries = min(queries, max(16, 1 << (q.shape[1] - 1).bit_length()))
    keys = min(keys, max(16, 1 << (k.shape[1] - 1).bit_length()))
    return call(kernel, name, (A, queries, keys), shapes, q, k, *rest, multiple=A)
