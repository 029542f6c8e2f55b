"""Whether reinforcement learning improves clips, or only its rewards: ``python -m benchmarks.rl
--run runs/NAME``.

Both algorithms from several seeds, and controls that the gate is to refuse: the reward of
stillness, and one that is chance from as many seeds, each with and without a divergence to hold it
back. ``--shaky``
first trains a generator on clips whose camera shakes, ``--flickering FOLDER`` on clips of a folder
whose exposure changes from frame to frame, and tunes that one. Writes ``results.json``,
which a second call goes on from, and prints a Markdown table.
"""

import dataclasses
import json
import pathlib
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import tyro

from benchmarks.options import beginning
from jaxvid import cli, memory, presets
from jaxvid.config import GanRun, RlRun
from jaxvid.data.source import Example, Source
from jaxvid.typing import UserError

# A camera held by hand, in each frame: standard deviations of its place, each way, of the frame,
# and of the logarithms of its zoom and of its exposure.
SHAKE, ZOOM, EXPOSURE = 0.03, 0.1, 0.05
FLICKER = 0.15  # standard deviation of a frame's exposure, by its logarithm
# How much the directions beside a flickering generator's own motion change a frame at first, along
# the gradient. By the preset's 0.03 they take motion out of the clips (0.86 to 0.89 left).
RESPONSE = 0.01
MEASURES = ("jerk", "acceleration error", "appearance error", "interpolation", "warping_error")


@dataclasses.dataclass(frozen=True)
class Options:
    """Tunes, and tries every result at the gate."""

    run: pathlib.Path = pathlib.Path("runs/tiny")
    """Folder of a trained run (folder for one, with --shaky and --flickering)."""
    out: pathlib.Path = pathlib.Path("runs/rl_benchmark")
    """Folder for the tuned runs and results.json."""
    steps: int = 100
    """Of each run."""
    seeds: int = 3
    """Runs of each algorithm, and of chance; stillness has one."""
    prompts: int = 24
    """Held-out prompts of the gate."""
    samples: int = 32
    """Clips of each prompt."""
    shaky: bool = False
    """Train the generator to be tuned, on shaky clips of scenes."""
    flickering: pathlib.Path | None = None
    """Train it on flickering clips of this folder, of 8 frames; --rewards that need no script."""
    rewards: tuple[str, ...] = ()
    """Instead of the default ones."""
    only: tuple[str, ...] = ()
    """Rows whose name begins with one of these."""


class Worse:
    """Clips of a source, worsened by ``spoil(video, rng)``; their scripts stay as they are."""

    def __init__(
        self, source: Source, spoil: Callable[[np.ndarray, np.random.Generator], np.ndarray]
    ) -> None:
        self.source, self.name, self.labels = source, source.name, source.labels
        self.spoil = spoil

    def __repr__(self) -> str:
        return f"Worse({self.source!r}, {self.spoil.__name__})"

    def __len__(self) -> int:
        return len(self.source)

    def __getitem__(self, index: int) -> Example:
        example = self.source[index]
        video = self.spoil(example.video, np.random.default_rng(index))
        return dataclasses.replace(example, video=video)


def shake(video: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """As a camera takes it that is held by hand, zooms and exposes."""
    shifts = rng.normal(0.0, SHAKE * video.shape[1], (len(video), 2))
    zooms, exposures = np.exp(rng.normal(0.0, (ZOOM, EXPOSURE), (len(video), 2))).T
    seen = [_seen(f, s, z) for f, s, z in zip(video, shifts, zooms, strict=True)]
    return _exposed(np.stack(seen), exposures)


def flicker(video: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """As old film shows it: each frame exposed anew."""
    return _exposed(video, np.exp(rng.normal(0.0, FLICKER, len(video))))


def _exposed(video_THWC: np.ndarray, by_T: np.ndarray) -> np.ndarray:
    return np.clip(np.rint(video_THWC * by_T[:, None, None, None]), 0, 255).astype(np.uint8)


def _seen(frame_HWC: np.ndarray, by_2: np.ndarray, zoom: float) -> np.ndarray:
    """The frame enlarged about its centre and moved, by fractions of pixels; the border is held."""
    frame = frame_HWC.astype(np.float32)
    for axis, way in enumerate(by_2):
        middle = (frame.shape[axis] - 1) / 2
        places = middle + (np.arange(frame.shape[axis]) - middle - way) / zoom
        places = np.clip(places, 0, frame.shape[axis] - 1)
        low = np.floor(places).astype(int)
        share = (places - low).reshape([-1 if i == axis else 1 for i in range(3)])
        high = np.minimum(low + 1, frame.shape[axis] - 1)
        frame = (1 - share) * frame.take(low, axis) + share * frame.take(high, axis)
    return frame


def shaky_run() -> GanRun:
    """A generator with motion of its own: how the camera shakes is nowhere in the script."""
    run = presets.quickstart_gan()
    generator = dataclasses.replace(run.generator, latent=8, motion=4)
    return dataclasses.replace(run, generator=generator)


def flickering_run(folder: pathlib.Path) -> GanRun:
    """One of real clips: how each frame is exposed is said by its motion, and nowhere else."""
    run = presets.quickstart_gan()
    return dataclasses.replace(
        run,
        data=dataclasses.replace(run.data, source=f"folder:{folder}", frames=8),
        generator=dataclasses.replace(run.generator, motion=1),  # two: drawn clips overshoot
        # By this weight what is read of clips is about N(0, 1), as what is drawn is. By 2e-3 a
        # quarter of what is drawn lies two standard deviations or more from what was ever read, and
        # overexposes its frames.
        loss=dataclasses.replace(run.loss, warmup=1150, kl=0.05),
        train=dataclasses.replace(run.train, steps=1250),
    )


def variants(options: Options) -> dict[str, RlRun]:
    """The rows of the table."""
    found = {}
    for name in ("policy", "path"):
        for seed in range(options.seeds):
            found[f"{name}, seed {seed}"] = _changed(options, presets.RL[name](), seed)
    controls = [("stillness", "path", 0)]
    controls += [("chance", "policy", seed) for seed in range(options.seeds)]  # it may help by luck
    for reward, algorithm, seed in controls:
        for kl in (0.0, 0.02):
            run = _changed(options, presets.RL[algorithm](), seed)
            rl = dataclasses.replace(run.rl, rewards=(reward,), weights=(1.0,))
            rl = dataclasses.replace(rl, kl=kl, kl_budget=1e9)
            found[f"control: {reward}, KL {kl}, seed {seed}"] = dataclasses.replace(run, rl=rl)
    return found


def _changed(options: Options, run: RlRun, seed: int) -> RlRun:
    train = dataclasses.replace(
        run.train, steps=options.steps, seed=seed, sample_every=options.steps // 2 or 1
    )
    rl = run.rl
    if options.flickering and rl.algorithm == "path":
        rl = dataclasses.replace(rl, response=RESPONSE)
    if options.rewards:
        weights = (1.0,) * len(options.rewards)
        rl = dataclasses.replace(rl, rewards=options.rewards, weights=weights)
    return dataclasses.replace(run, rl=rl, train=train)


def main(argv: Sequence[str] | None = None) -> None:
    """Tunes what is missing, then prints the table."""
    options = tyro.cli(Options, args=argv, prog="benchmarks.rl")
    with cli.user_errors():
        if options.shaky and options.flickering:
            raise UserError("--shaky and --flickering train two generators; choose one")
        if min(options.prompts, options.samples) < 2 or min(options.steps, options.seeds) < 1:
            raise UserError("needs two prompts, two samples, a step and a seed, or more of each")
        rows = variants(options)
        wanted = beginning(options.only, rows, "row")
        from jaxvid import parallel

        parallel.start()
        from jaxvid import reinforce, training
        from jaxvid.io.media import atomic_write_text

        if options.shaky or options.flickering:
            spoilt = flickering_run(options.flickering) if options.flickering else shaky_run()
            base, source = training.open_training(spoilt)
            worse = Worse(source, flicker if options.flickering else shake)
            training.train_gan(base, options.run / "gan", source=worse)
        training.read_run(GanRun, options.run / "gan", "generator", "python -m train.gan")
        options.out.mkdir(parents=True, exist_ok=True)
        path = options.out / "results.json"
        results = opened(path, options)
        if not (options.out / "gan").exists():
            (options.out / "gan").symlink_to((options.run / "gan").absolute())
        gate = None
        for name in (name for name in wanted if name not in results):
            run = rows[name]
            folder = options.out / name.replace(": ", "_").replace(", ", "_").replace(" ", "_")
            reinforce.train_rl(run, folder, gate=gate)
            gate = gate or reinforce.open_gate(folder)  # what it sees of the reference serves all
            # What was reached at the end: a control is not to be saved by its best checkpoint.
            verdict = reinforce.try_gate(
                folder,
                prompts=options.prompts,
                samples=options.samples,
                best="control" not in name,
                gate=gate,
            )
            results[name] = dataclasses.asdict(verdict) | {"passed": verdict.passed}
            written = {"settings": settings(options), "rows": results}
            atomic_write_text(path, json.dumps(written, indent=1))
        print(table(results))


def settings(options: Options) -> dict[str, Any]:
    """What rows of one table have in common."""
    names = ("steps", "prompts", "samples", "rewards")
    common = {name: getattr(options, name) for name in names}
    common |= {"rewards": list(options.rewards), "run": str((options.run / "gan").resolve())}
    return common


def opened(path: pathlib.Path, options: Options) -> dict[str, Any]:
    """The rows that are there. Raises UserError for those of another run or other settings."""
    if not path.exists():
        return {}
    found = json.loads(path.read_text(encoding="utf-8"))
    before, now = found.get("settings", {}), settings(options)
    for name, value in now.items():
        if before.get(name) != value:
            raise UserError(
                f"{path} holds rows of other settings ({name} {before.get(name)}, now {value}); "
                "choose another --out"
            )
    rows: dict[str, Any] = found["rows"]
    return rows


def table(results: dict[str, Any]) -> str:
    """One row a run: the lines of the gate, then measures as shares of the reference's."""
    if not results:
        return "nothing was tuned"
    checks = [check["name"] for check in next(iter(results.values()))["checks"]]
    shares = [f"{measure}, x reference" for measure in MEASURES]
    lines = [f"| run | gate | {' | '.join((*checks, *shares))} |"]
    lines.append("|---" * (len(checks) + len(MEASURES) + 2) + "|")
    for name, found in results.items():
        cells = [name, "passed" if found["passed"] else "failed"]
        for check in found["checks"]:
            mark = "" if check["passed"] else " ✗"
            cells.append(f"{check['value']:.3f} ({check['low']:.3f} to {check['high']:.3f}){mark}")
        for measure in MEASURES:
            before, after, _ = found["measured"].get(measure, (0.0, 0.0, 0.0))
            cells.append(f"{after / before:.2f}" if before else "-")
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


if __name__ == "__main__":
    memory.program(main)
