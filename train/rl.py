"""Tunes a trained generator, or planner, by reinforcement learning:

``python -m train.rl --run runs/NAME --preset path | policy | planner``.
"""

from collections.abc import Sequence

from jaxvid import cli, config, presets


def main(argv: Sequence[str] | None = None) -> None:
    """Parses, then tunes, and tries the result at the gate."""
    with cli.user_errors():
        run, folder, dry_run = cli.parse_run(presets.RL, argv, prog="train.rl", kind="rl")
        if dry_run:
            print(config.to_json(run))
            return
        from jaxvid import parallel

        parallel.start()
        from jaxvid import reinforce, reinforce_planner

        if isinstance(run, config.PlannerRlRun):
            folder = folder.with_name("rl_planner")
            reinforce_planner.train_planner_rl(run, folder)
            reinforce_planner.compare(folder)
        else:
            reinforce.train_rl(run, folder)
            reinforce.try_gate(folder)


if __name__ == "__main__":
    main()
