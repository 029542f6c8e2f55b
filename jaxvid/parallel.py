"""Devices: platform settings, mesh, placement, compilation. Nothing else here knows of them.

``start()`` comes before the first use of JAX in a program: it sets what must be set before the
backend starts. The mesh has two axes, ``data`` and ``fsdp``. A batch is split over both; the state
is whole on every device of ``data`` and split over ``fsdp`` as the table ``RULES`` says.
"""

import collections
import functools
import importlib.metadata
import importlib.util
import logging
import math
import os
import pathlib
import re
import time
from collections.abc import Callable, Iterator
from typing import Any, Literal

import jax
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from jaxvid import cluster, memory
from jaxvid.config import MeshConfig
from jaxvid.typing import Batch, HostBatch, Metrics, Step, UserError

logger = logging.getLogger("jaxvid")
_compile_seconds: list[float] = []
_programs: collections.Counter[str] = collections.Counter()  # compiled, by the function's name

# XLA's CPU runtime of these versions runs each convolution on one core; with the flag it uses all
# (measured 0.35 -> 0.93 of PyTorch for a whole GAN step). An unknown flag aborts the process, so
# flags are given only to versions that have been seen to take them.
CONVOLUTION_FLAG = "--xla_cpu_experimental_ynn_fusion_type=-individual_convolution"
VERSIONS = ("0.10", "0.11", "0.12")

# Without, XLA tries dozens of Triton kernels (64 s, not 23, to compile a step of the planner), and
# outside of graphs it fills with zeros what cuDNN then writes (5 % of a call: benchmarks/results).
CUDA_FLAGS = (
    "--xla_gpu_enable_triton_gemm=false",
    "--xla_gpu_experimental_enable_fusion_autotuner=false",
    "--xla_gpu_graph_min_graph_size=1",
)
CUDA = ("jax_cuda12_plugin", "jax_cuda13_plugin")
ACCELERATORS = ("libtpu", *CUDA, "jax_rocm7_plugin", "jax_plugins")

ALL = MeshConfig()  # every device along ``data``
EVERYWHERE, ROWS = PartitionSpec(), PartitionSpec(("data", "fsdp"))
# Where a leaf of the state lives. The first pattern found in its path decides how many elements
# make it worth splitting over ``fsdp``; then its longest axis is split that fsdp divides.
RULES: tuple[tuple[str, float], ...] = ((r"\.step$|\.scales$", math.inf), (r"", 1024))
# What a step computes with is gathered at its beginning; averages and optimizers never are.
GATHERED = r"^\.(params|critic_params|reference)\b"
CHUNK = 2**26  # bytes of a state that are handed to the other processes at once


def start(cache: bool = True, *, together: bool = False) -> None:
    """Sets the platform's flags and the compilation cache; a user's own settings win.

    ``together``: joins the processes of a cluster, where there is one.
    """
    on_cpu = os.environ.get("JAX_PLATFORMS", "").lower() == "cpu" or not _installed(ACCELERATORS)
    version = importlib.metadata.version("jaxlib")
    if any(version.startswith(f"{v}.") for v in VERSIONS):
        if on_cpu:
            _add_flags((CONVOLUTION_FLAG,), "convolutions use every core")
        elif _installed(CUDA):
            _add_flags(CUDA_FLAGS, "quicker to compile, and to call")
    memory.start()
    if not _compile_seconds:
        _compile_seconds.append(0.0)
        jax.monitoring.register_event_duration_secs_listener(_count_compile)
    if together:
        cluster.join()
    if cache and not os.environ.get("JAX_COMPILATION_CACHE_DIR"):
        try:
            (folder := cache_folder() / "xla").mkdir(parents=True, exist_ok=True, mode=0o700)
        except (OSError, UserError) as error:
            logger.warning("no compilation cache (JAXVID_CACHE says where): %s", error)
            return
        jax.config.update("jax_compilation_cache_dir", str(folder))
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.5)


def _add_flags(flags: tuple[str, ...], why: str) -> None:
    """Adds those to XLA_FLAGS that the user has not set."""
    own = os.environ.get("XLA_FLAGS", "")
    if new := [flag for flag in flags if flag.partition("=")[0] not in own]:
        os.environ["XLA_FLAGS"] = " ".join([own, *new]).strip()
        logger.info("XLA_FLAGS=%s: %s", " ".join(new), why)


def _count_compile(event: str, duration_secs: float, **about: str | int) -> None:
    if event.endswith(("backend_compile_duration", "jaxpr_to_mlir_module_duration")):
        _compile_seconds[0] += duration_secs
    if event.endswith("backend_compile_duration"):
        _programs[str(about.get("fun_name", "unknown"))] += 1


def compile_seconds() -> float:
    """Seconds that XLA has spent compiling in this program since ``start``."""
    return sum(_compile_seconds)


def programs() -> dict[str, int]:
    """How many programs XLA has compiled since ``start``, or taken from the cache, by name."""
    return dict(_programs)


def cache_folder() -> pathlib.Path:
    """JAXVID_CACHE, or jaxvid in XDG_CACHE_HOME or ~/.cache; UserError for who has no home."""
    if own := os.environ.get("JAXVID_CACHE"):
        return pathlib.Path(own)
    root = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    if root.startswith("~"):
        raise UserError("there is no home folder for caches; set JAXVID_CACHE to a folder")
    return pathlib.Path(root) / "jaxvid"


def _installed(names: tuple[str, ...]) -> bool:
    return any(importlib.util.find_spec(name) is not None for name in names)


def make_mesh(devices: list[jax.Device] | None = None, shape: MeshConfig = ALL) -> Mesh:
    """All devices (or the given ones) along ``data`` and ``fsdp``, neighbours along ``fsdp``.

    Raises UserError where the shape does not use them all.
    """
    devices = devices or jax.devices()
    sizes = mesh_shape(shape, len(devices))
    slices = {getattr(device, "slice_index", 0) for device in devices}
    if len(slices) > 1:  # the slow links between slices carry ``data`` only
        devices = sorted(devices, key=lambda d: (getattr(d, "slice_index", 0), d.id))
        grid = np.array(devices).reshape(sizes)
        return Mesh(grid, ("data", "fsdp"), axis_types=(AxisType.Auto,) * 2)
    return jax.make_mesh(sizes, ("data", "fsdp"), axis_types=(AxisType.Auto,) * 2, devices=devices)


def mesh_shape(shape: MeshConfig, devices: int) -> tuple[int, int]:
    """The sizes of ``data`` and ``fsdp`` on so many devices. Raises UserError where none fits."""
    fsdp = shape.fsdp
    if devices % fsdp:
        fits = max(n for n in range(1, min(fsdp, devices) + 1) if devices % n == 0)
        raise UserError(
            f"mesh.fsdp {fsdp} must divide the {devices} devices; try --mesh.fsdp={fits}"
        )
    data = shape.data or devices // fsdp
    if data * fsdp != devices:
        raise UserError(
            f"mesh.data {data} x mesh.fsdp {fsdp} is {data * fsdp}, but there are {devices} "
            f"devices; try --mesh.data={devices // fsdp} --mesh.fsdp={fsdp}"
        )
    return data, fsdp


def check_batch_size(batch_size: int, mesh: Mesh, *, parts: int = 1) -> None:
    """Raises UserError where ``parts`` of the batch do not divide over the devices."""
    if batch_size % (parts * mesh.size):
        of = f"{mesh.size} devices" + (f" times {parts} parts (accumulate)" if parts > 1 else "")
        fits = -(-batch_size // (parts * mesh.size)) * parts * mesh.size
        raise UserError(f"batch_size {batch_size} must be divisible by {of}; try {fits}")


def partition(path: str, shape: tuple[int, ...], fsdp: int) -> PartitionSpec:
    """How a leaf of the state is split, by the table ``RULES``."""
    least = next(least for pattern, least in RULES if re.search(pattern, path))
    fits = [axis for axis, size in enumerate(shape) if size % fsdp == 0]
    if fsdp == 1 or not fits or math.prod(shape) < least:
        return EVERYWHERE
    longest = max(fits, key=lambda axis: shape[axis])
    return PartitionSpec(*[None] * longest, "fsdp")


def shardings(state: Any, mesh: Any) -> Any:
    """The sharding of every leaf of a state."""

    def place(path: Any, leaf: Any) -> NamedSharding:
        spec = partition(jax.tree_util.keystr(path), leaf.shape, mesh.shape["fsdp"])
        return NamedSharding(mesh, spec)

    return jax.tree_util.tree_map_with_path(place, state)


def place_state(state: Any, mesh: Mesh) -> Any:
    """The state on the devices of the mesh, each leaf where ``RULES`` say.

    Of several processes all get what the first one has.
    """
    if cluster.count() > 1:
        state = _from_first(state)
    return jax.tree.map(_place, state, shardings(state, mesh))


def replicate(tree: Any, mesh: Mesh) -> Any:
    """The tree on every device of the mesh."""
    return jax.tree.map(lambda leaf: _place(leaf, NamedSharding(mesh, EVERYWHERE)), tree)


def _place(leaf: Any, sharding: NamedSharding) -> jax.Array:
    if sharding.is_fully_addressable:
        return jax.device_put(leaf, sharding)
    if jax.dtypes.issubdtype(leaf.dtype, jax.dtypes.prng_key):
        data = _place(jax.random.key_data(leaf), sharding)
        return jax.jit(jax.random.wrap_key_data, out_shardings=sharding)(data)
    host = np.asarray(leaf)
    return jax.make_array_from_callback(host.shape, sharding, lambda part: host[part])


def _from_first(tree: Any) -> Any:
    """The tree of the first process, as host arrays, on every process."""
    from jax.experimental import multihost_utils

    leaves, structure = jax.tree.flatten(tree)
    hosts = [np.asarray(leaf, order="C") for leaf in leaves]
    cluster.agree("state", str([(str(host.dtype), host.shape) for host in hosts]))
    flat = np.concatenate([host.reshape(-1).view(np.uint8) for host in hosts])
    size = min(CHUNK, len(flat))
    rows = np.pad(flat, (0, -len(flat) % size)).reshape(-1, size)
    parts = [multihost_utils.broadcast_one_to_all(row) for row in rows]
    flat, at, found = np.concatenate(parts), 0, []
    for host in hosts:
        part = flat[at : at + host.nbytes]
        found.append(part.view(host.dtype).reshape(host.shape))
        at += host.nbytes
    return jax.tree.unflatten(structure, found)


def whole(tree: Any) -> Any:
    """The tree on one device of this process. Where it is split, every process must call this."""
    leaves = jax.tree.leaves(tree)
    if not all(leaf.is_fully_replicated for leaf in leaves):
        tree = _gather(leaves[0].sharding.mesh)(tree)
    return jax.tree.map(lambda leaf: leaf.addressable_data(0), tree)


@functools.cache
def _gather(mesh: Mesh) -> Any:
    return jax.jit(lambda tree: tree, out_shardings=NamedSharding(mesh, EVERYWHERE))


def place_batch(batch: HostBatch, mesh: Mesh) -> Batch:
    """The batch on the devices, split over them along B; bytes stay bytes until they are there."""
    sharding = NamedSharding(mesh, ROWS)
    return jax.tree.map(lambda x: jax.make_array_from_process_local_data(sharding, x), dict(batch))


def prefetch(batches: Iterator[HostBatch], mesh: Mesh, *, size: int = 2) -> Iterator[Batch]:
    """Keeps ``size`` batches on their way to the devices ahead of the one in use."""
    queue: collections.deque[Batch] = collections.deque()
    for batch in batches:
        queue.append(place_batch(batch, mesh))
        if len(queue) > size:
            yield queue.popleft()
    yield from queue


class CompiledStep:
    """A step bound to a mesh. ``compile`` does so ahead of time and says what the program costs."""

    def __init__(self, function: Any, mesh: Mesh) -> None:
        self.mesh = mesh
        self._function = function
        self._programs: dict[tuple[Any, ...], Any] = {}  # by the shapes of the batch
        self._flops: dict[tuple[Any, ...], float] = {}
        self.flops = 0.0  # of the step called last, on one device, by XLA's count

    def compiled(self, batch: Batch) -> bool:
        """Whether there is a program for a batch of these shapes."""
        return _shapes(batch) in self._programs

    def compile(self, state: Any, batch: Batch, key: jax.Array) -> dict[str, float]:
        """Compiles for these shapes. Returns seconds, flops of a step, and bytes of memory."""
        began = time.monotonic()
        with memory.uncollected():
            program = self._function.lower(state, batch, key).compile()
        seconds = time.monotonic() - began
        memory.give_back()
        self._programs[_shapes(batch)] = program
        costs, held = program.cost_analysis() or {}, program.memory_analysis()
        self._flops[_shapes(batch)] = float(costs.get("flops", 0.0))
        size = 0.0
        if held is not None:
            size = float(held.argument_size_in_bytes + held.temp_size_in_bytes)
        return {"seconds": seconds, "flops": float(costs.get("flops", 0.0)), "bytes": size}

    def text(self, batch: Batch) -> str:
        """The program that was compiled for a batch of these shapes, as XLA writes it (HLO)."""
        return str(self._programs[_shapes(batch)].as_text())

    def __call__(self, state: Any, batch: Batch, key: jax.Array) -> tuple[Any, Metrics]:
        shapes = _shapes(batch)
        self.flops = self._flops.get(shapes, 0.0)
        return self._programs.get(shapes, self._function)(state, batch, key)


def _shapes(batch: Batch) -> tuple[Any, ...]:
    return tuple((name, array.shape) for name, array in sorted(batch.items()))


def compile_step(
    make_step: Callable[..., Step], mesh: Mesh, *, backend: Literal["jit", "pmap"] = "jit"
) -> CompiledStep:
    """``make_step(reduce=...)`` compiled for the mesh; call it with a placed state and key.

    jit: the batch is sharded, the mean over it is the global mean, ``reduce`` is the identity, and
    the state is donated. pmap: each device takes its slice and ``reduce`` is the mean over devices.
    The state never grows a device axis, so a checkpoint serves both.
    """
    if backend == "jit":
        return CompiledStep(jit_step(make_step, mesh), mesh)
    if backend == "pmap" and (mesh.shape["fsdp"] > 1 or cluster.count() > 1):
        raise UserError(
            "backend pmap keeps the whole state on every device of one process; for --mesh.fsdp or "
            "several processes use --train.backend jit"
        )
    if backend == "pmap":
        step = make_step(reduce=lambda tree: jax.lax.pmean(tree, "data"))

        def sliced(state: Any, batch: Batch, key: jax.Array) -> tuple[Any, Metrics]:
            return step(state, batch, key)

        mapped = jax.pmap(
            sliced,
            axis_name="data",
            in_axes=(None, 0, None),
            out_axes=None,
            devices=list(mesh.devices.flat),
        )
        return _PmapStep(mapped, mesh)
    raise UserError(f"backend {backend!r} is not known; use jit or pmap")


def jit_step(make_step: Callable[..., Step], mesh: Any) -> Any:
    """The step under jit with the shardings of the mesh, which may be one of no devices.

    Where the state is split, what is computed with is gathered at the beginning, gradients are
    reduced whole, and optimizers and averages work on their parts (ZeRO: Rajbhandari et al., 2020,
    stage 2, with the parameters split between steps): no collective depends on the network.
    """
    everywhere, rows = NamedSharding(mesh, EVERYWHERE), NamedSharding(mesh, ROWS)
    if mesh.shape["fsdp"] == 1:
        return jax.jit(
            make_step(),
            in_shardings=(everywhere, rows, everywhere),
            out_shardings=everywhere,
            donate_argnums=0,
        )
    step = make_step(reduce=lambda tree: jax.lax.with_sharding_constraint(tree, everywhere))

    def sharded(state: Any, batch: Batch, key: jax.Array) -> tuple[Any, Metrics]:
        at_rest = shardings(state, mesh)
        used = jax.tree_util.tree_map_with_path(
            lambda path, spec: (
                everywhere if re.match(GATHERED, jax.tree_util.keystr(path)) else spec
            ),
            at_rest,
        )
        new, metrics = step(jax.lax.with_sharding_constraint(state, used), batch, key)
        return jax.lax.with_sharding_constraint(new, at_rest), metrics

    return jax.jit(
        sharded,
        in_shardings=(None, rows, everywhere),  # the state's come with it, and are those at rest
        out_shardings=(None, everywhere),
        donate_argnums=0,
    )


class _PmapStep(CompiledStep):
    """Gives the batch the device axis that pmap maps over."""

    def _split(self, batch: Batch) -> Batch:
        n, sharding = self.mesh.size, NamedSharding(self.mesh, ROWS)
        split = {k: v.reshape(n, len(v) // n, *v.shape[1:]) for k, v in batch.items()}
        return jax.device_put(split, sharding)  # a reshape forgets it of arrays without elements

    def compiled(self, batch: Batch) -> bool:
        return super().compiled(self._split(batch))

    def compile(self, state: Any, batch: Batch, key: jax.Array) -> dict[str, float]:
        return super().compile(state, self._split(batch), key)

    def __call__(self, state: Any, batch: Batch, key: jax.Array) -> tuple[Any, Metrics]:
        state, metrics = super().__call__(state, self._split(batch), key)
        return replicate(state, self.mesh), metrics


def compile_function(function: Callable[..., Any], *, once: bool = False) -> Callable[..., Any]:
    """A pure function of arrays compiled as it is, for one device: samplers and metrics.

    ``once``: it will run once, as initialisations do, so the compiler is told not to optimise.
    """
    options: dict[str, Any] = {"xla_backend_optimization_level": 0} if once else {}
    return jax.jit(function, compiler_options=options or None)
