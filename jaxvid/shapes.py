"""What a kind and a colour look like: signed distances and the palette, in NumPy.

The lowest layer beside ``script``: the analytic renderer draws with it, the analytic reader
measures with it. Coordinates are those of a box: x and y from -1 to 1 between its sides, y
downwards; every shape touches all four sides.
"""

import math
from typing import NamedTuple

import numpy as np

from jaxvid.script import COLORS, KINDS

# sRGB, ordered as script.COLORS: hues apart enough to be named by a person and by the reader.
PALETTE = np.array(
    [
        (226, 38, 44),  # red
        (247, 127, 14),  # orange
        (250, 212, 32),  # yellow
        (46, 173, 68),  # green
        (26, 198, 212),  # cyan
        (40, 92, 232),  # blue
        (136, 52, 196),  # purple
        (250, 98, 182),  # pink
    ],
    np.uint8,
)
assert len(PALETTE) == len(COLORS)

_STAR_INNER = 0.5  # radius of the inner corners over that of the points
_CROSS_ARM = 0.36  # half width of an arm
_RING_HOLE = 0.52  # radius of the hole
_SQUARE_CORNER = 0.16  # radius of the corners


def signed_distance(kind: str, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Signed distance to the outline of ``kind``: negative inside, 1 is half a box.

    ``x`` and ``y`` broadcast against each other. Exact near the outline but for the corners, which
    come out mitred (a distance to lines, cheaper and crisper than to segments). Stretched shapes
    (star, heart) are within 10 % of the true distance. After Quilez, "2D distance functions".
    """
    ax = np.abs(x)
    if kind == "circle":
        return np.sqrt(x * x + y * y) - 1
    if kind == "ring":
        middle, half = (1 + _RING_HOLE) / 2, (1 - _RING_HOLE) / 2
        return np.abs(np.sqrt(x * x + y * y) - middle) - half
    if kind == "square":
        r = _SQUARE_CORNER
        qx, qy = ax - (1 - r), np.abs(y) - (1 - r)
        corner = np.sqrt(np.maximum(qx, 0) ** 2 + np.maximum(qy, 0) ** 2)
        return corner + np.minimum(np.maximum(qx, qy), 0) - r
    if kind == "diamond":
        return (ax + np.abs(y) - 1) * math.sqrt(0.5)
    if kind == "cross":
        ay, arm = np.abs(y), _CROSS_ARM
        return np.maximum(np.minimum(ax, ay) - arm, np.maximum(ax, ay) - 1)
    if kind == "triangle":  # tip (0, -1), feet (-1, 1) and (1, 1)
        return np.maximum(y - 1, (2 * ax - y - 1) / math.sqrt(5))
    if kind == "star":
        return _star(ax, y)
    if kind == "heart":
        return _heart(ax, y)
    raise ValueError(f"kind {kind!r} is not known; use one of {', '.join(KINDS)}")


def _star(ax: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Five points, folded into the wedge of the upper one, then one edge."""
    fifth = math.pi / 5
    width, height = math.sin(2 * fifth), (1 + math.cos(fifth)) / 2
    px, py = ax * width, height * (1 - y) - math.cos(fifth)  # y upwards, points on the unit circle
    for nx, ny in ((math.cos(fifth), -math.sin(fifth)), (-math.cos(fifth), -math.sin(fifth))):
        fold = 2 * np.maximum(nx * px + ny * py, 0)
        px, py = px - fold * nx, py - fold * ny
    ex, ey = _STAR_INNER * math.sin(fifth), _STAR_INNER * math.cos(fifth) - 1
    edge = (np.abs(px) * -ey + (py - 1) * ex) / math.hypot(ex, ey)
    return edge / ((width + height) / 2)


def _heart(ax: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Two half discs on a square that stands on its corner."""
    radius = math.sqrt(2) / 4
    width, height = 0.25 + radius, (0.75 + radius) / 2
    px, py = ax * width, height * (1 - y)  # y upwards, corner below at 0
    lobe = np.sqrt((px - 0.25) ** 2 + (py - 0.75) ** 2) - radius
    side = (px - py) * math.sqrt(0.5)  # the lower edge, inside where px < py
    notch = -np.sqrt(px * px + (py - 1) ** 2)  # inside, the nearest outline may be the notch
    return np.where(px + py > 1, lobe, np.maximum(side, notch)) / ((width + height) / 2)


def coverage(distance: np.ndarray, pixel: float | np.ndarray) -> np.ndarray:
    """How much of a pixel the shape covers, 0 to 1: one-pixel antialiasing of a signed distance.

    ``pixel`` is the side of a pixel in the units of ``distance``.
    """
    return np.clip(0.5 - distance / pixel, 0, 1)


class Patch(NamedTuple):
    """The pixels around a moving box: where they are in the frame and in the box.

    Letters: h, w rows and columns of the patch, the same in every frame.
    """

    rows_Th: np.ndarray  # int, in the frame
    cols_Tw: np.ndarray
    x_Tw: np.ndarray  # float32, in the box: -1 to 1 between its sides
    y_Th: np.ndarray
    pixel_T: np.ndarray  # side of a pixel in the units of x and y

    def distance_Thw(self, kind: str) -> np.ndarray:
        """Signed distance of each pixel's centre to the outline of ``kind``."""
        return signed_distance(kind, self.x_Tw[:, None, :], self.y_Th[:, :, None])

    def coverage_Thw(self, distance_Thw: np.ndarray) -> np.ndarray:
        """How much of each pixel the shape covers."""
        return coverage(distance_Thw, self.pixel_T[:, None, None])

    @property
    def at(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Indexes ``video_THW`` to give the patch, (T, h, w)."""
        T = len(self.rows_Th)
        return np.arange(T)[:, None, None], self.rows_Th[:, :, None], self.cols_Tw[:, None, :]


def patch(box_T4: np.ndarray, height: int, width: int) -> Patch:
    """The smallest patch of a (height, width) clip that holds the box and a pixel of soft edge.

    ``box_T4``: centre x, centre y, width, height in fractions of the frame.
    """
    scale = np.array([width, height, width, height], np.float32)
    cx_T, cy_T, w_T, h_T = (np.asarray(box_T4, np.float32) * scale).T
    w, h = (min(n, math.ceil(s.max()) + 3) for n, s in ((width, w_T), (height, h_T)))
    left_T, top_T = (
        np.clip(np.floor(c - s / 2).astype(int) - 1, 0, n)
        for c, s, n in ((cx_T, w_T, width - w), (cy_T, h_T, height - h))
    )
    cols_Tw, rows_Th = left_T[:, None] + np.arange(w), top_T[:, None] + np.arange(h)
    x_Tw = ((cols_Tw + 0.5 - cx_T[:, None]) * (2 / w_T[:, None])).astype(np.float32)
    y_Th = ((rows_Th + 0.5 - cy_T[:, None]) * (2 / h_T[:, None])).astype(np.float32)
    return Patch(rows_Th, cols_Tw, x_Tw, y_Th, 2 / np.sqrt(w_T * h_T))
