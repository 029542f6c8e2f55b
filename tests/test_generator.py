"""Laws of the generator: what is known comes back, what is not asked for has no influence."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxvid.config import GeneratorConfig
from jaxvid.models.generator import REACH, Fetch, Generator, Layer
from jaxvid.ops.inbetween import meet, neighbours
from jaxvid.steps.gan import lower

B, T, R, L = 2, 4, 16, 16
CONFIG = GeneratorConfig(width=16, layers=1, heads=2, decoder=(8, 8), drawing=8, latent=4)
CLASSES = 5
RNG = np.random.default_rng(0)
Inputs = dict[str, Any]
KNOWN = ("noise", "known", "mask")


def conditions(frames: int = T) -> dict[str, np.ndarray]:
    """Text, script and times of two clips; the first caption fills half of its bytes."""
    text = RNG.integers(1, 257, (B, L)).astype(np.int32)
    text[0, L // 2 :] = 0
    return {
        "times": np.arange(frames, dtype=np.float32)[None].repeat(B, 0) / 8,
        "text": text,
        "boxes": RNG.uniform(0.3, 0.6, (B, frames, 2, 4)).astype(np.float32),
        "visible": np.ones((B, frames, 2), np.float32),
        "attributes": RNG.integers(1, 4, (B, 2, 3)).astype(np.int32),
        "background": np.array([1, 5], np.int32),
        "label": np.array([2, 5], np.int32),
    }


def inputs(frames: int = T, height: int = R, width: int = R, known: Any = ()) -> Inputs:
    """Arguments of the generator with the frames ``known`` given."""
    shape = (B, frames, height, width, 3)
    mask = np.zeros((*shape[:-1], 1), np.float32)
    mask[:, list(known)] = 1
    return {
        "noise": RNG.normal(size=shape).astype(np.float32),
        "known": RNG.uniform(-1, 1, shape).astype(np.float32),
        "mask": mask,
        "batch": conditions(frames),
        "latent": RNG.normal(size=(B, CONFIG.latent)).astype(np.float32),
    }


@pytest.fixture(scope="module")
def params() -> Any:
    """Random everywhere, unlike the initialisation, where some branches are zero."""
    init = Generator(CONFIG, CLASSES).init
    shapes = jax.eval_shape(lambda *x: init(jax.random.key(0), *x)["params"], *inputs().values())

    def fill(leaf: Any) -> np.ndarray:
        scale = 0.3 if len(leaf.shape) < 2 else np.prod(leaf.shape[:-1]) ** -0.5
        return (scale * RNG.normal(size=leaf.shape)).astype(np.float32)

    return jax.tree.map(fill, shapes)


@jax.jit
def generate(params: Any, noise: Any, known: Any, mask: Any, batch: Any, latent: Any) -> jax.Array:
    return Generator(CONFIG, CLASSES).apply({"params": params}, noise, known, mask, batch, latent)


@pytest.fixture(scope="module")
def x() -> Inputs:
    return inputs(known=[0, 3])


@pytest.fixture(scope="module")
def video(params: Any, x: Inputs) -> np.ndarray:
    return np.asarray(generate(params, **x))


def difference(a: Any, b: Any) -> np.ndarray:
    """Largest difference of each frame (B,T)."""
    return np.abs(np.asarray(a) - np.asarray(b)).max((2, 3, 4))


def test_known_frames_and_pixels_come_back_bit_for_bit(
    params: Any, x: Inputs, video: np.ndarray
) -> None:
    assert video.shape == (B, T, R, R, 3) and video.dtype == np.float32
    np.testing.assert_array_equal(video[:, [0, 3]], x["known"][:, [0, 3]])
    assert difference(video, x["known"])[:, 1:3].min() > 0.01
    mask = (RNG.random((B, T, R, R, 1)) < 0.5).astype(np.float32)  # any region, any frame
    painted = generate(params, **{**x, "mask": mask})
    where = np.broadcast_to(mask > 0, painted.shape)
    np.testing.assert_array_equal(painted[where], x["known"][where])
    everything = generate(params, **{**x, "mask": np.ones_like(mask)})
    np.testing.assert_array_equal(everything, x["known"])


def test_what_is_not_known_has_no_influence(params: Any, x: Inputs, video: np.ndarray) -> None:
    hidden = np.where(x["mask"] > 0, x["known"], np.nan).astype(np.float32)
    np.testing.assert_array_equal(generate(params, **{**x, "known": hidden}), video)
    noise = np.where(x["mask"] > 0, 99, x["noise"]).astype(np.float32)  # nor noise where it is
    np.testing.assert_array_equal(generate(params, **{**x, "noise": noise}), video)


def test_an_example_does_not_see_the_others(params: Any, x: Inputs, video: np.ndarray) -> None:
    def swap(array: np.ndarray) -> np.ndarray:
        return np.concatenate([array[:1], array[:1]])

    alone = generate(params, **jax.tree.map(swap, x))
    np.testing.assert_allclose(alone[0], video[0], atol=1e-5)
    assert difference(alone, video)[1, 1:3].min() > 0.01


@pytest.mark.parametrize(
    "name",
    ["noise", "known", "latent", "times", "text", "boxes", "attributes", "background", "label"],
)
def test_everything_given_matters_to_unknown_frames(
    params: Any, x: Inputs, video: np.ndarray, name: str
) -> None:
    other = {**x, "batch": dict(x["batch"])}
    place = other if name in x else other["batch"]
    place[name] = place[name][::-1].copy()  # the other example's
    if name == "times":
        place[name] = x["batch"]["times"] * 1.5
    assert difference(generate(params, **other), video)[:, 1:3].min() > 1e-4


def test_without_script_and_text_it_works_and_empty_slots_do_not_matter(
    params: Any, x: Inputs
) -> None:
    nothing = {k: np.zeros_like(v) for k, v in x["batch"].items()} | {"times": x["batch"]["times"]}
    free = np.asarray(generate(params, **{**x, "batch": nothing}))
    assert np.all(np.isfinite(free))
    stray = {**nothing, "boxes": x["batch"]["boxes"], "attributes": x["batch"]["attributes"]}
    np.testing.assert_allclose(generate(params, **{**x, "batch": stray}), free, atol=1e-6)


def test_more_padding_after_a_caption_changes_nothing(params: Any, x: Inputs) -> None:
    text = np.where(np.arange(L) < 4, x["batch"]["text"], 0)  # four bytes are one token
    long = generate(params, **{**x, "batch": {**x["batch"], "text": text}})
    fewer = {**params, "text": {**params["text"], "place": params["text"]["place"][: L // 8]}}
    short = generate(fewer, **{**x, "batch": {**x["batch"], "text": text[:, : L // 2]}})
    np.testing.assert_allclose(short, long, atol=3e-4)  # of up to 7: flows magnify rounding


@pytest.mark.parametrize("frames, height, width", [(1, 16, 16), (7, 8, 20)])
def test_other_lengths_and_sizes_than_trained(
    params: Any, frames: int, height: int, width: int
) -> None:
    x = inputs(frames, height, width, known=[0])
    video = np.asarray(generate(params, **x))
    assert video.shape == (B, frames, height, width, 3) and np.all(np.isfinite(video))
    np.testing.assert_array_equal(video[:, 0], x["known"][:, 0])


@jax.jit
@jax.grad
def gradient(params: Any, x: Inputs, weight: Any) -> jax.Array:
    return (weight * generate(params, **x) ** 2).mean()


def test_every_parameter_learns_and_padding_does_not(params: Any, x: Inputs) -> None:
    short = {**x, "batch": {**x["batch"], "text": x["batch"]["text"][[0, 0]]}}
    learnt = gradient(params, short, np.ones_like(x["mask"]))
    text = learnt["text"]
    np.testing.assert_array_equal(text["embed"]["embedding"][0], 0)
    np.testing.assert_array_equal(text["place"][L // 8 :], 0)  # where both captions have ended
    assert np.abs(text["place"][: L // 8]).max() > 0
    for path, leaf in jax.tree_util.tree_leaves_with_path(learnt):
        name = jax.tree_util.keystr(path)
        assert np.all(np.isfinite(leaf)), name
        assert np.abs(leaf).max() > 0, name


def test_it_begins_with_what_it_fetches(x: Inputs) -> None:
    """With black paint: between known frames nearly their blend as they meet, beyond a dark copy;
    with none known the paint alone."""
    one = {**x, "mask": np.zeros_like(x["mask"])}
    one["mask"][:, [0, 2]] = 1
    init = jax.jit(Generator(CONFIG, CLASSES).init)(jax.random.key(0), *one.values())["params"]
    silent = {**init, "rgb": jax.tree.map(np.zeros_like, init["rgb"])}
    video = np.asarray(generate(silent, **one))
    known = np.where(one["mask"] > 0, one["known"], 0).astype(np.float32)
    given = map(jnp.asarray, (known, one["mask"][..., 0, 0, 0], x["batch"]["times"]))
    near = jax.jit(meet)(neighbours(*given))
    share = near.share[..., None, None, None]
    wanted = (1 - share) * near.before + share * near.after
    kept = 1 - jax.nn.sigmoid(np.array([-np.inf, Fetch.paint[1], -np.inf, Fetch.paint[0]]))
    np.testing.assert_allclose(video, wanted * kept[:, None, None, None], atol=1e-5)
    blank = generate(silent, **{**one, "mask": np.zeros_like(one["mask"])})
    np.testing.assert_array_equal(blank, 0)


@pytest.mark.parametrize("change", ["bfloat16", "remat", "full"])
def test_other_ways_to_compute_are_the_same_network(
    params: Any, x: Inputs, video: np.ndarray, change: str
) -> None:
    """bfloat16 to its rounding, recomputation to float32's; full attention with other weights."""
    config = dataclasses.replace(CONFIG, attention="full") if change == "full" else CONFIG
    network = Generator(config, CLASSES, remat=change == "remat")
    if change == "full":
        shapes = jax.eval_shape(lambda *a: network.init(jax.random.key(0), *a), *x.values())
        names = set(shapes["params"]["layer0"])
        assert "joint" in names and not {"space", "time"} & names
        return
    weights = lower(params, "bfloat16" if change == "bfloat16" else "float32")
    other = jax.jit(network.apply)({"params": weights}, *x.values())
    assert other.dtype == np.float32
    np.testing.assert_array_equal(other[:, [0, 3]], x["known"][:, [0, 3]])
    error = np.abs(np.asarray(other) - video).mean() / np.abs(video).mean()
    assert error < (0.1 if change == "bfloat16" else 1e-5)
    assert (error > 1e-4) == (change == "bfloat16")  # it was really computed in it


@pytest.mark.parametrize("shift, seen", [(0, [1, 1, 0, 0]), (1, [1, 0, 0, 0])])
def test_a_layer_sees_its_window_and_nothing_else(shift: int, seen: list[int]) -> None:
    layer = Layer(2, "windowed", 2, shift)
    rng = np.random.default_rng(0)
    x, frame, memory = (jnp.asarray(rng.normal(size=s), jnp.float32)
                        for s in ((1, 4, 3, 8), (1, 4, 8), (1, 5, 8)))  # fmt: skip
    rest = frame, memory, jnp.ones((1, 5), bool)

    @jax.jit
    def gradient(x: Any) -> Any:
        params = layer.init(jax.random.key(0), x, *rest)
        return jax.grad(lambda x: (layer.apply(params, x, *rest)[:, 0] ** 2).sum())(x)

    reach = np.abs(gradient(x)).max(axis=(0, 2, 3)) > 0
    assert reach.tolist() == [bool(s) for s in seen]


def test_known_frames_pass_no_gradient_to_the_parameters(params: Any, x: Inputs) -> None:
    for leaf in jax.tree.leaves(gradient(params, x, x["mask"])):
        np.testing.assert_array_equal(leaf, 0)


def test_motion_is_a_camera_where_there_is_a_script_and_speaks_where_there_is_none(
    params: Any, x: Inputs
) -> None:
    moving = Generator(dataclasses.replace(CONFIG, motion=2), CLASSES)
    weights = RNG.normal(size=(2, 4)).astype(np.float32)
    said = RNG.normal(size=(2, CONFIG.width)).astype(np.float32)
    own = {**params, "camera": {"way": {"kernel": weights}}, "motion": {"kernel": said}}
    motion = RNG.normal(size=(B, T, 2)).astype(np.float32)

    @jax.jit
    def generate(params: Any, *given: Any) -> jax.Array:
        return moving.apply({"params": params}, *given)

    shown = np.ones((B, T, 2), np.float32) * np.float32([1, 0])[:, None, None]
    script = x["batch"]["boxes"]
    way = REACH * (motion @ weights)[:, :, None]
    zoom = np.exp(way[..., 2:3])
    boxes = np.concatenate(
        [0.5 + zoom * (script[..., :2] - 0.5) + way[..., :2], zoom * script[..., 2:]], axis=-1
    )
    exposure = np.exp(way[..., 3])[0, :, :, None, None]
    nothing = [x["noise"], x["known"], 0 * x["mask"]]
    videos = []
    for way, places in ((motion, script), (0 * motion, boxes), (0 * motion, script)):
        batch = {**x["batch"], "visible": shown, "boxes": places}
        videos.append(generate(own, *nothing, batch, x["latent"], way))
    moved, shifted, still = videos
    shifted = shifted.at[0].set(exposure * (1.0 + shifted[0]) - 1.0)
    scripted, free = difference(moved, shifted)
    assert scripted.max() < 1e-5 and free.min() > 0.01
    scripted, free = difference(moved, still)
    assert scripted.min() > 0.01 and free.min() > 0.01
    assert difference(shifted, still)[1].max() < 1e-5


def test_what_is_fetched_of_known_frames_keeps_their_light(params: Any, x: Inputs) -> None:
    moving = Generator(dataclasses.replace(CONFIG, motion=1), CLASSES)
    flow = params["fetch"]["flow"]
    shy = {**flow, "bias": np.float32([0, 0, 0, 0, 0, -60.0])}  # nothing is painted over it
    own = {
        **params,
        "camera": {"way": {"kernel": np.float32([[0, 0, 0, 3.0]])}},
        "motion": {"kernel": np.zeros((1, CONFIG.width), np.float32)},
    }
    batch = {**x["batch"], "visible": np.ones((B, T, 2), np.float32)}
    generate = jax.jit(lambda params, *given: moving.apply({"params": params}, *given))
    light = np.ones((B, T, 1), np.float32)

    def change(params: Any) -> np.ndarray:
        given = (*(x[n] for n in KNOWN), batch, x["latent"])
        dark, bright = (generate(params, *given, way) for way in (0 * light, light))
        return difference(dark, bright)[:, 1:3]

    assert change(own).min() > 0.01
    assert change({**own, "fetch": {**params["fetch"], "flow": shy}}).max() < 1e-5
