"""Clips from noise, from a prompt, and into a file, timed: ``python -m benchmarks.generate``.

The generator alone at several presets (``tiny`` with the weights that come along, the others with
untrained ones, which cost as much; on a CPU the two small ones), and the whole way by the model
that comes along: warm in this process, cold in new ones, whose programs may come from the compile
cache.
"""

import dataclasses
import pathlib
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from typing import Any

from benchmarks import harness
from benchmarks.harness import Options, Row, Way

PROMPT = "a large red circle moves to the right"
SPEED = 100.0  # frames a second of the tiny generator, at least
FIRST = 0.150  # seconds from a prompt to a clip, at most


def rows(options: Options) -> Iterator[Row]:
    """Generators at batch 1 and 8, then the way from a prompt to a clip and to a file."""
    import jax

    on_cpu = jax.default_backend() == "cpu"
    for preset in ("tiny", "small") if on_cpu else ("tiny", "small", "base", "large"):
        for size in (1, 8):
            if harness.wanted(options, f"generator {preset}, batch {size}", "forward"):
                yield _generator(options, preset, size)
    yield from _whole_way(options)


def _generator(options: Options, preset: str, size: int) -> Row:
    import jax
    import jax.numpy as jnp

    from jaxvid import presets, training
    from jaxvid.pipeline import SHIPPED
    from jaxvid.steps.sample import make_sampler

    run = presets.GAN[preset]()
    if preset == "tiny":
        nets, params, run = training.read_generator(SHIPPED)
    else:
        nets = training.make_nets(run)
        abstract = jax.eval_shape(lambda: training.blank_state(run)[0].params)
        params = jax.tree.map(lambda leaf: jnp.full(leaf.shape, 0.01, leaf.dtype), abstract)
    _, one = training.blank_state(run)
    batch = {key: jnp.repeat(jnp.asarray(value), size, 0) for key, value in one.items()}
    batch["mask"] = jnp.zeros((*batch["video"].shape[:-1], 1))
    sample = make_sampler(nets.generator, dtype=run.compute.dtype)
    arrays = params, batch, jax.random.key(0)
    costs: Any = jax.jit(sample).lower(*arrays).cost_analysis()
    ways = {"jaxvid": harness.jax_way(sample, *arrays)}
    frames = size * run.data.frames
    shape = f"{frames} frames of {run.data.resolution} x {run.data.resolution}"
    return harness.compare(
        f"generator {preset}, batch {size}", ours="jaxvid", options=options, shapes=shape,
        ways=ways, mode="forward", flops=float(costs["flops"]),
        limit=frames / SPEED if preset == "tiny" else None,
    )  # fmt: skip


def _whole_way(options: Options) -> Iterator[Row]:
    fewer = dataclasses.replace(options, repeats=max(3, options.repeats // 5))
    with tempfile.TemporaryDirectory() as name:
        out = pathlib.Path(name) / "clip.mp4"
        program = "import sys; from jaxvid.cli import main; main(sys.argv[1:])"
        command = [sys.executable, "-c", program, "generate", "--out", str(out), PROMPT]

        def cold() -> None:
            subprocess.run(command, check=True, capture_output=True)

        from jaxvid import pipeline

        pipe = pipeline.load()
        todo = {
            ("prompt to clip", "warm"): (lambda: pipe.generate(PROMPT), options, FIRST),
            ("prompt to mp4", "warm"): (lambda: pipe.generate(PROMPT).save(out), options, None),
            ("shell to mp4", "cold"): (cold, fewer, None),
        }
        for (what, mode), (run, often, limit) in todo.items():
            if harness.wanted(options, what, mode):
                yield harness.compare(
                    what, ours="jaxvid", ways={"jaxvid": Way(run)}, options=often,
                    shapes="16 frames of 32 x 32", mode=mode, limit=limit,
                )  # fmt: skip


if __name__ == "__main__":
    harness.main({"generate": rows})
