"""Whether a file of frames is whole, read off its own structure.

Decoders forgive: they look for the next thing that they know, and a clip with a hole comes back
shorter without a word. Here the blocks of GIF, WebP, AVI and Matroska (WebM) are walked from end to
end, nothing is decoded, and what does not fit is ``BadVideo`` with the byte where it does not.
"""

import errno
import math
import os
import pathlib
import re
import struct
from collections.abc import Iterator
from typing import Any, BinaryIO

from jaxvid.typing import PASSING, UserError, exit_code

MAX_TAIL = 64  # bytes that may follow the end of a GIF or WebP
REORDER = 17  # packets: in a film's order of decoding, a frame comes no later than so many
NO_DELAY = 0.1  # seconds; how viewers show delays under 20 ms, and none
# Numbers of the system that say nothing of a file.
NOT_THE_FILE = {*PASSING, errno.EACCES, errno.EPERM, errno.EMFILE, errno.ENFILE, errno.ENOMEM}


class BadVideo(UserError):
    """A file that cannot be decoded: ``path`` and ``reason``, one line."""

    def __init__(self, path: object, reason: str) -> None:
        super().__init__(f"{path}: {reason}")
        self.path, self.reason = str(path), reason


def check_machine(path: object, error: Exception) -> None:
    """Raises UserError for a fault that is not the file's, as far as that can be told: FFmpeg gives
    the numbers of the system to damaged files too.
    """
    of_system = isinstance(error, MemoryError) or getattr(error, "errno", None) in NOT_THE_FILE
    if of_system and not type(error).__module__.startswith("av"):
        fix = "see to that and run the same command again, or remove the file"
        raise UserError(
            f"{path}: cannot be read now ({brief(error)}); {fix}", code=exit_code(error)
        ) from error


def brief(error: Exception) -> str:
    """What went wrong, in one line without the path."""
    said = getattr(error, "strerror", None)  # of system and FFmpeg, without number and path
    return said or f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"


class _Damage(Exception):
    """Where, in words."""


def animation_delays(path: pathlib.Path) -> list[float]:
    """Seconds that each frame of a GIF or WebP stands. Raises BadVideo where it is not whole.

    Viewers show the delays of GIF under 20 ms, and none, as 100 ms.
    """
    try:
        with path.open("rb") as file:
            return list(_gif(file) if file.read(4) == b"GIF8" else _webp(file))
    except (_Damage, IndexError, struct.error) as error:
        raise BadVideo(path, _words(error)) from None


def count_packets(path: pathlib.Path, stream: int) -> tuple[int, int] | None:
    """Packets of a film's stream that hold something, and empty ones, which repeat a frame.

    ``stream``: its place among all streams. None for containers that have an index of all packets
    (mp4, mov). Raises BadVideo where the file is not whole.
    """
    try:
        with path.open("rb") as file:
            head = file.read(12)
            if head[:4] == b"RIFF" and head[8:] == b"AVI ":
                sizes = list(_avi(file, stream))
            elif head[:4] == b"\x1a\x45\xdf\xa3":
                sizes = list(_matroska(file, stream))
            else:
                return None
    except (_Damage, IndexError, struct.error) as error:
        raise BadVideo(path, _words(error)) from None
    return sum(size > 0 for size in sizes), sum(size == 0 for size in sizes)


class Tally:
    """Packets against frames: what a film holds, what was read, what was decoded."""

    def __init__(self, stream: Any) -> None:
        """``stream``: of PyAV, before anything was read of it."""
        self.stream = stream
        self.packets, self.hidden, self.leading, self.late = 0, 0, 0, 0
        self.frames, self.early = 0, 0
        self.first = -math.inf  # time stamp of the first packet

    def add(self, packet: Any) -> None:
        """Counts a packet, and whether it may have no frame to show."""
        if not packet.size:
            return
        if not self.packets and packet.pts is not None:
            self.first = packet.pts
        self.packets += 1
        # Those that only the frames behind them need, and those whose own references came before
        # the beginning, as in films that were cut without encoding them anew.
        early = packet.pts is not None and packet.pts < self.first
        self.leading += early
        self.late += early and self.packets > REORDER
        self.hidden += not early and (packet.is_discard or _shows_nothing(self.stream, packet))

    def check(self, path: pathlib.Path) -> None:
        """Raises BadVideo where frames are missing: FFmpeg does not mind."""
        found = count_packets(path, self.stream.index)
        held, empty = found or (len(getattr(self.stream, "index_entries", ())), 0)
        claimed = self.stream.frames or 0
        if found and claimed and claimed != held + empty:
            raise BadVideo(path, f"says that it has {claimed} frames, and has {held + empty}")
        if not found and self.packets < 0.9 * claimed - 1:  # what an edit list leaves out is gone
            held = claimed
        if self.late:
            raise BadVideo(path, f"is damaged: {self.late} packets come after their time")
        if self.packets != held and (found or self.packets < held):
            raise BadVideo(path, f"is damaged: {self.packets} of {held} packets can be read")
        shown = self.packets - self.hidden - self.leading
        if (got := self.frames - self.early) < shown:
            raise BadVideo(path, f"is damaged: {got} of {shown} frames can be decoded")


def _shows_nothing(stream: Any, packet: Any) -> bool:
    """Whether a packet may come without a frame: VP8's hidden ones, MPEG-4's repetitions."""
    codec = stream.codec_context.name
    if codec in ("vp8", "libvpx"):
        return not bytes(packet)[0] & 0x10
    return codec == "mpeg4" and packet.size <= 16


def _words(error: Exception) -> str:
    where = str(error) if isinstance(error, _Damage) else "it ends too early"
    return f"is damaged: {where}; replace or remove it"


def _size(file: BinaryIO) -> int:
    return os.fstat(file.fileno()).st_size


# --- GIF: https://www.w3.org/Graphics/GIF/spec-gif89a.txt --------------------------------------


_GIF_SIZES = {0x01: 12, 0xF9: 4, 0xFF: 11}  # of the first parts of extensions


def _gif(file: BinaryIO) -> Iterator[float]:
    """The delays of the images, in order."""
    file.seek(10)
    flags = file.read(3)[0]
    file.seek(13 + _table(flags))
    delay = 0.0
    while (kind := file.read(1)) != b";":
        if kind == b",":
            file.seek(_table(file.read(9)[8]) + 1, os.SEEK_CUR)
            yield delay if delay >= 0.02 else NO_DELAY
            delay = 0.0
        elif kind == b"!":
            label = file.read(1)[0]
            body = file.read(5)
            if body[0] != _GIF_SIZES.get(label, body[0]):
                raise _Damage(f"an extension of {body[0]} bytes stands before byte {file.tell()}")
            if label == 0xF9:
                delay = struct.unpack("<H", body[2:4])[0] / 100
            file.seek(-5, os.SEEK_CUR)
        else:
            raise _Damage(f"no block begins at byte {file.tell() - 1}" if kind else "it has no end")
        while length := file.read(1)[0]:
            file.seek(length, os.SEEK_CUR)
    _check_tail(file, file.tell())


def _check_tail(file: BinaryIO, end: int) -> None:
    if (tail := _size(file) - end) > MAX_TAIL:
        raise _Damage(f"{tail} bytes follow its end at byte {end}")


def _table(flags: int) -> int:
    """Bytes of a colour table."""
    return 3 << ((flags & 7) + 1) if flags & 0x80 else 0


# --- RIFF: WebP and AVI ------------------------------------------------------------------------


def _webp(file: BinaryIO) -> Iterator[float]:
    """The delays of the frames; one for a still picture."""
    file.seek(4)
    end = 8 + struct.unpack("<I", file.read(4))[0]
    if end > _size(file):
        raise _Damage(f"it ends at byte {_size(file)} of {end}")
    at, frames, over = 12, 0, False
    while at + 8 <= end:
        file.seek(at)
        name, size = struct.unpack("<4sI", file.read(8))
        if name == b"ANMF":
            if over:  # unknown chunks may only come last
                raise _Damage(f"an unknown chunk stands among the frames before byte {at}")
            file.seek(at + 20)
            frames += 1
            yield (int.from_bytes(file.read(3), "little") / 1000) or NO_DELAY
        over |= name not in (b"ANMF", b"VP8X", b"ICCP", b"ANIM")
        at += 8 + size + size % 2
    if at not in (end, end + 1):
        raise _Damage(f"its last chunk ends at byte {at} of {end}")
    _check_tail(file, end)
    if not frames:
        yield NO_DELAY


_IN_MOVI = re.compile(rb"\d\d[a-z]{2}|ix\d\d|JUNK|idx1", re.DOTALL)


def _avi(file: BinaryIO, stream: int) -> Iterator[int]:
    """Sizes of the packets of a stream."""
    size, at, movi_end = _size(file), 0, 0
    mine = b"%02d" % stream
    while at + 8 <= size:
        file.seek(at)
        name, length = struct.unpack("<4sI", file.read(8))
        end = at + 8 + length
        if name in (b"RIFF", b"LIST"):
            kind = file.read(4)
            if length and end > size:
                raise _Damage(f"it ends at byte {size} of {end}")
            if kind == b"movi":
                movi_end = end if length else size  # 0: whoever wrote it never came back
            elif name == b"LIST" and kind not in (b"hdrl", b"strl", b"odml", b"rec "):
                at = end + length % 2
                continue
            at += 12
            continue
        if at < movi_end:
            if not _IN_MOVI.fullmatch(name) or end > size:
                raise _Damage(f"no packet begins at byte {at}")
            if name[:2] == mine and name[2:] in (b"db", b"dc"):
                yield length
        elif not name.isascii() or b"\0" in name:
            if movi_end:  # what follows all packets matters to nobody
                return
            raise _Damage(f"no chunk begins at byte {at}")
        at = end + length % 2


# --- Matroska and WebM: RFC 9559 ----------------------------------------------------------------

_SEGMENT, _CLUSTER, _GROUP = 0x18538067, 0x1F43B675, 0xA0
_MASTERS = (_SEGMENT, _CLUSTER, _GROUP)
_BLOCKS = (0xA3, 0xA1)
_TOP: tuple[int, ...] = (
    0x1A45DFA3,
    0x114D9B74,
    0x1549A966,
    0x1654AE6B,
    0x1C53BB6B,
    0x1941A469,
    0x1043A770,
)
_TOP += (0x1254C367, 0xEC, 0xBF)
_IN_CLUSTER = (0xE7, 0x5854, 0xA7, 0xAB, 0xAF)
_IN_GROUP = (0x9B, 0xFB, 0x75A1, 0x75A2, 0xA4, 0x8E, 0xFA, 0xFD, 0xCB)
_KNOWN = frozenset((*_MASTERS, *_BLOCKS, *_TOP, *_IN_CLUSTER, *_IN_GROUP))


def _matroska(file: BinaryIO, stream: int) -> Iterator[int]:
    """Sizes of the packets of a stream. FFmpeg numbers streams as their tracks are listed."""
    size, at = _size(file), 0
    tracks: list[int] = []
    ends: list[int] = []  # of the elements that we are in
    while at < size:
        while ends and at >= ends[-1]:
            if at > ends[-1]:
                raise _Damage(f"an element is longer than what it is in, before byte {at}")
            ends.pop()
        file.seek(at)
        name, _ = _number(file, marker=True)
        length, unknown = _number(file)
        start = file.tell()
        end = start + length
        if name not in _KNOWN or (not ends and name != 0x1A45DFA3 and name not in _MASTERS[:1]):
            raise _Damage(f"no element begins at byte {at}")
        if name == 0x1A45DFA3 and at > 0:
            raise _Damage(f"another file begins at byte {at}")
        if not unknown and end > size:
            raise _Damage(f"it ends at byte {size} of {end}")
        if name == 0x1654AE6B:
            tracks = list(_tracks(file, end))
        elif name in _BLOCKS:
            track, _ = _number(file)
            if track not in tracks:
                raise _Damage(f"the packet at byte {at} belongs to no stream")
            if tracks.index(track) == stream:
                yield end - file.tell() - 3
        if name in _MASTERS:
            if not unknown:
                ends.append(end)
            elif name == _SEGMENT:
                ends.append(size)
            at = start
        else:
            at = end


def _tracks(file: BinaryIO, end: int) -> Iterator[int]:
    """The numbers of the tracks (0xD7 in 0xAE), in order."""
    while file.tell() < end:
        name, _ = _number(file, marker=True)
        length, _ = _number(file)
        if name == 0xD7:
            yield int.from_bytes(file.read(length), "big")
        elif name != 0xAE:
            file.seek(length, os.SEEK_CUR)


def _number(file: BinaryIO, *, marker: bool = False) -> tuple[int, bool]:
    """A number of variable length, and whether it stands for an unknown one."""
    first = file.read(1)[0]
    more = 8 - first.bit_length()
    if more > 7:
        raise _Damage(f"no element begins at byte {file.tell() - 1}")
    value = first if marker else first & (0x7F >> more)
    for byte in file.read(more):
        value = value << 8 | byte
    return value, value == (1 << 7 * (more + 1)) - 1
