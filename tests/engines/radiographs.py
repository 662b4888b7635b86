"""The chest radiographs of the data folder, for engines and for the processes that they start."""

import os
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

NAME = "pneumonia_28_trainval.npz"


def radiographs(count: int = 512) -> list[dict]:
    """Images of 0 to 1 and their class, as many of both."""
    folder = os.environ.get("MONAI_MEDAUG_DATA")
    if not folder or not (Path(folder) / NAME).exists():
        pytest.skip("MONAI_MEDAUG_DATA is unset or holds no such images")
    data = np.load(Path(folder) / NAME)
    images, labels = (next(data[k] for k in data.files if "train" in k and part in k) for part in ("image", "label"))
    labels = labels.reshape(-1)
    chosen = np.concatenate([np.flatnonzero(labels == c)[: count // 2] for c in (0, 1)])
    chosen = np.random.RandomState(0).permutation(chosen)
    return [
        {"image": torch.from_numpy(images[i]).float()[None] / 255, "label": torch.tensor(int(labels[i])), "id": int(i)}
        for i in chosen
    ]


def small_net() -> nn.Module:
    """Two convolutions with batch norm and a linear layer."""
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(1, 8, 3, 2, 1), nn.BatchNorm2d(8), nn.ReLU(),
        nn.Conv2d(8, 16, 3, 2, 1), nn.BatchNorm2d(16), nn.ReLU(),
        nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(64, 2),
    )  # fmt: skip
