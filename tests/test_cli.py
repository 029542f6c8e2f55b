"""The command lines: bad input is one line, exit code 2, no traceback and nothing half written."""

import pathlib
import subprocess
import sys
from collections.abc import Callable

import pytest

import train.gan
import train.planner
import train.quickstart
from jaxvid import cli, config, presets

ROOT = pathlib.Path(__file__).parents[1]


def refused(main: Callable[..., None], argv: list[str], capsys: pytest.CaptureFixture) -> str:
    """The one line on stderr with which ``main`` refuses ``argv``."""
    with pytest.raises(SystemExit) as stopped:
        main(argv)
    assert stopped.value.code == 2
    text = capsys.readouterr().err.strip()
    assert text.startswith("error: ") and "\n" not in text and "Traceback" not in text
    return text


def test_unknown_preset(capsys: pytest.CaptureFixture) -> None:
    assert "did you mean 'quickstart'" in refused(train.gan.main, ["--preset", "quickstrt"], capsys)


def test_misspelt_option_names_the_nearest(capsys: pytest.CaptureFixture) -> None:
    with pytest.raises(SystemExit) as stopped:
        train.gan.main(["--train.stepz", "5"])
    assert stopped.value.code == 2
    assert "--train.steps" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("argv", "says"),
    [
        (["--train.steps", "0"], "steps is 0"),
        (["--generator.width", "50"], "try heads=5"),
        (["--tasks.first", "0.9"], "add up to 1"),
    ],
)
def test_bad_values(argv: list[str], says: str, capsys: pytest.CaptureFixture) -> None:
    assert says in refused(train.gan.main, argv, capsys)


def test_missing_and_empty_folders(tmp_path: pathlib.Path, capsys: pytest.CaptureFixture) -> None:
    run = ["--run", str(tmp_path / "run")]
    for folder in (tmp_path / "none", tmp_path):
        says = refused(train.gan.main, ["--data", f"folder:{folder}", *run], capsys)
        assert str(folder) in says
    assert "tfds:NAME" in refused(train.gan.main, ["--data", "nonsense", *run], capsys)


def test_a_folder_of_broken_films(tmp_path: pathlib.Path, capsys: pytest.CaptureFixture) -> None:
    films = tmp_path / "films"
    films.mkdir()
    (films / "empty.mp4").write_bytes(b"")
    (films / "text.mp4").write_text("not a film")
    argv = ["--data", f"folder:{films}", "--run", str(tmp_path / "run")]
    with pytest.raises(SystemExit) as stopped:
        train.gan.main(argv)
    assert stopped.value.code == 2
    assert "Traceback" not in capsys.readouterr().err
    assert not list((tmp_path / "run").rglob("*.png"))


def test_a_run_folder_of_another_configuration(
    tiny_run: pathlib.Path, capsys: pytest.CaptureFixture
) -> None:
    says = refused(train.planner.main, ["--run", str(tiny_run)], capsys)
    assert "another configuration" in says and "planner.width 16, now" in says


def test_generate_refuses_before_it_computes(
    tiny_run: pathlib.Path, tmp_path: pathlib.Path, capsys: pytest.CaptureFixture
) -> None:
    out = str(tmp_path / "clip.mp4")
    base = ["generate", "--run", str(tiny_run), "--out", out]
    assert "empty" in refused(cli.main, [*base, " "], capsys)
    assert "100000 bytes" in refused(cli.main, [*base, "x" * 100_000], capsys)
    assert "give a prompt" in refused(cli.main, base, capsys)
    for bad in (str(tmp_path / "none" / "clip.mp4"), str(tmp_path / "clip.xyz"), str(tmp_path)):
        refused(
            cli.main, ["generate", "--run", str(tiny_run), "--out", bad, "a red circle"], capsys
        )
    assert "no generator" in refused(
        cli.main, ["generate", "--run", str(tmp_path), "--out", out, "a red circle"], capsys
    )
    assert "did you mean 'generate'" in refused(cli.main, ["generat"], capsys)
    assert not list(tmp_path.iterdir())


def test_generate_and_script_write_files(
    tiny_run: pathlib.Path, tmp_path: pathlib.Path, capsys: pytest.CaptureFixture
) -> None:
    story, film = tmp_path / "story.json", tmp_path / "clip.gif"
    cli.main(["script", "--run", str(tiny_run), "--out", str(story), "a red circle moves up"])
    cli.main(["generate", "--run", str(tiny_run), "--script", str(story), "--out", str(film)])
    assert "16 frames" in capsys.readouterr().out
    assert film.read_bytes()[:3] == b"GIF"


def test_bad_options_are_answered_without_jax(tmp_path: pathlib.Path) -> None:
    program = (
        "import sys, train.gan\n"
        "try: train.gan.main(['--preset', 'nope'])\n"
        "except SystemExit as stop: assert stop.code == 2\n"
        "assert 'flax' not in sys.modules\n"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_every_preset_is_a_run_and_survives_json() -> None:
    for kind, table in ((config.GanRun, presets.GAN), (config.PlannerRun, presets.PLANNER)):
        for make in table.values():
            run = make()
            assert isinstance(run, kind)
            assert config.from_json(kind, config.to_json(run)) == run


def test_dry_run_prints_costs(tmp_path: pathlib.Path, capsys: pytest.CaptureFixture) -> None:
    options = ["--planner.width", "16", "--planner.heads", "2", "--train.batch-size", "8"]
    train.planner.main(["--dry-run", "--run", str(tmp_path / "run"), *options])
    text = capsys.readouterr().out
    for part in ('"width": 16', "planner in all", "GFLOP", "MiB"):
        assert part in text
    assert not (tmp_path / "run").exists()
