"""The gallery entry of an operation, an attribute of its class."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class GalleryEntry:
    """Arguments with which the gallery shows an operation, and a remark on its picture.

    Attributes:
        arguments: sets of constructor arguments; a network stands there as in a bundle's config. A random operation has
            one set, whose draw is shown at three magnitudes; any other is shown with each set, side by side.
        remark: a sentence below the picture.
        before: an operation that spoils the image first, by its class's name, and its arguments; what it makes stands
            as the original. For operations that repair.
        reduced: factor by which the slice is reduced before, as a coarser scanner would sample it; below each result
            stands its error. For operations that enlarge; 1 for all others.

    Example:
        >>> GalleryEntry(remark="Seen from the side.").arguments
        ({},)
    """

    arguments: tuple[Mapping[str, Any], ...] = ({},)
    remark: str = ""
    before: tuple[str, Mapping[str, Any]] | None = None
    reduced: int = 1
