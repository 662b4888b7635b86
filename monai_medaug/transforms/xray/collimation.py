"""The collimated field of a radiograph."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from monai_medaug.core.arguments import flag, span
from monai_medaug.core.contract import Call, Params
from monai_medaug.core.operation import RandomOperation
from monai_medaug.core.twin import dictionary_twin
from monai_medaug.functional.acceleration import sent
from monai_medaug.functional.xray.collimation import collimation_change
from monai_medaug.functional.xray.display import flat_black
from monai_medaug.transforms.xray.display import Radiograph, detector_spacing, display_scale


class RandXRayCollimation(Radiograph, RandomOperation):
    """Field limited by the four blades of the collimator, slightly rotated, with a penumbra.

    ``p' = p - ln(leakage + (1 - leakage) F)``, up to ``max_attenuation``, where the open field F is the product of four
    straight edges, each the integral of a Gaussian penumbra. An archive's shutter covers in black what lies beyond the
    edges, where F is below a half. The display scale is that of `RandXRayExposure`; images
    are (C, rows, columns), or stacks of radiographs along the last axis.

    Args:
        share: range of the share of the image behind a blade, drawn for each of the four; 0 is out of sight.
        rotate_degrees: range of the collimator's rotation.
        edge_mm: range of the penumbra's full width at half maximum in mm; focal spot and magnification give 0.5 to 3.
        leakage: range of the transmission outside, of leakage and scatter together; 1 changes nothing.
        max_attenuation: attenuation of the brightest value, in natural log units.
        inverted: bright means little attenuation: stored values of MONOCHROME1.
        value_range: (low, high) of the display scale; None takes each image's own.
        linear: values are photon counts (raw detector data, the open field brightest), not their logarithm, and have no
            shutter yet.
        shutter: black beyond the edges, as archives hold radiographs; False shows the blades as the detector sees them,
            bright.
        prob: probability of applying it.

    Raises:
        ValueError: an argument is out of its range, or the image is not finite.

    Source: J. T. Bushberg et al., The essential physics of medical imaging, 2011.

    Example:
        >>> import torch
        >>> image = torch.zeros(1, 40, 40).index_fill(2, torch.tensor(20), 1.0)
        >>> closed = RandXRayCollimation(share=0.1, shutter=False, prob=1.0).set_random_state(0)(image)
        >>> round(float(closed[0, 10, 10]), 3), float(closed[0, 0, 0]) > 0.5
        (0.0, True)
    """

    phrases = {"leakage": "transmission behind the blades {:.0%}", "rotate_degrees": "rotated by {:.1f}°"}
    headline = ("leakage",)
    memory = 4
    identity = {"shares": [0.0] * 4, "leakage": 1.0}

    def __init__(
        self,
        share: float | Sequence[float] = (0.02, 0.2),
        rotate_degrees: float | Sequence[float] = 3,
        edge_mm: float | Sequence[float] = (0.5, 3),
        leakage: float | Sequence[float] = (0.01, 0.05),
        max_attenuation: float = 4,
        inverted: bool = False,
        value_range: Sequence[float] | None = None,
        linear: bool = False,
        shutter: bool = True,
        prob: float = 0.3,
    ) -> None:
        super().__init__(prob)
        self.set_display(max_attenuation, inverted, value_range, linear)
        self.share = span("share", share, 0, 0.45)
        self.rotate_degrees = span("rotate_degrees", rotate_degrees, -45, 45, signed=True)
        self.edge_mm = span("edge_mm", edge_mm, 0)
        self.leakage = span("leakage", leakage, 1e-6, 1)
        self.shutter = flag("shutter", shutter)

    def draw(self) -> Params:
        return {
            "shares": [self.R.uniform(*self.share) for _ in range(4)],
            "rotate_degrees": self.R.uniform(*self.rotate_degrees),
            "edge_mm": self.R.uniform(*self.edge_mm),
            "leakage": self.R.uniform(*self.leakage),
            **self.drawn_range(),
        }

    def settings(self) -> Params:
        return {"shutter": self.shutter, **self.display_settings()}

    @classmethod
    def apply(cls, image: torch.Tensor, call: Call) -> torch.Tensor:
        scale = display_scale(image, call)
        drawn = (call.drawn(name) for name in ("shares", "rotate_degrees", "edge_mm"))
        shares, angle, edge = (sent(values, image.device, image.dtype) for values in drawn)
        blades = (shares, angle, edge, call.column("leakage"), detector_spacing(call))
        p = scale.attenuation(image)
        change, field = collimation_change(p, *blades, scale.depth)
        if not call.settings.get("shutter", False) or call.settings["linear"]:
            return scale.changed(image, change)
        out = scale.changed(image, torch.where(flat_black(p), 0.0, change))  # no rim on an archive's own shutter
        black = torch.where(scale.inverted > 0, scale.high, scale.low)
        return torch.where((field < 0.5) & (call.column("leakage") < 1), black, out)


RandXRayCollimationd = dictionary_twin(RandXRayCollimation)
RandXRayCollimationD = RandXRayCollimationDict = RandXRayCollimationd
