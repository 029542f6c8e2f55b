"""The public face on a run of two steps: shapes, determinism, conditions, and the evaluation."""

import dataclasses
import functools
import json
import pathlib
import types
from typing import Any

import numpy as np
import pytest
from PIL import Image

import jaxvid
from jaxvid import evaluate, examine, pipeline, screenwriter, training, training_planner
from jaxvid.animatic import animatic
from jaxvid.assets import load_script
from jaxvid.config import DataConfig, GanRun
from jaxvid.data.decode import read_video
from jaxvid.data.scenes import Scenes
from jaxvid.data.source import Example
from jaxvid.data.transforms import fit
from jaxvid.script import Actor, Entity, Fill, Picture, Scene, Script, Shot, to_json
from jaxvid.typing import UserError

PROMPT = "a large red circle moves to the right"
T = 16  # frames of a shot: what the generator was trained on, and compiled for
ENTITIES = (Entity("e0", "star", "yellow", "small"), Entity("e1", "ring", "blue", "medium"))
STAR = Actor("e0", "right", (0.3, 0.4, 0.28, 0.28), (0.5, 0.4, 0.28, 0.28))
RING = Actor("e1", "still", (0.3, 0.3, 0.4, 0.4), (0.3, 0.3, 0.4, 0.4), z=1)
SKY, SEA = (200, 30, 30), (40, 60, 220)


def film(*scenes: Scene) -> Script:
    return Script(ENTITIES, scenes)


ALONE = film(Scene("dark_grid", (Shot(T, (STAR,)),)))


@pytest.fixture(scope="module")
def pipe(tiny_run: pathlib.Path) -> pipeline.Pipeline:
    return jaxvid.load(tiny_run)


@pytest.fixture
def folder(tmp_path: pathlib.Path) -> pathlib.Path:
    """Of a script, with a picture of the sea in it, and one beside it."""
    for path in (tmp_path / "story" / "sea.png", tmp_path / "secret.png"):
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(np.full((20, 50, 3), SEA, np.uint8)).save(path)
    return tmp_path / "story"


def test_prompt_to_file(pipe: pipeline.Pipeline, tmp_path: pathlib.Path) -> None:
    clip = pipe.generate(PROMPT, seed=3)
    assert clip.script is not None and clip.script.prompt == PROMPT == clip.prompt
    shots = sum(len(scene.shots) for scene in clip.script.scenes)
    assert clip.video.shape == (T * shots, 32, 32, 3) and clip.video.dtype == np.uint8
    assert clip.script.frames == len(clip.video)
    path = clip.save(tmp_path / "clip.mp4")
    frames, fps = read_video(path)
    assert frames.shape == (T * shots, 256, 256, 3) and fps == 8.0


def test_the_same_seed_gives_the_same_clip(pipe: pipeline.Pipeline) -> None:
    a, b, c, d = (pipe.generate(PROMPT, seed=seed) for seed in (1, 1, 2, 2 - 2**31))
    np.testing.assert_array_equal(a.video, b.video)
    assert a.script == b.script
    assert (a.video != c.video).any()
    np.testing.assert_array_equal(c.video, d.video)  # any integer is a seed


@pytest.mark.parametrize("shape", [(32, 32), (45, 91)])
def test_an_image_becomes_the_first_frame(pipe: pipeline.Pipeline, shape: tuple[int, int]) -> None:
    image = np.random.default_rng(0).integers(0, 256, (*shape, 3)).astype(np.uint8)
    video = pipe.generate(script=ALONE, image=image).video
    np.testing.assert_array_equal(video[0], fit(image[None], 32)[0])
    assert (video[1] != video[0]).any()


def test_a_script_is_filmed_as_it_stands(pipe: pipeline.Pipeline, tmp_path: pathlib.Path) -> None:
    script = pipe.plan(PROMPT, seed=0)
    (tmp_path / "story.json").write_text(to_json(script), encoding="utf-8")
    story = load_script(tmp_path / "story.json")
    assert story == script
    np.testing.assert_array_equal(
        pipe.generate(script=story, seed=0).video, pipe.generate(PROMPT, seed=0).video
    )


def test_every_shot_of_a_script_has_its_frames_in_order(
    pipe: pipeline.Pipeline, folder: pathlib.Path
) -> None:
    """Named, coloured and pictured backgrounds, and cameras, joined by a cut, a fade and a wipe."""
    script = film(
        Scene("dark_grid", (Shot(T, (STAR,)), Shot(T, (STAR, RING), "pan_left", "fade"))),
        Scene(Fill(SKY), (Shot(T, (STAR,), "still", "wipe"), Shot(5, (STAR,), "zoom_in"))),
        Scene(Picture("sea.png"), (Shot(T, (RING,)),)),
    )
    clip = pipe.generate(script=script, seed=0, folder=folder)
    assert clip.video.shape == (script.frames, 32, 32, 3) == (4 * T + 5, 32, 32, 3)
    assert clip.script == script and clip.fps == script.fps
    alone = pipe.generate(script=ALONE, seed=0)
    np.testing.assert_array_equal(clip.video[:T], alone.video)
    corner_T3 = clip.video[:, 0, 0]
    sky, sea = slice(2 * T + 4, 3 * T), slice(3 * T + 5, None)  # after the fade
    assert (corner_T3[sky] == SKY).all() and (corner_T3[sea] == SEA).all()
    assert (corner_T3[2 * T : 2 * T + 4] != SKY).any(1).all()  # during it


def test_cameras_move(pipe: pipeline.Pipeline) -> None:
    still, moved = (
        pipe.generate(script=film(Scene("warm_noise", (Shot(T, (STAR,), camera),)))).video
        for camera in ("still", "pan_up")
    )
    assert (still != moved).any((1, 2, 3)).all()


def test_actors_stand_before_given_backgrounds(pipe: pipeline.Pipeline) -> None:
    """Only where they are does it not show: the star is in the middle of the frame."""
    video = pipe.generate(script=film(Scene(Fill(SKY), (Shot(T, (STAR,)),)))).video
    shows = (video == SKY).all(-1)
    assert shows[:, :4].all() and shows[:, -4:].all() and shows[:, :, :4].all()
    assert not shows.all()


def test_what_cannot_be_filmed_is_refused(pipe: pipeline.Pipeline, folder: pathlib.Path) -> None:
    def refusal(background: Picture, within: pathlib.Path | None = folder) -> str:
        shots = (Shot(T, (STAR,)),)
        script = film(Scene("dark_grid", shots), Scene(background, shots))
        with pytest.raises(UserError) as caught:
            pipe.generate(script=script, folder=within)
        assert "\n" not in str(caught.value)
        return str(caught.value)

    assert "no such file" in refusal(Picture("none.png"))
    assert "load the script from a file" in refusal(Picture("sea.png"), within=None)
    (folder / "link.png").symlink_to(folder.parent / "secret.png")
    assert "outside of the script's folder" in refusal(Picture("link.png"))


def test_a_shot_without_actors_shows_what_is_behind_them(
    pipe: pipeline.Pipeline, folder: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    empty = (Shot(3),)
    script = film(
        Scene("cool_grid", empty), Scene(Fill(SKY), empty), Scene(Picture("sea.png"), empty)
    )
    monkeypatch.setattr(pipe, "_fill", None)  # without any network
    video = pipe.generate(script=script, folder=folder).video
    np.testing.assert_array_equal(video, animatic(script, folder=folder, size=(32, 32)))
    assert (video[:3] != SKY).any() and (video[3:6] == SKY).all() and (video[6:] == SEA).all()
    image = np.random.default_rng(0).integers(0, 256, (32, 32, 3)).astype(np.uint8)
    pictured = pipe.generate(script=script, image=image, folder=folder).video
    assert (pictured[:3] == image).all() and (pictured[3:] == video[3:]).all()


def told(*narrations: str) -> pipeline.Clip:
    """A grey clip with a shot of 8 frames for each narration."""
    shots = tuple(Shot(8, (STAR,), narration=text) for text in narrations)
    video = np.full((8 * len(shots), 32, 32, 3), 128, np.uint8)
    return pipeline.Clip(video, 8.0, None, film(Scene("dark_grid", shots)))


def test_narrations_go_beside_the_video_or_into_it(
    tmp_path: pathlib.Path, capsys: pytest.CaptureFixture
) -> None:
    clip = told("A star.", "", "It shines. 星")
    path = clip.save(tmp_path / "a.webp")
    assert (tmp_path / "a.srt").read_text(encoding="utf-8") == (
        "1\n00:00:00,000 --> 00:00:01,000\nA star.\n\n"
        "2\n00:00:02,000 --> 00:00:03,000\nIt shines. 星\n"
    )
    assert (read_video(path)[0] == 128).all()
    told("A star.", "").save(tmp_path / "b.webp", burn=True)
    burnt, _ = read_video(tmp_path / "b.webp")
    assert burnt.shape == (16, 256, 256, 3) and not (tmp_path / "b.srt").exists()
    drawn_T = (burnt != 128).any((1, 2, 3))
    np.testing.assert_array_equal(drawn_T, [True] * 8 + [False] * 8)
    told("", "").save(tmp_path / "c.webp")
    assert not (tmp_path / "c.srt").exists() and not capsys.readouterr().out
    told("", "").save(path)
    assert "a.srt is not of this film" in capsys.readouterr().out and (tmp_path / "a.srt").exists()
    with pytest.raises(UserError, match="320000 pixels a side are too many"):
        told("A star.").save(tmp_path / "d.webp", scale=10_000, burn=True)


@pytest.mark.parametrize(
    "picture", [np.zeros((5, 5), np.uint8), np.zeros((5, 5, 4), np.uint8), np.ones((5, 5, 3))]
)
def test_bad_pictures_are_refused(pipe: pipeline.Pipeline, picture: np.ndarray) -> None:
    with pytest.raises(UserError, match="must be uint8 .H, W, 3., 0 to 255"):
        pipe.generate(script=ALONE, image=picture)


def test_a_first_frame_stands_before_its_own_background(pipe: pipeline.Pipeline) -> None:
    script = film(Scene(Fill(SKY), (Shot(T, (STAR,)),)))
    with pytest.raises(UserError, match="shows its own background"):
        pipe.generate(script=script, image=np.zeros((32, 32, 3), np.uint8))


def test_slow_scripts_are_made_at_times_that_were_trained(pipe: pipeline.Pipeline) -> None:
    slow, slower = (dataclasses.replace(ALONE, fps=fps) for fps in (2.0, 0.1))
    films = [pipe.generate(script=script) for script in (slow, slower)]
    np.testing.assert_array_equal(films[0].video, films[1].video)
    assert films[1].fps == 0.1


def test_bad_prompts_are_refused(pipe: pipeline.Pipeline) -> None:
    for prompt in ("", "   ", "x" * 100_000):
        with pytest.raises(UserError):
            pipe.generate(prompt)
    with pytest.raises(UserError, match="prompt or a script"):
        pipe.generate()


def test_another_planner_can_be_named(
    tiny_run: pathlib.Path, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[pathlib.Path | str | None] = []
    monkeypatch.setattr(screenwriter, "load", asked.append)
    loaded = training.load_gan(tiny_run / "gan")
    monkeypatch.setattr(training, "load_gan", lambda folder: loaded)
    for run in (tiny_run, tmp_path):  # the latter has a generator alone
        for planner in (None, "shipped", tmp_path / "planner.safetensors"):
            pipe, before = jaxvid.load(run, planner=planner), len(asked)
            assert (pipe.writer, len(asked)) == (None, before + 1)  # loaded when it is asked for
    named = [None, tmp_path / "planner.safetensors"]
    assert asked == [tiny_run, *named, None, *named]


def test_what_learnt_from_captions_takes_no_script(
    pipe: pipeline.Pipeline, tiny_run: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    nets, state, run = training.load_gan(tiny_run / "gan")
    own = dataclasses.replace(run, data=dataclasses.replace(run.data, source="folder:films"))
    monkeypatch.setattr(training, "load_gan", lambda _: (nets, state, own))
    with pytest.raises(UserError, match="leave the planner out"):
        pipeline.load(tiny_run, planner="shipped")
    with pytest.raises(UserError, match="leave the script out"):
        pipeline.load(tiny_run).generate(script=ALONE)


def test_a_folder_without_a_run_is_named(tmp_path: pathlib.Path) -> None:
    with pytest.raises(UserError, match="train one"):
        jaxvid.load(tmp_path)


def test_any_number_of_frames_in_windows(pipe: pipeline.Pipeline) -> None:
    """A shot of three windows; the first frame stays the picture that was given."""
    image = np.full((32, 32, 3), 77, np.uint8)
    script = film(Scene("dark_grid", (Shot(41, (STAR,)),)))
    video = pipe.generate(script=script, image=image, seed=0).video
    assert video.shape == (41, 32, 32, 3) and (video[0] == 77).all() and (video[1:] != 77).any()


@pytest.fixture(scope="module")
def real() -> np.ndarray:
    return Scenes("heldout", length=1)[0].video


def test_a_video_goes_on(pipe: pipeline.Pipeline, real: np.ndarray) -> None:
    clip = pipe.extend(real, 20, seed=1)
    assert clip.video.shape == (36, 32, 32, 3) and clip.fps == 8.0
    assert clip.script is not None and clip.script.frames == 36
    np.testing.assert_array_equal(clip.video[:16], real)
    assert (np.diff(clip.video[16:].astype(int), axis=0) != 0).any()
    other = pipe.extend(real, 20, seed=2).video
    assert (other[16:] != clip.video[16:]).any()


def test_a_prompt_of_several_shots_is_no_edit(
    pipe: pipeline.Pipeline, real: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    shot = ALONE.scenes[0].shots[0]
    two = dataclasses.replace(ALONE, scenes=(Scene("dark_plain", (shot, shot)),))
    monkeypatch.setattr(pipeline.Pipeline, "plan", lambda *_, **__: two)
    with pytest.raises(UserError, match="several shots"):
        pipe.extend(real, 4, prompt=PROMPT)


def test_shots_of_a_prompt_have_the_frames_that_are_asked_for(pipe: pipeline.Pipeline) -> None:
    clip = pipe.generate(PROMPT, frames=20, seed=3)
    assert clip.script is not None and len(clip.video) == clip.script.frames
    assert {shot.frames for scene in clip.script.scenes for shot in scene.shots} == {20}


def test_frames_come_between(pipe: pipeline.Pipeline, real: np.ndarray) -> None:
    clip = pipe.interpolate(real[:5], factor=4, fps=10)
    assert clip.video.shape == (17, 32, 32, 3) and clip.fps == 40
    np.testing.assert_array_equal(clip.video[::4], real[:5])
    assert (clip.video[2] != real[0]).any()
    uneven = pipe.inbetween(real[:3], [0, 0.25, 1.5, 2]).video
    np.testing.assert_array_equal(uneven[[0, 3]], real[[0, 2]])
    assert len(uneven) == 4 and (uneven[1] != real[0]).any()


def test_a_hole_is_filled_and_the_rest_stays(pipe: pipeline.Pipeline, real: np.ndarray) -> None:
    hole = np.zeros((32, 32), bool)
    hole[8:20, 4:16] = True
    clip = pipe.inpaint(real, hole)
    np.testing.assert_array_equal(clip.video[:, ~hole], real[:, ~hole])
    assert (clip.video[:, hole] != real[:, hole]).any((1, 2)).all()


def test_edits_that_make_no_sense_are_refused(pipe: pipeline.Pipeline, real: np.ndarray) -> None:
    cases = [
        (lambda: pipe.extend(real, 0), "at least one more"),
        (lambda: pipe.extend(real[:, :16], 4), "this run needs uint8"),
        (lambda: pipe.extend(real.astype(np.float32), 4), "this run needs uint8"),
        (lambda: pipe.extend(real, 10**7), "frames cannot be made"),
        (lambda: pipe.interpolate(real, factor=1), "factor of 2"),
        (lambda: pipe.interpolate(real[:1]), "two frames"),
        (lambda: pipe.inbetween(real[:1], [0.0]), "two frames"),
        (lambda: pipe.inbetween(real, [2, 1]), "go up"),
        (lambda: pipe.inbetween(real, [0, 99]), "lie in the clip"),
        (lambda: pipe.inpaint(real, np.ones((3, 3), bool)), "hole"),
        (lambda: pipe.generate(PROMPT, label="walk"), "no class 'walk'; it was trained without"),
        (lambda: pipe.generate(PROMPT, guidance=-1), "guidance"),
        (lambda: pipe.generate(script=ALONE, frames=9), "set frames there"),
        (lambda: pipe.generate(PROMPT, frames=0), "frames"),
    ]
    for call, words in cases:
        with pytest.raises(UserError, match=words):
            call()
    with pytest.raises(TypeError, match="unknown argument 'sed'"):
        pipe.extend(real, 4, sed=1)


def test_an_exported_generator_films_as_its_run_does(
    pipe: pipeline.Pipeline, tiny_run: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    path = pipeline.export(tiny_run, tmp_path / "generator.safetensors")
    exported = pipeline.load(path, planner=tiny_run)
    a, b = (p.generate(script=ALONE, seed=0).video.astype(int) for p in (pipe, exported))
    assert np.abs(a - b).max() <= 2  # half precision
    with pytest.raises(UserError, match="cannot read"):
        pipeline.load(tmp_path / "none.safetensors")
    with pytest.raises(UserError, match="unknown key"):
        pipeline.load(training_planner.SHIPPED)  # a planner


class Half(pipeline.Pipeline):
    """Knows every frame between but for its brightness."""

    def __init__(self) -> None: ...

    def interpolate(self, known: np.ndarray, *, factor: int, prompt: str | None = None) -> Any:  # type: ignore[override]
        assert prompt is None or len(prompt) <= 16
        return types.SimpleNamespace(video=examine.nearest(known, factor) // 2)


def test_frames_between_are_counted_where_something_moves() -> None:
    """A still is exact for whatever copies, at 100 dB: it would outweigh all others."""
    moving = np.random.default_rng(0).integers(0, 256, (5, 16, 16, 3)).astype(np.uint8)
    clips = [Example(moving, "x" * 40, 8.0), Example(np.repeat(moving[:1], 5, 0), " ", 8.0)]
    run = GanRun(data=DataConfig(frames=5, text_length=16, resolution=16))
    source: Any = Numbered(clips)
    subject = examine.Subject(Half(), run, source, 2)
    assert sorted(map(str, subject.prompts)) == ["None", "x" * 16]
    (psnr, _) = examine.inbetween(subject, factors=(2,)).section.figures
    assert psnr.note.startswith("1 clips") and psnr.floor is not None and psnr.floor < 20
    source = Numbered(clips[1:])
    still = examine.Subject(Half(), run, source, 1)
    assert not examine.inbetween(still, factors=(2, 4)).section.figures


def test_frames_between_that_stand_still_are_not_counted() -> None:
    """Half a clip that is held at its end: its figures are those of the half that moves."""
    moving = np.random.default_rng(0).integers(0, 256, (5, 16, 16, 3)).astype(np.uint8)
    run = GanRun(data=DataConfig(frames=9, text_length=16, resolution=16))
    found = []
    for clip in (moving, np.concatenate([moving, np.repeat(moving[-1:], 4, 0)])):
        source: Any = Numbered([Example(clip, "", 8.0)])
        run = dataclasses.replace(run, data=dataclasses.replace(run.data, frames=len(clip)))
        subject = examine.Subject(Half(), run, source, 1)
        found.append(examine.inbetween(subject, factors=(2,)).section.figures)
    for short, held in zip(*found, strict=True):
        assert held.value == pytest.approx(short.value) and held.floor == pytest.approx(short.floor)


@pytest.mark.parametrize("count", [4, 8, 20])
def test_small_sets_are_not_called_copies_by_chance(count: int) -> None:
    """Of what is as near as real clips are, the nearest tenth of few is often nearer than all."""

    def flagged(seed: int) -> bool:
        clips = np.random.default_rng(seed).integers(0, 256, (3, count, 2, 8, 8, 3), np.uint8)
        train, real, made = ([Example(c, "", 8.0) for c in part] for part in clips)
        source: Any = Numbered(real)
        run = GanRun(data=DataConfig(frames=2, text_length=16, resolution=8))
        subject = examine.Subject(Half(), run, source, count)
        subject.__dict__["made"] = np.array([x.video for x in made])
        known: Any = Numbered(train)
        return examine._memorised(subject, known)[0].note.startswith("MEMORISED")

    assert sum(flagged(seed) for seed in range(20)) <= 1


class Numbered:
    """Examples as a source."""

    name = "numbered"

    def __init__(self, clips: list[Example]) -> None:
        self.clips, self.labels = clips, dict[str, tuple[str, ...]]()

    def __len__(self) -> int:
        return len(self.clips)

    def __getitem__(self, index: int) -> Example:
        return self.clips[index]


@pytest.mark.parametrize(("copies", "flagged"), [(0, False), (6, True), (40, True)])
def test_copies_are_flagged_also_where_few_of_them_are_met(copies: int, flagged: bool) -> None:
    """Of many training clips few are looked at: the mean distance hardly falls for a few copies."""
    clips = np.random.default_rng(0).integers(0, 256, (120, 4, 8, 8, 3)).astype(np.uint8)
    train, real, made = (
        [Example(clip, "", 8.0) for clip in part] for part in clips.reshape(3, 40, 4, 8, 8, 3)
    )
    run = GanRun(data=DataConfig(frames=4, text_length=16, resolution=16))
    source: Any = Numbered(real)
    subject = examine.Subject(Half(), run, source, 40)
    subject.__dict__["made"] = np.array([x.video for x in train[:copies] + made[copies:]])
    known: Any = Numbered(train)
    nearest, copied = examine._memorised(subject, known)
    assert nearest.note.startswith("MEMORISED") == flagged
    assert nearest.note.endswith("of 40 of 40 training clips")
    assert copied.value == pytest.approx(copies / 40, abs=0.05)


def test_an_evaluation_that_cannot_be_is_refused_first(tiny_run: pathlib.Path) -> None:
    for options, says in (
        ({"prompts": 0}, "a prompt or more and two clips, not 0 and 64"),
        ({"clips": 1}, "not 200 and 1"),
        ({"i3d": "none.safetensors"}, "none.safetensors"),
    ):
        with pytest.raises(UserError, match=says):
            evaluate.evaluate(tiny_run, **options)  # type: ignore[arg-type]


def test_evaluation_is_written(tiny_run: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(evaluate, "SAME", 2)
    few = functools.partial(examine._memorised, most=64)
    monkeypatch.setattr(examine, "_memorised", few)
    result = evaluate.evaluate(tiny_run, prompts=4, clips=4)
    written = json.loads((tiny_run / "evaluation.json").read_text(encoding="utf-8"))
    assert written == result
    color = written["prompts"]["color"]
    assert color["ceiling"] > 0.9 > color["value"]
    matrix = written["rebuilt"]["critics"]
    assert matrix["real_judged_real"] + matrix["real_judged_generated"] == 2  # of 4 clips
    assert written["inbetween"]["psnr at 4x"]["floor"] > 15
    assert written["animated"]["first frame kept"]["value"] == 1
    distances = [name for name in written["sets"] if "random" in name]
    assert len(distances) == 4 and not any("fvd" in name.lower() for name in written["sets"])
    assert (tiny_run / "evaluation.png").stat().st_size > 1000
    page = (tiny_run / "report.html").read_text(encoding="utf-8")
    assert page.count("<img") >= 20 and "psnr at 4x" in page and "data:image/webp" in page
