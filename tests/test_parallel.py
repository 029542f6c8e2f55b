"""Laws of meshes and processes: what is found, split, exchanged, and refused."""

import dataclasses
import functools
import gc
import math
import os
import pathlib
import platform
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.sharding import PartitionSpec as P

from jaxvid import cluster, memory, parallel
from jaxvid.config import MeshConfig, OptimConfig
from jaxvid.io.checkpoint import Checkpoints, tree_digest
from jaxvid.optim import make_optimizer
from jaxvid.parallel import (
    CompiledStep,
    compile_step,
    make_mesh,
    mesh_shape,
    partition,
    place_batch,
    place_state,
    replicate,
    shardings,
    whole,
)
from jaxvid.sizes import Collective, collectives
from jaxvid.state import PlannerState, ema_update, init_planner
from jaxvid.typing import Batch, Metrics, UserError

# --- processes -----------------------------------------------------------------------------------

ADDRESS = {"JAX_COORDINATOR_ADDRESS": "host:1234"}
NAMED = ADDRESS | {"JAX_NUM_PROCESSES": "4", "JAX_PROCESS_ID": "2"}
SLURM = {"SLURM_NTASKS": "4", "SLURM_PROCID": "1", "SLURM_STEP_NODELIST": "n[1-4]"}
MPI = {"OMPI_COMM_WORLD_SIZE": "4", "OMPI_COMM_WORLD_RANK": "3"}
POD = {"KUBERNETES_SERVICE_HOST": "10.0.0.1", "JOB_COMPLETION_INDEX": "0"}


def told(index: int) -> dict[str, object]:
    return {"coordinator_address": "host:1234", "num_processes": 4, "process_id": index}


@pytest.mark.parametrize(
    ("env", "found"),
    [
        ({}, None),
        (NAMED, told(2)),
        (NAMED | {"JAX_NUM_PROCESSES": "1"}, None),
        (ADDRESS | SLURM, told(1)),
        (ADDRESS | MPI, told(3)),
        (ADDRESS | POD | {"JAX_NUM_PROCESSES": "4"}, told(0)),
        (SLURM, {}),
        (SLURM | {"SLURM_NTASKS": "1"}, None),
        ({"SLURM_NTASKS": "4"}, None),  # a shell inside of an allocation
        (MPI | {"OMPI_MCA_orte_hnp_uri": "1.0;tcp://10.0.0.1:1"}, {}),
        ({"TPU_WORKER_HOSTNAMES": "a,b"}, {}),
        ({"TPU_WORKER_HOSTNAMES": "localhost"}, None),
        ({"MEGASCALE_NUM_SLICES": "2"}, {}),
        (POD, None),  # without kubernetes' package nobody says how many there are
        (SLURM | {"JAXVID_DISTRIBUTED": "0"}, None),
        ({"JAXVID_DISTRIBUTED": "1"}, {}),
    ],
    ids=str,
)
def test_clusters_are_joined_where_there_is_one(env: dict, found: dict | None) -> None:
    assert cluster.detect(env) == found


@pytest.mark.parametrize(
    ("env", "fix"),
    [
        (ADDRESS, "JAX_NUM_PROCESSES and JAX_PROCESS_ID must be set"),
        ({"JAX_NUM_PROCESSES": "2", "JAX_PROCESS_ID": "0"}, "JAX_COORDINATOR_ADDRESS must be set"),
        (NAMED | {"JAX_PROCESS_ID": "4"}, "from 0 to 3"),
        (NAMED | {"JAX_NUM_PROCESSES": "four"}, "whole number"),
        (NAMED | {"JAX_COORDINATOR_ADDRESS": "host"}, "host:port"),
        (MPI, "mpirun -x JAX_COORDINATOR_ADDRESS"),
    ],
    ids=str,
)
def test_half_a_description_is_refused(env: dict, fix: str) -> None:
    with pytest.raises(UserError, match=fix):
        cluster.detect(env)


def test_a_process_alone_waits_for_nobody() -> None:
    cluster.join({})
    assert (cluster.index(), cluster.count()) == (0, 1)
    assert cluster.on_first(lambda: {"a": 1}) == {"a": 1}
    assert not cluster.preempted(3)
    cluster.agree("configuration", "x")
    cluster.abandon(1)


def test_a_run_that_hangs_is_ended_with_its_stacks() -> None:
    program = (
        "import time\n"
        "from jaxvid import cluster\n"
        "def stuck():\n"
        "    time.sleep(60)\n"
        "with cluster.Watchdog(0.0), cluster.Watchdog(0.8) as dog:\n"
        "    for _ in range(4):\n"
        "        time.sleep(0.4)\n"  # longer than the watchdog's time in all
        "        dog.feed()\n"
        "    print('fed', flush=True)\n"
        "    stuck()\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        timeout=50,
        cwd=pathlib.Path(__file__).parents[1],
    )
    assert (done.returncode, done.stdout) == (75, "fed\n")
    assert "no step for 0.8 s" in done.stderr and "in stuck" in done.stderr


# --- meshes --------------------------------------------------------------------------------------


def test_meshes_use_all_devices_or_say_what_would() -> None:
    assert mesh_shape(MeshConfig(), 8) == (8, 1)
    assert mesh_shape(MeshConfig(fsdp=4), 8) == (2, 4)
    assert mesh_shape(MeshConfig(data=2, fsdp=4), 8) == (2, 4)
    assert mesh_shape(MeshConfig(fsdp=8), 8) == (1, 8)
    with pytest.raises(UserError, match="try --mesh.data=4 --mesh.fsdp=2"):
        mesh_shape(MeshConfig(data=3, fsdp=2), 8)
    with pytest.raises(UserError, match="must divide the 8 devices; try --mesh.fsdp=2"):
        mesh_shape(MeshConfig(fsdp=3), 8)
    with pytest.raises(UserError, match="try --mesh.fsdp=8"):
        mesh_shape(MeshConfig(fsdp=16), 8)
    for wrong in ({"data": -1}, {"fsdp": 0}):
        with pytest.raises(UserError, match="must be"):
            MeshConfig(**wrong)
    ids = np.vectorize(lambda device: device.id)(make_mesh(None, MeshConfig(fsdp=2)).devices)
    np.testing.assert_array_equal(ids, np.arange(8).reshape(4, 2))  # neighbours share a state


@pytest.mark.parametrize(
    ("path", "shape", "fsdp", "spec"),
    [
        (".params['a']['kernel']", (64, 48), 4, P("fsdp")),
        (".params['a']['kernel']", (48, 64), 4, P(None, "fsdp")),
        (".params['a']['kernel']", (3, 3, 32, 32), 4, P(None, None, "fsdp")),
        (".params['a']['kernel']", (63, 48), 4, P(None, "fsdp")),
        (".params['a']['kernel']", (63, 49), 4, P()),
        (".params['a']['kernel']", (64, 48), 1, P()),
        (".params['a']['bias']", (64,), 4, P()),
        (".opt_state[1].mu['a']['kernel']", (64, 48), 4, P("fsdp")),
        (".step", (), 4, P()),
        (".scales", (4096, 2), 4, P()),
    ],
)
def test_one_table_says_what_is_split(
    path: str, shape: tuple[int, ...], fsdp: int, spec: P
) -> None:
    assert partition(path, shape, fsdp) == spec


TX = make_optimizer(OptimConfig(lr=1e-2, warmup=0), 100)
MUON = make_optimizer(OptimConfig(kind="muon", lr=1e-2, warmup=0), 100)
START = np.random.default_rng(0).normal(size=(64, 32)).astype(np.float32) / 8


def make_step(tx=TX, *, reduce=lambda tree: tree):  # type: ignore[no-untyped-def]
    """A layer that is split, and a bias that is too small for it."""

    def step(state: PlannerState, batch: Batch, key: jax.Array) -> tuple[PlannerState, Metrics]:
        def loss(params: dict[str, jax.Array]) -> jax.Array:
            noise = jax.random.normal(jax.random.fold_in(key, state.step))
            hidden = jnp.tanh(batch["x"] @ params["kernel"] + params["bias"])
            return ((hidden.sum(-1) - noise) ** 2).mean()

        value, grads = jax.value_and_grad(loss)(state.params)
        updates, opt_state = tx.update(reduce(grads), state.opt_state, state.params)
        params = optax.apply_updates(state.params, updates)
        ema = ema_update(state.ema, params, decay=0.9, step=state.step)
        return PlannerState(state.step + 1, params, ema, opt_state), reduce({"loss": value})

    return step


def begin(tx: optax.GradientTransformation = TX) -> PlannerState:
    return init_planner({"kernel": jnp.asarray(START), "bias": jnp.zeros(32)}, tx)


def rows(step: int) -> dict[str, np.ndarray]:
    return {"x": np.random.default_rng(step).normal(size=(8, 64)).astype(np.float32)}


def trained(step: CompiledStep, state: PlannerState, first: int, last: int) -> PlannerState:
    key = replicate(jax.random.key(0), step.mesh)
    state = place_state(state, step.mesh)
    for at in range(first, last):
        batch = place_batch(rows(at), step.mesh)
        if not step.compiled(batch):
            step.compile(state, batch, key)
        state, _ = step(state, batch, key)
    return state


@pytest.fixture(scope="module")
def replicated() -> PlannerState:
    return trained(compile_step(make_step, make_mesh()), begin(), 0, 6)


@pytest.fixture(scope="module")
def split() -> tuple[CompiledStep, PlannerState]:
    step = compile_step(make_step, make_mesh(None, MeshConfig(fsdp=4)))
    return step, trained(step, begin(), 0, 6)


def alike(one: PlannerState, other: PlannerState) -> None:
    for (path, a), b in zip(
        jax.tree_util.tree_leaves_with_path(one), jax.tree.leaves(other), strict=True
    ):
        name = jax.tree_util.keystr(path)
        np.testing.assert_allclose(np.asarray(a), np.asarray(b), atol=1e-5, err_msg=name)


def test_a_split_state_learns_the_same(replicated: PlannerState, split: tuple) -> None:
    alike(split[1], replicated)
    assert np.abs(np.asarray(replicated.params["kernel"]) - START).max() > 1e-2


def test_muon_learns_the_same_on_a_split_state() -> None:
    """Its products of whole matrices reach over the devices that share one."""
    make = functools.partial(make_step, MUON)
    meshes = make_mesh(jax.devices()[:1]), make_mesh(None, MeshConfig(fsdp=4))
    one, many = (trained(compile_step(make, mesh), begin(MUON), 0, 6) for mesh in meshes)
    alike(many, one)
    assert np.abs(np.asarray(one.params["kernel"]) - START).max() > 3e-3


def test_a_device_holds_its_part_of_a_split_state(split: tuple) -> None:
    """Weights, averages and both moments: a quarter of each kernel, the whole of each bias."""
    _, state = split
    held = sum(leaf.addressable_data(0).nbytes for leaf in jax.tree.leaves(state))
    assert held == 4 * 4 * (64 * 32 // 4 + 32) + 3 * 4  # the step, and Adam's counts
    wanted = shardings(state, state.step.sharding.mesh)
    assert jax.tree.map(lambda leaf: leaf.sharding, state) == wanted  # comes out as it went in


def test_a_split_step_gathers_what_it_computes_with_and_sums_gradients(split: tuple) -> None:
    step, _ = split
    found = collectives(step.text(place_batch(rows(0), step.mesh)))
    (gather,) = [c for c in found if c.kind == "all-gather"]
    assert gather == Collective("all-gather", 4, (("f32", (64, 32)),))
    sums = [c for c in found if c.kind in ("all-reduce", "reduce-scatter")]
    assert len(sums) == len(found) - 1 and {c.group for c in sums} == {8}
    sizes = [math.prod(shape) for c in sums for _, shape in c.shapes]
    assert sorted(sizes) == [1, 32, 64 * 32]  # the loss and both gradients, each once


def test_a_replicated_step_sums_gradients_and_nothing_else() -> None:
    step = compile_step(make_step, make_mesh())
    trained(step, begin(), 0, 1)
    (found,) = collectives(step.text(place_batch(rows(0), step.mesh)))
    assert (found.kind, found.group, found.bytes) == ("all-reduce", 8, 4 * (64 * 32 + 32 + 1))


def test_checkpoints_travel_between_meshes(tmp_path: pathlib.Path, split: tuple) -> None:
    """Saved split over four of eight devices; read on one, on eight, and split over two."""
    step, state = split
    more = trained(step, jax.device_get(state), 6, 9)
    with Checkpoints(tmp_path) as checkpoints:
        checkpoints.save(6, state, {})
        for devices, fsdp in ((1, 1), (8, 1), (2, 2), (8, 8)):
            mesh = make_mesh(jax.devices()[:devices], MeshConfig(fsdp=fsdp))
            found, _ = checkpoints.restore(place_state(jax.device_get(begin()), mesh))
            assert tree_digest(found) == tree_digest(state)
            assert len(found.params["kernel"].devices()) == devices
            part = found.params["kernel"].addressable_data(0)
            assert part.size == 64 * 32 // fsdp
            if fsdp == 2:
                on = trained(compile_step(make_step, mesh), jax.device_get(found), 6, 9)
                alike(on, more)


def test_a_split_tree_is_made_whole_on_one_device(split: tuple) -> None:
    found = whole(split[1].ema)
    assert len(found["kernel"].devices()) == 1
    assert tree_digest(found) == tree_digest(split[1].ema)


def test_pmap_refuses_a_split_state() -> None:
    mesh = make_mesh(None, MeshConfig(fsdp=2))
    with pytest.raises(UserError, match="use --train.backend jit"):
        compile_step(make_step, mesh, backend="pmap")


# --- reading programs ----------------------------------------------------------------------------


def test_exchanges_are_read_in_all_spellings() -> None:
    program = """
  %a = (f32[2,3]{1,0}, bf16[4]{0}) all-reduce(%x, %y), replica_groups={{0,1},{2,3}}, to_apply=%add
  %b = f32[8]{0} all-gather(%x), replica_groups=[2,4]<=[8], dimensions={0}
  %c = f32[8]{0} reduce-scatter(%x), replica_groups=mesh['a'=2,'b'=4], device_ids=([8]) {'a','b'}
  %d = f32[8]{0} collective-permute(%x), source_target_pairs={{0,1}}
  %e = f32[8]{0} get-tuple-element(%all-reduce.1), index=0
"""
    found = collectives(program)
    wanted = [("all-reduce", 2, 32), ("all-gather", 4, 32), ("reduce-scatter", 8, 32)]
    wanted += [("collective-permute", 0, 32)]
    assert [(c.kind, c.group, c.bytes) for c in found] == wanted


def test_nothing_of_a_mesh_is_part_of_what_a_run_is() -> None:
    """The same run goes on on other devices."""
    from jaxvid import training
    from jaxvid.config import PlannerRun

    run = PlannerRun()
    other = dataclasses.replace(run, mesh=MeshConfig(data=2, fsdp=2))
    assert training._essence(run) == training._essence(other) and run != other


# --- memory --------------------------------------------------------------------------------------

THREADS = """
import ctypes, gc, os, tempfile, threading
from jaxvid import parallel
parallel.start(cache=False)
assert gc.get_freeze_count() > 50_000, "what was imported is searched for garbage"
meet = threading.Barrier(8 * (os.cpu_count() or 1) + 1)
def hold():
    kept = [bytearray(1000) for _ in range(9)]
    meet.wait()
for _ in range(meet.parties - 1):
    threading.Thread(target=hold).start()
meet.wait()
C = ctypes.CDLL(None)
C.fopen.restype = ctypes.c_void_p
with tempfile.NamedTemporaryFile() as file:
    stream = ctypes.c_void_p(C.fopen(file.name.encode(), b"w"))
    C.malloc_info(0, stream)
    C.fclose(stream)
    print(file.read().decode().count("<heap nr="))
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="glibc alone has such arenas")
@pytest.mark.parametrize("own", (None, "3"))
def test_threads_share_two_arenas_of_memory_a_core(own: str | None) -> None:
    env = {name: value for name, value in os.environ.items() if name != "MALLOC_ARENA_MAX"}
    env |= {"MALLOC_ARENA_MAX": own} if own else {}
    done = subprocess.run(
        [sys.executable, "-c", THREADS], env=env, capture_output=True, text=True, check=True
    )
    assert int(done.stdout) == (int(own) if own else 2 * (os.cpu_count() or 1))


PROGRAM = """
import ctypes, os, pathlib, resource, sys
from jaxvid import memory
memory.HUGE_PAGES = pathlib.Path(sys.argv[1])
if sys.argv[2] == "traced":
    sys.settrace(lambda *_: None)
if sys.argv[2] == "stripped":  # as the loader does for who has another's rights
    os.environ.pop("GLIBC_TUNABLES", None)
print("begins", flush=True)
C = ctypes.CDLL(None)
C.malloc.restype, C.malloc.argtypes = ctypes.c_void_p, [ctypes.c_size_t]
SIZE = 80 << 20
def main():
    before = resource.getrusage(resource.RUSAGE_THREAD).ru_minflt
    ctypes.memset(C.malloc(SIZE), 1, SIZE)
    faults = resource.getrusage(resource.RUSAGE_THREAD).ru_minflt - before
    print(os.environ.get("GLIBC_TUNABLES"), *sys.argv[2:], sys.stdin.read(), faults)
memory.program(main)
"""
LIBC, VERSION = platform.libc_ver()
GLIBC = LIBC == "glibc" and tuple(map(int, VERSION.split("."))) >= (2, 35)


@pytest.mark.skipif(not GLIBC, reason="the C library knows no such tunable")
@pytest.mark.parametrize(
    ("system", "own", "how", "begun", "tunables"),
    (
        ("always [madvise] never", None, "plain", 2, "glibc.malloc.hugetlb=1"),
        ("always [madvise] never", "glibc.malloc.check=0", "plain", 2,
         "glibc.malloc.check=0:glibc.malloc.hugetlb=1"),
        ("always [madvise] never", "glibc.malloc.hugetlb=0", "plain", 1, "glibc.malloc.hugetlb=0"),
        ("always [madvise] never", None, "traced", 1, None),
        ("always [madvise] never", None, "stripped", 2, None),
        ("[always] madvise never", None, "plain", 1, None),
        (None, None, "plain", 1, None),
    ),
)  # fmt: skip
def test_programs_begin_anew_to_have_huge_pages(
    tmp_path: pathlib.Path, system: str | None, own: str | None, how: str, begun: int,
    tunables: str | None,
) -> None:  # fmt: skip
    env = {
        name: value
        for name, value in os.environ.items()
        if name not in ("GLIBC_TUNABLES", memory.ANEW)
    }
    env |= {"GLIBC_TUNABLES": own} if own else {}
    if system:
        (tmp_path / "enabled").write_text(system)
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(tmp_path / "enabled"), how, "a b", ""],
        env=env, capture_output=True, text=True, check=True, input="what was said",
    )  # fmt: skip
    *begins, last = done.stdout.splitlines()
    told, _, faults = last.rpartition(" ")
    assert begins == ["begins"] * begun
    assert told == f"{tunables} {how} a b  what was said"
    real = pathlib.Path("/sys/kernel/mm/transparent_hugepage/enabled")
    if begun == 2 and real.exists() and "[madvise]" in real.read_text():
        assert int(faults) < 2000  # of 20,480 pages


def test_compiling_looks_for_no_garbage_and_a_failure_turns_the_search_on_again() -> None:
    seen = []

    def step(state: jax.Array, batch: Batch, key: jax.Array) -> tuple[jax.Array, Metrics]:
        seen.append(gc.isenabled())
        if not len(batch["x"]):
            raise ValueError("no rows")
        return state, {}

    compiled = CompiledStep(jax.jit(step), make_mesh(jax.devices()[:1]))
    compiled.compile(jnp.zeros(2), {"x": jnp.zeros(2)}, jax.random.key(0))
    with pytest.raises(ValueError, match="no rows"):
        compiled.compile(jnp.zeros(2), {"x": jnp.zeros(0)}, jax.random.key(0))
    assert seen == [False, False] and gc.isenabled()
    frozen = gc.get_freeze_count()
    with memory.uncollected():
        made: list[object] = []
        made.append(made)  # a cycle, as programs are
    assert gc.get_freeze_count() > frozen


# --- settings of the platform --------------------------------------------------------------------


def test_a_user_without_a_home_has_no_compilation_cache(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(os.path, "expanduser", lambda path: path)  # as where nobody's is known
    for name in ("JAXVID_CACHE", "XDG_CACHE_HOME", "JAX_COMPILATION_CACHE_DIR"):
        monkeypatch.delenv(name, raising=False)
    parallel.start()
    assert "no compilation cache (JAXVID_CACHE says where): there is no home" in caplog.text
    with pytest.raises(UserError, match="no home folder .*; set JAXVID_CACHE to a folder"):
        parallel.cache_folder()


@pytest.mark.parametrize(
    "installed, version, own, want",
    (
        ((), "0.11.2", "", ["--xla_cpu_experimental_ynn_fusion_type=-individual_convolution"]),
        (("jax_cuda13_plugin",), "0.11.2", "", list(parallel.CUDA_FLAGS)),
        (
            ("jax_cuda13_plugin",),
            "0.12.0",
            "--xla_gpu_enable_triton_gemm=true",
            ["--xla_gpu_enable_triton_gemm=true", *parallel.CUDA_FLAGS[1:]],
        ),
        (("jax_cuda13_plugin",), "0.13.0", "", []),  # an unknown flag would abort the process
        (("libtpu",), "0.11.2", "", []),
    ),
)
def test_flags_are_those_of_the_platform_and_of_versions_that_know_them(
    installed: tuple[str, ...], version: str, own: str, want: list[str], monkeypatch
) -> None:
    monkeypatch.setattr(parallel, "_installed", lambda names: bool({*names} & {*installed}))
    monkeypatch.setattr(parallel.importlib.metadata, "version", lambda _: version)
    monkeypatch.setenv("XLA_FLAGS", own)
    monkeypatch.delenv("JAX_PLATFORMS")
    parallel.start(cache=False)
    assert os.environ["XLA_FLAGS"].split() == want
