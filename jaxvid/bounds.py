"""What the fields of a configuration must be, with messages that name the fix."""

import math
from collections.abc import Callable

from jaxvid.typing import UserError

MOST = 2**31  # of anything
DEEPEST = 200  # layers of a network
WIDEST = 2**16  # features of a token


def positive(config: object, *names: str) -> None:
    """Raises UserError where a field is not over 0, or beyond all reason."""
    need(config, names, lambda value: 0 < value < math.inf, "over 0")
    _bounded(config, names)


def not_negative(config: object, *names: str) -> None:
    """Raises UserError where a field is below 0, or beyond all reason."""
    need(config, names, lambda value: 0 <= value < math.inf, "0 or more")
    _bounded(config, names)


def _bounded(config: object, names: tuple[str, ...]) -> None:
    need(config, names, lambda value: value < MOST, f"below {MOST}")
    deep = [name for name in names if name.endswith("layers") or name == "blocks"]
    need(config, tuple(deep), lambda value: value <= DEEPEST, f"at most {DEEPEST}")


def below_one(config: object, *names: str) -> None:
    """Raises UserError where a field is not from 0 to below 1."""
    need(config, names, lambda value: 0 <= value < 1, "from 0 to below 1")


def need(config: object, names: tuple[str, ...], fits: Callable[[float], bool], words: str) -> None:
    """Raises UserError where a field does not fit; ``words`` say what would."""
    for name in names:
        if not fits(value := getattr(config, name)):
            raise UserError(f"{name} is {str(value)[:40]}; it must be {words}")


def widths(config: object, name: str) -> None:
    """Raises UserError where a stage has no width of 2 or more."""
    value = getattr(config, name)
    if not value or min(value) < 2:
        raise UserError(f"{name} is {list(value)}; it needs a width of at least 2 for each stage")


def heads(width: int, heads: int) -> None:
    """Raises UserError where a width does not divide into heads."""
    if width > WIDEST:
        raise UserError(f"width is {width}; it must be at most {WIDEST}")
    if width % heads:
        divisors = [k for k in range(1, width + 1) if width % k == 0]
        fits = min(divisors, key=lambda k: (abs(k - heads), -k))
        raise UserError(f"width {width} must be divisible by heads {heads}; try heads={fits}")


def multiple(name: str, value: int, of: int, why: str) -> None:
    """Raises UserError where a value is no multiple; ``why`` it must be."""
    if value % of:
        fits = -(-value // of) * of
        raise UserError(f"{name} {value} must be a multiple of {of}; try {fits} ({why})")
