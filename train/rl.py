"""Tunes a trained generator by reinforcement learning: ``python -m train.rl --run runs/NAME``."""

from collections.abc import Sequence

from jaxvid import cli, config, presets


def main(argv: Sequence[str] | None = None) -> None:
    """Parses, then tunes, and tries the result at the gate."""
    with cli.user_errors():
        run, folder, dry_run = cli.parse_run(presets.RL, argv, prog="train.rl", kind="rl")
        if dry_run:
            print(config.to_json(run))
            return
        from jaxvid import cluster, parallel

        parallel.start(together=True)
        from jaxvid import reinforce

        reinforce.train_rl(run, folder)
        cluster.on_first(lambda: reinforce.try_gate(folder).passed)


if __name__ == "__main__":
    main()
