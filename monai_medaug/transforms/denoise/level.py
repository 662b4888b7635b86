"""The noise that a denoiser removes: its level, given or estimated, its correlation, and its levels by slice."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from monai_medaug.core.contract import Params
from monai_medaug.core.tensors import say_once
from monai_medaug.functional.acceleration import sent
from monai_medaug.functional.mri.signal import zero_point
from monai_medaug.functional.noise.correlation import correlated_noise, slice_levels
from monai_medaug.functional.noise.level import mad_sigma
from monai_medaug.functional.noise.level_coils import holds_less_in_details
from monai_medaug.functional.noise.level_rician import any_background_sigma, background_beyond_details, rician_sigma

NOISES = ("gaussian", "rician", "rician_squared", "ct")
NEGLIGIBLE = 1e-6
"""Of the range: an image with less noise is returned unchanged."""
_FAINT_NOISE = 1e-3  # of the range: a smaller estimate is doubtful
_SOFT_TISSUE_HU = 40.0  # stays as it is where slices are brought to one noise level


def is_rician(noise: str) -> bool:
    """Whether a kind of noise is that of MR magnitude images.

    Example:
        >>> is_rician("rician_squared"), is_rician("ct")
        (True, False)
    """
    return noise.startswith("rician")


def noise_of(
    flat: torch.Tensor, params: Params, across: Sequence[int | None]
) -> tuple[torch.Tensor, list[list[list[float]] | None], list[list[float] | None]]:
    """Level (N,), correlation and levels by slice of the noise of images (N, 1, *spatial), given or estimated."""
    single = flat.float()  # the same level for the same values in any type
    correlations: list[Any] = [params.get("correlation")] * len(flat)
    slices: list[Any] = [params.get("slice_levels")] * len(flat)
    estimated = params["sigma"] == "estimated"
    low, high = single.flatten(1).aminmax(dim=1)
    least = NEGLIGIBLE * (high - low)
    level = flat.new_zeros(len(flat)) if estimated else flat.new_full((len(flat),), float(params["sigma"]))
    if params["noise"] == "ct" and not is_fitted(params):
        for n, (image, axis) in enumerate(zip(single[:, 0], across, strict=True)):
            found = correlated_noise(image, axis)
            if found is None and float(image.max()) > float(image.min()):
                say_once("noise='ct' finds too little flat soft tissue in an image: its noise counts as white")
            correlations[n] = None if found is None else found.correlation
            if estimated:
                level[n] = mad_sigma(image[None, None]) if found is None else found.sigma
                if axis is not None and found is not None and found.sigma > 0 and params.get("by_slice"):
                    slices[n] = slice_levels(image, axis)
                if slices[n] is not None and found is not None and found.doubtful:
                    level[n] = float(np.median(slices[n]))  # slices differ, each is clear
                elif found is not None and found.doubtful:
                    say_once(
                        "noise='ct' finds hardly any soft tissue without texture in an image: the estimate is that of "
                        "its flattest parts, and doubtful; check the noise level in the report, or give sigma"
                    )
    elif estimated:
        rician = is_rician(params["noise"])
        magnitude = single - zero_point(single) if rician else single
        level = (rician_sigma(magnitude) if rician else mad_sigma(single))[:, 0].to(flat)
        for image in magnitude if rician else ():
            if holds_less_in_details(image[None]) and any_background_sigma(image[None]) is None:
                say_once(
                    "the finest details of an image hold less noise than the rest, as after zero-filling, and it has "
                    "no background to measure, as after masking: the estimate is doubtful and too small; give sigma"
                )
        if params["noise"] == "gaussian":
            for n, background in enumerate(background_beyond_details(single, level)):
                if background is not None:
                    level[n] = background
                    say_once(
                        "the finest details of an image hold less noise than its background, as after zero-filling: "
                        "the background's level counts; noise='rician' would remove its bias too"
                    )
        if bool(((level > least) & (level < _FAINT_NOISE * (high - low))).any()):
            say_once(
                f"the noise of an image is estimated at less than {_FAINT_NOISE:.1%} of its range, and little will be "
                "removed: if neighbouring voxels were interpolated or filtered, give sigma (or noise='ct' for HU)"
            )
    if estimated:  # what rounding leaves of a noise-free image is no noise
        level = torch.where(level > least, level, 0)
        slices = [own if found > 0 else None for own, found in zip(slices, level.tolist(), strict=True)]
    return level, correlations, slices


def spread_over_slices(
    image: torch.Tensor, sigma: torch.Tensor, slices: Sequence[list[float] | None], across: Sequence[int | None]
) -> torch.Tensor | None:
    """The noise of each slice as a multiple of its image's, (N, 1, *spatial); None without levels of slices."""
    if all(levels is None for levels in slices):
        return None
    out = torch.ones_like(image)
    for own, level, levels, axis in zip(out[:, 0], sigma.tolist(), slices, across, strict=True):
        if levels is not None and axis is not None and level > 0:
            ratio = sent(levels, own.device, own.dtype) / level
            own *= ratio.reshape([-1 if a == axis else 1 for a in range(own.ndim)])
    return out


def levelled(image: torch.Tensor, ratio: torch.Tensor) -> torch.Tensor:
    """Contrast to soft tissue times a ratio, so that noise is alike in all slices, or as it was."""
    return _SOFT_TISSUE_HU + (image - _SOFT_TISSUE_HU) * ratio


def is_fitted(settings: Params) -> bool:
    """Whether level and correlation of the noise are known, so that slabs need not show them."""
    return settings["sigma"] != "estimated" and settings.get("correlation") is not None


def level_notes(
    sigma: torch.Tensor,
    correlations: Sequence[list[list[float]] | None],
    slices: Sequence[list[float] | None],
    channels: int,
) -> list[Params]:
    """Figures for the record of each sample: noise level, its range over slices, correlation along each axis."""
    notes = []
    every = sigma.tolist()
    for start in range(0, len(sigma), channels):
        levels = every[start : start + channels]
        note: Params = {"noise_level": levels[0] if channels == 1 else levels}
        first, own = correlations[start], slices[start]
        if own is not None:
            note["slice_noise"] = [round(min(own), 2), round(max(own), 2)]
        if first is not None:
            note["neighbour_correlation"] = [round(c[1], 3) if len(c) > 1 else 0.0 for c in first]
        notes.append(note)
    return notes
