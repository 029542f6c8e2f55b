"""Frozen dataclasses as JSON documents, all from their type hints: read, check, write, describe.

A hint says what may stand in a field, and ``Annotated`` says what a type cannot:

    fps: Annotated[float, Range(0, 240, open=True), "frames a second"] = 8.0

``jaxvid.rules`` has what bounds a value; ``Json`` says how the field stands in the document, and a
plain string describes it. Known are int, float, str, bool, None, Literal, tuples of one type,
dataclasses and unions of these.
"""

import dataclasses
import difflib
import functools
import inspect
import json
import pathlib
import re
import types
import typing
from collections.abc import Callable
from typing import Annotated, Any, Literal, NamedTuple, NoReturn, TypeVar

from jaxvid.rules import Rule, Schema, brief
from jaxvid.typing import UserError

R = TypeVar("R")

MAX_BYTES = 4_000_000  # of a file
MAX_TEXT = 1_000_000  # characters of a document
_HUGE = 1e300  # a number that is not below is taken for infinite
_EXACT = 2**53  # whole numbers up to here are the same in every JSON reader
_LEAVES = {  # type -> how messages and JSON Schema call it
    int: ("a whole number", "integer"),
    float: ("a finite number", "number"),
    str: ("text", "string"),
    bool: ("true or false", "boolean"),
    types.NoneType: ("null", "null"),
}


@dataclasses.dataclass(frozen=True)
class Json:
    """How a field stands in JSON.

    ``name``: its key, if not the field's name. ``always``: written even at its default. ``unless``:
    another key, and a function; where that key is given, this one is not, and the field has what
    the function makes of the other field.
    """

    name: str = ""
    always: bool = False
    unless: tuple[str, Callable[[Any], Any]] | None = None


class _Field(NamedTuple):
    name: str
    hint: Any
    default: Any  # dataclasses.MISSING if it must be given
    json: Json


@functools.cache
def _fields(cls: Any) -> dict[str, _Field]:
    """The fields of a dataclass by their keys."""
    hints = typing.get_type_hints(cls, include_extras=True)
    found = {}
    for field in dataclasses.fields(cls):
        hint = hints[field.name]
        told = next((extra for extra in _parts(hint)[1] if isinstance(extra, Json)), Json())
        found[told.name or field.name] = _Field(field.name, hint, field.default, told)
    return found


def _parts(hint: Any) -> tuple[Any, tuple[Any, ...]]:
    """A hint without ``Annotated``, and what that said."""
    if typing.get_origin(hint) is Annotated:
        return hint.__origin__, hint.__metadata__
    return hint, ()


def names(cls: type) -> dict[str, str]:
    """The keys of a dataclass in JSON, and the fields that they stand for."""
    return {key: field.name for key, field in _fields(cls).items()}


class _Twice(dict[str, Any]):
    """A JSON object that gives ``key`` twice, which ``load`` refuses where it stands."""

    def __init__(self, found: dict[str, Any], key: str) -> None:
        super().__init__(found)
        self.key = key


def read_file(path: pathlib.Path) -> str:
    """The text of a file. Raises UserError, without its name, where there is none that fits."""
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)  # a device has no end
        if len(data) > MAX_BYTES:
            raise UserError(f"is too long; it may have at most {MAX_BYTES:,} bytes")
        return data.decode("utf-8-sig")  # some editors put a mark in front
    except UnicodeDecodeError:
        raise UserError("is not UTF-8 text; save it as UTF-8") from None
    except (OSError, ValueError) as error:  # ValueError: a null in its name
        raise UserError(f"cannot be read ({getattr(error, 'strerror', None) or error})") from None


def parse(text: str, *, name: str) -> Any:
    """The text as JSON values. Raises UserError if it is not JSON, or over ``MAX_TEXT`` long."""
    if len(text) > MAX_TEXT:
        raise UserError(f"{name}: {len(text)} characters of JSON; at most {MAX_TEXT:,}")

    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for key, value in pairs:
            if key in found and not isinstance(found, _Twice):
                found = _Twice(found, key)
            found[key] = value
        return found

    def whole(digits: str) -> int | float:  # Python reads thousands of digits, slowly, or raises
        return int(digits) if len(digits) <= 20 else float(digits)

    try:
        return json.loads(text, object_pairs_hook=once, parse_int=whole)
    except (ValueError, RecursionError) as error:
        raise UserError(f"{name}: not valid JSON: {error}") from None


def load(cls: type[R], document: Any, *, name: str) -> R:
    """The dataclass that parsed JSON stands for; whole floats count as ints, ints as floats.

    Raises UserError ``name: path: problem`` for anything that does not fit the hints.
    """
    return _read(cls, document, f"{name}:")


def check(value: Any, *, name: str) -> None:
    """Raises UserError, as ``load`` does, where a dataclass made in Python breaks its hints; lists
    in it become tuples."""
    _read(type(value), value, f"{name}:")


def _fail(at: str, problem: str) -> NoReturn:
    raise UserError(f"{at.removesuffix(':')}: {problem}")


def _read(hint: Any, value: Any, at: str) -> Any:
    """The value, from JSON or from Python, checked against and made into what the hint says."""
    hint, extras = _parts(hint)
    for extra in extras:
        if isinstance(extra, Rule) and (problem := extra.problem(value)):
            _fail(at, problem)
    origin, of = typing.get_origin(hint), typing.get_args(hint)
    if origin is Literal:
        if value not in of:
            _fail(at, f"{brief(value)} is not known; use one of {', '.join(of)}")
        return value
    if origin is tuple:
        if not isinstance(value, list | tuple):
            _fail(at, f"{brief(value)} must be a list")
        if of[-1] is not ... and len(value) != len(of):
            _fail(at, f"has {len(value)} items; it must have {len(of)}")
        return tuple([_read(of[0], item, f"{at}[{i}]") for i, item in enumerate(value)])
    if origin in (typing.Union, types.UnionType):
        return _read(_member(of, value, at), value, at)
    if dataclasses.is_dataclass(hint):
        return _read_fields(hint, value, at)
    return _read_leaf(hint, value, at)


def _read_leaf(hint: Any, value: Any, at: str) -> Any:
    if hint in (int, float):
        number = isinstance(value, int | float) and not isinstance(value, bool)
        if number and abs(value) < _HUGE:
            if hint is float:
                return float(value)
            if abs(value) <= _EXACT and value == int(value):
                return int(value)
    elif isinstance(value, hint):
        if hint is str and not value.isascii() and re.search("[\ud800-\udfff]", value):
            _fail(at, f"{brief(value)} holds half a character; take it out")
        return value
    _fail(at, f"{brief(value)} must be {_LEAVES[hint][0]}")


def _member(of: tuple[Any, ...], value: Any, at: str) -> Any:
    """The member of a union that the value means to be."""
    words = []
    for hint in of:
        cls = _parts(hint)[0]
        meant = isinstance(value, cls)
        if cls in _LEAVES:
            words.append(_LEAVES[cls][0])
        else:
            words.append(f"an object with {' and '.join(_fields(cls))}")
            meant = meant or isinstance(value, dict) and not _fields(cls).keys().isdisjoint(value)
        if meant:
            return hint
    _fail(at, f"{brief(value)} must be {' or '.join(words)}")


def _read_fields(cls: Any, value: Any, at: str) -> Any:
    """A dataclass: made from a JSON object, or as it is if its fields are in order."""
    fields = _fields(cls)
    if isinstance(value, cls):
        for key, field in fields.items():
            given = getattr(value, field.name)
            if given != field.default:
                made = _read(field.hint, given, _under(at, key))
                if isinstance(given, list):  # as JSON reads it again
                    object.__setattr__(value, field.name, made)
            if field.json.unless and (other := _other(field, value)):
                if given != field.json.unless[1](other):
                    _fail(_under(at, key), f"must be what {field.json.unless[0]} says")
        return value
    if not isinstance(value, dict):
        _fail(at, f"{brief(value)} must be a JSON object")
    _check_keys(fields, value, at)
    made = {
        field.name: _read(field.hint, value[key], _under(at, key))
        for key, field in fields.items()
        if key in value
    }
    for field in fields.values():
        if field.json.unless and field.json.unless[0] in value:
            other, implied = field.json.unless
            made[field.name] = implied(made[fields[other].name])
    return cls(**made)


def _check_keys(fields: dict[str, _Field], value: dict[str, Any], at: str) -> None:
    if isinstance(value, _Twice):
        _fail(at, f"the key {brief(value.key)} is given twice; keep one")
    if unknown := value.keys() - fields.keys():
        near = difflib.get_close_matches(min(unknown)[:60], fields, n=1)
        meant = f"did you mean {near[0]!r}? " if near else ""
        _fail(at, f"unknown key {brief(min(unknown))}; {meant}known are {', '.join(fields)}")
    missing = []
    for key, field in fields.items():
        other = field.json.unless[0] if field.json.unless else ""
        if key in value and value.get(other):  # an empty one is refused for itself
            _fail(_under(at, key), f"follows from {other}; leave it out")
        if field.default is dataclasses.MISSING and key not in value and other not in value:
            missing.append(key)
    if missing:
        _fail(at, f"lacks {', '.join(missing)}")


def _under(at: str, key: str) -> str:
    return f"{at} {key}" if at.endswith(":") else f"{at}.{key}"


def _other(field: _Field, value: Any) -> Any:
    """What the field named in ``unless`` holds, None if that is its default."""
    if field.json.unless is None:
        return None
    other = _fields(value.__class__)[field.json.unless[0]]
    given = getattr(value, other.name)
    return given if given != other.default else None


def dump(value: Any) -> Any:
    """The dataclass as JSON values, without what is at its default; ``load`` undoes it."""
    if isinstance(value, list | tuple):
        return [dump(item) for item in value]
    if not dataclasses.is_dataclass(value):
        return value
    document = {}
    for key, field in _fields(value.__class__).items():
        given = getattr(value, field.name)
        if (field.json.always or given != field.default) and not _other(field, value):
            document[key] = dump(given)
    return document


def schema(cls: type) -> Schema:
    """The JSON Schema (2020-12) of a dataclass: what it refuses, ``load`` refuses too."""
    definitions: dict[str, Schema] = {}
    top = _describe_fields(cls, definitions)
    head = {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": cls.__name__}
    return {**head, **top, "$defs": definitions}


def _describe(hint: Any, definitions: dict[str, Schema]) -> Schema:
    """The schema of a hint; those of dataclasses go into ``definitions``."""
    hint, extras = _parts(hint)
    origin, of = typing.get_origin(hint), typing.get_args(hint)
    found: Schema
    if origin is Literal:
        found = {"enum": list(of)}
    elif origin is tuple:
        found = {"type": "array", "items": _describe(of[0], definitions)}
        if of[-1] is not ...:
            found |= {"minItems": len(of), "maxItems": len(of)}
    elif origin in (typing.Union, types.UnionType):
        found = {"anyOf": [_describe(member, definitions) for member in of]}
    elif hint in _LEAVES:
        found = {"type": _LEAVES[hint][1]}
    else:
        name = hint.__name__
        if name not in definitions:
            definitions[name] = {}  # holds its place, outer before inner
            definitions[name] = _describe_fields(hint, definitions)
        found = {"$ref": f"#/$defs/{name}"}
    for extra in extras:
        if isinstance(extra, Rule):
            found |= extra.schema(found)
        elif isinstance(extra, str):
            found["description"] = extra
    return found


def _describe_fields(cls: Any, definitions: dict[str, Schema]) -> Schema:
    fields = _fields(cls)
    properties = {key: _describe(field.hint, definitions) for key, field in fields.items()}
    needed, spared = [], {}
    for key, field in fields.items():
        if field.default not in (dataclasses.MISSING, None, ()):
            properties[key]["default"] = dump(field.default)
        elif field.json.unless:
            spared[key] = field.json.unless[0]
        elif field.default is dataclasses.MISSING:
            needed.append(key)
    about = inspect.cleandoc(cls.__doc__ or "").split("\n\n")[0].replace("\n", " ")
    found: Schema = {"type": "object", "description": about, "properties": properties}
    found |= {"required": needed, "additionalProperties": False}
    if spared:
        found["if"] = {"required": sorted(set(spared.values()))}
        found["then"] = {"properties": dict.fromkeys(spared, False)}
        found["else"] = {"required": list(spared)}
    return found
