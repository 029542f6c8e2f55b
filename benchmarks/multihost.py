"""Several processes, for real: ``python -m benchmarks.multihost``. Gloo on this machine's CPU.

    one result   gan, planner and rl as 1 x 4, 2 x 2 and 4 x 1 processes x devices: the metrics of
                 10 steps beside those of one process, largest difference by their size
    split state  the same with the state split over ``fsdp``, and the bytes of it on a device
    SIGTERM      to one process: the code of each, seconds, the step saved; then on to the end
    SIGKILL      of one process: the others' codes, seconds; then on to the end

Networks are tiny: what is tested is that processes act as one, not how fast.
"""

import dataclasses
import importlib.metadata
import json
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence

import tyro

ROOT = pathlib.Path(__file__).parents[1]
# For networks that compile much and run little: LLVM does not optimise, and gets a program whole
# (its module was copied for each of 32 parts); kernels are written the older way where there still
# is one, not each as a module of its own. The step of a small GAN takes 17 s instead of 42. An
# unknown flag aborts the process.
QUICK = "--xla_backend_optimization_level=0 --xla_cpu_parallel_codegen_split_count=1"
if importlib.metadata.version("jaxlib").startswith("0.10."):
    QUICK += " --xla_cpu_use_fusion_emitters=false"
GAN = (
    "--data.resolution=8 --data.frames=4 --data.text-length=32 --generator.width=16 "
    "--generator.layers=1 --generator.heads=2 --generator.decoder 8 8 --generator.drawing=8 "
    "--critic.frames=2 --critic.frame-widths 8 --critic.clip-width=8 --critic.clip-layers=1 "
    "--critic.heads=2 --critic.text-width=8 --loss.frames=4 --loss.warmup=0 "
    "--optim.kind=adam --optim.lr=3e-4 --critic-optim.kind=adam --critic-optim.lr=3e-4"
).split()
LIGHT = "--loss.penalty=none --loss.mismatch=0 --loss.augment=0".split()  # compiles in a third
PLANNER = (
    "--planner.width=16 --planner.heads=2 --planner.byte-width=8 --data.text-length=64".split()
)
RL = "--rl.group=2 --rl.actions=3 --rl.width=8 --optim.lr=1e-3".split()
# As train.rl, without the gate at its end, which takes minutes and one process.
TUNE = (
    "from jaxvid import cli, parallel, presets\n"
    "run, folder, _ = cli.parse_run(presets.RL, None, prog='rl', kind='rl')\n"
    "parallel.start(together=True)\n"
    "from jaxvid import gate, reinforce\n"
    "gate.GLANCE, reinforce.REAL = (2, 2), 8\n"
    "reinforce.train_rl(run, folder)\n"
)
KINDS: dict[str, list[str]] = {
    "gan": ["-m", "train.gan", *GAN],
    "planner": ["-m", "train.planner", *PLANNER],
    "rl": ["-c", TUNE, *RL],
}


def start(
    kind: str, folder: pathlib.Path, options: Sequence[str] = (), *, processes: int, devices: int
) -> list[subprocess.Popen[str]]:
    """Starts a training of tiny networks in ``folder`` as so many processes of so many devices."""
    command = [sys.executable, *KINDS[kind], f"--run={folder}", "--train.batch-size=8"]
    command += ["--train.log-every=1", *options]
    env = {k: v for k, v in os.environ.items() if not k.startswith(("SLURM_", "OMPI_", "JAX_"))}
    env |= {"JAX_PLATFORMS": "cpu", "JAX_NUM_CPU_DEVICES": str(devices), "PYTHONPATH": str(ROOT)}
    env |= {k: v for k, v in os.environ.items() if k == "JAX_COMPILATION_CACHE_DIR"}
    env.setdefault("JAXVID_HEARTBEAT", "20" if list(options) == list(LONG) else "300")
    env.setdefault("XLA_FLAGS", QUICK)
    if processes > 1:
        env["JAX_COORDINATOR_ADDRESS"] = f"localhost:{free_port()}"
        env["JAX_NUM_PROCESSES"] = str(processes)
    return [
        subprocess.Popen(
            command, cwd=ROOT, env=env | {"JAX_PROCESS_ID": str(i)}, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )
        for i in range(processes)
    ]  # fmt: skip


def finish(children: list[subprocess.Popen[str]], timeout: float) -> list[tuple[int, str]]:
    """Exit code and output of each; all are killed where one is not done in time."""
    end = time.monotonic() + timeout
    try:
        return [
            (child.wait(), out)
            for child in children
            for out in [child.communicate(timeout=max(0.1, end - time.monotonic()))[0]]
        ]
    finally:
        for child in children:
            child.kill()


def train(kind: str, folder: pathlib.Path, options: Sequence[str] = (), *, processes: int,
          devices: int, timeout: float = 1500) -> None:  # fmt: skip
    """Runs a training to its end. Raises RuntimeError with the output where it fails."""
    ends = finish(start(kind, folder, options, processes=processes, devices=devices), timeout)
    if any(code for code, _ in ends):
        tails = "\n".join(f"--- exit code {code}\n{out[-2000:]}" for code, out in ends)
        raise RuntimeError(f"{kind}, {processes} x {devices}:\n{tails}")


def wait_for_step(folder: pathlib.Path, step: int, children: list[subprocess.Popen[str]]) -> None:
    """Returns when the log of the run has this step. Raises RuntimeError where a process ends."""
    path = folder / "metrics.jsonl"
    while len(steps(path)) < step:
        if any(child.poll() is not None for child in children):
            raise RuntimeError("".join(out for _, out in finish(children, 30)))
        time.sleep(0.02)


def steps(path: pathlib.Path) -> list[dict[str, float]]:
    """The rows of a ``metrics.jsonl``, without a last line that is still being written."""
    if not path.exists():
        return []
    return [json.loads(line) for line in path.read_text().splitlines(True) if line[-1] == "\n"]


def apart(a: pathlib.Path, b: pathlib.Path) -> float:
    """Largest difference of the metrics of two runs, each by its size where that is over 1."""
    rows = steps(a / "metrics.jsonl"), steps(b / "metrics.jsonl")
    assert len(rows[0]) == len(rows[1]) > 0
    pairs = [(x[k], y[k]) for x, y in zip(*rows, strict=True) for k in x.keys() | y.keys()]
    return max(abs(x - y) / max(1.0, abs(x)) for x, y in pairs)


def free_port() -> int:
    """A port of this machine that nobody listens on."""
    with socket.socket() as found:
        found.bind(("localhost", 0))
        return int(found.getsockname()[1])


@dataclasses.dataclass(frozen=True)
class Options:
    """Runs every kind of training as one, two and four processes, and interrupts them."""

    kinds: tuple[str, ...] = ("gan", "planner", "rl")
    """Which trainings."""
    full: bool = False
    """The game with penalty, mismatched captions and augmentation, which every process compiles
    three times as long; without it they are left out."""
    faults: bool = True
    """Also with SIGTERM and SIGKILL."""
    folder: pathlib.Path | None = None
    """Where runs and compiled programs are kept; by default nowhere."""


def main(argv: Sequence[str] | None = None) -> None:
    """Prints a row for each."""
    options = tyro.cli(Options, args=argv, prog="benchmarks.multihost")
    from benchmarks.options import known  # not at the top: what needs QUICK has not started JAX
    from jaxvid import cli

    with cli.user_errors(), tempfile.TemporaryDirectory() as temporary:
        known(options.kinds, KINDS, "kind of training")
        root = options.folder or pathlib.Path(temporary)
        root.mkdir(parents=True, exist_ok=True)
        os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(root / "xla"))
        print("| run | processes x devices | mesh data x fsdp | difference | seconds |")
        print("|---|---|---|---|---|")
        for kind in options.kinds:
            _same(kind, root, () if options.full or kind != "gan" else LIGHT)
        if options.faults:
            print(
                "\n| signal to | codes | seconds | saved at | end, by bits |\n|---|---|---|---|---|"
            )
            for at in (0, 1):
                _interrupt(root / f"fault{at}", at)


LAYOUTS = ((1, 4, 1), (2, 2, 1), (4, 1, 1), (1, 4, 4), (2, 2, 2), (4, 1, 4))


def _same(kind: str, root: pathlib.Path, options: Sequence[str]) -> None:
    ten = ["--train.steps=10", "--train.sample-every=5", "--train.checkpoint-every=5", *options]
    first: pathlib.Path | None = None
    for processes, devices, fsdp in LAYOUTS:
        run = root / f"{kind}_{processes}_{devices}_{fsdp}"
        shutil.rmtree(run, ignore_errors=True)
        if kind == "rl":
            base = root / "gan_1_4_1"
            if not (base / "gan").exists():
                train("gan", base, [*ten, *LIGHT], processes=1, devices=4)
            shutil.copytree(base / "gan", run / "gan")
        began = time.monotonic()
        train(kind, run, [*ten, f"--mesh.fsdp={fsdp}"], processes=processes, devices=devices)
        first = first or run / kind
        print(
            f"| {kind} | {processes} x {devices} | {4 // fsdp} x {fsdp} "
            f"| {apart(first, run / kind):.1e} | {time.monotonic() - began:.0f} |",
            flush=True,
        )


LONG = ("--train.steps=60", "--train.checkpoint-every=40", "--train.sample-every=60")


def interrupt(run: pathlib.Path, number: int, at: int, *, step: int) -> tuple[list[int], float]:
    """Signals one of two processes of a planner's training when the log has that step.

    Returns the exit codes of both, and the seconds until the last one ended.
    """
    children = start("planner", run, LONG, processes=2, devices=1)
    wait_for_step(run / "planner", step, children)
    began = time.monotonic()
    children[at].send_signal(number)
    codes = [code for code, _ in finish(children, 60)]
    return codes, time.monotonic() - began


def digest(run: pathlib.Path) -> str:
    """Of the newest state of a planner's training."""
    from jaxvid import training_planner
    from jaxvid.io.checkpoint import tree_digest

    return tree_digest(training_planner.load_planner(run / "planner")[1])


def saved(run: pathlib.Path) -> int:
    """The step of the newest checkpoint of a planner's training."""
    folder = run / "planner" / "checkpoints"
    return max((int(path.name) for path in folder.iterdir() if path.name.isdigit()), default=0)


def _interrupt(root: pathlib.Path, at: int) -> None:
    straight = root / "straight"
    if not straight.exists():
        train("planner", straight, LONG, processes=2, devices=1)
    for number in (signal.SIGTERM, signal.SIGKILL):
        run = root / number.name
        shutil.rmtree(run, ignore_errors=True)
        codes, seconds = interrupt(run, number, at, step=43)
        step = saved(run)
        train("planner", run, LONG, processes=2, devices=1)
        equal = digest(run) == digest(straight)
        print(f"| {number.name}, process {at} | {codes} | {seconds:.1f} | {step} | {equal} |")


if __name__ == "__main__":
    main()
