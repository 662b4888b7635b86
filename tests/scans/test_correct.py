"""Metal and motion of whole scans, for the command line."""

import numpy as np
import pytest
import torch
from monai.data import MetaTensor

from monai_medaug.scans.correct import CORRECTIONS, corrected_scan, correction


def moved_slices(count: int = 3, gap: float = 6.0) -> tuple[MetaTensor, torch.Tensor]:
    """2D slices of a complex phantom, each with a motion of its own; and the slices at rest."""
    y, x = np.meshgrid(*[np.linspace(-1, 1, n, endpoint=False) for n in (64, 60)], indexing="ij")
    inside = (x**2 / 0.5 + y**2 / 0.7) < 1
    still = (inside * (1 + 0.4 * np.sin(9 * x) * np.cos(7 * y) + (x > 0.2))) * np.exp(1j * x)
    out = []
    for k in range(count):
        spectrum = np.fft.fft2(still)
        lines = np.fft.fftfreq(64) < -0.25  # the outermost of four segments
        shift = np.array([1.0, 3.0, -2.0, 4.0])[k] * (k > 0)
        spectrum[lines] *= np.exp(-2j * np.pi * shift * np.fft.fftfreq(60))[None]
        out.append(np.fft.ifft2(spectrum))
    stack = torch.from_numpy(np.stack(out, -1).astype(np.complex64))[None]
    affine = torch.diag(torch.tensor([1.0, 1.0, gap, 1.0], dtype=torch.float64))
    return MetaTensor(stack, affine=affine), torch.from_numpy(np.stack([still] * count, -1))[None]


def test_the_methods_are_those_that_say_so():
    assert sorted(CORRECTIONS) == ["mar", "motion"]


def test_slices_of_a_2d_scan_are_corrected_one_by_one():
    """Each has moved otherwise; the first not at all, and stays bit for bit."""
    moved, still = moved_slices()
    out, figures = corrected_scan(moved, "motion", segments=4, rotate_degrees=0.0)
    assert len(figures) == 3
    assert [f["corrected"] for f in figures] == [False, True, True]
    assert torch.equal(out.as_tensor()[..., 0], moved.as_tensor()[..., 0])
    for k in (1, 2):
        left, before = (
            float((x.as_tensor()[..., k].abs() - still[..., k].abs()).square().mean()) for x in (out, moved)
        )
        assert left < 0.1 * before


def test_a_volume_of_even_spacing_is_one_acquisition():
    moved, _ = moved_slices(4, 1.0)
    _, figures = corrected_scan(moved, "motion", segments=2, rotate_degrees=0.0)
    assert len(figures) == 1


def test_arguments_that_do_not_belong_to_a_method_are_named():
    with pytest.raises(ValueError, match="the method 'motion' needs segments"):
        correction("motion")
    with pytest.raises(ValueError, match="sigma is no argument of the method 'mar'"):
        correction("mar", sigma=3.0)
    with pytest.raises(ValueError, match="method must be one of"):
        correction("wavelet")
