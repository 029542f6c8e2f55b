"""Scripts in files, and the pictures and clips that they name, cut to the frame and to the shot."""

import pathlib

import numpy as np
from jaxtyping import UInt8

from jaxvid.data import decode, transforms
from jaxvid.document import read_file
from jaxvid.script import Picture, Script, from_json
from jaxvid.typing import UserError

_IMAGES = (".png", ".jpg", ".jpeg", ".bmp")  # gif and webp may move: they are read as clips


def load_script(path: str | pathlib.Path) -> Script:
    """The script in a JSON file. Raises UserError for anything else."""
    path = pathlib.Path(path)
    try:
        return from_json(read_file(path))
    except UserError as error:
        raise UserError(f"{path}: {error}") from None


def shot_backdrop(
    script: Script, scene: int, shot: int, *, size: tuple[int, int], folder: pathlib.Path | None
) -> UInt8[np.ndarray, "S H W 3"] | None:
    """What a shot stands before where its scene names a file, as ``read_backdrop`` has it; None
    elsewhere. A clip goes on from shot to shot of its scene. Raises UserError as that does.
    """
    place, shots = script.scenes[scene].background, script.scenes[scene].shots
    if not isinstance(place, Picture):
        return None
    return read_backdrop(
        folder,
        place.image,
        size=size,
        frames=shots[shot].frames,
        fps=script.fps,
        start=sum(before.frames for before in shots[:shot]),
    )


def read_backdrop(
    folder: pathlib.Path | None,
    reference: str,
    *,
    size: tuple[int, int],
    frames: int,
    fps: float,
    start: int = 0,
) -> UInt8[np.ndarray, "S H W 3"]:
    """What stands behind a shot: ``frames`` frames of a clip, or the one of an image.

    ``folder`` is the script's, ``reference`` a path in it. The middle of the picture covers
    ``size``, (height, width), in its own proportions. A clip keeps its speed, shows at each of the
    shot's frames what it shows at that time, ``start`` frames after its beginning, and begins again
    where it ends.

    Raises UserError where there is no folder, and for a file that is outside of it (also through a
    link), missing, not decodable, or larger than ``data.decode`` takes.
    """
    name = f"background {ascii(reference)}"
    path = _locate(folder, reference, name)
    H, W = size
    try:
        if path.suffix.lower() in _IMAGES:
            return _cover(decode.read_image(path)[None], H, W)
        # the decoder cuts to a square as it reads, which spares the memory of the whole frames
        video_THWC, rate = decode.read_video(
            path, resolution=H if H == W else None, fps=fps, max_frames=start + frames
        )
    except decode.BadVideo as error:
        raise UserError(f"{name}: {error.reason}; use another image or clip") from error
    shown_T = np.floor((start + np.arange(frames)) * (rate / fps) + 1e-6).astype(int)
    covered_SHWC = _cover(video_THWC, H, W)
    return covered_SHWC if len(covered_SHWC) == 1 else covered_SHWC[shown_T % len(covered_SHWC)]


def _locate(folder: pathlib.Path | None, reference: str, name: str) -> pathlib.Path:
    """The file that is meant, links followed; UserError where it may not be read."""
    if folder is None:
        raise UserError(
            f"{name}: a script without a file has no folder to look in; "
            "load the script from a file, or name a background"
        )
    try:
        path = (folder / reference).resolve()
        if not path.is_relative_to(folder.resolve()):
            raise UserError(f"{name}: is outside of the script's folder; copy the file beside it")
        found = path.is_file()
    except (OSError, ValueError, RuntimeError):  # too long, with a null byte, links in a circle
        found = False
    if not found:
        raise UserError(f"{name}: there is no such file in {folder}; put it there, or name another")
    return path


def _cover(video_THWC: np.ndarray, H: int, W: int) -> np.ndarray:
    """The middle part of the frames that has the proportions of H x W, in that size."""
    _, height, width, _ = video_THWC.shape
    rows = max(1, min(height, round(width * H / W)))
    cols = max(1, min(width, round(height * W / H)))
    top, left = (height - rows) // 2, (width - cols) // 2
    return transforms.resize(video_THWC[:, top : top + rows, left : left + cols], H, W)
