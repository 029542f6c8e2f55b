"""Reinforcement learning of a planner of a few thousand weights, where an action is a token."""

import functools
import json
import pathlib
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import TINY_PLANNER

from jaxvid import parallel, reinforce_planner, screenwriter, training_planner
from jaxvid.config import OptimConfig, PlannerRlConfig
from jaxvid.io.checkpoint import tree_digest
from jaxvid.models.planner import sample
from jaxvid.optim import make_optimizer
from jaxvid.outline import Outline
from jaxvid.rl.plans import PLAN_REWARDS
from jaxvid.script import Script
from jaxvid.state import PlannerRlState, init_planner_rl
from jaxvid.steps.rl_planner import Rehearsal, _objective, distribution, make_planner_rl_step, weigh
from train import rl as script

KEY = jax.random.key(3)
CONFIG = PlannerRlConfig(group=4)


@functools.cache
def built() -> tuple[Rehearsal, PlannerRlState, dict[str, Any]]:
    planner, state = training_planner.build_planner(TINY_PLANNER)
    tx = make_optimizer(OptimConfig(lr=3e-2, warmup=0), 100)
    source = training_planner.prompt_source(TINY_PLANNER)
    batch = jax.tree.map(jnp.asarray, source.batch(range(8)))
    return Rehearsal(planner, tx, CONFIG), init_planner_rl(state.params, tx), batch


@functools.cache
def step() -> Any:
    return jax.jit(make_planner_rl_step(built()[0]))


@functools.cache
def drawn() -> Any:
    tuning, state, batch = built()
    draw = functools.partial(sample, tuning.planner, group=CONFIG.group, index_B=batch["index"])
    return jax.jit(draw)(state.params, batch["text"], batch["image"], KEY)


def test_the_first_step_starts_from_the_reference() -> None:
    _, state, batch = built()
    after, metrics = step()(state, batch, KEY)
    assert float(metrics["ratio"]) == 1.0 and float(metrics["kl"]) == 0.0
    assert float(metrics["gradient"]) > 0 and float(metrics["skipped"]) == 0
    assert tree_digest(after.params) != tree_digest(state.params)
    assert tree_digest(after.reference) == tree_digest(state.reference)
    _, metrics = step()(after, batch, KEY)
    assert float(metrics["kl"]) > 0


def test_a_group_that_says_the_same_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in CONFIG.rewards:
        monkeypatch.setitem(PLAN_REWARDS, name, lambda asked, read, script: iter(()))
    _, state, batch = built()
    after, metrics = step()(state, batch, KEY)
    assert float(metrics["flat_groups"]) == 1.0 and float(metrics["exact"]) == 1.0
    assert tree_digest(after.params) == tree_digest(state.params)


def test_probabilities_are_those_that_were_drawn_from() -> None:
    tuning, state, batch = built()
    logp_NSV, said_NS = jax.jit(functools.partial(distribution, tuning))(
        state.params, batch, drawn()
    )
    np.testing.assert_allclose(said_NS, drawn().logp_BS, atol=1e-5)
    np.testing.assert_allclose(jnp.exp(logp_NSV).sum(-1), 1.0, atol=1e-5)


def test_outlines_of_a_group_differ_and_do_not_depend_on_the_batch() -> None:
    tuning, state, batch = built()
    tokens = np.asarray(drawn().tokens_BS)
    assert any((tokens[4 * n] != tokens[4 * n + 1]).any() for n in range(8))
    draw = jax.jit(functools.partial(sample, tuning.planner, group=CONFIG.group))
    half = jax.tree.map(lambda x: x[4:], {name: batch[name] for name in ("text", "image", "index")})
    other = draw(state.params, half["text"], half["image"], KEY, index_B=half["index"])
    np.testing.assert_array_equal(other.tokens_BS, tokens[16:])


def test_the_gradient_is_that_of_finite_differences() -> None:
    tuning, state, batch = built()
    rng = np.random.default_rng(0)
    better = jnp.asarray(rng.normal(size=drawn().tokens_BS.shape), jnp.float32)
    fixed = jax.nn.log_softmax(jnp.asarray(rng.normal(size=(*better.shape, 1)), jnp.float32), -1)
    then = drawn().logp_BS
    bias = state.params["logits"]["bias"]

    def value(bias: jax.Array) -> jax.Array:
        params = {**state.params, "logits": {**state.params["logits"], "bias": bias}}
        return _objective(tuning, params, batch, drawn(), better, fixed, then)[0]

    # The divergence's own value is not what is differentiated: without it, the gain is.
    tuning = Rehearsal(tuning.planner, tuning.tx, PlannerRlConfig(group=4, kl=0.0, clip=10.0))
    slope = jax.jit(jax.grad(value))(bias)
    ahead, behind = (jax.jit(value)(bias + s * slope / jnp.linalg.norm(slope)) for s in (0.1, -0.1))
    assert float(ahead - behind) / 0.2 == pytest.approx(float(jnp.linalg.norm(slope)), rel=0.02)


def test_advantages_are_those_of_an_oracle() -> None:
    rng = np.random.default_rng(1)
    reward = -rng.integers(0, 3, (8, 5, 2)).astype(np.float32)
    reward[4:, :, 1] = -1.0  # a group without variance
    acts = (rng.random((8, 5)) < 0.7).astype(np.float32)
    config = PlannerRlConfig(
        rewards=("unread", "invented"), weights=(1.0, 0.5), group=4, discount=0.9
    )
    expected = np.zeros((8, 5))
    for r, weight in enumerate(config.weights):
        value = np.zeros((8, 5))
        for t in range(5):
            value[:, t] = sum(0.9 ** (k - t) * reward[:, k, r] for k in range(t, 5))
        for g in (slice(0, 4), slice(4, 8)):
            centred = value[g] - value[g].mean(0)
            spread = np.sqrt((centred[acts[g] > 0] ** 2).mean())
            if spread > 1e-6:
                expected[g] += weight * np.clip(centred / (spread + 1e-4), -5, 5)
    found, flat = weigh(config, jnp.asarray(reward), jnp.asarray(acts))
    np.testing.assert_allclose(found, expected, atol=1e-4)
    assert float(flat) == 0.25


@pytest.mark.parametrize("backend", ["jit", "pmap"])
def test_two_devices_do_what_one_does(backend: str) -> None:
    tuning, state, batch = built()
    alone, _ = step()(state, batch, KEY)
    mesh = parallel.make_mesh(jax.devices()[:2])
    make = functools.partial(make_planner_rl_step, tuning)
    many = parallel.compile_step(make, mesh, backend=backend)  # type: ignore[arg-type]
    placed = parallel.replicate((jax.device_get(state), KEY), mesh)
    after, metrics = many(placed[0], parallel.place_batch(jax.device_get(batch), mesh), placed[1])
    assert float(metrics["skipped"]) == 0
    for a, b in zip(jax.tree.leaves(alone.ema), jax.tree.leaves(after.ema), strict=True):
        np.testing.assert_allclose(a, b, atol=2e-3)


def test_rewards_are_learnt(monkeypatch: pytest.MonkeyPatch) -> None:
    def not_blue(asked: Outline, read: Outline, script: Script) -> Iterator[str]:
        blue = ("blue", "any")
        yield from (f"looks/{n}/color" for n, x in enumerate(read.looks) if x.color not in blue)

    for name in CONFIG.rewards:
        monkeypatch.setitem(PLAN_REWARDS, name, lambda asked, read, script: iter(()))
    monkeypatch.setitem(PLAN_REWARDS, "unread", not_blue)
    _, state, batch = built()
    found = []
    for _ in range(12):
        state, metrics = step()(state, batch, KEY)
        found.append(float(metrics["return"]))
    assert np.mean(found[-3:]) > np.mean(found[:3]) / 2


def test_a_planner_is_tuned_compared_and_loaded(tiny_run: pathlib.Path) -> None:
    options = ["--preset", "planner", "--run", str(tiny_run), "--train.batch-size", "8"]
    options += ["--train.sample-every", "2", "--train.checkpoint-every", "2", "--rl.group", "2"]
    with pytest.MonkeyPatch.context() as patch:
        one = parallel.make_mesh(jax.devices()[:1])
        patch.setattr(reinforce_planner, "make_mesh", lambda *_: one)
        patch.setattr(reinforce_planner, "WATCHED", 4)
        patch.setattr(reinforce_planner, "BATCH", 4)
        patch.setattr(
            reinforce_planner,
            "compare",
            functools.partial(reinforce_planner.compare, prompts=8),
        )
        script.main([*options, "--train.steps", "2"])
    folder = tiny_run / "rl_planner"
    gate = json.loads((folder / "gate.json").read_text())
    assert {"exact", "strict", "valid"} <= set(gate) and gate["valid"]["after"] == 1.0
    assert set(gate["exact"]) == {"before", "after", "more", "prompts"}
    tuned = screenwriter.load(folder)
    assert tuned.write("a red circle moves right").script.entities
    out = screenwriter.export(folder, tiny_run / "tuned.safetensors")
    kept = screenwriter.load(out)._params  # at half precision
    for one, other in zip(*map(jax.tree.leaves, (tuned._params, kept)), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize(
    ("log", "kl"),
    [('{"kl": 0.5}\n{"kl": null}\n', 0.5), ('{"kl": null}\n', 0.0), ('{"kl": 1.5}\n{"kl"', 1.5)],
)
def test_the_divergence_is_that_of_the_last_finite_step(
    tmp_path: pathlib.Path, log: str, kl: float
) -> None:
    (tmp_path / "metrics.jsonl").write_text(log)
    assert reinforce_planner._last_kl(tmp_path) == kl


def test_rewards_that_are_not_known_are_refused(
    tiny_run: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stop:
        script.main(
            ["--preset", "planner", "--run", str(tiny_run), "--rl.rewards", "beauty"]
            + ["--rl.weights", "1"]
        )
    assert stop.value.code == 2 and "unread" in capsys.readouterr().err
