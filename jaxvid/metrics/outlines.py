"""How well outlines were read: exact match, F1 over slots, and what went wrong.

An outline is right where every slot that the prompt states has its value, with as many looks,
takes and parts in the same roles. Pure Python over ``jaxvid.outline``.
"""

import collections
import dataclasses
from collections.abc import Sequence

from jaxvid.outline import Outline, agree, roles, stated


@dataclasses.dataclass(frozen=True)
class Score:
    """Of one prompt. ``right``, ``missed`` and ``invented`` are paths of slots."""

    exact: bool  # all that was stated, and the same looks, takes and parts
    strict: bool  # and nothing that was not
    right: tuple[str, ...]
    missed: tuple[str, ...]  # stated, but absent or of another value
    invented: tuple[str, ...]  # read, but not stated or of another value


def score(truth: Outline, read: Outline, *, optional: Sequence[str] = ()) -> Score:
    """Compares a read outline with what was stated.

    Numbers of places may differ by 0.05 of the frame. ``optional``: ends of paths that a prompt
    leaves to the picture or to taste, which count as stated in neither.
    """
    asked, found = stated(truth), stated(read)
    asked, found = (
        {path: v for path, v in said.items() if path.rpartition("/")[2] not in optional}
        for said in (asked, found)
    )
    right = tuple(path for path, v in asked.items() if path in found and agree(v, found[path]))
    missed = tuple(path for path in asked if path not in right)
    invented = tuple(path for path in found if path not in right)
    exact = not missed and roles(truth) == roles(read)
    return Score(exact, exact and not invented, right, missed, invented)


def summarise(scores: Sequence[Score]) -> dict[str, int | float]:
    """``exact`` and ``strict`` shares, and ``f1`` = 2 right / (stated + read) over all slots."""
    right = sum(len(s.right) for s in scores)
    wrong = sum(len(s.missed) + len(s.invented) for s in scores)
    return {
        "count": len(scores),
        "exact": sum(s.exact for s in scores) / max(len(scores), 1),
        "strict": sum(s.strict for s in scores) / max(len(scores), 1),
        "f1": 2 * right / max(2 * right + wrong, 1),
    }


def slots_missed(scores: Sequence[Score]) -> dict[str, int]:
    """How often each kind of slot was missed, the most frequent first: where to look next."""
    counts = collections.Counter(path.rpartition("/")[2] for s in scores for path in s.missed)
    return dict(counts.most_common())
