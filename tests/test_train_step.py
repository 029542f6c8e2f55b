"""The benchmark of training steps: each case runs, from state to state, under jit and pmap."""

from typing import Any

import pytest

from benchmarks import harness, torch_ways, train_step
from benchmarks.harness import Options, Way


@pytest.mark.parametrize("backend", train_step.BACKENDS)
def test_a_step_goes_on_from_its_own_state(backend: Any) -> None:
    case = train_step.transformer_case(8, 12, width=16, layers=1, heads=2, vocabulary=11)
    way = train_step.step_way(case, backend)
    assert way.compile_s > 0
    way.run()
    way.run()  # where a donated state were used again, this would fail


def test_rows_hold_each_peer_with_its_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(train_step, "step_way", lambda *_: Way(lambda: None))
    case = train_step.Case(
        lambda: None, lambda: None, {}, "(1,)", bars=((train_step.COMPILED, 0.5),)
    )
    peers = {name: Way(lambda: None) for name in (train_step.EAGER, train_step.COMPILED)}
    found = list(train_step.case_rows(Options(repeats=1), "nap", case, peers, {}))
    assert [(row["mode"], row["peer"], row["bar"]) for row in found] == [
        ("jit, torch", "torch", None), ("jit, torch.compile", "torch.compile", 0.5),
        ("pmap, torch", "torch", None), ("pmap, torch.compile", "torch.compile", 0.5),
    ]  # fmt: skip
    alone = list(train_step.case_rows(Options(repeats=1), "nap", case, {}, {"torch": "gone"}))
    assert [row["mode"] for row in alone] == ["jit, alone", "pmap, alone"]
    assert all(row["peer"] is None and row["missing"] == {"torch": "gone"} for row in alone)


def test_a_peer_that_failed_has_a_row_that_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(train_step, "step_way", lambda *_: Way(lambda: None))
    case = train_step.Case(lambda: None, lambda: None, {}, "(1,)", flops=lambda: 5.0)
    gone = {train_step.EAGER: train_step.SKIPPED, train_step.COMPILED: "out of memory"}
    only = Options(repeats=1, only=("nap.*jit, torch.compile",))
    (row,) = train_step.case_rows(only, "nap", case, {}, gone)
    assert row["peer"] is None and row["missing"] == gone and row["work"]["flops"] == 5.0


def test_what_does_not_compile_is_named_and_does_not_end_the_run() -> None:
    def build(compiled: bool) -> Any:
        if compiled:
            raise RuntimeError("\n no compiler | here\nfor a reason")
        return lambda: None

    if harness.torch_or_none() is None:
        assert torch_ways.torch_ways(build) == ({}, {"torch": harness.PEER_HINT})
        return
    ways, missing = torch_ways.torch_ways(build)
    assert list(ways) == [torch_ways.EAGER]
    assert missing == {torch_ways.COMPILED: "no compiler / here"}
    ways, missing = torch_ways.torch_ways(build, compiled=False)
    assert list(ways) == [torch_ways.EAGER] and torch_ways.COMPILED in missing
    ways, missing = torch_ways.torch_ways(build, eager=False)
    assert ways == {} and missing[torch_ways.EAGER] == torch_ways.SKIPPED


def test_eager_can_be_asked_for_without_compiling() -> None:
    alone = harness.Options(only=("game jit, torch$",))
    assert harness.wanted(alone, "game", "jit, torch")
    assert not harness.wanted(alone, "game", "jit, torch.compile")
    assert not harness.wanted(alone, "game", "pmap, torch")
    assert harness.wanted(harness.Options(only=("nothing", "jit, torch")), "game", "jit, torch.x")


def test_rows_against_pytorch_ask_for_it_where_it_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    begun: list[str] = []
    monkeypatch.setattr(harness, "failures", [])
    monkeypatch.setattr(harness, "torch_or_none", lambda: None)
    monkeypatch.setattr(train_step, "_rows", lambda options, name, make: begun.append(name) or [])
    assert not list(train_step.rows(Options(only=("gan step.*jit, torch$", "rl step jit"))))
    assert begun == ["rl"]
    hint = "pip install 'jaxvid[bench]'"
    assert harness.failures == [f"failed: gan step: PyTorch is not installed; {hint}"]


def test_steps_without_a_twin_have_no_rows_against_one(monkeypatch: pytest.MonkeyPatch) -> None:
    begun: list[str] = []
    monkeypatch.setattr(train_step, "_rows", lambda options, name, make: begun.append(name) or [])
    assert not list(train_step.rows(Options(only=("(planner|rl) step.*torch",))))
    assert begun == []
    assert not list(train_step.rows(Options(only=("planner step jit, alone", "its samples"))))
    assert begun == ["planner", "rl"]
