"""What a clip is rewarded for, frame by frame: smoothness (流畅性), coherence (连贯性), and what
keeps both honest.

Every reward starts from an error ``(video (B,T,H,W,3) in -1..1, script) -> (B,T)``, lower is
better, where ``script`` is the Batch that the clip was made from. What the critics saw of the clip
stands in it as well, and the real clip of the same example as ``real`` in -1..1.
The reward is the error beyond what real clips show, in units of their spread:

    r = -min(max(e - q, 0) / s, 10)          between -10 and 0, 0 at the level of real clips

with q the median of real clips and s from there to their 90th percentile (``measure_scale``). A
clip that is smoother than real ones earns nothing for it: rewards without that limit freeze the
picture (stillness, below, shows it). Differences of pixels are in units of the contrast of the
frames that are compared: in plain ones the picture darkens, since what is dark differs less.
Errors are 0 where a frame has nothing to say.
"""

import dataclasses
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxvid.ops.flow import estimate
from jaxvid.ops.inbetween import Neighbours, meet
from jaxvid.ops.warp import warp
from jaxvid.shapes import PALETTE
from jaxvid.typing import Batch

WORST = 10.0  # spreads of real clips beyond their median; more is no worse
WINDOW = 4  # frames over which motion is compared
FLAT = 0.02  # of -1..1: the least contrast that differences are measured in
_LIKE = 0.35  # of -1..1: how far a pixel may be from its entity's colour
_FAR = 0.3  # a camera that is further off from one frame to another is an actor that is hidden
_AROUND = 0.1  # of the frame: how far outside of its box an entity is looked for

Video = Float[Array, "B T H W 3"]
Frames = Float[Array, "B T"]


@dataclasses.dataclass(frozen=True)
class Reward:
    """An error and what is known of it.

    ``reads``: how many frames before and after its own it looks at; None: all. ``least``: the
    smallest spread s, in the error's unit. ``scripted``: it needs boxes; elsewhere it is 0.
    ``saturates``: False for controls, whose q is 0 and s is ``least``. ``critics``: it reads what
    they saw.
    """

    error: Callable[[Video, Batch], Frames]
    reads: tuple[int, int] | None = None
    differentiable: bool = True
    least: float = 1e-3
    scripted: bool = False
    saturates: bool = True
    critics: bool = False


# --- where the entities are ----------------------------------------------------------------------


def entities(video_BTHWC: Video, script: Batch) -> dict[str, jax.Array]:
    """Where each scripted actor is seen: ``away`` (B,T,N,2) its centre's way from the script's,
    in frame widths, ``area`` (B,T,N) of the frame, ``colour`` (B,T,N,3) in -1..1.

    Moments of the pixels around the scripted box, weighted by exp(-|x - c|² / 2 l²) with the
    actor's colour c and l = 0.35: differentiable, and exact to a few hundredths of a pixel.
    """
    H, W = video_BTHWC.shape[2:4]
    palette = jnp.asarray(PALETTE.astype(np.float32) / 127.5 - 1.0)
    colour_BNC = palette[jnp.maximum(script["attributes"][..., 1] - 1, 0)]
    boxes = script["boxes"]
    x_W, y_H = (jnp.arange(W) + 0.5) / W, (jnp.arange(H) + 0.5) / H
    near_x = _within(x_W, boxes[..., 0, None], boxes[..., 2, None])
    near_y = _within(y_H, boxes[..., 1, None], boxes[..., 3, None])
    square = ((video_BTHWC[:, :, None] - colour_BNC[:, None, :, None, None]) ** 2).sum(-1)
    weight = jnp.exp(-square / (2 * _LIKE**2)) * near_y[..., :, None] * near_x[..., None, :]
    weight = weight * script["visible"][..., None, None]
    mass = weight.sum((-1, -2))
    safe = mass + 1e-3
    centre = jnp.stack([(weight.sum(-2) * x_W).sum(-1), (weight.sum(-1) * y_H).sum(-1)], axis=-1)
    seen = jnp.einsum("btnhw,bthwc->btnc", weight, video_BTHWC)
    away = (centre - mass[..., None] * boxes[..., :2]) / safe[..., None]
    return {"away": away, "area": safe / (H * W), "colour": seen / safe[..., None]}


def camera(video_BTHWC: Video, script: Batch) -> Float[Array, "B T 4"]:
    """How a camera took each frame beside the clip's others: how far its actors stand from their
    scripted places (2), in frame widths, how large they are and how light, by the logarithm. Means
    over those on screen, 0 where there are none.
    """
    seen, visible = entities(video_BTHWC, script), script["visible"][..., None]
    places, sizes = jnp.split(script["boxes"], 2, axis=-1)

    def beside(x: jax.Array) -> jax.Array:
        mean = (x * visible).sum(1, keepdims=True) / jnp.maximum(visible.sum(1, keepdims=True), 1.0)
        there = jnp.clip(x - mean, -_FAR, _FAR) * visible
        return there.sum(2) / jnp.maximum(visible.sum(2), 1.0)

    asked = jnp.log(jnp.maximum(sizes, 1e-2)).mean(-1, keepdims=True)
    size = beside(0.5 * jnp.log(seen["area"])[..., None] - asked)
    light = beside(jnp.log(jnp.maximum(1.0 + seen["colour"].mean(-1, keepdims=True), 1e-2)))
    away = beside(seen["away"] - size[:, :, None] * (places - 0.5))  # a zoom moves all outwards
    return jnp.concatenate([away, size, light], axis=-1)


def _within(place: jax.Array, centre: jax.Array, size: jax.Array) -> jax.Array:
    """About 1 inside of a side of a box that is wider by ``_AROUND``, 0 outside, smooth."""
    return jax.nn.sigmoid((size / 2 + _AROUND - jnp.abs(place - centre)) / 0.02)


def _over_actors(error_BTN: jax.Array, valid_BTN: jax.Array) -> jax.Array:
    """Mean over the actors that count in a frame; 0 where none does."""
    return (error_BTN * valid_BTN).sum(-1) / jnp.maximum(valid_BTN.sum(-1), 1.0)


def _length(x: jax.Array) -> jax.Array:
    return jnp.sqrt((x**2).sum(-1) + 1e-12)


def _before(x: jax.Array, hops: int = 1) -> jax.Array:
    """Each frame's predecessor; the first frames have themselves."""
    hops = min(hops, x.shape[1] - 1)
    return jnp.concatenate([x[:, :hops], x[:, : x.shape[1] - hops]], axis=1)


def _inner(error_Bt: jax.Array) -> jax.Array:
    """Errors of the frames that have two neighbours, 0 for the ends."""
    return jnp.pad(error_Bt, ((0, 0), (1, 1)))


def contrast(video_BTHWC: Video) -> Frames:
    """Standard deviation of each frame's pixels from its mean colour, -1..1, at least ``FLAT``."""
    away = video_BTHWC - video_BTHWC.mean((2, 3), keepdims=True)
    return jnp.maximum(jnp.sqrt((away**2).mean((2, 3, 4)) + 1e-12), FLAT)


# --- smoothness ----------------------------------------------------------------------------------


def acceleration(video_BTHWC: Video, script: Batch) -> Frames:
    """``|d[t+1] - 2 d[t] + d[t-1]|`` of each actor's way d from its scripted place, in frame
    widths a frame²: acceleration that the script does not ask for. Mean over actors.
    """
    if video_BTHWC.shape[1] < 3:
        return jnp.zeros(video_BTHWC.shape[:2])
    away, visible = entities(video_BTHWC, script)["away"], script["visible"]
    bend = away[:, 2:] - 2 * away[:, 1:-1] + away[:, :-2]
    valid = visible[:, 2:] * visible[:, 1:-1] * visible[:, :-2]
    return _inner(_over_actors(_length(bend), valid))


def interpolation(video_BTHWC: Video, script: Batch) -> Frames:
    """mean ``|x[t] - x̂[t]|`` over the mean contrast of the three frames, where x̂ are its
    neighbours moved along the flow between them and blended: the protocol of VBench's motion
    smoothness (Huang et al., 2024) with classical flow, which has no gradient.
    """
    if video_BTHWC.shape[1] < 3:
        return jnp.zeros(video_BTHWC.shape[:2])
    before, after = video_BTHWC[:, :-2], video_BTHWC[:, 2:]
    one = jnp.ones(before.shape[:2])
    near = meet(Neighbours(before, after, 0.5 * one, one, one))
    guess = 0.5 * (near.before + near.after)
    unit = contrast(video_BTHWC)
    unit = (unit[:, :-2] + unit[:, 1:-1] + unit[:, 2:]) / 3
    return _inner(jnp.abs(video_BTHWC[:, 1:-1] - guess).mean((2, 3, 4)) / unit)


def warping(video_BTHWC: Video, script: Batch) -> Frames:
    """mean ``|x[t] - W(x[t-1])|`` over the mean contrast of both frames, W along the flow between
    them (Lai et al., 2018). The flow has no gradient.
    """
    B, T, H, W, C = video_BTHWC.shape
    if T < 2:
        return jnp.zeros((B, T))
    now, then = (x.reshape(-1, H, W, C) for x in (video_BTHWC[:, 1:], video_BTHWC[:, :-1]))
    flow = estimate(*(0.5 + 0.5 * jax.lax.stop_gradient(x) for x in (now, then)))
    error = jnp.abs(now - warp(then, flow)[0]).mean((1, 2, 3)).reshape(B, T - 1)
    unit = contrast(video_BTHWC)
    return jnp.pad(error / (0.5 * (unit[:, 1:] + unit[:, :-1])), ((0, 0), (1, 0)))


# --- coherence -----------------------------------------------------------------------------------


def appearance(video_BTHWC: Video, script: Batch) -> Frames:
    """``|Δ colour| + |Δ log area|`` of each actor from frame to frame, less what its box asks for:
    colour in -1..1, areas by their logarithm. Mean over actors.
    """
    seen, visible = entities(video_BTHWC, script), script["visible"]
    size = script["boxes"][..., 2] * script["boxes"][..., 3]
    log_area = jnp.log(seen["area"]) - jnp.log(jnp.maximum(size, 1e-4))
    change = _length(seen["colour"] - _before(seen["colour"]))
    change = change + jnp.abs(log_area - _before(log_area))
    return _over_actors(change, visible * _before(visible))


def coherence(video_BTHWC: Video, script: Batch) -> Frames:
    """1 - ½ [cos(f[t], f[t-1]) + cos(f[t], f[0])], 0 to 2, of our own critic's features f (B,T,D)
    in ``script["features"]``: VBench's subject consistency without its foreign network.
    """
    f_BTD = script["features"]
    f_BTD = f_BTD / (jnp.sqrt((f_BTD**2).sum(-1, keepdims=True)) + 1e-6)
    near, first = (f_BTD * _before(f_BTD)).sum(-1), (f_BTD * f_BTD[:, :1]).sum(-1)
    return 1.0 - 0.5 * (near + first)


# --- what keeps both honest ----------------------------------------------------------------------


def motion(video_BTHWC: Video, script: Batch) -> Frames:
    """How far an actor's way over four frames is from the scripted one, over the length of that
    (at least 0.05 of the frame): 0 follows the script, 1 stands still. Mean over actors.
    """
    seen = entities(video_BTHWC, script)
    away, boxes = seen["away"], script["boxes"][..., :2]
    asked = _length(boxes - _before(boxes, WINDOW))
    missed = _length(away - _before(away, WINDOW)) / (asked + 0.05)
    hidden = _hidden(seen["area"], script)
    missed = missed + hidden * (1.0 - jnp.minimum(missed, 1.0))  # who is not seen does not move
    return _over_actors(missed, script["visible"] * _before(script["visible"], WINDOW))


def _hidden(area_BTN: jax.Array, script: Batch) -> jax.Array:
    """About 1 where nothing of an actor is seen, 0 where a third of its box or more is."""
    sizes = script["boxes"][..., 2:]
    return jnp.exp(-10 * area_BTN / jnp.maximum(sizes[..., 0] * sizes[..., 1], 1e-4))


def travel(video_BTHWC: Video, script: Batch) -> Frames:
    """How far an actor came in four frames along the way that the script asks for, in frame
    widths; backwards is negative. No reward but a measure of motion to which shaking adds nothing
    on average, where a plain distance counts it. Mean over actors.
    """
    boxes = script["boxes"][..., :2]
    seen = entities(video_BTHWC, script)
    place = seen["away"] + boxes
    came, asked = place - _before(place, WINDOW), boxes - _before(boxes, WINDOW)
    way = (came * asked).sum(-1) / _length(asked) * (1.0 - _hidden(seen["area"], script))
    return _over_actors(way, script["visible"] * _before(script["visible"], WINDOW))


def dynamics(video_BTHWC: Video, script: Batch) -> Frames:
    """``|log(d[t] / d_real[t])|``, d the mean ``|z[t] - z[t-1]|`` of the last four frames, z what
    differs from a frame's mean colour in units of its contrast, and d_real that of the real clip
    in ``script["real"]``: for clips without a script. Light that comes and goes is no motion.
    """

    def moved(video: jax.Array) -> jax.Array:
        away = video - video.mean((2, 3), keepdims=True)
        z = away / contrast(video)[:, :, None, None, None]
        step = jnp.abs(z - _before(z)).mean((2, 3, 4))
        steps = jnp.stack([step, *(_before(step, hops) for hops in range(1, WINDOW))])
        return steps.mean(0) + 3e-3

    if video_BTHWC.shape[1] < 2:
        return jnp.zeros(video_BTHWC.shape[:2])
    return jnp.abs(jnp.log(moved(video_BTHWC) / moved(script["real"])))


def critic(video_BTHWC: Video, script: Batch) -> Frames:
    """Minus the clip critic's logit of each frame, ``script["logits"]`` (B,T): realism (Adv-GRPO,
    2025).
    """
    return -script["logits"]


def agreement(video_BTHWC: Video, script: Batch) -> Frames:
    """Minus how much more real the clip critic finds a frame under its own conditions than under
    another example's, ``script["logits"] - script["wrong"]`` (B,T).
    """
    return script["wrong"] - script["logits"]


# --- controls: what must not be used -------------------------------------------------------------


def stillness(video_BTHWC: Video, script: Batch) -> Frames:
    """mean ``|x[t] - x[t-1]|`` in -1..1: VBench's temporal flickering. A control: its best clip is
    a still, and every measure of smoothness applauds.
    """
    return jnp.abs(video_BTHWC - _before(video_BTHWC)).mean((2, 3, 4))


def chance(video_BTHWC: Video, script: Batch) -> Frames:
    """A number in 0..1 that looks random: the fraction of 1e4 times a frame's mean. A control."""
    mean = video_BTHWC.mean((2, 3, 4)) * 1e4
    return mean - jnp.floor(mean)


REWARDS: dict[str, Reward] = {
    "acceleration": Reward(acceleration, (1, 1), scripted=True, least=2e-3),
    "interpolation": Reward(interpolation, (1, 1), least=5e-3),
    "warping": Reward(warping, (1, 0), least=5e-3),
    "appearance": Reward(appearance, (1, 0), scripted=True, least=0.02),
    "coherence": Reward(coherence, least=5e-3, critics=True),
    "motion": Reward(motion, (WINDOW, 0), scripted=True, least=0.1),
    "dynamics": Reward(dynamics, (WINDOW, 0), least=0.2),
    "critic": Reward(critic, least=0.1, critics=True),
    "agreement": Reward(agreement, least=0.1, critics=True),
    "stillness": Reward(stillness, (1, 0), least=0.01, saturates=False),
    "chance": Reward(chance, (0, 0), least=0.1, saturates=False, differentiable=False),
}


def measure_scale(reward: Reward, errors: Float[np.ndarray, "B T"]) -> tuple[float, float]:
    """q and s of a reward, from its errors on real clips; their first and last frames, which have
    nothing to say, do not count.
    """
    if not reward.saturates:
        return 0.0, reward.least
    inner = errors[:, 1:-1] if errors.shape[1] > 2 else errors
    middle, high = np.quantile(inner, (0.5, 0.9))
    return float(middle), float(max(high - middle, reward.least))


def score(
    name: str, video_BTHWC: Video, script: Batch, scale_2: Float[Array, "2"]
) -> Float[Array, "B T"]:
    """The reward of each frame, -10 to 0, by the formula above; 0 where it needs a script that the
    example has not.
    """
    reward = REWARDS[name]
    excess = jnp.maximum(reward.error(video_BTHWC, script) - scale_2[0], 0.0) / scale_2[1]
    value = -jnp.minimum(excess, WORST)
    if reward.scripted:
        value = value * script["visible"].max((1, 2))[:, None]
    return value
