"""The patient apart from the table, in a stack of CT slices."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from scipy import ndimage
from torch.nn import functional

from monai_medaug.functional.ct.hu import BODY_HU
from monai_medaug.functional.hounsfield import AIR_HU, PADDING_HU

_CELL_MM = 3.0  # a table's skin is thinner than half of this, so that cells don't see it as tissue
_PART = 0.2  # a piece of this share of the largest is patient too, such as the other leg
_OPEN_AIR_HU = -930.0  # at the border; lung, into which a crop may cut, lies above
_LUNG_HU = (-930.0, -500.0)
_LUNG_SHARE, _TRUNK_MM = 0.05, 230.0


@dataclass(frozen=True)
class PatientMask:
    """Where the patient is in a volume of slices (S, rows, columns).

    Attributes:
        voxels: True in the patient, lungs and the air at the skin included; False in the table and the air around.
        diameter_mm: of the circle of the body's area, in the median slice; 0 without a body.
        has_lung: whether at least 5 % of the body is lung.
    """

    voxels: torch.Tensor
    diameter_mm: float
    has_lung: bool

    @property
    def is_wide(self) -> bool:
        """Whether the body is too wide for a head or a limb."""
        return self.diameter_mm >= _TRUNK_MM

    @property
    def is_trunk(self) -> bool:
        """Whether the body is wide or has lungs."""
        return self.has_lung or self.is_wide

    def extent(self, axis: int) -> tuple[int, int]:
        """First and last row (axis 1) or column (axis 2) of the patient; those of the volume without one."""
        seen = torch.nonzero(self.voxels.any(0).any(2 - axis))[:, 0]
        return (int(seen[0]), int(seen[-1])) if len(seen) else (0, self.voxels.shape[axis] - 1)


def find_patient(volume: torch.Tensor, spacing: tuple[float, float]) -> PatientMask:
    """The patient in a volume in HU (S, rows, columns), slices with the given spacing in mm.

    In cells of 3 mm, tissue above -300 HU is eroded by one cell, which cuts a thin table and what touches the skin. The
    largest piece is the body, with pieces of a fifth of it; it grows back, and what it encloses belongs to it. Outside
    is what is then connected, within its slice, with air at the border. An image without a body is all patient.

    Example:
        >>> volume = torch.full((1, 60, 60), -1000.0)
        >>> volume[:, 10:40, 10:50] = 40.0  # a body
        >>> volume[:, 48:50] = 0.0  # a table
        >>> mask = find_patient(volume, (3.0, 3.0)).voxels
        >>> bool(mask[0, 25, 25]), bool(mask[0, 48:50].any())
        (True, False)
    """
    size = [max(1, round(_CELL_MM / s)) for s in spacing]
    clean = torch.where(volume > PADDING_HU, volume, AIR_HU)[None]

    def cells(values: torch.Tensor) -> torch.Tensor:
        return functional.avg_pool2d(values, size, ceil_mode=True, count_include_pad=False)

    tissue, mean = cells((clean > BODY_HU).to(clean.dtype)) > 0.5, cells(clean)
    core = ~_grown(~tissue)
    pieces, count = ndimage.label(core[0].cpu().numpy())
    if not count:
        return PatientMask(torch.ones_like(volume, dtype=torch.bool), 0.0, False)
    sizes = np.bincount(pieces.ravel())[1:]
    large = np.flatnonzero(sizes >= _PART * sizes.max()) + 1
    body = _grown(torch.from_numpy(np.isin(pieces, large)).to(volume.device)[None]) & tissue
    body |= _grown(body) & tissue
    # what is not body falls into pieces within each slice
    plane = np.zeros((3, 3, 3), dtype=bool)
    plane[1] = ndimage.generate_binary_structure(2, 1)
    around, _ = ndimage.label(~body[0].cpu().numpy(), plane)
    open_air = (mean[0] < _OPEN_AIR_HU).cpu().numpy()
    open_air[:, 1:-1, 1:-1] = False
    outside = np.isin(around, np.unique(around[open_air & (around > 0)]))
    inside = torch.from_numpy(~outside).to(volume.device)[None]
    area = inside[0].sum((1, 2)).double().median() * float(np.prod([n * s for n, s in zip(size, spacing, strict=True)]))
    lung = inside & (mean > _LUNG_HU[0]) & (mean < _LUNG_HU[1])
    has_lung = bool(lung.sum() > _LUNG_SHARE * inside.sum())
    voxels = _grown(inside).repeat_interleave(size[0], 2).repeat_interleave(size[1], 3)
    voxels = voxels[0, :, : volume.shape[1], : volume.shape[2]]
    return PatientMask(voxels, float(2 * (area / np.pi).sqrt()), has_lung)


def _grown(cells: torch.Tensor) -> torch.Tensor:
    """Cells (1, S, rows, columns) that are True or have a neighbour in their slice that is."""
    for axis in (2, 3):
        n = cells.shape[axis] - 1
        grown = cells.clone()
        grown.narrow(axis, 0, n).logical_or_(cells.narrow(axis, 1, n))
        grown.narrow(axis, 1, n).logical_or_(cells.narrow(axis, 0, n))
        cells = grown
    return cells
