"""Laws of the report: text is shown and never obeyed, films come back whole, nothing is loaded."""

import base64
import html.parser
import io
import json
import math
import re
import warnings

import numpy as np
import pytest
from PIL import Image, ImageSequence

from jaxvid.io import chart, media, report
from jaxvid.io.report import Confusion, Curve, Figure, Film, Row, Section
from jaxvid.typing import UserError

VOID = {"meta", "img", "br"}
HOSTILE = (
    "</title></style><script>alert(1)</script>\"'><img src=x onerror=alert(2)>&amp;\0\u202eabc"
)


class Page(html.parser.HTMLParser):
    """Reads a page, and fails where an element is not closed by its own end."""

    def __init__(self, text):
        super().__init__(convert_charrefs=True)
        self.open, self.elements, self.texts = [], [], []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        assert len(dict(attrs)) == len(attrs)
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.texts.append((self.open[-1] if self.open else "", data))

    def all(self, tag, **wanted):
        named = [attrs for name, attrs in self.elements if name == tag]
        return [a for a in named if all(a.get(key) == value for key, value in wanted.items())]

    @property
    def text(self):
        return " ".join(data for tag, data in self.texts if tag != "style")


def clip(T=5, H=8, W=12, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (T, H, W, 3), np.uint8)


def everything(text="a word", *, films=True):
    """A page with every part, ``text`` wherever text can be given."""
    figures = [Figure(text, 0.5, 0.1, 0.9, text, "lower", text), Figure(text, None)]
    return dict(
        title=text,
        facts={text: text},
        sections=[Section(text, text, figures)],
        rows=[Row(text, [Film(text, clip()), Film(text, clip(seed=1))])] if films else [],
        curves=[Curve(text, {text: ([1, 2, 3], [0.1, math.nan, 0.3])})],
        confusion=Confusion(14, 18, 13, 19, -0.0875),
    )


def films_of(page):
    for image in page.all("img"):
        kind, data = image["src"].split(",", 1)
        assert kind == "data:image/webp;base64"
        yield image, Image.open(io.BytesIO(base64.b64decode(data, validate=True)))


def frames_of(picture):
    return np.stack([np.asarray(f.convert("RGB")) for f in ImageSequence.Iterator(picture)])


def delays_of(picture):
    """Milliseconds that each frame stays."""
    delays = []
    for n in range(picture.n_frames):
        picture.seek(n)
        picture.load()
        delays.append(picture.info["duration"])
    return delays


def points_of(text):
    """Of each series: the points drawn, and the vertices of its line."""
    of_series = r'<path class="points c\d[^"]*" d="([^"]*)"/><path class="c\d[^"]*" d="([^"]*)"/>'
    place = r"[ML](-?[\d.]+) (-?[\d.]+)"
    return [
        (np.array(re.findall(place, points), float), np.array(re.findall(place, line), float))
        for points, line in re.findall(of_series, text)
    ]


def test_page_is_well_formed_and_has_every_part():
    page = Page(report.render_report(**everything()))
    assert [a["id"] for a in page.all("section")] == [
        *("clips", "figures", "discriminator", "training")
    ]
    assert {a["href"] for a in page.all("a")} == {f"#{a['id']}" for a in page.all("section")}
    assert len(page.all("img")) == 2 and len(page.all("table")) == 2
    assert all(a["alt"] for a in page.all("img"))
    assert all(a["aria-label"] for a in page.all("svg") if a.get("role") == "img")


def test_page_without_any_part_is_whole():
    page = Page(report.render_report(title="empty", facts={}))
    assert "empty" in page.text and not page.all("section")


def test_nothing_is_loaded_or_run():
    text = report.render_report(**everything())
    page = Page(text)
    assert not {"script", "link", "iframe", "object", "embed"} & {tag for tag, _ in page.elements}
    assert not re.search(r"https?:|@import|url\(|@font-face|javascript:", text)
    policy = page.all("meta", **{"http-equiv": "Content-Security-Policy"})[0]["content"]
    assert policy.startswith("default-src 'none'; img-src data:; style-src 'unsafe-inline'")


def test_hostile_text_is_shown_and_does_nothing():
    text, good = (
        report.render_report(**everything(HOSTILE)),
        Page(report.render_report(**everything())),
    )
    page = Page(text)
    shape = [(tag, sorted(attrs)) for tag, attrs in good.elements]
    harmless = [(t, sorted(a)) for t, a in page.elements]
    assert [(t, [k for k in a if k != "class"]) for t, a in harmless] == [
        (t, [k for k in a if k != "class"]) for t, a in shape
    ]
    seen = HOSTILE.replace("\0", "\ufffd").replace("\u202e", "\ufffd")
    assert page.text.count(seen) >= 10
    assert all(seen in a["alt"] for a in page.all("img"))
    assert "\0" not in text and "\u202e" not in text


def test_text_from_right_to_left_is_kept_apart():
    arabic = "دائرة حمراء"
    page = Page(report.render_report(**everything(arabic)))
    assert all(
        a.get("dir") == "auto" for tag in ("h1", "dd", "figcaption") for a in page.all(tag)[:1]
    )
    assert arabic in page.text


def test_text_without_a_form_in_utf8_is_written(tmp_path):
    report.write_report(tmp_path / "r.html", **everything("\ud800 half \x85\x1b[31m", films=False))
    assert "\ufffd half \ufffd\ufffd[31m" in (tmp_path / "r.html").read_text(encoding="utf-8")


def test_long_text_is_cut():
    shared = report.render_report(**everything("x" * 1_000_000))
    assert len(shared) < 40_000 and "… (1,000,000 characters)" in shared
    assert chart.plain("<" * 301, 300) == "&lt;" * 300 + "… (301 characters)"
    assert chart.plain("<" * 300, 300) == "&lt;" * 300


@pytest.mark.parametrize("fps", [8, 12.5, 30])
def test_films_come_back_to_the_bit(fps):
    still = np.repeat(clip(2, seed=3), 3, axis=0)  # equal neighbours are not merged
    made = [clip(1, 64, 64), clip(7, 5, 9), still]
    rows = [Row(f"row {n}", [Film("made", v, fps)]) for n, v in enumerate(made)]
    page = Page(report.render_report(title="t", facts={}, rows=rows))
    for (image, picture), video in zip(films_of(page), made, strict=True):
        np.testing.assert_array_equal(frames_of(picture), video)
        assert image["alt"].startswith(f"made, {len(video)} frames of {video.shape[2]} × ")
    assert picture.info["loop"] == 0
    assert sum(delays_of(picture)) == pytest.approx(len(still) * 1000 / fps, abs=1)


def test_small_films_are_enlarged_by_the_page_alone():
    rows = [
        Row(
            "",
            [Film("a", clip(1, 32, 16)), Film("b", clip(1, 64, 64)), Film("c", clip(1, 200, 100))],
        )
    ]
    images = Page(report.render_report(title="t", facts={}, rows=rows)).all("img")
    assert [(a["width"], a["height"]) for a in images] == [
        ("96", "192"),
        ("192", "192"),
        ("100", "200"),
    ]
    assert [a.get("class") for a in images] == ["pixels", "pixels", None]


def test_large_films_are_near_and_small():
    y, x = np.mgrid[:80, :120] / 120
    video = np.stack([np.stack([x, y, 0 * x + t / 4], -1) for t in range(4)])
    video = (video * 200 + np.random.default_rng(0).uniform(0, 8, video.shape)).astype(np.uint8)
    page = Page(report.render_report(title="t", facts={}, rows=[Row("", [Film("a", video, 30)])]))
    ((image, picture),) = films_of(page)
    assert 10 * np.log10(255**2 / np.mean((frames_of(picture) - video.astype(float)) ** 2)) > 35
    assert picture.info["loop"] == 0 and len(image["src"]) < video.size / 4
    assert delays_of(picture) == [33, 34, 33, 33]  # 133 ms of four frames at 30 fps


@pytest.mark.parametrize(("video", "fps"), [(clip(0), 8), (clip(), 0), (clip(2, 80, 80), math.nan)])
def test_films_that_cannot_play_are_refused(video, fps):
    with pytest.raises(UserError, match="film 'a': needs frames and 0 < fps"):
        report.render_report(title="t", facts={}, rows=[Row("", [Film("a", video, fps)])])


def test_a_report_of_24_clips_is_small():
    y, x = np.mgrid[:32, :32] / 32
    frames = [
        np.stack([x, y, np.exp(-((x - t / 16) ** 2 + (y - 0.5) ** 2) * 9)], -1) for t in range(16)
    ]
    base = np.array(frames) * 240
    rng = np.random.default_rng(0)  # a generator's texture: a little off everywhere, in every frame
    videos = [(base + rng.uniform(0, 8, base.shape)).astype(np.uint8) for _ in range(24)]
    rows = [Row(str(n), [Film("a", videos[n]), Film("b", videos[n + 1])]) for n in range(0, 24, 2)]
    curves = [Curve(str(n), {k: (range(2000), rng.random(2000)) for k in "abc"}) for n in range(6)]
    assert len(report.render_report(title="t", facts={}, rows=rows, curves=curves).encode()) < 1.5e6


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (None, "", "–"),
        (math.nan, "%", "–"),
        (math.inf, "dB", "∞"),
        (-math.inf, "", "−∞"),
        (0.98288, "%", "98.3%"),
        (1.0, "%", "100.0%"),
        (0.9999, "%", "99.99%"),
        (0.00001, "%", "0.001%"),
        (0.0, "%", "0.0%"),
        (34.0320, "dB", "34.03"),
        (-0.0875, "", "−0.08750"),
        (1834211, "", "1,834,211"),
        (123456.7, "", "123,457"),
        (0.0, "", "0"),
        (0.0000321, "", "3.21e−5"),
        (1e300, "", "1.00e300"),
    ],
)
def test_numbers_are_short_and_say_no_more_than_they_know(value, unit, text):
    assert chart.number(value, unit) == text


def bar_of(figure):
    """Text beside the bar, and where its mark stands, from 0 to 100; None without a bar."""
    text = report.render_report(title="t", facts={}, sections=[Section("s", "", [figure])])
    Page(text)
    found = re.search(r'<path class="mark" d="M([\d.]+) .*?</svg><span>([^<]*)</span>', text)
    return found and (found[2], float(found[1]))


@pytest.mark.parametrize(
    ("figure", "bar"),
    [
        (Figure("a", 0.75, 0.5, 1.0), ("50%", 50)),
        (Figure("a", 20.0, 40.0, 0.0, better="lower"), ("50%", 50)),
        (Figure("a", 0.4, 0.5, 1.0), ("−20%", 0)),
        (Figure("a", 1.1, 0.5, 1.0), ("120%", 100)),
        (Figure("a", 1.0, None, 1.0, better="near ceiling"), ("1.00 ×", 50)),
        (Figure("a", 1.5, None, 1.0, better="near ceiling"), ("1.50 ×", 75)),
        (Figure("a", 9.0, None, 1.0, better="near ceiling"), ("9.00 ×", 100)),
        (Figure("a", 2.0, 1.0, 2.0, better="near ceiling"), ("100%", 50)),
        (Figure("a", 0.4, None, 1.0), None),
        (Figure("a", 0.4, 0.1), None),
        (Figure("a", None, 0.1, 1.0), None),
        (Figure("a", math.nan, 0.1, 1.0), None),
        (Figure("a", 0.4, math.nan, 1.0), None),
        (Figure("a", math.inf, 0.1, 1.0), None),
        (Figure("a", 0.4, 1.0, 1.0), None),
    ],
)
def test_bars_show_where_the_value_lies(figure, bar):
    assert bar_of(figure) == bar


def test_what_was_not_measured_says_so():
    figures = [Figure("a", math.nan), Figure("b", None, 0.1), Figure("c", 0.5, math.nan, None)]
    page = Page(report.render_report(title="t", facts={}, sections=[Section("s", "", figures)]))
    assert page.text.count("not measured") == 2 + 1  # and in the legend
    cells = [data for tag, data in page.texts if tag == "td"]
    assert cells == ["–", "–", "0.1000", "–", "–", "–"] and "nan" not in page.text.lower()


def test_confusion_has_counts_rates_and_threshold():
    page = Page(report.render_report(title="t", facts={}, confusion=Confusion(30, 10, 4, 16, 0.25)))
    for text in ("30", "75.0%", "10", "25.0%", "4", "20.0%", "16", "80.0%", "77.5%", "0.2500"):
        assert text in [data for _, data in page.texts]
    shades = [
        float(re.search(r"/ ([\d.]+)\)", a["style"])[1]) for a in page.all("td") if "style" in a
    ]
    assert np.argsort(shades).tolist() == [2, 1, 0, 3]
    colors = [a["style"].split("--")[1].split(")")[0] for a in page.all("td") if "style" in a]
    assert colors == ["right", "wrong", "wrong", "right"]


def test_confusion_of_nothing_is_no_rate():
    page = Page(report.render_report(title="t", facts={}, confusion=Confusion(0, 0, 3.0, 1.0)))
    assert [data for tag, data in page.texts if tag == "dd"] == ["–", "25.0%", "–", "–"]


def test_curves_are_thinned_and_keep_their_extremes():
    values = np.sin(np.arange(30_000) / 3000)
    values[12_345] = 1.05  # within the room around the axis
    text = chart.draw(Curve("c", {"a": (range(30_000), values), "b": (range(10), range(10))}))
    Page(text)
    (points, line), (few, few_line) = points_of(text)
    assert len(points) <= chart.POINTS and len(line) <= chart.POINTS
    assert len(few) == len(few_line) == 10
    top = points[points[:, 1].argmin()]
    where = chart.LEFT + 12_345 / 29_999 * (chart.RIGHT - chart.LEFT)
    assert top[0] == pytest.approx(where, abs=0.06)
    assert line[0, 0] == chart.LEFT and line[-1, 0] == chart.RIGHT


def test_values_that_are_not_finite_are_left_out_and_counted():
    values = [1.0, math.nan, math.inf, -math.inf, None, 1e300, 2.0]
    text = chart.draw(Curve("c", {"a": (range(7), values)}))
    ((points, line),) = points_of(text)
    assert points[:, 0].tolist() == line[:, 0].tolist() == [chart.LEFT, chart.RIGHT]
    assert "left out as not finite: 5" in text
    assert "no finite points" in chart.draw(Curve("c", {"a": ([1], [math.nan]), "b": ([], [])}))


def test_log_axes_take_decades_as_equal_steps():
    text = chart.draw(Curve("c", {"a": (range(5), [0.001, 0.1, 10.0, 0.0, -1.0])}, log=True))
    ((points, _),) = points_of(text)
    assert len(points) == 3 and "not finite, or not positive: 2" in text
    assert np.diff(points[:, 1])[0] == pytest.approx(np.diff(points[:, 1])[1], abs=0.2)
    assert re.findall(r'class="y">([^<]*)<', text) == ["0.001", "0.01", "0.1", "1", "10"]


def test_a_spike_takes_neither_the_axis_nor_the_line():
    values = np.full(1000, 1.0) + np.arange(1000) / 1000
    values[500] = 1e9
    text = chart.draw(Curve("c", {"a": (range(1000), values)}))
    ((points, line),) = points_of(text)
    assert "beyond the axis, drawn at its edge: 1" in text
    assert points[:, 1].min() == chart.TOP  # the spike, at the edge
    assert np.abs(np.diff(line[:, 1])).max() < 0.1 * (chart.BOTTOM - chart.TOP)
    assert np.ptp(line[:, 1]) > 0.8 * (chart.BOTTOM - chart.TOP)


def test_lines_are_means_and_end_near_their_points():
    rng = np.random.default_rng(0)
    values = rng.normal(size=1000)
    ((points, line),) = points_of(chart.draw(Curve("c", {"a": (range(1000), values)})))
    assert line[:, 1].std() < points[:, 1].std() / 3
    assert chart._smooth(np.arange(1000.0))[500] == pytest.approx(500)
    np.testing.assert_allclose(chart._smooth(np.full(100, 0.3)), 0.3)


@pytest.mark.parametrize("log", [False, True])
@pytest.mark.parametrize(
    "values",
    [
        [0.0],
        [3.0, 3.0],
        [1e99, -1e99, 1e-300],
        [5e-324, 1e-99],
        [1.0, 1.0 + 2e-16],
        [-2.0, 7],
        [1, 1.1],
    ],
)
def test_any_numbers_make_a_chart(values, log):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        text = chart.draw(Curve("c", {"a": (range(len(values)), values)}, log=log))
    Page(text)
    assert "nan" not in text and "inf" not in text.replace("finite", "")
    for points, _ in points_of(text):
        assert ((points[:, 0] >= chart.LEFT) & (points[:, 0] <= chart.RIGHT)).all()
        assert ((points[:, 1] >= chart.TOP) & (points[:, 1] <= chart.BOTTOM)).all()
        assert 1 <= len(re.findall(r'class="y">', text)) <= 24


def test_ticks_are_round_and_in_range():
    assert chart._even(0.0, 400.0) == [0, 100, 200, 300, 400]
    assert [chart._tick(v, 6) for v in (4e9, 1e-22, 1500.0, -0.25)] == [
        *("4e9", "1e−22", "1,500", "−0.25")
    ]
    assert chart._even(-0.3, 0.7) == pytest.approx([-0.2, 0, 0.2, 0.4, 0.6])
    assert chart._decades(-6.0, 6.0) == pytest.approx([10.0**p for p in range(-6, 7, 3)])
    assert chart._decades(0.0, 1.0) == pytest.approx([1, 2, 5, 10])
    assert len(chart._decades(0.31, 0.42)) >= 3


def test_series_of_unequal_length_are_refused():
    with pytest.raises(ValueError, match="a: 3 steps, but 2 values"):
        Curve("c", {"a": ([1, 2, 3], [1, 2])})


def test_curves_are_read_from_whatever_a_run_left(tmp_path):
    path = tmp_path / "metrics.jsonl"
    lines = [
        '{"step": 1, "loss": 3.0, "gap": 0.5}',
        '{"step": 2, "loss": NaN, "gap": "wide"}',
        '{"step": 3, "loss": Infinity, "gap": null}',
        '{"step": 9, "lo',
        '{"step": 3, "loss": 2.0, "gap": true}{"step": 4}',
        "[1, 2]",
        '{"loss": 1.0}',
        '{"step": "5", "loss": 1.0}',
        '{"step": NaN, "loss": 1.0}',
        "[" * 100_000,
        '{"step": 6, "loss": 1' + "0" * 400 + "}",
        '{"step": 4, "gap": true}',
        '{"step": true, "gap": 0.7}',
        '{"step": 5, "loss": 1.5}',
        '{"step": 5, "loss": 1.25}',
        '{"step": 7, "loss": 0.5, "other": 1',
    ]
    path.write_bytes("\n".join(lines).encode() + b"\xff\xfe")
    groups = {"Losses": ["loss", "absent"], "Gaps": ["gap"], "None": ["absent", "never"]}
    losses, gaps = chart.read_curves(path, groups, log=["Losses"])
    assert (losses.title, losses.log, list(losses.series)) == ("Losses", True, ["loss"])
    steps, values = losses.series["loss"]
    assert steps == [1, 2, 3, 5, 6] and values[3:] == [1.25, math.inf]
    assert values[0] == 3.0 and math.isnan(values[1])
    assert (gaps.log, gaps.series) == (False, {"gap": ([1], [0.5])})
    assert "left out as not finite, or not positive: 3" in chart.draw(losses)
    assert chart.read_curves(tmp_path / "no.jsonl", groups) == []


def test_curves_of_a_log_come_back(tmp_path):
    records = [{"step": n, "a": n / 2, "b": -n} for n in range(1, 50)]
    (tmp_path / "m.jsonl").write_text("".join(json.dumps(r) + "\n" for r in records))
    (curve,) = report.read_curves(tmp_path / "m.jsonl", {"both": ["b", "a"]})
    assert list(curve.series) == ["b", "a"]
    assert curve.series["a"] == (list(range(1, 50)), [n / 2 for n in range(1, 50)])


def test_report_is_written_whole_or_not_at_all(tmp_path, monkeypatch):
    path = tmp_path / "report.html"
    report.write_report(path, **everything())
    first = path.read_bytes()
    assert first.decode() == report.render_report(**everything())  # the same values, the same page
    broken = everything() | {"rows": [Row("", [Film("a", clip(0))])]}
    with pytest.raises(UserError):
        report.write_report(path, **broken)
    assert path.read_bytes() == first and list(tmp_path.iterdir()) == [path]

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(media.os, "replace", full)
    with pytest.raises(UserError, match="No space left"):
        report.write_report(path, **everything("another", films=False))
    assert path.read_bytes() == first and list(tmp_path.iterdir()) == [path]


def test_targets_that_cannot_be_written_are_refused(tmp_path):
    for path, reason in ((tmp_path / "r.txt", "use .html"), (tmp_path / "no" / "r.html", "folder")):
        with pytest.raises(UserError, match=reason):
            report.write_report(path, **everything())
    assert not list(tmp_path.iterdir())
