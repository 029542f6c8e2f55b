"""Laws of content: constant colour is 0; variety counts pairs; copies are found; states merge."""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxvid.data.render import render
from jaxvid.metrics import content
from jaxvid.script import Actor, Entity, Scene, Script, Shot

init, update, merge = (jax.jit(f) for f in (content.init, content.update, content.merge))
average_content_distance = jax.jit(content.average_content_distance)
content_distance, diversity = jax.jit(content.content_distance), jax.jit(content.diversity)


def square(colours: list[tuple[float, float, float]]) -> np.ndarray:
    """A square that moves by whole pixels and has one colour a frame, (1,T,16,16,3)."""
    video = np.full((1, len(colours), 16, 16, 3), 0.9, np.float32)
    for t, colour in enumerate(colours):
        video[0, t, 2 + t : 7 + t, 3 : 3 + 5] = colour
    return video


def test_constant_colour_has_distance_zero_and_a_switch_its_own() -> None:
    red, blue = (0.9, 0.1, 0.1), (0.1, 0.1, 0.9)
    for still in (square([red] * 4), (square([red] * 4) * 255).astype(np.uint8)):
        np.testing.assert_allclose(average_content_distance(jnp.asarray(still)), 0, atol=1e-6)
    switched = average_content_distance(jnp.asarray(square([red, red, red, blue])))
    apart = np.linalg.norm(np.subtract(red, blue))
    np.testing.assert_allclose(switched, apart * 3 / 6, rtol=1e-5)  # 3 of 6 pairs


def test_rendered_clips_are_nearly_constant_also_where_the_entity_leaves() -> None:
    actor = Actor("e0", "right", (0.1, 0.36, 0.28, 0.28), (0.6, 0.36, 0.28, 0.28))
    scene = Scene("warm_noise", (Shot(9, (actor,)),))
    clip = render(Script((Entity("e0", "star", "red", "small"),), (scene,)))
    value = average_content_distance(jnp.asarray(clip)[None])
    assert value[0] < 0.02
    clip[[2, 5]] = 230  # gone
    np.testing.assert_allclose(average_content_distance(jnp.asarray(clip)[None]), value, atol=0.005)
    grey = jnp.full((1, 4, 8, 8, 3), 0.5)
    np.testing.assert_allclose(average_content_distance(grey), 0)
    np.testing.assert_allclose(average_content_distance(grey[:, :1]), 0)


def test_light_and_contrast_are_of_each_frame() -> None:
    """Half of a frame at 0.2, half at 0.6; then all at 0.4; then twice the first."""
    halves = np.repeat([0.2, 0.6], 4)
    frames = np.stack([halves, np.full(8, 0.4), 2 * halves - 0.4])
    video = np.broadcast_to(frames[None, :, None, :, None], (1, 3, 8, 8, 3))
    for clip, atol in ((video, 1e-6), (np.rint(video * 255).astype(np.uint8), 3e-3)):
        found = content.light(jnp.asarray(clip))
        np.testing.assert_allclose(found["light"], [[0.4, 0.4, 0.4]], atol=atol)
        np.testing.assert_allclose(found["contrast"], [[0.2, 0.0, 0.4]], atol=atol)


def test_content_distance_of_features_is_the_mean_over_valid_pairs() -> None:
    rng = np.random.default_rng(0)
    features = rng.normal(size=(3, 5, 7)).astype(np.float32)
    valid = rng.random((3, 5)) < 0.7
    valid[2] = [True, False, False, False, False]
    want = []
    for f, ok in zip(features, valid, strict=True):
        apart = [np.linalg.norm(x - y) for x, y in itertools.combinations(f[ok], 2)]
        want.append(np.mean(apart) if apart else 0)
    got = content_distance(jnp.asarray(features), valid_BT=jnp.asarray(valid))
    np.testing.assert_allclose(got, want, rtol=1e-5)


def test_diversity_is_the_mean_distance_of_pairs() -> None:
    black, white = np.zeros((2, 40, 40, 3), np.uint8), np.full((2, 40, 40, 3), 255, np.uint8)
    video = np.stack([[black] * 3, [black, white, white]])
    np.testing.assert_allclose(diversity(jnp.asarray(video)), [0, 2 / 3], rtol=1e-6)
    rng = np.random.default_rng(1)
    small = rng.random((1, 3, 2, 16, 12, 3)).astype(np.float32)
    want = [((x - y) ** 2).mean() ** 0.5 for x, y in itertools.combinations(small[0], 2)]
    np.testing.assert_allclose(diversity(jnp.asarray(small)), np.mean(want), rtol=1e-5)
    with pytest.raises(ValueError, match="make more"):
        diversity(jnp.zeros((2, 1, 2, 8, 8, 3)))


def test_pooling_is_the_mean_of_areas_and_noise_of_pixels_hardly_counts() -> None:
    rng = np.random.default_rng(2)
    for size in (40, 64):  # also where 16 is no divisor
        noise = rng.random((1, 2, 1, size, size, 3)).astype(np.float32)
        fine = np.repeat(np.repeat(noise, 16, axis=3), 16, axis=4)
        cells = fine.reshape(1, 2, 1, 16, size, 16, size, 3).mean((4, 6))
        got = diversity(jnp.asarray(noise))
        np.testing.assert_allclose(got, diversity(jnp.asarray(cells)), rtol=1e-4)
        assert got[0] < 0.6 * ((noise[0, 0] - noise[0, 1]) ** 2).mean() ** 0.5


def batches(train: np.ndarray) -> list[content.Nearest]:
    """A state for each of uneven batches of training clips, padded with the first query."""
    queries = jnp.asarray(train[[5, 2, 8]])
    states = []
    for rows in (range(0, 4), range(4, 6), range(6, 10)):
        index = np.array([*rows, *[5] * (4 - len(rows))])
        valid = jnp.arange(4) < len(rows)
        padded = train[index].copy()
        padded[len(rows) :] = train[2]
        numbers = jnp.asarray(100 + index)
        states.append(update(init(queries), jnp.asarray(padded), numbers, valid_N=valid))
    return states


def test_copies_are_found_and_merged_states_equal_the_whole() -> None:
    rng = np.random.default_rng(3)
    train = rng.integers(0, 256, (10, 3, 20, 20, 3), dtype=np.uint8)
    train[8] = train[9] = train[1]
    states = batches(train)
    for order in (states, states[::-1], [*states, init(jnp.asarray(train[[5, 2, 8]]))]):
        found = content.compute(functools.reduce(merge, order))
        np.testing.assert_array_equal(found["distance"], 0)
        np.testing.assert_array_equal(found["index"], [105, 102, 101])
    np.testing.assert_array_equal(states[1].index_B, [105, *np.asarray(states[1].index_B)[1:]])
    assert (states[1].distance_B[1:] > 0).all()  # the padding is not looked at
    nothing = content.compute(init(jnp.asarray(train[:2])))
    assert (nothing["distance"] == jnp.inf).all() and (nothing["index"] == -1).all()


def test_the_nearest_is_that_of_all_pairs() -> None:
    rng = np.random.default_rng(4)
    train = rng.random((9, 2, 12, 12, 3)).astype(np.float32)
    made = (train[[3, 7]] + rng.normal(0, 0.05, (2, 2, 12, 12, 3))).astype(np.float32)
    state = init(jnp.asarray(made))
    for rows in (slice(0, 4), slice(4, 8), slice(8, 9)):
        state = update(state, jnp.asarray(train[rows]), jnp.arange(9)[rows])
    apart = ((made[:, None] - train) ** 2).mean((2, 3, 4, 5)) ** 0.5
    np.testing.assert_array_equal(content.compute(state)["index"], [3, 7])
    np.testing.assert_allclose(content.compute(state)["distance"], apart.min(1), rtol=1e-5)
    with pytest.raises(ValueError, match="cut them"):
        update(state, jnp.asarray(train[:, :1]), jnp.arange(9))
