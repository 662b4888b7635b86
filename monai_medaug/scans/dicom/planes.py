"""Slices of DICOM images: a file of its own each, or a frame of an enhanced image with its functional groups."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from monai_medaug.scans.dicom.objects import whole_element
from monai_medaug.scans.error import ScanError


@dataclass(frozen=True)
class Plane:
    """A slice.

    Attributes:
        source: the data set that holds its pixels.
        frame: index among the frames of the source.
        groups: elements of its functional groups, shared and its own; None for a classic image.
    """

    source: Any
    frame: int = 0
    groups: Any = None

    def get(self, name: str, default: Any = None) -> Any:
        """An element by keyword: of the frame, else of the whole object."""
        if self.groups is not None and name in self.groups:
            return self.groups.get(name)
        return self.source.get(name, default)

    @property
    def number(self) -> int | None:
        """The instance number of a classic image; None for a frame."""
        return whole_element(self.source, "InstanceNumber") if self.groups is None else None

    def values(self) -> np.ndarray:
        """The voxels (row, column) after slope and intercept, in the decoder's or in double precision."""
        from pydicom.pixels import apply_modality_lut, pixel_array

        stored = pixel_array(self.source, index=self.frame)
        own = self.groups is not None and ("RescaleSlope" in self.groups or "ModalityLUTSequence" in self.groups)
        return apply_modality_lut(stored, self.groups if own else self.source)


def image_planes(image: Any, what: str) -> list[Plane]:
    """The slices of an image in the order of its frames.

    Raises:
        ScanError: its frames do not say where they lie, or are fewer than their descriptions.
    """
    frames = whole_element(image, "NumberOfFrames") or 1
    shared, own = (image.get(f"{which}FunctionalGroupsSequence") for which in ("Shared", "PerFrame"))
    if not shared and not own:
        if frames > 1:
            raise ScanError(f"{what} must hold slices, got several frames whose places in space are not stated")
        return [Plane(image)]
    if own and len(own) != frames:
        raise ScanError(f"{what} is a broken DICOM: {frames} frames, and {len(own)} descriptions of frames")
    return [Plane(image, k, _merged([*(shared or []), *([own[k]] if own else [])])) for k in range(frames)]


def incomplete_images(images: list[Any]) -> int:
    """How many images lack pixels or part of them."""
    return sum(_is_incomplete(image) for image in images)


def _is_incomplete(image: Any) -> bool:
    if not image.get("PixelData") or any(name not in image for name in ("Rows", "Columns", "BitsAllocated")):
        return True
    if image.file_meta.TransferSyntaxUID.is_encapsulated:
        return False  # the decoder tells
    frames = whole_element(image, "NumberOfFrames") or 1
    return len(image.PixelData) * 8 < image.Rows * image.Columns * image.BitsAllocated * frames


def _merged(items: list[Any]) -> Any:
    """The elements inside of functional groups as one data set, where later ones replace earlier ones."""
    from pydicom import Dataset

    merged = Dataset()
    for item in items:
        for group in item:
            if group.VR == "SQ" and len(group.value):
                for element in group.value[0]:
                    merged.add(element)
    return merged
