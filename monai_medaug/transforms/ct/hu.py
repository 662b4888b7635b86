"""Display windows and contrast of CT images in Hounsfield units."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from monai_medaug.core.arguments import choice, flag, number, span, wide_span
from monai_medaug.core.contract import Call, Params
from monai_medaug.core.gallery_entry import GalleryEntry
from monai_medaug.core.magnitude import Magnitude, Reach
from monai_medaug.core.operation import Operation, RandomOperation
from monai_medaug.core.twin import dictionary_twin
from monai_medaug.functional.ct.hu import hu_contrast, hu_stretch, hu_window
from monai_medaug.transforms.ct.units import CTImage, require_window

HU_PRESETS = {
    "lung": (-600.0, 1500.0),
    "mediastinum": (50.0, 350.0),
    "soft_tissue": (40.0, 400.0),
    "liver": (30.0, 150.0),
    "brain": (40.0, 80.0),
    "bone": (400.0, 1800.0),
}
"""Centre and width in HU of common display windows."""


class HUWindow(CTImage, Operation):
    """Display window: HU mapped linearly to ``out_range`` and clipped.

    ``y = low + (high - low) * clip((HU - (center - width / 2)) / width, 0, 1)``, in floating point without rounding.
    `HUFromWindow` is the way back.

    Args:
        center: centre of the window in HU.
        width: its width in HU, above 0.
        preset: instead of centre and width: lung -600/1500, mediastinum 50/350, soft_tissue 40/400, liver 30/150,
            brain 40/80, bone 400/1800.
        out_range: (low, high) of the result.
        clip: False keeps values outside the window, beyond ``out_range``.

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
        clip: bool = True,
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
        self.clip = flag("clip", clip)

    def settings(self) -> Params:
        window = {"center_hu": self.center, "width_hu": self.width, "out_range": list(self.out_range)}
        return {**window, "clip": self.clip}

    @classmethod
    def apply(cls, image: torch.Tensor, call: Call) -> torch.Tensor:
        own = call.settings
        low, high = own["out_range"]
        return hu_window(image, own["center_hu"], own["width_hu"], low, high, own.get("clip", True))


HUWindowd = dictionary_twin(HUWindow)
HUWindowD = HUWindowDict = HUWindowd


class HUFromWindow(Operation):
    """HU of a scaled image, so that operations on HU may follow: ``HU = low + (high - low) v``.

    The way back from ``ScaleIntensityRanged(keys, a_min=low, a_max=high, b_min=0, b_max=1)``, up to rounding. What that
    clipped stays at the window's ends. ``HUWindow((low + high) / 2, high - low, clip=False)`` scales again.

    Args:
        window: (low, high), the HU of the values 0 and 1. After another scale give those all the same: after [-1, 1]
            they are the window's centre and high end.

    Raises:
        ValueError: the window is not a pair of two values, or the image is not scaled: its HU would be impossible.

    Example:
        >>> import torch
        >>> HUFromWindow(window=(-175, 250))(torch.tensor([[[0.0, 0.5, 1.0]]]))
        tensor([[[-175.0000,   37.5000,  250.0000]]])
    """

    modality = "ct"
    phrases = {"window_hu": "0 and 1 are {:.0f} and {:.0f} HU"}
    headline = ()

    def __init__(self, window: Sequence[float]) -> None:
        super().__init__()
        self.window = wide_span("window", window)

    def settings(self) -> Params:
        return {"window_hu": list(self.window)}

    @classmethod
    def check_batch_units(cls, images: torch.Tensor, name: str, settings: Params) -> None:
        require_window(images, settings["window_hu"], name)

    @classmethod
    def apply(cls, image: torch.Tensor, call: Call) -> torch.Tensor:
        low, high = call.settings["window_hu"]
        return image * (high - low) + low

    @classmethod
    def example(cls, spatial_dims: int = 3) -> torch.Tensor:
        """A water disc in air, scaled from [-175, 250] HU, (1, *spatial)."""
        return hu_window(CTImage.example(spatial_dims), 37.5, 425, 0, 1)


HUFromWindowd = dictionary_twin(HUFromWindow)
HUFromWindowD = HUFromWindowDict = HUFromWindowd


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
        return hu_window(image, call.drawn("center_hu"), call.drawn("width_hu"), *call.settings["out_range"])


RandHUWindowd = dictionary_twin(RandHUWindow)
RandHUWindowD = RandHUWindowDict = RandHUWindowd


class RandHUContrast(CTImage, RandomOperation):
    """Contrast of bone and iodine, which varies with the tube voltage; water, fat, lung and air keep their HU.

    ``HU + (factor - 1) e`` with the excess e over soft tissue: for ``x = HU - pivot`` it is 0 below 0, ``x² / 200`` up
    to 100 HU and ``x - 50`` above. Voltage acts through the photoelectric effect of calcium and iodine, of which soft
    tissue and lung have little: muscle of 50 HU moves by 2 HU at most at the default factors. Noise keeps its mean.

    Args:
        factor: range of the factor, above 0; 1 changes nothing. About 0.85 is 140 kV and 1.3 to 1.7 is 80 kV, for a
            scan at 120 kV.
        pivot_hu: the value in HU up to which nothing changes.
        prob: probability of applying it.

    Raises:
        ValueError: an argument is out of its range, or the image cannot be in HU.

    Example:
        >>> import torch
        >>> RandHUContrast(factor=1.1, prob=1.0)(torch.tensor([[[-950.0, 0.0, 250.0]]]))
        tensor([[[-950.,    0.,  270.]]])
    """

    gallery = GalleryEntry(({"factor": (1.1, 1.15)},))
    phrases = {"factor": "contrast × {:.2f}"}
    identity = {"factor": 1.0}
    magnitudes = (Magnitude("hu_contrast", {"factor": Reach(1, 1.3, "ratio")}),)

    def __init__(self, factor: float | Sequence[float] = (0.85, 1.15), pivot_hu: float = 0, prob: float = 0.8) -> None:
        super().__init__(prob)
        self.factor = span("factor", factor, 1e-3)
        self.pivot_hu = number("pivot_hu", pivot_hu)

    def draw(self) -> Params:
        return {"factor": self.R.uniform(*self.factor)}

    def settings(self) -> Params:
        return {"pivot_hu": self.pivot_hu, "dense_only": True}

    @classmethod
    def apply(cls, image: torch.Tensor, call: Call) -> torch.Tensor:
        if not call.settings.get("dense_only", False):  # an old record
            return hu_stretch(image, call.column("factor"), call.settings["pivot_hu"])
        return hu_contrast(image, call.drawn("factor"), call.settings["pivot_hu"])


RandHUContrastd = dictionary_twin(RandHUContrast)
RandHUContrastD = RandHUContrastDict = RandHUContrastd
