"""Laws of checkpoints: what is saved comes back bit for bit; the latest and the best are kept."""

import contextlib
import errno
import gc
import pathlib
import resource
import shutil
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as ocp
import pytest
from flax import struct
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from jaxvid.config import OptimConfig
from jaxvid.io import checkpoint
from jaxvid.io.checkpoint import Checkpoints, tree_digest
from jaxvid.optim import make_optimizer
from jaxvid.state import PlannerState, init_planner
from jaxvid.typing import UserError

# A restore that fails leaves coroutines behind, which complain when they are collected.
ORBAX_LEFTOVERS = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
GOLDEN = pathlib.Path(__file__).parent / "golden"
NOTE = {"data": {"position": 12, "seed": 3}, "versions": "jax 0", "done": False}


def mixed() -> PlannerState:
    """A state with odd shapes and types."""
    rng = np.random.default_rng(0)
    params = {
        "float32": jnp.asarray(rng.normal(size=(3, 1, 5)).astype(np.float32)),
        "bfloat16": jnp.asarray(rng.normal(size=7), jnp.bfloat16),
        "scalar": jnp.float32(np.pi),
        "special": jnp.asarray([jnp.inf, -0.0, 1e-40, 3.0], jnp.float32),
    }
    state = init_planner(params, make_optimizer(OptimConfig(), 10))
    return state.replace(step=jnp.int32(7), ema={"count": jnp.arange(4), "flag": jnp.array(True)})


def blank(state: Any) -> Any:
    return jax.tree.map(jnp.zeros_like, state)


def steps(folder: pathlib.Path) -> list[int]:
    return sorted(int(path.name) for path in folder.iterdir() if path.name.isdigit())


def small(value: float = 0.0) -> PlannerState:
    w = {"w": jnp.full(3, value, jnp.float32)}
    return PlannerState(jnp.int32(0), w, w, ())


def test_a_state_comes_back_bit_for_bit(tmp_path: pathlib.Path) -> None:
    state = mixed()
    with Checkpoints(tmp_path) as checkpoints:
        checkpoints.save(7, state, NOTE)
    with Checkpoints(tmp_path) as checkpoints:
        assert checkpoints.latest == 7
        restored, note = checkpoints.restore(blank(state))
    assert note == NOTE
    assert jax.tree.structure(restored) == jax.tree.structure(state)
    for a, b in zip(jax.tree.leaves(restored), jax.tree.leaves(state), strict=True):
        assert (a.dtype, a.shape, a.weak_type) == (b.dtype, b.shape, False)
        assert np.asarray(a).tobytes() == np.asarray(b).tobytes()
    assert tree_digest(restored) == tree_digest(state) != tree_digest(blank(state))


def test_a_state_comes_back_to_the_devices_of_its_template(tmp_path: pathlib.Path) -> None:
    mesh = jax.make_mesh((8,), ("data",), axis_types=(AxisType.Auto,))
    everywhere = NamedSharding(mesh, PartitionSpec())
    state = small(3.0)
    with Checkpoints(tmp_path) as checkpoints:
        checkpoints.save(1, jax.device_put(state, everywhere), NOTE)
        one, _ = checkpoints.restore(state)
        eight, _ = checkpoints.restore(jax.device_put(blank(state), everywhere))
    assert len(one.params["w"].devices()) == 1 and len(eight.params["w"].devices()) == 8
    assert tree_digest(one) == tree_digest(eight) == tree_digest(state)


def test_the_latest_and_the_best_are_kept(tmp_path: pathlib.Path) -> None:
    scores = {1: 5.0, 2: 1.0, 3: 4.0, 4: 3.0, 5: None, 6: 2.0}
    with Checkpoints(tmp_path, keep=2) as checkpoints:
        for step, score in scores.items():
            checkpoints.save(step, small(step), NOTE, score=score)
    assert steps(tmp_path) == [2, 5, 6]
    with Checkpoints(tmp_path, keep=2) as checkpoints:
        restored, _ = checkpoints.restore(small(), step=2)
        assert restored.params["w"][0] == 2
        checkpoints.save(7, small(7), NOTE, score=0.5)  # the best of all, over a restart
        checkpoints.save(8, small(8), NOTE, score=9.0)
        checkpoints.save(9, small(9), NOTE, score=9.0)
    assert steps(tmp_path) == [7, 8, 9]


@pytest.mark.parametrize("scored", [True, False])
def test_without_scores_the_latest_are_kept(tmp_path: pathlib.Path, scored: bool) -> None:
    with Checkpoints(tmp_path, keep=1, scored=scored) as checkpoints:
        for step in (1, 2, 3):
            checkpoints.save(step, small(step), NOTE)
        checkpoints.save(3, small(99), NOTE)  # is there already
        restored, _ = checkpoints.restore(small())
    assert steps(tmp_path) == [3] and restored.params["w"][0] == 3


class Other(struct.PyTreeNode):
    step: jax.Array
    weights: Any


@ORBAX_LEFTOVERS
def test_what_does_not_fit_is_refused_in_one_line(tmp_path: pathlib.Path) -> None:
    with Checkpoints(tmp_path / "run") as checkpoints:
        with pytest.raises(UserError, match="train first"):
            checkpoints.restore(small())
        checkpoints.save(3, small(), NOTE)
        wider = small().replace(params={"w": jnp.zeros(4)})
        more = small().replace(params={"w": jnp.zeros(3), "b": jnp.zeros(1)})
        fewer = small().replace(params={})
        for like in (wider, more, fewer, Other(jnp.int32(0), jnp.zeros(3))):
            with pytest.raises(UserError) as caught:
                checkpoints.restore(like)
            assert "configuration" in str(caught.value) and "\n" not in str(caught.value)
        with pytest.raises(UserError, match=r"params.w has shape \(3,\), here \(4,\)"):
            checkpoints.restore(wider)
        with pytest.raises(UserError, match="params.b is missing"):
            checkpoints.restore(more)
        with pytest.raises(UserError, match="params.w is not known here"):
            checkpoints.restore(fewer)
        with pytest.raises(UserError, match="no checkpoint 9 in .*has 3"):
            checkpoints.restore(small(), step=9)
    gc.collect()


def test_types_are_converted_only_when_asked_for(tmp_path: pathlib.Path) -> None:
    """Orbax would cast in silence: int32 16777217 to float32 is another number."""
    state = small().replace(params={"n": jnp.int32(2**24 + 1)})
    like = small().replace(params={"n": jnp.float32(0)})
    with Checkpoints(tmp_path) as checkpoints:
        checkpoints.save(1, state, NOTE)
        with pytest.raises(UserError, match="params.n is int32, here float32"):
            checkpoints.restore(like)
        assert checkpoints.restore(like, cast=True)[0].params["n"] == 2**24


def three(folder: pathlib.Path, keep: int = 3) -> None:
    with Checkpoints(folder, keep=keep) as checkpoints:
        for step in (1, 2, 3):
            checkpoints.save(step, small(step), NOTE, score=float(step))


def spoil(folder: pathlib.Path) -> None:
    """Flips a bit of the largest file."""
    path = max(
        (p for p in folder.rglob("*") if p.is_file() and p.parent != folder),
        key=lambda p: (p.stat().st_size, p),
    )
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 4
    path.write_bytes(data)


def everything(folder: pathlib.Path) -> dict[str, bytes]:
    return {
        str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()
    }  # fmt: skip


def test_damaged_steps_are_named_and_moved_aside(
    tmp_path: pathlib.Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = tmp_path / "checkpoints"
    three(folder)
    spoil(folder / "3")
    before = everything(folder)
    with Checkpoints(folder, alone=True) as reader:  # a reader takes the good one, moves nothing
        assert reader.latest == 2 and reader.best == 1
        assert reader.restore(small())[0].params["w"][0] == 2
        with pytest.raises(UserError, match="no checkpoint 3"):
            reader.restore(small(), 3)
    assert everything(folder) == before and not (tmp_path / "quarantine").exists()
    spoil(folder / "1")  # the best
    with Checkpoints(folder, keep=3) as checkpoints:
        assert checkpoints.latest == 2 and checkpoints.best == 2
        assert checkpoints.restore(small())[0].params["w"][0] == 2
        checkpoints.save(3, small(33), NOTE)
        assert checkpoints.restore(small())[0].params["w"][0] == 33
    assert (tmp_path / "quarantine" / "3").is_dir()
    assert "checkpoint 3" in caplog.text and "holds other bytes" in caplog.text


def test_where_none_is_good_nothing_is_touched(tmp_path: pathlib.Path) -> None:
    folder = tmp_path / "checkpoints"
    three(folder, keep=2)
    for step in (1, 2, 3):  # the best and the latest two
        spoil(folder / str(step))
    before = everything(folder)
    for alone in (False, True, False):
        with pytest.raises(UserError, match=r"3 \(.*start anew") as caught:
            Checkpoints(folder, alone=alone)
        assert caught.value.code == 65
    assert everything(folder) == before and not (tmp_path / "quarantine").exists()


@ORBAX_LEFTOVERS
def test_what_is_whole_stays_though_it_cannot_be_read_now(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Out of memory, say, or of open files: neither tells anything of the bytes."""

    def fail(*_: Any, **__: Any) -> Any:
        raise RuntimeError("RESOURCE_EXHAUSTED: out of memory")

    def closed(*_: Any) -> Any:
        raise OSError(errno.EMFILE, "Too many open files")

    folder = tmp_path / "checkpoints"
    three(folder)
    before = everything(folder)
    with Checkpoints(folder) as checkpoints:
        with monkeypatch.context() as patch, pytest.raises(UserError, match="3 .*RESOURCE"):
            patch.setattr(ocp.CheckpointManager, "restore", fail)
            checkpoints.restore(small())
        assert checkpoints.restore(small())[0].params["w"][0] == 3
    with monkeypatch.context() as patch, pytest.raises(UserError, match="3 .*Too many open"):
        patch.setattr(pathlib.Path, "read_bytes", closed)
        Checkpoints(folder)
    assert everything(folder) == before and not (tmp_path / "quarantine").exists()


def test_a_reader_takes_what_was_saved_since_it_opened(tmp_path: pathlib.Path) -> None:
    folder = tmp_path / "checkpoints"
    three(folder)
    with Checkpoints(folder, alone=True) as reader, Checkpoints(folder) as checkpoints:
        checkpoints.save(4, small(4), NOTE, score=0.0)
        checkpoints.wait()
        assert reader.best == 4
        assert reader.restore(small())[0].params["w"][0] == 4


@ORBAX_LEFTOVERS
def test_without_a_manifest_a_step_is_taken_if_it_can_be_read(
    tmp_path: pathlib.Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = tmp_path / "checkpoints"
    three(folder)
    (folder / "3" / "manifest.json").unlink()
    with Checkpoints(folder) as checkpoints:
        assert checkpoints.restore(small())[0].params["w"][0] == 3
    assert "checkpoint 3" in caplog.text and "no manifest" in caplog.text
    for path in (folder / "3").rglob("*"):
        if path.is_file():
            path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with Checkpoints(folder) as checkpoints:
        assert checkpoints.restore(small())[0].params["w"][0] == 2
    assert (tmp_path / "quarantine" / "3").is_dir()
    gc.collect()


def golden() -> PlannerState:
    """What is in ``golden/checkpoint_N.zip``, N being the format of checkpoints:

    ``Checkpoints(folder).save(7, golden(), {"order": 1, "jax": "0.10.2"}, score=0.5)`` by the code
    that wrote that format, zipped by ``shutil.make_archive``.
    """
    w = jnp.arange(6, dtype=jnp.float32).reshape(2, 3) / 7
    params = {"w": w, "b": jnp.asarray([jnp.pi, -0.0, 1e-40], jnp.bfloat16)}
    return PlannerState(jnp.int32(7), params, {"w": w * 2}, ({"count": jnp.int32(7)}, ()))


@pytest.mark.parametrize("path", sorted(GOLDEN.glob("*.zip")), ids=lambda path: path.stem)
def test_older_formats_are_read(tmp_path: pathlib.Path, path: pathlib.Path) -> None:
    shutil.unpack_archive(path, tmp_path)
    with Checkpoints(tmp_path) as checkpoints:
        assert checkpoints.latest == checkpoints.best == 7
        state, note = checkpoints.restore(blank(golden()))
    assert tree_digest(state) == tree_digest(golden())
    assert note == {"order": 1, "jax": "0.10.2"}


def test_newer_formats_are_refused(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkpoint, "FORMAT", 99)
    three(tmp_path)
    monkeypatch.undo()
    with Checkpoints(tmp_path) as checkpoints:
        with pytest.raises(UserError, match="format 99, newer than 1; update jaxvid"):
            checkpoints.restore(small())
    assert steps(tmp_path) == [1, 2, 3]  # it is not damaged


@contextlib.contextmanager
def full_disk() -> Iterator[None]:
    """No file of this process may grow beyond 20 kB."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@ORBAX_LEFTOVERS
def test_a_full_disk_is_reported_and_leaves_the_earlier_steps(
    tmp_path: pathlib.Path, caplog: pytest.LogCaptureFixture
) -> None:
    def large(seed: int) -> PlannerState:
        w = {"w": jnp.asarray(np.random.default_rng(seed).normal(size=50_000), jnp.float32)}
        return small().replace(params=w)

    with pytest.raises(UserError, match="newest is 1; free space") as caught:
        with Checkpoints(tmp_path) as checkpoints:
            checkpoints.save(1, large(1), NOTE)
            checkpoints.wait()
            with full_disk():
                for step in (2, 3):
                    checkpoints.save(step, large(step), NOTE)  # goes on
                    checkpoints.wait()
                    assert checkpoints.latest == 1 and steps(tmp_path) == [1]
                    assert [path.name for path in tmp_path.iterdir()] == ["1"]
                checkpoints.save(4, large(4), NOTE)
                checkpoints.wait()
    assert caught.value.code == 74
    assert "Traceback" not in caplog.text
    assert caplog.text.count("WAS NOT SAVED") == 3 and "failure 3 of 3" in caplog.text
    with Checkpoints(tmp_path) as checkpoints:
        assert tree_digest(checkpoints.restore(blank(large(0)))[0]) == tree_digest(large(1))
        checkpoints.save(4, large(4), NOTE)
        assert checkpoints.latest == 4
    with pytest.raises(UserError, match="newest is 4"):  # the last save of a run counts alone
        with full_disk(), Checkpoints(tmp_path) as checkpoints:
            checkpoints.save(5, large(5), NOTE)
    gc.collect()


def test_digests_tell_values_shapes_types_and_names_apart() -> None:
    trees = [
        {"a": np.zeros(4, np.float32)},
        {"b": np.zeros(4, np.float32)},
        {"a": np.zeros((2, 2), np.float32)},
        {"a": np.zeros(4, np.int32)},
        {"a": -np.zeros(4, np.float32)},
    ]
    assert len({tree_digest(tree) for tree in trees}) == len(trees)
    assert tree_digest(trees[0]) == tree_digest({"a": jnp.zeros(4)})
