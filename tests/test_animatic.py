"""Laws of the animatic: every frame of the script, in order, also through a file."""

import pathlib

import numpy as np
import pytest

from jaxvid.animatic import animatic
from jaxvid.data.decode import read_video
from jaxvid.data.render import render
from jaxvid.io.media import write_video
from jaxvid.script import Actor, Entity, Fill, Picture, Scene, Script, Shot
from jaxvid.typing import UserError

TONES = ((200, 30, 30), (30, 160, 40), (40, 60, 220), (240, 240, 240))
ACTOR = Actor("e0", "right", (0.2, 0.4, 0.3, 0.3), (0.5, 0.4, 0.3, 0.3))
ENTITIES = (Entity("e0", "star", "yellow", "small"),)
STORY = Script(
    ENTITIES,
    (
        Scene(Fill(TONES[0]), (Shot(30, (ACTOR,), "pan_left", "cut"),)),
        Scene(Fill(TONES[1]), (Shot(20, (ACTOR,), "zoom_in", "fade"),)),
        Scene(Fill(TONES[2]), (Shot(16, (ACTOR,), "still", "wipe"),)),
        Scene(Fill(TONES[3]), (Shot(30, (ACTOR,), "zoom_out", "cut"),)),
    ),
)
STARTS = (0, 30, 50, 66, 96)


def corners_show_the_shots(video: np.ndarray) -> bool:
    """Whether each frame, but for the four of a fade or wipe, shows the background of its shot."""
    corner_T3 = video[:, :3, :3].mean((1, 2))
    nearest_T = np.abs(corner_T3[:, None] - np.array(TONES)).sum(-1).argmin(1)
    clear = [
        (shot, t)
        for shot, (first, last) in enumerate(zip(STARTS, STARTS[1:], strict=False))
        for t in range(first + (4 if shot >= 2 else 0), last)
    ]
    return all(nearest_T[t] == shot for shot, t in clear)


def test_a_story_of_four_shots_has_all_its_frames_in_order() -> None:
    video = animatic(STORY)
    assert video.shape == (96, 32, 32, 3) and video.dtype == np.uint8
    assert corners_show_the_shots(video)
    assert not corners_show_the_shots(video[::-1])
    assert animatic(STORY, size=(24, 40)).shape == (96, 24, 40, 3)


@pytest.mark.parametrize("suffix", ["mp4", "gif", "webp"])
def test_a_file_of_it_has_all_frames_in_order(tmp_path: pathlib.Path, suffix: str) -> None:
    write_video(tmp_path / f"story.{suffix}", animatic(STORY), fps=STORY.fps)
    video, fps = read_video(tmp_path / f"story.{suffix}")
    assert len(video) == 96 and fps == pytest.approx(8, rel=0.01)
    assert corners_show_the_shots(video)


def test_still_shots_and_cuts_are_what_the_renderer_draws() -> None:
    shot = Shot(5, (ACTOR,))
    script = Script(ENTITIES, (Scene("dark_grid", (shot, shot)), Scene("warm_noise", (shot,))))
    np.testing.assert_array_equal(animatic(script), render(script))


def test_cameras_and_transitions_of_the_script_are_followed() -> None:
    still = Script(ENTITIES, (Scene("dark_grid", (Shot(6, (ACTOR,)), Shot(6, (ACTOR,)))),))
    moved, faded = (
        Script(ENTITIES, (Scene("dark_grid", (Shot(6, (ACTOR,), *how), Shot(6, (ACTOR,)))),))
        for how in (("pan_up", "cut"), ("still", "fade"))
    )
    differs = (animatic(moved) != animatic(still)).any((1, 2, 3))
    np.testing.assert_array_equal(differs, [True] * 6 + [False] * 6)
    differs = (animatic(faded) != animatic(still)).any((1, 2, 3))
    np.testing.assert_array_equal(differs, [False] * 6 + [True] * 4 + [False] * 2)


def test_pictures_beside_the_script_stand_behind_the_actors(tmp_path: pathlib.Path) -> None:
    tones = np.arange(0, 160, 20).astype(np.uint8)[:, None, None, None]
    write_video(tmp_path / "sea.webp", np.full((8, 32, 32, 3), tones), fps=8)
    script = Script(ENTITIES, (Scene(Picture("sea.webp"), (Shot(12, (ACTOR,)),)),))
    video = animatic(script, folder=tmp_path)
    np.testing.assert_array_equal(video[:, 0, 0, 0], np.resize(tones, 12))
    assert (video.max(-1) - video.min(-1)).any((1, 2)).all()  # the actor has a colour
    with pytest.raises(UserError, match="load the script from a file"):
        animatic(script)


def test_more_than_memory_holds_is_refused_before_it_is_drawn() -> None:
    long = Scene("dark_plain", (Shot(4096, (ACTOR,)),))
    huge = Script(ENTITIES, (long,), size=(4096, 4096))
    with pytest.raises(UserError, match="too many to draw"):
        animatic(huge)
    assert len(animatic(huge, size=(2, 2))) == 4096  # the frames alone are not too many
