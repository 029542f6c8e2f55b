"""The ablation: every variant is another run, and its table compares seed with seed."""

import json
import pathlib

import pytest

from benchmarks import ablation
from jaxvid import training
from jaxvid.config import GanRun
from jaxvid.typing import UserError

BUDGET = "200 x 8"


def test_every_variant_changes_one_part_of_the_same_run() -> None:
    base = ablation._run(ablation.Options(out=pathlib.Path("nowhere")), 0)
    runs = [change(base) for change in ablation.variants().values()]
    assert runs[0] == base
    assert all(a != b for i, a in enumerate(runs) for b in runs[:i])
    for run in runs:
        assert (run.train, run.data, run.generator) == (base.train, base.data, base.generator)


def test_the_table_compares_each_seed_with_the_first_row_s() -> None:
    first, other = list(ablation.variants())[:2]
    row = {"lost": 0.0, "all": 0.5, "jerk": 1.0, "diversity": 0.9, "critics": 0.5}
    results = {
        f"{first} / 0 / {BUDGET}": row | {"mse": 0.001},
        f"{first} / 1 / {BUDGET}": row | {"mse": 0.01},
        f"{other} / 0 / {BUDGET}": row | {"mse": 0.003},
        f"{other} / 1 / {BUDGET}": row | {"mse": 0.01},
        f"{other} / 2 / {BUDGET}": {"lost": 1.0},
        f"{other} / 0 / 9 x 9": row | {"mse": 7.0},
    }
    _, _, top, second, third, *_ = ablation.table(results, BUDGET).splitlines()
    cells = [cell.strip() for cell in second.split("|")[1:-1]]
    assert cells[:4] == [other, "3, 1", "0.0065 (0.0030 to 0.0100)", "2.00 (1.00 to 3.00)"]
    assert top.split("|")[4].strip() == "1.00 (1.00 to 1.00)"
    assert third.split("|")[2:5] == [" 0, 0 ", " - ", " - "]


@pytest.mark.parametrize(
    ("told", "lost"),
    [
        (UserError("gan: lost 4 times, at last because step 9 is worse; lower --optim.lr"), True),
        (UserError("gan holds another configuration (loss.augment); choose another --run"), False),
        (UserError("gan is being written by another process (7); wait for it", code=73), False),
        (UserError("checkpoint 8 was not saved: No space left on device", code=74), False),
    ],
)
def test_only_a_game_that_was_lost_counts_as_lost(
    told: UserError, lost: bool, monkeypatch: pytest.MonkeyPatch, tmp_path: pathlib.Path
) -> None:
    def train(run: GanRun, folder: pathlib.Path) -> None:
        raise told

    monkeypatch.setattr(training, "train_gan", train)
    argv = ["--out", str(tmp_path), "--seeds", "1", "--only", "minimax"]
    if lost:
        ablation.main(argv)
        assert list(json.loads((tmp_path / "results.json").read_text()).values()) == [{"lost": 1.0}]
        return
    with pytest.raises(SystemExit) as exit:
        ablation.main(argv)
    assert exit.value.code == told.code and not (tmp_path / "results.json").exists()


def test_runs_of_another_budget_have_folders_of_their_own(
    monkeypatch: pytest.MonkeyPatch, tmp_path: pathlib.Path
) -> None:
    seen: list[pathlib.Path] = []
    monkeypatch.setattr(ablation, "_one", lambda run, folder: seen.append(folder) or {"lost": 1.0})
    for budget in ([], ["--steps", "9"], ["--batch", "2"]):
        ablation.main(["--out", str(tmp_path), "--seeds", "2", "--only", "minimax", *budget])
    assert len(seen) == len(set(seen)) == 6


def test_a_variant_that_does_not_exist_is_refused_before_any_is_trained(
    tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    with pytest.raises(SystemExit) as exit:
        ablation.main(["--out", str(out), "--only", "minimax", "nosuch"])
    assert exit.value.code == 2 and not out.exists()
    assert "no variant begins with 'nosuch'; there are: as it is" in capsys.readouterr().err
