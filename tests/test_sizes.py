"""Presets: their shapes, their sizes, and that even the largest can be lowered here."""

from typing import Any

import jax
import numpy as np
import pytest

from jaxvid import presets
from jaxvid.config import GanRun, from_json, to_json
from jaxvid.data.batch import collate
from jaxvid.data.source import Example
from jaxvid.sizes import sizes
from jaxvid.steps.sample import make_sampler
from jaxvid.training import Nets, make_nets, prepare_gan
from jaxvid.typing import HostBatch


@pytest.mark.parametrize("name", presets.GAN)
def test_presets_are_configurations(name: str) -> None:
    run = presets.GAN[name]()
    assert from_json(type(run), to_json(run)) == run
    assert presets.GAN[name].__doc__
    nets = make_nets(run)
    assert (nets.posterior is None) == (run.generator.latent == 0)


def test_a_small_one_is_counted_as_by_hand() -> None:
    """Parameters against the initialised tree; a frame costs what its matrix products cost."""
    run = presets.quickstart_gan()
    found = sizes(run)
    count = sum(leaf.size for leaf in jax.tree.leaves(shapes(run)[1]))
    assert found.generator_parameters == count
    # tokens alone: 64 of a frame through two layers of about 12 width² weights each
    least = 2 * 64 * 2 * 12 * run.generator.width**2
    assert least < found.frame_flops < 100 * least
    assert found.clip_flops > 3 * run.loss.frames * found.frame_flops
    assert found.state_bytes > 4 * (3 * count + found.critic_parameters)


def test_the_largest_is_lowered_without_being_run() -> None:
    """Its generator; ``python -m benchmarks.presets large`` lowers the training step too."""
    run = presets.large_gan()
    nets, params, batch = shapes(run)
    sample = jax.jit(make_sampler(nets.generator, dtype=run.compute.dtype))
    lowered = sample.lower(params, batch, jax.random.key(0))
    assert "bf16" in lowered.as_text()
    count = sum(leaf.size for name, tree in params.items() if name != "posterior"
                for leaf in jax.tree.leaves(tree))  # fmt: skip
    assert 300e6 < count < 700e6


def shapes(run: GanRun) -> tuple[Nets, Any, HostBatch]:
    side = run.data.resolution
    blank = Example(np.zeros((run.data.frames, side, side, 3), np.uint8), "", run.data.fps)
    batch = collate([blank], [0], text_length=run.data.text_length)
    state = jax.eval_shape(prepare_gan(run, batch)[1], jax.random.key(0))
    return make_nets(run), state.params, batch
