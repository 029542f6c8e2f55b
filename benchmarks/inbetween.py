"""Intermediate frames of a run against the linear blend and classical optical flow:
``python -m benchmarks.inbetween --run runs/NAME`` (extra ``bench``, for OpenCV).

Held-out clips, every second, fourth or eighth frame known, the hidden frames compared.
"""

import dataclasses
import pathlib
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import tyro

from jaxvid import cli, memory
from jaxvid.typing import UserError


@dataclasses.dataclass(frozen=True)
class Options:
    """Compares in-betweening with classical flow interpolation."""

    run: pathlib.Path = pathlib.Path("runs/quickstart")
    """Folder of the run; "shipped": the generator that comes with jaxvid."""
    clips: int = 128
    """Held-out clips."""
    factors: tuple[int, ...] = (2, 4)
    """How many frames apart the known ones are."""


def main(argv: Sequence[str] | None = None) -> None:
    """Prints PSNR and SSIM of each method at each factor."""
    options = tyro.cli(Options, args=argv, prog="benchmarks.inbetween")
    with cli.user_errors():
        if min(options.factors, default=0) < 2 or options.clips < 1:
            raise UserError("--factors must be 2 or more each, --clips 1 or more")
        from jaxvid import parallel

        parallel.start()
        from jaxvid import examine, pipeline, training
        from jaxvid.data.source import open_source

        flows = {"Farnebäck": _warped(_farneback()), "DIS": _warped(_dis())}
        if options.run == pathlib.Path("shipped"):
            pipe, run = pipeline.load(), training.read_generator(pipeline.SHIPPED)[2]
        else:
            pipe, run = pipeline.load(options.run), training.load_gan(options.run / "gan")[2]
        if max(options.factors) >= run.data.frames:
            raise UserError(f"this run's clips allow --factors of {run.data.frames - 1} at most")
        heldout = open_source(run.data, split="heldout", seed=run.train.seed)
        subject = examine.Subject(pipe, run, heldout, options.clips)
        part = examine.inbetween(subject, factors=options.factors, others=flows)
        print(part.section.text)
        for figure in part.section.figures:
            beside = f" | {figure.note}" if figure.note else ""
            print(f"{figure.name}: {figure.value:.3f} (linear {figure.floor:.3f}){beside}")


def _cv2() -> Any:
    try:
        import cv2
    except ImportError:
        raise UserError("classical flow needs OpenCV; pip install 'jaxvid[bench]'") from None
    return cv2


def _farneback() -> Callable[[np.ndarray, np.ndarray], np.ndarray]:
    """Farnebäck, 2003, with windows fit for small frames."""
    cv2 = _cv2()

    def flow(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        return cv2.calcOpticalFlowFarneback(a, b, None, 0.5, 3, 9, 5, 5, 1.1, 0)

    return flow


def _dis() -> Callable[[np.ndarray, np.ndarray], np.ndarray]:
    """Dense inverse search (Kroeger et al., 2016); frames are enlarged to what it needs."""
    cv2 = _cv2()
    search = cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)

    def flow(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        side = max(a.shape)
        factor = max(1, -(-128 // side))
        big = [cv2.resize(x, None, fx=factor, fy=factor) for x in (a, b)]
        found = cv2.resize(search.calc(*big, None), a.shape[::-1])
        return found / factor

    return flow


def _warped(flow: Callable[[np.ndarray, np.ndarray], np.ndarray]) -> Any:
    """Frames between two as both warped towards the moment, blended by time."""
    cv2 = _cv2()

    def between(a: np.ndarray, b: np.ndarray, t: float) -> np.ndarray:
        gray = [cv2.cvtColor(x, cv2.COLOR_RGB2GRAY) for x in (a, b)]
        forth, back = flow(gray[0], gray[1]), flow(gray[1], gray[0])
        H, W = gray[0].shape
        y, x = np.mgrid[0:H, 0:W].astype(np.float32)

        def pull(frame: np.ndarray, by: np.ndarray) -> np.ndarray:
            return cv2.remap(
                frame, x + by[..., 0], y + by[..., 1], cv2.INTER_LINEAR,
                borderMode=cv2.BORDER_REPLICATE,
            ).astype(np.float32)  # fmt: skip

        # flow of the moment itself, as in Super SloMo (Jiang et al., 2018, eq. 4)
        to_a = -(1 - t) * t * forth + t * t * back
        to_b = (1 - t) ** 2 * forth - t * (1 - t) * back
        mixed = (1 - t) * pull(a, to_a) + t * pull(b, to_b)
        return np.rint(mixed).clip(0, 255).astype(np.uint8)

    def fill(known_KHWC: np.ndarray, factor: int) -> np.ndarray:
        frames = []
        for a, b in zip(known_KHWC, known_KHWC[1:], strict=False):
            frames += [a, *(between(a, b, k / factor) for k in range(1, factor))]
        return np.stack([*frames, known_KHWC[-1]])

    return fill


if __name__ == "__main__":
    memory.program(main)
