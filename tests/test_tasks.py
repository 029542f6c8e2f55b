"""What a step draws: tasks by their shares, frames in order, conditions left out, wrong scripts."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxvid.config import DataConfig, TaskConfig
from jaxvid.data.loader import Batches
from jaxvid.data.source import open_source
from jaxvid.steps import tasks
from jaxvid.typing import HostBatch

B, T, R = 8, 4, 8


def keys(count: int, seed: int = 0) -> jax.Array:
    return jax.vmap(lambda i: jax.random.fold_in(jax.random.key(seed), i))(jnp.arange(count))


def device(batch: HostBatch) -> dict[str, jax.Array]:
    return {name: jnp.asarray(value) for name, value in batch.items()}


@pytest.fixture(scope="module")
def batch() -> HostBatch:
    data = DataConfig(resolution=R, frames=T, text_length=32)
    return Batches(open_source(data, split="train"), batch_size=B, seed=0, text_length=32)[0]


def test_tasks_follow_their_shares() -> None:
    shares = TaskConfig(nothing=0.3, first=0.1, start=0.1, ends=0.3, scattered=0.1, region=0.1)
    mask = np.asarray(tasks.sample_tasks(keys(4000), (16, 8, 8), shares))[..., 0]
    assert set(np.unique(mask)) == {0, 1}
    whole, some = mask.all((2, 3)), mask.any((2, 3))
    region = (some & ~whole).all(1)
    assert abs(region.mean() - 0.1) < 0.02
    assert (mask[region] == mask[region][:, :1]).all()  # the same hole in all frames
    unknown = 1 - mask[region].mean((1, 2, 3))
    assert unknown.min() >= 1 / 16 and unknown.max() <= 9 / 16 + 0.1
    known = whole[~region]
    assert abs((known.sum(1) == 0).mean() * 0.9 - 0.3) < 0.03
    prefix = (np.diff(known.astype(int), axis=1) <= 0).all(1) & known[:, 0] & ~known[:, -1]
    assert abs(prefix.mean() * 0.9 - 0.2) < 0.03
    assert set(known[prefix].sum(1)) == set(range(1, 16))
    ends = known[:, 0] & known[:, -1]
    counts = known[ends].sum(1)
    assert {2, 5, 9} <= set(counts) and abs((counts == 2).mean() - 0.5) < 0.06


def test_conditions_are_left_out_by_their_shares(batch: HostBatch) -> None:
    many = {k: np.repeat(v[:1], 3000, 0) for k, v in batch.items()} | {
        "label": np.full(3000, 3, np.int32)
    }
    config = TaskConfig(drop_text=0.5, drop_script=0.25, drop_class=0.1)
    dropped = {
        k: np.asarray(v) for k, v in tasks.drop_conditions(keys(3000), device(many), config).items()
    }
    for name, share in (("text", 0.5), ("boxes", 0.25), ("label", 0.1)):
        gone = ~dropped[name].reshape(3000, -1).any(1)
        assert abs(gone.mean() - share) < 0.03, name
        np.testing.assert_array_equal(dropped[name][~gone], many[name][~gone])
    script = [
        ~dropped[n].reshape(3000, -1).any(1)
        for n in ("boxes", "visible", "attributes", "background")
    ]
    assert all((gone == script[0]).all() for gone in script)  # the script goes as a whole
    np.testing.assert_array_equal(dropped["video"], many["video"])
    np.testing.assert_array_equal(dropped["times"], many["times"])


def test_mismatched_scripts_differ_where_there_is_an_actor(batch: HostBatch) -> None:
    true = batch["attributes"]
    wrong = np.asarray(tasks.mismatched(keys(B, 1), device(batch))["attributes"])
    there = true[..., 0] > 0
    assert ((wrong != true).sum(-1)[there] == 1).all()
    assert (wrong[~there] == true[~there]).all()
    assert (wrong[..., 0] <= 8).all() and (wrong[..., 1] <= 8).all() and (wrong >= 0).all()


def test_picked_frames_are_in_order_and_belong_together(batch: HostBatch) -> None:
    picked = tasks.pick_frames(device(batch), jax.random.key(0), jnp.int32(3), 2)
    assert picked["video"].shape == (B, 2, R, R, 3)
    for b in range(B):
        at = [list(batch["times"][b]).index(t) for t in np.asarray(picked["times"][b])]
        assert at == sorted(set(at))
        np.testing.assert_array_equal(picked["video"][b], batch["video"][b][at])
        np.testing.assert_array_equal(picked["boxes"][b], batch["boxes"][b][at])
