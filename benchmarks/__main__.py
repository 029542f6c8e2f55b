"""All benchmarks that need no trained run, in one table: ``python -m benchmarks``."""

from benchmarks import (
    attention,
    frame_synthesis,
    generate,
    harness,
    loader,
    settings,
    startup,
    train_step,
)

BENCHMARKS = {
    "attention": attention.rows,
    "frame_synthesis": frame_synthesis.rows,
    "train_step": train_step.rows,
    "generate": generate.rows,
    "loader": loader.rows,
    "settings": settings.rows,
    "startup": startup.rows,
}

if __name__ == "__main__":
    harness.program(BENCHMARKS, name="all")
