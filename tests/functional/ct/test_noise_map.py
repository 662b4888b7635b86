"""The local amplitude of CT noise, against sums over rays written out in numpy."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.ndimage import binary_erosion, uniform_filter

from monai_medaug.functional.acceleration import torch_only
from monai_medaug.functional.ct.noise_map import noise_amplitudes, noise_levels
from monai_medaug.functional.ct.projection import WATER_PER_MM
from tests.scan_files import real_scan


def ellipse(rows: int, columns: int, spacing: tuple[float, float]) -> torch.Tensor:
    """Water of 220 mm along rows by 320 mm along columns, in air."""
    y = (torch.arange(rows) - (rows - 1) / 2)[:, None] * spacing[0]
    x = (torch.arange(columns) - (columns - 1) / 2) * spacing[1]
    inside = (y / 110) ** 2 + (x / 160) ** 2 < 1
    return torch.where(inside, 0.0, -1000.0)[None, None]


@pytest.mark.parametrize(("size", "spacing"), [((500, 500), (0.9, 0.9)), ((150, 225), (3.0, 2.0))])
@pytest.mark.parametrize("old", [False, True])
def test_ellipse_against_the_lengths_of_all_rays(size, spacing, old):
    """Centre, rims and air, within 20 % of the sum over 180 exact rays; air to soft tissue about one half.

    With the modulation of the tube current and the bowtie filter that are assumed, and those of old records. An
    independent simulator of a fan beam has 0.57 to 0.62 and 0.90 to 0.95 of the centre at the rims.
    """
    image = ellipse(*size, spacing)
    if old:
        levels = noise_amplitudes(image, spacing, 1)
    else:
        levels = noise_levels(image[None], spacing, 1.0).at(slice(0, 1))[:, 0]
    found = levels.square().mean(0).sqrt()[0, 0]

    def exact(y: float, x: float) -> float:
        angle = np.deg2rad(np.arange(180))
        half = np.hypot(110 * np.cos(angle), 160 * np.sin(angle))  # of the shadow, from the first axis
        shadow = y * np.cos(angle) + x * np.sin(angle)
        longest = 2 * 110 * 160 / half
        length = longest * np.sqrt(np.clip(1 - (shadow / half) ** 2, 0, None))
        bowtie = 0.0 if old else 300 - np.sqrt(300**2 - shadow**2)
        modulation = 0.5 if old else 0.15
        return float(np.sqrt(np.mean(np.exp(WATER_PER_MM * (length + bowtie - modulation * longest)))))

    def at(y: float, x: float) -> float:
        return float(found[round(y / spacing[0] + size[0] / 2), round(x / spacing[1] + size[1] / 2)])

    for place in ((0, 140), (90, 0), (0, 195), (145, 0), (190, 190)):
        assert at(*place) / at(0, 0) == pytest.approx(exact(*place) / exact(0, 0), rel=0.2), place
    air = np.mean([at(0, 195), at(0, -195), at(145, 0), at(-145, 0)])
    assert 0.45 < air / at(0, 0) < 0.6
    if not old:
        assert at(0, 140) / at(0, 0) > 0.72
        assert at(90, 0) / at(0, 0) < 0.68


def test_noise_is_finest_across_the_long_paths():
    """Flat rays through 320 mm bring frequencies along the rows' axis; turned by 90°, the axes change places."""
    image = ellipse(200, 200, (2.0, 2.0))
    first, second = noise_amplitudes(image, (2.0, 2.0), 1)[:, 0, 0]
    assert first[100, 100] > 1.2 * second[100, 100]
    turned = noise_amplitudes(image.transpose(2, 3), (2.0, 2.0), 1)[:, 0, 0]
    torch.testing.assert_close(turned[0], second.T, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(turned[1], first.T, rtol=1e-4, atol=1e-4)


def test_each_sample_has_unit_variance_in_its_tissue():
    thin = torch.where(torch.arange(160) < 80, 0.0, -1000.0).expand(2, 1, 160, 160)
    slices = torch.cat([ellipse(160, 160, (2.5, 2.5)), torch.full((1, 1, 160, 160), -3024.0), thin])
    variance = noise_amplitudes(slices, (2.5, 2.5), 2).square().mean(0)
    for own in (slice(0, 2), slice(2, 4)):
        body = slices[own] > -300
        assert float(variance[own][body].mean()) == pytest.approx(1, abs=0.03)
    assert torch.isfinite(variance).all()


def test_compiled_and_torch_agree():
    generator = torch.Generator().manual_seed(0)
    volumes = ellipse(90, 120, (3.0, 3.5)).expand(2, 1, 14, 90, 120) + 30 * torch.randn(14, 1, 1, generator=generator)
    compiled = noise_levels(volumes, (3.0, 3.5), 5.0)
    with torch_only():
        expected = noise_levels(volumes, (3.0, 3.5), 5.0)
    torch.testing.assert_close(compiled.coarse, expected.coarse, rtol=1e-4, atol=1e-5)


def test_levels_of_slices_lie_between_those_looked_at():
    """Slices of water that grow thicker: monotone, and at the slices looked at as if they stood alone."""
    radius = torch.linspace(60, 150, 25)
    place = (torch.arange(100) - 49.5) * 3.5
    inside = place[:, None] ** 2 + place**2 < radius[:, None, None] ** 2
    volume = torch.where(inside, 0.0, -1000.0)[None, None]
    levels = noise_levels(volume, (3.5, 3.5), 5.0)
    assert (levels.first, levels.step, levels.coarse.shape[3]) == (1, 2, 12)
    centre = levels.at(slice(0, 25)).square().mean(0)[0, 0, :, 50, 50]
    assert bool((centre[1:24].diff() > 0).all())
    assert centre[0] == centre[1]
    parts = torch.cat([levels.at(slice(k, min(k + 4, 25))) for k in range(0, 25, 4)], 3)
    torch.testing.assert_close(parts, levels.at(slice(0, 25)))


@pytest.mark.parametrize(
    ("name", "error"), [("hip_single_cocr", 0.15), ("shoulder_cocr", 0.16), ("control_contrast", 0.1)]
)
def test_levels_against_a_simulated_scanner(name, error):
    """Logarithm of the local level in a body against that of CatSim's noise in windows of 14 mm, around its mean."""
    case = np.load(real_scan(f"catsim/{name}.npz"))
    truth, pixel = case["truth"].astype(np.float32), float(case["pixel_mm"])
    noise, side = case["truth_noisy"].astype(np.float32) - truth, round(14 / pixel)
    expected = np.sqrt(uniform_filter(noise**2, side))
    place = np.arange(512) - 255.5
    body = binary_erosion(truth > -300, iterations=side // 2) & (np.hypot(place[:, None], place) < 255 - side)
    image = torch.from_numpy(truth)[None, None, None]
    found = noise_levels(image, (pixel, pixel), 5.0).at(slice(0, 1)).square().mean(0).sqrt()[0, 0, 0].numpy()
    assert np.std(np.log(found[body] / expected[body])) < error
