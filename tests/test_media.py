"""Laws of writing: frames come back, counts are exact, files are whole, bad targets are refused."""

import errno
import os
import pathlib
import subprocess
import sys
import time

import numpy as np
import pytest
from PIL import Image

from jaxvid.data import decode
from jaxvid.data.scenes import Scenes
from jaxvid.io import media
from jaxvid.typing import UserError


def smooth(T=9, H=48, W=48):
    """A bright blob that wanders over a gradient."""
    y_HW, x_HW = np.mgrid[:H, :W] / max(H, W)
    frames = []
    for t in range(T):
        blob_HW = np.exp(-((x_HW - t / T) ** 2 + (y_HW - 0.5) ** 2) * 20)
        frames.append(np.stack([0.8 * blob_HW, y_HW, 0.5 * x_HW + 0.2 * blob_HW], axis=-1))
    return (np.array(frames) * 255).astype(np.uint8)


def few_colors(T=7, H=20, W=31, seed=0):
    """At most 200 colours a frame, other ones in every frame."""
    rng = np.random.default_rng(seed)
    table = rng.integers(0, 256, (T, 200, 3), np.uint8)
    return np.stack([colors[rng.integers(0, 200, (H, W))] for colors in table])


def psnr(a, b):
    return 10 * np.log10(255**2 / np.mean((a.astype(float) - b.astype(float)) ** 2))


def test_mp4_keeps_count_rate_and_picture(tmp_path):
    video = smooth()
    media.write_video(tmp_path / "a.mp4", video, fps=12.5)
    frames, fps = decode.read_video(tmp_path / "a.mp4")
    assert frames.shape == video.shape and fps == 12.5
    assert psnr(frames, video) >= 35


def test_mp4_of_saturated_pixels_is_kept_by_scaling(tmp_path):
    video = few_colors()
    media.write_video(tmp_path / "a.mp4", video, fps=8, scale=8)
    frames, _ = decode.read_video(tmp_path / "a.mp4")
    assert psnr(frames[:, 4::8, 4::8], video) >= 35  # 4:2:0 would blur neighbouring colours


@pytest.mark.parametrize(("H", "W"), [(33, 18), (1, 1), (2, 64)])
def test_mp4_pads_odd_sizes_with_their_edge(tmp_path, H, W):
    video = smooth(3, H, W)
    media.write_video(tmp_path / "a.mp4", video, fps=8)
    frames, _ = decode.read_video(tmp_path / "a.mp4")
    assert frames.shape == (3, H + H % 2, W + W % 2, 3)
    padded = np.pad(video, ((0, 0), (0, H % 2), (0, W % 2), (0, 0)), mode="edge")
    assert psnr(frames, padded) >= 28


def test_mp4_can_be_played_while_it_loads_and_is_yuv420(tmp_path):
    import av

    media.write_video(tmp_path / "a.mp4", smooth(), fps=8)
    data = (tmp_path / "a.mp4").read_bytes()
    assert 0 < data.find(b"moov") < data.find(b"mdat")
    with av.open(str(tmp_path / "a.mp4")) as container:
        stream = container.streams.video[0]
        assert (stream.codec.name, stream.codec_context.pix_fmt) == ("h264", "yuv420p")


@pytest.mark.parametrize("extension", ["webp", "gif"])
@pytest.mark.parametrize("size", [(1, 1), (20, 31), (64, 16)])
def test_webp_and_small_palette_gif_are_lossless(tmp_path, extension, size):
    video = few_colors(5, *size)
    media.write_video(tmp_path / f"a.{extension}", video, fps=10)
    frames, fps = decode.read_video(tmp_path / f"a.{extension}")
    np.testing.assert_array_equal(frames, video)
    assert fps == pytest.approx(10)


def test_webp_is_lossless_for_any_picture_and_gif_is_near(tmp_path):
    video = smooth()
    media.write_video(tmp_path / "a.webp", video, fps=8)
    np.testing.assert_array_equal(decode.read_video(tmp_path / "a.webp")[0], video)
    media.write_video(tmp_path / "a.gif", video, fps=8)
    assert psnr(decode.read_video(tmp_path / "a.gif")[0], video) >= 30


@pytest.mark.parametrize("extension", ["mp4", "gif", "webp"])
def test_frames_that_repeat_are_counted(tmp_path, extension):
    video = few_colors(2)[[0, 0, 0, 1, 1, 0]]
    media.write_video(tmp_path / f"a.{extension}", video, fps=8, scale=2)
    frames, _ = decode.read_video(tmp_path / f"a.{extension}")
    assert len(frames) == 6


def test_gif_delays_add_up(tmp_path):
    media.write_video(tmp_path / "a.gif", few_colors(16, 4, 4), fps=8)
    with Image.open(tmp_path / "a.gif") as picture:
        delays = []
        for i in range(picture.n_frames):
            picture.seek(i)
            delays.append(picture.info["duration"])
        assert picture.info["loop"] == 0  # for ever
    assert sum(delays) == 2000 and set(delays) == {120, 130}


def test_scale_makes_squares(tmp_path):
    video = few_colors(2, 3, 4)
    media.write_video(tmp_path / "a.webp", video, fps=8, scale=3)
    frames, _ = decode.read_video(tmp_path / "a.webp")
    np.testing.assert_array_equal(frames, video.repeat(3, axis=1).repeat(3, axis=2))


def test_grid_shows_every_clip_in_its_row(tmp_path):
    videos = np.stack([few_colors(5, 6, 7), few_colors(5, 6, 7, seed=1)])
    media.write_grid(tmp_path / "g.png", videos, frames=3, scale=2, gap=1)
    grid = decode.read_image(tmp_path / "g.png")
    assert grid.shape == (2 * 12 + 1, 3 * 14 + 2, 3)
    for row in range(2):
        for column, t in enumerate((0, 2, 4)):
            cell = grid[row * 13 : row * 13 + 12 : 2, column * 15 : column * 15 + 14 : 2]
            np.testing.assert_array_equal(cell, videos[row, t])


def test_the_written_file_obeys_the_umask(tmp_path):
    media.atomic_write_text(tmp_path / "a.json", "{}")
    mask = os.umask(0)
    os.umask(mask)
    assert (tmp_path / "a.json").stat().st_mode & 0o777 == 0o666 & ~mask


@pytest.mark.parametrize(
    ("name", "fix"),
    [
        ("a.mov", r"cannot write \.mov; use \.mp4, \.gif, \.webp"),
        ("a", "without extension"),
        ("folder.mp4", "is a folder; name a file"),
        ("missing/a.mp4", "there is no folder .*missing; make it"),
        ("file.txt/a.mp4", "there is no folder"),
        ("/proc/a.mp4", "cannot be written .*choose another folder"),
    ],
)
def test_bad_targets_are_refused_in_one_line(tmp_path, name, fix):
    (tmp_path / "folder.mp4").mkdir()
    (tmp_path / "file.txt").write_text("")
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(UserError, match=fix) as caught:
        media.write_video(tmp_path / name, smooth(2), fps=8)
    assert "\n" not in str(caught.value)
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize(("extension", "least"), [("mp4", 40), ("gif", 100), ("webp", 100)])
def test_an_enlarged_clip_is_read_as_it_was(tmp_path, extension, least):
    """As ``jaxvid edit`` reads what ``jaxvid generate`` wrote."""
    video = Scenes("test", length=4)[3].video
    media.write_video(tmp_path / f"a.{extension}", video, fps=8, scale=8)
    frames, _ = decode.read_video(tmp_path / f"a.{extension}", resolution=32)
    error = ((frames.astype(float) - video) ** 2).mean()
    assert -10 * np.log10(max(error / 255**2, 1e-10)) >= least


@pytest.mark.parametrize("fps", [0, -1, 1e-5, float("nan"), float("inf"), 1e9])
def test_an_impossible_rate_is_refused(tmp_path, fps):
    with pytest.raises(UserError, match="fps .* is out of range"):
        media.write_video(tmp_path / "a.mp4", smooth(2), fps=fps)
    assert not list(tmp_path.iterdir())


def test_a_clip_without_frames_is_refused(tmp_path):
    with pytest.raises(UserError, match="needs frames with pixels"):
        media.write_video(tmp_path / "a.webp", smooth(2)[:0], fps=8)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("extension", ["mp4", "gif", "webp"])
def test_more_pixels_than_fit_are_refused(tmp_path, extension):
    with pytest.raises(UserError, match="20000 pixels a side are too many"):
        media.write_video(tmp_path / f"a.{extension}", smooth(1, 1, 2), fps=8, scale=10_000)
    assert not list(tmp_path.iterdir())


def test_a_failure_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch):
    path = tmp_path / "a.webp"
    media.write_video(path, few_colors(2), fps=8)
    old = path.read_bytes()

    def full(*_args, **_options):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(media, "_compress", full)
    with pytest.raises(UserError, match="No space left on device"):
        media.write_video(path, few_colors(3), fps=8)
    assert path.read_bytes() == old and list(tmp_path.iterdir()) == [path]


def test_a_kill_while_writing_leaves_old_or_new(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("0" * 200_000)
    code = (
        "import sys; from jaxvid.io import media\n"
        "for i in range(10**9): media.atomic_write_text(sys.argv[1], str(i % 10) * 200_000)"
    )
    root = pathlib.Path(media.__file__).parents[2]
    process = subprocess.Popen([sys.executable, "-c", code, str(path)], cwd=root)
    try:
        deadline = time.monotonic() + 30
        while path.read_text()[0] == "0" and time.monotonic() < deadline:
            time.sleep(0.01)  # until it writes
        for _ in range(100):
            text = path.read_text()
            assert len(text) == 200_000 and len(set(text)) == 1
    finally:
        process.kill()
        process.wait(timeout=30)
    text = path.read_text()
    assert len(text) == 200_000 and len(set(text)) == 1


@pytest.mark.parametrize(
    ("number", "code"), [(errno.ENOSPC, 74), (errno.EIO, 1), (errno.ESTALE, 1), (errno.EROFS, 2)]
)
@pytest.mark.parametrize("place", ["tempfile.NamedTemporaryFile", "os.replace"])
def test_a_fault_of_the_disk_has_its_exit_code(tmp_path, monkeypatch, place, number, code):
    def fail(*args, **kwargs):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(place, fail)
    with pytest.raises(UserError, match=f"cannot be written .{os.strerror(number)}") as raised:
        media.atomic_write_text(tmp_path / "report.html", "x")
    assert raised.value.code == code
    assert not list(tmp_path.iterdir())
