"""One process writes in a run folder, and none is locked out by a process that is gone."""

import pathlib
import subprocess
import sys

import pytest

from jaxvid.io.lock import locked, one_writer
from jaxvid.typing import UserError

HOLD = """
import pathlib, sys, time
from jaxvid.io.lock import one_writer
with one_writer(pathlib.Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(600)
"""


def test_a_second_writer_is_refused_and_a_killed_one_forgotten(tmp_path: pathlib.Path) -> None:
    folder = tmp_path / "run" / "gan"
    command = [sys.executable, "-c", HOLD, str(folder)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as first:
        try:
            assert first.stdout is not None and first.stdout.readline() == "held\n"
            before = {path: path.read_bytes() for path in folder.iterdir()}
            with pytest.raises(UserError, match=f"process {first.pid} on .*--run") as caught:
                with one_writer(folder):
                    raise AssertionError
            assert caught.value.code == 73
            assert before == {path: path.read_bytes() for path in folder.iterdir()}
        finally:
            first.kill()  # SIGKILL
            first.wait()
    (folder / ".config.json.1234.tmp").write_text("half")  # what it was writing
    (folder / "kept.json").write_text("{}")
    with one_writer(folder), one_writer(folder):  # its file is there, its lock is not
        assert sorted(path.name for path in folder.iterdir()) == [".lock", "kept.json"]


def test_nothing_is_left_where_nothing_was_written(tmp_path: pathlib.Path) -> None:
    @locked
    def train(run: object, folder: pathlib.Path) -> None:
        assert (folder / ".lock").is_file()
        raise UserError("cannot")

    with pytest.raises(UserError, match="cannot"):
        train(None, tmp_path / "a" / "b")
    assert not list(tmp_path.iterdir())


def test_a_folder_that_cannot_be_made_is_a_user_error(tmp_path: pathlib.Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="choose another --run"):
        with one_writer(tmp_path / "file" / "x"):
            raise AssertionError
