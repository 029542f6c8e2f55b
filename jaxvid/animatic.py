"""The animatic: a whole script drawn without a network, with its cameras and transitions."""

import pathlib

import numpy as np
from jaxtyping import UInt8

from jaxvid.assets import shot_backdrop
from jaxvid.data.render import render_shot
from jaxvid.script import Script
from jaxvid.typing import UserError
from jaxvid.video.compose import edit

MAX_PIXELS = 1 << 29  # over all frames: some gigabytes of memory


def animatic(
    script: Script, *, folder: pathlib.Path | None = None, size: tuple[int, int] | None = None
) -> UInt8[np.ndarray, "T H W 3"]:
    """All shots of a script in their order, exactly ``script.frames`` frames of sRGB.

    ``folder`` is where the script's pictures are, ``size`` height and width in pixels, the script's
    own if None. Narration is not drawn; see ``video.subtitles``. Raises UserError for a picture
    that cannot be used, and for more than ``MAX_PIXELS``.
    """
    size = size or script.size
    H, W = size
    if script.frames * H * W > MAX_PIXELS:
        raise UserError(
            f"script: {script.frames} frames of {H} x {W} pixels are too many to draw; "
            f"{MAX_PIXELS:,} pixels in all are the most: lower size or frames"
        )
    shots = []
    for i, scene in enumerate(script.scenes):
        for j in range(len(scene.shots)):
            backdrop_SHWC = shot_backdrop(script, i, j, size=size, folder=folder)
            shots.append(render_shot(script, i, j, size=size, backdrop=backdrop_SHWC))
    return edit(script, shots)
