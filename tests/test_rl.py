"""One step of reinforcement learning on a generator of a few thousand weights."""

import dataclasses
import functools
from types import SimpleNamespace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import TINY_GAN

from jaxvid import parallel, reinforce, training
from jaxvid.config import GanRun, OptimConfig, RlConfig, RlRun, TrainConfig
from jaxvid.data.loader import Batches
from jaxvid.data.scenes import Scenes
from jaxvid.io.checkpoint import tree_digest
from jaxvid.rl.rewards import REWARDS, Reward
from jaxvid.state import RlState
from jaxvid.steps import rl
from jaxvid.steps.rl import Tuning, make_rl_step
from jaxvid.steps.sample import make_sampler

BASE = dataclasses.replace(
    TINY_GAN, data=dataclasses.replace(TINY_GAN.data, frames=4), train=TrainConfig(batch_size=8)
)
SOURCE = Scenes("train", frames=4)
HOST = Batches(SOURCE, batch_size=8, seed=0, text_length=128)[0]
BATCH = jax.tree.map(jnp.asarray, HOST)
KEY = jax.random.key(3)
RUN = RlRun(
    rl=RlConfig(
        rewards=("acceleration", "motion"),
        weights=(1.0, 1.0),
        group=2,
        actions=3,
        width=8,
        first=0.5,
        response=0.2,
    ),  # fmt: skip
    optim=OptimConfig(lr=1e-2, warmup=0),
    train=TrainConfig(steps=4, batch_size=8),
)


@functools.cache
def trained(run: GanRun = BASE) -> reinforce.Trained:
    _, state = training.build_gan(run, HOST)
    # The last layers begin at zero, where nothing moves: some weights of no meaning instead.
    leaves, tree = jax.tree.flatten(state.params)
    keys = jax.random.split(jax.random.key(7), len(leaves))
    leaves = [x + 0.1 * jax.random.normal(k, x.shape) for x, k in zip(leaves, keys, strict=True)]
    return reinforce.Trained(jax.tree.unflatten(tree, leaves), state.critic_params)


@functools.cache
def base() -> tuple[Tuning, RlState]:
    tuning, state, _ = reinforce.build(BASE, RUN, trained(), SOURCE)
    return tuning, state


@functools.cache
def built(**changes: Any) -> tuple[Tuning, RlState]:
    """Another configuration of the same networks; other rewards begin at 0, in units of 0.2."""
    tuning, state = base()
    config = dataclasses.replace(tuning.config, **changes)
    if "rewards" in changes:
        state = state.replace(scales=jnp.array([[0.0, 0.2]] * len(config.rewards)))
    return dataclasses.replace(tuning, config=config), state


@functools.cache
def drawn(**changes: Any) -> dict[str, Any]:
    draw = jax.jit(functools.partial(rl._draw, built(**changes)[0]))
    return draw(BATCH, KEY, jnp.int32(0))  # type: ignore[no-any-return]


@functools.cache
def compiled(**changes: Any) -> Any:
    return jax.jit(make_rl_step(built(**changes)[0]))


def update(first: Any) -> rl.Update:
    """The first one of a step, on one device."""
    return rl.Update(first, None, lambda tree: tree)


def stepped(times: int = 1, **changes: Any) -> tuple[RlState, RlState, dict[str, float]]:
    before = built(**changes)[1]
    after, metrics = before, {}
    for _ in range(times):
        after, metrics = compiled(**changes)(after, BATCH, KEY)
    return before, after, {name: float(value) for name, value in metrics.items()}


def test_the_ratio_is_one_before_the_first_update_and_the_divergence_none() -> None:
    _, _, metrics = stepped()
    assert metrics["ratio"] == 1.0 and metrics["kl"] == 0.0 and metrics["spread"] == 1.0


@pytest.mark.parametrize("algorithm", ["policy", "path"])
def test_only_the_policy_learns(algorithm: str) -> None:
    before, after, metrics = stepped(2, algorithm=algorithm)
    assert metrics["skipped"] == 0 and metrics["kl"] > 0 and metrics["gradient"] > 0
    assert tree_digest(after.params) != tree_digest(before.params)
    for name in ("reference", "critic_params", "scales"):
        assert tree_digest(getattr(after, name)) == tree_digest(getattr(before, name)), name
    assert {f"r_{name}" for name in RUN.rl.rewards} <= set(metrics)


def test_what_real_clips_do_not_notice_teaches_little() -> None:
    """Else a policy that has narrowed follows its noise as fast as it had followed the reward."""
    _, state = built()
    usual = compiled()(state, BATCH, KEY)[1]["gradient"]
    coarse = state.replace(scales=jnp.array([[0.0, 100.0]] * len(RUN.rl.rewards)))
    assert 0 < compiled()(coarse, BATCH, KEY)[1]["gradient"] < 0.05 * usual


@functools.cache
def moving() -> tuple[Tuning, RlState]:
    """A generator with two motion numbers of its own, and three that are explored beside them."""
    run = dataclasses.replace(BASE, generator=dataclasses.replace(BASE.generator, motion=2))
    tuning, state, tuned = reinforce.build(run, RUN, trained(run), SOURCE)
    assert (tuned.generator.motion, tuned.generator.actions, tuning.policy.actions) == (2, 3, 5)
    bias = {"mean": jnp.full(5, 0.5), "log_std": jnp.full(5, 0.3)}
    params = {**state.params, **{n: {**state.params[n], "bias": b} for n, b in bias.items()}}
    return tuning, state.replace(params=params)


@pytest.mark.parametrize("algorithm", ["policy", "path"])
def test_own_motion_is_drawn_and_what_is_explored_only_for_samples(
    algorithm: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    tuning, state = moving()
    draw = jax.jit(functools.partial(rl._draw, tuning))(BATCH, KEY, jnp.int32(0))
    still = np.asarray(draw["still"])
    assert (still[..., :2] != 0).all() and (still[..., 2:] == 0).all()
    monkeypatch.setattr(rl, "play", lambda tuning, state, draw, action: action)
    nothing = {name: jnp.zeros_like(draw["free"]) for name in tuning.terms}
    monkeypatch.setattr(rl, "reward", lambda *_: nothing)
    learn = {"policy": rl._policy_grads, "path": rl._path_grads}[algorithm]
    acted = jax.jit(lambda: learn(tuning, state, draw, update(state.params))[2][0])()
    spread = np.exp([0.3] * 2 + [0.0] * 3) * [1, 1, *3 * [algorithm == "policy"]]
    np.testing.assert_allclose(acted, 0.5 + spread * draw["epsilon"], rtol=1e-5, atol=1e-6)


def test_the_sampler_draws_own_motion_and_takes_the_mean_of_the_rest() -> None:
    tuning, state = moving()
    network = tuning.game.generator
    quiet = dataclasses.replace(network.config, actions=0)
    alone = jax.jit(make_sampler(network.clone(config=quiet)))
    tuned = jax.jit(make_sampler(network, tuning.policy))
    zero = jax.tree.map(jnp.zeros_like, state.params)
    plain = alone(state.reference, BATCH, KEY)
    explored = {**zero, "mean": {**zero["mean"], "bias": jnp.float32([0, 0, 1, 0, 0])}}
    wide = {**zero, "log_std": {**zero["log_std"], "bias": jnp.float32([0, 0, 1, 1, 1])}}
    own = {**zero, "log_std": {**zero["log_std"], "bias": jnp.float32([1, 1, 0, 0, 0])}}
    for policy, same in ((zero, True), (wide, True), (explored, False), (own, False)):
        video = tuned(state.reference | {"policy": policy}, BATCH, KEY)
        assert (np.abs(video - plain).max() < 1e-5) == same


def test_the_sampler_takes_no_action_in_a_known_frame() -> None:
    """As in training: what a policy says there was learnt from nothing."""
    network: Any = SimpleNamespace(
        config=SimpleNamespace(latent=0, motion=1),
        apply=lambda _, noise, known, mask, batch, latent, motion: jnp.broadcast_to(
            motion.sum(-1)[..., None, None, None], known.shape
        ),
    )
    ones = jnp.ones((8, 4, 2))  # one number of the generator's own, one to explore
    policy = SimpleNamespace(apply=lambda *_: (ones, 0 * ones))
    mask = jnp.zeros((*BATCH["video"].shape[:-1], 1)).at[:, 0].set(1.0).at[:, 2, 0].set(1.0)
    batch = {**BATCH, "mask": mask}
    change = make_sampler(network, policy)({"policy": {}}, batch, KEY)
    change -= make_sampler(network)({}, batch, KEY)
    np.testing.assert_allclose(change[:, :, 0, 0, 0], [[0, 2, 2, 2]] * 8, atol=1e-6)


def test_a_group_that_does_the_same_changes_nothing() -> None:
    # No action changes a clip: all clips of a group are one, and the divergence is at its least.
    state = built()[1]
    still = {**state.reference, "explore": jax.tree.map(jnp.zeros_like, state.reference["explore"])}
    state = state.replace(reference=still)
    after, metrics = compiled()(state, BATCH, KEY)
    assert float(metrics["flat_groups"]) == 1.0
    assert tree_digest(after.params) == tree_digest(state.params)


def test_the_gradient_through_the_generator_is_that_of_finite_differences() -> None:
    tuning, state = built(algorithm="path")
    draw = drawn(algorithm="path")

    def grads(params: Any) -> Any:
        return rl._path_grads(tuning, state.replace(params=params), draw, update(params))

    run = jax.jit(grads)
    slope, _, _ = run(state.params)
    bias = slope["mean"]["bias"]

    def gain(step: float) -> float:
        moved = {**state.params["mean"], "bias": state.params["mean"]["bias"] + step * bias}
        _, metrics, (_, terms) = run({**state.params, "mean": moved})
        total = sum(weight * terms[name] for name, weight in tuning.terms.items())
        window = draw["window"]
        mean = float((window * total).sum() / window.sum())
        return tuning.config.kl * float(metrics["kl"]) - mean

    size = 1e-2 / float(jnp.linalg.norm(bias))
    rough = (gain(size) - gain(-size)) / (2 * size)
    assert rough == pytest.approx(float((bias**2).sum()), rel=0.1)


def test_a_window_takes_the_gradient_of_its_frames_alone() -> None:
    tuning, state = built(algorithm="path", window=2, first=0.0)
    draw = drawn(algorithm="path", window=2, first=0.0)
    assert np.asarray(draw["window"]).sum(1).tolist() == [2.0] * 16
    wide, _ = built(algorithm="path", first=0.0)

    def slope(of: Tuning, params: Any) -> Any:
        grads, *_ = rl._path_grads(of, state, draw, update(params))
        return grads["mean"]["bias"]

    short = jax.jit(functools.partial(slope, tuning))(state.params)
    draw = {**draw, "window": jnp.ones_like(draw["window"])}
    long = jax.jit(functools.partial(slope, wide))(state.params)
    assert 0 < float(jnp.abs(short - long).max()) and float(jnp.abs(short).max()) > 0


def test_a_known_first_frame_has_no_action_and_stays() -> None:
    tuning, state = built(first=1.0)
    draw = drawn(first=1.0)
    play = jax.jit(functools.partial(rl.play, tuning))
    assert not np.asarray(draw["free"])[:, 0].any() and np.asarray(draw["free"])[:, 1:].all()
    one = play(state, draw, draw["epsilon"])
    two = play(state, draw, -draw["epsilon"])
    np.testing.assert_array_equal(one[:, 0], draw["real"][:, 0])
    np.testing.assert_array_equal(two[:, 0], draw["real"][:, 0])
    assert np.abs(np.asarray(one - two))[:, 1:].max() > 0


def test_clips_of_a_group_share_all_but_their_actions() -> None:
    draw = drawn()
    for name in ("noise", "latent", "mask", "real", "still"):
        first, second = draw[name][::2], draw[name][1::2]
        np.testing.assert_array_equal(first, second, err_msg=name)
    assert (np.asarray(draw["epsilon"][::2]) != np.asarray(draw["epsilon"][1::2])).all()


def test_several_updates_leave_the_ratio() -> None:
    _, once, first = stepped()
    _, often, last = stepped(updates=3)
    assert tree_digest(once.params) != tree_digest(often.params)
    assert first["ratio"] == 1.0 < last["ratio"] and first["kl"] == last["kl"]


def test_critics_go_on_learning_where_asked() -> None:
    rewards: dict[str, Any] = {"rewards": ("critic", "agreement"), "weights": (1.0, 1.0)}
    before, after, metrics = stepped(critics_learn=True, **rewards)
    assert tree_digest(after.critic_params) != tree_digest(before.critic_params)
    assert np.isfinite(metrics["d_critic"]) and metrics["r_critic"] <= 0


def test_numbers_that_are_not_finite_leave_the_state() -> None:
    state = built()[1]
    bad = state.replace(scales=state.scales.at[0].set(jnp.nan))
    after, metrics = compiled()(bad, BATCH, KEY)
    assert float(metrics["skipped"]) == 1.0 and tree_digest(after) == tree_digest(bad)


@pytest.mark.parametrize(
    ("backend", "changes"),
    [
        ("jit", {}),
        ("pmap", {}),
        # frames that act and count are not as many on each device
        ("pmap", {"algorithm": "path", "kl": 30.0, "updates": 2}),
        ("pmap", {"kl": 30.0, "updates": 2}),
    ],
)
def test_eight_devices_do_what_one_does(backend: str, changes: dict[str, Any]) -> None:
    tuning, state = built(**changes)
    _, alone, _ = stepped(**changes)
    mesh = parallel.make_mesh()
    make = functools.partial(make_rl_step, tuning)
    step = parallel.compile_step(make, mesh, backend=backend)  # type: ignore[arg-type]
    placed = parallel.replicate((jax.device_get(state), KEY), mesh)
    after, metrics = step(placed[0], parallel.place_batch(HOST, mesh), placed[1])
    assert float(metrics["skipped"]) == 0
    for one, many in zip(jax.tree.leaves(alone.params), jax.tree.leaves(after.params), strict=True):
        np.testing.assert_allclose(one, many, atol=1e-4 if changes else 2e-5)


@pytest.mark.parametrize("algorithm", ["policy", "path"])
def test_rewards_are_learnt(algorithm: str, monkeypatch: pytest.MonkeyPatch) -> None:
    # A new reward is one entry: here for a brighter picture.
    dark = Reward(lambda video, _: jax.nn.sigmoid(-video.mean((2, 3, 4))), saturates=False)
    monkeypatch.setitem(REWARDS, "bright", dataclasses.replace(dark, least=0.2))
    tuning, state = built(
        rewards=("bright",), weights=(1.0,), kl=0.0, group=4, algorithm=algorithm, first=0.0
    )
    step, found = jax.jit(make_rl_step(tuning)), list[float]()
    for _ in range(40):
        state, metrics = step(state, BATCH, KEY)
        found.append(float(metrics["r_bright"]))
    assert np.mean(found[-3:]) > np.mean(found[:3]) + 3 * np.std(found[:3]) + 0.02
