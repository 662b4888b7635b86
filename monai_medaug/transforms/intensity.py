"""Changes of any image's grey values and sharpness, for policies that learn; the modalities have their own physics."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from monai_medaug.core.arguments import span
from monai_medaug.core.contract import Call, Params
from monai_medaug.core.magnitude import Magnitude, Reach
from monai_medaug.core.operation import RandomOperation
from monai_medaug.core.twin import dictionary_twin
from monai_medaug.functional.denoise.padding import padding_filled, padding_of
from monai_medaug.functional.denoise.smoothing import gaussian_smooth
from monai_medaug.functional.intensity_curve import curved

_FWHM = 2.3548200450309493  # of a Gaussian, in standard deviations


class RandIntensityCurve(RandomOperation):
    """Gamma, contrast about the mean and brightness, as another display or another calibration of the grey scale.

    ``y = low + E (c (g(u) - m) + m + b)`` with the share ``u = (x - low) / E`` of the image's range E without outliers,
    ``g(u) = u^gamma`` within the range and linear beyond it, and the mean m of g(u). Nothing is clipped, values below 0
    are as good as others, and the order of values is kept. Flat areas of the least value (1 % of a channel or more) are
    no measurement and stay: padding, masked zeros, shutters. A CT in HU loses its unit by this, as by any display.

    Args:
        gamma: range of the exponent, above 0; above 1 it darkens.
        contrast: range of c, above 0.
        brightness: range of b, as a share of the range E; 0.1 means (-0.1, 0.1).
        prob: probability of applying it.

    Raises:
        ValueError: an argument is out of its range, or the image is not finite.

    Source: E. D. Cubuk et al., AutoAugment, CVPR 2019 (contrast and brightness as operations of a policy).

    Example:
        >>> image = torch.tensor([[[-100.0, 0.0, 50.0, 100.0]]])
        >>> RandIntensityCurve(gamma=1, contrast=1, brightness=(0.1, 0.1), prob=1.0)(image)
        tensor([[[-100.,   10.,   60.,  110.]]])
    """

    phrases = {
        "gamma": "gamma {:.2f}",
        "contrast": "contrast × {:.2f}",
        "brightness": "brightness {:+.0%} of the range",
    }
    identity = {"gamma": 1.0, "contrast": 1.0, "brightness": 0.0}
    magnitudes = (
        Magnitude("contrast", {"contrast": Reach(1, 1.6, "ratio")}, {"gamma": 1, "brightness": 0}),
        Magnitude("brightness", {"brightness": Reach(0, 0.2, "signed")}, {"gamma": 1, "contrast": 1}),
        Magnitude("gamma", {"gamma": Reach(1, 1.8, "ratio")}, {"contrast": 1, "brightness": 0}),
    )
    memory = 5

    def __init__(
        self,
        gamma: float | Sequence[float] = (0.7, 1.5),
        contrast: float | Sequence[float] = (0.75, 1.25),
        brightness: float | Sequence[float] = 0.1,
        prob: float = 0.3,
    ) -> None:
        super().__init__(prob)
        self.gamma = span("gamma", gamma, 1e-2, 100)
        self.contrast = span("contrast", contrast, 1e-2, 100)
        self.brightness = span("brightness", brightness, -10, 10, signed=True)

    def draw(self) -> Params:
        return {name: self.R.uniform(*getattr(self, name)) for name in ("gamma", "contrast", "brightness")}

    @classmethod
    def apply(cls, image: torch.Tensor, call: Call) -> torch.Tensor:
        return curved(image, call.column("gamma"), call.column("contrast"), call.column("brightness"))


RandIntensityCurved = dictionary_twin(RandIntensityCurve)
RandIntensityCurveD = RandIntensityCurveDict = RandIntensityCurved


class RandBlur(RandomOperation):
    """A wider point spread function: the image convolved with a Gaussian, equal in mm along all axes.

    The border is repeated, so that a constant image stays constant; padding of a CT (a repeated least value at or below
    -1400) stays as it is and is mixed with nothing. Images without spacing count as 1 mm. For the profile of thick
    slices see `RandThickSlice`.

    Args:
        fwhm_mm: range of the full width at half maximum, in mm, 0 to 100; 0 changes nothing.
        prob: probability of applying it.

    Raises:
        ValueError: an argument is out of its range, or the image is not finite.

    Example:
        >>> step = torch.tensor([[[0.0, 0.0, 0.0, 100.0, 100.0, 100.0]]])
        >>> RandBlur(fwhm_mm=1.2, prob=1.0)(step).round()
        tensor([[[  0.,   0.,  11.,  89., 100., 100.]]])
    """

    phrases = {"fwhm_mm": "blurred by {:.1f} mm"}
    identity = {"fwhm_mm": 0.0}
    example_arguments = {"fwhm_mm": (2.0, 4.0)}  # what is far below the spacing changes nothing
    magnitudes = (Magnitude("blur", {"fwhm_mm": Reach(0, 4)}, unit="mm"),)

    def __init__(self, fwhm_mm: float | Sequence[float] = (0.5, 3), prob: float = 0.3) -> None:
        super().__init__(prob)
        self.fwhm_mm = span("fwhm_mm", fwhm_mm, 0, 100)

    def draw(self) -> Params:
        return {"fwhm_mm": self.R.uniform(*self.fwhm_mm)}

    @classmethod
    def apply(cls, image: torch.Tensor, call: Call) -> torch.Tensor:
        widths = [
            [draw["fwhm_mm"] / _FWHM / s for s in g.spacing] for draw, g in zip(call.draws, call.grids, strict=True)
        ]
        single = image.reshape(-1, 1, *image.shape[2:])
        padding = padding_of(single)
        filled = image if padding is None else padding_filled(single, padding).reshape(image.shape)
        out = gaussian_smooth(filled, torch.tensor(widths, dtype=image.dtype))
        return out if padding is None else torch.where(padding.reshape(image.shape), image, out)


RandBlurd = dictionary_twin(RandBlur)
RandBlurD = RandBlurDict = RandBlurd
