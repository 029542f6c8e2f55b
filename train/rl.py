"""Tunes a trained generator, or planner, by reinforcement learning:

``python -m train.rl --run runs/NAME --preset path | policy | planner``.
"""

from collections.abc import Sequence

from jaxvid import cli, config, memory, presets
from jaxvid.io.lock import one_writer


def main(argv: Sequence[str] | None = None) -> None:
    """Parses, then tunes, and tries the result at the gate."""
    with cli.user_errors():
        run, folder, dry_run = cli.parse_run(presets.RL, argv, prog="train.rl", kind="rl")
        if dry_run:
            if isinstance(run, config.RlRun):
                from jaxvid.reinforce import check_rewards

                check_rewards(config.GanRun(), run)  # as far as that goes without the run it tunes
            print(config.to_json(run))
            return
        from jaxvid import cluster, parallel

        parallel.start(together=True)
        if isinstance(run, config.PlannerRlRun):
            folder = folder.with_name("rl_planner")
            with one_writer(folder):
                from jaxvid import reinforce_planner

                reinforce_planner.train_planner_rl(run, folder)
                cluster.on_first(lambda: len(reinforce_planner.compare(folder)))
            return
        with one_writer(folder):
            from jaxvid import reinforce

            reinforce.train_rl(run, folder)
            cluster.on_first(lambda: reinforce.try_gate(folder).passed)


if __name__ == "__main__":
    memory.program(main)
