"""The real images of the gallery: they come with pip packages; nothing is downloaded, and no text names a file."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from monai.data.meta_tensor import MetaTensor

from monai_medaug.functional.ct.hu import body_mask
from monai_medaug.functional.hounsfield import AIR_HU
from monai_medaug.scans.files import Scan, ScanError, read_scan

_LONGEST = 320
"""Pixels of a panel's longer side: five in a row fill a screen."""
_DETECTOR_MM = 0.2
"""Pixel of a computed radiography plate; the file states none."""
_SOURCES: dict[str, tuple[tuple[str, str], ...]] = {
    "ct": (
        ("J2K_pixelrep_mismatch.dcm", "CT of a head at the skull base, which comes with pydicom."),
        ("CT_small.dcm", "CT of a spine, which comes with pydicom."),
    ),
    "mri": (("examples_overlay.dcm", "MRI of an abdomen with contrast agent, which comes with pydicom."),),
    "xray": (
        (
            "RG1_UNCR.dcm",
            "Chest radiograph, which comes with pydicom-data; stored inverted, inverted back for the transforms. The "
            f"file states no pixel size: {_DETECTOR_MM:g} mm, usual for such plates, is taken.",
        ),
    ),
}
MISSING_TEXT = {
    "ct": "There is no CT slice: pydicom is installed without its test files.",
    "mri": "There is no MR slice: pydicom is installed without its test files.",
    "xray": "There is no radiograph: these need the package pydicom-data (pip install pydicom-data).",
}


@dataclass(frozen=True)
class GalleryImage:
    """A real image as the gallery shows it.

    Attributes:
        modality: ct, mri or xray.
        image: (1, X, Y) with its affine, reduced to the pixels that are shown; CT in HU, a radiograph from 0 to 1 with
            bright bone.
        window: (low, high) of the display.
        text: what it is and where it comes from.
    """

    modality: str
    image: MetaTensor
    window: tuple[float, float]
    text: str


def gallery_image(modality: str) -> GalleryImage | None:
    """The real image of a modality; None where the package that brings it is not installed.

    Args:
        modality: ``"ct"``, ``"mri"`` or ``"xray"``.

    Example:
        >>> image = gallery_image("mri")
        >>> image.text, max(image.image.shape)
        ('MRI of an abdomen with contrast agent, which comes with pydicom.', 320)
    """
    from pydicom.data import get_testdata_file

    for name, text in _SOURCES[modality]:
        path = get_testdata_file(name, download=False)
        if path is None:
            continue
        try:
            scan = read_scan(path)
        except ScanError:  # no decoder for its compression
            continue
        return _gallery_ready(scan, modality, text)
    return None


def _gallery_ready(scan: Scan, modality: str, text: str) -> GalleryImage:
    image, affine = scan.image.as_tensor()[0].double(), scan.image.affine.clone()
    if modality == "ct":
        image = image.clamp(min=AIR_HU)  # padding outside the reconstructed circle
        image, affine = _about_patient(image, affine)
    elif modality == "xray":
        if bool((affine[:3, :3].norm(dim=0) == 1).all()):  # 1 mm stands for an unstated size
            affine = affine @ torch.diag(torch.tensor([_DETECTOR_MM, _DETECTOR_MM, 1, 1], dtype=affine.dtype))
        image = (image - image.min()) / (image.max() - image.min())
        image = 1 - image if scan.inverted else image
    shown = _fewer_pixels(image, affine, _LONGEST)
    low, high = (float(v) for v in np.percentile(shown.numpy(), (0.5, 99)))
    window = {"ct": (-160.0, 240.0), "mri": (0.0, high), "xray": (low, max(high, 1.05))}[modality]
    return GalleryImage(modality, shown, window, text)


def _about_patient(image: torch.Tensor, affine: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """A square around the patient, with some air: transforms that trace rays need the whole patient."""
    body = body_mask(image).nonzero().numpy()
    low, high = body.min(0), body.max(0) + 1
    side = min(int((high - low).max() * 1.06), *image.shape)
    first = np.clip((low + high - side) // 2, 0, np.array(image.shape) - side)
    moved = affine.clone()
    moved[:3, 3] += affine[:3, :2] @ torch.from_numpy(first).to(affine)
    return image[first[0] : first[0] + side, first[1] : first[1] + side], moved


def _fewer_pixels(image: torch.Tensor, affine: torch.Tensor, longest: int) -> MetaTensor:
    """The same field of view in at most ``longest`` pixels along a side, without aliasing."""
    factor = max(1.0, max(image.shape) / longest)
    size = [round(n / factor) for n in image.shape]
    small = torch.nn.functional.interpolate(image[None, None], size, mode="bilinear", antialias=True)[0]
    step = torch.tensor([n / m for n, m in zip(image.shape, size, strict=True)] + [1, 1], dtype=affine.dtype)
    moved = affine @ torch.diag(step)
    moved[:3, 3] += affine[:3, :3] @ ((step[:3] - 1) / 2)
    return MetaTensor(small.float(), affine=moved)
