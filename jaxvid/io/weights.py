"""Weights to share: safetensors, half precision, with the run's configuration inside the file."""

import pathlib
from collections.abc import Mapping
from typing import Any

import numpy as np

from jaxvid.io.media import atomic_write_bytes
from jaxvid.typing import Params, UserError

CONFIG = "jaxvid.config"  # the key of the configuration in the file's metadata


def write_weights(path: str | pathlib.Path, params: Params, *, config: str) -> pathlib.Path:
    """Writes a tree of arrays as float16, names joined by dots, with ``config`` (JSON) beside them.

    float16 keeps 11 bits of what training left in float32; every array must fit its range.
    Raises UserError where one does not.
    """
    import safetensors.numpy

    path = pathlib.Path(path)
    tensors = {}
    for name, array in _flatten(params).items():
        with np.errstate(over="ignore"):  # what overflows is infinite, and named below
            tensors[name] = np.asarray(array).astype(np.float16, order="C")
        if not np.isfinite(tensors[name]).all():
            raise UserError(f"{path}: {name} does not fit into float16; train with a lower lr")
    data = safetensors.numpy.save(tensors, metadata={CONFIG: config})
    atomic_write_bytes(path, data)
    return path


def read_weights(path: str | pathlib.Path) -> tuple[Params, str]:
    """The tree as float32, and the configuration. Raises UserError for any other file."""
    import safetensors

    path = pathlib.Path(path)
    try:
        with safetensors.safe_open(path, framework="numpy") as file:
            config = (file.metadata() or {}).get(CONFIG)
            arrays = {name: file.get_tensor(name) for name in file.keys()}
    except Exception as error:  # of the library: of bytes, of types that NumPy lacks, of paths
        words = " ".join(str(error).split())[:200]
        raise UserError(f"cannot read {path} as safetensors: {words}") from None
    if config is None:
        raise UserError(f"{path} was not written by jaxvid export: it has no configuration")
    tree: dict[str, Any] = {}
    for name, array in arrays.items():
        *parents, leaf = name.split(".")
        at = tree
        for parent in parents:
            at = at.setdefault(parent, {})
            if not isinstance(at, dict):
                raise UserError(f"{path}: {name} is inside of an array; export the run again")
        if array.dtype.kind != "f":
            raise UserError(f"{path}: {name} is {array.dtype}, not floating; export the run again")
        with np.errstate(over="ignore"):
            at[leaf] = array.astype(np.float32)
        if not np.isfinite(at[leaf]).all():
            raise UserError(f"{path}: {name} holds numbers that are not finite; train it again")
    return tree, config


def check_weights(path: str | pathlib.Path, params: Params, like: Params) -> None:
    """Raises UserError naming the first array that ``like`` has otherwise, or that is too many."""
    have, want = _flatten(params), _flatten(like)
    for name in sorted(have.keys() | want.keys()):
        shapes = [tree[name].shape if name in tree else None for tree in (have, want)]
        if shapes[0] != shapes[1]:
            raise UserError(
                f"{path}: {name} has shape {shapes[0]}, this jaxvid's network {shapes[1]}; "
                "train it anew, or use the jaxvid that trained it"
            )


def _flatten(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in tree.items():
        inner = _flatten(value, f"{prefix}{name}.") if isinstance(value, Mapping) else None
        flat |= {f"{prefix}{name}": value} if inner is None else inner
    return flat
