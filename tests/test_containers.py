"""Laws of containers: what is whole is counted, what is not is named, and nothing is read short."""

import fractions
import struct

import numpy as np
import pytest
from PIL import Image
from test_decode import moving

from jaxvid.data import containers, decode
from jaxvid.io import media


def write(path, video, codec, *, fps=12, form=None, sound=False, container=None, **options):
    import av

    av.logging.set_level(None)
    with av.open(str(path), "w", format=form, options=container or {}) as out:
        rate = fractions.Fraction(fps)
        stream = out.add_stream(codec, rate=rate, options=options)
        stream.height, stream.width, stream.pix_fmt = *video.shape[1:3], "yuv420p"
        stream.bit_rate, stream.codec_context.time_base = 300_000, 1 / rate
        heard = out.add_stream("libopus", rate=48000) if sound else None
        for t, frame_HWC in enumerate(video):
            frame = av.VideoFrame.from_ndarray(frame_HWC, format="rgb24")
            frame.pts, frame.time_base = t, 1 / rate
            out.mux(stream.encode(frame))
            if heard is not None:
                tone = av.AudioFrame.from_ndarray(np.zeros((1, 960), np.float32), "fltp", "mono")
                tone.sample_rate, tone.pts = 48000, 960 * t
                out.mux(heard.encode(tone))
        for each in filter(None, (stream, heard)):
            out.mux(each.encode(None))
    return path


def cut(source, target, *, packets=0, seconds=0):
    """A film without its first packets, or all of them so much earlier; nothing encoded anew."""
    import av

    with av.open(str(source)) as whole, av.open(str(target), "w") as out:
        stream = whole.streams.video[0]
        copy = out.add_stream_from_template(stream)
        for n, packet in enumerate(whole.demux(stream)):
            if packet.size and n >= packets:
                packet.pts -= int(seconds / stream.time_base)
                if packet.dts is not None:
                    packet.dts -= int(seconds / stream.time_base)
                packet.stream = copy
                out.mux(packet)
    return target


@pytest.mark.parametrize(
    ("name", "codec", "options"),
    [
        ("sound.mkv", "libx264", {"sound": True}),
        ("live.webm", "libvpx", {"container": {"live": "1"}}),  # elements of unknown length
        ("hidden.webm", "libvpx", {"auto-alt-ref": "1", "lag-in-frames": "16"}),
        ("sound.webm", "libvpx-vp9", {"auto-alt-ref": "1", "lag-in-frames": "9", "sound": True}),
        ("fragments.mp4", "libx264", {"container": {"movflags": "frag_keyframe+empty_moov"}}),
        ("reordered.avi", "libx264", {}),
        ("mpeg4.avi", "mpeg4", {"bf": "2"}),
    ],
)
def test_whole_films_of_all_sorts_are_read_whole(tmp_path, name, codec, options):
    video = moving(40, 32, 48)
    path = write(tmp_path / name, video, codec, **options)
    frames, fps = decode.read_video(path)
    assert len(frames) == 40 and fps == pytest.approx(12)
    assert (np.diff(frames.mean(axis=(1, 2, 3))) > 0).all()  # in their order
    assert len(decode.read_video(path, fps=6)[0]) == 20
    assert (counted := containers.count_packets(path, 0)) is None or sum(counted) >= 40


def test_what_a_cut_leaves_out_is_not_missed(tmp_path):
    """Frames before the first, whose references are gone, and those outside of an edit list."""
    params = "keyint=20:open-gop=1:bframes=4:log-level=none"
    film = write(tmp_path / "a.mkv", moving(60, 48, 64), "libx265", **{"x265-params": params})
    import av

    with av.open(str(film)) as container:
        packets = [(p.pts, p.is_keyframe) for p in container.demux(video=0) if p.size]
    at = [i for i, (_, key) in enumerate(packets) if key][1]
    late = sum(pts >= packets[at][0] for pts, _ in packets)
    frames, _ = decode.read_video(cut(film, tmp_path / "b.mkv", packets=at))
    assert len(frames) == late < len(packets) - at
    film = write(tmp_path / "a.mp4", moving(40), "libx264")
    assert len(decode.read_video(cut(film, tmp_path / "b.mp4", seconds=1))[0]) == 28


def elements(data, name):
    """Where an EBML element or RIFF chunk begins."""
    return [i for i in range(len(data)) if data.startswith(name, i)]


@pytest.mark.parametrize("name", ["a.mkv", "a.webm", "a.avi"])
@pytest.mark.parametrize("damage", ["hole", "twice", "cut", "joined", "zeros"])
def test_films_with_holes_are_refused_where_they_are(tmp_path, name, damage):
    codec = {"a.avi": "mpeg4", "a.webm": "libvpx"}.get(name, "libx264")
    path = write(tmp_path / name, moving(30), codec)
    data = path.read_bytes()
    starts = elements(data, b"00dc" if name == "a.avi" else b"\xa3")
    begin, end = starts[12], starts[14]
    broken = {
        "hole": data[:begin] + data[end:],
        "twice": data[:end] + data[begin:],
        "cut": data[:end],
        "joined": data + data,
        "zeros": data[:begin] + bytes(end - begin) + data[end:],
    }
    path.write_bytes(broken[damage])
    with pytest.raises(decode.BadVideo, match="damaged|says that it has|backwards|decoded"):
        decode.read_video(path)


@pytest.mark.parametrize("name", ["a.gif", "a.webp"])
def test_animations_are_whole_or_refused(tmp_path, name):
    path = tmp_path / name
    media.write_video(path, moving(8), fps=10)
    data = path.read_bytes()
    assert containers.animation_delays(path) == pytest.approx([0.1] * 8)
    frame = elements(data, b"!\xf9\x04" if name == "a.gif" else b"ANMF")
    for broken in (
        data[: frame[4]],
        data[: frame[4]] + data[frame[4] + 9 :],
        data + data,
        data[: frame[3]] + b"ANEF" + data[frame[3] + 4 :],
    ):
        path.write_bytes(broken)
        with pytest.raises(decode.BadVideo, match="damaged|cannot be decoded"):
            decode.read_video(path)
    # a whole frame taken out leaves a whole GIF, which says nothing of it
    if name == "a.gif":
        path.write_bytes(data[: frame[3]] + data[frame[4] :])
        assert len(decode.read_video(path)[0]) == 7


def test_pillows_animations_are_read_with_their_delays(tmp_path):
    pictures = [Image.fromarray(frame) for frame in moving(5)]
    for name in ("a.gif", "a.webp"):
        path = tmp_path / name
        options = {"duration": [100, 50, 200, 300, 40], "comment": b"x" * 300, "loop": 0}
        pictures[0].save(path, save_all=True, append_images=pictures[1:], **options)
        delays = containers.animation_delays(path)
        assert delays == pytest.approx([0.1, 0.05, 0.2, 0.3, 0.04])
    pictures[0].save(tmp_path / "still.webp")
    assert decode.read_video(tmp_path / "still.webp")[0].shape[0] == 1


def test_time_stamps_that_make_no_sense_are_refused(tmp_path):
    """One frame that stands for a day would fill the memory."""
    from test_decode import write as write_at

    stamps = [0, 8, 8 * 3600 * 24, 8 * 3600 * 24 + 8]
    path = write_at(tmp_path / "a.mkv", moving(4), pts=stamps)
    for options in ({}, {"fps": 4, "resolution": 16}):
        with pytest.raises(decode.BadVideo, match="over 600 seconds after|over 1 GiB decoded"):
            decode.read_video(path, **options)


def test_damage_inside_of_frames_is_not_painted_over(tmp_path):
    path = write(tmp_path / "a.mp4", moving(20, 64, 64), "libx264")
    data = bytearray(path.read_bytes())
    at = data.find(b"mdat") + 4
    size = struct.unpack(">I", data[at - 8 : at - 4])[0]
    rng = np.random.default_rng(0)
    refused = 0
    for place in rng.integers(at + 800, at + size - 8, 12):
        path.write_bytes(data[:place] + rng.bytes(16) + data[place + 16 :])
        try:
            decode.read_video(path)
        except decode.BadVideo:
            refused += 1
    assert refused >= 9  # left to itself, FFmpeg conceals all but one or two of them


def test_a_film_by_another_name_that_cannot_tell_its_length_is_refused(tmp_path):
    path = write(tmp_path / "a.mp4", moving(8), "libx264", form="mpegts")
    with pytest.raises(decode.BadVideo, match="cannot be decoded"):
        decode.read_video(path)
