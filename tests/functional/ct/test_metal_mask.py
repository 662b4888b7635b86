"""Metal found by hysteresis: several pieces and materials, clipped images, and dense tissue that is none."""

import numpy as np
import pytest
import torch

from monai_medaug.functional.ct.metal_mask import find_metal, grown


def volume(*pieces, shape=(3, 40, 40)):
    """Water of 40 HU with blocks of 6 by 6 pixels, side by side, in all slices."""
    out = torch.full(shape, 40.0)
    for n, value in enumerate(pieces):
        out[:, 4:10, 2 + 9 * n : 8 + 9 * n] = value
    return out


def test_enamel_contrast_and_bone_are_no_metal():
    image = volume(2000.0, 2600.0, 2900.0, 1200.0)
    found = find_metal(image + 30 * torch.randn(image.shape, generator=torch.Generator().manual_seed(0)))
    assert found.count == 0
    assert not found.voxels.any()


def test_several_pieces_of_different_metals_are_found_whole():
    image = volume(8000.0, 22000.0, 3500.0)
    image += 30 * torch.randn(image.shape, generator=torch.Generator().manual_seed(0))
    found = find_metal(image)
    assert found.count == 3
    assert not found.clipped
    assert torch.equal(found.voxels, image > 3000)


def test_two_metals_that_touch_are_both_found():
    image = volume()
    image[:, 4:10, 4:10], image[:, 4:10, 10:16] = 30000.0, 9000.0
    assert torch.equal(find_metal(image).voxels, image > 5000)


def test_the_edge_is_at_half_of_the_metal_and_a_clipped_one_is_where_it_is_clipped():
    image = volume(15000.0)
    image[:, 10, 2:8], image[:, 11, 2:8] = 8000.0, 3300.0
    found = find_metal(image).voxels
    assert found[:, 10, 2:8].all()
    assert not found[:, 11, 2:8].any()
    clipped = find_metal(image.clamp_max(3071))
    assert clipped.clipped
    assert torch.equal(clipped.voxels, image.clamp_max(3071) == 3071)


@pytest.mark.parametrize("peak", [12000.0, 20000.0])
@pytest.mark.parametrize("sigma", [0.4, 1.4])
def test_the_blur_of_metal_does_not_count_and_is_an_edge_where_it_is_wide(peak, sigma):
    y, x = torch.meshgrid(torch.arange(40.0), torch.arange(40.0), indexing="ij")
    distance = torch.hypot(y - 19.5, x - 19.5)
    image = 40 + (peak - 40) * torch.erfc((distance - 8.2) / (2**0.5 * sigma)) / 2
    bright = image >= max(3000, peak / 5)
    found = find_metal(image)
    assert torch.equal(found.voxels, image > (peak + 40) / 2)
    assert torch.equal(found.edges, bright & ~found.voxels if sigma > 1 else torch.zeros_like(bright))


def blurred(peak):
    """A disc of 10 pixels across in water, blurred by two pixels at half its maximum, clipped at 3071 HU."""
    y, x = torch.meshgrid(torch.arange(40.0), torch.arange(40.0), indexing="ij")
    edge = torch.erfc((torch.hypot(y - 19.5, x - 19.5) - 5) / (2**0.5 * 0.85)) / 2
    return (40 + (peak - 40) * edge).clamp_max(3071)[None]


def test_contrast_beyond_the_limit_is_told_by_its_gentle_edge():
    vein, titanium = find_metal(blurred(3600.0)), find_metal(blurred(9000.0))
    assert (vein.count, vein.gentle) == (0, 1)
    assert not vein.voxels.any()
    assert (titanium.count, titanium.gentle) == (1, 0)
    assert titanium.voxels.sum() > 75


def test_contrast_that_is_mostly_less_dense_is_none_even_where_one_side_of_it_is_steep():
    image = torch.full((1, 40, 40), 40.0)
    image[:, 10:18, 10:30] = 2500.0
    image[:, 18:20, 12:22] = 3071.0  # its lower side drops to water at once
    assert find_metal(image).gentle == 1
    image[:, 10:18, 10:30] = 40.0
    assert find_metal(image).count == 1


def test_what_metal_encloses_is_metal():
    image = volume(15000.0)
    image[:, 6:8, 4:6] = 300.0  # starved
    assert find_metal(image).voxels[:, 4:10, 2:8].all()


@pytest.mark.parametrize("limit", [3071.0, 4095.0, 32767.0])
def test_values_at_the_limit_of_storage_are_metal(limit):
    image = volume(90000.0, 1900.0).clamp_max(limit)
    found = find_metal(image)
    assert found.clipped
    assert torch.equal(found.voxels, image == limit)


def test_a_lower_threshold_finds_metal_in_an_image_clipped_below_it():
    image = volume(9000.0).clamp_max(2500)
    assert find_metal(image).count == 0
    assert torch.equal(find_metal(image, 1600).voxels, image == 2500)


def test_a_piece_may_reach_metal_in_one_slice_only():
    image = volume()
    image[0, 4:10, 4:10], image[1, 4:10, 4:10] = 9000.0, 5000.0
    assert find_metal(image).count == 1
    assert find_metal(image).voxels.sum() == 72


def test_growth_counts_in_mm_on_pixels_that_are_not_square():
    mask = torch.zeros(1, 1, 21, 21, dtype=torch.bool)
    mask[..., 10, 10] = True
    out = grown(mask, (1.0, 0.5), 3.0)[0, 0]
    assert out[:, 10].sum() == 7
    assert out[10].sum() == 13
    assert grown(mask, (5.0, 5.0), 1.0).sum() == 9  # the neighbours at least


def test_what_no_contrast_agent_reaches_is_metal_however_gentle_its_edge():
    """As fillings that bloom in an image that is not clipped."""
    y, x = np.mgrid[:40, :40]
    blurred = 9000 * np.exp(-((y - 20.0) ** 2 + (x - 20.0) ** 2) / 60)
    volume = torch.from_numpy(blurred).float()[None]
    assert find_metal(volume).count == 1
    assert find_metal(volume * 0.4).count == 0
