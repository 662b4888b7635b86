"""A DICOM file or folder as one image."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from monai_medaug.scans.dicom.error import ScanError
from monai_medaug.scans.dicom.gaps import numbering_gaps
from monai_medaug.scans.dicom.objects import CAPTURE, dicom_objects, object_kind, whole_element
from monai_medaug.scans.dicom.planes import Plane, image_planes, incomplete_images
from monai_medaug.scans.dicom.series import chosen_series, greyscale_images, said_counts
from monai_medaug.scans.dicom.stack import stack_order


@dataclass(frozen=True)
class DicomImage:
    """What is read.

    Attributes:
        array: voxels (column, row, slice) in float32 after slope and intercept.
        header: a NIfTI header with the geometry.
        affine: to RAS+ mm, sheared for a tilted gantry.
        modality: as stated, or None.
        inverted: whether low values are bright (MONOCHROME1).
        notices: for the user, without values that identify.
    """

    array: np.ndarray
    header: Any
    affine: np.ndarray
    modality: str | None
    inverted: bool
    notices: tuple[str, ...]


def read_dicom(path: Path, what: str, series: int | None = None) -> DicomImage:
    """The slices of a file or folder, ordered by position along the normal.

    Args:
        path: a file, or a folder; other objects beside the images of a folder are passed over.
        what: name for error messages.
        series: the number of a series among several, from 1.

    Raises:
        ScanError: no greyscale image, broken files, several series, uneven slices, or no decoder for the compression.
    """
    import nibabel as nib

    objects = dicom_objects(path, what)
    images, passed = greyscale_images(objects, path.is_dir(), what)
    images = chosen_series(images, series, what)
    if broken := incomplete_images(images):
        share = f"{broken} of {len(images)} images are " if len(images) > 1 else "it is "
        raise ScanError(f"{what} is a broken DICOM: {share}cut short or without pixels")
    affine, slices = stack_order([plane for image in images for plane in image_planes(image, what)], what)
    header = nib.Nifti1Header()
    array = _stacked_voxels(slices, what)
    header.set_data_shape(array.shape)
    header.set_zooms(np.linalg.norm(affine[:3, :3], axis=0))
    header.set_xyzt_units("mm")
    header.set_sform(affine, code="scanner")
    first = images[0]
    inverted = str(first.get("PhotometricInterpretation")).strip().upper() == "MONOCHROME1"
    notices = _said_notices(objects, slices, passed, what)
    return DicomImage(array, header, affine, str(first.get("Modality") or "") or None, inverted, notices)


def _stacked_voxels(slices: list[Plane], what: str) -> np.ndarray:
    stack = np.empty(0)
    for k, plane in enumerate(slices):
        try:
            values = plane.values()
        except (RuntimeError, NotImplementedError, ImportError, AttributeError, ValueError):
            raise ScanError(f"{what} cannot be decoded: broken, or compressed and no decoder installed") from None
        if k == 0:
            stack = np.empty((len(slices), *values.shape), np.float32)
        stack[k] = values
    return stack.transpose(2, 1, 0)


def _said_notices(objects: list[Any], slices: list[Plane], passed: Counter[str], what: str) -> tuple[str, ...]:
    first, said = slices[0].source, []
    if passed:
        said.append(f"{what} holds more than the images that are read: {said_counts(passed)} passed over")
    used = {id(plane.source) for plane in slices}
    beside = [o for o in objects if id(o) not in used and o.get("SeriesInstanceUID") == first.get("SeriesInstanceUID")]
    numbers = [n for o in beside if (n := whole_element(o, "InstanceNumber")) is not None]
    if doubt := numbering_gaps(slices, numbers):
        said.append(f"the instance numbers of the slices in {what} {doubt}")
    if object_kind(first) == CAPTURE:
        said.append(f"{what} is a secondary capture: its values may not be those that the scanner measured")
    return tuple(said)
