"""The case study of super-resolution: its figures by another library, and real images where there are some."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from skimage.metrics import peak_signal_noise_ratio, structural_similarity
from torch.nn.functional import interpolate

from monai_medaug.experiments import super_resolution_case_study
from monai_medaug.networks import MultiScaleSR
from tests.images import smooth_noise

FOLDER = Path(os.environ.get("MONAI_MEDAUG_DATA", "absent"))


def image(seed: int, size=(49, 60)) -> torch.Tensor:
    return torch.from_numpy(900 * smooth_noise(size, seed, 1.5) + 20).float()[None]


def test_before_is_what_another_library_says():
    truth = image(0)
    study = super_resolution_case_study([truth, image(1)], MultiScaleSR(features=4, num_blocks=1))
    cut = truth[:, :48, :60]
    coarse = interpolate(cut[None], (24, 30), mode="bicubic", antialias=True)
    cubic = interpolate(coarse, (48, 60), mode="bicubic")[0].clamp(coarse.min(), coarse.max())
    a, b, extent = cubic[0].numpy(), cut[0].numpy(), float(cut.max() - cut.min())
    row = study["images"][0]
    assert row["image"] == "1"
    assert row["psnr_before"] == pytest.approx(peak_signal_noise_ratio(b, a, data_range=extent), abs=1e-3)
    similar = structural_similarity(b, a, data_range=extent, gaussian_weights=True, use_sample_covariance=False)
    assert row["ssim_before"] == pytest.approx(similar, abs=1e-4)
    for key, value in study["average"].items():
        assert value == pytest.approx(np.mean([own[key] for own in study["images"]]))


def test_files_and_names(tmp_path):
    study = super_resolution_case_study({"shoulder": image(2)}, "mri_sr_srcnn", out_dir=tmp_path / "study")
    assert "| shoulder |" in str(study)
    assert json.loads((tmp_path / "study" / "case_study.json").read_text()) == study
    assert (tmp_path / "study" / "case_study.png").stat().st_size > 10_000


@pytest.mark.skipif(not (FOLDER / "t2w_head.nii.gz").is_file(), reason="needs MONAI_MEDAUG_DATA")
def test_real_slices_get_better():
    import nibabel as nib

    values = np.asarray(nib.load(FOLDER / "t2w_head.nii.gz").dataobj, np.float32)
    slices = [torch.from_numpy(np.ascontiguousarray(values[..., z]))[None] for z in (25, 35)]
    study = super_resolution_case_study(slices)
    assert study["average"]["psnr_after"] > study["average"]["psnr_before"] + 0.5
    assert study["average"]["ssim_after"] > study["average"]["ssim_before"]


@pytest.mark.parametrize(
    ("images", "said"),
    [
        ([], "images must hold an image"),
        ([torch.zeros(1, 48, 48)], "must not be constant"),
        ([torch.rand(1, 12, 12)], "must have an axis of 22"),
        ([torch.full((1, 48, 48), np.nan)], "finite"),
    ],
)
def test_what_is_wrong_is_said(images, said):
    with pytest.raises(ValueError, match=said):
        super_resolution_case_study(images, MultiScaleSR(features=4, num_blocks=1))
