"""How frames are drawn: ``python -m benchmarks.frame_synthesis``.

The decoder of ``tiny`` and of ``small`` against its twin in PyTorch, channels_last, eager and
compiled. Then each formulation that was chosen against the plain one and against PyTorch's: patches
in and out, doubling of the resolution, warping, moving known frames to meet, drawing a script, and
the layers that are machine code on one CPU.
"""

import functools
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks import harness, layers
from benchmarks.harness import Options, Row, Way
from benchmarks.torch_ways import torch_ways
from jaxvid import presets, training
from jaxvid.config import GanRun

BARS = {"forward": 0.95, "forward+backward": 1.1}
DECODERS = {"tiny": 4, "small": 1}  # clips of 8 frames
FRAMES = 8
Function = Callable[..., Any]


def rows(options: Options) -> Iterator[Row]:
    """Decoders, then pieces, forward and training."""
    for name in DECODERS:
        for mode in BARS:
            if harness.wanted(options, f"decoder {name}", mode):
                yield _decoder_row(options, name, mode)
    for name, piece in PIECES.items():
        for mode in ("forward",) if name == "meet" else BARS:
            if harness.wanted(options, name, mode):
                yield _piece_row(options, name, mode, *piece())


def random_like(shapes: Any, seed: int = 0) -> Any:
    """Random arrays of these shapes: kernels keep the size of what they map, nothing is zero."""
    rng = np.random.default_rng(seed)

    def fill(leaf: Any) -> jax.Array:
        scale = np.prod(leaf.shape[:-1]) ** -0.5 if len(leaf.shape) > 1 else 0.3
        return jnp.asarray(scale * rng.normal(size=leaf.shape), jnp.float32)

    return jax.tree.map(fill, shapes)


# Decoders


def decoder(run: GanRun) -> tuple[Any, Any]:
    """The decoder of a run's generator, and random parameters for it."""
    from jaxvid.models.generator import Decoder

    params = training._shapes(run).params
    names = ("up", "modulate", "block")
    own = {k: v for k, v in params.items() if k.startswith(names)}
    own |= {name: params[name] for name in ("scene", "pixels", "join", "draw")}
    return Decoder(run.generator), random_like(own)


def decoder_inputs(run: GanRun, clips: int, frames: int) -> tuple[list[np.ndarray], Any]:
    """Tokens, the frames' vectors and pixels, all random, and the script."""
    rng, c, R = np.random.default_rng(1), run.generator, run.data.resolution
    n, side = clips * frames, R // c.patch
    shapes = ((n, side, side, c.width), (n, 1, 1, c.width), (clips, frames, R, R, 10))
    arrays = [rng.normal(size=shape).astype(np.float32) for shape in shapes]
    boxes = rng.uniform(0.2, 0.8, (clips, frames, 2, 4)).astype(np.float32)
    return arrays, {
        "boxes": boxes,
        "visible": np.ones(boxes.shape[:3], np.float32),
        "attributes": np.ones((clips, 2, 3), np.int32),
        "background": np.ones(clips, np.int32),
    }


def _decoder_row(options: Options, name: str, mode: str) -> Row:
    run = presets.GAN[name]()
    model, params = decoder(run)
    arrays, batch = decoder_inputs(run, DECODERS[name], FRAMES)
    shape = (*arrays[2].shape[:-1], run.generator.decoder[-1])
    ct = np.random.default_rng(2).normal(size=(shape[0] * shape[1], *shape[2:])).astype(np.float32)

    def forward(params: Any, *arrays: Any) -> Any:
        return model.apply({"params": params}, *arrays, batch)

    def build(compiled: bool) -> Callable[[], Any]:
        from benchmarks.torch_generator import Decoder

        twin: Any = Decoder(params, run.generator)
        return torch_call(twin, arrays, ct, mode, batch, list(twin.parameters()), compiled)

    ways, missing = torch_ways(build)
    ours = jax_call(forward, [params, *map(jnp.asarray, arrays)], ct, mode)
    return harness.compare(
        f"decoder {name}", ours="jaxvid", ways={"jaxvid": ours, **ways}, missing=missing,
        options=options, shapes=str(shape), mode=mode, bar=BARS[mode],
    )  # fmt: skip


def jax_call(function: Function, arrays: list[Any], ct: np.ndarray, mode: str) -> Way:
    """The function, or with its gradients by all ``arrays``."""
    if mode == "forward":
        return harness.jax_way(function, *arrays)

    def trained(ct: Any, *arrays: Any) -> Any:
        out, pull = jax.vjp(function, *arrays)
        return out, pull(ct)

    return harness.jax_way(trained, jnp.asarray(ct), *arrays)


def torch_call(
    function: Function,
    arrays: list[np.ndarray],
    ct: np.ndarray,
    mode: str,
    batch: Any,
    parameters: list[Any],
    compiled: bool,
) -> Callable[[], Any]:
    """The same in PyTorch; ``batch`` is passed on after the arrays, unless it is None."""
    torch = harness.torch_or_none()
    from benchmarks.torch_networks import tensor

    inputs = [tensor(x).requires_grad_(mode != "forward") for x in arrays]
    rest = [] if batch is None else [jax.tree.map(tensor, batch)]
    cotangent = tensor(ct)
    function = torch.compile(function, dynamic=False) if compiled else function

    def run() -> Any:
        if mode == "forward":
            with torch.no_grad():
                return function(*inputs, *rest)
        out = function(*inputs, *rest)
        return out, torch.autograd.grad(out, [*parameters, *inputs], cotangent)

    return run


# Pieces: ours, the plain formulation, PyTorch's, and what they are computed of

Piece = tuple[Function, Function, Function, list[np.ndarray]]


def _piece_row(
    options: Options, name: str, mode: str, ours: Function, plain: Function, twin: Function,
    arrays: list[np.ndarray],
) -> Row:  # fmt: skip
    out = jax.eval_shape(ours, *arrays)
    ct = np.random.default_rng(2).normal(size=out.shape).astype(np.float32)
    given = list(map(jnp.asarray, arrays))
    ways = {key: jax_call(f, given, ct, mode) for key, f in (("jaxvid", ours), ("plain", plain))}
    found, missing = torch_ways(
        lambda compiled: torch_call(twin, arrays, ct, mode, None, [], compiled)
    )
    return harness.compare(
        name, ours="jaxvid", ways={**ways, **found}, missing=missing, options=options,
        shapes=str(arrays[0].shape), mode=mode,
    )  # fmt: skip


def _normal(*shapes: tuple[int, ...]) -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    return [rng.normal(size=shape).astype(np.float32) for shape in shapes]


def patches_in(shape: tuple[int, ...] = (128, 32, 32, 10), size: int = 4, D: int = 96) -> Piece:
    """Patches as tokens: a reshape and a product, against a strided convolution."""
    from jaxvid.ops.patchify import patchify

    C = shape[-1]

    def ours(x: Any, kernel: Any) -> Any:
        return patchify(x, size) @ kernel

    def plain(x: Any, kernel: Any) -> Any:
        return jax.lax.conv_general_dilated(
            x, kernel.reshape(size, size, C, D), (size, size), "VALID",
            dimension_numbers=("NHWC", "HWIO", "NHWC"),
        )  # fmt: skip

    def twin(x: Any, kernel: Any) -> Any:
        weight = kernel.reshape(size, size, C, D).permute(3, 2, 0, 1)
        conv = harness.torch_or_none().nn.functional.conv2d
        return conv(x.permute(0, 3, 1, 2), weight, stride=size).permute(0, 2, 3, 1)

    return ours, plain, twin, _normal(shape, (size * size * C, D))


def patches_out(shape: tuple[int, ...] = (128, 8, 8, 96), D: int = 64) -> Piece:
    """Twice the resolution: a product and a reshape, against a transposed convolution."""
    from jaxvid.ops.patchify import unpatchify

    C = shape[-1]

    def ours(x: Any, kernel: Any) -> Any:
        return unpatchify(x @ kernel, 2)

    def plain(x: Any, kernel: Any) -> Any:
        # As a convolution of the image spread out by zeros, whose kernel is turned round.
        turned = kernel.reshape(C, 2, 2, D).transpose(1, 2, 0, 3)[::-1, ::-1]
        return jax.lax.conv_general_dilated(
            x, turned, (1, 1), ((1, 1), (1, 1)), lhs_dilation=(2, 2),
            dimension_numbers=("NHWC", "HWIO", "NHWC"),
        )  # fmt: skip

    def twin(x: Any, kernel: Any) -> Any:
        weight = kernel.reshape(C, 2, 2, D).permute(0, 3, 1, 2)
        conv = harness.torch_or_none().nn.functional.conv_transpose2d
        return conv(x.permute(0, 3, 1, 2), weight, stride=2).permute(0, 2, 3, 1)

    return ours, plain, twin, _normal(shape, (C, 4 * D))


def upsampling(shape: tuple[int, ...] = (64, 16, 16, 64), D: int = 48) -> Piece:
    """Twice the resolution for a 3x3 convolution at the higher one: depth to space as above,
    against each pixel repeated. Kernels differ, as the decoder that chose so would differ.
    """
    from jaxvid.ops.patchify import unpatchify

    C = shape[-1]

    def convolve(x: Any, kernel: Any) -> Any:
        return jax.lax.conv_general_dilated(
            x, kernel, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")
        )

    def ours(x: Any, dense: Any, kernel: Any) -> Any:
        return convolve(unpatchify(x @ dense, 2), kernel)

    def plain(x: Any, dense: Any, kernel: Any) -> Any:
        return convolve((x.repeat(2, 1).repeat(2, 2)) @ dense[:, :D], kernel)

    def twin(x: Any, dense: Any, kernel: Any) -> Any:
        F = harness.torch_or_none().nn.functional
        weight = dense.reshape(C, 2, 2, D).permute(0, 3, 1, 2)
        high = F.conv_transpose2d(x.permute(0, 3, 1, 2), weight, stride=2)
        return F.conv2d(high, kernel.permute(3, 2, 0, 1), padding=1).permute(0, 2, 3, 1)

    return ours, plain, twin, _normal(shape, (C, 4 * D), (3, 3, D, D))


def warping(shape: tuple[int, ...] = (128, 32, 32, 3)) -> Piece:
    """A bilinear fetch: four gathers, against SciPy's function as stock JAX has it."""
    from jaxvid.ops.warp import warp

    def plain(x: Any, flow: Any) -> Any:
        def one(plane: Any, flow: Any) -> Any:
            H, W = plane.shape
            at = (jnp.arange(H)[:, None] + flow[..., 1], jnp.arange(W) + flow[..., 0])
            return jax.scipy.ndimage.map_coordinates(plane, at, order=1, mode="nearest")

        channels = jax.vmap(one, in_axes=(2, None), out_axes=2)
        return jax.vmap(channels)(x, flow)

    def twin(x: Any, flow: Any) -> Any:
        from benchmarks.torch_generator import warp_pixels

        return warp_pixels(x, flow)

    flow = 3 * _normal((*shape[:-1], 2))[0]
    return lambda x, flow: warp(x, flow)[0], plain, twin, [*_normal(shape), flow]


def meeting(shape: tuple[int, ...] = (8, 8, 32, 32, 3)) -> Piece:
    """Known frames along the flow between them to where each frame is: ``ops.inbetween.meet``;
    plain: the flow estimated of one pair of frames after another.
    """
    from jaxvid.ops import inbetween

    B, T = shape[:2]

    def make(before: Any, after: Any) -> inbetween.Neighbours:
        share = jnp.broadcast_to(jnp.linspace(0.0, 1.0, T), (B, T))
        return inbetween.Neighbours(before, after, share, jnp.ones((B, T)), jnp.ones((B, T)))

    def ours(before: Any, after: Any) -> Any:
        return inbetween.meet(make(before, after)).before

    def plain(before: Any, after: Any) -> Any:
        def one(near: Any) -> Any:
            return inbetween.meet(jax.tree.map(lambda x: x[None, None], near)).before[0, 0]

        flat = jax.tree.map(lambda x: x.reshape(B * T, *x.shape[2:]), make(before, after))
        return jax.lax.map(one, flat).reshape(shape)

    def twin(before: Any, after: Any) -> Any:
        from benchmarks import torch_generator

        torch = harness.torch_or_none()
        share = torch.linspace(0.0, 1.0, T, device=before.device).expand(B, T)
        ones = torch.ones_like(share)
        near = torch_generator.Neighbours(before, after, share, ones, ones)
        return torch_generator.meet(near).before

    return ours, plain, twin, [np.tanh(x) for x in _normal(shape, shape)]


def drawing(shape: tuple[int, ...] = (4, 8, 2, 4), side: int = 32, D: int = 24) -> Piece:
    """A script's places as features of pixels, mapped by each actor's kernel; plain: all features
    drawn at every pixel, then mapped.
    """
    from jaxvid.ops import layout

    B, T, N, _ = shape

    def ours(boxes: Any, kernel: Any) -> Any:
        parts, _ = layout.draw_parts(boxes, jnp.ones((B, T, N)), kernel, height=side, width=side)
        return jnp.moveaxis(layout.spread(parts), 0, 4)

    def plain(boxes: Any, kernel: Any) -> Any:
        drawn, _ = layout.draw(boxes, jnp.ones((B, T, N)), height=side, width=side)
        return jnp.einsum("bthwnf,bnfd->bthwnd", drawn, kernel)

    def twin(boxes: Any, kernel: Any) -> Any:
        from benchmarks import torch_networks

        torch = harness.torch_or_none()
        shown = torch.ones(boxes.shape[:3], device=boxes.device)
        parts, _ = torch_networks.draw_mapped(boxes, shown, kernel, height=side, width=side)
        return torch.stack(parts, dim=4)

    boxes = np.random.default_rng(0).uniform(0.2, 0.8, shape).astype(np.float32)
    return ours, plain, twin, [boxes, *_normal((B, N, layout.FEATURES, D))]


PIECES: dict[str, Callable[[], Piece]] = {
    "patches in": patches_in,
    "patches out": patches_out,
    "upsampling + 3x3": upsampling,
    "warp": warping,
    "warp, wide": functools.partial(warping, (32, 64, 64, 3)),
    "meet": meeting,
    "script": drawing,
    "dense": layers.dense,
    "block": layers.block,
    "scene": layers.scene,
}

if __name__ == "__main__":
    harness.program({"frame_synthesis": rows})
