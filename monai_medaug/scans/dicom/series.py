"""The images that are read: of one series, each once."""

from __future__ import annotations

from collections import Counter
from typing import Any

from monai_medaug.scans.dicom.objects import CAPTURE, IMAGE, LOCALIZER, object_kind, whole_element
from monai_medaug.scans.error import ScanError

_KNOWN_MODALITIES = frozenset(
    ("CR", "CT", "DX", "IO", "MG", "MR", "NM", "OCT", "OT", "PT", "PX", "RF", "RG", "RTIMAGE", "SC", "US", "XA")
)


def greyscale_images(objects: list[Any], folder: bool, what: str) -> tuple[list[Any], Counter[str]]:
    """The images among the objects, and how many of which kinds are passed over.

    Localizers and secondary captures are passed over beside other images, and read where there is nothing else.

    Raises:
        ScanError: there is no greyscale image.
    """
    kinds = [object_kind(o) for o in objects]
    taken = next((kind for kind in (IMAGE, CAPTURE, LOCALIZER) if kind in kinds), None)
    passed = Counter(kind for kind in kinds if kind != taken)
    if taken is None and not folder:
        hint = "; give a mask as NIfTI" if kinds[0].endswith(("Segmentation", "SEG")) else ""
        raise ScanError(f"{what} must be a greyscale image, got a DICOM of kind {kinds[0]}{hint}")
    if taken is None:
        raise ScanError(f"{what} must hold a greyscale image, got {said_counts(passed)}")
    images = [o for o, kind in zip(objects, kinds, strict=True) if kind == taken]
    unique = _without_duplicates(images)
    if len(unique) < len(images):
        passed["duplicate"] = len(images) - len(unique)
    return unique, passed


def chosen_series(images: list[Any], series: int | None, what: str) -> list[Any]:
    """The images of one series: of the only one, or of that with a number.

    Series count from 1: those with more slices come first, then those with lower numbers.

    Raises:
        ScanError: there are several and none is chosen, or there is none of this number.
    """
    groups: dict[str, list[Any]] = {}
    for image in images:
        groups.setdefault(str(image.get("SeriesInstanceUID") or ""), []).append(image)

    def rank(uid: str) -> tuple[int, float, str]:
        number = whole_element(groups[uid][0], "SeriesNumber")
        return -_slice_count(groups[uid]), float("inf") if number is None else number, uid

    ordered = [groups[uid] for uid in sorted(groups, key=rank)]
    if series is None and len(ordered) == 1:
        return ordered[0]
    if series is None or not 1 <= series <= len(ordered):
        listed = "; ".join(f"{k}: {_said_series(group)}" for k, group in enumerate(ordered, 1))
        if series is None:
            raise ScanError(f"{what} holds {len(ordered)} DICOM series: {listed}; choose one by its number (series)")
        raise ScanError(f"series must be one of those that {what} holds ({listed}), got {series}")
    return ordered[series - 1]


def said_counts(counts: Counter[str]) -> str:
    """Counts in words, the kinds in alphabetical order.

    Example:
        >>> said_counts(Counter(["RT Dose", "localizer", "localizer"]))
        '1 x RT Dose, 2 x localizer'
    """
    return ", ".join(f"{n} x {kind}" for kind, n in sorted(counts.items()))


def _slice_count(images: list[Any]) -> int:
    return sum(whole_element(image, "NumberOfFrames") or 1 for image in images)


def _said_series(images: list[Any]) -> str:
    """A series by what identifies nobody."""
    modality = str(images[0].get("Modality") or "")
    sizes = {(whole_element(image, "Columns"), whole_element(image, "Rows")) for image in images}
    size = "{} x {}".format(*next(iter(sizes))) if len(sizes) == 1 else "several sizes"
    known = modality if modality in _KNOWN_MODALITIES else "unknown modality"
    return f"{known}, {_slice_count(images)} slice(s) of {size}"


def _without_duplicates(images: list[Any]) -> list[Any]:
    """Without copies: of a slice at the same position with the same pixels, or of a whole multi-frame object."""

    def place(image: Any) -> tuple[str, ...]:
        names = ["SeriesInstanceUID", "ImagePositionPatient", "ImageOrientationPatient", "Rows", "Columns"]
        names += ["RescaleSlope", "RescaleIntercept"]
        if _slice_count([image]) > 1 or "PerFrameFunctionalGroupsSequence" in image:
            names.append("SOPInstanceUID")
        return tuple(str(image.get(name)) for name in names)

    places = [place(image) for image in images]
    shared = {p for p, n in Counter(places).items() if n > 1}
    kept: list[Any] = []
    seen: set[tuple[tuple[str, ...], bytes]] = set()
    for image, where in zip(images, places, strict=True):
        if where in shared and image.get("PixelData"):
            if (where, image.PixelData) in seen:
                continue
            seen.add((where, image.PixelData))
        kept.append(image)
    return kept
