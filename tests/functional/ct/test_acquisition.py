"""Changes of the sinogram against theory: noise, beam hardening and rings of a disc phantom."""

import numpy as np
import pytest
import torch

from monai_medaug.functional.ct.acquisition import (
    beam_hardening,
    hu_change,
    line_integrals,
    ring_artefact,
    thinning_noise,
    tissue_lengths,
)
from monai_medaug.functional.ct.projection import ParallelBeam
from monai_medaug.functional.ct.spectrum import BONE, SPECTRUM, WATER, monochromatic, polychromatic, water_corrected

SIDE = 128
Y, X = torch.meshgrid(torch.arange(SIDE) - 63.5, torch.arange(SIDE) - 63.5, indexing="ij")
BEAM = ParallelBeam((SIDE, SIDE), (2.0, 2.0), views=180)
CORE = (X**2 + Y**2) < 12**2


def disc(radius=50.0, hu=0.0) -> torch.Tensor:
    return torch.where(radius**2 > X**2 + Y**2, hu, -1000.0)[None, None]


def figure(value: float) -> torch.Tensor:
    return torch.full((1, 1, 1, 1), float(value))


def test_total_noise_grows_as_dose_to_the_minus_one_half():
    """A scan simulated at full dose and thinned to a: log sigma against log a has slope -0.5 ± 0.02."""
    generator = torch.Generator().manual_seed(0)
    water, fractions, deviations = disc(), [1.0, 0.5, 0.25, 0.1], []
    p = line_integrals(water, BEAM)
    for a in fractions:
        variances = []
        for _ in range(25):
            first, second = (torch.randn(p.shape, generator=generator) for _ in range(2))
            full = hu_change(first * torch.sqrt(torch.exp(p) / 1e5), BEAM, "cosine")
            total = full + thinning_noise(water, second, figure(a), figure(1e5), figure(0), BEAM, "cosine")
            variances.append(float(total[0, 0][CORE].var()))
        deviations.append(np.sqrt(np.mean(variances)))
    slope = np.polyfit(np.log(fractions), np.log(deviations), 1)[0]
    assert slope == pytest.approx(-0.5, abs=0.02)


def test_full_dose_changes_nothing_and_noise_follows_the_path():
    white = torch.randn(1, 1, BEAM.views, BEAM.width, generator=torch.Generator().manual_seed(1))
    assert not thinning_noise(disc(), white, figure(1), figure(1e5), figure(8), BEAM, "hann").any()
    noise = [thinning_noise(disc(r), white, figure(0.3), figure(1e5), figure(0), BEAM, "hann") for r in (25, 50)]
    thin, thick = (float(n[0, 0][CORE].std()) for n in noise)
    # the centre sees exp(p / 2) of each path: 50 mm of water more on each side
    assert thick / thin == pytest.approx(np.exp(0.0192 * 100 / 2), rel=0.1)
    assert float(noise[1][0, 0][CORE].std()) > 1.5 * float(noise[1][0, 0][(X**2 + Y**2) > 58**2].std())


def test_electronic_noise_counts_twice_as_steeply():
    white = torch.randn(1, 1, BEAM.views, BEAM.width, generator=torch.Generator().manual_seed(2))
    air = disc(1.0)

    def inserted(a, e, n0=1e3):
        change = thinning_noise(air, white, figure(a), figure(n0), figure(e), BEAM, "ramp")
        return float(change.var()) / float(hu_change(white, BEAM, "ramp").var())

    p0 = 1 / 1e3
    assert inserted(0.5, 0.0) == pytest.approx(p0 * (1 / 0.5 - 1), rel=0.02)
    assert inserted(0.5, 50.0) == pytest.approx(p0 * 1 + (50 / 1e3) ** 2 * (1 / 0.25 - 1), rel=0.02)


def test_beam_hardening_spares_water_and_darkens_between_bones():
    assert float(beam_hardening(disc(55.0), figure(1), BEAM, "cosine").abs().max()) < 0.05
    bones = disc()
    for side in (-30, 30):
        bones[0, 0][((X - side) ** 2 + Y**2) < 10**2] = 1000.0
    change = beam_hardening(bones, figure(1), BEAM, "cosine")[0, 0]
    between, beside = change[63:65, 63:65].mean(), change[95:97, 63:65].mean()
    assert float(between) < -15
    assert float(between) < float(beside) - 10
    half = beam_hardening(bones, figure(0.5), BEAM, "cosine")[0, 0]
    torch.testing.assert_close(half, change / 2, atol=1e-2, rtol=1e-3)


def test_polychromatic_trace_against_numpy():
    water, bone = np.array([0.0, 50.0, 200.0]), np.array([0.0, 10.0, 30.0])
    weights = np.array([0.12, 0.28, 0.30, 0.20, 0.10])
    expected = -np.log((weights * np.exp(-np.outer(water, WATER) - np.outer(bone, BONE))).sum(1))
    found = polychromatic([(torch.from_numpy(water), WATER), (torch.from_numpy(bone), BONE)])
    np.testing.assert_allclose(found, expected, atol=1e-9)
    only = polychromatic([(torch.from_numpy(water), WATER)])
    np.testing.assert_allclose(water_corrected(only), 0.0192 * water, atol=1e-5)


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.float64, 1e-5)])
def test_the_water_correction_inverts_the_spectrum(dtype, tolerance):
    """Closed form: the measurement of each length of water, 0.01 mm to 1.2 m."""
    water = torch.logspace(-2, 3, 5001, dtype=torch.float64)
    seen = -torch.log(sum(w * torch.exp(-mu * water) for w, mu in zip(SPECTRUM, WATER, strict=True)))
    found = water_corrected(seen.to(dtype)).double()
    assert float((found / (WATER[2] * water) - 1).abs().max()) < tolerance
    assert not water_corrected(torch.tensor([0.0, -0.1], dtype=dtype)).any()


def test_only_rays_through_bone_are_hardened_and_no_other_is_missed():
    """Against the line integrals of all rays, water and bone in one projection."""
    head = disc()
    head[..., 50:60, 70:74] = 900.0
    head[..., 80:84, 40:70] = 250.0
    water, bone = tissue_lengths(head, BEAM, "mixture")
    measured = polychromatic([(water, WATER), (bone, BONE)])
    expected = hu_change(water_corrected(measured) - monochromatic(water, bone), BEAM, "cosine")
    found = beam_hardening(head, figure(1), BEAM, "cosine")
    assert float((found - expected).abs().max()) < 0.02 < 0.01 * float(expected.abs().max())
    both = beam_hardening(torch.cat([head, disc()]), figure(1), BEAM, "cosine")
    assert torch.equal(both[1:], torch.zeros_like(head)), "a slice without bone beside one with it"


def test_a_slice_in_a_stack_is_hardened_as_alone():
    stack = torch.cat([disc(r, hu) for r, hu in ((50.0, 0.0), (30.0, 900.0), (40.0, 300.0))])
    hard = beam_hardening(stack, torch.ones(3, 1, 1, 1), BEAM, "cosine")
    for i in range(3):
        alone = beam_hardening(stack[i : i + 1], figure(1), BEAM, "cosine")
        torch.testing.assert_close(hard[i : i + 1], alone, atol=5e-3, rtol=1e-4)


def test_a_bad_element_makes_a_ring_of_its_radius():
    gain = torch.zeros(1, 1, 1, BEAM.width)
    gain[..., BEAM.width // 2 + 20] = 0.01
    ring = ring_artefact(gain, BEAM, "ramp")[0, 0]
    radius = (torch.sqrt(X**2 + Y**2)).round().long()
    profile = torch.zeros(60).index_add_(0, radius[radius < 60], ring[radius < 60].abs())
    profile /= torch.bincount(radius[radius < 60], minlength=60).clamp_min(1)
    offset = (BEAM.width // 2 + 20 - (BEAM.width - 1) / 2) * BEAM.pitch / 2.0
    assert abs(int(profile.argmax()) - offset) <= 1


def test_a_full_turn_makes_full_rings_and_half_a_turn_half_ones():
    """Mean over the lower and upper half of the ring of an element: equal in a full turn, of half the height."""
    radius = torch.sqrt(X**2 + Y**2)
    on = (radius > 18.5) & (radius < 21.5)

    def halves(rows):
        gain = torch.zeros(1, 1, rows, BEAM.width)
        gain[..., round((BEAM.width - 1) / 2 + 20)] = 0.01  # 20 pixels from the axis
        ring = ring_artefact(gain, BEAM, "cosine")[0, 0].abs()
        return [float(ring[on & side].mean()) for side in (Y > 2, Y < -2)]

    for rows in (1, 2 * BEAM.views):
        lower, upper = halves(rows)
        assert lower == pytest.approx(upper, rel=0.05)
    strong, weak = halves(BEAM.views)
    assert strong > 3 * weak
    assert lower == pytest.approx(strong / 2, rel=0.15)
