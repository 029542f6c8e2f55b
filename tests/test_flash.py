"""Laws of the machine code: tiles, threads, numbers that are none, and what surrounds a call."""

import concurrent.futures
import functools
import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxvid.ops import flash, machine
from jaxvid.ops.attention import attention, best
from jaxvid.typing import UserError
from tests.test_attention import normal, oracle, program

way = functools.partial(attention, implementation="flash")


@pytest.mark.parametrize(
    "L, S, K, G, A", [(150, 600, 4, 2, 24), (131, 1029, 1, 1, 40), (300, 130, 3, 1, 80)]
)
def test_many_tiles_whose_last_ones_are_not_full(L: int, S: int, K: int, G: int, A: int) -> None:
    rng = np.random.default_rng(L)
    q, k, v, grad = normal(2, L, K, A), normal(2, S, G, A), normal(2, S, G, A), normal(2, L, K, A)
    for options in (
        {"causal": True, "offset": np.array([S - L, -20]), "length": np.array([S, S // 2])},
        {"segments": rng.integers(0, 3, (2, L)), "key_segments": rng.integers(0, 2, (2, S))},
    ):
        expected = oracle(q, k, v, grad, options)
        found = program(lambda *x: flash_of(*x), options)(q, k, v, grad)
        for name in ("out", "q", "k", "v"):
            np.testing.assert_allclose(found[name], expected[name], atol=3e-5, err_msg=name)


@pytest.mark.parametrize("L, S, A", [(8, 8, 24), (8, 16, 16), (16, 8, 8), (16, 16, 128)])
def test_few_tokens_have_a_way_of_their_own(L: int, S: int, A: int) -> None:
    """In blocks of examples whose last one is not full; with whoever may not be read, by tiles."""
    q, k, v, grad = (
        normal(37, L, 2, A),
        normal(37, S, 2, A),
        normal(37, S, 2, A),
        normal(37, L, 2, A),
    )
    for options in ({}, {"scale": 30.0}, {"causal": True}, {"length": np.full(37, S - 1)}):
        expected = oracle(q, k, v, grad, options)
        found = program(flash_of, options)(q, k, v, grad)
        for name in ("out", "q", "k", "v"):
            scale = np.abs(expected[name]).max()
            close = dict(atol=2e-4 if "scale" in options else 3e-6, err_msg=name)
            np.testing.assert_allclose(found[name] / scale, expected[name] / scale, **close)
        taken = "few" in str(jax.make_jaxpr(program(flash_of, options))(q, k, v, grad))
        assert taken == (options.keys() <= {"scale"})


def flash_of(q: Any, k: Any, v: Any, extras: Any) -> Any:
    return way(q, k, v, **extras._asdict())


def test_large_logits_neither_overflow_nor_vanish() -> None:
    q, k, v, grad = (normal(1, 70, 1, 32) for _ in range(4))
    expected = oracle(q * 300, k, v, grad, {})
    found = program(flash_of, {})(q * 300, k, v, grad)
    for name in ("out", "q", "v"):
        scale = np.abs(expected[name]).max()
        np.testing.assert_allclose(found[name] / scale, expected[name] / scale, atol=2e-4)


def test_exponentials_are_exact_to_a_float() -> None:
    """By way of a query whose logits are given: one feature, scale 1, values that pick a key."""
    x = np.linspace(-80, 0, 1000, dtype=np.float32)
    k = x[None, :, None, None]
    v = np.ones_like(k)
    v[0, :-1] = 0  # the share of the last key, whose logit is 0: 1 / sum of exponentials
    out = way(jnp.ones((1, 1, 1, 1)), jnp.asarray(k), jnp.asarray(v), scale=1.0)
    np.testing.assert_allclose(out[0, 0, 0, 0], 1 / np.exp(np.float64(x)).sum(), rtol=5e-7)


def test_what_is_not_a_number_is_seen_where_it_is_read() -> None:
    q, k, v = normal(1, 200, 1, 16), normal(1, 200, 1, 16), normal(1, 200, 1, 16)
    q[0, 3], k[0, 150] = np.nan, np.nan
    out = np.asarray(way(jnp.asarray(q), jnp.asarray(k), jnp.asarray(v), causal=True))
    bad = np.isnan(out).any((2, 3))[0]
    assert bad.nonzero()[0].tolist() == [3, *range(150, 200)]


@pytest.mark.parametrize("tokens", [8, 40])
@pytest.mark.parametrize("bits", [0x7FC00000, 0x7FC00001, 0xFFC001FF])
def test_what_is_not_a_number_goes_where_the_formula_takes_it(bits: int, tokens: int) -> None:
    """From each operand to output and gradients, whatever its bits are."""
    *arrays, grad = (normal(1, tokens, 2, 8) for _ in range(4))
    run = program(flash_of, {})
    for x in arrays:
        number, x[0, 5, 0, 3] = x[0, 5, 0, 3], np.array(bits, np.uint32).view(np.float32)
        found, expected = run(*arrays, grad), oracle(*arrays, grad, {})
        x[0, 5, 0, 3] = number
        for name in ("out", "q", "k", "v"):
            np.testing.assert_array_equal(np.isnan(found[name]), np.isnan(expected[name]), name)


def test_a_scale_in_double_precision_does_not_widen_the_queries() -> None:
    q, k, v = (jnp.asarray(normal(3, 8, 2, 16)) for _ in range(3))
    with jax.enable_x64(True):
        out = way(q, k, v, scale=np.float64(0.3))
    np.testing.assert_allclose(out, way(q, k, v, scale=0.3), atol=1e-6)


@pytest.mark.parametrize("tokens", [8, 16])
def test_what_is_not_a_number_is_seen_among_few_tokens(tokens: int) -> None:
    q, k, v = (normal(3, tokens, 2, 16) for _ in range(3))
    q[0, 3, 0], k[1, 5, 1] = np.nan, np.nan
    bad = np.isnan(np.asarray(way(jnp.asarray(q), jnp.asarray(k), jnp.asarray(v)))).any(-1)
    assert bad[0].nonzero()[0].tolist() == [3] and not bad[2].any()
    assert bad[1, :, 1].all() and not bad[1, :, 0].any()


def test_calls_of_many_threads_at_once_do_not_meet() -> None:
    arrays = [[jnp.asarray(normal(2, 140, 3, 16)) for _ in range(3)] for _ in range(8)]
    run = jax.jit(way)
    alone = [np.asarray(run(*x)) for x in arrays]
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        for _ in range(10):
            together = list(pool.map(lambda x: np.asarray(run(*x)), arrays))
            for a, b in zip(alone, together, strict=True):
                np.testing.assert_array_equal(a, b)


def test_mapped_and_on_many_devices() -> None:
    q = jnp.asarray(normal(8, 2, 70, 2, 16))
    expected = np.stack([way(x, x, x) for x in q])
    for run in (jax.jit(jax.vmap(way)), jax.pmap(way)):
        np.testing.assert_array_equal(run(q, q, q), expected)


def test_gradients_under_jit_of_a_mapped_step() -> None:
    q, grad = jnp.asarray(normal(8, 1, 70, 1, 16)), jnp.asarray(normal(8, 1, 70, 1, 16))

    def slope(q: Any, grad: Any) -> Any:
        return jax.grad(lambda q: (way(q, q, q) * grad).sum())(q)

    expected = np.stack([slope(*x) for x in zip(q, grad, strict=True)])
    np.testing.assert_allclose(jax.pmap(slope)(q, grad), expected, atol=1e-6)


def test_no_query_and_no_key() -> None:
    empty, q = jnp.zeros((2, 0, 1, 16)), jnp.asarray(normal(2, 5, 1, 16))
    assert way(empty, q, q).shape == (2, 0, 1, 16)
    np.testing.assert_array_equal(way(q, empty, empty), jnp.zeros_like(q))


def test_where_it_cannot_be_built_another_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "ir", None)
    machine.refusal.cache_clear()
    try:
        long = (1, 512, 2, 32)
        assert best(long, long, platform="cpu", devices=1) == "blocked"
        with pytest.raises(UserError, match="pip install llvmlite"):
            way(jnp.zeros(long), jnp.zeros(long), jnp.zeros(long))
    finally:
        machine.refusal.cache_clear()


@pytest.mark.parametrize("lanes", [8, 16])
def test_products_of_both_widths_of_vectors(lanes: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Narrow vectors too, on a CPU that has the wide ones."""
    if lanes == 16 and not machine.wide():
        pytest.skip("this CPU has no vectors of 16 floats")
    monkeypatch.setattr(machine, "wide", lambda: lanes == 16)
    monkeypatch.setattr(machine, "_BUILT", set())
    monkeypatch.setattr(flash, "call", functools.partial(_renamed, flash.call, f"_{lanes}"))
    q, k, v, grad = (normal(1, 70, 2, 40) for _ in range(4))
    expected = oracle(q, k, v, grad, {"causal": True})
    found = program(flash_of, {"causal": True})(q, k, v, grad)
    for name in ("out", "q", "k", "v"):
        np.testing.assert_allclose(found[name], expected[name], atol=2e-5, err_msg=name)


def _renamed(call: Any, suffix: str, kernel: Any, name: str, *rest: Any, **options: Any) -> Any:
    return call(kernel, name + suffix, *rest, **options)


def test_memory_does_not_grow_with_the_square() -> None:
    def step(*x: Any) -> Any:
        return jax.vjp(functools.partial(way, causal=True), *x[:3])[1](x[3])

    def memory(n: int) -> int:
        shape = jax.ShapeDtypeStruct((1, n, 1, 32), jnp.float32)
        return jax.jit(step).lower(*[shape] * 4).compile().memory_analysis().temp_size_in_bytes

    assert math.isclose(memory(8192) / memory(4096), 2, rel_tol=0.1)
