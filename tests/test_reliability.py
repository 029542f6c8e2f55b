"""Trainings that are killed lose nothing, and damaged checkpoints are never taken for good.

The long forms are ``python -m benchmarks.reliability``.
"""

import json
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


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["kills", "damge"], "no section 'damge'; did you mean 'damage'?"),
        (["kills", "--kinds", "planer"], "no kind of training 'planer'; did you mean 'planner'?"),
        (["kills", "--kills", "0"], "--kills must be 1 or more"),
        (["kills", "long", "--steps", "9"], "--steps "),
    ],
)
def test_bad_options_are_told_before_anything_is_begun(
    argv: list[str],
    words: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: pathlib.Path,
) -> None:
    monkeypatch.setattr(reliability, "kills", lambda *_, **__: pytest.fail("it was begun"))
    with pytest.raises(SystemExit) as exit:
        reliability.main([*argv, "--out", str(tmp_path / "found.json")])
    assert exit.value.code == 2 and words in capsys.readouterr().err


def test_figures_are_written_after_each_section(
    monkeypatch: pytest.MonkeyPatch, tmp_path: pathlib.Path
) -> None:
    def fail(folder: pathlib.Path) -> None:
        raise RuntimeError("the second one")

    monkeypatch.setattr(reliability, "damage", lambda folder, seed: {"equal": True, "files": 18})
    monkeypatch.setattr(reliability, "writer", fail)
    out = tmp_path / "new" / "found.json"
    with pytest.raises(RuntimeError, match="the second one"):
        reliability.main(["damage", "writer", "--out", str(out)])
    assert json.loads(out.read_text())["damage"]["files"] == 18
