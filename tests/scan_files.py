"""Scans on disk for tests: DICOM folders made of pydicom's CT_small, and NIfTI files."""

from __future__ import annotations

import os
from pathlib import Path

import nibabel as nib
import numpy as np
import pydicom
import pytest
from pydicom.data import get_testdata_file

CT_SMALL = get_testdata_file("CT_small.dcm", download=False)


def real_scan(name: str) -> Path:
    """A file of the folder MONAI_MEDAUG_DATA, or the test is skipped."""
    folder = os.environ.get("MONAI_MEDAUG_DATA")
    if not folder or not (Path(folder) / name).exists():
        pytest.skip("MONAI_MEDAUG_DATA is unset or holds no such scan")
    return Path(folder) / name


def dicom_slice(path: Path, position=(0.0, 0.0, 0.0), add: int = 0, **tags) -> pydicom.Dataset:
    """Write CT_small with another position, its raw values raised by ``add``; None deletes a tag."""
    dataset = pydicom.dcmread(CT_SMALL)
    dataset.ImagePositionPatient = list(position)
    dataset.PixelData = (dataset.pixel_array + np.int16(add)).tobytes()
    dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = pydicom.uid.generate_uid()
    for name, value in tags.items():
        if value is None:
            delattr(dataset, name)
        else:
            setattr(dataset, name, value)
    path.parent.mkdir(parents=True, exist_ok=True)
    dataset.save_as(path)
    return dataset


def dicom_folder(folder: Path, positions=None, **tags) -> Path:
    """A series whose slice k is raised by k; names and numbers run against the order of the positions."""
    positions = [(-10.0, -20.0, 5.0 * k) for k in range(6)] if positions is None else positions
    for k, position in enumerate(positions):
        number = len(positions) - k
        dicom_slice(folder / f"{number:03d}", position, k, **{"InstanceNumber": number, **tags})
    return folder


def ct_volume(shape=(40, 36, 12)) -> np.ndarray:
    """A body of 40 HU with bone and a lesion of 90 HU in air, int16."""
    x, y, z = np.meshgrid(*[np.linspace(-1, 1, n) for n in shape], indexing="ij")
    volume = np.full(shape, -1000, np.int16)
    volume[x**2 + y**2 < 0.6] = 40
    volume[(x - 0.4) ** 2 + y**2 < 0.02] = 900
    volume[(x + 0.3) ** 2 + (y - 0.1) ** 2 + (z / 2) ** 2 < 0.04] = 90
    return volume


AFFINE = np.array([[-0.9, 0.0, 0.1, 31.5], [0.02, -0.9, 0.0, 12.25], [0.0, 0.05, 2.5, -77.125], [0, 0, 0, 1.0]])


def write_nifti(path: Path, array: np.ndarray, affine: np.ndarray = AFFINE) -> Path:
    """A NIfTI file with qform and sform."""
    image = nib.Nifti1Image(array, affine)
    image.set_sform(affine, 1)
    image.set_qform(affine, 1)
    image.header.set_xyzt_units("mm", "sec")
    nib.save(image, path)
    return path


def ct_files(folder: Path) -> dict[str, Path]:
    """A CT with a mask of the body and one of its lesion."""
    volume = ct_volume()
    return {
        "image": write_nifti(folder / "ct.nii.gz", volume),
        "mask": write_nifti(folder / "body.nii.gz", (volume > -300).astype(np.uint8)),
        "lesion": write_nifti(folder / "lesion.nii.gz", (volume == 90).astype(np.int16)),
    }
