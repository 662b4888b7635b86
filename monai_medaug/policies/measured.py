"""What an image already bears: noise, blur, thick slices, low contrast, artefacts, as figures and as room for more."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch

from monai_medaug.functional.ct.slices import slice_axis
from monai_medaug.functional.geometry.grid import VoxelGrid
from monai_medaug.functional.intensity_curve import flat_darkest
from monai_medaug.functional.mri.signal import zero_point
from monai_medaug.functional.noise.correlation import correlated_noise
from monai_medaug.functional.noise.level import mad_sigma
from monai_medaug.functional.noise.level_rician import rician_sigma
from monai_medaug.functional.quality.edge_width import edge_widths
from monai_medaug.functional.xray.display import robust_range

_EDGE_TO_FWHM = 2.3548200450309493 / math.sqrt(2 * math.pi)
_SLICES = 8
_METAL_HU, _METAL_VOXELS = 2500.0, 20
_BLOCK = 4  # pixels a side


@dataclass(frozen=True)
class Burden:
    """One thing that an image bears.

    Attributes:
        name: ``"noise"``, ``"blur"``, ``"slices"``, ``"contrast"``, ``"artefact"`` or ``"shutters"``.
        level: what was measured, in ``unit``; None where it could not be.
        most: what augmentation and image may bear together.
        unit: of both.

    Example:
        >>> Burden("noise", 15.0, 25.0, "HU").room, Burden("noise", 30.0, 25.0, "HU").room
        (0.8, 0.0)
        >>> Burden("noise", None, 25.0, "HU").room
        1.0
    """

    name: str
    level: float | None
    most: float
    unit: str

    @property
    def room(self) -> float:
        """Share of ``most`` that may still be added, where independent parts add by their squares."""
        if self.level is None:
            return 1.0
        if self.name == "contrast":  # the lower it is, the less may be lost
            return min(1.0, self.level / self.most)
        if self.name == "slices" and self.level >= self.most / 2:  # a thick one is not made thicker
            return 0.0
        return round(math.sqrt(max(0.0, 1 - (self.level / self.most) ** 2)), 4)

    def text(self) -> str:
        """The figure, for the report."""
        unit = f" {self.unit}" if self.unit else ""
        if self.level is None:
            return f"{self.name} could not be measured"
        return f"{self.name} {self.level:.3g} of {self.most:.3g}{unit}"


def image_burdens(image: torch.Tensor, grid: VoxelGrid, modality: str) -> dict[str, Burden]:
    """What an image bears, by name; of a volume a few slices are looked at.

    ============  ========================================================  ==========================
    name          measured as                                                most
    ============  ========================================================  ==========================
    ``noise``     CT: in flat soft tissue; MR: Rician sigma over the mean    25 HU; 1/8; 4 %
                  signal; radiographs: finest details over the range
    ``blur``      width of edges, as the FWHM of a Gaussian                  4 mm, 3 pixels at least
    ``slices``    spacing of the slices, from 3 times the pixels' on         6 mm
    ``contrast``  standard deviation over the range                          0.12 (then all is allowed)
    ``artefact``  CT: metal (0 or 1); MR: structure in the background        1
                  beyond its noise
    ``shutters``  radiographs: share of flat black area                      0.3
    ============  ========================================================  ==========================

    Args:
        image: (C, *spatial), of which the first channel counts.
        grid: of its voxels.
        modality: ``"ct"``, ``"mri"`` or ``"xray"``.

    Example:
        >>> noise = torch.randn(1, 96, 96, generator=torch.Generator().manual_seed(0))
        >>> round(image_burdens(20 * noise, VoxelGrid((96, 96)), "ct")["noise"].level)
        20
    """
    first = image[:1].float()
    planes = _middle_planes(first, grid)
    shown = first[~flat_darkest(first[None])[0]]
    low, high = robust_range(shown[None, None] if shown.numel() else first[None])[0].tolist()
    extent = high - low
    found = {
        "noise": _noise(first, planes, grid, modality, extent),
        "blur": _blur(planes, grid),
        "contrast": _contrast(shown),
    }
    axis = slice_axis(grid)
    if axis is not None and image.shape[axis + 1] > 1:
        spacing = [float(s) for s in grid.spacing]
        within = min(s for a, s in enumerate(spacing) if a != axis)
        found["slices"] = Burden("slices", spacing[axis] if spacing[axis] >= 3 * within else 0.0, 6.0, "mm apart")
    if modality == "ct":
        metal = int((first >= _METAL_HU).sum()) >= _METAL_VOXELS
        found["artefact"] = Burden("artefact", float(metal), 1.0, "of metal")
    if modality == "mri":
        found["artefact"] = Burden("artefact", _background_structure(planes), 1.0, "of the background")
    if modality == "xray":
        share = float(flat_darkest(first[None]).float().mean())
        found["shutters"] = Burden("shutters", share, 0.3, "of the image")
    return found


def _contrast(values: torch.Tensor) -> Burden:
    """Standard deviation over the whole range, outliers included: a few bright letters flatten the rest."""
    extent = float(values.max() - values.min()) if values.numel() > 1 else 0.0
    return Burden("contrast", float(values.std()) / extent if extent > 0 else None, 0.12, "of the range")


def _middle_planes(image: torch.Tensor, grid: VoxelGrid) -> torch.Tensor:
    """Some slices (N, 1, rows, columns) from the middle half of a volume, or the image."""
    axis = slice_axis(grid)
    if axis is None:
        return image[None]
    slices = image.movedim(axis + 1, 0)
    count = len(slices)
    places = torch.linspace(count / 4, 3 * count / 4, min(_SLICES, count)).long().clamp(0, count - 1).unique()
    return slices[places]


def _noise(image: torch.Tensor, planes: torch.Tensor, grid: VoxelGrid, modality: str, extent: float) -> Burden:
    if modality == "ct":
        found = correlated_noise(image[0], slice_axis(grid))
        level = float(mad_sigma(planes).median()) if found is None else float(found.sigma)
        return Burden("noise", level, 25.0, "HU")
    if modality == "mri":
        magnitude = planes - zero_point(planes)
        signal = magnitude[magnitude > magnitude.mean()]
        mean = float(signal.mean()) if signal.numel() else 0.0
        level = float(rician_sigma(magnitude).median())
        return Burden("noise", None if mean <= 0 else level / mean, 0.125, "of the signal")
    level = float(mad_sigma(planes).median())
    return Burden("noise", None if extent <= 0 else level / extent, 0.04, "of the range")


def _blur(planes: torch.Tensor, grid: VoxelGrid) -> Burden:
    axis = slice_axis(grid)
    spacing = [float(s) for a, s in enumerate(grid.spacing) if a != axis]
    widths = [edge_widths(plane, spacing)[0][0] for plane in planes if min(plane.shape[-2:]) >= 3]
    seen = sorted(w for w in widths if math.isfinite(w))
    level = _EDGE_TO_FWHM * seen[len(seen) // 2] if seen else None
    return Burden("blur", level, max(4.0, 3 * min(spacing)), "mm")


def _background_structure(planes: torch.Tensor) -> float | None:
    """How far ghosts and streaks rise above the noise of an MR background: 0 for noise alone, 1 for 4 times as much.

    Means over blocks of 4² pixels vary by a quarter of the pixels' deviation where there is noise alone, and more where
    there is structure. None for a masked background, or one of too few blocks.
    """
    found = []
    for plane in planes[:, 0] if min(planes.shape[2:]) >= _BLOCK else ():
        least = float(plane.amin())
        blocks = plane.unfold(0, _BLOCK, _BLOCK).unfold(1, _BLOCK, _BLOCK).flatten(2).flatten(0, 1)
        blocks = blocks[(blocks > least).any(1)]
        dark = blocks[blocks.mean(1) < 0.1 * float(plane.mean() + plane.amax()) / 2]
        if len(dark) < 30:
            continue
        within = float(dark.var(1).median().sqrt())
        if within <= 0:
            continue
        middle = dark.mean(1)
        between = float((middle - middle.median()).abs().median()) / 0.6745
        found.append(min(1.0, max(0.0, (between / (within / _BLOCK) - 1) / 3)))
    return sorted(found)[len(found) // 2] if found else None


def plain_figures(burdens: dict[str, Burden]) -> dict[str, Any]:
    """What was measured, for the record; what could not be is left out.

    Example:
        >>> plain_figures({"blur": Burden("blur", None, 4.0, "mm"), "noise": Burden("noise", 10.0, 25.0, "HU")})
        {'noise': 10.0}
    """
    return {name: b.level for name, b in burdens.items() if b.level is not None}
