"""Prepared tensorflow-datasets video sets are read without TensorFlow, whatever holds the video."""

import json
import pathlib
import pickle
import struct
import sys

import numpy as np
import pytest
from PIL import Image

from jaxvid.config import DataConfig
from jaxvid.data import records, transforms
from jaxvid.data import source as data_source
from jaxvid.data import tfds as reading
from jaxvid.data.source import open_source, split_indices
from jaxvid.typing import UserError

SIZE, FRAMES = 16, 5
DATA = pathlib.Path(__file__).parents[2] / "shared" / "data"


def clip(seed, T=FRAMES + 2, C=3):
    return np.random.default_rng(seed).integers(0, 256, (T, SIZE, SIZE, C), np.uint8)


def expected(seed, C=3):
    """What the source should give for ``clip(seed, C=C)`` stored as record ``seed``."""
    start = transforms.window_start(FRAMES + 2, FRAMES, seed=seed)
    return np.broadcast_to(clip(seed, C=C)[start : start + FRAMES], (FRAMES, SIZE, SIZE, 3))


def prepare(root, features, splits, *, name="toy_set", version="1.0.0"):
    """Writes a set with a tensorflow-datasets builder; returns its directory."""
    import tensorflow_datasets as tfds

    class ToySet(tfds.core.GeneratorBasedBuilder, skip_registration=True):
        VERSION = tfds.core.Version(version)
        code_path = None

        def _info(self):
            described = tfds.features.FeaturesDict(features(tfds.features))
            return tfds.core.DatasetInfo(builder=self, features=described, disable_shuffling=True)

        def _split_generators(self, _):
            return {split: iter(enumerate(examples)) for split, examples in splits.items()}

        def _generate_examples(self): ...

        def _log_download_bytes(self): ...

        def _log_download_done(self): ...

    ToySet.name = name
    tfds.disable_progress_bar()
    ToySet(data_dir=str(root), file_format="array_record").download_and_prepare()
    return root / name / version


def tensors(f, C=3, **more):
    shape = (None, SIZE, SIZE, C)
    video = f.Tensor(shape=shape, dtype=np.uint8, encoding=f.Encoding.BYTES)
    return {"image_sequence": video, **more}


def images(f):
    return {"video": f.Sequence(f.Image(shape=(SIZE, SIZE, 3)))}


def pictures(seed, C=3):
    frames = clip(seed, C=C)
    return [Image.fromarray(frame if C == 3 else frame[..., 0]) for frame in frames]


def edit(directory, file, change):
    path = directory / file
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


def opened(name, split="train", **options):
    options = {"resolution": SIZE, "frames": FRAMES, **options}
    return open_source(DataConfig(source=f"tfds:{name}", **options), split=split)


def both(name):
    """All examples of a set without own test split, by caption or position."""
    sources = [opened(name, split) for split in ("train", "test")]
    found = {source.indices[i]: source[i] for source in sources for i in range(len(source))}
    return [found[record] for record in sorted(found)]


def test_grey_tensors_become_rgb_and_the_name_is_the_caption(tmp_path):
    prepare(
        tmp_path,
        lambda f: tensors(f, C=1),
        {"test": [{"image_sequence": clip(i, C=1)} for i in range(12)]},
        name="moving_mnist",
    )
    found = both(f"moving_mnist@{tmp_path}")
    assert len(found) == 12
    for i, example in enumerate(found):
        np.testing.assert_array_equal(example.video, expected(i, C=1))
        assert (example.caption, example.fps) == ("moving mnist", 8.0)
    assert len(opened(f"moving_mnist@{tmp_path}", "test")) < 6


def test_windows_lie_anywhere_in_long_clips_and_stay_there(tmp_path):
    clips = [clip(i, T=4 * FRAMES) for i in range(24)]
    own = {
        "train": [{"image_sequence": video} for video in clips],
        "test": [{"image_sequence": clip(0)}],
    }
    prepare(tmp_path, tensors, own)
    sources = [opened(f"toy_set@{tmp_path}") for _ in range(2)]
    starts = [
        next(t for t in range(4 * FRAMES) if (video[t] == example.video[0]).all())
        for video, example in zip(clips, sources[0], strict=True)
    ]
    assert min(starts) < FRAMES and max(starts) >= 2 * FRAMES
    for record, start in enumerate(starts):
        for source in sources:
            np.testing.assert_array_equal(source[record].video, clips[record][start:][:FRAMES])


def test_images_in_sequence_with_class_names(tmp_path):
    def features(f):
        return {**images(f), "label": f.ClassLabel(names=["ApplyLipstick", "jump_rope"])}

    examples = [{"video": pictures(i), "label": i % 2} for i in range(4)]
    path = prepare(tmp_path, features, {"train": examples, "test": examples[:1]})
    source = opened(path)
    assert [source[i].caption for i in range(4)] == ["Apply Lipstick", "jump rope"] * 2
    for i in range(4):
        np.testing.assert_array_equal(source[i].video, expected(i))
    assert len(opened(path, "test")) == len(opened(path, "heldout")) == 1


def test_a_class_is_the_label_class(tmp_path):
    def features(f):
        names = ["walk", "ApplyLipstick", "run"]
        return tensors(f, kind=f.ClassLabel(names=names), caption=f.Text())

    kinds = [0, 1, 2, -1]  # -1: not known
    examples = [{"image_sequence": clip(i), "kind": n, "caption": "c"} for i, n in enumerate(kinds)]
    source = opened(prepare(tmp_path, features, {"train": examples, "test": examples[:1]}))
    assert source.labels == {"class": ("Apply Lipstick", "run", "walk")}
    assert [source[i].label for i in range(4)] == [3, 1, 2, 0]
    assert [source[i].labels.get("class") for i in range(4)] == [
        "walk",
        "Apply Lipstick",
        "run",
        None,
    ]


def test_an_unknown_class_is_no_caption(tmp_path):
    examples = [{"image_sequence": clip(0), "label": -1}]
    path = prepare(
        tmp_path, lambda f: tensors(f, label=f.ClassLabel(names=["a", "b"])), {"train": examples}
    )
    assert opened(path)[0].caption == "toy set"


def test_no_caption_of_several_is_none(tmp_path):
    examples = [{"image_sequence": clip(i), "captions": said} for i, said in enumerate([["a"], []])]
    path = prepare(
        tmp_path, lambda f: tensors(f, captions=f.Sequence(f.Text())), {"train": examples}
    )
    assert {example.caption for example in both(path)} == {"a", "toy set"}


def test_texts_and_further_classes_are_labels_over_all_splits(tmp_path):
    def features(f):
        classes = {"digit": f.ClassLabel(names=["0", "1"]), "label": f.ClassLabel(names=["x", "y"])}
        return tensors(f, caption=f.Text(), url=f.Text(), hair=f.Text(), **classes)

    def example(i, hair):
        known = {"digit": i % 2, "label": 1, "hair": hair, "url": f"u{i}", "caption": f"c{i % 2}"}
        return {"image_sequence": clip(i), **known}

    train = [example(i, "pink" if i % 2 else "blue") for i in range(4)]
    path = prepare(tmp_path, features, {"train": train, "test": [example(4, "red")]})
    for split in ("train", "test"):
        source = opened(path, split)
        hair = ("blue", "pink", "red")
        assert source.labels == {"class": ("x", "y"), "digit": ("0", "1"), "hair": hair}
    assert source[0].labels == {"class": "y", "digit": "0", "hair": "red"} and source[0].label == 2


def test_a_group_of_a_set_without_test_split_stays_together(tmp_path):
    examples = [{"image_sequence": clip(i), "group": f"g{i // 3}"} for i in range(18)]
    path = prepare(tmp_path, lambda f: tensors(f, group=f.Text()), {"train": examples})
    train, test = (opened(path, split) for split in ("train", "test"))
    assert train.labels == {}
    assert test.indices == split_indices([f"g{i // 3}" for i in range(18)], "test")
    assert {i // 3 for i in test.indices}.isdisjoint(i // 3 for i in train.indices)
    assert len(test) + len(train) == 18


def test_reading_for_labels_ends_where_no_column_can_be_one(tmp_path, monkeypatch):
    examples = [{"image_sequence": clip(0, T=1), "url": str(i)} for i in range(30)]
    path = prepare(tmp_path, lambda f: tensors(f, url=f.Text()), {"train": examples})
    monkeypatch.setattr(data_source, "MAX_VALUES", 9)
    read, known = [], reading.Layout.known
    monkeypatch.setattr(reading.Layout, "known", lambda *a: read.append(1) or known(*a))
    assert reading.read_labels(path)[0] == {}
    assert len(read) == 10


def test_a_stock_video_feature_is_read(tmp_path):
    path = prepare(
        tmp_path,
        lambda f: {**images(f), "caption": f.Text(), "url": f.Text(), "id": f.Text()},
        {"train": [{"video": pictures(0), "caption": "红 dot", "url": "u", "id": "1"}]},
    )

    def as_video(content):  # as tensorflow-datasets writes it where TensorFlow is installed
        content["featuresDict"]["features"]["video"] = {
            "pythonClassName": "tensorflow_datasets.core.features.video_feature.Video",
            "video": {
                "shape": {"dimensions": ["-1", str(SIZE), str(SIZE), "3"]},
                "dtype": "uint8",
                "encodingFormat": "png",
            },
        }

    edit(path, "features.json", as_video)
    example = opened(path)[0]
    np.testing.assert_array_equal(example.video, expected(0))
    assert example.caption == "红 dot"
    assert "tensorflow" not in sys.modules


def test_videos_inside_a_sequence_of_steps(tmp_path):
    """As in bair_robot_pushing_small: several cameras, and the main one is meant."""

    def features(f):
        image = f.Image(shape=(SIZE, SIZE, 3))
        action = f.Tensor(shape=(2,), dtype=np.float32)
        return f.Sequence({"image_aux1": image, "image_main": image, "action": action})

    steps = {
        "image_aux1": pictures(5),
        "image_main": pictures(0),
        "action": np.zeros((FRAMES + 2, 2), np.float32),
    }
    path = prepare(tmp_path, lambda f: {"steps": features(f)}, {"train": [{"steps": steps}]})
    np.testing.assert_array_equal(opened(path)[0].video, expected(0))


def test_tfrecord_files_are_read_too(tmp_path):
    """The default format of tensorflow-datasets. Writing it needs TensorFlow, so by hand here."""
    path = prepare(tmp_path, images, {"train": [{"video": pictures(i)} for i in range(3)]})
    stored = records.Records(path, "train", reading.read_layout(path).features).data
    written = [stored[i] for i in range(3)]
    for file in path.glob("*array_record*"):
        file.unlink()
    for shard, part in enumerate((written[:2], written[2:])):
        data = b"".join(struct.pack("<Q", len(r)) + b"crc!" + r + b"crc!" for r in part)
        (path / f"toy_set-train.tfrecord-{shard:05d}-of-00002").write_bytes(data)

    def as_tfrecord(content):
        content["fileFormat"] = "tfrecord"
        content["splits"][0]["shardLengths"] = ["2", "1"]

    edit(path, "dataset_info.json", as_tfrecord)
    for i, example in enumerate(both(path)):
        np.testing.assert_array_equal(example.video, expected(i))
    last = path / "toy_set-train.tfrecord-00001-of-00002"
    last.write_bytes(last.read_bytes()[:-9])
    with pytest.raises(UserError, match="00001-of-00002: is truncated; prepare"):
        opened(path)


def test_clips_are_fitted_and_held(tmp_path):
    path = prepare(tmp_path, tensors, {"train": [{"image_sequence": clip(0, T=2)}]})
    video = opened(path, resolution=8)[0].video
    assert video.shape == (FRAMES, 8, 8, 3)
    np.testing.assert_array_equal(video[:2], transforms.fit(clip(0, T=2), 8))
    assert (video[2:] == video[1]).all()


def test_sets_are_found_by_name_version_and_path(tmp_path, monkeypatch):
    examples = {"train": [{"image_sequence": clip(0)}]}
    for version in ("1.9.0", "1.10.0"):
        prepare(tmp_path, tensors, examples, version=version)
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path))
    assert reading.locate("toy_set").name == "1.10.0"  # the newest, by number
    assert reading.locate("toy_set:1.9.0").name == "1.9.0"
    assert reading.locate(f"toy_set@{tmp_path}").name == "1.10.0"
    assert reading.locate(str(tmp_path / "toy_set" / "1.9.0")).name == "1.9.0"
    assert reading.locate(str(tmp_path / "toy_set")).name == "1.10.0"
    for configuration in ("b", "a"):
        (tmp_path / "many" / configuration / "2.0.0").mkdir(parents=True)
        (tmp_path / "many" / configuration / "2.0.0" / "features.json").write_text("{}")
    assert reading.locate("many/b").parent.name == "b"
    with pytest.raises(UserError, match="name one of many/a, many/b"):
        reading.locate("many")


def test_a_missing_set_says_how_to_prepare_it(tmp_path):
    with pytest.raises(
        UserError, match="not prepared in .*tfds build ucf101 --file_format"
    ) as caught:
        opened(f"ucf101@{tmp_path}")
    assert "TensorFlow is installed" in str(caught.value) and "\n" not in str(caught.value)


def remove_records(path):
    for file in path.glob("*array_record*"):
        file.unlink()


def claim_more(path):
    edit(path, "dataset_info.json", lambda c: c["splits"][0].update(shardLengths=["7"]))


def another_format(path):
    edit(path, "dataset_info.json", lambda c: c.update(fileFormat="riegeli"))


def no_json(path):
    (path / "dataset_info.json").write_text("{")


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (remove_records, "0 of 1 files toy_set-train.array_record-"),
        (claim_more, "1 of 7 examples"),
        (another_format, "holds riegeli; prepare it with --file_format=array_record"),
        (no_json, "dataset_info.json: cannot be read"),
    ],
)
def test_a_damaged_set_is_refused_when_opened(tmp_path, damage, message):
    path = prepare(tmp_path, tensors, {"train": [{"image_sequence": clip(0)}]})
    damage(path)
    with pytest.raises(UserError, match=message) as caught:
        opened(path)
    assert "prepare" in str(caught.value)


def test_a_set_without_video_names_its_features(tmp_path):
    path = prepare(
        tmp_path,
        lambda f: {"image": f.Tensor(shape=(4, 4, 3), dtype=np.uint8), "label": f.Text()},
        {"train": [{"image": np.zeros((4, 4, 3), np.uint8), "label": "x"}]},
    )
    with pytest.raises(UserError, match=r"no video among its features \(image, label\)"):
        opened(path)


def test_sources_can_be_sent_to_other_processes(tmp_path):
    path = prepare(tmp_path, tensors, {"train": [{"image_sequence": clip(i)} for i in range(3)]})
    source = opened(path)
    copy = pickle.loads(pickle.dumps(source))
    assert repr(copy) == repr(source) == repr(opened(path))
    np.testing.assert_array_equal(copy[1].video, source[1].video)


def test_without_the_libraries_their_names_are_given(tmp_path, monkeypatch):
    path = prepare(tmp_path, tensors, {"train": [{"image_sequence": clip(0)}]})
    monkeypatch.setattr(records, "_connectors", {})
    monkeypatch.setitem(sys.modules, "tensorflow_datasets", None)
    with pytest.raises(UserError, match="pip install tensorflow-datasets"):
        opened(path)
    monkeypatch.setitem(sys.modules, "array_record.python.array_record_data_source", None)
    with pytest.raises(UserError, match="pip install array-record"):
        opened(path)
