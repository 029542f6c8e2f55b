"""Laws of the account: parts add up to the whole, and lost work is counted once."""

import json
import pathlib

import jax.numpy as jnp
import pytest

from jaxvid import accounting, parallel
from jaxvid.accounting import Account


class Clock:
    """Seconds that pass when they are told to."""

    now = 100.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(accounting, "time", clock)
    monkeypatch.setattr(accounting, "matrix_rate", lambda: 100.0)
    monkeypatch.setattr(accounting, "_process_start", [90.0])
    monkeypatch.setattr(parallel, "compile_seconds", lambda: 2.0)
    return clock


def written(folder: pathlib.Path) -> dict:
    return json.loads((folder / "accounting.json").read_text())


def drive(account: Account, clock: Clock, start: int, end: int) -> None:
    """Steps of two seconds and 50 operations, half a second of waiting before each."""
    for step in range(start, end):
        with account.part("data"):
            clock.now += 0.5
        with account.step(step + 1):
            clock.now += 2
        account.count(50.0)


def test_parts_add_up_and_a_killed_process_is_charged(tmp_path: pathlib.Path, clock: Clock) -> None:
    account = Account(tmp_path)
    with account.part("compile"):
        clock.now += 7
    drive(account, clock, 0, 4)
    with account.part("checkpoint"):
        clock.now += 1
    account.write()
    parts = {"start": 8, "compile": 9, "data": 2, "checkpoint": 1, "sample": 0, "lost": 0}
    assert written(tmp_path)["seconds"] == {"productive": 8, **parts}
    assert written(tmp_path)["goodput"] == 8 / 28 and written(tmp_path)["utilisation"] == 0.25
    drive(account, clock, 4, 7)  # logged, but never written down: it is killed here
    clock.now = 1000.0
    account = Account(tmp_path)  # of another process, which resumes at step 4
    account.lost(4, 3)
    drive(account, clock, 4, 6)
    account.write()
    found = written(tmp_path)
    assert (found["steps"], found["lost_steps"], found["resumes"]) == (6, 3, 1)
    assert found["seconds"]["productive"] == 12 and found["seconds"]["lost"] == 6
    assert found["flops"] == 300 and found["utilisation"] == 0.25


def test_what_was_lost_before_the_first_account_has_no_price(
    tmp_path: pathlib.Path, clock: Clock
) -> None:
    """Killed before anything was written down: how long its steps took is not known."""
    account = Account(tmp_path)
    clock.now += 50
    account.lost(0, 200)
    drive(account, clock, 0, 10)
    account.write()
    found = written(tmp_path)
    assert (found["steps"], found["lost_steps"], found["seconds"]["lost"]) == (10, 200, 0)
    assert sum(found["seconds"].values()) == clock.now - 90


def test_a_return_moves_what_was_productive(tmp_path: pathlib.Path, clock: Clock) -> None:
    account = Account(tmp_path)
    drive(account, clock, 0, 10)
    account.lost(6, 4)
    account.write()
    found = written(tmp_path)
    assert (found["steps"], found["lost_steps"], found["step"]) == (6, 4, 6)
    assert found["seconds"]["productive"] == 12 and found["seconds"]["lost"] == 8
    assert sum(found["seconds"].values()) == clock.now - 90 and found["flops"] == 300


def test_what_compiles_in_a_step_is_named(
    tmp_path: pathlib.Path, capsys: pytest.CaptureFixture
) -> None:
    account = Account(tmp_path)
    surprise = parallel.compile_function(lambda x: x + 1)
    for step, size in enumerate((3, 3, 4)):
        x = jnp.zeros(size)
        with account.step(step):
            surprise(x)
    account.write()
    assert written(tmp_path)["recompiled"] == {"jit(<lambda>)": 2}
    assert "step 2 compiled jit(<lambda>)" in capsys.readouterr().out


@pytest.mark.parametrize("text", ["", "[]", "{", '{"seconds": 3}'])
def test_a_broken_account_begins_anew(tmp_path: pathlib.Path, clock: Clock, text: str) -> None:
    (tmp_path / "accounting.json").write_text(text)
    assert accounting.facts(tmp_path) == {}
    account = Account(tmp_path)
    drive(account, clock, 0, 1)
    account.close("test")
    assert accounting.facts(tmp_path)["lost steps"] == "0 of 1"
