"""Display windows and contrast of CT images in Hounsfield units."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from monai_medaug.core.arguments import choice, number, span
from monai_medaug.core.contract import Call, Params
from monai_medaug.core.gallery_entry import GalleryEntry
from monai_medaug.core.operation import Operation, RandomOperation
from monai_medaug.core.tensors import require_finite
from monai_medaug.core.twin import dictionary_twin
from monai_medaug.functional.ct.hu import hu_contrast, hu_window

HU_PRESETS = {
    "lung": (-600.0, 1500.0),
    "mediastinum": (50.0, 350.0),
    "soft_tissue": (40.0, 400.0),
    "liver": (30.0, 150.0),
    "brain": (40.0, 80.0),
    "bone": (400.0, 1800.0),
}
"""Centre and width in HU of common display windows."""


_RESIDUE_HU = 1e-2  # up to this range an image counts as constant


def require_hu(image: torch.Tensor, name: str) -> None:
    """Raise unless the values can be HU: finite, and not a normalised image (not constant, all within [-1, 1])."""
    low, high = (v.item() for v in torch.aminmax(image if image.dtype not in _NO_MINMAX else image.to(torch.int64)))
    if not (np.isfinite(low) and np.isfinite(high)):
        require_finite(image, name)
    if high - low > _RESIDUE_HU and low >= -1 and high <= 1:
        raise ValueError(
            f"{name} must be in Hounsfield units, got values within [{low:.3g}, {high:.3g}], as if normalised: put CT "
            "transforms before intensity scaling"
        )


_NO_MINMAX = (torch.uint16, torch.uint32, torch.uint64, torch.bool)


class CTImage:
    """Mixin of the operations on HU: their input check and example."""

    modality = "ct"

    @classmethod
    def check(cls, image: torch.Tensor, name: str) -> None:
        require_hu(image, name)

    @classmethod
    def example(cls, spatial_dims: int = 3) -> torch.Tensor:
        """A water disc of -20..60 HU in air, (1, *spatial)."""
        axes = torch.meshgrid(*[torch.linspace(-1, 1, n) for n in (24, 21, 18)[:spatial_dims]], indexing="ij")
        inside = torch.stack(axes).square().sum(0) < 0.7
        return torch.where(inside, 20 + 40 * torch.sin(4 * axes[0]), torch.tensor(-1000.0))[None]


class HUWindow(CTImage, Operation):
    """Display window: HU mapped linearly to ``out_range`` and clipped.

    ``y = low + (high - low) * clip((HU - (center - width / 2)) / width, 0, 1)``, in floating point without rounding.

    Args:
        center: centre of the window in HU.
        width: its width in HU, above 0.
        preset: instead of centre and width: lung -600/1500, mediastinum 50/350, soft_tissue 40/400, liver 30/150,
            brain 40/80, bone 400/1800.
        out_range: (low, high) of the result.

    Raises:
        ValueError: neither or both of a preset and a window are given, or the image cannot be in HU.

    Example:
        >>> import torch
        >>> HUWindow(preset="soft_tissue")(torch.tensor([[[-1000.0, 40.0, 140.0]]]))
        tensor([[[0.0000, 0.5000, 0.7500]]])
    """

    gallery = GalleryEntry(({"preset": "lung"}, {"preset": "soft_tissue"}, {"preset": "bone"}))
    phrases = {"center_hu": "centre {:.0f} HU", "width_hu": "width {:.0f} HU"}
    headline = ()

    def __init__(
        self,
        center: float | None = None,
        width: float | None = None,
        preset: str | None = None,
        out_range: Sequence[float] = (0, 1),
    ) -> None:
        super().__init__()
        if preset is not None:
            preset = choice("preset", preset.replace(" ", "_"), sorted(HU_PRESETS))
            if center is not None or width is not None:
                raise ValueError(f"preset {preset!r} excludes center and width, got {center!r} and {width!r}")
            center, width = HU_PRESETS[preset]
        if center is None or width is None:
            raise ValueError(f"center and width must be given, or a preset, got {center!r} and {width!r}")
        self.center = number("center", center)
        self.width = number("width", width, 1e-6)
        self.out_range = span("out_range", out_range)

    def settings(self) -> Params:
        return {"center_hu": self.center, "width_hu": self.width, "out_range": list(self.out_range)}

    @classmethod
    def apply(cls, image: torch.Tensor, call: Call) -> torch.Tensor:
        return hu_window(image, call.settings["center_hu"], call.settings["width_hu"], *call.settings["out_range"])


HUWindowd = dictionary_twin(HUWindow)
HUWindowD = HUWindowDict = HUWindowd


class RandHUWindow(CTImage, RandomOperation):
    """A random display window (`HUWindow`), so that a network does not depend on one setting.

    Args:
        center: range of the centre in HU.
        width: range of the width in HU.
        out_range: (low, high) of the result.
        prob: probability of applying it. A skipped image stays in HU: keep 1 if a network follows.

    Raises:
        ValueError: an argument is out of its range, or the image cannot be in HU.

    Example:
        >>> import torch
        >>> out = RandHUWindow().set_random_state(0)(torch.tensor([[[-1000.0, 40.0, 1200.0]]]))
        >>> float(out.min()), float(out.max())
        (0.0, 1.0)
    """

    phrases = HUWindow.phrases
    headline = ()

    def __init__(
        self,
        center: float | Sequence[float] = (-100, 100),
        width: float | Sequence[float] = (200, 400),
        out_range: Sequence[float] = (0, 1),
        prob: float = 1.0,
    ) -> None:
        super().__init__(prob)
        self.center = span("center", center)
        self.width = span("width", width, 1e-6)
        self.out_range = span("out_range", out_range)

    def draw(self) -> Params:
        return {"center_hu": self.R.uniform(*self.center), "width_hu": self.R.uniform(*self.width)}

    def settings(self) -> Params:
        return {"out_range": list(self.out_range)}

    @classmethod
    def apply(cls, image: torch.Tensor, call: Call) -> torch.Tensor:
        return hu_window(image, call.column("center_hu"), call.column("width_hu"), *call.settings["out_range"])


RandHUWindowd = dictionary_twin(RandHUWindow)
RandHUWindowD = RandHUWindowDict = RandHUWindowd


class RandHUContrast(CTImage, RandomOperation):
    """Contrast of tissue and bone about a fixed value, which varies with the tube voltage.

    ``HU + w (factor - 1) (HU - pivot)`` with ``w = clip((HU + 1000) / 800, 0, 1)``: the full effect from -200 HU up,
    fading to none at -1000 HU, because air is -1000 HU by definition and lung a mixture of air and tissue. A pivot of 0
    keeps water at 0 HU. Padding (-2048, -3024 and the like) stays unchanged.

    Args:
        factor: range of the factor, above 0; 1 changes nothing.
        pivot_hu: the fixed value in HU.
        prob: probability of applying it.

    Raises:
        ValueError: an argument is out of its range, or the image cannot be in HU.

    Example:
        >>> import torch
        >>> RandHUContrast(factor=1.15, prob=1.0)(torch.tensor([[[-2048.0, 0.0, 100.0]]]))
        tensor([[[-2048.,     0.,   115.]]])
    """

    gallery = GalleryEntry(({"factor": (1.1, 1.15)},))
    phrases = {"factor": "contrast × {:.2f}"}
    identity = {"factor": 1.0}

    def __init__(self, factor: float | Sequence[float] = (0.85, 1.15), pivot_hu: float = 0, prob: float = 0.8) -> None:
        super().__init__(prob)
        self.factor = span("factor", factor, 1e-3)
        self.pivot_hu = number("pivot_hu", pivot_hu)

    def draw(self) -> Params:
        return {"factor": self.R.uniform(*self.factor)}

    def settings(self) -> Params:
        return {"pivot_hu": self.pivot_hu}

    @classmethod
    def apply(cls, image: torch.Tensor, call: Call) -> torch.Tensor:
        return hu_contrast(image, call.column("factor"), call.settings["pivot_hu"])


RandHUContrastd = dictionary_twin(RandHUContrast)
RandHUContrastD = RandHUContrastDict = RandHUContrastd
