"""The script (storyboard): a small typed document between the prompt and the pixels.

A script names the entities, the backgrounds, and where each actor is over time. A person can write
it as JSON, the planner decodes it, and ``tracks`` turns it into per-frame boxes: the one contract
with both renderers, the analytic one (``data.render``) and the learned one (``models.generator``).

The hints below are the format: ``jaxvid.document`` reads, checks, writes and describes by them.
Boxes in the document are ``[x, y, width, height]`` with the top left corner, in fractions of the
frame; ``tracks`` returns centres. Letters: T frames, N entities on screen.
"""

import itertools
import json
from dataclasses import dataclass
from typing import Annotated, Any, Literal, NamedTuple, NoReturn, get_args

import numpy as np

from jaxvid import document
from jaxvid.document import Json
from jaxvid.rules import Choice, Length, Pattern, Range, brief
from jaxvid.typing import UserError

VERSION = "jaxvid.script/1"
Kind = Literal["circle", "square", "triangle", "star", "diamond", "cross", "ring", "heart"]
Color = Literal["red", "orange", "yellow", "green", "cyan", "blue", "purple", "pink"]
Size = Literal["small", "medium", "large"]
Motion = Literal[
    "right",
    "left",
    "up",
    "down",
    "up_right",
    "up_left",
    "down_right",
    "down_left",
    "bounce",
    "orbit",
    "zoom_in",
    "zoom_out",
    "still",
    "path",
]
Camera = Literal["still", "pan_left", "pan_right", "pan_up", "pan_down", "zoom_in", "zoom_out"]
Transition = Literal["cut", "fade", "wipe"]

KINDS, COLORS, SIZES = get_args(Kind), get_args(Color), get_args(Size)
EXTENTS = {"small": 0.28, "medium": 0.4, "large": 0.56}  # width and height of the box
DIRECTIONS = {  # unit steps of the image plane, y downwards
    "right": (1, 0),
    "left": (-1, 0),
    "up": (0, -1),
    "down": (0, 1),
    "up_right": (1, -1),
    "up_left": (-1, -1),
    "down_right": (1, 1),
    "down_left": (-1, 1),
}
MOTIONS = tuple(motion for motion in get_args(Motion) if motion != "path")  # that have a name
CAMERAS, TRANSITIONS = get_args(Camera), get_args(Transition)
TONES = ("light", "dark", "warm", "cool")
PATTERNS = ("plain", "gradient", "grid", "noise")
BACKGROUNDS = tuple(f"{tone}_{pattern}" for pattern in PATTERNS for tone in TONES)
MAX_ACTORS = 2  # entities on screen in a shot
MAX_FRAMES = 4096  # in all
MAX_SHOTS = 256  # in all
IMAGES = ("png", "jpg", "jpeg", "webp", "gif", "bmp")
CLIPS = ("mp4", "webm", "mov", "mkv", "avi")

# What shows nothing, or turns what follows it around: control and format characters.
_UNSEEN = r"\x00-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff"


def _file(*kinds: str) -> Pattern:
    """A relative path that stays below the script's folder on every system."""
    ends = "|".join("".join(f"[{c}{c.upper()}]" if c.isalpha() else c for c in k) for k in kinds)
    inside = r"(?!/)(?!(?:[^/]*/)*\.\.(?:/|$))"
    words = f"a path below the script's folder, with / and no .., to a file {', '.join(kinds)}"
    return Pattern(rf"{inside}[^\\:{_UNSEEN}]+\.(?:{ends})", words)


Name = Annotated[str, Length(1, 64), Pattern(rf"[^{_UNSEEN}]+", "free of control characters")]
Text = Annotated[
    str,
    Pattern(
        r"[^\x00-\x08\x0b\x0c\x0e-\x1f\x7f]*", "free of control characters but tabs and new lines"
    ),
]
Share = Annotated[float, Range(0, 1)]
Byte = Annotated[int, Range(0, 255)]
Pixels = Annotated[int, Range(1, 4096)]
_Side = Annotated[float, Range(0, 1, slack=1e-6)]
Box = tuple[_Side, _Side, _Side, _Side]


@dataclass(frozen=True)
class Span:
    """Characters ``start`` to ``end`` of the prompt said the slot, such as ``entities/0/color``."""

    slot: Annotated[
        str, Length(1, 200), Pattern(r"[A-Za-z0-9_/]+", "a path such as scenes/0/background")
    ]
    start: Annotated[int, Range(0, 4096), Json("from")]
    end: Annotated[int, Range(0, 4096), Json("to")]


@dataclass(frozen=True)
class Entity:
    """Something that can be on screen. Ids are unique in a script, by custom e0, e1..."""

    id: Name
    kind: Kind
    color: Color
    size: Size
    description: Annotated[Text, Length(0, 1000), "more of its looks, in free words"] = ""
    ref: Annotated[
        Annotated[str, Length(1, 255), _file(*IMAGES)] | None,
        "what it looks like: an image file beside the script",
    ] = None


@dataclass(frozen=True)
class Key:
    """Where an actor with a path of its own is at ``t``, 0 to 1 of its stretch of the shot."""

    t: Share
    box: Box


@dataclass(frozen=True)
class Actor:
    """An entity in a shot: how it moves from box to box, and when.

    It is on screen from ``enter`` to ``exit``, shares of the shot. With u from 0 to 1 over that
    stretch and a, b the centres of ``start`` and ``end``, which JSON names from and to, it is at
        directions, zooms:  a + u (b - a)
        bounce:             a + |sin 2 pi u| (b - a)       two hops, b is the highest point
        orbit:              b + R(2 pi u) (a - b)          one clockwise turn about b
        still:              a
        path:               on the straight lines between the boxes of ``keys``
    Width and height go linearly from ``start`` to ``end``. An entity that does one thing after the
    other is several actors whose stretches do not overlap. ``z`` orders depth, larger is nearer.
    """

    entity: Name
    motion: Motion
    start: Annotated[Box, Json("from", unless=("keys", lambda keys: keys[0].box))]
    end: Annotated[Box, Json("to", unless=("keys", lambda keys: keys[-1].box))]
    z: Annotated[int, Range(-1000, 1000), "depth; the larger is nearer"] = 0
    enter: Annotated[Share, "share of the shot at which it comes on screen"] = 0.0
    exit: Annotated[Share, "share of the shot at which it has left"] = 1.0
    keys: Annotated[
        tuple[Key, ...], Length(2, 4096), "of a path, the first at t 0 and the last at 1"
    ] = ()


@dataclass(frozen=True)
class Fill:
    """A background of one colour, sRGB."""

    color: tuple[Byte, Byte, Byte]


@dataclass(frozen=True)
class Picture:
    """A background from an image or clip beside the script."""

    image: Annotated[str, Length(1, 255), _file(*IMAGES, *CLIPS)]


@dataclass(frozen=True)
class Shot:
    """A run of frames without a cut."""

    frames: Annotated[int, Range(1, MAX_FRAMES)]
    actors: Annotated[
        tuple[Actor, ...], Length(0, 16), f"at most {MAX_ACTORS} different entities"
    ] = ()
    camera: Camera = "still"
    transition: Annotated[Transition, "to the next shot"] = "cut"
    narration: Annotated[Text, Length(0, 1000), "spoken or shown over the shot"] = ""


@dataclass(frozen=True)
class Scene:
    """Shots before one background: its name, <tone>_<pattern>, or a colour, or a file."""

    background: Annotated[str, Choice(BACKGROUNDS)] | Fill | Picture
    shots: Annotated[tuple[Shot, ...], Length(1, MAX_SHOTS)]


@dataclass(frozen=True)
class Script:
    """The whole document of a video: who is on screen, where, when, in front of what."""

    entities: Annotated[tuple[Entity, ...], Length(0, 64)]
    scenes: Annotated[tuple[Scene, ...], Length(1, 64)]
    fps: Annotated[float, Range(0.1, 240), Json(always=True), "frames a second"] = 8.0
    size: Annotated[tuple[Pixels, Pixels], Json(always=True), "height, width; pixels"] = (32, 32)
    prompt: Annotated[Text, Length(0, 4096), "what it was made from"] = ""
    spans: Annotated[tuple[Span, ...], Length(0, 4096), "what the prompt said where"] = ()
    version: Annotated[str, Choice((VERSION,)), Json(always=True)] = VERSION

    def __post_init__(self) -> None:
        validate(self)

    @property
    def frames(self) -> int:
        """Frames of all shots together."""
        return sum(shot.frames for scene in self.scenes for shot in scene.shots)


class Tracks(NamedTuple):
    """A shot as arrays, its entities sorted back to front and padded to N; see ``tracks``."""

    boxes_TN4: np.ndarray
    visible_TN: np.ndarray
    attributes_N3: np.ndarray
    background: np.ndarray


def _fail(path: str, problem: str) -> NoReturn:
    raise UserError(f"script: {path}: {problem}")


def _check_version(version: object) -> None:
    if version != VERSION:
        problem = f"this jaxvid reads {VERSION!r}; update jaxvid for a newer one"
        _fail("version", f"{brief(version)} is not readable here; {problem}")


def validate(script: Script) -> None:
    """Raises UserError naming the path and the fix where the document does not hold together."""
    _check_version(script.version)
    document.check(script, name="script")
    ids: set[str] = set()
    for i, entity in enumerate(script.entities):
        if entity.id in ids:
            shown = brief(entity.id)
            _fail(f"entities[{i}].id", f"{shown} is used twice; give each entity its own id")
        ids.add(entity.id)
    for i, scene in enumerate(script.scenes):
        for j, shot in enumerate(scene.shots):
            _validate_shot(shot, ids, f"scenes[{i}].shots[{j}].actors")
    if (shots := sum(len(scene.shots) for scene in script.scenes)) > MAX_SHOTS:
        _fail("scenes", f"{shots} shots in all; at most {MAX_SHOTS}")
    if script.frames > MAX_FRAMES:
        _fail("scenes", f"{script.frames} frames in all; at most {MAX_FRAMES}")


def _validate_shot(shot: Shot, ids: set[str], path: str) -> None:
    for k, actor in enumerate(shot.actors):
        if actor.entity not in ids:
            shown = brief(actor.entity)
            _fail(f"{path}[{k}].entity", f"no entity has the id {shown}; add it to entities")
        if actor.enter >= actor.exit:
            _fail(f"{path}[{k}].exit", f"{actor.exit} must be over enter, {actor.enter}")
        boxes = [(f"keys[{n}].box", key.box) for n, key in enumerate(actor.keys)]
        for key, (x, y, w, h) in boxes or [("from", actor.start), ("to", actor.end)]:
            if min(w, h) < 1e-3 or max(x + w, y + h) > 1 + 1e-6:
                shown = f"[{x:g}, {y:g}, {w:g}, {h:g}]"
                _fail(f"{path}[{k}].{key}", f"{shown} must have a size and lie inside the frame")
        if (actor.motion == "path") != bool(actor.keys):
            _fail(f"{path}[{k}].keys", "needed by the motion 'path' and by no other")
        times = [key.t for key in actor.keys]
        rising = all(a < b for a, b in itertools.pairwise(times))
        if times and not (rising and times[0] == 0 and times[-1] == 1):
            _fail(f"{path}[{k}].keys", "their t must rise from 0 to 1")
    stretches = _by_entity(shot)
    if len(stretches) > MAX_ACTORS:
        _fail(path, f"{len(stretches)} different entities; at most {MAX_ACTORS} in a shot")
    for actors in stretches.values():
        who = brief(actors[0].entity)
        if len({actor.z for actor in actors}) > 1:
            _fail(path, f"{who} changes its z; give it one in the whole shot")
        if any(a.exit > b.enter for a, b in itertools.pairwise(actors)):
            _fail(path, f"{who} is on screen twice at a time; let one exit before the other enters")


def _by_entity(shot: Shot) -> dict[str, list[Actor]]:
    """The stretches of each entity in order of time; entities in order of first mention."""
    found: dict[str, list[Actor]] = {}
    for actor in shot.actors:
        found.setdefault(actor.entity, []).append(actor)
    return {who: sorted(actors, key=lambda actor: actor.enter) for who, actors in found.items()}


def tracks(script: Script, scene: int = 0, shot: int = 0, *, frames: int | None = None) -> Tracks:
    """Per-frame boxes and attributes of one shot; ``frames`` resamples it to another length.

    Returns:
      boxes_TN4: float32, centre x, centre y, width, height; where an entity is not on screen the
        box that is next in time.
      visible_TN: float32, 1 where it is: enter <= u < exit, u = t / (T - 1); at u = 1 if exit is 1.
      attributes_N3: int32, kind, colour, size: 1 + place in KINDS, COLORS, SIZES; 0 without entity.
      background: int32, 1 + place in BACKGROUNDS; 0 for a Fill or Picture.
    Entities are sorted by z, back to front; those of one depth as they are first mentioned.

    Raises UserError for ``frames`` below 1.
    """
    place, cut = script.scenes[scene], script.scenes[scene].shots[shot]
    T = cut.frames if frames is None else frames
    if T < 1:
        raise UserError(f"tracks: frames is {T}; it must be 1 or more")
    u_T = np.linspace(0.0, 1.0, T)
    boxes = np.zeros((T, MAX_ACTORS, 4), np.float32)
    visible = np.zeros((T, MAX_ACTORS), np.float32)
    attributes = np.zeros((MAX_ACTORS, 3), np.int32)
    entities = {entity.id: entity for entity in script.entities}
    rows = sorted(_by_entity(cut).items(), key=lambda row: row[1][0].z)
    for n, (who, actors) in enumerate(rows):
        boxes[:, n], visible[:, n] = _route(actors, u_T)
        entity = entities[who]
        attributes[n] = (
            1 + KINDS.index(entity.kind),
            1 + COLORS.index(entity.color),
            1 + SIZES.index(entity.size),
        )
    name = place.background
    background = np.int32(1 + BACKGROUNDS.index(name) if isinstance(name, str) else 0)
    return Tracks(boxes, visible, attributes, np.asarray(background))


def _route(actors: list[Actor], u_T: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Boxes (T, 4) and visibility (T,) of one entity's stretches, in order of time."""
    box_T4, visible_T = np.zeros((len(u_T), 4)), np.zeros(len(u_T))
    nearest_T = np.full(len(u_T), np.inf)
    for actor in actors:
        away_T = np.maximum(np.maximum(actor.enter - u_T, u_T - actor.exit), 0)
        own_T = away_T <= nearest_T + 1e-9  # where one ends, the next begins: it is the next's
        within_T = np.clip((u_T - actor.enter) / (actor.exit - actor.enter), 0, 1)
        box_T4[own_T] = path(actor, within_T)[own_T]
        nearest_T = np.minimum(nearest_T, away_T)
        visible_T[(actor.enter <= u_T + 1e-9) & ((u_T + 1e-9 < actor.exit) | (actor.exit == 1))] = 1
    return box_T4, visible_T


def path(actor: Actor, u_T: np.ndarray) -> np.ndarray:
    """Centre x, centre y, width, height at times ``u_T``, 0 to 1 of its stretch; see ``Actor``.

    Shape (T, 4).
    """
    start, end = _centred(actor.start), _centred(actor.end)
    if actor.motion == "path":
        times, boxes_K4 = zip(*((key.t, _centred(key.box)) for key in actor.keys), strict=True)
        return np.stack([np.interp(u_T, times, side) for side in np.transpose(boxes_K4)], axis=1)
    box_T4 = start + u_T[:, None] * (end - start)
    if actor.motion == "bounce":
        hop_T1 = np.abs(np.sin(2 * np.pi * u_T))[:, None]
        box_T4[:, :2] = start[:2] + hop_T1 * (end[:2] - start[:2])
    elif actor.motion == "orbit":
        cos_T, sin_T = np.cos(2 * np.pi * u_T), np.sin(2 * np.pi * u_T)
        dx, dy = start[:2] - end[:2]
        box_T4[:, 0] = end[0] + dx * cos_T - dy * sin_T
        box_T4[:, 1] = end[1] + dx * sin_T + dy * cos_T
    elif actor.motion == "still":
        box_T4[:, :2] = start[:2]
    return box_T4


def _centred(box: Box) -> np.ndarray:
    x, y, w, h = box
    return np.array([x + w / 2, y + h / 2, w, h])


def to_json(script: Script, *, indent: int | None = 1) -> str:
    """The document as JSON; ``from_json(to_json(s)) == s``.

    Raises UserError for a script whose JSON is longer than ``from_json`` reads.
    """
    fields = document.dump(script)
    first = {key: fields.pop(key) for key in ("version", "fps", "size")}  # as people read it
    text = json.dumps({**first, **fields}, indent=indent, ensure_ascii=False)
    if len(text) > document.MAX_TEXT:
        limit = f"at most {document.MAX_TEXT:,}; make it several scripts"
        raise UserError(f"script: {len(text)} characters of JSON; {limit}")
    return text


def from_json(text: str) -> Script:
    """Reads a document. Raises UserError with the path and the fix for anything that is not one."""
    fields = document.parse(text, name="script")
    if isinstance(fields, dict):  # before the keys, which a newer version may have more of
        _check_version(fields.get("version", VERSION))
    return document.load(Script, fields, name="script")


def schema() -> dict[str, Any]:
    """The format as JSON Schema (2020-12), for editors and for language models that write scripts.

    ``script.schema.json`` is it. What it refuses, ``from_json`` refuses too; that also knows what
    holds between fields: ids, stretches, sizes of boxes.
    """
    return document.schema(Script)
