"""Scans on disk: NIfTI, DICOM and others in, NIfTI out with the same geometry and without a patient's data."""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
import tempfile
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from monai.data.meta_tensor import MetaTensor

from monai_medaug.core.arguments import number, whole_number
from monai_medaug.core.tensors import say_once
from monai_medaug.functional.geometry.grid import VoxelGrid
from monai_medaug.functional.labels import whole_labels
from monai_medaug.scans.content import FileContent, one_volume
from monai_medaug.scans.dicom import read_dicom
from monai_medaug.scans.error import ScanError
from monai_medaug.scans.formats import META_IMAGES, NRRDS, PICTURES, read_meta_image, read_nrrd, read_picture
from monai_medaug.scans.nifti import is_nifti, read_nifti

__all__ = ["Scan", "ScanError", "read_scan", "staged", "write_scan"]
_FLOAT32 = float(np.finfo(np.float32).min), float(np.finfo(np.float32).max)


@dataclass(frozen=True)
class Scan:
    """A scan as input of transforms, with the geometry to write results.

    Attributes:
        image: channel-first (1, X, Y) or (1, X, Y, Z) with a RAS+ affine in mm, as from MONAI's `LoadImage`; float32
            (HU for CT: slope and intercept are applied), or whole numbers for a mask. A single slice is 2D.
        header: a new NIfTI header with the geometry alone.
        shape: shape in the file, where a single slice has a third axis of 1.
        modality: DICOM modality, "CT", "MR", "DX", ...; None for other formats.
        inverted: whether low values are bright (MONOCHROME1).
        placement: how sure the affine is: ``"stated"``; ``"disputed"``, if sform and qform of a NIfTI disagree;
            ``"guessed"``, if both have code 0, or an NRRD doesn't say how the patient lies; ``"none"`` for a PNG, JPEG,
            TIFF or BMP.
    """

    image: MetaTensor
    header: Any
    shape: tuple[int, ...]
    modality: str | None = None
    inverted: bool = False
    placement: str = "stated"


def read_scan(
    path: str | os.PathLike,
    labels: bool = False,
    what: str = "the input file",
    volume: int | None = None,
    nan_as: float | None = None,
    series: int | None = None,
    complex_values: bool = False,
) -> Scan:
    """Read a NIfTI file, a DICOM file, a folder with the slices of a DICOM series, or a file of another format.

    Slices are ordered by position along the normal; a tilted gantry gives a sheared affine. Padding values outside the
    reconstructed circle stay unchanged. In a folder, what is no image of the series is passed over with a notice:
    reports, plans, segmentations, localizers, screenshots, duplicates. Pictures are (column, row), as DICOM images, in
    pixels of 1 mm.

    Args:
        path: NIfTI (``.nii``, ``.nii.gz``, ``.hdr`` beside ``.img``), NRRD (``.nrrd``, needs pynrrd), MetaImage
            (``.mha``, ``.mhd``, needs itk), or a greyscale picture (``.png``, ``.jpg``, ``.tif``, ``.bmp``); any other
            name is read as DICOM.
        labels: read a mask: whole numbers, in the file's integer type. Floats may lie up to 0.03 off.
        what: name of the file for error messages.
        volume: which volume of a file with several, from 1. A mask of one serves every volume.
        nan_as: finite value that replaces NaN; None refuses them.
        series: which DICOM series of a folder with several, from 1; an error lists them.
        complex_values: take the complex images of a NIfTI file as they are; else they are refused.

    Raises:
        ScanError: missing, broken, not a greyscale image of 2 or 3 axes, several series or volumes and none chosen, no
            such one, uneven slices, a file of the folder that can't be read, values that are not finite, or the package
            for its format isn't installed.
        ValueError: ``volume`` or ``nan_as`` is not such a number.

    Example:
        >>> from pydicom.data import get_testdata_file
        >>> scan = read_scan(get_testdata_file("CT_small.dcm", download=False))
        >>> scan.modality, tuple(scan.image.shape), float(scan.image.min()), float(scan.image.max())
        ('CT', (1, 128, 128), -896.0, 1167.0)
    """
    path = Path(path)
    volume = None if volume is None else whole_number("volume", volume, 1)
    nan_as = None if nan_as is None else number("nan_as", nan_as, *_FLOAT32)
    try:
        with _discreet():
            if not path.exists():
                raise ScanError(f"{what} does not exist")
            content = _read(path, what, labels, volume, series)
            array, affine = content.array, content.affine
            if array.dtype.kind == "c" and (labels or not complex_values):
                raise ScanError(f"{what} must be a greyscale image, got voxels of type {array.dtype}")
            kind = np.complex64 if array.dtype.kind == "c" else np.float32
            array = _labels(array, nan_as, what) if labels else _finite(array.astype(kind, copy=False), nan_as, what)
    except ScanError:
        raise
    except Exception as error:  # the readers raise many kinds, whose messages name the path
        raise ScanError(
            f"{what} cannot be read: it is broken, incomplete or unreadable ({type(error).__name__})"
        ) from None
    if not np.isfinite(affine).all() or abs(np.linalg.det(affine)) < 1e-12:
        raise ScanError(f"{what} has no usable geometry: its affine is singular or not finite")
    for notice in content.notices:
        say_once(notice)
    shape = array.shape
    spatial = shape[:2] if all(n == 1 for n in shape[2:]) else shape[:3]
    image = torch.from_numpy(np.ascontiguousarray(array).reshape(1, *spatial))
    image = MetaTensor(image, affine=torch.from_numpy(affine))
    return Scan(image, content.header, shape, content.modality, content.inverted, content.placement)


def write_scan(image: torch.Tensor, scan: Scan, path: str | os.PathLike) -> None:
    """Write a result with the geometry of a scan as NIfTI; an error leaves no partial file.

    Args:
        image: (1, *spatial) on the grid of ``scan``, or on a finer one over the same field of view; the file has its
            type.
        scan: the input of the result, of which only the geometry is written.
        path: ends in ``.nii`` or ``.nii.gz``; a missing folder is created.

    Raises:
        ValueError: the image is on another grid.
        OSError: the folder cannot be written.
    """
    import nibabel as nib

    old = tuple(scan.image.shape)
    if image.ndim != len(old) or image.shape[0] != old[0] or any(m < n for m, n in zip(image.shape, old, strict=True)):
        raise ValueError(f"image must have the scan's shape {old} or a finer one, got {tuple(image.shape)}")
    shape = (*image.shape[1:], *scan.shape[len(old) - 1 :])
    array = image.detach().cpu().numpy().reshape(shape)
    header = scan.header.copy() if shape == scan.shape else _finer_header(scan, shape)
    header.set_data_dtype(array.dtype)
    kind = nib.Nifti2Image if isinstance(header, nib.Nifti2Header) else nib.Nifti1Image
    path = Path(path)
    with staged(path.parent) as folder:
        nib.save(kind(array, None, header), folder / path.name)


def _finer_header(scan: Scan, shape: tuple[int, ...]) -> Any:
    """The header of a grid of more voxels over the same field of view; what was not stated stays so."""
    header = scan.header.copy()
    sform, qform = int(header["sform_code"]), int(header["qform_code"])
    zooms = [z * n / m for z, n, m in zip(header.get_zooms(), scan.shape, shape, strict=True)]
    old, new = (*scan.shape, 1)[:3], (*shape, 1)[:3]
    placed = {
        name: VoxelGrid(old, affine.tolist()).resized(new).affine
        for name, affine, code in (("sform", header.get_sform(), sform), ("qform", header.get_qform(), qform))
        if code > 0
    }
    header.set_data_shape(shape)
    header.set_zooms(zooms)
    if "qform" in placed:
        header.set_qform(placed["qform"], qform)
    if "sform" in placed:
        header.set_sform(placed["sform"], sform)
    return header


@contextlib.contextmanager
def staged(folder: str | os.PathLike) -> Iterator[Path]:
    """A temporary folder inside ``folder``, into which all its files move together at the end.

    Any error or interrupt removes the files and the folders created for them.

    Example:
        >>> with tempfile.TemporaryDirectory() as home, staged(Path(home) / "out") as temporary:
        ...     _ = (temporary / "report.json").write_text("{}")
    """
    folder = Path(folder)
    missing = [p for p in (folder, *folder.parents) if not p.exists()]
    temporary, moved = None, []
    try:
        folder.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(prefix=".unfinished-", dir=folder))
        yield temporary
        for file in sorted(temporary.iterdir()):
            moved.append(folder / file.name)
            os.replace(file, moved[-1])
    except BaseException:
        for file in moved:
            file.unlink(missing_ok=True)
        raise
    finally:
        if temporary is not None:
            shutil.rmtree(temporary, ignore_errors=True)
        with contextlib.suppress(OSError):  # folders with files
            for made in missing:
                made.rmdir()


@contextlib.contextmanager
def _discreet() -> Iterator[None]:
    """Silence the readers, whose warnings and log lines quote values and paths."""
    loggers = [logging.getLogger(name) for name in ("pydicom", "nibabel.global", "PIL.Image", "PIL.TiffImagePlugin")]
    before = [logger.disabled for logger in loggers]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for logger in loggers:
            logger.disabled = True
        try:
            yield
        finally:
            for logger, state in zip(loggers, before, strict=True):
                logger.disabled = state


def _read(path: Path, what: str, labels: bool, volume: int | None, series: int | None) -> FileContent:
    """The content of a file, by the reader that its name asks for."""
    suffix = "" if path.is_dir() else path.suffix.lower()
    if series is not None and suffix and (is_nifti(path) or suffix in (*META_IMAGES, *NRRDS, *PICTURES)):
        raise ScanError(f"series (--series) chooses among DICOM series, and {what} is no DICOM")
    if suffix and is_nifti(path):
        return read_nifti(path, what, labels, volume)
    if suffix in META_IMAGES:
        return read_meta_image(path, what, labels, volume)
    if suffix in NRRDS:
        return read_nrrd(path, what, labels, volume)
    content = read_picture(path, what, labels) if suffix in PICTURES else read_dicom(path, what, series)
    return content._replace(array=one_volume(content.array, volume, labels, what))


def _finite(array: np.ndarray, nan_as: float | None, what: str) -> np.ndarray:
    """Refuse infinite values, and NaN unless they are replaced."""
    if array.dtype.kind not in "fc" or np.isfinite(array).all():
        return array
    missing = np.isnan(array)
    infinite = int(np.isinf(array).sum())
    if infinite:
        raise ScanError(f"{what} holds {infinite} infinite values, or too large for float32: they must be finite")
    if nan_as is None:
        raise ScanError(
            f"{what} holds NaN in {int(missing.sum())} of {missing.size} voxels: name the value that they become by "
            "nan_as (--nan-as, where it is 0 in masks)"
        )
    return np.where(missing, array.dtype.type(nan_as), array)


def _labels(array: np.ndarray, nan_as: float | None, what: str) -> np.ndarray:
    """Labels in the file's integer type; floats in one that holds them."""
    if array.dtype.kind != "f":
        return array.astype(np.int64) if array.dtype in (np.uint32, np.uint64) else array
    array = _finite(array.astype(np.float64), nan_as, what)
    try:
        whole = whole_labels(torch.from_numpy(array), what, ", one per label").numpy()
    except ValueError as error:
        raise ScanError(str(error)) from None
    ends = whole.min(), whole.max()
    fitting = next(
        t for t in (np.uint8, np.int32, np.int64) if np.iinfo(t).min <= ends[0] and ends[1] <= np.iinfo(t).max
    )
    return whole.astype(fitting)
