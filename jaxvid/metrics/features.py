"""What distances between sets of videos are taken over: an ``Extractor`` turns clips into features.

All take quantised video, uint8 (B,T,H,W,3) sRGB, and return float32, of clips (B,F) or of frames
(B,T,F). Which one a figure was made with stands in its name (``distance_name``): FVD is the Fréchet
distance over ``i3d`` with the weights of TensorFlow Hub's i3d-kinetics-400 and over nothing else.
Features compare only at equal size of frame, number of frames and frames a second, and only where
both sides were compressed alike.
"""

import dataclasses
import functools
import pathlib
import re
from collections.abc import Callable
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, UInt8

from jaxvid.models.i3d import I3D, MIN_FRAMES, SIDE, read_i3d
from jaxvid.models.squeezenet import SIDE as SQUEEZENET_SIDE
from jaxvid.models.squeezenet import read_squeezenet, squeezenet
from jaxvid.typing import Params, UserError

I3D_NAME, I3D_UNCHECKED = "i3d-kinetics-400", "i3d-unchecked"
# Squared distance of the features of a black and a white clip, 30 frames of 64 x 64: 151.392 by
# TensorFlow's original, 151.256 by the PyTorch port (JunyaoHu/common_metrics_on_video_quality).
I3D_GOLDEN, I3D_TOLERANCE = 151.392, 0.01
_WIDTHS = (32, 64, 64)  # of the random network
_HIGHEST = jax.lax.Precision.HIGHEST  # a figure must not depend on an accelerator's short factors

Video = UInt8[Array, "B T H W 3"] | UInt8[np.ndarray, "B T H W 3"]
VideoFeatures = Float[Array, "B F"] | Float[Array, "B T F"]


@functools.partial(
    jax.tree_util.register_dataclass,
    data_fields=["params"],
    meta_fields=["name", "apply", "min_frames"],
)
@dataclasses.dataclass(frozen=True, eq=False)
class Extractor:
    """A named feature function. Compile it as it is, or ``extract`` with its weights an argument.

    ``apply(params, video)`` is pure JAX; ``min_frames`` is the fewest that it takes.
    """

    name: str
    apply: Callable[[Params, Array], Array]
    params: Params
    min_frames: int = 1

    def __call__(self, video_BTHWC: Video) -> VideoFeatures:
        return extract(self, video_BTHWC)


def extract(extractor: Extractor, video_BTHWC: Video) -> VideoFeatures:
    """Features of clips (B,F) or of their frames (B,T,F).

    Raises TypeError for video that is not uint8, and UserError for clips that are too short.
    """
    if video_BTHWC.dtype != jnp.uint8:
        raise TypeError(f"features are of uint8 video, this is {video_BTHWC.dtype}; quantise it")
    if (frames := video_BTHWC.shape[1]) < extractor.min_frames:
        need = f"{extractor.name} needs clips of {extractor.min_frames} frames or more"
        raise UserError(f"{need}, these have {frames}; make longer ones")
    return extractor.apply(extractor.params, jnp.asarray(video_BTHWC))


def distance_name(extractor: Extractor, kind: Literal["frechet", "kernel"] = "frechet") -> str:
    """What to call a distance over these features: ``fvd``, ``kvd`` or as ``frechet_random_video``.

    The short names are for checked weights of i3d-kinetics-400 only.
    """
    if extractor.name == I3D_NAME:
        return {"frechet": "fvd", "kernel": "kvd"}[kind]
    return f"{kind}_" + re.sub(r"\W+", "_", extractor.name)


def random_frames(seed: int = 0) -> Extractor:
    """Frames (B,T,64) by a random network of three strided 3 x 3 convolutions, never trained.

    He et al.'s weights, biases of deviation 1 so that slopes change at many levels, leaky ReLU,
    mean over the frame. A seed gives the same network for ever.
    """
    return Extractor(_seeded("random_frames", seed), _random_frames, _random_params(seed))


def random_video(seed: int = 0) -> Extractor:
    """Clips (B,256) by ``random_frames`` and what becomes of them over time; needs 2 frames.

    Of frame features f: their mean; the mean of |f(t+1) - f(t)|, which sees freezing and flicker;
    the mean of the last half less that of the first, which sees order over the whole clip; and a
    random layer over neighbours, mean of lrelu(A f(t+1) / 2 + 3 B (f(t+1) - f(t))), which sees
    order from frame to frame.
    Sprites at 32 px, 8 frames, 1,332 against 1,332 clips of other characters, in multiples of the
    real-against-real Fréchet distance: noise of 8 levels 4, of 24 33, blur 32, frozen 45, shuffled
    16, reversed 37, half speed 29, flicker of 15 levels 15, identity switched half-way 99.
    """
    return Extractor(_seeded("random_video", seed), _random_video, _random_params(seed), 2)


def i3d(path: str | pathlib.Path, *, check: bool = True) -> Extractor:
    """Clips (B,400): the logits of I3D with the weights in a file, see ``models.i3d``.

    As the original FVD prepares them (Unterthiner et al., 2018): the whole frame squashed to
    224 x 224, TensorFlow 1's bilinear, [-1, 1]; at least 10 frames. A clip of 16 frames takes 1.9
    seconds of a CPU core.
    ``check`` runs ``check_i3d`` (13 seconds of a core); without it the name, and that of each
    distance, says unchecked. Raises UserError for a file that is not the network of FVD.
    """
    params = read_i3d(path)
    extractor = Extractor(I3D_UNCHECKED, _i3d, params, MIN_FRAMES)
    if not check:
        return extractor
    if abs((found := check_i3d(extractor)) / I3D_GOLDEN - 1) > I3D_TOLERANCE:
        raise UserError(
            f"{path}: black and white clips are {found:.5g} apart, by the weights of FVD "
            f"{I3D_GOLDEN}; bring those of TensorFlow Hub's i3d-kinetics-400, not rgb_imagenet"
        )
    return dataclasses.replace(extractor, name=I3D_NAME)


def check_i3d(extractor: Extractor) -> float:
    """Fréchet distance of black against white clips, 30 frames of 64 x 64; FVD has ``I3D_GOLDEN``.

    Clips of a set are all alike, so there is no covariance and one clip of each is enough.
    """
    black, white = (
        np.asarray(extractor(np.full((1, 30, 64, 64, 3), level, np.uint8)), np.float64)
        for level in (0, 255)
    )
    return float(((black - white) ** 2).sum())


def squeezenet_frames(path: str | pathlib.Path) -> Extractor:
    """Frames (B,T,512): the last features of SqueezeNet v1.0, see ``models.squeezenet``.

    Whole frames squashed to 227 x 227, smoothed where that makes them smaller. Of the features
    here they see noise most.
    """
    return Extractor("squeezenet-v1.0-imagenet", _squeezenet, read_squeezenet(path))


def _seeded(name: str, seed: int) -> str:
    return name if seed == 0 else f"{name}_{seed}"


def _random_params(seed: int) -> Params:
    # named, so that a user's choice of another generator does not change the network
    key, width = jax.random.key(seed, impl="threefry2x32"), 3
    params: dict[str, Array] = {}
    for i, out in enumerate(_WIDTHS):
        kernel_key, bias_key = jax.random.split(jax.random.fold_in(key, i))
        kernel = jax.random.normal(kernel_key, (3, 3, width, out))
        params[f"kernel{i}"] = kernel * np.sqrt(2 / (9 * width))
        params[f"bias{i}"] = jax.random.normal(bias_key, (out,))
        width = out
    mixing = jax.random.normal(jax.random.fold_in(key, len(_WIDTHS)), (2, width, width))
    return params | {"mixing": mixing * np.sqrt(1 / width)}


def _random_frames(params: Params, video_BTHWC: Array) -> Array:
    B, T = video_BTHWC.shape[:2]
    x = video_BTHWC.reshape(B * T, *video_BTHWC.shape[2:]).astype(jnp.float32) / 127.5 - 1
    for i in range(len(_WIDTHS)):
        x = jax.lax.conv_general_dilated(
            x,
            params[f"kernel{i}"],
            (2, 2),
            "SAME",
            dimension_numbers=("NHWC", "HWIO", "NHWC"),
            precision=_HIGHEST,
        )
        x = jax.nn.leaky_relu(x + params[f"bias{i}"], 0.2)
    return x.mean((1, 2)).reshape(B, T, -1)


def _random_video(params: Params, video_BTHWC: Array) -> Array:
    f_BTF = _random_frames(params, video_BTHWC)
    step_BTF = f_BTF[:, 1:] - f_BTF[:, :-1]
    half = f_BTF.shape[1] // 2
    drift_BF = f_BTF[:, -half:].mean(1) - f_BTF[:, :half].mean(1)
    now, change = params["mixing"]
    mixed = jnp.matmul(f_BTF[:, 1:], now, precision=_HIGHEST) / 2
    mixed = jax.nn.leaky_relu(mixed + 3 * jnp.matmul(step_BTF, change, precision=_HIGHEST), 0.2)
    parts = [f_BTF.mean(1), jnp.abs(step_BTF).mean(1), drift_BF, mixed.mean(1)]
    return jnp.concatenate(parts, axis=-1)


def _i3d(params: Params, video_BTHWC: Array) -> Array:
    x = _squash(video_BTHWC, SIDE)
    return jnp.asarray(I3D().apply({"params": params}, x / 127.5 - 1))


def _squeezenet(params: Params, video_BTHWC: Array) -> Array:
    B, T, _, _, C = video_BTHWC.shape
    side = SQUEEZENET_SIDE
    x = jax.image.resize(video_BTHWC.astype(jnp.float32), (B, T, side, side, C), "linear")
    features, _ = squeezenet(params, x.reshape(B * T, side, side, C))
    return features.reshape(B, T, -1)


def _squash(video_BTHWC: Array, side: int) -> Array:
    """Whole frames to side x side, float32, as two products with matrices of weights."""
    rows, cols = (_bilinear(pixels, side) for pixels in video_BTHWC.shape[2:4])
    x = jnp.einsum("hH,btHWc->bthWc", rows, video_BTHWC.astype(jnp.float32), precision=_HIGHEST)
    return jnp.einsum("wW,bthWc->bthwc", cols, x, precision=_HIGHEST)


def _bilinear(pixels: int, side: int) -> np.ndarray:
    """(side, pixels), TensorFlow 1's resize: pixel i is read at i * pixels / side, unsmoothed."""
    at = np.arange(side) * pixels / side
    low = np.floor(at).astype(int)
    weights = np.zeros((side, pixels), np.float32)
    np.add.at(weights, (np.arange(side), low), 1 - (at - low))
    np.add.at(weights, (np.arange(side), np.minimum(low + 1, pixels - 1)), at - low)
    return weights
