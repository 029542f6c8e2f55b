"""Laws of the pieces that networks are made of, and of the text and script encoders."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxvid.models.blocks import Attention, FeedForward, ResidualConv, rms_norm
from jaxvid.models.conditions import SceneField
from jaxvid.models.text import TextEncoder

RNG = np.random.default_rng(0)


def normal(*shape: int) -> jax.Array:
    return jnp.asarray(RNG.normal(size=shape).astype(np.float32))


def made(module: nn.Module, *inputs: Any, **options: Any) -> Any:
    """(apply, params) of a module, compiled; random everywhere, unlike the initialisation."""
    init = module.init
    shapes = jax.eval_shape(lambda *x: init(jax.random.key(0), *x, **options)["params"], *inputs)

    def fill(leaf: Any) -> jax.Array:
        scale = 0.3 if len(leaf.shape) < 2 else np.prod(leaf.shape[:-1]) ** -0.5
        return scale * normal(*leaf.shape)

    return jax.jit(lambda p, *x: module.apply({"params": p}, *x, **options)), jax.tree.map(
        fill, shapes
    )


def f64(tree: Any) -> Any:
    return jax.tree.map(lambda x: np.asarray(x, np.float64), tree)


def norm64(x: np.ndarray) -> np.ndarray:
    return x / np.sqrt((x * x).mean(-1, keepdims=True) + 1e-6)


def test_rms_norm_equals_its_formula_and_is_float32_inside() -> None:
    x = normal(3, 4, 8) * 5
    np.testing.assert_allclose(rms_norm(x), norm64(np.asarray(x, np.float64)), rtol=1e-5)
    np.testing.assert_array_equal(rms_norm(jnp.zeros((2, 8))), 0)
    large = jnp.full((1, 512), 300.0, jnp.float16)  # 300² is infinite in float16
    out = rms_norm(large)
    assert out.dtype == jnp.float16
    np.testing.assert_allclose(out, 1, rtol=1e-3)


def test_feed_forward_equals_its_formula() -> None:
    x = normal(2, 3, 4)
    apply, params = made(FeedForward(), x)
    p, h = f64(params), np.asarray(x, np.float64)
    gate, value = np.split(h @ p["up"]["kernel"], 2, axis=-1)
    hidden = gate / (1 + np.exp(-gate)) * value
    assert hidden.shape == (2, 3, 8)
    expected = hidden @ p["down"]["kernel"] + p["down"]["bias"]
    np.testing.assert_allclose(apply(params, x), expected, rtol=1e-4, atol=1e-5)


def test_attention_layer_equals_its_formula() -> None:
    x, memory = normal(2, 3, 8), normal(2, 5, 8)
    mask = jnp.asarray(RNG.random((2, 1, 1, 5)) < 0.7).at[..., 0].set(True)
    apply, params = made(Attention(2), x, memory, mask)
    p = f64(params)
    q, k, v = (
        (np.asarray(t, np.float64) @ p[name]["kernel"]).reshape(2, -1, 2, 4)
        for name, t in (("q", x), ("k", memory), ("v", memory))
    )
    logits = np.einsum("blka,bska->bkls", norm64(q) * p["gain"], norm64(k)) / 2
    weights = np.where(mask, np.exp(logits), 0)
    weights /= weights.sum(-1, keepdims=True)
    read = np.einsum("bkls,bska->blka", weights, v).reshape(2, 3, 8)
    expected = read @ p["out"]["kernel"] + p["out"]["bias"]
    np.testing.assert_allclose(apply(params, x, memory, mask), expected, rtol=1e-4, atol=1e-5)


def test_residual_blocks_start_as_identity() -> None:
    x = normal(2, 4, 4, 6)
    apply, moved = made(ResidualConv(3), x)
    params = jax.jit(ResidualConv(3).init)(jax.random.key(0), x)["params"]
    np.testing.assert_array_equal(apply(params, x), x)
    assert float(jnp.abs(apply(moved, x) - x).mean()) > 0.01


# Text

TEXT = np.zeros((3, 32), np.int32)
TEXT[0, :13] = 1 + np.frombuffer(b"a red circle!", np.uint8)
TEXT[1, :32] = 1 + np.frombuffer("一个红色的圆 一个蓝色".encode()[:32].ljust(32, b"."), np.uint8)


@pytest.fixture(scope="module")
def encoder() -> Any:
    return made(TextEncoder(8, 1, 2), TEXT)


def test_padding_is_masked_and_reads_as_zeros(encoder: Any) -> None:
    apply, params = encoder
    tokens, mask, mean = apply(params, TEXT)
    assert tokens.shape == (3, 8, 8) and mean.shape == (3, 8)
    np.testing.assert_array_equal(mask.sum(1), [4, 8, 0])  # of 13, 32 and no bytes
    np.testing.assert_array_equal(tokens[0, 4:], 0)
    np.testing.assert_array_equal(tokens[2], 0)
    np.testing.assert_array_equal(mean[2], 0)
    assert np.abs(np.asarray(mean[:2])).max(1).min() > 0.01  # words are there: so is a summary


def test_nothing_is_learnt_from_padding(encoder: Any) -> None:
    apply, params = encoder

    def loss(params: Any) -> jax.Array:
        tokens, _, mean = apply(params, TEXT[[0, 2]])
        return (tokens**2 * jnp.arange(8)).sum() + mean.sum()

    gradient = jax.jit(jax.grad(loss))(params)
    np.testing.assert_array_equal(gradient["embed"]["embedding"][0], 0)
    np.testing.assert_array_equal(gradient["place"][4:], 0)  # positions of padding alone
    assert np.all(np.abs(np.asarray(gradient["place"][:4])).max(1) > 0)


def test_a_caption_is_read_alone_and_in_order(encoder: Any) -> None:
    apply, params = encoder
    tokens, _, mean = apply(params, TEXT)
    other = TEXT.copy()
    other[1] = 1 + np.frombuffer(b"something else entirely, longer!", np.uint8)
    changed_tokens, _, changed_mean = apply(params, other)
    np.testing.assert_allclose(changed_tokens[0], tokens[0], atol=1e-6)
    assert float(jnp.abs(changed_mean[1] - mean[1]).max()) > 0.01
    turned = TEXT.copy()
    turned[0, :13] = turned[0, :13][::-1]
    assert float(jnp.abs(apply(params, turned)[2][0] - mean[0]).max()) > 0.01


# The drawn script

SCENE = {
    "boxes": np.array([[[[0.25, 0.25, 0.3, 0.3], [0.75, 0.75, 0.3, 0.3]]] * 2] * 2, np.float32),
    "visible": np.ones((2, 2, 2), np.float32),
    "attributes": np.array([[[1, 2, 3], [4, 5, 1]]] * 2, np.int32),
    "background": np.array([3, 7], np.int32),
}


@pytest.fixture(scope="module")
def field() -> Any:
    return made(SceneField(5, hidden=6, embed=4), SCENE, height=16, width=16)


def change(name: str, at: Any, value: Any) -> dict[str, np.ndarray]:
    array = SCENE[name].copy()
    array[at] = value
    return {**SCENE, name: array}


def test_each_attribute_changes_the_field_inside_its_box_alone(field: Any) -> None:
    apply, params = field
    before = apply(params, SCENE)
    assert before.shape == (2, 2, 16, 16, 5)
    for column in range(3):
        moved = np.abs(apply(params, change("attributes", (0, 1, column), 2)) - before)
        assert moved[0, :, 11:13, 11:13].max() > 1e-3
        assert moved[0, :, :8, :8].max() < 1e-6  # the other actor and the background stay
        assert moved[1].max() == 0  # and so does the other example


def test_the_background_changes_the_field_outside_the_boxes(field: Any) -> None:
    apply, params = field
    moved = np.abs(apply(params, change("background", 0, 9)) - apply(params, SCENE))
    assert moved[0, :, 13:, :3].max() > 1e-3 and moved[1].max() == 0


def test_an_actor_off_screen_leaves_no_trace(field: Any) -> None:
    apply, params = field
    gone = change("visible", (slice(None), 1, 1), 0)
    elsewhere = {**gone, "boxes": SCENE["boxes"].copy()}
    elsewhere["boxes"][:, 1, 1] = 0
    a, b = apply(params, gone), apply(params, elsewhere)
    np.testing.assert_array_equal(a, b)
    assert np.abs(a[:, 0] - a[:, 1]).max() > 1e-3  # still there in the first frame
    nobody = {**gone, "visible": np.zeros_like(SCENE["visible"])}
    unknown = {**nobody, "attributes": np.zeros_like(SCENE["attributes"])}
    np.testing.assert_array_equal(apply(params, nobody), apply(params, unknown))


def test_the_actor_in_front_hides_the_one_behind(field: Any) -> None:
    apply, params = field
    # Gates wide open: what is in front covers what is behind.
    params = {**params, "gate": jax.tree.map(jnp.zeros_like, params["gate"])}
    params["gate"]["bias"] = params["gate"]["bias"] + 30.0
    same = change("boxes", (slice(None), slice(None), slice(None)), [0.5, 0.5, 0.5, 0.5])
    back = {**same, "attributes": same["attributes"].copy()}
    back["attributes"][:, 0] = [7, 7, 2]
    front = {**same, "attributes": same["attributes"].copy()}
    front["attributes"][:, 1] = [7, 7, 2]
    inside = (slice(None), slice(None), slice(6, 10), slice(6, 10))
    before = np.asarray(apply(params, same))[inside]
    np.testing.assert_allclose(apply(params, back)[inside], before, atol=5e-3)
    assert np.abs(np.asarray(apply(params, front))[inside] - before).max() > 0.1
