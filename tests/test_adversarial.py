"""Laws of the adversarial losses: their formulas, who is trained by what, and which way."""

from typing import get_args

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jaxtyping import TypeCheckError

from jaxvid.losses.adversarial import Kind, centring, critic_loss, generator_loss

KINDS = get_args(Kind)
RNG = np.random.default_rng(0)
REAL, FAKE = (jnp.asarray(RNG.normal(0, 2, (5, 3)).astype(np.float32)) for _ in range(2))


def log_sigmoid(z: np.ndarray) -> np.ndarray:
    return -np.log1p(np.exp(-z))


CRITIC = {  # of logits x of real and y of generated clips
    "relativistic": lambda x, y: -log_sigmoid(x - y),
    "nonsaturating": lambda x, y: -log_sigmoid(x) - np.log(1 - 1 / (1 + np.exp(-y))),
    "minimax": lambda x, y: -log_sigmoid(x) - np.log(1 - 1 / (1 + np.exp(-y))),
    "hinge": lambda x, y: np.maximum(0, 1 - x) + np.maximum(0, 1 + y),
}
GENERATOR = {
    "relativistic": lambda x, y: -log_sigmoid(y - x),
    "nonsaturating": lambda x, y: -log_sigmoid(y),
    "minimax": lambda x, y: np.log(1 - 1 / (1 + np.exp(-y))),
    "hinge": lambda x, y: -y,
}


@pytest.mark.parametrize("kind", KINDS)
def test_losses_equal_their_formulas(kind: Kind) -> None:
    x, y = np.asarray(REAL, np.float64), np.asarray(FAKE, np.float64)
    for loss, oracle in ((critic_loss, CRITIC), (generator_loss, GENERATOR)):
        value = loss(kind, REAL, FAKE)
        assert value.shape == (5,) and value.dtype == jnp.float32
        np.testing.assert_allclose(value, oracle[kind](x, y).mean(1), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(centring(REAL, FAKE), ((x + y) ** 2).mean(1), rtol=1e-5)


def gradients(loss: object, kind: Kind, real: jax.Array, fake: jax.Array) -> list[np.ndarray]:
    total = jax.jit(jax.grad(lambda x, y: loss(kind, x, y).sum(), argnums=(0, 1)))  # type: ignore[operator]
    return [np.asarray(g) for g in total(real, fake)]


@pytest.mark.parametrize("kind", KINDS)
def test_critics_push_apart_and_the_generator_pulls_up(kind: Kind) -> None:
    # Logits inside the hinge, so that every loss has a slope everywhere.
    up, down = gradients(critic_loss, kind, REAL / 9, FAKE / 9)
    assert np.all(up < 0) and np.all(down > 0)
    real, fake = gradients(generator_loss, kind, REAL, FAKE)
    np.testing.assert_array_equal(real, 0)  # the real clips are not the generator's to change
    assert np.all(fake < 0)


def test_a_loss_that_is_won_teaches_little_except_where_it_is_meant_to() -> None:
    lost = jnp.full((1, 1), -12.0)  # the critics are sure that the clip is generated
    slope = {kind: abs(gradients(generator_loss, kind, -lost, lost)[1].item()) for kind in KINDS}
    assert slope["minimax"] < 1e-4  # it saturates, as the paper says
    assert min(slope["nonsaturating"], slope["relativistic"], slope["hinge"]) > 0.99
    for kind in KINDS:
        assert max(abs(g.item()) for g in gradients(critic_loss, kind, -lost, lost)) < 1e-4


def test_the_relativistic_game_sees_differences_alone_and_is_antisymmetric() -> None:
    for loss in (critic_loss, generator_loss):
        moved = loss("relativistic", REAL + 3, FAKE + 3)
        np.testing.assert_allclose(moved, loss("relativistic", REAL, FAKE), rtol=1e-4)
    swapped = generator_loss("relativistic", FAKE, REAL)
    np.testing.assert_allclose(swapped, critic_loss("relativistic", REAL, FAKE), rtol=1e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_enormous_logits_stay_finite(kind: Kind) -> None:
    for size in (1e4, -1e4):
        x, y = jnp.full((2, 1), size), jnp.full((2, 1), -size)
        for loss in (critic_loss, generator_loss):
            assert np.all(np.isfinite(loss(kind, x, y)))
            assert all(np.all(np.isfinite(g)) for g in gradients(loss, kind, x, y))


@pytest.mark.parametrize("kind", KINDS)
def test_an_example_is_judged_alone(kind: Kind) -> None:
    for loss in (critic_loss, generator_loss):
        whole = loss(kind, REAL, FAKE)
        np.testing.assert_allclose(loss(kind, REAL[2:3], FAKE[2:3]), whole[2:3], rtol=1e-6)


def test_shapes_that_would_broadcast_are_refused() -> None:
    for real, fake in ((REAL[:, 0], FAKE[:, 0]), (REAL[:, :1], FAKE), (REAL[:1], FAKE)):
        for loss in (critic_loss, generator_loss):
            with pytest.raises(TypeCheckError):
                loss("relativistic", real, fake)
        with pytest.raises(TypeCheckError):
            centring(real, fake)
