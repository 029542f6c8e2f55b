"""Trains generator and critics: ``python -m train.gan --preset quickstart --data folder:PATH``."""

from collections.abc import Sequence

from jaxvid import cli, memory, presets
from jaxvid.io.lock import one_writer


def main(argv: Sequence[str] | None = None) -> None:
    """Parses, then trains or describes the run."""
    with cli.user_errors():
        run, folder, dry_run = cli.parse_run(presets.GAN, argv, prog="train.gan", kind="gan")
        from jaxvid import parallel

        parallel.start(together=True)
        if dry_run:
            from jaxvid import sizes

            print(sizes.describe(run))
            return
        with one_writer(folder):
            from jaxvid import training
            from jaxvid.io.log import say

            training.train_gan(run, folder)
        say(f"gan: done; next: jaxvid generate --run {folder.parent} 'a prompt' --out video.mp4")


if __name__ == "__main__":
    memory.program(main)
