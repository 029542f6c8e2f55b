"""Laws of the renderer: the script determines the pixels, at any size and length."""

import colorsys

import numpy as np
import pytest

from jaxvid.data import render as drawing
from jaxvid.data.render import background, render, render_shot
from jaxvid.script import (
    BACKGROUNDS,
    EXTENTS,
    KINDS,
    Actor,
    Entity,
    Fill,
    Picture,
    Scene,
    Script,
    Shot,
    tracks,
)
from jaxvid.shapes import PALETTE
from jaxvid.typing import UserError


def box(x: float, y: float, width: float) -> tuple[float, float, float, float]:
    return x - width / 2, y - width / 2, width, width


def one(
    kind: str = "circle", motion: str = "right", frames: int = 4, place: str = "dark_plain"
) -> Script:
    actor = Actor("e0", motion, box(0.3, 0.5, 0.4), box(0.7, 0.5, 0.4))
    return Script(
        (Entity("e0", kind, "red", "medium"),), (Scene(place, (Shot(frames, (actor,)),)),)
    )


def changed(script: Script, size: int | tuple[int, int]) -> np.ndarray:
    """Pixels (T,H,W) that the entities touch."""
    H, W = (size, size) if isinstance(size, int) else size
    empty = (background(script.scenes[0].background, H, W) + 0.5).astype(np.uint8)
    return (render(script, resolution=size) != empty).any(-1)


@pytest.mark.parametrize("size", [7, 32, 64, (48, 80)])
def test_shape_type_and_resolution(size: int | tuple[int, int]) -> None:
    video = render(one(), resolution=size)
    assert video.shape == (4, *((size, size) if isinstance(size, int) else size), 3)
    assert video.dtype == np.uint8


def test_defaults_are_the_scripts_own() -> None:
    assert render(one(frames=5)).shape == (5, 32, 32, 3)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("size", [32, (64, 96)])
def test_an_entity_fills_its_box_and_nothing_outside(
    kind: str, size: int | tuple[int, int]
) -> None:
    H, W = (size, size) if isinstance(size, int) else size
    mask_THW = changed(one(kind), size)
    for t, cx in enumerate(np.linspace(0.3, 0.7, 4)):
        for profile, centre, pixels in ((mask_THW[t].any(0), cx, W), (mask_THW[t].any(1), 0.5, H)):
            first, last = np.flatnonzero(profile)[[0, -1]]
            assert abs(first - (centre - 0.2) * pixels) <= 1.6
            assert abs(last + 1 - (centre + 0.2) * pixels) <= 1.6


def test_a_resolution_is_the_average_of_twice_it() -> None:
    """Antialiasing: what is drawn at 32 pixels is what a camera of 32 pixels would see."""
    for kind in KINDS:
        fine = render(one(kind), resolution=128).astype(float)
        coarse = fine.reshape(4, 32, 4, 32, 4, 3).mean((2, 4))
        error = np.abs(render(one(kind), resolution=32) - coarse)
        assert error.mean() < 0.7
        assert error.max() < 64


def test_length_resamples_time_and_keeps_the_ends() -> None:
    long, short = render(one(frames=9)), render(one(frames=9), frames=5)
    np.testing.assert_array_equal(short, long[::2])


def test_shots_are_joined_in_order_and_share_the_time() -> None:
    first, second = one(frames=4), one("star", "left", frames=8, place="light_grid")
    both = Script(
        (Entity("e0", "circle", "red", "medium"), Entity("e1", "star", "red", "medium")),
        (
            first.scenes[0],
            Scene("light_grid", (Shot(8, (Actor("e1", "left", *_ends(second)),)),)),
        ),
    )
    video = render(both)
    np.testing.assert_array_equal(video[:4], render(first))
    np.testing.assert_array_equal(video[4:], render(second))
    assert [len(render(both, frames=n)) for n in (1, 2, 5, 12, 31)] == [1, 2, 5, 12, 31]
    np.testing.assert_array_equal(render(both, frames=24)[:8], render(first, frames=8))
    thrice = Script(both.entities, (first.scenes[0],) * 3)
    assert [len(render(thrice, frames=n)) for n in (1, 2, 4, 5)] == [1, 2, 4, 5]


def _ends(script: Script) -> tuple[tuple[float, ...], tuple[float, ...]]:
    actor = script.scenes[0].shots[0].actors[0]
    return actor.start, actor.end


def test_nearer_actors_hide_farther_ones_whatever_their_order() -> None:
    entities = Entity("e0", "square", "red", "large"), Entity("e1", "square", "blue", "small")
    still = box(0.5, 0.5, 0.56), box(0.5, 0.5, 0.28)
    actors = tuple(
        Actor(f"e{i}", "still", b, b, z) for i, (b, z) in enumerate(zip(still, (0, 1), strict=True))
    )
    for order in (actors, actors[::-1]):
        video = render(Script(entities, (Scene("light_plain", (Shot(2, order),)),)))
        r, _, b = video[0, 16, 16]
        assert b > r + 60
    flipped = tuple(Actor(a.entity, a.motion, a.start, a.end, 1 - a.z) for a in actors)
    r, _, b = render(Script(entities, (Scene("light_plain", (Shot(2, flipped),)),)))[0, 16, 16]
    assert r > b + 60


def test_no_actor_is_the_background() -> None:
    empty = Script((), (Scene("cool_noise", (Shot(3),)),))
    assert (render(empty) == render(empty)[0]).all()


def test_backgrounds_differ_and_are_pale_beside_entities() -> None:
    images = np.stack([background(name, 32, 32) for name in BACKGROUNDS])
    for i in range(len(images)):
        for j in range(i):
            assert np.abs(images[i] - images[j]).mean() > 3, (BACKGROUNDS[i], BACKGROUNDS[j])
    chroma = images.max(-1) - images.min(-1)
    entity_chroma = PALETTE.max(-1).astype(int) - PALETTE.min(-1)
    assert chroma.max() < 0.5 * entity_chroma.min()
    for rgb in PALETTE.astype(float):  # also when darkened to its rim
        for shade in (1.0, 0.7):
            assert np.linalg.norm(images - rgb * shade, axis=-1).min() > 45, rgb
    assert min(colorsys.rgb_to_hsv(*(rgb / 255))[1] for rgb in PALETTE) > 0.5


def test_backgrounds_cannot_be_spoilt() -> None:
    with pytest.raises(ValueError, match="read-only"):
        background("warm_grid", 32, 32)[0, 0] = 0


def test_extents_are_told_apart_at_32_pixels() -> None:
    widths = sorted(EXTENTS.values())
    assert min(b / a for a, b in zip(widths, widths[1:], strict=False)) > 1.35


def test_a_shot_is_its_part_of_the_whole() -> None:
    shots = one(frames=4).scenes[0].shots[0], one(motion="bounce", frames=3).scenes[0].shots[0]
    both = Script(one().entities, (Scene("dark_grid", shots[:1]), Scene("warm_noise", shots)))
    whole = render(both, resolution=(24, 40))
    parts = [render_shot(both, i, j, size=(24, 40)) for i, j in ((0, 0), (1, 0), (1, 1))]
    np.testing.assert_array_equal(np.concatenate(parts), whole)
    assert render_shot(both, 0, 0, frames=7).shape == (7, 32, 32, 3)


def test_a_long_shot_is_drawn_like_a_short_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of 50 frames, some without the actor, before what moves and what stands, in parts of 16."""
    actor = Actor("e0", "right", box(0.3, 0.5, 0.4), box(0.7, 0.5, 0.4), enter=0.3, exit=0.9)
    script = Script(one().entities, (Scene(Picture("sea.png"), (Shot(50, (actor,)),)),))
    sea = np.random.default_rng(0).integers(0, 256, (50, 24, 40, 3), np.uint8)
    whole = [render_shot(script, 0, 0, size=(24, 40), backdrop=b) for b in (sea, sea[:1])]
    monkeypatch.setattr(drawing, "BLOCK", 16)
    for backdrop, wanted in zip((sea, sea[:1]), whole, strict=True):
        found = render_shot(script, 0, 0, size=(24, 40), backdrop=backdrop)
        np.testing.assert_array_equal(found, wanted)


def placed(place: str | Fill | Picture) -> Script:
    return Script(one().entities, (Scene(place, one().scenes[0].shots),))


def test_a_fill_is_painted_and_a_picture_has_to_be_given() -> None:
    video = render(placed(Fill((10, 200, 30))))
    assert (video[:, 0] == (10, 200, 30)).all()
    with pytest.raises(UserError, match=r"scenes\[0\].background: 'sea.png' .*backdrop") as caught:
        render_shot(placed(Picture("sea.png")), 0, 0)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("frames", [1, 4])
def test_a_backdrop_stands_behind_the_actors(frames: int) -> None:
    backdrop = np.random.default_rng(0).integers(0, 256, (frames, 32, 32, 3), np.uint8)
    video = render_shot(placed(Picture("sea.png")), 0, 0, backdrop=backdrop)
    behind = np.broadcast_to(backdrop, video.shape)
    untouched = ~changed(one(), 32)
    np.testing.assert_array_equal(video[untouched], behind[untouched])
    named = (background("dark_plain", 32, 32)[None] + 0.5).astype(np.uint8)
    np.testing.assert_array_equal(
        render_shot(placed(Picture("sea.png")), 0, 0, backdrop=named), render(one())
    )


def test_an_actor_is_drawn_only_while_it_is_on_screen() -> None:
    actor = Actor("e0", "right", box(0.3, 0.5, 0.4), box(0.7, 0.5, 0.4), enter=0.25, exit=0.75)
    script = Script(one().entities, (Scene("dark_plain", (Shot(16, (actor,)),)),))
    seen = changed(script, 32).any((1, 2))
    np.testing.assert_array_equal(seen, tracks(script).visible_TN[:, 0] > 0)
    assert 0 < seen.sum() < 16
    apart = Script(one().entities, (Scene("dark_plain", (Shot(16),)),))
    np.testing.assert_array_equal(render(script)[~seen], render(apart)[~seen])
