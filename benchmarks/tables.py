"""How rows of the benchmarks are written and read: JSON, Markdown, a roofline, regressions."""

import importlib.util
import json
import pathlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from jaxvid.typing import UserError

Row = dict[str, Any]
NOISE = 0.03  # a change below it is none, however small the spread
SHOWN = 6  # names of a list in a message


def key(row: Row) -> tuple[Any, ...]:
    """What names a row: a later one of the same key takes its place, or is compared with it."""
    return tuple(row[field] for field in ("name", "shapes", "mode", "device", "threads"))


def place(row: Mapping[str, Any]) -> str:
    """Where a row was measured; what was measured elsewhere is not compared with it."""
    return f"{row['device']}, {row['threads']} threads"


def title(row: Row) -> str:
    """A row by what it is, wherever it was measured."""
    return f"{row['name']} {row['shapes']} {row['mode']}"


def few(names: Iterable[str]) -> str:
    """The first of the names, and how many more there are."""
    found = list(dict.fromkeys(names))
    more = [f"and {len(found) - SHOWN} more"] if len(found) > SHOWN else []
    return "; ".join([*found[:SHOWN], *more])


def read(path: pathlib.Path, fix: str) -> list[Row]:
    """The rows of a JSON that a benchmark wrote. Raises UserError for anything else."""
    try:
        rows = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(rows, list):
            raise TypeError(f"a {type(rows).__name__} in place of a list")
        table(rows)
        regressions(rows, rows)  # a row is what can be written and compared
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}; {fix}") from None
    except (ValueError, TypeError, LookupError, AttributeError) as error:
        raise UserError(f"{path}: holds no rows of a benchmark ({error!r}); {fix}") from None
    return rows


def merged(rows: Sequence[Row], earlier: Sequence[Row]) -> list[Row]:
    """The earlier rows, those that were measured anew replaced, and the new ones after them."""
    return list({key(row): row for row in (*earlier, *rows)}.values())


def write(rows: Sequence[Row], out: pathlib.Path, name: str) -> None:
    """NAME.json, NAME.md and, with matplotlib, NAME.png in the folder ``out``."""
    save(rows, out, name)
    if importlib.util.find_spec("matplotlib") and any(row.get("work") for row in rows):
        plot(rows, out / f"{name}.png")


def save(rows: Sequence[Row], out: pathlib.Path, name: str) -> None:
    """NAME.json and NAME.md alone."""
    from jaxvid.io.media import atomic_write_text

    out.mkdir(parents=True, exist_ok=True)
    atomic_write_text(out / f"{name}.json", json.dumps(rows, indent=1) + "\n")
    atomic_write_text(out / f"{name}.md", table(rows))


def table(rows: Sequence[Row]) -> str:
    """The rows as Markdown, those of one run under a line that says where and when it was."""
    parts: dict[str, list[Row]] = {}
    for row in rows:
        versions = ", ".join(f"{name} {version}" for name, version in row["versions"].items())
        head = f"{place(row)}, {versions}, commit {row['commit']}, {row['date']}"
        parts.setdefault(head, []).append(row)
    return "\n".join(_part(head, those) for head, those in parts.items()) or "No rows.\n"


def _part(head: str, rows: list[Row]) -> str:
    lines = [head, ""]
    lines += ["| what | mode | ours | best peer | ratio (quartiles) | bar | FLOP/s | of the matrix "
              "product | bytes/s | of the copy | compile | memory |"]  # fmt: skip
    lines += ["|" + "---|" * 12]
    lines += [line(row) for row in rows]
    notes = {f"{way}: {why}" for row in rows for way, why in row["missing"].items()}
    return "\n".join([*lines, "", *sorted(notes)]).rstrip() + "\n"


def line(row: Row) -> str:
    """One row of ``table``."""
    way = row["ways"][row["ours"]]
    peer, ratio, bar = "-", "-", "-" if row.get("bar") is None else f"{row['bar']:.2f}"
    if row.get("limit") is not None:
        bar = f"< {short(row['limit'], row['unit'])}"
    if row["peer"]:
        value = short(row["ways"][row["peer"]]["median"], row["unit"])
        low, high = row["ratio_quartiles"]
        peer, ratio = f"{row['peer']} {value}", f"{row['ratio']:.2f} ({low:.2f} to {high:.2f})"
    cells = [f"{row['name']} {row['shapes']}", row["mode"],
             f"{row['ours']} {short(way['median'], row['unit'])}", peer, ratio, bar]  # fmt: skip
    for rate in ("flops", "bytes"):
        known = f"{rate}_per_s" in way
        cells.append(short(way[f"{rate}_per_s"], "/s") if known else "-")
        cells.append(f"{way[f'{rate}_share']:.0%}" if known else "-")
    cells.append(short(way["compile_s"], "s") if way.get("compile_s") else "-")
    cells.append(short(way["memory"], "B") if way.get("memory") else "-")
    return f"| {' | '.join(cells)} |"


def short(value: float, unit: str) -> str:
    """Three digits and a prefix: 12.3 ms, 4.56 GB."""
    for factor, prefix in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"), (1.0, ""), (1e-3, "m")):
        if abs(value) >= 0.9995 * factor:  # of three digits
            return f"{value / factor:.3g} {prefix}{unit}"
    return f"{value * 1e6:.3g} µ{unit}"


def regressions(rows: Sequence[Row], earlier: Sequence[Row]) -> list[str]:
    """What has become worse by more than both spreads, on the same device, one line each.

    The ratio to the same peer is compared, which a busy machine leaves nearly alone; without a peer
    the seconds or bytes themselves.
    """
    before, found = {key(row): row for row in earlier}, []
    for row in rows:
        old = before.get(key(row))
        if old is None:
            continue
        if row["peer"] and row["peer"] == old["peer"]:
            what, now, then = "ratio", row["ratio_quartiles"], old["ratio_quartiles"]
            a, b, worse = row["ratio"], old["ratio"], now[1] < then[0] * (1 - NOISE)
        else:
            new, past = row["ways"][row["ours"]], old["ways"][old["ours"]]
            what, now, then = row["unit"], new["quartiles"], past["quartiles"]
            a, b, worse = new["median"], past["median"], now[0] > then[1] * (1 + NOISE)
        if worse:
            found.append(f"worse: {title(row)}, {what} {a:.3g} (before {b:.3g}; "
                         f"commit {old['commit']})")  # fmt: skip
    return found


def earlier_rows(path: pathlib.Path, here: Mapping[str, Any]) -> list[Row]:
    """Rows to be compared with. Raises UserError where none was measured on the device here."""
    rows = read(path, "give the JSON that a benchmark wrote")
    places = [place(row) for row in rows]
    if place(here) not in places:
        raise UserError(
            f"{path}: its rows are of {few(places) or 'nothing'}, and this is {place(here)}; "
            "compare with a run of this device"
        )
    return rows


def comparison(path: pathlib.Path, rows: Sequence[Row], earlier: Sequence[Row]) -> list[str]:
    """Lines that say what is slower, and what had no partner. Raises UserError where none had."""
    before = {key(row) for row in earlier}
    both = [row for row in rows if key(row) in before]
    if not both:
        has = few(map(title, earlier))
        raise UserError(f"{path}: has none of the rows measured now; choose by --only from: {has}")
    compared, now, then = ({title(row) for row in those} for those in (both, rows, earlier))
    apart = {
        "measured elsewhere": [f"{title(row)} ({place(row)})" for row in earlier
                               if title(row) in now - compared],
        "only there": [title(row) for row in earlier if title(row) not in now],
        "only here": [title(row) for row in rows if title(row) not in then],
    }  # fmt: skip
    lines = regressions(rows, earlier) or [f"nothing is slower than in {path}"]
    lines += [f"not compared, {why}: {few(names)}" for why, names in apart.items() if names]
    return [f"{len(both)} of {len(rows)} rows compared with {path}", *lines]


def plot(rows: Sequence[Row], path: pathlib.Path) -> None:
    """Roofline (Williams et al., 2009): operations per byte against FLOP/s, under the roof."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    rows = [
        row for row in rows if row.get("work") and row["work"]["flops"] and row["work"]["bytes"]
    ]
    if not rows:
        return
    newest = max(rows, key=lambda row: row["date"])
    rows = [row for row in rows if place(row) == place(newest)]  # a roof is of one machine
    top = float(np.median([row["roof"]["flops_per_s"] for row in rows]))
    slope = float(np.median([row["roof"]["bytes_per_s"] for row in rows]))
    figure, axes = pyplot.subplots(figsize=(8, 5))
    x = np.geomspace(0.1, 10_000, 200)
    axes.loglog(x, np.minimum(top, slope * x), color="black", label="roof (product, copy)")
    for way, marker in (("ours", "o"), ("peer", "x")):
        chosen = [row for row in rows if row[way]]
        axes.loglog(
            [row["work"]["flops"] / row["work"]["bytes"] for row in chosen],
            [row["ways"][row[way]]["flops_per_s"] for row in chosen],
            marker, label="jaxvid" if way == "ours" else "best peer",
        )  # fmt: skip
    axes.set(xlabel="operations per byte", ylabel="FLOP/s", title=rows[0]["device"])
    axes.legend()
    figure.savefig(path, dpi=120, bbox_inches="tight")
    pyplot.close(figure)
