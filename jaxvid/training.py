"""From a run's configuration to a training: build, compile, drive. All scripts call these.

Here: run folders, generator and critics; of planners in ``training_planner``.
"""

import dataclasses
import functools
import os
import pathlib
from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar

import jax
import jax.numpy as jnp
import numpy as np

from jaxvid import cluster, loop
from jaxvid import config as configs
from jaxvid.config import DataConfig, GanRun, TrainConfig
from jaxvid.data.batch import collate
from jaxvid.data.loader import Batches, Loader, make_loader
from jaxvid.data.source import Example, Source, open_source
from jaxvid.io.checkpoint import Checkpoints
from jaxvid.io.lock import locked
from jaxvid.io.log import say
from jaxvid.io.media import atomic_write_text, write_grid
from jaxvid.io.weights import check_weights, read_weights
from jaxvid.models.discriminator import Critics, Posterior
from jaxvid.models.generator import Generator
from jaxvid.models.policy import Policy
from jaxvid.ops import machine
from jaxvid.optim import make_optimizer
from jaxvid.parallel import check_batch_size, compile_function, compile_step, make_mesh, whole
from jaxvid.state import GanState, init_gan
from jaxvid.steps.gan import Game, make_gan_step
from jaxvid.steps.sample import Sampler, make_sampler, to_bytes
from jaxvid.typing import HostBatch, Params, UserError, exit_code

R = TypeVar("R")
SAMPLES = 8  # clips of a sample grid


def check_run(folder: pathlib.Path, run: Any) -> None:
    """Raises UserError where ``folder`` holds a run of another configuration. Writes nothing."""
    path = folder / "config.json"
    if not os.path.lexists(path):
        return
    before = configs.read(type(run), path)
    if _essence(before) != _essence(run):
        raise UserError(
            f"{folder} holds another configuration "
            f"({_first_difference(_essence(before), _essence(run))}); "
            "choose another --run, or remove the folder"
        )


def open_run(folder: pathlib.Path, run: Any) -> None:
    """Makes the run folder and its ``config.json``; of several processes the first one does."""
    cluster.agree("configuration", configs.to_json(run))
    cluster.on_first(lambda: _make_folder(folder, run))
    cluster.check_shared(folder / "config.json")


def agree_on(source: Source) -> None:
    """Raises UserError on processes that see other data than the first: shares of it would not be
    parts of one batch.
    """
    cluster.agree("data set", f"{len(source)} {sorted(source.labels.items())}")


def say_precision(dtype: str) -> None:
    """Says so where bfloat16 costs time, as in planners (benchmarks/README.md), not saves it."""
    if dtype == "bfloat16" and jax.default_backend() == "cpu" and not machine.rounds():
        say("this CPU has no instructions for bfloat16: --compute.dtype float32 is likely faster")


def _make_folder(folder: pathlib.Path, run: Any) -> None:
    try:
        (folder / "samples").mkdir(parents=True, exist_ok=True)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        fix = f"cannot write to {folder}: {reason}; choose another --run"
        raise UserError(fix, code=exit_code(error)) from None
    atomic_write_text(folder / "config.json", configs.to_json(run))


def _essence(run: Any) -> Any:
    """The run without what may change when it goes on: how long, how often, how fast, on which
    devices, and when it goes back or gives up.
    """
    train = TrainConfig(batch_size=run.train.batch_size, seed=run.train.seed)
    free: dict[str, Any] = {"train": train, "mesh": configs.MeshConfig()}
    if hasattr(run, "data"):  # what tunes another run has neither
        free["data"] = dataclasses.replace(run.data, memory_gb=0.0, threads=1, workers=0)
        free["compute"] = type(run.compute)(dtype=run.compute.dtype)
    return dataclasses.replace(run, **free)


def _first_difference(before: Any, now: Any, name: str = "") -> str:
    if not dataclasses.is_dataclass(before):
        return f"{name} {before!r}, now {now!r}"
    for field in dataclasses.fields(before):
        a, b = getattr(before, field.name), getattr(now, field.name)
        if a != b:
            return _first_difference(a, b, f"{name}.{field.name}".lstrip("."))
    return "unknown"


class Nets(NamedTuple):
    """The networks of a GAN run; ``posterior`` is None where the generator has neither latent nor
    motion, ``policy`` where no reinforcement learning has tuned it.
    """

    generator: Generator
    critics: Critics
    posterior: Posterior | None
    policy: Policy | None = None


def make_nets(run: GanRun) -> Nets:
    """The networks of a run."""
    classes, remat = len(run.data.classes), run.compute.remat
    generator = Generator(run.generator, classes=classes, remat=remat)
    critics = Critics(run.critic, classes=classes, remat=remat)
    g = run.generator
    posterior = Posterior(run.critic, g.latent, g.motion) if g.latent or g.motion else None
    policy = Policy(g.motion + g.actions, g.policy) if g.policy else None
    return Nets(generator, critics, posterior, policy)


def build_gan(run: GanRun, batch: HostBatch) -> tuple[Nets, GanState]:
    """The networks and their state before the first step; ``batch`` gives the shapes."""
    nets, init = prepare_gan(run, batch)
    return nets, jax.device_put(loop.Drawn(init, run.train.seed).draw()())


def prepare_gan(run: GanRun, batch: HostBatch) -> tuple[Nets, Callable[[jax.Array], GanState]]:
    """The networks, and what draws their state before the first step from a key."""
    nets = make_nets(run)
    one = {name: jnp.asarray(value[:1]) for name, value in batch.items()}

    def init(key: jax.Array) -> GanState:
        noise = jnp.zeros(one["video"].shape, jnp.float32)
        latent = jnp.zeros((1, run.generator.latent), jnp.float32)
        key_g, key_d, key_q = jax.random.split(key, 3)
        inputs = (noise, noise, noise[..., :1], one, latent)
        params = dict(nets.generator.init(key_g, *inputs)["params"])
        if nets.posterior is not None:
            seen = (noise, one, jnp.zeros((*noise.shape[:2], 4)))  # of no camera
            params["posterior"] = nets.posterior.init(key_q, *seen)["params"]
        if nets.policy is not None:
            key_p = jax.random.fold_in(key_g, 1)
            params["policy"] = nets.policy.init(key_p, one, noise, noise[..., :1])["params"]
        picked = jnp.zeros((1, min(run.critic.frames, noise.shape[1])), jnp.int32)
        critic_params = nets.critics.init(key_d, noise, picked, one)["params"]
        tx = make_optimizer(run.optim, run.train.steps)
        critic_tx = make_optimizer(run.critic_optim, run.train.steps)
        return init_gan(params, critic_params, tx, critic_tx)

    return nets, init


def make_game(run: GanRun, nets: Nets) -> Game:
    """All that a step of the run closes over."""
    return Game(
        *(nets.generator, nets.posterior, nets.critics),
        tx=make_optimizer(run.optim, run.train.steps),
        critic_tx=make_optimizer(run.critic_optim, run.train.steps),
        loss=run.loss,
        tasks=run.tasks,
        compute=run.compute,
        steps=run.train.steps,
    )


def gan_phases(run: GanRun, nets: Nets) -> list[loop.Phase]:
    """The warm-up by reconstruction alone, then the adversarial game."""
    mesh = make_mesh(None, run.mesh)
    check_batch_size(run.train.batch_size, mesh, parts=run.compute.accumulate)
    game = make_game(run, nets)
    phases = []
    for adversarial, until in ((False, run.loss.warmup), (True, run.train.steps)):
        if until:
            make_step = functools.partial(make_gan_step, game, adversarial=adversarial)
            step = compile_step(make_step, mesh, backend=run.train.backend)
            phases.append(loop.Phase(step, until))
    return phases


def open_training(run: GanRun) -> tuple[GanRun, Source]:
    """The training data, and the run with the classes that it has."""
    source = open_source(run.data, split="train", seed=run.train.seed)
    classes = tuple(source.labels.get("class", ()))
    return dataclasses.replace(run, data=dataclasses.replace(run.data, classes=classes)), source


def batches(source: Source, data: DataConfig, train: TrainConfig) -> Callable[[int, int], Loader]:
    """What the loop asks for: this process's batches from a step on, in some order of the data.

    Scenes are not held in memory: an epoch of them is longer than most runs, and drawing is quick.
    """
    memory_gb = 0.0 if data.source == "scenes" else data.memory_gb
    return lambda start, order: make_loader(
        source,
        batch_size=train.batch_size,
        seed=train.seed + order,
        text_length=data.text_length,
        threads=data.threads,
        memory_gb=memory_gb,
        process_index=jax.process_index(),
        process_count=jax.process_count(),
        start_step=start,
    )


@locked
def train_gan(run: GanRun, folder: pathlib.Path, *, source: Source | None = None) -> GanState:
    """Trains generator and critics in ``folder``; resumes what is there.

    ``source``: other clips than those that the run names, of the same shape.
    """
    if run.generator.policy or run.generator.actions:
        raise UserError("generator.policy and actions are filled by train.rl; leave them out")
    if source is None:
        run, source = open_training(run)
    check_run(folder, run)
    say(f"gan: {len(source)} clips of {run.data.source}")
    held_out = open_source(run.data, split="heldout", seed=run.train.seed)
    shown = Batches(held_out, batch_size=SAMPLES, seed=0, text_length=run.data.text_length)[0]
    nets, init = prepare_gan(run, shown)
    phases = gan_phases(run, nets)  # what does not fit is said before anything is written
    open_run(folder, run)
    agree_on(source)
    say_precision(run.compute.dtype)
    return loop.run(
        "gan",
        folder,
        config=run.train,
        phases=phases,
        state=loop.Drawn(init, run.train.seed),
        batches=batches(source, run.data, run.train),
        data=repr(source),
        on_sample=_sample_hook(
            folder, make_sampler(nets.generator, dtype=run.compute.dtype), shown
        ),
    )


def load_gan(folder: pathlib.Path) -> tuple[Nets, GanState, GanRun]:
    """The networks and the newest state of a run folder. Raises UserError where there is none."""
    run = read_run(GanRun, folder, "generator", "python -m train.quickstart or train.gan")
    with Checkpoints(folder / "checkpoints", alone=True) as checkpoints:
        return make_nets(run), checkpoints.restore(_shapes(run))[0], run


def read_generator(path: pathlib.Path) -> tuple[Nets, Params, GanRun]:
    """The networks and the generator's parameters of a file that ``pipeline.export`` wrote.

    Raises UserError for any other file.
    """
    params, config = read_weights(path)
    try:
        run = configs.from_json(GanRun, config)
    except UserError as error:
        raise UserError(f"{path} holds no generator that this jaxvid reads: {error}") from None
    like = {name: tree for name, tree in _shapes(run).params.items() if name != "posterior"}
    check_weights(path, params, like)
    return make_nets(run), params, run


def _shapes(run: GanRun) -> GanState:
    """The state of a run as shapes alone: enough to restore, and no work."""
    return jax.eval_shape(lambda: blank_state(run)[0])


def blank_state(run: GanRun) -> tuple[GanState, HostBatch]:
    """A first state and a black batch of one clip; for shapes alone under ``jax.eval_shape``."""
    shape = (run.data.frames, run.data.resolution, run.data.resolution, 3)
    blank = Example(np.zeros(shape, np.uint8), "", run.data.fps)
    batch = collate([blank], [0], text_length=run.data.text_length)
    return prepare_gan(run, batch)[1](jax.random.key(run.train.seed)), batch


def fresh_critics(run: GanRun) -> Params:
    """Untrained critics, for weights that came without."""
    return compile_function(lambda: blank_state(run)[0].critic_params, once=True)()


def read_run(kind: type[R], folder: pathlib.Path, what: str, how: str) -> R:
    """The configuration in a folder. Raises UserError where there is none."""
    path = folder / "config.json"
    if not os.path.isfile(path):
        raise UserError(f"no {what} in {folder.parent}; train one with {how}, or name its --run")
    return configs.read(kind, path)


def _sample_hook(folder: pathlib.Path, sample: Sampler, shown: HostBatch) -> loop.Hook:
    """Writes a grid of held-out clips, each generated above its real one, scored by the error."""
    sampler = compile_function(sample)

    def film(params: Params, at: int) -> np.ndarray:
        # One by one and with a mask, as the pipeline does it: the same program serves both.
        batch = {name: value[at : at + 1] for name, value in shown.items()}
        batch["mask"] = np.zeros((*batch["video"].shape[:-1], 1), np.float32)
        return np.asarray(to_bytes(sampler(params, batch, jax.random.key(0)))[0])

    def show(params: Params, step: int) -> float:
        video = np.stack([film(params, at) for at in range(SAMPLES)])
        rows = np.stack([video, shown["video"]], axis=1).reshape(-1, *video.shape[1:])
        write_grid(folder / "samples" / f"step_{step:06d}.png", rows, frames=8, scale=2)
        error = video.astype(np.float32) - shown["video"].astype(np.float32)
        return float((error**2).mean() / 255.0**2)

    def hook(state: GanState, step: int) -> float:
        params = whole(state.ema)  # by all processes, since it may be split over them
        return float(cluster.on_first(lambda: show(params, step)))

    return hook
