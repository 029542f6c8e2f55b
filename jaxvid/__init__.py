"""Train and run text-to-video models in JAX: prompt in, video file out.

The public names; importing them starts no JAX backend.
"""

from typing import TYPE_CHECKING, Any

from jaxvid._version import __version__
from jaxvid.typing import UserError

if TYPE_CHECKING:
    from jaxvid.clip import Clip
    from jaxvid.pipeline import Pipeline, load
    from jaxvid.script import Script

__all__ = ["Clip", "Pipeline", "Script", "UserError", "__version__", "load"]


def __getattr__(name: str) -> Any:
    """Imports the pipeline when it is asked for: bad options are answered without it."""
    if name in ("Clip", "Pipeline", "load"):
        from jaxvid import pipeline

        return getattr(pipeline, name)
    if name == "Script":
        from jaxvid.script import Script

        return Script
    raise AttributeError(f"module 'jaxvid' has no attribute {name!r}")
