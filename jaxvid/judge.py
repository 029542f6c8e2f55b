"""Reads the labels of a data set off the pixels of clips, to say whether generated ones show them.

A judge is a small classifier, trained on real training clips only; what it reads of real held-out
clips is its own accuracy, and stands beside every figure that it gives. Take another seed for a
reward than for an evaluation, or the reward is graded by what was fooled.
"""

import dataclasses
import functools
import hashlib
import json
import math
import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Float, UInt8

from jaxvid.config import OptimConfig
from jaxvid.data.loader import make_loader
from jaxvid.data.source import Example, Source
from jaxvid.io.log import say
from jaxvid.io.weights import check_weights, read_weights, write_weights
from jaxvid.models.judge import JudgeNet
from jaxvid.ops.augment import augment
from jaxvid.optim import make_optimizer
from jaxvid.parallel import cache_folder, compile_function
from jaxvid.typing import Batch, HostBatch, Params, UserError

VERSION = 2  # of network and training: raise it to train all judges anew
OPTIM = OptimConfig(lr=2e-3, final=0.02)
AUGMENT, NOISE = 0.5, 0.2  # strength of shifts and light; most of the noise, pixels being in -1..1
CHUNK = 64  # clips that are read at once
Videos = UInt8[np.ndarray, "B T H W 3"]
Labels = Mapping[str, tuple[str, ...]]


@dataclasses.dataclass(frozen=True, eq=False)
class Judge:
    """``labels`` with their values, ``shape`` (T,H,W,3) of the clips that it reads.

    ``real``: for each label, the share of real held-out clips that it reads right.
    """

    labels: Labels
    shape: tuple[int, ...]
    params: Params
    real: Mapping[str, float] = dataclasses.field(default_factory=dict)

    def read(self, videos_BTHWC: Videos) -> dict[str, np.ndarray]:
        """For each label the values (B,), as text, that the clips are taken to show."""
        logits, _ = self._apply(videos_BTHWC)
        best = {name: z_BV.argmax(-1) for name, z_BV in zip(self.labels, logits, strict=True)}
        return {name: np.array(self.labels[name])[best_B] for name, best_B in best.items()}

    def accuracy(
        self, videos_BTHWC: Videos, known: Sequence[Mapping[str, str]]
    ) -> dict[str, float]:
        """For each label, the share of clips that are read as they should be: ``known`` of each.

        Clips of which a label is not known do not count; NaN where it is known of none.
        """
        return _shares(self.read(videos_BTHWC), known)

    def features(self, videos_BTHWC: Videos) -> Float[np.ndarray, "B F"]:
        """What the last layer reads the labels from, float32: for distances between sets of clips.

        A judge is trained to overlook noise and flicker, so these features do, too.
        """
        return self._apply(videos_BTHWC)[1]

    def _apply(self, videos_BTHWC: Videos) -> tuple[list[np.ndarray], np.ndarray]:
        if videos_BTHWC.shape[1:] != self.shape:
            raise UserError(
                f"this judge reads clips of {self.shape}, not of {videos_BTHWC.shape[1:]};"
                " train one on clips of that shape"
            )
        run, parts = _program(_sizes(self.labels)), []
        for at in range(0, len(videos_BTHWC), CHUNK):  # the last one repeats a clip: one program
            rows = np.minimum(np.arange(at, at + CHUNK), len(videos_BTHWC) - 1)
            parts.append(jax.tree.map(np.asarray, run(self.params, videos_BTHWC[rows])))
        whole = jax.tree.map(lambda *x: np.concatenate(x)[: len(videos_BTHWC)], *parts)
        return list(whole[0]), whole[1]

    def save(self, path: str | pathlib.Path) -> pathlib.Path:
        """Writes it as safetensors."""
        about = {"judge": VERSION, "labels": dict(self.labels), "shape": self.shape}
        return write_weights(
            path, self.params, config=json.dumps(about | {"real": dict(self.real)})
        )


def load_judge(path: str | pathlib.Path) -> Judge:
    """Reads what ``Judge.save`` wrote. Raises UserError for anything else."""
    params, config = read_weights(path)
    try:
        about = json.loads(config)
        labels = {str(name): tuple(map(str, values)) for name, values in about["labels"].items()}
        shape = tuple(map(int, about["shape"]))
        real = {str(name): float(value) for name, value in about["real"].items()}
        known = about["judge"] == VERSION and len(shape) == 4 and min(shape) > 0
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        known = False
    if not known:
        raise UserError(f"{path} is no judge that this jaxvid reads; train it again")
    check_weights(path, params, jax.eval_shape(lambda: _init(_sizes(labels), shape, 0)))
    return Judge(labels, shape, params, real)


def open_judge(
    train: Source,
    held_out: Source,
    *,
    steps: int = 1500,
    seed: int = 0,
    cache_dir: str | pathlib.Path | None = None,
) -> Judge:
    """The judge of a data set: trained at the first call, read from the cache afterwards.

    ``cache_dir``: by default ``judges`` in the user's cache folder.
    """
    content = [VERSION, repr(train), repr(held_out), sorted(train.labels.items()), steps, seed]
    key = hashlib.sha256(json.dumps(content).encode()).hexdigest()[:16]
    folder = pathlib.Path(cache_dir) if cache_dir is not None else cache_folder() / "judges"
    path = folder / f"{key}.safetensors"
    try:
        if path.is_file():
            return load_judge(path)
    except UserError:
        pass  # damaged: it is trained anew
    judge = train_judge(train, held_out, steps=steps, seed=seed)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        judge.save(path)
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise UserError(
            f"{folder}: cannot be written ({reason}); set JAXVID_CACHE to a folder that can"
        ) from None
    return load_judge(path)  # as half precision has it, so that the first call is as all others


def train_judge(
    train: Source, held_out: Source, *, steps: int = 1500, batch_size: int = 64, seed: int = 0
) -> Judge:
    """Trains a judge on the real clips of ``train``, and tries it on those of ``held_out``.

    One softmax for each label, on clips that are shifted, lit otherwise, blurred and noisy (never
    mirrored: labels speak of left and right), so that a generator's are no surprise to it.
    Raises UserError where the clips have no labels.
    """
    labels = dict(train.labels)
    if not labels:
        raise UserError(
            f"{train.name} has no labels to judge by; add columns such as action to captions.jsonl"
        )
    shape = train[0].video.shape
    tx = make_optimizer(OPTIM, steps)
    params = compile_function(lambda: _init(_sizes(labels), shape, seed), once=True)()
    opt_state = tx.init(params)
    step = _step(_sizes(labels), steps)
    loader = make_loader(
        train,
        batch_size=batch_size,
        seed=seed,
        text_length=4,
        threads=2,
        memory_gb=2.0,
        collate=functools.partial(_collate, labels),
    )
    say(f"judge: reading {', '.join(labels)} in {steps} steps on {len(train)} real clips")
    for at, batch in zip(range(steps), loader, strict=False):
        key = jax.random.fold_in(jax.random.key(seed), at)
        params, opt_state, loss = step(params, opt_state, batch, key)
        if at % 300 == 299:
            say(f"judge: step {at + 1} of {steps}, loss {float(loss):.4f}")
    loader.close()
    judge = Judge(labels, shape, jax.tree.map(np.asarray, params))
    judge = dataclasses.replace(judge, real=_tried(judge, held_out))
    say("judge: real held-out clips, " + ", ".join(f"{k} {v:.1%}" for k, v in judge.real.items()))
    return judge


def _tried(judge: Judge, source: Source) -> dict[str, float]:
    """The accuracies on all clips of a source, a few at a time in memory."""
    found, known = [], []
    for at in range(0, len(source), CHUNK):
        examples = [source[i] for i in range(at, min(at + CHUNK, len(source)))]
        found.append(judge.read(np.stack([example.video for example in examples])))
        known += [example.labels for example in examples]
    whole = {name: np.concatenate([part[name] for part in found]) for name in judge.labels}
    return _shares(whole, known)


def _shares(
    found: Mapping[str, np.ndarray], known: Sequence[Mapping[str, str]]
) -> dict[str, float]:
    """For each label, how often what was found is what is known; NaN where nothing is."""
    rights = {
        name: [read == one[name] for read, one in zip(read_B, known, strict=True) if name in one]
        for name, read_B in found.items()
    }
    return {name: float(np.mean(right)) if right else math.nan for name, right in rights.items()}


def _sizes(labels: Labels) -> tuple[int, ...]:
    return tuple(len(values) for values in labels.values())


def _init(sizes: tuple[int, ...], shape: tuple[int, ...], seed: int) -> Params:
    blank = jnp.zeros((1, *shape), jnp.float32)
    return JudgeNet(sizes).init(jax.random.key(seed), blank)["params"]


@functools.lru_cache(maxsize=8)
def _program(sizes: tuple[int, ...]) -> Callable[..., Any]:
    """Logits of each label and features of clips in uint8."""
    net = JudgeNet(sizes)
    return compile_function(lambda params, video: net.apply({"params": params}, _unit(video)))


def _unit(video: jax.Array) -> jax.Array:
    return video.astype(jnp.float32) / 127.5 - 1.0


def _collate(
    labels: Labels, examples: Sequence[Example], indices: Any, *, text_length: int
) -> HostBatch:
    """Clips and the place of each label's value (B,K), -1 where it is not known."""
    places = [
        [
            v.index(example.labels[name]) if name in example.labels else -1
            for name, v in labels.items()
        ]
        for example in examples
    ]
    return {
        "video": np.stack([example.video for example in examples]),
        "places": np.array(places, np.int32),
    }


@functools.lru_cache(maxsize=8)
def _step(sizes: tuple[int, ...], steps: int) -> Callable[..., Any]:
    """(params, optimizer state, batch, key) -> the same after a step, and the loss."""
    net, tx = JudgeNet(sizes), make_optimizer(OPTIM, steps)

    def loss(params: Params, batch: Batch, key: jax.Array) -> jax.Array:
        shifts, strengths, noise = jax.random.split(key, 3)
        video = _unit(jnp.asarray(batch["video"]))
        video = augment(jax.random.split(shifts, len(video)), video, strength=AUGMENT)
        blur, sigma = jax.random.uniform(strengths, (2, len(video), 1, 1, 1, 1))
        x = jnp.pad(video, ((0, 0), (0, 0), (1, 1), (1, 1), (0, 0)), mode="edge")
        x = (x[:, :, :-2] + x[:, :, 1:-1] + x[:, :, 2:]) / 3
        x = (x[:, :, :, :-2] + x[:, :, :, 1:-1] + x[:, :, :, 2:]) / 3  # the mean of 3 x 3 pixels
        video += blur * (x - video)
        video += NOISE * sigma * jax.random.normal(noise, video.shape)
        logits, _ = net.apply({"params": params}, video)
        total = jnp.float32(0)
        for k, z_BV in enumerate(logits):
            place_B = batch["places"][:, k]
            loss_B = optax.softmax_cross_entropy_with_integer_labels(z_BV, jnp.maximum(place_B, 0))
            total += jnp.where(place_B >= 0, loss_B, 0.0).mean()
        return total

    def step(params: Params, opt_state: Any, batch: Batch, key: jax.Array) -> Any:
        value, grads = jax.value_and_grad(loss)(params, batch, key)
        updates, opt_state = tx.update(grads, opt_state, params)
        return optax.apply_updates(params, updates), opt_state, value

    return compile_function(step)
