"""Curves of a run as inline SVG, and what a report needs to say anything: safe text, short numbers.

Colours are CSS classes ``c0`` to ``c5``, which the report defines for light and dark pages.
"""

import dataclasses
import html
import json
import math
import pathlib
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

POINTS = 400  # of a series that are drawn; more would not be seen at this width
COLORS = 6  # then they return, dashed
WIDTH, HEIGHT = 520, 230
LEFT, RIGHT, TOP, BOTTOM = 58, 508, 8, 204  # of the plot, in the units of the drawing
EXTREME = 1e100  # a value beyond it counts as not finite, and one below its inverse as 0

# What a page must not hold: control characters, halves of surrogate pairs, non-characters, and the
# marks that reorder the text around them.
_HOSTILE = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff\u202a-\u202e\u2066-\u2069\ufdd0-\ufdef\ufffe\uffff]"
)


@dataclasses.dataclass(frozen=True, eq=False)
class Curve:
    """A chart over training steps; ``series``: name -> (steps, values), of equal length.

    Values that are None, not finite, or not positive on a ``log`` axis are left out, and counted
    below the chart. Raises ValueError where steps and values differ in number.
    """

    title: str
    series: Mapping[str, tuple[Any, Any]]
    log: bool = False

    def __post_init__(self) -> None:
        for name, (steps, values) in self.series.items():
            if len(steps) != len(values):
                raise ValueError(f"{name}: {len(steps)} steps, but {len(values)} values")


def read_curves(
    path: str | pathlib.Path, groups: Mapping[str, Sequence[str]], *, log: Collection[str] = ()
) -> list[Curve]:
    """Curves out of a run's ``metrics.jsonl``: for each title the metrics that it shows together.

    ``log``: the titles whose axis is logarithmic. Torn lines and values that are no numbers are
    passed over; a step written twice counts as written last. Titles without any point get no curve;
    nor does a file that is not there.
    """
    path, wanted = pathlib.Path(path), {name for names in groups.values() for name in names}
    found: dict[str, dict[float, float]] = {name: {} for name in wanted}
    if path.is_file():
        with path.open(encoding="utf-8", errors="replace") as file:
            for record in _records(file):
                if (step := _number(record.get("step"))) is None or not math.isfinite(step):
                    continue
                for name in wanted & record.keys():
                    if (value := _number(record[name])) is not None:
                        found[name][step] = value
    curves = []
    for title, names in groups.items():
        lines = {name: sorted(found[name].items()) for name in names if found[name]}
        series = {n: ([s for s, _ in line], [v for _, v in line]) for n, line in lines.items()}
        if series:
            curves.append(Curve(title, series, log=title in log))
    return curves


def _records(lines: Iterable[str]) -> Iterable[dict[str, Any]]:
    for line in lines:
        try:
            record = json.loads(line)  # takes NaN and Infinity too
        except (ValueError, RecursionError):
            continue
        if isinstance(record, dict):
            yield record


def _number(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        return float(value)
    except OverflowError:
        return math.inf


def plain(text: str, limit: int = 300) -> str:
    """Text as HTML that shows it and does nothing else, in an element or a quoted attribute.

    Past ``limit`` characters it is cut, and says how long it was.
    """
    cut = text if len(text) <= limit else f"{text[:limit]}… ({len(text):,} characters)"
    return html.escape(_HOSTILE.sub("\ufffd", cut))


def number(value: float | int | None, unit: str = "") -> str:
    """Four digits of a number, all of an int; of a share (unit "%") per cent with one decimal.

    Only 1 is 100.0%, and only 0 is 0.0%: near them it takes more decimals.
    """
    if value is None or math.isnan(value):
        return "–"
    if math.isinf(value):
        text = "∞" if value > 0 else "-∞"
    elif unit == "%":
        digits = 1
        while digits < 4 and round(100 * value, digits) in (0, 100) and value not in (0, 1):
            digits += 1
        text = f"{100 * value:,.{digits}f}%"
    elif isinstance(value, int):
        text = f"{value:,}"
    elif value != 0 and not 1e-4 <= abs(value) < 1e7:
        mantissa, power = f"{value:.2e}".split("e")
        text = f"{mantissa}e{int(power)}"
    else:
        size = math.floor(math.log10(abs(value))) if value else 3
        text = f"{value:,.{max(0, 3 - size)}f}"
    return text.replace("-", "\N{MINUS SIGN}")


@dataclasses.dataclass(frozen=True, eq=False)
class _Line:
    """The points of a series that can be drawn, values as log10 on a logarithmic axis."""

    name: str
    steps_N: np.ndarray
    values_N: np.ndarray
    dropped: int


def _line(name: str, steps: Any, values: Any, *, log: bool) -> _Line:
    steps_N = np.array([math.nan if s is None else float(s) for s in steps], np.float64)
    values_N = np.array([math.nan if v is None else float(v) for v in values], np.float64)
    for some_N in (steps_N, values_N):
        some_N[np.abs(some_N) < 1 / EXTREME] = 0
    good_N = (np.abs(steps_N) < EXTREME) & (np.abs(values_N) < EXTREME)  # False for NaN
    if log:
        good_N &= values_N > 0
    order = np.argsort(steps_N[good_N], kind="stable")
    steps_N, values_N = steps_N[good_N][order], values_N[good_N][order]
    values_N = np.log10(values_N) if log else values_N
    return _Line(name, steps_N, values_N, int(np.size(good_N) - good_N.sum()))


def draw(curve: Curve) -> str:
    """The chart as HTML: title, legend with the last smoothed values, drawing, what is not shown.

    Faint points are the values, where they are many the least and the greatest of each stretch;
    lines are means over 1/25 of the run. The axis holds 99 % of the points; those beyond it are
    drawn at its edge, and count so in the means, which one spike does not carry away.
    """
    lines = [_line(name, *line, log=curve.log) for name, line in curve.series.items()]
    dropped, lines = sum(line.dropped for line in lines), [n for n in lines if len(n.steps_N)]
    title = f'<figcaption dir="auto">{plain(curve.title)}</figcaption>'
    if not lines:
        return f'<figure class="curve">{title}<p class="muted">no finite points</p></figure>'
    x_range = _widened(min(n.steps_N[0] for n in lines), max(n.steps_N[-1] for n in lines), 0.0)
    # of fewer than 200 points this is all of them
    bottoms = [np.percentile(n.values_N, 0.5, method="lower") for n in lines]
    tops = [np.percentile(n.values_N, 99.5, method="higher") for n in lines]
    y_range = _widened(min(bottoms), max(tops), 0.04)
    drawn, legend, words = [_axes(x_range, y_range, log=curve.log)], [], []
    beyond = sum(int(((n.values_N < y_range[0]) | (n.values_N > y_range[1])).sum()) for n in lines)
    for place, line in enumerate(lines):
        heights_N = _smooth(np.clip(line.values_N, *y_range))
        last = number(10.0 ** heights_N[-1] if curve.log else float(heights_N[-1]))
        style = f"c{place % COLORS}" + (" dashed" if place >= COLORS else "")
        drawn.append(_marks(line, heights_N, x_range, y_range, style))
        swatch = f'<svg viewBox="0 0 22 8" aria-hidden="true"><path class="{style}" d="M1 4h20"/>'
        legend.append(f"<li>{swatch}</svg> <bdi>{plain(line.name, 60)}</bdi> <b>{last}</b></li>")
        words.append(f"{plain(line.name, 60)} ends at {last}")
    reason = "not finite, or not positive" if curve.log else "not finite"
    notes = [f"left out as {reason}: {dropped:,}"] if dropped else []
    notes += [f"beyond the axis, drawn at its edge: {beyond:,}"] if beyond else []
    note = f'<p class="muted small">{"; ".join(notes)}</p>' if notes else ""
    alt = f"{plain(curve.title)}, {'logarithmic ' if curve.log else ''}chart: {'; '.join(words)}"
    return (
        f'<figure class="curve">{title}<ul class="legend">{"".join(legend)}</ul>'
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{alt}">'
        f"{''.join(drawn)}</svg>{note}</figure>"
    )


def _widened(low: float, high: float, margin: float) -> tuple[float, float]:
    """A range with room around it, never empty."""
    room = margin * (high - low) if high > low else 0.1 * abs(low) or 1.0
    return float(low - room), float(high + room)


def _place(values_N: np.ndarray, span: tuple[float, float], to: tuple[int, int]) -> np.ndarray:
    shares_N = np.clip((values_N - span[0]) / (span[1] - span[0]), 0, 1)
    return to[0] + shares_N * (to[1] - to[0])


def _smooth(values_N: np.ndarray) -> np.ndarray:
    """Centred means over 1/25 of the values; at both ends over what there is of that."""
    count = len(values_N)
    first_N = np.maximum(np.arange(count) - count // 50, 0)
    after_N = np.minimum(np.arange(count) + count // 50 + 1, count)
    sums_N = np.concatenate([[0.0], np.cumsum(values_N)])
    return (sums_N[after_N] - sums_N[first_N]) / (after_N - first_N)


def _extremes(values_N: np.ndarray) -> np.ndarray:
    """Which values to draw of many: the least and the greatest of each of POINTS / 2 stretches."""
    if len(values_N) <= POINTS:
        return np.arange(len(values_N))
    chosen: list[int] = []
    for stretch in np.array_split(np.arange(len(values_N)), POINTS // 2):
        part = values_N[stretch]
        chosen += sorted({int(stretch[part.argmin()]), int(stretch[part.argmax()])})
    return np.array(chosen)


def _marks(
    line: _Line,
    heights_N: np.ndarray,
    x_range: tuple[float, float],
    y_range: tuple[float, float],
    style: str,
) -> str:
    """The points of a series, and over them its smoothed line."""

    def path(values_N: np.ndarray, chosen: np.ndarray, form: str) -> str:
        x = _place(line.steps_N[chosen], x_range, (LEFT, RIGHT))
        y = _place(values_N[chosen], y_range, (BOTTOM, TOP))
        return "".join(form.format(a, b) for a, b in zip(x, y, strict=True))

    count = len(line.steps_N)
    some = np.unique(np.linspace(0, count - 1, min(count, POINTS)).round().astype(int))
    points = path(line.values_N, _extremes(line.values_N), "M{:.1f} {:.1f}h0")
    smooth = "M" + path(heights_N, some, "L{:.1f} {:.1f}")[1:] + "h0"  # seen also if it is a point
    return f'<path class="points {style}" d="{points}"/><path class="{style}" d="{smooth}"/>'


def _axes(x_range: tuple[float, float], y_range: tuple[float, float], *, log: bool) -> str:
    """Grid lines, numbers at them, and the word for the steps."""
    parts, values = [], _even(*x_range)
    for value, x in zip(values, _place(np.array(values), x_range, (LEFT, RIGHT)), strict=True):
        parts.append(f'<path class="grid" d="M{x:.1f} {TOP}V{BOTTOM + 4}"/>')
        parts.append(f'<text x="{x:.1f}" y="{BOTTOM + 18}" class="x">{_tick(value, 10)}</text>')
    values = _decades(*y_range) if log else _even(*y_range)
    levels = np.log10(values) if log else np.array(values)
    for value, y in zip(values, _place(levels, y_range, (BOTTOM, TOP)), strict=True):
        parts.append(f'<path class="grid" d="M{LEFT} {y:.1f}H{RIGHT}"/>')
        parts.append(f'<text x="{LEFT - 6}" y="{y + 4:.1f}" class="y">{_tick(value, 6)}</text>')
    parts.append(f'<text x="0" y="{BOTTOM + 18}">step</text>')
    return "".join(parts)


def _tick(value: float, digits: int) -> str:
    text = re.sub(r"e\+?(-?)0*", r"e\1", f"{value:,.{digits}g}")  # 1e+09 is 1e9
    return text.replace("-", "\N{MINUS SIGN}")


def _even(low: float, high: float) -> list[float]:
    """Three to seven round numbers in the range."""
    rough = (high - low) / 5
    power = 10.0 ** math.floor(math.log10(rough))
    step = power * next(m for m in (1, 2, 2.5, 5, 10) if m * power >= rough * 0.999)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [n * step for n in range(first, last + 1)]


def _decades(low: float, high: float) -> list[float]:
    """Round numbers for an axis from 10**low to 10**high: powers of ten if there are enough."""
    powers = range(math.ceil(low), math.floor(high) + 1)
    if len(powers) >= 3:
        return [10.0**p for p in powers if p % math.ceil(len(powers) / 6) == 0]
    finer = [m * 10.0**p for p in range(math.floor(low), math.floor(high) + 1) for m in (1, 2, 5)]
    finer = [value for value in finer if low <= math.log10(value) <= high]
    return finer if len(finer) >= 3 else [v for v in _even(10.0**low, 10.0**high) if v > 0]
