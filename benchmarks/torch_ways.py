"""PyTorch as a competitor: eager, and through torch.compile where that is possible."""

import time
import traceback
from collections.abc import Callable
from typing import Any

from benchmarks import harness
from benchmarks.harness import Way

EAGER, COMPILED = "torch", "torch.compile"
SKIPPED = "not asked for"


def torch_ways(
    build: Callable[[bool], Callable[[], Any]], *, eager: bool = True, compiled: bool = True
) -> tuple[dict[str, Way], dict[str, str]]:
    """The ways that there are, and why others are missing.

    ``build(compiled)`` gives the call to be timed; it is made in turn for each way that is asked
    for: compiling a whole step takes many minutes.
    """
    torch = harness.torch_or_none()
    if torch is None:
        return {}, {"torch": harness.PEER_HINT}
    ways, missing = dict[str, Way](), dict[str, str]()
    for name, asked in ((EAGER, eager), (COMPILED, compiled)):
        if not asked:
            missing[name] = SKIPPED
            continue
        harness.free()
        torch._dynamo.reset()
        began = time.perf_counter()
        try:
            run = build(name == COMPILED)
            if name == COMPILED:
                run()
            seconds = time.perf_counter() - began if name == COMPILED else 0.0
            ways[name] = harness.torch_way(run, compile_s=seconds)
        except Exception as error:  # no C++ compiler, what it cannot compile, too little memory
            traceback.print_exc()
            missing[name] = harness.reason(error)
    return ways, missing
