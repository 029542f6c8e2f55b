"""Where a row was measured: device, cores, versions, commit."""

import datetime
import functools
import importlib.metadata
import importlib.util
import os
import pathlib
import platform
import re
import subprocess
from typing import Any

PACKAGES = ("jax", "jaxlib", "flax", "torch", "triton")
LIBRARIES = ("nvidia-cudnn-cu13", "nvidia-cudnn-cu12")  # of attention


def threads() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@functools.cache
def circumstances() -> dict[str, Any]:
    """The fields of a row that say where and when: see ``harness.FIELDS``."""
    import jax

    git = ["git", "describe", "--always", "--dirty", "--exclude=*"]
    here = pathlib.Path(__file__).parent
    commit = subprocess.run(git, capture_output=True, text=True, check=False, cwd=here).stdout
    kind = _cpu_name() if jax.default_backend() == "cpu" else jax.devices()[0].device_kind
    return {
        "device": f"{jax.device_count()} x {kind}, {platform.machine()}",
        "threads": threads(),
        "versions": {"python": platform.python_version(), **_versions()},
        "flags": os.environ.get("XLA_FLAGS", ""),
        "commit": commit.strip() or None,
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="minutes"),
    }


def _versions() -> dict[str, str]:
    found = [name for name in PACKAGES if importlib.util.find_spec(name)]
    there = {d.metadata["Name"] for d in importlib.metadata.distributions()}
    found += [name for name in LIBRARIES if name in there]
    return {name: importlib.metadata.version(name) for name in found}


def _cpu_name() -> str:
    try:
        text = pathlib.Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return platform.processor() or "cpu"
    names = re.findall(r"model name\s*: (.*)", text)
    return names[0] if names else "cpu"
