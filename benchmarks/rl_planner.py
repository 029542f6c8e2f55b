"""Whether a planner that was taught carelessly learns by samples what its scripts left out:
``python -m benchmarks.rl_planner --run runs/NAME``.

The planner that comes along is trained on with prompts whose scripts leave out, most of the time,
how two actors stand to each other, as people's notes do. So it leaves that out. Then it is tuned by
rewards that know what a prompt says, and read what was written and the staged boxes. Both are tried
on held-out prompts, beside the planner as it comes along; prints a Markdown table.
"""

import dataclasses
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import tyro

from jaxvid import cli, memory, presets
from jaxvid.config import OptimConfig, PlannerRlRun, PlannerRun
from jaxvid.data.prompts import Example, Kind, PromptSource
from jaxvid.outline import ANY, DEFAULTS, TO, Outline

LEFT_OUT = 0.75  # share of prompts whose script says no relation


@dataclasses.dataclass(frozen=True)
class Options:
    """Teaches carelessly, tunes, compares."""

    run: pathlib.Path = pathlib.Path("runs/careless")
    """Folder for both trainings."""
    careless: int = 200
    """Steps on careless scripts."""
    steps: int = 150
    """Of tuning."""
    prompts: int = 1000
    """Held-out ones, by which both are compared."""
    seed: int = 0
    """Of the tuning."""


class Careless(PromptSource):
    """Prompts whose scripts leave relations out, ``LEFT_OUT`` of the time; the words stay."""

    def __repr__(self) -> str:
        return f"Careless({super().__repr__()}, {LEFT_OUT})"

    def example(self, index: int, kind: Kind = "short") -> Example:
        """As ``PromptSource`` has it, or without its relations."""
        wording, outline, picture = super().example(index, kind)
        if np.random.default_rng((self.seed, index, 5)).random() < LEFT_OUT:
            outline = unrelated(outline)
        return wording, outline, picture


def unrelated(outline: Outline) -> Outline:
    """What it says, but for how actors stand to each other."""
    takes = []
    for take in outline.takes:
        parts = tuple(
            dataclasses.replace(part, motion=ANY) if part.motion in TO else part
            for part in take.parts
        )
        depth, side = DEFAULTS["depth"], DEFAULTS["side"]
        takes.append(dataclasses.replace(take, parts=parts, depth=depth, side=side))
    return dataclasses.replace(outline, takes=tuple(takes))


def runs(options: Options) -> tuple[PlannerRun, PlannerRlRun]:
    """The careless training, and the tuning."""
    run = presets.story_planner()
    run = dataclasses.replace(
        run,
        base="shipped",
        data=dataclasses.replace(run.data, workers=0),
        optim=OptimConfig(kind="muon", lr=2e-3, warmup=20, final=0.02),
        train=dataclasses.replace(
            run.train, steps=options.careless, batch_size=64, log_every=20, checkpoint_every=100
        ),
    )
    tuning = PlannerRlRun()
    train = dataclasses.replace(tuning.train, steps=options.steps, seed=options.seed)
    return run, dataclasses.replace(tuning, train=train)


def main(argv: Sequence[str] | None = None) -> None:
    """Trains and tunes what is missing, then prints the table."""
    options = tyro.cli(Options, args=argv, prog="benchmarks.rl_planner")
    with cli.user_errors():
        from jaxvid import parallel

        parallel.start()
        from jaxvid import reinforce_planner, training_planner

        run, tuning = runs(options)
        training_planner.train_planner(
            run,
            options.run / "planner",
            source=lambda run, order: Careless(
                "train", seed=run.train.seed + order, text_length=run.data.text_length
            ),
        )
        folder = options.run / "rl_planner"
        reinforce_planner.train_planner_rl(tuning, folder)
        found = reinforce_planner.compare(folder, prompts=options.prompts)
        planner, params, base = training_planner.read_planner(training_planner.SHIPPED)
        heldout, seed = options.prompts, reinforce_planner.OTHER
        asked = reinforce_planner.stories(base, "heldout", heldout, seed=seed)
        read = reinforce_planner.ask(reinforce_planner.make_reader(planner), params, asked, base)
        shipped = reinforce_planner.marks(asked, read)
        print(table(found, {name: float(np.nanmean(shipped[name])) for name in found}))


def table(found: Mapping[str, Any], shipped: Mapping[str, float]) -> str:
    """One row a mark: shares before and after, the difference, the errors that are gone, and the
    share of the planner that comes along."""
    columns = "held-out prompts", "careless", "tuned", "difference", "errors gone", "as it comes"
    lines = [f"| {' | '.join(columns)} |", "|---" * len(columns) + "|"]
    for name, change in found.items():
        more = f"{change.more.low:+.1%} to {change.more.high:+.1%}"
        row = f"{name} ({change.prompts})", f"{change.before:.1%}", f"{change.after:.1%}", more
        gone = f"{change.gone:.0%}" if change.before < 1 else "-"
        lines.append("| " + " | ".join((*row, gone, f"{shipped[name]:.1%}")) + " |")
    return "\n".join(lines)


if __name__ == "__main__":
    memory.program(main)
