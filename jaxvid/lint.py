"""What a valid script surely does not mean: motions that go elsewhere, things that nobody sees.

``script.validate`` refuses what cannot be filmed; what can be filmed and still looks like a slip of
the pen is found here. Letters: T frames, N entities on screen, P points.
"""

import dataclasses
import itertools
from collections.abc import Iterator

import numpy as np

from jaxvid import document, shapes
from jaxvid.camera import windows
from jaxvid.rules import brief
from jaxvid.script import DIRECTIONS, KINDS, Actor, Script, Shot, path, tracks

LEAST_TRAVEL = 0.03  # of the frame, about a pixel of 32: less is no movement
LEAST_ZOOM = 1.1  # ratio of the sides; less is no zoom
OFF_COURSE = 45.0  # degrees from the direction that a motion is named after
SPEED = 20.0  # characters of narration that can be read in a second
MIX = 2  # frames that a fade or wipe needs of the next shot
_EDGE = 0.01  # of the frame: who sticks out by less is inside
_LOOKS = 17  # moments at which a shot is looked at
_U = np.linspace(0, 1, 65)
_GRID = np.linspace(-0.95, 0.95, 15)


@dataclasses.dataclass(frozen=True)
class Finding:
    """Something that looks wrong: where, what, and what to do about it."""

    path: str
    problem: str
    fix: str

    def __str__(self) -> str:
        return f"{self.path}: {self.problem}; {self.fix}"


def lint(script: Script) -> list[Finding]:
    """What a valid script surely does not mean, in the order of the document; empty if nothing."""
    found = [*_unused(script)]
    shots = [
        (f"scenes[{i}].shots[{j}]", i, j, shot)
        for i, scene in enumerate(script.scenes)
        for j, shot in enumerate(scene.shots)
    ]
    for n, (at, i, j, shot) in enumerate(shots):
        for k, actor in enumerate(shot.actors):
            found += _actor(actor, shot, f"{at}.actors[{k}]")
        found += _hidden(script, i, j, f"{at}.actors")
        found += _transition(shot, shots[n + 1][3] if n + 1 < len(shots) else None, at)
        found += _narration(shot, script.fps, at)
    return [*found, *_spans(script)]


def _unused(script: Script) -> Iterator[Finding]:
    shown = {
        actor.entity for scene in script.scenes for shot in scene.shots for actor in shot.actors
    }
    for i, entity in enumerate(script.entities):
        if entity.id not in shown:
            yield Finding(f"entities[{i}]", "no shot shows it", "give it an actor or remove it")
        if entity.ref:
            problem = "films show its kind and colour, not the picture"
            yield Finding(f"entities[{i}].ref", problem, "leave it out, or keep it for others")


def _actor(actor: Actor, shot: Shot, at: str) -> Iterator[Finding]:
    u_T = np.linspace(0, 1, shot.frames)
    on_T = (actor.enter <= u_T + 1e-9) & ((u_T + 1e-9 < actor.exit) | (actor.exit == 1))
    if not on_T.any():  # as tracks has it
        yield Finding(at, f"none of the {shot.frames} frames shows it", "let it exit later")
    elif when := _out_of_view(actor, shot, u_T, on_T):
        problem = f"the camera, {shot.camera}, does not see it {when}"
        yield Finding(at, problem, "move its boxes towards the middle or use another camera")
    box_T4 = path(actor, _U)
    centre_T2, reach_T2 = box_T4[:, :2], box_T4[:, 2:] / 2
    over = max((reach_T2 - centre_T2).max(), (centre_T2 + reach_T2).max() - 1)
    if over > _EDGE:
        problem = f"the {actor.motion} leaves the frame by {over:.2f}"
        yield Finding(at, problem, "move its boxes inwards or closer together")
    if wrong := _motion(actor, box_T4):
        yield Finding(f"{at}.motion", *wrong)


def _out_of_view(actor: Actor, shot: Shot, u_T: np.ndarray, on_T: np.ndarray) -> str:
    """When the camera looks past it: all the time, or, who is there all the time and does not
    shrink away, where a zoom ends; "" if it does not."""
    box_T4 = path(actor, np.clip((u_T - actor.enter) / (actor.exit - actor.enter), 0, 1))
    window_T3 = windows(shot.camera, shot.frames)
    gap_T2 = np.abs(box_T4[:, :2] - window_T3[:, :2])
    seen_T = on_T & (gap_T2 < (box_T4[:, 2:] + window_T3[:, 2:]) / 2).all(1)
    if not seen_T.any():
        return "at any time"
    stays = on_T.all() and actor.motion != "zoom_out"
    return "at the end" if shot.camera == "zoom_in" and stays and not seen_T[-1] else ""


def _motion(actor: Actor, box_T4: np.ndarray) -> tuple[str, str] | None:
    """Problem and fix where the boxes do not do what the motion's name says."""
    if actor.motion == "path":
        far_2, ratio_2 = np.ptp(box_T4[:, :2], axis=0), box_T4[:, 2:].max(0) / box_T4[:, 2:].min(0)
        if far_2.max() < LEAST_TRAVEL and ratio_2.max() < LEAST_ZOOM:
            return "the path goes nowhere", "use still, or set its keys further apart"
        return None
    (ax, ay, aw, ah), (bx, by, bw, bh) = actor.start, actor.end
    step = np.array([bx + bw / 2 - ax - aw / 2, by + bh / 2 - ay - ah / 2])
    travel, ratio = float(np.hypot(*step)), float(np.sqrt(bw * bh / (aw * ah)))
    name = actor.motion
    if name in ("zoom_in", "zoom_out"):
        grows = ratio if name == "zoom_in" else 1 / ratio
        if grows < 1 / LEAST_ZOOM:
            other = "zoom_out" if name == "zoom_in" else "zoom_in"
            return f"{name}, but it does the opposite", f"use {other} or swap from and to"
        if grows < LEAST_ZOOM:
            return f"{name}, but its size hardly changes", "make from and to differ more"
    elif name == "still":
        if travel >= LEAST_TRAVEL:
            return "still, but to is elsewhere than from", "name the motion or make both one"
        if max(ratio, 1 / ratio) >= LEAST_ZOOM:
            return "still, but its size changes", "use zoom_in or zoom_out"
    elif travel < LEAST_TRAVEL:
        return f"{name}, but it hardly moves", "set from and to further apart or use still"
    elif name == "bounce" and step[1] >= 0:
        return "bounce, but its highest point is not above it", "let to be above from"
    elif name in DIRECTIONS:
        units = {way: np.array(unit) / np.hypot(*unit) for way, unit in DIRECTIONS.items()}
        if units[name] @ step < np.cos(np.radians(OFF_COURSE)) * travel - 1e-6:
            goes = max(units, key=lambda way: units[way] @ step)
            return f"{name}, but it goes {goes}", f"use {goes} or change from and to"
    return None


def _hidden(script: Script, i: int, j: int, at: str) -> Iterator[Finding]:
    """Whether, at every moment looked at, the front entity covers all of the one at the back."""
    shot = script.scenes[i].shots[j]
    rows = tracks(script, i, j, frames=min(shot.frames, _LOOKS))
    order = sorted(shot.actors, key=lambda actor: actor.z)
    ids = list(dict.fromkeys(actor.entity for actor in order))  # of the rows
    pictured = {entity.id for entity in script.entities if entity.ref}
    for back, front in itertools.combinations(range(len(ids)), 2):
        seen_T, covers_T = rows.visible_TN[:, back] > 0, rows.visible_TN[:, front] > 0
        if not seen_T.any() or (seen_T & ~covers_T).any() or pictured & {ids[back], ids[front]}:
            continue  # nobody knows what a picture leaves free
        (kind, box_T4), (other, other_T4) = (
            (KINDS[rows.attributes_N3[n, 0] - 1], rows.boxes_TN4[seen_T, n]) for n in (back, front)
        )
        if _covered(kind, box_T4, other, other_T4):
            problem = f"{brief(ids[front])} hides {brief(ids[back])} all the time"
            yield Finding(at, problem, "set their boxes apart or swap their z")


def _covered(back: str, back_T4: np.ndarray, front: str, front_T4: np.ndarray) -> bool:
    """Whether no point inside the back shape is outside of the front shape, in any frame."""
    x_PP, y_PP = np.meshgrid(_GRID, _GRID)
    inside = shapes.signed_distance(back, x_PP, y_PP) <= 0
    place_TP2 = back_T4[:, None, :2] + np.stack([x_PP, y_PP], -1)[inside] * back_T4[:, None, 2:] / 2
    x_TP, y_TP = np.moveaxis(
        (place_TP2 - front_T4[:, None, :2]) / (front_T4[:, None, 2:] / 2), 2, 0
    )
    return bool((shapes.signed_distance(front, x_TP, y_TP) <= 0).all())


def _transition(shot: Shot, after: Shot | None, at: str) -> Iterator[Finding]:
    if shot.transition == "cut":
        return
    if after is None:
        problem = f"{shot.transition} to nothing, for no shot follows"
        yield Finding(f"{at}.transition", problem, "use cut")
    elif after.frames < MIX:
        problem = f"the next shot is too short for a {shot.transition}"
        yield Finding(f"{at}.transition", problem, f"give that {MIX} frames or more, or cut")


def _narration(shot: Shot, fps: float, at: str) -> Iterator[Finding]:
    seconds = shot.frames / fps
    if len(shot.narration) > SPEED * seconds:
        problem = f"{len(shot.narration)} characters cannot be read in {seconds:.1f} s"
        frames = int(np.ceil(len(shot.narration) / SPEED * fps))
        yield Finding(f"{at}.narration", problem, f"shorten it or give the shot {frames} frames")


def _spans(script: Script) -> Iterator[Finding]:
    for i, span in enumerate(script.spans):
        if not span.start < span.end <= len(script.prompt):
            problem = f"{span.start} to {span.end} is no part of {len(script.prompt)} characters"
            yield Finding(
                f"spans[{i}]", problem, "count characters of the prompt, to being over from"
            )
        if not _leads_somewhere(script, span.slot):
            problem = f"{brief(span.slot)} is no slot of this script"
            yield Finding(f"spans[{i}].slot", problem, "name one, such as entities/0/color")


def _leads_somewhere(script: Script, slot: str) -> bool:
    at: object = script
    for part in slot.split("/"):
        if isinstance(at, tuple):
            if not part.isdecimal() or int(part) >= len(at):
                return False
            at = at[int(part)]
        elif dataclasses.is_dataclass(at) and part in (fields := document.names(type(at))):
            at = getattr(at, fields[part])
        else:
            return False
    return True
