"""Trains the planner: ``python -m train.planner --preset quickstart``."""

from collections.abc import Sequence

from jaxvid import cli, presets


def main(argv: Sequence[str] | None = None) -> None:
    """Parses, then trains and evaluates or describes the run."""
    with cli.user_errors():
        run, folder, dry_run = cli.parse_run(
            presets.PLANNER, argv, prog="train.planner", kind="planner"
        )
        from jaxvid import parallel

        parallel.start()
        from jaxvid import sizes, training

        if dry_run:
            print(sizes.describe(run))
            return
        training.train_planner(run, folder)
        if run.data.source == "stories":
            from jaxvid.evaluate_planner import evaluate_planner

            evaluate_planner(folder.parent)
        print(f"planner: done; next: jaxvid script --run {folder.parent} 'a prompt'")


if __name__ == "__main__":
    main()
