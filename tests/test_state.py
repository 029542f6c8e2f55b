"""Laws of the state: arrays and nothing else, no buffer twice, and the moving average."""

import jax
import jax.numpy as jnp
import numpy as np

from jaxvid.config import OptimConfig
from jaxvid.optim import make_optimizer
from jaxvid.state import GanState, PlannerState, copy, ema_update, init_gan, init_planner

PARAMS = {"w": jnp.arange(6.0).reshape(2, 3), "b": jnp.ones(3, jnp.bfloat16)}
TX = make_optimizer(OptimConfig(), 10)


def states() -> list[GanState | PlannerState]:
    return [init_planner(PARAMS, TX), init_gan(PARAMS, {"d": jnp.ones(4)}, TX, TX)]


def test_a_state_holds_typed_arrays_and_no_buffer_twice() -> None:
    for state in states():
        leaves = jax.tree.leaves(state)
        assert all(isinstance(leaf, jax.Array) and not leaf.weak_type for leaf in leaves)
        assert len({leaf.unsafe_buffer_pointer() for leaf in leaves}) == len(leaves)
        assert state.step.dtype == jnp.int32 and state.step == 0


def test_a_donated_state_can_be_stepped() -> None:
    step = jax.jit(lambda s: s.replace(step=s.step + 1), donate_argnums=0)
    for state in states():
        state = jax.tree.map(jnp.array, state)  # the parameters are shared by the tests
        assert step(step(state)).step == 2
        assert step._cache_size() <= 2


def test_the_average_starts_at_the_parameters() -> None:
    for state in states():
        for a, b in zip(jax.tree.leaves(state.ema), jax.tree.leaves(state.params), strict=True):
            np.testing.assert_array_equal(a, b)
            assert a is not b
    for a, b in zip(jax.tree.leaves(copy(PARAMS)), jax.tree.leaves(PARAMS), strict=True):
        np.testing.assert_array_equal(a, b)


def test_the_average_equals_its_formula() -> None:
    rng = np.random.default_rng(0)
    ema, expected = {"w": jnp.zeros(5)}, np.zeros(5)
    for step in range(40):
        w = rng.normal(size=5)
        decay = min(0.8, (1 + step) / (10 + step))
        expected = decay * expected + (1 - decay) * w
        moved = {"w": jnp.asarray(w, jnp.float32)}
        ema = ema_update(ema, moved, decay=0.8, step=jnp.int32(step))
    np.testing.assert_allclose(ema["w"], expected, rtol=1e-4, atol=1e-6)


def test_an_average_of_a_constant_is_that_constant_and_decay_zero_follows_at_once() -> None:
    for step in (0, 5, 10_000):
        same = ema_update(PARAMS, PARAMS, decay=0.995, step=jnp.int32(step))
        np.testing.assert_array_equal(same["w"], PARAMS["w"])
        assert same["b"].dtype == jnp.bfloat16
        zero = ema_update({"w": jnp.zeros(3)}, {"w": jnp.ones(3)}, decay=0.0, step=jnp.int32(step))
        np.testing.assert_array_equal(zero["w"], 1)
