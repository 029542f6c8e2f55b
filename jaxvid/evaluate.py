"""Runs a trained model over held-out data and writes ``evaluation.json``.

Every figure stands beside its floor (what chance or a blind model reaches) and its ceiling (what
the real clips reach under the same reading).
"""

import functools
import json
import pathlib
import time
from typing import Any

import jax
import numpy as np

from jaxvid.config import DataConfig, GanRun
from jaxvid.data.loader import Batches
from jaxvid.data.render import render
from jaxvid.data.scenes import caption, sample_script
from jaxvid.data.source import open_source
from jaxvid.io.log import say
from jaxvid.io.media import atomic_write_text, write_grid
from jaxvid.metrics import confusion, mean, motion, quality, reader
from jaxvid.outline import ANY, Outline
from jaxvid.parallel import compile_function
from jaxvid.pipeline import Pipeline, load
from jaxvid.script import Script
from jaxvid.state import GanState
from jaxvid.steps.gan import to_unit
from jaxvid.steps.sample import make_sampler, to_bytes
from jaxvid.training import load_gan
from jaxvid.typing import Batch, Params

CLIPS = 64  # that are rebuilt from their own conditions, for MSE, PSNR, SSIM and the critics


def evaluate(run: pathlib.Path, *, prompts: int = 200, seed: int = 1) -> dict[str, Any]:
    """Evaluates ``run`` and writes ``run/evaluation.json``; returns what it wrote.

    Scenes: ``prompts`` held-out captions (English and Chinese by turns, combinations of kind,
    colour and motion never trained on) become clips, which the analytic reader reads. Any data:
    held-out clips are rebuilt from their own conditions and compared with the real ones.
    """
    began = time.monotonic()
    generator, critics, state, gan_run = load_gan(run / "gan")
    result: dict[str, Any] = {}
    if gan_run.data.source == "scenes":
        result["prompts"] = _prompts(run, load(run), gan_run.data, prompts, seed)
    result["rebuilt"] = _rebuilt(generator, critics, state, gan_run)
    result["seconds"] = round(time.monotonic() - began, 1)
    atomic_write_text(run / "evaluation.json", json.dumps(result, indent=1) + "\n")
    return result


def _prompts(
    run: pathlib.Path, pipe: Pipeline, data: DataConfig, count: int, seed: int
) -> dict[str, Any]:
    """Reads what prompts became; accuracies of each attribute with floor and ceiling."""
    scripts = [
        sample_script(
            seed, "heldout", i, frames=data.frames, fps=data.fps, resolution=data.resolution
        )
        for i in range(count)
    ]
    captions = [caption(seed, "heldout", i) for i in range(count)]  # English and Chinese by turns
    clips = [pipe.generate(wording.text, seed=i) for i, (wording, _) in enumerate(captions)]
    stated = [_sized(script, said) for script, (_, said) in zip(scripts, captions, strict=True)]
    videos = [clip.video[: data.frames] for clip in clips]  # of more shots than asked, the first
    made = reader.evaluate_clips(videos, scripts, stated)
    real = reader.evaluate_clips([render(script) for script in scripts], scripts, stated)
    planned = [clip.script for clip in clips]
    figures: dict[str, Any] = {"count": count}
    say(f"{count} held-out prompts, read from the pixels: accuracy (floor, ceiling)")
    for key in ("color", "kind", "size", "motion", "direction", "all"):
        row = {"accuracy": made[key], "floor": made.get(f"{key}_floor"), "ceiling": real[key]}
        figures[key] = row
        floor = f"{row['floor']:.1%}" if row["floor"] is not None else "-"
        say(f"  {key:<10}{row['accuracy']:>7.1%}  ({floor}, {row['ceiling']:.1%})")
    figures["planned"] = _planned([p for p in planned if p is not None], scripts)
    say(
        "  of the script alone: " + ", ".join(f"{k} {v:.1%}" for k, v in figures["planned"].items())
    )
    write_grid(run / "evaluation.png", np.stack(videos[:12]), frames=8, scale=2)
    lines = [f"{i}: {wording.text}" for i, (wording, _) in enumerate(captions[:12])]
    atomic_write_text(run / "evaluation.txt", "\n".join(lines) + "\n")
    return figures


def _sized(script: Script, said: Outline) -> list[bool]:
    """For each actor of the script, whether the caption says its size."""
    looks = {f"e{n}": look for n, look in enumerate(said.looks)}
    return [looks[actor.entity].size != ANY for actor in script.scenes[0].shots[0].actors]


def _planned(plans: list[Script], truths: list[Script]) -> dict[str, float]:
    """Share of plans whose actors agree with the truth in number, and in each stated attribute."""

    def looks(script: Script, names: tuple[str, ...]) -> list[tuple[Any, ...]]:
        motions = {actor.entity: actor.motion for actor in script.scenes[0].shots[0].actors}
        return sorted(
            tuple(motions.get(e.id, "") if name == "motion" else getattr(e, name) for name in names)
            for e in script.entities
        )

    shares = {}
    for names in (("color",), ("kind",), ("motion",), ("color", "kind", "motion")):
        right = [looks(p, names) == looks(t, names) for p, t in zip(plans, truths, strict=True)]
        shares["exact" if len(names) > 1 else names[0]] = float(np.mean(right))
    return shares


def _rebuilt(generator: Any, critics: Any, state: GanState, run: GanRun) -> dict[str, Any]:
    """MSE, PSNR, SSIM and motion against the real clips; the critics' verdict on both."""
    source = open_source(run.data, split="heldout", seed=run.train.seed)
    count = min(CLIPS, len(source))
    batches = Batches(source, batch_size=1, seed=0, text_length=run.data.text_length)
    sample = compile_function(make_sampler(generator))
    judge = compile_function(_make_judge(critics, run))
    measure = compile_function(functools.partial(_measure, ssim=run.data.resolution >= 11))
    means, logits = mean.init(_names(run.data.resolution)), []
    for i in range(count):
        batch = batches[i]
        nothing = np.zeros((*batch["video"].shape[:-1], 1), np.float32)
        blank = {**batch, "video": np.zeros_like(batch["video"]), "mask": nothing}
        fake = sample(state.ema, blank, jax.random.key(i))
        means = mean.update(means, measure(to_bytes(fake), batch["video"]))
        real = to_unit(jax.numpy.asarray(batch["video"]))
        logits.append([float(judge(state.critic_params, v, batch)) for v in (real, fake)])
    figures = {name: float(value) for name, value in mean.compute(means).items()}
    say(f"{count} held-out clips rebuilt from their own conditions:")
    say("  " + ", ".join(f"{name} {figures[name]:.4g}" for name in figures))
    return {"clips": count, **figures, "critics": _verdicts(np.array(logits))}


def _names(resolution: int) -> list[str]:
    near = [name for name in quality.NAMES if name != "ssim" or resolution >= 11]
    return [*near, *(f"{name}_{of}" for name in motion.NAMES for of in ("made", "real"))]


def _measure(made: jax.Array, real: jax.Array, *, ssim: bool) -> dict[str, jax.Array]:
    values = {"mse": quality.mse(made, real), "psnr": quality.psnr(made, real, data_range=255)}
    if ssim:
        values["ssim"] = quality.ssim(made, real, data_range=255)
    for of, video in (("made", made), ("real", real)):
        values |= {f"{name}_{of}": v for name, v in motion.measure(video).items()}
    return values


def _make_judge(critics: Any, run: GanRun) -> Any:
    """The critics' mean logit of one clip, frames for the frame critic evenly spread."""
    last, count = run.data.frames - 1, run.critic.frames
    picked_1n = jax.numpy.linspace(0, last, count).round().astype(int)[None]

    def judge(params: Params, video: jax.Array, batch: Batch) -> jax.Array:
        return critics.apply({"params": params}, video, picked_1n, batch).mean()

    return judge


def _verdicts(logits_N2: np.ndarray) -> dict[str, float]:
    """Confusion matrix of real against generated (columns of logits).

    Relativistic critics only compare, so the threshold is set halfway between both medians on every
    second clip, and the matrix counts the others.
    """
    threshold = float(np.median(logits_N2[::2], axis=0).mean())
    counted_N2 = logits_N2[1::2] if len(logits_N2) > 1 else logits_N2
    state = confusion.init(threshold)
    for scores_N, real in ((counted_N2[:, 0], True), (counted_N2[:, 1], False)):
        verdicts = jax.numpy.asarray(scores_N, jax.numpy.float32)
        state = confusion.update(state, verdicts, jax.numpy.full(len(scores_N), real))
    matrix = {name: float(value) for name, value in confusion.compute(state).items()}
    say(
        f"critics, threshold {threshold:.2f}: real judged real "
        f"{matrix['real_recall']:.0%}, generated found out {matrix['generated_recall']:.0%}"
    )
    return matrix
