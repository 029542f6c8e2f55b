"""Trains the planner: ``python -m train.planner --preset quickstart``."""

from collections.abc import Sequence

from jaxvid import cli, memory, presets
from jaxvid.io.lock import one_writer


def main(argv: Sequence[str] | None = None) -> None:
    """Parses, then trains and evaluates or describes the run."""
    with cli.user_errors():
        run, folder, dry_run = cli.parse_run(
            presets.PLANNER, argv, prog="train.planner", kind="planner"
        )
        from jaxvid import cluster, parallel

        parallel.start(together=True)
        if dry_run:
            from jaxvid import sizes

            print(sizes.describe(run))
            return
        with one_writer(folder):
            from jaxvid import training_planner
            from jaxvid.io.log import say

            training_planner.train_planner(run, folder)
        if run.data.source == "stories":
            from jaxvid.evaluate_planner import evaluate_planner

            cluster.on_first(lambda: evaluate_planner(folder.parent))
        say(f"planner: done; next: jaxvid script --run {folder.parent} 'a prompt'")


if __name__ == "__main__":
    memory.program(main)
