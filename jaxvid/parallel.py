"""Devices: platform settings, mesh, placement, compilation. Nothing else here knows of them.

``start()`` comes before the first use of JAX in a program: it sets what must be set before the
backend starts. One process with any number of devices is data parallel over the mesh axis ``data``.
"""

import collections
import importlib.metadata
import importlib.util
import logging
import os
import pathlib
import time
from collections.abc import Callable, Iterator
from typing import Any, Literal

import jax
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from jaxvid.typing import Batch, HostBatch, Metrics, Step, UserError

logger = logging.getLogger("jaxvid")
_compile_seconds: list[float] = []
_programs: collections.Counter[str] = collections.Counter()  # compiled, by the function's name

# XLA's CPU runtime of these versions runs each convolution on one core; with the flag it uses all
# (measured 0.35 -> 0.93 of PyTorch for a whole GAN step). An unknown flag aborts the process, so it
# is given only to versions that have been seen to take it.
CONVOLUTION_FLAG = "--xla_cpu_experimental_ynn_fusion_type=-individual_convolution"
CONVOLUTION_VERSIONS = ("0.10", "0.11", "0.12")


def start(cache: bool = True) -> None:
    """Sets the platform's flags and the compilation cache; a user's own settings win."""
    on_cpu = os.environ.get("JAX_PLATFORMS", "").lower() == "cpu" or not _accelerator_installed()
    flags = os.environ.get("XLA_FLAGS", "")
    version = importlib.metadata.version("jaxlib")
    known = any(version.startswith(f"{v}.") for v in CONVOLUTION_VERSIONS)
    if on_cpu and known and "xla_cpu_experimental_ynn_fusion_type" not in flags:
        os.environ["XLA_FLAGS"] = f"{flags} {CONVOLUTION_FLAG}".strip()
        logger.info("XLA_FLAGS=%s: convolutions use every core", CONVOLUTION_FLAG)
    if not _compile_seconds:
        _compile_seconds.append(0.0)
        jax.monitoring.register_event_duration_secs_listener(_count_compile)
    if cache and not os.environ.get("JAX_COMPILATION_CACHE_DIR"):
        folder = cache_folder() / "xla"
        try:
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        except OSError as error:
            logger.warning("no compilation cache: %s", error)
            return
        jax.config.update("jax_compilation_cache_dir", str(folder))
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.5)


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
    """The user's cache folder for jaxvid: JAXVID_CACHE, or in XDG_CACHE_HOME, or in ~/.cache."""
    if own := os.environ.get("JAXVID_CACHE"):
        return pathlib.Path(own)
    root = os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache"
    return pathlib.Path(root) / "jaxvid"


def _accelerator_installed() -> bool:
    names = ("libtpu", "jax_cuda12_plugin", "jax_cuda13_plugin", "jax_rocm7_plugin", "jax_plugins")
    return any(importlib.util.find_spec(name) is not None for name in names)


def make_mesh(devices: list[jax.Device] | None = None) -> Mesh:
    """All devices (or the given ones) along one axis, ``data``."""
    devices = devices or jax.devices()
    return jax.make_mesh((len(devices),), ("data",), axis_types=(AxisType.Auto,), devices=devices)


def check_batch_size(batch_size: int, mesh: Mesh) -> None:
    """Raises UserError where the batch does not divide over the devices."""
    if batch_size % mesh.size:
        fits = -(-batch_size // mesh.size) * mesh.size
        raise UserError(
            f"batch_size {batch_size} must be divisible by {mesh.size} devices; try {fits}"
        )


def replicate(tree: Any, mesh: Mesh) -> Any:
    """The tree on every device of the mesh."""
    return jax.device_put(tree, NamedSharding(mesh, PartitionSpec()))


def place_batch(batch: HostBatch, mesh: Mesh) -> Batch:
    """The batch on the devices, split over them along B; bytes stay bytes until they are there."""
    sharding = NamedSharding(mesh, PartitionSpec("data"))
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
        program = self._function.lower(state, batch, key).compile()
        seconds = time.monotonic() - began
        self._programs[_shapes(batch)] = program
        costs, memory = program.cost_analysis() or {}, program.memory_analysis()
        self._flops[_shapes(batch)] = float(costs.get("flops", 0.0))
        size = 0.0
        if memory is not None:
            size = float(memory.argument_size_in_bytes + memory.temp_size_in_bytes)
        return {"seconds": seconds, "flops": float(costs.get("flops", 0.0)), "bytes": size}

    def __call__(self, state: Any, batch: Batch, key: jax.Array) -> tuple[Any, Metrics]:
        shapes = _shapes(batch)
        self.flops = self._flops.get(shapes, 0.0)
        return self._programs.get(shapes, self._function)(state, batch, key)


def _shapes(batch: Batch) -> tuple[Any, ...]:
    return tuple((name, array.shape) for name, array in sorted(batch.items()))


def compile_step(
    make_step: Callable[..., Step], mesh: Mesh, *, backend: Literal["jit", "pmap"] = "jit"
) -> CompiledStep:
    """``make_step(reduce=...)`` compiled for the mesh; call it with a replicated state and key.

    jit: the batch is sharded, the mean over it is the global mean, ``reduce`` is the identity, and
    the state is donated. pmap: each device takes its slice and ``reduce`` is the mean over devices.
    The state never grows a device axis, so a checkpoint serves both.
    """
    if backend == "jit":
        everywhere, split = NamedSharding(mesh, PartitionSpec()), PartitionSpec("data")
        function = jax.jit(
            make_step(),
            in_shardings=(everywhere, NamedSharding(mesh, split), everywhere),
            out_shardings=everywhere,
            donate_argnums=0,
        )
        return CompiledStep(function, mesh)
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


class _PmapStep(CompiledStep):
    """Gives the batch the device axis that pmap maps over."""

    def _split(self, batch: Batch) -> Batch:
        n, sharding = self.mesh.size, NamedSharding(self.mesh, PartitionSpec("data"))
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
