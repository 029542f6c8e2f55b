"""benchmarks.scaling: what a step exchanges on many devices, and what that takes on links."""

import dataclasses
import math

import jax
import pytest

from benchmarks.scaling import MACHINES, PACK, WIRE, Machine, duration, lowered, packed
from jaxvid import presets, training
from jaxvid.config import CriticConfig, DataConfig, GanRun, GeneratorConfig, LossConfig
from jaxvid.sizes import Collective

PLAIN = Machine("plain", 1e12, 8, 400e9, 40e9, 0.0, 0.0)


def total(kind: str, elements: int, group: int) -> Collective:
    return Collective(kind, group, (("f32", (elements,)),))


def test_packs_hold_all_bytes_and_only_what_fits() -> None:
    many = [total("all-reduce", 1_000_000, 8)] * 20 + [total("all-gather", 10_000_000, 4)] * 2
    found = packed(many)
    assert sum(one.bytes for one in found) == sum(one.bytes for one in many)
    assert sorted((one.kind, one.bytes / 1e6) for one in found) == [
        ("all-gather", 40.0), ("all-gather", 40.0), ("all-reduce", 24.0), ("all-reduce", 28.0),
        ("all-reduce", 28.0),
    ]  # fmt: skip
    assert max(one.bytes for one in found if one.kind == "all-reduce") <= PACK


@pytest.mark.parametrize("n", [2, 8])
def test_near_devices_send_a_rings_share(n: int) -> None:
    one = total("all-reduce", 1_000_000, n)
    wanted = 2 * (n - 1) / n * 4e6 / (WIRE * 400e9)
    assert duration(one, PLAIN, n, 1) == pytest.approx(wanted)
    gather = dataclasses.replace(one, kind="all-gather")
    assert duration(gather, PLAIN, 64, n) == pytest.approx(wanted / 2)  # of those that share


def test_far_devices_send_only_their_part_of_the_sum() -> None:
    one = total("all-reduce", 1_000_000, 64)
    near, far = 2 * 7 / 8 * 4e6 / (WIRE * 400e9), 2 * 7 / 8 * 4e6 / 8 / (WIRE * 40e9)
    assert duration(one, PLAIN, 64, 1) == pytest.approx(near + far)
    slow = dataclasses.replace(PLAIN, fast_delay=1e-3, slow_delay=1e-2)
    added = 2 * (3 * 1e-3 + 3 * 1e-2)  # eight near devices and eight nodes: three hops of each
    assert duration(one, slow, 64, 1) == pytest.approx(near + far + added)


def test_more_devices_never_take_less() -> None:
    one = total("all-reduce", 10_000_000, 0)
    for machine in MACHINES:
        times = [duration(one, machine, 2**k, 1) for k in range(13)]
        assert times[0] == 0 and all(a < b for a, b in zip(times, times[1:], strict=False))


def test_a_device_of_4096_sums_its_gradients_with_all_others(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    run = GanRun(
        data=DataConfig(resolution=8, frames=4, text_length=32),
        generator=GeneratorConfig(width=16, layers=1, heads=2, decoder=(8, 8), drawing=8),
        critic=CriticConfig(frames=2, frame_widths=(8,), clip_width=8, clip_layers=1, heads=2),
        loss=LossConfig(warmup=0, frames=4, warmup_frames=4, penalty="none", augment=0.0),
    )
    monkeypatch.setitem(presets.GAN, "tiny", lambda: run)
    found = lowered("tiny", 4096, 1)
    assert {(one.kind, one.group) for one in found} == {("all-reduce", 4096)}
    state, _ = jax.eval_shape(lambda: training.blank_state(run))
    leaves = jax.tree.leaves((state.params, state.critic_params))
    sent = sum(math.prod(shape) for one in found for _, shape in one.shapes)
    assert 0 <= sent - sum(leaf.size for leaf in leaves) < 1000  # the rest are metrics
