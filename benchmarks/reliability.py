"""What a run survives, by doing it; prints a table and writes it as JSON.

    python -m benchmarks.reliability kills --kinds gan --kills 20  # SIGKILL, half in a save
    python -m benchmarks.reliability damage         # every file of a checkpoint, damaged
    python -m benchmarks.reliability disk writer    # a full disk; two writers
    python -m benchmarks.reliability long           # memory, compilations, cost of checkpoints

The trainings are those of the scripts, with the smallest networks, each in a process of its own.
"""

import dataclasses
import json
import os
import pathlib
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from typing import Annotated, Any

import tyro

from benchmarks.multihost import QUICK

ROOT = pathlib.Path(__file__).parents[1]
UNFINISHED = "orbax-checkpoint-tmp"


@dataclasses.dataclass(frozen=True)
class Options:
    """Kills, damages and starves trainings, and checks that no work is lost or spoilt."""

    sections: Annotated[tuple[str, ...], tyro.conf.Positional] = ("kills", "damage", "disk",
                                                                  "writer", "long")  # fmt: skip
    """Which of kills, damage, disk, writer, long."""
    kinds: tuple[str, ...] = ("gan", "planner", "rl")
    """Trainings that are killed."""
    kills: int = 20
    """How often each is."""
    steps: int = 2000
    """Of the long run, by the planner's quickstart preset."""
    seed: int = 0
    """Of the times and offsets."""
    out: pathlib.Path = pathlib.Path("runs/reliability.json")
    """File for the figures."""


# --- the trainings, in processes of their own ---------------------------------------------------


def child(
    kind: str, folder: str, steps: int, every: int, width: int = 16, critics: bool = True
) -> None:
    """Trains in ``folder``, as the script of that kind does, and prints the final digest."""
    from jaxvid import cli, parallel

    with cli.user_errors():
        parallel.start()
        from jaxvid.io.checkpoint import tree_digest

        state = _train(kind, pathlib.Path(folder), steps, every, width, critics)
        print(json.dumps({"digest": tree_digest(state), "step": int(state.step)}), flush=True)


def _train(
    kind: str, folder: pathlib.Path, steps: int, every: int, width: int, critics: bool
) -> Any:
    """``critics``: the game; else its warm-up, which compiles in a fraction of the time."""
    from jaxvid import config, gate, reinforce, training

    train = config.TrainConfig(
        steps=steps, batch_size=8, checkpoint_every=every, log_every=1, sample_every=10**6
    )
    if kind == "planner":
        planner = config.PlannerConfig(width=width, encoder_layers=1, decoder_layers=1, heads=2)
        return training.train_planner(config.PlannerRun(planner=planner, train=train), folder)
    if kind in ("gan", "base"):
        run = config.GanRun(
            data=config.DataConfig(resolution=8, frames=4, text_length=32),
            generator=config.GeneratorConfig(
                width=width, layers=1, heads=2, decoder=(8, 8), drawing=8
            ),
            critic=config.CriticConfig(
                frames=2, frame_widths=(8,), clip_width=8, clip_layers=1, heads=2
            ),
            # What makes the program larger and is no part of the state is left out.
            loss=config.LossConfig(
                warmup=0 if critics else steps,
                frames=4,
                warmup_frames=4,
                augment=0.0,
                mismatch=0.0,
                penalty="none",
                adversarial="hinge",
            ),
            train=train,
        )
        return training.train_gan(run, folder) if kind == "gan" else _untrained(run, folder)
    gate.GLANCE, reinforce.REAL = (2, 2), 8
    tuning = config.RlConfig(
        rewards=("acceleration", "motion"), weights=(1.0, 1.0), group=2, actions=2, width=8
    )
    return reinforce.train_rl(config.RlRun(rl=tuning, train=train), folder)


def _untrained(run: Any, folder: pathlib.Path) -> Any:
    """A run folder of a generator that has not learnt anything, to be tuned."""
    from jaxvid import training
    from jaxvid.data.loader import Batches
    from jaxvid.io.checkpoint import Checkpoints

    run, source = training.open_training(run)
    training.open_run(folder, run)
    batch = Batches(source, batch_size=1, seed=0, text_length=run.data.text_length)[0]
    state = training.build_gan(run, batch)[1]
    with Checkpoints(folder / "checkpoints") as checkpoints:
        checkpoints.save(1, state, {})
    return state


class Training:
    """A training in a process; its lines are read as they come."""

    def __init__(
        self, kind: str, folder: pathlib.Path, steps: int, every: int, **more: Any
    ) -> None:
        call = f"child({kind!r}, {str(folder / kind)!r}, {steps}, {every}, **{more!r})"
        self.folder = folder / kind
        self.lines: list[str] = []
        self.process = subprocess.Popen(
            [sys.executable, "-c", f"from benchmarks.reliability import child; {call}"],
            cwd=ROOT,
            env=_environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        with self.process.stdout as lines:
            for line in lines:
                self.lines.append(line.rstrip())

    @property
    def text(self) -> str:
        return "\n".join(self.lines)

    def until(self, found: Callable[[], bool], seconds: float = 300.0) -> bool:
        """Waits until something is so; False where the process ended before."""
        end = time.monotonic() + seconds
        while not found():
            if self.process.poll() is not None:
                return False
            if time.monotonic() > end:
                self.process.kill()
                raise TimeoutError(self.text)
            time.sleep(0.001)
        return True

    def kill(self) -> None:
        """Ends it as a power cut would."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()
        self._reader.join()

    def finish(self) -> str:
        """The digest of the final state."""
        code = self.process.wait(600)
        self._reader.join()
        if code:
            raise RuntimeError(f"exit code {code}:\n{self.text}")
        return json.loads(self.lines[-1])["digest"]

    def saving(self) -> bool:
        """Whether Orbax is writing a checkpoint."""
        folder = self.folder / "checkpoints"
        return folder.is_dir() and any(UNFINISHED in name for name in os.listdir(folder))

    def saved(self) -> int:
        """The newest checkpoint."""
        folder = self.folder / "checkpoints"
        names = os.listdir(folder) if folder.is_dir() else []
        return max([int(name) for name in names if name.isdecimal()], default=0)


def _environment() -> dict[str, str]:
    cache = pathlib.Path(tempfile.gettempdir()) / f"jaxvid-reliability-{os.getuid()}"
    set_here = {
        "JAX_PLATFORMS": "cpu",
        "XLA_FLAGS": QUICK,
        "JAX_COMPILATION_CACHE_DIR": str(cache),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1",
        "PYTHONPATH": str(ROOT),
    }
    rest = {k: v for k, v in os.environ.items() if not k.startswith(("JAX_", "XLA_"))}
    return rest | set_here


# --- the sections -------------------------------------------------------------------------------


def kills(
    kind: str,
    folder: pathlib.Path,
    *,
    rounds: int,
    steps: int,
    every: int,
    seed: int = 0,
    critics: bool = True,
) -> dict[str, Any]:
    """Kills a training again and again, every second time inside a save, then lets it end.

    Returns what was seen; ``equal``: the final state is that of an uninterrupted run, bit for bit,
    with the same lines in ``metrics.jsonl``, and each run went on from the newest checkpoint.
    """
    rng = random.Random(seed)
    whole, broken = folder / "whole", folder / "broken"
    if kind == "rl":
        Training("base", folder, 1, 1).finish()
        for run in (whole, broken):
            run.mkdir(exist_ok=True)
            (run / "gan").symlink_to(folder / "base")

    def start(run: pathlib.Path) -> Training:
        return Training(kind, run, steps, every, critics=critics)

    digest = start(whole).finish()
    inside, kept, killed, at = 0, True, 0, 0
    for i in range(rounds):
        training = start(broken)
        if i % 2 == 0:  # the next save, or the one after it
            least = at + every * rng.randint(0, 1)
            alive = training.until(lambda: training.saving() and training.saved() >= least)  # noqa: B023
        else:
            said = rng.randint(1, 2 * every)
            alive = training.until(lambda: training.text.count(": step ") >= said)  # noqa: B023
        time.sleep(rng.uniform(0, 0.02))
        training.kill()
        killed += alive
        inside += training.saving()
        if "resuming at step" in training.text:  # else it was killed before it said so
            kept &= f"resuming at step {at}" in training.text
        at = training.saved()
    training = start(broken)
    final = training.finish()
    kept &= at == 0 or f"resuming at step {at}" in training.text
    logs = [(run / kind / "metrics.jsonl").read_text() for run in (whole, broken)]
    logged = [json.loads(line)["step"] for line in logs[1].splitlines()]
    left = [p.name for p in (broken / kind).rglob("*") if "tmp" in p.name]
    equal = final == digest and logs[0] == logs[1] and logged == list(range(1, steps + 1))
    account = json.loads((broken / kind / "accounting.json").read_text())
    return {
        "kills": killed,
        "inside a save": inside,
        "lost steps": account["lost_steps"],
        "unverified": training.text.count("no manifest"),
        "left over": len(left),
        "equal": bool(equal and kept and not left),
    }


def harm(path: pathlib.Path, how: str, rng: random.Random) -> bool:
    """Damages a file: deleted, halved, zeroed, or a bit flipped; whether that changed it."""
    before = path.read_bytes()
    if how == "deleted":
        path.unlink()
        return True
    after = bytearray(before)
    if how == "halved":
        after = after[: len(after) // 2]
    elif how == "zeroed":
        after = bytearray(len(after))
    elif after:
        after[rng.randrange(len(after))] ^= 1 << rng.randrange(8)
    path.write_bytes(after)
    return bytes(after) != before


def damage(folder: pathlib.Path, *, flips: int = 50, restore: int = 1, seed: int = 0) -> dict:
    """Damages every file of the newest of two checkpoints of a small state, in each way.

    Counts the flips that the manifest tells of, and restores (every ``restore``-th case): the
    state must be the older one, or the newer one where its manifest alone is gone.
    """
    import jax
    import numpy as np

    from jaxvid.io import manifest
    from jaxvid.io.checkpoint import Checkpoints, tree_digest

    rng = random.Random(seed)
    values = np.random.default_rng(seed).normal(size=(2, 3000)).astype(np.float32)
    states = [{"w": jax.numpy.asarray(w), "step": jax.numpy.int32(n)} for n, w in enumerate(values)]
    good = folder / "good"
    with Checkpoints(good, keep=2) as checkpoints:
        for step, state in enumerate(states, 1):
            checkpoints.save(step, state, {"order": 0}, score=float(step))
    digests = [tree_digest(state) for state in states]
    files = sorted(p.relative_to(good / "2") for p in (good / "2").rglob("*") if p.is_file())
    found: dict[str, Any] = {"files": len(files), "flips": 0, "flips detected": 0}
    found |= {"restores": 0, "wrong": 0, "case": 0}
    for name in files:
        original = (good / "2" / name).read_bytes()
        for _ in range(flips if original else 0):
            found["flips"] += harm(good / "2" / name, "flipped", rng)
            try:
                manifest.check(good / "2")
            except manifest.Damaged:
                found["flips detected"] += 1
            (good / "2" / name).write_bytes(original)
        for how in ("deleted", "halved", "zeroed", "flipped"):
            found["case"] += 1
            if found["case"] % restore:
                continue
            run = folder / "run"
            shutil.copytree(good, run / "checkpoints")
            changed = harm(run / "checkpoints" / "2" / name, how, rng)
            whole = not changed or (how == "deleted" and name.name == manifest.NAME)
            with Checkpoints(run / "checkpoints", keep=2) as checkpoints:
                state, _ = checkpoints.restore(states[0])
            aside = (run / "quarantine" / "2").is_dir()
            found["restores"] += 1
            found["wrong"] += tree_digest(state) != digests[whole] or aside == whole
            shutil.rmtree(run)
    del found["case"]
    found["equal"] = found["flips"] == found["flips detected"] and not found["wrong"]
    return found


def disk(folder: pathlib.Path) -> dict[str, Any]:
    """Trains on a file system of 30 MB that fills up, then again with more room."""
    place = folder / "small"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=30m", "tmpfs", str(place)]
    if subprocess.run(mount, capture_output=True).returncode:
        return {"skipped": "mounting needs root"}
    try:
        first = Training("planner", place, 40, 8, width=192)
        code = first.process.wait(600)
        first._reader.join()
        at = first.saved()
        left = [p.name for p in (place / "planner").rglob("*") if UNFINISHED in p.name]
        subprocess.run([*mount[:4], "remount,size=300m", *mount[5:]], check=True)
        second = Training("planner", place, 40, 8, width=192)
        digest = second.finish()
    finally:
        subprocess.run(["umount", str(place)], check=True)
    whole = Training("planner", folder / "roomy", 40, 8, width=192).finish()
    return {
        "exit code": code,
        "failed saves reported": first.text.count("WAS NOT SAVED"),
        "newest": at,
        "left over": len(left),
        "said": first.lines[-1][:200],
        "equal": code == 74 and digest == whole and not left
        and (at == 0 or f"resuming at step {at}" in second.text),
    }  # fmt: skip


def writer(folder: pathlib.Path) -> dict[str, Any]:
    """Starts a second training in a folder that is in use, and one after the first was killed."""
    first = Training("planner", folder, 10**6, 10**6)
    first.until(lambda: ": step " in first.text)
    began = time.monotonic()
    second = subprocess.run(
        [sys.executable, "-m", "train.planner", "--run", str(folder)],
        cwd=ROOT,
        env=_environment(),
        capture_output=True,
        text=True,
    )
    took = time.monotonic() - began
    first.kill()
    third = Training("planner", folder, 10**6, 10**6)
    free = third.until(lambda: ": step " in third.text)
    third.kill()
    said = second.stderr.splitlines()[-1:]
    return {"exit code": second.returncode, "seconds": round(took, 2), "said": said,
            "equal": second.returncode == 73 and free}  # fmt: skip


def long(folder: pathlib.Path, *, steps: int) -> dict[str, Any]:
    """A run of the planner's quickstart preset at its own interval of checkpoints."""
    arguments = ["--run", str(folder), "--train.steps", str(steps)]
    environment = {k: v for k, v in _environment().items() if k != "XLA_FLAGS"}
    log = folder / "planner" / "metrics.jsonl"
    process = subprocess.Popen(
        [sys.executable, "-m", "train.planner", *arguments],
        cwd=ROOT,
        env=environment,
        stdout=subprocess.DEVNULL,
    )
    sizes: dict[int, int] = {}
    while process.poll() is None:
        time.sleep(0.2)
        try:
            done = log.read_bytes().count(b"\n")
            resident = int(pathlib.Path(f"/proc/{process.pid}/statm").read_text().split()[1])
        except (OSError, IndexError):
            continue
        if done:
            sizes[done] = resident * os.sysconf("SC_PAGE_SIZE")
    account = json.loads((folder / "planner" / "accounting.json").read_text())
    early = [size for done, size in sizes.items() if steps // 10 <= done <= steps // 5]
    late = [size for done, size in sizes.items() if steps * 9 // 10 <= done]
    growth = max(late) / max(early) - 1
    seconds = account["seconds"]
    share = seconds["checkpoint"] / (sum(seconds.values()) - seconds["start"])
    compiled = account["programs"].get("jit(step)", 0)
    return {
        "exit code": process.returncode,
        "steps": account["steps"],
        "memory growth": round(growth, 4),
        "programs of the step": compiled,
        "recompiled": account["recompiled"],
        "share of checkpoints": round(share, 4),
        "goodput": round(account["goodput"], 3),
        "utilisation": account["utilisation"],
        "equal": growth < 0.02 and compiled == 1 and not account["recompiled"] and share < 0.03,
    }


def main(argv: Sequence[str] | None = None) -> None:
    """Runs the sections one after another."""
    options = tyro.cli(Options, args=argv, prog="benchmarks.reliability")
    found: dict[str, Any] = {}
    for section in options.sections:
        with tempfile.TemporaryDirectory() as name:
            folder = pathlib.Path(name)
            began = time.monotonic()
            if section == "kills":
                for kind in options.kinds:
                    (folder / kind).mkdir()
                    found[f"kills, {kind}"] = kills(
                        kind, folder / kind, rounds=options.kills, steps=12 * options.kills,
                        every=5, seed=options.seed,
                    )  # fmt: skip
                    _tell(f"kills, {kind}", found[f"kills, {kind}"])
                continue
            calls: dict[str, Callable[[], dict[str, Any]]] = {
                "damage": lambda: damage(folder, seed=options.seed),  # noqa: B023
                "disk": lambda: disk(folder),  # noqa: B023
                "writer": lambda: writer(folder),  # noqa: B023
                "long": lambda: long(folder, steps=options.steps),  # noqa: B023
            }
            found[section] = calls[section]() | {"took": round(time.monotonic() - began, 1)}
            _tell(section, found[section])
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(found, indent=1) + "\n")
    if not all(values.get("equal", True) for values in found.values()):
        raise SystemExit(1)


def _tell(section: str, values: dict[str, Any]) -> None:
    verdict = "skipped" if "skipped" in values else "holds" if values["equal"] else "BROKEN"
    rest = ", ".join(f"{key} {value}" for key, value in values.items() if key != "equal")
    print(f"| {section} | {verdict} | {rest} |", flush=True)


if __name__ == "__main__":
    main()
