"""Films (mp4, mkv, avi, webm, mov), animations (gif, webp) and numbered images as arrays.

Films are decoded by PyAV directly: imageio's plugin for it runs the garbage collector at every
close, which in a JAX process costs more than decoding a small clip, and cannot scale inside the
decoder. GIF, WebP and images are decoded by Pillow, as in imageio. The content decides, not the
file name. Whatever is wrong with a file, the answer is ``BadVideo`` with the path and the reason;
where the machine cannot read it now, a plain UserError.
"""

import fractions
import io
import math
import os
import pathlib
import re
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

import numpy as np

from jaxvid.data import containers, transforms
from jaxvid.data.containers import BadVideo as BadVideo
from jaxvid.data.containers import brief, check_machine
from jaxvid.typing import UserError

VIDEO_SUFFIXES = (".mp4", ".mkv", ".avi", ".webm", ".mov", ".m4v", ".gif", ".webp")
IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".webp")
MAX_PIXELS = 2**25  # of a frame: 8K is just below
MAX_BYTES = 2**30  # of the frames that are returned
MAX_ANIMATION = 2**30  # pixels of all frames of a gif or webp: Pillow decodes no faster
MAX_HOLD = 600.0  # seconds that one frame may stand
MAX_FPS = 1000.0
IMAGE_FPS = 8.0  # of numbered images, which do not say

# What FFmpeg may open: films only, never playlists, which name other files or addresses; and no
# formats made for broadcasts, such as MPEG-TS, in which nobody can tell whether frames are missing.
_DEMUXERS = "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi"
# Decoders say what they find damaged, and do not paint over it.
_STRICT = {"err_detect": "explode+crccheck+bitstream+buffer"}
_PICTURES = ("PNG", "JPEG", "BMP", "WEBP", "GIF")


class _Frame(NamedTuple):
    time: float  # seconds
    duration: float
    pixels: Callable[[], np.ndarray]  # (H,W,3) uint8; called only for frames that are kept


class _Film(NamedTuple):
    fps: float | None  # as the header claims, None where it makes no sense
    frames: Iterator[_Frame]


def read_video(
    path: str | pathlib.Path,
    *,
    resolution: int | None = None,
    fps: float | int | None = None,
    max_frames: int | None = None,
) -> tuple[np.ndarray, float]:
    """Reads a file or a folder of images: ``(T,H,W,3)`` uint8 sRGB, and its frames a second.

    ``resolution``: scale the short side to it and crop the middle square, while decoding.
    ``fps``: a source that is faster anywhere is resampled to it by its time stamps; a slower one
    keeps its own rate.
    ``max_frames``: read no more than the first ones.
    Transparent parts become white; rotated films (phones) are turned upright.
    A film comes whole or not at all: one of which packets or frames are missing is refused, but for
    what an edit list leaves out, and for frames before the first that can be decoded.
    Raises BadVideo for everything that cannot be decoded, before decoding where the header tells,
    and UserError where the machine cannot read it now (no permission, a fault of the disk).
    """
    path = pathlib.Path(path)
    try:
        film = _open(path, resolution, max_frames or MAX_BYTES)
        try:
            return _collect(path, film, fps, max_frames)
        except _Faster:
            film = _open(path, resolution, max_frames or MAX_BYTES)._replace(fps=None)
            return _collect(path, film, fps, max_frames)
    except UserError:
        raise
    except ModuleNotFoundError as error:
        raise UserError(
            f"reading videos needs PyAV and Pillow; pip install av pillow ({error})"
        ) from None
    except Exception as error:  # decoders raise anything: six types were seen in 240 damaged files
        check_machine(path, error)
        raise BadVideo(path, f"cannot be decoded ({brief(error)}); replace or remove it") from error


def read_image(source: str | pathlib.Path | bytes) -> np.ndarray:
    """Reads an image file, or its bytes, into ``(H,W,3)`` uint8 sRGB, upright. Raises BadVideo."""
    from PIL import ImageOps

    name = "image" if isinstance(source, bytes) else source
    if not isinstance(source, bytes) and not os.path.isfile(source):
        raise BadVideo(name, "no such image file")
    try:
        with _open_picture(source) as picture:
            return _flatten(ImageOps.exif_transpose(picture))
    except UserError:
        raise
    except Exception as error:
        check_machine(name, error)
        raise BadVideo(name, f"cannot be read as an image ({brief(error)})") from error


def numbered_images(folder: pathlib.Path) -> list[pathlib.Path]:
    """The images of a folder in order, if all their names end in a number; [] otherwise."""
    images = [
        file
        for file in folder.iterdir()
        if file.suffix.lower() in IMAGE_SUFFIXES
        and not file.name.startswith(".")
        and file.is_file()
    ]
    numbers = {file: re.findall(r"\d+", file.stem)[-1:] for file in images}
    if not images or not all(n and file.stem.endswith(n[0]) for file, n in numbers.items()):
        return []
    if images[0].suffix.lower() == ".webp" and any(map(_is_animation, images)):
        return []  # a folder of short animations, each its own clip
    return sorted(images, key=lambda file: (int(numbers[file][0]), file.name))


def _open(path: pathlib.Path, resolution: int | None, wanted: int) -> _Film:
    if os.path.isdir(path):
        return _open_folder(path, resolution)
    if not os.path.isfile(path):
        raise BadVideo(path, "no such file")
    with path.open("rb") as file:
        head = file.read(12)
    if not head:
        raise BadVideo(path, "the file is empty")
    if head[:4] == b"GIF8" or (head[:4] == b"RIFF" and head[8:12] == b"WEBP"):
        return _open_animation(path, resolution, wanted)
    return _open_film(path, resolution, wanted)


class _Faster(Exception):
    """In some part a film has more frames a second than on average, and than are wanted."""


def _collect(
    path: pathlib.Path, film: _Film, fps: float | int | None, max_frames: int | None
) -> tuple[np.ndarray, float]:
    resample = fps is not None and (film.fps is None or film.fps > fps * 1.001)
    kept: list[np.ndarray] = []
    times: list[float] = []
    size = 0
    as_they_are = ((frame.time, frame.pixels()) for frame in film.frames)
    for time, frame_HWC in _hold(film.frames, fps) if resample and fps else as_they_are:
        size += frame_HWC.nbytes
        if size > MAX_BYTES:
            raise BadVideo(
                path, f"is over {MAX_BYTES >> 30} GiB decoded; cut it into shorter clips"
            )
        if kept and frame_HWC.shape != kept[0].shape:
            raise BadVideo(path, f"frame {len(kept)} has another size than the first frame")
        if fps and not resample and times and 0 < time - times[-1] < 1 / fps - 3e-3:
            raise _Faster
        kept.append(frame_HWC)
        times.append(time)
        if max_frames is not None and len(kept) >= max_frames:
            break
    if not kept:
        raise BadVideo(path, "has no frames")
    video_THWC = np.empty((len(kept), *kept[0].shape), np.uint8)
    for t in reversed(range(len(video_THWC))):  # giving back the memory of each as it is copied
        video_THWC[t] = kept.pop()
    return video_THWC, float(fps) if resample and fps else _rate(film.fps, times)


def _hold(frames: Iterable[_Frame], fps: float | int) -> Iterator[tuple[float, np.ndarray]]:
    """What is on screen at 0, 1/fps, 2/fps...: each frame stands until the next one comes."""
    k, origin, shown = 0, 0.0, None
    for frame in frames:
        if shown is None:
            origin = frame.time
        elif origin + k / fps < frame.time - 2e-3:  # some containers round to milliseconds
            frame_HWC = shown.pixels()
            while origin + k / fps < frame.time - 2e-3:
                yield k / fps, frame_HWC
                k += 1
        shown = frame
    while shown is not None and (k == 0 or origin + k / fps < shown.time + shown.duration - 2e-3):
        yield k / fps, shown.pixels()
        k += 1


def _rate(claimed: float | None, times: list[float]) -> float:
    """The header's frame rate where the time stamps bear it out, else theirs."""
    span = times[-1] - times[0]
    measured = (len(times) - 1) / span if span > 0 else None
    if claimed is not None and (measured is None or abs(measured / claimed - 1) < 0.1):
        return claimed
    return min(measured, MAX_FPS) if measured else IMAGE_FPS


def _check_size(path: object, width: int, height: int) -> None:
    if width < 1 or height < 1:
        raise BadVideo(path, f"has an impossible frame size of {width} x {height}")
    if width * height > MAX_PIXELS:
        raise BadVideo(
            path, f"frames of {width} x {height} are too large; at most {MAX_PIXELS} pixels"
        )


def _check_total(path: object, height: int, width: int, frames: float | int) -> None:
    if height * width * 3 * frames > MAX_BYTES:
        raise BadVideo(
            path,
            f"{frames:.0f} frames of {width} x {height} are over {MAX_BYTES >> 30} GiB decoded;"
            " cut it, or read it at a lower resolution",
        )


def _open_film(path: pathlib.Path, resolution: int | None, wanted: int) -> _Film:
    import av

    # "file:" keeps FFmpeg from taking a colon in the name for a protocol
    container = av.open(f"file:{path}", options={"format_whitelist": _DEMUXERS})
    try:
        streams = container.streams.video
        if not streams:
            raise BadVideo(path, "has no video, only sound or data")
        stream = streams[0]
        stream.codec_context.options = _STRICT
        _check_size(path, stream.codec_context.width, stream.codec_context.height)
        fps = _plausible(stream.average_rate) or _plausible(stream.guessed_rate)
        if resolution is None:
            length = stream.frames or (container.duration or 0) / 1e6 * (fps or 0)
            height, width = stream.codec_context.height, stream.codec_context.width
            _check_total(path, height, width, min(length, wanted))
    except BaseException:
        container.close()
        raise
    return _Film(fps, _film_frames(path, container, resolution, fps or IMAGE_FPS))


def _plausible(rate: fractions.Fraction | None) -> float | None:
    value = float(rate) if rate else 0.0
    return value if math.isfinite(value) and 1 / MAX_HOLD <= value <= MAX_FPS else None


def _film_frames(
    path: pathlib.Path, container: Any, resolution: int | None, fps: float
) -> Iterator[_Frame]:
    with container:
        times: list[float] = []
        size = None
        tally = containers.Tally(container.streams.video[0])
        for packet in container.demux(tally.stream):
            tally.add(packet)
            for frame in packet.decode():
                _check_size(path, frame.width, frame.height)  # it may change on the way
                size = size or (frame.width, frame.height)
                # AVI knows no times of presentation, and those that FFmpeg makes up go to and fro
                stamp = frame.dts if container.format.name == "avi" else frame.pts
                after = times[-1] + 1 / fps if times else 0.0
                time = after if stamp is None else float(stamp * frame.time_base)
                if frame.is_corrupt:
                    raise BadVideo(path, f"is damaged at frame {len(times)}; replace or remove it")
                _check_time(path, time, times)
                times.append(time)
                tally.frames += 1
                tally.early += frame.pts is not None and frame.pts < tally.first
                yield _Frame(times[-1], 1 / fps, _scaler(path, frame, size, resolution))
        tally.check(path)


def _check_time(path: pathlib.Path, time: float, times: list[float]) -> None:
    if times and time < times[-1] - 0.25:
        raise BadVideo(path, f"its time stamps run backwards at frame {len(times)}")
    if times and time > times[-1] + MAX_HOLD:
        wait = f"over {MAX_HOLD:.0f} seconds after the one before"
        raise BadVideo(path, f"frame {len(times)} comes {wait}: its time stamps are damaged")


def _scaler(
    path: pathlib.Path, frame: Any, size: tuple[int, int], resolution: int | None
) -> Callable[[], np.ndarray]:
    def pixels() -> np.ndarray:
        width, height = size
        if resolution is not None:
            scale = resolution / min(width, height)
            width, height = (max(resolution, round(side * scale)) for side in (width, height))
            _check_size(path, width, height)
        shrinks = width < frame.width
        blocks = shrinks and not (frame.width % width or frame.height % height)
        gray = frame.to_ndarray(format="gray")[..., None] if blocks else None
        if gray is not None and transforms.before_enlarging(gray, height, width) is not None:
            rgb = transforms.resize(frame.to_ndarray(format="rgb24")[None], height, width)[0]
        else:
            rgb = frame.reformat(
                width=width,
                height=height,
                format="rgb24",
                interpolation="AREA" if shrinks else "BICUBIC",
            ).to_ndarray()
        if resolution is not None:
            rgb = transforms.centre_square(rgb[None])[0]
        turns = round(getattr(frame, "rotation", 0) / 90)
        return np.ascontiguousarray(np.rot90(rgb, turns)) if turns else rgb

    return pixels


def _open_animation(path: pathlib.Path, resolution: int | None, wanted: int) -> _Film:
    with _open_picture(path) as picture:
        width, height = picture.size
    delays = containers.animation_delays(path)
    count = min(len(delays), wanted)
    side = resolution or 0
    _check_total(path, side or height, side or width, count)
    if width * height * count > MAX_ANIMATION:
        raise BadVideo(path, f"{count} frames of {width} x {height} are too many to decode; cut it")
    total = sum(delays)
    fps = _plausible(fractions.Fraction(len(delays) / total)) if total > 0 else None
    return _Film(fps, _animation_frames(path, resolution, delays))


def _animation_frames(
    path: pathlib.Path, resolution: int | None, delays: list[float]
) -> Iterator[_Frame]:
    time = 0.0
    with _open_picture(path) as picture:
        if (found := getattr(picture, "n_frames", 1)) != len(delays):
            raise BadVideo(path, f"is damaged: {found} of {len(delays)} frames can be read")
        for i, delay in enumerate(delays):
            picture.seek(i)
            frame_HWC = _flatten(picture)
            if resolution is not None:
                frame_HWC = transforms.fit(frame_HWC[None], resolution)[0]
            yield _Frame(time, delay, lambda frame_HWC=frame_HWC: frame_HWC)  # type: ignore[misc]
            time += delay


def _open_folder(path: pathlib.Path, resolution: int | None) -> _Film:
    files = numbered_images(path)
    if not files:
        raise BadVideo(path, "is a folder without numbered images, such as 000.png, 001.png")

    def load(file: pathlib.Path) -> np.ndarray:
        frame_HWC = read_image(file)
        return frame_HWC if resolution is None else transforms.fit(frame_HWC[None], resolution)[0]

    frames = (
        _Frame(i / IMAGE_FPS, 1 / IMAGE_FPS, lambda file=file: load(file))  # type: ignore[misc]
        for i, file in enumerate(files)
    )
    return _Film(IMAGE_FPS, frames)


def _open_picture(source: str | pathlib.Path | bytes) -> Any:
    from PIL import Image

    target = io.BytesIO(source) if isinstance(source, bytes) else source
    picture = Image.open(target, formats=_PICTURES)  # reads the header only
    try:
        _check_size("image" if isinstance(source, bytes) else source, *picture.size)
    except BaseException:
        picture.close()
        raise
    return picture


def _flatten(picture: Any) -> np.ndarray:
    """Pillow's current frame as (H,W,3) uint8 on white."""
    from PIL import Image

    if picture.mode.startswith("I"):  # 16 bits of grey, which Pillow would clip, not scale
        grey_HW = (np.asarray(picture).astype(np.int64) >> 8).clip(0, 255).astype(np.uint8)
        return np.repeat(grey_HW[..., None], 3, axis=-1)
    if picture.has_transparency_data:
        rgba = picture.convert("RGBA")
        white = Image.new("RGBA", rgba.size, (255, 255, 255, 255))
        picture = Image.alpha_composite(white, rgba)
    return np.array(picture.convert("RGB"))


def _is_animation(file: pathlib.Path) -> bool:
    with file.open("rb") as stream:
        head = stream.read(21)
    return len(head) == 21 and head[12:16] == b"VP8X" and bool(head[20] & 2)
