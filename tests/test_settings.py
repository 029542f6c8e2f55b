"""The benchmark of platform settings: each is left out in processes that have all the others."""

import os
from collections.abc import Callable

import pytest

from benchmarks import resident, settings
from benchmarks.harness import Options
from jaxvid import memory


def surroundings() -> dict[str, str]:
    return {name: value for values in settings.SETTINGS.values() for name in values
            if (value := os.environ.get(name)) is not None}  # fmt: skip


@pytest.mark.parametrize("name", settings.SETTINGS)
def test_a_process_lacks_the_one_setting(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the benchmark's own process was told is not passed on; after it, all is as it was."""
    monkeypatch.setenv("XLA_FLAGS", "--xla_of_the_parent=1")
    monkeypatch.setattr(memory, "huge_pages", lambda: (
        {} if "GLIBC_TUNABLES" in os.environ else {"GLIBC_TUNABLES": "asked"}
    ))  # fmt: skip
    before = dict(os.environ)
    with settings.environment({}):
        assert surroundings() == {"GLIBC_TUNABLES": "asked"}
    with settings.environment(settings.SETTINGS[name]):
        found = resident.in_child(surroundings)
    assert found == {"GLIBC_TUNABLES": "asked"} | settings.SETTINGS[name]
    assert dict(os.environ) == before


def test_rows_compare_with_and_without(monkeypatch: pytest.MonkeyPatch) -> None:
    runs = []

    def in_child(measure: Callable[[], object]) -> tuple[float, float]:
        assert measure is settings.measure
        runs.append(arenas := "MALLOC_ARENA_MAX" in os.environ)
        return (10.0, 3.0) if arenas else (8.0, 1.5)

    monkeypatch.setattr(resident, "in_child", in_child)
    (row,) = settings.rows(Options(repeats=1, only=("arenas.*step",)))
    assert runs == [False, True] * 3
    assert (row["name"], row["mode"], row["ratio"]) == ("two arenas a core", "step", 2.0)
    compiled, stepped = settings.rows(Options(repeats=1, only=("arenas",)))
    assert (compiled["ratio"], stepped["ratio"]) == (1.25, 2.0)
    assert list(settings.rows(Options(only=("nothing like it",)))) == []
