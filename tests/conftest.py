"""Eight virtual CPU devices for all tests, set before JAX starts; a cache of the tests' own."""

import os
import pathlib
import tempfile

os.environ["JAX_PLATFORMS"] = "cpu"
os.environ["JAX_NUM_CPU_DEVICES"] = "8"
# The tests compile much and run little: let LLVM not optimise, which halves their time.
os.environ.setdefault("XLA_FLAGS", "--xla_backend_optimization_level=0")
os.environ.setdefault(
    "JAXVID_CACHE", str(pathlib.Path(tempfile.gettempdir()) / f"jaxvid-tests-{os.getuid()}")
)

from jaxvid import parallel  # noqa: E402

parallel.start()

import jax  # noqa: E402
import pytest  # noqa: E402

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


@pytest.fixture(scope="session")
def tiny_run(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """A run folder as the trainings leave it, after two steps: all works, nothing is good."""
    folder = tmp_path_factory.mktemp("runs") / "tiny"
    with pytest.MonkeyPatch.context() as patch:  # one device compiles in a third of the time
        for module in (training, training_planner):
            patch.setattr(module, "make_mesh", lambda *_: parallel.make_mesh(jax.devices()[:1]))
        training_planner.train_planner(TINY_PLANNER, folder / "planner")
        training.train_gan(TINY_GAN, folder / "gan")
    return folder
