"""Trains the planner: ``python -m train.planner --preset quickstart``."""

from collections.abc import Sequence

from jaxvid import cli, presets


def main(argv: Sequence[str] | None = None) -> None:
    """Parses, then trains and evaluates or describes the run."""
    with cli.user_errors():
        run, folder, dry_run = cli.parse_run(
            presets.PLANNER, argv, prog="train.planner", kind="planner"
        )
        from jaxvid import cluster, parallel

        parallel.start(together=True)
        from jaxvid import sizes, training
        from jaxvid.io.log import say

        if dry_run:
            print(sizes.describe(run))
            return
        training.train_planner(run, folder)
        if run.data.source == "stories":
            from jaxvid.evaluate_planner import evaluate_planner

            cluster.on_first(lambda: evaluate_planner(folder.parent))
        say(f"planner: done; next: jaxvid script --run {folder.parent} 'a prompt'")


if __name__ == "__main__":
    main()
