"""The twins in PyTorch that benchmarks compare with: equal outputs, losses, gradients, updates."""

import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

torch = pytest.importorskip("torch")

from benchmarks.frame_synthesis import random_like  # noqa: E402
from benchmarks.torch_critics import Critics, Posterior  # noqa: E402
from benchmarks.torch_gan import GanStep, draw  # noqa: E402
from benchmarks.torch_generator import Generator  # noqa: E402
from benchmarks.torch_networks import Conv, dense, embedding, tensor, to_flax  # noqa: E402
from benchmarks.torch_optim import make_optimizer as torch_optimizer  # noqa: E402
from benchmarks.torch_transformer import Transformer as TorchTransformer  # noqa: E402
from benchmarks.transformer import Transformer, transformer_loss  # noqa: E402
from jaxvid import presets, training  # noqa: E402
from jaxvid.config import (  # noqa: E402
    ComputeConfig,
    CriticConfig,
    DataConfig,
    GanRun,
    GeneratorConfig,
    LossConfig,
    OptimConfig,
    TrainConfig,
)
from jaxvid.data.loader import Batches  # noqa: E402
from jaxvid.data.source import open_source  # noqa: E402
from jaxvid.optim import make_optimizer  # noqa: E402
from jaxvid.steps import gan, tasks  # noqa: E402
from jaxvid.steps.tasks import Purpose, example_keys  # noqa: E402
from jaxvid.typing import HostBatch  # noqa: E402

B = 4
SMALL = GanRun(
    data=DataConfig(resolution=8, frames=4, text_length=32),
    generator=GeneratorConfig(width=16, layers=1, heads=2, decoder=(8, 8), drawing=8, latent=4),
    critic=CriticConfig(frames=2, frame_widths=(8,), clip_width=8, clip_layers=1, heads=2),
    loss=LossConfig(frames=4, warmup=3),
    train=TrainConfig(steps=100, batch_size=B),
)
RUNS = {
    "tiny": dataclasses.replace(presets.tiny_gan(), data=DataConfig(frames=4)),
    "small": dataclasses.replace(presets.small_gan(), data=DataConfig(frames=2, resolution=64)),
}


def host_batch(run: GanRun, size: int) -> HostBatch:
    """Clips of which the first has no caption, and the second neither that nor a script."""
    source = open_source(run.data, split="train")
    batch = dict(Batches(source, batch_size=size, seed=0, text_length=run.data.text_length)[0])
    batch["text"] = batch["text"] * (np.arange(size) > 1)[:, None]
    batch["visible"] = batch["visible"] * (np.arange(size) != 1)[:, None, None]
    return batch


def tensors(tree: Any) -> Any:
    return jax.tree.map(tensor, tree)


def close(ours: Any, twin: Any, tolerance: float = 1e-4) -> None:
    ours = np.asarray(ours)
    assert np.abs(ours).max() > 1e-3  # else nothing would be compared
    error = np.abs(ours - twin.detach().numpy()).max() / max(1.0, np.abs(ours).max())
    assert error < tolerance


@pytest.mark.parametrize("name", RUNS)
def test_networks_have_equal_outputs(name: str) -> None:
    run, rng = RUNS[name], np.random.default_rng(0)
    size = 3 if name == "tiny" else 2
    batch, shapes = host_batch(run, size), training._shapes(run)
    params, critic_params = (random_like(t) for t in (shapes.params, shapes.critic_params))
    nets = training.make_nets(run)
    real = batch["video"].astype(np.float32) / 127.5 - 1.0
    mask = np.zeros((*real.shape[:-1], 1), np.float32)
    mask[0, 0], mask[1, [0, -1]], mask[-1, :, 2:4] = 1, 1, 1
    noise = rng.normal(size=real.shape).astype(np.float32)
    latent = rng.normal(size=(size, run.generator.latent)).astype(np.float32)
    picked = np.sort(rng.permutation(real.shape[1])[None, : run.critic.frames].repeat(size, 0))

    @jax.jit
    def ours(params: Any, critic_params: Any, given: Any, picked: Any, batch: Any) -> Any:
        noise, real, mask, latent = given
        own = {k: v for k, v in params.items() if k != "posterior"}
        video = nets.generator.apply({"params": own}, noise, real, mask, batch, latent)
        logits = nets.critics.apply({"params": critic_params}, real, picked, batch)
        assert nets.posterior is not None
        read = nets.posterior.apply({"params": params["posterior"]}, real, batch)
        return video, logits, read[0]

    given = (noise, real, mask, latent)
    video, logits, read = ours(params, critic_params, given, picked, batch)
    b, real_t = tensors(batch), tensor(real)
    with torch.no_grad():
        twin = Generator(params, run.generator)
        close(video, twin(tensor(noise), real_t, tensor(mask), b, tensor(latent)))
        for twice in (False, True):
            close(
                logits, Critics(critic_params, run.critic, twice=twice)(real_t, tensor(picked), b)
            )
        seen = Posterior(params["posterior"], run.critic)(real_t, b)
        close(read[0], seen[0])
        close(read[1], seen[1])


class Kept:
    """An optimizer that keeps the gradient that it was given; it clips it in place."""

    def __init__(self, rule: Any) -> None:
        self.rule = rule

    def update(self, grads: Any) -> None:
        self.grads = [grad.clone() for grad in grads]
        self.rule.update(grads)


def drawn(run: GanRun, batch: Any, key: jax.Array, step: jax.Array) -> dict[str, Any]:
    """The draws of jaxvid's step as its twin takes them: noise and shifts in place of keys."""
    keys = functools.partial(example_keys, key, step, batch["index"])
    batch = tasks.pick_frames(batch, key, step, run.loss.frames)
    game = training.make_game(run, training.make_nets(run))
    found = gan._draw(game, batch, key, step, True)
    shape, strength = found["real"].shape[1:], run.loss.augment

    def noise(key: jax.Array) -> jax.Array:
        moved = [jax.random.normal(jax.random.fold_in(key, i), shape) for i in (0, 1)]
        return jnp.stack(moved)

    def look(key: jax.Array) -> tuple[jax.Array, ...]:
        bright, contrast, shift = jax.random.split(key, 3)
        gain, offset = (
            jax.random.uniform(k, (), minval=-0.3, maxval=0.3) for k in (contrast, bright)
        )
        most = jnp.array(shape[1:3], jnp.float32) * (strength / 8)
        places = jnp.round(jax.random.uniform(shift, (2,), minval=-most, maxval=most)).astype(int)
        return strength * offset, 1.0 + strength * gain, places[0], places[1]

    found["penalty_noise"] = jax.vmap(noise)(keys(Purpose.PENALTY)).swapaxes(0, 1)
    found["augment"] = tuple(v[:, None] for v in jax.vmap(look)(keys(Purpose.AUGMENT)))
    found["wrong"] = {"attributes": found["wrong"]["attributes"]}
    return {k: v for k, v in found.items() if not k.endswith("keys")}


@pytest.mark.parametrize("penalty", ("finite", "exact"))
def test_a_gan_step_is_the_same(penalty: Any) -> None:
    run = SMALL
    if penalty == "exact":  # with little else, which the other one has
        loss = dataclasses.replace(run.loss, penalty="exact", mismatch=0.0, augment=0.0)
        generator = dataclasses.replace(run.generator, latent=0)
        run = dataclasses.replace(run, loss=loss, generator=generator)
    batch, nets = host_batch(run, B), training.make_nets(run)
    keep = optax.trace(0.0)  # its state is the gradient
    game = dataclasses.replace(
        training.make_game(run, nets), tx=keep,
        critic_tx=optax.chain(keep, make_optimizer(run.critic_optim, run.train.steps)),
    )  # fmt: skip
    shapes = training._shapes(run)
    state = shapes.replace(
        step=jnp.int32(0), params=random_like(shapes.params),
        critic_params=random_like(shapes.critic_params),
    )  # fmt: skip
    state = state.replace(
        ema=state.params,
        opt_state=keep.init(state.params),
        critic_opt_state=game.critic_tx.init(state.critic_params),
    )
    key, arrays = jax.random.key(5), jax.tree.map(jnp.asarray, batch)
    twin = GanStep(run, state.params, state.critic_params)
    twin.rule, twin.critic_rule = Kept(twin.rule), Kept(twin.critic_rule)
    new, metrics = jax.jit(gan.make_gan_step(game))(state, arrays, key)
    found = twin.play(tensors(jax.jit(functools.partial(drawn, run))(arrays, key, state.step)))
    for name, value in found.items():
        assert float(value) == pytest.approx(float(metrics[name]), rel=1e-3, abs=1e-6), name
    assert found.keys() == metrics.keys() - {"diversity", "motion", "flicker", "skipped"}
    for part, module, rule, ours in (
        ("critics", twin.critics, twin.critic_rule, new.critic_opt_state[0].trace),
        ("player", twin.player, twin.rule, new.opt_state.trace),
    ):
        names = [name for name, _ in module.named_parameters()]
        tree = to_flax(module, dict(zip(names, rule.grads, strict=True)))
        tree = {**tree.pop("generator"), **tree} if part == "player" else tree
        assert jax.tree.structure(tree) == jax.tree.structure(dict(ours))
        error = optax.tree.norm(jax.tree.map(jnp.subtract, tree, dict(ours)))
        assert error < 1e-3 * optax.tree.norm(ours), part


def test_in_bfloat16_a_step_is_nearly_the_same() -> None:
    batch, shapes = tensors(host_batch(SMALL, B)), training._shapes(SMALL)
    params, critic_params = (random_like(t) for t in (shapes.params, shapes.critic_params))
    torch.manual_seed(0)
    given, found, pixels = draw(SMALL, batch), {}, []
    for dtype in ("float32", "bfloat16"):
        run = dataclasses.replace(SMALL, compute=ComputeConfig(dtype=dtype))
        twin = GanStep(run, params, critic_params)
        twin.player.generator.rgb.register_forward_hook(lambda *args: pixels.append(args[2].dtype))
        found[dtype] = {name: float(value) for name, value in twin.play(given).items()}
        assert pixels.pop() == getattr(torch, dtype)
        assert {p.dtype for p in twin.player.parameters()} == {torch.float32}
    for name in ("d_critic", "d_mismatch", "g_reconstruction", "g_generator", "g_kl", "mse"):
        assert found["bfloat16"][name] == pytest.approx(found["float32"][name], rel=0.05), name
    assert np.isfinite(list(found["bfloat16"].values())).all()


class Mixed(torch.nn.Module):
    """A little of everything that optimizers treat in their own way."""

    def __init__(self, p: Any) -> None:
        super().__init__()
        self.table, self.conv = embedding(p["table"]), Conv(p["conv"])
        self.up, self.again, self.rgb = (dense(p[name]) for name in ("up", "again", "rgb"))


@pytest.mark.parametrize("kind", ("adam", "muon", "muon, stacked"))
def test_optimizers_move_alike(kind: Any) -> None:
    shapes: Any = {
        "table": {"embedding": (5, 4)}, "conv": {"kernel": (3, 3, 4, 6), "bias": (6,)},
        "up": {"kernel": (4, 12)}, "again": {"kernel": (4, 12)},
        "rgb": {"kernel": (6, 3), "bias": (3,)},
    }  # fmt: skip
    shapes = jax.tree.map(
        lambda s: jax.ShapeDtypeStruct(s, jnp.float32), shapes, is_leaf=lambda s: type(s) is tuple
    )
    kind, *stacked = kind.split(", ")
    config = OptimConfig(kind=kind, lr=1e-2, b1=0.5, warmup=2, final=0.1)
    params, tx = random_like(shapes), make_optimizer(config, 5)
    state, update = tx.init(params), jax.jit(tx.update)
    module = Mixed(params)
    rule = torch_optimizer(module, config, 5)
    if stacked:  # as on a GPU
        rule.stacks = [[0], [1, 2]]
    for seed in range(1, 5):
        grads = random_like(shapes, seed)
        changes, state = update(grads, state, params)
        params = optax.apply_updates(params, changes)
        leaves = [p for _, p in Mixed(grads).named_parameters()]
        rule.update([leaf.detach() for leaf in leaves])
    moved = to_flax(module, dict(module.named_parameters()))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=2e-5), params, moved)


def test_what_the_twin_draws_is_what_the_step_would_draw() -> None:
    torch.manual_seed(0)
    run = dataclasses.replace(SMALL, loss=dataclasses.replace(SMALL.loss, frames=3))
    batch = tensors(host_batch(run, 8))
    many = {name: value.repeat(64, *[1] * (value.ndim - 1)) for name, value in batch.items()}
    found = draw(run, many)
    assert found["real"].shape == (512, 3, 8, 8, 3) and found["picked"].shape == (512, 2)
    assert (found["picked"].diff(dim=1) > 0).all() and found["picked"].max() == 2
    share = found["mask"].mean((1, 2, 3, 4))
    nothing = run.tasks.nothing + run.tasks.scattered * 0.75**3
    assert abs(float((share == 0).float().mean()) - nothing) < 0.07
    region = found["mask"].mean((2, 3, 4))
    assert abs(float(((region > 0) & (region < 1)).all(1).float().mean()) - run.tasks.region) < 0.04
    old, new = found["batch"]["attributes"], found["wrong"]["attributes"]
    there = old[..., 0] > 0
    assert ((old != new).sum(-1) == there.long()).all()
    assert (old[..., 2] == new[..., 2]).all() and (new[there][:, :2] > 0).all()
    left_out = 1 - float(there.any(1).float().mean())
    assert abs(left_out - run.tasks.drop_script) < 0.05


def test_transformers_have_equal_losses_and_gradients() -> None:
    model = Transformer(width=16, layers=1, heads=2, vocabulary=11)
    rng = np.random.default_rng(0)
    batch = {name: rng.integers(0, 11, (2, 12)).astype(np.int32) for name in ("tokens", "targets")}
    shapes = jax.eval_shape(model.init, jax.random.key(0), batch["tokens"])["params"]
    params = random_like(shapes)
    loss, grads = jax.jit(jax.value_and_grad(functools.partial(transformer_loss, model)))(
        params, batch
    )
    twin = TorchTransformer(params, heads=2)
    found = twin(tensor(batch["tokens"]), tensor(batch["targets"]).long())
    assert found.item() == pytest.approx(float(loss), rel=1e-5)
    named = dict(twin.named_parameters())
    own = dict(zip(named, torch.autograd.grad(found, list(named.values())), strict=True))
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5), dict(grads), to_flax(twin, own)
    )
