"""From a trained run to one whose motion is tuned by reinforcement learning: build, drive, load.

The tuned run stands in ``RUN/rl`` beside ``RUN/gan``: a policy, the frozen generator that it draws
the motion for, and the configuration of both.
"""

import dataclasses
import functools
import json
import os
import pathlib
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxvid import accounting, cluster, loop, training
from jaxvid import config as configs
from jaxvid.config import GanRun, RlRun
from jaxvid.data.loader import Batches
from jaxvid.data.source import Source, open_source
from jaxvid.gate import Gate, Glance, Verdict, sections, table, without_policy
from jaxvid.io.checkpoint import Checkpoints, committed
from jaxvid.io.lock import locked
from jaxvid.io.log import say
from jaxvid.io.media import atomic_write_text, write_video
from jaxvid.io.report import Film, Row, read_curves, write_report
from jaxvid.models.generator import Generator
from jaxvid.optim import make_optimizer
from jaxvid.parallel import check_batch_size, compile_function, compile_step, make_mesh, whole
from jaxvid.rl.rewards import REWARDS, measure_scale
from jaxvid.state import RlState, init_rl
from jaxvid.steps.gan import to_unit
from jaxvid.steps.rl import Tuning, make_rl_step, witness
from jaxvid.training import Nets
from jaxvid.typing import Batch, HostBatch, Params, UserError
from jaxvid.video.compose import tile

REAL = 64  # real clips that the rewards are scaled by, at most
SHIPPED = pathlib.Path(__file__).parent / "weights" / "generator.safetensors"
PROBES = 4  # clips that the generator's response is measured on
POOLED = 16  # pixels of a side, of the responses


class Trained(NamedTuple):
    """The parameters that tuning starts from."""

    generator: Params
    critics: Params


def tuned_run(base: GanRun, run: RlRun) -> GanRun:
    """The configuration of the generator with its policy, whose actions are the generator's own
    motion, if any, and numbers beside it that only serve to explore: their mean makes clips.
    """
    generator = dataclasses.replace(base.generator, policy=run.rl.width, actions=run.rl.actions)
    return dataclasses.replace(base, generator=generator)


def check_rewards(base: GanRun, run: RlRun) -> None:
    """Raises UserError for rewards that are not known, or that cannot serve here."""
    for name in run.rl.rewards:
        if name not in REWARDS:
            raise UserError(f"no reward {name!r}; use {', '.join(REWARDS)}")
        if run.rl.algorithm == "path" and not REWARDS[name].differentiable:
            raise UserError(f"the reward {name!r} has no gradient; use --rl.algorithm policy")
        if name == "agreement" and (run.train.batch_size < 2 or run.train.backend == "pmap"):
            raise UserError(
                "the reward 'agreement' compares prompts of a batch; use --train.backend jit and "
                "--train.batch-size 2 or more"
            )
        if REWARDS[name].critics and run.rl.base:
            raise UserError(f"the reward {name!r} needs trained critics, which weights have not")
        if REWARDS[name].scripted and base.data.source != "scenes":
            rest = [n for n, r in REWARDS.items() if not r.scripted and r.saturates]
            raise UserError(
                f"the reward {name!r} needs scripts, which {base.data.source} has not; use "
                f"{', '.join(rest)}"
            )


def build(
    base: GanRun, run: RlRun, trained: Trained, source: Source
) -> tuple[Tuning, RlState, GanRun]:
    """The networks and their state before the first step."""
    tuned = tuned_run(base, run)
    nets = training.make_nets(tuned)
    assert nets.policy is not None
    shown = Batches(
        source,
        batch_size=min(PROBES, len(source)),
        seed=run.train.seed,
        text_length=base.data.text_length,
    )[0]
    reference = {name: tree for name, tree in trained.generator.items() if name != "posterior"}
    kernel = _directions(nets.generator, reference, shown, run)
    reference = reference | {"explore": {"kernel": kernel}}
    tuning = _tuning(tuned, run, nets)
    scales = _scales(tuning, trained.critics, source, tuned)
    state = _state(tuning, reference, trained.critics, scales, shown, run)
    return tuning, state, tuned


def _tuning(tuned: GanRun, run: RlRun, nets: Nets) -> Tuning:
    game = training.make_game(tuned, nets)
    return Tuning(game, nets.policy, make_optimizer(run.optim, run.train.steps), run.rl)


def _state(
    tuning: Tuning,
    reference: Params,
    critics: Params,
    scales: Any,
    batch: HostBatch,
    run: RlRun,
    *,
    abstract: bool = False,
) -> RlState:
    one = {name: jnp.asarray(value[:1]) for name, value in batch.items()}
    blank = jnp.zeros(one["video"].shape, jnp.float32)
    init = tuning.policy.init if abstract else compile_function(tuning.policy.init, once=True)
    params = init(jax.random.key(run.train.seed), one, blank, blank[..., :1])["params"]
    return init_rl(params, reference, critics, scales, tuning.tx, tuning.game.critic_tx)


def _directions(generator: Generator, params: Params, batch: HostBatch, run: RlRun) -> jax.Array:
    """Changes of a frame's vector (actions, width) to which the clip responds most.

    The leading eigenvectors of E[JᵀJ], J the clip's Jacobian by the vectors of its frames (low-rank
    directions of a GAN: Zhu et al., 2021), from one tangent a feature with random signs over the
    frames. Scaled so that normal numbers change a frame by ``rl.response``, root mean square.
    """
    D, own = generator.config.width, generator.config.motion
    config = dataclasses.replace(generator.config, actions=D)
    whole = Generator(config, generator.classes, generator.remat, "reference")
    weights = params | {"explore": {"kernel": jnp.eye(D)}}
    B, T, H, W, _ = batch["video"].shape
    keys = jax.random.split(jax.random.key(run.train.seed), 3)
    noise = jax.random.normal(keys[0], batch["video"].shape)
    latent = jax.random.normal(keys[1], (B, generator.config.latent))
    signs_BT1 = jax.random.rademacher(keys[2], (B, T, 1), jnp.float32)
    side = min(POOLED, H)

    def respond(batch: Batch) -> jax.Array:
        def film(explored: jax.Array) -> jax.Array:
            zero = jnp.zeros_like(noise)
            motion = jnp.pad(explored, ((0, 0), (0, 0), (own, 0)))
            video = whole.apply(
                {"params": weights}, noise, zero, zero[..., :1], batch, latent, motion
            )
            return jax.image.resize(video, (B, T, side, side, 3), "linear")

        def along(d: jax.Array) -> jax.Array:
            tangent = signs_BT1 * jax.nn.one_hot(d, D)
            return jax.jvp(film, (jnp.zeros((B, T, D)),), (tangent,))[1].ravel()

        moved_DX = jax.lax.map(along, jnp.arange(D))
        return moved_DX @ moved_DX.T / moved_DX.shape[1]

    gram = np.asarray(compile_function(respond)(batch), np.float64)
    values, vectors = np.linalg.eigh(gram)
    best = np.argsort(values)[::-1][: run.rl.actions]
    strength = np.sqrt(np.maximum(values[best], 0.01 * values[best[0]]))
    share = run.rl.response / len(best) ** 0.5
    return jnp.asarray((share / strength[:, None]) * vectors[:, best].T, jnp.float32)


def _scales(tuning: Tuning, critics: Params, source: Source, run: GanRun) -> jax.Array:
    """Where each reward begins and its unit, from real clips (R,2)."""
    size = min(8, len(source))
    batches = Batches(source, batch_size=size, seed=0, text_length=run.data.text_length)

    def errors(batch: Batch) -> dict[str, jax.Array]:
        real = to_unit(jnp.asarray(batch["video"]))
        picked = jnp.broadcast_to(jnp.arange(run.critic.frames), (size, run.critic.frames))
        picked = jnp.minimum(picked, real.shape[1] - 1)
        draw = {"batch": dict(batch), "real": real, "picked": picked}
        script = witness(tuning, critics, real, draw, group=1)
        return {name: REWARDS[name].error(real, script) for name in tuning.terms}

    look = compile_function(errors)
    seen = [look(batches[i]) for i in range(max(1, min(REAL, len(source)) // size))]
    rows = [
        measure_scale(REWARDS[name], np.concatenate([np.asarray(s[name]) for s in seen]))
        for name in tuning.terms
    ]
    return jnp.asarray(rows, jnp.float32)


def _base(run: RlRun, folder: pathlib.Path) -> tuple[Trained, GanRun]:
    """The generator that is tuned, and critics: untrained ones where only weights were given."""
    if not run.rl.base:
        _, state, base = training.load_gan(folder.parent / "gan")
        return Trained(state.ema, state.critic_params), base
    path = SHIPPED if run.rl.base == "shipped" else pathlib.Path(run.rl.base)
    _, params, base = training.read_generator(path)
    return Trained(params, training.fresh_critics(base)), base


@locked
def train_rl(run: RlRun, folder: pathlib.Path, *, gate: Gate | None = None) -> RlState:
    """Tunes the generator of ``folder.parent`` in ``folder``; resumes what is there. ``gate``: one
    that is open.
    """
    training.check_run(folder, run)
    mesh = make_mesh(None, run.mesh)
    check_batch_size(run.train.batch_size, mesh)
    say(f"rl: {run.rl.algorithm}, rewards {', '.join(run.rl.rewards)}")
    if committed(folder / "checkpoints") and os.path.isfile(folder / "generator.json"):
        tuning, state, tuned = _resumed(run, folder)
        check_rewards(tuned, run)  # the backend may be another one
        source = open_source(tuned.data, split="train", seed=tuned.train.seed)
    else:
        trained, base = _base(run, folder)
        check_rewards(base, run)
        source = open_source(base.data, split="train", seed=base.train.seed)
        tuning, state, tuned = build(base, run, trained, source)
        for name, (start, unit) in zip(tuning.terms, np.asarray(state.scales), strict=True):
            say(f"rl: {name} counts beyond {start:.4g} of real clips, in units of {unit:.4g}")
    step = compile_step(functools.partial(make_rl_step, tuning), mesh, backend=run.train.backend)
    training.open_run(folder, run)
    training.agree_on(source)
    cluster.on_first(lambda: atomic_write_text(folder / "generator.json", configs.to_json(tuned)))
    opened = functools.cache(lambda: gate or open_gate(folder))
    return loop.run(
        "rl",
        folder,
        config=run.train,
        phases=[loop.Phase(step, run.train.steps)],
        state=state,
        batches=training.batches(source, tuned.data, run.train),
        data=repr(source),
        on_sample=functools.partial(_watch, opened, run),
    )


def _resumed(run: RlRun, folder: pathlib.Path) -> tuple[Tuning, RlState, GanRun]:
    """What ``build`` gives, from the folder alone; the state is blank, a checkpoint fills it."""
    tuned = configs.read(GanRun, folder / "generator.json")
    nets = training.make_nets(tuned)
    shapes = jax.eval_shape(lambda: _abstract(tuned, run, nets))
    blank = jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), shapes)
    return _tuning(tuned, run, nets), blank, tuned


def _watch(gate: Callable[[], Gate], run: RlRun, state: RlState, step: int) -> float:
    """The gate's short form: its score, lower is better, 0 or less where all holds.

    Raises ``loop.Enough`` where the divergence from the reference is over its budget.
    """
    params, reference = whole(state.ema), whole(state.reference)  # by all processes
    found = Glance(*cluster.on_first(lambda: gate().glance(reference | {"policy": params})))
    say(f"rl: step {step}: {found.text}")
    if found.divergence > run.rl.kl_budget:
        raise loop.Enough(
            f"{found.divergence:.1f} nats a frame from the reference, over --rl.kl-budget "
            f"{run.rl.kl_budget}",
            score=found.score,
        )
    return found.score


def load_rl(folder: pathlib.Path, *, best: bool = True) -> tuple[Nets, Params, GanRun]:
    """The networks, the parameters (the policy's among them) and the configuration of a tuned run.

    ``best``: by the gate; else the newest. Raises UserError where there is none.
    """
    path = folder / "generator.json"
    if not os.path.isfile(path):
        raise UserError(f"no tuned generator in {folder.parent}; tune one with python -m train.rl")
    tuned = configs.read(GanRun, path)
    run = configs.read(RlRun, folder / "config.json")
    nets = training.make_nets(tuned)
    like = jax.eval_shape(lambda: _abstract(tuned, run, nets))
    with Checkpoints(folder / "checkpoints", alone=True) as checkpoints:
        at = checkpoints.best if best else checkpoints.latest
        state, _ = checkpoints.restore(like, at)
    return nets, state.reference | {"policy": state.ema}, tuned


def _abstract(tuned: GanRun, run: RlRun, nets: Nets) -> RlState:
    """The state of a tuned run, under ``jax.eval_shape``."""
    gan, batch = training.blank_state(tuned)
    reference = {name: t for name, t in gan.params.items() if name not in ("posterior", "policy")}
    scales = jnp.zeros((len(run.rl.rewards), 2))
    tuning = _tuning(tuned, run, nets)
    return _state(tuning, reference, gan.critic_params, scales, batch, run, abstract=True)


def open_gate(folder: pathlib.Path) -> Gate:
    """The gate of a tuned run, and of all others that are tuned from the same one as it is."""
    tuned = configs.read(GanRun, folder / "generator.json")
    return Gate(tuned, training.make_nets(tuned))


def try_gate(
    folder: pathlib.Path,
    *,
    prompts: int = 24,
    samples: int = 32,
    critics: bool = True,
    best: bool = True,
    gate: Gate | None = None,
) -> Verdict:
    """Tries the best checkpoint of a tuned run (or the newest) at the gate.

    Writes ``gate.json``, ``report.html`` with the curves of all rewards, and ``before_after.gif``:
    the reference above, the tuned below.
    ``critics``: with those that are trained anew, which takes the most time. ``gate``: one that is
    open.
    """
    _, params, tuned = load_rl(folder, best=best)
    gate = gate or open_gate(folder)
    verdict = gate.judge(params, prompts=prompts, samples=samples, critics=critics)
    say(table(verdict))
    short = "" if critics else f", in short: {prompts} prompts, {samples} clips, no fresh critic"
    say(f"rl: the gate is {'passed' if verdict.passed else 'not passed'}{short}")
    found = dataclasses.asdict(verdict) | {"passed": verdict.passed}
    atomic_write_text(folder / "gate.json", json.dumps(found, indent=1))
    asked = gate.prompts(8, 1)
    before, after = (gate.show(p, asked).videos[:, 0] for p in (without_policy(params), params))
    sheet = tile(np.concatenate([before, after]), columns=len(before))
    write_video(folder / "before_after.gif", sheet, fps=tuned.data.fps, scale=4)
    fps = tuned.data.fps
    rows = [
        Row(
            row[0].caption,
            [Film("before", b, fps), Film("after", a, fps), Film("real", row[0].video, fps)],
        )
        for row, b, a in zip(asked, before, after, strict=True)
    ]
    run = configs.read(RlRun, folder / "config.json")
    curves = {"return": ["return"], "rewards": [f"r_{name}" for name in run.rl.rewards]}
    curves |= {"nats a frame from the reference": ["kl"], "spread of the actions": ["spread"]}
    write_report(
        folder / "report.html",
        title=f"jaxvid: {folder.parent.name}, tuned",
        facts={"algorithm": run.rl.algorithm, "rewards": ", ".join(run.rl.rewards)}
        | accounting.facts(folder),
        sections=sections(verdict),
        rows=rows,
        curves=read_curves(folder / "metrics.jsonl", curves),
    )
    return verdict
