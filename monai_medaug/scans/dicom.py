"""DICOM as a stack of slices, by pydicom.

MONAI's reader sorts slices by number instead of position, mixes the series of a folder, and names paths in warnings.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

_UNEVEN = 0.2
"""Tolerance of slice positions in an even stack, as a share of the step: positions are often rounded."""


class ScanError(ValueError):
    """Error for an unusable scan; its one-line message omits paths, which may contain a patient's name."""


def read_dicom(path: Path, what: str) -> tuple[np.ndarray, Any, np.ndarray, str | None, bool]:
    """The slices of a file or folder, ordered by position along the normal.

    Args:
        path: a file, or a folder with the files of one series; other files in it are ignored.
        what: name for error messages.

    Returns:
        Voxels (column, row, slice) in float32 after slope and intercept, a NIfTI header with the geometry, the affine
        to RAS+ mm (sheared for a tilted gantry), the modality, and whether low values are bright (MONOCHROME1).

    Raises:
        ScanError: no image, several series, uneven slices, or no decoder for the compression.
    """
    import nibabel as nib
    import pydicom
    from pydicom.pixels import apply_modality_lut

    slices = []
    folder = path.is_dir()
    for file in sorted(p for p in path.iterdir() if p.is_file()) if folder else [path]:
        try:
            slices.append(pydicom.dcmread(file))
        except pydicom.errors.InvalidDicomError:
            if file.suffix.lower() == ".dcm" and folder:
                raise ScanError(f"{what} holds a broken DICOM file") from None
    if not slices:
        raise ScanError(f"{what} holds no DICOM file" if folder else f"{what} is neither NIfTI nor DICOM")
    for s in slices:  # other objects of the series have no image and are ignored
        if "PixelData" not in s and "Image Storage" in s.file_meta.MediaStorageSOPClassUID.name:
            raise ScanError(f"{what} holds a broken DICOM file: an image without pixels")
    slices = [s for s in slices if "PixelData" in s]
    if not slices:
        raise ScanError(f"{what} is a DICOM without an image")
    if any(int(s.get("NumberOfFrames") or 1) > 1 or int(s.get("SamplesPerPixel") or 1) > 1 for s in slices):
        raise ScanError(f"{what} must be greyscale DICOM with one slice a file, got several frames or colours")
    series = len({s.get("SeriesInstanceUID") for s in slices})
    if series > 1:
        raise ScanError(f"{what} holds {series} DICOM series: give a folder that holds one")
    affine, slices = stack_order(slices, what)
    planes = []
    for s in slices:
        try:
            planes.append(apply_modality_lut(s.pixel_array, s).astype(np.float32).T)
        except (RuntimeError, NotImplementedError, ImportError):
            raise ScanError(f"{what} cannot be decoded: broken, or compressed and no decoder installed") from None
    header = nib.Nifti1Header()
    header.set_data_shape((*planes[0].shape, len(planes)))
    header.set_zooms(np.linalg.norm(affine[:3, :3], axis=0))
    header.set_xyzt_units("mm")
    header.set_sform(affine, code="scanner")
    inverted = slices[0].get("PhotometricInterpretation") == "MONOCHROME1"
    return np.stack(planes, axis=-1), header, affine, str(slices[0].get("Modality") or "") or None, inverted


def stack_order(slices: list[Any], what: str) -> tuple[np.ndarray, list[Any]]:
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
    sizes = {(s.Rows, s.Columns) for s in slices}
    if len(sizes) > 1 or np.ptp(orientation, axis=0).max() > 1e-3 or np.ptp(spacing, axis=0).max() > 1e-3:
        raise ScanError(f"{what} holds slices of different size, spacing or orientation")
    along_row, along_column = orientation[0].reshape(2, 3)
    normal = np.cross(along_row, along_column)
    if len(slices) == 1:
        position = numbers("ImagePositionPatient", [0, 0, 0])
        step = normal * float(slices[0].get("SliceThickness") or 1)
    else:
        if any(not s.get("ImagePositionPatient") for s in slices):
            raise ScanError(f"{what} holds slices without a position, so their order is unknown")
        position = numbers("ImagePositionPatient", [])
        order = np.argsort(position @ normal)
        position, slices = position[order], [slices[i] for i in order]
        step = (position[-1] - position[0]) / (len(slices) - 1)
        gaps = np.diff(position @ normal)
        if gaps.min() < 1e-3:
            raise ScanError(f"{what} holds several slices at one position")
        even = position[0] + np.arange(len(slices))[:, None] * step
        if np.linalg.norm(position - even, axis=1).max() > _UNEVEN * np.linalg.norm(step):
            raise ScanError(
                f"{what} has slices missing or unevenly spaced: gaps of {gaps.min():g} to {gaps.max():g} mm"
            )
    affine = np.eye(4)
    affine[:3] = np.stack([along_row * spacing[0, 1], along_column * spacing[0, 0], step, position[0]], axis=1)
    return np.diag([-1.0, -1.0, 1.0, 1.0]) @ affine, slices
