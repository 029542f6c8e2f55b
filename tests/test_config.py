"""Laws of the configuration: JSON loses nothing, and what cannot work is refused with its fix."""

import dataclasses
import functools
import json
from typing import Any

import pytest

from jaxvid import config, presets
from jaxvid.config import (
    CriticConfig,
    DataConfig,
    GanRun,
    GeneratorConfig,
    LossConfig,
    OptimConfig,
    PlannerConfig,
    PlannerRun,
    TaskConfig,
    TrainConfig,
    from_json,
    to_json,
)
from jaxvid.typing import UserError

CHANGED = GanRun(
    data=DataConfig(source="folder:a b/雪", resolution=64, fps=23.976),
    generator=GeneratorConfig(width=96, heads=6, patch=8, decoder=(64, 48, 32)),
    critic=CriticConfig(frame_widths=(8,), frames=1),
    loss=LossConfig(adversarial="hinge", penalty="exact", penalty_weight=1e-7),
    tasks=TaskConfig(0.25, 0.25, 0.0, 0.25, 0.25, 0.0),
    critic_optim=OptimConfig(lr=1 / 3),
    train=TrainConfig(backend="pmap", tensorboard=True),
)
RUNS = [GanRun(), PlannerRun(), CHANGED]
RUNS += [preset() for table in (presets.GAN, presets.PLANNER) for preset in table.values()]


@pytest.mark.parametrize("run", RUNS, ids=range(len(RUNS)))
def test_json_loses_nothing(run: Any) -> None:
    again = from_json(type(run), to_json(run))
    assert again == run
    assert hash(again) == hash(run)  # tuples stay tuples: a config may be a static argument


def test_what_is_left_out_has_its_default() -> None:
    assert from_json(GanRun, "{}") == GanRun()
    text = '{"train": {"steps": 7}}'
    assert from_json(PlannerRun, text) == PlannerRun(train=TrainConfig(steps=7))


def test_whole_numbers_may_stand_for_floats() -> None:
    fps = from_json(GanRun, '{"data": {"fps": 12}}').data.fps
    assert fps == 12 and isinstance(fps, float)


def paths(cls: Any, path: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    """The path of each knob."""
    found = []
    for field in dataclasses.fields(cls):
        here = (*path, field.name)
        nested = dataclasses.is_dataclass(field.default)
        found += paths(field.default, here) if nested else [here]
    return found


PATHS = paths(GanRun())


def default(path: tuple[str, ...]) -> Any:
    return functools.reduce(getattr, path, GanRun())


def at(path: tuple[str, ...], value: Any) -> str:
    """JSON in which the knob at ``path`` has a value."""
    for key in reversed(path):
        value = {key: value}
    return json.dumps(value)


def refused(run: Any, text: str) -> str:
    with pytest.raises(UserError) as caught:
        from_json(run, text)
    message = str(caught.value)
    assert "\n" not in message and len(message) < 400
    return message


@pytest.mark.parametrize("path", PATHS, ids=".".join)
def test_every_knob_refuses_what_is_not_of_its_type(path: tuple[str, ...]) -> None:
    names = default(path) == ()  # a list of texts
    for wrong in (None, {}, {"lr": 1}, [1.5], *([] if names else [["x"]])):
        assert ".".join(path) in refused(GanRun, at(path, wrong))
    wrong = 1 if isinstance(default(path), str | bool) else "x"
    assert ".".join(path) in refused(GanRun, at(path, wrong))


@pytest.mark.parametrize(
    "path", [p for p in PATHS if type(default(p)) in (int, float)], ids=".".join
)
def test_every_number_refuses_what_is_no_size(path: tuple[str, ...]) -> None:
    for wrong in (-1, float("nan"), float("inf"), -(10**400)):
        refused(GanRun, at(path, wrong))


def test_json_that_is_no_configuration_is_refused() -> None:
    assert "steps, batch_size" in refused(GanRun, '{"train": {"stepz": 3}}')
    assert "unknown key 'planner'" in refused(GanRun, '{"planner": {}}')
    assert "relativistic" in refused(GanRun, '{"loss": {"adversarial": "wasserstein"}}')
    assert "decoder" in refused(GanRun, '{"generator": {"decoder": [48, "32"]}}')
    for text in ("", "[]", "3", "null", '{"train": [1]}', "{" * 100_000, '{"train": {"st'):
        refused(GanRun, text)


BAD = [
    (
        lambda: GeneratorConfig(width=48, heads=5),
        "width 48 must be divisible by heads 5; try heads=6",
    ),
    (lambda: PlannerConfig(width=16, heads=32), "try heads=16"),
    (lambda: PlannerConfig(width=15, heads=3), "two heads find whom words speak of"),
    (lambda: CriticConfig(clip_width=10, heads=3), "try heads=2"),
    (lambda: GeneratorConfig(width=15, heads=3), "even"),
    (lambda: GeneratorConfig(patch=6), "log2"),
    (lambda: GeneratorConfig(patch=8), "stages"),
    (lambda: GeneratorConfig(decoder=(16, 0)), "decoder"),
    (lambda: CriticConfig(frame_widths=()), "frame_widths"),
    (lambda: DataConfig(resolution=0), "resolution"),
    (lambda: DataConfig(fps=float("nan")), "fps"),
    (lambda: DataConfig(text_length=50), "multiple of 4; try 52"),
    (lambda: TrainConfig(steps=-1), "steps"),
    (lambda: TrainConfig(seed=-1), "seed"),
    (lambda: TaskConfig(nothing=0.6), "add up to 1"),
    (lambda: TaskConfig(1.5, -0.5, 0.0, 0.0, 0.0, 0.0), "add up to 1"),
    (lambda: OptimConfig(b2=1.0), "b2"),
    (lambda: OptimConfig(final=1.5), "final"),
    (lambda: LossConfig(ema=1.0), "ema"),
    (lambda: LossConfig(penalty_epsilon=0.0), "penalty_epsilon"),
    (lambda: LossConfig(frames=0), "frames"),
    (
        lambda: GanRun(data=DataConfig(resolution=20)),
        "resolution 20 must be a multiple of 8; try 24",
    ),
    (
        lambda: GanRun(
            data=DataConfig(resolution=24),
            generator=GeneratorConfig(patch=16, decoder=(8, 8, 8, 8)),
        ),
        "multiple of 16; try 32",
    ),
    (
        lambda: GanRun(data=DataConfig(resolution=24), critic=CriticConfig(frame_widths=(8,) * 4)),
        "multiple of 16; try 32",
    ),
]


@pytest.mark.parametrize("make, said", BAD, ids=[said for _, said in BAD])
def test_what_cannot_work_is_refused_with_its_fix(make: Any, said: str) -> None:
    with pytest.raises(UserError) as caught:
        make()
    assert said in str(caught.value)


def test_configurations_cannot_be_changed() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        GanRun().train.steps = 3  # type: ignore[misc]
    assert config.GanRun().optim.b1 == 0.0  # momentum off for both sides unless asked for
