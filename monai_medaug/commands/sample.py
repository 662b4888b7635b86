"""An augmented sample: the check of its modality, the preset for it, and the files that are written."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from monai_medaug.scans.files import Scan
    from monai_medaug.transforms import AugmentationPreset, Report


@dataclass(frozen=True)
class ImageKind:
    """What the command line calls a modality: a name for messages, and the DICOM modalities that it covers."""

    name: str
    dicom: tuple[str, ...]


MODALITIES = {
    "ct": ImageKind("CT", ("CT",)),
    "mri": ImageKind("an MR image", ("MR",)),
    "xray": ImageKind("a radiograph", ("CR", "DX", "IO", "MG", "PX", "RF", "RG", "XA")),
}


def require_modality(scan: Scan, modality: str, what: str = "the input file") -> None:
    """Refuse a scan that states another modality, or whose values cannot be of this one.

    Raises:
        ValueError: the scan is not of the modality.

    Example:
        >>> import torch
        >>> from monai_medaug.scans import Scan
        >>> require_modality(Scan(torch.zeros(1, 4, 4), None, (4, 4), "MR", False), "ct")
        Traceback (most recent call last):
        ValueError: the input file is a DICOM of modality MR, not CT
    """
    from monai_medaug.transforms.ct.units import require_hu

    kind = MODALITIES[modality]
    if scan.modality is not None and scan.modality not in kind.dicom:
        raise ValueError(f"{what} is a DICOM of modality {scan.modality}, not {kind.name}")
    lowest, highest = float(scan.image.min()), float(scan.image.max())
    if modality == "ct":
        require_hu(scan.image, what, "give the scan as it was reconstructed")
    if lowest == highest:
        raise ValueError(f"{what} holds only one value, {lowest:g}")


LABELS = ("mask", "lesion")
"""Keys of what isn't an image."""
SETTINGS = {"low_dose_screening": "ct", "skull_stripped": "mri", "portable": "xray"}
"""Flags of the presets, with the modality that knows them."""


def modality_preset(
    modality: str, scans: Mapping[str, Scan], strength: str, inverted: bool = False, settings: Sequence[str] = ()
) -> AugmentationPreset:
    """The preset of a modality for the keys ``mask`` and ``lesion``, where they are given, and the images: all others.

    Args:
        modality: one of `MODALITIES`.
        scans: the images, or nothing for ``image``, and the masks.
        strength: of the preset.
        inverted: of a radiograph.
        settings: those of `SETTINGS` to set.

    Raises:
        ValueError: a setting is another modality's.

    Example:
        >>> modality_preset("ct", {}, "light").keys
        ('image',)
    """
    from monai_medaug.transforms import ct_augmentation, mri_augmentation, xray_augmentation

    for name in settings:
        if SETTINGS[name] != modality:
            raise ValueError(f"--{name.replace('_', '-')} goes with --modality {SETTINGS[name]}, got {modality}")
    chosen: dict[str, Any] = dict.fromkeys(settings, True)
    images = [k for k in scans if k not in LABELS] or ["image"]
    masks, lesion = [k for k in scans if k == "mask"], "lesion" if "lesion" in scans else None
    if modality == "xray":
        return xray_augmentation(images, masks, lesion, strength, inverted=inverted, **chosen)
    preset = ct_augmentation if modality == "ct" else mri_augmentation
    return preset(images, masks, lesion, strength, **chosen)


def write_sample(
    scans: Mapping[str, Scan],
    augment: AugmentationPreset,
    modality: str,
    inverted: bool,
    out: Path,
    names: Mapping[str, str],
) -> Report:
    """Augment once, and write all files of the sample or none; files of an earlier run are removed.

    Args:
        scans: the image, further ones of other channels, and mask and lesion where they are given.
        augment: the preset, seeded.
        modality: of the image, for the picture.
        inverted: whether low values of a radiograph are bright.
        out: the folder.
        names: of the files for the keys of the scans, report and figure.

    Returns:
        The report.
    """
    from monai_medaug.figures import augmentation_figure
    from monai_medaug.scans import staged, write_scan
    from monai_medaug.transforms import augmentation_report

    before = {key: scan.image for key, scan in scans.items()}
    after = augment(before)
    report = augmentation_report(after)
    shown = "mask" if "mask" in scans else "lesion"
    style: dict[str, Any] = {"window": "soft_tissue" if modality == "ct" else None}
    if modality == "xray":
        style |= {"inverted": inverted, "oriented": False}
    with staged(out) as folder:
        for key, scan in scans.items():
            write_scan(after[key], scan, folder / names[key])
        (folder / names["report"]).write_text(report.to_json() + "\n", encoding="utf-8")
        figure = folder / names["figure"]
        masks = (before.get(shown), after.get(shown))
        augmentation_figure(before["image"], after["image"], *masks, report, path=figure, **style)
    for key in set(LABELS) & names.keys() - scans.keys():
        (out / names[key]).unlink(missing_ok=True)
    return report
