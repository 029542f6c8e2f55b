"""Text in pieces that know which slots of an outline they state, and the choices of a wording.

``english`` and ``chinese`` say an outline as pieces; joined, they are a prompt and, for each slot
that it states, the characters that say so: the truth that explanations are checked against.
"""

import dataclasses
from collections.abc import Iterable, Sequence
from typing import Literal, TypeVar

import numpy as np

Language = Literal["en", "zh"]
LANGUAGES: tuple[Language, ...] = ("en", "zh")
T = TypeVar("T")


@dataclasses.dataclass(frozen=True)
class Piece:
    """A run of characters and the slots (paths as in ``jaxvid.outline``) that it states."""

    text: str
    slots: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class Span:
    """The characters ``start`` up to ``end`` of a prompt state ``slot``."""

    slot: str
    start: int
    end: int


@dataclasses.dataclass(frozen=True)
class Wording:
    """A prompt, and which of its characters state which slot."""

    text: str
    spans: tuple[Span, ...]


def join(pieces: Iterable[Piece]) -> Wording:
    """The pieces one after another; white space around a piece is no part of its span."""
    text, spans = "", []
    for piece in pieces:
        start = len(text) + len(piece.text) - len(piece.text.lstrip())
        end = len(text) + len(piece.text.rstrip())
        spans += [Span(slot, start, end) for slot in piece.slots]
        text += piece.text
    return Wording(text, tuple(spans))


class Draw:
    """Random choices of a wording.

    Of each list of sentence forms with at least four the last quarter is held out: ``form`` never
    gives those to training, and mostly those to a held-out wording. ``training``: what people
    seldom do is drawn more often (``either``).
    """

    def __init__(self, rng: np.random.Generator, *, heldout: bool = False) -> None:
        self.rng, self.heldout, self.training = rng, heldout, False

    def pick(self, options: Sequence[T]) -> T:
        """Any of the options."""
        # random() costs a tenth of integers() and choice().
        return options[int(self.rng.random() * len(options))]

    def chance(self, probability: float) -> bool:
        """True with a probability."""
        return bool(self.rng.random() < probability)

    def either(self, probability: float, training: float = 0.5) -> bool:
        """True with a probability, another one in training, where what people seldom do would be
        too rare to be learnt."""
        return self.chance(training if self.training else probability)

    def form(self, forms: Sequence[T]) -> T:
        """A sentence form of this split."""
        held = max(1, len(forms) // 4) if len(forms) >= 4 else 0
        if held and self.heldout and self.chance(0.7):
            return self.pick(forms[-held:])
        return self.pick(forms[: len(forms) - held] if held else forms)
