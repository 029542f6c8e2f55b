"""Presets: functions that return a run. Each docstring is a lab record."""

from collections.abc import Callable

from jaxvid.config import (
    DataConfig,
    GanRun,
    LossConfig,
    OptimConfig,
    PlannerConfig,
    PlannerRun,
    TrainConfig,
)


def quickstart_planner() -> PlannerRun:
    """The planner of ``python -m train.quickstart``: 1.5 minutes on two CPU cores.

    Colour, kind and motion all right in 99 % of 200 held-out captions of scenes (2026-11-24, one
    seed). For stories of several shots see ``story_planner``.
    """
    return PlannerRun(
        optim=OptimConfig(lr=3e-3, warmup=50, final=0.02),
        train=TrainConfig(steps=1600, batch_size=32, checkpoint_every=400, log_every=100),
    )


def story_planner() -> PlannerRun:
    """The planner that comes with jaxvid: stories of up to three shots as people write them.

    About 27 minutes on two CPU cores; 20 with ``--train.steps 2400``, a few points below. Figures
    of both in the README (2026-11-24, one seed).
    """
    return PlannerRun(
        data=DataConfig(source="stories", text_length=256),
        planner=PlannerConfig(width=128, encoder_layers=2, decoder_layers=2),
        optim=OptimConfig(kind="muon", lr=1e-2, warmup=50, final=0.02),
        train=TrainConfig(steps=3200, batch_size=64, checkpoint_every=500, log_every=50),
    )


def quickstart_gan() -> GanRun:
    """The generator and critics of ``python -m train.quickstart``: 16 frames of 32 x 32.

    About 5 minutes on two CPU cores; colour, kind, size, motion all right in 98 % of 200 held-out
    prompts, read from the pixels (2026-11-24, one seed).
    """
    return GanRun(
        data=DataConfig(),
        loss=LossConfig(warmup=300, frames=8, warmup_frames=4),
        optim=OptimConfig(lr=3e-3, b1=0.5, warmup=20, final=0.1),
        train=TrainConfig(steps=400, batch_size=16, checkpoint_every=150, sample_every=150),
    )


PLANNER: dict[str, Callable[[], PlannerRun]] = {
    "quickstart": quickstart_planner,
    "story": story_planner,
}
GAN: dict[str, Callable[[], GanRun]] = {"quickstart": quickstart_gan}
