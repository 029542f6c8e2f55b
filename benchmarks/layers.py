"""Layers that are machine code on one CPU: ours, XLA's way, PyTorch's, and what they are of."""

import functools
from typing import Any

import jax.numpy as jnp
import numpy as np

from benchmarks import harness


def _normal(*shapes: tuple[int, ...]) -> list[np.ndarray]:
    """Random arrays; matrices keep the size of what they map."""
    rng = np.random.default_rng(0)
    sizes = [np.prod(shape[:-1]) if len(shape) in (2, 4) else 1.0 for shape in shapes]
    return [
        (rng.normal(size=shape) / size**0.5).astype(np.float32)
        for shape, size in zip(shapes, sizes, strict=True)
    ]


def dense(rows: int = 131072, C: int = 48, D: int = 32) -> Any:
    """A dense layer of few features."""
    from jaxvid.ops import thin

    x, w = _normal((1, rows, C), (C, D))
    return thin.matmul, jnp.matmul, lambda x, w: x @ w, [x[0], w]


def block(N: int = 32, side: int = 32, C: int = 48) -> Any:
    """A residual block of convolutions."""
    from jaxvid.ops import residual

    F = C // 2
    x, w2 = _normal((1, N, side, side, C), (3, 3, F, F))
    w1, w3 = _normal((C, F), (F, C))
    b1 = b2 = np.full(F, 0.1, np.float32)

    def twin(x: Any, w1: Any, b1: Any, w2: Any, b2: Any, w3: Any) -> Any:
        f = harness.torch_or_none().nn.functional
        h = f.leaky_relu(x @ w1 + b1, 0.2).permute(0, 3, 1, 2)
        h = f.conv2d(h, w2.permute(3, 2, 0, 1), b2, padding=1).permute(0, 2, 3, 1)
        return x + f.leaky_relu(h, 0.2) @ w3

    return residual.residual, residual.plain, twin, [x[0], w1, b1, w2, b2, w3]


def scene(B: int = 4, T: int = 8, side: int = 32, D: int = 24, F: int = 32) -> Any:
    """Two actors painted over a background."""
    from jaxvid.ops import layout, paint

    N = 2
    boxes = np.random.default_rng(0).uniform(0.2, 0.8, (B, T, N, 4)).astype(np.float32)
    shape, ground, look = _normal((1, B, N, layout.FEATURES, D), (1, B, side, side, F), (N, B, F))
    shapes, mask = layout.draw_parts(
        jnp.asarray(boxes), jnp.ones((B, T, N)), jnp.asarray(shape[0]), height=side, width=side
    )
    we, wg, wv = _normal((D, D), (D, F), (D, F))
    be, bg = np.full(D, 0.1, np.float32), np.full(F, 0.1, np.float32)
    arrays = [*map(np.asarray, shapes), np.asarray(mask), ground[0], we, be, wg, bg, wv, look]

    def whole(function: Any, *arrays: Any) -> Any:
        *parts, mask, ground, we, be, wg, bg, wv, look = arrays
        return function(layout.Parts(*parts), mask, ground, (we, be), (wg, bg), wv, look)

    ours, plain = (functools.partial(whole, f) for f in (paint.paint, paint.plain))

    def twin(*arrays: Any) -> Any:
        torch = harness.torch_or_none()
        leaky = torch.nn.functional.leaky_relu
        places, columns, rows, kernel, mask, ground, we, be, wg, bg, wv, look = arrays
        field = ground[:, None].expand(-1, T, -1, -1, -1)
        for n in range(N):
            drawn = torch.einsum("bthwp,bpd->bthwd", places[n], kernel[n])
            drawn = drawn + columns[n][:, :, None] + rows[n][:, :, :, None]
            h = leaky(leaky(drawn, 0.2) @ we + be, 0.2)
            gate = (h @ wg + bg).sigmoid() * mask[n][..., None]
            field = field + gate * (h @ wv + look[n][:, None, None, None] - field)
        return field

    return ours, plain, twin, arrays
