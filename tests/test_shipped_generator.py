"""What the generator that comes with jaxvid must keep: bounds below its figures in the card."""

import dataclasses
import json
import pathlib

import numpy as np
import pytest

from jaxvid import evaluate, examine, pipeline, screenwriter
from jaxvid.config import DataConfig
from jaxvid.data.scenes import caption, sample_script
from jaxvid.data.source import open_source
from jaxvid.metrics import reader
from jaxvid.training import read_generator
from jaxvid.typing import UserError

PROMPTS, CLIPS = 40, 12


@pytest.fixture(scope="module")
def pipe() -> pipeline.Pipeline:
    return pipeline.load()


@pytest.fixture(scope="module")
def subject(pipe: pipeline.Pipeline) -> examine.Subject:
    _, _, run = read_generator(pipeline.SHIPPED)
    return examine.Subject(pipe, run, open_source(DataConfig(), split="heldout"), CLIPS)


def test_it_is_small() -> None:
    assert pipeline.SHIPPED.stat().st_size <= 8_000_000


def test_held_out_prompts_are_right(pipe: pipeline.Pipeline) -> None:
    said = [caption(1, "heldout", i) for i in range(PROMPTS)]
    scripts = [sample_script(1, "heldout", i) for i in range(PROMPTS)]
    videos = [pipe.generate(w.text, seed=i).video[:16] for i, (w, _) in enumerate(said)]
    sized = [evaluate._sized(script, o) for script, (_, o) in zip(scripts, said, strict=True)]
    found = reader.evaluate_clips(videos, scripts, sized)
    assert min(found[name] for name in ("color", "kind", "motion")) >= 0.93
    assert found["all"] >= 0.9


def test_a_scripted_clip_is_rebuilt_as_it_was(subject: examine.Subject) -> None:
    near = []
    for i, real in zip(subject.order, subject.real, strict=True):
        video = subject.pipe.generate(script=subject.heldout[i].script, seed=i).video
        error = ((video.astype(np.float32) - real) ** 2).mean() / 255.0**2
        near.append(-10 * np.log10(error))
    assert np.mean(near) > 33


def test_frames_between_beat_the_linear_blend(subject: examine.Subject) -> None:
    """Of clips without their scripts, every fourth frame known; in slow ones little is to win."""
    more = dataclasses.replace(subject, clips=48)
    psnr = examine.inbetween(more, factors=(4,)).section.figures[0]
    assert psnr.name == "psnr at 4x" and psnr.floor is not None
    assert psnr.value > psnr.floor + 3


def test_clips_go_on_and_holes_are_filled_as_they_were(subject: examine.Subject) -> None:
    """Without a script: it is read from the frames that are known."""
    hole = np.zeros((32, 32), bool)
    hole[6:19, 6:19] = True
    held, extended, filled = [], [], []
    for real in subject.real:
        more = subject.pipe.extend(real[:8], 8).video
        off = np.abs(np.stack([more, np.repeat(real[7:8], 16, 0)]).astype(float) - real)[:, 8:]
        extended.append(off[0].mean())
        held.append(off[1].mean())
        error = (
            subject.pipe.inpaint(real, hole).video[:, hole] / 255.0 - real[:, hole] / 255.0
        ) ** 2
        filled.append(-10 * np.log10(error.mean()))
    assert np.mean(extended) < 0.6 * np.mean(held)
    assert np.mean(filled) > 26


def test_what_comes_along_is_evaluated_without_a_run(tmp_path: pathlib.Path) -> None:
    found = evaluate.evaluate_shipped(tmp_path / "shipped", prompts=8)
    assert found["prompts"]["color"]["value"] > 0.9
    assert json.loads((tmp_path / "shipped" / "evaluation.json").read_text("utf-8")) == found
    assert (tmp_path / "shipped" / "evaluation.png").exists()


def test_what_comes_along_is_called_shipped_everywhere() -> None:
    named = pathlib.Path("shipped")  # as the command line has it
    assert pipeline.load(named).generate("a red circle", seed=1).video.tobytes() == (
        pipeline.load().generate("a red circle", seed=1).video.tobytes()
    )
    assert screenwriter.load(named).write("a red circle") == screenwriter.load().write(
        "a red circle"
    )
    with pytest.raises(UserError, match="planner.safetensors holds no generator that this jaxvid"):
        pipeline.load(screenwriter.training_planner.SHIPPED)
    with pytest.raises(UserError, match="generator.safetensors holds no planner that this jaxvid"):
        screenwriter.load(pipeline.SHIPPED)
