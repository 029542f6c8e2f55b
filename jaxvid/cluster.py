"""The processes of a run: joining them, which one writes, stopping together, and a watchdog.

JAX's own distributed runtime does the work: every process runs the same program, and a process that
dies ends the others. A program alone on its machine joins nothing and pays nothing.

    JAX_COORDINATOR_ADDRESS  host:port of process 0, where no cluster says it
    JAX_NUM_PROCESSES        how many there are
    JAX_PROCESS_ID           which one this is, from 0
    JAXVID_DISTRIBUTED       1: join whatever JAX detects; 0: stay alone
    JAXVID_HEARTBEAT         seconds of silence after which a process counts as dead (20)
"""

import faulthandler
import importlib.util
import json
import logging
import os
import pathlib
import sys
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any, NoReturn

import jax

from jaxvid.typing import UserError

logger = logging.getLogger("jaxvid")
ADDRESS, COUNT, INDEX = "JAX_COORDINATOR_ADDRESS", "JAX_NUM_PROCESSES", "JAX_PROCESS_ID"
COUNTS = (COUNT, "SLURM_NTASKS", "OMPI_COMM_WORLD_SIZE")
INDICES = (INDEX, "SLURM_PROCID", "OMPI_COMM_WORLD_RANK", "JOB_COMPLETION_INDEX")
PATIENCE = 24 * 3600  # seconds that processes wait for one that evaluates
HUNG = 75  # exit code of the watchdog: EX_TEMPFAIL, try again
_joined: list[tuple[int, int]] = []  # this process and how many there are, once joined
_told = [0]  # times that processes waited for one another


def detect(env: Mapping[str, str]) -> dict[str, Any] | None:
    """The arguments of ``jax.distributed.initialize``; {}: JAX finds all; None: a process alone.

    Asked for are JAX_NUM_PROCESSES and its neighbours; detected are Slurm steps and Open MPI of
    more than one task, TPU pods and slices, and Kubernetes' indexed jobs where JAX can ask for
    their size. Raises UserError where one of the neighbours is missing or is no number.
    """
    if (asked := env.get("JAXVID_DISTRIBUTED", "")) in ("0", "1"):
        return None if asked == "0" else _explicit(env) if env.get(ADDRESS) else {}
    slurm = _number(env, "SLURM_NTASKS", 1) > 1 and "SLURM_STEP_NODELIST" in env
    mpi = _number(env, "OMPI_COMM_WORLD_SIZE", 1) > 1
    if env.get(ADDRESS) or env.get(COUNT):
        return _explicit(env)
    if slurm or (mpi and "OMPI_MCA_orte_hnp_uri" in env):
        return {}
    if mpi:  # its fifth version no longer says where process 0 is
        raise UserError(
            f"Open MPI started {env['OMPI_COMM_WORLD_SIZE']} processes; say where the first is: "
            f"mpirun -x {ADDRESS}=HOST:PORT ..."
        )
    hosts = [host for host in env.get("TPU_WORKER_HOSTNAMES", "").split(",") if host]
    if len(hosts) > 1 or _number(env, "MEGASCALE_NUM_SLICES", 1) > 1:
        return {}
    if "KUBERNETES_SERVICE_HOST" in env and "JOB_COMPLETION_INDEX" in env:
        if importlib.util.find_spec("kubernetes"):
            return {}
        logger.warning(
            "an indexed job of Kubernetes, taken for a process alone; for more set %s and %s, or "
            "pip install 'jax[k8s]'", ADDRESS, COUNT,
        )  # fmt: skip
    return None


def _explicit(env: Mapping[str, str]) -> dict[str, Any] | None:
    """What the environment says by name, with the cluster's count and index where it has them."""
    count, index = (
        next((_number(env, name) for name in names if env.get(name)), None)
        for names in (COUNTS, INDICES)
    )
    if count == 1:
        return None
    found = {ADDRESS: env.get(ADDRESS), COUNT: count, INDEX: index}
    if missing := [name for name, value in found.items() if value in (None, "")]:
        raise UserError(
            f"{' and '.join(missing)} must be set too: {ADDRESS} is host:port of process 0, "
            f"{COUNT} how many there are, {INDEX} which one this is, from 0"
        )
    assert count is not None and index is not None
    if not 0 <= index < count:
        raise UserError(f"{INDEX} {index} must be from 0 to {count - 1}, below {COUNT}")
    address = str(found[ADDRESS])
    if not address.rpartition(":")[2].isdigit():
        raise UserError(f"{ADDRESS} {address[:80]!r} must be host:port, as in {address[:40]}:1234")
    return {"coordinator_address": address, "num_processes": count, "process_id": index}


def _number(env: Mapping[str, str], name: str, default: int | None = None) -> int:
    text = env.get(name, "") or str(default)
    if not text.isdecimal():
        raise UserError(f"{name} is {text[:40]!r}; it must be a whole number")
    return int(text)


def join(env: Mapping[str, str] | None = None) -> None:
    """Joins the processes that ``detect`` finds, once, before any device is used."""
    if _joined:
        return
    if not jax.distributed.is_initialized():  # by a launcher that did it already
        found = detect(os.environ if env is None else env)
        if found is None:
            return
        _initialize(found)
    _joined.append((jax.process_index(), jax.process_count()))


def _initialize(found: dict[str, Any]) -> None:
    heartbeat = _number(os.environ, "JAXVID_HEARTBEAT", 20)
    try:
        jax.distributed.initialize(**found, heartbeat_timeout_seconds=heartbeat)
    except (RuntimeError, ValueError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0][:200]
        raise UserError(
            f"cannot join the other processes: {reason}; set {ADDRESS}, {COUNT} and {INDEX}, or "
            "JAXVID_DISTRIBUTED=0 to run alone"
        ) from error


def index() -> int:
    """Which process of the run this is, from 0."""
    return _joined[0][0] if _joined else 0


def count() -> int:
    """How many processes the run has."""
    return _joined[0][1] if _joined else 1


def on_first(function: Callable[[], Any]) -> Any:
    """What ``function`` gives (JSON values), run on the first process alone, on all of them.

    Every process must call it. ``function`` must not wait for another process. The others wait in
    the runtime, not in a collective, so that no timeout of the network's ends a long evaluation.
    """
    if count() == 1:
        return function()
    from jax._src import distributed  # Orbax and Flax take the client from there too

    client: Any = distributed.global_state.client
    _told[0] += 1
    name = f"jaxvid/told/{_told[0]}"
    if index() == 0:
        result = function()
        client.key_value_set(name, json.dumps(result))
        return result
    return json.loads(client.blocking_key_value_get(name, PATIENCE * 1000))


def meet() -> None:
    """Waits for all processes, before what a network's timeout (30 s of gloo's) would end.

    They come apart where one compiles or opens its data much longer than another.
    """
    if count() > 1:
        from jax._src import distributed

        client: Any = distributed.global_state.client
        _told[0] += 1
        client.wait_at_barrier(f"jaxvid/meet/{_told[0]}", PATIENCE * 1000)


def agree(what: str, value: str) -> None:
    """Raises UserError on every process whose ``value`` is not that of the first one."""
    if on_first(lambda: value) != value:
        raise UserError(f"process {index()} has another {what} than process 0; start all alike")


def check_shared(path: pathlib.Path) -> None:
    """Raises UserError on a process that does not see what the first one wrote."""
    if not path.is_file():
        raise UserError(
            f"process {index()} does not see {path}, which process 0 wrote; put --run on a file "
            "system that all machines share"
        )


def preempted(step: int) -> bool:
    """Whether all processes stop at this step, since one of them got SIGTERM.

    Every process must call it after every step. It is true at the same step on all of them.
    """
    if count() == 1:
        return False
    from jax.experimental import multihost_utils

    return multihost_utils.reached_preemption_sync_point(step)


def abandon(code: int) -> None:
    """Ends this process of several at once, so that the others see it and end too.

    A usual exit would wait for the others, which wait for this one. Does nothing where it is alone.
    """
    if count() == 1:
        return
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


class Watchdog:
    """Ends the process with code 75 and the stacks of all threads where ``feed`` stays away.

    ``seconds``: 0 for never. Time in which the whole process stood still (Ctrl-Z) does not count. A
    thread that hangs without letting go of the interpreter is beyond it.
    """

    TICK = 1.0  # seconds

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._waited = 0.0
        self._end = threading.Event()

    def feed(self) -> None:
        """Says that the run goes on."""
        self._waited = 0.0

    def __enter__(self) -> "Watchdog":
        if self.seconds:
            threading.Thread(target=self._watch, name="watchdog", daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()

    def _watch(self) -> None:
        tick = min(self.TICK, self.seconds / 4)
        before = time.monotonic()
        while not self._end.wait(tick):
            now = time.monotonic()
            self._waited += min(now - before, 2 * tick)
            before = now
            if self._waited >= self.seconds:
                self._bite()

    def _bite(self) -> NoReturn:
        print(
            f"error: process {index()}: no step for {self.seconds:g} s (train.watchdog); the "
            f"threads stand here, and the same command goes on from the last checkpoint",
            file=sys.stderr,
            flush=True,
        )
        faulthandler.dump_traceback(all_threads=True)
        os._exit(HUNG)
