"""What the values of a CT say about their unit: on crops of real scans, and on what pipelines make of them."""

import os
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch

from monai_medaug.functional.ct.scale import doubt_about_hu

FOLDER = os.environ.get("MONAI_MEDAUG_DATA")
SCANS = ("ct_head_ge_512", "lidc_0002_ct", "msd_spleen2_ct_image", "sts_001_ct_image")
pytestmark = pytest.mark.skipif(FOLDER is None, reason="MONAI_MEDAUG_DATA is not set")


def crops(transform, count=30):
    """Crops of 64 × 64 × 16, 32 × 32 × 16 and 64 × 64 voxels at random places of the transformed scans."""
    random = np.random.RandomState(0)
    for scan in SCANS:
        hu = np.asarray(nib.load(Path(str(FOLDER)) / f"{scan}.nii.gz").dataobj).astype(np.float32)
        hu = transform(hu).astype(np.float32)
        for size in ((64, 64, 16), (32, 32, 16), (64, 64, 1)):
            for _ in range(count):
                size = np.minimum(size, hu.shape)
                start = [random.randint(n - s + 1) for n, s in zip(hu.shape, size, strict=True)]
                crop = hu[tuple(slice(a, a + s) for a, s in zip(start, size, strict=True))]
                if np.ptp(crop) > 0.02:
                    yield torch.from_numpy(crop)


@pytest.mark.parametrize("window", [None, (-1000, 1000), (-175, 250), (-57, 164), (0, 80)])
def test_no_crop_of_a_real_scan_is_refused(window):
    found = [doubt_about_hu(crop) for crop in crops(lambda hu: hu if window is None else np.clip(hu, *window))]
    assert set(found) <= {"", "no air"}
    assert found.count("no air") < 0.02 * len(found)


@pytest.mark.parametrize(
    ("transform", "doubt", "least"),
    [
        (lambda hu: (hu - hu.mean()) / hu.std(), "normalised", 1.0),
        (lambda hu: (hu - hu[hu > -200].mean()) / hu[hu > -200].std(), "normalised", 0.9),
        (lambda hu: (hu - hu.min()) / np.ptp(hu), "normalised", 1.0),
        (lambda hu: np.clip((hu + 57) / 221, 0, 1), "normalised", 1.0),
        (lambda hu: 2 * np.clip((hu + 57) / 221, 0, 1) - 1, "normalised", 1.0),
        (lambda hu: hu + 32768, "offset", 1.0),
        (lambda hu: np.maximum(hu + 1024, 0), "no air", 0.85),
        (lambda hu: np.round(255 * np.clip((hu + 160) / 400, 0, 1)), "display", 0.4),
    ],
    ids=["z-score", "of the body", "0..1", "window", "-1..1", "+ 32768", "+ 1024", "8 bit"],
)
def test_other_scales_are_found_in_crops(transform, doubt, least):
    found = [doubt_about_hu(crop) for crop in crops(transform)]
    assert found.count(doubt) >= least * len(found)


def test_padding_hides_no_offset():
    image = 1024 + torch.randn(1, 24, 24, 8, generator=torch.Generator().manual_seed(0)) * 10 + 40
    assert doubt_about_hu(image[0]) == "no air"
    image[:, :3] = -2000
    assert doubt_about_hu(image[0]) == "no air"
    assert doubt_about_hu(torch.full((8, 8), -3024.0)) == ""


def test_hu_clipped_at_a_whole_number_are_hu():
    image = torch.full((32, 32), -10.0)
    image[0, :5] = 20.3
    assert doubt_about_hu(image) == ""
