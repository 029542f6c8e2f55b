"""What the benchmarks share: competitors timed in turn in one process, rows, tables, comparisons.

A benchmark is a module with ``rows(options) -> Iterator[Row]`` that calls ``compare`` for each
thing it measures, and with ``harness.program({"name": rows})`` at its end;
``benchmarks/__main__.py`` lists them all. A row is a flat JSON object; ``FIELDS`` says what stands
in it.
"""

import dataclasses
import functools
import gc
import importlib.util
import math
import os
import random
import re
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import tyro

from benchmarks import tables
from benchmarks.circumstances import circumstances, threads
from benchmarks.options import Options as Options  # benchmarks take them from here
from benchmarks.options import check, check_matched, offered, unmatched
from benchmarks.options import wanted as wanted
from benchmarks.resident import in_child
from benchmarks.tables import Row
from jaxvid import cli, memory
from jaxvid.typing import UserError

FIELDS = {
    "name": "what is computed; with shapes, mode and device it names the row",
    "shapes": "of what it is computed",
    "mode": "forward | forward+backward | memory | ...",
    "unit": "s, or B where the row compares peak memory",
    "device, threads": "that computed it",
    "versions": "python, jax, jaxlib, and torch if it took part",
    "commit, date": "of this program",
    "ways": "of each competitor: median, quartiles, repeats, compile_s, memory (bytes, if known), "
    "flops_per_s, bytes_per_s, flops_share and bytes_share of the roof",
    "ours": "the way that is ours",
    "roof": "flops_per_s of a large matrix product, bytes_per_s of a large copy, same rounds",
    "peer": "the best other way (null: there is none)",
    "ratio": "of the best peer's value to ours, median over the rounds: above 1 we are better",
    "ratio_quartiles": "of the same",
    "bar": "the ratio to reach (null: none)",
    "limit": "what ours may take at most, in the unit of the row (null: none)",
    "missing": "ways that could not take part, and why",
}
PEER_HINT = "not installed; pip install 'jaxvid[bench]'"
SHORTEST = 0.2  # seconds of a sample: in shorter ones Linux is still placing the threads on cores
ON_DEVICE = 0.03  # the same of an accelerator
LONGEST = 5.0  # what takes more is a process of its own
failures: list[str] = []  # rows that could not be measured


@dataclasses.dataclass
class Way:
    """One way to compute something: ``run`` does it once and returns when the result is there,
    ``launch`` begins it: an accelerator then works through a queue, as it does in a training."""

    run: Callable[[], object]
    compile_s: float = 0.0
    memory: float | None = None  # bytes of arguments, results and temporaries
    launch: Callable[[], object] | None = None


# Ways


def jax_way(function: Callable[..., Any], *arrays: Any) -> Way:
    """A pure function of arrays, compiled for them (not through the compilation cache); they are
    placed once, as a peer's tensors are."""
    import jax

    arrays = jax.device_put(arrays)
    began = time.perf_counter()
    program = jax.jit(function).lower(*arrays).compile()
    seconds = time.perf_counter() - began
    memory, size = program.memory_analysis(), None
    if memory is not None:
        size = float(memory.argument_size_in_bytes + memory.output_size_in_bytes)
        size += memory.temp_size_in_bytes
    run = functools.partial(program, *arrays)
    return Way(lambda: jax.block_until_ready(run()), seconds, size, run)


def torch_way(function: Callable[[], Any], *, compile_s: float = 0.0) -> Way:
    """A call of PyTorch; its tensors must be on ``torch_device()``."""
    torch = torch_or_none()
    if torch_device() == "cpu":
        return Way(function, compile_s)

    def run() -> None:
        function()
        torch.cuda.synchronize()

    free()
    torch.cuda.reset_peak_memory_stats()
    run()
    return Way(run, compile_s, float(torch.cuda.max_memory_allocated()), function)


@functools.cache
def torch_or_none() -> Any:
    """PyTorch with as many threads as this process has cores, or None where there is none."""
    if importlib.util.find_spec("torch") is None:
        return None
    try:
        import torch
    except (ImportError, OSError) as error:  # a library of it is missing
        print(f"PyTorch cannot be imported: {error}", flush=True)
        return None
    torch.set_num_threads(threads())
    if torch.cuda.is_available():
        torch.set_float32_matmul_precision("high")  # TF32, as XLA takes
    return torch


def torch_device() -> str:
    """Where PyTorch computes: "cuda" if both frameworks see a GPU, else "cpu"."""
    import jax

    torch = torch_or_none()
    return "cuda" if torch.cuda.is_available() and jax.default_backend() == "gpu" else "cpu"


def free() -> None:
    """Gives the memory that PyTorch keeps for later back to the GPU, where JAX may need it."""
    gc.collect()
    torch = torch_or_none()
    if torch is not None and torch.cuda.is_available():
        torch.cuda.empty_cache()


def reason(error: BaseException) -> str:
    """The first line of what went wrong, for a table."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return (lines[0] if lines else type(error).__name__).replace("|", "/")[:160]


@functools.cache
def _roofs() -> dict[str, tuple[Way, float]]:
    """A large matrix product and a large copy, with the operations and bytes of each."""
    import jax
    import jax.numpy as jnp

    cpu = jax.default_backend() == "cpu"
    n, dtype = (1024, jnp.float32) if cpu else (8192, jnp.bfloat16)
    size = 2**24 if cpu else 2**28
    # A GPU multiplies ones faster than what networks hold: equal bits take less power.
    square = jax.random.normal(jax.random.key(0), (n, n), dtype)
    long = jnp.ones(size, jnp.float32)
    return {
        "flops_per_s": (jax_way(jnp.matmul, square, square), 2.0 * n**3),
        "bytes_per_s": (jax_way(lambda x: x + 1, long), 8.0 * size),
    }


# Rows


def compare(
    name: str,
    *,
    ours: str,
    ways: Mapping[str, Way],
    options: Options,
    shapes: str,
    mode: str,
    flops: float = 0.0,
    moved: float = 0.0,
    bar: float | None = None,
    limit: float | None = None,
    missing: Mapping[str, str] | None = None,
) -> Row:
    """Times all ways in turn. One run has to do ``flops`` and move ``moved`` bytes at least."""
    roofs = _roofs()
    ways, missing = _working(ours, ways, missing)
    everyone = {**ways, **{key: way for key, (way, _) in roofs.items()}}
    times = _interleaved(everyone, options.repeats)
    roof = {key: work / float(np.median(times[key])) for key, (_, work) in roofs.items()}
    found = {}
    for key, way in ways.items():
        found[key] = {**_spread(times[key]), "compile_s": way.compile_s, "memory": way.memory}
        for rate, work in (("flops", flops), ("bytes", moved)):
            if work:
                speed = work / found[key]["median"]
                found[key] |= {f"{rate}_per_s": speed}
                found[key] |= {f"{rate}_share": speed / roof[f"{rate}_per_s"]}
    _trace(ways[ours], options, f"{name} {shapes} {mode}")
    return _row(name, ours, found, times, shapes=shapes, mode=mode, unit="s", bar=bar, roof=roof,
                limit=limit, missing=missing, work={"flops": flops, "bytes": moved})  # fmt: skip


def compare_memory(
    name: str,
    *,
    ours: str,
    ways: Mapping[str, Callable[[], float]],
    options: Options,
    shapes: str,
    mode: str = "memory",
    bar: float | None = None,
    missing: Mapping[str, str] | None = None,
) -> Row:
    """Peak memory of each way: functions that return bytes, run in turn ``in_child`` processes."""
    rounds = max(3, options.repeats // 5)
    sizes: dict[str, list[float]] = {key: [] for key in ways}
    for _ in range(rounds):
        for key, way in ways.items():
            sizes[key].append(in_child(way))
    return record(name, ours=ours, samples=sizes, shapes=shapes, mode=mode, unit="B", bar=bar,
                  missing=missing)  # fmt: skip


def record(
    name: str,
    *,
    ours: str,
    samples: Mapping[str, Sequence[float]],
    shapes: str,
    mode: str,
    unit: str = "s",
    bar: float | None = None,
    limit: float | None = None,
    missing: Mapping[str, str] | None = None,
) -> Row:
    """A row of values that were measured otherwise, as many of each way."""
    found = {key: _spread(values) for key, values in samples.items()}
    return _row(name, ours, found, samples, shapes=shapes, mode=mode, unit=unit, bar=bar,
                limit=limit, missing=missing)  # fmt: skip


def survive(what: str, rows: Iterator[Row]) -> Iterator[Row]:
    """The rows. Where one cannot be measured, the run goes on and ends with exit code 1."""
    free()
    try:
        yield from rows
    except UserError:
        raise
    except Exception as error:  # out of memory, say, or what a compiler cannot do
        traceback.print_exc()
        fail(what, reason(error))


def fail(what: str, why: str) -> None:
    """Notes that a row cannot be measured, for the end of the run and its exit code."""
    failures.append(f"failed: {what}: {why}")
    print(failures[-1], flush=True)


def _working(
    ours: str, ways: Mapping[str, Way], missing: Mapping[str, str] | None
) -> tuple[dict[str, Way], dict[str, str]]:
    """Our way and those others that run once, and why the rest is missing."""
    found, gone = {ours: ways[ours]}, dict(missing or {})
    for key, way in ways.items():
        try:
            if key != ours:
                way.run()
                found[key] = way
        except Exception as error:
            gone[key] = reason(error)
    free()  # ours is to find room beside them
    return found, gone


def _interleaved(ways: Mapping[str, Way], repeats: int) -> dict[str, list[float]]:
    """Seconds of each way, once a round, in another order each round."""
    import jax

    shortest = SHORTEST if jax.default_backend() == "cpu" else ON_DEVICE
    once = {}
    for key, way in ways.items():
        way.run()
        once[key] = _seconds(way, 1)
    order, rng = list(ways), random.Random(0)
    times: dict[str, list[float]] = {key: [] for key in ways}
    for _ in range(repeats):
        rng.shuffle(order)
        for key in order:
            time.sleep(0.005)  # threads of the one before stop waiting for more work
            if once[key] < LONGEST:
                ways[key].run()  # memory and caches are its own again, as in a training
            number = max(1, math.ceil(shortest / once[key]))
            times[key].append(_seconds(ways[key], number))
    return times


def _seconds(way: Way, number: int) -> float:
    import jax

    launch = None if jax.default_backend() == "cpu" else way.launch
    began = time.perf_counter()
    for _ in range(number - 1):
        (launch or way.run)()
    way.run()
    return (time.perf_counter() - began) / number


def _spread(values: Sequence[float] | np.ndarray) -> dict[str, Any]:
    low, middle, high = np.percentile(values, [25, 50, 75])
    quartiles = [float(low), float(high)]
    return {"median": float(middle), "quartiles": quartiles, "repeats": len(values)}


def _row(
    name: str,
    ours: str,
    ways: dict[str, Any],
    samples: Mapping[str, Sequence[float]],
    *,
    missing: Mapping[str, str] | None,
    **more: Any,
) -> Row:
    peers = [key for key in ways if key != ours]
    peer = min(peers, key=lambda key: ways[key]["median"], default=None)
    row: Row = {"name": name, **more, **circumstances(), "ours": ours, "ways": ways}
    row |= {"peer": peer, "ratio": None, "ratio_quartiles": None, "missing": dict(missing or {})}
    if peer:
        rounds = _spread(np.divide(samples[peer], samples[ours]))
        row |= {"ratio": rounds["median"], "ratio_quartiles": rounds["quartiles"]}
    print(tables.line(row), flush=True)
    return row


def _trace(way: Way, options: Options, name: str) -> None:
    if options.profile is None:
        return
    import jax

    folder = options.profile / re.sub(r"\W+", "_", name).strip("_")
    with jax.profiler.trace(str(folder), create_perfetto_trace=True):
        for _ in range(3):
            way.run()


# The command line


def program(
    benchmarks: Mapping[str, Callable[[Options], Iterator[Row]]], *, name: str | None = None
) -> None:
    """``main`` with the memory that our programs have; a peer beside them has it too."""
    memory.program(functools.partial(main, benchmarks, name=name))


def main(
    benchmarks: Mapping[str, Callable[[Options], Iterator[Row]]],
    argv: Sequence[str] | None = None,
    *,
    name: str | None = None,
) -> None:
    """Runs benchmarks and writes their rows: the command line of each, and of all together."""
    name = name or next(iter(benchmarks))
    options = tyro.cli(Options, args=argv, prog=f"benchmarks.{name}")
    failures.clear()
    offered.clear()
    with cli.user_errors():
        check(options)
        there = options.out / f"{name}.json"
        fix = "move it away, or choose another --out"
        kept = tables.read(there, fix) if there.exists() else []
        from jaxvid import parallel

        parallel.start(cache=False)  # compile times are of a first compilation
        # JAX takes three quarters of a GPU's memory at its start unless told; PyTorch is there too.
        os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
        before = options.against
        earlier = tables.earlier_rows(before, circumstances()) if before else []
        rows: list[Row] = []
        for benchmark in benchmarks.values():
            for row in benchmark(options):
                rows.append(row)  # a run that is killed leaves what it has
                tables.save(tables.merged(rows, kept), options.out, name)
        if rows:
            tables.write(tables.merged(rows, kept), options.out, name)
            print(f"\n{tables.table(rows)}\nwritten to {options.out}/{name}.*")
        elif not failures:
            check_matched(options)
        for line in [f"no row matches --only {part!r}" for part in unmatched(options)] + failures:
            print(line)
        if before and rows:
            print("\n".join(tables.comparison(before, rows, earlier)))
    if failures or tables.regressions(rows, earlier):
        raise SystemExit(1)
