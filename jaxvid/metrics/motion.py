"""How much and how smoothly a clip moves, from pixels alone, one number a clip.

Not goals by themselves: a still clip is the smoothest. They are to be read beside the values of
real clips, which they should equal. Clips are [0, 1] floats or uint8. Collect the values with
``metrics.mean``. What follows every pixel and costs more is in ``metrics.flow``.
"""

import jax.numpy as jnp
from jaxtyping import Array, Float, Num

NAMES = ("difference", "speed", "acceleration", "jerk")

_MARGIN = 0.12  # chroma over the background's from which a pixel counts as an entity


def measure(video_BTHWC: Num[Array, "B T H W 3"]) -> dict[str, Float[Array, "B"]]:
    """All of them, keys ``NAMES``; the last three are of the centroids' path."""
    centroids_BT2 = centroids(video_BTHWC)
    return {
        "difference": difference(video_BTHWC),
        "speed": roughness(centroids_BT2, order=1),
        "acceleration": roughness(centroids_BT2, order=2),
        "jerk": roughness(centroids_BT2, order=3),
    }


def difference(video_BTHWC: Num[Array, "B T H W C"]) -> Float[Array, "B"]:
    """Mean absolute difference of neighbouring frames, 1 is black to white; 0 of one frame."""
    video = unit(video_BTHWC)
    if video.shape[1] < 2:
        return jnp.zeros(video.shape[0])
    return jnp.abs(video[:, 1:] - video[:, :-1]).mean((1, 2, 3, 4))


def mass(video_BTHWC: Num[Array, "B T H W 3"]) -> Float[Array, "B T H W"]:
    """How much entity a pixel is, 0 to 1: its chroma over the background's, less a margin.

    Chroma is the greatest less the least channel; the background's is the median of the clip's.
    """
    video = unit(video_BTHWC)
    chroma_BTHW = video.max(-1) - video.min(-1)
    ground_B = jnp.median(chroma_BTHW.reshape(len(video), -1), axis=1)
    return jnp.maximum(chroma_BTHW - ground_B[:, None, None, None] - _MARGIN, 0)


def centroids(video_BTHWC: Num[Array, "B T H W 3"]) -> Float[Array, "B T 2"]:
    """Where the colour is in each frame: x and y of its centre of ``mass``, 0 to 1.

    Of two entities it is the centre of both. A frame without colour has its centre in the middle.
    """
    H, W = video_BTHWC.shape[2:4]
    mass_BTHW = mass(video_BTHWC)
    x_W, y_H = (jnp.arange(W) + 0.5) / W, (jnp.arange(H) + 0.5) / H
    total_BT = mass_BTHW.sum((2, 3))
    moments_BT2 = jnp.stack(
        [(mass_BTHW.sum(2) * x_W).sum(-1), (mass_BTHW.sum(3) * y_H).sum(-1)], axis=-1
    )
    some_BT1 = total_BT[..., None] > 1e-3
    return jnp.where(some_BT1, moments_BT2 / jnp.where(some_BT1, total_BT[..., None], 1), 0.5)


def roughness(path_BT2: Float[Array, "B T 2"], *, order: int) -> Float[Array, "B"]:
    """Mean length of the path's differences over time: order 1 is speed, 2 acceleration, 3 jerk.

    In the path's unit a frame, a frame², a frame³; 0 for paths that are too short.
    """
    if path_BT2.shape[1] <= order:
        return jnp.zeros(path_BT2.shape[0])
    return jnp.linalg.norm(jnp.diff(path_BT2, n=order, axis=1), axis=-1).mean(1)


def unit(video_BTHWC: Num[Array, "B T H W C"]) -> Float[Array, "B T H W C"]:
    """The clip as [0, 1] floats, if it is bytes; floats are taken to be that already."""
    scale = 255.0 if video_BTHWC.dtype == jnp.uint8 else 1.0
    return video_BTHWC.astype(jnp.float32) / scale
