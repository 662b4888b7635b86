"""What the operations on radiographs share: the display scale, the detector and its photons."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch

from monai_medaug.core.arguments import flag, number, span, wide_span
from monai_medaug.core.contract import Call, Params
from monai_medaug.core.tensors import say_once
from monai_medaug.functional.acceleration import sent
from monai_medaug.functional.noise.white import white_noise
from monai_medaug.functional.xray.detector import detector_blur, detector_noise
from monai_medaug.functional.xray.display import DisplayScale, flat_black, robust_range


class Radiograph:
    """Mixin of the operations on radiographs: the arguments that relate display values to attenuation."""

    modality = "xray"
    max_attenuation: float
    inverted: bool
    linear: bool
    value_range: tuple[float, float] | None

    def set_display(
        self, max_attenuation: float, inverted: bool, value_range: Sequence[float] | None, linear: bool
    ) -> None:
        """Check and keep the arguments that the radiographic operations share."""
        self.inverted, self.linear = flag("inverted", inverted), flag("linear", linear)
        if self.inverted and self.linear:
            raise ValueError("inverted must be False with linear: photons are bright where little is attenuated")
        self.max_attenuation = number("max_attenuation", max_attenuation, 0.1, 20)
        self.value_range = None if value_range is None else wide_span("value_range", value_range)

    def display_settings(self) -> Params:
        """Those arguments except the range."""
        return {"max_attenuation": self.max_attenuation, "inverted": self.inverted, "linear": self.linear}

    def drawn_range(self) -> Params:
        """The range as part of the draw, since a preset sets it for each sample."""
        return {} if self.value_range is None else {"value_range": list(self.value_range)}

    @classmethod
    def example(cls, spatial_dims: int = 3) -> torch.Tensor:
        """A soft body with a bony rod before an open field, 0..4000, (1, *spatial)."""
        axes = torch.meshgrid(*[torch.linspace(-1, 1, n) for n in (24, 21, 18)[:spatial_dims]], indexing="ij")
        body = (0.8 - torch.stack(axes).square().sum(0)).clamp_min(0).sqrt()
        return (3000 * body + 1000 * torch.exp(-((axes[0] - 0.3 * axes[1]) ** 2) / 0.02) * (body > 0))[None]


def display_scale(image: torch.Tensor, call: Call) -> DisplayScale:
    """The scale of each sample, from the given range or that of its own values."""
    _require_grey(image, call.name)
    given = [p.get("value_range") for p in call.draws]
    if all(given):
        ends = sent(given, image.device, image.dtype)
    else:
        ends = robust_range(image)
        if call.settings["linear"]:
            ends[:, 0] = 0  # photon counts start there
        for i, pair in enumerate(given):
            if pair:
                ends[i] = sent(pair, image.device, ends.dtype)
    low, high = ends.reshape(-1, 2, *[1] * (image.ndim - 1)).unbind(1)
    constants = [float(call.settings[n]) for n in ("max_attenuation", "inverted")]
    table = sent([[c] * len(image) for c in constants], image.device, image.dtype)
    depth, inverted = table.reshape(2, *low.shape)
    return DisplayScale(low, high, depth, inverted, bool(call.settings["linear"]))


def _require_grey(image: torch.Tensor, name: str) -> None:
    """Refuse an alpha channel; notice several channels that differ, of which each counts as a radiograph."""
    channels = image.shape[1]
    if channels == 1:
        return
    last = image[:, -1].flatten(1)
    if channels in (2, 4) and bool((last == last[:, :1]).all()):
        raise ValueError(
            f"{name} must be greyscale, got {channels} channels, of which the last is constant, as opacity"
        )
    say_once(
        f"{name} has {channels} different channels: each counts as a radiograph of its own, with its own noise; "
        "convert one stored in colour to grey"
    )


def photon_span(name: str, value: float | Sequence[float]) -> tuple[float, float] | None:
    """A range of photon counts; None for infinitely many."""
    ends = value if isinstance(value, Sequence) and not isinstance(value, str) else [value]
    if all(isinstance(v, float) and v == math.inf for v in ends):
        return None
    return span(name, value, 1)


def quantum_noise(random: Any, photons: tuple[float, float] | None) -> float:
    """Relative noise of 1 mm² for a photon count drawn uniformly in the logarithm."""
    if photons is None:
        return 0.0
    return math.exp(-0.5 * random.uniform(math.log(photons[0]), math.log(photons[1])))


def of_earlier_version(call: Call) -> bool:
    """Whether a record was made when photons were counted per pixel, noise was white, and shutters got noise too."""
    return "mtf50" not in call.settings


def photon_noise(image: torch.Tensor, call: Call) -> tuple[torch.Tensor | None, torch.Tensor, torch.Tensor]:
    """Noise in the open field.

    Returns:
        Normal noise of unit variance, None if no sample has noise; its relative deviation q in a pixel; and the share
        of the variance of white noise that the detector leaves, which q includes.
    """
    q = call.column("quantum_noise")
    share = torch.ones_like(q)
    spacings = [(float(g.spacing[0]), float(g.spacing[1])) for g in call.grids]
    mtf50 = None if of_earlier_version(call) else call.settings["mtf50"]
    if mtf50 is not None:
        share = call.spread([detector_blur(s, mtf50)[2] for s in spacings])
        q = q * (share / call.spread([s[0] * s[1] for s in spacings])).sqrt()
    if not bool((q > 0).any()):
        return None, q, share
    white = white_noise(image.shape[1:], call.seeds(), image.device).to(image.dtype)
    return (white if mtf50 is None else detector_noise(white, spacings, mtf50)), q, share


def black_kept(attenuation: torch.Tensor, change: torch.Tensor, call: Call) -> torch.Tensor:
    """The change of the attenuation, none where the image is flatly black, see `flat_black`."""
    return change if of_earlier_version(call) else torch.where(flat_black(attenuation), 0.0, change)


def detector_spacing(call: Call) -> torch.Tensor:
    """Spacing of rows and columns in mm, (B, 2)."""
    return sent([grid.spacing[:2] for grid in call.grids], call.image.device, call.image.dtype)
