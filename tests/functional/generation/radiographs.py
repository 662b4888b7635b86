"""Chest radiographs of children in Guangzhou, by patient: for training, for a threshold, and for a test."""

import os
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional as F

NAME = "cxr_lung_guangzhou128_open.npz"


def radiographs_by_patient(pixels: int = 32) -> tuple[list[torch.Tensor], list[torch.Tensor], list[np.ndarray]]:
    """Images of 0 to 1, classes (1 pneumonia) and patients of three parts, no patient in two of them."""
    folder = os.environ.get("MONAI_MEDAUG_DATA")
    if not folder or not (Path(folder) / NAME).exists():
        pytest.skip("MONAI_MEDAUG_DATA is unset or holds no such images")
    data = np.load(Path(folder) / NAME)
    images = F.avg_pool2d(torch.from_numpy(data["img"]).float()[:, None] / 255, 128 // pixels)
    labels = torch.from_numpy((data["cls"] > 0).astype(int))
    patients = np.unique(data["patient"], return_inverse=True)[1]
    place = np.random.RandomState(0).permutation(patients.max() + 1)[patients] / (patients.max() + 1)
    parts = [place < 0.5, (place >= 0.5) & (place < 0.75), place >= 0.75]
    return [images[p] for p in parts], [labels[p] for p in parts], [data["patient"][p] for p in parts]
