"""What each part of the adversarial recipe is worth: ``python -m benchmarks.ablation``.

Trains the quickstart's generator under the same budget with one part changed at a time, several
seeds each, and reads held-out prompts from the pixels. Writes a JSON that it goes on from, and
prints a Markdown table with the spread over seeds.
"""

import dataclasses
import json
import pathlib
import re
import statistics
from collections.abc import Callable, Sequence
from typing import Any

import tyro

from benchmarks.options import beginning
from jaxvid import cli, memory, presets
from jaxvid.config import GanRun, TaskConfig


def variants() -> dict[str, Callable[[GanRun], GanRun]]:
    """One change each, of the run that they are compared with."""

    def loss(**changes: Any) -> Callable[[GanRun], GanRun]:
        return lambda run: dataclasses.replace(run, loss=dataclasses.replace(run.loss, **changes))

    def unscripted(run: GanRun) -> GanRun:
        tasks = dataclasses.replace(run.tasks, drop_script=0.999)
        return dataclasses.replace(run, tasks=tasks)

    return {
        "as it is (relativistic, finite-difference R1 + R2)": lambda run: run,
        "minimax": loss(adversarial="minimax"),
        "non-saturating": loss(adversarial="nonsaturating"),
        "hinge": loss(adversarial="hinge"),
        "no penalty": loss(penalty="none"),
        "exact R1 + R2": loss(penalty="exact"),
        "exact R1 alone": loss(penalty="r1"),
        "no augmentation": loss(augment=0.0),
        "no warm-up by reconstruction": loss(warmup=0),
        "no reconstruction at all": loss(warmup=0, reconstruction=0.0, reconstruction_final=0.0),
        "no critics": lambda run: dataclasses.replace(
            run, loss=dataclasses.replace(run.loss, warmup=run.train.steps)
        ),
        "no script": unscripted,
    }


@dataclasses.dataclass(frozen=True)
class Options:
    """Ablates the recipe on the embedded scenes."""

    out: pathlib.Path = pathlib.Path("runs/ablation")
    """Folder for the runs and results.json; a second call goes on with what is missing."""
    steps: int = 200
    """Of each run, of which half are the warm-up."""
    batch: int = 8
    """Clips a step."""
    seeds: int = 3
    """Runs of each variant."""
    only: tuple[str, ...] = ()
    """Variants whose name begins with one of these."""


def main(argv: Sequence[str] | None = None) -> None:
    """Trains what is missing, then prints the table."""
    options = tyro.cli(Options, args=argv, prog="benchmarks.ablation")
    with cli.user_errors():
        changes = variants()
        wanted = beginning(options.only, changes, "variant")
        from jaxvid import parallel

        parallel.start()
        from jaxvid.io.media import atomic_write_text

        options.out.mkdir(parents=True, exist_ok=True)
        path = options.out / "results.json"
        results = json.loads(path.read_text()) if path.exists() else {}
        for seed in range(options.seeds):
            for name in wanted:
                key = f"{name} / {seed} / {options.steps} x {options.batch}"
                if key not in results:
                    number = list(changes).index(name)
                    folder = options.out / f"{number}-{seed}-{options.steps}x{options.batch}"
                    results[key] = _one(changes[name](_run(options, seed)), folder)
                    atomic_write_text(path, json.dumps(results, indent=1))
        print(table(results, f"{options.steps} x {options.batch}"))


def _run(options: Options, seed: int) -> GanRun:
    """The budget: the quickstart's generator on clips that have a caption, and mostly a script."""
    run = presets.quickstart_gan()
    steps = options.steps
    train = dataclasses.replace(
        run.train,
        steps=steps,
        batch_size=options.batch,
        seed=seed,
        sample_every=steps,
        checkpoint_every=steps,
    )
    loss = dataclasses.replace(run.loss, warmup=steps // 2)
    return dataclasses.replace(run, train=train, loss=loss, tasks=TaskConfig())


def _one(run: GanRun, folder: pathlib.Path) -> dict[str, float]:
    """Trains one run and measures it; ``lost`` says that its game was lost too often."""
    from jaxvid import evaluate, training
    from jaxvid.typing import UserError

    try:
        training.train_gan(run, folder / "gan")
    except UserError as error:
        if not re.search(r": lost \d+ times, ", str(error)):  # as loop.run says it
            raise
        print(f"{folder.name}: {error}", flush=True)
        return {"lost": 1.0}
    found = evaluate.evaluate(folder, prompts=200, full=False)
    prompts, rebuilt = found["prompts"], found["rebuilt"]
    return {
        "lost": 0.0,
        "mse": rebuilt["mse"]["value"],
        "all": prompts["all"]["value"],
        "jerk": prompts["jerk"]["value"] / prompts["jerk"]["ceiling"],
        "diversity": prompts["diversity at equal prompt"]["value"]
        / prompts["diversity at equal prompt"]["ceiling"],
        "critics": rebuilt["critics"]["accuracy"],
    }


def table(results: dict[str, dict[str, float]], budget: str) -> str:
    """Means over seeds, with least and greatest; the error also over that of the first variant with
    the same seed, because seeds differ more than most variants.
    """
    lines = ["| variant | runs, lost | rebuilt MSE, 0 to 1 | the same, x the first row's "]
    lines[0] += "| all attributes right | jerk, x real | diversity, x real | critics' accuracy |"
    lines.append("|---" * 8 + "|")
    forms = {"mse": "{:.4f}", "ratio": "{:.2f}", "all": "{:.1%}", "jerk": "{:.2f}",
             "diversity": "{:.2f}", "critics": "{:.1%}"}  # fmt: skip
    first = _rows(results, next(iter(variants())), budget)
    for name in variants():
        rows = _rows(results, name, budget)
        kept = {seed: row for seed, row in rows.items() if not row["lost"]}
        for seed, row in kept.items():
            if seed in first and not first[seed]["lost"]:
                kept[seed] = row | {"ratio": row["mse"] / first[seed]["mse"]}
        cells = [name, f"{len(rows)}, {len(rows) - len(kept)}"]
        for measure, form in forms.items():
            values = [row[measure] for row in kept.values() if measure in row]
            cells.append("-")
            if values:
                ends = (form.format(f(values)) for f in (statistics.mean, min, max))
                cells[-1] = "{} ({} to {})".format(*ends)
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _rows(results: dict[str, dict[str, float]], name: str, budget: str) -> dict[str, Any]:
    """A variant's results by seed."""
    keys = (key.split(" / ") for key in results)
    return {seed: results[f"{name} / {seed} / {budget}"] for what, seed, how in keys
            if (what, how) == (name, budget)}  # fmt: skip


if __name__ == "__main__":
    memory.program(main)
