"""PyTorch as a competitor: eager, and through torch.compile where that is possible."""

import time
from collections.abc import Callable
from typing import Any

from benchmarks import harness
from benchmarks.harness import Way

EAGER, COMPILED = "torch", "torch.compile"


def torch_ways(
    build: Callable[[bool], Callable[[], Any]], *, compiled: bool = True
) -> tuple[dict[str, Way], dict[str, str]]:
    """The ways that there are, and why others are missing.

    ``build(compiled)`` gives the call to be timed; it is made in turn for each way, but not
    ``compiled`` where that was not asked for: compiling a whole step takes many minutes.
    """
    torch = harness.torch_or_none()
    if torch is None:
        return {}, {"torch": harness.PEER_HINT}
    ways, missing = {EAGER: harness.torch_way(build(False))}, {}
    if not compiled:
        return ways, {COMPILED: "not asked for"}
    torch._dynamo.reset()
    began = time.perf_counter()
    try:
        run = build(True)
        run()
    except Exception as error:  # without a C++ compiler, or with what it cannot compile
        missing[COMPILED] = reason(error)
    else:
        seconds = time.perf_counter() - began
        ways[COMPILED] = harness.torch_way(run, compile_s=seconds)
    return ways, missing


def reason(error: BaseException) -> str:
    """The first line of what went wrong, for a table."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return (lines[0] if lines else type(error).__name__).replace("|", "/")[:160]
