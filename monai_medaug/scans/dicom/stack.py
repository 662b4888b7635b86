"""Slices in the order of their positions, and the affine of their stack."""

from __future__ import annotations

import numpy as np

from monai_medaug.scans.dicom.gaps import repeated_positions, uneven_gaps
from monai_medaug.scans.dicom.planes import Plane
from monai_medaug.scans.error import ScanError

_UNEVEN = 0.2
"""Tolerance of slice positions in an even stack, as a share of the step: positions are often rounded."""


def stack_order(slices: list[Plane], what: str) -> tuple[np.ndarray, list[Plane]]:
    """The affine of a stack from (column, row, slice) to RAS+ mm, and its slices in that order.

    Raises:
        ScanError: the slices do not form an even stack.
    """

    def numbers(name: str, missing: list[float]) -> np.ndarray:
        return np.array([[float(v) for v in s.get(name) or missing] for s in slices])

    orientation = numbers("ImageOrientationPatient", [1, 0, 0, 0, 1, 0])
    spacing = numbers("PixelSpacing", [0, 0])
    if spacing.min() <= 0:  # radiographs may give it at the detector only, or zeros
        spacing = numbers("ImagerPixelSpacing", [1, 1])
        spacing = np.where(spacing > 0, spacing, 1.0)
    sizes = np.array([(s.get("Rows"), s.get("Columns")) for s in slices], float)
    differing = [
        f"{len(np.unique(values.round(3), axis=0))} {name}s"
        for name, values in (("size", sizes), ("spacing", spacing), ("orientation", orientation))
        if np.ptp(values, axis=0).max() > 1e-3
    ]
    if differing:
        raise ScanError(
            f"{what} holds slices of different size, spacing or orientation ({', '.join(differing)}): "
            "it must hold one stack"
        )
    along_row, along_column = orientation[0].reshape(2, 3)
    normal = np.cross(along_row, along_column)
    if len(slices) == 1:
        position = numbers("ImagePositionPatient", [0, 0, 0])
        step = normal * float(slices[0].get("SliceThickness") or 1)
    else:
        if any(not s.get("ImagePositionPatient") for s in slices):
            raise ScanError(f"{what} holds slices without a position, so their order is unknown")
        position = numbers("ImagePositionPatient", [])
        order = np.argsort(position @ normal, kind="stable")
        position, slices = position[order], [slices[i] for i in order]
        step = (position[-1] - position[0]) / (len(slices) - 1)
        gaps = np.diff(position @ normal)
        if gaps.min() < 1e-3:
            raise ScanError(f"{what} holds several slices at one position: {repeated_positions(slices, gaps)}")
        even = position[0] + np.arange(len(slices))[:, None] * step
        if np.linalg.norm(position - even, axis=1).max() > _UNEVEN * np.linalg.norm(step):
            raise ScanError(f"{what} has slices missing or unevenly spaced: {uneven_gaps(slices, gaps, _UNEVEN)}")
    affine = np.eye(4)
    affine[:3] = np.stack([along_row * spacing[0, 1], along_column * spacing[0, 0], step, position[0]], axis=1)
    return np.diag([-1.0, -1.0, 1.0, 1.0]) @ affine, slices
