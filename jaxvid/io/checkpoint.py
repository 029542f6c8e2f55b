"""Checkpoints of a run, by Orbax: the latest few, the best, and one at an interruption.

A checkpoint holds the whole state, a small note (where the data stood, versions) and a manifest of
all its files. Nothing is restored whose bytes are not those that were written: a damaged step is
named, moved to ``quarantine`` beside the checkpoints, and the newest good one is taken. Where none
is good, nothing is moved and the run stops. All calls of Orbax are here.
"""

import hashlib
import json
import logging
import os
import pathlib
import shutil
import threading
import time
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp
from orbax.checkpoint import checkpoint_managers as policies
from orbax.checkpoint.options import MultiprocessingOptions

from jaxvid.io import manifest
from jaxvid.typing import UserError

logger = logging.getLogger("jaxvid")

SCORE = "score"  # name of the metric by which the best checkpoint is kept; lower is better
FORMAT = 1  # of the note; 0 had neither number nor manifest, and is still read
FAILURES = 3  # saves in a row that may fail: the last of them ends the run
FRESH = 60.0  # seconds for which a step that was found whole is not read through again
LEGIBLE = ("_CHECKPOINT_METADATA", "metrics/metrics", "note/metadata")  # JSON in a step's folder
UNFINISHED = ".orbax-checkpoint-tmp"  # in the names of folders that Orbax has not committed


# Orbax logs whole tracebacks of what is reported here in a line.
logging.getLogger("absl").addFilter(lambda record: "orbax" not in record.pathname)


class Checkpoints:
    """The checkpoints in one folder; use it as a context, leaving it waits for the last write.

    Keeps the newest ``keep`` and, where they are ``scored``, the best. Of several processes all use
    it alike, each writing what it has of a split state; ``alone``: each on its own, only to read,
    which moves and removes nothing, since a run may be writing there. Raises UserError where there
    are checkpoints and none is good (exit code 65), and on leaving where the last save failed (74).
    """

    def __init__(
        self, folder: pathlib.Path, *, keep: int = 2, scored: bool = True, alone: bool = False
    ) -> None:
        self.folder, self._alone = folder, alone
        best = {"get_metric_fn": _score, "reverse": True, "keep_checkpoints_without_metrics": False}
        scores = [policies.BestN(n=1, **best)] if scored else []
        self._kept = [policies.LatestN(keep), *scores]
        self._scored = scored
        self._good: dict[int, float] = {}  # found whole, and when
        self._bad: dict[int, str] = {}  # and why
        self._failures = 0
        self._saving: threading.Thread | None = None
        self._error: Exception | None = None
        self._find()
        self._manager = self._open()

    def __enter__(self) -> "Checkpoints":
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        try:
            self.wait()
        finally:
            self._manager.close()
        if self._failures and kind is None:
            raise self._full()

    @property
    def latest(self) -> int | None:
        """The newest good step on disk."""
        self.wait()
        steps = self._find()
        return steps[0] if steps else None

    @property
    def best(self) -> int | None:
        """The good step with the lowest score, the newest where none has one."""
        latest, best = self.latest, self._manager.best_step()
        return latest if best is None or best in self._bad or not self._whole(best) else best

    def save(
        self, step: int, state: Any, note: Mapping[str, Any], *, score: float | None = None
    ) -> None:
        """Writes in the background. ``score`` (lower is better) decides which one is the best.

        A save that fails is reported and leaves nothing; ``FAILURES`` of them in a row raise
        UserError (exit code 74).
        """
        self.wait()
        if step in self._manager.all_steps():
            return
        try:
            self._check_space(state)
            self._manager.save(
                step,
                args=ocp.args.Composite(
                    state=ocp.args.StandardSave(state),
                    note=ocp.args.JsonSave({"format": FORMAT, **note}),
                ),
                metrics={SCORE: score} if score is not None else None,
            )
        except Exception as error:  # Orbax and TensorStore raise many kinds, bare ones too
            self._failed(step, error)
            return
        self._saving = threading.Thread(target=self._seal, args=(step,), daemon=True)
        self._saving.start()

    def wait(self) -> None:
        """Waits until the last save is whole on disk, or reported as failed."""
        if (saving := self._saving) is None:
            return
        saving.join()
        self._saving = None
        if self._error is None:
            self._failures = 0
        else:
            error, self._error = self._error, None
            self._failed(int(saving.name), error)

    def restore(
        self, like: Any, step: int | None = None, *, cast: bool = False
    ) -> tuple[Any, dict[str, Any]]:
        """The state of ``step`` (or the newest good), with the shapes and placement of ``like``.

        Raises UserError where there is none, where names, shapes or types differ (which names
        them; ``cast`` converts types), or where it was written by a newer jaxvid.
        """
        while True:
            at = self.latest if step is None else step
            if at is None:
                raise UserError(
                    f"no checkpoint in {self.folder}; train first, or name another --run"
                )
            self._check_step(at)
            try:
                restored = self._load(like, at, cast)
            except manifest.Damaged as error:
                self._bad[at] = str(error)
                logger.warning("checkpoint %d in %s: %s", at, self.folder, error)
                if step is not None:
                    raise UserError(
                        f"checkpoint {at} in {self.folder}: {error}", code=65
                    ) from error
                continue
            return restored

    def _check_step(self, step: int) -> None:
        if step not in (saved := sorted(set(self._manager.all_steps()) - self._bad.keys())):
            has = f"it has {', '.join(map(str, saved))}" if saved else "it has none"
            raise UserError(f"no checkpoint {step} in {self.folder}; {has}")
        if not self._whole(step):
            raise UserError(f"checkpoint {step} in {self.folder}: {self._bad[step]}", code=65)

    def _load(self, like: Any, step: int, cast: bool) -> tuple[Any, dict[str, Any]]:
        template = jax.tree.map(_placed, like)
        problem = ""
        try:
            args = ocp.args.Composite(note=ocp.args.JsonRestore())
            note = dict(self._manager.restore(step, args=args)["note"])
            if (version := note.pop("format", 0)) > FORMAT:
                problem = f"has format {version}, newer than {FORMAT}; update jaxvid"
            elif found := self._differences(template, step, cast):
                problem = f"is of another configuration: {found}"
            else:
                args = ocp.args.Composite(state=ocp.args.StandardRestore(template))
                return self._manager.restore(step, args=args)["state"], note
        except Exception as error:
            reason = (str(error).splitlines() or [type(error).__name__])[0][:200]
            self._good.pop(step, None)
            if self._whole(step) and (self.folder / str(step) / manifest.NAME).exists():
                told = f"checkpoint {step} in {self.folder} is whole, but cannot be read"
                raise UserError(f"{told}: {reason}", code=74) from error
            raise manifest.Damaged(f"it cannot be read: {reason}") from error
        raise UserError(f"checkpoint {step} in {self.folder} {problem}")

    def _differences(self, like: Any, step: int, cast: bool) -> str:
        """In which leaves the checkpoint and the state to be filled differ; "" where in none."""
        metadata = self._manager.item_metadata(step)["state"]
        saved, wanted = _described(metadata.tree), _described(like)
        found = [f"{name} is missing" for name in wanted if name not in saved]
        found += [f"{name} is not known here" for name in saved if name not in wanted]
        for name in wanted.keys() & saved.keys():
            (shape, dtype), (shape_here, dtype_here) = saved[name], wanted[name]
            if shape != shape_here:
                found.append(f"{name} has shape {shape}, here {shape_here}")
            elif dtype != dtype_here and not cast:
                found.append(f"{name} is {dtype}, here {dtype_here}")
        more = f" and {len(found) - 8} more" if len(found) > 8 else ""
        return "; ".join(sorted(found)[:8]) + more

    def _find(self) -> list[int]:
        """The steps that are not known to be damaged, the first of them found whole.

        Moves damaged ones aside, once there is a good one. Of several processes the first one does
        so for all, and the others know the newest alone.
        """
        if self._alone or jax.process_count() == 1:
            return self._look()
        from jax.experimental import multihost_utils

        steps = self._look() if jax.process_index() == 0 else []
        here = np.int32(steps[0] if steps else -1)
        newest = int(multihost_utils.broadcast_one_to_all(here))
        if jax.process_index() and hasattr(self, "_manager"):
            self._manager.reload()
        return steps or ([newest] if newest >= 0 else [])

    def _look(self) -> list[int]:
        steps = sorted(set(committed(self.folder)) - self._bad.keys(), reverse=True)
        while steps and not self._whole(steps[0]):
            steps.pop(0)
        if self._bad and not steps:
            reasons = ", ".join(f"{step} ({why})" for step, why in sorted(self._bad.items()))
            raise UserError(
                f"no checkpoint in {self.folder} is good: {reasons}; bring back a copy, or remove "
                "the folder to start anew",
                code=65,
            )
        self._set_aside()
        if self._alone and hasattr(self, "_manager"):
            self._manager.reload()  # Orbax knows only the steps that were there when it opened
        return steps

    def _whole(self, step: int) -> bool:
        """Whether a step is as it was written, as far as can be known; else it is known as bad."""
        if time.monotonic() - self._good.get(step, -FRESH) < FRESH:
            return True
        if step in self._bad:
            return False
        if jax.process_index() and not self._alone:
            return True  # the first process has looked
        folder = self.folder / str(step)
        try:
            if not manifest.check(folder):
                logger.warning(
                    "checkpoint %d in %s has no manifest, so its bytes cannot be checked",
                    *(step, self.folder),
                )
                for path in filter(pathlib.Path.exists, (folder / name for name in LEGIBLE)):
                    json.loads(path.read_bytes())  # without these Orbax cannot even be asked
        except (manifest.Damaged, FileNotFoundError, NotADirectoryError, ValueError) as error:
            self._bad[step] = str(error)
            logger.warning("checkpoint %d in %s is damaged: %s", step, self.folder, error)
            return False
        except OSError as error:  # no rights, too many open files: another day it is as it was
            raise UserError(f"checkpoint {step} cannot be read now: {error}", code=74) from error
        self._good[step] = time.monotonic()
        return True

    def _set_aside(self) -> None:
        """Moves damaged steps out of the way, where this process may."""
        bad = [step for step in self._bad if (self.folder / str(step)).is_dir()]
        if self._alone or jax.process_index() or not bad:
            return
        for step in bad:
            target = self.folder.parent / "quarantine" / str(step)
            while target.exists():
                target = target.with_name(f"{target.name}+")
            target.parent.mkdir(exist_ok=True)
            (self.folder / str(step)).rename(target)
            del self._bad[step]
            logger.warning("checkpoint %d was moved to %s", step, target)
        if hasattr(self, "_manager"):
            self._manager.reload()

    def _open(self) -> ocp.CheckpointManager:
        options = ocp.CheckpointManagerOptions(
            create=not self._alone,
            cleanup_tmp_directories=not self._alone,
            multiprocessing_options=_on_its_own() if self._alone else MultiprocessingOptions(),
            preservation_policy=policies.AnyPreservationPolicy(self._kept),
            best_fn=_score if self._scored else None,
            best_mode="min",
        )
        handlers = {"state": ocp.StandardCheckpointHandler(), "note": ocp.JsonCheckpointHandler()}
        folder = self.folder.absolute()
        try:
            return ocp.CheckpointManager(folder, item_handlers=handlers, options=options)
        except Exception:  # of a damaged step that is not the newest: look at them all
            if all([self._whole(step) for step in committed(self.folder)]):
                raise
            self._look()
            return ocp.CheckpointManager(folder, item_handlers=handlers, options=options)

    def _seal(self, step: int) -> None:
        """In a thread of its own: waits for Orbax's commit, then writes the manifest."""
        threading.current_thread().name = str(step)
        try:
            self._manager.wait_until_finished()
            if not jax.process_index():
                manifest.write(self.folder / str(step))
                self._good[step] = time.monotonic()
        except Exception as error:
            self._error = error

    def _check_space(self, state: Any) -> None:
        """Raises OSError where the disk has certainly no room for the state."""
        need = sum(leaf.nbytes for leaf in jax.tree.leaves(state))
        free = shutil.disk_usage(self.folder).free
        if jax.process_count() == 1 and free < need // 2:  # weights are not compressed to half
            raise OSError(f"{free / 2**20:.0f} MiB are free, {need / 2**20:.0f} are needed")

    def _failed(self, step: int, error: Exception) -> None:
        """Reports a save that failed, and removes what it left."""
        reason = (str(error).splitlines() or [type(error).__name__])[0][:200]
        try:
            self._manager.close()
        except Exception as again:
            logger.debug("closing after a failed save: %s", again)
        for left in self.folder.glob(f"*{UNFINISHED}*"):
            shutil.rmtree(left, ignore_errors=True)
        self._manager = self._open()
        self._failures += 1
        steps = self._look()
        logger.warning(
            "CHECKPOINT %d WAS NOT SAVED (%s); the newest is %s; failure %d of %d in a row",
            *(step, reason, steps[0] if steps else "none", self._failures, FAILURES),
        )
        if self._failures >= FAILURES:
            raise self._full()

    def _full(self) -> UserError:
        steps = self._look()
        return UserError(
            f"checkpoints could not be written to {self.folder}; the newest is "
            f"{steps[0] if steps else 'none'}; free space, and the same command goes on from there",
            code=74,
        )


def _on_its_own() -> MultiprocessingOptions:
    me = jax.process_index()
    return MultiprocessingOptions(
        primary_host=me, active_processes={me}, barrier_sync_key_prefix=f"alone{me}"
    )


def _score(metrics: Mapping[str, float]) -> float:
    return metrics[SCORE]


def committed(folder: pathlib.Path) -> list[int]:
    """The steps that are committed in a folder."""
    try:
        return [int(name) for name in os.listdir(folder) if name.isdecimal()]
    except FileNotFoundError:
        return []


def _described(tree: Any) -> dict[str, tuple[tuple[int, ...], str]]:
    """Shape and type of each leaf by its path, as Orbax names it."""
    return {
        ".".join(_key(part) for part in path): (tuple(leaf.shape), str(np.dtype(leaf.dtype)))
        for path, leaf in jax.tree_util.tree_leaves_with_path(tree)
    }


def _key(part: Any) -> str:
    names = [name for name in ("name", "key", "idx") if hasattr(part, name)]
    return str(getattr(part, names[0]) if names else part)


def _placed(leaf: Any) -> jax.ShapeDtypeStruct:
    """Shape, type and place of a leaf; what ``jax.eval_shape`` gives goes to the first device."""
    sharding = getattr(leaf, "sharding", None)
    sharding = sharding or jax.sharding.SingleDeviceSharding(jax.local_devices()[0])
    return jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding)


def tree_digest(tree: Any) -> str:
    """SHA-256 over the bytes of all leaves in order: equal digests mean bit-equal states."""
    digest = hashlib.sha256()
    for path, leaf in jax.tree_util.tree_leaves_with_path(tree):
        array = np.asarray(leaf)
        about = [jax.tree_util.keystr(path), str(array.dtype), array.shape]
        digest.update(json.dumps(about).encode())
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()
