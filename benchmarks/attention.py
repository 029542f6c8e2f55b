"""Attention against PyTorch's, stock JAX's and Flax's: ``python -m benchmarks.attention``."""

import functools
import itertools
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from benchmarks import harness
from benchmarks.harness import Options, Row, Way

SHAPES = ((8, 256, 4, 64), (2, 1024, 8, 64), (1, 4096, 8, 64))  # batch, tokens, heads, head size
BARS = {"forward": 0.9, "forward+backward": 0.75}
LONG = (1, 8192, 8, 64)  # whose memory is measured
MEMORY_BAR = 1 / 1.2  # at most 1.2 times PyTorch's
SLOW = "left out from 2,048 tokens on, where it only takes time: see the shorter ones"


def rows(options: Options) -> Iterator[Row]:
    """Forward and training, causal and not, at each shape."""
    for shape, causal in itertools.product(SHAPES, (False, True)):
        name = "causal attention" if causal else "attention"
        for mode in BARS:
            if harness.wanted(options, f"{name} {shape}", mode):
                yield _row(options, shape, causal, name, mode)
    for name in ("flash", "chunked"):
        if harness.wanted(options, f"{name} attention {LONG}", "memory"):
            yield _memory_row(options, name)


def _row(options: Options, shape: tuple[int, ...], causal: bool, name: str, mode: str) -> Row:
    B, L, K, A = shape
    arrays = _arrays(shape)
    ways, missing = {}, {}
    for key, function in _jax_functions(causal).items():
        ways[key] = harness.jax_way(
            _trained(function) if "+" in mode else function, *arrays[: 3 + ("+" in mode)]
        )
    if harness.torch_or_none() is None:
        missing["torch"] = harness.PEER_HINT
    else:
        ways["torch"] = _torch(arrays, causal, "+" in mode)
    products = 7 if "+" in mode else 2  # QKᵀ and PV; backward those again but one, and four more
    flops = 2.0 * products * B * K * L * L * A / (2 if causal else 1)
    moved = 4.0 * B * L * K * A * (9 if "+" in mode else 4)
    return harness.compare(
        name, ours="jaxvid", ways=ways, options=options, shapes=str(shape), mode=mode,
        flops=flops, moved=moved, bar=BARS[mode], missing=missing,
    )  # fmt: skip


def _jax_functions(causal: bool) -> dict[str, Callable[..., Any]]:
    import flax.linen as nn
    import jax
    import jax.numpy as jnp

    from jaxvid.ops.attention import attention

    def flax(q: Any, k: Any, v: Any) -> Any:
        mask = nn.make_causal_mask(jnp.zeros(q.shape[:2])) if causal else None
        return nn.dot_product_attention(q, k, v, mask=mask)

    return {
        "jaxvid": functools.partial(attention, causal=causal),
        "jax.nn": lambda q, k, v: jax.nn.dot_product_attention(q, k, v, is_causal=causal),
        "flax": flax,
    }


def _trained(function: Callable[..., Any]) -> Callable[..., Any]:
    import jax

    def step(q: Any, k: Any, v: Any, ct: Any) -> Any:
        out, back = jax.vjp(function, q, k, v)
        return out, back(ct)

    return step


def _torch(arrays: list[np.ndarray], causal: bool, training: bool) -> Way:
    torch = harness.torch_or_none()
    device = harness.torch_device()
    q, k, v, ct = (torch.tensor(x, device=device).transpose(1, 2) for x in arrays)
    read = torch.nn.functional.scaled_dot_product_attention

    def forward() -> Any:
        with torch.no_grad():
            return read(q, k, v, is_causal=causal)

    def step() -> Any:
        out = read(*leaves, is_causal=causal)
        return out, torch.autograd.grad(out, leaves, ct)

    leaves = [x.detach().requires_grad_() for x in (q, k, v)]
    return harness.torch_way(step if training else forward)


def _memory_row(options: Options, name: str) -> Row:
    ways: dict[str, Callable[[], float]] = {}
    ways[f"jaxvid {name}"] = functools.partial(_jax_memory, name)
    missing = {}
    if harness.torch_or_none() is None:
        missing["torch"] = harness.PEER_HINT
    else:
        ways["torch"] = _torch_memory
    return harness.compare_memory(
        f"{name} attention", ours=f"jaxvid {name}", ways=ways, options=options,
        shapes=str(LONG), mode="forward+backward", bar=MEMORY_BAR, missing=missing,
    )  # fmt: skip


def _arrays(shape: tuple[int, ...]) -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    return [rng.normal(size=shape).astype(np.float32) for _ in range(4)]  # q, k, v, cotangent


def _jax_memory(name: str) -> float:
    """Bytes that a first training call needs beyond its arguments and program."""
    from jaxvid import parallel

    parallel.start(cache=False)
    import jax

    from jaxvid.ops.attention import attention

    arrays = [jax.device_put(x) for x in _arrays(LONG)]
    step = _trained(functools.partial(attention, implementation=name))
    return harness.peak_growth(harness.jax_way(step, *arrays).run)


def _torch_memory() -> float:
    """The same of PyTorch, its threads and libraries started before."""
    _torch(_arrays((1, 64, 1, 64)), False, True).run()
    return harness.peak_growth(_torch(_arrays(LONG), False, True).run)


if __name__ == "__main__":
    harness.main({"attention": rows})
