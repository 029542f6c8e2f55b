"""The files of train/launch: their syntax, and that what they run exists."""

import os
import pathlib
import re
import shlex
import subprocess
import sys

import pytest
import yaml  # comes with Flax and Orbax

from jaxvid import cli, presets
from jaxvid.parallel import mesh_shape

FOLDER = pathlib.Path(__file__).parents[1] / "train" / "launch"
SHELL = ["slurm.sbatch", "xpk.sh"]
VALUES = {"RUN": "/r", "DATA": "folder:/d"}


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
    path = FOLDER / "ray_launch.py"
    done = subprocess.run([sys.executable, str(path), "--help"], capture_output=True, text=True)
    assert done.returncode == 0 and "--nodes" in done.stdout
    names = "JAX_COORDINATOR_ADDRESS", "JAX_NUM_PROCESSES", "JAX_PROCESS_ID"
    show = f"import os, sys; sys.exit([os.environ[n] for n in {names}] != ['h:1', '2', '1'])"
    source: dict = {"__name__": "ray_launch"}
    exec(compile(path.read_text(), str(path), "exec"), source)  # it is no module of a package
    assert source["work"](["-c", show], "h:1", 2, 1) == 0
    assert source["work"](["-c", show], "h:1", 2, 0) == 1


def test_every_file_is_in_the_page() -> None:
    page = text("README.md")
    names = {path.name for path in FOLDER.iterdir() if not path.name.startswith("__")}
    assert {name for name in names - {"README.md"} if f"]({name})" not in page} == set()
    for target in re.findall(r"\]\((?!http)(.*?)\)", page):
        assert os.path.exists(FOLDER / target)
