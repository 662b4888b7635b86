"""What the denoisers share: the noise level, Rician data, channels, single slices, and the figures for the record."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar

import torch

from monai_medaug.functional.mri import zero_point
from monai_medaug.functional.noise_level import mad_sigma, rician_sigma
from monai_medaug.functional.rician import rician_stabilised, rician_unstabilised
from monai_medaug.transforms.base import Operation, number
from monai_medaug.transforms.call import KeyView, Params
from monai_medaug.transforms.tensors import computing_dtype, plain_tensor

NOISES = ("gaussian", "rician")
_FAINT = 0.5
"""Signals of less than so many sigma are none, up to twice that they are faded: near zero the inverse is as steep as a
square root, and would make a signal of the little noise that filters leave in an empty background."""
_GUIDE_SHARE = 0.05  # of a guide's range: differences below it are none, however little noise it has
_NEGLIGIBLE = 1e-6  # of the range: no noise to be removed


class NoiseRemoval(Operation):
    """Base of the denoisers: `filtered` gets images of one channel and their noise level, whatever came in."""

    abstract = True
    differentiable = False
    by_level: ClassVar[bool] = True
    """Whether the filter goes by the noise level of Gaussian data too; that of Rician data is always needed."""

    def __init__(self, sigma: float | None, noise: str) -> None:
        super().__init__()
        if noise not in NOISES:
            raise ValueError(f"noise must be one of {NOISES}, got {noise!r}")
        self.sigma = None if sigma is None else number("sigma", sigma, 0)
        self.noise = noise

    def settings(self) -> Params:
        """The filter's own parameters, plain values."""
        raise NotImplementedError

    @classmethod
    @abstractmethod
    def filtered(
        cls,
        image: torch.Tensor,
        sigma: torch.Tensor,
        params: Params,
        spacing: Sequence[tuple[float, ...]],
        guide: tuple[torch.Tensor, torch.Tensor] | None,
    ) -> torch.Tensor:
        """The kernel call.

        Args:
            image: (N, 1, *spatial), with no axis of size 1 where there are other two.
            sigma: noise level of each, (N,); ones for stabilised data; zeros where the filter doesn't ask for it.
            params: of the call.
            spacing: in mm along these axes, one a sample.
            guide: a second image of the same shape and its noise level, or None.
        """

    @classmethod
    def needs_sigma(cls, params: Params) -> bool:
        """Whether a call asks for the noise level: without noise it then gives back the image as it is."""
        return cls.by_level or params["noise"] == "rician"

    def noise_level(self, image: torch.Tensor) -> float:
        """The level that `sigma` states, or that is estimated on an image (1, *spatial)."""
        flat = plain_tensor(image, "image")[None]
        axes = _axes_to_filter(flat)
        flat = flat.to(computing_dtype(flat.dtype)).reshape(-1, 1, *[flat.shape[a + 2] for a in axes])
        return float(_levels(flat, "estimated" if self.sigma is None else self.sigma, self.noise == "rician")[0])

    def draw(self) -> Params:
        return {"sigma": "estimated" if self.sigma is None else self.sigma, "noise": self.noise, **self.settings()}

    @classmethod
    def apply(cls, image: torch.Tensor, params: Sequence[Params], plan: Any, view: KeyView) -> torch.Tensor:
        own = params[0]
        channels = image.shape[1]
        axes = _axes_to_filter(image)
        spatial = [image.shape[a + 2] for a in axes]
        flat = image.reshape(-1, 1, *spatial)
        spacing = [tuple(grid.spacing[a] for a in axes) for grid in view.grids for _ in range(channels)]
        guide = None
        if view.guide is not None:
            other = view.guide.expand(-1, channels, *image.shape[2:]).reshape(flat.shape)
            least, most = other.flatten(1).aminmax(dim=1)
            guide = (other, torch.maximum(mad_sigma(other)[:, 0], _GUIDE_SHARE * (most - least)))
        rician = own["noise"] == "rician"
        low, high = flat.flatten(1).aminmax(dim=1)
        sigma = flat.new_zeros(len(flat))
        if cls.needs_sigma(own):
            sigma = _levels(flat, own["sigma"], rician)
            levels = sigma.reshape(len(image), channels).tolist()
            view.notes.extend({"noise_level": v[0] if channels == 1 else v} for v in levels)
        if rician:
            safe = torch.where(sigma > _NEGLIGIBLE * (high - low), sigma, (high - low).clamp_min(1))
            zero = zero_point(flat)
            stable = rician_stabilised(flat - zero, safe)
            signal = rician_unstabilised(cls.filtered(stable, torch.ones_like(sigma), own, spacing, guide), safe)
            seen = signal / safe.reshape(-1, *[1] * (flat.ndim - 1)) / _FAINT - 1
            out = signal * seen.clamp(0, 1) + zero
        else:
            out = cls.filtered(flat, sigma, own, spacing, guide)
        if cls.needs_sigma(own):
            clean = (sigma <= _NEGLIGIBLE * (high - low)).reshape(-1, *[1] * (flat.ndim - 1))
            out = torch.where(clean, flat, out)
        return out.reshape(image.shape)


def _levels(flat: torch.Tensor, given: Any, rician: bool) -> torch.Tensor:
    """Noise level of each image (N,)."""
    if given != "estimated":
        return flat.new_full((len(flat),), float(given))
    single = flat.float()  # the same level for the same values, whatever their type
    level = rician_sigma(single - zero_point(single)) if rician else mad_sigma(single)
    return level[:, 0].to(flat)


def _axes_to_filter(image: torch.Tensor) -> list[int]:
    """The spatial axes without those of size 1, but at least two: a volume of one slice is filtered as a slice."""
    shape = image.shape[2:]
    long = [a for a, n in enumerate(shape) if n > 1]
    short = [a for a, n in enumerate(shape) if n == 1]
    return sorted([*long, *short[: max(0, 2 - len(long))]])


def is_source(preset: str | None) -> bool:
    """Whether a preset argument asks for the source's settings."""
    if preset not in (None, "source"):
        raise ValueError(f"preset must be 'source' or None, got {preset!r}")
    return preset == "source"
