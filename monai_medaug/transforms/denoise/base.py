"""Base of the denoisers: noise level, Rician data, channels, single slices, and figures for the record."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from copy import copy
from typing import Any, ClassVar

import numpy as np
import torch

from monai_medaug.core.arguments import choice, number
from monai_medaug.core.contract import Call, Params
from monai_medaug.core.operation import Operation
from monai_medaug.core.surroundings import undisturbed
from monai_medaug.core.tensors import affine_of, plain_tensor, require_finite, say_once
from monai_medaug.functional.acceleration import sent
from monai_medaug.functional.ct.slices import slice_axis
from monai_medaug.functional.denoise.padding import padding_filled, padding_of
from monai_medaug.functional.geometry.grid import VoxelGrid
from monai_medaug.functional.mri.signal import zero_point
from monai_medaug.functional.noise.correlation import correlated_noise, slice_levels
from monai_medaug.functional.noise.level import mad_sigma
from monai_medaug.functional.noise.level_coils import holds_less_in_details
from monai_medaug.functional.noise.level_rician import any_background_sigma, background_beyond_details, rician_sigma
from monai_medaug.functional.noise.rician import rician_bias_removed, rician_stabilised, rician_unstabilised
from monai_medaug.functional.precision import computing_dtype
from monai_medaug.transforms.ct.units import require_hu

NOISES = ("gaussian", "rician", "rician_squared", "ct")
NEGATIVE_MAGNITUDES = "an image with Rician noise has negative values: their 0.1th percentile counts as zero signal"
THICK = 1.5
"""Slices from this times the finest spacing on count as thick: patches span fewer of them and more of the plane."""
CT_STRENGTH = 0.6
"""Share of what the filters find in CT noise that is removed unless told otherwise: it halves the noise's deviation."""
_SOFT_TISSUE_HU = 40.0  # stays as it is where slices are brought to one noise level
_FAINT = 0.5
"""Rician signals up to this, in sigma, become 0; up to twice this they fade in. Near zero the inverse is as steep as a
square root and would turn the residual noise of an empty background into signal."""
_GUIDE_SHARE = 0.05  # of the guide's range: least noise level of a guide
_NEGLIGIBLE = 1e-6  # of the range: an image with less noise is returned unchanged
_FAINT_NOISE = 1e-3  # of the range: a smaller estimate is doubtful


class NoiseRemoval(Operation):
    """Base of the denoisers: splits channels and finds the noise level for the kernel call in `filtered`."""

    classical: ClassVar[bool] = False
    """Whether it filters all kinds of noise alike. The gallery then shows its settings on each kind, and for other
    denoisers the effect of their argument ``noise``."""
    abstract = True
    differentiable = False
    memory = 5
    by_level: ClassVar[bool] = True
    """Whether the filter needs the noise level of Gaussian data; that of Rician data is always needed."""
    step: ClassVar[int] = 1
    """Slabs of a volume must begin at multiples of this number of voxels to match the result of the whole volume."""
    command: ClassVar[str]
    """Its name on the command line."""

    def __init__(self, sigma: float | None, noise: str, strength: float | None = None) -> None:
        super().__init__()
        self.sigma = None if sigma is None else number("sigma", sigma, 0)
        self.noise = choice("noise", noise, NOISES)
        usual = CT_STRENGTH if noise == "ct" else 1.0
        self.strength = usual if strength is None else number("strength", strength, 0, 1)
        self.correlation: list[list[float]] | None = None
        self.slice_levels: list[float] | None = None

    @abstractmethod
    def filter_settings(self) -> Params:
        """The filter's parameters as plain values."""

    @classmethod
    @abstractmethod
    def filtered(
        cls,
        image: torch.Tensor,
        sigma: torch.Tensor,
        settings: Params,
        spacing: tuple[float, ...],
        guide: tuple[torch.Tensor, torch.Tensor] | None,
    ) -> torch.Tensor:
        """The kernel call.

        Args:
            image: (N, 1, *spatial), without axes of size 1 as long as two axes remain.
            sigma: noise levels, (N,); 1 for stabilised data, 0 if the filter doesn't need them.
            settings: of the call; ``correlation`` is that of the noise, None for white noise.
            spacing: in mm along these axes.
            guide: a second image of the same shape and its noise level, or None.
        """

    @classmethod
    def needs_sigma(cls, settings: Params) -> bool:
        """Whether a call needs the noise level; without noise it then returns the image unchanged."""
        return cls.by_level or is_rician(settings["noise"])

    def fitted(self, image: torch.Tensor) -> NoiseRemoval:
        """A copy with the noise level and correlation of an image (1, *spatial), for slabs of it.

        If no correlated noise is found in a CT, its noise counts as white.

        Example:
            >>> from monai_medaug.transforms import WaveletDenoise
            >>> noise = torch.randn(1, 128, 128, generator=torch.Generator().manual_seed(0))
            >>> round(WaveletDenoise().fitted(100 + 5 * noise).sigma)
            5
        """
        fixed = copy(self)
        if self.needs_sigma(self.settings()):
            fixed.sigma, fixed.correlation, fixed.slice_levels = self.measured(image)
            if self.noise == "ct" and fixed.correlation is None:
                fixed.noise = "gaussian"
        return fixed

    @undisturbed
    def measured(self, image: torch.Tensor) -> tuple[float, list[list[float]] | None, list[float] | None]:
        """Noise level, given or estimated on an image (1, *spatial); correlation of CT noise, and its slices' levels.

        Example:
            >>> from monai_medaug.transforms import WaveletDenoise
            >>> noise = torch.randn(1, 128, 128, generator=torch.Generator().manual_seed(0))
            >>> round(WaveletDenoise().measured(100 + 5 * noise)[0])
            5
        """
        flat = plain_tensor(image, "image")[None]
        self.check_units(flat[0], "image", self.settings())
        require_finite(flat[0], "image")
        grid = VoxelGrid(tuple(flat.shape[2:]), affine_of(image))
        single, across = _single_channels(flat.to(computing_dtype(flat.dtype)), [grid])
        levels, correlations, slices = _noise_of(single, self.settings(), across)
        return float(levels[0]), correlations[0], slices[0]

    def settings(self) -> Params:
        known: Params = {} if self.correlation is None else {"correlation": self.correlation}
        if self.noise == "ct" and self.sigma is None:
            known["by_slice"] = True
        if self.slice_levels is not None:
            known["slice_levels"] = self.slice_levels
        partly = {} if self.strength == 1 else {"removed_share": self.strength}
        constants = {"noise": self.noise, **partly, **known, **self.filter_settings()}
        sigma = "estimated" if self.sigma is None else self.sigma
        return {"sigma": sigma, **constants} if self.needs_sigma(constants) else constants

    @classmethod
    def check_units(cls, image: torch.Tensor, name: str, settings: Params) -> None:
        if settings["noise"] == "ct" and cls.needs_sigma(settings) and not _is_fitted(settings):
            require_hu(image, name, "noise='ct' needs a CT before intensity scaling")

    @classmethod
    def apply(cls, image: torch.Tensor, call: Call) -> torch.Tensor:
        own = call.settings
        channels = image.shape[1]
        whole, across = _single_channels(image, call.grids)
        padding = padding_of(whole)
        flat = whole if padding is None else padding_filled(whole, padding)
        axes = _axes_to_filter(image)
        spacing = [tuple(grid.spacing[a] for a in axes) for grid in call.grids for _ in range(channels)]
        guide = None
        if "guide" in call.inputs:
            other = call.inputs["guide"].expand(-1, channels, *image.shape[2:]).reshape(flat.shape)
            least, most = other.flatten(1).aminmax(dim=1)
            guide = (other, torch.maximum(mad_sigma(other)[:, 0], _GUIDE_SHARE * (most - least)))
        low, high = flat.flatten(1).aminmax(dim=1)
        sigma = flat.new_zeros(len(flat))
        correlations: list[Any] = [None] * len(flat)
        slices: list[Any] = [None] * len(flat)
        if cls.needs_sigma(own):
            sigma, correlations, slices = _noise_of(whole, own, across)
            call.note(_notes(sigma, correlations, slices, channels))

        def cleared(values: torch.Tensor, level: torch.Tensor) -> torch.Tensor:
            """The filtered images; those of equal spacing and noise go together."""
            kinds = list(zip(spacing, correlations, strict=True))
            if all(k == kinds[0] for k in kinds):
                return cls.filtered(values, level, {**own, "correlation": kinds[0][1]}, kinds[0][0], guide)
            out = torch.empty_like(values)
            for n, (voxel, correlation) in enumerate(kinds):
                some = [i for i, k in enumerate(kinds) if k == (voxel, correlation)]
                if some[0] == n:
                    part = None if guide is None else (guide[0][some], guide[1][some])
                    settings = {**own, "correlation": correlation}
                    out[some] = cls.filtered(values[some], level[some], settings, voxel, part)
            return out

        if own["noise"] == "rician":
            safe = torch.where(sigma > _NEGLIGIBLE * (high - low), sigma, (high - low).clamp_min(1))
            zero = _no_signal(flat)
            stable = rician_stabilised(flat - zero, safe)
            out = _faded(rician_unstabilised(cleared(stable, torch.ones_like(sigma)), safe), safe) + zero
        elif own["noise"] == "rician_squared":
            zero = _no_signal(flat)
            out = rician_bias_removed(cleared(flat - zero, sigma), sigma) + zero
        else:
            spread = _spread_over_slices(flat, sigma, slices, across)
            out = (
                cleared(flat, sigma)
                if spread is None
                else _levelled(cleared(_levelled(flat, 1 / spread), sigma), spread)
            )
        if cls.needs_sigma(own):
            clean = (sigma <= _NEGLIGIBLE * (high - low)).reshape(-1, *[1] * (flat.ndim - 1))
            out = torch.where(clean, flat, out)
        if "removed_share" in own:  # records of earlier versions have none: all was removed
            out = flat.lerp(out, own["removed_share"])
        if padding is not None:
            out = torch.where(padding, whole, out)
        return out.reshape(image.shape)


def _faded(signal: torch.Tensor, sigma: torch.Tensor) -> torch.Tensor:
    """Signals with those up to `_FAINT` set to 0 and those up to twice it faded in."""
    seen = signal / sigma.reshape(-1, *[1] * (signal.ndim - 1)) / _FAINT - 1
    return signal * seen.clamp(0, 1)


def _no_signal(image: torch.Tensor) -> torch.Tensor:
    """The value of zero signal, with a notice about negative magnitudes."""
    zero = zero_point(image)
    if bool((zero < 0).any()):
        say_once(NEGATIVE_MAGNITUDES)
    return zero


def is_rician(noise: str) -> bool:
    """Whether a kind of noise is that of MR magnitude images.

    Example:
        >>> is_rician("rician_squared"), is_rician("ct")
        (True, False)
    """
    return noise.startswith("rician")


def _single_channels(image: torch.Tensor, grids: Sequence[VoxelGrid]) -> tuple[torch.Tensor, list[int | None]]:
    """(B, C, *spatial) as (B C, 1, *axes to filter), and for each the axis across the slices of a CT."""
    axes = _axes_to_filter(image)
    across = [slice_axis(grid) for grid in grids for _ in range(image.shape[1])]
    places = [axes.index(a) if a in axes and len(axes) == 3 else None for a in across]
    return image.reshape(-1, 1, *[image.shape[a + 2] for a in axes]), places


def _noise_of(
    flat: torch.Tensor, params: Params, across: Sequence[int | None]
) -> tuple[torch.Tensor, list[list[list[float]] | None], list[list[float] | None]]:
    """Level (N,), correlation and levels by slice of the noise of images (N, 1, *spatial), given or estimated."""
    single = flat.float()  # the same level for the same values in any type
    correlations: list[Any] = [params.get("correlation")] * len(flat)
    slices: list[Any] = [params.get("slice_levels")] * len(flat)
    estimated = params["sigma"] == "estimated"
    level = flat.new_zeros(len(flat)) if estimated else flat.new_full((len(flat),), float(params["sigma"]))
    if params["noise"] == "ct" and not _is_fitted(params):
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
        low, high = single.flatten(1).aminmax(dim=1)
        if bool(((level > _NEGLIGIBLE * (high - low)) & (level < _FAINT_NOISE * (high - low))).any()):
            say_once(
                f"the noise of an image is estimated at less than {_FAINT_NOISE:.1%} of its range, and little will be "
                "removed: if neighbouring voxels were interpolated or filtered, give sigma (or noise='ct' for HU)"
            )
    return level, correlations, slices


def _spread_over_slices(
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


def _levelled(image: torch.Tensor, ratio: torch.Tensor) -> torch.Tensor:
    """Contrast to soft tissue times a ratio, so that noise is alike in all slices, or as it was."""
    return _SOFT_TISSUE_HU + (image - _SOFT_TISSUE_HU) * ratio


def _is_fitted(settings: Params) -> bool:
    """Whether level and correlation of the noise are known, so that slabs need not show them."""
    return settings["sigma"] != "estimated" and settings.get("correlation") is not None


def _notes(
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


def _axes_to_filter(image: torch.Tensor) -> list[int]:
    """The spatial axes of more than one voxel, but at least two: a volume of one slice is filtered in 2D."""
    shape = image.shape[2:]
    long = [a for a, n in enumerate(shape) if n > 1]
    short = [a for a, n in enumerate(shape) if n == 1]
    return sorted([*long, *short[: max(0, 2 - len(long))]])


def equal_sides(size: int, spacing: Sequence[float]) -> list[int]:
    """Odd sides of a neighbourhood in voxels, equal in mm and ``size`` along the finest axis.

    Example:
        >>> equal_sides(5, (1.0, 1.0, 2.0))
        [5, 5, 3]
    """
    return [2 * round((size * min(spacing) / s - 1) / 2) + 1 for s in spacing]


def is_source(preset: str | None) -> bool:
    """Whether a preset argument selects the source's settings."""
    return choice("preset", preset, ("source", None)) == "source"


def thick_axes(spacing: tuple[float, ...], times: float = THICK) -> list[bool]:
    """Which axes of a volume have at least ``times`` the finest spacing; in 2D none.

    Example:
        >>> thick_axes((1.0, 1.0, 3.0))
        [False, False, True]
    """
    return [len(spacing) == 3 and s >= times * min(spacing) for s in spacing]
