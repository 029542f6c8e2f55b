"""How long a training step of ``tiny`` waits for its batch: ``python -m benchmarks.loader``.

Scenes, which are drawn as they are needed, and two sets that fit in memory: a folder of mp4 files
and a set of tensorflow-datasets, from the second epoch on. Each is read by the loader of the
trainings while the real step runs; ``wait`` is what ``next`` takes once the step before is done,
and the limit is 3 % of the step.
"""

import contextlib
import dataclasses
import io
import pathlib
import statistics
import tempfile
import time
from collections.abc import Iterator
from typing import Any

import numpy as np

from benchmarks import harness
from benchmarks.harness import Options, Row

CLIPS = 64  # of the sets on disk
SHARE = 0.03  # of a step


def rows(options: Options) -> Iterator[Row]:
    """The wait for a batch of each source."""
    kinds = ("scenes", "folder", "tfds")
    names = [n for n in kinds if harness.wanted(options, f"wait {n}", "training")]
    if not names:
        return
    from jaxvid import presets
    from jaxvid.data.source import open_source

    run = presets.tiny_gan()
    step, state, mesh = _step(run)
    with tempfile.TemporaryDirectory() as name:
        for kind in names:
            data = _prepare(kind, pathlib.Path(name), run.data)
            this = dataclasses.replace(run, data=data)
            source = open_source(data, split="train", cache_dir=pathlib.Path(name) / "prepared")
            waits, steps, state = _train(this, source, step, state, mesh, options.repeats)
            yield harness.record(
                f"wait {kind}", ours="wait", samples={"wait": waits, "step": steps},
                shapes=f"batch {run.train.batch_size}, {run.data.threads} threads", mode="training",
                limit=SHARE * statistics.median(steps),
            )  # fmt: skip


def _step(run: Any) -> tuple[Any, Any, Any]:
    """The adversarial step of the run, compiled, with a first state on its devices."""
    import jax

    from jaxvid import parallel, training
    from jaxvid.data.loader import Batches

    run, source = training.open_training(run)
    batch = Batches(
        source, batch_size=run.train.batch_size, seed=0, text_length=run.data.text_length
    )[0]
    nets, state = training.build_gan(run, batch)
    mesh = parallel.make_mesh(None, run.mesh)
    step = training.gan_phases(run, nets)[-1].step
    state = parallel.place_state(state, mesh)
    step.compile(state, parallel.place_batch(batch, mesh), jax.random.key(0))
    return step, state, mesh


def _train(
    run: Any, source: Any, step: Any, state: Any, mesh: Any, count: int
) -> tuple[list[float], list[float], Any]:
    """Seconds that each of ``count`` steps waited, and that it took; and the state after them."""
    import jax

    from jaxvid import parallel, training

    key = parallel.replicate(jax.random.key(0), mesh)
    waits, steps = [], []
    with contextlib.closing(training.batches(source, run.data, run.train)(0, 0)) as loader:
        first = -(-len(source) // run.train.batch_size) if len(source) <= CLIPS else 0
        for _ in range(first):  # the first epoch decodes
            next(loader)
        batches = parallel.prefetch(loader, mesh)
        for n in range(count + 2):
            began = time.perf_counter()
            batch = next(batches)
            ready = time.perf_counter()
            state, _ = jax.block_until_ready(step(state, batch, key))
            if n >= 2:  # the first fill the queue
                waits.append(ready - began)
                steps.append(time.perf_counter() - ready)
    return waits, steps, state


def _prepare(kind: str, folder: pathlib.Path, data: Any) -> Any:
    """The configuration of a source, after its clips were written where it is one of files."""
    if kind == "scenes":
        return data
    from jaxvid.data.source import open_source
    from jaxvid.io.media import write_video

    scenes = open_source(data, split="train")
    clips = [scenes[i] for i in range(CLIPS)]
    if kind == "folder":
        (folder / "clips").mkdir()
        for i, clip in enumerate(clips):
            write_video(folder / "clips" / f"{i}.mp4", clip.video, fps=clip.fps)
            (folder / "clips" / f"{i}.txt").write_text(clip.caption, encoding="utf-8")
        return dataclasses.replace(data, source=f"folder:{folder / 'clips'}")
    return dataclasses.replace(data, source=f"tfds:{_write_tfds(folder, clips)}")


def _write_tfds(folder: pathlib.Path, clips: list[Any]) -> pathlib.Path:
    """A prepared set of the clips, with their captions."""
    import tensorflow_datasets as tfds

    shape = clips[0].video.shape

    builder: Any = tfds.core.GeneratorBasedBuilder

    class Scenes(builder, skip_registration=True):  # type: ignore[misc, call-arg]
        VERSION = tfds.core.Version("1.0.0")
        code_path = None

        def _info(self) -> Any:
            video = tfds.features.Tensor(
                shape=(None, *shape[1:]), dtype=np.uint8, encoding=tfds.features.Encoding.BYTES
            )
            described = tfds.features.FeaturesDict(
                {"video": video, "caption": tfds.features.Text()}
            )
            return tfds.core.DatasetInfo(builder=self, features=described)

        def _split_generators(self, _: Any) -> Any:
            rows = ({"video": clip.video, "caption": clip.caption} for clip in clips)
            return {"train": iter(enumerate(rows))}

        def _generate_examples(self) -> None: ...

    tfds.disable_progress_bar()
    with contextlib.redirect_stdout(io.StringIO()):
        Scenes(data_dir=str(folder), file_format="array_record").download_and_prepare()
    return folder / "scenes" / "1.0.0"


if __name__ == "__main__":
    harness.program({"loader": rows})
