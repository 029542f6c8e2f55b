"""What a run would cost: parameters, operations, memory, from shapes and XLA's own count; what a
step sends between devices, from the program that XLA made of it.
"""

import dataclasses
import math
import re
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxvid import config as configs
from jaxvid import loop
from jaxvid.config import ComputeConfig, GanRun, PlannerRun
from jaxvid.data.batch import collate
from jaxvid.data.loader import Batches
from jaxvid.data.source import Example
from jaxvid.parallel import CompiledStep, compile_function, place_batch
from jaxvid.steps.gan import make_gan_step
from jaxvid.steps.sample import make_sampler
from jaxvid.training import gan_phases, make_game, make_nets, open_training, prepare_gan
from jaxvid.training_planner import make_planner, planner_shapes, planner_step, prompt_source
from jaxvid.typing import HostBatch, Params


@dataclasses.dataclass(frozen=True)
class Sizes:
    """Of a run: ``*_parameters``; floating point operations (a multiplication and an addition are
    two) of generating a frame and of training on a clip; bytes of the state, and of all that a step
    holds where it was compiled, else None."""

    generator_parameters: int
    critic_parameters: int
    frame_flops: float
    clip_flops: float
    state_bytes: int
    step_bytes: float | None = None


def sizes(run: GanRun, *, compiled: bool = False) -> Sizes:
    """The sizes of a run, lowered for one clip with nothing of it executed or even allocated.

    Operations are counted by XLA on the program before it is optimised, without the repetitions of
    ``compute.remat``, so that they are those of the method. ``compiled``: compile the step at its
    real batch size, for its memory; the largest presets need minutes and much memory for that.
    """
    shape = (run.data.frames, run.data.resolution, run.data.resolution, 3)
    blank = Example(np.zeros(shape, np.uint8), "", run.data.fps)
    one = collate([blank], [0], text_length=run.data.text_length)
    plain = dataclasses.replace(run, compute=ComputeConfig(dtype=run.compute.dtype))
    nets = make_nets(plain)
    state = jax.eval_shape(prepare_gan(plain, one)[1], jax.random.key(0))
    key = jax.eval_shape(lambda: jax.random.key(0))
    train: Any = compile_function(make_gan_step(make_game(plain, nets)))
    step = train.lower(state, one, key)
    sample: Any = compile_function(make_sampler(nets.generator, dtype=run.compute.dtype))
    frames = sample.lower(state.params, one, key).cost_analysis()["flops"]
    memory = None
    if compiled:
        batch = {k: jnp.repeat(v, run.train.batch_size, axis=0) for k, v in one.items()}
        whole: Any = compile_function(make_gan_step(make_game(run, make_nets(run))))
        found = whole.lower(state, batch, key).compile().memory_analysis()
        memory = float(found.argument_size_in_bytes + found.temp_size_in_bytes)
    return Sizes(
        sum(_count(tree) for name, tree in state.params.items() if name != "posterior"),
        _count(state.critic_params),
        float(frames) / run.data.frames,
        float(step.cost_analysis()["flops"]),
        sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(state)),
        memory,
    )


@dataclasses.dataclass(frozen=True)
class Collective:
    """One exchange between devices: its kind, how many devices take part in each group of it, and
    the shapes that come out of it on a device, with the bytes of them.
    """

    kind: str
    group: int
    shapes: tuple[tuple[str, tuple[int, ...]], ...]

    @property
    def bytes(self) -> int:
        """Of what comes out on a device."""
        return sum(_BITS[kind] * math.prod(shape) // 8 for kind, shape in self.shapes)


_BITS = {"pred": 8, "s8": 8, "u8": 8, "bf16": 16, "f16": 16, "s32": 32, "u32": 32, "f32": 32}
_BITS |= {"s64": 64, "u64": 64, "f64": 64}
_KINDS = "all-reduce|all-gather|reduce-scatter|all-to-all|collective-permute|collective-broadcast"
_LINE = re.compile(rf"= (.*?) ({_KINDS})(?:-start)?\(.*?(?:replica_groups=(.*))?$")


def collectives(program: str) -> list[Collective]:
    """The exchanges in the text of a compiled program (HLO), each as often as it stands there."""
    found = []
    for line in program.splitlines():
        if match := _LINE.search(line):
            out, kind, groups = match.groups()
            shapes = re.findall(r"\b([a-z]+\d*)\[([\d,]*)\]", out)
            sized = tuple((k, tuple(int(n) for n in d.split(",") if n)) for k, d in shapes)
            found.append(Collective(kind, _group(groups or ""), sized))
    return found


def _group(text: str) -> int:
    """Devices of a group, from one of the three ways in which XLA writes groups; 0: from none."""
    if match := re.match(r"mesh\[(.*?)\].*?\{(.*?)\}", text):
        sizes = dict(re.findall(r"'(\w+)'=(\d+)", match[1]))
        return math.prod(int(sizes[axis]) for axis in re.findall(r"'(\w+)'", match[2]))
    if match := re.match(r"\[(\d+),(\d+)\]<=", text):
        return int(match[2])
    if match := re.match(r"\{\{([\d,]*)\}", text):
        return len(match[1].split(","))
    return 0


def describe(run: GanRun | PlannerRun) -> str:
    """For ``--dry-run``: the resolved configuration, the parameters, the cost of a step."""
    size = run.train.batch_size
    if isinstance(run, PlannerRun):
        planner, shapes = make_planner(run), planner_shapes(run)
        stories = run.data.source == "stories"
        batch = prompt_source(run).batch(range(size), "long" if stories else "short")
        steps = {"step": planner_step(run, planner)}
        return _table(run, shapes, {"planner": shapes.params}, steps, batch)
    run, source = open_training(run)
    batch = Batches(source, batch_size=size, seed=0, text_length=run.data.text_length)[0]
    nets, init = prepare_gan(run, batch)
    state = jax.eval_shape(init, jax.random.key(0))
    names = ("warm-up step", "adversarial step")
    phases = gan_phases(run, nets)
    steps = {name: phase.step for name, phase in zip(names[-len(phases) :], phases, strict=True)}
    parts = {"generator": state.params, "critics": state.critic_params}
    return _table(run, state, parts, steps, batch)


def _table(
    run: GanRun | PlannerRun,
    state: Any,
    parts: dict[str, Params],
    steps: dict[str, CompiledStep],
    batch: HostBatch,
) -> str:
    lines = [configs.to_json(run), "", f"{'parameters':<28}{'count':>12}"]
    for name, params in parts.items():
        for child, tree in params.items():
            lines.append(f"{name + '.' + child:<28}{_count(tree):>12,}")
        lines.append(f"{name + ' in all':<28}{_count(params):>12,}")
    size = sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(state))
    lines.append(f"{'state (and a checkpoint)':<28}{size / 2**20:>12.1f} MiB")
    for name, step in steps.items():
        like = loop.describe(state, step.mesh)
        costs = step.compile(like, place_batch(batch, step.mesh), jax.random.key(0))
        lines.append(f"{name:<28}{costs['flops'] / 1e9:>12.1f} GFLOP")
        lines.append(f"{name + ', memory':<28}{costs['bytes'] / 2**20:>12.0f} MiB")
    return "\n".join(lines)


def _count(tree: Params) -> int:
    return sum(leaf.size for leaf in jax.tree.leaves(tree))
