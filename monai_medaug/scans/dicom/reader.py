"""A DICOM file or folder as one image."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

from monai_medaug.scans.content import FileContent, header_of
from monai_medaug.scans.dicom.gaps import numbering_gaps
from monai_medaug.scans.dicom.objects import CAPTURE, dicom_objects, object_kind, whole_element
from monai_medaug.scans.dicom.planes import Plane, image_planes, incomplete_images
from monai_medaug.scans.dicom.series import chosen_series, greyscale_images, said_counts
from monai_medaug.scans.dicom.stack import stack_order
from monai_medaug.scans.error import ScanError


def read_dicom(path: Path, what: str, series: int | None = None) -> FileContent:
    """The slices of a file or folder, ordered by position along the normal.

    Args:
        path: a file, or a folder; other objects beside the images of a folder are passed over.
        what: name for error messages.
        series: the number of a series among several, from 1.

    Raises:
        ScanError: no greyscale image, broken files, several series, uneven slices, or no decoder for the compression.
    """
    objects = dicom_objects(path, what)
    images, passed = greyscale_images(objects, path.is_dir(), what)
    images = chosen_series(images, series, what)
    if broken := incomplete_images(images):
        share = f"{broken} of {len(images)} images are " if len(images) > 1 else "it is "
        raise ScanError(f"{what} is a broken DICOM: {share}cut short or without pixels")
    affine, slices = stack_order([plane for image in images for plane in image_planes(image, what)], what)
    array = _stacked_voxels(slices, what)
    first = images[0]
    inverted = str(first.get("PhotometricInterpretation")).strip().upper() == "MONOCHROME1"
    notices = _said_notices(objects, slices, passed, what)
    modality = str(first.get("Modality") or "") or None
    return FileContent(array, header_of(array.shape, affine), affine, modality, inverted, notices=notices)


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
