"""How strong the artefact of metal is in CT slices, how much of a correction helps, and what lies beside the metal."""

from __future__ import annotations

import torch
from torch.nn import functional

from monai_medaug.functional.ct.prior import filled, smoothed, tissue_prior

_BLACK_HU, _INSIDE_HU, _BLUR_MM = -200.0, -300.0, 1.0  # darker than fat; a body's border; blur before
_STRONG_HU = (8.0, 16.0)
_SOFT_HU = (-990.0, 40.0)  # of a prior: soft tissue and lung, whose classes have one value each
_LOCAL_MM = 6.0  # details finer than about this are judged, so that fat and muscle don't count
_NEAR_MM, _TREMOR_HU2 = 20.0, 10.0  # over which a change is judged, and the mean square from which it is
_BONE_COST = 0.1  # more spares the bone at a shoulder or a nail, and leaves the streaks that cross a spine with screws
_BESIDE = 3  # pixels


def artefact_strength(
    given: torch.Tensor, new: torch.Tensor, rim: torch.Tensor, spacing: tuple[float, float]
) -> torch.Tensor:
    """0 for a mild artefact, 1 for a strong one, (N,): by what was black in the body and no longer is.

    The root mean square of what is darker than -200 HU is compared over what either of two images shows as body. 8 HU
    less after the correction are mild, 16 strong: no tissue in a body is so dark, whereas the dense bone that a
    correction may lose does not count.

    Args:
        given: slices (N, 1, rows, columns).
        new: the same after a correction.
        rim: bool of this shape, the metal and its rim, which do not count.
        spacing: in mm along rows and columns.

    Example:
        >>> tissue = torch.full((1, 1, 32, 32), 40.0)
        >>> black = tissue.clone()
        >>> black[..., 10:14, :] = -600.0
        >>> none = torch.zeros_like(tissue, dtype=torch.bool)
        >>> [float(artefact_strength(image, tissue, none, (1.0, 1.0))) for image in (black, tissue - 100)]
        [1.0, 0.0]
    """
    before, after = (smoothed(filled(hu, rim, spacing), spacing, _BLUR_MM) for hu in (given, new))
    inside = (torch.maximum(before, after) > _INSIDE_HU) & ~rim
    count = inside.sum((1, 2, 3)).clamp_min(1)

    def black(hu: torch.Tensor) -> torch.Tensor:
        return (((_BLACK_HU - hu).clamp_min(0).square() * inside).sum((1, 2, 3)) / count).sqrt()

    low, high = _STRONG_HU
    return ((black(before) - black(after) - low) / (high - low)).clamp(0, 1)


def share_to_make(
    given: torch.Tensor, new: torch.Tensor, rim: torch.Tensor, spacing: tuple[float, float]
) -> torch.Tensor:
    """The share of a correction in each pixel, in [0, 1], that brings soft tissue around nearest to flat.

    With the given slice x, the change c and the flat tissue p of the result, the share t minimises the sum of
    (x + t c - p)² over soft tissue and lung around, and of 0.1 (t c)² over bone, where nothing tells whether a change
    is right: a change that adds more streaks than it removes has t = 0. Sums are weighted by a Gaussian of 20 mm; over
    soft tissue, differences less their mean around count, by one of 6 mm.

    Args:
        given: slices (N, 1, rows, columns).
        new: corrected ones.
        rim: bool of this shape, the metal and its rim, which do not count.
        spacing: in mm along rows and columns.

    Example:
        >>> streaks = 50 * torch.sin(torch.arange(64.0)).expand(1, 1, 64, 64)
        >>> none = torch.zeros(1, 1, 64, 64, dtype=torch.bool)
        >>> flat = torch.full((1, 1, 64, 64), 20.0)
        >>> [round(float(share_to_make(*pair, none, (1.0, 1.0)).mean()), 2)
        ...  for pair in ((flat + streaks, flat), (flat, flat + streaks))]
        [1.0, 0.0]
    """
    change, flat = new - given, tissue_prior(new, rim, spacing)
    dense = (flat >= _SOFT_HU[1]) | (tissue_prior(given, rim, spacing) >= _SOFT_HU[1])
    weight = ((flat > _SOFT_HU[0]) & ~dense & ~rim).to(given.dtype)
    around = smoothed(weight, spacing, _LOCAL_MM).clamp_min(1e-3)
    excess, fine = ((x - smoothed(x * weight, spacing, _LOCAL_MM) / around) * weight for x in (flat - given, change))
    wanted, made = excess * fine, fine.square() + _BONE_COST * change.square() * (dense & ~rim)
    whole = wanted.sum((2, 3), keepdim=True) / made.sum((2, 3), keepdim=True).clamp_min(1e-6)
    near = smoothed(wanted, spacing, _NEAR_MM) + _TREMOR_HU2 * whole.clamp(0, 1)
    return (near / (smoothed(made, spacing, _NEAR_MM) + _TREMOR_HU2)).clamp(0, 1)


def beside_metal(
    new: torch.Tensor, given: torch.Tensor, rim: torch.Tensor, spacing: tuple[float, float]
) -> torch.Tensor:
    """Corrected slices whose rim is the given one with the change around, no brighter than what is next to it.

    Rays through the rim were interpolated: that a bone reaches up to the metal is seen in the given slice alone, where
    the rim is brightened by the metal at most.

    Args:
        new: corrected slices (N, 1, rows, columns).
        given: the slices as they were.
        rim: bool of this shape, the metal and its rim.
        spacing: in mm along rows and columns.

    Example:
        >>> given, rim = torch.full((1, 1, 9, 9), 700.0), torch.zeros(1, 1, 9, 9, dtype=torch.bool)
        >>> rim[..., 3:6, 3:6] = True
        >>> given[..., 4, 4] = 3071.0
        >>> beside_metal(given.where(~rim, 100.0), given, rim, (1.0, 1.0)).round().unique()
        tensor([700.])
    """
    change = filled(torch.where(rim, 0.0, new - given), rim, spacing)
    outside = torch.where(rim, -torch.inf, smoothed(filled(new, rim, spacing), spacing, _BLUR_MM))
    most = functional.max_pool2d(outside, 2 * _BESIDE + 1, 1, _BESIDE)
    return torch.where(rim, torch.minimum(given + change, torch.where(most.isinf(), new, most)), new)
