"""The collimated field of a radiograph."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from monai_medaug.core.arguments import flag, span
from monai_medaug.core.contract import Call, Input, Params
from monai_medaug.core.magnitude import Magnitude, Reach
from monai_medaug.core.operation import RandomOperation
from monai_medaug.core.twin import dictionary_twin
from monai_medaug.functional.acceleration import sent
from monai_medaug.functional.xray.collimation import Blades, behind_shutter, collimation_change, shares_beside
from monai_medaug.transforms.xray.display import Radiograph, display_scale

_MARGIN_MM = 10  # about a finger's breadth


class RandXRayCollimation(Radiograph, RandomOperation):
    """Field limited by the four blades of the collimator, slightly rotated, with a penumbra.

    ``p' = p - ln(leakage + (1 - leakage) F)``, up to ``max_attenuation``, where the open field F is the product of four
    straight edges, each the integral of a Gaussian penumbra. An archive's shutter covers in black what lies beyond the
    edges, where F is below a half. With a mask of the organs of interest the blades stay 10 mm off them, as a
    radiographer sets them: a share that is drawn greater is limited. The display scale is that of `RandXRayExposure`;
    images are (C, rows, columns), or stacks of radiographs along the last axis.

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

    inputs = {"organ": Input("a label map or masks of what the blades leave open, and 10 mm round it.", "labels")}
    phrases = {"leakage": "transmission behind the blades {:.0%}", "rotate_degrees": "rotated by {:.1f}°"}
    headline = ("leakage",)
    memory = 4
    identity = {"shares": [0.0] * 4, "leakage": 1.0}
    magnitudes = (Magnitude("collimation", {"share": Reach(0, 0.15)}),)

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
        shares, degrees, edges, leakage = map(call.drawn, ("shares", "rotate_degrees", "edge_mm", "leakage"))
        spacings = [grid.spacing[:2] for grid in call.grids]
        if (organ := call.inputs.get("organ")) is not None:
            limits = zip(shares, degrees, edges, spacings, strict=True)
            table = [[*share, angle, _MARGIN_MM + edge, *mm] for share, angle, edge, mm in limits]
            shares = shares_beside(organ, *sent(table, image.device, torch.float64).split((4, 1, 1, 2), 1)).tolist()
            call.note([{"blades": [round(share, 4) for share in one]} for one in shares])
        blades = Blades(shares, degrees, edges, leakage, spacings)
        if call.settings.get("shutter", False) and not call.settings["linear"]:
            return behind_shutter(image, scale, blades)
        change, _ = collimation_change(scale.attenuation(image), blades, scale.depth)
        return scale.changed(image, change)


RandXRayCollimationd = dictionary_twin(RandXRayCollimation)
RandXRayCollimationD = RandXRayCollimationDict = RandXRayCollimationd
