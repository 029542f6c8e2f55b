"""The harness of the benchmarks: fair turns, honest ratios, regressions that are real ones."""

import contextlib
import copy
import gc
import importlib.util
import json
import pathlib
import time
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from benchmarks import harness, loader, resident, tables
from benchmarks.harness import Options, Way


@pytest.fixture(scope="module")
def row() -> dict[str, Any]:
    calls: list[str] = []

    def way(name: str, seconds: float) -> Way:
        def run() -> None:
            calls.append(name)
            time.sleep(seconds)

        return Way(run, compile_s=1.0)

    ways = {"ours": way("ours", 0.02), "slow": way("slow", 0.06), "fast": way("fast", 0.03)}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(harness, "SHORTEST", 0.01)  # one nap a sample
        made = harness.compare(
            "nap", ours="ours", ways=ways, options=Options(repeats=10), shapes="(1,)",
            mode="forward", flops=1e6, moved=1e3, bar=0.9, missing={"other": "is away"},
        )  # fmt: skip
    return {**made, "calls": calls}


def test_competitors_take_turns_in_changing_order(row: dict[str, Any]) -> None:
    pairs = [row["calls"][-6 * i - 6 :][:6] for i in range(10)]
    assert all(pair[::2] == pair[1::2] for pair in pairs), "each is timed after a run of its own"
    rounds = [tuple(pair[::2]) for pair in pairs]
    assert all(sorted(order) == ["fast", "ours", "slow"] for order in rounds)
    assert len(set(rounds)) > 2


def test_a_ratio_above_one_is_better_than_the_best_peer(row: dict[str, Any]) -> None:
    assert row["peer"] == "fast" and set(row["ways"]) == {"ours", "slow", "fast"}
    medians = {name: way["median"] for name, way in row["ways"].items()}
    assert medians["fast"] > medians["ours"] and row["ratio"] > 1
    ours = row["ways"]["ours"]
    assert ours["flops_per_s"] == 1e6 / ours["median"]
    assert ours["bytes_share"] == 1e3 / ours["median"] / row["roof"]["bytes_per_s"]
    fields = {name for names in harness.FIELDS for name in names.split(", ")}
    assert fields <= set(row)


def test_a_way_that_fails_is_missing_and_a_row_that_fails_does_not_end_the_run(
    monkeypatch: pytest.MonkeyPatch, tmp_path: pathlib.Path
) -> None:
    def fail() -> None:
        raise MemoryError("too little | of it")

    def rows(options: Options, **ways: Way) -> Iterator[tables.Row]:
        yield harness.compare(
            "nap", ours="ours", ways=ways, options=options, shapes="(1,)", mode="forward"
        )

    def benchmark(options: Options) -> Iterator[tables.Row]:
        good, bad = Way(lambda: None), Way(fail)
        yield from harness.survive("first", rows(options, ours=bad, peer=good))
        yield from harness.survive("second", rows(options, ours=good, peer=bad))

    monkeypatch.setattr(harness, "failures", [])
    monkeypatch.setattr(harness, "SHORTEST", 0.0)
    with pytest.raises(SystemExit) as exit:
        harness.main({"nap": benchmark}, ["--out", str(tmp_path)])
    assert exit.value.code == 1 and harness.failures == ["failed: first: too little / of it"]
    (row,) = json.loads((tmp_path / "nap.json").read_text())
    assert list(row["ways"]) == ["ours"] and row["missing"] == {"peer": "too little / of it"}


def test_only_what_leaves_both_spreads_is_a_regression(row: dict[str, Any]) -> None:
    assert tables.regressions([row], [row]) == []
    assert [tables.short(x, "s") for x in (0.9996, 0.9994, 2e-9)] == ["1 s", "999 ms", "0.002 µs"]
    worse = copy.deepcopy(row)
    worse["ratio"], worse["ratio_quartiles"] = 0.5, [0.4, 0.6]
    assert "nap (1,) forward, ratio 0.5" in tables.regressions([worse], [row])[0]
    assert tables.regressions([row], [worse]) == []
    wide = {**worse, "ratio_quartiles": [0.4, 2 * row["ratio"]]}
    assert tables.regressions([wide], [row]) == []
    elsewhere = {**row, "device": "another"}
    assert tables.regressions([worse], [elsewhere]) == []
    alone, slower = ({**copy.deepcopy(row), "peer": None} for _ in range(2))
    slower["ways"]["ours"] |= {"median": 1.0, "quartiles": [0.9, 1.1]}
    assert "forward, s 1 " in tables.regressions([slower], [alone])[0]
    assert tables.regressions([alone], [slower]) == []


def test_a_ratio_lies_within_its_own_quartiles() -> None:
    samples = {"ours": [1.0, 1.0, 5.0, 10.0, 10.0], "peer": [1.0, 1.0, 50.0, 10.0, 10.0]}
    row = harness.record("nap", ours="ours", samples=samples, shapes="(1,)", mode="asleep")
    assert row["ratio"] == 1.0 and row["ratio_quartiles"] == [1.0, 1.0]  # of medians: 2


HERE = {"device": "1 x here", "threads": 2, "versions": {"jax": "0"}, "date": "2026-11-27T10:00"}


def naps(*names: str, seconds: float = 1.0) -> Any:
    """A benchmark of rows that take no time."""

    def rows(options: Options) -> Iterator[tables.Row]:
        for name in names:
            if harness.wanted(options, name, "asleep"):
                samples = {"ours": [seconds] * 3}
                yield harness.record(name, ours="ours", samples=samples, shapes="(1,)",
                                     mode="asleep")  # fmt: skip

    return {"nap": rows}


@pytest.fixture
def short_and_long(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> pathlib.Path:
    """The JSON of two rows, measured at commit "a"; what comes then is of commit "b"."""
    monkeypatch.setattr(harness, "circumstances", lambda: {**HERE, "commit": "a"})
    harness.main(naps("short nap", "long nap"), ["--out", str(tmp_path)])
    monkeypatch.setattr(harness, "circumstances", lambda: {**HERE, "commit": "b"})
    return tmp_path / "nap.json"


def refused(argv: list[str], capsys: pytest.CaptureFixture[str], benchmarks: Any = None) -> str:
    """The one line on stderr of a command that ends with exit code 2, before it has measured."""
    with pytest.raises(SystemExit) as exit:
        harness.main(benchmarks or {"nap": lambda _: pytest.fail("measured")}, argv)
    err = capsys.readouterr().err
    assert exit.value.code == 2 and err.count("\n") == 1, err
    return err


def test_only_that_matches_nothing_says_what_there_is_and_leaves_what_there_was(
    short_and_long: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = [path.read_bytes() for path in sorted(short_and_long.parent.iterdir())]
    rows = naps("short nap", *(f"nap {i}" for i in range(20)))
    told = refused(["--out", str(short_and_long.parent), "--only", "shrt nap"], capsys, rows)
    assert "no row matches --only 'shrt nap'; there are: short nap asleep; nap" in told
    assert told.endswith("and 15 more\n")
    assert [path.read_bytes() for path in sorted(short_and_long.parent.iterdir())] == before
    harness.main(rows, ["--out", str(short_and_long.parent), "--only", "short", "8191"])
    assert "no row matches --only '8191'\n" in capsys.readouterr().out


def test_only_that_is_no_regular_expression_is_told(
    tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    told = refused(["--only", "(8", "--out", str(tmp_path)], capsys)
    assert "--only '(8' is no regular expression" in told and r"\(" in told


def test_rows_take_the_place_of_the_same_rows_alone(
    short_and_long: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    argv = ["--out", str(short_and_long.parent), "--only", "short"]
    harness.main(naps("short nap", "long nap", seconds=7.0), argv)
    elsewhere = {**HERE, "commit": "c", "device": "1 x there"}
    monkeypatch.setattr(harness, "circumstances", lambda: elsewhere)
    harness.main(naps("short nap"), argv)
    rows = json.loads(short_and_long.read_text())
    assert [(r["name"], r["commit"], r["ways"]["ours"]["median"]) for r in rows] == [
        ("short nap", "b", 7.0), ("long nap", "a", 1.0), ("short nap", "c", 1.0)
    ]  # fmt: skip
    parts = short_and_long.with_suffix(".md").read_text().split("1 x ")[1:]
    counts = [(part.count("short nap"), part.count("long nap")) for part in parts]
    assert counts == [(1, 0), (0, 1), (1, 0)] and parts[2].startswith("there")
    assert all(f"commit {commit}," in part for commit, part in zip("bac", parts, strict=True))


BAD = [None, "{}", "[1]", '[{"name": "short nap"}]', "[", "[]"]


@pytest.mark.parametrize("text", BAD)
def test_what_cannot_be_compared_with_is_told_before_measuring(
    text: str | None, tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "old.json"
    if text is not None:
        path.write_text(text)
    told = refused(["--against", str(path), "--out", str(tmp_path / "out")], capsys)
    assert "old.json: " in told and ("give the JSON" in told or "are of nothing" in told)


def test_rows_of_another_device_are_told_before_measuring(
    short_and_long: pathlib.Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(harness, "circumstances", lambda: {**HERE, "commit": "b", "threads": 1})
    told = refused(["--against", str(short_and_long)], capsys)
    assert "its rows are of 1 x here, 2 threads, and this is 1 x here, 1 threads" in told


@pytest.mark.parametrize("text", BAD[1:-1])
def test_a_file_that_holds_no_rows_is_not_written_over(
    text: str, tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "nap.json").write_text(text)
    assert "move it away" in refused(["--out", str(tmp_path)], capsys)
    assert [path.read_text() for path in tmp_path.iterdir()] == [text]


def test_a_comparison_says_what_it_compared(
    short_and_long: pathlib.Path, tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    argv = ["--against", str(short_and_long), "--out", str(tmp_path / "out")]
    harness.main(naps("short nap", "new nap"), argv)
    said = capsys.readouterr().out
    assert f"1 of 2 rows compared with {short_and_long}\nnothing is slower" in said
    assert "only there: long nap (1,) asleep\n" in said
    assert "only here: new nap (1,) asleep\n" in said
    told = refused(argv, capsys, naps("new nap"))
    assert "choose by --only from: short nap (1,) asleep; long nap (1,) asleep" in told
    assert len(json.loads((tmp_path / "out" / "nap.json").read_text())) == 2  # measured is kept
    with pytest.raises(SystemExit) as exit:
        harness.main(naps("short nap", seconds=9.0), argv)
    assert exit.value.code == 1 and "worse: short nap (1,) asleep" in capsys.readouterr().out


def test_rows_that_were_measured_elsewhere_are_named(row: dict[str, Any]) -> None:
    elsewhere = {**row, "device": "another"}
    other = {**row, "name": "yawn"}
    lines = tables.comparison(pathlib.Path("old"), [row, other], [other, elsewhere])
    threads = row["threads"]
    assert lines[-1] == (
        f"not compared, measured elsewhere: nap (1,) forward (another, {threads} threads)"
    )


def test_traces_of_other_shapes_have_folders_of_their_own(
    monkeypatch: pytest.MonkeyPatch, tmp_path: pathlib.Path
) -> None:
    folders: list[str] = []

    def trace(folder: str, **_: Any) -> contextlib.nullcontext[None]:
        folders.append(folder)
        return contextlib.nullcontext()

    monkeypatch.setattr(jax.profiler, "trace", trace)
    monkeypatch.setattr(harness, "SHORTEST", 0.0)
    options = Options(repeats=1, profile=tmp_path)
    for shapes in ("(1, 2)", "(1, 3)"):
        ways = {"ours": Way(lambda: None)}
        harness.compare("nap", ours="ours", ways=ways, options=options, shapes=shapes, mode="m")
    assert folders == [str(tmp_path / name) for name in ("nap_1_2_m", "nap_1_3_m")]


def test_waits_for_a_batch_are_asked_for_by_their_mode(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loader, "_step", lambda _: pytest.fail("measured"))
    with pytest.raises(pytest.fail.Exception):
        list(loader.rows(Options(only=("wait scenes training$",))))
    assert not list(loader.rows(Options(only=("wait scenes$",))))


def test_rows_are_written_as_json_table_and_plot(
    row: dict[str, Any], tmp_path: pathlib.Path
) -> None:
    tables.write([row], tmp_path, "nap")
    assert json.loads((tmp_path / "nap.json").read_text()) == [row]
    table = (tmp_path / "nap.md").read_text()
    assert "| nap (1,) | forward | ours 20" in table and "other: is away" in table
    assert f"{row['ratio']:.2f} (" in table and "| 0.90 |" in table
    widths = {line.count("|") for line in table.splitlines() if line.startswith("|")}
    assert len(widths) == 1
    drawn = importlib.util.find_spec("matplotlib") is not None
    assert (tmp_path / "nap.png").exists() == drawn


def test_jax_programs_know_their_compile_time_and_memory() -> None:
    way = harness.jax_way(lambda x: x @ x, jnp.ones((64, 64)))
    assert way.compile_s > 0 and way.memory is not None and way.memory >= 2 * 64 * 64 * 4


def test_a_way_places_its_arrays_once_as_its_peer_does() -> None:
    way = harness.jax_way(lambda x: x + 1, np.ones((64, 64), np.float32))
    with jax.transfer_guard("disallow"):  # NumPy's memory would be copied at every call
        way.run()


def _hungry() -> float:
    gc.disable()
    garbage: list[object] = [b"x" * 2**26]
    garbage.append(garbage)
    del garbage

    def run() -> int:
        gc.enable()
        gc.collect()  # the peak would be no higher than before
        return len(b"x" * 2**26)

    return resident.peak_growth(run)


def test_peak_memory_is_what_a_run_adds_in_a_process_of_its_own() -> None:
    assert abs(resident.in_child(_hungry) - 2**26) < 2**21
