"""Attention against PyTorch's, stock JAX's and Flax's: ``python -m benchmarks.attention``.

On a GPU in bfloat16, against cuDNN as JAX calls it and PyTorch's kernels.
"""

import functools
import itertools
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from benchmarks import harness, resident
from benchmarks.harness import Options, Row, Way

SHAPES = ((8, 256, 4, 64), (2, 1024, 8, 64), (1, 4096, 8, 64))  # batch, tokens, heads, head size
GPU_SHAPES = ((4, 4096, 16, 64), (4, 4096, 8, 128), (1, 16384, 16, 64), (1, 16384, 8, 128))
BARS = {"forward": 0.9, "forward+backward": 0.75}
GPU_BAR = 0.95  # of both
LONG = (1, 8192, 8, 64)  # whose memory is measured
WARM = (1, 2048, 1, 64)  # what either side computes before, so that its threads are there
MEMORY_BAR = 1 / 1.2  # at most 1.2 times PyTorch's
MOST = 2**31  # bytes of logits that stock JAX and Flax, which keep them all, are asked for on a GPU
KEPT = "left out where it would keep 2 GiB of logits or more"


def rows(options: Options) -> Iterator[Row]:
    """Forward and training, causal and not, at each shape."""
    shapes = GPU_SHAPES if on_gpu() else SHAPES
    for shape, causal in itertools.product(shapes, (False, True)):
        name = "causal attention" if causal else "attention"
        for mode in BARS:
            if harness.wanted(options, f"{name} {shape}", mode):
                row = _row(options, shape, causal, name, mode)
                yield from harness.survive(f"{name} {shape} {mode}", row)
    if on_gpu():
        return  # peaks of memory are read from /proc, which knows the host's
    for name in ("flash", "chunked"):
        if harness.wanted(options, f"{name} attention {LONG}", "memory"):
            yield _memory_row(options, name)


def on_gpu() -> bool:
    import jax

    return jax.default_backend() == "gpu"


def _row(
    options: Options, shape: tuple[int, ...], causal: bool, name: str, mode: str
) -> Iterator[Row]:
    B, L, K, A = shape
    training, size = "+" in mode, 2 if on_gpu() else 4
    arrays = _arrays(shape)
    ways, missing = _jax_ways(arrays, causal, training)
    if harness.torch_or_none() is None:
        missing["torch"] = harness.PEER_HINT
    else:
        for key in TORCH if on_gpu() else TORCH[:1]:
            try:
                ways[key] = _torch(arrays, causal, training, key)
            except Exception as error:  # this kernel is not for these arrays
                missing[key] = harness.reason(error)
    products = 7 if training else 2  # QKᵀ and PV; backward those again but one, and four more
    flops = 2.0 * products * B * K * L * L * A / (2 if causal else 1)
    moved = size * B * L * K * A * (9.0 if training else 4.0)
    yield harness.compare(
        name, ours="jaxvid", ways=ways, options=options, shapes=str(shape), mode=mode,
        flops=flops, moved=moved, bar=GPU_BAR if on_gpu() else BARS[mode], missing=missing,
    )  # fmt: skip


def _jax_ways(
    arrays: list[np.ndarray], causal: bool, training: bool
) -> tuple[dict[str, Way], dict[str, str]]:
    import jax.numpy as jnp

    B, L, K, _ = arrays[0].shape
    given = arrays[: 3 + training]
    placed = [jnp.asarray(x, jnp.bfloat16 if on_gpu() else jnp.float32) for x in given]
    ways, missing = dict[str, Way](), dict[str, str]()
    for key, function in _jax_functions(causal).items():
        if on_gpu() and key in ("jax.nn", "flax") and 4 * B * K * L * L >= MOST:
            missing[key] = KEPT
            continue
        try:
            ways[key] = harness.jax_way(_trained(function) if training else function, *placed)
        except Exception as error:
            if key == "jaxvid":
                raise
            missing[key] = harness.reason(error)
    return ways, missing


def _jax_functions(causal: bool) -> dict[str, Callable[..., Any]]:
    import flax.linen as nn
    import jax
    import jax.numpy as jnp

    from jaxvid.ops.attention import attention

    def flax(q: Any, k: Any, v: Any) -> Any:
        mask = nn.make_causal_mask(jnp.zeros(q.shape[:2])) if causal else None
        return nn.dot_product_attention(q, k, v, mask=mask)

    stock = functools.partial(jax.nn.dot_product_attention, is_causal=causal)
    ours = functools.partial(attention, causal=causal)
    found: dict[str, Callable[..., Any]] = {"jaxvid": ours, "jax.nn": stock, "flax": flax}
    if on_gpu():
        found["jax.nn cudnn"] = functools.partial(stock, implementation="cudnn")
    return found


def _trained(function: Callable[..., Any]) -> Callable[..., Any]:
    import jax

    def step(q: Any, k: Any, v: Any, ct: Any) -> Any:
        out, back = jax.vjp(function, q, k, v)
        return out, back(ct)

    return step


TORCH = ("torch", "torch cudnn", "torch flash")  # as it chooses by itself, and by name


def _torch(arrays: list[np.ndarray], causal: bool, training: bool, key: str = "torch") -> Way:
    torch = harness.torch_or_none()
    device = harness.torch_device()
    dtype = torch.bfloat16 if on_gpu() else torch.float32
    q, k, v, ct = (torch.tensor(x, device=device).to(dtype).transpose(1, 2) for x in arrays)
    read = torch.nn.functional.scaled_dot_product_attention
    if key != "torch":
        kinds = torch.nn.attention.SDPBackend
        kind = kinds.CUDNN_ATTENTION if key == "torch cudnn" else kinds.FLASH_ATTENTION
        read = torch.nn.attention.sdpa_kernel(kind)(read)

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
    return [rng.standard_normal(shape, np.float32) for _ in range(4)]  # q, k, v, cotangent


def _jax_memory(name: str) -> float:
    """Bytes that a training call needs beyond its arguments and program, its threads and libraries
    started before."""
    from jaxvid import parallel

    parallel.start(cache=False)
    from jaxvid.ops.attention import attention

    step = _trained(functools.partial(attention, implementation=name))
    harness.jax_way(step, *_arrays(WARM)).run()
    return resident.peak_growth(harness.jax_way(step, *_arrays(LONG)).run)


def _torch_memory() -> float:
    """The same of PyTorch."""
    _torch(_arrays(WARM), False, True).run()
    return resident.peak_growth(_torch(_arrays(LONG), False, True).run)


if __name__ == "__main__":
    harness.program({"attention": rows})
