"""The analytic renderer: a script in, its pixels out, at any resolution and length.

Every pixel follows from the script: entities are drawn from their signed distances
(``jaxvid.shapes``) with one-pixel antialiasing, backgrounds are fixed functions of position.
Colours are blended in sRGB. Letters beyond the legend: h, w as in ``shapes.Patch``.
"""

import functools

import numpy as np
from jaxtyping import Float32, UInt8

from jaxvid import shapes
from jaxvid.script import KINDS, Fill, Picture, Script, tracks
from jaxvid.shapes import PALETTE
from jaxvid.typing import UserError

__all__ = ["BACKGROUND_TONES", "PALETTE", "background", "render", "render_shot"]

# tone -> sRGB of the plain background and of its accent (lower end of the gradient, lines, dark of
# the texture). Low saturation throughout, so that a saturated entity stands out on all of them.
BACKGROUND_TONES = {
    "light": ((236, 238, 241), (196, 202, 211)),
    "dark": ((50, 53, 62), (26, 28, 35)),
    "warm": ((233, 214, 190), (206, 181, 154)),
    "cool": ((126, 143, 162), (91, 107, 127)),
}
BLOCK = 64  # frames that are drawn at once, in floats
_CELLS = 4  # of the grid, over height and width
_LATTICE = ((5, 0.65), (11, 0.35))  # of the texture: knots over the frame, share of the amplitude
_LIGHT = (1.05, 0.83)  # brightness of an entity at its top and bottom
_RIM = (0.11, 0.78)  # soft darker outline: its width in half boxes, its brightness


def render(
    script: Script, *, resolution: int | tuple[int, int] | None = None, frames: int | None = None
) -> UInt8[np.ndarray, "T H W 3"]:
    """The clip of a script: all its shots, cut to cut, as a camera sees them that stands still.

    Args:
      resolution: pixels, a number for a square or (height, width); the script's ``size`` if None.
      frames: of the whole clip, each shot keeping its share of the time; the script's own if None.

    Returns:
      sRGB from 0 to 255.
    """
    H, W = (resolution, resolution) if isinstance(resolution, int) else resolution or script.size
    total = script.frames if frames is None else frames
    clips, done = [], 0
    for i, scene in enumerate(script.scenes):
        for j, shot in enumerate(scene.shots):
            # ends of shots are rounded, not their lengths, so that the whole keeps its length
            first, last = (round(n * total / script.frames) for n in (done, done + shot.frames))
            done += shot.frames
            if last > first:
                clips.append(render_shot(script, i, j, size=(H, W), frames=last - first))
    return np.concatenate(clips) if len(clips) > 1 else clips[0]


def render_shot(
    script: Script,
    scene: int,
    shot: int,
    *,
    size: tuple[int, int] | None = None,
    frames: int | None = None,
    backdrop: UInt8[np.ndarray, "S H W 3"] | None = None,
) -> UInt8[np.ndarray, "T H W 3"]:
    """The clip of one shot, as a camera sees it that stands still.

    Args:
      scene: its position in the script; ``shot``: its position in the scene.
      size: height and width in pixels; the script's own if None.
      frames: resamples the shot to another length; its own if None.
      backdrop: what stands behind the actors instead of the scene's background, in that size: a
        frame for each frame of the shot, or one for all.

    Returns:
      sRGB from 0 to 255. Raises UserError for a scene before a picture without a ``backdrop``.
    """
    boxes_TN4, visible_TN, attributes_N3, _ = tracks(script, scene, shot, frames=frames)
    T, (H, W) = len(boxes_TN4), size or script.size
    behind_SHWC = _backdrop(script, scene, H, W)[None] if backdrop is None else backdrop
    film_THWC = np.empty((T, H, W, 3), np.uint8)
    for start in range(0, T, BLOCK):
        part = slice(start, start + BLOCK)
        canvas_THWC = np.empty(film_THWC[part].shape, np.float32)
        canvas_THWC[:] = behind_SHWC if len(behind_SHWC) == 1 else behind_SHWC[part]
        for n, (kind, color, _) in enumerate(attributes_N3):
            on_T = np.flatnonzero(visible_TN[part, n])
            box_T4 = boxes_TN4[part, n][on_T]
            if kind and len(on_T):
                _draw(canvas_THWC, KINDS[kind - 1], PALETTE[color - 1], box_T4, on_T)
        film_THWC[part] = canvas_THWC + np.float32(0.5)
    return film_THWC


def _backdrop(script: Script, scene: int, H: int, W: int) -> np.ndarray:
    """What stands behind the actors of a scene, (H,W,3) float32; UserError for a picture."""
    place = script.scenes[scene].background
    if isinstance(place, Fill):
        return np.full((H, W, 3), place.color, np.float32)
    if isinstance(place, Picture):
        raise UserError(
            f"script: scenes[{scene}].background: {place.image!r} is not drawn here; "
            "give it as backdrop, or name a background"
        )
    return background(place, H, W)


def _draw(
    canvas_THWC: np.ndarray, kind: str, rgb_3: np.ndarray, box_T4: np.ndarray, on_T: np.ndarray
) -> None:
    """Blends one actor into the frames ``on_T`` of a clip, in place; only around its box."""
    _, H, W, _ = canvas_THWC.shape
    patch = shapes.patch(box_T4, H, W)
    at = (on_T[:, None, None], *patch.at[1:])
    distance_Thw = patch.distance_Thw(kind)
    alpha_Thw = patch.coverage_Thw(distance_Thw)
    top, bottom = _LIGHT
    light_Th = top + np.clip((patch.y_Th + 1) / 2, 0, 1) * np.float32(bottom - top)
    width, rim = _RIM
    rim_Thw = 1 - (1 - rim) * np.clip(1 + distance_Thw / np.float32(width), 0, 1)
    light_Thw = light_Th[:, :, None] * rim_Thw
    color_ThwC = np.minimum(light_Thw[..., None] * rgb_3.astype(np.float32), 255)

    under_ThwC = canvas_THWC[at]
    canvas_THWC[at] = under_ThwC + alpha_Thw[..., None] * (color_ThwC - under_ThwC)


@functools.lru_cache(maxsize=64)
def background(name: str, height: int, width: int) -> Float32[np.ndarray, "H W 3"]:
    """A background without entities, sRGB from 0 to 255, read-only (it is cached)."""
    tone, pattern = name.split("_")
    plain, accent = (np.array(rgb, np.float32) for rgb in BACKGROUND_TONES[tone])
    y_H, x_W = (np.arange(height) + 0.5) / height, (np.arange(width) + 0.5) / width
    if pattern == "gradient":
        mix_HW = np.broadcast_to(y_H[:, None], (height, width))
    elif pattern == "grid":
        mix_HW = np.maximum(_lines(y_H, height)[:, None], _lines(x_W, width)[None, :])
    elif pattern == "noise":
        octaves = [share * _value_noise(knots, y_H, x_W) for knots, share in _LATTICE]
        mix_HW = np.sum(octaves, axis=0)
    else:
        mix_HW = np.zeros((height, width))
    image_HWC = plain + np.asarray(mix_HW, np.float32)[..., None] * (accent - plain)
    image_HWC.setflags(write=False)
    return image_HWC


def _lines(at: np.ndarray, pixels: int) -> np.ndarray:
    """1 on the lines between the cells of the grid, 0 elsewhere, antialiased over a pixel.

    A line is 1/32 of the frame wide and begins where its cell does: whole pixels at 32, 64, 128.
    """
    line = np.arange(1, _CELLS) / _CELLS + 1 / 64
    distance = np.abs(at[:, None] - line).min(1)
    return np.clip((1 / 64 - distance) * pixels + 0.5, 0, 1)


def _value_noise(knots: int, y_H: np.ndarray, x_W: np.ndarray) -> np.ndarray:
    """Smooth noise from 0 to 1: random values at knots, interpolated by smoothstep."""
    values = np.random.default_rng(knots).random((knots + 2, knots + 2))

    def between(at: np.ndarray) -> np.ndarray:  # weights of the knots, one row a position
        index = np.floor(at * knots).astype(int)
        part = at * knots - index
        part = part * part * (3 - 2 * part)
        weights = np.zeros((len(at), knots + 2))
        weights[np.arange(len(at)), index] = 1 - part
        weights[np.arange(len(at)), index + 1] = part
        return weights

    return between(y_H) @ values @ between(x_W).T
