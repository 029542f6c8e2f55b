"""I3D, the network of the Fréchet video distance, and the reading of its weights from a file.

Inflated Inception-v1 (Carreira and Zisserman, 2017, arXiv 1705.07750, figure 3), RGB, 400 classes
of Kinetics. Every convolution but the last is followed by batch normalisation, which at inference
is a factor and an offset a channel and is folded into kernel and bias when the file is read.
jaxvid ships no weights of it. A user brings them as .safetensors or .npz, in the names of
TensorFlow Hub's ``i3d-kinetics-400`` or of either PyTorch port of it. A PyTorch file becomes one,
once, by

    import torch, safetensors.torch as s
    d = torch.load("i3d.pt", map_location="cpu", weights_only=True)
    s.save_file({k: v.contiguous() for k, v in d.items()}, "i3d.safetensors")

with ``d = torch.jit.load("i3d.pt", map_location="cpu").state_dict()`` where it is a TorchScript,
and TensorFlow's by

    r = tf.train.load_checkpoint("i3d/variables/variables")
    np.savez("i3d.npz", **{k: r.get_tensor(k) for k in r.get_variable_to_shape_map()})
"""

import functools
import pathlib
from dataclasses import dataclass
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from jaxvid.typing import Params, UserError

CLASSES = 400
MIN_FRAMES, SIDE = 10, 224  # what FVD asks of a clip; the network itself runs from 9 frames
_EPSILON = 1e-3  # of the batch normalisation
_BLOCKS = {  # widths of b0, b1a, b1b, b2a, b2b, b3b
    "Mixed_3b": (64, 96, 128, 16, 32, 32),
    "Mixed_3c": (128, 128, 192, 32, 96, 64),
    "Mixed_4b": (192, 96, 208, 16, 48, 64),
    "Mixed_4c": (160, 112, 224, 24, 64, 64),
    "Mixed_4d": (128, 128, 256, 24, 64, 64),
    "Mixed_4e": (112, 144, 288, 32, 64, 64),
    "Mixed_4f": (256, 160, 320, 32, 128, 128),
    "Mixed_5b": (256, 160, 320, 32, 128, 128),
    "Mixed_5c": (384, 192, 384, 48, 128, 128),
}
_POOLS_BEFORE = {"Mixed_3b": (1, 3, 3), "Mixed_4b": (3, 3, 3), "Mixed_5b": (2, 2, 2)}


def _conv(features: int, side: int, name: str, stride: int = 1) -> nn.Conv:
    # full precision: a distance must not depend on what an accelerator rounds factors to
    window, steps, highest = (side,) * 3, (stride,) * 3, jax.lax.Precision.HIGHEST
    return nn.Conv(features, window, steps, padding="SAME", precision=highest, name=name)


def _max_pool(x_BTHWC: jax.Array, window: tuple[int, ...], strides: tuple[int, ...]) -> jax.Array:
    return nn.max_pool(x_BTHWC, window, strides, padding="SAME")


class Inception(nn.Module):
    """Four branches side by side: 1; 1, 3; 1, 3; max-pool, 1 (sides of the cubic kernels)."""

    widths: tuple[int, ...]

    @nn.compact
    def __call__(self, x_BTHWC: jax.Array) -> jax.Array:
        b0, b1a, b1b, b2a, b2b, b3b = self.widths
        first = nn.relu(_conv(b0, 1, "b0")(x_BTHWC))
        second = nn.relu(_conv(b1a, 1, "b1a")(x_BTHWC))
        second = nn.relu(_conv(b1b, 3, "b1b")(second))
        third = nn.relu(_conv(b2a, 1, "b2a")(x_BTHWC))
        third = nn.relu(_conv(b2b, 3, "b2b")(third))
        fourth = _max_pool(x_BTHWC, (3, 3, 3), (1, 1, 1))
        fourth = nn.relu(_conv(b3b, 1, "b3b")(fourth))
        return jnp.concatenate([first, second, third, fourth], axis=-1)


class I3D(nn.Module):
    """Clips (B, T, 224, 224, 3) float32 in [-1, 1] -> logits (B, 400), averaged over time.

    The output is TensorFlow Hub's ``RGB/inception_i3d/Mean:0``. Raises ValueError where less than
    2 x 7 x 7 positions are left to the last pooling: under 9 frames or 193 pixels.
    """

    @nn.compact
    def __call__(self, video_BTHWC: jax.Array) -> jax.Array:
        x = nn.relu(_conv(64, 7, "Conv3d_1a_7x7", stride=2)(video_BTHWC))
        x = _max_pool(x, (1, 3, 3), (1, 2, 2))
        x = nn.relu(_conv(64, 1, "Conv3d_2b_1x1")(x))
        x = nn.relu(_conv(192, 3, "Conv3d_2c_3x3")(x))
        for name, widths in _BLOCKS.items():
            if window := _POOLS_BEFORE.get(name):
                x = _max_pool(x, window, (min(window[0], 2), 2, 2))
            x = Inception(widths, name=name)(x)
        if any(left < least for left, least in zip(x.shape[1:4], (2, 7, 7), strict=True)):
            raise ValueError(f"I3D needs 9 frames of 193 x 193 or more, got {video_BTHWC.shape}")
        x = nn.avg_pool(x, (2, 7, 7), (1, 1, 1), padding="VALID")
        return _conv(CLASSES, 1, "logits")(x).mean((1, 2, 3))


@dataclass(frozen=True)
class _Layout:
    """How one kind of file spells the arrays of a unit; ``column`` is its place in ``_names``."""

    column: int
    axes: tuple[int, ...]  # that bring a kernel to T, H, W, in, out
    kernel: str
    bias: str
    offset: str
    mean: str
    variance: str
    scale: str | None = None
    ignored: tuple[str, ...] = ()  # ends of names that are no weights


def _torch_layout(column: int, norm: str) -> _Layout:
    return _Layout(
        column=column,
        axes=(2, 3, 4, 1, 0),
        kernel=".conv3d.weight",
        bias=".conv3d.bias",
        offset=f".{norm}.bias",
        mean=f".{norm}.running_mean",
        variance=f".{norm}.running_var",
        scale=f".{norm}.weight",
        ignored=(f".{norm}.num_batches_tracked",),
    )


_LAYOUTS = (
    _Layout(  # TensorFlow Hub, Sonnet: batch normalisation has no scale
        column=0,
        axes=(0, 1, 2, 3, 4),
        kernel="/conv_3d/w",
        bias="/conv_3d/b",
        offset="/batch_norm/beta",
        mean="/batch_norm/moving_mean",
        variance="/batch_norm/moving_variance",
    ),
    _torch_layout(1, "bn"),  # pytorch-i3d, as in i3d_pretrained_400.pt
    _torch_layout(2, "batch3d"),  # kinetics_i3d_pytorch, as in i3d_torchscript.pt
)
_BRANCHES = {
    "b0": ("Branch_0/Conv3d_0a_1x1", "b0", "branch_0"),
    "b1a": ("Branch_1/Conv3d_0a_1x1", "b1a", "branch_1.0"),
    "b1b": ("Branch_1/Conv3d_0b_3x3", "b1b", "branch_1.1"),
    "b2a": ("Branch_2/Conv3d_0a_1x1", "b2a", "branch_2.0"),
    "b2b": ("Branch_2/Conv3d_0b_3x3", "b2b", "branch_2.1"),
    "b3b": ("Branch_3/Conv3d_0b_1x1", "b3b", "branch_3.1"),
}


def _names(*path: str) -> tuple[str, str, str]:
    """What the three kinds of file call the unit at ``path`` of our parameters."""
    match path:
        case ("logits",):
            return "Logits/Conv3d_0c_1x1", "logits", "conv3d_0c_1x1"
        case (unit,):
            return unit, unit, unit.lower()
        case (block, unit):
            tf, port, script = _BRANCHES[unit]
            if path == ("Mixed_5b", "b2b"):
                tf = "Branch_2/Conv3d_0a_3x3"  # a slip of the original that its files carry on
            return f"{block}/{tf}", f"{block}.{port}", f"{block.lower()}.{script}"
    raise ValueError(path)


def read_i3d(path: str | pathlib.Path) -> Params:
    """The parameters of ``I3D`` from a .safetensors or .npz file in any of the three layouts.

    Raises UserError for another kind of file, and where arrays are missing, too many, of another
    shape or not finite.
    """
    path = pathlib.Path(path)
    layout, arrays = _find_layout(path, _read_arrays(path))
    wrong: list[str] = []

    def take(name: str, *shape: int) -> np.ndarray:
        if name not in arrays:
            wrong.append(f"{name} is missing")
            return np.zeros(shape)
        array = arrays.pop(name)
        if len(shape) == 1 and array.size == max(array.shape, default=1):
            array = array.reshape(-1)  # TensorFlow keeps (1, 1, 1, 1, C)
        if array.shape != shape:
            wrong.append(f"{name} has shape {array.shape}, not {shape}")
            return np.zeros(shape)
        if not np.isfinite(array).all():
            wrong.append(f"{name} is not finite")
            return np.zeros(shape)
        return array.astype(np.float64)

    def unit(path: tuple[str, ...], shape: tuple[int, ...]) -> dict[str, np.ndarray]:
        name, C = _names(*path)[layout.column], shape[-1]
        stored = tuple(shape[layout.axes.index(axis)] for axis in range(5))
        kernel = take(name + layout.kernel, *stored).transpose(layout.axes)
        if path == ("logits",):
            bias = take(name + layout.bias, C)
        else:
            scale = take(name + layout.scale, C) if layout.scale else np.ones(C)
            variance = take(name + layout.variance, C)
            if (variance < 0).any():
                wrong.append(f"{name}{layout.variance} is below 0")
            scale = scale / np.sqrt(variance.clip(0) + _EPSILON)
            bias = take(name + layout.offset, C) - take(name + layout.mean, C) * scale
            kernel = kernel * scale
        return {"kernel": kernel.astype(np.float32), "bias": bias.astype(np.float32)}

    def walk(tree: Any, *path: str) -> Any:
        if "kernel" in tree:
            return unit(path, tree["kernel"].shape)
        return {name: walk(inner, *path, name) for name, inner in tree.items()}

    params = walk(_like())
    wrong += [f"{name} is no part of I3D" for name in arrays]
    if wrong:
        more = f", and {len(wrong) - 3} more" if len(wrong) > 3 else ""
        raise UserError(f"{path}: {'; '.join(wrong[:3])}{more}; bring I3D for RGB, 400 classes")
    return params


@functools.cache
def _like() -> Params:
    """The shapes of the parameters."""
    clip = jax.ShapeDtypeStruct((1, MIN_FRAMES, SIDE, SIDE, 3), jnp.float32)
    return jax.eval_shape(I3D().init, jax.random.key(0), clip)["params"]


def _find_layout(
    path: pathlib.Path, arrays: dict[str, np.ndarray]
) -> tuple[_Layout, dict[str, np.ndarray]]:
    """The layout that knows the first convolution, and the arrays without what wraps its name."""
    arrays = {name.removesuffix(":0"): array for name, array in arrays.items()}
    for layout in _LAYOUTS:
        norm = _names("Conv3d_1a_7x7")[layout.column] + layout.mean
        for name in arrays:
            if name.endswith(norm):
                prefix = name.removesuffix(norm)
                return layout, {
                    key.removeprefix(prefix): array
                    for key, array in arrays.items()
                    if not key.endswith(layout.ignored)
                }
    raise UserError(
        f"{path}: holds no first convolution of I3D in the names of TensorFlow Hub or PyTorch; "
        "bring the weights of i3d-kinetics-400"
    )


def _read_arrays(path: pathlib.Path) -> dict[str, np.ndarray]:
    try:
        if path.suffix == ".npz":
            with np.load(path, allow_pickle=False) as file:
                arrays = {name: file[name] for name in file.files}
            if all(isinstance(array, np.ndarray) for array in arrays.values()):
                return arrays  # NumPy hands out other members of a zip, as of PyTorch's, as bytes
        elif path.suffix == ".safetensors":
            import safetensors.numpy

            return safetensors.numpy.load_file(path)
    except Exception as error:  # of zip, NumPy or safetensors, whatever is broken
        raise UserError(f"cannot read {path}: {error}".splitlines()[0]) from None
    raise UserError(
        f"{path}: jaxvid opens no pickles; convert it once to .safetensors with "
        'python -c "import torch, safetensors.torch as s; '
        f"d = torch.load('{path}', map_location='cpu', weights_only=True); "
        f"s.save_file({{k: v.contiguous() for k, v in d.items()}}, '{path.stem}.safetensors')\""
        " (a TorchScript file: d = torch.jit.load(...).state_dict())"
    )
