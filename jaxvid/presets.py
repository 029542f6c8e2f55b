"""Presets: functions that return a run. Each docstring is a lab record."""

import dataclasses
from collections.abc import Callable
from typing import Any

from jaxvid.config import (
    ComputeConfig,
    CriticConfig,
    DataConfig,
    GanRun,
    GeneratorConfig,
    LossConfig,
    OptimConfig,
    PlannerConfig,
    PlannerRlRun,
    PlannerRun,
    PrecisionConfig,
    RlConfig,
    RlRun,
    TaskConfig,
    TrainConfig,
)


def quickstart_planner() -> PlannerRun:
    """The planner of ``python -m train.quickstart``: three minutes on two CPU cores.

    All stated slots right in 99.6 % of 1,000 held-out captions of scenes (2026-11-29, one seed).
    For stories of several shots see ``story_planner``.
    """
    return PlannerRun(
        optim=OptimConfig(lr=3e-3, warmup=50, final=0.02),
        train=TrainConfig(steps=2600, batch_size=32, checkpoint_every=400, log_every=100),
    )


def story_planner() -> PlannerRun:
    """Stories of up to three shots as people write them, in 20 minutes on two idle CPU cores.

    98.4 % of held-out English and 98.9 % of Chinese prompts read exactly (2026-11-29, one seed):
    the planner that comes with jaxvid.
    """
    return PlannerRun(
        data=DataConfig(source="stories", text_length=256),
        planner=PlannerConfig(width=128, encoder_layers=2, decoder_layers=2),
        compute=PrecisionConfig(dtype="bfloat16"),
        optim=OptimConfig(kind="muon", lr=8e-3, warmup=50, final=0.02),
        train=TrainConfig(steps=7000, batch_size=32, checkpoint_every=1000, log_every=100),
    )


MUON = OptimConfig(kind="muon", lr=1e-2, b1=0.5, warmup=20, final=0.05)


def long_story_planner() -> PlannerRun:
    """The same, longer, by a wider network; for one GPU.

    5.5 minutes on an H100 beside 16 cores (2026-11-26, when two of five batches were long and two
    pictured, and no word learnt whom it speaks of).
    """
    run = story_planner()
    return dataclasses.replace(
        run,
        data=dataclasses.replace(run.data, workers=12),
        planner=PlannerConfig(width=176, encoder_layers=3, decoder_layers=2),
        compute=PrecisionConfig(),
        optim=dataclasses.replace(run.optim, lr=1e-2),
        train=TrainConfig(steps=10_000, batch_size=128, checkpoint_every=1000, log_every=100),
    )


def quickstart_gan() -> GanRun:
    """The generator and critics of ``python -m train.quickstart``: 16 frames of 32 x 32.

    About 5 minutes on two CPU cores; with scripts of this run's planner colour, kind, size and
    motion are all right in 98 % of 200 held-out prompts (2026-11-24, one seed).
    """
    return GanRun(
        data=DataConfig(),
        loss=LossConfig(warmup=300, frames=8, warmup_frames=4),
        optim=MUON,
        train=TrainConfig(steps=360, batch_size=16, checkpoint_every=150, sample_every=150),
    )


def tiny_gan() -> GanRun:
    """The generator that comes with jaxvid: 16 frames of 32 x 32, one network for all tasks.

    23 minutes on two busy CPU cores; colour, kind, size and motion all right in 99.3 % of 1,000
    held-out prompts, jerk 0.99 times that of real clips (2026-11-24, one seed; see the card in
    ``jaxvid/weights``).
    """
    return GanRun(
        data=DataConfig(),
        generator=GeneratorConfig(width=96, layers=3, decoder=(64, 48), latent=32),
        critic=CriticConfig(clip_layers=2),
        loss=LossConfig(warmup=900, frames=8, warmup_frames=6, reconstruction_epsilon=0.01),
        # In-betweening and continuation of a user's own video come without a script.
        tasks=TaskConfig(nothing=0.45, ends=0.25, drop_script=0.25),
        optim=MUON,
        train=TrainConfig(steps=1100, batch_size=16, checkpoint_every=250, sample_every=250),
    )


def small_gan() -> GanRun:
    """16 frames of 64 x 64, for one GPU."""
    return GanRun(
        data=DataConfig(resolution=64),
        generator=GeneratorConfig(
            width=384, layers=8, heads=6, text_layers=2, patch=8, decoder=(192, 128, 96),
            blocks=2, drawing=64, latent=64,
        ),
        critic=CriticConfig(
            frame_widths=(64, 128, 192, 256), clip_width=384, clip_layers=6, heads=6, text_width=128
        ),
        loss=LossConfig(warmup=2000, frames=16, warmup_frames=8, ema=0.999),
        compute=ComputeConfig(dtype="bfloat16"),
        optim=MUON,
        train=TrainConfig(steps=12_000, batch_size=64, checkpoint_every=500),
    )  # fmt: skip


def base_gan() -> GanRun:
    """16 frames of 128 x 128, for a few GPUs."""
    return GanRun(
        data=DataConfig(resolution=128),
        generator=GeneratorConfig(
            width=768, layers=12, heads=12, text_layers=4, patch=8, decoder=(384, 256, 128),
            blocks=2, drawing=64, latent=128,
        ),
        critic=CriticConfig(
            frame_widths=(64, 128, 256, 384, 512), clip_width=768, clip_layers=9, heads=12,
            text_width=256,
        ),
        loss=LossConfig(warmup=5000, frames=16, warmup_frames=8, ema=0.9995),
        compute=ComputeConfig(dtype="bfloat16", remat=True),
        optim=dataclasses.replace(MUON, lr=5e-3, warmup=500),
        train=TrainConfig(steps=100_000, batch_size=128, checkpoint_every=1000),
    )  # fmt: skip


def large_gan() -> GanRun:
    """16 frames of 256 x 256, for a pod."""
    return GanRun(
        data=DataConfig(resolution=256),
        generator=GeneratorConfig(
            width=1024, layers=24, heads=16, text_layers=6, patch=16,
            decoder=(512, 256, 128, 64), blocks=2, drawing=64, latent=256,
        ),
        critic=CriticConfig(
            frame_widths=(32, 64, 128, 256, 512, 512), clip_width=1024, clip_layers=18, heads=16,
            text_width=512,
        ),
        loss=LossConfig(warmup=10_000, frames=16, warmup_frames=8, ema=0.9999),
        compute=ComputeConfig(dtype="bfloat16", remat=True, accumulate=4),
        optim=dataclasses.replace(MUON, lr=3e-3, warmup=700),
        train=TrainConfig(steps=300_000, batch_size=256, checkpoint_every=2000),
    )  # fmt: skip


PLANNER: dict[str, Callable[[], PlannerRun]] = {
    "quickstart": quickstart_planner,
    "story": story_planner,
    "long-story": long_story_planner,
}


def path_rl() -> RlRun:
    """Tuning by the rewards' own gradient, through the generator."""
    return RlRun(
        rl=RlConfig(algorithm="path", group=1, response=0.03),
        optim=dataclasses.replace(RlRun().optim, lr=3e-3),
        train=dataclasses.replace(RlRun().train, batch_size=8),
    )


def quickstart_rl() -> RlRun:
    """The third stage of ``python -m train.quickstart``: the same for a few steps."""
    run = path_rl()
    train = dataclasses.replace(
        run.train, steps=40, log_every=5, sample_every=20, checkpoint_every=20
    )
    return dataclasses.replace(run, train=train)


RL: dict[str, Callable[[], Any]] = {  # of RlRun, or PlannerRlRun
    "quickstart": quickstart_rl,
    "policy": RlRun,
    "path": path_rl,
    "planner": PlannerRlRun,
}
GAN: dict[str, Callable[[], GanRun]] = {
    "quickstart": quickstart_gan,
    "tiny": tiny_gan,
    "small": small_gan,
    "base": base_gan,
    "large": large_gan,
}
