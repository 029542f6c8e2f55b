"""Dense optical flow between two pictures.

Lucas and Kanade (1981) from coarse to fine, at every pixel, with iterated warping (Bouguet 2001;
least squares for the whole flow as in Le Besnerais and Champagnat 2005, not for its increment,
which keeps neighbours together). Fixed iterations. A flow field holds x and y, in pixels. Where
nothing changes the flow is 0, also inside of what is flat and moves.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float

from jaxvid.ops.warp import warp

_COARSE = 8  # pixels of the shorter side from which no smaller picture is made
_STEPS = 3  # of warping, at each size
_SIGMA = 2.0  # pixels, of the window
_BLUR = 0.7  # pixels: derivatives of sharper pictures are wrong
_PRIOR = 1e-4  # squared slope, of [0, 1] a pixel, below which a window knows nothing
_NOISE = 3e-5  # squared error: a level of 256, in each channel, is none


def estimate(
    first_BHWC: Float[Array, "B H W C"], second_BHWC: Float[Array, "B H W C"]
) -> Float[Array, "B H W 2"]:
    """The flow from pictures in [0, 1] to others: ``second(x + flow(x))`` looks like ``first(x)``.

    Follows up to 0.15 of the frame, textures to some hundredths of a pixel; beyond a fifth of the
    frame it may find anything.
    """
    sizes = [first_BHWC.shape[1:3]]
    while min(sizes[-1]) > _COARSE:
        sizes.append(tuple((n + 1) // 2 for n in sizes[-1]))
    pyramid = [(_blur(first_BHWC, _BLUR), _blur(second_BHWC, _BLUR))]
    for size in sizes[1:]:
        pyramid.append((_resize(pyramid[-1][0], size), _resize(pyramid[-1][1], size)))
    flow = jnp.zeros((len(first_BHWC), *sizes[-1], 2))
    for size, (first, second) in zip(sizes[::-1], pyramid[::-1], strict=True):
        (h, w), (H, W) = flow.shape[1:3], size
        flow = _refine(first, second, _resize(flow, size) * jnp.array([W / w, H / h]))
    return _rest(*pyramid[0], flow)


def _refine(first_BHWC: Array, second_BHWC: Array, flow_BHW2: Array) -> Array:
    """Steps of least squares over windows: ``slope . (new - flow) + second(x + flow) - first = 0``,
    with a prior that the flow is what it is around.
    """
    padded = jnp.pad(first_BHWC, ((0, 0), (1, 1), (1, 1), (0, 0)), mode="edge")
    dx = (padded[:, 1:-1, 2:] - padded[:, 1:-1, :-2]) / 2
    dy = (padded[:, 2:, 1:-1] - padded[:, :-2, 1:-1]) / 2
    squares = jnp.stack([(p * q).sum(-1) for p, q in ((dx, dx), (dx, dy), (dy, dy))], axis=-1)
    xx, xy, yy = jnp.moveaxis(_blur(squares, _SIGMA), -1, 0)
    xx, yy = xx + _PRIOR, yy + _PRIOR

    def step(_: Array, flow: Array) -> Array:
        seen, inside = warp(second_BHWC, flow)
        # what left the frame says nothing: as if it looked right
        lag = jnp.where(inside[..., None], first_BHWC - seen, 0)
        lag = lag + dx * flow[..., :1] + dy * flow[..., 1:]
        pull = jnp.stack([(dx * lag).sum(-1), (dy * lag).sum(-1)], axis=-1)
        px, py = jnp.moveaxis(_blur(pull + _PRIOR * flow, _SIGMA), -1, 0)
        new = jnp.stack([yy * px - xy * py, xx * py - xy * px], axis=-1)
        new = new / (xx * yy - xy * xy)[..., None]
        return flow + jnp.clip(new - flow, -1, 1)  # slopes hold for about a pixel

    return lax.fori_loop(0, _STEPS, step, flow_BHW2)


def _rest(first_BHWC: Array, second_BHWC: Array, flow_BHW2: Array) -> Array:
    """The flow where it explains a change, and 0 where nothing changed: smaller pictures smear it
    over flat ground around what moves.
    """
    seen, inside = warp(second_BHWC, flow_BHW2)
    seen = jnp.where(inside[..., None], seen, first_BHWC)
    errors = [((x - first_BHWC) ** 2).sum(-1) for x in (second_BHWC, seen)]
    still, moved = jnp.split(_blur(jnp.stack(errors, axis=-1), 1.0), 2, axis=-1)
    return jnp.where(moved + _NOISE < still, flow_BHW2, 0)


def _blur(x_BHWC: Array, sigma: float) -> Array:
    rows, columns = (_window(n, sigma) for n in x_BHWC.shape[1:3])
    # full precision: accelerators would round the factors of a product to a few digits
    x = jnp.einsum("hH,bHWc->bhWc", rows, x_BHWC, precision=lax.Precision.HIGHEST)
    return jnp.einsum("wW,bhWc->bhwc", columns, x, precision=lax.Precision.HIGHEST)


def _resize(x_BHWC: Array, size: tuple[int, ...]) -> Array:
    shape = (len(x_BHWC), *size, x_BHWC.shape[3])
    return jax.image.resize(x_BHWC, shape, "linear")  # averages where it shrinks


@functools.lru_cache(maxsize=64)
def _window(pixels: int, sigma: float) -> np.ndarray:
    """Matrix of Gaussian means around each pixel, over those within 3 sigma that there are."""
    offsets = np.arange(pixels)[:, None] - np.arange(pixels)
    weights = np.where(abs(offsets) <= 3 * sigma, np.exp(-0.5 * (offsets / sigma) ** 2), 0)
    return (weights / weights.sum(1, keepdims=True)).astype(np.float32)
