"""Writing clips and pictures: mp4 (H.264), gif, lossless webp, png grids.

Every file appears whole or not at all. Frame counts are exact, also where frames repeat: the GIF
and WebP writers behind imageio (Pillow, FFmpeg) merge equal neighbours into one, so both containers
are put together here from pictures that they compress one by one. H.264 goes to PyAV directly, as
imageio's plugin for it cannot set the quality: 35 dB against 41 on a clip of 256 x 256.
Letters: B clips, T frames, H, W pixels.
"""

import contextlib
import fractions
import io
import os
import pathlib
import tempfile
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from jaxtyping import UInt8

from jaxvid.typing import UserError, exit_code

Path = str | pathlib.Path
Video = UInt8[np.ndarray, "T H W 3"]

CRF = "10"  # of x264: 0 is lossless, 18 passes for it, 51 is the worst
MIN_FPS, MAX_FPS = 0.1, 240.0
MAX_NAME = 255  # bytes of a file's name
MAX_SIDE = 16_383  # of WebP


def write_video(path: Path, video_THWC: Video, *, fps: float | int, scale: int = 1) -> None:
    """Writes a clip; the extension says how: ``.mp4``, ``.gif`` or ``.webp``.

    ``scale`` enlarges every pixel to a square of so many, without blur: a clip of 32 x 32 pixels is
    best watched at ``scale=8``, and H.264, which keeps colour at half resolution, then keeps all.

    mp4: needs even sizes; where they are odd, the last row or column is repeated.
    gif: lossless where a frame has at most 256 colours, else the nearest of 256. Counts time in
        1/100 s: single delays are rounded, their sum is not.
    webp: lossless.

    Before anything is encoded, raises UserError for what ``check_video`` refuses, and no frames.
    """
    path = check_video(path, fps=fps, scale=scale, side=max(video_THWC.shape[1:3]))
    if 0 in video_THWC.shape:
        raise UserError(f"{path}: needs frames with pixels, not {video_THWC.shape}")
    video_THWC = np.repeat(np.repeat(video_THWC, scale, axis=1), scale, axis=2)
    with _atomic(path) as temporary:
        _WRITERS[path.suffix.lower()](temporary, video_THWC, fps)


def check_video(
    path: Path, *, fps: float | int, scale: int | None = None, side: int = 1
) -> pathlib.Path:
    """The path, if a clip can be written there. Call it before making the clip.

    ``side``: the longer one's pixels, before they are enlarged. Raises UserError for a path that
    cannot be written, an unknown extension, a ``scale`` under 1 or too large, and an ``fps`` out of
    range: 0.1 at least; 50 for gif, else 240, at most.
    """
    path = check_writable(path, kinds=tuple(_WRITERS))
    limit = 50.0 if path.suffix.lower() == ".gif" else MAX_FPS
    if not MIN_FPS <= fps <= limit:
        raise UserError(f"{path}: fps {fps} is out of range; use {MIN_FPS} to {limit:g}")
    if scale is not None and scale < 1:
        raise UserError(f"{path}: scale is {scale}; 1 leaves pixels as they are")
    if (longest := side * (scale or 1)) > MAX_SIDE:
        raise UserError(f"{path}: {longest} pixels a side are too many; at most {MAX_SIDE}")
    return path


def write_grid(
    path: Path,
    videos_BTHWC: UInt8[np.ndarray, "B T H W 3"],
    *,
    frames: int | None = None,
    scale: int = 1,
    gap: int = 2,
) -> None:
    """Writes a png with a row for each clip and its frames from left to right.

    ``frames``: show that many, evenly chosen, first and last included. ``gap``: white pixels
    between. Raises UserError for a path that cannot be written.
    """
    path = check_writable(path, kinds=(".png",))
    B, T, H, W, C = videos_BTHWC.shape
    if 0 in (B, T, H, W):
        raise UserError(f"{path}: needs clips with frames, not {videos_BTHWC.shape}")
    chosen = np.linspace(0, T - 1, min(T, frames or T)).round().astype(int)
    H, W = H * scale, W * scale
    grid_HWC = np.full((B * (H + gap) - gap, len(chosen) * (W + gap) - gap, C), 255, np.uint8)
    for b, video_THWC in enumerate(videos_BTHWC):
        for column, t in enumerate(chosen):
            frame_HWC = np.repeat(np.repeat(video_THWC[t], scale, axis=0), scale, axis=1)
            top, left = b * (H + gap), column * (W + gap)
            grid_HWC[top : top + H, left : left + W] = frame_HWC
    with _atomic(path) as temporary:
        temporary.write_bytes(_compress(grid_HWC, ".png"))


def check_writable(path: Path, *, kinds: tuple[str, ...] = ()) -> pathlib.Path:
    """The path, if a file can be written there. Call it before computing what should be written.

    ``kinds``: the extensions that are allowed; () for any. Raises UserError naming the fix.
    """
    with contextlib.suppress(RuntimeError):  # of a user that is not known
        path = pathlib.Path(path).expanduser()
    path = pathlib.Path(path)
    if kinds and path.suffix.lower() not in kinds:
        raise UserError(
            f"{path}: cannot write {path.suffix or 'without extension'}; use {', '.join(kinds)}"
        )
    if os.path.isdir(path):
        raise UserError(f"{path}: is a folder; name a file in it")
    if not os.path.isdir(path.parent):
        raise UserError(f"{path}: there is no folder {path.parent}; make it first")
    try:  # by doing it, since permissions do not tell of full or read-only disks
        with tempfile.NamedTemporaryFile(dir=path.parent, prefix=_hidden(path)):
            pass
        if len(os.fsencode(path.name)) > MAX_NAME or "\0" in path.name:
            raise ValueError(f"a name has at most {MAX_NAME} bytes, and no null")
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        fix = f"{path}: cannot be written ({reason}); choose another folder"
        raise UserError(fix, code=exit_code(error)) from None
    return path


def atomic_write_text(path: Path, text: str) -> None:
    """Writes UTF-8 text: readers see the old file or the new one, never a part of it."""
    atomic_write_bytes(path, text.encode("utf-8"))


def atomic_write_bytes(path: Path, data: bytes) -> None:
    """Writes bytes, whole or not at all."""
    with _atomic(check_writable(path)) as temporary:
        temporary.write_bytes(data)


def _hidden(path: pathlib.Path) -> str:
    """How the temporary file beside a path begins."""
    return f".{path.name[:40]}."


@contextlib.contextmanager
def _atomic(path: pathlib.Path) -> Iterator[pathlib.Path]:
    """A file beside ``path`` that takes its place when the block ends well, and vanishes if not."""
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=_hidden(path), suffix=".tmp")
    os.close(handle)
    temporary = pathlib.Path(name)
    try:
        yield temporary
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        mask = os.umask(0)
        os.umask(mask)
        temporary.chmod(0o666 & ~mask)  # mkstemp's files are for their owner only
        os.replace(temporary, path)
    except OSError as error:
        raise UserError(
            f"{path}: cannot be written ({error.strerror}); free space or choose another",
            code=exit_code(error),
        ) from error
    finally:
        temporary.unlink(missing_ok=True)


def _write_mp4(path: pathlib.Path, video_THWC: Video, fps: float | int) -> None:
    try:
        import av
    except ModuleNotFoundError:
        raise UserError("writing mp4 needs PyAV; pip install av, or write a .webp") from None
    _, H, W, _ = video_THWC.shape
    video_THWC = np.pad(video_THWC, ((0, 0), (0, H % 2), (0, W % 2), (0, 0)), mode="edge")
    # the index in front, so that a player can start before it has all
    with av.open(str(path), "w", format="mp4", options={"movflags": "faststart"}) as container:
        rate = fractions.Fraction(fps).limit_denominator(1001)
        stream = container.add_stream("libx264", rate=rate, options={"crf": CRF})
        stream.width, stream.height, stream.pix_fmt = W + W % 2, H + H % 2, "yuv420p"
        stream.codec_context.time_base = 1 / rate
        # what FFmpeg converts to, said aloud: players take untagged large videos for BT.709
        stream.codec_context.colorspace = av.video.reformatter.Colorspace.SMPTE170M
        stream.codec_context.color_range = av.video.reformatter.ColorRange.MPEG
        for t, frame_HWC in enumerate(video_THWC):
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(frame_HWC), format="rgb24")
            frame.pts, frame.time_base = t, 1 / rate
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


def _write_gif(path: pathlib.Path, video_THWC: Video, fps: float | int) -> None:
    _, H, W, _ = video_THWC.shape
    size = W.to_bytes(2, "little") + H.to_bytes(2, "little")
    with path.open("wb") as file:
        file.write(b"GIF89a" + size + b"\0\0\0")
        file.write(b"!\xff\x0bNETSCAPE2.0\x03\x01\0\0\0")  # repeat for ever
        for t, frame_HWC in enumerate(video_THWC):
            table, image = _gif_image(frame_HWC)
            bits = (len(table) // 3 - 1).bit_length()
            delay = round((t + 1) * 100 / fps) - round(t * 100 / fps)
            file.write(b"!\xf9\x04\x04" + delay.to_bytes(2, "little") + b"\0\0")
            file.write(b",\0\0\0\0" + size + bytes([0x80 | (bits - 1)]))
            file.write(table + image)
        file.write(b";")


def _gif_image(frame_HWC: UInt8[np.ndarray, "H W 3"]) -> tuple[bytes, bytes]:
    """Colour table and compressed pixels of a frame, the latter as the blocks of a GIF image."""
    from PIL import Image

    packed_HW = frame_HWC.astype(np.uint32) @ np.array([1 << 16, 1 << 8, 1], np.uint32)
    colors, index = np.unique(packed_HW, return_inverse=True)
    if len(colors) > 256:
        picture = Image.fromarray(frame_HWC).quantize(256, kmeans=2, dither=Image.Dither.NONE)
    else:
        picture = Image.fromarray(index.reshape(packed_HW.shape).astype(np.uint8), "P")
        picture.putpalette(
            np.stack([colors >> 16, colors >> 8, colors], 1).astype(np.uint8).tobytes()
        )
    data = io.BytesIO()
    picture.save(data, "GIF", optimize=False, interlace=0)
    encoded = data.getvalue()
    start = 13 + (3 << ((encoded[10] & 7) + 1))
    at = start
    while encoded[at : at + 1] == b"!":  # skip what Pillow says of the only frame
        at += 2
        while encoded[at]:
            at += encoded[at] + 1
        at += 1
    return encoded[13:start], encoded[at + 10 : -1]


def _write_webp(path: pathlib.Path, video_THWC: Video, fps: float | int) -> None:
    _, H, W, _ = video_THWC.shape

    def chunk(name: bytes, data: bytes) -> bytes:
        return name + len(data).to_bytes(4, "little") + data + b"\0" * (len(data) % 2)

    def u24(value: int) -> bytes:
        return value.to_bytes(3, "little")

    size = u24(W - 1) + u24(H - 1)
    body = [b"WEBP", chunk(b"VP8X", b"\x02\0\0\0" + size), chunk(b"ANIM", b"\0" * 6)]
    for t, frame_HWC in enumerate(video_THWC):
        still = _compress(frame_HWC, ".webp", lossless=True, quality=100)
        delay = round((t + 1) * 1000 / fps) - round(t * 1000 / fps)
        # flag 2: draw over what was there, without blending
        body.append(chunk(b"ANMF", b"\0" * 6 + size + u24(delay) + b"\2" + still[12:]))
    path.write_bytes(chunk(b"RIFF", b"".join(body)))


def _compress(frame_HWC: UInt8[np.ndarray, "H W 3"], kind: str, **options: Any) -> bytes:
    """A picture as the bytes of a file of that kind."""
    import imageio.v3 as iio

    return iio.imwrite("<bytes>", frame_HWC, extension=kind, plugin="pillow", **options)


_WRITERS: dict[str, Callable[[pathlib.Path, Video, float | int], None]] = {
    ".mp4": _write_mp4,
    ".gif": _write_gif,
    ".webp": _write_webp,
}
