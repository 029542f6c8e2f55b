"""Trainings that are killed lose nothing, and damaged checkpoints are never taken for good.

The long forms are ``python -m benchmarks.reliability``.
"""

import pathlib

import pytest

from benchmarks import reliability


@pytest.mark.parametrize("kind", ["planner", "gan", "rl"])
def test_killed_trainings_end_as_uninterrupted_ones(tmp_path: pathlib.Path, kind: str) -> None:
    """Three kills, two of them inside a save: state and log are bit for bit the same."""
    found = reliability.kills(kind, tmp_path, rounds=3, steps=24, every=3, critics=False)
    assert found["kills"] == 3 and found["inside a save"] >= 1, found
    assert found["equal"], found


def test_every_damage_of_a_checkpoint_is_seen(tmp_path: pathlib.Path) -> None:
    found = reliability.damage(tmp_path, flips=8, restore=3)
    assert found["files"] > 10 and found["flips"] > 80 and found["restores"] > 10, found
    assert found["equal"], found
