"""Laws of the critics: shapes, who sees what, and that penalties can be trained through."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxvid.config import CriticConfig
from jaxvid.losses.penalties import exact
from jaxvid.models.discriminator import Critics

B, T, R, L, N = 2, 5, 16, 16, 3
CONFIG = CriticConfig(
    frames=N, frame_widths=(8, 12), clip_width=8, clip_layers=1, heads=2, text_width=8
)
RNG = np.random.default_rng(0)
VIDEO = RNG.uniform(-1, 1, (B, T, R, R, 3)).astype(np.float32)
PICKED = np.array([[0, 2, 3], [1, 2, 4]], np.int32)
BATCH = {
    "times": np.arange(T, dtype=np.float32)[None].repeat(B, 0) / 8,
    "text": RNG.integers(1, 257, (B, L)).astype(np.int32),
    "boxes": RNG.uniform(0.3, 0.6, (B, T, 2, 4)).astype(np.float32),
    "visible": np.ones((B, T, 2), np.float32),
    "attributes": RNG.integers(1, 4, (B, 2, 3)).astype(np.int32),
    "background": np.array([1, 5], np.int32),
    "label": np.array([2, 5], np.int32),
}


@pytest.fixture(scope="module")
def params() -> Any:
    """Random everywhere, unlike the initialisation, where some branches are zero."""
    init = Critics(CONFIG, classes=5).init
    given = (VIDEO, PICKED, BATCH)
    shapes = jax.eval_shape(lambda *x: init(jax.random.key(0), *x)["params"], *given)

    def fill(leaf: Any) -> np.ndarray:
        scale = 0.3 if len(leaf.shape) < 2 else np.prod(leaf.shape[:-1]) ** -0.5
        return (scale * RNG.normal(size=leaf.shape)).astype(np.float32)

    return jax.tree.map(fill, shapes)


@jax.jit
def judge(params: Any, video: Any, picked: Any, batch: Any) -> jax.Array:
    return Critics(CONFIG, classes=5).apply({"params": params}, video, picked, batch)


@pytest.fixture(scope="module")
def logits(params: Any) -> np.ndarray:
    return np.asarray(judge(params, VIDEO, PICKED, BATCH))


def test_a_logit_for_each_picked_frame_and_each_frame_of_the_clip(logits: np.ndarray) -> None:
    assert logits.shape == (B, N + T) and logits.dtype == np.float32
    assert np.all(np.isfinite(logits))


def test_an_example_is_judged_without_the_others(params: Any, logits: np.ndarray) -> None:
    def swap(array: np.ndarray) -> np.ndarray:
        return np.concatenate([array[:1], array[:1]])

    alone = judge(params, *jax.tree.map(swap, (VIDEO, PICKED, BATCH)))
    np.testing.assert_allclose(alone[0], logits[0], atol=1e-5)
    assert np.abs(alone[1] - logits[1]).max() > 1e-3


def test_words_of_clips_in_a_row_are_given_once(params: Any) -> None:
    video = np.concatenate([VIDEO, VIDEO[::-1]])
    picked, batch = (jax.tree.map(lambda x: x.repeat(2, 0), x) for x in (PICKED, BATCH))
    logits = judge(params, video, picked, batch)
    once = judge(params, video, picked, batch | {x: BATCH[x] for x in ("text", "label")})
    np.testing.assert_allclose(once, logits, atol=1e-5)


def test_the_frame_critic_sees_the_picked_frames_alone(params: Any, logits: np.ndarray) -> None:
    changed = VIDEO.copy()
    changed[:, 2] *= -1  # the second that is picked, in both examples
    after = judge(params, changed, PICKED, BATCH)
    np.testing.assert_allclose(after[:, [0, 2]], logits[:, [0, 2]], atol=1e-5)
    assert np.abs(after[:, 1] - logits[:, 1]).min() > 1e-3
    assert np.abs(after[:, N:] - logits[:, N:]).min() > 1e-5  # all frames of the clip critic
    order = np.array([2, 0, 1])
    shuffled = judge(params, VIDEO, PICKED[:, order], BATCH)
    np.testing.assert_allclose(shuffled[:, :N], logits[:, order], atol=1e-5)


def test_the_frame_critic_sees_the_script_of_its_frame(params: Any, logits: np.ndarray) -> None:
    moved = {**BATCH, "boxes": BATCH["boxes"].copy()}
    moved["boxes"][:, 2, 0, :2] += 0.2
    after = judge(params, VIDEO, PICKED, moved)
    np.testing.assert_allclose(after[:, [0, 2]], logits[:, [0, 2]], atol=1e-5)
    assert np.abs(after[:, 1] - logits[:, 1]).min() > 1e-4


@pytest.mark.parametrize("name", ["text", "boxes", "attributes", "background"])
def test_both_critics_judge_by_the_conditions(params: Any, logits: np.ndarray, name: str) -> None:
    other = {**BATCH, name: BATCH[name][::-1].copy()}
    moved = np.abs(judge(params, VIDEO, PICKED, other) - logits)
    assert moved[:, :N].max(1).min() > 1e-4 and moved[:, N:].max(1).min() > 1e-4


def test_the_clip_critic_sees_order_and_time(params: Any, logits: np.ndarray) -> None:
    reversed_clip = judge(params, VIDEO[:, ::-1].copy(), PICKED, BATCH)
    assert np.abs(reversed_clip[:, N:] - logits[:, N:][:, ::-1]).max() > 1e-3
    slower = {**BATCH, "times": BATCH["times"] * 2}
    after = judge(params, VIDEO, PICKED, slower)
    assert np.abs(after[:, N:] - logits[:, N:]).max() > 1e-4
    np.testing.assert_array_equal(after[:, :N], logits[:, :N])


def test_clips_without_script_and_text_are_judged(params: Any) -> None:
    nothing = {k: np.zeros_like(v) for k, v in BATCH.items()} | {"times": BATCH["times"]}
    assert np.all(np.isfinite(judge(params, VIDEO, PICKED, nothing)))
    stray = {**nothing, "boxes": BATCH["boxes"], "attributes": BATCH["attributes"]}
    np.testing.assert_allclose(
        judge(params, VIDEO, PICKED, stray), judge(params, VIDEO, PICKED, nothing), atol=1e-6
    )


def test_other_lengths_than_trained(params: Any) -> None:
    short = {k: v[:, :3] if k in ("times", "boxes", "visible") else v for k, v in BATCH.items()}
    picked = np.array([[1], [2]], np.int32)
    assert judge(params, VIDEO[:, :3].copy(), picked, short).shape == (B, 1 + 3)


def test_every_parameter_learns_from_logits_and_from_the_exact_penalty(params: Any) -> None:
    @jax.jit
    def gradients(params: Any) -> tuple[Any, Any]:
        def score(params: Any) -> jax.Array:
            return (judge(params, VIDEO, PICKED, BATCH) ** 2).mean()

        def penalty(params: Any) -> jax.Array:
            return exact(lambda x: judge(params, x, PICKED, BATCH), jnp.asarray(VIDEO)).mean()

        return jax.grad(score)(params), jax.grad(penalty)(params)

    first, second = gradients(params)
    for path, leaf in jax.tree_util.tree_leaves_with_path(first):
        assert np.all(np.isfinite(leaf)) and np.abs(leaf).max() > 0, jax.tree_util.keystr(path)
    for path, leaf in jax.tree_util.tree_leaves_with_path(second):
        assert np.all(np.isfinite(leaf)), jax.tree_util.keystr(path)
    assert np.abs(second["frame"]["pixels"]["kernel"]).max() > 0
    assert np.abs(second["clip"]["attention0"]["q"]["kernel"]).max() > 0
