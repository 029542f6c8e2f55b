"""Whole training steps: ``python -m benchmarks.train_step``.

The steps that jaxvid trains with, jit and pmap, batch and random choices included: the game of
``tiny`` with the finite-difference penalty and with exact R1 + R2, a Transformer of the blocks of
``models.blocks``, the planner, reinforcement learning; on an accelerator the games of ``small`` and
``base`` too, in bfloat16. Games and Transformer against their twins in PyTorch, eager and compiled
(``torch_gan`` says in what the twin differs), one row a peer, since each has its bar.
"""

import dataclasses
import functools
import itertools
from collections.abc import Callable, Iterator
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks import counted, harness
from benchmarks.harness import Options, Row, Way
from benchmarks.torch_ways import COMPILED, EAGER, SKIPPED, torch_ways
from jaxvid import parallel, presets, training, training_planner
from jaxvid.config import GanRun, OptimConfig, PlannerRun, RlRun
from jaxvid.data.loader import Batches
from jaxvid.data.source import open_source
from jaxvid.typing import HostBatch

BACKENDS: tuple[Literal["jit", "pmap"], ...] = ("jit", "pmap")
SAMPLES = "its samples"
PEERS = {"planner": ("alone",), "rl": (SAMPLES,)}  # of steps without a twin
TWINNED = (EAGER, COMPILED, "alone")
UNWRITTEN = "no twin of this step was written"


class Case(NamedTuple):
    """A step to be timed: ``make_step(reduce=...)``, a function that makes its first state, its
    batch, the twin if there is one (``build(compiled)``), the bars of the peers, what else it is
    compared with, and its operations, without those that are repeated to save memory.
    """

    make_step: Callable[..., Any]
    state: Callable[[], Any]
    batch: HostBatch
    shapes: str
    twin: Callable[[bool], Callable[[], Any]] | None = None
    bars: tuple[tuple[str, float], ...] = ()
    parts: tuple[tuple[str, Callable[[], Way]], ...] = ()
    flops: Callable[[], float] = lambda: 0.0


def rows(options: Options) -> Iterator[Row]:
    """Each case with each backend against each peer; those of PyTorch fail where it is not."""
    for name, make in CASES.items() if jax.default_backend() == "cpu" else ALL_CASES.items():
        peers = PEERS.get(name, TWINNED)
        own = [peer for peer in peers if peer not in (EAGER, COMPILED)]
        if not _asked(options, name, *peers):
            continue
        if _asked(options, name, *own) or harness.torch_or_none():
            yield from harness.survive(f"{name} step", _rows(options, name, make))
        else:
            harness.fail(f"{name} step", f"PyTorch is {harness.PEER_HINT}")


def _rows(options: Options, name: str, make: Callable[[], Case]) -> Iterator[Row]:
    case = make()
    peers, missing = dict[str, Way](), {"torch": UNWRITTEN}
    if case.twin is not None:
        eager, compiled = (_asked(options, name, peer) for peer in (EAGER, COMPILED))
        peers, missing = torch_ways(case.twin, eager=eager, compiled=compiled)
    peers |= {part: build() for part, build in case.parts}
    yield from case_rows(options, name, case, peers, missing)


def _asked(options: Options, name: str, *peers: str) -> bool:
    modes = [f"{backend}, {peer}" for backend, peer in itertools.product(BACKENDS, peers)]
    return any([harness.wanted(options, f"{name} step", mode) for mode in modes])


def case_rows(
    options: Options, name: str, case: Case, peers: dict[str, Way], missing: dict[str, str]
) -> Iterator[Row]:
    """jit and pmap against each peer that there is, or alone."""
    for backend in BACKENDS:
        modes = {peer: f"{backend}, {peer}" for peer in _compared(peers, missing)}
        modes = {
            peer: mode
            for peer, mode in modes.items()
            if harness.wanted(options, f"{name} step", mode)
        }
        ours, ways = None, dict[str, Way]()  # a state goes before another one comes
        ours = step_way(case, backend) if modes else None
        for peer, mode in modes.items():
            assert ours is not None
            ways = {"jaxvid": ours} | ({peer: peers[peer]} if peer in peers else {})
            yield harness.compare(
                f"{name} step", ours="jaxvid", ways=ways, missing=missing, options=options,
                shapes=case.shapes, mode=mode, bar=dict(case.bars).get(peer), flops=case.flops(),
            )  # fmt: skip


def _compared(peers: dict[str, Way], missing: dict[str, str]) -> list[str]:
    """Who has a row: each peer, also one that failed (the row says why), or nobody."""
    failed = [peer for peer in (EAGER, COMPILED) if missing.get(peer, SKIPPED) != SKIPPED]
    tried = {EAGER, COMPILED} <= {*peers, *missing}
    return [*peers, *(failed if tried else ())] or ["alone"]


def step_way(case: Case, backend: Literal["jit", "pmap"]) -> Way:
    """The step compiled for all devices; each call goes on from the state of the one before."""
    mesh = parallel.make_mesh()
    step = parallel.compile_step(case.make_step, mesh, backend=backend)
    state = parallel.place_state(case.state(), mesh)
    batch = parallel.place_batch(case.batch, mesh)
    key = parallel.replicate(jax.random.key(0), mesh)
    costs = step.compile(state, batch, key)

    def launch() -> Any:
        nonlocal state
        state, metrics = step(state, batch, key)
        return state, metrics

    def run() -> None:
        jax.block_until_ready(launch())

    return Way(run, costs["seconds"], costs["bytes"] or None, launch)


# Cases


def gan_batch(run: GanRun) -> HostBatch:
    """One batch of the run's training data."""
    source = open_source(run.data, split="train", seed=run.train.seed)
    size = run.train.batch_size
    return Batches(source, batch_size=size, seed=0, text_length=run.data.text_length)[0]


def gan_case(run: GanRun, big: bool = False, /, **bars: float) -> Case:
    """The adversarial step of a run, and its twin. ``big``: from a state of random numbers made
    here, since compiling what draws the real one takes longer; and with its operations.
    """
    from jaxvid.steps.gan import make_gan_step

    batch = gan_batch(run)
    if big:
        nets, host = training.make_nets(run), _random_state(run, batch)
    else:
        nets, state = training.build_gan(run, batch)
        host = jax.tree.map(np.asarray, state)  # a donated state is gone after the step
    game = training.make_game(run, nets)

    def twin(compiled: bool) -> Callable[[], Any]:
        from benchmarks.torch_gan import GanStep
        from benchmarks.torch_networks import tensor

        step = GanStep(run, host.params, host.critic_params, compiled=compiled)
        given = {name: tensor(value) for name, value in batch.items()}
        return lambda: step(given)

    d, size = run.data, run.train.batch_size
    shapes = f"({size}, {run.loss.frames}, {d.resolution}, {d.resolution}, 3)"
    again = functools.partial(jax.tree.map, jnp.array, host)
    case = Case(functools.partial(make_gan_step, game), again, batch, shapes, twin, _bars(bars))
    if not big:
        return case
    one = counted.training_flops(run)
    return case._replace(flops=lambda: size * one())


def _random_state(run: GanRun, batch: HostBatch) -> Any:
    """A first state in NumPy: kernels that keep the size of what they map, optimizers at rest."""
    rng = np.random.default_rng(0)

    def fill(leaf: Any) -> np.ndarray:
        scale = np.prod(leaf.shape[:-1]) ** -0.5 if len(leaf.shape) > 1 else 0.1
        return np.float32(scale) * rng.standard_normal(leaf.shape, np.float32)

    shapes = jax.eval_shape(training.prepare_gan(run, batch)[1], jax.random.key(0))
    params, critic_params = (jax.tree.map(fill, t) for t in (shapes.params, shapes.critic_params))
    rest = jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), shapes)
    return rest.replace(params=params, ema=params, critic_params=critic_params)


def _bars(bars: dict[str, float]) -> tuple[tuple[str, float], ...]:
    names = {"eager": EAGER, "compiled": COMPILED}
    return tuple((names[name], bar) for name, bar in bars.items())


def tiny_gan(penalty: Literal["finite", "exact"], **bars: float) -> Case:
    """The game of the preset ``tiny``."""
    run = presets.tiny_gan()
    loss = dataclasses.replace(run.loss, penalty=penalty)
    return gan_case(dataclasses.replace(run, loss=loss), **bars)


def big_gan(preset: str, batch: int) -> Case:
    """The game of a larger preset; as in the twin, nothing is computed again. A GPU of 80 GB holds
    ``small`` on both sides, ``base`` alone (46 GB)."""
    run = presets.GAN[preset]()
    compute = dataclasses.replace(run.compute, remat=False)
    train = dataclasses.replace(run.train, batch_size=batch)
    run = dataclasses.replace(run, compute=compute, train=train)
    return gan_case(run, True, compiled=1.2)


def transformer_case(batch: int = 4, tokens: int = 512, **sizes: Any) -> Case:
    """An encoder of jaxvid's blocks, and its twin."""
    from benchmarks.transformer import Transformer, make_transformer_step
    from jaxvid.optim import make_optimizer

    model, config = Transformer(**sizes), OptimConfig()
    rng = np.random.default_rng(0)
    data = {
        name: rng.integers(0, model.vocabulary, (batch, tokens)).astype(np.int32)
        for name in ("tokens", "targets")
    }
    init = parallel.compile_function(model.init, once=True)
    params = jax.tree.map(np.asarray, init(jax.random.key(0), data["tokens"])["params"])
    tx = make_optimizer(config, 1000)

    def state() -> Any:
        placed = jax.tree.map(jnp.array, params)
        return placed, tx.init(placed)

    def twin(compiled: bool) -> Callable[[], Any]:
        from benchmarks.torch_networks import tensor
        from benchmarks.torch_transformer import TransformerStep

        step = TransformerStep(params, model.heads, config, 1000, compiled=compiled)
        given = [tensor(data[name]).long() for name in ("tokens", "targets")]
        return lambda: step(*given)

    shapes = f"({batch}, {tokens}, {model.width}) x {model.layers}"
    make_step = functools.partial(make_transformer_step, model, tx)
    return Case(make_step, state, data, shapes, twin, ((COMPILED, 0.95),))


def planner_case(run: PlannerRun | None = None) -> Case:
    """The planner of the stories on one batch of short prompts, float32, padding and all."""
    from jaxvid.optim import make_optimizer
    from jaxvid.steps.planner import make_planner_step

    run = run or presets.story_planner()
    planner, state = training_planner.build_planner(run)
    host = jax.tree.map(np.asarray, state)
    batch = training_planner.prompt_source(run).batch(np.arange(run.train.batch_size), "short")
    tx = make_optimizer(run.optim, run.train.steps)
    again = functools.partial(jax.tree.map, jnp.array, host)
    shapes = f"{batch['text'].shape} to {batch['tokens'].shape}"
    return Case(functools.partial(make_planner_step, planner, tx), again, batch, shapes)


def rl_case(base: GanRun | None = None, run: RlRun | None = None) -> Case:
    """Tuning along the rewards' gradient, of an untrained generator as the quickstart trains."""
    from jaxvid import reinforce
    from jaxvid.steps import rl

    base, run = base or presets.quickstart_gan(), run or presets.path_rl()
    base = dataclasses.replace(base, train=dataclasses.replace(base.train, batch_size=8))
    source = open_source(base.data, split="train")
    batch = gan_batch(dataclasses.replace(base, train=run.train))
    _, state = training.build_gan(base, batch)
    trained = reinforce.Trained(state.params, state.critic_params)
    tuning, tuned, _ = reinforce.build(base, run, trained, source)
    host = jax.tree.map(np.asarray, tuned)
    again = functools.partial(jax.tree.map, jnp.array, host)

    def samples(state: Any, batch: Any, key: jax.Array) -> jax.Array:
        draw = rl._draw(tuning, batch, key, state.step)
        return rl.play(tuning, state, draw, rl.act(tuning, state.params, draw)[0])

    def generate() -> Way:
        return harness.jax_way(samples, again(), dict(batch), jax.random.key(0))

    make_step = functools.partial(rl.make_rl_step, tuning)
    parts, bars = ((SAMPLES, generate),), ((SAMPLES, 1 / 3),)  # at most three times as long
    return Case(make_step, again, batch, str(batch["video"].shape), bars=bars, parts=parts)


CASES: dict[str, Callable[[], Case]] = {
    "gan": functools.partial(tiny_gan, "finite", eager=1.2, compiled=1.0),
    "gan, exact R1 + R2": functools.partial(tiny_gan, "exact", eager=1.3),
    "transformer": transformer_case,
    "planner": planner_case,
    "rl": rl_case,
}
ALL_CASES = CASES | {  # where a step does not take minutes
    "gan small": functools.partial(big_gan, "small", 32),
    "gan base": functools.partial(big_gan, "base", 8),
}

if __name__ == "__main__":
    harness.program({"train_step": rows})
