"""A finished clip, and how it becomes a file."""

import dataclasses
import pathlib

import numpy as np

from jaxvid.io.log import say
from jaxvid.io.media import atomic_write_text, check_video, write_video
from jaxvid.script import Script
from jaxvid.video import subtitles

WATCHABLE = 256  # pixels; smaller clips are enlarged by whole factors when they are saved


@dataclasses.dataclass(frozen=True, eq=False)
class Clip:
    """A finished clip: ``video`` (T,H,W,3) uint8 sRGB, and what it was made from."""

    video: np.ndarray
    fps: float
    prompt: str | None = None
    script: Script | None = None

    def save(
        self, path: str | pathlib.Path, *, scale: int | None = None, burn: bool = False
    ) -> pathlib.Path:
        """Writes mp4, gif or webp by the extension; narrations go beside it as ``.srt``.

        ``scale`` enlarges each pixel to a square of so many; None: to about 256 pixels of height.
        ``burn`` draws the narrations into the picture instead.
        """
        if scale is None:
            scale = max(1, WATCHABLE // self.video.shape[1])
        side, video = max(self.video.shape[1:3]), self.video
        path = check_video(path, fps=self.fps, scale=scale, side=side)
        cues = subtitles.srt(self.script) if self.script is not None else ""
        if burn and cues and self.script is not None:
            video = np.repeat(np.repeat(video, scale, axis=1), scale, axis=2)
            video, scale = subtitles.burn(video, self.script), 1
        write_video(path, video, fps=self.fps, scale=scale)
        beside = path.with_suffix(".srt")
        if cues and not burn:
            atomic_write_text(beside, cues)
        elif beside.exists():  # it may be anybody's
            say(f"{beside} is not of this film, and players show it; remove it")
        return path
