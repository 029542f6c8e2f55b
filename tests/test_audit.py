"""Loading runs no code out of data and writes nowhere else: Python's audit events say so."""

import os
import pathlib
import subprocess
import sys

import numpy as np

from jaxvid.io.media import write_video

ROOT = pathlib.Path(__file__).parents[1]
PROGRAM = """
import os, pathlib, sys
allowed, checked, armed = sys.argv[1], pathlib.Path(sys.argv[2]), [False]
CODE = ("exec", "compile", "pickle.find_class", "marshal.loads", "code.__new__", "os.system")
CODE += ("subprocess.Popen", "os.exec", "os.posix_spawn", "os.fork", "ctypes.dlopen", "import")
MOVES = ("os.rename", "os.remove", "os.symlink", "os.link", "os.mkdir", "os.rmdir", "os.truncate")
MOVES += ("os.chmod", "shutil.move", "shutil.rmtree", "shutil.copyfile")
seen = []

def inside(path):
    if isinstance(path, int):
        return True
    return os.path.realpath(os.fsdecode(path)).startswith(allowed + os.sep)

def hook(event, args):
    if not armed[0]:
        return
    if event == "compile" and args[1] == "<unknown>":
        return  # ast.literal_eval of an array's header: only parsed; to run it would be "exec"
    if event in CODE:
        seen.append(f"{event} {str(args)[:200]}")
    writes = event == "open" and isinstance(args[2], int) and args[2] & (os.O_WRONLY | os.O_RDWR)
    paths = args[:2] if event in ("os.rename", "os.symlink", "os.link") else args[:1]
    if (writes or event in MOVES) and not all(inside(p) for p in paths if p not in (-1, None)):
        seen.append(f"{event} {str(args)[:200]}")

import jax, numpy
from jaxvid import config, judge, training, training_planner
from jaxvid.data import decode
from jaxvid.data.source import open_source
from jaxvid.io.checkpoint import Checkpoints
from jaxvid.io.media import write_video
from jaxvid.io.weights import read_weights
from jaxvid.models.i3d import read_i3d
from jaxvid.models.squeezenet import read_squeezenet
from jaxvid.assets import load_script
from jaxvid.typing import UserError

state = {"w": jax.numpy.arange(4.0)}

def save(folder):
    (folder / "planner").mkdir(parents=True)
    (folder / "planner" / "config.json").write_text(config.to_json(config.PlannerRun()))
    with Checkpoints(folder / "checkpoints") as checkpoints:
        checkpoints.save(1, state, {"order": 0})

def load(folder, number):
    config.read(config.PlannerRun, folder / "planner" / "config.json")
    with Checkpoints(folder / "checkpoints") as checkpoints:
        assert checkpoints.restore(state)[1] == {"order": 0}
    read_weights(training_planner.SHIPPED)
    for broken in (read_i3d, read_squeezenet, judge.load_judge, load_script):
        for name in ("pickle.npz", "pickle.npy", "pickle.safetensors", "zip.npz"):
            try:
                broken(checked / name)
            except UserError:
                continue
            raise SystemExit(f"{broken} took {name}")
    data = config.DataConfig(f"folder:{checked / 'set'}", resolution=16, frames=2, threads=1)
    source = open_source(data, split="train", cache_dir=checked / f"cache{number}")
    assert source[0].video.shape == (2, 16, 16, 3)
    write_video(folder / "out.mp4", source[0].video, fps=8)
    decode.read_video(folder / "out.mp4")

for number in (0, 1):  # what is imported on the way is imported the first time
    save(checked / f"run{number}")
sys.addaudithook(hook)
load(checked / "run0", 0)
armed[0] = True
load(checked / "run1", 1)
armed[0] = False
print("\\n".join(seen))
"""


def test_loading_is_safe(tmp_path: pathlib.Path) -> None:
    import io
    import pickle
    import zipfile

    class Trap:
        def __reduce__(self):
            return os.system, (f"touch {tmp_path}/sprung",)

    trap = pickle.dumps(Trap())
    boxed = np.empty(1, object)
    boxed[0] = Trap()
    (tmp_path / "set").mkdir()
    video = np.random.default_rng(0).integers(0, 256, (2, 16, 16, 3), np.uint8)
    for name in ("a", "b"):
        write_video(tmp_path / "set" / f"{name}.mp4", video, fps=8)
        (tmp_path / "set" / f"{name}.txt").write_text("__import__('os').system('touch sprung')")
    (tmp_path / "pickle.safetensors").write_bytes(trap)
    (tmp_path / "pickle.npz").write_bytes(trap)
    (tmp_path / "pickle.npy").write_bytes(trap)
    array = io.BytesIO()
    np.save(array, boxed, allow_pickle=True)
    with zipfile.ZipFile(tmp_path / "zip.npz", "w") as archive:
        archive.writestr("conv1_w.npy", array.getvalue())
    argv = [sys.executable, "-c", PROGRAM, str(tmp_path.resolve()), str(tmp_path)]
    here = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(argv, capture_output=True, text=True, cwd=ROOT, env=here, timeout=300)
    assert done.returncode == 0, done.stderr[-3000:] + done.stdout[-2000:]
    assert done.stdout.strip() == ""
    assert not (tmp_path / "sprung").exists()
