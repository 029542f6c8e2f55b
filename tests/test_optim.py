"""Laws of the optimizer: the schedule's shape, Adam against its formula, Muon against optax's."""

import types
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from optax.contrib import MuonDimensionNumbers, muon

from jaxvid.config import OptimConfig
from jaxvid.optim import ADAM_SHARE, RMS, make_optimizer, schedule


@pytest.mark.parametrize("steps, warmup", [(100, 10), (100, 0), (7, 50), (2, 1), (1, 50)])
def test_the_rate_rises_to_lr_and_falls_to_its_final_share(steps: int, warmup: int) -> None:
    rate = schedule(OptimConfig(lr=0.3, warmup=warmup, final=0.1), steps)
    values = np.array([rate(i) for i in range(steps + 3)])
    peak = min(warmup, max(1, steps // 2))
    assert np.all(values > 0)  # the first step is not lost
    np.testing.assert_allclose(values[peak], 0.3, rtol=1e-5)
    assert np.all(np.diff(values[: peak + 1]) > 0)
    assert np.all(np.diff(values[peak : steps + 1]) < 0)
    np.testing.assert_allclose(values[max(steps, peak + 1) :], 0.03, rtol=1e-5)


def test_the_fall_is_a_cosine() -> None:
    rate = schedule(OptimConfig(lr=1.0, warmup=20, final=0.2), 120)
    np.testing.assert_allclose(rate(70), 0.6, rtol=1e-5)  # halfway between 1 and 0.2
    np.testing.assert_allclose(rate(45), 0.2 + 0.8 * (1 + np.cos(np.pi / 4)) / 2, rtol=1e-5)


@pytest.mark.parametrize("b1", [0.0, 0.5])
def test_steps_equal_adam_behind_a_clip(b1: float) -> None:
    config = OptimConfig(lr=0.05, b1=b1, b2=0.9, warmup=3, final=0.1, clip=2.0)
    tx, rate = make_optimizer(config, 12), schedule(config, 12)
    rng = np.random.default_rng(0)
    w = {"a": rng.normal(size=3), "b": rng.normal(size=(2, 2))}
    m = v = {k: np.zeros_like(x) for k, x in w.items()}
    params = jax.tree.map(lambda x: jnp.asarray(x, jnp.float32), w)
    state, update = tx.init(params), jax.jit(tx.update)
    for step in range(12):
        g = {k: rng.normal(size=x.shape) * (0.2, 5.0)[step % 2] for k, x in w.items()}
        moved, state = update(jax.tree.map(lambda x: jnp.asarray(x, jnp.float32), g), state)
        params = optax.apply_updates(params, moved)
        norm = np.sqrt(sum((x * x).sum() for x in g.values()))
        g = {k: x * min(1, 2.0 / norm) for k, x in g.items()}
        m = {k: b1 * m[k] + (1 - b1) * g[k] for k in w}
        v = {k: 0.9 * v[k] + 0.1 * g[k] ** 2 for k in w}
        for k in w:
            mean, square = m[k] / (1 - b1 ** (step + 1)), v[k] / (1 - 0.9 ** (step + 1))
            w[k] = w[k] - float(rate(step)) * mean / (np.sqrt(square) + 1e-8)
    for k in w:
        np.testing.assert_allclose(params[k], w[k], rtol=1e-4, atol=1e-5)


def test_one_compilation_serves_all_steps() -> None:
    tx = make_optimizer(OptimConfig(), 100)
    params = {"w": jnp.ones(3)}
    state, update = tx.init(params), jax.jit(tx.update)
    for _ in range(3):
        _, state = update({"w": jnp.ones(3)}, state)
    assert update._cache_size() == 1


def test_muon_turns_hidden_matrices_and_leaves_the_rest_to_adam() -> None:
    config = OptimConfig(kind="muon", lr=0.1, b1=0.0, b2=0.9, warmup=1, final=1.0, clip=1e9)
    tx = make_optimizer(config, 10)
    rng = np.random.default_rng(0)
    params = {
        "hidden": {"kernel": rng.normal(size=(6, 8)), "bias": rng.normal(size=8)},
        "conv": {"kernel": rng.normal(size=(3, 3, 2, 5))},
        "logits": {"kernel": rng.normal(size=(8, 4))},
        "embed": {"embedding": rng.normal(size=(7, 8))},
    }
    params = jax.tree.map(lambda x: jnp.asarray(x, jnp.float32), params)
    grads = jax.tree.map(lambda x: jnp.asarray(rng.normal(size=x.shape), jnp.float32), params)
    steps, _ = jax.jit(tx.update)(grads, tx.init(params), params)
    rate = schedule(config, 10)(0)
    for name, shape in (("hidden", (6, 8)), ("conv", (18, 5))):
        matrix = np.asarray(steps[name]["kernel"]).reshape(shape)
        singular = np.linalg.svd(matrix, compute_uv=False)
        # five Newton-Schulz steps bring all singular values between 0.65 and 1.25 of each other
        assert singular.min() > 0.5 * singular.max()
        size = np.sqrt((matrix**2).mean())
        np.testing.assert_allclose(size, 0.2 * rate, rtol=0.3)
    for name, leaf in (("hidden", "bias"), ("logits", "kernel"), ("embed", "embedding")):
        size = np.abs(steps[name][leaf])  # Adam's first step without momentum: the rate itself
        np.testing.assert_allclose(size, 0.2 * rate, rtol=1e-2)


def by_path(tree: Any) -> dict[str, jax.Array]:
    leaves = jax.tree_util.tree_leaves_with_path(tree)
    return {jax.tree_util.keystr(path): leaf for path, leaf in leaves}


@pytest.mark.parametrize(
    ("platform", "capability", "rounds"),
    (("gpu", "9.0", True), ("gpu", "7.5", False), ("gpu", "gfx942", False), ("cpu", None, False)),
)
def test_muon_rounds_factors_where_a_gpu_multiplies_bfloat16(
    platform: str, capability: str | None, rounds: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    device = types.SimpleNamespace(**({"compute_capability": capability} if capability else {}))
    monkeypatch.setattr(jax, "default_backend", lambda: platform)
    monkeypatch.setattr(jax, "devices", lambda: [device])
    tx = make_optimizer(OptimConfig(kind="muon", lr=1e-2), 10)
    params = {"kernel": jnp.ones((8, 16)), "bias": jnp.ones(16)}
    text = jax.jit(tx.update).lower(params, tx.init(params), params).as_text()
    assert text.count("dot_general") == 3  # of a step of Newton and Schulz, which is a loop
    assert text.count("lhs_precision_type = bf16") == rounds * text.count("dot_general")


@pytest.mark.parametrize("platform, stacks", (("cpu", 4), ("gpu", 3)))
def test_muon_in_stacks_is_muon_matrix_by_matrix(
    platform: str, stacks: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jax, "default_backend", lambda: platform)
    config = OptimConfig(kind="muon", lr=1e-2)
    rng = np.random.default_rng(0)
    shapes = {
        "alike": [(8, 16), (8, 16), (2, 2, 2, 16)],  # of eight rows and sixteen columns each
        "turned": [(16, 8)],
        "large": [(300, 300), (300, 300)],  # beyond ``optim.SMALL``: by themselves on a CPU
        "logits": [(8, 4)],
    }
    params = {
        name: {f"{at}": {"kernel": rng.normal(size=shape)} for at, shape in enumerate(group)}
        for name, group in shapes.items()
    } | {"bias": rng.normal(size=8)}
    params = jax.tree.map(lambda x: jnp.asarray(x, jnp.float32), params)

    def axes(params: Any) -> Any:
        numbers = jax.tree.map(
            lambda x: MuonDimensionNumbers(tuple(range(x.ndim - 1)), (x.ndim - 1,)), params
        )
        return numbers | {"logits": {"0": {"kernel": None}}, "bias": None}

    peer = optax.chain(
        optax.clip_by_global_norm(config.clip),
        muon(
            schedule(config, 10),
            adam_learning_rate=schedule(config, 10, share=ADAM_SHARE),
            adam_b1=config.b1,
            adam_b2=config.b2,
            muon_weight_dimension_numbers=axes,
            consistent_rms=RMS,
        ),
    )
    ours = make_optimizer(config, 10)
    states = {rule: rule.init(params) for rule in (ours, peer)}
    for _ in range(3):
        grads = jax.tree.map(lambda x: jnp.asarray(rng.normal(size=x.shape), jnp.float32), params)
        steps = {}
        for rule in states:
            steps[rule], states[rule] = jax.jit(rule.update)(grads, states[rule], params)
        for mine, other in ((steps[ours], steps[peer]), (states[ours], states[peer])):
            have, want = by_path(mine), by_path(other)
            assert have.keys() == want.keys()  # so that old checkpoints stay readable
            for path in want:
                np.testing.assert_allclose(have[path], want[path], rtol=1e-4, atol=1e-8)
    text = jax.jit(ours.update).lower(grads, states[ours], params).compile().as_text()
    assert text.count(" dot(") == 15 * stacks  # five times three products for each
