"""Laws of attention: every implementation against float64 NumPy, forward and gradient."""

import functools
import inspect
import re
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import jaxtyping
import numpy as np
import pytest

from jaxvid.models.blocks import rms_norm
from jaxvid.ops import attention as module
from jaxvid.ops import space_time
from jaxvid.ops.attention import attention, attention_weights, best
from jaxvid.typing import UserError

RNG = np.random.default_rng(0)


def normal(*shape: int) -> np.ndarray:
    return RNG.normal(size=shape).astype(np.float32)


def allowed(B: int, K: int, L: int, S: int, options: dict[str, Any]) -> np.ndarray:
    """Who may read what, (B,K,L,S), one pair at a time."""
    may = np.broadcast_to(options.get("mask", True), (B, K, L, S)) & (
        options.get("bias", 0) > -np.inf
    )
    offset = np.broadcast_to(options.get("offset", 0), B)
    length = np.broadcast_to(options.get("length", S), B)
    for b, l, s in np.ndindex(B, L, S):
        if options.get("causal") and s > offset[b] + l:
            may[b, :, l, s] = False
        if s >= length[b]:
            may[b, :, l, s] = False
        if "segments" in options and options["segments"][b, l] != options["key_segments"][b, s]:
            may[b, :, l, s] = False
    return may


def oracle(q: Any, k: Any, v: Any, grad: Any, options: dict[str, Any]) -> dict[str, np.ndarray]:
    """Output, weights and gradients in float64; q, k, v are (B,L,K,A), (B,S,G,A), (B,S,G,A)."""
    (B, L, K, A), (S, G) = q.shape, k.shape[1:3]
    q, k, v, grad = (np.asarray(x, np.float64) for x in (q, k, v, grad))
    k, v = (np.repeat(x, K // G, axis=2) for x in (k, v))
    bias = np.asarray(options.get("bias", np.zeros((1, 1, 1, 1))), np.float64)
    scale = options.get("scale", A**-0.5)
    may = allowed(B, K, L, S, options)
    logits = np.einsum("blka,bska->bkls", q, k) * scale + np.where(np.isinf(bias), 0, bias)
    top = np.where(may, logits, -np.inf).max(-1, keepdims=True)
    p = np.where(may, np.exp(logits - np.where(np.isfinite(top), top, 0)), 0)
    p /= np.maximum(p.sum(-1, keepdims=True), 1e-300)
    dp = np.einsum("blka,bska->bkls", grad, v)
    ds = p * (dp - (p * dp).sum(-1, keepdims=True))
    dk, dv = np.einsum("bkls,blka->bska", ds, q) * scale, np.einsum("bkls,blka->bska", p, grad)
    axes = tuple(i for i, size in enumerate(bias.shape) if size == 1)
    return {
        "out": np.einsum("bkls,bska->blka", p, v),
        "q": np.einsum("bkls,bska->blka", ds, k) * scale,
        "k": dk.reshape(B, S, G, K // G, -1).sum(3),
        "v": dv.reshape(B, S, G, K // G, -1).sum(3),
        "bias": ds.sum(axes, keepdims=True),
        "weights": p,
    }


def tiled(*sizes: int) -> Callable[..., Any]:
    """The tiled implementation in small tiles, so that small arrays meet all of it."""
    return lambda *x: module._tiled(*x, *[sizes] * 3)


WAYS = {name: module.IMPLEMENTATIONS[name] for name in ("reference", "fused", "blocked", "flash")}
WAYS |= {"loops": tiled(4, 2, 2), "batched": tiled(4, 3, 0)}  # the latter: chunked
L, S = 7, 8
Q, K, V, GRAD = normal(2, L, 4, 32), normal(2, S, 2, 32), normal(2, S, 2, 32), normal(2, L, 4, 32)
CASES: dict[str, dict[str, Any]] = {
    "plain": {"scale": 0.3},
    "mask and bias": {
        "mask": np.where(np.arange(L)[:, None] == 3, False, RNG.random((2, 1, L, S)) < 0.6),
        "bias": normal(1, 4, L, S),
    },
    "bias of minus infinity": {
        "bias": np.where(
            np.arange(L)[:, None] == 3,
            -np.inf,
            np.where(RNG.random((2, 1, L, S)) < 0.3, -np.inf, normal(2, 4, L, S)),
        ),
    },
    "mask of keys": {"mask": RNG.random((2, 1, 1, S)) < 0.6},
    "causal from a place": {"causal": True, "offset": 1, "bias": normal(2, 1, 1, S)},
    "causal before the keys": {"causal": True, "offset": -3},
    "caches": {"causal": True, "offset": np.array([4, -2]), "length": np.array([6, 8])},
    "segments": {
        "segments": RNG.integers(0, 3, (2, L)),
        "key_segments": RNG.integers(0, 2, (2, S)),  # who is 2 reads nothing
        "mask": RNG.random((1, 4, 1, S)) < 0.7,
    },
}


def program(way: Callable[..., Any], options: dict[str, Any]) -> Callable[..., Any]:
    """(q, k, v, grad) -> output and the gradients of q, k, v and bias, as one program."""

    def run(q: Any, k: Any, v: Any, grad: Any) -> dict[str, Any]:
        given = {key: x if isinstance(x, int | float) else jnp.asarray(x)
                 for key, x in options.items()}  # fmt: skip

        def read(q: Any, k: Any, v: Any, bias: Any) -> Any:
            extras = module.Extras(**{**module._DEFAULTS, **given, "bias": bias})
            extras = extras._replace(scale=options.get("scale", q.shape[-1] ** -0.5))
            return way(q, k, v, module._checked(q, k, v, extras))

        out, pull = jax.vjp(read, q, k, v, given.get("bias"))
        return dict(zip(("out", "q", "k", "v", "bias"), (out, *pull(grad)), strict=True))

    return jax.jit(run)


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("way", WAYS)
def test_output_and_gradient_are_those_of_the_formula(way: str, case: str) -> None:
    options = CASES[case]
    if way == "flash":  # takes neither
        left = ("mask", "bias") if case != "mask of keys" else ()
        options = {key: x for key, x in options.items() if key not in left}
    expected = oracle(Q, K, V, GRAD, options)
    found = program(WAYS[way], options)(Q, K, V, GRAD)
    for name, value in found.items():
        if value is not None:
            np.testing.assert_allclose(value, expected[name], atol=2e-5, err_msg=name)
    dead = ~allowed(2, 4, L, S, options).any(-1).swapaxes(1, 2)
    np.testing.assert_array_equal(np.asarray(found["out"])[dead], 0)
    np.testing.assert_array_equal(np.asarray(found["q"])[dead], 0)


@pytest.mark.parametrize("way", ["fused", "blocked", "chunked"])
def test_the_output_alone_is_the_same(way: str) -> None:
    options = {key: jnp.asarray(x) for key, x in CASES["mask and bias"].items()}
    arrays = [jnp.asarray(x) for x in (Q, K, V)]
    read = functools.partial(attention, implementation=way, **options)
    expected = oracle(Q, K, V, GRAD, options)["out"]
    np.testing.assert_allclose(jax.jit(read)(*arrays), expected, atol=5e-6)
    weights = jax.jit(functools.partial(attention_weights, **options))(*arrays[:2])
    np.testing.assert_allclose(weights, oracle(Q, K, V, GRAD, options)["weights"], atol=1e-6)


@pytest.mark.parametrize("features", [64, 128, 256])
@pytest.mark.parametrize("way", ["blocked", "loops", "flash"])
def test_heads_of_any_size_and_half_precision(way: str, features: int) -> None:
    dtype = jnp.bfloat16 if features == 64 else jnp.float32
    arrays = [jnp.asarray(normal(1, 5, 1, features), dtype) for _ in range(4)]
    found = program(WAYS[way], {"causal": True})(*arrays)
    expected = oracle(*arrays, {"causal": True})
    for name in ("out", "q", "k", "v"):
        assert found[name].dtype == dtype
        tolerance = 2e-5 if dtype == jnp.float32 else 0.03
        np.testing.assert_allclose(
            np.asarray(found[name], np.float64), expected[name], atol=tolerance, err_msg=name
        )


@pytest.mark.parametrize("way", WAYS)
def test_the_output_is_of_the_type_of_the_queries(
    way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(module.IMPLEMENTATIONS, way, WAYS[way])
    read = functools.partial(attention, implementation=way)
    for own, other in ((jnp.bfloat16, jnp.float32), (jnp.float32, jnp.bfloat16)):
        k, v = (jnp.asarray(x, other) for x in (K, V))
        assert jax.eval_shape(read, jnp.asarray(Q, own), k, v).dtype == own


@pytest.mark.parametrize("way", ["blocked", "loops", "batched"])
def test_the_gradient_of_a_bias_in_half_precision_is_rounded_once(way: str) -> None:
    """It is a sum over 256 heads and examples, far from what half precision can add up."""
    arrays = [jnp.asarray(normal(64, 8, 4, 8)) for _ in range(4)]
    bias = jnp.asarray(normal(1, 1, 8, 8), jnp.bfloat16)
    found = program(WAYS[way], {"bias": bias})(*arrays)["bias"]
    expected = oracle(*arrays, {"bias": np.float64(bias)})["bias"]
    assert found.dtype == jnp.bfloat16
    np.testing.assert_allclose(np.float64(found), expected, rtol=2**-8, atol=1e-4)


def test_a_long_sequence_in_memory_that_grows_with_its_length() -> None:
    def step(q: Any, k: Any, v: Any, grad: Any) -> Any:
        out, pull = jax.vjp(functools.partial(attention, causal=True, implementation="chunked"),
                            q, k, v)  # fmt: skip
        return out, *pull(grad)

    def memory(n: int) -> int:
        shape = jax.ShapeDtypeStruct((1, n, 1, 32), jnp.float32)
        return jax.jit(step).lower(*[shape] * 4).compile().memory_analysis().temp_size_in_bytes

    assert memory(8192) < 2 * memory(4096) < 4096**2 / 4  # bytes; all logits take 16 times that
    n, rows = 16_384, [0, 700, 8191, 16_383]
    q, k, v = (normal(1, n, 1, 32) for _ in range(3))
    read = jax.jit(functools.partial(attention, causal=True, implementation="chunked"))
    out = np.asarray(read(*(jnp.asarray(x) for x in (q, k, v))))
    for row in rows:
        one = (x[:, : row + 1] for x in (k, v))
        expected = oracle(q[:, row : row + 1], *one, q[:, :1], {})["out"]
        np.testing.assert_allclose(out[:, row : row + 1], expected, atol=2e-5)


@pytest.mark.parametrize("way", ["reference", "fused", "flash"])
def test_what_is_differentiated_twice_is_right(way: str) -> None:
    """|∇_q (out · grad)|² along a direction, against differences of the formula's own gradient."""
    direction = [normal(*x.shape) for x in (Q, K, V)]

    def squared(*arrays: Any) -> Any:
        return (program(WAYS[way], {})(*arrays, GRAD)["q"] ** 2).sum()

    gradients = jax.jit(jax.grad(squared, argnums=(0, 1, 2)))(Q, K, V)
    slope = sum(float((g * d).sum()) for g, d in zip(gradients, direction, strict=True))
    ends = []
    for step in (1e-4, -1e-4):
        moved = [np.float64(x) + step * d for x, d in zip((Q, K, V), direction, strict=True)]
        ends.append((oracle(*moved, GRAD, {})["q"] ** 2).sum())
    np.testing.assert_allclose(slope, (ends[0] - ends[1]) / 2e-4, rtol=1e-4)


def test_small_networks_can_be_differentiated_forward() -> None:
    def read(q: Any) -> Any:
        return attention(q, jnp.asarray(K), jnp.asarray(V), implementation="fused")

    _, moved = jax.jit(lambda q, d: jax.jvp(read, (q,), (d,)))(Q, GRAD)
    ends = [oracle(Q + s * np.float64(GRAD), K, V, GRAD, {})["out"] for s in (1e-5, -1e-5)]
    np.testing.assert_allclose(moved, (ends[0] - ends[1]) / 2e-5, atol=1e-4)


def test_single_steps_with_a_cache_equal_the_whole_pass() -> None:
    q, k, v = (jnp.asarray(normal(2, 6, 2, 8)) for _ in range(3))
    whole = attention(q, k, v, causal=True)
    cache = (jnp.zeros((2, 8, 2, 8)), jnp.zeros((2, 8, 2, 8)))

    @jax.jit
    def step(cache: Any, q: Any, k: Any, v: Any, at: Any) -> Any:
        cache = module.extend(cache, k, v, at)
        return attention(q, *cache, causal=True, offset=at), cache

    for i in range(6):
        out, cache = step(cache, *(x[:, i : i + 1] for x in (q, k, v)), jnp.int32(i))
        np.testing.assert_allclose(out[:, 0], whole[:, i], atol=1e-5)


def test_a_place_in_a_cache_is_one_for_all_examples() -> None:
    at, x = jnp.array([0, 1]), jnp.zeros((2, 1, 3, 1, 8))
    cache = space_time.empty_cache(2, 4, 3, 1, 8)
    with pytest.raises(jaxtyping.TypeCheckError):
        module.extend(cache, x[:, 0], x[:, 0], at)
    with pytest.raises(jaxtyping.TypeCheckError):
        space_time.frame_causal(x, x, x, cache=cache, at=at)


def test_frame_by_frame_with_a_cache_equals_the_whole_clip() -> None:
    """A Transformer of two layers whose frames see only the past."""
    T, P, heads, D = 4, 3, 2, 8
    weights = [[normal(D, D) / 2 for _ in range(5)] for _ in range(2)]

    def network(x: Any, caches: Any, at: Any) -> Any:
        kept = []
        for (wq, wk, wv, up, down), cache in zip(weights, caches, strict=True):
            q, k, v = (
                (rms_norm(x) @ w).reshape(*x.shape[:3], heads, D // heads) for w in (wq, wk, wv)
            )
            read, cache = space_time.frame_causal(q, k, v, cache=cache, at=at)
            x = x + read.reshape(x.shape)
            x = x + jax.nn.silu(rms_norm(x) @ up) @ down
            kept.append(cache)
        return x, kept

    x = jnp.asarray(normal(2, T, P, D))
    whole = jax.jit(lambda x: network(x, [None, None], 0)[0])(x)
    step, caches = jax.jit(network), [space_time.empty_cache(2, T, P, heads, D // heads)] * 2
    for t in range(T):
        out, caches = step(x[:, t : t + 1], caches, jnp.int32(t))
        np.testing.assert_allclose(out[:, 0], whole[:, t], atol=1e-5)
    future = jax.jit(jax.grad(lambda x: network(x, [None, None], 0)[0][:, 1].sum()))(x)
    assert np.abs(future[:, :2]).min() > 0
    np.testing.assert_array_equal(future[:, 2:], 0)


@pytest.mark.parametrize("frames, window, shift", [(7, 4, 0), (7, 4, 2), (3, 4, 2), (8, 4, 2)])
def test_windows_hold_each_frame_once(frames: int, window: int, shift: int) -> None:
    x = jnp.asarray(normal(2, frames, 3, 5))
    cut, there = space_time.split_windows(x, window, shift=shift)
    np.testing.assert_array_equal(space_time.join_windows(cut, frames, 3, shift=shift), x)
    assert there.sum() == frames * 3 and there.shape[1] == cut.shape[1]
    np.testing.assert_array_equal(cut[:, ~np.asarray(there)[0, :, 0, 0]], 0)
    assert cut.shape[2] == min(window, frames) * 3
    if (frames, shift) == (7, 2):  # two frames, four, one: the window begins before the clip
        assert there.reshape(3, 4, 3).any(-1).sum(1).tolist() == [2, 4, 1]


def test_none_takes_the_best_and_says_which(monkeypatch: pytest.MonkeyPatch) -> None:
    short, long, huge = (4, 12, 4, 32), (1, 512, 4, 64), (1, 4096, 4, 64)
    assert best(short, short, platform="cpu", devices=1) == "fused"
    middle, frames = (4, 32, 4, 32), (1024, 8, 4, 24)
    assert best(middle, middle, platform="cpu", devices=1) == "flash"
    assert best(frames, frames, platform="cpu", devices=1) == "flash"
    assert best(middle, middle, plain=False, platform="cpu", devices=1) == "fused"
    many = (8192, 12, 4, 64)
    assert best(many, many, platform="cpu", devices=1) == "reference"
    assert best(long, long, platform="cpu", devices=1) == "flash"
    assert best(long, long, plain=False, platform="cpu", devices=1) == "blocked"
    wide = (1, 4096, 8, 320)
    assert best(wide, wide, platform="cpu", devices=1) == "blocked"
    assert best(long, long, platform="cpu", devices=8) == "reference"
    assert best(long, long, jnp.bfloat16, platform="gpu", devices=1) == "cudnn"
    assert best(long, long, jnp.bfloat16, bias=True, platform="gpu", devices=1) == "reference"
    assert best(huge, huge, platform="gpu", devices=1) == "chunked"
    assert best(short, short, platform="tpu", devices=4) == "reference"
    assert best(Q.shape, K.shape) == "reference"  # eight devices in the tests
    taken = []
    for name in module.IMPLEMENTATIONS:
        monkeypatch.setitem(
            module.IMPLEMENTATIONS, name, lambda q, *_, name=name: taken.append(name) or q
        )
    monkeypatch.setattr(jax, "device_count", lambda: 1)
    for x in (jnp.zeros(short), jnp.zeros(long)):
        attention(x, x, x)
    attention(x, x, x, bias=jnp.zeros((1, 1, 1, 512)))
    assert taken == ["fused", "flash", "blocked"]


def test_cudnn_is_not_asked_for_what_it_refuses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keys of another type, values of another width: the default takes something else."""
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    low, wide = jnp.ones((1, 4, 2, 8), jnp.bfloat16), jnp.ones((1, 4, 2, 8))
    for values in ((low, wide, wide), (low, low, jnp.ones((1, 4, 2, 16), jnp.bfloat16))):
        np.testing.assert_allclose(np.asarray(attention(*values), np.float32), 1, atol=1e-2)


def test_frames_beyond_a_cache_are_refused() -> None:
    x = jnp.ones((1, 1, 3, 1, 8), jnp.bfloat16)
    cache = space_time.empty_cache(1, 4, 3, 1, 8, jnp.bfloat16)
    assert space_time.frame_causal(x, x, x, cache=cache, at=3)[1][0].dtype == jnp.bfloat16
    for at in (4, -1):
        with pytest.raises(UserError, match=f"1 frames from {at} on do not fit into the cache"):
            space_time.frame_causal(x, x, x, cache=cache, at=at)


@pytest.mark.parametrize(
    "shape, options",
    (
        ((4, 64, 6, 64), {}),
        ((2, 3, 64, 6, 64), {"mask": np.ones((2, 3, 1, 1, 64), bool)}),  # of keys, as of a text
        ((4, 64, 6, 64), {"causal": True, "offset": 3}),
        ((4, 64, 6, 64), {"causal": True, "offset": np.zeros(4, np.int32)}),
        ((4, 64, 6, 64), {"length": 3}),
        ((4, 64, 6, 64), {"segments": np.zeros((4, 64), np.int32)}),
        ((4, 17, 6, 64), {}),  # an odd number of tokens
        ((4, 17, 6, 64), {"mask": np.ones((1, 1, 1, 17), bool)}),
        ((4, 1, 6, 64), {}),
    ),
)
def test_cudnn_is_asked_for_what_it_takes(
    monkeypatch: pytest.MonkeyPatch, shape: tuple[int, ...], options: dict[str, Any]
) -> None:
    """JAX checks what it hands to cuDNN when it lowers for a GPU, which needs none."""
    from jax._src.cudnn import fused_attention_stablehlo as asked

    monkeypatch.setattr(asked, "check_cudnn_version", lambda: 91300)
    monkeypatch.setattr(asked, "check_compute_capability", lambda *_: True)
    monkeypatch.setattr(asked, "is_cuda_compute_capability_equal", lambda *_: False)
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    x = jax.ShapeDtypeStruct(shape, jnp.bfloat16)

    def total(*arrays: Any) -> Any:
        given = {k: jnp.asarray(v) if k in ("mask", "segments", "offset") else v
                 for k, v in options.items()}  # fmt: skip
        return attention(*arrays, **given).astype(jnp.float32).sum()

    def lowered(function: Any) -> str:
        return jax.jit(function).trace(x, x, x).lower(lowering_platforms=("cuda",)).as_text()

    assert re.findall(r"__cudnn\$\w+Softmax\w*", lowered(total))
    assert re.findall(r"__cudnn\$\w+SoftmaxBackward", lowered(jax.grad(total, (0, 1, 2))))
    x = jnp.zeros(shape, jnp.bfloat16)
    with pytest.raises(UserError, match="takes no bias"):
        attention(x, x, x, bias=jnp.ones((1, 1, 1), jnp.bfloat16), implementation="cudnn")


def test_bad_input_is_refused_with_the_fix() -> None:
    q = jnp.zeros((1, 3, 4, 8))
    for fix, k, v, options in (
        ("try 2", q[:, :, :3], q[:, :, :3], {}),
        ("must be", q[..., :4], q, {}),
        ("must be", q[:, :2], q, {}),
        ("give both", q, q, {"key_segments": jnp.zeros((1, 3), jnp.int32)}),
        ("key_segments too", q[:, :2], q[:, :2], {"segments": jnp.zeros((1, 3), jnp.int32)}),
        ("use reference", q, q, {"implementation": "flush"}),
        *(
            (r"mask .* must be \(\*#B", q, q, {"implementation": name, "mask": mask})
            for name in module.IMPLEMENTATIONS
            for mask in (jnp.ones((3, 3), bool), jnp.ones((1, 1, 3, 5), bool))
        ),
        (r"bias .* must be \(\*#B,#K,#L,#S\): 4 heads, 3", q, q, {"bias": jnp.ones((3, 3))}),
        (r"bias .* must be", q, q, {"bias": jnp.ones((1, 3, 3, 3))}),
        ("takes no bias", q, q, {"implementation": "flash", "bias": jnp.ones((1, 1, 3, 3))}),
        ("takes no mask", q, q, {"implementation": "flash", "mask": jnp.ones((1, 1, 3, 3), bool)}),
        ("needs an NVIDIA GPU, and this program runs on cpu", q, q, {"implementation": "cudnn"}),
    ):
        with pytest.raises(UserError, match=fix):
            # Without the types of the tests, which are not there in use.
            inspect.unwrap(attention)(q, k, v, **options)
