"""From examples to a batch: the arrays of the legend in ``jaxvid.typing``."""

from collections.abc import Sequence

import numpy as np

from jaxvid.data import tokenizer
from jaxvid.data.source import Example
from jaxvid.script import MAX_ACTORS, Tracks, tracks
from jaxvid.typing import HostBatch, UserError


def collate(
    examples: Sequence[Example], indices: Sequence[int] | np.ndarray, *, text_length: int
) -> HostBatch:
    """Stacks examples. Without a script, boxes, visible, attributes and background are 0.

    ``indices`` are the addresses of the examples in their source. ``tokens`` is not added here:
    only the planner's side knows the grammar. Raises UserError where clips differ in shape.
    """
    shapes = {example.video.shape for example in examples}
    if len(shapes) != 1:
        raise UserError(
            f"clips of one batch have shapes {sorted(shapes)}; a source must give one shape"
        )
    T = len(examples[0].video)
    track = [_tracks(example, T) for example in examples]
    rate_B1 = np.array([[example.fps] for example in examples], np.float32)
    return {
        "index": np.asarray(indices, np.int32),
        "video": np.stack([example.video for example in examples]),
        "times": np.arange(T, dtype=np.float32)[None] / rate_B1,
        "text": np.stack([tokenizer.encode(example.caption, text_length) for example in examples]),
        "boxes": np.stack([t.boxes_TN4 for t in track]),
        "visible": np.stack([t.visible_TN for t in track]),
        "attributes": np.stack([t.attributes_N3 for t in track]),
        "background": np.stack([t.background for t in track]),
        "label": np.array([example.label for example in examples], np.int32),
    }


def _tracks(example: Example, T: int) -> Tracks:
    if example.script is not None:
        return tracks(example.script, frames=T)
    return Tracks(
        boxes_TN4=np.zeros((T, MAX_ACTORS, 4), np.float32),
        visible_TN=np.zeros((T, MAX_ACTORS), np.float32),
        attributes_N3=np.zeros((MAX_ACTORS, 3), np.int32),
        background=np.zeros((), np.int32),
    )
