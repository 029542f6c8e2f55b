"""Whether broken clips are refused or read right: ``python -m benchmarks.fuzz``.

Writes clips in every container that the folder source reads, damages each 500 times, and decodes
the results in processes of their own under a limit of memory and of time. Prints a Markdown table,
writes ``fuzz.json``, and exits with 1 where anything crashed, hung, raised another exception than
``BadVideo``, took too much, or was silently of a wrong length. The same options give the same
damage.
"""

import concurrent.futures
import contextlib
import dataclasses
import json
import os
import pathlib
import resource
import select
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from typing import Annotated, Any

import numpy as np
import tyro

from benchmarks import mutations
from benchmarks.options import known
from jaxvid import cli
from jaxvid.io.media import atomic_write_text, check_writable
from jaxvid.typing import UserError

BAD = ("crash", "hang", "memory", "other exception", "wrong length")
GOOD = ("right", "other length", "refused")  # other: than it was, and as the file itself says
MEMORY = 2 * 10**9  # bytes beyond what the process has before it reads
SAMPLED = 8.0  # frames a second, as a folder of clips is read
SECONDS = 10.0  # of a file: two readings of it and the count


@dataclasses.dataclass(frozen=True)
class Options:
    """Damages clips and reads them; a table and fuzz.json say what came of it."""

    kinds: Annotated[tuple[str, ...], tyro.conf.Positional] = tuple(mutations.KINDS)
    """Containers."""
    count: int = 500
    """Damaged files of each."""
    seed: int = 0
    """Another seed damages otherwise."""
    data: tuple[pathlib.Path, ...] = ()
    """Real clips beside the scenes; their files are damaged too where a container has them."""
    workers: int = 2
    """Processes that read at the same time."""
    keep: pathlib.Path | None = None
    """Folder for the files that did badly."""
    out: pathlib.Path = pathlib.Path("fuzz.json")
    """File for the figures."""


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What reading a file came to."""

    verdict: str
    about: str  # the reason, the exception, or the lengths
    seconds: float = 0.0
    megabytes: float = 0.0  # beyond what the process had before


def main(argv: Sequence[str] | None = None) -> None:
    """Damages, reads, counts."""
    options = tyro.cli(Options, args=argv, prog="benchmarks.fuzz")
    with cli.user_errors(), contextlib.ExitStack() as stack:
        known(options.kinds, mutations.KINDS, "container")
        if min(options.count, options.workers) < 1:
            raise UserError("--count and --workers must be 1 or more")
        check_writable(options.out)
        scratch = stack.enter_context(tempfile.TemporaryDirectory())
        readers = [stack.enter_context(Reader()) for _ in range(options.workers)]
        found: dict[str, Any] = {}
        names = ("container", *GOOD, *BAD, "slowest", "most memory")
        print(f"| {' | '.join(names)} |\n{'|---' * len(names)}|")
        for kind in options.kinds:
            seeds = mutations.seeds(kind, pathlib.Path(scratch) / "seeds", options.data)
            outcomes = run(kind, seeds, options, pathlib.Path(scratch), readers)
            found[kind] = summary(outcomes)
            row = found[kind]
            cells = [f"{row['counts'].get(verdict, 0)}" for verdict in (*GOOD, *BAD)]
            cells += [f"{row['seconds']:.2f} s", f"{row['megabytes']:.0f} MB"]
            print(f"| {kind} | {' | '.join(cells)} |", flush=True)
        atomic_write_text(options.out, json.dumps(found, indent=1))
        for kind, row in found.items():
            for i, about in row["bad"].items():
                print(f"{kind} {i}: {about}")
        if any(row["bad"] for row in found.values()):
            raise SystemExit(1)


def summary(outcomes: dict[int, Outcome]) -> dict[str, Any]:
    """Counts, extremes, reasons and what went badly."""
    reasons = Counter(o.about.split("(")[0][:60] for o in outcomes.values() if o.verdict == GOOD[2])
    return {
        "counts": dict(Counter(outcome.verdict for outcome in outcomes.values())),
        "seconds": max(outcome.seconds for outcome in outcomes.values()),
        "megabytes": max(outcome.megabytes for outcome in outcomes.values()),
        "reasons": dict(reasons.most_common(12)),
        "other": {i: o.about for i, o in outcomes.items() if o.verdict == GOOD[1]},
        "bad": {i: f"{o.verdict}: {o.about}" for i, o in outcomes.items() if o.verdict in BAD},
    }


def run(
    kind: str,
    seeds: list[mutations.Seed],
    options: Options,
    scratch: pathlib.Path,
    readers: "Sequence[Reader]",
) -> dict[int, Outcome]:
    """The outcomes of all damaged files of a container, by number; each reader reads a share."""

    def read(reader: Reader, i: int) -> Outcome:
        path = scratch / f"{i}{mutations.KINDS[kind].suffix}"
        mutations.write(path, seeds, kind, seed=options.seed, number=i)
        found, whole = reader.read(path), seeds[i % len(seeds)].frames
        if found.verdict == "right" and found.about != str(whole):
            about = f"{found.about} of {whole}"
            found = dataclasses.replace(found, verdict="other length", about=about)
        if found.verdict in BAD and options.keep is not None:
            options.keep.mkdir(parents=True, exist_ok=True)
            path.rename(options.keep / f"{kind}_{path.name}")
        mutations.remove(path)
        return found

    def share(first: int) -> dict[int, Outcome]:
        numbers = range(first, options.count, len(readers))
        return {i: read(readers[first], i) for i in numbers}

    with concurrent.futures.ThreadPoolExecutor(len(readers)) as pool:
        parts = list(pool.map(share, range(len(readers))))
    return dict(sorted({i: o for part in parts for i, o in part.items()}.items()))


class Reader:
    """A process that reads files one after the other; it is started anew when it dies."""

    def __init__(self, command: Sequence[str] = ("-m", "benchmarks.fuzz", "--serve")) -> None:
        self._command = [sys.executable, *command]
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> "Reader":
        return self

    def __exit__(self, *_: object) -> None:
        self._end()

    def read(self, path: pathlib.Path) -> Outcome:
        """What comes of a file, within the limits."""
        process = self._process or self._start()
        assert process.stdin is not None and process.stdout is not None
        process.stdin.write(os.fsencode(path) + b"\n")
        process.stdin.flush()
        ready, _, _ = select.select([process.stdout], [], [], SECONDS)
        line = process.stdout.readline() if ready else b""
        if line:
            return Outcome(**json.loads(line))
        self._end()
        if not ready:
            return Outcome("hang", f"over {SECONDS:g} s", SECONDS)
        return Outcome("crash", f"exit code {process.returncode}")

    def _start(self) -> subprocess.Popen[bytes]:
        self._process = subprocess.Popen(
            self._command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            cwd=pathlib.Path(__file__).parents[1],
        )
        assert self._process.stdout is not None
        self._process.stdout.readline()  # it is ready: importing is not reading
        return self._process

    def _end(self) -> None:
        if self._process is not None:
            if self._process.stdin is not None:
                self._process.stdin.close()
            self._process.kill()
            self._process.wait()
            if self._process.stdout is not None:
                self._process.stdout.close()
            self._process = None


def serve() -> None:
    """The reading process: a path on each line of stdin, an outcome on each of stdout."""
    answers = os.fdopen(os.dup(1), "wb", buffering=0)
    os.dup2(2, 1)  # what libraries print is no answer
    import av  # noqa: F401
    from PIL import Image  # noqa: F401

    from jaxvid.data import decode  # noqa: F401

    virtual = int(pathlib.Path("/proc/self/statm").read_text("ascii").split()[0])
    limit = virtual * resource.getpagesize() + MEMORY
    resource.setrlimit(resource.RLIMIT_AS, (limit, resource.RLIM_INFINITY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    answers.write(b"ready\n")
    for line in sys.stdin.buffer:
        before = _peak(reset=True)
        began = time.monotonic()
        path = pathlib.Path(os.fsdecode(line.rstrip(b"\n")))
        verdict, about = judge(path)
        if any(word in about for word in ("MemoryError", "Cannot allocate")):
            # What asks for the impossible is refused; what it asked for shows without the limit.
            resource.setrlimit(resource.RLIMIT_AS, (2 * limit, resource.RLIM_INFINITY))
            verdict, about = judge(path)
            if (_peak() - before) * 1e6 > MEMORY:
                verdict = "memory"
            resource.setrlimit(resource.RLIMIT_AS, (limit, resource.RLIM_INFINITY))
        taken = time.monotonic() - began
        outcome = Outcome(verdict, about[:300], taken, max(0.0, _peak() - before))
        answers.write(json.dumps(dataclasses.asdict(outcome)).encode() + b"\n")


def _peak(*, reset: bool = False) -> float:
    """The process's greatest resident memory in MB; ``reset`` begins to measure now."""
    if reset:
        pathlib.Path("/proc/self/clear_refs").write_text("5", "ascii")
    status = pathlib.Path("/proc/self/status").read_text("ascii")
    (line,) = (line for line in status.splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) / 1e3


def judge(path: pathlib.Path) -> tuple[str, str]:
    """The verdict on a file, and what it is about: as a folder reads it, and whole."""
    from jaxvid.data import decode

    lengths: list[tuple[int, float]] = []
    refusals: list[str] = []
    for options in ({"resolution": 32, "fps": SAMPLED}, {}):
        try:
            video, fps = decode.read_video(path, **options)  # type: ignore[arg-type]
        except decode.BadVideo as error:
            if "\n" in str(error) or not error.reason:
                return "other exception", f"BadVideo without a line: {error}"
            refusals.append(error.reason)
            continue
        except BaseException as error:
            return "other exception", f"{type(error).__name__}: {error}"
        if video.dtype != np.uint8 or video.ndim != 4 or video.shape[3] != 3 or not len(video):
            return "wrong length", f"array of {video.dtype} {video.shape}"
        if not 0 < fps <= decode.MAX_FPS:
            return "wrong length", f"{fps} frames a second"
        lengths.append((len(video), fps))
    if refusals:
        return "refused", refusals[0]
    (sampled, rate), (whole, fps) = lengths
    counted = mutations.count(path)
    if whole != counted.readable or not counted.fits(whole):
        return "wrong length", f"{whole} frames, counted {counted}"
    seconds = counted.seconds if counted.seconds is not None else whole / fps
    # A film that is slower on average may be faster in some part: then it is resampled as well.
    lengths_fit = {seconds * rate} if rate < fps * 0.999 else {seconds * SAMPLED, whole}
    if min(abs(sampled - fit) for fit in lengths_fit) > 1.5:
        return (
            "wrong length",
            f"{sampled} frames at {rate:g}, {whole} at {fps:g}, counted {counted}",
        )
    return "right", f"{whole}"


if __name__ == "__main__":
    serve() if sys.argv[1:] == ["--serve"] else main()
