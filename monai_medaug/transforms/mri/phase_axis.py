"""The phase-encoding axis of the operations in k-space."""

from __future__ import annotations

from monai_medaug.core.arguments import choice
from monai_medaug.core.contract import Call

ANY_AXIS = "any"
"""The phase-encoding axis in the record of a call that draws it."""


def phase_axis_argument(value: int | str | None) -> int | str:
    """An axis as the record holds it; None draws one."""
    return ANY_AXIS if value in (None, ANY_AXIS) else choice("phase_axis", value, (None, *range(-3, 3)))


def phase_axes(call: Call) -> list[int]:
    """Phase-encoding axis of each sample; one that is drawn has more than one voxel."""
    shape, axis = call.image.shape[2:], call.settings["phase_axis"]
    if axis == ANY_AXIS:
        candidates = [a for a, n in enumerate(shape) if n > 1] or [0]
        return [candidates[int(share * len(candidates))] for share in call.drawn("any_axis")]
    if not -len(shape) <= axis < len(shape):
        raise ValueError(f"phase_axis must be within [{-len(shape)}, {len(shape) - 1}] for the image, got {axis}")
    return [axis % len(shape)] * len(call.draws)
