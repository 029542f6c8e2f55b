"""Operations of a generator's run by XLA's count, in a process of its own.

Kernels hide theirs from XLA: those of a GPU, and the machine code for the CPU at hand. Lowered for
two CPUs, where jaxvid takes neither, all is counted; nothing is compiled.
"""

import concurrent.futures
import functools
from collections.abc import Callable
from typing import Any

from benchmarks.resident import in_child
from jaxvid.config import GanRun


@functools.cache
def training_flops(run: GanRun) -> Callable[[], float]:
    """Of one adversarial step of one clip (``jaxvid.sizes``), counted while other work goes on."""
    return _begin(functools.partial(_of_step, run))


@functools.cache
def frame_flops(run: GanRun) -> Callable[[], float]:
    """Of generating one frame, in the same way."""
    return _begin(functools.partial(_of_frame, run))


def _begin(function: Callable[[], float]) -> Callable[[], float]:
    pool = concurrent.futures.ThreadPoolExecutor(1)
    found = pool.submit(in_child, function)
    pool.shutdown(wait=False)

    def wait() -> float:
        try:
            return found.result()
        except Exception as error:  # a row without a share of the roof is a row
            print(f"operations not counted: {error}", flush=True)
            return 0.0

    return wait


def _two_cpus() -> None:
    import jax

    jax.config.update("jax_platforms", "cpu")
    jax.config.update("jax_num_cpu_devices", 2)


def _of_step(run: GanRun) -> float:
    _two_cpus()
    from jaxvid.sizes import sizes

    return sizes(run).clip_flops


def _of_frame(run: GanRun) -> float:
    _two_cpus()
    import jax

    from jaxvid import training
    from jaxvid.steps.sample import make_sampler

    state = jax.eval_shape(lambda: training.blank_state(run)[0])
    batch = jax.eval_shape(lambda: training.blank_state(run)[1])
    key = jax.eval_shape(lambda: jax.random.key(0))
    sample = make_sampler(training.make_nets(run).generator, dtype=run.compute.dtype)
    costs: Any = jax.jit(sample).lower(state.params, batch, key).cost_analysis()
    return float(costs["flops"]) / run.data.frames
