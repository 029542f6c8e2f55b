"""The table of presets: ``python -m benchmarks.presets``. Nothing is executed: XLA counts.

python -m benchmarks.presets --compile tiny        # and the memory of a compiled step
"""

import dataclasses
from collections.abc import Sequence
from typing import Annotated

import tyro

from benchmarks.options import known
from jaxvid import cli, memory, presets
from jaxvid.typing import UserError


@dataclasses.dataclass(frozen=True)
class Options:
    """Prints parameters, operations and memory of the generators' presets, as Markdown."""

    names: Annotated[tuple[str, ...], tyro.conf.Positional] = ("tiny", "small", "base", "large")
    """Which presets."""
    compile: tuple[str, ...] = ()
    """Presets whose training step is compiled, for its memory on this device."""


def main(argv: Sequence[str] | None = None) -> None:
    """Prints the table."""
    options = tyro.cli(Options, args=argv, prog="benchmarks.presets")
    with cli.user_errors():
        known((*options.names, *options.compile), presets.GAN, "preset")
        if missing := [name for name in options.compile if name not in options.names]:
            raise UserError(f"--compile {missing[0]}: name it among the rows of the table too")
        from jaxvid import parallel

        parallel.start()
        from jaxvid.sizes import sizes

        print(
            "| preset | pixels | generator | critics | GFLOP a frame | TFLOP a training clip ",
            end="",
        )
        print("| state | step, batch |\n|---|---|---|---|---|---|---|---|")
        for name in options.names:
            run = presets.GAN[name]()
            found = sizes(run, compiled=name in options.compile)
            memory = f"{found.step_bytes / 2**30:.2f} GiB" if found.step_bytes else "-"
            print(
                f"| {name} | {run.data.resolution} | {found.generator_parameters / 1e6:.1f} M "
                f"| {found.critic_parameters / 1e6:.1f} M | {found.frame_flops / 1e9:.2f} "
                f"| {found.clip_flops / 1e12:.3f} | {found.state_bytes / 2**30:.2f} GiB "
                f"| {memory}, {run.train.batch_size} |",
                flush=True,
            )


if __name__ == "__main__":
    memory.program(main)
