"""The gate: whether reinforcement learning made clips better, or only its rewards.

On held-out prompts, several clips each, the tuned generator beside the frozen reference, with 95 %
bootstrap intervals over prompts:

    smoothness    interpolation error falls                    by 1 % at the interval's worse end
    coherence     warping error over variance falls            likewise
    jerk          of a reference that shakes: 1 / 0.6 times    falls to 0.6 of the reference's
                  that of real clips or more
    motion        along the script's way, or the real clip's   0.9 to 1.1 of the reference's
    light         mean and contrast of each frame,             within a tenth of the range from the
                  over all clips                               reference's to real clips'
    attributes    read by the analytic reader, or by a judge   at most 2 points fewer right
    diversity     of clips of one prompt, if real ones differ  at least 70 % of the reference's
    fresh critic  trained now on these clips and real ones     does not surely find them easier to
                  (four, whose first weights differ: at        tell (the interval is not above 0:
                  chance one is 3 points off another)          a wide one shows little)

Fewer than four prompts fail, since intervals over them say nothing. None of it is a goal by itself:
a still is smooth, coherent, and fails. Both are in units of contrast: what is dark differs less.
Clips before and after have the same noise, so that an interval tells 0.03 % from nothing: chance
has passed by that much where the fall had no least size, and by a tenth, of flicker, by luck.
"""

import dataclasses
import functools
import math
from collections.abc import Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxvid import fresh, judge
from jaxvid.config import GanRun
from jaxvid.data.batch import collate
from jaxvid.data.render import render
from jaxvid.data.scenes import caption
from jaxvid.data.source import Example, open_source
from jaxvid.io.checkpoint import tree_digest
from jaxvid.io.report import Better, Figure, Section
from jaxvid.metrics import content, flow, motion, reader
from jaxvid.metrics.bootstrap import TINY, Interval, crossed, interval, ratio
from jaxvid.parallel import compile_function
from jaxvid.rl import advantages, rewards
from jaxvid.staging import stage
from jaxvid.steps.gan import to_unit
from jaxvid.steps.sample import make_sampler, to_bytes
from jaxvid.training import Nets
from jaxvid.typing import Batch, HostBatch, Params

CHUNK = 8  # clips that are made at once
GLANCE = (12, 4)  # prompts and clips of each, of the short form
OTHER = 10_000  # scenes from here on have its prompts
LEAST = 0.99  # of the reference's error: what falls by less is no improvement, however sure
FEW = 4  # prompts; intervals over fewer say nothing
STEADY = 0.6  # of the reference's jerk, where that leaves no less than real clips have
Values = dict[str, np.ndarray]  # (P,S): of each clip of each prompt


@dataclasses.dataclass(frozen=True)
class Check:
    """One line of the gate."""

    name: str
    value: float
    low: float
    high: float
    bound: str
    passed: bool
    better: Better = "higher"


@dataclasses.dataclass(frozen=True)
class Verdict:
    """All lines, and what else was measured: means of reference, tuned and real clips."""

    checks: tuple[Check, ...]
    measured: dict[str, tuple[float, float, float]]

    @property
    def passed(self) -> bool:
        """Whether every line holds."""
        return all(check.passed for check in self.checks)


class Glance(NamedTuple):
    """The short form: ``score`` is lower for better, ``divergence`` in nats a frame."""

    score: float
    divergence: float
    text: str


@dataclasses.dataclass(frozen=True, eq=False)
class Shown:
    """Clips (P,S,T,H,W,3) uint8 of prompts, and the measures of each."""

    videos: np.ndarray
    values: Values


@dataclasses.dataclass(frozen=True, eq=False)
class Known:
    """What is the same for all that is tuned from one reference: prompts, its clips, real ones."""

    prompts: list[list[Example]]
    before: Shown
    real: Shown

    @functools.cached_property
    def told_apart(self) -> np.ndarray:
        """Whether fresh critics are right about the reference's clips and the real ones."""
        return fresh.told_apart(self.real.videos, self.before.videos)


class Gate:
    """Held-out prompts of a run, and the programs that make and measure clips of them.

    Scenes: each clip of a prompt has a scene of its own that fits the caption, and no frame is
    known. Other data: each clip has its own noise, and the first frame of the real clip is known.
    What was seen of a reference is kept, for whatever else is tuned from that one.
    """

    def __init__(self, run: GanRun, nets: Nets) -> None:
        self.run, self.nets = run, nets
        self._scripted = run.data.source == "scenes"
        assert nets.policy is not None
        self._sample = compile_function(
            make_sampler(nets.generator, nets.policy, dtype=run.compute.dtype)
        )
        self._measure = compile_function(functools.partial(measure, scripted=self._scripted))
        self._diverge = compile_function(functools.partial(_divergence, nets.policy))
        self._heldout = open_source(run.data, split="heldout", seed=run.train.seed)
        self._judge: judge.Judge | None = None
        if not self._scripted and getattr(self._heldout, "labels", None):
            train = open_source(run.data, split="train", seed=run.train.seed)
            self._judge = judge.open_judge(train, self._heldout)
        self._known: dict[tuple[int, int, bool], tuple[str, Known]] = {}

    def glance(self, params: Params) -> Glance:
        """A short look, while training; the reference is looked at once."""
        known = self._reference(params, *GLANCE, other=True)
        after = self.show(params, known.prompts)
        nats = [self._diverge(params["policy"], b)[:n] for n, b in self._batches(known.prompts)]
        kl = _mean(np.concatenate(nats))
        found = {c.name: c for c in compare(known, after)}
        gain = sum(math.log(max(found[n].value, 1e-6)) for n in ("smoothness", "coherence"))
        near = (found[n].value for n in ("motion", "light", "contrast"))
        broken = sum(max(0.0, abs(math.log(max(v, 1e-6))) - math.log(1.1)) for v in near)
        broken += max(0.0, 0.7 - found["diversity"].value)
        if "attributes" in found:
            broken += max(0.0, -0.02 - found["attributes"].value)
        text = ", ".join(f"{name} {check.value:.3g}" for name, check in found.items())
        return Glance(gain + 10 * broken, kl, f"{text}; {kl:.2f} nats a frame")

    def judge(
        self, params: Params, *, prompts: int = 24, samples: int = 32, critics: bool = True
    ) -> Verdict:
        """The whole gate for ``params``, whose policy is compared with N(0, I); ``critics``: with
        the line of the fresh critics.
        """
        known = self._reference(params, prompts, samples)
        after = self.show(params, known.prompts)
        checks = compare(known, after)
        if (count := float(len(known.prompts))) < FEW:
            checks.append(Check("prompts", count, count, count, f"at least {FEW}", passed=False))
        if critics and count > 1:  # they learn from some and are tried on others
            told = fresh.told_apart(known.real.videos, after.videos)
            checks.append(easier(known.told_apart, told))
        measured = {
            name: (_mean(value), _mean(after.values[name]), _mean(known.real.values[name]))
            for name, value in known.before.values.items()
            if np.isfinite(value).any()  # own clips may have no labels
        }
        return Verdict(tuple(checks), measured)

    def _reference(
        self, params: Params, prompts: int, samples: int, *, other: bool = False
    ) -> Known:
        """What is seen of the reference in ``params`` at these prompts; ``other``: at others than
        those, where there are enough, to choose the best checkpoint by.
        """
        key = prompts, samples, other
        weights = {n: tree for n, tree in params.items() if n not in ("policy", "explore")}
        digest = tree_digest(weights)
        if key not in self._known or self._known[key][0] != digest:
            asked = self.prompts(prompts, samples, other=other)
            videos = np.array([[example.video for example in row] for row in asked])
            real = Shown(videos, self._measured(videos, asked))
            self._known[key] = digest, Known(asked, self.show(without_policy(params), asked), real)
        return self._known[key][1]

    def prompts(self, count: int, samples: int, *, other: bool = False) -> list[list[Example]]:
        """For each held-out prompt the examples that give its clips their conditions."""
        data, seed = self.run.data, self.run.train.seed
        if not self._scripted:
            order = np.random.default_rng(seed).permutation(len(self._heldout))
            order = (order[::-1] if other else order)[:count]
            return [[self._heldout[int(i)]] * samples for i in order]
        rows = []
        for i in range(OTHER, OTHER + count) if other else range(count):
            wording, said = caption(seed, "heldout", i)
            size = (data.resolution, data.resolution)
            row = []
            for k in range(samples):
                rng = np.random.default_rng((seed, i, k, 4))
                script = stage(said, rng, frames=data.frames, fps=data.fps, size=size)
                row.append(Example(render(script), wording.text, data.fps, script))
            rows.append(row)
        return rows

    def show(self, params: Params, prompts: list[list[Example]]) -> Shown:
        """The clips of the prompts, and their measures."""
        made = []
        for chunk, batch in self._batches(prompts):
            video = self._sample(params, batch, jax.random.key(0))
            made.append(np.asarray(to_bytes(video))[:chunk])
        videos = np.concatenate(made)
        videos = videos.reshape(len(prompts), -1, *videos.shape[1:])
        return Shown(videos, self._measured(videos, prompts))

    def _batches(self, prompts: list[list[Example]]) -> Iterator[tuple[int, HostBatch]]:
        """All examples in order, CHUNK at a time, and what is known of their clips; the last ones
        are repeated to fill a batch."""
        flat = [example for row in prompts for example in row]
        for at in range(0, len(flat), CHUNK):
            rows = np.minimum(np.arange(at, at + CHUNK), len(flat) - 1)
            batch = collate([flat[i] for i in rows], rows, text_length=self.run.data.text_length)
            mask = np.zeros((*batch["video"].shape[:-1], 1), np.float32)
            mask[:, 0] = 0.0 if self._scripted else 1.0
            yield min(CHUNK, len(flat) - at), batch | {"mask": mask}

    def _measured(self, videos: np.ndarray, prompts: list[list[Example]]) -> Values:
        P, S = videos.shape[:2]
        flat = videos.reshape(P * S, *videos.shape[2:])
        found = []
        for at, (chunk, batch) in zip(range(0, P * S, CHUNK), self._batches(prompts), strict=True):
            rows = np.minimum(np.arange(at, at + CHUNK), P * S - 1)
            values = self._measure(flat[rows], batch)
            found.append({name: np.asarray(value)[:chunk] for name, value in values.items()})
        values = {name: np.concatenate([one[name] for one in found]) for name in found[0]}
        examples = [example for row in prompts for example in row]
        if self._scripted:
            pairs = zip(flat, examples, strict=True)
            values["attributes"] = np.array([_right(*pair) for pair in pairs])
        elif self._judge is not None:
            reads = self._judge.read(flat)
            values["attributes"] = np.array(
                [
                    _mean([reads[name][i] == value for name, value in example.labels.items()])
                    for i, example in enumerate(examples)
                ]
            )
        return {name: value.reshape(P, S) for name, value in values.items()}


def _mean(values: Any) -> float:
    """Of what is known; NaN where nothing is."""
    known = np.asarray(values, np.float64)
    known = known[np.isfinite(known)]
    return float(known.mean()) if len(known) else math.nan


def without_policy(params: Params) -> Params:
    """The parameters with the policy that is N(0, I): the reference."""
    return params | {"policy": jax.tree.map(jnp.zeros_like, params["policy"])}


def measure(video_BTHWC: jax.Array, batch: Batch, *, scripted: bool) -> dict[str, jax.Array]:
    """Everything that the gate compares and reports, one number a clip (B,) uint8."""
    unit = to_unit(video_BTHWC)
    moves, flows = motion.measure(video_BTHWC), flow.measure(video_BTHWC)
    values = {name: moves[name] for name in ("speed", "acceleration", "jerk")}
    values |= {name: flows[name] for name in ("flow", "warping_error")}
    values["content distance"] = content.average_content_distance(video_BTHWC)
    values["interpolation"] = rewards.interpolation(unit, batch).mean(1)
    variance = (0.5 * rewards.contrast(unit)) ** 2  # of 0 to 1, as the warping error
    values["warping_share"] = values["warping_error"] / variance.mean(1)
    if scripted:
        for name in ("acceleration", "appearance", "motion"):
            values[f"{name} error"] = rewards.REWARDS[name].error(unit, batch).mean(1)
        values["travel"] = rewards.travel(unit, batch).mean(1)
    else:
        values["flow_along"] = flow.flow_along(video_BTHWC, batch["video"])
    return values


def _divergence(policy: Any, params: Params, batch: Batch) -> jax.Array:
    """Of each clip (B,), in nats a frame that has an action."""
    known = to_unit(jnp.asarray(batch["video"]))
    mean, log_std = policy.apply({"params": params}, batch, known, batch["mask"])
    free_BT = 1.0 - batch["mask"].min((2, 3, 4))
    return (free_BT * advantages.divergence(mean, log_std)).sum(1) / free_BT.sum(1)


def _right(video: np.ndarray, example: Example) -> float:
    assert example.script is not None
    return float(reader.score(reader.read_clip(video), example.script)["all"].mean())


def compare(known: Known, after: Shown) -> list[Check]:
    """All lines but that of the critics."""
    old, new, real = (shown.values for shown in (known.before, after, known.real))
    checks = []
    for name, key in (("smoothness", "interpolation"), ("coherence", "warping_share")):
        found = ratio(new[key].mean(1), old[key].mean(1))
        bound = f"{key} x reference, below {LEAST}"
        checks.append(Check(name, *found, bound, found.high < LEAST, "lower"))
    if STEADY * old["jerk"].mean() >= max(real["jerk"].mean(), TINY):  # grey clips have none
        found = ratio(new["jerk"].mean(1), old["jerk"].mean(1))
        bound = f"x reference, at most {STEADY}"
        checks.append(Check("jerk", *found, bound, found.mean <= STEADY, "lower"))
    key = "travel" if "travel" in old else "flow_along"
    found = ratio(new[key].mean(1), old[key].mean(1))
    near = 0.9 <= found.mean <= 1.1
    bound = f"{key} x reference, 0.9 to 1.1"
    checks.append(Check("motion", *found, bound, near, "near ceiling"))
    checks += _light(known, after)
    if "attributes" in old:
        rises = (new["attributes"] - old["attributes"]).mean(1)
        if len(labelled := rises[np.isfinite(rises)]):  # own clips need not all have labels
            more = interval(labelled)
            checks.append(Check("attributes", *more, "at least -0.02", more.mean >= -0.02))
    checks.append(_diversity(known.before.videos, after.videos, known.real.videos))
    return checks


def _light(known: Known, after: Shown) -> list[Check]:
    """How far mean and contrast of all clips' frames lie outside of the range from the reference's
    to the real clips', in the frame where it is most; 1 within: what is too dark may grow lighter.
    """
    checks, shown = [], [clips.videos for clips in (known.before, known.real, after)]
    measured = [[content.light(jnp.asarray(clips)) for clips in videos] for videos in shown]
    bound = "x range of reference and real clips, 0.9 to 1.1"
    for name in ("light", "contrast"):
        values_3PT = np.array([[one[name].mean(0) for one in prompts] for prompts in measured])
        ends_2T, mean_T = values_3PT[:2].mean(1), values_3PT[2].mean(0)
        edge_T = np.clip(mean_T, ends_2T.min(0), ends_2T.max(0))
        t = int(np.abs(np.log((mean_T + TINY) / (edge_T + TINY))).argmax())
        nearer = np.abs(ends_2T[:, t] - mean_T[t]).argmin()
        within = mean_T[t] == edge_T[t]
        pair = values_3PT[2, :, t], values_3PT[nearer, :, t]
        found = Interval(1.0, 1.0, 1.0) if within else ratio(*pair)
        checks.append(Check(name, *found, bound, 0.9 <= found.mean <= 1.1, "near ceiling"))
    return checks


def _diversity(before: np.ndarray, after: np.ndarray, real: np.ndarray) -> Check:
    apart = [np.asarray(content.diversity(jnp.asarray(videos))) for videos in (before, after, real)]
    # Where a prompt has one real clip, clips of it that differ do so by what is wrong with them.
    for name, videos in (("reference", apart[0]), ("real clips", apart[2])):
        if videos.mean() < 1e-3:
            return Check("diversity", 1.0, 1.0, 1.0, f"none in the {name}", True)
    found = ratio(apart[1], apart[0])
    return Check("diversity", *found, "x reference, at least 0.7", found.mean >= 0.7)


def easier(before_CPN: np.ndarray, after_CPN: np.ndarray) -> Check:
    """How much easier fresh critics tell the tuned clips from real ones than the reference's: the
    difference of their accuracies, over critics and prompts.
    """
    more = crossed((after_CPN - before_CPN).mean(-1))
    bound = "accuracy, not above the reference's"
    return Check("fresh critic", *more, bound, more.low <= 0.0, "lower")


def table(verdict: Verdict) -> str:
    """The verdict as lines of Markdown."""
    lines = ["| check | value | 95 % interval | bound | |", "|---|---|---|---|---|"]
    for c in verdict.checks:
        mark = "passed" if c.passed else "**failed**"
        lines.append(
            f"| {c.name} | {c.value:.3f} | {c.low:.3f} to {c.high:.3f} | {c.bound} | {mark} |"
        )
    lines += ["", "| measure | reference | tuned | real |", "|---|---|---|---|"]
    for name, values in verdict.measured.items():
        lines.append(f"| {name} | " + " | ".join(f"{v:.5g}" for v in values) + " |")
    return "\n".join(lines)


def sections(verdict: Verdict) -> list[Section]:
    """The verdict for a report."""
    checks = [
        Figure(c.name, c.value, ceiling=1.0 if c.better == "near ceiling" else None,
               better=c.better, note=f"{c.low:.3f} to {c.high:.3f}; {c.bound}; "
               f"{'passed' if c.passed else 'FAILED'}")
        for c in verdict.checks
    ]  # fmt: skip
    measures = [
        Figure(name, after, floor=before, ceiling=real, better="near ceiling")
        for name, (before, after, real) in verdict.measured.items()
    ]
    text = "Tuned against the frozen reference on held-out prompts; 95 % intervals over prompts, "
    text += "for the fresh critics over critics too."
    return [
        Section(f"The gate: {'passed' if verdict.passed else 'not passed'}", text, checks),
        Section("Measures", "Floor: the reference; ceiling: real clips.", measures),
    ]
