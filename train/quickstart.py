"""From nothing to a video: ``python -m train.quickstart`` trains planner, generator and critics on
the embedded scenes, tunes the motion by reinforcement learning, evaluates, and writes samples.
9 minutes on two CPU cores.

``--short`` runs a twentieth of the steps: to see that everything works, not that it learns.
"""

import dataclasses
import pathlib
import time
from collections.abc import Sequence
from typing import Any

import numpy as np
import tyro

from jaxvid import cli, memory, presets

PROMPTS = (
    "a large red circle moves to the right",
    "一颗蓝色的星形向上移动",
    "a small green heart bounces in front of a large purple square that stays still",
    "a yellow ring orbits on a dark grid",
    "a pink cross drifts down and left on a cool gradient background",
    "大的橙色菱形在深色背景上变小",
    "a cyan triangle keeps growing on a warm textured background",
    "一个红色的心形在网格背景上跳动",
    "a large blue ring moves left behind a small yellow star that moves right",
    "a purple diamond moves up and right",
    "绿色的圆形向左下方移动，橙色的方块静止不动",
    "a small pink star orbits on a light plain background",
)


@dataclasses.dataclass(frozen=True)
class Options:
    """Trains a small text-to-video model from nothing and writes videos."""

    run: pathlib.Path | None = None
    """Folder of the run; the same command goes on where it stopped. By default runs/quickstart, or
    runs/quickstart-short."""
    short: bool = False
    """A twentieth of the steps: to see that everything works, not that it learns."""
    backend: str = "jit"
    """How steps are spread over devices: jit or pmap."""


def main(argv: Sequence[str] | None = None) -> None:
    """Runs the stages one after another, each as its own script would."""
    options = tyro.cli(Options, args=argv, prog="train.quickstart")
    with cli.user_errors():
        from jaxvid import parallel

        parallel.start()
        from jaxvid import evaluate, pipeline, reinforce, training, training_planner
        from jaxvid.io.log import say
        from jaxvid.io.media import write_video
        from jaxvid.video.compose import tile

        began = time.monotonic()
        folder = options.run or pathlib.Path(
            "runs/quickstart-short" if options.short else "runs/quickstart"
        )
        planner = _shaped(presets.quickstart_planner(), options)
        gan = _shaped(presets.quickstart_gan(), options)
        rl = _shaped(presets.quickstart_rl(), options)
        gan_run, _ = training.open_training(gan)  # with the classes of its data, as it is saved
        for part, run in (("planner", planner), ("gan", gan_run), ("rl", rl)):
            training.check_run(folder / part, run)
        say("1/5 planner: from prompt to script")
        training_planner.train_planner(planner, folder / "planner")
        say("2/5 generator and critics: from script to clip")
        training.train_gan(gan, folder / "gan")
        say("3/5 reinforcement: smoother and more coherent motion")
        reinforce.train_rl(rl, folder / "rl")
        asked, drawn = (2, 2) if options.short else (8, 4)
        reinforce.try_gate(folder / "rl", prompts=asked, samples=drawn, critics=False)
        say("4/5 evaluation on held-out prompts")
        evaluate.evaluate(folder, prompts=20 if options.short else 200, full=False)
        say("5/5 samples")
        pipe = pipeline.load(folder)
        samples = folder / "samples"
        samples.mkdir(exist_ok=True)
        clips = [pipe.generate(prompt, seed=i) for i, prompt in enumerate(PROMPTS)]
        for i, clip in enumerate(clips):
            say(f"{clip.save(samples / f'{i}.mp4')}: {clip.prompt}")
        sheet = tile(np.stack([clip.video for clip in clips]), columns=4)
        write_video(samples / "all.gif", sheet, fps=clips[0].fps, scale=4)
        minutes = (time.monotonic() - began) / 60
        seconds = parallel.compile_seconds()
        say(f"done in {minutes:.1f} minutes, of which compiling {seconds:.0f} seconds")
        say(f"watch {samples / 'all.gif'} and {samples / '0.mp4'}, and what tuning changed in")
        say(f"  {folder / 'rl' / 'before_after.gif'} and report.html beside it; then try:")
        say(f"  jaxvid generate --run {folder} 'a small blue star moves up' --out star.mp4")


def _shaped(run: Any, options: Options) -> Any:
    """The preset under the options of this script."""
    train = dataclasses.replace(run.train, backend=options.backend)
    if options.short:
        steps = max(4, train.steps // 20)
        train = dataclasses.replace(train, steps=steps, log_every=max(1, steps // 4))
        if hasattr(run, "loss"):
            warmup = run.loss.warmup // 20
            run = dataclasses.replace(run, loss=dataclasses.replace(run.loss, warmup=warmup))
    return dataclasses.replace(run, train=train)


if __name__ == "__main__":
    memory.program(main)
