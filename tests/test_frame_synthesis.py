"""The benchmark of frame synthesis compares what is equal."""

import jax
import numpy as np
import pytest

from benchmarks import frame_synthesis, harness, layers
from benchmarks.frame_synthesis import (
    drawing,
    meeting,
    patches_in,
    patches_out,
    upsampling,
    warping,
)

EQUAL = {
    "script": lambda: drawing((2, 3, 2, 4), 12, 5),
    "dense": lambda: layers.dense(2048, 24, 8),
    "block": lambda: layers.block(1, 8, 16),
    "scene": lambda: layers.scene(1, 2, 8, 8, 8),
    "patches in": lambda: patches_in((2, 8, 8, 3), 4, 5),
    "patches out": lambda: patches_out((2, 3, 3, 4), 3),
    "warp": lambda: warping((3, 8, 9, 3)),
    "meet": lambda: meeting((2, 3, 16, 16, 3)),
}


@pytest.mark.parametrize("name", EQUAL)
def test_each_formulation_gives_the_same(name: str) -> None:
    ours, plain, twin, arrays = EQUAL[name]()
    expected = np.asarray(jax.jit(plain)(*arrays))
    np.testing.assert_allclose(jax.jit(ours)(*arrays), expected, atol=2e-4)
    if harness.torch_or_none() is not None:
        found = frame_synthesis.torch_call(twin, arrays, expected, "forward", None, [], False)()
        np.testing.assert_allclose(found, expected, atol=2e-4)


def test_upsampling_by_phases_has_the_plain_one_as_a_special_case() -> None:
    ours, plain, _, (x, dense, kernel) = upsampling((1, 4, 4, 3), 2)
    same = np.tile(dense[:, :2], (1, 4))  # all four phases alike: each pixel repeated
    found, expected = jax.jit(ours)(x, same, kernel), jax.jit(plain)(x, dense, kernel)
    np.testing.assert_allclose(found, expected, atol=1e-5)
