"""What a file of any format holds: the voxels of one volume, and where they lie."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from monai_medaug.scans.error import ScanError


class FileContent(NamedTuple):
    """The content of a file.

    Attributes:
        array: voxels (X, Y) or (X, Y, Z), further axes of 1 possible.
        header: a new NIfTI header with the geometry alone.
        affine: (4, 4), index to RAS+ mm.
        modality: as DICOM states it; else None.
        inverted: whether low values are bright.
        placement: how sure the affine is, see `Scan`.
        notices: for the user, without values that identify.
    """

    array: np.ndarray
    header: Any
    affine: np.ndarray
    modality: str | None = None
    inverted: bool = False
    placement: str = "stated"
    notices: tuple[str, ...] = ()


def one_volume(voxels: Any, volume: int | None, labels: bool, what: str) -> np.ndarray:
    """The voxels of one volume; only these are read.

    Args:
        voxels: array, or a file's proxy of one, with the volumes along an axis after the third.
        volume: its number, from 1; None if there is only one.
        labels: whether it is a mask, of which one serves every volume.
        what: name of the file for error messages.

    Raises:
        ScanError: not 2 or 3 spatial axes, several volumes and no number, or a number beyond them.

    Example:
        >>> one_volume(np.zeros((4, 5, 6, 3)), 2, False, "the input file").shape
        (4, 5, 6)
        >>> one_volume(np.zeros((4, 5, 6, 3)), None, False, "the input file")
        Traceback (most recent call last):
        monai_medaug.scans.error.ScanError: the input file holds 3 volumes: choose one by volume (--volume), 1 to 3
    """
    shape = tuple(voxels.shape)
    further = [n for n in shape[3:] if n != 1]
    if len(shape) < 2 or 0 in shape or len(further) > 1:
        raise ScanError(f"{what} must be an image of 2 or 3 axes, or several along a fourth, got shape {shape}")
    count = further[0] if further else 1
    if volume is None and count > 1:
        raise ScanError(f"{what} holds {count} volumes: choose one by volume (--volume), 1 to {count}")
    if volume is not None and volume > count and not (labels and count == 1):
        held = "one volume" if count == 1 else f"{count} volumes"
        raise ScanError(f"{what} holds {held}: volume (--volume) must be from 1 to {count}, got {volume}")
    if count == 1:
        return np.asanyarray(voxels)
    chosen = [slice(None)] * 3 + [0 if n == 1 else (volume or 1) - 1 for n in shape[3:]]
    return np.asanyarray(voxels[tuple(chosen)])


def header_of(shape: Sequence[int], affine: np.ndarray, code: str = "scanner") -> Any:
    """A NIfTI header with a geometry, for files that have none of their own."""
    import nibabel as nib

    header = nib.Nifti1Header()
    header.set_data_shape(tuple(shape))
    header.set_zooms(np.linalg.norm(affine[:3, : len(shape)], axis=0))
    header.set_xyzt_units("mm")
    header.set_sform(affine, code=code)
    return header
