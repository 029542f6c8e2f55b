"""Two processes as one: real ones, joined by gloo, with networks of a few thousand weights."""

import pathlib
import signal

import pytest

from benchmarks import multihost

FOUR = "--train.steps=4 --train.sample-every=2 --train.checkpoint-every=3".split()
FOUR += multihost.LIGHT


@pytest.mark.slow
def test_two_processes_train_as_one(tmp_path: pathlib.Path) -> None:
    """Critics and generator, the state split over both; samples are made from the gathered one."""
    multihost.train("gan", tmp_path / "one", FOUR, processes=1, devices=2)
    split = [*FOUR, "--mesh.fsdp=2"]
    multihost.train("gan", tmp_path / "two", split, processes=2, devices=1)
    assert multihost.apart(tmp_path / "one" / "gan", tmp_path / "two" / "gan") < 1e-5
    found = [
        {path.name for path in (tmp_path / run / "gan").rglob("*.png")} for run in ("one", "two")
    ]
    assert found[0] == found[1] == {"step_000002.png", "step_000004.png"}


@pytest.fixture(scope="module")
def straight(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    run = tmp_path_factory.mktemp("straight") / "run"
    multihost.train("planner", run, multihost.LONG, processes=2, devices=1)
    return run


def test_signals_to_one_process_end_both_and_lose_nothing(
    tmp_path: pathlib.Path, straight: pathlib.Path
) -> None:
    """SIGTERM to the second: both save the same step and end with 143. SIGKILL of it in what goes
    on from there: the first one ends too. What goes on from there ends as if nothing had been.
    """
    run = tmp_path / "run"
    codes, _ = multihost.interrupt(run, signal.SIGTERM, 1, step=13)
    step = multihost.saved(run)
    assert codes == [143, 143]
    assert 13 <= step < 40  # saved for the signal: the run's own checkpoints are at 40 and 60
    codes, seconds = multihost.interrupt(run, signal.SIGKILL, 1, step=step + 12)
    assert codes[1] == -signal.SIGKILL and codes[0] not in (0, 143) and seconds < 30
    multihost.train("planner", run, multihost.LONG, processes=2, devices=1)
    assert multihost.digest(run) == multihost.digest(straight)
    logs = [(r / "planner" / "metrics.jsonl").read_text() for r in (run, straight)]
    assert logs[0] == logs[1]
