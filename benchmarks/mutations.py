"""Clips to damage, ways to damage them, and a count of frames that owes nothing to the reader."""

import dataclasses
import fractions
import pathlib
import re
import shutil
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from jaxvid.data import decode
from jaxvid.io import media

FRAMES, FPS = 24, 12.0


class Kind(NamedTuple):
    """A container: its suffix, and the codecs that clips are written with in turns."""

    suffix: str
    codecs: tuple[str, ...]  # of FFmpeg; () where jaxvid or Pillow writes it


KINDS = {
    "mp4": Kind(".mp4", ("", "mpeg4")),  # "": as jaxvid writes it
    "mkv": Kind(".mkv", ("libx264", "libx265")),
    "avi": Kind(".avi", ("mpeg4", "mjpeg")),
    "webm": Kind(".webm", ("libvpx-vp9", "libvpx")),
    "mov": Kind(".mov", ("libx264", "prores")),
    "m4v": Kind(".m4v", ("libx264",)),
    "gif": Kind(".gif", ("", "pillow")),
    "webp": Kind(".webp", ("", "pillow")),
    "png": Kind("_png", ("png",)),  # folders of numbered images
    "jpg": Kind("_jpg", ("jpg",)),
}


class Seed(NamedTuple):
    """A whole file, or the files of a folder, as bytes."""

    files: dict[str, bytes]  # "" is the file itself
    frames: int


def seeds(kind: str, folder: pathlib.Path, data: Sequence[pathlib.Path]) -> list[Seed]:
    """Whole clips of a kind: a scene and real clips, each in each codec, and real files."""
    from jaxvid.data.scenes import Scenes

    folder.mkdir(parents=True, exist_ok=True)
    scenes = Scenes(split="test", seed=0, resolution=64, frames=FRAMES, fps=FPS)
    videos = [scenes[0].video[:, 8:56]]  # not a square
    for path in data:
        video, _ = decode.read_video(path, max_frames=FRAMES)
        step = max(1, min(video.shape[1:3]) // 64)
        videos.append(np.ascontiguousarray(video[:, ::step, ::step]))
    suffix, codecs = KINDS[kind]
    found = []
    for n, video in enumerate(videos):
        for codec in codecs:
            path = folder / f"{n}_{codec}{suffix}"
            write_clip(path, video[:, : video.shape[1] // 2 * 2, : video.shape[2] // 2 * 2], codec)
            found.append(load(path, len(video)))
    for path in data:
        if path.suffix == suffix and path.stat().st_size < 400_000:
            found.append(load(path, len(decode.read_video(path)[0])))
    return found


def load(path: pathlib.Path, frames: int) -> Seed:
    """The bytes of a clip of so many frames."""
    files = sorted(path.iterdir()) if path.is_dir() else []
    return Seed({file.name: file.read_bytes() for file in files} or {"": path.read_bytes()}, frames)


def write_clip(path: pathlib.Path, video_THWC: np.ndarray, codec: str) -> None:
    """Writes a clip with a codec; "" is as jaxvid writes."""
    from PIL import Image

    pictures = [Image.fromarray(frame_HWC) for frame_HWC in video_THWC]
    if codec in ("png", "jpg"):
        path.mkdir()
        for t, picture in enumerate(pictures):
            picture.save(path / f"{t:03d}.{codec}")
    elif codec == "pillow":
        options: dict[str, Any] = {"save_all": True, "append_images": pictures[1:], "loop": 0}
        pictures[0].save(path, duration=round(1000 / FPS), **options)
    elif codec == "":
        media.write_video(path, video_THWC, fps=FPS)
    else:
        _encode(path, video_THWC, codec)


def _encode(path: pathlib.Path, video_THWC: np.ndarray, codec: str) -> None:
    import av

    av.logging.set_level(None)
    options = {"x265-params": "log-level=none"} if codec == "libx265" else {}
    form = {".mkv": "matroska", ".m4v": "mp4"}.get(path.suffix, path.suffix[1:])
    with av.open(str(path), "w", format=form) as container:
        rate = fractions.Fraction(int(FPS))
        stream: Any = container.add_stream(codec, rate=rate, options=options)
        stream.height, stream.width = video_THWC.shape[1:3]
        stream.pix_fmt = {"mjpeg": "yuvj420p", "prores": "yuv422p10le"}.get(codec, "yuv420p")
        stream.bit_rate, stream.codec_context.time_base = 2_000_000, 1 / rate
        for t, frame_HWC in enumerate(video_THWC):
            frame = av.VideoFrame.from_ndarray(frame_HWC, format="rgb24")
            frame.pts, frame.time_base = t, 1 / rate
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


def write(path: pathlib.Path, clips: list[Seed], kind: str, *, seed: int, number: int) -> None:
    """Writes the damaged clip of a number: one of ``clips``, damaged in one to three ways."""
    rng = np.random.default_rng((seed, sum(kind.encode()), number))
    files = dict(clips[number % len(clips)].files)
    other = clips[int(rng.integers(len(clips)))].files
    hurt = [name for name in sorted(files) if name == "" or rng.random() < 0.1]
    for name in hurt or sorted(files)[:1]:
        whole = files[name]
        for _ in range(int(rng.integers(1, 4)) if rng.random() < 0.3 else 1):
            way = WAYS[int(rng.integers(len(WAYS)))]
            files[name] = way(rng, files[name], other.get(name, whole))
    remove(path)
    if "" in files:
        path.write_bytes(files[""])
        return
    path.mkdir()
    for name, content in files.items():
        (path / name).write_bytes(content)


def remove(path: pathlib.Path) -> None:
    """Removes a file or folder, if it is there."""
    shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)


# --- ways to damage ----------------------------------------------------------------------------

Way = Callable[[np.random.Generator, bytes, bytes], bytes]


def _place(rng: np.random.Generator, data: bytes) -> int:
    """Somewhere; as often as not in the head, where it matters most."""
    reach = len(data) if rng.random() < 0.5 else min(len(data), 1000)
    return int(rng.integers(reach + 1))


def _chunk(rng: np.random.Generator, data: bytes) -> tuple[int, int]:
    start = _place(rng, data)
    return start, min(len(data), start + int(2 ** rng.uniform(0, np.log2(len(data) + 2))))


def flip(rng: np.random.Generator, data: bytes, _: bytes) -> bytes:
    """Bits turned over."""
    out = bytearray(data)
    for _n in range(int(rng.integers(1, 31))):
        at = min(_place(rng, data), len(data) - 1)
        if at >= 0:
            out[at] ^= 1 << int(rng.integers(8))
    return bytes(out)


def extreme(rng: np.random.Generator, data: bytes, _: bytes) -> bytes:
    """Numbers set to what breaks programs, behind the names of fields where there are some."""
    out = bytearray(data)
    names = [match.end() for match in re.finditer(_FIELDS, data)]
    for _n in range(int(rng.integers(1, 4))):
        near = names[int(rng.integers(len(names)))] + int(rng.integers(-4, 40)) if names else 0
        at = near if names and rng.random() < 0.7 else _place(rng, data)
        size = int(rng.choice([1, 2, 4, 8]))
        value = int(rng.choice([0, 1, 2**31 - 1, 2**32 - 1, 2**16 - 1, 20_000, 2**63 - 1]))
        order: Any = "big" if rng.random() < 0.5 else "little"
        out[at : at + size] = (value % 256**size).to_bytes(size, order)
    return bytes(out)


def noise(rng: np.random.Generator, data: bytes, _: bytes) -> bytes:
    """A stretch of random bytes."""
    start, end = _chunk(rng, data)
    return data[:start] + rng.bytes(end - start) + data[end:]


def blank(rng: np.random.Generator, data: bytes, _: bytes) -> bytes:
    """A stretch of zeros, as disks leave it."""
    start, end = _chunk(rng, data)
    return data[:start] + bytes(end - start) + data[end:]


def truncate(rng: np.random.Generator, data: bytes, _: bytes) -> bytes:
    """The end cut off."""
    return data[: int(rng.integers(len(data) + 1))]


def drop(rng: np.random.Generator, data: bytes, _: bytes) -> bytes:
    """A stretch taken out."""
    start, end = _chunk(rng, data)
    return data[:start] + data[end:]


def double(rng: np.random.Generator, data: bytes, _: bytes) -> bytes:
    """A stretch there twice."""
    start, end = _chunk(rng, data)
    return data[:end] + data[start:]


def swap(rng: np.random.Generator, data: bytes, _: bytes) -> bytes:
    """Two stretches in each other's place."""
    (a, b), (c, d) = sorted((_chunk(rng, data), _chunk(rng, data)))
    return data[:a] + data[c:d] + data[b:c] + data[a:b] + data[d:] if b <= c else data[:a]


def join(rng: np.random.Generator, data: bytes, other: bytes) -> bytes:
    """Two files as one: whole ones, or the beginning of one and the end of another."""
    if rng.random() < 0.5:
        return data + other
    cut, on = int(rng.integers(len(data) + 1)), int(rng.integers(len(other) + 1))
    return data[:cut] + other[on:]


WAYS: tuple[Way, ...] = (flip, flip, extreme, extreme, noise, blank, truncate, drop, double)
WAYS += (swap, join)
_FIELDS = re.compile(
    rb"ftyp|moov|mvhd|trak|tkhd|edts|elst|mdhd|stsd|avc1|mp4v|avcC|stts|ctts|stss|stsc|stsz|stco|"
    rb"mdat|moof|RIFF|avih|strh|strf|movi|idx1|00dc|VP8X|ANIM|ANMF|VP8L|VP8 |IHDR|PLTE|IDAT|"
    rb"\xff\xc0|\xff\xda|GIF89a|!\xf9\x04|\x1a\x45\xdf\xa3|\x18\x53\x80\x67|\x15\x49\xa9\x66|"
    rb"\x2a\xd7\xb1|\x44\x89|\x16\x54\xae\x6b|\xb0\x82|\xba\x82|\x1f\x43\xb6\x75|\x23\xe3\x83|"
    rb"\xa3|OggS|FLV"
)


# --- counting ----------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class Count:
    """Frames of a file: that can be read, that it says it has, and how long it lasts."""

    readable: int
    claimed: int | None = None
    seconds: float | None = None

    def fits(self, frames: int) -> bool:
        """Whether so many are all, but for what players forgive: a tenth, and one."""
        return self.claimed is None or frames >= 0.9 * self.claimed - 1


def count(path: pathlib.Path) -> Count:
    """Counts without decoding: files, blocks of a GIF, chunks of a WebP, packets of a film."""
    if path.is_dir():
        return Count(len(list(path.iterdir())))
    data = path.read_bytes()
    if data[:4] == b"GIF8":
        return _count_gif(data)
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return _count_webp(data)
    return _count_packets(path)


def _count_gif(data: bytes) -> Count:
    """GIF89a, appendix A: images until the trailer; seconds by the delays that stand before."""
    at = 13 + (3 << ((data[10] & 7) + 1) if data[10] & 0x80 else 0)
    frames, seconds, delay = 0, 0.0, 0.0
    while at < len(data) and data[at] != 0x3B:
        if data[at] == 0x2C:
            frames += 1
            seconds += delay if delay >= 0.02 else 0.1
            at += 10 + (3 << ((data[at + 9] & 7) + 1) if data[at + 9] & 0x80 else 0) + 1
        elif data[at] == 0x21:
            if data[at + 1] == 0xF9:
                delay = int.from_bytes(data[at + 4 : at + 6], "little") / 100
            at += 2
        else:
            break
        while at < len(data) and data[at]:
            at += data[at] + 1
        at += 1
    return Count(frames, frames, seconds)


def _count_webp(data: bytes) -> Count:
    at, frames, delays = 12, 0, 0.0
    while at + 8 <= len(data):
        size = int.from_bytes(data[at + 4 : at + 8], "little")
        if data[at : at + 4] == b"ANMF":
            frames += 1
            delay = int.from_bytes(data[at + 20 : at + 23], "little") / 1000
            delays += delay if delay > 0 else 0.1
        at += 8 + size + size % 2
    return Count(frames or 1, frames or 1, delays if frames else 0.1)


def _count_packets(path: pathlib.Path) -> Count:
    import av

    with av.open(f"file:{path}", options={"format_whitelist": decode._DEMUXERS}) as container:
        stream: Any = container.streams.video[0]
        packets = [packet for packet in container.demux(stream) if packet.size]
        first = next((packet.pts for packet in packets if packet.pts is not None), 0)
        times = [
            float(packet.pts * packet.time_base) if packet.pts is not None else None
            for packet in packets
            if not packet.is_discard and (packet.pts is None or packet.pts >= first)
        ]
        rate = float(stream.average_rate or stream.guessed_rate or 1)
        known = [time for time in times if time is not None]
        seconds = max(known) - min(known) + 1 / rate if len(known) == len(times) > 0 else None
        cut = sum(packet.is_discard for packet in packets)  # by an edit list, as phones trim films
        return Count(len(times), max(stream.frames - cut, 0) or None, seconds)
