"""The public face on a run of two steps: shapes, determinism, conditions, and the evaluation."""

import dataclasses
import json
import pathlib

import numpy as np
import pytest

import jaxvid
from jaxvid import evaluate, pipeline
from jaxvid.data.decode import read_video
from jaxvid.script import to_json
from jaxvid.typing import UserError

PROMPT = "a large red circle moves to the right"


@pytest.fixture(scope="module")
def pipe(tiny_run: pathlib.Path) -> pipeline.Pipeline:
    return jaxvid.load(tiny_run)


def test_prompt_to_file(pipe: pipeline.Pipeline, tmp_path: pathlib.Path) -> None:
    clip = pipe.generate(PROMPT, seed=3)
    assert clip.video.shape == (16, 32, 32, 3) and clip.video.dtype == np.uint8
    assert clip.script is not None and clip.script.frames == 16
    path = clip.save(tmp_path / "clip.mp4")
    frames, fps = read_video(path)
    assert frames.shape == (16, 256, 256, 3) and fps == 8.0


def test_the_same_seed_gives_the_same_clip(pipe: pipeline.Pipeline) -> None:
    a, b, c = (pipe.generate(PROMPT, seed=seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(a.video, b.video)
    assert a.script == b.script
    assert (a.video != c.video).any()


def test_an_image_becomes_the_first_frame(pipe: pipeline.Pipeline) -> None:
    image = np.random.default_rng(0).integers(0, 256, (32, 32, 3)).astype(np.uint8)
    clip = pipe.generate(PROMPT, image=image)
    np.testing.assert_array_equal(clip.video[0], image)
    assert (clip.video[1] != image).any()


def test_a_script_is_filmed_as_it_stands(pipe: pipeline.Pipeline, tmp_path: pathlib.Path) -> None:
    script = pipe.plan(PROMPT, seed=0)
    (tmp_path / "story.json").write_text(to_json(script), encoding="utf-8")
    story = pipeline.load_script(tmp_path / "story.json")
    assert story == script
    np.testing.assert_array_equal(
        pipe.generate(script=story, seed=0).video.shape, pipe.generate(PROMPT, seed=0).video.shape
    )


def test_shots_are_joined_in_order(pipe: pipeline.Pipeline) -> None:
    script = pipe.plan(PROMPT, seed=0)
    (scene,) = script.scenes
    dark = dataclasses.replace(scene, background="dark_plain")
    long = dataclasses.replace(script, scenes=(scene, dark))
    video = pipe.generate(script=long, seed=0).video
    assert len(video) == 32
    np.testing.assert_array_equal(video[:16], pipe.generate(script=script, seed=0).video)


def test_bad_prompts_are_refused(pipe: pipeline.Pipeline) -> None:
    for prompt in ("", "   ", "x" * 100_000):
        with pytest.raises(UserError):
            pipe.generate(prompt)
    with pytest.raises(UserError, match="prompt or a script"):
        pipe.generate()


def test_a_folder_without_a_run_is_named(tmp_path: pathlib.Path) -> None:
    with pytest.raises(UserError, match="train one"):
        jaxvid.load(tmp_path)


def test_evaluation_is_written(tiny_run: pathlib.Path) -> None:
    result = evaluate.evaluate(tiny_run, prompts=4)
    written = json.loads((tiny_run / "evaluation.json").read_text(encoding="utf-8"))
    assert written == result
    assert written["prompts"]["color"]["ceiling"] > 0.9 > written["prompts"]["color"]["accuracy"]
    matrix = written["rebuilt"]["critics"]
    counted = ("real_judged_real", "real_judged_generated")
    assert sum(matrix[name] for name in counted) == written["rebuilt"]["clips"] // 2
    assert (tiny_run / "evaluation.png").stat().st_size > 1000
