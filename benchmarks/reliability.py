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
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Annotated, Any

import tyro

from benchmarks.options import known
from benchmarks.victims import ROOT, UNFINISHED, Training, environment
from jaxvid import cli, presets
from jaxvid.io.media import atomic_write_text
from jaxvid.typing import UserError

SECTIONS = ("kills", "damage", "disk", "writer", "long")
KINDS = ("gan", "planner", "rl")


@dataclasses.dataclass(frozen=True)
class Options:
    """Kills, damages and starves trainings, and checks that no work is lost or spoilt."""

    sections: Annotated[tuple[str, ...], tyro.conf.Positional] = SECTIONS
    """Which of kills, damage, disk, writer, long."""
    kinds: tuple[str, ...] = KINDS
    """Trainings that are killed."""
    kills: int = 20
    """How often each is."""
    steps: int = 2000
    """Of the long run, of the preset tiny with four clips a step."""
    seed: int = 0
    """Of the times and offsets."""
    out: pathlib.Path = pathlib.Path("runs/reliability.json")
    """File for the figures."""


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
        env=environment(),
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
    """A training of the preset tiny at its own interval of checkpoints.

    Memory is compared within each of its two phases (the critics' program needs more): from the
    fourth tenth of the phase, when clips have been sampled, to its last one, by the median of each.
    """
    run = presets.tiny_gan()
    assert steps > run.loss.warmup, "the critics must take part"
    command = ["train.gan", "--run", str(folder), "--preset", "tiny"]
    command += ["--train.steps", str(steps), "--train.batch-size", "4", "--train.log-every", "1"]
    plain = {k: v for k, v in environment().items() if k != "XLA_FLAGS"}
    log = folder / "gan" / "metrics.jsonl"
    process = subprocess.Popen(
        [sys.executable, "-m", *command], cwd=ROOT, env=plain, stdout=subprocess.DEVNULL
    )
    sizes: dict[int, int] = {}
    while process.poll() is None:
        time.sleep(0.2)
        try:
            done = log.read_bytes().count(b"\n")
            resident = int(pathlib.Path(f"/proc/{process.pid}/statm").read_text().split()[1])
        except (OSError, IndexError):
            continue
        sizes[done] = resident * os.sysconf("SC_PAGE_SIZE")
    account = json.loads((folder / "gan" / "accounting.json").read_text())
    growths = []
    for first, last in ((0, run.loss.warmup), (run.loss.warmup, steps)):
        tenth = (last - first) // 10
        early = [size for done, size in sizes.items() if 3 * tenth <= done - first < 4 * tenth]
        late = [size for done, size in sizes.items() if last - tenth <= done < last]
        growths.append(statistics.median(late) / statistics.median(early) - 1)
    seconds = account["seconds"]
    share = seconds["checkpoint"] / (sum(seconds.values()) - seconds["start"])
    compiled = account["programs"].get("jit(step)", 0)
    return {
        "exit code": process.returncode,
        "steps": account["steps"],
        "memory growth": [round(growth, 4) for growth in growths],
        "programs of the step": compiled,
        "recompiled": account["recompiled"],
        "share of checkpoints": round(share, 4),
        "goodput": round(account["goodput"], 3),
        "utilisation": account["utilisation"],
        "equal": max(growths) < 0.02 and compiled == 2 and not account["recompiled"]
        and share < 0.03,
    }  # fmt: skip


def main(argv: Sequence[str] | None = None) -> None:
    """Runs the sections one after another."""
    options = tyro.cli(Options, args=argv, prog="benchmarks.reliability")
    with cli.user_errors():
        _check(options)
        options.out.parent.mkdir(parents=True, exist_ok=True)
    found: dict[str, Any] = {}
    for section in options.sections:
        with tempfile.TemporaryDirectory() as name:
            for what, values in _measure(section, pathlib.Path(name), options):
                found[what] = values
                _tell(what, values)
                atomic_write_text(options.out, json.dumps(found, indent=1) + "\n")
    if not all(values.get("equal", True) for values in found.values()):
        raise SystemExit(1)


def _check(options: Options) -> None:
    """Raises UserError for what would be met hours later."""
    known(options.sections, SECTIONS, "section")
    known(options.kinds, KINDS, "kind of training")
    least = presets.tiny_gan().loss.warmup + 10  # the critics must take part
    if options.kills < 1 or options.steps < least:
        raise UserError(f"--kills must be 1 or more, --steps {least} or more")


def _measure(
    section: str, folder: pathlib.Path, options: Options
) -> Iterator[tuple[str, dict[str, Any]]]:
    """The figures of a section, under their names."""
    if section == "kills":
        for kind in options.kinds:
            (folder / kind).mkdir()
            yield f"kills, {kind}", kills(
                kind, folder / kind, rounds=options.kills, steps=12 * options.kills, every=5,
                seed=options.seed,
            )  # fmt: skip
        return
    calls: dict[str, Callable[[], dict[str, Any]]] = {
        "damage": lambda: damage(folder, seed=options.seed),
        "disk": lambda: disk(folder),
        "writer": lambda: writer(folder),
        "long": lambda: long(folder, steps=options.steps),
    }
    began = time.monotonic()
    yield section, calls[section]() | {"took": round(time.monotonic() - began, 1)}


def _tell(section: str, values: dict[str, Any]) -> None:
    verdict = "skipped" if "skipped" in values else "holds" if values["equal"] else "BROKEN"
    rest = ", ".join(f"{key} {value}" for key, value in values.items() if key != "equal")
    print(f"| {section} | {verdict} | {rest} |", flush=True)


if __name__ == "__main__":
    main()
