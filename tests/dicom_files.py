"""What lies in folders of exported DICOM, for tests: enhanced images, other objects, files without a preamble."""

from __future__ import annotations

import shutil
import warnings
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.data import get_testdata_file
from pydicom.dataset import Dataset

from monai_medaug.core.tensors import Notice
from monai_medaug.scans import ScanError, read_scan
from tests.notices import unsaid
from tests.scan_files import CT_SMALL, dicom_slice

RAW = pydicom.dcmread(CT_SMALL).pixel_array.T.astype(np.float32) - 1024
CAPTURE_CLASS = "1.2.840.10008.5.1.4.1.1.7"
ENHANCED_CT = "1.2.840.10008.5.1.4.1.1.2.1"
ENHANCED_MR = "1.2.840.10008.5.1.4.1.1.4.1"
LEGACY_CT = "1.2.840.10008.5.1.4.1.1.2.2"
PATIENT = {
    "PatientName": "MUELLER^ERIKA",
    "PatientID": "PID8675309",
    "StudyDate": "20190317",
    "StudyDescription": "Verlaufskontrolle",
    "SeriesDescription": "Thorax nativ Mueller",
    "InstitutionName": "Waldklinikum",
}


def refusal(path, **options) -> str:
    """The message of the error, which must be one line without anything of a path or a patient."""
    with pytest.raises(ScanError) as error:
        read_scan(path, **options)
    message = str(error.value)
    assert "\n" not in message
    require_discreet(message, path)
    return message


def heard(path, **options) -> tuple[object, list[str]]:
    """A scan and the notices of its reading; each was said before for all that the process knows."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        unsaid()
        scan = read_scan(path, **options)
    notices = [str(w.message) for w in caught if issubclass(w.category, Notice)]
    for notice in notices:
        require_discreet(notice, path)
    return scan, notices


def require_discreet(message: str, path: Path) -> None:
    lowered = message.lower()
    planted = [part for value in PATIENT.values() for part in value.replace("^", " ").split()]
    for secret in (*planted, str(path), "1.2.840", "1.3.6.1", "CompressedSamples"):
        assert secret.lower() not in lowered


def series(folder: Path, count: int, prefix: str = "IM", **tags) -> Path:
    """A series numbered along its positions, slice k raised by k, with planted names."""
    for k in range(count):
        number = {"InstanceNumber": k + 1, **PATIENT, **tags}
        dicom_slice(folder / f"{prefix}{k:04d}", (0, 0, 2.0 * k), k, **number)
    return folder


def example(name: str, target: Path) -> Path:
    """A copy of an example of pydicom."""
    path = get_testdata_file(name, download=False)
    if path is None:
        pytest.skip("pydicom-data is not installed")
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(path, target)
    return target


def without_preamble(path: Path, meta: bool = True, implicit: bool = False) -> None:
    """Write a file again as older devices do, with or without the group that names the transfer syntax."""
    dataset = pydicom.dcmread(path)
    if not meta:
        del dataset.file_meta
    dataset.preamble = None
    dataset.save_as(path, enforce_file_format=False, implicit_vr=implicit, little_endian=True)
    assert path.read_bytes()[128:132] != b"DICM"


def group(**elements) -> Dataset:
    """A functional group's only item."""
    item = Dataset()
    for name, value in elements.items():
        setattr(item, name, value)
    return item


def place(position, **more) -> dict[str, Dataset]:
    """Functional groups of a frame: its position, and further groups by name."""
    return {"PlanePositionSequence": group(ImagePositionPatient=list(position)), **more}


def geometry(slope: float = 1, intercept: float = -1024) -> dict[str, Dataset]:
    """Functional groups of all frames."""
    return {
        "PlaneOrientationSequence": group(ImageOrientationPatient=[1, 0, 0, 0, 1, 0]),
        "PixelMeasuresSequence": group(PixelSpacing=[0.5, 0.75], SliceThickness=3),
        "PixelValueTransformationSequence": group(RescaleSlope=slope, RescaleIntercept=intercept),
    }


def enhanced(path: Path, frames, shared=None, sop_class: str = ENHANCED_CT, **tags) -> pydicom.Dataset:
    """Write an enhanced image: frame k is CT_small raised by k, and has the functional groups ``frames[k]``."""
    dataset = pydicom.dcmread(CT_SMALL)
    for name in ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "SliceThickness"):
        delattr(dataset, name)
    del dataset.RescaleSlope, dataset.RescaleIntercept
    dataset.SOPClassUID = dataset.file_meta.MediaStorageSOPClassUID = sop_class
    stored = dataset.pixel_array
    dataset.NumberOfFrames = len(frames)
    dataset.PixelData = b"".join((stored + np.int16(k)).tobytes() for k in range(len(frames)))

    def item(groups):
        merged = Dataset()
        for name, content in groups.items():
            setattr(merged, name, [content])
        return merged

    dataset.SharedFunctionalGroupsSequence = [item(geometry() if shared is None else shared)]
    dataset.PerFrameFunctionalGroupsSequence = [item(groups) for groups in frames]
    for name, value in {**PATIENT, **tags}.items():
        setattr(dataset, name, value)
    path.parent.mkdir(parents=True, exist_ok=True)
    dataset.save_as(path)
    return dataset
