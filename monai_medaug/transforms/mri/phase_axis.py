"""The phase-encoding axis of the operations in k-space."""

from __future__ import annotations

from monai_medaug.core.arguments import choice
from monai_medaug.core.contract import Call
from monai_medaug.functional.geometry.grid import VoxelGrid

IN_PLANE = "in_plane"
"""The phase-encoding axis in the record of a call that draws it: never the slice axis of a multislice scan."""
ANY_AXIS = "any"
"""The same in records of the first version: each axis."""
MULTISLICE = 2.0
"""From this ratio of the slices' distance to the spacing within them on, a scan counts as many 2D slices."""
_FEW = 16
"""An axis of fewer voxels, such as a slab's, is drawn only where there is no other: artefacts need lines."""


def phase_axis_argument(value: int | str | None) -> int | str:
    """An axis as the record holds it; None draws one."""
    return IN_PLANE if value in (None, IN_PLANE) else choice("phase_axis", value, (None, *range(-3, 3)))


def phase_axes(call: Call) -> list[int]:
    """Phase-encoding axis of each sample; one that is drawn has more than one voxel."""
    shape, axis = call.image.shape[2:], call.settings["phase_axis"]
    if axis == IN_PLANE:
        candidates = [_encoded(grid) for grid in call.grids]
    elif axis == ANY_AXIS:
        candidates = [[a for a, n in enumerate(shape) if n > 1] or [0]] * len(call.draws)
    elif not -len(shape) <= axis < len(shape):
        raise ValueError(f"phase_axis must be within [{-len(shape)}, {len(shape) - 1}] for the image, got {axis}")
    else:
        return [axis % len(shape)] * len(call.draws)
    return [axes[int(share * len(axes))] for axes, share in zip(candidates, call.drawn("any_axis"), strict=True)]


def _encoded(grid: VoxelGrid) -> list[int]:
    """The axes along which a scan on this grid may be phase-encoded."""
    within = [a for a, n in enumerate(grid.shape) if n > 1 and a != grid.slice_axis(MULTISLICE)] or [0]
    return [a for a in within if grid.shape[a] >= _FEW] or within
