"""Options of the benchmarks: what is bad is told in one line before any work, with exit code 2."""

import functools
import types
from collections.abc import Callable, Sequence

import pytest

from benchmarks import fuzz, inbetween, multihost, presets, scaling
from jaxvid import examine, pipeline, sizes, training
from jaxvid import presets as gans

Main = Callable[[Sequence[str]], None]


def refused(main: Main, argv: Sequence[str], capsys: pytest.CaptureFixture[str]) -> str:
    """The one line on stderr of a command that ends with exit code 2."""
    with pytest.raises(SystemExit) as exit:
        main(argv)
    out, err = capsys.readouterr()
    assert exit.value.code == 2 and err.count("\n") == 1 and "|" not in out, err
    return err


@pytest.mark.parametrize(
    ("main", "argv", "words"),
    [
        (presets.main, ["nosuch"], "no preset 'nosuch'; use one of quickstart, tiny"),
        (presets.main, ["tiny", "--compile", "tinny"], "no preset 'tinny'; did you mean 'tiny'?"),
        (presets.main, ["tiny", "--compile", "small"], "--compile small: name it"),
        (scaling.main, ["--names", "nosuch"], "no preset 'nosuch'; use one of quickstart, tiny"),
        (multihost.main, ["--kinds", "foo"], "no kind of training 'foo'; use one of gan, planner"),
        (fuzz.main, ["mp5"], "no container 'mp5'; did you mean 'mp4'?"),
        (fuzz.main, ["mp4", "--count", "0"], "--count and --workers must be 1 or more"),
        (fuzz.main, ["mp4", "--workers", "0"], "--count and --workers must be 1 or more"),
        (inbetween.main, ["--factors", "0"], "--factors must be 2 or more"),
        (inbetween.main, ["--factors", "2", "1"], "--factors must be 2 or more"),
        (inbetween.main, ["--clips", "0"], "--clips 1 or more"),
    ],
)
def test_bad_options_are_told_before_any_work(
    main: Main,
    argv: list[str],
    words: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for module, work in ((sizes, "sizes"), (multihost, "start"), (scaling, "partitioned")):
        monkeypatch.setattr(module, work, functools.partial(pytest.fail, "work was begun"))
    assert words in refused(main, argv, capsys)


def test_known_frames_that_are_too_far_apart_are_told(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    run = gans.tiny_gan()
    monkeypatch.setattr(training, "load_gan", lambda folder: (None, None, run))
    monkeypatch.setattr(pipeline, "load", lambda folder: None)
    part = types.SimpleNamespace(section=types.SimpleNamespace(text="", figures=[]))
    monkeypatch.setattr(examine, "Subject", lambda *_: None)
    monkeypatch.setattr(examine, "inbetween", lambda *_, **__: part)
    monkeypatch.setattr(inbetween, "_cv2", lambda: pytest.importorskip("cv2"))
    most = run.data.frames - 1
    told = refused(inbetween.main, ["--factors", "2", str(most + 1)], capsys)
    assert f"clips allow --factors of {most} at most" in told
    inbetween.main(["--factors", "2", str(most)])
