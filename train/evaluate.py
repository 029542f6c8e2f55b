"""Evaluates a trained run: ``python -m train.evaluate --run runs/quickstart``.

Writes ``evaluation.json`` and a self-contained ``report.html`` into the run's folder.
"""

import dataclasses
import pathlib
from collections.abc import Sequence

import tyro

from jaxvid import cli, memory
from jaxvid.typing import UserError


@dataclasses.dataclass(frozen=True)
class Options:
    """Measures a trained run on held-out data and writes evaluation.json and report.html."""

    run: pathlib.Path = pathlib.Path("runs/quickstart")
    """Folder of the run; "shipped": the models that come with jaxvid, prompts alone."""
    prompts: int = 1000
    """Held-out captions of scenes that are filmed and read."""
    clips: int = 256
    """Held-out clips that each other part looks at."""
    seed: int = 1
    """Of the held-out prompts."""
    i3d: pathlib.Path | None = None
    """A file of I3D's weights (safetensors or npz), for FVD; see jaxvid.models.i3d."""


def main(argv: Sequence[str] | None = None) -> None:
    """Evaluates, and says where the report is."""
    options = tyro.cli(Options, args=argv, prog="train.evaluate")
    with cli.user_errors():
        from jaxvid import parallel

        parallel.start()
        from jaxvid import evaluate

        if options.run == pathlib.Path("shipped"):
            if options.i3d is not None:
                raise UserError("of what comes along prompts alone are evaluated; leave out --i3d")
            folder = pathlib.Path("runs/shipped")
            evaluate.evaluate_shipped(folder, prompts=options.prompts, seed=options.seed)
            print(folder / "evaluation.json")
            return
        i3d = None if options.i3d is None else str(options.i3d)
        evaluate.evaluate(
            options.run, prompts=options.prompts, clips=options.clips, seed=options.seed, i3d=i3d
        )
        print(f"{options.run / 'evaluation.json'} and {options.run / 'report.html'}")


if __name__ == "__main__":
    memory.program(main)
