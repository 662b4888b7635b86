"""What the guard finds about one mask."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

GEOMETRY, INTENSITY = "geometry", "intensity"


@dataclass(frozen=True)
class Limits:
    """Limits of a preserved sample, see `PreservingCompose`."""

    max_volume_change: float = 0.1
    min_lesion_kept: float = 0.9
    min_contrast_kept: float = 0.5
    min_edges_kept: float = 0.9


@dataclass
class Finding:
    """The checks of one mask.

    Attributes:
        violations: sentences.
        causes: the kinds of steps that caused them; none where that is unknown.
        checked: what was checked, in words.
        unchecked: why there is no answer; "" if there is one.
        misfit: whether an image doesn't fit the mask any longer, so that nothing else can be compared in it.
        checks: figures.
    """

    violations: list[str] = field(default_factory=list)
    causes: set[str] = field(default_factory=set)
    checked: list[str] = field(default_factory=list)
    unchecked: str = ""
    misfit: bool = False
    checks: dict[str, Any] = field(default_factory=dict)

    @property
    def answer(self) -> str:
        """``"yes"``, ``"no"`` or ``"not checked"``."""
        if self.violations:
            return "no"
        return "not checked" if self.unchecked else "yes"

    def violated(self, sentence: str, *causes: str) -> None:
        """Add a violation."""
        self.violations.append(sentence)
        self.causes |= set(causes)


def answer_of(findings: list[Finding]) -> str:
    """The answer for several masks: "no" if any is, "yes" if all are."""
    answers = {f.answer for f in findings}
    return next((a for a in ("no", "not checked", "yes") if a in answers), "not checked")
