"""The batch contract of ``jaxvid.typing``, for examples with and without a script."""

import numpy as np
import pytest

from jaxvid import script
from jaxvid.data import tokenizer
from jaxvid.data.batch import collate
from jaxvid.data.source import Example
from jaxvid.typing import UserError

T, H = 4, 8
SHAPES = {
    "index": ((2,), np.int32),
    "video": ((2, T, H, H, 3), np.uint8),
    "times": ((2, T), np.float32),
    "text": ((2, 16), np.int32),
    "boxes": ((2, T, script.MAX_ACTORS, 4), np.float32),
    "visible": ((2, T, script.MAX_ACTORS), np.float32),
    "attributes": ((2, script.MAX_ACTORS, 3), np.int32),
    "background": ((2,), np.int32),
    "label": ((2,), np.int32),
}


def example(*, scripted=False, fps=8.0, frames=T, label=0):
    story = None
    if scripted:
        actor = script.Actor("e0", "right", (0.0, 0.2, 0.25, 0.25), (0.5, 0.2, 0.25, 0.25))
        shot = script.Shot(frames, (actor,))
        entity = script.Entity("e0", "star", "blue", "small")
        story = script.Script((entity,), (script.Scene("dark_grid", (shot,)),))
    video = np.full((frames, H, H, 3), int(scripted), np.uint8)
    return Example(video, "a star", fps, story, label=label)


def test_the_batch_follows_the_legend():
    batch = collate([example(scripted=True), example(fps=4.0)], [7, 3], text_length=16)
    assert {key: (array.shape, array.dtype) for key, array in batch.items()} == {
        key: (shape, np.dtype(kind)) for key, (shape, kind) in SHAPES.items()
    }
    np.testing.assert_array_equal(batch["index"], [7, 3])
    np.testing.assert_allclose(batch["times"], [np.arange(T) / 8, np.arange(T) / 4])
    assert tokenizer.decode(batch["text"][1]) == "a star"


def test_script_arrays_are_the_tracks_of_the_script():
    one = example(scripted=True)
    batch = collate([one, example()], [0, 1], text_length=16)
    expected = script.tracks(one.script, frames=T)
    np.testing.assert_array_equal(batch["boxes"][0], expected.boxes_TN4)
    np.testing.assert_array_equal(batch["attributes"][0], expected.attributes_N3)
    assert batch["background"][0] == expected.background > 0
    assert batch["visible"][0].any()


def test_without_a_script_everything_of_it_is_zero():
    batch = collate([example(scripted=True), example()], [0, 1], text_length=16)
    for key in ("boxes", "visible", "attributes", "background"):
        assert not batch[key][1].any(), key


def test_clips_of_different_shapes_are_refused():
    with pytest.raises(UserError, match="must give one shape"):
        collate([example(), example(frames=T + 1)], [0, 1], text_length=16)


def test_the_class_is_the_one_that_the_source_gave():
    batch = collate([example(label=3), example(scripted=True)], [0, 1], text_length=16)
    np.testing.assert_array_equal(batch["label"], [3, 0])
