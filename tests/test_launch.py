"""The files of train/launch: their syntax, that what they run exists, and what they do after it."""

import os
import pathlib
import re
import shlex
import subprocess
import sys
import time
import types
from typing import Any

import pytest
import yaml  # comes with Flax and Orbax

from jaxvid import cli, presets
from jaxvid.parallel import mesh_shape

ROOT = pathlib.Path(__file__).parents[1]
FOLDER = ROOT / "train" / "launch"
SHELL = ["slurm.sbatch", "xpk.sh"]
VALUES = {"RUN": "/r", "DATA": "folder:/d", "BATCH": "256"}
FINAL = [2, 65, 73, 74]  # exit codes that a restart does not mend
# Ends with $CODE. With 143 its shell had SIGTERM too, as of Slurm, and is not to end before it.
PYTHON = 'if [ "$CODE" = 143 ]; then kill -TERM $PPID; fi; exit "$CODE"'
# Runs its command as one task after the other, $TASKS saying which and their codes (0:73 1:134).
SRUN = """
echo "$@" > srun
while [[ $1 == -* ]]; do shift; done
highest=0
for task in $TASKS; do
  SLURM_PROCID=${task%:*} CODE=${task#*:} "$@"
  code=$?
  if ((code > highest)); then highest=$code; fi
done
exit $highest
"""


def text(name: str) -> str:
    return (FOLDER / name).read_text(encoding="utf-8")


def script(name: str) -> str:
    """What a shell runs of the file."""
    return str(yaml.safe_load(text(name))["run"]) if name.endswith(".yaml") else text(name)


def command(name: str) -> list[str]:
    """The options that the file gives to train.gan."""
    if name == "jobset.yaml":
        (container,) = pod(yaml.safe_load(text(name)))["containers"]
        assert container["command"] == ["python", "-m", "train.gan"]
        return list(container["args"])
    joined = script(name).replace("\\\n", " ")
    (found,) = re.findall(r"python -m train\.gan (.*?)\"?$", joined, re.MULTILINE)
    return shlex.split(re.sub(r"\$(\w+)", lambda match: VALUES[match[1]], found))


def pod(document: dict) -> dict:
    return document["spec"]["replicatedJobs"][0]["template"]["spec"]["template"]["spec"]  # type: ignore[no-any-return]


def execute(
    text: str, folder: pathlib.Path, programs: dict[str, str], **env: str
) -> subprocess.CompletedProcess[str]:
    """Runs the script in the folder, where these programs stand in for those of the system."""
    (folder / "bin").mkdir(exist_ok=True)
    for name, lines in programs.items():
        (folder / "bin" / name).write_text(f"#!/bin/bash\n{lines}\n")
        (folder / "bin" / name).chmod(0o755)
    (folder / "script").write_text(text)
    own = {name: value for name, value in os.environ.items() if not name.startswith("SLURM")}
    own["PATH"] = f"{folder / 'bin'}:{own['PATH']}"
    return subprocess.run(
        ["bash", str(folder / "script")], env=own | env, cwd=folder, text=True, capture_output=True
    )


def slurm(folder: pathlib.Path, codes: dict[int, int], **env: str) -> tuple[int, bool]:
    """How the script ends whose tasks end so, and whether it is queued again."""
    programs = {"srun": SRUN, "scontrol": 'echo "$@" > scontrol', "python": PYTHON}
    tasks = " ".join(f"{task}:{code}" for task, code in codes.items())
    env |= {"SLURM_JOB_ID": "7", "SLURM_CPUS_PER_TASK": "8", "TASKS": tasks}
    (folder / "scontrol").unlink(missing_ok=True)
    done = execute(text("slurm.sbatch"), folder, programs, **env)
    again = (folder / "scontrol").exists()
    assert not again or (folder / "scontrol").read_text() == "requeue 7\n"
    return done.returncode, again


def ray_launch() -> dict[str, Any]:
    """What the launcher defines; it is no module of a package."""
    path = FOLDER / "ray_launch.py"
    source: dict[str, Any] = {"__name__": "ray_launch", "__file__": str(path)}
    exec(compile(path.read_text(), str(path), "exec"), source)
    return source


@pytest.mark.parametrize("name", [*SHELL, "skypilot.yaml"])
def test_shells_can_read_them(name: str) -> None:
    done = subprocess.run(["bash", "-n"], input=script(name), text=True, capture_output=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("name", [*SHELL, "skypilot.yaml", "jobset.yaml"])
def test_their_commands_are_understood(name: str) -> None:
    """By the parser of the script itself; and the batch fits the devices that are asked for."""
    run, folder, dry = cli.parse_run(presets.GAN, command(name), prog="train.gan", kind="gan")
    assert folder.name == "gan" and folder.is_absolute() and not dry
    devices = 64 if name == "xpk.sh" else 16
    data, fsdp = mesh_shape(run.mesh, devices)
    assert fsdp == 8 and run.train.batch_size // run.compute.accumulate % (data * fsdp) == 0


@pytest.mark.parametrize(
    ("codes", "code"), [({0: code, 1: 134}, code) for code in FINAL] + [({0: 0, 1: 0}, 0)]
)
def test_slurm_ends_where_a_restart_mends_nothing(
    codes: dict[int, int], code: int, tmp_path: pathlib.Path
) -> None:
    assert slurm(tmp_path, codes) == (code, False)


def test_slurm_queues_again_what_a_restart_mends(tmp_path: pathlib.Path) -> None:
    """As often as it may; and what tasks of an earlier start ended with is forgotten."""
    assert slurm(tmp_path, {0: 73, 1: 134, 2: 134}) == (73, False)
    for codes in ({0: 143, 1: 143}, {0: 1, 1: 134}, {0: 134, 1: 137}):
        assert slurm(tmp_path, codes, SLURM_RESTART_COUNT="99") == (0, True)
        noted = {path.name for path in (tmp_path / "jaxvid-7.codes").iterdir()}
        assert noted == {f"{task}.{code}" for task, code in codes.items()}
        last = max(codes.values())
        assert slurm(tmp_path, codes, SLURM_RESTART_COUNT="100") == (last, False)
        assert slurm(tmp_path, codes, SLURM_RESTART_COUNT="3", RESTARTS="3") == (last, False)


def test_slurm_gives_tasks_their_cores_and_their_time(tmp_path: pathlib.Path) -> None:
    slurm(tmp_path, {0: 0})
    options = (tmp_path / "srun").read_text().split(" bash ")[0].split()
    assert options == ["--kill-on-bad-exit=0", "--cpus-per-task=8"]


@pytest.mark.parametrize("slices", [1, 2, 3])
def test_xpk_grows_the_batch_with_the_slices(slices: int, tmp_path: pathlib.Path) -> None:
    env = {"CLUSTER": "c", "IMAGE": "i", "SLICES": str(slices)}
    done = execute(text("xpk.sh"), tmp_path, {"xpk": "printf '%s\\n' \"$@\""}, **env)
    assert done.returncode == 0, done.stderr
    options = dict(line[2:].split("=", 1) for line in done.stdout.splitlines()[2:])
    assert options["num-slices"] == str(slices)
    argv = shlex.split(options["command"])[3:]
    run, _, _ = cli.parse_run(presets.GAN, argv, prog="train.gan", kind="gan")
    assert run.train.batch_size % (64 * slices * run.compute.accumulate) == 0
    again = {int(code) for code in options["restart-on-exit-codes"].split(",")}
    assert {1, 75} <= again and not again & set(FINAL)  # XPK adds 42 and all from 127 on
    assert options["env"] == "JAXVID_CACHE=/shared/cache"


def test_jobset_ends_where_a_restart_mends_nothing() -> None:
    document = yaml.safe_load(text("jobset.yaml"))
    (rule,) = document["spec"]["failurePolicy"]["rules"]
    assert rule == {"action": "FailJobSet", "onJobFailureReasons": ["PodFailurePolicy"]}
    job = document["spec"]["replicatedJobs"][0]["template"]["spec"]
    (rule,) = job["podFailurePolicy"]["rules"]
    name = pod(document)["containers"][0]["name"]
    codes = {"containerName": name, "operator": "In", "values": FINAL}
    assert rule == {"action": "FailJob", "onExitCodes": codes}
    assert pod(document)["restartPolicy"] == "Never"  # else such a policy is refused


@pytest.mark.parametrize("code", [0, *FINAL, 1, 75, 134, 137, 139, 143])
def test_skypilot_starts_again_what_a_restart_mends(code: int, tmp_path: pathlib.Path) -> None:
    """One code that it knows is enough for it, and 137 is that of those it killed for another's."""
    known = yaml.safe_load(text("skypilot.yaml"))["resources"]["job_recovery"]
    programs = {"python": PYTHON, "sleep": "touch slept"}
    env = {"SKYPILOT_NODE_IPS": "a\nb", "SKYPILOT_NUM_NODES": "2", "SKYPILOT_NODE_RANK": "1"}
    done = execute(script("skypilot.yaml"), tmp_path, programs, CODE=str(code), **env)
    restarts = code not in (0, *FINAL)
    assert (done.returncode in known["recover_on_exit_codes"]) == restarts
    assert done.returncode == code or (code in (137, 139) and done.returncode == 1)
    assert 137 not in known["recover_on_exit_codes"]
    assert (tmp_path / "slept").exists() == (code == 134)  # another's code is seen before it


def test_pods_find_the_first_one() -> None:
    document = yaml.safe_load(text("jobset.yaml"))
    (job,) = document["spec"]["replicatedJobs"]
    env = {e["name"]: e["value"] for e in pod(document)["containers"][0]["env"]}
    first = f"{document['metadata']['name']}-{job['name']}-0-0"
    assert (
        env["JAX_COORDINATOR_ADDRESS"] == f"{first}.{document['spec']['network']['subdomain']}:1234"
    )
    sizes = job["template"]["spec"]
    assert int(env["JAX_NUM_PROCESSES"]) == sizes["parallelism"] == sizes["completions"]


def test_ray_launches_any_command() -> None:
    """The launcher says what it takes without Ray, and gives each process its place."""
    argv = [sys.executable, str(FOLDER / "ray_launch.py"), "--help"]
    done = subprocess.run(argv, capture_output=True, text=True)
    assert done.returncode == 0 and "--nodes" in done.stdout
    names = "JAX_COORDINATOR_ADDRESS", "JAX_NUM_PROCESSES", "JAX_PROCESS_ID"
    show = f"import os, sys; sys.exit([os.environ[n] for n in {names}] != ['h:1', '2', '1'])"
    work = ray_launch()["work"]
    assert work(["-c", show], "h:1", 2, 1) == 0
    assert work(["-c", show], "h:1", 2, 0) == 1


def test_ray_runs_in_the_checkout(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    source = ray_launch()
    monkeypatch.chdir(tmp_path)
    assert source["work"](["-c", "import os; print(os.getcwd())"], "h:1", 2, 0) == 0
    assert capfd.readouterr().out.strip() == str(ROOT)
    source["ROOT"] = tmp_path / "elsewhere"
    assert source["work"](["-c", ""], "h:1", 2, 0) == 2
    assert "put the checkout there on every node" in capfd.readouterr().err


@pytest.mark.parametrize(
    ("starts", "code"),
    [([[134, final]], final) for final in FINAL]
    + [([[1, 134], [143, 143], [0, 0]], 0), ([[1, 134], [134, 75], [143, 143]], 143)],
)
def test_ray_starts_again_what_a_restart_mends(
    starts: list[list[int]], code: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Twice here; the processes look for the first one at the address that Ray knows."""
    ready = types.SimpleNamespace(ready=lambda: None)
    stand_in: dict[str, Any] = {
        "ray.util.placement_group": {"placement_group": lambda *_: ready},
        "ray.util.scheduling_strategies": {"PlacementGroupSchedulingStrategy": lambda *_, **__: 0},
        "ray.util": {"get_node_ip_address": lambda: "10.0.0.1"},
        "ray": {
            "init": lambda: None,
            "get": lambda value: value,
            "remote": lambda f: types.SimpleNamespace(
                options=lambda **_: types.SimpleNamespace(remote=f)
            ),
            "exceptions": types.SimpleNamespace(RayError=ConnectionError),
        },
    }
    for name, content in stand_in.items():
        monkeypatch.setitem(sys.modules, name, types.SimpleNamespace(**content))
    sys.modules["ray"].util = sys.modules["ray.util"]  # type: ignore[attr-defined]
    source, seen, pauses = ray_launch(), [], []
    left = [value for values in starts for value in values]

    def work(command: list[str], address: str, count: int, index: int) -> int:
        seen.append((command, address, count, index))
        return left.pop(0)

    source["work"] = work
    monkeypatch.setattr(time, "sleep", pauses.append)
    argv = ["ray_launch.py", "--nodes", "2", "--restarts", "2", "--", "-m", "train.gan"]
    monkeypatch.setattr(sys, "argv", argv)
    assert source["main"]() == code and left == []
    assert seen == [(["-m", "train.gan"], "10.0.0.1:1234", 2, i) for _ in starts for i in (0, 1)]
    assert pauses == [10.0] * (len(starts) - 1)


def test_images_hold_neither_runs_nor_history() -> None:
    left_out = set((ROOT / ".dockerignore").read_text().splitlines())
    ignored = (ROOT / ".gitignore").read_text().split()
    names = {".git", *(name.strip("/") for name in ignored)}
    assert {name for name in names if not {name, f"**/{name}"} & left_out} == set()


def test_every_file_is_in_the_page() -> None:
    page = text("README.md")
    names = {path.name for path in FOLDER.iterdir() if not path.name.startswith("__")}
    assert {name for name in names - {"README.md"} if f"]({name})" not in page} == set()
    for target in re.findall(r"\]\((?!http)(.*?)\)", page):
        assert os.path.exists(FOLDER / target)
