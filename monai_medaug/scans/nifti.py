"""NIfTI, as one file or a pair, by nibabel."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from monai_medaug.functional.geometry.grid import VoxelGrid
from monai_medaug.scans.content import FileContent, one_volume
from monai_medaug.scans.error import ScanError

EQUAL_VOXELS = 0.25
"""Headers whose voxels lie closer together are equal; rounding in files stays below."""

_GEOMETRY_FIELDS = (
    *("pixdim", "xyzt_units", "qform_code", "sform_code", "quatern_b", "quatern_c", "quatern_d"),
    *("qoffset_x", "qoffset_y", "qoffset_z", "srow_x", "srow_y", "srow_z"),
)


def is_nifti(path: Path) -> bool:
    """Whether a file is NIfTI by its name; ``.img`` only beside its ``.hdr``, since DICOM files have such names too.

    Example:
        >>> is_nifti(Path("brain.NII.GZ")), is_nifti(Path("IM0001"))
        (True, False)
    """
    name = path.name.lower()
    if name.endswith((".nii", ".nii.gz", ".hdr", ".hdr.gz")):
        return True
    pair = path.with_name(path.name[:-4] + ".hdr"), path.with_name(path.name[:-4] + ".HDR")
    return name.endswith(".img") and any(header.exists() for header in pair)


def read_nifti(path: Path, what: str, labels: bool, volume: int | None) -> FileContent:
    """One volume of a NIfTI file, after slope and intercept.

    Raises:
        ScanError: not a NIfTI file of numbers, or no such volume.
    """
    import nibabel as nib

    image = nib.load(path)
    if not isinstance(image, nib.Nifti1Pair):
        raise ScanError(f"{what} is not a NIfTI file; an Analyze file doesn't tell left from right")
    if image.get_data_dtype().kind not in "iufc":
        raise ScanError(f"{what} must be a greyscale image, got voxels of type {image.get_data_dtype()}")
    array = one_volume(image.dataobj, volume, labels, what)
    header = (nib.Nifti2Header if isinstance(image.header, nib.Nifti2Header) else nib.Nifti1Header)()
    header.set_data_shape(array.shape)
    for name in _GEOMETRY_FIELDS:
        header[name] = image.header[name]
    array = array.astype(array.dtype.newbyteorder("="), copy=False)
    return FileContent(array, header, image.affine.astype(np.float64), placement=_placement(image.header))


def _placement(header: Any) -> str:
    """How sure the affine of a header is, see `Scan`."""
    from nibabel.spatialimages import HeaderDataError

    sform, qform = int(header["sform_code"]), int(header["qform_code"])
    if sform <= 0 and qform <= 0:
        return "guessed"
    if sform <= 0 or qform <= 0:
        return "stated"
    shape = (*header.get_data_shape(), 1)[:3]
    try:
        apart = VoxelGrid(shape, header.get_sform()).displaced_from(VoxelGrid(shape, header.get_qform()))
    except (HeaderDataError, ValueError):  # of the qform, which is not used
        return "stated"
    return "stated" if apart.max() < EQUAL_VOXELS else "disputed"
