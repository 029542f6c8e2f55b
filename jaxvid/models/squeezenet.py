"""SqueezeNet v1.0 (Iandola et al., 2016, arXiv 1602.07360), ImageNet's 1,000 classes, from a file.

A user brings the file: an .npz of float32 arrays ``<layer>_w`` (out, in, rows, columns) and
``<layer>_b``, as decoded from SqueezeNet-Deep-Compression. Not the v1.1 of LPIPS.
"""

import pathlib
import zipfile

import jax
import jax.numpy as jnp
import numpy as np

from jaxvid.typing import Params, UserError

SIDE, WIDTH = 227, 512  # of the input frames; of the features
_MEAN_BGR = (104.0, 117.0, 123.0)
_SQUEEZED = {2: 16, 3: 16, 4: 32, 5: 32, 6: 48, 7: 48, 8: 64, 9: 64}  # widths, by number of fire
_POOLS_AFTER = (4, 8)


def read_squeezenet(path: str | pathlib.Path) -> Params:
    """The arrays, kernels as rows, columns, in, out. Raises UserError for any other file."""
    try:
        with np.load(path, allow_pickle=False) as file:
            params = {name: file[name] for name in file.files}
    except (OSError, ValueError, AttributeError, zipfile.BadZipFile) as error:
        raise UserError(f"cannot read {path} as npz: {error}".splitlines()[0]) from None
    for name, shape in _shapes().items():
        if (found := getattr(params.get(name), "shape", None)) != shape:
            raise UserError(f"{path}: {name} has shape {found}, not {shape}; bring SqueezeNet v1.0")
    return {k: v.transpose(2, 3, 1, 0) if k.endswith("_w") else v for k, v in params.items()}


def squeezenet(params: Params, image_BHWC: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Images (B, 227, 227, 3), RGB in 0..255 -> the last features (B, 512), logits (B, 1000).

    The features are those of fire9, averaged over the frame.
    """
    x = image_BHWC[..., ::-1] - jnp.asarray(_MEAN_BGR)
    x = _pool(_conv(params, x, "conv1", stride=2, padding="VALID"))
    for i in _SQUEEZED:
        x = _conv(params, x, f"fire{i}__conv1x1_1")
        wide = [_conv(params, x, f"fire{i}__conv{side}_2") for side in ("1x1", "3x3")]
        x = jnp.concatenate(wide, axis=-1)
        x = _pool(x) if i in _POOLS_AFTER else x
    return x.mean((1, 2)), _conv(params, x, "conv_final").mean((1, 2))


def _conv(
    params: Params, x: jax.Array, name: str, *, stride: int = 1, padding: str = "SAME"
) -> jax.Array:
    y = jax.lax.conv_general_dilated(
        x,
        params[f"{name}_w"],
        (stride, stride),
        padding,
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
        precision=jax.lax.Precision.HIGHEST,
    )
    return jax.nn.relu(y + params[f"{name}_b"])


def _pool(x: jax.Array) -> jax.Array:
    return jax.lax.reduce_window(x, -jnp.inf, jax.lax.max, (1, 3, 3, 1), (1, 2, 2, 1), "VALID")


def _shapes() -> dict[str, tuple[int, ...]]:
    """Of the arrays in the file: out, in, rows, columns."""
    kernels, width = {"conv1": (96, 3, 7, 7), "conv_final": (1000, WIDTH, 1, 1)}, 96
    for i, squeezed in _SQUEEZED.items():
        kernels[f"fire{i}__conv1x1_1"] = (squeezed, width, 1, 1)
        for side in (1, 3):
            kernels[f"fire{i}__conv{side}x{side}_2"] = (4 * squeezed, squeezed, side, side)
        width = 8 * squeezed
    return {f"{k}_w": v for k, v in kernels.items()} | {f"{k}_b": v[:1] for k, v in kernels.items()}
