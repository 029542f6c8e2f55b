"""Eight virtual CPU devices for all tests, set before JAX starts; a cache of the tests' own."""

import os
import pathlib
import tempfile

os.environ["JAX_PLATFORMS"] = "cpu"
os.environ["JAX_NUM_CPU_DEVICES"] = "8"
os.environ.setdefault(
    "JAXVID_CACHE", str(pathlib.Path(tempfile.gettempdir()) / f"jaxvid-tests-{os.getuid()}")
)

from jaxvid import parallel  # noqa: E402

parallel.start()
