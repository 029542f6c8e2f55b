"""From a planner run's configuration to a training of it; and trained planners read back."""

import dataclasses
import functools
import pathlib
from collections.abc import Callable, Iterator

import jax
import jax.numpy as jnp
import numpy as np

from jaxvid import config as configs
from jaxvid import grammar, loop
from jaxvid.config import PlannerRun
from jaxvid.data.prompts import Kind, PromptSource, leave_signals
from jaxvid.io.checkpoint import Checkpoints
from jaxvid.io.lock import locked
from jaxvid.io.weights import check_weights, read_weights
from jaxvid.models.planner import Planner
from jaxvid.models.prompt import PICTURE
from jaxvid.optim import make_optimizer
from jaxvid.parallel import CompiledStep, check_batch_size, compile_step, make_mesh
from jaxvid.state import PlannerState, init_planner
from jaxvid.steps.planner import make_planner_step
from jaxvid.training import check_run, open_run, read_run, say_precision
from jaxvid.typing import HostBatch, Params, UserError

SHIPPED = pathlib.Path(__file__).parent / "weights" / "planner.safetensors"
STORY = 160  # bytes of text: of shorter stories one is found in hundreds that are drawn
KINDS: tuple[Kind, ...] = ("short", "long", "pictured", "long", "pictured", "long")  # by turns


def build_planner(run: PlannerRun) -> tuple[Planner, PlannerState]:
    """The network and its state before the first step."""
    planner, init = prepare_planner(run)
    return planner, jax.device_put(loop.Drawn(init, run.train.seed).draw()())


def prepare_planner(run: PlannerRun) -> tuple[Planner, Callable[[jax.Array], PlannerState]]:
    """The network, and what draws its state before the first step from a key."""
    planner = make_planner(run)

    def init(key: jax.Array) -> PlannerState:
        text = jnp.zeros((1, run.data.text_length), jnp.int32)
        image = jnp.zeros((1, PICTURE, PICTURE, 3), jnp.uint8)
        tokens = jnp.zeros((1, grammar.SHORT), jnp.int32)
        params = planner.init(key, text, image, tokens)["params"]
        return init_planner(params, make_optimizer(run.optim, run.train.steps))

    return planner, init


def planner_shapes(run: PlannerRun) -> PlannerState:
    """The state of a run as shapes alone."""
    return jax.eval_shape(prepare_planner(run)[1], jax.random.key(run.train.seed))


def make_planner(run: PlannerRun) -> Planner:
    """The network of a run."""
    return Planner(**dataclasses.asdict(run.planner), text_length=run.data.text_length)


def prompt_source(run: PlannerRun, order: int = 0) -> PromptSource:
    """The prompts that the planner of the run learns from; another ``order`` has others.

    Raises UserError for data without scripts, and for texts too short for stories.
    """
    if run.data.source not in ("scenes", "stories"):
        raise UserError(
            f"data source {run.data.source!r} has no scripts to learn from; use scenes or stories"
        )
    if run.data.source == "stories" and run.data.text_length < STORY:
        raise UserError(
            f"stories of two and three shots hardly fit into {run.data.text_length} bytes; use "
            f"--data.text-length 256, or {STORY} at least"
        )
    return PromptSource(
        "train",
        source="scenes" if run.data.source == "scenes" else "stories",
        seed=run.train.seed + order,
        text_length=run.data.text_length,
    )


def planner_step(run: PlannerRun, planner: Planner) -> CompiledStep:
    """The planner's training step on all devices."""
    tx = make_optimizer(run.optim, run.train.steps)
    mesh = make_mesh(None, run.mesh)
    check_batch_size(run.train.batch_size, mesh)
    low = planner.clone(low=run.compute.dtype == "bfloat16")
    # Over several devices rows would be gathered; of longer texts no counts are known.
    packed = run.data.source == "stories" and mesh.size == 1 and run.data.text_length <= 256
    make_step = functools.partial(make_planner_step, low, tx, packed=packed)
    return compile_step(make_step, mesh, backend=run.train.backend)


Prompts = Callable[[PlannerRun, int], PromptSource]  # of a run and the order of its data


@locked
def train_planner(
    run: PlannerRun, folder: pathlib.Path, *, source: Prompts = prompt_source
) -> PlannerState:
    """Trains the planner in ``folder``, on the prompts of ``source``; resumes what is there."""
    check_run(folder, run)
    prompts = source(run, 0)  # what it cannot read is said before anything is built or written
    planner, init = prepare_planner(run)
    state = _based(run) if run.base else loop.Drawn(init, run.train.seed)
    step = planner_step(run, planner)
    open_run(folder, run)
    say_precision(run.compute.dtype)
    return loop.run(
        "planner",
        folder,
        config=run.train,
        phases=[loop.Phase(step, run.train.steps)],
        state=state,
        batches=functools.partial(prompt_batches, run, source=source),
        data=repr(prompts),
    )


def _based(run: PlannerRun) -> PlannerState:
    """The first state of a training that begins with trained weights."""
    _, params, base = read_planner(base_path(run.base))
    if (base.planner, base.data.text_length) != (run.planner, run.data.text_length):
        raise UserError(
            f"the weights of {run.base} are of {base.planner} and {base.data.text_length} bytes, "
            f"not of {run.planner} and {run.data.text_length}; take those, or leave base out"
        )
    return init_planner(params, make_optimizer(run.optim, run.train.steps))


def base_path(base: str) -> pathlib.Path:
    """The file of ``base``: "shipped", or a path."""
    return SHIPPED if base == "shipped" else pathlib.Path(base)


def load_planner(folder: pathlib.Path) -> tuple[Planner, PlannerState, PlannerRun]:
    """The network and the newest state of a run folder. Raises UserError where there is none."""
    run = read_run(PlannerRun, folder, "planner", "python -m train.planner")
    like = planner_shapes(run)
    planner = make_planner(run)
    with Checkpoints(folder / "checkpoints", scored=False, alone=True) as checkpoints:
        return planner, checkpoints.restore(like)[0], run


def prompt_batches(
    run: PlannerRun,
    start: int,
    order: int,
    *,
    kinds: tuple[Kind, ...] = KINDS,
    source: Prompts = prompt_source,
) -> Iterator[HostBatch]:
    """Endless batches of prompts from step ``start`` on, made ahead by threads or, where
    ``data.workers`` says so, by processes; the batches are the same.

    A process makes its own rows of the batch over all processes. Kinds of stories take turns.
    """
    import grain
    from absl import flags

    flags.FLAGS.mark_as_parsed()  # which Grain's processes ask for; jaxvid has none
    prompts, size, data = source(run, order), run.train.batch_size, run.data
    rows = np.arange(size).reshape(jax.process_count(), -1)[jax.process_index()]
    kinds = ("short",) if prompts.source == "scenes" else kinds
    batches = grain.MapDataset.range(start, 1 << 40).map(
        lambda step: prompts.batch(rows + step * size, kinds[step % len(kinds)])
    )
    ahead = 2 * data.threads
    options = grain.ReadOptions(num_threads=data.threads, prefetch_buffer_size=ahead)
    workers = grain.MultiprocessingOptions(data.workers, per_worker_buffer_size=ahead)
    iterator = batches.to_iter_dataset(options).mp_prefetch(workers, leave_signals).__iter__()
    try:
        yield from iterator
    finally:
        iterator.close()  # ends the processes, and gives their memory back


def read_planner(path: pathlib.Path) -> tuple[Planner, Params, PlannerRun]:
    """The network and the parameters of a file that ``screenwriter.export`` wrote.

    Raises UserError for any other file.
    """
    params, config = read_weights(path)
    try:
        run = configs.from_json(PlannerRun, config)
    except UserError as error:
        raise UserError(f"{path} holds no planner that this jaxvid reads: {error}") from None
    like = planner_shapes(run).params
    check_weights(path, params, like)
    return make_planner(run), params, run
