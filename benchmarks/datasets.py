"""Real data for the benchmarks: ``python -m benchmarks.datasets sprites --source RAW --out DIR``.

``sprites``, ``mnist``, ``asl`` and ``radar`` turn the files of others, which are not part of this
project, into captioned, labelled sets that ``--data`` reads. What is tested is never trained on:
the split is by character, by digit image, by file and by run, never by clip.
"""

import concurrent.futures
import json
import pathlib
import shutil
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import tyro

from jaxvid import cli
from jaxvid.data.records import write_set
from jaxvid.io.media import write_video
from jaxvid.typing import UserError

ACTIONS = {"walk": "walks", "spellcast": "casts a spell", "slash": "slashes"}
DIRECTIONS = ("front", "left", "right")
ATTRIBUTES = ("body", "bottomwear", "topwear", "hair")  # columns of the sprites' attributes
MOTIONS = ("left and right", "up and down")
FRAMES, SIDE, DIGIT = 16, 64, 28  # of a clip; pixels of its side, and of a digit
TEST_DIGITS = 10_000  # the last images, which only test clips show
NO_DATA, RAIN = 255, 64  # of a radar picture; from about 0 dBZ on
WET = 0.2  # of the pixels of a radar clip


def main(argv: Sequence[str] | None = None) -> None:
    """Makes one set and says how it is read."""
    makers = {maker.__name__: maker for maker in (sprites, mnist, asl, radar)}
    with cli.user_errors():
        tyro.extras.subcommand_cli_from_dict(makers, args=argv, prog="benchmarks.datasets")


def sprites(source: pathlib.Path, out: pathlib.Path, threads: int = 2) -> None:
    """LPC characters (Li and Mandt, 2018), 9 clips of 8 frames each; a tenth of them for test.

    Args:
        source: Folder with meta.json and <action>_<direction>.npz.
        out: Folder of clips to make.
        threads: That compress clips.
    """
    names = json.loads(_file(source / "meta.json").read_text("utf-8"))["names"]
    _new(out)
    rows = []
    with concurrent.futures.ThreadPoolExecutor(threads) as pool:
        for action in ACTIONS:
            for direction in DIRECTIONS:
                data = np.load(_file(source / f"{action}_{direction}.npz"))
                videos, attributes = data["frames"], data["attributes"]
                files = [f"{n:04d}_{action}_{direction}.webp" for n in range(len(videos))]
                for file, values in zip(files, attributes, strict=True):
                    of = {k: names[k][v] for k, v in zip(ATTRIBUTES, values, strict=True)}
                    rows.append(_sprite(file, action, direction, of))
                # all at once: a failed write raises here
                list(pool.map(lambda f, v: write_video(out / f, v, fps=8), files, videos))
    _captions(out, rows)
    _say(f"folder:{out}", f"{len(rows)} clips of {len(rows) // 9} characters, 8 frames at 64")


def _sprite(file: str, action: str, direction: str, of: dict[str, str]) -> dict[str, str]:
    """The row of a clip: what it shows in words, and as labels."""
    hair = f"a {of['hair']}" if of["hair"].endswith("bun") else f"{of['hair']} hair"
    top = of["topwear"] if of["topwear"].endswith("armor") else f"a {of['topwear']}"
    who = f"a {of['body']} character with {hair}, in {top} and {of['bottomwear']}"
    return {
        "file": file,
        "caption": f"{who}, {ACTIONS[action]} to the {direction}",
        "group": f"character {file[:4]}",
        "action": action,
        "direction": direction,
        "hair": of["hair"],
        "top": of["topwear"],
        "bottom": of["bottomwear"],
        "body": of["body"],
    }


def mnist(
    source: pathlib.Path, out: pathlib.Path, train: int = 20_000, test: int = 2_000, seed: int = 0
) -> None:
    """Moving-MNIST with captions, one digit: Sync-DRAW (Mittal et al., 2017, arXiv 1611.10314).

    Args:
        source: Folder with mnist.npz: train_images (N,28,28), train_labels.
        out: Folder of the prepared set to make.
        train: Clips to train on.
        test: Clips of other digits, the last 10,000 images.
        seed: Of the digits, places and ways.
    """
    data = np.load(_file(source / "mnist.npz"))
    images, digits = data["train_images"], data["train_labels"]
    last = min(TEST_DIGITS, len(images) // 6)
    parts = {"train": (0, len(images) - last, train), "test": (len(images) - last, last, test)}
    _new(out)

    def clips(first: int, size: int, count: int) -> Iterator[dict[str, Any]]:
        rng = np.random.default_rng((seed, first))
        for n in range(count):
            if n % size == 0:  # every image once before any comes again
                order = first + rng.permutation(size)
            which, across = order[n % size], bool(rng.integers(2))
            x, y = _bounce(rng), np.full(FRAMES, rng.integers(SIDE - DIGIT + 1))
            x, y = (x, y) if across else (y, x)
            digit, motion = int(digits[which]), MOTIONS[0 if across else 1]
            caption = f"the digit {digit} moves {motion}"
            video = _moved(images[which], x, y)
            yield {"video": video, "caption": caption, "digit": digit, "motion": motion}

    def features(f: Any) -> dict[str, Any]:
        digits = f.ClassLabel(names=[str(n) for n in range(10)])
        return {**_features(f), "digit": digits, "motion": f.ClassLabel(names=list(MOTIONS))}

    write_set(out, "moving_digits", features, {name: clips(*part) for name, part in parts.items()})
    _say(f"tfds:moving_digits@{out}", f"{train} clips, {test} for test, 16 frames at 64")


def _bounce(rng: np.random.Generator) -> np.ndarray:
    """Places (T,) along one axis: from anywhere, either way, at a speed that meets one wall once.

    In T - 1 steps a digit covers the whole room, so wherever it starts it turns around once.
    """
    room = SIDE - DIGIT
    at_T = rng.uniform(0, room) + rng.choice((-1, 1)) * np.linspace(0, room, FRAMES)
    return np.rint(room - np.abs(room - np.abs(at_T))).astype(int)


def _moved(image_HW: np.ndarray, x_T: np.ndarray, y_T: np.ndarray) -> np.ndarray:
    video_THWC = np.zeros((FRAMES, SIDE, SIDE, 1), np.uint8)
    for frame, x, y in zip(video_THWC, x_T, y_T, strict=True):
        frame[y : y + DIGIT, x : x + DIGIT, 0] = image_HW
    return video_THWC


def asl(source: pathlib.Path, out: pathlib.Path) -> None:
    """Films of signed words, as they are. Who signs is not known, so the split is by file.

    Args:
        source: Folder with <word>.mkv.
        out: Folder of clips to make.
    """
    files = sorted(source.glob("*.mkv"))
    if not files:
        raise UserError(f"{source}: has no .mkv; give the folder that holds the films")
    _new(out)
    for file in files:
        shutil.copyfile(file, out / file.name)
    _captions(out, [{"file": f.name, "caption": f.stem, "group": f.stem} for f in files])
    _say(f"folder:{out}", f"{len(files)} films")


def radar(source: pathlib.Path, out: pathlib.Path) -> None:
    """Rain on weather radar: crops of 64 x 64 x 16 steps; the second run is for test.

    Grey values are doubled, as they end at 125. A clip has rain on a fifth of its pixels and no
    missing one. Clips to train on overlap, those of the test do not.

    Args:
        source: Folder with fmi.npz: frames (80,H,W), two runs of 40, 255 where there is no data.
        out: Folder of the prepared set to make.
    """
    frames = np.load(_file(source / "fmi.npz"))["frames"]
    half = len(frames) // 2
    splits = {
        "train": list(_crops(frames[:half], run="first", shift=32, steps=4)),
        "test": list(_crops(frames[half:], run="second", shift=SIDE, steps=FRAMES // 2)),
    }
    if not all(splits.values()):
        raise UserError(f"{source}: a run has no crop with enough rain; use the whole fmi.npz")
    _new(out)
    write_set(out, "radar_rain", lambda f: {**_features(f), "group": f.Text()}, splits)
    counts = " clips, ".join(str(len(clips)) for clips in splits.values())
    _say(f"tfds:radar_rain@{out}", f"{counts} for test, 16 frames at 64")


def _crops(run_THW: np.ndarray, *, run: str, shift: int, steps: int) -> Iterator[dict[str, Any]]:
    T, H, W = run_THW.shape
    for t in range(0, T - FRAMES + 1, steps):
        for y in range(0, H - SIDE + 1, shift):
            for x in range(0, W - SIDE + 1, shift):
                crop = run_THW[t : t + FRAMES, y : y + SIDE, x : x + SIDE]
                if (crop != NO_DATA).all() and (crop >= RAIN).mean() >= WET:
                    video = (np.minimum(crop, 127) * 2)[..., None]
                    yield {"video": video, "caption": "rain over Finland", "group": f"{run} run"}


def _features(f: Any) -> dict[str, Any]:
    shape = (FRAMES, SIDE, SIDE, 1)
    video = f.Tensor(shape=shape, dtype=np.uint8, encoding=f.Encoding.BYTES)
    return {"video": video, "caption": f.Text()}


def _captions(out: pathlib.Path, rows: list[dict[str, str]]) -> None:
    lines = [json.dumps(row) + "\n" for row in rows]
    (out / "captions.jsonl").write_text("".join(lines), "utf-8")


def _file(path: pathlib.Path) -> pathlib.Path:
    if not path.is_file():
        raise UserError(f"{path}: no such file; give the folder of the raw data as --source")
    return path


def _new(out: pathlib.Path) -> None:
    if out.exists() and any(out.iterdir()):
        raise UserError(f"{out} is not empty; choose another --out")
    out.mkdir(parents=True, exist_ok=True)


def _say(source: str, what: str) -> None:
    print(f"{what}; read them with --data.source={source}")


if __name__ == "__main__":
    main()
