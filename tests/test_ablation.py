"""The ablation: every variant is another run, and its table compares seed with seed."""

import pathlib

from benchmarks import ablation

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
