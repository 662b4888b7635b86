"""The prior of few tissues: what is flat, what keeps its value, and metal filled."""

import torch

from monai_medaug.functional.ct.prior import filled, smoothed, tissue_prior

SPACING = (1.0, 1.0)


def classified(value: float) -> float:
    hu = torch.full((1, 1, 40, 40), value)
    return float(tissue_prior(hu, torch.zeros_like(hu, dtype=torch.bool), SPACING)[0, 0, 20, 20])


def test_classes():
    assert [classified(v) for v in (-1024.0, -800.0, -120.0, 60.0, 180.0)] == [-1000, -850, 20, 20, 20]
    assert abs(classified(900.0) - 900) < 0.1
    assert classified(3071.0) == 2500


def test_streaks_in_soft_tissue_vanish_and_bone_stays():
    hu = torch.full((1, 1, 64, 64), 40.0)
    hu[..., ::3] += 100.0
    hu[..., 20:40, 20:40] = 800.0
    prior = tissue_prior(hu, torch.zeros_like(hu, dtype=torch.bool), SPACING)[0, 0]
    assert (prior[:10] == 20).all()
    assert (prior[25:35, 25:35] - 800).abs().max() < 1


def test_metal_is_filled_from_around_and_far_from_all_by_tissue():
    hu = torch.full((1, 1, 64, 64), 700.0)
    metal = torch.zeros_like(hu, dtype=torch.bool)
    metal[..., 28:36, 28:36] = True
    hu[metal] = 3071.0
    prior = tissue_prior(hu, metal, SPACING)
    assert (prior - 700).abs().max() < 5
    assert (filled(hu, torch.ones_like(metal), SPACING) - 20).abs().max() < 1e-3


def test_smoothing_is_a_gaussian_in_mm():
    spot = torch.zeros(1, 1, 41, 41, dtype=torch.float64)
    spot[..., 20, 20] = 1.0
    out = smoothed(spot, (1.0, 0.5), 2.0)[0, 0]
    index = torch.arange(41, dtype=torch.float64) - 20
    for axis, pixel in ((0, 1.0), (1, 0.5)):
        spread = (out.sum(1 - axis) * (index * pixel) ** 2).sum().sqrt()
        assert abs(float(spread) - 2.0) < 0.05


def test_only_what_is_near_a_gap_is_smoothed_and_the_fill_is_that_of_the_whole():
    hu = 100 * torch.randn(2, 1, 90, 70, generator=torch.Generator().manual_seed(0))
    missing = torch.zeros_like(hu, dtype=torch.bool)
    missing[0, 0, 40:48, 30:33] = missing[1, 0, 45:50, 0:6] = True
    found = filled(hu, missing, (1.0, 0.8))
    weight = (~missing).double()
    sums = (smoothed(x, (1.0, 0.8), 4.0) for x in ((hu * weight).double(), weight))
    over, under = (x[missing] for x in sums)
    assert torch.allclose(found[missing].double(), (over + 0.02) / (under + 1e-3), atol=1e-3)
    assert torch.equal(found[~missing], hu[~missing])
    assert torch.equal(filled(hu, torch.zeros_like(missing), (1.0, 0.8)), hu)
