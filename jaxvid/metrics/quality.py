"""How near one clip is to another: MSE, PSNR, SSIM, one number a clip.

Conventions, which move these figures by more than most models do: sRGB as stored, not linear
light, not luma; all channels alike; computed per frame, then averaged over frames; both clips
quantised, or neither. ``data_range`` is the distance from black to white: 255 for uint8, 1 for
[0, 1], 2 for [-1, 1].
Collect them with ``metrics.mean``.
"""

import functools

import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float, Num

_CAP = 100.0  # dB, of a frame without any difference
_SIGMA, _RADIUS = 1.5, 5  # of the window of SSIM, 11 x 11
_K1, _K2 = 0.01, 0.03

NAMES = ("mse", "psnr", "ssim")
TEMPORAL = tuple(f"temporal_{name}" for name in NAMES)


def measure(
    a_BTHWC: Num[Array, "B T H W C"], b_BTHWC: Num[Array, "B T H W C"], *, data_range: float | int
) -> dict[str, Float[Array, "B"]]:
    """All three, keys ``NAMES``."""
    return {
        "mse": mse(a_BTHWC, b_BTHWC),
        "psnr": psnr(a_BTHWC, b_BTHWC, data_range=data_range),
        "ssim": ssim(a_BTHWC, b_BTHWC, data_range=data_range),
    }


def mse(a_BTHWC: Num[Array, "B T H W C"], b_BTHWC: Num[Array, "B T H W C"]) -> Float[Array, "B"]:
    """Mean squared error, in squared units of the input."""
    return _frame_mse(a_BTHWC, b_BTHWC).mean(1)


def psnr(
    a_BTHWC: Num[Array, "B T H W C"], b_BTHWC: Num[Array, "B T H W C"], *, data_range: float | int
) -> Float[Array, "B"]:
    """Mean over frames of ``10 log10(data_range² / mse)``, in dB; higher is nearer.

    A frame counts at most 100 dB, so that one that is exactly right leaves the mean finite.
    Per frame equal to ``skimage.metrics.peak_signal_noise_ratio``.
    """
    error_BT = _frame_mse(a_BTHWC, b_BTHWC) / data_range**2
    return (-10 * jnp.log10(jnp.maximum(error_BT, 10 ** (-_CAP / 10)))).mean(1)


def ssim(
    a_BTHWC: Num[Array, "B T H W C"], b_BTHWC: Num[Array, "B T H W C"], *, data_range: float | int
) -> Float[Array, "B"]:
    """Mean structural similarity over frames and channels, at most 1.

    Wang et al. 2004 with their Gaussian window, where it fits into the frame; per frame equal to
    ``skimage.metrics.structural_similarity(gaussian_weights=True, sigma=1.5,
    use_sample_covariance=False)``. Raises ValueError for frames under 11 x 11.
    """
    H, W = a_BTHWC.shape[2:4]
    if min(H, W) < 2 * _RADIUS + 1:
        raise ValueError(f"SSIM's window is 11 x 11 pixels, the frames are {H} x {W}; resize them")
    a, b = (x.astype(jnp.float32) / data_range for x in (a_BTHWC, b_BTHWC))
    # about each frame's own level: of bright flat frames the squares would take the last digits
    level_a, level_b = (x.mean((2, 3), keepdims=True) for x in (a, b))
    a, b = a - level_a, b - level_b
    mean_a, mean_b = _window(a), _window(b)
    var_a = _window(a * a) - mean_a * mean_a
    var_b = _window(b * b) - mean_b * mean_b
    cov = _window(a * b) - mean_a * mean_b
    mean_a, mean_b = mean_a + level_a, mean_b + level_b
    c1, c2 = _K1**2, _K2**2  # eq. 13, for a data range of 1
    top = (2 * mean_a * mean_b + c1) * (2 * cov + c2)
    bottom = (mean_a**2 + mean_b**2 + c1) * (var_a + var_b + c2)
    return (top / bottom).mean((1, 2, 3, 4))


def temporal(
    a_BTHWC: Num[Array, "B T H W C"], b_BTHWC: Num[Array, "B T H W C"], *, data_range: float | int
) -> dict[str, Float[Array, "B"]]:
    """How alike two clips change: ``measure`` of their ``changes``, keys ``TEMPORAL``.

    Changes span twice the range, ``-data_range`` to ``data_range``, so PSNR is
    ``10 log10((2 data_range)² / mse)`` and SSIM's constants are of ``2 data_range``; pass the
    range of the clips themselves. MSE is at most ``4 data_range²``. What keeps still in both is
    alike: clips with much ground of that kind reach a high SSIM, as do two stills (0, 100, 1).
    Whatever stands wrongly but still is not seen here.
    """
    near = measure(changes(a_BTHWC), changes(b_BTHWC), data_range=2 * data_range)
    return {f"temporal_{name}": value for name, value in near.items()}


def changes(video_BTHWC: Num[Array, "B T H W C"]) -> Float[Array, "B t H W C"]:
    """Each frame less the one before it, signed; of a clip of one frame a frame of zeros."""
    video = video_BTHWC.astype(jnp.float32)  # bytes would wrap
    return jnp.diff(video, axis=1) if video.shape[1] > 1 else jnp.zeros_like(video)


def _frame_mse(a_BTHWC: Array, b_BTHWC: Array) -> Array:
    difference = a_BTHWC.astype(jnp.float32) - b_BTHWC.astype(jnp.float32)
    return jnp.mean(difference**2, axis=(2, 3, 4))


def _window(x_BTHWC: Array) -> Array:
    """Gaussian mean around each pixel that has a whole window, as two products with bands."""
    H, W = x_BTHWC.shape[2:4]
    rows, cols = _band(H), _band(W)
    # full precision: accelerators would round the factors of a product to a few digits
    x = jnp.einsum("hH,btHWc->bthWc", rows, x_BTHWC, precision=lax.Precision.HIGHEST)
    return jnp.einsum("wW,bthWc->bthwc", cols, x, precision=lax.Precision.HIGHEST)


@functools.lru_cache(maxsize=16)
def _band(pixels: int) -> np.ndarray:
    """Matrix whose row i holds the window over pixels i to i + 10."""
    offsets = np.arange(-_RADIUS, _RADIUS + 1)
    window = np.exp(-0.5 * (offsets / _SIGMA) ** 2)
    window /= window.sum()
    band = np.zeros((pixels - 2 * _RADIUS, pixels), np.float32)
    for i in range(len(band)):
        band[i, i : i + len(window)] = window
    return band
