"""What is said of inputs that are probably not what they should be."""

import warnings

import numpy as np
import pytest
import torch
from monai.data import MetaTensor

from monai_medaug.core import tensors
from monai_medaug.transforms import (
    GaussianDenoise,
    HUWindowd,
    RandAffineElasticd,
    RandMRINoised,
    RandThickSliced,
    RandXRayExposured,
)


@pytest.fixture(autouse=True)
def nothing_said(monkeypatch):
    monkeypatch.setattr(tensors, "_said", set())


LABELS = torch.arange(128).remainder(32).reshape(1, 8, 8, 2).repeat_interleave(5, 1)
LABELS = LABELS.repeat_interleave(5, 2).repeat_interleave(5, 3)  # blocks, (1, 40, 40, 10)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int16, torch.uint16, torch.int64, torch.float32, torch.float16])
@pytest.mark.parametrize(
    "step", [RandMRINoised("mask", prob=1.0), RandXRayExposured("mask", prob=1.0), RandThickSliced("mask", prob=1.0)]
)
def test_a_mask_among_the_keys_of_an_intensity_step_is_said(step, dtype):
    with pytest.warns(UserWarning, match="'mask' looks like a label map, with 32"):
        step({"mask": LABELS.to(dtype)})


def test_so_is_one_of_a_deterministic_step():
    with pytest.warns(UserWarning, match="label map"):
        HUWindowd("mask", center=0, width=100)({"mask": LABELS * 20})
    with pytest.warns(UserWarning, match="label map"):
        GaussianDenoise(sigma=1)((LABELS > 10).float())


@pytest.mark.parametrize(
    "image",
    [
        torch.randn(1, 40, 40, 10).abs() * 100 + 400,
        (torch.randn(1, 40, 40, 10).abs() * 100 + 400).round().to(torch.int16),
        torch.randint(0, 256, (1, 128, 128), dtype=torch.uint8),
        torch.full((1, 40, 40, 10), 7.0),
        (torch.randn(1, 32, 32, 32).abs() * 8 + 60).round(),  # a CT of little noise in whole numbers
        1 + LABELS[:, :20, :20, :4].float(),  # a small one may hold few values
    ],
)
def test_images_are_not(image):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        RandMRINoised("image", prob=1.0)({"image": image})


def test_nor_are_masks_that_move():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        move = RandAffineElasticd("mask", prob=1.0, mode="nearest")
        move({"mask": MetaTensor(LABELS, affine=torch.eye(4))})


AFFINES = {
    "flipped": np.diag([-1.0, 1, 1, 1]),
    "other spacing": np.diag([1.0, 1, 2, 1]),
    "shifted": np.array([[1.0, 0, 0, 20], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]),
    "axes changed": np.array([[0.0, 1, 0, 0], [1, 0, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]),
}


@pytest.mark.parametrize("name", AFFINES)
def test_a_mask_of_equal_shape_and_another_place_is_said(name):
    data = {
        "image": MetaTensor(torch.rand(1, 40, 40, 10), affine=torch.eye(4)),
        "mask": MetaTensor(LABELS, affine=torch.from_numpy(AFFINES[name])),
    }
    move = RandAffineElasticd(["image", "mask"], prob=1.0, mode=["bilinear", "nearest"])
    with pytest.warns(UserWarning, match="another affine"):
        move(data)


def test_rounded_headers_are_not_said():
    rounded = torch.eye(4, dtype=torch.float64) + 1e-4
    rounded[3] = torch.tensor([0, 0, 0, 1])
    data = {
        "image": MetaTensor(torch.rand(1, 40, 40, 10), affine=torch.eye(4)),
        "mask": MetaTensor(LABELS, affine=rounded),
    }
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        RandAffineElasticd(["image", "mask"], prob=1.0, mode=["bilinear", "nearest"])(data)
