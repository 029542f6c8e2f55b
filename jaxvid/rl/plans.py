"""Rewards of what a planner wrote: faults of its outline and of the script staged from it.

Each is a function of what was asked, what was read out of the prompt, and the staged script; it
names the slots at fault. A fault is worth -1 at the token that wrote the slot, so that the credit
goes to a word and those before it; what no word is at fault for (something is missing) counts at
the sentence's last word. Every term is 0 for what the prompt says, staged as it should be; none is
differentiable: they are learnt by samples.
"""

import itertools
import math
from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from jaxvid import grammar
from jaxvid.outline import ANY, TO, Outline, agree, roles, stated
from jaxvid.script import Actor, Script, Shot, path
from jaxvid.staging import HIDDEN, stage

Fault = Callable[[Outline, Outline, Script], Iterator[str]]
NOWHERE = ""  # the path of a fault that no slot is to blame for
BESIDE = 0.05  # of the frame, at least, between the centres of what is left of what
COURSE = math.cos(math.pi / 6)  # of the angle to where "towards" leads; eight ways are 22.5° apart
EDGE = 0.01  # of the frame: what sticks out by less is inside
_LOOKS, _HALF = np.linspace(0, 1, 16), np.linspace(0, 1, 8)  # of a shot, of each half


def unread(asked: Outline, read: Outline, script: Script) -> Iterator[str]:
    """Slots that the prompt states and the outline has not, or otherwise; other looks or takes."""
    found = stated(read)
    for at, value in stated(asked).items():
        if at not in found or not agree(value, found[at]):
            yield at
    if roles(asked) != roles(read):
        yield NOWHERE


def invented(asked: Outline, read: Outline, script: Script) -> Iterator[str]:
    """Slots that the outline states and the prompt leaves open: less freedom than was given."""
    said = stated(asked)
    yield from (at for at in stated(read) if at not in said)


def unrelated(asked: Outline, read: Outline, script: Script) -> Iterator[str]:
    """Relations that the prompt states and the boxes do not hold: behind, left of, towards..."""
    shots = _shots(script)
    for i, take in enumerate(asked.takes):
        if len(take.parts) < 2:
            continue
        wanted = {f"takes/{i}/{slot}": getattr(take, slot) for slot in ("depth", "side")}
        wanted |= {f"takes/{i}/parts/{n}/motion": p.motion for n, p in enumerate(take.parts)}
        routes = _routes(shots[i]) if i < len(shots) else {}
        cast = [routes.get(f"e{part.who}") for part in take.parts]
        for at, value in wanted.items():
            if at.endswith("motion") and value not in TO or value == ANY:
                continue
            if cast[0] is None or cast[1] is None or not _holds(at, value, cast[0], cast[1]):
                yield at


def outside(asked: Outline, read: Outline, script: Script) -> Iterator[str]:
    """Parts whose boxes leave the frame on their way."""
    for i, (take, shot) in enumerate(zip(read.takes, _shots(script), strict=True)):
        routes = _routes(shot)
        for n, part in enumerate(take.parts):
            box_T4 = routes[f"e{part.who}"].boxes_T4
            reach = np.abs(box_T4[:, :2] - 0.5) + box_T4[:, 2:] / 2
            if reach.max() > 0.5 + EDGE:
                yield f"takes/{i}/parts/{n}/motion"


def colliding(asked: Outline, read: Outline, script: Script) -> Iterator[str]:
    """Shots in which one actor hides more of another than may be (``staging.HIDDEN``)."""
    for i, shot in enumerate(_shots(script)):
        for pair in itertools.combinations(_routes(shot).values(), 2):
            back_T4, front_T4 = (r.boxes_T4 for r in sorted(pair, key=lambda route: route.z))
            reach_T2 = (back_T4[:, 2:] + front_T4[:, 2:]) / 2
            both_T2 = reach_T2 - np.abs(back_T4[:, :2] - front_T4[:, :2])
            both_T2 = np.clip(both_T2, 0, np.minimum(back_T4[:, 2:], front_T4[:, 2:]))
            hidden_T = both_T2.prod(1) / back_T4[:, 2:].prod(1)
            if hidden_T.mean() > HIDDEN[0] or hidden_T.max() > HIDDEN[1]:
                yield f"takes/{i}/side"


PLAN_REWARDS: dict[str, Fault] = {
    "unread": unread,
    "invented": invented,
    "unrelated": unrelated,
    "outside": outside,
    "colliding": colliding,
}


def plan_rewards(
    asked_BS: Int[np.ndarray, "B _"],
    read_NS: Int[np.ndarray, "N S"],
    index_B: Int[np.ndarray, "B"],
    *,
    names: tuple[str, ...],
) -> Float[np.ndarray, "N S R"]:
    """-1 for every fault, float32, of N sentences that were read from B prompts, N / B of each side
    by side. ``asked``, ``read``: tokens of ``grammar``. Sentences of a prompt are staged from one
    seed, its ``index``: the same sentence gets the same reward."""
    asked_BS = np.pad(asked_BS, ((0, 0), (0, grammar.LENGTH - asked_BS.shape[1])))
    group = len(read_NS) // len(asked_BS)
    found = np.zeros((*read_NS.shape, len(names)), np.float32)
    for b, (asked_S, index) in enumerate(zip(asked_BS, index_B, strict=True)):
        asked, known = grammar.decode(asked_S), dict[bytes, np.ndarray]()
        for n in range(b * group, (b + 1) * group):
            sentence = read_NS[n].tobytes()
            if sentence not in known:
                known[sentence] = _score(asked, read_NS[n], int(index), names)
            found[n] = known[sentence]
    return found


def _score(asked: Outline, read_S: np.ndarray, seed: int, names: tuple[str, ...]) -> np.ndarray:
    """(S, R) of one sentence."""
    read = grammar.decode(read_S)
    script = stage(read, seed)
    words = grammar.spell(read)
    places = {at: s for s, (_, _, at) in enumerate(words) if at}
    reward = np.zeros((len(read_S), len(names)), np.float32)
    for r, name in enumerate(names):
        for at in PLAN_REWARDS[name](asked, read, script):
            reward[places.get(at, len(words) - 1), r] -= 1.0
    return reward


def _shots(script: Script) -> list[Shot]:
    return [shot for scene in script.scenes for shot in scene.shots]


class Route(NamedTuple):
    """Of an entity through a shot: boxes (T,4) centre and size, where its first motion ends, z."""

    boxes_T4: np.ndarray
    turn_4: np.ndarray
    z: float


def _routes(shot: Shot) -> dict[str, Route]:
    """Of each entity of a staged shot, in order of first mention."""
    legs: dict[str, list[Actor]] = {}
    for actor in shot.actors:
        legs.setdefault(actor.entity, []).append(actor)
    found = {}
    for who, actors in legs.items():
        if len(actors) == 1:
            box_T4 = path(actors[0], np.minimum(_LOOKS / actors[0].exit, 1.0))
        else:
            box_T4 = np.concatenate([path(actor, _HALF) for actor in actors])
        found[who] = Route(box_T4, path(actors[0], np.ones(1))[0], actors[0].z)
    return found


def _holds(at: str, value: str, first: Route, second: Route) -> bool:
    """Whether the relation of ``at`` is there: the first part's to the second, or of part n."""
    if at.endswith("depth"):
        return first.z < second.z if value == "behind" else first.z > second.z
    gap = second.boxes_T4[0, :2] - first.boxes_T4[0, :2]
    if at.endswith("side"):
        way = {"left": (1, 0), "right": (-1, 0), "above": (0, 1), "below": (0, -1)}[value]
        return bool(gap @ np.array(way) > BESIDE)
    mover, other = (first, second) if at.endswith("0/motion") else (second, first)
    goal = other.boxes_T4[0, :2] - mover.boxes_T4[0, :2]
    step = mover.turn_4[:2] - mover.boxes_T4[0, :2]
    cosine = goal @ step / max(float(np.hypot(*goal) * np.hypot(*step)), 1e-9)
    return bool((cosine if value == "towards" else -cosine) > COURSE)
