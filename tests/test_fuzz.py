"""The short form of ``python -m benchmarks.fuzz``, and that it sees what it is there to see."""

import pathlib
from collections.abc import Iterator

import numpy as np
import pytest
from PIL import Image

from benchmarks import fuzz, mutations
from jaxvid.data import decode
from jaxvid.io import media


@pytest.fixture(scope="module")
def readers() -> Iterator[list[fuzz.Reader]]:
    with fuzz.Reader() as reader:
        yield [reader]


@pytest.mark.parametrize("kind", mutations.KINDS)
def test_damaged_clips_are_right_or_refused(tmp_path: pathlib.Path, kind: str, readers) -> None:
    seeds = mutations.seeds(kind, tmp_path / "seeds", ())
    outcomes = fuzz.run(kind, seeds, fuzz.Options(count=20, seed=1), tmp_path, readers)
    bad = {i: o for i, o in outcomes.items() if o.verdict not in ("right", "refused")}
    assert len(outcomes) == 20 and not bad
    assert any(outcome.verdict == "refused" for outcome in outcomes.values())


def test_whole_clips_are_right(tmp_path: pathlib.Path, monkeypatch, readers) -> None:
    monkeypatch.setattr(mutations, "WAYS", (lambda rng, data, other: data,))
    for kind in ("mp4", "webm", "gif", "jpg"):
        seeds = mutations.seeds(kind, tmp_path / "seeds", ())
        outcomes = fuzz.run(kind, seeds, fuzz.Options(count=2), tmp_path, readers)
        assert [outcome.verdict for outcome in outcomes.values()] == ["right"] * 2


@pytest.mark.parametrize(
    ("result", "verdict"),
    [
        (lambda video, fps: (video[:-1], fps), "wrong length"),
        (lambda video, fps: (np.repeat(video, 2, axis=0), fps), "wrong length"),
        (lambda video, fps: (video[:0], fps), "wrong length"),
        (lambda video, fps: (video.astype(float), fps), "wrong length"),
        (lambda video, fps: (video, 0.0), "wrong length"),
        (lambda video, fps: {}["x"], "other exception"),
        (lambda video, fps: (video, fps), "right"),
    ],
)
@pytest.mark.parametrize("name", ["a.mp4", "a.gif", "a.webp"])
def test_what_is_wrong_is_seen(tmp_path, monkeypatch, name, result, verdict) -> None:
    path, real = tmp_path / name, decode.read_video
    media.write_video(
        path, np.random.default_rng(0).integers(0, 9, (9, 32, 32, 3), np.uint8), fps=8
    )
    monkeypatch.setattr(decode, "read_video", lambda *a, **k: result(*real(*a, **k)))
    assert fuzz.judge(path)[0] == verdict


@pytest.mark.parametrize(("act", "verdict"), [("os.abort()", "crash"), ("time.sleep(60)", "hang")])
def test_crashes_and_hangs_are_seen_and_survived(tmp_path, monkeypatch, act, verdict) -> None:
    monkeypatch.setattr(fuzz, "SECONDS", 2.0)
    right = '{"verdict": "right", "about": "1"}'
    program = (
        "import os, sys, time\nprint('ready', flush=True)\nfor line in sys.stdin:\n"
        f" if 'bad' in line: {act}\n print('''{right}''', flush=True)\n"
    )
    with fuzz.Reader(("-c", program)) as reader:
        found = [reader.read(tmp_path / name).verdict for name in ("good", "bad", "good")]
    assert found == ["right", verdict, "right"]


def test_a_slow_film_with_a_fast_part_is_right(tmp_path) -> None:
    """Its frames come at the wanted rate then, for as long as it lasts."""
    frames = np.random.default_rng(0).integers(0, 9, (6, 16, 16, 3), np.uint8)
    pictures = [Image.fromarray(frame) for frame in frames]
    delays = [60, 3000, 3000, 3000, 3000, 3000]
    path = tmp_path / "a.gif"
    pictures[0].save(path, save_all=True, append_images=pictures[1:], duration=delays)
    assert len(decode.read_video(path, fps=fuzz.SAMPLED)[0]) == pytest.approx(15.06 * 8, abs=1)
    assert fuzz.judge(path)[0] == "right"
