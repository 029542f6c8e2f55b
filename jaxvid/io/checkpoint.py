"""Checkpoints of a run, by Orbax: the latest few, the best, and one at an interruption.

A checkpoint holds the whole state and a small note (where the data stood, versions). All calls of
Orbax are here.
"""

import json
import pathlib
from collections.abc import Mapping
from types import TracebackType
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp
from orbax.checkpoint import checkpoint_managers as policies
from orbax.checkpoint.options import MultiprocessingOptions

from jaxvid import cluster
from jaxvid.typing import UserError

SCORE = "score"  # name of the metric by which the best checkpoint is kept; lower is better


class Checkpoints:
    """The checkpoints in one folder; use it as a context, leaving it waits for the last write.

    Keeps the newest ``keep`` and, where they are ``scored``, the best. Of several processes all use
    it alike, each writing what it has of a split state; ``alone``: each on its own, only to read.
    """

    def __init__(
        self, folder: pathlib.Path, *, keep: int = 2, scored: bool = True, alone: bool = False
    ) -> None:
        self.folder = folder
        alone = alone and cluster.count() > 1
        if alone and not folder.is_dir():
            raise UserError(f"no checkpoint in {folder}; train first, or name another --run")

        def score(metrics: Mapping[str, float]) -> float:
            return metrics[SCORE]

        best = policies.BestN(
            n=1, get_metric_fn=score, reverse=True, keep_checkpoints_without_metrics=False
        )
        kept = [policies.LatestN(keep), *([best] if scored else [])]
        options = ocp.CheckpointManagerOptions(
            cleanup_tmp_directories=True,
            preservation_policy=policies.AnyPreservationPolicy(kept),
            best_fn=score if scored else None,
            best_mode="min",
            create=not alone,
            multiprocessing_options=_alone() if alone else MultiprocessingOptions(),
        )
        self._manager = ocp.CheckpointManager(
            folder.absolute(), item_names=("state", "note"), options=options
        )

    def __enter__(self) -> "Checkpoints":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._manager.wait_until_finished()
        self._manager.close()

    @property
    def latest(self) -> int | None:
        """The newest step on disk."""
        return self._manager.latest_step()

    @property
    def best(self) -> int | None:
        """The step with the lowest score, the newest where none has one."""
        best = self._manager.best_step()
        return self.latest if best is None else best

    def save(
        self, step: int, state: Any, note: Mapping[str, Any], *, score: float | None = None
    ) -> None:
        """Writes in the background. ``score`` (lower is better) decides which one is the best."""
        if step in self._manager.all_steps():
            return
        self._manager.save(
            step,
            args=ocp.args.Composite(
                state=ocp.args.StandardSave(state), note=ocp.args.JsonSave(dict(note))
            ),
            metrics={SCORE: score} if score is not None else None,
        )

    def restore(self, like: Any, step: int | None = None) -> tuple[Any, dict[str, Any]]:
        """The state of ``step`` (or the newest), with the shapes and placement of ``like``.

        Raises UserError where there is none, where it is of another shape, or broken.
        """
        self._manager.wait_until_finished()
        step = self._manager.latest_step() if step is None else step
        if step is None:
            raise UserError(f"no checkpoint in {self.folder}; train first, or name another --run")
        if step not in (saved := sorted(self._manager.all_steps())):
            has = f"it has {', '.join(map(str, saved))}" if saved else "it has none"
            raise UserError(f"no checkpoint {step} in {self.folder}; {has}")
        template = jax.tree.map(_placed, like)
        try:
            restored = self._manager.restore(
                step,
                args=ocp.args.Composite(
                    state=ocp.args.StandardRestore(template), note=ocp.args.JsonRestore()
                ),
            )
        except Exception as error:  # Orbax and TensorStore raise many kinds, bare ones too
            reason = (str(error).splitlines() or [type(error).__name__])[0][:200]
            problem = "is of another configuration, or broken"
            raise UserError(f"checkpoint {step} in {self.folder} {problem}: {reason}") from error
        return restored["state"], dict(restored["note"])


def _alone() -> MultiprocessingOptions:
    me = cluster.index()
    return MultiprocessingOptions(
        primary_host=me, active_processes={me}, barrier_sync_key_prefix=f"alone{me}"
    )


def _placed(leaf: Any) -> jax.ShapeDtypeStruct:
    """Shape, type and place of a leaf; what ``jax.eval_shape`` gives goes to the first device."""
    sharding = getattr(leaf, "sharding", None)
    sharding = sharding or jax.sharding.SingleDeviceSharding(jax.local_devices()[0])
    return jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding)


def tree_digest(tree: Any) -> str:
    """SHA-256 over the bytes of all leaves in order: equal digests mean bit-equal states."""
    import hashlib

    digest = hashlib.sha256()
    for path, leaf in jax.tree_util.tree_leaves_with_path(tree):
        array = np.asarray(leaf)
        digest.update(
            json.dumps([jax.tree_util.keystr(path), str(array.dtype), array.shape]).encode()
        )
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()
