"""The gate: what improves passes, what cheats does not."""

import dataclasses
import pathlib
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxvid import fresh, gate, loop, parallel, pipeline, reinforce
from jaxvid.config import GanRun, RlConfig, RlRun, TrainConfig
from jaxvid.data.render import render
from jaxvid.io.checkpoint import tree_digest
from jaxvid.metrics.bootstrap import crossed, interval, ratio
from jaxvid.state import RlState
from jaxvid.typing import UserError

RNG = np.random.default_rng(0)
RUN = RlRun(
    rl=RlConfig(group=2, actions=2, width=8),
    train=TrainConfig(steps=4, batch_size=2, sample_every=2, checkpoint_every=2),
)


def values(**factors: float) -> dict[str, np.ndarray]:
    found = {
        name: np.full((12, 4), 0.1)
        for name in ("interpolation", "warping_share", "flow_along", "jerk")
    }
    found["attributes"] = np.full((12, 4), 0.9)
    for name, factor in factors.items():
        found[name] = found[name] * factor * (1 + 0.01 * RNG.normal(size=(12, 4)))
    return found


CLIPS = RNG.integers(0, 256, (12, 4, 2, 8, 8, 3)).astype(np.uint8)


def compared(
    before: dict[str, np.ndarray],
    after: dict[str, np.ndarray],
    real: dict[str, np.ndarray] | None = None,
) -> dict[str, gate.Check]:
    """The lines of the gate by their names."""
    shown = gate.Shown(CLIPS, before), gate.Shown(CLIPS, real or values())
    return {c.name: c for c in gate.compare(gate.Known([], *shown), gate.Shown(CLIPS, after))}


def verdicts(**factors: float) -> dict[str, bool]:
    return {name: c.passed for name, c in compared(values(), values(**factors)).items()}


def test_smoother_and_as_lively_passes() -> None:
    assert all(verdicts(interpolation=0.8, warping_share=0.9).values())


def test_grey_clips_have_no_jerk_to_lose() -> None:
    """It is read from colours: 0 / 0 is no fault."""
    still = {"jerk": np.zeros((12, 4))}
    before, after = values() | still, values(interpolation=0.8, warping_share=0.9) | still
    found = compared(before, after, values() | still)
    assert "jerk" not in found and all(check.passed for check in found.values())


def test_clips_without_labels_are_left_out() -> None:
    before, after = values(), values(interpolation=0.8, warping_share=0.9)
    for found in (before, after):
        found["attributes"][:3] = np.nan
    after["attributes"][3:] -= 0.05
    check = compared(before, after)["attributes"]
    assert check.value == pytest.approx(-0.05) and not check.passed
    assert gate._mean(before["attributes"]) == pytest.approx(0.9)
    before["attributes"][:] = np.nan
    assert "attributes" not in compared(before, after)


def test_motion_of_actors_is_read_where_there_are_any() -> None:
    before = values() | {"travel": np.full((12, 4), 0.2)}
    lively = values(interpolation=0.8, warping_share=0.9, flow_along=0.1) | {
        "travel": before["travel"]
    }
    still = lively | {"travel": 0.5 * before["travel"]}
    assert compared(before, lively)["motion"].passed
    assert not compared(before, still)["motion"].passed


@pytest.mark.parametrize(
    ("line", "factors"),
    [
        ("smoothness", {"interpolation": 1.0, "warping_share": 0.9}),
        ("smoothness", {"interpolation": 0.995, "warping_share": 0.9}),
        ("coherence", {"interpolation": 0.8, "warping_share": 0.995}),
        ("coherence", {"interpolation": 0.8, "warping_share": 1.1}),
        ("motion", {"interpolation": 0.1, "warping_share": 0.1, "flow_along": 0.1}),
        ("motion", {"interpolation": 0.8, "warping_share": 0.9, "flow_along": 1.2}),
        ("attributes", {"interpolation": 0.8, "warping_share": 0.9, "attributes": 0.95}),
    ],
)
def test_each_line_can_fail(line: str, factors: dict[str, float]) -> None:
    assert not verdicts(**factors)[line]


def test_a_reference_that_shakes_must_be_steadied() -> None:
    """At 0.6 of its jerk or less; none is asked of one that would then be steadier than life."""
    better = {"interpolation": 0.8, "warping_share": 0.9}
    shaky, real = values(jerk=2.0), values(jerk=1.0)
    steadied, left = values(jerk=1.1, **better), values(jerk=1.3, **better)
    assert compared(shaky, steadied, real)["jerk"].passed
    assert [n for n, c in compared(shaky, left, real).items() if not c.passed] == ["jerk"]
    assert "jerk" not in compared(shaky, left, values(jerk=1.3))


def lit(gain: float, flat: float = 1.0) -> gate.Shown:
    """``CLIPS`` at half their contrast; their last frame darker, or with still less of it."""
    clips = 0.5 * CLIPS.astype(float)
    clips[:, :, -1] = gain * (clips[:, :, -1] * flat + (1 - flat) * clips[:, :, -1].mean())
    return gate.Shown(np.rint(clips).astype(np.uint8), values())


@pytest.mark.parametrize(
    ("gains", "failed"),  # reference, tuned, real
    [
        ((1.0, 1.0, 1.0), []),
        ((1.0, 0.8, 1.0), ["contrast", "light"]),
        ((1.0, 1.2, 1.0), ["contrast", "light"]),
        ((1.0, 0.8, 0.7), []),  # towards real clips
        ((1.0, 1.4, 1.5), []),
        ((1.0, 0.95, 1.2), []),
    ],
)
def test_clips_keep_their_light(gains: tuple[float, float, float], failed: list[str]) -> None:
    before, after, real = (lit(gain) for gain in gains)
    checks = gate._light(gate.Known([], before, real), after)
    assert sorted(c.name for c in checks if not c.passed) == failed
    assert all(c.low <= c.value <= c.high for c in checks)


def test_clips_keep_their_contrast() -> None:
    light, contrast = gate._light(gate.Known([], lit(1.0), lit(1.0)), lit(1.0, 0.5))
    assert light.passed and contrast.value == pytest.approx(0.5, abs=0.02) and not contrast.passed


def test_fewer_kinds_of_clips_fail() -> None:
    varied = RNG.integers(0, 256, (6, 4, 2, 16, 16, 3)).astype(np.uint8)
    same = np.broadcast_to(varied[:, :1], varied.shape)
    assert gate._diversity(varied, varied, varied).passed
    assert not gate._diversity(varied, same, varied).passed
    assert gate._diversity(same, varied, varied).passed  # there was none to lose
    assert gate._diversity(varied, same, same).passed  # it should have been lost


def test_a_fresh_critic_tells_blank_clips_from_real_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fresh, "STEPS", 20)
    monkeypatch.setattr(fresh, "CRITICS", 2)
    real = RNG.integers(0, 256, (8, 4, 2, 16, 16, 3)).astype(np.uint8)
    alike = RNG.integers(0, 256, (8, 4, 2, 16, 16, 3)).astype(np.uint8)
    blank = np.full_like(real, 128)
    told = {name: fresh.told_apart(real, made) for name, made in (("a", alike), ("b", blank))}
    assert told["b"].shape == (2, 4, 8) and told["b"].mean() > 0.95 > told["a"].mean()
    assert not gate.easier(told["a"], told["b"]).passed
    assert gate.easier(told["b"], told["a"]).passed


def test_one_critic_that_finds_more_is_not_enough() -> None:
    """By it alone, an interval over prompts would say that the clips are easier to tell."""
    before, after = RNG.normal(0.5, 0.01, (2, 4, 12, 64))
    fooled = after + np.array([0.03, 0.0, -0.01, -0.02])[:, None, None]
    assert interval((fooled - before)[0].mean(1)).low > 0
    assert gate.easier(before, fooled).passed
    assert not gate.easier(before, after + 0.03).passed


def test_crossed_intervals_count_both_chances() -> None:
    """Of means of 6 x 12 values with an error of each row and column, most intervals hold the
    truth; those over columns alone do not."""
    held, alone = [], []
    for _ in range(200):
        rows, columns = RNG.normal(0, 1, (6, 1)), RNG.normal(0, 1, 12)
        values = rows + columns + RNG.normal(0, 0.1, (6, 12))
        for found, into in ((crossed(values), held), (interval(values.mean(0)), alone)):
            into.append(found.low < 0 < found.high)
    assert np.mean(held) > 0.8 > np.mean(alone)


def test_intervals_hold_the_mean_and_shrink_with_prompts() -> None:
    few, many = (interval(RNG.normal(3.0, 1.0, n)) for n in (20, 500))
    assert few.low < few.mean < few.high and many.low < 3.0 < many.high
    assert many.high - many.low < (few.high - few.low) / 3
    assert interval(np.ones(5)) == (1.0, 1.0, 1.0)
    before = RNG.uniform(0.1, 10, 40)
    assert ratio(0.9 * before, before) == pytest.approx((0.9, 0.9, 0.9))
    none = np.zeros(5)
    assert ratio(none, none) == (1.0, 1.0, 1.0) and ratio(none, none + 1).mean < 1e-9


# --- a whole run ---------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def tuned(tiny_run: pathlib.Path) -> pathlib.Path:
    folder = tiny_run / "rl"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(gate, "GLANCE", (2, 2))
        patch.setattr(reinforce, "REAL", 8)
        patch.setattr(reinforce, "make_mesh", lambda *_: parallel.make_mesh(jax.devices()[:1]))
        half = dataclasses.replace(RUN, train=dataclasses.replace(RUN.train, steps=2))
        reinforce.train_rl(half, folder)
        patch.delattr(reinforce, "build")  # what goes on takes all from its folder
        reinforce.train_rl(RUN, folder)
    return folder


def test_a_run_resumes_and_keeps_its_reference(tuned: pathlib.Path) -> None:
    lines = (tuned / "metrics.jsonl").read_text().splitlines()
    assert len(lines) == 4 and '"r_motion"' in lines[0]
    nets, params, run = reinforce.load_rl(tuned, best=False)
    assert run.generator.actions == 2 and nets.policy is not None
    plain = pipeline.training.load_gan(tuned.parent / "gan")[1].ema
    kept = {name: tree for name, tree in params.items() if name in plain}
    assert tree_digest(kept) == tree_digest({n: t for n, t in plain.items() if n != "posterior"})


def test_the_tuned_run_generates_and_travels(tuned: pathlib.Path, tmp_path: pathlib.Path) -> None:
    pipe = pipeline.load(tuned, planner="shipped")
    clip = pipe.generate("a red circle moves up", seed=1)
    file = pipeline.export(tuned, tmp_path / "tuned.safetensors")
    again = pipeline.load(file, planner="shipped").generate("a red circle moves up", seed=1)
    assert clip.video.shape == again.video.shape  # stored at half precision: a level of 256
    np.testing.assert_allclose(clip.video.astype(int), again.video, atol=2)


def test_a_policy_that_does_nothing_is_the_reference(tuned: pathlib.Path) -> None:
    nets, params, run = reinforce.load_rl(tuned)
    gates = gate.Gate(run, nets)
    asked = gates.prompts(2, 2)
    shown = gates.show(gate.without_policy(params), asked)
    plain = pipeline.training.make_nets(
        dataclasses.replace(run, generator=dataclasses.replace(run.generator, actions=0, policy=0))
    )
    sample = jax.jit(pipeline.make_sampler(plain.generator))
    batch = next(gates._batches(asked))[1]
    bare = {n: t for n, t in params.items() if n not in ("policy", "explore")}
    video = pipeline.to_bytes(sample(bare, batch, jax.random.key(0)))
    np.testing.assert_allclose(
        shown.videos.reshape(-1, *shown.videos.shape[2:]), video[:4].astype(jnp.uint8), atol=1
    )
    assert shown.values["attributes"].shape == (2, 2)
    chosen = gates.prompts(2, 2, other=True)  # the best checkpoint is chosen by other prompts
    assert {row[0].caption for row in chosen}.isdisjoint(row[0].caption for row in asked)
    assert not np.array_equal(asked[0][0].video, asked[0][1].video)  # scenes of one caption
    np.testing.assert_array_equal(asked[0][0].video, render(asked[0][0].script))  # type: ignore[arg-type]


def test_the_gate_writes_what_it_found(
    tuned: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fresh, "STEPS", 2)
    opened = reinforce.open_gate(tuned)
    verdict = reinforce.try_gate(tuned, prompts=2, samples=2, gate=opened)
    names = ["smoothness", "coherence", "jerk", "motion", "light", "contrast"]
    names += ["attributes", "diversity"]
    assert [check.name for check in verdict.checks] == [*names, "prompts", "fresh critic"]
    few = verdict.checks[-2]  # intervals over two prompts would tell too much
    assert not few.passed and few.value == 2
    for name in ("gate.json", "report.html", "before_after.gif"):
        assert (tuned / name).stat().st_size > 200
    page = (tuned / "report.html").read_text(encoding="utf-8")
    for name in ("smoothness", "jerk", "fresh critic"):
        assert f'<bdi>{name}</bdi> <span class="muted" title="lower is better">' in page
    seen = opened._known[2, 2, False][1]
    opened.judge(reinforce.load_rl(tuned)[1], prompts=2, samples=2, critics=False)
    assert opened._known[2, 2, False][1] is seen  # the same reference is not looked at again
    enough = opened.judge(reinforce.load_rl(tuned)[1], prompts=4, samples=2, critics=False)
    assert [check.name for check in enough.checks] == names
    monkeypatch.setattr(gate, "GLANCE", (3, 4))  # more clips than are made at once
    monkeypatch.setattr(opened, "_diverge", lambda policy, batch: batch["index"])
    assert opened.glance(reinforce.load_rl(tuned)[1]).divergence == 5.5  # the mean of all twelve
    other = jax.tree.map(lambda x: x + 0.1, reinforce.load_rl(tuned)[1])
    assert opened._reference(other, 2, 2) is not seen


def test_the_divergence_is_of_every_clip_over_its_frames_with_an_action() -> None:
    class Policy:
        """A mean of sqrt(2 n) in every frame of clip n, and of much more in the first one."""

        def apply(self, params: Any, batch: Any, known: Any, mask: Any) -> tuple[Any, Any]:
            mean = jnp.sqrt(2.0 * jnp.arange(3.0))[:, None] + jnp.zeros((3, 4))
            return mean.at[:, 0].set(99.0)[..., None], jnp.zeros((3, 4, 1))

    mask = np.zeros((3, 4, 8, 8, 1), np.float32)
    mask[:, 0] = 1.0  # known, so without an action
    batch = {"video": np.zeros((3, 4, 8, 8, 3), np.uint8), "mask": mask}
    np.testing.assert_allclose(gate._divergence(Policy(), {}, batch), [0.0, 1.0, 2.0], atol=1e-5)


def test_a_run_ends_at_its_budget(tuned: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    nets, params, run = reinforce.load_rl(tuned)
    watcher = gate.Gate(run, nets)
    monkeypatch.setattr(watcher, "glance", lambda params: gate.Glance(0.5, 99.0, "far"))
    reference = {name: tree for name, tree in params.items() if name != "policy"}
    state = RlState(*[jnp.zeros(())] * 8).replace(ema=params["policy"], reference=reference)
    with pytest.raises(loop.Enough, match="99.0 nats a frame"):
        reinforce._watch(lambda: watcher, RUN, jax.device_put(state, jax.devices()[0]), 1)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"rewards": ("joy",), "weights": (1.0,)}, "no reward 'joy'; use acceleration"),
        (
            {"rewards": ("chance",), "weights": (1.0,), "algorithm": "path"},
            "has no gradient; use --rl.algorithm policy",
        ),
        ({"rewards": ("critic",), "weights": (1.0,), "base": "shipped"}, "needs trained critics"),
        ({"rewards": ("agreement",), "weights": (1.0,), "pmap": True}, "use --train.backend jit"),
    ],
)
def test_rewards_that_cannot_serve_are_refused(changes: dict[str, Any], message: str) -> None:
    backend: Any = "pmap" if changes.pop("pmap", False) else "jit"
    train = dataclasses.replace(RUN.train, backend=backend)
    run = dataclasses.replace(RUN, rl=dataclasses.replace(RUN.rl, **changes), train=train)
    with pytest.raises(UserError, match=message):
        reinforce.check_rewards(GanRun(), run)


def test_scripts_are_asked_for_where_there_are_none() -> None:
    own = dataclasses.replace(GanRun(), data=dataclasses.replace(GanRun().data, source="folder:x"))
    with pytest.raises(UserError, match="needs scripts, which folder:x has not; use interpolation"):
        reinforce.check_rewards(own, RUN)


def test_bad_configurations_are_refused() -> None:
    for changes in (
        {"group": 1},
        {"width": 62},
        {"weights": (1.0,)},
        {"discount": 1.5},
        {"rewards": ()},
    ):
        with pytest.raises(UserError):
            RlConfig(**changes)  # type: ignore[arg-type]
    with pytest.raises(UserError, match="no tuned generator"):
        reinforce.load_rl(pathlib.Path("nowhere") / "rl")
