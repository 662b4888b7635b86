from __future__ import annotations

import math

import pytest
import torch

from monai_medaug.functional.xray.scatter import scatter_share

DEPTH = 4.0


def test_thick_parts_scatter_wider():
    """A thin and a thick rod: the spread of the scatter about each."""
    spreads = []
    for p in (0.01, 4.0):
        attenuation = torch.zeros(1, 1, 3, 401, dtype=torch.float64)
        attenuation[..., 200] = p
        one = torch.ones(1, 1, 1, 1, dtype=torch.float64)
        s = scatter_share(attenuation, one * DEPTH, one, one * 40, torch.ones(1, 2, dtype=torch.float64))[0, 0, 1]
        x = torch.arange(401.0) - 200
        spreads.append(2.3548 * math.sqrt(float((s * x**2).sum() / s.sum())))
    assert spreads == pytest.approx([0.6 * 40, 1.4 * 40], rel=0.06)
