"""Clips from noise, from a prompt, and into a file, timed: ``python -m benchmarks.generate``.

The generator alone at several presets (``tiny`` with the weights that come along, the others with
random ones, which cost as much; on a CPU the two small ones): the median at batch 1 is the latency
of a first clip. And the whole way by the model that comes along: warm in this process, cold in new
ones, whose programs may come from the compile cache.
"""

import dataclasses
import pathlib
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from typing import Any

import numpy as np

from benchmarks import counted, harness
from benchmarks.harness import Options, Row, Way
from benchmarks.train_step import gan_batch

PROMPT = "a large red circle moves to the right"
SPEED = 100.0  # frames a second of the tiny generator, at least
FIRST = 0.150  # seconds from a prompt to a clip, at most
WHOLE = (("prompt to clip", "warm"), ("prompt to mp4", "warm"), ("shell to mp4", "cold"))


def rows(options: Options) -> Iterator[Row]:
    """Generators at batch 1 and 8, then the way from a prompt to a clip and to a file."""
    import jax

    on_cpu = jax.default_backend() == "cpu"
    for preset in ("tiny", "small") if on_cpu else ("tiny", "small", "base", "large"):
        for size in (1, 8):
            name = f"generator {preset}, batch {size}"
            if harness.wanted(options, name, "forward"):
                yield from harness.survive(name, _generator(options, name, preset, size))
    if any(harness.wanted(options, *what) for what in WHOLE):
        yield from harness.survive("from a prompt", _whole_way(options))


def _generator(options: Options, name: str, preset: str, size: int) -> Iterator[Row]:
    import jax
    import jax.numpy as jnp

    from jaxvid import presets, training
    from jaxvid.pipeline import SHIPPED
    from jaxvid.steps.sample import make_sampler

    run = presets.GAN[preset]()
    if preset == "tiny":
        nets, params, run = training.read_generator(SHIPPED)
    else:
        nets, params = training.make_nets(run), _random_params(run)
    flops = counted.frame_flops(run)
    alone = dataclasses.replace(run, train=dataclasses.replace(run.train, batch_size=1))
    one = gan_batch(alone)
    batch = {key: jnp.asarray(np.repeat(value, size, 0)) for key, value in one.items()}
    batch["index"] = jnp.arange(size, dtype=batch["index"].dtype)
    batch["mask"] = jnp.zeros((*batch["video"].shape[:-1], 1))
    sample = make_sampler(nets.generator, dtype=run.compute.dtype)
    arrays = params, batch, jax.random.key(0)
    ways = {"jaxvid": harness.jax_way(sample, *arrays)}
    frames = size * run.data.frames
    row = harness.compare(
        name, ours="jaxvid", options=options, ways=ways, mode="forward", flops=frames * flops(),
        shapes=f"{frames} frames of {run.data.resolution} x {run.data.resolution}",
        limit=frames / SPEED if preset == "tiny" else None,
    )  # fmt: skip
    speed = frames / row["ways"]["jaxvid"]["median"]
    print(f"{name}: {speed:.0f} frames/s", flush=True)
    yield row | {"frames_per_s": speed}


def _random_params(run: Any) -> Any:
    import jax

    from jaxvid import training

    rng = np.random.default_rng(0)

    def fill(leaf: Any) -> jax.Array:
        scale = np.prod(leaf.shape[:-1]) ** -0.5 if len(leaf.shape) > 1 else 0.1
        return jax.device_put(np.float32(scale) * rng.standard_normal(leaf.shape, np.float32))

    shapes = jax.eval_shape(lambda: training.blank_state(run)[0].params)
    return jax.tree.map(fill, shapes)


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
        todo = (
            (lambda: pipe.generate(PROMPT), options, FIRST),
            (lambda: pipe.generate(PROMPT).save(out), options, None),
            (cold, fewer, None),
        )
        for (what, mode), (run, often, limit) in zip(WHOLE, todo, strict=True):
            if harness.wanted(options, what, mode):
                yield harness.compare(
                    what, ours="jaxvid", ways={"jaxvid": Way(run)}, options=often,
                    shapes="16 frames of 32 x 32", mode=mode, limit=limit,
                )  # fmt: skip


if __name__ == "__main__":
    harness.program({"generate": rows})
