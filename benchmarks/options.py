"""Options of the benchmarks: those of the tables, and checks that tell a bad one before work is
done, in one line that names what would be a good one."""

import dataclasses
import difflib
import pathlib
import re
from collections.abc import Collection, Sequence

from benchmarks import tables
from jaxvid import cli
from jaxvid.typing import UserError


@dataclasses.dataclass(frozen=True)
class Options:
    """Times jaxvid against what one would use instead, in turn, in one process."""

    out: pathlib.Path = pathlib.Path("runs/benchmarks")
    """Folder for NAME.json, NAME.md and, where matplotlib is there, the roofline NAME.png. What is
    measured takes the place of the same rows there, other rows stay."""
    repeats: int = 15
    """Rounds; in each, every competitor runs once, in another order."""
    only: tuple[str, ...] = ()
    """Rows in whose name and mode one of these regular expressions is found."""
    against: pathlib.Path | None = None
    """JSON of an earlier run: regressions beyond the spread are named, and the exit code is 1."""
    profile: pathlib.Path | None = None
    """Folder for a trace of each row (perfetto_trace.json.gz: open it in ui.perfetto.dev)."""


offered: list[str] = []  # rows that ``wanted`` was asked about


def wanted(options: Options, name: str, mode: str) -> bool:
    """Whether ``--only`` lets this row through: ask before preparing its ways."""
    offered.append(f"{name} {mode}")
    return not options.only or _found(options.only, offered[-1:])


def check(options: Options) -> None:
    """Raises UserError for what no run can be made of."""
    if options.repeats < 10:
        raise UserError(f"repeats is {options.repeats}; medians need at least 10")
    for part in options.only:
        try:
            re.compile(part)
        except re.error as error:
            hint = r"a bracket is written \( or \["
            raise UserError(f"--only {part!r} is no regular expression ({error}); {hint}") from None


def check_matched(options: Options) -> None:
    """Raises UserError where no row was measured, because ``--only`` is found in none."""
    if options.only:
        only = " ".join(map(repr, options.only))
        names = list(dict.fromkeys(offered))
        close = difflib.get_close_matches(only, names, n=len(names) or 1, cutoff=0.0)
        raise UserError(f"no row matches --only {only}; there are: {tables.few(close)}")


def unmatched(options: Options) -> list[str]:
    """Those of ``--only`` that are found in no row."""
    return [part for part in options.only if not _found((part,), offered)]


def _found(parts: Sequence[str], names: Sequence[str]) -> bool:
    return any(re.search(part, name) for part in parts for name in names)


def known(names: Collection[str], choices: Collection[str], what: str) -> None:
    """Raises UserError for a name that is none of the choices."""
    for name in names:
        if name not in choices:
            raise UserError(f"no {what} {name!r}; {cli.nearest(name, dict.fromkeys(choices))}")


def beginning(only: tuple[str, ...], names: Collection[str], what: str) -> list[str]:
    """Those of ``names`` that begin with one of ``only``, all where that is empty.

    Raises UserError for one of ``only`` with which none begins.
    """
    for part in only:
        if not any(name.startswith(part) for name in names):
            raise UserError(f"no {what} begins with {part!r}; there are: {'; '.join(names)}")
    return [name for name in names if name.startswith(only or ("",))]
