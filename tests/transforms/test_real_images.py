"""Real scans: pydicom's small CT always, a CT and an MR of one patient where MONAI_MEDAUG_DATA names their folder."""

from __future__ import annotations

import os
from pathlib import Path

import nibabel as nib
import numpy as np
import pydicom
import pytest
import torch
from monai.data import MetaTensor
from pydicom.data import get_testdata_file
from scipy.ndimage import map_coordinates

from monai_medaug.transforms import HUWindow, RandAffineElastic, RandAffineElasticd, RandCTDose
from tests.folding import indices

FOLDER = os.environ.get("MONAI_MEDAUG_DATA")
needs_data = pytest.mark.skipif(FOLDER is None, reason="MONAI_MEDAUG_DATA is not set")


@pytest.fixture(scope="module")
def slice_hu() -> MetaTensor:
    dataset = pydicom.dcmread(get_testdata_file("CT_small.dcm", download=False))
    hu = dataset.pixel_array * float(dataset.RescaleSlope) + float(dataset.RescaleIntercept)
    spacing = [float(s) for s in dataset.PixelSpacing]
    return MetaTensor(torch.from_numpy(hu.astype(np.float32))[None], affine=torch.diag(torch.tensor([*spacing, 1, 1])))


def nifti(name: str) -> MetaTensor:
    image = nib.load(Path(str(FOLDER)) / f"{name}.nii.gz")
    kind = np.uint8 if name.endswith("mask") else np.float32
    return MetaTensor(torch.from_numpy(np.asarray(image.dataobj).astype(kind))[None], affine=image.affine)


def dice(a: np.ndarray, b: np.ndarray) -> float:
    return 2 * (a & b).sum() / (a.sum() + b.sum())


@pytest.mark.parametrize("seed", range(3))
def test_a_slice_is_deformed_without_folds_and_comes_back(slice_hu, seed):
    transform = RandAffineElastic(prob=1.0, padding_mode=-1000).set_random_state(seed)
    out = transform(slice_hu)
    figures = out.applied_operations[-1]["extra_info"]["figures"]
    assert figures["min_det_j"] >= 0.2
    assert figures["elastic_rms_mm"] > 1
    assert -1000 <= out.min() <= out.max() <= slice_hu.max()
    back = transform.inverse(out)
    middle = (0, slice(32, -32), slice(32, -32))
    change = np.abs(out.numpy() - slice_hu.numpy())[middle].mean()
    error = np.abs(back.numpy() - slice_hu.numpy())[middle].mean()
    assert error < 0.6 * change  # sharp edges lose in two resamplings, but lie where they were


def test_dose_and_window_of_a_slice(slice_hu):
    noisy = RandCTDose(noise_hu=20, prob=1.0).set_random_state(0)(slice_hu)
    assert float((noisy - slice_hu).std()) == pytest.approx(20, rel=0.05)
    shown = HUWindow(preset="soft_tissue")(noisy)
    assert 0 <= shown.min() < shown.max() <= 1


@needs_data
def test_ct_and_mr_of_a_tumour_stay_aligned():
    """The tumour as drawn in the CT and in the MR, on another grid: they agree after the move as before."""
    data = {key: nifti(f"sts_001_{key}") for key in ("ct_image", "ct_mask", "mr_t1_image", "mr_t1_mask")}
    modes = ("bilinear", "nearest") * 2
    paddings = (-1000, 0, 0, 0)
    transform = RandAffineElasticd(list(data), prob=1.0, mode=modes, padding_mode=paddings).set_random_state(0)
    out = transform(data)
    ct_affine, mr_affine = (np.asarray(data[k].affine, dtype=np.float64) for k in ("ct_mask", "mr_t1_mask"))

    def agreement(pair: dict) -> float:
        shape = tuple(pair["ct_mask"].shape[1:])
        there = np.linalg.inv(mr_affine) @ ct_affine
        at = there[:3, :3] @ indices(shape).numpy().reshape(3, -1) + there[:3, 3:]
        mr = map_coordinates(pair["mr_t1_mask"][0].numpy(), at, order=0).reshape(shape) > 0
        return dice(pair["ct_mask"][0].numpy() > 0, mr)

    assert agreement(out) > agreement(data) - 0.03
    assert dice(out["ct_mask"].numpy() > 0, data["ct_mask"].numpy() > 0) < 0.9
    for key, image in out.items():
        np.testing.assert_allclose(image.affine, data[key].affine)
        assert image.dtype == data[key].dtype
    soft = RandAffineElasticd(["ct_image", "share"], prob=1.0).set_random_state(0)
    share = soft({"ct_image": data["ct_image"], "share": data["ct_mask"].float()})["share"].numpy() > 0.5
    assert dice(out["ct_mask"].numpy() > 0, share) > 0.97
    restored = transform.inverse({"ct_mask": out["ct_mask"]})["ct_mask"].numpy() > 0
    assert dice(restored, data["ct_mask"].numpy() > 0) > 0.93


@needs_data
def test_noise_of_a_volume_lies_in_the_body_alone():
    image = nifti("sts_001_ct_image")
    image[image < -900] = -3024  # as scanners pad outside their circle
    noise = (RandCTDose(noise_hu=15, prob=1.0).set_random_state(0)(image) - image).numpy()
    inside = image.numpy() > -1400
    assert not noise[~inside].any()
    assert noise[inside].std() == pytest.approx(15, rel=0.03)
