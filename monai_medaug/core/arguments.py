"""Checks of constructor arguments. Every message reads "X must be …, got …"."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar

import numpy as np

from monai_medaug.functional.geometry.outside import BACKGROUNDS
from monai_medaug.functional.geometry.warp import MODES, PADDING_MODES

T = TypeVar("T")

_MODES = {name: name for name in MODES}  # MONAI's other names, and its orders of splines as numbers and enums
_MODES |= {"trilinear": "bilinear", "linear": "bilinear", "1": "bilinear", "nearest-exact": "nearest", "0": "nearest"}


def number(name: str, value: Any, low: float = -np.inf, high: float = np.inf) -> float:
    """A finite number within [low, high].

    Raises:
        ValueError: not such a number.

    Example:
        >>> number("elastic_sigma", 8, 0)
        8.0
    """
    try:
        if isinstance(value, (bool, str)):
            raise TypeError
        result = float(value)
    except (TypeError, ValueError):
        raise ValueError(f"{name} must be a number, got {value!r}") from None
    if not np.isfinite(result) or not low <= result <= high:
        raise ValueError(f"{name} must be finite and within [{low}, {high}], got {value!r}")
    return result


def whole_number(name: str, value: Any, low: float = -np.inf, high: float = np.inf) -> int:
    """A whole number within [low, high].

    Raises:
        ValueError: not such a number.

    Example:
        >>> whole_number("coils", 8, 1, 64)
        8
    """
    result = number(name, value, low, high)
    if result != int(result):
        raise ValueError(f"{name} must be a whole number, got {value!r}")
    return int(value)


def odd_number(name: str, value: Any, low: int, high: int) -> int:
    """An odd whole number within [low, high], such as the side of a neighbourhood.

    Raises:
        ValueError: not such a number.

    Example:
        >>> odd_number("size", 4, 1, 31)
        Traceback (most recent call last):
        ValueError: size must be odd, got 4
    """
    result = whole_number(name, value, low, high)
    if result % 2 == 0:
        raise ValueError(f"{name} must be odd, got {value!r}")
    return result


def span(
    name: str, value: float | Sequence[float], low: float = -np.inf, high: float = np.inf, signed: bool = False
) -> tuple[float, float]:
    """A range as (low, high).

    A pair is the range. A single number v means (-v, v) for a ``signed`` quantity, and exactly v for one that cannot
    be negative.

    Raises:
        ValueError: not a number or an ordered pair, or outside [low, high].

    Example:
        >>> span("rotate_degrees", 5, signed=True), span("noise_hu", 12.3), span("snr", (5, 40))
        ((-5.0, 5.0), (12.3, 12.3), (5.0, 40.0))
    """
    ends = [*value] if isinstance(value, Sequence) and not isinstance(value, str) else [value, value]
    if len(ends) != 2:
        raise ValueError(f"{name} must be a number or a pair (low, high), got {value!r}")
    first, last = (number(name, v) for v in ends)
    if signed and not isinstance(value, Sequence):
        first = -first
    if first > last:
        raise ValueError(f"{name} must be a pair (low, high) in that order, got {value!r}")
    if first < low or last > high:
        raise ValueError(f"{name} must lie within [{low}, {high}], got {value!r}")
    return first, last


def wide_span(name: str, value: float | Sequence[float]) -> tuple[float, float]:
    """A range whose ends differ, such as that of a display scale.

    Raises:
        ValueError: not such a range.

    Example:
        >>> wide_span("value_range", (0, 4095))
        (0.0, 4095.0)
    """
    first, last = span(name, value)
    if first == last:
        raise ValueError(f"{name} must be a pair (low, high) of two values, got {value!r}")
    return first, last


def whole_span(name: str, value: int | Sequence[int], low: int, high: int) -> tuple[int, int]:
    """A range of whole numbers, both ends included.

    Raises:
        ValueError: not such a range.

    Example:
        >>> whole_span("ghosts", (2, 10), 2, 1000)
        (2, 10)
    """
    first, last = span(name, value, low, high)
    return whole_number(name, first), whole_number(name, last)


def choice(name: str, value: Any, allowed: Sequence[T]) -> T:
    """One of the allowed values; True and False do not stand for 1 and 0.

    Raises:
        ValueError: any other value.

    Example:
        >>> choice("unit", "mm", ("mm", "voxel"))
        'mm'
        >>> choice("unit", "cm", ("mm", "voxel"))
        Traceback (most recent call last):
        ValueError: unit must be one of 'mm', 'voxel', got 'cm'
    """
    for known in allowed:
        if isinstance(value, bool) == isinstance(known, bool) and (value is known or value == known):
            return known
    raise ValueError(f"{name} must be one of {', '.join(map(repr, allowed))}, got {value!r}")


def flag(name: str, value: Any) -> bool:
    """True or False.

    Raises:
        ValueError: any other value.

    Example:
        >>> flag("inverted", "no")
        Traceback (most recent call last):
        ValueError: inverted must be True or False, got 'no'
    """
    if not isinstance(value, (bool, np.bool_)):
        raise ValueError(f"{name} must be True or False, got {value!r}")
    return bool(value)


def interpolation(name: str, value: Any) -> str:
    """The interpolation under MONAI's names and orders: ``"bilinear"`` in any number of dimensions, or ``"nearest"``.

    Raises:
        ValueError: any other value.

    Example:
        >>> interpolation("mode", "trilinear"), interpolation("mode", 0)
        ('bilinear', 'nearest')
        >>> interpolation("mode", 3)
        Traceback (most recent call last):
        ValueError: mode must be 'bilinear' ('trilinear', 'linear', 1) or 'nearest' ('nearest-exact', 0), got 3
    """
    order = isinstance(value, (int, np.integer)) and not isinstance(value, bool)
    known = _MODES.get(str(int(value))) if order else _MODES.get(value) if isinstance(value, str) else None
    if known is None:
        there = "'bilinear' ('trilinear', 'linear', 1) or 'nearest' ('nearest-exact', 0)"
        raise ValueError(f"{name} must be {there}, got {value!r}")
    return known


def padding(name: str, value: Any) -> str | float:
    """What lies outside an image: ``"border"``, ``"zeros"``, ``"reflection"`` or a number.

    Raises:
        ValueError: any other value.

    Example:
        >>> padding("padding_mode", "border"), padding("padding_mode", -1000)
        ('border', -1000.0)
    """
    if not isinstance(value, str):
        return number(name, value)
    names = (*PADDING_MODES, *BACKGROUNDS)
    if value not in names:
        raise ValueError(f"{name} must be one of {names} or a number, got {value!r}")
    return choice(name, value, names)
