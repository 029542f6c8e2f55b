"""Laws of checkpoints: what is saved comes back bit for bit; the latest and the best are kept."""

import gc
import pathlib
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import struct
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from jaxvid.config import OptimConfig
from jaxvid.io.checkpoint import Checkpoints, tree_digest
from jaxvid.optim import make_optimizer
from jaxvid.state import PlannerState, init_planner
from jaxvid.typing import UserError

# A restore that fails leaves coroutines behind, which complain when they are collected.
ORBAX_LEFTOVERS = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
NOTE = {"data": {"position": 12, "seed": 3}, "versions": "jax 0", "done": False}


def mixed() -> PlannerState:
    """A state with odd shapes and types."""
    rng = np.random.default_rng(0)
    params = {
        "float32": jnp.asarray(rng.normal(size=(3, 1, 5)).astype(np.float32)),
        "bfloat16": jnp.asarray(rng.normal(size=7), jnp.bfloat16),
        "scalar": jnp.float32(np.pi),
        "special": jnp.asarray([jnp.inf, -0.0, 1e-40, 3.0], jnp.float32),
    }
    state = init_planner(params, make_optimizer(OptimConfig(), 10))
    return state.replace(step=jnp.int32(7), ema={"count": jnp.arange(4), "flag": jnp.array(True)})


def blank(state: Any) -> Any:
    return jax.tree.map(jnp.zeros_like, state)


def steps(folder: pathlib.Path) -> list[int]:
    return sorted(int(path.name) for path in folder.iterdir() if path.name.isdigit())


def small(value: float = 0.0) -> PlannerState:
    w = {"w": jnp.full(3, value, jnp.float32)}
    return PlannerState(jnp.int32(0), w, w, ())


def test_a_state_comes_back_bit_for_bit(tmp_path: pathlib.Path) -> None:
    state = mixed()
    with Checkpoints(tmp_path) as checkpoints:
        checkpoints.save(7, state, NOTE)
    with Checkpoints(tmp_path) as checkpoints:
        assert checkpoints.latest == 7
        restored, note = checkpoints.restore(blank(state))
    assert note == NOTE
    assert jax.tree.structure(restored) == jax.tree.structure(state)
    for a, b in zip(jax.tree.leaves(restored), jax.tree.leaves(state), strict=True):
        assert (a.dtype, a.shape, a.weak_type) == (b.dtype, b.shape, False)
        assert np.asarray(a).tobytes() == np.asarray(b).tobytes()
    assert tree_digest(restored) == tree_digest(state) != tree_digest(blank(state))


def test_a_state_comes_back_to_the_devices_of_its_template(tmp_path: pathlib.Path) -> None:
    mesh = jax.make_mesh((8,), ("data",), axis_types=(AxisType.Auto,))
    everywhere = NamedSharding(mesh, PartitionSpec())
    state = small(3.0)
    with Checkpoints(tmp_path) as checkpoints:
        checkpoints.save(1, jax.device_put(state, everywhere), NOTE)
        one, _ = checkpoints.restore(state)
        eight, _ = checkpoints.restore(jax.device_put(blank(state), everywhere))
    assert len(one.params["w"].devices()) == 1 and len(eight.params["w"].devices()) == 8
    assert tree_digest(one) == tree_digest(eight) == tree_digest(state)


def test_the_latest_and_the_best_are_kept(tmp_path: pathlib.Path) -> None:
    scores = {1: 5.0, 2: 1.0, 3: 4.0, 4: 3.0, 5: None, 6: 2.0}
    with Checkpoints(tmp_path, keep=2) as checkpoints:
        for step, score in scores.items():
            checkpoints.save(step, small(step), NOTE, score=score)
    assert steps(tmp_path) == [2, 5, 6]
    with Checkpoints(tmp_path, keep=2) as checkpoints:
        restored, _ = checkpoints.restore(small(), step=2)
        assert restored.params["w"][0] == 2
        checkpoints.save(7, small(7), NOTE, score=0.5)  # the best of all, over a restart
        checkpoints.save(8, small(8), NOTE, score=9.0)
        checkpoints.save(9, small(9), NOTE, score=9.0)
    assert steps(tmp_path) == [7, 8, 9]


@pytest.mark.parametrize("scored", [True, False])
def test_without_scores_the_latest_are_kept(tmp_path: pathlib.Path, scored: bool) -> None:
    with Checkpoints(tmp_path, keep=1, scored=scored) as checkpoints:
        for step in (1, 2, 3):
            checkpoints.save(step, small(step), NOTE)
        checkpoints.save(3, small(99), NOTE)  # is there already
        restored, _ = checkpoints.restore(small())
    assert steps(tmp_path) == [3] and restored.params["w"][0] == 3


class Other(struct.PyTreeNode):
    step: jax.Array
    weights: Any


@ORBAX_LEFTOVERS
def test_what_does_not_fit_is_refused_in_one_line(tmp_path: pathlib.Path) -> None:
    with Checkpoints(tmp_path / "run") as checkpoints:
        with pytest.raises(UserError, match="train first"):
            checkpoints.restore(small())
        checkpoints.save(3, small(), NOTE)
        wider = small().replace(params={"w": jnp.zeros(4)})
        more = small().replace(params={"w": jnp.zeros(3), "b": jnp.zeros(1)})
        fewer = small().replace(params={})
        for like in (wider, more, fewer, Other(jnp.int32(0), jnp.zeros(3))):
            with pytest.raises(UserError) as caught:
                checkpoints.restore(like)
            assert "configuration" in str(caught.value) and "\n" not in str(caught.value)
        with pytest.raises(UserError, match="no checkpoint 9 in .*has 3"):
            checkpoints.restore(small(), step=9)
    gc.collect()


def test_digests_tell_values_shapes_types_and_names_apart() -> None:
    trees = [
        {"a": np.zeros(4, np.float32)},
        {"b": np.zeros(4, np.float32)},
        {"a": np.zeros((2, 2), np.float32)},
        {"a": np.zeros(4, np.int32)},
        {"a": -np.zeros(4, np.float32)},
    ]
    assert len({tree_digest(tree) for tree in trees}) == len(trees)
    assert tree_digest(trees[0]) == tree_digest({"a": jnp.zeros(4)})
