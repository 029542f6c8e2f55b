"""The command lines: bad input is one line, exit code 2, no traceback and nothing half written."""

import dataclasses
import errno
import json
import os
import pathlib
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from PIL import Image

import jaxvid
import train.gan
import train.planner
import train.quickstart
import train.rl
from jaxvid import cli, config, pipeline, presets, screenwriter, training_planner
from jaxvid.assets import load_script
from jaxvid.config import PlannerRlRun, PlannerRun, RlRun
from jaxvid.data.decode import read_video
from jaxvid.data.render import render
from jaxvid.io.media import write_video
from jaxvid.outline import Look, Outline, Part, Take, stated
from jaxvid.script import (
    Actor,
    Entity,
    Picture,
    Scene,
    Script,
    Shot,
    from_json,
    schema,
    to_json,
)
from jaxvid.staging import stage
from jaxvid.training import check_run, open_run
from jaxvid.typing import UserError

ROOT = pathlib.Path(__file__).parents[1]


def refused(main: Callable[..., None], argv: list[str], capsys: pytest.CaptureFixture) -> str:
    """The one line on stderr with which ``main`` refuses ``argv``."""
    with pytest.raises(SystemExit) as stopped:
        main(argv)
    assert stopped.value.code == 2
    text = capsys.readouterr().err.strip()
    assert text.startswith("error: ") and "\n" not in text and "Traceback" not in text
    return text


def test_unknown_preset(capsys: pytest.CaptureFixture) -> None:
    assert "did you mean 'quickstart'" in refused(train.gan.main, ["--preset", "quickstrt"], capsys)


def test_misspelt_option_names_the_nearest(capsys: pytest.CaptureFixture) -> None:
    with pytest.raises(SystemExit) as stopped:
        train.gan.main(["--train.stepz", "5"])
    assert stopped.value.code == 2
    assert "--train.steps" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("argv", "says"),
    [
        (["--train.steps", "0"], "steps is 0"),
        (["--generator.width", "50"], "try heads=5"),
        (["--tasks.first", "0.9"], "add up to 1"),
    ],
)
def test_bad_values(argv: list[str], says: str, capsys: pytest.CaptureFixture) -> None:
    assert says in refused(train.gan.main, argv, capsys)


def test_missing_and_empty_folders(tmp_path: pathlib.Path, capsys: pytest.CaptureFixture) -> None:
    run = ["--run", str(tmp_path / "run")]
    for folder in (tmp_path / "none", tmp_path):
        says = refused(train.gan.main, ["--data", f"folder:{folder}", *run], capsys)
        assert str(folder) in says
    assert "tfds:NAME" in refused(train.gan.main, ["--data", "nonsense", *run], capsys)


def test_a_folder_of_broken_films(tmp_path: pathlib.Path, capsys: pytest.CaptureFixture) -> None:
    films = tmp_path / "films"
    films.mkdir()
    (films / "empty.mp4").write_bytes(b"")
    (films / "text.mp4").write_text("not a film")
    argv = ["--data", f"folder:{films}", "--run", str(tmp_path / "run")]
    with pytest.raises(SystemExit) as stopped:
        train.gan.main(argv)
    assert stopped.value.code == 2
    assert "Traceback" not in capsys.readouterr().err
    assert not list((tmp_path / "run").rglob("*.png"))


@pytest.mark.parametrize(
    ("options", "fix"),
    [
        (["--train.batch-size", "12"], "8 devices; try 16"),
        (["--train.batch-size", "8", "--compute.accumulate", "4"], "4 parts (accumulate); try 32"),
        (["--train.backend", "pmap", "--mesh.fsdp", "2"], "use --train.backend jit"),
    ],
)
def test_what_does_not_fit_the_devices_leaves_no_run(
    options: list[str], fix: str, tmp_path: pathlib.Path, capsys: pytest.CaptureFixture
) -> None:
    argv = ["--preset", "quickstart", "--run", str(tmp_path / "run"), *options]
    assert fix in refused(train.gan.main, argv, capsys)
    assert not list(tmp_path.rglob("config.json"))


def test_only_what_may_not_change_is_named(tmp_path: pathlib.Path) -> None:
    before = PlannerRun()
    open_run(tmp_path, before)
    longer = dataclasses.replace(before.train, steps=7, log_every=3)
    check_run(tmp_path, dataclasses.replace(before, train=longer))
    other = dataclasses.replace(before, train=dataclasses.replace(longer, seed=5))
    with pytest.raises(UserError, match="train.seed 0, now 5"):
        check_run(tmp_path, other)


def test_quickstart_looks_at_all_stages_before_the_first(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    def train_planner(run: PlannerRun, folder: pathlib.Path) -> None:
        raise UserError(f"trained in {folder}")

    monkeypatch.setattr(training_planner, "train_planner", train_planner)
    monkeypatch.chdir(tmp_path)
    assert "trained in runs/quickstart/planner" in refused(train.quickstart.main, [], capsys)
    short = refused(train.quickstart.main, ["--short"], capsys)
    assert "trained in runs/quickstart-short/planner" in short
    gan = presets.quickstart_gan()
    longer = dataclasses.replace(gan, loss=dataclasses.replace(gan.loss, warmup=7))
    open_run(tmp_path / "runs/quickstart/gan", longer)
    assert "loss.warmup 7, now" in refused(train.quickstart.main, [], capsys)


def test_how_fast_a_run_goes_on_may_change(tmp_path: pathlib.Path) -> None:
    before = presets.quickstart_gan()
    open_run(tmp_path, before)
    now = dataclasses.replace(
        before,
        train=dataclasses.replace(before.train, skips=9, rollbacks=9, backend="pmap"),
        data=dataclasses.replace(before.data, threads=9, workers=9, memory_gb=9.0),
        compute=dataclasses.replace(before.compute, remat=True, accumulate=2),
    )
    check_run(tmp_path, now)
    other = dataclasses.replace(now.compute, dtype="bfloat16")
    with pytest.raises(UserError, match="compute.dtype 'float32', now 'bfloat16'"):
        check_run(tmp_path, dataclasses.replace(now, compute=other))
    for part in (RlRun(), PlannerRlRun()):
        open_run(tmp_path / part.__class__.__name__, part)
        check_run(tmp_path / part.__class__.__name__, part)


@pytest.mark.parametrize(
    ("number", "code"),
    [(errno.ENOSPC, 74), (errno.EDQUOT, 74), (errno.EIO, 1), (errno.ESTALE, 1), (errno.EACCES, 2)],
)
def test_faults_of_the_machine_say_whether_to_start_again(number: int, code: int) -> None:
    with pytest.raises(SystemExit) as stopped, cli.user_errors():
        raise OSError(number, os.strerror(number), "/shared/metrics.jsonl")
    assert stopped.value.code == code


def test_a_run_folder_of_another_configuration(
    tiny_run: pathlib.Path, capsys: pytest.CaptureFixture
) -> None:
    says = refused(train.planner.main, ["--run", str(tiny_run)], capsys)
    assert "another configuration" in says and "data.text_length 256, now" in says
    says = refused(train.planner.main, ["--run", str(tiny_run), "--base", "shipped"], capsys)
    assert "base '', now 'shipped'" in says


def test_generate_refuses_before_it_computes(
    tiny_run: pathlib.Path, tmp_path: pathlib.Path, capsys: pytest.CaptureFixture
) -> None:
    out = str(tmp_path / "clip.mp4")
    base = ["generate", "--run", str(tiny_run), "--out", out]
    assert "empty" in refused(cli.main, [*base, " "], capsys)
    assert "100000 bytes" in refused(cli.main, [*base, "x" * 100_000], capsys)
    assert "give a prompt" in refused(cli.main, base, capsys)
    argv = [*base, "--script", "story.json", "a blue star"]
    assert "leave out the prompt" in refused(cli.main, argv, capsys)
    for bad in (str(tmp_path / "none" / "clip.mp4"), str(tmp_path / "clip.xyz"), str(tmp_path)):
        refused(
            cli.main, ["generate", "--run", str(tiny_run), "--out", bad, "a red circle"], capsys
        )
    assert "no generator" in refused(
        cli.main, ["generate", "--run", str(tmp_path), "--out", out, "a red circle"], capsys
    )
    assert "did you mean 'generate'" in refused(cli.main, ["generat"], capsys)
    assert "scale is 0" in refused(cli.main, [*base, "a red circle", "--scale", "0"], capsys)
    assert not list(tmp_path.iterdir())


def test_generate_refuses_a_story_before_it_is_filmed(
    tiny_run: pathlib.Path,
    tmp_path: pathlib.Path,
    capsys: pytest.CaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(pipeline.Pipeline, "_fill", lambda *_: pytest.fail("it was filmed"))
    path = tmp_path / "story.json"
    argv = ["generate", "--run", str(tiny_run), "--script", str(path)]

    def says(script: Script, out: str, *options: str) -> str:
        path.write_text(to_json(script), encoding="utf-8")
        with pytest.raises(SystemExit):
            cli.main([*argv, "--out", str(tmp_path / out), *options])
        assert not (tmp_path / out).exists()
        return capsys.readouterr().err  # what is surely not meant is said there as well

    actor = Actor("e0", "right", (0.3, 0.4, 0.28, 0.28), (0.5, 0.4, 0.28, 0.28))
    shot = Shot(4, (actor,), narration="你好")
    star = Entity("e0", "star", "red", "small")
    script = Script((star,), (Scene("dark_plain", (shot,)),), fps=100.0)
    assert "fps 100.0 is out of range" in says(script, "film.gif")
    assert "the font has no" in says(script, "film.mp4", "--burn")
    later = Scene(Picture("none.png"), (dataclasses.replace(shot, narration=""),))
    script = dataclasses.replace(script, scenes=(*script.scenes, later))
    assert "none.png" in says(script, "film.mp4")


def test_generate_and_script_write_files(
    tiny_run: pathlib.Path, tmp_path: pathlib.Path, capsys: pytest.CaptureFixture
) -> None:
    story, film = tmp_path / "story.json", tmp_path / "clip.gif"
    cli.main(["script", "--run", str(tiny_run), "--out", str(story), "a red circle moves up"])
    cli.main(["generate", "--run", str(tiny_run), "--script", str(story), "--out", str(film)])
    frames = load_script(story).frames
    assert f"{frames} frames" in capsys.readouterr().out
    assert len(read_video(film)[0]) == frames
    cli.main(["generate", "--run", str(tiny_run), "--out", str(film), "a red circle moves up"])
    told = screenwriter.unsure(screenwriter.load(tiny_run).write("a red circle moves up"))
    assert told is not None and told in capsys.readouterr().err.splitlines()


def test_generate_films_a_story_with_its_pictures_and_narration(
    tiny_run: pathlib.Path, story: pathlib.Path, capsys: pytest.CaptureFixture
) -> None:
    out = story.parent / "film.webp"
    cli.main(["generate", "--run", str(tiny_run), "--script", str(story), "--out", str(out)])
    printed = capsys.readouterr()
    assert "48 frames at 8 frames a second" in printed.out and not printed.err
    assert len(read_video(out)[0]) == 48
    assert "A star." in out.with_suffix(".srt").read_text(encoding="utf-8")


def test_script_prints_what_it_reads(
    tiny_run: pathlib.Path, tmp_path: pathlib.Path, capsys: pytest.CaptureFixture
) -> None:
    def printed(*options: str) -> Script:
        cli.main(["script", "--run", str(tiny_run), "a red circle", *options])
        return from_json(capsys.readouterr().out)

    Image.new("RGB", (90, 40), "red").save(tmp_path / "red.png")
    assert printed().prompt == "a red circle"
    assert printed("--seed", "5") == printed("--seed", "5")
    assert printed("--seed", "-1").frames > 0
    assert printed("--image", str(tmp_path / "red.png")).frames > 0
    base = ["script", "--run", str(tiny_run), "a red circle"]
    assert "none.png" in refused(cli.main, [*base, "--image", str(tmp_path / "none.png")], capsys)
    says = refused(cli.main, [*base, "--out", str(tmp_path / "none" / "s.json")], capsys)
    assert "there is no folder" in says


def test_explain_shows_words_and_slots(
    tiny_run: pathlib.Path, tmp_path: pathlib.Path, capsys: pytest.CaptureFixture
) -> None:
    prompt, out = "一颗 red 圆", tmp_path / "story.json"
    cli.main(["script", "--run", str(tiny_run), prompt, "--explain", "--out", str(out)])
    printed = capsys.readouterr()
    first, *rest = printed.out.splitlines()
    assert first == prompt
    draft = screenwriter.load(tiny_run).write(prompt)
    assert draft.doubts and screenwriter.unsure(draft) in printed.err.splitlines()
    assert len(rest) == len(draft.spans) + 1 and str(out) in rest[-1]
    for span in draft.spans:
        (line,) = (line for line in rest[:-1] if span.slot in line.split())
        assert line.rstrip().endswith(prompt[span.start : span.end])
        look = span.slot.partition("/who/")[2]
        assert (f"looks/{look}" if look else stated(draft.outline)[span.slot]) in line.split()
    assert load_script(out) == draft.script


def test_schema_and_version_are_printed(capsys: pytest.CaptureFixture) -> None:
    cli.main(["script", "--schema"])
    assert json.loads(capsys.readouterr().out) == schema()
    cli.main(["--version"])
    assert capsys.readouterr().out == f"jaxvid {jaxvid.__version__}\n"
    with pytest.raises(SystemExit) as stopped:
        cli.main(["--help"])
    assert stopped.value.code == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines[1:]] == ["generate", "edit", "script", "export"]
    with pytest.raises(SystemExit) as stopped:
        cli.main([])
    assert stopped.value.code == 2


@pytest.fixture
def story(tmp_path: pathlib.Path) -> pathlib.Path:
    """A script of three shots, with the picture that it names beside it."""
    (tmp_path / "story").mkdir()
    Image.new("RGB", (50, 20), (40, 60, 220)).save(tmp_path / "story" / "sea.png")
    Image.new("RGB", (50, 20)).save(tmp_path / "secret.png")
    star = Actor("e0", "right", (0.3, 0.4, 0.28, 0.28), (0.5, 0.4, 0.28, 0.28))
    shots = (Shot(16, (star,), transition="fade", narration="A star."), Shot(16, (star,), "pan_up"))
    script = Script(
        (Entity("e0", "star", "yellow", "small"),),
        (Scene("dark_grid", shots), Scene(Picture("sea.png"), (Shot(16, (star,)),))),
    )
    path = tmp_path / "story" / "story.json"
    path.write_text(to_json(script), encoding="utf-8")
    return path


@pytest.mark.parametrize("out", [None, "other.mp4", "other.webp"])
def test_preview_draws_a_story_without_a_network(
    story: pathlib.Path, capsys: pytest.CaptureFixture, out: str | None
) -> None:
    path = story.with_suffix(".gif") if out is None else story.with_name(out)
    options = [] if out is None else ["--out", str(path)]
    cli.main(["script", "--preview", str(story), *options])
    printed = capsys.readouterr()
    assert f"{path}: 48 frames at 8 frames a second" in printed.out and not printed.err
    video, _ = read_video(path)
    assert video.shape == (48, 256, 256, 3)
    assert np.abs(video[-1, :20, :20].astype(int) - (40, 60, 220)).max() < 8


def test_previews_are_no_larger_than_they_may_be(
    story: pathlib.Path, capsys: pytest.CaptureFixture
) -> None:
    entity, box = Entity("e0", "star", "red", "small"), (0.4, 0.1, 0.2, 0.8)
    scene = Scene("dark_plain", (Shot(20, (Actor("e0", "still", box, box),)),))
    story.write_text(to_json(Script((entity,), (scene,), size=(1, 4096))), encoding="utf-8")
    cli.main(["script", "--preview", str(story)])
    assert read_video(story.with_suffix(".gif"))[0].shape == (20, 1, 4096, 3)
    capsys.readouterr()
    argv = ["script", "--preview", str(story), "a red circle"]
    assert "leave out the prompt" in refused(cli.main, argv, capsys)


def test_what_a_story_surely_does_not_mean_is_said(
    story: pathlib.Path, capsys: pytest.CaptureFixture
) -> None:
    text = story.read_text(encoding="utf-8").replace('"right"', '"left"', 1)
    story.write_text(text, encoding="utf-8")
    cli.main(["script", "--preview", str(story)])
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"{story}: scenes[0].shots[0].actors[0].motion: left, but it goes right")


BROKEN = {
    "missing": (None, "No such file"),
    "binary": (b"\x89PNG\r\n\x1a\n\xff\xfe" * 9, "not UTF-8"),
    "empty": (b"", "line 1"),
    "huge": (b" " * 5_000_000, "at most 4,000,000"),
    "cut": (b'{"version": "jaxvid.script/1",', "line 1"),
    "deep": (b"[" * 100_000, "script"),
    "foreign": (b'{"a": 1}', "a"),
    "list": (b"[1]", "script"),
    "newer": (b'{"version": "jaxvid.script/9"}', "update jaxvid"),
}


@pytest.mark.parametrize("name", BROKEN)
@pytest.mark.parametrize("command", [["script", "--preview"], ["generate", "--script"]])
def test_broken_scripts_are_named(
    tmp_path: pathlib.Path, capsys: pytest.CaptureFixture, command: list[str], name: str
) -> None:
    data, says = BROKEN[name]
    path, out = tmp_path / "story.json", tmp_path / "out.gif"
    if data is not None:
        path.write_bytes(data)
    line = refused(cli.main, [*command, str(path), "--out", str(out)], capsys)
    assert str(path) in line and says in line and len(line) < 500
    assert not out.exists()


def test_folders_are_no_scripts(tmp_path: pathlib.Path, capsys: pytest.CaptureFixture) -> None:
    assert str(tmp_path) in refused(cli.main, ["script", "--preview", str(tmp_path)], capsys)


@pytest.mark.parametrize(
    ("picture", "says"),
    [
        ("../secret.png", "no .."),
        ("/etc/passwd.png", "below the script's folder"),
        ("link.png", "outside of the script's folder"),
        ("none.png", "no such file"),
        ("broken.png", "use another image"),
    ],
)
def test_pictures_come_from_the_folder_of_the_script(
    story: pathlib.Path, capsys: pytest.CaptureFixture, picture: str, says: str
) -> None:
    (story.parent / "link.png").symlink_to(story.parent.parent / "secret.png")
    (story.parent / "broken.png").write_bytes(b"no picture")
    text = story.read_text(encoding="utf-8").replace("sea.png", picture)
    story.write_text(text, encoding="utf-8")
    assert says in refused(cli.main, ["script", "--preview", str(story)], capsys)
    assert not story.with_suffix(".gif").exists()


@pytest.mark.parametrize("out", ["film.xyz", "none/film.gif", "."])
def test_previews_that_cannot_be_written(
    story: pathlib.Path, capsys: pytest.CaptureFixture, out: str
) -> None:
    path = story.parent / out
    says = refused(cli.main, ["script", "--preview", str(story), "--out", str(path)], capsys)
    assert str(path) in says


@pytest.mark.parametrize("out", ["film.mp4", "story", "none/story.json"])
def test_scripts_that_cannot_be_written(
    tmp_path: pathlib.Path, capsys: pytest.CaptureFixture, out: str
) -> None:
    path = tmp_path / out
    says = refused(cli.main, ["script", "a red circle", "--out", str(path)], capsys)
    assert str(path) in says and not path.exists()


def test_export_writes_a_file_that_script_reads(
    tiny_run: pathlib.Path, tmp_path: pathlib.Path, capsys: pytest.CaptureFixture
) -> None:
    path = tmp_path / "planner.safetensors"
    cli.main(["export", "--run", str(tiny_run), "--out", str(path)])
    assert capsys.readouterr().out == f"{path}: {path.stat().st_size / 1e6:.1f} MB\n"
    cli.main(["script", "--run", str(path), "a red circle"])
    assert from_json(capsys.readouterr().out).prompt == "a red circle"
    for run, out, says in (
        (tmp_path, path, "no planner in"),
        (tiny_run, tmp_path / "planner.bin", "use .safetensors"),
        (tiny_run, tmp_path / "none" / "a.safetensors", "there is no folder"),
    ):
        argv = ["export", "--run", str(run), "--out", str(out)]
        assert says in refused(cli.main, argv, capsys)
    (tmp_path / "gan").mkdir()
    argv = ["export", "--run", str(tmp_path), "--out", str(path)]
    assert "try jaxvid export generator" in refused(cli.main, argv, capsys)
    path.write_bytes(b"garbage")
    assert str(path) in refused(cli.main, ["script", "--run", str(path), "a star"], capsys)


def test_edit_works_on_a_video_file(
    tiny_run: pathlib.Path, tmp_path: pathlib.Path, capsys: pytest.CaptureFixture
) -> None:
    """What is known of a lossless film is in the result; of another size it is cut and scaled."""
    film, out = tmp_path / "film.webp", tmp_path / "out.webp"
    frames = np.random.default_rng(0).integers(0, 256, (6, 32, 32, 3)).astype(np.uint8)
    write_video(film, frames, fps=8)
    common = ["edit", str(film), "--run", str(tiny_run), "--out", str(out), "--scale", "1"]
    for argv, count, fps, kept in (
        (["--interpolate", "3"], 16, 24, slice(None, None, 3)),
        (["--extend", "5"], 11, 8, slice(6)),
        (["--inpaint", "0", "0.5", "1", "0.5"], 6, 8, slice(6)),
    ):
        cli.main([*common, *argv])
        assert f"{count} frames at {fps} frames a second" in capsys.readouterr().out
        made, rate = read_video(out)
        assert made.shape == (count, 32, 32, 3) and rate == pytest.approx(fps, rel=0.02)
        rows = slice(16) if "--inpaint" in argv else slice(32)
        np.testing.assert_array_equal(made[kept][:, rows], frames[:, rows])
    for argv, says in (
        ([], "choose one of --extend"),
        (["--extend", "3", "--interpolate", "2"], "choose one of --extend"),
        (["--interpolate", "1"], "factor of 2"),
        (["--inpaint", "2", "2", "1", "1"], "holds no pixel"),
        (["--extend", "3", "--label", "walk"], "no class 'walk'"),
        (["--extend", "3", "--out", str(film)], "is the video itself; choose another --out"),
        (["--interpolate", "40"], "fps 320.0 is out of range"),
    ):
        assert says in refused(cli.main, [*common, *argv], capsys)
    assert "no such file" in refused(
        cli.main, ["edit", str(tmp_path / "none.mp4"), *common[2:], "--extend", "3"], capsys
    )


@pytest.mark.parametrize("edit", ["--extend 3", "--inpaint 0 0 1 0.5"])
@pytest.mark.parametrize("prompt", [[], ["--prompt", "a red star moves up"]])
def test_edits_keep_the_rate_of_a_slow_video(
    tiny_run: pathlib.Path,
    tmp_path: pathlib.Path,
    monkeypatch: pytest.MonkeyPatch,
    edit: str,
    prompt: list[str],
) -> None:
    """Its 4 frames a second are those of the script, of what the generator is told, and of the
    file."""
    entity, box = Entity("e0", "star", "red", "medium"), (0.3, 0.3, 0.4, 0.4)
    shot = Shot(6, (Actor("e0", "still", box, box),))
    seen = Script((entity,), (Scene("dark_plain", (shot,)),))
    write_video(tmp_path / "a.gif", render(seen), fps=4)
    told = []

    def fill(self: Any, canvas: Any, caption: str, script: Script, ask: Any) -> np.ndarray:
        told.append((canvas.times, script))
        return canvas.video

    def plan(self: Any, prompt: str, *, frames: int, **_: Any) -> Script:
        return stage(Outline((Look("star"),), (Take((Part(0),)),)), 0, frames=frames)

    monkeypatch.setattr(pipeline.Pipeline, "_fill", fill)
    monkeypatch.setattr(pipeline.Pipeline, "plan", plan)
    argv = ["edit", str(tmp_path / "a.gif"), "--run", str(tiny_run), *edit.split(), *prompt]
    cli.main([*argv, "--out", str(tmp_path / "b.gif")])
    ((times, script),) = told
    assert script.fps == 4 and read_video(tmp_path / "b.gif")[1] == 4
    np.testing.assert_allclose(times, np.arange(script.frames) / 4)


@pytest.mark.parametrize(
    ("argv", "folder"),
    [
        ([], "runs/quickstart/planner"),
        (["--preset", "story"], "runs/story/planner"),
        (["--data", "folder:/films/birds"], "runs/birds/planner"),
        (["--data", "folder:."], f"runs/{ROOT.name}/planner"),
        (["--data", "folder:tests/.."], f"runs/{ROOT.name}/planner"),
        (["--data", "folder:/films/birds/.."], "runs/films/planner"),
        (["--data", "folder:/"], "runs/own/planner"),
        (["--data", "tfds:moving_mnist"], "runs/moving_mnist/planner"),
        (["--data", "tfds:ucf101/ucf101_1:2.0.0@/sets/all"], "runs/ucf101/planner"),
        (["--data", "tfds:moving_mnist@/sets/tfds"], "runs/moving_mnist/planner"),
        (["--data", "tfds:~/sets/moving_mnist/1.0.0"], "runs/own/planner"),
        (["--preset", "story", "--run", "elsewhere"], "elsewhere/planner"),
    ],
)
def test_runs_are_named_after_the_preset_or_the_data(
    argv: list[str], folder: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    _, path, _ = cli.parse_run(presets.PLANNER, argv, prog="test", kind="planner")
    assert path == pathlib.Path(folder)


def test_what_tunes_a_run_has_that_ones_folder_and_data(
    capsys: pytest.CaptureFixture[str],
) -> None:
    for argv, folder in (([], "runs/quickstart/rl"), (["--run", "a"], "a/rl")):
        argv = ["--preset", "policy", *argv]
        _, path, _ = cli.parse_run(presets.RL, argv, prog="test", kind="rl")
        assert path == pathlib.Path(folder)
    assert "takes the data of the run" in refused(train.rl.main, ["--data", "scenes"], capsys)
    train.rl.main(["--dry-run", "--rl.kl", "0.5"])
    assert '"kl": 0.5' in capsys.readouterr().out
    unknown = ["--dry-run", "--rl.rewards", "nosuch", "--rl.weights", "1"]
    assert "no reward 'nosuch'" in refused(train.rl.main, unknown, capsys)
    with pytest.raises(SystemExit):
        train.rl.main(["--help"])
    assert "(train.rl: the first)" in " ".join(capsys.readouterr().out.split())


def test_bad_options_are_answered_without_jax(tmp_path: pathlib.Path) -> None:
    program = (
        "import sys, train.gan\n"
        "try: train.gan.main(['--preset', 'nope'])\n"
        "except SystemExit as stop: assert stop.code == 2\n"
        "assert 'flax' not in sys.modules\n"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_every_preset_is_a_run_and_survives_json() -> None:
    for kinds, table in (
        ((config.GanRun,), presets.GAN),
        ((config.PlannerRun,), presets.PLANNER),
        ((config.RlRun, config.PlannerRlRun), presets.RL),
    ):
        for make in table.values():
            run = make()
            assert isinstance(run, kinds)
            assert config.from_json(type(run), config.to_json(run)) == run


def test_dry_run_prints_costs(tmp_path: pathlib.Path, capsys: pytest.CaptureFixture) -> None:
    options = ["--planner.width", "16", "--planner.heads", "2", "--train.batch-size", "8"]
    train.planner.main(["--dry-run", "--run", str(tmp_path / "run"), *options])
    text = capsys.readouterr().out
    for part in ('"width": 16', "planner in all", "GFLOP", "MiB"):
        assert part in text
    assert not (tmp_path / "run").exists()
