"""Scaling on paper, from the compiler: ``python -m benchmarks.scaling``. Nothing is executed.

The training step of each preset is partitioned by XLA for a few virtual devices, as jit does it, in
a child process that is ended before any machine code is made; the exchanges between devices are
read from the program. From their bytes, and the operations that ``jaxvid.sizes`` counts, follow the
time of a step and the efficiency on real links: a prediction, whose assumptions are printed. The
batch grows with the devices (weak scaling).

That exchanges do not grow with the devices is shown by the step as each of so many abstract devices
runs it (shard_map, the form of pmap). It sends gradients as float32; where the network computes in
bfloat16, XLA's partitioner sums those of its products in bfloat16 and so sends half.
"""

import dataclasses
import math
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from typing import Any

import tyro

from benchmarks.options import known
from jaxvid import cli, presets
from jaxvid.sizes import Collective, collectives
from jaxvid.typing import UserError

ROOT = pathlib.Path(__file__).parents[1]
PASS = "spmd-partitioning"  # after it the program is that of one device, exchanges and all


@dataclasses.dataclass(frozen=True)
class Machine:
    """A kind of device and its links; bytes a second are those of one direction, of one device."""

    name: str
    flops: float  # a second, dense bfloat16
    near: int  # devices that the fast links join
    fast: float  # bytes/s within
    slow: float  # bytes/s between
    fast_delay: float  # seconds a hop
    slow_delay: float


MACHINES = (
    # NVLink 4: 900 GB/s both ways; one InfiniBand NDR port of 400 Gb/s a GPU.
    Machine("H100/H200, NVLink + InfiniBand", 989e12, 8, 450e9, 50e9, 3e-6, 10e-6),
    # ICI: 90 GB/s a link and direction, a ring in both directions along each of three axes.
    Machine("TPU v5p, ICI", 459e12, 8960, 3 * 180e9, 25e9, 1e-6, 25e-6),
)
BUSY = 0.40  # share of the peak that a step reaches on one device
WIRE = 0.80  # share of a link's rate that an exchange reaches
PACK = 30e6  # bytes up to which XLA makes one exchange of several


@dataclasses.dataclass(frozen=True)
class Options:
    """Predicts the time of a step and the efficiency of presets on many devices."""

    names: tuple[str, ...] = ("tiny", "small", "base", "large")
    """Which presets."""
    devices: tuple[int, ...] = (8, 64, 512, 4096)
    """Numbers of devices."""
    clips: int = 8
    """Clips a device, in each of the parts that a batch is computed in."""
    fsdp: int = 1
    """Devices that share a state."""
    partition: int = 8
    """Virtual devices that XLA partitions the program for."""
    timeout: float = 900.0
    """Seconds for one program."""


def main(argv: Sequence[str] | None = None) -> None:
    """Prints the exchanges of each step, and a table of predictions."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    if arguments[:1] == ["partition"]:
        _partition(arguments[1], *(int(number) for number in arguments[2:]))
        return
    options = tyro.cli(Options, args=arguments, prog="benchmarks.scaling")
    with cli.user_errors():
        known(options.names, presets.GAN, "preset")
        print(
            f"assumed: {BUSY:.0%} of the peak on one device, {WIRE:.0%} of a link's rate, in packs "
            f"of up to {PACK / 1e6:.0f} MB,\nfirst within the near devices, then between; "
            "nothing hidden behind computing (in brackets: all that can be)"
        )
        for machine in MACHINES:
            print(
                f"{machine.name}: {machine.flops / 1e12:.0f} TFLOP/s; {machine.near} near devices, "
                f"{machine.fast / 1e9:.0f} GB/s a direction, {1e6 * machine.fast_delay:.0f} us; "
                f"between them {machine.slow / 1e9:.0f} GB/s a device, "
                f"{1e6 * machine.slow_delay:.0f} us"
            )
        for name in options.names:
            _predict(name, options)


def _predict(name: str, options: Options) -> None:
    those, seconds = partitioned(name, options)
    print(f"\n{name}, partitioned for {options.partition} ({seconds:.0f} s): {summary(those)}")
    for n in options.devices if options.fsdp == 1 else ():
        began = time.monotonic()
        summed = summary(lowered(name, n, options.clips))
        print(f"{name}, {n} abstract devices ({time.monotonic() - began:.0f} s): {summed}")
    run = presets.GAN[name]()
    flops = _flops(name) * options.clips * run.compute.accumulate
    flops *= 4 / 3 if run.compute.remat else 1.0
    print(f"{flops / 1e12:.1f} TFLOP a device and step")
    print("| machine | devices | computing | exchanging | a step | efficiency |")
    print("|---|---|---|---|---|---|")
    for machine in MACHINES:
        compute = flops / (BUSY * machine.flops)
        for n in options.devices:
            wait = sum(duration(one, machine, n, options.fsdp) for one in packed(those))
            total = compute + wait
            print(
                f"| {machine.name} | {n} | {1e3 * compute:.1f} ms | {1e3 * wait:.2f} ms "
                f"| {1e3 * total:.1f} ms | {compute / total:.1%} "
                f"({compute / max(compute, wait):.0%}) |",
                flush=True,
            )


def duration(one: Collective, machine: Machine, devices: int, fsdp: int) -> float:
    """Seconds of an exchange: over the fast links in the node, then over the slow ones between.

    Each of n devices sends a ring's share (n-1)/n of the bytes, a sum twice that (Patarasuk and
    Yuan, 2009); between nodes each device has the sum of 1/near of them. Delays grow with log2 n,
    as those of trees.
    """
    group = fsdp if one.kind in ("all-gather", "reduce-scatter") and fsdp > 1 else devices
    times = 2 if one.kind == "all-reduce" else 1
    near = min(group, machine.near)
    far = math.ceil(group / near)
    fast = times * one.bytes * (near - 1) / near / (WIRE * machine.fast)
    slow = times * one.bytes / near * (far - 1) / far / (WIRE * machine.slow)
    delay = machine.fast_delay * math.log2(near) + machine.slow_delay * math.log2(far)
    return fast + slow + times * delay


def packed(those: list[Collective]) -> list[Collective]:
    """The exchanges as XLA's combiner joins those of one kind and group before they run."""
    packs: list[Collective] = []
    open_packs: dict[tuple[str, int], Collective] = {}
    for one in those:
        of = (one.kind, one.group)
        before = open_packs.get(of)
        if before is not None and before.bytes + one.bytes <= PACK:
            open_packs[of] = Collective(*of, before.shapes + one.shapes)
        else:
            packs += [before] if before is not None else []
            open_packs[of] = one
    return packs + list(open_packs.values())


def summary(those: list[Collective]) -> str:
    """The exchanges by kind: how many, and their bytes on a device."""
    kinds = sorted({one.kind for one in those})
    parts = []
    for kind in kinds:
        of = [one for one in those if one.kind == kind]
        parts.append(f"{len(of)} {kind} of {sum(one.bytes for one in of) / 1e6:.3f} MB")
    return ", ".join(parts) or "no exchange"


def lowered(name: str, devices: int, clips: int) -> list[Collective]:
    """What each of so many abstract devices sends in a step of a preset, the state on every one."""
    import jax
    from jax.sharding import AbstractMesh

    from jaxvid import parallel

    make_step, state, batch, key = _shapes(name, devices * clips)
    step = make_step(reduce=lambda tree: jax.lax.pmean(tree, "data"))
    specs = (parallel.EVERYWHERE, jax.P("data"), parallel.EVERYWHERE)
    mapped = jax.shard_map(
        step,
        mesh=AbstractMesh((devices,), ("data",)),
        in_specs=specs,
        out_specs=parallel.EVERYWHERE,
        check_vma=False,
    )
    program = jax.jit(mapped).trace(state, batch, key).lower(lowering_platforms=("tpu",))
    return collectives(program.as_text("hlo"))


def partitioned(name: str, options: Options) -> tuple[list[Collective], float]:
    """What the step sends as XLA partitions it, and the seconds that finding it took.

    Raises UserError where the program is not partitioned in time, or the child fails.
    """
    with tempfile.TemporaryDirectory() as folder:
        env = {k: v for k, v in os.environ.items() if not k.startswith("JAX_")}
        env |= {"JAX_PLATFORMS": "cpu", "JAX_NUM_CPU_DEVICES": str(options.partition)}
        env |= {"PYTHONPATH": str(ROOT), "JAX_ENABLE_COMPILATION_CACHE": "0"}
        env |= {"XLA_FLAGS": f"--xla_dump_to={folder} --xla_dump_hlo_pass_re={PASS}"}
        command = [sys.executable, "-m", "benchmarks.scaling", "partition", name]
        command += [str(options.fsdp), str(options.clips)]
        began = time.monotonic()
        child = subprocess.Popen(command, cwd=ROOT, env=env, stderr=subprocess.PIPE)
        try:
            text = _wait(child, pathlib.Path(folder), options.timeout)
        finally:
            child.kill()
            child.wait()
        return collectives(text), time.monotonic() - began


def _wait(child: subprocess.Popen[bytes], folder: pathlib.Path, timeout: float) -> str:
    """The partitioned program of the child, once it has written all of it."""
    end = time.monotonic() + timeout
    while time.monotonic() < end:
        for path in folder.glob(f"*.jit_*.after_{PASS}.*.txt"):
            text = path.read_text(encoding="utf-8", errors="replace")
            if re.search(r"^ENTRY .*^}", text, re.MULTILINE | re.DOTALL):
                return text
        if child.poll() is not None:
            assert child.stderr is not None
            raise UserError(f"the step was not partitioned: {child.stderr.read().decode()[-800:]}")
        time.sleep(0.2)
    raise UserError(f"the step was not partitioned in {timeout:g} s; raise --timeout")


def _shapes(name: str, clips: int) -> tuple[Any, Any, Any, Any]:
    """The step of a preset, and shapes of the state, of a batch of so many clips, and of a key."""
    import functools

    import jax

    from jaxvid import training
    from jaxvid.steps.gan import make_gan_step

    run = presets.GAN[name]()
    state, one = jax.eval_shape(lambda: training.blank_state(run))
    B = clips * run.compute.accumulate
    batch = {k: jax.ShapeDtypeStruct((B, *leaf.shape[1:]), leaf.dtype) for k, leaf in one.items()}
    key = jax.eval_shape(lambda: jax.random.key(0))
    game = training.make_game(run, training.make_nets(run))
    return functools.partial(make_gan_step, game), state, batch, key


def _partition(name: str, fsdp: int, clips: int) -> None:
    """The child: lowers the step of a preset from shapes alone, and has XLA compile it."""
    from jaxvid import parallel

    parallel.start(cache=False)
    import jax
    from jax.sharding import NamedSharding

    from jaxvid.config import MeshConfig

    mesh = parallel.make_mesh(None, MeshConfig(fsdp=fsdp))
    make_step, state, batch, key = _shapes(name, mesh.size * clips)
    rows = NamedSharding(mesh, parallel.ROWS)

    def placed(leaf: Any, sharding: Any) -> jax.ShapeDtypeStruct:
        return jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding)

    state = jax.tree.map(placed, state, parallel.shardings(state, mesh))
    batch = {name: placed(leaf, rows) for name, leaf in batch.items()}
    parallel.jit_step(make_step, mesh).lower(state, batch, key).compile()


def _flops(name: str) -> float:
    """Operations of training on one clip."""
    from jaxvid.sizes import sizes

    return sizes(presets.GAN[name]()).clip_flops


if __name__ == "__main__":
    main()
