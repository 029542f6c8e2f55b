"""A judge learns the labels of real clips, says how far it can be trusted, and is kept."""

import json
import math

import jax
import numpy as np
import pytest

from jaxvid import judge as judging
from jaxvid.data.source import Example
from jaxvid.io.weights import write_weights
from jaxvid.typing import UserError

T, SIZE = 6, 16
COLORS = {"red": (230, 40, 30), "green": (20, 200, 60), "blue": (30, 50, 220)}
SHAPE = (T, SIZE, SIZE, 3)
STEPS, BATCH = 150, 16


class Dots:
    """A square of a colour that moves left or right; what is ``hidden`` is not said."""

    name = "dots"

    def __init__(self, length, seed, hidden=()):
        self.length, self.seed, self.hidden = length, seed, hidden
        self.labels = {"color": tuple(sorted(COLORS)), "way": ("left", "right")}

    def __repr__(self):
        return f"Dots({self.length}, {self.seed})"

    def __len__(self):
        return self.length

    def __getitem__(self, index):
        rng = np.random.default_rng((self.seed, index))
        video = rng.integers(0, 40, SHAPE).astype(np.uint8)
        color, way = rng.choice(sorted(COLORS)), rng.choice(["left", "right"])
        x, y = rng.integers(0, SIZE - 4 - T + 1), rng.integers(0, SIZE - 3)
        for t in range(T):
            at = x + (t if way == "right" else T - 1 - t)
            video[t, y : y + 4, at : at + 4] = COLORS[color]
        known = {"color": str(color), "way": str(way)}
        known = {name: text for name, text in known.items() if name not in self.hidden}
        return Example(video, "a square", 8.0, labels=known)


def clips(source, count):
    examples = [source[i] for i in range(count)]
    return np.stack([e.video for e in examples]), [e.labels for e in examples]


@pytest.fixture(scope="module")
def judge():
    return judging.train_judge(Dots(400, 0), Dots(60, 1), steps=STEPS, batch_size=BATCH)


def test_it_reads_clips_that_it_never_saw(judge):
    videos, known = clips(Dots(70, 2), 70)
    assert judge.real["color"] >= 0.95 and judge.real["way"] >= 0.95
    found = judge.accuracy(videos, known)
    assert min(found.values()) >= 0.95 and set(found) == {"color", "way"}
    read = judge.read(videos)
    assert all(set(read[name]) == set(values) for name, values in judge.labels.items())
    assert found["way"] == np.mean([r == k["way"] for r, k in zip(read["way"], known, strict=True)])
    assert (judge.read(videos[:, ::-1])["way"] != read["way"]).mean() >= 0.95  # back in time


def test_clips_are_read_one_by_one(judge):
    videos, _ = clips(Dots(70, 2), judging.CHUNK + 1)
    features = judge.features(videos)
    assert features.shape == (len(videos), 128) and features.dtype == np.float32
    np.testing.assert_allclose(judge.features(videos[-1:]), features[-1:], atol=1e-4)
    np.testing.assert_allclose(judge.features(videos[::-1]), features[::-1], atol=1e-4)


def test_clips_without_a_label_do_not_count(judge):
    videos, known = clips(Dots(20, 2), 20)
    half = [one if i < 10 else {"color": one["color"]} for i, one in enumerate(known)]
    assert judge.accuracy(videos, half)["way"] == judge.accuracy(videos[:10], known[:10])["way"]
    assert math.isnan(judge.accuracy(videos, [{}] * 20)["way"])


def test_labels_that_are_not_known_teach_nothing(judge):
    fresh = judging.make_optimizer(judging.OPTIM, STEPS).init(judge.params)
    shown = [Dots(BATCH, 0, hidden=("way",))[i] for i in range(BATCH)]
    batch = judging._collate(judge.labels, shown, range(BATCH), text_length=4)
    step = judging._step((3, 2), STEPS)  # the one that it was trained by
    after, _, loss = step(judge.params, fresh, batch, jax.random.key(0))
    moved = {
        name: not np.array_equal(after[name]["kernel"], judge.params[name]["kernel"])
        for name in ("label0", "label1")
    }
    assert moved == {"label0": True, "label1": False} and np.isfinite(loss)


def test_a_saved_judge_reads_the_same(judge, tmp_path):
    videos, known = clips(Dots(40, 2), 40)
    loaded = judging.load_judge(judge.save(tmp_path / "judge.safetensors"))
    assert (loaded.labels, loaded.shape) == (judge.labels, judge.shape)
    assert loaded.real == judge.real
    np.testing.assert_allclose(loaded.features(videos), judge.features(videos), atol=0.05)
    assert loaded.accuracy(videos, known) == judge.accuracy(videos, known)


def test_a_set_has_one_judge(judge, tmp_path, monkeypatch):
    trained = []
    monkeypatch.setattr(judging, "train_judge", lambda *a, **k: trained.append(k) or judge)
    train, held_out = Dots(9, 0), Dots(9, 1)
    first, again = (judging.open_judge(train, held_out, cache_dir=tmp_path) for _ in range(2))
    assert len(trained) == 1 and again.real == first.real
    judging.open_judge(train, held_out, seed=1, cache_dir=tmp_path)
    judging.open_judge(Dots(10, 0), held_out, cache_dir=tmp_path)
    assert len(trained) == 3 == len(list(tmp_path.iterdir()))
    for file in tmp_path.iterdir():
        file.write_bytes(file.read_bytes()[:100])
    assert judging.open_judge(train, held_out, cache_dir=tmp_path).real == judge.real
    assert len(trained) == 4
    (tmp_path / "taken").touch()
    with pytest.raises(UserError, match="cannot be written .*; set JAXVID_CACHE"):
        judging.open_judge(train, held_out, cache_dir=tmp_path / "taken" / "judges")


def test_a_set_without_labels_is_refused():
    source = Dots(9, 0)
    source.labels = {}
    with pytest.raises(UserError, match="dots has no labels to judge by; add columns"):
        judging.train_judge(source, source)


def test_clips_of_another_shape_are_refused(judge):
    with pytest.raises(
        UserError, match=r"reads clips of \(6, 16, 16, 3\), not of \(5, 16, 16, 3\)"
    ):
        judge.read(np.zeros((2, 5, SIZE, SIZE, 3), np.uint8))


GOOD = {"judge": judging.VERSION, "labels": {"a": ["x", "y"]}, "shape": SHAPE, "real": {}}


@pytest.mark.parametrize(
    "change",
    [{"judge": 0}, {"labels": 3}, {"labels": {"a": 1}}, {"shape": [1, 2]}, {"shape": [0] * 4}]
    + [{"shape": None}, {"real": {"a": "?"}}, {"real": []}, None],
)
def test_other_files_are_refused(judge, tmp_path, change):
    config = "[" if change is None else json.dumps(GOOD | change)
    path = write_weights(tmp_path / "x.safetensors", judge.params, config=config)
    with pytest.raises(UserError, match="is no judge that this jaxvid reads; train it again"):
        judging.load_judge(path)


def test_weights_of_other_labels_are_refused(judge, tmp_path):
    path = write_weights(tmp_path / "x.safetensors", judge.params, config=json.dumps(GOOD))
    with pytest.raises(UserError, match="label"):
        judging.load_judge(path)
