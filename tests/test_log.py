"""Laws of the log: each step once, whatever was torn; and what a person reads."""

import builtins
import json
import pathlib
import sys
from typing import Any

import pytest

from jaxvid.io.log import RunLog


def opened(folder: pathlib.Path, start: int, **options: Any) -> RunLog:
    fixed = {"name": "gan", "steps": 20, "log_every": 5, "batch_size": 4}
    return RunLog(folder, start=start, **{**fixed, **options})


def lines(folder: pathlib.Path) -> list[dict[str, float]]:
    text = (folder / "metrics.jsonl").read_text("utf-8")
    assert not text or text.endswith("\n")
    return [json.loads(line) for line in text.splitlines()]


def write(folder: pathlib.Path, start: int, end: int, loss: float) -> None:
    with opened(folder, start) as log:
        for step in range(start + 1, end + 1):
            log.metrics(step, {"loss": loss, "other": step / 3})


def test_a_line_a_step_without_loss(tmp_path: pathlib.Path) -> None:
    write(tmp_path, 0, 7, 0.5)
    assert lines(tmp_path) == [{"step": i, "loss": 0.5, "other": i / 3} for i in range(1, 8)]


def test_a_resumed_log_has_each_step_once(tmp_path: pathlib.Path) -> None:
    write(tmp_path, 0, 12, 0.5)  # the checkpoint was at 10
    write(tmp_path, 10, 15, 0.25)
    assert [line["step"] for line in lines(tmp_path)] == list(range(1, 16))
    assert [line["loss"] for line in lines(tmp_path)] == [0.5] * 10 + [0.25] * 5
    write(tmp_path, 0, 2, 1.0)  # from the start
    assert [line["step"] for line in lines(tmp_path)] == [1, 2]


@pytest.mark.parametrize(
    "torn",
    [
        b'{"step": 4, "lo',
        b'{"step": 4',
        b"{",
        b"\0" * 40,
        b"\xff\xfe",
        b"7",
        b'[1]\n{"st',
        b"null\n",
    ],
)
def test_a_torn_last_line_is_dropped(tmp_path: pathlib.Path, torn: bytes) -> None:
    write(tmp_path, 0, 3, 0.5)
    with open(tmp_path / "metrics.jsonl", "ab") as file:
        file.write(torn)
    write(tmp_path, 3, 5, 0.25)
    assert [line["step"] for line in lines(tmp_path)] == [1, 2, 3, 4, 5]


def test_a_last_line_without_its_end_is_kept(tmp_path: pathlib.Path) -> None:
    (tmp_path / "metrics.jsonl").write_text('{"step": 1, "loss": 1}\n{"step": 2, "loss": 2}')
    write(tmp_path, 2, 3, 3.0)
    assert [line["loss"] for line in lines(tmp_path)] == [1, 2, 3]


def test_lines_reach_the_disk_while_training(tmp_path: pathlib.Path) -> None:
    with opened(tmp_path, 0) as log:
        for step in range(1, 8):
            log.metrics(step, {"loss": 1.0})
        assert len(lines(tmp_path)) >= 5  # flushed every log_every steps


def test_an_exception_loses_no_line(tmp_path: pathlib.Path) -> None:
    with pytest.raises(ZeroDivisionError), opened(tmp_path, 0) as log:
        log.metrics(1, {"loss": 1.0})
        raise ZeroDivisionError
    assert [line["step"] for line in lines(tmp_path)] == [1]


def test_a_file_gets_plain_lines(
    tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with opened(tmp_path, 10) as log:
        for step in range(11, 21):
            log.metrics(step, {"loss": 0.123456, "hidden": 9.0})
    said = capsys.readouterr().out.splitlines()
    assert len(said) == 2  # steps 15 and 20
    assert said[0].startswith("gan: step 15/20 | loss 0.123 | ")
    assert "clips/s" in said[1] and said[1].endswith("| 0:00 left") and "hidden" not in said[1]


def test_the_last_step_is_said_even_between_intervals(
    tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with opened(tmp_path, 0, steps=3) as log:
        for step in range(1, 4):
            log.metrics(step, {"loss": 1.0})
    assert capsys.readouterr().out.startswith("gan: step 3/3")


def test_a_terminal_gets_a_live_bar(
    tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    with opened(tmp_path, 0) as log:
        for step in range(1, 21):
            log.metrics(step, {"loss": 0.5})
    said = capsys.readouterr().out
    assert "20/20" in said and "loss 0.5" in said
    assert [line["step"] for line in lines(tmp_path)] == list(range(1, 21))


def test_without_tensorboard_a_run_goes_on(
    tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    real = builtins.__import__

    def missing(name: str, *args: Any, **options: Any) -> Any:
        if name.startswith("tensorboardX"):
            raise ImportError(name)
        return real(name, *args, **options)

    monkeypatch.setattr(builtins, "__import__", missing)
    with opened(tmp_path, 0, tensorboard=True) as log:
        log.metrics(1, {"loss": 1.0})
    assert "pip install 'jaxvid[tensorboard]'" in capsys.readouterr().out
