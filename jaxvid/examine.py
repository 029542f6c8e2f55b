"""The parts of an evaluation: each asks a trained generator for clips and measures them.

Every figure stands beside its floor (what chance, a blind model or the classical method reaches)
and its ceiling (what the real clips reach under the same reading). ``evaluate`` collects the parts.
"""

import dataclasses
import functools
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import numpy as np

from jaxvid.config import GanRun
from jaxvid.data.loader import Batches
from jaxvid.data.source import Source
from jaxvid.data.tokenizer import decode, encode
from jaxvid.io.report import Figure, Film, Row, Section
from jaxvid.metrics import confusion, content, distances, features, flow, mean, motion, quality
from jaxvid.ops.inbetween import blend
from jaxvid.parallel import compile_function
from jaxvid.pipeline import Pipeline
from jaxvid.state import GanState
from jaxvid.steps.gan import to_unit
from jaxvid.steps.sample import make_sampler, to_bytes
from jaxvid.training import Nets, make_game
from jaxvid.typing import Batch, HostBatch, Params

MEMORISED = 0.75  # of the distance that real held-out clips have: below it clips are copies
COPIED = 0.1  # of clips nearer than 99 % of real ones: of many training clips few are looked at
Fill = Callable[[np.ndarray, int], np.ndarray]  # known frames, factor -> all frames


@dataclasses.dataclass(frozen=True, eq=False)
class Subject:
    """What is examined: the generator, and the held-out clips that it is measured on."""

    pipe: Pipeline
    run: GanRun
    heldout: Source
    clips: int  # held-out clips that each part looks at, at most

    def batches(self, size: int = 1) -> list[HostBatch]:
        """The held-out clips as batches, in a fixed order."""
        size = min(size, len(self.heldout))
        batches = Batches(
            self.heldout, batch_size=size, seed=0, text_length=self.run.data.text_length
        )
        return [batches[i] for i in range(min(self.clips, len(self.heldout)) // size)]

    @functools.cached_property
    def real(self) -> np.ndarray:
        """The held-out clips (N,T,H,W,3) uint8."""
        return np.concatenate([batch["video"] for batch in self.batches()])

    @functools.cached_property
    def order(self) -> list[int]:
        """Their places in the data."""
        return [int(batch["index"][0]) for batch in self.batches()]

    @functools.cached_property
    def captions(self) -> list[str]:
        """Their captions, as training reads them: cut where they are too long."""
        length = self.run.data.text_length
        return [decode(encode(self.heldout[i].caption, length)) for i in self.order]

    @functools.cached_property
    def made(self) -> np.ndarray:
        """Clips made from their captions alone, as a user would: (N,T,H,W,3)."""
        T = self.run.data.frames
        clips = [self.pipe.generate(text, seed=i) for i, text in enumerate(self.prompts)]
        return np.stack([clip.video[:T] for clip in clips])

    @property
    def prompts(self) -> list[str | None]:
        """The captions, None where one says nothing."""
        return [text if text.strip() else None for text in self.captions]

    def film(self, title: str, video: np.ndarray) -> Film:
        """A clip of the report, at the run's rate."""
        return Film(title, video, self.run.data.fps)


@dataclasses.dataclass(frozen=True, eq=False)
class Part:
    """What a part found: figures, and clips to look at."""

    section: Section
    rows: tuple[Row, ...] = ()
    confusion: Mapping[str, float] | None = None


# --- rebuilt from their own conditions ---------------------------------------------------------


def rebuilt(subject: Subject, nets: Nets, state: GanState) -> Part:
    """Held-out clips from their own conditions (script and caption, no frame): how near they come,
    how they move, and what the critics take both for."""
    run = subject.run
    sample = compile_function(make_sampler(nets.generator, dtype=run.compute.dtype))
    judge = compile_function(_make_judge(nets, run))
    measure = compile_function(functools.partial(compare, ssim=run.data.resolution >= 11))
    means, logits, rows = None, [], []
    for i, batch in enumerate(subject.batches()):
        nothing = np.zeros((*batch["video"].shape[:-1], 1), np.float32)
        blank = {**batch, "video": np.zeros_like(batch["video"]), "mask": nothing}
        fake = sample(state.ema, blank, jax.random.key(i))
        values = measure(to_bytes(fake), batch["video"])
        means = mean.update(mean.init(list(values)) if means is None else means, values)
        true = to_unit(jax.numpy.asarray(batch["video"]))
        logits.append([float(judge(state.critic_params, v, batch)) for v in (true, fake)])
        if i < 4:
            rebuilt = np.asarray(to_bytes(fake)[0])
            films = [subject.film("real", batch["video"][0]), subject.film("rebuilt", rebuilt)]
            rows.append(Row(subject.captions[i], films))
    assert means is not None
    found = {name: float(value) for name, value in mean.compute(means).items()}
    matrix = verdicts(np.array(logits))
    figures = [
        Figure("mse", found["mse"] / 255**2, better="lower", note="of pixels 0 to 1"),
        Figure("psnr", found["psnr"], unit="dB"),
    ]
    if "ssim" in found:
        figures.append(Figure("ssim", found["ssim"], ceiling=1.0))
    figures += [Figure("temporal psnr", found["temporal_psnr"], unit="dB", note="of differences")]
    for name in ("difference", "speed", "acceleration", "jerk", "flow", "warping_error"):
        value, real = found[f"{name}_made"], found[f"{name}_real"]
        figures.append(Figure(name, value, ceiling=real, better="near ceiling"))
    text = f"{len(logits)} held-out clips made again from their own scripts and captions."
    return Part(Section("Rebuilt clips", text, figures), tuple(rows), matrix)


def compare(made: jax.Array, real: jax.Array, *, ssim: bool) -> dict[str, jax.Array]:
    """All distances of clips (B,T,H,W,3) uint8, and how both move; one number a clip."""
    values = {"mse": quality.mse(made, real), "psnr": quality.psnr(made, real, data_range=255)}
    if ssim:
        values["ssim"] = quality.ssim(made, real, data_range=255)
    difference = [quality.changes(video) for video in (made, real)]
    values["temporal_psnr"] = quality.psnr(*difference, data_range=510)
    for of, video in (("made", made), ("real", real)):
        measured = motion.measure(video) | flow.measure(video)
        values |= {f"{name}_{of}": v for name, v in measured.items()}
    return values


def _make_judge(nets: Nets, run: GanRun) -> Any:
    """The critics' mean logit of one clip, frames for the frame critic evenly spread."""
    game, last = make_game(run, nets), run.data.frames - 1
    picked_1n = np.linspace(0, last, run.critic.frames).round().astype(np.int32)[None]

    def judge(params: Params, video: jax.Array, batch: Batch) -> jax.Array:
        return game.judge(params, video, jax.numpy.asarray(picked_1n), batch).mean()

    return judge


def verdicts(logits_N2: np.ndarray) -> dict[str, float]:
    """Confusion matrix of real against generated (columns of logits).

    Relativistic critics only compare, so the threshold is set halfway between both medians on every
    second clip, and the matrix counts the others.
    """
    threshold = float(np.median(logits_N2[::2], axis=0).mean())
    counted_N2 = logits_N2[1::2] if len(logits_N2) > 1 else logits_N2
    state = confusion.init(threshold)
    for scores_N, real in ((counted_N2[:, 0], True), (counted_N2[:, 1], False)):
        scores = jax.numpy.asarray(scores_N, jax.numpy.float32)
        state = confusion.update(state, scores, jax.numpy.full(len(scores_N), real))
    return {name: float(value) for name, value in confusion.compute(state).items()}


# --- intermediate frames -----------------------------------------------------------------------


def inbetween(
    subject: Subject,
    *,
    factors: Sequence[int] = (2, 4, 8),
    others: Mapping[str, Fill] | None = None,
) -> Part:
    """Every second, fourth, eighth frame is known, those between are made and compared.

    Without a script, from the caption and the known frames: what ``interpolate`` does with a
    user's video. Floors: the linear blend; beside it the nearest known frame and ``others``. Hidden
    frames that are copies of both known neighbours are left out: whatever stands still is exact on
    them, and counts 100 dB.
    """
    figures: list[Figure] = []
    rows: list[Row] = []
    psnr = compile_function(functools.partial(quality.psnr, data_range=255))
    ssim = compile_function(functools.partial(quality.ssim, data_range=255))
    methods: dict[str, Fill] = {"linear": linear, "nearest": nearest, **(others or {})}
    for factor in factors:
        count = (subject.run.data.frames - 1) // factor
        if count < 1:
            continue
        scores: dict[str, list[tuple[float, float]]] = {}
        for i, (real, text) in enumerate(zip(subject.real, subject.prompts, strict=True)):
            real = real[: count * factor + 1]
            known = real[::factor]
            t = np.arange(len(real))
            moves_T = (known[[t // factor, -(-t // factor)]] != real).any((0, 2, 3, 4))
            if not len(hidden := np.flatnonzero(moves_T & (t % factor > 0))):
                continue
            made = {"ours": subject.pipe.interpolate(known, factor=factor, prompt=text).video}
            made |= {name: method(known, factor) for name, method in methods.items()}
            for name, video in made.items():
                pair = video[:, None], real[:, None]  # of each frame
                structure = ssim(*pair) if real.shape[1] >= 11 else np.full(len(real), np.nan)
                found = [
                    float(np.asarray(value)[hidden].mean()) for value in (psnr(*pair), structure)
                ]
                scores.setdefault(name, []).append((found[0], found[1]))
            if len(rows) < 2 and factor == factors[min(1, len(factors) - 1)]:
                films = [subject.film("real", real), subject.film(f"{factor}x", made["ours"])]
                films.append(subject.film("linear blend", made["linear"]))
                rows.append(Row(subject.captions[i], films))
        if not scores:
            continue
        average = {name: np.mean(values, axis=0) for name, values in scores.items()}
        beside = ", ".join(f"{n} {v[0]:.2f} dB" for n, v in average.items() if n != "ours")
        others_said = f"{len(scores['ours'])} clips; {beside}"
        for at, (name, unit) in enumerate((("psnr", "dB"), ("ssim", ""))):
            value, base = average["ours"][at], average["linear"][at]
            note = others_said if at == 0 else ""
            figures.append(Figure(f"{name} at {factor}x", value, floor=base, unit=unit, note=note))
    text = (
        f"Of {len(subject.real)} held-out clips the hidden frames that are no copies of both known "
        "neighbours. Floor: linear blend."
    )
    return Part(Section("Intermediate frames", text, figures), tuple(rows))


def linear(known_KHWC: np.ndarray, factor: int) -> np.ndarray:
    """The blend of both known neighbours, weighted by time, rounded."""
    T = (len(known_KHWC) - 1) * factor + 1
    video = np.zeros((1, T, *known_KHWC.shape[1:]), np.float32)
    video[0, ::factor] = known_KHWC
    given = (np.arange(T) % factor == 0).astype(np.float32)[None]
    times = np.arange(T, dtype=np.float32)[None]
    blended = np.asarray(blend(*map(jax.numpy.asarray, (video, given, times))))
    return np.rint(blended[0]).clip(0, 255).astype(np.uint8)


def nearest(known_KHWC: np.ndarray, factor: int) -> np.ndarray:
    """The nearest known frame; of two the earlier one."""
    T = (len(known_KHWC) - 1) * factor + 1
    return known_KHWC[np.ceil(np.arange(T) / factor - 0.5).astype(int)]


# --- from a first frame ------------------------------------------------------------------------


def animated(subject: Subject) -> Part:
    """The first frame of held-out clips given, with their script, or their caption where they have
    none: is it still the same one later?"""
    run = subject.run
    films, rows = [], []
    for i, (real, text) in enumerate(zip(subject.real, subject.prompts, strict=True)):
        script = subject.heldout[subject.order[i]].script
        told: dict[str, Any] = {"prompt": text} if script is None else {"script": script}
        clip = subject.pipe.generate(image=real[0], seed=i, **told).video[: run.data.frames]
        films.append(clip)
        if i < 3:
            beside = [subject.film("real", real), subject.film("from its first frame", clip)]
            rows.append(Row(subject.captions[i], beside))
    made = np.stack(films)
    measure = compile_function(lambda v: content.average_content_distance(v))
    apart = {"made": measure(made), "real": measure(subject.real)}
    value, real_value = (float(np.mean(apart[name])) for name in ("made", "real"))
    kept = float((made[:, 0] == subject.real[:, 0]).mean())
    figures = [
        Figure("average content distance", value, ceiling=real_value, better="near ceiling"),
        Figure("first frame kept", kept, ceiling=1.0, unit="%"),
    ]
    text = (
        f"{len(made)} held-out first frames, with their scripts or else captions. The content "
        "distance is MoCoGAN's ACD; its ceiling that of the real clips."
    )
    return Part(Section("From a first frame", text, figures), tuple(rows))


# --- distances of sets -------------------------------------------------------------------------


def sets(subject: Subject, train: Source, *, i3d: features.Extractor | None = None) -> Part:
    """Fréchet and kernel distances of clips made from captions to held-out ones; memorisation."""
    extractors = [features.random_frames(), features.random_video()]
    if i3d is not None:
        extractors.append(i3d)
    figures = []
    half = len(subject.real) // 2
    for extractor in extractors:
        if subject.run.data.frames < extractor.min_frames or half < 2:
            continue
        real, made = (_features(extractor, v) for v in (subject.real, subject.made))
        for kind, distance in (
            ("frechet", distances.frechet_distance),
            ("kernel", distances.kernel_distance),
        ):
            name = features.distance_name(extractor, kind)  # type: ignore[arg-type]
            lowest, spread = distances.floor(real, distance)
            note = f"{half} against {half} clips; real halves ± {spread:.2g}"
            value = distance(made[:half], real[half : 2 * half])
            figures.append(Figure(name, value, ceiling=lowest, better="lower", note=note))
    figures += _memorised(subject, train)
    text = (
        f"{len(subject.made)} clips made from held-out captions. The ceiling of a distance is that "
        "of real clips against real clips. Nothing here is FVD unless it says so."
    )
    rows = [
        Row(text, [subject.film("generated", made), subject.film("a real clip", real)])
        for text, made, real in zip(
            subject.captions[:6], subject.made[:6], subject.real[:6], strict=True
        )
    ]
    return Part(Section("Distances of sets", text, figures), tuple(rows))


def _features(extractor: features.Extractor, videos: np.ndarray) -> np.ndarray:
    apply = compile_function(extractor.apply)
    found = [np.asarray(apply(extractor.params, video[None]))[0] for video in videos]
    if found[0].ndim == 2:  # of frames: of each clip their means and changes
        return np.asarray(distances.over_time(jax.numpy.asarray(np.stack(found))))
    return np.stack(found)


def _memorised(subject: Subject, train: Source, *, most: int = 2048) -> list[Figure]:
    """How near generated clips are to training clips, beside how near real held-out ones are."""
    size = min(64, len(train))
    batches = Batches(train, batch_size=size, seed=0, text_length=subject.run.data.text_length)
    update = compile_function(content.update)
    start = compile_function(content.init)
    states = {"made": start(subject.made), "real": start(subject.real)}
    looked = min(most, len(train)) // size * size
    for i in range(looked // size):
        batch = batches[i]
        for name, state in states.items():
            states[name] = update(state, batch["video"], batch["index"])
    made, real = (np.asarray(content.compute(s)["distance"]) for s in states.values())
    copied = float((made < np.quantile(real, 0.01)).mean()) if real.max() > 0 else float("nan")
    note = f"to the nearest of {looked} of {len(train)} training clips"
    # The chance that of clips like the real ones as many are nearer than all of these.
    nearer, M, R = int((made < real.min()).sum()), len(made), len(real)
    chance = math.comb(M, nearer) / math.comb(M + R, nearer)
    if made.mean() < MEMORISED * real.mean() or (copied >= COPIED and chance < 0.02):
        note = f"MEMORISED: {made.mean() / real.mean():.2f} of real clips' distance {note}"
    return [
        Figure("nearest training clip", float(made.mean()), ceiling=float(real.mean()),
               better="near ceiling", note=note),
        Figure("nearer than 99 % of real clips", copied, ceiling=0.01, unit="%", better="lower"),
    ]  # fmt: skip
