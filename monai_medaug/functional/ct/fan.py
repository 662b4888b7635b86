"""Measured rays of a fan beam as rays of a parallel one."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch

from monai_medaug.functional.acceleration import sent
from monai_medaug.functional.ct.projection import ParallelBeam


@dataclass(frozen=True)
class FanBeam:
    """A source that turns once round the axis, opposite a detector.

    In view ``beta`` the source lies at R (-sin(beta), cos(beta)) in (x, y), so that the ray of the fan angle ``gamma``
    has the direction ``theta = beta + gamma`` and the distance ``s = R sin(gamma)`` of a parallel one, see
    `ParallelBeam`. A positive ``gamma`` lies toward positive s.

    Args:
        source_mm: R, from the source to the axis.
        detector_mm: from the source to the middle of the detector.
        views: evenly over 360°.
        detectors: number of elements, the axis opposite their middle.
        pitch_mm: width of an element at the detector.
        curved: whether the detector is an arc about the source; otherwise it is flat.

    Raises:
        ValueError: a distance or number is not positive, or the detector lies before the axis.

    Example:
        >>> fan = FanBeam(550.0, 950.0, views=360, detectors=301, pitch_mm=1.0)
        >>> beam = ParallelBeam((64, 64), (1.0, 1.0))
        >>> fan.to_parallel(torch.ones(1, 1, 360, 301), beam).shape
        torch.Size([1, 1, 360, 92])
    """

    source_mm: float
    detector_mm: float
    views: int
    detectors: int
    pitch_mm: float
    curved: bool = False

    def __post_init__(self) -> None:
        if min(self.views, self.detectors) < 2 or self.pitch_mm <= 0 or not 0 < self.source_mm <= self.detector_mm:
            raise ValueError(
                "views and detectors must be at least 2, pitch_mm positive, and source_mm positive and at most "
                f"detector_mm, got {self}"
            )

    def to_parallel(self, sinogram: torch.Tensor, beam: ParallelBeam) -> torch.Tensor:
        """Line integrals (N, C, views, detectors) of the fan at the rays of a parallel beam, (N, C, views, detectors).

        Every line is measured twice, from either end; the mean of both is taken, each interpolated between its
        neighbours in view and detector. Beside the detector rays count as air.

        Args:
            sinogram: line integrals, of this fan.
            beam: geometry of the result.

        Raises:
            ValueError: the sinogram has not the views and detectors of the fan.
        """
        if sinogram.ndim != 4 or tuple(sinogram.shape[2:]) != (self.views, self.detectors):
            raise ValueError(
                f"sinogram must have the shape (N, C, {self.views}, {self.detectors}), got {tuple(sinogram.shape)}"
            )
        like, device = sinogram.dtype, sinogram.device
        theta = sent(beam.angles, device, torch.float64)[:, None]
        s = (torch.arange(beam.width, device=device, dtype=torch.float64) - (beam.width - 1) / 2) * beam.pitch
        flat = sinogram.flatten(0, 1).flatten(1)
        total = None
        for half, side in ((0.0, s), (math.pi, -s)):
            gamma = torch.asin((side / self.source_mm).clamp(-1, 1))
            place = (self.detector_mm * (gamma if self.curved else gamma.tan())) / self.pitch_mm
            place = place + (self.detectors - 1) / 2
            seen = (place >= 0) & (place <= self.detectors - 1)
            view = ((theta + half - gamma) / (2 * math.pi) * self.views) % self.views
            low, near = view.floor(), place.clamp(0, self.detectors - 1).floor().clamp_max(self.detectors - 2)
            up, right = (view - low).to(like), (place - near).to(like)
            rows = [(low.long() + k) % self.views * self.detectors for k in (0, 1)]
            lines = []
            for row in rows:
                index = row + near.long()
                values = [flat[:, (index + k).flatten()].unflatten(1, index.shape) for k in (0, 1)]
                lines.append(torch.lerp(values[0], values[1], right))
            ray = torch.lerp(lines[0], lines[1], up) * seen / 2
            total = ray if total is None else total + ray
        assert total is not None
        return total.unflatten(0, sinogram.shape[:2])
