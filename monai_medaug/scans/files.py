"""Scans on disk: NIfTI and DICOM in, NIfTI out with the same geometry and without a patient's data."""

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

from monai_medaug.core.tensors import say_once
from monai_medaug.functional.geometry.grid import VoxelGrid
from monai_medaug.scans.dicom import ScanError, read_dicom

__all__ = ["Scan", "ScanError", "read_scan", "require_same_place", "staged", "write_scan"]

_GEOMETRY_FIELDS = (
    *("pixdim", "xyzt_units", "qform_code", "sform_code", "quatern_b", "quatern_c", "quatern_d"),
    *("qoffset_x", "qoffset_y", "qoffset_z", "srow_x", "srow_y", "srow_z"),
)


@dataclass(frozen=True)
class Scan:
    """A scan as input of transforms, with the geometry to write results.

    Attributes:
        image: channel-first (1, X, Y) or (1, X, Y, Z) with a RAS+ affine in mm, as from MONAI's `LoadImage`; float32
            (HU for CT: slope and intercept are applied), or whole numbers for a mask. A single slice is 2D.
        header: a new NIfTI header with the geometry alone.
        shape: shape in the file, where a single slice has a third axis of 1.
        modality: DICOM modality, "CT", "MR", "DX", ...; None for NIfTI.
        inverted: whether low values are bright (MONOCHROME1).
    """

    image: MetaTensor
    header: Any
    shape: tuple[int, ...]
    modality: str | None = None
    inverted: bool = False


def read_scan(
    path: str | os.PathLike, labels: bool = False, what: str = "the input file", series: int | None = None
) -> Scan:
    """Read a NIfTI file, a DICOM file (enhanced CT and MR too), or a folder with the slices of a DICOM series.

    Slices are ordered by position along the normal; a tilted gantry gives a sheared affine. Padding values outside the
    reconstructed circle stay unchanged. In a folder, what is no image of the series is passed over with a notice:
    reports, plans, segmentations, localizers, screenshots, duplicates.

    Args:
        path: ``.nii`` or ``.nii.gz``; any other name is read as DICOM.
        labels: read a mask: whole numbers, in the file's integer type.
        what: name of the file for error messages.
        series: which DICOM series of a folder with several, from 1; an error lists them.

    Raises:
        ScanError: missing, broken, not a greyscale image of 2 or 3 axes, several series and none chosen, no such
            series, uneven slices, or a file of the folder that can't be read.

    Example:
        >>> from pydicom.data import get_testdata_file
        >>> scan = read_scan(get_testdata_file("CT_small.dcm", download=False))
        >>> scan.modality, tuple(scan.image.shape), float(scan.image.min()), float(scan.image.max())
        ('CT', (1, 128, 128), -896.0, 1167.0)
    """
    path = Path(path)
    notices: tuple[str, ...] = ()
    try:
        with _discreet():
            if not path.exists():
                raise ScanError(f"{what} does not exist")
            if path.name.lower().endswith((".nii", ".nii.gz")):
                if series is not None:
                    raise ScanError(f"series chooses among DICOM series, and {what} is NIfTI")
                (array, header, affine), modality, inverted = _from_nifti(path, what), None, False
            else:
                dicom = read_dicom(path, what, series)
                array, header, affine, notices = dicom.array, dicom.header, dicom.affine, dicom.notices
                modality, inverted = dicom.modality, dicom.inverted
            if labels:
                array = _whole_numbers(array, what)
            elif array.dtype != np.float32:
                array = array.astype(np.float32)
    except ScanError:
        raise
    except Exception as error:  # nibabel, pydicom, zlib and numpy raise many kinds, whose messages name the path
        raise ScanError(
            f"{what} cannot be read: it is broken, incomplete or unreadable ({type(error).__name__})"
        ) from None
    if not np.isfinite(affine).all() or abs(np.linalg.det(affine)) < 1e-12:
        raise ScanError(f"{what} has no usable geometry: its affine is singular or not finite")
    for notice in notices:
        say_once(notice)
    shape = array.shape
    spatial = shape[:2] if all(n == 1 for n in shape[2:]) else shape[:3]
    image = torch.from_numpy(np.ascontiguousarray(array).reshape(1, *spatial))
    return Scan(MetaTensor(image, affine=torch.from_numpy(affine)), header, shape, modality, inverted)


def require_same_place(scan: Scan, labels: Scan, what: str = "the mask file") -> None:
    """Raise if most labels lie outside the image, since they belong to another scan or lack their affine.

    Args:
        scan: the image.
        labels: read with ``labels=True``; the grid may differ from the image's.
        what: name of the labels for the error message.

    Raises:
        ScanError: the numbers of axes differ, or more than half of the labelled voxels lie outside.
    """
    if labels.image.ndim != scan.image.ndim:
        raise ScanError(f"{what} must have {scan.image.ndim - 1} axes as the input has, got {labels.image.ndim - 1}")
    index = labels.image[0].as_tensor().nonzero().numpy()
    if len(index) == 0:
        return
    grid, own = (VoxelGrid(tuple(s.image.shape[1:]), s.image.affine.tolist()) for s in (scan, labels))
    to_image = (np.linalg.inv(grid.matrix) @ own.matrix)[-index.shape[1] - 1 : -1, -index.shape[1] - 1 :]
    position = index @ to_image[:, :-1].T + to_image[:, -1]
    inside = ((position > -1) & (position < grid.shape)).all(axis=1).mean()
    if inside < 0.5:
        raise ScanError(
            f"{what} does not match the input: {1 - inside:.0%} of its labels lie outside in world coordinates"
        )


def write_scan(image: torch.Tensor, scan: Scan, path: str | os.PathLike) -> None:
    """Write a result with the geometry of a scan as NIfTI; an error leaves no partial file.

    Args:
        image: (1, *spatial) on the grid of ``scan``; the file has its type.
        scan: the input of the result, of which only the geometry is written.
        path: ends in ``.nii`` or ``.nii.gz``; a missing folder is created.

    Raises:
        ValueError: the image is on another grid.
        OSError: the folder cannot be written.
    """
    import nibabel as nib

    if tuple(image.shape) != tuple(scan.image.shape):
        raise ValueError(f"image must have the scan's shape {tuple(scan.image.shape)}, got {tuple(image.shape)}")
    array = image.detach().cpu().numpy().reshape(scan.shape)
    header = scan.header.copy()
    header.set_data_dtype(array.dtype)
    kind = nib.Nifti2Image if isinstance(header, nib.Nifti2Header) else nib.Nifti1Image
    path = Path(path)
    with staged(path.parent) as folder:
        nib.save(kind(array, None, header), folder / path.name)


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
    loggers = [logging.getLogger(name) for name in ("pydicom", "nibabel.global")]
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


def _whole_numbers(array: np.ndarray, what: str) -> np.ndarray:
    if array.dtype.kind == "f":
        if not np.array_equal(array, np.round(array)):
            raise ScanError(f"{what} must hold whole numbers, one per label")
        return array.astype(np.uint8 if array.min() >= 0 and array.max() < 256 else np.int32)
    return array.astype(np.int64) if array.dtype in (np.uint32, np.uint64) else array


def _from_nifti(path: Path, what: str) -> tuple[np.ndarray, Any, np.ndarray]:
    import nibabel as nib

    image = nib.load(path)
    if not isinstance(image, nib.Nifti1Image):
        raise ScanError(f"{what} is not a NIfTI file")
    array = np.asanyarray(image.dataobj)
    if array.dtype.kind not in "iuf":
        raise ScanError(f"{what} must be a greyscale image, got voxels of type {array.dtype}")
    if array.ndim < 2 or array.size == 0 or any(n != 1 for n in array.shape[3:]):
        raise ScanError(f"{what} must be an image of 2 or 3 axes, got shape {array.shape}")
    header = type(image.header)()
    header.set_data_shape(array.shape)
    for name in _GEOMETRY_FIELDS:
        header[name] = image.header[name]
    array = array.astype(array.dtype.newbyteorder("="), copy=False)
    return array, header, image.affine.astype(np.float64)
