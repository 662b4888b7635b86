"""The CT kernels against formulas written out in numpy."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from monai_medaug.functional.acceleration import torch_only
from monai_medaug.functional.ct.hu import (
    BODY_HU,
    body_mask,
    hu_contrast,
    hu_stretch,
    hu_window,
)


def test_window_clips_and_maps_per_sample():
    image = torch.tensor([-1000.0, -160.0, 40.0, 240.0, 3000.0]).expand(2, 1, 1, 5)
    column = torch.tensor([0.0, 1.0]).reshape(2, 1, 1, 1)
    out = hu_window(image, 40 + 160 * column, 400 - 320 * column, -column, 1 + column)
    np.testing.assert_allclose(out[0].flatten(), [0, 0, 0.5, 1, 1], atol=1e-6)
    np.testing.assert_allclose(out[1].flatten(), [-1, -1, -1, 2, 2], atol=1e-6)
    assert image[0, 0, 0, 0] == -1000


def test_contrast_leaves_padding():
    image = torch.tensor([[-3024.0, -2048.0, -1400.0, -1399.0, -1000.0, -600.0, 0.0, 100.0]])
    scaled = hu_contrast(image, torch.tensor(2.0), torch.tensor(50.0))
    np.testing.assert_allclose(scaled[0], [-3024, -2048, -1400, -1399, -1000, -600, 0, 112.5])
    stretched = hu_stretch(image, torch.tensor(2.0), torch.tensor(50.0))
    np.testing.assert_allclose(stretched[0], [-3024, -2048, -1400, -1399, -1000, -925, -50, 150])


@pytest.mark.parametrize("shape", [(30, 26), (30, 26, 5)])
def test_the_body_is_the_largest_piece_without_holes(shape: tuple[int, ...]) -> None:
    image = torch.full(shape, -1000.0)
    image[4:20, 5:22] = 40.0
    image[24:28, 2:24] = 200.0  # the table
    body = image.clone()
    image[8:12, 9:14, ...] = -850.0  # a lung
    if len(shape) == 3:
        image[8:12, 9:14, [0, -1]] = 40.0  # closed, so a hole
    found = body_mask(image)
    assert found.dtype == torch.bool
    expected = body > BODY_HU
    expected[24:28] = False
    assert torch.equal(found, expected)


def test_no_body_in_air() -> None:
    assert not body_mask(torch.full((4, 5), -1000.0)).any()
    assert not body_mask(torch.full((4, 5), BODY_HU)).any()


@pytest.mark.parametrize("shape", [(2, 3, 20, 31), (1, 1, 9, 10, 11)])
@pytest.mark.parametrize("clip", [True, False])
def test_compiled_loops_equal_the_torch_path(shape: tuple[int, ...], clip: bool) -> None:
    image = 800 * torch.randn(shape, generator=torch.Generator().manual_seed(0))
    image[..., 0] = -3024.0
    factors, centers, widths = [0.85, 1.5][: shape[0]], [40.0, -600.0][: shape[0]], [400.0, 1500.0][: shape[0]]
    with torch_only():
        wanted = hu_contrast(image.double(), factors, 20.0), hu_window(image.double(), centers, widths, -1, 1.0, clip)
    columns = [torch.tensor(v).reshape(-1, *[1] * (len(shape) - 1)) for v in (factors, centers, widths)]
    for factor, center, width in ((factors, centers, widths), columns):
        assert (hu_contrast(image, factor, 20.0) - wanted[0]).abs().max() < 5e-4
        assert (hu_window(image, center, width, -1, 1.0, clip) - wanted[1]).abs().max() < 3e-6
    turned = image.mT.contiguous().mT  # another memory layout
    assert torch.equal(hu_contrast(turned, factors, 20.0), hu_contrast(image, factors, 20.0))


def test_numbers_that_differ_within_a_sample_and_gradients() -> None:
    image = torch.linspace(-500, 500, 24).reshape(2, 3, 4)
    factor = torch.tensor([1.0, 1.1, 1.2, 1.3])  # along the last axis
    expected = torch.cat([hu_contrast(image[..., i : i + 1], float(f), 0.0) for i, f in enumerate(factor)], -1)
    torch.testing.assert_close(hu_contrast(image, factor, 0.0), expected)
    factor.requires_grad_()
    hu_contrast(image, factor, 0.0).sum().backward()
    assert factor.grad is not None
    assert float(factor.grad.abs().min()) > 0
