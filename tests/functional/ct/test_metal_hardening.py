"""Hardening fitted to a change of rays: what the way through metal explains, and what it leaves."""

import torch

from monai_medaug.functional.ct.metal_hardening import hardening_fitted

VIEWS, WIDTH = 40, 60


def ways():
    place = torch.arange(WIDTH, dtype=torch.float64) - 29.5
    metal, rim = (2 * (r**2 - place**2).clamp_min(0).sqrt() for r in (10.0, 12.0))
    shape = (1, 1, VIEWS, WIDTH)
    rays = 2 + torch.sin(torch.arange(VIEWS, dtype=torch.float64) / 6)[:, None] * torch.ones(WIDTH)
    return metal.expand(shape), rim.expand(shape), rays.expand(shape)


def true_hardening(metal, rim, rays):
    return 0.02 * metal + 0.001 * metal**2 - 0.004 * metal * rays + 0.003 * rim


def test_a_smooth_function_of_both_ways_is_found():
    metal, rim, rays = ways()
    wanted = true_hardening(metal, rim, rays)
    assert (hardening_fitted(wanted, metal, rim, rays) - wanted).abs().max() < 1e-3 * wanted.abs().max()


def test_what_a_few_views_lose_beside_the_metal_is_not_followed():
    metal, rim, rays = ways()
    wanted = true_hardening(metal, rim, rays)
    spoiled = wanted.clone()
    spoiled[:, :, :5, 25:35] -= 3.0
    off = (hardening_fitted(spoiled, metal, rim, rays) - wanted).abs().max()
    assert off < 0.1 * wanted.abs().max()


def test_slices_are_independent_and_no_metal_gives_nothing():
    metal, rim, rays = ways()
    wanted = true_hardening(metal, rim, rays)
    both = hardening_fitted(*(torch.cat([x, 0 * x if n else x]) for n, x in enumerate((wanted, metal, rim, rays))))
    assert (both[:1] - hardening_fitted(wanted, metal, rim, rays)).abs().max() < 1e-9
    assert both[1].abs().max() == 0
