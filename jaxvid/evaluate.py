"""Examines a trained generator over held-out data; writes ``evaluation.json`` and ``report.html``.

    python -m train.evaluate --run runs/quickstart

The parts are in ``examine``; this module chooses them, and adds what only some data allow: scenes
are read by the analytic reader, clips with labels by a judge trained on real clips.
"""

import dataclasses
import datetime
import json
import math
import pathlib
import platform
import time
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxvid import accounting, examine, judge
from jaxvid._version import __version__
from jaxvid.data.render import render
from jaxvid.data.scenes import caption, sample_script
from jaxvid.data.source import open_source
from jaxvid.examine import Part, Subject
from jaxvid.io.log import say
from jaxvid.io.media import atomic_write_text, write_grid
from jaxvid.io.report import Confusion, Figure, Row, Section, read_curves, write_report
from jaxvid.metrics import content, features, motion, reader
from jaxvid.outline import ANY, Outline
from jaxvid.parallel import compile_function
from jaxvid.pipeline import SHIPPED, load
from jaxvid.script import Script
from jaxvid.staging import stage
from jaxvid.training import load_gan, read_generator
from jaxvid.typing import UserError

SAME, SEEDS = 24, 4  # prompts that are filmed several times, and how often
CURVES = {
    "losses": ["g_reconstruction", "g_generator", "d_critic", "g_kl"],
    "error": ["mse"],
    "the game": ["gap", "sign_accuracy"],
    "gradients of the critics": ["slope_real", "slope_fake"],
    "generated over real": ["diversity", "motion", "flicker"],
}


def evaluate(
    run: pathlib.Path,
    *,
    prompts: int = 200,
    clips: int = 64,
    seed: int = 1,
    full: bool = True,
    i3d: str | None = None,
) -> dict[str, Any]:
    """Writes ``evaluation.json`` and ``report.html`` into ``run``; returns what is in the former.

    ``prompts``: held-out captions of scenes (English and Chinese by turns, combinations of kind,
    colour and motion never trained on) that become clips which the reader reads. ``clips``:
    held-out clips of each other part. ``full``: all parts, not the first two alone. ``i3d``: a file
    of I3D's weights, without which nothing is called FVD.
    """
    if prompts < 1 or clips < 2:
        raise UserError(f"needs a prompt or more and two clips, not {prompts} and {clips}")
    began = time.monotonic()
    nets, state, gan_run = load_gan(run / "gan")
    network = None if i3d is None else features.i3d(i3d)
    if network is not None and gan_run.data.frames < network.min_frames:
        raise UserError(
            f"I3D reads clips of {network.min_frames} frames or more, and this run's have "
            f"{gan_run.data.frames}; leave out --i3d"
        )
    heldout = open_source(gan_run.data, split="heldout", seed=gan_run.train.seed)
    subject = Subject(load(run), gan_run, heldout, clips)
    parts: dict[str, Part] = {}
    if gan_run.data.source == "scenes":
        parts["prompts"] = _prompts(run, subject, prompts, seed)
    elif subject.heldout.labels:
        parts["labels"] = _labels(subject)
    parts["rebuilt"] = examine.rebuilt(subject, nets, state)
    if full:
        parts["inbetween"] = examine.inbetween(subject)
        parts["animated"] = examine.animated(subject)
        train = open_source(gan_run.data, split="train", seed=gan_run.train.seed)
        parts["sets"] = examine.sets(subject, train, i3d=network)
    result: dict[str, Any] = {name: _values(part) for name, part in parts.items()}
    facts = _facts(run, gan_run.data.source, int(state.step), time.monotonic() - began)
    result["facts"] = facts
    for part in parts.values():
        _tell(part.section)
    atomic_write_text(run / "evaluation.json", json.dumps(result, indent=1) + "\n")
    matrix, counts = parts["rebuilt"].confusion, dataclasses.fields(Confusion)
    write_report(
        run / "report.html",
        title=f"jaxvid: {run.name}",
        facts=facts | accounting.facts(run / "gan"),
        sections=[part.section for part in parts.values()],
        rows=[row for part in parts.values() for row in part.rows],
        curves=read_curves(run / "gan" / "metrics.jsonl", CURVES),
        confusion=Confusion(**{n.name: matrix[n.name] for n in counts}) if matrix else None,
    )
    return result


def evaluate_shipped(folder: pathlib.Path, *, prompts: int = 1000, seed: int = 1) -> dict[str, Any]:
    """The first part of ``evaluate`` for the models that come with jaxvid."""
    if prompts < 1:
        raise UserError(f"needs a prompt or more, not {prompts}")
    began = time.monotonic()
    _, _, run = read_generator(SHIPPED)
    heldout = open_source(run.data, split="heldout", seed=run.train.seed)
    folder.mkdir(parents=True, exist_ok=True)
    part = _prompts(folder, Subject(load(None), run, heldout, prompts), prompts, seed)
    _tell(part.section)
    facts = _facts(folder, run.data.source, run.train.steps, time.monotonic() - began)
    result = {"prompts": _values(part), "facts": facts}
    atomic_write_text(folder / "evaluation.json", json.dumps(result, indent=1) + "\n")
    return result


def _facts(run: pathlib.Path, data: str, step: int, seconds: float) -> dict[str, str]:
    device = jax.devices()[0]
    kind = platform.processor() or platform.machine() if device.platform == "cpu" else ""
    return {
        "run": run.name,
        "data": data,
        "step": str(step),
        "device": f"{jax.device_count()} x {kind or device.device_kind}",
        "versions": f"jaxvid {__version__}, jax {jax.__version__}, "
        f"Python {platform.python_version()}",
        "date": datetime.date.today().isoformat(),
        "seconds": f"{seconds:.0f}",
    }


def _values(part: Part) -> dict[str, Any]:
    """The figures as JSON: value, floor and ceiling of each; NaN becomes null."""

    def clean(value: float | int | None) -> float | None:
        return None if value is None or not math.isfinite(value) else float(value)

    values: dict[str, Any] = {
        figure.name: {
            "value": clean(figure.value),
            "floor": clean(figure.floor),
            "ceiling": clean(figure.ceiling),
        }
        for figure in part.section.figures
    }
    if part.confusion:
        values["critics"] = dict(part.confusion)
    return values


def _tell(section: Section) -> None:
    """A section as lines for a person."""
    say(f"{section.title}: {section.text}")

    def shown(value: float | int | None, unit: str) -> str:
        if value is None or not math.isfinite(value):
            return "-"
        return f"{value:.1%}" if unit == "%" else f"{value:.4g}"

    for f in section.figures:
        beside = f"({shown(f.floor, f.unit)}, {shown(f.ceiling, f.unit)})"
        note = f"  {f.note}" if f.note else ""
        say(f"  {f.name:<30}{shown(f.value, f.unit):>10}  {beside}{note}")


# --- scenes: read from the pixels --------------------------------------------------------------


def _prompts(run: pathlib.Path, subject: Subject, count: int, seed: int) -> Part:
    """Reads what held-out prompts became; how the clips move, and how they differ at one prompt."""
    data = subject.run.data
    shape: dict[str, Any] = {"frames": data.frames, "fps": data.fps, "resolution": data.resolution}
    scripts = [sample_script(seed, "heldout", i, **shape) for i in range(count)]
    captions = [caption(seed, "heldout", i) for i in range(count)]  # English and Chinese by turns
    clips = [subject.pipe.generate(wording.text, seed=i) for i, (wording, _) in enumerate(captions)]
    stated = [_sized(script, said) for script, (_, said) in zip(scripts, captions, strict=True)]
    videos = [clip.video[: data.frames] for clip in clips]  # of more shots than asked, the first
    truths = [render(script) for script in scripts]
    made = reader.evaluate_clips(videos, scripts, stated)
    real = reader.evaluate_clips(truths, scripts, stated)
    figures = [
        Figure(key, made[key], made.get(f"{key}_floor"), real[key], unit="%")
        for key in ("color", "kind", "size", "motion", "direction", "all")
        if key in made
    ]
    pairs = [i for i, script in enumerate(scripts) if len(script.entities) == 2]
    if pairs:
        two, both = (
            reader.evaluate_clips(
                [many[i] for i in pairs], [scripts[i] for i in pairs], [stated[i] for i in pairs]
            )["all"]
            for many in (videos, truths)
        )
        figures.append(Figure("all, of two entities", two, ceiling=both, unit="%"))
    planned = _planned([clip.script for clip in clips if clip.script is not None], scripts)
    figures += [Figure(f"planned {k}", v, ceiling=1.0, unit="%") for k, v in planned.items()]
    figures += _moves(videos, truths) + _diversity(subject, seed, shape)
    write_grid(run / "evaluation.png", np.stack(videos[:12]), frames=8, scale=2)
    lines = [f"{i}: {wording.text}" for i, (wording, _) in enumerate(captions[:12])]
    atomic_write_text(run / "evaluation.txt", "\n".join(lines) + "\n")
    rows = [
        Row(
            captions[i][0].text,
            [subject.film("generated", videos[i]), subject.film("the scene", truths[i])],
        )
        for i in range(min(6, count))
    ]
    whose = "its own" if (run / "planner").is_dir() else "the one that comes with jaxvid"
    text = (
        f"{count} held-out prompts became clips, read from their pixels by the analytic reader. "
        f"The planner is {whose}."
    )
    return Part(Section("Prompts", text, figures), tuple(rows))


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


def _moves(made: list[np.ndarray], real: list[np.ndarray]) -> list[Figure]:
    """Speed and jerk of the colours' centroid, generated beside real."""
    measure = compile_function(motion.measure)
    found = [[measure(video[None]) for video in videos] for videos in (made, real)]
    figures = []
    for name in ("speed", "jerk"):
        ours, theirs = (float(np.mean([one[name][0] for one in side])) for side in found)
        figures.append(Figure(name, ours, ceiling=theirs, better="near ceiling"))
    return figures


def _diversity(subject: Subject, seed: int, shape: dict[str, Any]) -> list[Figure]:
    """How clips of one prompt differ, beside how the scenes differ that it may mean."""
    size = (shape["resolution"], shape["resolution"])
    made, real = [], []
    for i in range(SAME):
        wording, said = caption(seed, "heldout", i)
        seeds = [SEEDS * i + k for k in range(SEEDS)]
        clips = [subject.pipe.generate(wording.text, seed=k).video for k in seeds]
        made.append([clip[: shape["frames"]] for clip in clips])
        rngs = [np.random.default_rng((seed, k, 3)) for k in seeds]
        staged = [
            stage(said, rng, frames=shape["frames"], fps=shape["fps"], size=size) for rng in rngs
        ]
        real.append([render(script) for script in staged])
    apart = [float(content.diversity(jnp.asarray(side)).mean()) for side in (made, real)]
    return [Figure("diversity at equal prompt", apart[0], 0.0, apart[1], better="near ceiling")]


# --- clips with labels: read by a judge ----------------------------------------------------------


def _labels(subject: Subject) -> Part:
    """What a judge that was trained on real clips alone reads in clips made from captions."""
    data = subject.run.data
    train = open_source(data, split="train", seed=subject.run.train.seed)
    reads = judge.open_judge(train, subject.heldout)
    labels = [subject.heldout[i].labels for i in subject.order]
    made, real = (reads.accuracy(videos, labels) for videos in (subject.made, subject.real))
    shuffled = labels[len(labels) // 2 :] + labels[: len(labels) // 2]
    blind = reads.accuracy(subject.made, shuffled)
    figures = [Figure(name, made[name], blind[name], real[name], unit="%") for name in sorted(made)]
    if not figures:
        raise UserError(f"{data.source} has no labels that a judge could read")
    text = (
        f"{len(labels)} held-out captions became clips; a judge trained on real training clips "
        "alone reads them. Floor: against other captions; ceiling: the real held-out clips."
    )
    return Part(Section("Labels", text, figures))
