"""The report of an evaluation: one HTML file that needs no network, no script and no fonts.

    figures = [Figure("colour", 0.99, floor=0.2, ceiling=1.0, unit="%")]
    write_report("report.html", title="quickstart", facts={"step": "400"},
                 sections=[Section("Prompts", "What the reader saw in the clips.", figures)],
                 rows=[Row("a red circle", [Film("generated", made), Film("real", real)])],
                 curves=read_curves("runs/quickstart/gan/metrics.jsonl", {"loss": ["d_critic"]}))

Whatever text it is given is shown, never obeyed. Letters: T frames, H, W pixels, C channels.
"""

import base64
import dataclasses
import math
import pathlib
import tempfile
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np

from jaxvid.io.chart import Curve, draw, number, plain, read_curves
from jaxvid.io.media import MAX_FPS, Path, Video, atomic_write_text, check_writable, write_video
from jaxvid.typing import UserError

__all__ = ["Confusion", "Curve", "Figure", "Film", "Row", "Section"]
__all__ += ["read_curves", "render_report", "write_report"]

SHOWN = 192  # pixels that the longer side of a small clip has about on the page
LOSSLESS = 64  # pixels a side up to which clips are kept exactly
QUALITY = 95  # of WebP beyond that: a clip of 128 x 128 takes a sixth of what lossless takes

Better = Literal["higher", "lower", "near ceiling"]
_ARROWS = {"higher": "↑", "lower": "↓", "near ceiling": "≈"}


@dataclasses.dataclass(frozen=True)
class Figure:
    """A measured value between what a blind model reaches and what real clips reach.

    None and NaN stand for what was not measured. ``unit`` "%": shares from 0 to 1, shown per cent.
    ``better``: "near ceiling" is for what may overshoot, such as the speed of motion.
    """

    name: str
    value: float | int | None
    floor: float | int | None = None
    ceiling: float | int | None = None
    unit: str = ""
    better: Better = "higher"
    note: str = ""


@dataclasses.dataclass(frozen=True)
class Section:
    """Figures that belong together, under a title and a paragraph that says how they were taken."""

    title: str
    text: str
    figures: Sequence[Figure]


@dataclasses.dataclass(frozen=True, eq=False)
class Film:
    """A clip that plays in the page, for ever: (T,H,W,3) uint8 sRGB."""

    label: str
    video_THWC: Video
    fps: float | int = 8


@dataclasses.dataclass(frozen=True, eq=False)
class Row:
    """Films side by side: generated and real, before and after."""

    caption: str
    clips: Sequence[Film]


@dataclasses.dataclass(frozen=True)
class Confusion:
    """What a discriminator took real and generated clips for, judged real over ``threshold``."""

    real_judged_real: float | int
    real_judged_generated: float | int
    generated_judged_real: float | int
    generated_judged_generated: float | int
    threshold: float | int | None = None


def write_report(
    path: Path,
    *,
    title: str,
    facts: Mapping[str, str],
    sections: Sequence[Section] = (),
    rows: Sequence[Row] = (),
    curves: Sequence[Curve] = (),
    confusion: Confusion | None = None,
) -> None:
    """Writes the page, whole or not at all.

    Raises UserError for a path that cannot be written or is not ``.html``, before any work, and for
    films that cannot be written (no frames, fps out of range).
    """
    path = check_writable(path, kinds=(".html",))
    page = render_report(
        title=title, facts=facts, sections=sections, rows=rows, curves=curves, confusion=confusion
    )
    atomic_write_text(path, page)


def render_report(
    *,
    title: str,
    facts: Mapping[str, str],
    sections: Sequence[Section] = (),
    rows: Sequence[Row] = (),
    curves: Sequence[Curve] = (),
    confusion: Confusion | None = None,
) -> str:
    """The page as text; the same values give the same page."""
    parts = []  # (title, HTML)
    if rows:
        parts.append(("Clips", _rows(rows)))
    if sections:
        parts.append(("Figures", _LEGEND + "".join(_section(section) for section in sections)))
    if confusion is not None:
        parts.append(("Discriminator", _confusion(confusion)))
    if curves:
        charts = "".join(draw(curve) for curve in curves)
        parts.append(("Training", f'{_CURVES}<div class="curves">{charts}</div>'))
    links = "".join(f'<a href="#{name.lower()}">{name}</a>' for name, _ in parts)
    body = "".join(
        f'<section id="{name.lower()}"><h2>{name}</h2>{html}</section>' for name, html in parts
    )
    entries = "".join(
        f'<div{_LONG if len(value) > 26 else ""}><dt dir="auto">{plain(key)}</dt>'
        f'<dd dir="auto">{plain(value)}</dd></div>'
        for key, value in facts.items()
    )
    head = f'<header><h1 dir="auto">{plain(title)}</h1><nav>{links}</nav></header>'
    return (
        f"{_HEAD}<title>{plain(title)}</title><style>{_STYLE}</style></head>\n<body>"
        f"<main>{head}<dl>{entries}</dl>{body}</main></body></html>\n"
    )


def _rows(rows: Sequence[Row]) -> str:
    lines = []
    for row in rows:
        films = "".join(_film(film, row.caption) for film in row.clips)
        wide = " wide" if len(row.clips) > 2 else ""
        caption = f'<figcaption dir="auto">{plain(row.caption)}</figcaption>'
        lines.append(
            f'<figure class="row{wide}">{caption}<div class="films">{films}</div></figure>'
        )
    text = f"<p>Shown pixel by pixel, exactly up to {LOSSLESS} pixels a side; larger ones are"
    return f'{text} compressed.</p><div class="rows">{"".join(lines)}</div>'


def _film(film: Film, caption: str) -> str:
    T, H, W, _ = film.video_THWC.shape
    data = base64.b64encode(_webp(film)).decode()
    scale = max(1, round(SHOWN / max(H, W)))
    kind = ' class="pixels"' if scale > 1 else ""
    alt = f"{plain(film.label, 60)}, {T} frames of {W} × {H} pixels: {plain(caption)}"
    return (
        f'<div class="film" style="flex-basis:{W * scale}px"><img{kind} width="{W * scale}"'
        f' height="{H * scale}" alt="{alt}" src="data:image/webp;base64,{data}">'
        f'<span dir="auto">{plain(film.label, 60)}</span></div>'
    )


def _webp(film: Film) -> bytes:
    """An animated WebP: browsers play it in an <img>, without script and without codecs."""
    T, H, W, _ = film.video_THWC.shape
    if 0 in (T, H, W) or not 0 < film.fps <= MAX_FPS:
        raise UserError(f"film {film.label!r:.40}: needs frames and 0 < fps <= {MAX_FPS:g}")
    if max(H, W) <= LOSSLESS:
        with tempfile.TemporaryDirectory() as folder:
            path = pathlib.Path(folder) / "film.webp"
            write_video(path, film.video_THWC, fps=film.fps)
            return path.read_bytes()
    import imageio.v3 as iio

    ends = [round(t * 1000 / film.fps) for t in range(T + 1)]
    options: dict[str, Any] = {"duration": np.diff(ends).tolist(), "loop": 0, "quality": QUALITY}
    return iio.imwrite("<bytes>", film.video_THWC, extension=".webp", plugin="pillow", **options)


def _section(section: Section) -> str:
    head = "".join(f'<th scope="col">{name}</th>' for name in ("value", "floor", "ceiling"))
    body = "".join(_figure(figure) for figure in section.figures)
    text = f'<p dir="auto">{plain(section.text, 2000)}</p>' if section.text else ""
    table = (
        f'<div class="scroll"><table class="figures"><thead><tr><th scope="col"></th>{head}'
        f'<th scope="col">floor to ceiling</th></tr></thead><tbody>{body}</tbody></table></div>'
    )
    return f'<h3 dir="auto">{plain(section.title)}</h3>{text}{table if section.figures else ""}'


def _figure(figure: Figure) -> str:
    """A row of the table."""
    unit = (
        "" if figure.unit in ("", "%") else f' <span class="muted">{plain(figure.unit, 30)}</span>'
    )
    note = f'<div class="muted small" dir="auto">{plain(figure.note)}</div>' if figure.note else ""
    arrow = f'<span class="muted" title="{figure.better} is better">{_ARROWS[figure.better]}</span>'
    missing = figure.value is None or math.isnan(figure.value)
    value = (
        '<span class="muted small">not measured</span>'
        if missing
        else f"<b>{number(figure.value, figure.unit)}</b>"
    )
    numbers = (value, number(figure.floor, figure.unit), number(figure.ceiling, figure.unit))
    cells = "".join(f"<td>{text}</td>" for text in numbers)
    name = f"<bdi>{plain(figure.name, 120)}</bdi>{unit} {arrow}{note}"
    return f'<tr><th scope="row">{name}</th>{cells}<td class="bar">{_bar(figure)}</td></tr>'


def _share(figure: Figure) -> float | None:
    """Where the value lies from the floor (0) to the ceiling (1); None where one is missing."""
    floor, ceiling = figure.floor, figure.ceiling
    if floor is None and figure.better == "near ceiling":
        floor = 0.0
    if figure.value is None or floor is None or ceiling is None or floor == ceiling:
        return None
    share = (figure.value - floor) / (ceiling - floor)
    return share if math.isfinite(share) else None


def _bar(figure: Figure) -> str:
    """A bar from floor to ceiling; for "near ceiling" a track with the ceiling in its middle."""
    share = _share(figure)
    if share is None:
        return ""
    near = figure.better == "near ceiling"
    text = f"{share:.2f} ×" if near and figure.floor is None else f"{100 * share:.0f}%"
    x = 100 * min(1.0, max(0.0, share / 2 if near else share))
    marks = f'<path class="mark" d="M{x:.1f} 0v12"/>'
    if near:
        marks = f'<path class="aim" d="M50 1v10"/>{marks}'
    else:
        marks = f'<rect class="fill" y="3" width="{x:.1f}" height="6"/>{marks}'
    if near and not 0 <= share <= 2 or not near and not 0 <= share <= 1:
        way = -5 if share < 0 else 5  # an arrow: it lies further out
        marks += f'<path class="over" d="M{x:.1f} 2l{way} 4l{-way} 4z"/>'
    where = (
        "of the ceiling" if near and figure.floor is None else "of the way from floor to ceiling"
    )
    text = text.replace("-", "\N{MINUS SIGN}")
    return (
        f'<svg viewBox="-6 0 112 12" role="img" aria-label="{text} {where}">'
        f'<rect class="track" y="3" width="100" height="6"/>{marks}</svg><span>{text}</span>'
    )


def _confusion(confusion: Confusion) -> str:
    """The matrix; shades say which share of its row a cell holds."""
    rows, recalls = [], []
    counts = {
        "real": (confusion.real_judged_real, confusion.real_judged_generated),
        "generated": (confusion.generated_judged_real, confusion.generated_judged_generated),
    }
    for place, (name, row) in enumerate(counts.items()):
        cells = []
        for column, count in enumerate(row):
            share = count / sum(row) if sum(row) else math.nan
            alpha = 0.06 + 0.5 * (0 if math.isnan(share) else share)
            color = "var(--right)" if column == place else "var(--wrong)"
            cells.append(
                f'<td style="background:rgb({color} / {alpha:.2f})"><b>{count:,.0f}</b>'
                f"<span>{number(share, '%')}</span></td>"
            )
            recalls += [share] if column == place else []
        rows.append(f'<tr><th scope="row">is {name}</th>{"".join(cells)}</tr>')
    accuracy = sum(recalls) / 2
    facts = {
        "real clips judged real": number(recalls[0], "%"),
        "generated clips found out": number(recalls[1], "%"),
        "accuracy (mean of both)": number(accuracy, "%"),
        "threshold of the score": number(confusion.threshold),
    }
    entries = "".join(f"<div><dt>{key}</dt><dd>{value}</dd></div>" for key, value in facts.items())
    return (
        "<p>What the discriminator took clips for. Shades are shares of a row. An accuracy of 50%"
        " is one that cannot tell generated clips from real ones.</p>"
        '<div class="confusion"><div class="scroll"><table><thead><tr><td></td><th scope="col">'
        'judged real</th><th scope="col">judged generated</th></tr></thead>'
        f"<tbody>{''.join(rows)}</tbody></table></div><dl>{entries}</dl></div>"
    )


_LONG = ' class="long"'
_LEGEND = (
    "<p>Floor: what chance, or a model that sees nothing, reaches. Ceiling: what real clips reach"
    " under the same reading. ↑ higher is better, ↓ lower is better, ≈ best at the ceiling, which"
    " then is the middle of the bar; – not measured.</p>"
)
_CURVES = (
    "<p>Points are the values of single steps, lines their means over 1/25 of the run; the numbers"
    " are where the lines end.</p>"
)
_HEAD = """<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; img-src data:; \
style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'">
"""
_STYLE = """
:root { color-scheme: light; --page: #fcfcfb; --card: #fff; --text: #1c1f23; --muted: #59626c;
  --line: #dfe2e6; --right: 0 114 178; --wrong: 213 94 0;
  --c0: #0072b2; --c1: #d55e00; --c2: #00805d; --c3: #b5558c; --c4: #8a6a00; --c5: #3a3a3a }
@media screen and (prefers-color-scheme: dark) { :root { color-scheme: dark; --page: #14171a;
  --card: #1b1f24; --text: #e4e7ea; --muted: #98a2ad; --line: #2f363d; --right: 86 180 233;
  --wrong: 240 128 60; --c0: #56b4e9; --c1: #f0803c; --c2: #2cc295; --c3: #e59ac4; --c4: #e8c547;
  --c5: #c8c8c8 } }
* { box-sizing: border-box }
body { margin: 0; background: var(--page); color: var(--text); overflow-wrap: anywhere;
  font: 15px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", sans-serif }
main { max-width: 1100px; margin: 0 auto; padding: 24px 24px 64px }
header { display: flex; flex-wrap: wrap; align-items: baseline; gap: 4px 32px }
h1 { font-size: 26px; margin: 0; line-height: 1.25 }
h2 { font-size: 20px; margin: 40px 0 8px; padding-top: 12px; border-top: 1px solid var(--line) }
h3 { font-size: 16px; margin: 28px 0 4px }
p { margin: 0 0 12px; max-width: 75ch } a { color: var(--c0) }
nav { display: flex; gap: 16px } figure { margin: 0 }
.muted, dt { color: var(--muted) } .small { font-size: 13px }
dl { display: grid; grid-template-columns: repeat(auto-fill, minmax(200px, 1fr)); gap: 10px 24px;
  margin: 16px 0 } dd { margin: 0 } dt { font-size: 13px }
.rows, .curves { display: grid; gap: 24px;
  grid-template-columns: repeat(auto-fill, minmax(min(100%, 460px), 1fr)) }
.wide { grid-column: 1 / -1 }
figcaption { margin-bottom: 6px }
.row { display: flex; flex-direction: column } .films { margin-top: auto }
.row, .curve { background: var(--card); border: 1px solid var(--line); border-radius: 8px;
  padding: 12px 14px; break-inside: avoid }
.films { display: flex; gap: 12px } .wide .films { flex-wrap: wrap }
.film { min-width: 0 } .film span { font-size: 13px; color: var(--muted); display: block }
.film img { display: block; max-width: 100%; height: auto } .pixels { image-rendering: pixelated }
.scroll { overflow-x: auto } table { border-collapse: collapse }
.figures { width: 100%; min-width: 460px; table-layout: fixed; font-variant-numeric: tabular-nums }
.figures th, .figures td { padding: 5px 12px; text-align: right; vertical-align: top;
  border-bottom: 1px solid var(--line) } .figures thead th { width: 116px }
.figures td { white-space: nowrap } .figures td .muted { white-space: normal; display: block;
  overflow-wrap: normal }
.figures tr > :first-child { text-align: left; font-weight: normal; padding-left: 0; width: auto }
.figures tr > :last-child { text-align: left; padding-right: 0; width: 216px }
thead th { color: var(--muted); font-weight: normal; font-size: 13px }
.bar svg { width: 130px; vertical-align: -1px; margin-right: 8px } .bar span { font-size: 13px }
.track { fill: var(--line) } .fill, .over { fill: var(--c0) } .mark { stroke: var(--c0) }
.mark, .aim { stroke-width: 2.5; fill: none } .aim { stroke: var(--muted); stroke-width: 1.5 }
.confusion { display: grid; grid-template-columns: auto 1fr; gap: 8px 40px; align-items: start }
.confusion td, .confusion th { padding: 10px 14px; text-align: center; font-weight: normal;
  overflow-wrap: normal }
.confusion tbody td { min-width: 120px; border: 3px solid var(--page); border-radius: 6px }
.confusion td b { font-size: 20px; display: block; line-height: 1.2 }
.confusion dl { margin: 8px 0; grid-template-columns: repeat(auto-fill, minmax(170px, 1fr)) }
.legend { list-style: none; display: flex; flex-wrap: wrap; gap: 0 18px; margin: 0 0 6px;
  padding: 0; font-size: 13px } .legend svg { width: 22px; height: 8px }
.legend b { font-variant-numeric: tabular-nums; font-weight: 600 }
.curve > svg { width: 100%; height: auto; display: block }
.curve path { fill: none; stroke-width: 1.8; stroke-linejoin: round; stroke-linecap: round }
.curve .points { stroke-width: 2.4; opacity: 0.35 } .curve .dashed { stroke-dasharray: 5 4 }
.curve .grid { stroke: var(--line); stroke-width: 1 } .curve p { margin: 4px 0 0 }
text { font-size: 11.5px; fill: var(--muted) } .x { text-anchor: middle } .y { text-anchor: end }
.c0 { stroke: var(--c0) } .c1 { stroke: var(--c1) } .c2 { stroke: var(--c2) }
.c3 { stroke: var(--c3) } .c4 { stroke: var(--c4) } .c5 { stroke: var(--c5) }
@media (min-width: 701px) { .long { grid-column: span 2 } }
@media (max-width: 700px) { main { padding: 16px 14px 40px }
  .confusion { grid-template-columns: 1fr } .bar svg { width: 56px; margin-right: 4px }
  .figures th, .figures td { padding: 5px 6px; font-size: 14px }
  .figures thead th { width: 88px; font-size: 13px }
  .figures tr > :last-child { width: 108px } }
@media (max-width: 460px) { .figures { min-width: 0 } .figures tr > :last-child { display: none }
  .figures thead th { width: 78px } .figures th, .figures td { font-size: 13px }
  .confusion tbody td { min-width: 90px } .confusion td, .confusion th { padding: 8px 6px } }
@media print { body { font-size: 11pt } main { max-width: none; padding: 0 } nav { display: none }
  .rows, .curves { grid-template-columns: 1fr 1fr }
  tr, .confusion { break-inside: avoid } h2, h3 { break-after: avoid }
  * { print-color-adjust: exact; -webkit-print-color-adjust: exact } }
"""
