"""The makers of benchmark sets, on tiny files in the layout of the real ones."""

import json

import numpy as np
import pytest

from benchmarks import datasets
from jaxvid.config import DataConfig
from jaxvid.data.source import open_source

NAMES = {
    "body": ["light", "dark brown"],
    "bottomwear": ["white pants", "golden greaves"],
    "topwear": ["blue shirt", "steel armor"],
    "hair": ["pink", "blue bun"],
}


def read(kind, out, split, *, resolution=64, frames=16, **options):
    config = DataConfig(source=f"{kind}{out}", resolution=resolution, frames=frames, **options)
    return open_source(config, split=split, cache_dir=out.parent / "cache")


def make(tmp_path, name, *options):
    """Makes the set from ``tmp_path/raw``; returns its folder."""
    arguments = [name, "--source", str(tmp_path / "raw"), "--out", str(tmp_path / "out"), *options]
    datasets.main(arguments)
    return tmp_path / "out"


@pytest.fixture
def raw(tmp_path):
    (tmp_path / "raw").mkdir()
    return tmp_path / "raw"


def test_sprites_are_split_by_character_and_say_all_that_is_seen(tmp_path, raw):
    rng = np.random.default_rng(0)
    (raw / "meta.json").write_text(json.dumps({"names": NAMES}))
    videos = {}
    attributes = rng.integers(0, 2, (12, 4), np.uint8)
    attributes[0], attributes[1] = (1, 0, 0, 1), (0, 1, 1, 0)
    for action in datasets.ACTIONS:
        for direction in datasets.DIRECTIONS:
            frames = rng.integers(0, 256, (12, 8, 16, 16, 3), np.uint8)
            videos[action, direction] = frames
            np.savez(raw / f"{action}_{direction}.npz", frames=frames, attributes=attributes)
    out = make(tmp_path, "sprites")
    rows = [json.loads(line) for line in (out / "captions.jsonl").read_text().splitlines()]
    by_file = {row["file"]: row for row in rows}
    assert by_file["0000_walk_left.webp"]["caption"] == (
        "a dark brown character with a blue bun, in a blue shirt and white pants, walks to the left"
    )
    assert by_file["0001_spellcast_front.webp"]["caption"] == (
        "a light character with pink hair, in steel armor and golden greaves, "
        "casts a spell to the front"
    )
    seen = {}
    for split in ("train", "test"):
        source = read("folder:", out, split, resolution=16, frames=8)
        chosen = [source.clips[record] for record, _ in source.examples]
        seen[split] = {clip["group"] for clip in chosen}
        assert len(chosen) == 9 * len(seen[split])
        for index in (0, len(source) - 1):
            example, name = source[index], chosen[index]["name"]
            character = int(name[:4])
            key = (example.labels["action"], example.labels["direction"])
            np.testing.assert_array_equal(example.video, videos[key][character])
            values = [NAMES[k][v] for k, v in zip(NAMES, attributes[character], strict=True)]
            labels = [example.labels[k] for k in ("body", "bottom", "top", "hair")]
            assert labels == values
    assert not seen["train"] & seen["test"] and len(seen["train"] | seen["test"]) == 12


def test_digits_bounce_once_and_test_shows_others(tmp_path, raw):
    images = np.zeros((60, 28, 28), np.uint8)
    for n, image in enumerate(images):
        image[0, 0], image[27, 27], image[14, 14] = 255, 255, n + 1  # which image it is
    np.savez(
        raw / "mnist.npz", train_images=images, train_labels=np.arange(60, dtype=np.uint8) % 10
    )
    out = make(tmp_path, "mnist", "--train", "60", "--test", "10")
    seen, ways = {}, set()
    for split, count in (("train", 60), ("test", 10)):
        source = read("tfds:moving_digits@", out, split)
        assert len(source) == count
        seen[split] = set()
        for i in range(count):
            example = source[i]
            gray_THW = example.video[..., 0]
            corner_T2 = np.array([np.argwhere(frame == 255)[0] for frame in gray_THW])
            which = gray_THW[0][tuple(corner_T2[0] + 14)] - 1
            seen[split].add(int(which))
            moves = np.ptp(corner_T2, axis=0) > 0
            assert moves.sum() == 1
            motion = datasets.MOTIONS[int(moves[0])]
            assert example.labels == {"digit": str(which % 10), "motion": motion}
            assert example.caption == f"the digit {which % 10} moves {motion}"
            steps = np.sign(np.diff(corner_T2[:, np.argmax(moves)]))
            turns = np.diff(steps[steps != 0]) != 0
            assert turns.sum() <= 1
            ways.add((motion, int(steps[steps != 0][0])))
    assert seen["train"] == set(range(50)) and seen["test"] == set(range(50, 60))
    assert len(ways) == 4


def test_films_are_split_by_file(tmp_path, raw):
    for word in ("yes", "no", "again"):
        (raw / f"{word}.mkv").write_bytes(word.encode())
    out = make(tmp_path, "asl")
    rows = [json.loads(line) for line in (out / "captions.jsonl").read_text().splitlines()]
    assert [row["caption"] for row in rows] == ["again", "no", "yes"]
    assert len({row["group"] for row in rows}) == 3
    assert (out / "yes.mkv").read_bytes() == b"yes"


def test_radar_is_split_by_run_and_shows_rain_only(tmp_path, raw):
    frames = np.zeros((80, 130, 200), np.uint8)
    frames[:40, :64, :64], frames[40:, :64, :64] = 70, 80  # rain, of either run
    frames[:, 64:128, :64] = 30  # too little
    frames[:, :64, 64:128], frames[5::7, 10, 100] = 90, 255  # a pixel is missing now and then
    np.savez(raw / "fmi.npz", frames=frames, names=np.array(["x"] * 80))
    out = make(tmp_path, "radar")
    levels = {}
    for split in ("train", "test"):
        source = read("tfds:radar_rain@", out, split)
        videos = np.stack([source[i].video for i in range(len(source))])
        levels[split] = set(np.unique(videos)) - {0, 60, 180}  # what lies around it
        assert (videos < 200).all() and ((videos >= 128).mean(axis=(1, 2, 3, 4)) >= 0.2).all()
    assert levels == {"train": {140}, "test": {160}}


@pytest.mark.parametrize("name", ["sprites", "mnist", "asl", "radar"])
def test_missing_files_and_full_folders_are_refused_in_a_line(tmp_path, raw, capsys, name):
    with pytest.raises(SystemExit) as caught:
        make(tmp_path, name)
    assert caught.value.code == 2
    assert "give the folder" in capsys.readouterr().err
    if name == "asl":
        (raw / "a.mkv").touch()
        make(tmp_path, name)
        with pytest.raises(SystemExit):
            make(tmp_path, name)
        assert "is not empty; choose another --out" in capsys.readouterr().err
