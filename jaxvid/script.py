"""The script (storyboard): a small typed document between the prompt and the pixels.

A script names the entities, the background, and where each actor is over time. A person can write
it as JSON, the planner decodes it, and ``tracks`` turns it into per-frame boxes: the one contract
with both renderers, the analytic one (``data.render``) and the learned one (``models.generator``).

Boxes in the document are ``[x, y, width, height]`` with the top left corner, in fractions of the
frame; ``tracks`` returns centres. Letters: T frames, N actors.
"""

import dataclasses
import json
import math
from typing import Any, NamedTuple, NoReturn

import numpy as np

from jaxvid.typing import UserError

VERSION = "jaxvid.script/1"
KINDS = ("circle", "square", "triangle", "star", "diamond", "cross", "ring", "heart")
COLORS = ("red", "orange", "yellow", "green", "cyan", "blue", "purple", "pink")
SIZES = ("small", "medium", "large")
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
MOTIONS = (*DIRECTIONS, "bounce", "orbit", "zoom_in", "zoom_out", "still")
TONES = ("light", "dark", "warm", "cool")
PATTERNS = ("plain", "gradient", "grid", "noise")
BACKGROUNDS = tuple(f"{tone}_{pattern}" for pattern in PATTERNS for tone in TONES)
MAX_ACTORS = 2
MAX_FRAMES = 4096
MAX_ID = 64  # characters

Box = tuple[float, float, float, float]


@dataclasses.dataclass(frozen=True)
class Entity:
    """Something that can be on screen. Ids are unique in a script, by custom ``e0``, ``e1``..."""

    id: str
    kind: str
    color: str
    size: str


@dataclasses.dataclass(frozen=True)
class Actor:
    """An entity in a shot: how it moves from box to box. ``z`` orders depth, larger is nearer.

    With u from 0 (first frame) to 1 (last) and a, b the centres of ``start`` and ``end``, it is at
        directions, zooms:  a + u (b - a)
        bounce:             a + |sin 2 pi u| (b - a)       two hops, b is the highest point
        orbit:              b + R(2 pi u) (a - b)          one clockwise turn about b
        still:              a
    Width and height go linearly from ``start`` to ``end``. JSON names them ``from`` and ``to``.
    """

    entity: str
    motion: str
    start: Box
    end: Box
    z: int = 0


@dataclasses.dataclass(frozen=True)
class Shot:
    """A run of frames without a cut."""

    frames: int
    actors: tuple[Actor, ...] = ()


@dataclasses.dataclass(frozen=True)
class Scene:
    """Shots before one background, named ``<tone>_<pattern>``, for example ``dark_grid``."""

    background: str
    shots: tuple[Shot, ...]


@dataclasses.dataclass(frozen=True)
class Script:
    """The whole document. ``fps`` in frames a second, ``size`` as (height, width) in pixels."""

    entities: tuple[Entity, ...]
    scenes: tuple[Scene, ...]
    fps: float = 8.0
    size: tuple[int, int] = (32, 32)
    version: str = VERSION

    def __post_init__(self) -> None:
        validate(self)

    @property
    def frames(self) -> int:
        """Frames of all shots together."""
        return sum(shot.frames for scene in self.scenes for shot in scene.shots)


class Tracks(NamedTuple):
    """A shot as arrays, actors sorted back to front and padded to N; see the legend of Batch."""

    boxes_TN4: np.ndarray
    visible_TN: np.ndarray
    attributes_N3: np.ndarray
    background: np.ndarray


def _fail(path: str, problem: str) -> NoReturn:
    raise UserError(f"script: {path}: {problem}")


def _brief(value: object) -> str:
    """What a document says, in a message of one short line."""
    text = ascii(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _one_of(value: object, choices: tuple[str, ...], path: str) -> None:
    if value not in choices:
        _fail(path, f"{_brief(value)} is not known; use one of {', '.join(choices)}")


def _check_version(version: object) -> None:
    if version != VERSION:
        problem = f"this jaxvid reads {VERSION!r}; update jaxvid for a newer one"
        _fail("version", f"{_brief(version)} is not readable here; {problem}")


def validate(script: Script) -> None:
    """Raises UserError naming the path and the fix where the document does not hold together."""
    _check_version(script.version)
    if not (math.isfinite(script.fps) and 0 < script.fps <= 240):
        _fail("fps", f"{script.fps} must be over 0 and at most 240")
    if len(script.size) != 2 or not all(1 <= side <= 4096 for side in script.size):
        _fail("size", f"{script.size} must be height and width from 1 to 4096")
    ids: set[str] = set()
    for i, entity in enumerate(script.entities):
        if not (0 < len(entity.id) <= MAX_ID and entity.id.isprintable()):
            _fail(f"entities[{i}].id", f"must be 1 to {MAX_ID} printable characters")
        if entity.id in ids:
            _fail(f"entities[{i}].id", f"{entity.id!r} is used twice; give each entity its own id")
        ids.add(entity.id)
        _one_of(entity.kind, KINDS, f"entities[{i}].kind")
        _one_of(entity.color, COLORS, f"entities[{i}].color")
        _one_of(entity.size, SIZES, f"entities[{i}].size")
    if not script.scenes or not all(scene.shots for scene in script.scenes):
        _fail("scenes", "needs at least one scene with one shot")
    for i, scene in enumerate(script.scenes):
        _one_of(scene.background, BACKGROUNDS, f"scenes[{i}].background")
        for j, shot in enumerate(scene.shots):
            _validate_shot(shot, ids, f"scenes[{i}].shots[{j}]")
    if script.frames > MAX_FRAMES:
        _fail("scenes", f"{script.frames} frames in all; at most {MAX_FRAMES}")


def _validate_shot(shot: Shot, ids: set[str], path: str) -> None:
    if not 1 <= shot.frames <= MAX_FRAMES:
        _fail(f"{path}.frames", f"{shot.frames} must be from 1 to {MAX_FRAMES}")
    if len(shot.actors) > MAX_ACTORS:
        _fail(f"{path}.actors", f"{len(shot.actors)} actors; at most {MAX_ACTORS}")
    for k, actor in enumerate(shot.actors):
        if actor.entity not in ids:
            _fail(f"{path}.actors[{k}].entity", f"no entity has the id {_brief(actor.entity)}")
        if [other.entity for other in shot.actors].count(actor.entity) > 1:
            _fail(f"{path}.actors[{k}].entity", f"{actor.entity!r} is in this shot twice")
        _one_of(actor.motion, MOTIONS, f"{path}.actors[{k}].motion")
        for name, box in (("from", actor.start), ("to", actor.end)):
            if len(box) != 4 or not all(math.isfinite(v) for v in box):
                _fail(f"{path}.actors[{k}].{name}", "must be four finite numbers [x, y, w, h]")
            x, y, w, h = box
            if w <= 0 or h <= 0 or min(x, y) < -1e-6 or max(x + w, y + h) > 1 + 1e-6:
                _fail(
                    f"{path}.actors[{k}].{name}", f"{list(box)} must lie inside the frame, 0 to 1"
                )


def tracks(script: Script, scene: int = 0, shot: int = 0, *, frames: int | None = None) -> Tracks:
    """Per-frame boxes and attributes of one shot; ``frames`` resamples it to another length."""
    place, cut = script.scenes[scene], script.scenes[scene].shots[shot]
    T = frames or cut.frames
    u_T = np.linspace(0.0, 1.0, T) if T > 1 else np.zeros(1)
    boxes = np.zeros((T, MAX_ACTORS, 4), np.float32)
    visible = np.zeros((T, MAX_ACTORS), np.float32)
    attributes = np.zeros((MAX_ACTORS, 3), np.int32)
    entities = {entity.id: entity for entity in script.entities}
    for n, actor in enumerate(sorted(cut.actors, key=lambda actor: actor.z)):
        entity = entities[actor.entity]
        boxes[:, n] = path(actor, u_T)
        visible[:, n] = 1.0
        attributes[n] = (
            1 + KINDS.index(entity.kind),
            1 + COLORS.index(entity.color),
            1 + SIZES.index(entity.size),
        )
    background = np.int32(1 + BACKGROUNDS.index(place.background))
    return Tracks(boxes, visible, attributes, np.asarray(background))


def path(actor: Actor, u_T: np.ndarray) -> np.ndarray:
    """Centre x, centre y, width, height at times ``u_T`` in [0, 1], shape (T, 4); see ``Actor``."""
    start, end = (np.array([x + w / 2, y + h / 2, w, h]) for x, y, w, h in (actor.start, actor.end))
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


def to_json(script: Script, *, indent: int | None = 1) -> str:
    """The document as JSON; ``from_json(to_json(s)) == s``."""

    def actor(a: Actor) -> dict[str, Any]:
        box = {"from": list(a.start), "to": list(a.end)}
        return {"entity": a.entity, "motion": a.motion, **box, "z": a.z}

    scenes = [
        {
            "background": scene.background,
            "shots": [
                {"frames": shot.frames, "actors": [actor(a) for a in shot.actors]}
                for shot in scene.shots
            ],
        }
        for scene in script.scenes
    ]
    document = {
        "version": script.version,
        "fps": script.fps,
        "size": list(script.size),
        "entities": [dataclasses.asdict(entity) for entity in script.entities],
        "scenes": scenes,
    }
    return json.dumps(document, indent=indent, ensure_ascii=False)


def from_json(text: str) -> Script:
    """Reads a document. Raises UserError with the path and the fix for anything that is not one."""
    if len(text) > 1_000_000:
        raise UserError(f"script: {len(text)} characters of JSON; at most 1,000,000")
    try:
        document = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise UserError(f"script: not valid JSON: {error}") from None
    if isinstance(document, dict):  # before the keys, which a newer version may have more of
        _check_version(document.get("version", VERSION))
    top = _fields(document, "", {"entities", "scenes"}, {"version", "fps", "size"})
    entities = []
    for i, item in enumerate(_list(top["entities"], "entities")):
        fields = _fields(item, f"entities[{i}]", {"id", "kind", "color", "size"}, set())
        texts = {key: _text(value, f"entities[{i}].{key}") for key, value in fields.items()}
        entities.append(Entity(**texts))
    scenes = []
    for i, item in enumerate(_list(top["scenes"], "scenes")):
        fields = _fields(item, f"scenes[{i}]", {"background", "shots"}, set())
        shots = [
            _shot(shot, f"scenes[{i}].shots[{j}]")
            for j, shot in enumerate(_list(fields["shots"], f"scenes[{i}].shots"))
        ]
        background = _text(fields["background"], f"scenes[{i}].background")
        scenes.append(Scene(background, tuple(shots)))
    size = [_whole(side, "size") for side in _list(top.get("size", [32, 32]), "size")]
    if len(size) != 2:
        _fail("size", "must be two numbers [height, width]")
    fps = _number(top.get("fps", 8.0), "fps")
    return Script(tuple(entities), tuple(scenes), fps, (size[0], size[1]))


def _shot(item: object, where: str) -> Shot:
    fields = _fields(item, where, {"frames", "actors"}, set())
    actors = []
    for k, actor in enumerate(_list(fields["actors"], f"{where}.actors")):
        at = f"{where}.actors[{k}]"
        values = _fields(actor, at, {"entity", "motion", "from", "to"}, {"z"})
        entity, motion = (_text(values[key], f"{at}.{key}") for key in ("entity", "motion"))
        start, end = (_box(values[key], f"{at}.{key}") for key in ("from", "to"))
        actors.append(Actor(entity, motion, start, end, _whole(values.get("z", 0), f"{at}.z")))
    return Shot(_whole(fields["frames"], f"{where}.frames"), tuple(actors))


def _fields(item: object, path: str, needed: set[str], optional: set[str]) -> dict[str, Any]:
    where = path or "document"
    if not isinstance(item, dict):
        _fail(where, "must be a JSON object")
    if missing := needed - item.keys():
        _fail(where, f"lacks {', '.join(sorted(missing))}")
    if unknown := item.keys() - needed - optional:
        known = ", ".join(sorted(needed | optional))
        _fail(where, f"has the unknown key {_brief(min(unknown))}; known are {known}")
    return item


def _list(item: object, path: str) -> list[Any]:
    if not isinstance(item, list) or len(item) > MAX_FRAMES:
        _fail(path, f"must be a list of at most {MAX_FRAMES}")
    return item


def _text(item: object, path: str) -> str:
    if not isinstance(item, str):
        _fail(path, f"{_brief(item)} must be text")
    return item


def _number(item: object, path: str) -> float:
    if isinstance(item, bool) or not isinstance(item, int | float) or not abs(item) < 1e300:
        _fail(path, f"{_brief(item)} must be a finite number")
    return float(item)


def _whole(item: object, path: str) -> int:
    number = _number(item, path)
    if number != int(number):
        _fail(path, f"{_brief(item)} must be a whole number")
    return int(number)


def _box(item: object, path: str) -> Box:
    values = [_number(value, path) for value in _list(item, path)]
    if len(values) != 4:
        _fail(path, "must be four finite numbers [x, y, w, h]")
    return values[0], values[1], values[2], values[3]
