"""Laws of the matte: it finds what was drawn, and takes nothing of the old background along."""

import numpy as np
import pytest

from jaxvid import shapes
from jaxvid.data.render import background, render
from jaxvid.script import KINDS, Actor, Entity, Scene, Script, Shot, tracks
from jaxvid.shapes import PALETTE
from jaxvid.video.compose import over
from jaxvid.video.matte import Matte, matte

Looks = tuple[tuple[str, str], ...]  # kind and colour of each actor, back to front
ONE: Looks = (("star", "red"),)
TWO: Looks = (("square", "blue"), ("circle", "orange"))


def story(place: str, looks: Looks, *, still: bool = False) -> Script:
    entities = tuple(Entity(f"e{n}", *look, "medium") for n, look in enumerate(looks))
    actors = tuple(
        Actor(
            f"e{n}",
            "still" if still else "right",
            (0.1 + 0.2 * n, 0.2 + 0.1 * n, 0.4, 0.4),
            (0.5 - 0.1 * n, 0.2 + 0.1 * n, 0.4, 0.4),
            n,
        )
        for n in range(len(looks))
    )
    return Script(entities, (Scene(place, (Shot(8, actors),)),))


def cut_out(script: Script, size: int) -> tuple[Matte, np.ndarray, np.ndarray]:
    """The matte, the true coverage, and which pixels lie in a box."""
    boxes_TN4, visible_TN, attributes_N3, _ = tracks(script)
    found = matte(
        render(script, resolution=size), boxes_TN4, visible_TN, PALETTE[attributes_N3[:, 1] - 1]
    )
    rest_THW = np.ones((len(boxes_TN4), size, size))
    boxed_THW = np.zeros(rest_THW.shape, bool)
    for n, (kind, _, _) in enumerate(attributes_N3):
        if kind:
            patch = shapes.patch(boxes_TN4[:, n], size, size)
            rest_THW[patch.at] *= 1 - patch.coverage_Thw(patch.distance_Thw(KINDS[kind - 1]))
            inside = (np.abs(patch.x_Tw) < 1)[:, None, :] & (np.abs(patch.y_Th) < 1)[:, :, None]
            boxed_THW[patch.at] |= inside
    return found, 1 - rest_THW, boxed_THW


@pytest.mark.parametrize("size", [32, 64])
@pytest.mark.parametrize("looks", [ONE, TWO], ids=["one", "two"])
@pytest.mark.parametrize("place", ["light_plain", "dark_plain", "warm_grid", "cool_noise"])
def test_alpha_is_what_the_actors_cover(place: str, looks: Looks, size: int) -> None:
    (_, alpha_THW), true_THW, boxed_THW = cut_out(story(place, looks), size)
    assert alpha_THW.dtype == np.float32 and 0 <= alpha_THW.min() <= alpha_THW.max() <= 1
    assert np.abs(alpha_THW - true_THW)[boxed_THW].mean() < 0.03
    # no holes where two colours meet, but for the ends of that seam
    assert (alpha_THW[true_THW == 1] < 0.8).mean() < 0.01


@pytest.mark.parametrize("color", ["red", "yellow", "green", "cyan", "purple"])
def test_actors_that_never_move_are_found(color: str) -> None:
    """What is behind them is never seen, but guessed from around the box."""
    script = story("light_gradient", (("heart", color),), still=True)
    (_, alpha_THW), true_THW, boxed_THW = cut_out(script, 32)
    assert np.abs(alpha_THW - true_THW)[boxed_THW].mean() < 0.04


def test_nothing_is_taken_two_pixels_outside_of_the_box() -> None:
    script = story("dark_plain", ONE)
    boxes_TN4, visible_TN, _, _ = tracks(script)
    boxes_TN4[..., 2:] /= 2  # of an actor that is larger than it should be
    video = render(script)
    _, alpha_THW = matte(video, boxes_TN4, visible_TN, np.repeat(PALETTE[:1], 2, axis=0))
    pixel_W = np.arange(32) + 0.5
    for t, (x, y, w, h) in enumerate(boxes_TN4[:, 0] * 32):
        far = np.maximum(np.abs(pixel_W - x)[None] - w / 2, np.abs(pixel_W - y)[:, None] - h / 2)
        assert (alpha_THW[t][far >= 2] == 0).all() and (alpha_THW[t][far < 0] > 0).any()


def test_actors_that_are_off_screen_have_no_alpha() -> None:
    script = story("dark_plain", TWO)
    boxes_TN4, visible_TN, attributes_N3, _ = tracks(script)
    visible_TN[3:] = 0
    colors = PALETTE[attributes_N3[:, 1] - 1]
    _, alpha_THW = matte(render(script), boxes_TN4, visible_TN, colors)
    assert (alpha_THW[3:] == 0).all() and (alpha_THW[:3].max((1, 2)) == 1).all()


@pytest.mark.parametrize("looks", [ONE, TWO], ids=["one", "two"])
def test_before_a_new_background_it_looks_as_if_drawn_there(looks: Looks) -> None:
    """The old background is light: where it shone through, edges would be light before the dark."""
    found, true_THW, _ = cut_out(story("light_plain", looks), 64)
    new = (background("dark_plain", 64, 64)[None] + 0.5).astype(np.uint8)
    composed = over(found.foreground_THWC, new, found.alpha_THW)
    drawn = render(story("dark_plain", looks), resolution=64)
    edge_THW = (true_THW > 0.02) & (true_THW < 0.98)
    contaminated = over(render(story("light_plain", looks), resolution=64), new, found.alpha_THW)
    error = np.abs(composed.astype(int) - drawn)[edge_THW].mean()
    assert error < 0.6 * np.abs(contaminated.astype(int) - drawn)[edge_THW].mean()
    assert np.abs(composed.astype(int) - drawn).mean() < 1.5
    assert (
        composed[true_THW == 0] == np.broadcast_to(new, composed.shape)[true_THW == 0]
    ).mean() > (0.99)


def test_an_actor_whose_box_is_the_whole_frame_is_cut_out_all_the_same() -> None:
    entity = Entity("e0", "circle", "red", "large")
    actor = Actor("e0", "still", (0.0, 0.0, 1.0, 1.0), (0.0, 0.0, 1.0, 1.0))
    (_, alpha_THW), true_THW, _ = cut_out(
        Script((entity,), (Scene("light_plain", (Shot(2, (actor,)),)),)), 32
    )
    assert np.abs(alpha_THW - true_THW).mean() < 0.05
