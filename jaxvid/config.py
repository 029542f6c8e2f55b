"""Every knob, as frozen dataclasses: one knob, one place. ``presets`` builds them, the command line overrides them.

A ``GanRun`` or ``PlannerRun`` is all that a training needs to be repeated; it is written as
``config.json`` into the run folder and read back with ``from_json``.
"""

import dataclasses
import json
import typing
from typing import Any, Literal, TypeVar

from jaxvid.typing import UserError

R = TypeVar("R")


def _positive(config: object, *names: str) -> None:
    for name in names:
        value = getattr(config, name)
        if value <= 0:
            raise UserError(f"{name} is {value}; it must be over 0")


def _heads(width: int, heads: int) -> None:
    if width % heads:
        fits = next(k for k in range(heads + 1, width + 1) if width % k == 0)
        raise UserError(f"width {width} must be divisible by heads {heads}; try heads={fits}")


@dataclasses.dataclass(frozen=True)
class DataConfig:
    """What is trained on: ``scenes``, ``folder:PATH`` or ``tfds:NAME``, and the shape of its clips."""

    source: str = "scenes"
    resolution: int = 32  # pixels, height and width of a clip
    frames: int = 16
    fps: float = 8.0  # frames a second that a clip is sampled at
    text_length: int = 128  # bytes of caption that are read
    memory_gb: float = 2.0  # sets that fit are held in memory
    threads: int = 2  # that decode and gather batches

    def __post_init__(self) -> None:
        _positive(self, "resolution", "frames", "fps", "text_length", "threads")


@dataclasses.dataclass(frozen=True)
class PlannerConfig:
    """Encoder-decoder Transformer from bytes of text to script tokens."""

    width: int = 128
    encoder_layers: int = 2
    decoder_layers: int = 2
    heads: int = 4

    def __post_init__(self) -> None:
        _positive(self, "width", "encoder_layers", "decoder_layers", "heads")
        _heads(self.width, self.heads)


@dataclasses.dataclass(frozen=True)
class OptimConfig:
    """Adam with linear warm-up and cosine decay to ``final`` times the learning rate."""

    lr: float = 1e-3
    b1: float = 0.9
    b2: float = 0.99
    warmup: int = 50  # steps
    final: float = 0.1  # of lr, at the last step
    clip: float = 1.0  # global norm of the gradient

    def __post_init__(self) -> None:
        _positive(self, "lr", "clip")


@dataclasses.dataclass(frozen=True)
class TrainConfig:
    """How long, how often, on what."""

    steps: int = 1000
    batch_size: int = 16  # over all devices
    seed: int = 0
    backend: Literal["jit", "pmap"] = "jit"
    log_every: int = 20  # steps
    sample_every: int = 500
    checkpoint_every: int = 500
    keep: int = 2  # latest checkpoints beside the best
    tensorboard: bool = False

    def __post_init__(self) -> None:
        _positive(self, "steps", "batch_size", "log_every", "sample_every", "checkpoint_every", "keep")


@dataclasses.dataclass(frozen=True)
class PlannerRun:
    """Everything that a planner training is made of."""

    data: DataConfig = DataConfig()
    planner: PlannerConfig = PlannerConfig()
    optim: OptimConfig = OptimConfig()
    train: TrainConfig = TrainConfig()


def to_json(run: Any) -> str:
    """The resolved configuration, as written to ``config.json``."""
    return json.dumps(dataclasses.asdict(run), indent=1)


def from_json(cls: type[R], text: str) -> R:
    """Reads what ``to_json`` wrote. Raises UserError for a key or value that does not fit."""
    return _build(cls, json.loads(text), "config")


def _build(cls: Any, value: Any, path: str) -> Any:
    if dataclasses.is_dataclass(cls):
        hints = typing.get_type_hints(cls)
        if unknown := value.keys() - hints.keys():
            raise UserError(f"{path}: unknown key {sorted(unknown)[0]!r}; known are {', '.join(hints)}")
        return cls(**{key: _build(hints[key], v, f"{path}.{key}") for key, v in value.items()})  # type: ignore[operator]
    return tuple(value) if isinstance(value, list) else value
