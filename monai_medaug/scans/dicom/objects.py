"""The DICOM objects of a file or folder, and their kinds."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from monai_medaug.scans.error import ScanError

IMAGE, LOCALIZER, CAPTURE, SCREENSHOT, COLOURED = (
    "image",
    "localizer",
    "secondary capture",
    "screenshot",
    "colour image",
)
"""Kinds of images; objects of all other kinds are called after their SOP class, as in "RT Dose"."""

_LITTER = frozenset({"thumbs.db", "desktop.ini", "dicomdir", "autorun.inf"})
_OTHER_TYPES = (
    *(".bat", ".bmp", ".cfg", ".chm", ".css", ".csv", ".db", ".dll", ".doc", ".docx", ".exe", ".gif", ".htm", ".html"),
    *(".icns", ".ico", ".inf", ".ini", ".jar", ".jpeg", ".jpg", ".js", ".json", ".lnk", ".log", ".md", ".mp4", ".nii"),
    *(".nii.gz", ".pdf", ".png", ".rtf", ".sh", ".tif", ".tiff", ".txt", ".url", ".xls", ".xlsx", ".xml", ".yaml"),
    *(".yml", ".zip"),
)
"""Files that lie beside exported images; one of them that is DICOM all the same is read."""

_IMAGE_CLASSES = "1.2.840.10008.5.1.4."
_FIRST_GROUPS = (b"\x02\0", b"\x08\0", b"\0\x02", b"\0\x08")
"""Groups 2 and 8 in both byte orders, of which the first element of a file without a preamble is."""

_SCREENS = frozenset({"SCREEN SAVE", "SCREENSHOT", "DOSE_INFO", "CSA BLACK IMAGE"})
_DRAWN = frozenset({"DRW", "SD"})
"""Conversion types of secondary captures that are drawings or scanned documents."""


def dicom_objects(path: Path, what: str) -> list[Any]:
    """Read all objects of a file or folder, in the order of their names.

    Hidden files, the litter of operating systems, directories (DICOMDIR), text and files of other types are passed
    over. Any other file that cannot be read may be a slice, and a volume without it would be wrong in silence: it is an
    error.

    Raises:
        ScanError: there is no DICOM, or a file that cannot be read.
    """
    if not path.is_dir():
        if (dataset := _read_object(path)) is None:
            raise ScanError(f"{what} is broken, or neither NIfTI nor DICOM")
        return [dataset]
    files = sorted(p for p in path.iterdir() if not p.is_dir() and not _is_litter(p.name))  # dangling links too
    read = [(file, _read_object(file)) for file in files]
    found = [dataset for _, dataset in read if dataset is not None]
    broken = sum(
        dataset is None and not file.name.lower().endswith(_OTHER_TYPES) and not _is_text(file)
        for file, dataset in read
    )
    if not found:
        deeper = sum(any(not _is_litter(name) for name in names) for _, _, names in os.walk(path)) - bool(files)
        hint = f", but {deeper} folder(s) inside hold files: give the one that holds the series" if deeper else ""
        raise ScanError(f"{what} holds no DICOM file{hint}")
    if broken:
        raise ScanError(
            f"{what} has {broken} of {len(found) + broken} files that are broken or not DICOM: slices may be missing; "
            "mend these files or take them out"
        )
    return found


def is_dicom(file: Path) -> bool:
    """Whether a file is DICOM by its begin; one without the usual preamble is read to find out."""
    try:
        with file.open("rb") as opened:
            start = opened.read(132)
    except OSError:
        return False
    return start[128:] == b"DICM" or (start[:2] in _FIRST_GROUPS and _read_object(file) is not None)


def object_kind(dataset: Any) -> str:
    """The kind of an object: by its SOP class, and for images also by their type and colours."""
    sop_class = _class_of(dataset)
    name = sop_class.name if sop_class is not None else ""
    if sop_class is not None and name != sop_class and not _is_image_class(sop_class):
        return name.removesuffix(" Storage").removesuffix(" - Trial")
    if name in ("", sop_class) and "PixelData" not in dataset:  # of a vendor
        return "object of a private kind"
    if dataset.get("Modality") in ("SEG", "RTDOSE"):
        return str(dataset.Modality)
    if not _is_grey(dataset):
        return COLOURED
    types = {str(part).strip().upper() for part in _parts(dataset.get("ImageType"))}
    if "Secondary Capture" in name:
        drawn = str(dataset.get("ConversionType") or "").strip() in _DRAWN
        return SCREENSHOT if drawn or types & _SCREENS else CAPTURE
    return LOCALIZER if "LOCALIZER" in types else IMAGE


def whole_element(dataset: Any, name: str) -> int | None:
    """An element as a whole number; None where it is missing or malformed."""
    try:
        return int(dataset.get(name))
    except (TypeError, ValueError, OverflowError):
        return None


def _is_grey(dataset: Any) -> bool:
    """Whether an image is grey; one cut before this is said counts, and is found to be broken later."""
    if "Rows" not in dataset:
        return True
    photometric = str(dataset.get("PhotometricInterpretation") or "MONOCHROME2").strip().upper()
    drawn = str(dataset.get("PixelPresentation") or "MONOCHROME").strip().upper()
    grey = photometric in ("MONOCHROME1", "MONOCHROME2") and drawn in ("MONOCHROME", "TRUE_COLOR")
    return grey and (whole_element(dataset, "SamplesPerPixel") or 1) == 1


def _parts(value: Any) -> list[Any]:
    return [] if value is None else [value] if isinstance(value, str) else list(value)


def _is_text(file: Path) -> bool:
    """Whether a file is text by its begin, and not named like a slice: a licence or checksums."""
    if any(letter.isdigit() for letter in file.stem):
        return False
    try:
        with file.open("rb") as stream:
            start = stream.read(512)
    except OSError:
        return False
    return bool(start) and not any(byte < 9 or 13 < byte < 32 for byte in start)


def _is_litter(name: str) -> bool:
    return name.startswith(".") or name.lower() in _LITTER


def _class_of(dataset: Any) -> Any:
    """The SOP class, or None; some files state it only before the data set."""
    return dataset.get("SOPClassUID") or dataset.file_meta.get("MediaStorageSOPClassUID") or None


def _is_remnant(dataset: Any) -> bool:
    """Whether an object without pixels was cut so early that nobody can say what it was part of."""
    sop_class = _class_of(dataset)
    return len(dataset) == 0 or sop_class is None or (_is_image_class(sop_class) and "SeriesInstanceUID" not in dataset)


def _is_image_class(sop_class: Any) -> bool:
    return "Image Storage" in sop_class.name and "Non-Image" not in sop_class.name


def _read_object(file: Path) -> Any:
    """A file's data set; None where it is no DICOM or cut before its pixels and series."""
    import pydicom
    from pydicom.uid import ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian

    try:
        try:
            dataset = pydicom.dcmread(file)
        except pydicom.errors.InvalidDicomError:  # older devices write no preamble
            with file.open("rb") as opened:  # an archive is not read whole to find out
                if opened.read(2) not in _FIRST_GROUPS:
                    return None
            dataset = pydicom.dcmread(file, force=True)
            if not str(dataset.get("SOPClassUID") or "").startswith(_IMAGE_CLASSES):
                return None
        if "PixelData" not in dataset and _is_remnant(dataset):
            return None
        if not dataset.file_meta.get("TransferSyntaxUID"):
            implicit, little = dataset.original_encoding
            explicit = ExplicitVRLittleEndian if little else ExplicitVRBigEndian
            dataset.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian if implicit else explicit
    except Exception:  # pydicom raises many kinds for broken files
        return None
    return dataset
