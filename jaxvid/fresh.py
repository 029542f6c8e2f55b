"""A critic that has seen nothing of a training: how well clips are told from real ones."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from jaxvid.models.judge import JudgeNet
from jaxvid.parallel import compile_function
from jaxvid.steps.gan import to_unit
from jaxvid.typing import Params

STEPS, BATCH, CRITICS = 300, 32, 4


def told_apart(real: np.ndarray, made: np.ndarray) -> np.ndarray:
    """Whether critics, trained on the even prompts' clips, are right on the odd ones' (C,P,2S).

    ``real`` and ``made`` uint8 (P,S,T,H,W,3), two prompts or more. C critics, whose first weights
    differ: at chance one is 3 points off another.
    """
    return np.array([_one(real, made, seed) for seed in range(CRITICS)])


def _one(real: np.ndarray, made: np.ndarray, seed: int) -> np.ndarray:
    """Of one critic (P,2S)."""
    seen = np.concatenate([x[::2].reshape(-1, *x.shape[2:]) for x in (real, made)])
    truth = np.repeat([1, 0], len(seen) // 2)
    asked = np.concatenate([real[1::2], made[1::2]], axis=1)
    answer = np.repeat([1, 0], real.shape[1])
    params, look = _train_critic(seen, truth, seed)
    flat = asked.reshape(-1, *asked.shape[2:])
    taken = np.concatenate(
        [
            np.asarray(look(params, flat[np.minimum(np.arange(at, at + BATCH), len(flat) - 1)]))
            for at in range(0, len(flat), BATCH)
        ]
    )[: len(flat)]
    return (taken.reshape(asked.shape[:2]) == answer).astype(np.float64)


def _train_critic(videos: np.ndarray, truth: np.ndarray, seed: int) -> tuple[Params, Any]:
    """A judge of one label, real or not, without the noise that other judges are trained to
    overlook; and what asks it."""
    init, tx, advance, look = _critic(STEPS)
    params = init(jax.random.key(seed), jnp.zeros((1, *videos.shape[1:])))["params"]
    opt_state = tx.init(params)
    rng = np.random.default_rng(seed)
    for _ in range(STEPS):
        rows = rng.integers(0, len(videos), BATCH)
        params, opt_state = advance(params, opt_state, videos[rows], truth[rows])
    return params, look


@functools.cache
def _critic(steps: int) -> tuple[Any, optax.GradientTransformation, Any, Any]:
    """What draws a critic's weights, its optimizer, a step of its training, and what asks it."""
    net, tx = JudgeNet((2,)), optax.adam(optax.cosine_decay_schedule(2e-3, steps))

    def logits(params: Params, video: jax.Array) -> jax.Array:
        return net.apply({"params": params}, to_unit(video))[0][0]

    def step(params: Params, opt_state: Any, video: jax.Array, truth: jax.Array) -> Any:
        def loss(params: Params) -> jax.Array:
            z = logits(params, video)
            return optax.softmax_cross_entropy_with_integer_labels(z, truth).mean()

        updates, opt_state = tx.update(jax.grad(loss)(params), opt_state, params)
        return optax.apply_updates(params, updates), opt_state

    look = compile_function(lambda params, video: logits(params, video).argmax(-1))
    return compile_function(net.init, once=True), tx, compile_function(step), look
