"""Presets: their shapes, their sizes, and that even the largest can be lowered here."""

import jax
import pytest

from jaxvid import presets
from jaxvid.config import from_json, to_json
from jaxvid.sizes import sizes
from jaxvid.training import make_nets


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
    from jaxvid.data.loader import Batches
    from jaxvid.data.source import open_source
    from jaxvid.training import build_gan

    batch = Batches(open_source(run.data, split="train"), batch_size=1, seed=0, text_length=128)[0]
    state = jax.eval_shape(lambda: build_gan(run, batch, abstract=True)[1])
    count = sum(leaf.size for leaf in jax.tree.leaves(state.params))
    assert found.generator_parameters == count
    # tokens alone: 64 of a frame through two layers of about 12 width² weights each
    least = 2 * 64 * 2 * 12 * run.generator.width**2
    assert least < found.frame_flops < 100 * least
    assert found.clip_flops > 3 * run.loss.frames * found.frame_flops
    assert found.state_bytes > 4 * (3 * count + found.critic_parameters)


def test_the_largest_is_lowered_without_being_run() -> None:
    large, base = sizes(presets.large_gan()), sizes(presets.base_gan())
    assert 300e6 < large.generator_parameters < 700e6
    assert large.frame_flops > 2 * base.frame_flops > 1e10
    assert large.step_bytes is None
