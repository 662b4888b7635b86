"""Base of the denoisers: Rician data, channels, single slices."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from copy import copy
from typing import Any, ClassVar

import torch

from monai_medaug.core.arguments import choice, number
from monai_medaug.core.contract import Call, Params
from monai_medaug.core.operation import Operation
from monai_medaug.core.surroundings import undisturbed
from monai_medaug.core.tensors import affine_of, plain_tensor, require_finite, say_once
from monai_medaug.functional.ct.slices import slice_axis
from monai_medaug.functional.denoise.padding import padding_filled, padding_of
from monai_medaug.functional.geometry.grid import VoxelGrid
from monai_medaug.functional.mri.signal import zero_point
from monai_medaug.functional.noise.level import mad_sigma
from monai_medaug.functional.noise.rician import rician_bias_removed, rician_stabilised, rician_unstabilised
from monai_medaug.functional.precision import computing_dtype
from monai_medaug.transforms.ct.units import require_hu
from monai_medaug.transforms.denoise.level import (
    NEGLIGIBLE,
    NOISES,
    is_fitted,
    is_rician,
    level_notes,
    levelled,
    noise_of,
    spread_over_slices,
)

NEGATIVE_MAGNITUDES = "an image with Rician noise has negative values: their 0.1th percentile counts as zero signal"
THICK = 1.5
"""Slices from this times the finest spacing on count as thick: patches span fewer of them and more of the plane."""
CT_STRENGTH = 0.6
"""Share of what the filters find in CT noise that is removed unless told otherwise: it halves the noise's deviation."""
_FAINT = 0.5
"""Rician signals up to this, in sigma, become 0; up to twice this they fade in. Near zero the inverse is as steep as a
square root and would turn the residual noise of an empty background into signal."""
_GUIDE_SHARE = 0.05  # of the guide's range: least noise level of a guide


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
        levels, correlations, slices = noise_of(single, self.settings(), across)
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
        if settings["noise"] == "ct" and cls.needs_sigma(settings) and not is_fitted(settings):
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
            sigma, correlations, slices = noise_of(whole, own, across)
            call.note(level_notes(sigma, correlations, slices, channels))

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
            safe = torch.where(sigma > NEGLIGIBLE * (high - low), sigma, (high - low).clamp_min(1))
            zero = _no_signal(flat)
            stable = rician_stabilised(flat - zero, safe)
            out = _faded(rician_unstabilised(cleared(stable, torch.ones_like(sigma)), safe), safe) + zero
        elif own["noise"] == "rician_squared":
            zero = _no_signal(flat)
            out = rician_bias_removed(cleared(flat - zero, sigma), sigma) + zero
        else:
            spread = spread_over_slices(flat, sigma, slices, across)
            out = (
                cleared(flat, sigma) if spread is None else levelled(cleared(levelled(flat, 1 / spread), sigma), spread)
            )
        if cls.needs_sigma(own):
            clean = (sigma <= NEGLIGIBLE * (high - low)).reshape(-1, *[1] * (flat.ndim - 1))
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


def _single_channels(image: torch.Tensor, grids: Sequence[VoxelGrid]) -> tuple[torch.Tensor, list[int | None]]:
    """(B, C, *spatial) as (B C, 1, *axes to filter), and for each the axis across the slices of a CT."""
    axes = _axes_to_filter(image)
    across = [slice_axis(grid) for grid in grids for _ in range(image.shape[1])]
    places = [axes.index(a) if a in axes and len(axes) == 3 else None for a in across]
    return image.reshape(-1, 1, *[image.shape[a + 2] for a in axes]), places


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
