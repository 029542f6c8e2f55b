"""What ``Annotated`` adds to the types of a document: bounds that read well when they are broken.

``jaxvid.document`` holds values against them and spells them in JSON Schema.
"""

import dataclasses
import re
from typing import Any

Schema = dict[str, Any]


def brief(value: object) -> str:
    """What a document says, in a message of one short line that prints anywhere."""
    if isinstance(value, dict | list | tuple):
        return "an object" if isinstance(value, dict) else "a list"
    text = "null" if value is None else ascii(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


class Rule:
    """What ``Annotated`` may add to a type; this one adds nothing."""

    def problem(self, value: object) -> str | None:
        """What is wrong with the value, None if nothing is; other types are not its business."""
        return None

    def schema(self, of: Schema) -> Schema:
        """The same in JSON Schema, to be added to ``of``, the schema of the type."""
        return {}


@dataclasses.dataclass(frozen=True)
class Range(Rule):
    """A number from ``low`` to ``high``, or over ``low`` if ``open``.

    ``slack`` is allowed beyond both for what rounding does to fractions.
    """

    low: int | float
    high: int | float
    open: bool = False
    slack: int | float = 0

    def problem(self, value: object) -> str | None:
        if isinstance(value, bool) or not isinstance(value, int | float):
            return None
        above = value > self.low if self.open else value >= self.low - self.slack
        if above and value <= self.high + self.slack:
            return None
        low = f"over {self.low:g} and at most" if self.open else f"from {self.low:g} to"
        return f"{brief(value)} must be {low} {self.high:g}"

    def schema(self, of: Schema) -> Schema:
        low = "exclusiveMinimum" if self.open else "minimum"
        return {low: self.low - self.slack, "maximum": self.high + self.slack}


@dataclasses.dataclass(frozen=True)
class Length(Rule):
    """``low`` to ``high`` characters of a text, or items of a list."""

    low: int
    high: int

    def problem(self, value: object) -> str | None:
        if not isinstance(value, str | list | tuple) or self.low <= len(value) <= self.high:
            return None
        what = "characters" if isinstance(value, str) else "items"
        return f"has {len(value)} {what}; it must have {self.low} to {self.high}"

    def schema(self, of: Schema) -> Schema:
        what = "Length" if of["type"] == "string" else "Items"
        return ({f"min{what}": self.low} if self.low else {}) | {f"max{what}": self.high}


@dataclasses.dataclass(frozen=True)
class Pattern(Rule):
    """A text that the regular expression matches as a whole; ``words`` complete "must be"."""

    regex: str
    words: str

    def problem(self, value: object) -> str | None:
        if not isinstance(value, str) or re.fullmatch(self.regex, value):
            return None
        return f"{brief(value)} must be {self.words}"

    def schema(self, of: Schema) -> Schema:
        return {"pattern": f"^(?:{self.regex})$"}


@dataclasses.dataclass(frozen=True)
class Choice(Rule):
    """One of some texts, where they are computed and no Literal can name them."""

    values: tuple[str, ...]

    def problem(self, value: object) -> str | None:
        if not isinstance(value, str) or value in self.values:
            return None
        return f"{brief(value)} is not known; use one of {', '.join(self.values)}"

    def schema(self, of: Schema) -> Schema:
        return {"enum": list(self.values)}
