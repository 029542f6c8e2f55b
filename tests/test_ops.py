"""Laws of the array operations, each against float64 NumPy or by what must not change."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxvid.ops import attention as attention_module
from jaxvid.ops import augment as augment_module
from jaxvid.ops import inbetween, layout, positions
from jaxvid.ops.layout import FEATURES
from jaxvid.ops.ngrams import ngram_ids
from jaxvid.ops.patchify import patchify, unpatchify
from jaxvid.ops.warp import warp

# Compiled, since op by op each shape would compile thirty programs.
attention = jax.jit(attention_module.attention)
augment = jax.jit(augment_module.augment, static_argnames="strength")
blend = jax.jit(inbetween.blend)
draw = jax.jit(layout.draw, static_argnames=("height", "width"))
neighbours = jax.jit(inbetween.neighbours)
fourier = jax.jit(positions.fourier, static_argnames="octaves")
pixel_grid = jax.jit(positions.pixel_grid, static_argnums=(0, 1), static_argnames="octaves")
sinusoids = jax.jit(positions.sinusoids, static_argnames="width")

RNG = np.random.default_rng(0)


def normal(*shape: int) -> jax.Array:
    return jnp.asarray(RNG.normal(size=shape).astype(np.float32))


# Attention


def oracle(q: np.ndarray, k: np.ndarray, v: np.ndarray, mask: np.ndarray | None) -> np.ndarray:
    """softmax(Q Kᵀ / √A) V in float64, one query and head at a time; zeros where all is masked."""
    q, k, v = (np.asarray(x, np.float64) for x in (q, k, v))
    B, L, K, A = q.shape
    out = np.zeros((B, L, K, A))
    for b, row, head in np.ndindex(B, L, K):
        logits = k[b, :, head] @ q[b, row, head] / np.sqrt(A)
        allowed = np.ones(len(logits), bool)
        if mask is not None:
            allowed = np.broadcast_to(mask, (B, K, L, len(logits)))[b, head, row]
        if allowed.any():
            weights = np.where(allowed, np.exp(logits - logits[allowed].max()), 0)
            out[b, row, head] = weights @ v[b, :, head] / weights.sum()
    return out


Q, K, V = normal(2, 3, 2, 4), normal(2, 5, 2, 4), normal(2, 5, 2, 4)
MASK = jnp.asarray(RNG.random((2, 2, 3, 5)) < 0.6).at[1, 0, 2].set(False)


@pytest.mark.parametrize("mask", [None, MASK, MASK[:, :1, :1]], ids=["all", "full", "keys"])
def test_attention_equals_its_formula(mask: jax.Array | None) -> None:
    expected = oracle(Q, K, V, None if mask is None else np.asarray(mask))
    np.testing.assert_allclose(attention(Q, K, V, mask=mask), expected, atol=2e-6)


def test_attention_may_have_any_leading_axes() -> None:
    wide = [jnp.stack([x, x + 1, x - 1]) for x in (Q, K, V)]
    whole = attention(*wide)
    assert whole.shape == (3, 2, 3, 2, 4)
    for i in range(3):
        np.testing.assert_allclose(whole[i], attention(*(x[i] for x in wide)), atol=1e-6)


def test_a_query_without_keys_reads_zeros_and_has_no_gradient() -> None:
    def read(q: jax.Array, k: jax.Array, v: jax.Array) -> jax.Array:
        return attention(q, k, v, mask=jnp.zeros((1, 1, 1, 5), bool))

    np.testing.assert_array_equal(read(Q, K, V), 0)
    gradients = jax.jit(jax.grad(lambda *x: (read(*x) ** 2 + read(*x)).sum(), argnums=(0, 1, 2)))
    for gradient in gradients(Q, K, V):
        np.testing.assert_array_equal(gradient, 0)


def test_the_order_of_keys_does_not_matter() -> None:
    order = jnp.asarray(RNG.permutation(5))
    shuffled = attention(Q, K[:, order], V[:, order], mask=MASK[..., order])
    np.testing.assert_allclose(shuffled, attention(Q, K, V, mask=MASK), atol=1e-6)


def test_masked_keys_have_no_influence_however_large() -> None:
    mask = jnp.asarray([True, True, False, True, False])[None, None, None]
    loud = attention(Q, K.at[:, [2, 4]].set(1e4), V.at[:, [2, 4]].set(1e4), mask=mask)
    np.testing.assert_array_equal(loud, attention(Q, K, V, mask=mask))


def test_the_gradient_of_attention_is_that_of_its_formula() -> None:
    weights = RNG.normal(size=Q.shape)

    def loss(q: jax.Array, k: jax.Array, v: jax.Array) -> jax.Array:
        return (attention(q, k, v, mask=MASK) * weights).sum()

    for i, gradient in enumerate(jax.jit(jax.grad(loss, argnums=(0, 1, 2)))(Q, K, V)):
        arrays = [np.array(x, np.float64) for x in (Q, K, V)]
        for index in list(np.ndindex(*arrays[i].shape))[::7]:
            ends = []
            for move in (1e-5, -1e-5):
                moved = [x.copy() for x in arrays]
                moved[i][index] += move
                ends.append((oracle(*moved, np.asarray(MASK)) * weights).sum())
            np.testing.assert_allclose(gradient[index], (ends[0] - ends[1]) / 2e-5, atol=1e-5)


def test_logits_and_softmax_are_float32_in_bfloat16_attention() -> None:
    # Logits of about 20 would be off by 0.06 in bfloat16, and their weights by 6 %.
    q, k, v = (x.astype(jnp.bfloat16) for x in (8 * Q, 8 * K, V))
    out = attention(q, k, v)
    assert out.dtype == jnp.bfloat16
    exact = attention(*(x.astype(jnp.float32) for x in (q, k, v)))
    np.testing.assert_allclose(out.astype(jnp.float32), exact, atol=1e-2)


# Patches and positions


@pytest.mark.parametrize("lead", [(), (1,), (3, 5)])
def test_unpatchify_undoes_patchify(lead: tuple[int, ...]) -> None:
    x = normal(*lead, 6, 9, 5)
    cut = patchify(x, 3)
    assert cut.shape == (*lead, 2, 3, 45)
    np.testing.assert_array_equal(unpatchify(cut, 3), x)
    np.testing.assert_array_equal(cut[..., 1, 2, :].reshape(*lead, 3, 3, 5), x[..., 3:6, 6:9, :])


def test_rotated_products_know_how_far_apart_two_places_are() -> None:
    """And nothing else of them; at place 0 nothing is turned."""
    rng = np.random.default_rng(0)
    q_A, k_A = rng.normal(size=(2, 16)).astype(np.float32)
    at_S = jnp.arange(9.0)
    q_SA, k_SA = (positions.rotate(jnp.tile(x_A, (9, 1, 1)), at_S)[:, 0] for x_A in (q_A, k_A))
    np.testing.assert_allclose(q_SA[0], q_A)
    found_SS = np.asarray(q_SA @ k_SA.T)
    for l, s in itertools.product(range(9), repeat=2):
        turn_F = (s - l) * 100.0 ** (-np.arange(4) / 4)
        one, other = (x[:4] + 1j * x[4:8] for x in (q_A, k_A))
        want = (one.conj() * other * np.exp(1j * turn_F)).real.sum() + q_A[8:] @ k_A[8:]
        np.testing.assert_allclose(found_SS[l, s], want, rtol=1e-4, atol=1e-5)


def test_fourier_and_sinusoids_equal_their_formulas() -> None:
    x = np.linspace(-1, 1, 7)
    angles = np.pi * x[:, None] * 2.0 ** np.arange(3)
    expected = np.concatenate([x[:, None], np.sin(angles), np.cos(angles)], axis=1)
    np.testing.assert_allclose(fourier(jnp.asarray(x, jnp.float32), octaves=3), expected, atol=2e-6)
    t = np.linspace(0, 9, 7)
    angles = t[:, None] * 2 * np.pi / np.geomspace(0.2, 64, 5)  # wavelengths
    expected = np.concatenate([np.sin(angles), np.cos(angles)], axis=1)
    np.testing.assert_allclose(  # float32 keeps an angle of 300 to about 2e-5
        sinusoids(jnp.asarray(t, jnp.float32), width=10), expected, atol=5e-5
    )


def test_the_pixel_grid_says_where_a_pixel_is_at_any_resolution() -> None:
    grid = pixel_grid(4, 6, octaves=2)
    assert grid.shape == (4, 6, 11)
    np.testing.assert_array_equal(grid[..., 0], 1)
    np.testing.assert_allclose(grid[:, 0, 1], [-0.75, -0.25, 0.25, 0.75])
    np.testing.assert_allclose(grid[0, :, 6], (np.arange(6) + 0.5) / 3 - 1, atol=1e-6)
    fine = pixel_grid(12, 18, octaves=2)  # a pixel of 3 x 3 has its centre where the coarse one has
    np.testing.assert_allclose(fine[1::3, 1::3], grid, atol=1e-5)


# In-betweening

TIMES = jnp.asarray([[0.0, 0.1, 0.4, 0.5, 1.5, 2.0], [0.0, 1.0, 2.0, 3.0, 4.0, 5.0]])
KNOWN = jnp.asarray([[0.0, 1.0, 0.0, 0.0, 1.0, 0.0], [1.0, 0.0, 0.0, 1.0, 0.0, 1.0]])
CLIP = normal(2, 6, 3, 4, 2)


def test_blending_equals_interpolation_in_time() -> None:
    """np.interp, which beyond the known frames holds the nearest."""
    blended = blend(CLIP, KNOWN, TIMES)
    near = neighbours(CLIP, KNOWN, TIMES)
    np.testing.assert_array_equal(near.both, [[0, 1, 1, 1, 1, 0], [1, 1, 1, 1, 1, 1]])
    np.testing.assert_array_equal(near.some, np.ones((2, 6)))
    for b in range(2):
        times, known = np.asarray(TIMES[b], np.float64), np.asarray(KNOWN[b]) > 0
        for at in np.ndindex(3, 4, 2):
            row = np.asarray(CLIP, np.float64)[(b, slice(None), *at)]
            expected = np.interp(times, times[known], row[known])
            np.testing.assert_allclose(blended[(b, slice(None), *at)], expected, atol=1e-6)


def test_known_frames_return_themselves() -> None:
    np.testing.assert_array_equal(blend(CLIP, KNOWN, TIMES)[KNOWN > 0], CLIP[KNOWN > 0])
    np.testing.assert_array_equal(blend(CLIP, jnp.ones((2, 6)), TIMES), CLIP)


def test_with_one_known_frame_it_is_copied_and_with_none_there_is_nothing() -> None:
    one = jnp.zeros((2, 6)).at[:, 2].set(1.0)
    np.testing.assert_array_equal(blend(CLIP, one, TIMES), jnp.repeat(CLIP[:, 2:3], 6, 1))
    near = neighbours(CLIP, one, TIMES)
    np.testing.assert_array_equal(near.both, one)
    np.testing.assert_array_equal(near.share, 0)
    nothing = neighbours(CLIP, jnp.zeros((2, 6)), TIMES)
    for part in (nothing.before, nothing.after, nothing.both, nothing.some):
        np.testing.assert_array_equal(part, 0)


def test_unknown_frames_have_no_influence() -> None:
    changed = jnp.where(KNOWN[..., None, None, None] > 0, CLIP, 7.0)
    np.testing.assert_array_equal(blend(changed, KNOWN, TIMES), blend(CLIP, KNOWN, TIMES))


def test_neighbours_meet_where_the_frame_is_in_time() -> None:
    """A hill of light that moves by three pixels: a quarter of the way is where it is told to be,
    with a fraction of the linear blend's error; what has one neighbour stays."""
    y, x = np.mgrid[0:24, 0:24].astype(np.float32)

    def hill(t: float) -> np.ndarray:
        return 2 * np.exp(-((x - 8 - 3 * t) ** 2 + (y - 10 - 2 * t) ** 2) / 18)[..., None] - 1

    clip = jnp.asarray(np.stack([hill(t) for t in (0.0, 0.25, 1.0, 1.25)]))[None]
    known = jnp.asarray([[1.0, 0.0, 1.0, 0.0]])
    near = neighbours(clip, known, jnp.asarray([[0.0, 0.25, 1.0, 1.25]]))
    met = jax.jit(inbetween.meet)(near)
    apart = float(
        jnp.abs(blend(clip, known, jnp.asarray([[0.0, 0.25, 1.0, 1.25]]))[0, 1] - clip[0, 1]).max()
    )
    for side in (met.before, met.after):
        assert float(jnp.abs(side[0, 1] - clip[0, 1]).max()) < apart / 5
        np.testing.assert_allclose(side[0, [0, 2]], clip[0, [0, 2]], atol=1e-6)
        np.testing.assert_allclose(side[0, 3], clip[0, 2], atol=1e-6)
    slope = jax.grad(lambda v: inbetween.meet(near._replace(before=v)).after.sum())
    np.testing.assert_array_equal(
        jax.jit(slope)(near.before), 0
    )  # by the flow alone, which is held
    slope = jax.grad(lambda v: inbetween.meet(near._replace(before=v)).before.sum())
    assert float(jax.jit(slope)(near.before).sum()) == pytest.approx(clip.size, rel=1e-4)


def test_warping_fetches_from_where_the_flow_points() -> None:
    """Whole pixels as a shift, halves as a mean; the border's value from outside."""
    x = normal(1, 5, 6, 2)
    flow = jnp.zeros((1, 5, 6, 2)).at[..., 0].set(2.0).at[..., 1].set(-1.0)
    moved, inside = warp(x, flow)
    np.testing.assert_allclose(moved[:, 1:, :4], x[:, :-1, 2:], atol=1e-6)
    np.testing.assert_allclose(moved[:, 0, :4], x[:, 0, 2:], atol=1e-6)
    np.testing.assert_array_equal(inside[0], np.outer(np.arange(5) > 0, np.arange(6) < 4))
    half, _ = warp(x, jnp.full((1, 5, 6, 2), 0.5))
    quad = (x[:, :-1, :-1] + x[:, 1:, :-1] + x[:, :-1, 1:] + x[:, 1:, 1:]) / 4
    np.testing.assert_allclose(half[:, :-1, :-1], quad, atol=1e-6)


@pytest.mark.parametrize("far", [np.nan, np.inf, -np.inf, 1e30])
def test_a_flow_that_is_no_number_fetches_from_nowhere_else(far: float) -> None:
    """NaN stays NaN, so that the step is skipped; the rest of the frame is as it was."""
    x, flow = normal(1, 5, 6, 2), jnp.zeros((1, 5, 6, 2))
    moved, inside = jax.jit(warp)(x, flow.at[0, 2, 3].set(far))
    there = np.zeros((1, 5, 6), bool)
    there[0, 2, 3] = True
    np.testing.assert_array_equal(np.asarray(inside), ~there)
    np.testing.assert_array_equal(np.asarray(moved)[~there], np.asarray(x)[~there])
    corner = {np.inf: x[0, -1, -1], 1e30: x[0, -1, -1], -np.inf: x[0, 0, 0]}
    np.testing.assert_array_equal(np.asarray(moved)[there][0], corner.get(far, [np.nan, np.nan]))


def test_flows_learn_from_differences_of_what_they_fetch() -> None:
    x, flow = normal(1, 5, 6, 1), 0.3 + 0.1 * normal(1, 5, 6, 2)
    gradient = jax.grad(lambda f: (warp(x, f)[0] ** 2).sum())(flow)
    step = 1e-3
    for at in ((0, 2, 2, 0), (0, 1, 3, 1)):
        moved = [(warp(x, flow.at[at].add(s))[0] ** 2).sum() for s in (step, -step)]
        np.testing.assert_allclose(gradient[at], (moved[0] - moved[1]) / (2 * step), rtol=2e-2)


def test_flows_that_begin_at_nothing_learn_from_what_is_beside() -> None:
    """At whole pixels the slope is that of one side, not of none: a ramp pulls with its slope."""
    ramp = jnp.tile(100 + 3 * jnp.arange(8.0).reshape(1, 1, 8, 1), (1, 4, 1, 1))
    gradient = jax.grad(lambda flow: warp(ramp, flow)[0].sum())(jnp.zeros((1, 4, 8, 2)))
    np.testing.assert_allclose(gradient[:, :, 1:7, 0], 3, rtol=1e-4)
    np.testing.assert_allclose(gradient[..., 1], 0, atol=1e-3)


# The drawn script

BOXES = jnp.asarray([[[[0.5, 0.25, 0.5, 0.3], [0.25, 0.5, 0.2, 0.6]]]])


def test_the_mask_is_the_box() -> None:
    _, mask = draw(BOXES, jnp.ones((1, 1, 2)), height=40, width=80)
    y, x = (np.arange(40) + 0.5) / 40, (np.arange(80) + 0.5) / 80
    for n, (cx, cy, w, h) in enumerate(np.asarray(BOXES[0, 0])):
        inside = np.minimum(w / 2 - abs(x - cx), 9)[None] * 80  # pixels to the side, within is > 0
        inside = np.minimum(inside, (h / 2 - abs(y - cy))[:, None] * 40)
        np.testing.assert_allclose(mask[0, 0, ..., n][inside > 1.2], 1, atol=0.02)
        np.testing.assert_allclose(mask[0, 0, ..., n][inside < -1.2], 0, atol=0.02)
        area = float(mask[0, 0, ..., n].mean())
        np.testing.assert_allclose(area, w * h, rtol=0.05)


def test_an_actor_off_screen_has_no_mask() -> None:
    visible = jnp.asarray([[[0.0, 1.0]]])
    _, mask = draw(BOXES, visible, height=16, width=16)
    np.testing.assert_array_equal(mask[..., 0], 0)
    assert float(mask[..., 1].max()) > 0.9
    _, nothing = draw(jnp.zeros((1, 1, 2, 4)), jnp.zeros((1, 1, 2)), height=8, width=8)
    np.testing.assert_array_equal(nothing, 0)


def test_coordinates_go_from_side_to_side_of_the_box() -> None:
    drawn, mask = draw(BOXES, jnp.ones((1, 1, 2)), height=40, width=80)
    assert drawn.shape == (1, 1, 40, 80, 2, FEATURES) and mask.shape == (1, 1, 40, 80, 2)
    x = (np.arange(80) + 0.5) / 80
    u, v = drawn[0, 0, ..., 0, 1], drawn[0, 0, ..., 0, 2]
    np.testing.assert_allclose(u[5], np.clip((x - 0.5) / 0.25, -1.2, 1.2), atol=1e-5)
    assert np.all(np.diff(v, axis=0) >= 0)  # downwards, as rows are
    np.testing.assert_allclose(drawn[..., 0], 1)
    assert np.abs(np.asarray(drawn)).max() < 2  # no feature shouts


def test_features_are_those_of_the_docstring() -> None:
    drawn, _ = draw(BOXES, jnp.ones((1, 1, 2)), height=40, width=80)
    drawn = np.asarray(drawn[0, 0, ..., 1, :], np.float64)
    u, v = drawn[..., 1], drawn[..., 2]
    r, angle, pi = np.hypot(u, v), np.arctan2(u, -v), np.pi
    across, down = np.abs(u), np.abs(v)
    expected = [np.ones_like(u), u, v, across, down, u * u, v * v, u * v, r]
    expected += [np.maximum(across, down), np.minimum(across, down)]
    expected += [r * np.cos(3 * angle), r * np.cos(5 * angle)]
    for k in (1, 2):
        expected += [f(pi * k * x) for x in (u, v) for f in (np.sin, np.cos)]
    away = r > 0.05  # the radius is rounded off at the centre
    np.testing.assert_allclose(drawn[away], np.stack(expected, axis=-1)[away], atol=2e-3)


@pytest.mark.parametrize("dtype", (jnp.float32, jnp.bfloat16))
def test_drawing_mapped_is_drawing_and_then_mapping(dtype) -> None:
    rng = np.random.default_rng(0)
    boxes = jnp.asarray(rng.uniform(0.1, 0.9, (2, 3, 2, 4)), jnp.float32)
    visible = jnp.asarray(rng.uniform(size=(2, 3, 2)) > 0.3, jnp.float32)
    kernel = jnp.asarray(rng.normal(size=(2, 2, FEATURES, 5)), jnp.float32)

    def mapped(boxes: jax.Array, kernel: jax.Array) -> tuple[jax.Array, jax.Array]:
        parts, mask = layout.draw_parts(boxes, visible, kernel.astype(dtype), height=12, width=20)
        drawn = jnp.moveaxis(layout.spread(parts), 0, 4)
        return drawn.astype(jnp.float32), jnp.moveaxis(mask, 0, 4)

    def plain(boxes: jax.Array, kernel: jax.Array) -> tuple[jax.Array, jax.Array]:
        drawn, mask = layout.draw(boxes, visible, height=12, width=20)
        return jnp.einsum("bthwnf,bnfd->bthwnd", drawn, kernel), mask

    tolerance = 1e-4 if dtype == jnp.float32 else 0.1
    for have, want in zip(*(jax.jit(f)(boxes, kernel) for f in (mapped, plain)), strict=True):
        np.testing.assert_allclose(have, want, atol=tolerance)
    if dtype == jnp.float32:
        have, want = (
            jax.jit(jax.grad(lambda b, k, f=f: (f(b, k)[0] ** 2).sum(), (0, 1)))(boxes, kernel)
            for f in (mapped, plain)
        )
        for a, b in zip(have, want, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-2)


def test_what_is_drawn_moves_with_the_box() -> None:
    moved = BOXES + jnp.asarray([4 / 32, 8 / 32, 0, 0])
    here = draw(BOXES, jnp.ones((1, 1, 2)), height=32, width=32)
    there = draw(moved, jnp.ones((1, 1, 2)), height=32, width=32)
    for a, b in zip(here, there, strict=True):
        np.testing.assert_allclose(a[:, :, :-8, :-4], b[:, :, 8:, 4:], atol=1e-4)


def test_drawing_has_finite_gradients_even_for_an_empty_box() -> None:
    @jax.jit
    @jax.grad
    def gradient(boxes: jax.Array) -> jax.Array:
        drawn, mask = draw(boxes, jnp.ones((1, 1, 2)), height=8, width=8)
        return (drawn * mask[..., None]).sum()

    for boxes in (BOXES, jnp.zeros_like(BOXES), jnp.full_like(BOXES, 0.5 + 0.5 / 8)):
        assert np.all(np.isfinite(gradient(boxes)))


# Augmentation

KEYS = jax.random.split(jax.random.key(3), 6)
VIDEO = jnp.asarray(RNG.uniform(-1, 1, (6, 3, 16, 16, 3)), jnp.float32)


def test_augmentation_without_strength_is_identity() -> None:
    np.testing.assert_array_equal(augment(KEYS, VIDEO, strength=0.0), VIDEO)


def test_one_draw_serves_all_frames_and_both_clips_of_a_pair() -> None:
    still = jnp.broadcast_to(VIDEO[:, :1], VIDEO.shape)
    moved = augment(KEYS, still, strength=1.0)
    np.testing.assert_allclose(moved, jnp.broadcast_to(moved[:, :1], moved.shape), atol=1e-6)
    # The same affine map of pixels for x and y: it keeps their sum where both have one mean.
    x, y = VIDEO - VIDEO.mean((1, 2, 3, 4), keepdims=True), jnp.flip(VIDEO, axis=2)
    y = y - y.mean((1, 2, 3, 4), keepdims=True)
    parts = augment(KEYS, x, strength=1.0), augment(KEYS, y, strength=1.0)
    both = augment(KEYS, (x + y) / 2, strength=1.0)
    np.testing.assert_allclose((parts[0] + parts[1]) / 2, both, atol=1e-5)


def test_brightness_moves_the_mean_of_a_clip_and_contrast_what_departs_from_it() -> None:
    ramp = jnp.broadcast_to(jnp.asarray([-0.5, 0.1, 0.7])[:, None, None, None], (6, 3, 16, 16, 3))
    levels = np.asarray(augment(KEYS, ramp, strength=1.0))[:, :, 0, 0, 0]
    offset, gain = levels.mean(1) - 0.1, (levels[:, 2] - levels[:, 0]) / 1.2
    np.testing.assert_allclose(
        augment(KEYS, 0 * ramp, strength=1.0)[:, 0, 0, 0, 0], offset, atol=1e-6
    )
    np.testing.assert_allclose(levels[:, 1] - levels[:, 0], 0.6 * gain, atol=1e-6)
    assert np.all(np.abs(offset) <= 0.3) and np.all(np.abs(gain - 1) <= 0.3)
    assert np.ptp(offset) > 0.1 and np.ptp(gain) > 0.1
    half = np.asarray(augment(KEYS, ramp, strength=0.5))[:, :, 0, 0, 0]
    np.testing.assert_allclose(half.mean(1) - 0.1, offset / 2, atol=1e-6)


def test_augmentation_is_an_example_own_and_differs_between_examples() -> None:
    whole = augment(KEYS, VIDEO, strength=1.0)
    for i in range(6):
        alone = augment(KEYS[i : i + 1], VIDEO[i : i + 1], strength=1.0)
        np.testing.assert_allclose(whole[i], alone[0], atol=1e-6)
    same = augment(KEYS, jnp.broadcast_to(VIDEO[:1], VIDEO.shape), strength=1.0)
    assert len({x.tobytes() for x in np.asarray(same)}) == 6


def test_augmentation_shifts_by_at_most_an_eighth_and_holds_edges() -> None:
    dot = jnp.zeros((6, 1, 16, 16, 1)).at[:, :, 8, 8].set(1.0)
    seen = set()
    for i in range(8):
        keys = jax.random.split(jax.random.key(i), 6)
        moved = np.asarray(augment(keys, dot, strength=1.0))[:, 0, :, :, 0]
        for image in moved:
            at = np.unravel_index(image.argmax(), image.shape)
            seen.add((int(at[0]) - 8, int(at[1]) - 8))
    assert len(seen) > 10
    assert max(max(abs(dy), abs(dx)) for dy, dx in seen) == 2


def test_the_gradient_passes_through_augmentation() -> None:
    gradient = jax.jit(jax.grad(lambda x: (augment(KEYS, x, strength=0.7) ** 2).sum()))(VIDEO)
    assert np.all(np.isfinite(gradient)) and np.all(np.abs(gradient).max((1, 2, 3, 4)) > 0.1)


def test_ngram_ids_are_hashes_of_the_bytes_before() -> None:
    """Against Python's own integers; the same words get the same rows wherever they stand."""
    rng = np.random.default_rng(0)
    text = rng.integers(1, 257, (3, 20)).astype(np.int32)
    text[1, 12:] = 0
    for n in (1, 3, 6):
        ids = np.asarray(ngram_ids(jnp.asarray(text), n=n, buckets=64))
        for b in range(3):
            for at in range(20):
                value = 0
                for k in range(at - n + 1, at + 1):
                    value = (value * 0x01000193 + (int(text[b, k]) if k >= 0 else 0)) % 2**32
                value = value * 0x9E3779B1 % 2**32
                assert ids[b, at] == (((value >> 7) % 63 + 1) if text[b, at] else 0)
    twice = np.concatenate([text[:1, :10], text[:1, :10]], axis=1)
    ids = np.asarray(ngram_ids(jnp.asarray(twice), n=3, buckets=2048))
    np.testing.assert_array_equal(ids[0, 2:10], ids[0, 12:])
    assert len(set(ids[0, 2:10])) == 8
