"""Prompts and their scripts without pixels: what the planner is trained on."""

from collections.abc import Sequence

import numpy as np

from jaxvid import grammar
from jaxvid.data import tokenizer
from jaxvid.data.captions import Caption, describe
from jaxvid.data.scenes import SPLITS, Split, sample_script
from jaxvid.script import Script
from jaxvid.typing import HostBatch


class PromptSource:
    """Any example from its index alone: scene ``i`` of ``scenes.sample_script``, and a caption.

    Held-out combinations stay held out. ``batch`` gives what a planner step reads, without a video;
    an example takes about 0.1 ms, so nothing is worth keeping.
    """

    name = "prompts"

    def __init__(
        self,
        split: Split = "train",
        *,
        seed: int = 0,
        text_length: int = 128,
        length: int = 1 << 20,
    ) -> None:
        self.split, self.seed, self.text_length, self.length = split, seed, text_length, length

    def __repr__(self) -> str:
        return (
            f"PromptSource({self.split!r}, seed={self.seed}, text_length={self.text_length}, "
            f"length={self.length})"
        )

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> tuple[Caption, Script]:
        """The caption, in a language drawn for it, and the script of one example."""
        index = range(self.length)[index]  # IndexError past the end
        rng = np.random.default_rng((self.seed, SPLITS.index(self.split), index, 2))
        script = sample_script(self.seed, self.split, index)
        return describe(script, rng), script

    def batch(self, indices: Sequence[int] | np.ndarray) -> HostBatch:
        """``index`` (B,), ``text`` (B,L) and ``tokens`` (B,S), all int32; see jaxvid.typing."""
        pairs = [self[int(index)] for index in indices]
        text = [tokenizer.encode(caption.text, self.text_length) for caption, _ in pairs]
        batch = {"index": np.asarray(indices, np.int32), "text": np.stack(text)}
        return add_tokens(batch, [script for _, script in pairs])


def add_tokens(batch: HostBatch, scripts: Sequence[Script]) -> HostBatch:
    """The batch with ``tokens`` int32 (B,S) of its scripts added; see ``grammar.encode``."""
    return {**batch, "tokens": np.stack([grammar.encode(script) for script in scripts])}
