"""From a trained planner to one that is tuned by reinforcement learning: drive, load, compare.

The tuned run stands in ``RUN/rl_planner`` beside ``RUN/planner``, and is loaded as any planner is.
"""

import dataclasses
import functools
import json
import pathlib
from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import numpy as np

from jaxvid import cluster, grammar, loop, training, training_planner
from jaxvid import config as configs
from jaxvid.config import PlannerRlRun, PlannerRun
from jaxvid.data.prompts import Kind, collate
from jaxvid.data.source import Split
from jaxvid.data.stories import Story, story
from jaxvid.io.checkpoint import Checkpoints
from jaxvid.io.log import say
from jaxvid.io.media import atomic_write_text
from jaxvid.lint import lint
from jaxvid.metrics import outlines
from jaxvid.metrics.bootstrap import Interval, interval
from jaxvid.models.planner import Planner, Sample, sample
from jaxvid.optim import make_optimizer
from jaxvid.outline import TO, Outline, stated
from jaxvid.parallel import check_batch_size, compile_function, compile_step, make_mesh, whole
from jaxvid.rl.plans import PLAN_REWARDS, unrelated
from jaxvid.script import validate
from jaxvid.staging import stage
from jaxvid.state import PlannerRlState, init_planner_rl
from jaxvid.steps.rl_planner import Rehearsal, make_planner_rl_step
from jaxvid.typing import Params, UserError

WATCHED = 200  # prompts that the best checkpoint is chosen by
SEED, OTHER = 17, 18  # of those; of the comparison
BATCH = 50
KINDS: tuple[Kind, ...] = ("long", "pictured")  # short ones are read rightly: nothing to learn

Read = Callable[[Params, np.ndarray, np.ndarray], Sample]


def _base(run: PlannerRlRun, folder: pathlib.Path) -> tuple[Planner, Params, PlannerRun]:
    if not run.rl.base:
        planner, state, base = training_planner.load_planner(folder.parent / "planner")
        return planner, state.ema, base
    return training_planner.read_planner(training_planner.base_path(run.rl.base))


def train_planner_rl(run: PlannerRlRun, folder: pathlib.Path) -> PlannerRlState:
    """Tunes the planner of ``folder.parent`` in ``folder``; resumes what is there.

    The best checkpoint is chosen by prompts of training's forms that training never showed.
    """
    for name in run.rl.rewards:
        if name not in PLAN_REWARDS:
            raise UserError(f"no reward {name!r} of plans; use {', '.join(PLAN_REWARDS)}")
    planner, params, base = _base(run, folder)
    training.check_run(folder, run)
    mesh = make_mesh(None, run.mesh)
    check_batch_size(run.train.batch_size, mesh)
    tuning = Rehearsal(planner, make_optimizer(run.optim, run.train.steps), run.rl)
    make_step = functools.partial(make_planner_rl_step, tuning)
    step = compile_step(make_step, mesh, backend=run.train.backend)
    training.open_run(folder, run)
    cluster.on_first(lambda: atomic_write_text(folder / "planner.json", configs.to_json(base)))
    say(f"rl_planner: rewards {', '.join(run.rl.rewards)}")
    prompts = dataclasses.replace(base, train=run.train)
    watched = stories(base, "test", WATCHED, seed=SEED)
    return loop.run(
        "rl_planner",
        folder,
        config=run.train,
        phases=[loop.Phase(step, run.train.steps)],
        state=init_planner_rl(params, tuning.tx),
        batches=lambda start, order: training_planner.prompt_batches(
            prompts, start, order + SEED, kinds=KINDS
        ),
        on_sample=functools.partial(_watch, make_reader(planner), base, watched, run, folder),
    )


def _watch(
    read: Read,
    base: PlannerRun,
    watched: Sequence[Story],
    run: PlannerRlRun,
    folder: pathlib.Path,
    state: PlannerRlState,
    step: int,
) -> float:
    """The share of prompts not wholly right, with half of what was invented; lower is better."""
    params = whole(state.ema)  # by all processes

    def look() -> tuple[float, float, float]:
        found = marks(watched, ask(read, params, watched, base))
        return float(found["exact"].mean()), float(found["strict"].mean()), _last_kl(folder)

    exact, strict, kl = cluster.on_first(look)
    say(f"rl_planner: step {step}: {exact:.1%} right, {strict:.1%} and nothing else read")
    score = float(1 - (exact + strict) / 2)
    if kl > run.rl.kl_budget:
        raise loop.Enough(
            f"{kl:.2f} nats a sentence from the reference, over --rl.kl-budget {run.rl.kl_budget}",
            score=score,
        )
    return score


def _last_kl(folder: pathlib.Path) -> float:
    """Of the last step that was logged and finite; a line that is not yet whole is none."""
    whole_lines, _, _ = (folder / "metrics.jsonl").read_text(encoding="utf-8").rpartition("\n")
    found = (json.loads(line)["kl"] for line in reversed(whole_lines.splitlines()))
    return next((float(kl) for kl in found if kl is not None), 0.0)


def stories(run: PlannerRun, split: Split, count: int, *, seed: int) -> list[Story]:
    """Prompts of words alone, of all kinds and both languages."""
    length = run.data.text_length
    return [story(seed, split, i, noise="none", picture=False, length=length) for i in range(count)]


def make_reader(planner: Planner) -> Read:
    """The compiled function that reads BATCH prompts greedily."""
    key = jax.random.key(0)
    return compile_function(
        lambda params, text, image: sample(planner, params, text, image, key, temperature=0.0)
    )


def ask(read: Read, params: Params, asked: Sequence[Story], run: PlannerRun) -> list[Outline]:
    """What the planner reads out of the prompts."""
    found: list[Outline] = []
    for start in range(0, len(asked), BATCH):
        part = [(s.wording, s.outline, None) for s in asked[start : start + BATCH]]
        full = part + part[:1] * (BATCH - len(part))
        batch = collate(full, text_length=run.data.text_length, tokens=grammar.LENGTH)
        tokens = np.asarray(read(params, batch["text"], batch["image"]).tokens_BS)
        found += [grammar.decode(tokens_S) for tokens_S in tokens[: len(part)]]
    return found


def marks(asked: Sequence[Story], read: Sequence[Outline]) -> dict[str, np.ndarray]:
    """Of each prompt 1 or 0: ``exact`` (all that was said is read), ``strict`` (and nothing else),
    ``related`` (all relations that were said hold in the staged boxes; nan where none was),
    ``valid`` (nothing in the staged script looks wrong: ``lint``; one that is not valid raises)."""
    found: dict[str, list[float]] = {"exact": [], "strict": [], "related": [], "valid": []}
    for n, (said, outline) in enumerate(zip(asked, read, strict=True)):
        score = outlines.score(said.outline, outline)
        found["exact"].append(score.exact)
        found["strict"].append(score.strict)
        script = stage(outline, n)
        held = not list(unrelated(said.outline, outline, script))
        found["related"].append(held if relates(said.outline) else float("nan"))
        validate(script)
        found["valid"].append(not lint(script))
    return {name: np.asarray(values, np.float64) for name, values in found.items()}


def relates(outline: Outline) -> bool:
    """Whether it says how two actors stand to each other."""
    said = stated(outline).items()
    return any(path.endswith(("/depth", "/side")) or value in TO for path, value in said)


def load_planner_rl(folder: pathlib.Path) -> tuple[Planner, Params, PlannerRun]:
    """The network, its best parameters and the configuration of a tuned planner.

    Raises UserError where there is none.
    """
    path = folder / "planner.json"
    if not path.is_file():
        how = "python -m train.rl --preset planner"
        raise UserError(f"no tuned planner in {folder.parent}; tune one with {how}")
    base = configs.read(PlannerRun, path)
    run = configs.read(PlannerRlRun, folder / "config.json")
    tx = make_optimizer(run.optim, run.train.steps)
    shapes = training_planner.planner_shapes(base)
    like = jax.eval_shape(lambda params: init_planner_rl(params, tx), shapes.params)
    with Checkpoints(folder / "checkpoints", alone=True) as checkpoints:
        state, _ = checkpoints.restore(like, checkpoints.best)
    return training_planner.make_planner(base), state.ema, base


class Change(NamedTuple):
    """A share of ``prompts`` before and after, and the difference with its 95 % interval."""

    before: float
    after: float
    more: Interval
    prompts: int

    @property
    def gone(self) -> float:
        """The share of the errors that are gone."""
        return (self.after - self.before) / max(1 - self.before, 1e-9)


def compare(folder: pathlib.Path, *, prompts: int = 1000) -> dict[str, Change]:
    """Reads held-out prompts (forms and combinations that no training showed) by the planner
    before and after; writes ``gate.json``, by the names of ``marks``.
    """
    run = configs.read(PlannerRlRun, folder / "config.json")
    planner, before, base = _base(run, folder)
    _, after, _ = load_planner_rl(folder)
    read, asked = make_reader(planner), stories(base, "heldout", prompts, seed=OTHER)
    first, then = (marks(asked, ask(read, p, asked, base)) for p in (before, after))
    found: dict[str, Change] = {}
    for name in first:
        there = ~np.isnan(first[name])
        if not there.any():
            continue
        a, b = first[name][there], then[name][there]
        found[name] = change = Change(float(a.mean()), float(b.mean()), interval(b - a), len(a))
        say(
            f"rl_planner: {name} {a.mean():.1%} -> {b.mean():.1%} of {len(a)} held-out prompts, "
            f"{change.more.low:+.1%} to {change.more.high:+.1%}; "
            f"{change.gone:.0%} of the errors gone"
        )
    written = {k: {**c._asdict(), "more": c.more._asdict()} for k, c in found.items()}
    atomic_write_text(folder / "gate.json", json.dumps(written, indent=1))
    return found
