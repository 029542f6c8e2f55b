"""The benchmark of reinforcement learning: its shaky clips, its rows, its table."""

import dataclasses
import json
import pathlib
import shutil
from typing import Any

import numpy as np
import pytest

from benchmarks import rl
from jaxvid import presets, reinforce
from jaxvid.data.scenes import Scenes
from jaxvid.gate import Check, Verdict


@pytest.mark.parametrize("spoil", [rl.shake, rl.flicker])
def test_worse_clips_are_less_smooth_and_keep_their_scripts(spoil: Any) -> None:
    source = Scenes("train", length=4)
    worse = rl.Worse(source, spoil)
    assert len(worse) == 4 and worse.name == source.name
    plain, spoilt = source[1], worse[1]
    assert spoilt.script == plain.script and spoilt.video.shape == plain.video.shape
    before, after = (
        np.abs(np.diff(v.astype(float), n=2, axis=0)).mean() for v in (plain.video, spoilt.video)
    )
    assert after > 1.5 * before
    np.testing.assert_array_equal(spoilt.video, worse[1].video)


def test_a_hand_that_shakes_by_whole_pixels_moves_them() -> None:
    frame = np.random.default_rng(0).integers(0, 256, (8, 8, 3)).astype(np.uint8)
    moved = rl._seen(frame, np.array([2.0, -1.0]), 1.0)
    np.testing.assert_array_equal(moved[2:, :-1], frame[:-2, 1:])
    np.testing.assert_array_equal(rl._seen(frame, np.zeros(2), 1.0), frame)


def test_a_zoom_enlarges_about_the_centre() -> None:
    square = np.zeros((9, 9, 1), np.uint8)
    square[3:6, 3:6] = 255
    large = rl._seen(square, np.zeros(2), 4.0)
    np.testing.assert_array_equal(large, 255)
    assert rl._seen(square, np.zeros(2), 0.5).sum() < 0.5 * square.sum()


def test_rows_are_runs_that_can_be_made() -> None:
    rows = rl.variants(rl.Options(seeds=2, steps=10))
    assert len(rows) == 10 and sum(name.startswith("control: chance") for name in rows) == 4
    assert rows["control: chance, KL 0.02, seed 1"].train.seed == 1
    base = presets.tiny_gan()
    for run in rows.values():
        reinforce.check_rewards(base, run)
        assert run.train.steps == 10
    assert rows["path, seed 1"].train.seed == 1
    without = rl.variants(rl.Options(rewards=("interpolation", "warping", "dynamics")))
    reinforce.check_rewards(rl.flickering_run(pathlib.Path("sprites")), without["path, seed 0"])
    flickering = rl.variants(rl.Options(flickering=pathlib.Path("sprites")))
    for name in rows.keys() & flickering.keys():
        less = rows[name].rl.response if rows[name].rl.algorithm == "policy" else rl.RESPONSE
        assert flickering[name].rl.response == less
    own = rl.variants(rl.Options(rewards=("dynamics",)))
    assert own["policy, seed 0"].rl.rewards == ("dynamics",)


def test_the_table_marks_what_failed(tmp_path: pathlib.Path) -> None:
    check = Check("motion", 0.1, 0.05, 0.2, "0.9 to 1.1", passed=False)
    verdict = Verdict((check,), {"jerk": (2.0, 1.0, 1.5)})
    found = {"control": dataclasses.asdict(verdict) | {"passed": verdict.passed}}
    row = rl.table(found).splitlines()[-1]
    assert "| control | failed |" in row and "0.100 (0.050 to 0.200) ✗" in row and "0.50" in row
    assert rl.table({}) == "nothing was tuned"
    grey = dataclasses.asdict(Verdict((check,), {"jerk": (0.0, 0.0, 0.0)})) | {"passed": False}
    assert "| - |" in rl.table({"path": grey}).splitlines()[-1]


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        (["--steps", "7"], "of other settings (steps 5, now 7); choose another --out"),
        (["--rewards", "dynamics"], "(rewards [], now ['dynamics'])"),
        (["--run", "OTHER"], "(run "),
        (["--run", "NONE"], "no generator in"),
        (["--only", "pth"], "no row begins with 'pth'; there are: policy, seed 0; policy"),
        (["--only", "path", "pth"], "no row begins with 'pth'; there are: policy, seed 0; policy"),
        (["--samples", "1"], "two samples"),
    ],
)
def test_rows_of_other_settings_are_not_passed_off(
    changes: list[str],
    says: str,
    tiny_run: pathlib.Path,
    tmp_path: pathlib.Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    out = tmp_path / "out"
    out.mkdir()
    options = rl.Options(run=tiny_run, out=out, steps=5)
    row = {"checks": [], "measured": {}, "passed": True}
    text = json.dumps({"settings": rl.settings(options), "rows": {"path, seed 0": row}})
    (out / "results.json").write_text(text)
    assert rl.opened(out / "results.json", options) == {"path, seed 0": row}
    shutil.copytree(tiny_run / "gan", tmp_path / "OTHER" / "gan")
    changes = [str(tmp_path / word) if word in ("OTHER", "NONE") else word for word in changes]
    argv = ["--run", str(tiny_run), "--out", str(out), "--steps", "5"]
    with pytest.raises(SystemExit) as stopped:
        rl.main([*argv, *changes])
    printed = capsys.readouterr()
    assert stopped.value.code == 2 and says in printed.err and "| run |" not in printed.out
    assert (out / "results.json").read_text() == text and not (out / "gan").exists()


def test_two_generators_at_once_are_refused(
    tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        rl.main(["--shaky", "--flickering", str(tmp_path), "--out", str(tmp_path / "out")])
    assert "choose one" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
