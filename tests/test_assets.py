"""Laws of backdrops: they cover the frame and the time, and nothing outside the folder is read."""

import pathlib

import numpy as np
import pytest
from PIL import Image

from jaxvid.assets import read_backdrop, shot_backdrop
from jaxvid.io.media import write_video
from jaxvid.script import Picture, Scene, Script, Shot
from jaxvid.typing import UserError


def read(folder: pathlib.Path | None, reference: str, **options) -> np.ndarray:
    return read_backdrop(
        folder, reference, **{"size": (16, 16), "frames": 4, "fps": 8.0, **options}
    )


def save(path: pathlib.Path, image_HWC: np.ndarray) -> None:
    Image.fromarray(image_HWC).save(path)


@pytest.fixture
def folder(tmp_path: pathlib.Path) -> pathlib.Path:
    inside = tmp_path / "story"
    (inside / "pictures").mkdir(parents=True)
    return inside


@pytest.mark.parametrize("size", [(16, 16), (12, 40), (40, 12)])
@pytest.mark.parametrize("source", [(30, 60), (60, 30), (64, 64)])
def test_an_image_covers_the_frame_in_its_own_proportions(
    folder: pathlib.Path, source: tuple[int, int], size: tuple[int, int]
) -> None:
    """Ramps tell which part of the image is seen: the middle, equally scaled both ways."""
    y, x = (np.arange(n) + 0.5 - n / 2 for n in source)
    place = np.stack(np.broadcast_arrays(128 + 3 * y[:, None], 128 + 3 * x, 0 * x), -1)
    save(folder / "pictures" / "ramp.png", place.clip(0, 255).astype(np.uint8))
    (seen,) = read(folder, "pictures/ramp.png", size=size).astype(float)
    assert seen.shape == (*size, 3)
    scale = min(s / w for s, w in zip(source, size, strict=True))  # pixels of the image per pixel
    for axis, n in enumerate(size):
        line = seen[:, size[1] // 2, 0] if axis == 0 else seen[size[0] // 2, :, 1]
        wanted = 128 + 3 * scale * (np.arange(n) + 0.5 - n / 2)
        assert np.abs(line - wanted)[1:-1].max() < 3 + scale


def levels(video: np.ndarray) -> list[int]:
    return [round(float(frame.mean()) / 20) for frame in video]


@pytest.fixture
def clip(folder: pathlib.Path) -> str:
    """Ten frames at 8 a second; each tells its number by its brightness."""
    tones = (20 * np.arange(10)).astype(np.uint8)
    write_video(folder / "clip.webp", np.full((10, 20, 30, 3), tones[:, None, None, None]), fps=8)
    write_video(folder / "clip.mp4", np.full((10, 20, 30, 3), tones[:, None, None, None]), fps=8)
    return "clip"


@pytest.mark.parametrize("size", [(16, 16), (16, 24)])
@pytest.mark.parametrize("suffix", [".webp", ".mp4"])
def test_a_clip_keeps_its_speed_and_begins_again(
    folder: pathlib.Path, clip: str, suffix: str, size: tuple[int, int]
) -> None:
    def shown(frames: int, fps: float) -> list[int]:
        video = read(folder, clip + suffix, size=size, frames=frames, fps=fps)
        assert video.shape == (frames, *size, 3)
        return levels(video)

    assert shown(4, 8.0) == [0, 1, 2, 3]
    assert shown(23, 8.0) == [*range(10), *range(10), 0, 1, 2]
    assert shown(4, 4.0) == [0, 2, 4, 6]
    assert shown(7, 4.0) == [0, 2, 4, 6, 8, 0, 2]
    assert shown(6, 16.0) == [0, 0, 1, 1, 2, 2]
    assert shown(1, 8.0) == [0]


@pytest.mark.parametrize(
    "fps, wanted", [(8.0, [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 0]), (16.0, [*"00112233445"])]
)
def test_a_clip_goes_on_through_the_shots_of_its_scene(
    folder: pathlib.Path, clip: str, fps: float, wanted: list
) -> None:
    shots = tuple(Shot(n) for n in (4, 6, 1))
    scenes = (Scene("dark_grid", shots), Scene(Picture(clip + ".webp"), shots))
    script = Script((), (*scenes, scenes[1]), fps=fps)

    def behind(scene: int) -> list[int]:
        parts = [shot_backdrop(script, scene, j, size=(16, 16), folder=folder) for j in range(3)]
        return levels(np.concatenate([part for part in parts if part is not None]))

    assert behind(1) == behind(2) == [int(n) for n in wanted]
    assert shot_backdrop(script, 0, 1, size=(16, 16), folder=folder) is None


def test_a_clip_covers_wide_and_narrow_frames(folder: pathlib.Path) -> None:
    x_W = (3 * np.arange(80)).astype(np.uint8)
    write_video(folder / "wide.webp", np.full((2, 20, 80, 3), x_W[:, None]), fps=8)
    for size, first in (((20, 60), 10), ((20, 20), 30), ((20, 80), 0), ((20, 10), 35)):
        video = read(folder, "wide.webp", size=size, frames=2)
        np.testing.assert_array_equal(video[1, 5, :, 0], x_W[first : first + size[1]])


@pytest.mark.parametrize("name", ["still.webp", "still.gif", "still.jpg", "STILL.PNG"])
def test_a_still_is_one_frame(folder: pathlib.Path, name: str) -> None:
    save(folder / name, np.full((20, 20, 3), 100, np.uint8))
    video = read(folder, name)
    assert video.shape == (1, 16, 16, 3) and np.abs(video.astype(int) - 100).max() <= 2


def test_nothing_outside_of_the_folder_is_read(folder: pathlib.Path) -> None:
    secret = folder.parent / "secret.png"
    save(secret, np.zeros((4, 4, 3), np.uint8))
    (folder / "link.png").symlink_to(secret)
    (folder / "up").symlink_to(folder.parent)
    for reference in ("../secret.png", str(secret), "link.png", "up/secret.png", "pictures/../.."):
        with pytest.raises(UserError, match="outside of the script's folder; copy") as caught:
            read(folder, reference)
        assert "\n" not in str(caught.value)


def test_links_within_the_folder_and_to_it_are_followed(folder: pathlib.Path) -> None:
    save(folder / "pictures" / "a.png", np.zeros((4, 4, 3), np.uint8))
    (folder / "b.png").symlink_to(folder / "pictures" / "a.png")
    (folder.parent / "alias").symlink_to(folder)
    assert read(folder.parent / "alias", "b.png").shape == (1, 16, 16, 3)


@pytest.mark.parametrize(
    "reference", ["no.png", "pictures", ".", "a\0b.png", "x" * 5000 + ".png", "loop.png"]
)
def test_what_is_not_a_file_is_refused(folder: pathlib.Path, reference: str) -> None:
    (folder / "loop.png").symlink_to(folder / "loop.png")
    with pytest.raises(UserError, match="there is no such file .* name another") as caught:
        read(folder, reference)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["bad.png", "bad.mp4", "bad.webp"])
def test_what_cannot_be_decoded_is_refused(folder: pathlib.Path, name: str) -> None:
    (folder / name).write_bytes(b"no picture at all, nor a film\n" * 9)
    with pytest.raises(UserError, match=rf"background '{name}': .*; use another") as caught:
        read(folder, name)
    assert "\n" not in str(caught.value)


def test_pictures_of_too_many_pixels_are_refused_before_they_are_decoded(
    folder: pathlib.Path,
) -> None:
    Image.new("1", (9000, 9000)).save(folder / "huge.png")
    with pytest.raises(UserError, match="frames of 9000 x 9000 are too large"):
        read(folder, "huge.png")


def test_without_a_folder_nothing_can_be_found() -> None:
    with pytest.raises(UserError, match="load the script from a file, or name a background"):
        read(None, "a.png")
