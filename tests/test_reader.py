"""Laws of the analytic reader: it reads what was drawn, whatever a generator does to the pixels."""

import itertools
import time

import numpy as np
import pytest

from jaxvid.data.render import render
from jaxvid.data.scenes import sample_script
from jaxvid.metrics.reader import ATTRIBUTES, Reading, evaluate_clips, read_clip, score
from jaxvid.script import BACKGROUNDS, COLORS, Actor, Entity, Scene, Script, Shot, tracks

SCRIPTS = [sample_script(5, split, i) for split in ("heldout", "test") for i in range(100)]  # type: ignore[arg-type]
CLIPS = [render(script) for script in SCRIPTS]


def box(x: float, y: float, width: float) -> tuple[float, float, float, float]:
    return x - width / 2, y - width / 2, width, width


def still(*entities: Entity, gap: float = 0.25, place: str = "warm_grid") -> Script:
    extent = {"small": 0.28, "medium": 0.4, "large": 0.56}
    actors = []
    for z, e in enumerate(entities):
        where = box(0.4 + gap * z, 0.5, extent[e.size])
        actors.append(Actor(e.id, "still", where, where, z))
    return Script(entities, (Scene(place, (Shot(8, tuple(actors)),)),))


def noisy(video: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return np.clip(video + rng.normal(0, 8, video.shape).round(), 0, 255).astype(np.uint8)


def blurred(video: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A mean over 3x3 pixels."""
    del rng
    padded = np.pad(video.astype(float), ((0, 0), (1, 1), (1, 1), (0, 0)), "edge")
    H, W = video.shape[1:3]
    shifted = [padded[:, i : i + H, j : j + W] for i in range(3) for j in range(3)]
    return np.mean(shifted, axis=0).round().astype(np.uint8)


def tinted(video: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return np.clip(video + rng.choice([-4, 4], 3), 0, 255).astype(np.uint8)


def test_true_clips_are_read_right_and_shuffled_ones_are_not() -> None:
    result = evaluate_clips(CLIPS, SCRIPTS)
    for key in (*ATTRIBUTES, "direction"):
        assert result[key] >= 0.99, (key, result)
    assert result["all"] >= 0.98 and result["clip"] >= 0.98
    for key, ceiling in (("color", 0.3), ("kind", 0.3), ("motion", 0.2), ("size", 0.5)):
        assert result[f"{key}_floor"] < ceiling, (key, result)


@pytest.mark.parametrize("change", [noisy, blurred, tinted])
def test_what_a_generator_does_to_pixels_is_borne(change) -> None:  # type: ignore[no-untyped-def]
    rng = np.random.default_rng(0)
    result = evaluate_clips([change(clip, rng) for clip in CLIPS[::2]], SCRIPTS[::2])
    for key in ATTRIBUTES:
        assert result[key] >= 0.95, (key, result)


def test_a_clip_takes_at_most_20_ms() -> None:
    read_clip(CLIPS[0])
    start = time.process_time()
    for clip in CLIPS[:50]:
        read_clip(clip)
    assert (time.process_time() - start) / 50 < 0.02


@pytest.mark.parametrize("resolution", [(64, 64), (96, 96), (48, 80)])
def test_resolution_does_not_matter(resolution: tuple[int, int]) -> None:
    result = evaluate_clips([render(s, resolution=resolution) for s in SCRIPTS[:40]], SCRIPTS[:40])
    for key in ATTRIBUTES:
        assert result[key] >= 0.96, (key, result)


def test_length_does_not_matter() -> None:
    for frames in (8, 40):
        result = evaluate_clips([render(s, frames=frames) for s in SCRIPTS[:40]], SCRIPTS[:40])
        for key in ATTRIBUTES:
            assert result[key] >= 0.96, (key, frames, result)


def test_boxes_are_where_they_were_drawn() -> None:
    errors = []
    for script, clip in zip(SCRIPTS[:60], CLIPS[:60], strict=True):
        track = tracks(script)
        by_color = {reading.color: reading for reading in read_clip(clip)}
        for n in range(len(script.entities)):  # back to front
            reading = by_color[COLORS[track.attributes_N3[n, 1] - 1]]
            assert reading.boxes_T4.shape == (16, 4)
            errors.append(np.abs(reading.boxes_T4 - track.boxes_TN4[:, n]).mean(0) * 32)
    assert np.mean(errors, axis=0).max() < 0.5  # pixels


def test_area_is_the_share_of_the_frame() -> None:
    (reading,) = read_clip(render(still(Entity("e0", "square", "blue", "large"))))
    assert abs(reading.area - 0.56**2) < 0.03


def test_the_background_does_not_matter() -> None:
    for i, place in enumerate(BACKGROUNDS):
        script = still(Entity("e0", "star", COLORS[i % 8], "medium"), place=place)
        assert score(read_clip(render(script)), script)["clip"].all(), place


def test_mixed_colours_are_not_a_third_entity() -> None:
    """Between red and yellow lies orange: most of it where a small thing is before a large one."""
    for front, back in itertools.permutations(COLORS, 2):
        small, large = Entity("e1", "ring", front, "small"), Entity("e0", "heart", back, "large")
        script = still(large, small, gap=0.1, place="light_grid")
        assert {reading.color for reading in read_clip(render(script))} == {front, back}


def test_nothing_is_read_from_nothing_and_anything_is_borne() -> None:
    rng = np.random.default_rng(0)
    assert read_clip(np.full((4, 32, 32, 3), 128, np.uint8)) == []
    assert read_clip(render(Script((), (Scene("warm_noise", (Shot(4),)),)))) == []
    for video in (
        rng.integers(0, 256, (16, 32, 32, 3), np.uint8),
        np.broadcast_to(np.array([255, 0, 0], np.uint8), (4, 32, 32, 3)),
        np.zeros((1, 5, 7, 3), np.uint8),
        render(SCRIPTS[0], frames=1),
        render(SCRIPTS[0], resolution=9),
    ):
        for reading in read_clip(video):
            assert np.isfinite(reading.boxes_T4).all()


def reading(kind: str, color: str, size: str = "small", motion: str = "still") -> Reading:
    return Reading(kind, color, size, motion, np.zeros((1, 4)), 0.0)


PAIR = still(Entity("e0", "star", "red", "small"), Entity("e1", "ring", "blue", "small"))


def test_score_matches_kindly_whatever_the_order() -> None:
    seen = [reading("ring", "blue"), reading("star", "red")]
    for order in (seen, seen[::-1]):
        result = score(order, PAIR)
        assert all(result[key].all() for key in (*ATTRIBUTES, "all", "clip"))
        assert result["color"].shape == (2,) and result["direction"].shape == (0,)
    mixed = [reading("ring", "red"), reading("star", "blue")]
    for order in (mixed, mixed[::-1]):  # a tie is settled by colour
        swapped = score(order, PAIR)
        assert swapped["color"].all() and not swapped["kind"].any()


def test_missing_is_wrong_and_surplus_spoils_the_clip() -> None:
    result = score([reading("ring", "blue")], PAIR)
    assert result["all"].tolist() == [False, True] and not result["clip"]
    assert score([], PAIR)["color"].tolist() == [False, False]
    one = still(Entity("e0", "star", "red", "small"))
    result = score([reading("ring", "blue"), reading("star", "red")], one)
    assert result["all"].tolist() == [True] and not result["clip"]


def test_direction_counts_the_eight_only() -> None:
    start, end = box(0.3, 0.5, 0.28), box(0.7, 0.5, 0.28)
    actors = Actor("e0", "right", start, end, 0), Actor("e1", "orbit", start, end, 1)
    script = Script(PAIR.entities, (Scene("dark_plain", (Shot(4, actors),)),))
    seen = [reading("star", "red", motion="left"), reading("ring", "blue", motion="orbit")]
    result = score(seen, script)
    assert result["motion"].tolist() == [False, True] and result["direction"].tolist() == [False]


def test_several_shots_and_odd_counts_are_refused() -> None:
    scene = PAIR.scenes[0]
    with pytest.raises(ValueError, match="cut the clip"):
        score([], Script(PAIR.entities, (scene, scene)))
    with pytest.raises(ValueError, match="one script a video"):
        evaluate_clips(CLIPS[:2], SCRIPTS[:1])
    assert evaluate_clips([], []) == {}
    assert "color_floor" not in evaluate_clips(CLIPS[:1], SCRIPTS[:1])
