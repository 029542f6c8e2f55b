"""Eight virtual CPU devices for all tests, set before JAX starts; a cache of the tests' own."""

import fcntl
import gc
import os
import pathlib
import shutil
import tempfile

from benchmarks.multihost import QUICK

os.environ["JAX_PLATFORMS"] = "cpu"
os.environ["JAX_NUM_CPU_DEVICES"] = "8"
os.environ.setdefault("XLA_FLAGS", QUICK)  # nearly all of the tests' time is that of compiling
os.environ.setdefault(
    "JAXVID_CACHE", str(pathlib.Path(tempfile.gettempdir()) / f"jaxvid-tests-{os.getuid()}")
)

from jaxvid import memory, parallel  # noqa: E402

os.environ |= memory.huge_pages()  # of the workers, which begin later
parallel.start()

import jax  # noqa: E402
import pytest  # noqa: E402

gc.freeze()  # a fifth of the time of tracing went into collections, of what is imported above all
gc.set_threshold(100_000, 20, 50)
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.1)  # for the other worker

from jaxvid import training, training_planner  # noqa: E402
from jaxvid.config import (  # noqa: E402
    CriticConfig,
    DataConfig,
    GanRun,
    GeneratorConfig,
    LossConfig,
    PlannerConfig,
    PlannerRun,
    TrainConfig,
)

TINY_GAN = GanRun(
    generator=GeneratorConfig(width=16, layers=1, heads=2, decoder=(8, 8), drawing=8),
    critic=CriticConfig(frames=2, frame_widths=(8,), clip_width=8, clip_layers=1, heads=2),
    loss=LossConfig(warmup=2, warmup_frames=2),
    train=TrainConfig(steps=2, batch_size=8),
)
TINY_PLANNER = PlannerRun(
    data=DataConfig(text_length=256),  # prompts as long as those of stories
    planner=PlannerConfig(width=16, encoder_layers=1, decoder_layers=1, heads=2),
    train=TrainConfig(steps=2, batch_size=8),
)


# The files that take longest, first of all: else one core is idle while the other ends the last.
LONGEST = """
gan torch_networks pipeline gate cli rl multihost reliability rl_planner planner screenwriter
shipped_generator i3d attention generator shipped judge
""".split()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest files first; the other ones keep their order."""
    places = {f"test_{name}": place for place, name in enumerate(LONGEST)}
    items.sort(key=lambda item: places.get(item.path.stem, len(places)))


@pytest.fixture(scope="session")
def tiny_run(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """A run folder as the trainings leave it, after two steps: all works, nothing is good.

    The first of the processes that test trains it; each has a copy that it may write into.
    """
    own = tmp_path_factory.mktemp("runs") / "tiny"
    root = tmp_path_factory.getbasetemp()
    shared = (root.parent if "PYTEST_XDIST_WORKER" in os.environ else root) / "tiny"
    with open(shared.with_suffix(".lock"), "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (shared / "gan").exists():
            _train(shared.with_suffix(".unfinished"))
            shared.with_suffix(".unfinished").rename(shared)
    shutil.copytree(shared, own)
    return own


def _train(folder: pathlib.Path) -> None:
    with pytest.MonkeyPatch.context() as patch:  # one device compiles in a third of the time
        for module in (training, training_planner):
            patch.setattr(module, "make_mesh", lambda *_: parallel.make_mesh(jax.devices()[:1]))
        training_planner.train_planner(TINY_PLANNER, folder / "planner")
        training.train_gan(TINY_GAN, folder / "gan")
