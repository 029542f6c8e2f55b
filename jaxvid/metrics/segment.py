"""Which palette colours a clip is made of, and how much of each pixel each of them covers.

Works in a plane of chroma, orthogonal to grey, with the background's chroma as the origin: there
an antialiased edge lies on the straight line between a colour and the origin, whatever the pattern
of the background, and shading moves a colour along its line only.

Letters beyond the legend: K colours, P points.
"""

import numpy as np

from jaxvid import shapes

_SIDE = 32  # pixels that are enough: larger clips are averaged down to about this
_FAINT = 45.0  # chroma below which a pixel may be background
_STRONG = 35.0  # distance from the background's chroma at which a pixel has a colour of its own
_SHADE = 0.93  # mean brightness of a shaded entity
_PRESENT = 1.0  # pixels a frame that a colour needs to be considered
_GAIN = 3.0  # pixels a frame that a second colour must explain better than the first
_NOISE, _FOREIGN = 12.0, 52.0  # distance in chroma that is nothing, and that is another colour

# Two axes of chroma, orthogonal to grey and of unit length.
_TO_CHROMA = np.array([[2, 0], [-1, 3**0.5], [-1, -(3**0.5)]], np.float32) / np.float32(6**0.5)
_PALETTE = shapes.PALETTE.astype(np.float32) @ _TO_CHROMA * _SHADE


def segment(video_THWC: np.ndarray) -> tuple[list[int], np.ndarray, np.ndarray]:
    """Indices of the one or two colours in a clip, the larger mass first, and their masks.

    Returns:
      Indices into ``script.COLORS``; smooth masks (K,T,H,W) for edges, which noise would move;
      crisp masks for whatever averages over time. Both run from 0 to about 1, and H, W are those of
      the clip averaged down to about 32 pixels. Nothing is found in a clip without colour.
    """
    crisp_THW2 = _shrink(video_THWC) @ _TO_CHROMA
    smooth_THW2 = _smooth(crisp_THW2)
    ground_2 = _ground(smooth_THW2)
    crisp_THW2, smooth_THW2 = crisp_THW2 - ground_2, smooth_THW2 - ground_2
    colors = _colors(smooth_THW2, ground_2)
    if not colors:
        return [], np.zeros((0,)), np.zeros((0,))
    palette_K2 = _PALETTE[colors] - ground_2
    smooth_KTHW = np.clip((_shares(smooth_THW2, palette_K2) - 0.12) / 0.8, 0, 1)
    return colors, smooth_KTHW, np.clip(_shares(crisp_THW2, palette_K2) - 0.03, 0, 1.2)


def _shrink(video_THWC: np.ndarray) -> np.ndarray:
    """Averages large clips down, so that time and thresholds do not depend on resolution."""
    T, H, W, C = video_THWC.shape
    f = max(1, min(H, W) // _SIDE)
    if f == 1:
        return video_THWC.astype(np.float32)
    tiles = video_THWC[:, : H // f * f, : W // f * f].reshape(T, H // f, f, W // f, f, C)
    return tiles.mean((2, 4), dtype=np.float32)


def _smooth(x_THW2: np.ndarray) -> np.ndarray:
    """Weights 1 2 1 over rows and columns."""
    for axis in (1, 2):
        pad = [(1, 1) if i == axis else (0, 0) for i in range(4)]
        p = np.pad(x_THW2, pad, "edge").swapaxes(0, axis)
        x_THW2 = ((p[:-2] + 2 * p[1:-1] + p[2:]) / 4).swapaxes(0, axis)
    return x_THW2


def _ground(chroma_THW2: np.ndarray) -> np.ndarray:
    """Chroma of the background: our patterns vary in brightness much more than in chroma."""
    faint_P2 = chroma_THW2[np.hypot(chroma_THW2[..., 0], chroma_THW2[..., 1]) < _FAINT]
    return np.median(faint_P2, axis=0) if len(faint_P2) > 50 else np.zeros(2, np.float32)


def _colors(d_THW2: np.ndarray, ground_2: np.ndarray) -> list[int]:
    """The one or two palette colours that the clip is made of; ``d`` is relative to its ground."""
    T = len(d_THW2)
    amount_THW = np.hypot(d_THW2[..., 0], d_THW2[..., 1])
    strong_THW = amount_THW > _STRONG
    points_P2 = d_THW2[strong_THW]
    palette_K2 = _PALETTE - ground_2
    direction_K2 = palette_K2 / np.linalg.norm(palette_K2, axis=1, keepdims=True)
    label_P = (points_P2 @ direction_K2.T).argmax(1)
    mass_K = np.bincount(label_P, np.minimum(amount_THW[strong_THW] / 100, 1), len(palette_K2))
    if mass_K.max() < _PRESENT * T:
        return []
    first = int(mass_K.argmax())
    # Where two entities meet, their mixture has the hue of a third colour (red and yellow: orange).
    # So the second is not the one with most pixels but the one that, with the first, leaves least.
    rest = _unexplained(points_P2, palette_K2[[first]])
    best, gain = first, _GAIN * T
    for other in np.flatnonzero(mass_K > _PRESENT * T):
        if other != first:
            less = rest - _unexplained(points_P2, palette_K2[[first, other]])
            if less > gain:
                best, gain = int(other), less
    return [first] if best == first else [first, best]


def _unexplained(points_P2: np.ndarray, palette_K2: np.ndarray) -> float:
    """Pixels that are no mixture of two of: the one or two colours, and the ground (the origin)."""
    corners = [(np.zeros(2), 1.15 * color_2) for color_2 in palette_K2]  # may be a little brighter
    if len(palette_K2) == 2:
        corners.append((palette_K2[0], palette_K2[1]))
    error_P = np.full(len(points_P2), np.inf)
    for start_2, end_2 in corners:  # distance to the line between them
        way_2 = end_2 - start_2
        along_P = np.clip((points_P2 - start_2) @ way_2 / (way_2 @ way_2), 0, 1)
        miss_P2 = points_P2 - start_2 - along_P[:, None] * way_2
        error_P = np.minimum(error_P, np.hypot(miss_P2[:, 0], miss_P2[:, 1]))
    return float(np.clip((error_P - _NOISE) / (_FOREIGN - _NOISE), 0, 1).sum())


def _shares(d_THW2: np.ndarray, palette_K2: np.ndarray) -> np.ndarray:
    """How much of each pixel each colour covers, (K,T,H,W): 0 to about 1, which is its inside."""
    norm_K = np.linalg.norm(palette_K2, axis=1)
    alone = [d_THW2 @ (color_2 / n**2) for color_2, n in zip(palette_K2, norm_K, strict=True)]
    if len(alone) == 2:
        first = alone[0] * norm_K[0] > alone[1] * norm_K[1]  # whose hue is nearer
        (ax, ay), (bx, by) = palette_K2
        det = ax * by - ay * bx
        if abs(det) > 0.34 * norm_K[0] * norm_K[1]:  # over 20 degrees apart
            det = det if abs(det) > 1 else 1.0
            x, y = d_THW2[..., 0], d_THW2[..., 1]  # (x, y) = a first + b second
            a, b = (x * by - y * bx) / det, (ax * y - ay * x) / det
            # outside of the sector between the two hues a pixel belongs to the nearer one
            alone = [np.where(b < 0, alone[0], a), np.where(a < 0, alone[1], b)]
            outside = (a < 0) | (b < 0)
            alone = [
                np.where(outside & ~first, 0, alone[0]),
                np.where(outside & first, 0, alone[1]),
            ]
        else:  # opposite hues: the mixture is grey and cannot be told from background
            alone = [np.where(first, alone[0], 0), np.where(first, 0, alone[1])]
    shares = []
    for share_THW in alone:
        inside_P = share_THW[share_THW > 0.5]
        shares.append(share_THW / (np.percentile(inside_P, 60) if len(inside_P) else 1.0))
    return np.stack(shares)
