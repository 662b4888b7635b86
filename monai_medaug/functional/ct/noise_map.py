"""Where in a CT slice the quantum noise is strong, and along which direction: from the path lengths of its rays."""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass
from functools import partial

import torch

from monai_medaug.functional.acceleration import loops, over_rows, sent
from monai_medaug.functional.ct.hu import BODY_HU
from monai_medaug.functional.ct.projection import WATER_PER_MM
from monai_medaug.functional.hounsfield import AIR_HU, PADDING_HU

_LOOPS = "ct._numba_noise"
_PIXELS = 32  # along the longer side of the smoothed slice
_SAMPLES = 2  # along each side of such a pixel
_VIEWS = 8
_GROUP_MM = 12.0  # distance of the slices that are looked at
_DENSEST_HU = 1500.0  # metal would hide the patient
_MODULATION = 0.15  # exponent with which the tube current follows a view's greatest attenuation; 0.5 would be ideal
_BOWTIE_MM = 300.0  # radius of the water cylinder whose missing thickness the bowtie filter makes up for by half


@dataclass(frozen=True)
class NoiseLevels:
    """Amplitudes of the two halves of an isotropic noise of unit variance, on coarse pixels of some slices.

    Attributes:
        coarse: (2, members, C, groups, coarse rows, coarse columns): for frequencies along the first and along the
            second axis of the slice.
        first: the slice of the first group.
        step: slices from group to group.
        shape: rows and columns.
    """

    coarse: torch.Tensor
    first: int
    step: int
    shape: tuple[int, int]

    def among(self, slices: slice) -> tuple[slice, torch.Tensor]:
        """The groups that a range of slices lies among, and the slices' places there, to interpolate."""
        groups = self.coarse.shape[3]
        begin = min(max(0, (slices.start - self.first) // self.step), groups - 1)
        end = max(begin, min(-((self.first - slices.stop + 1) // self.step), groups - 1)) + 1
        index = torch.arange(slices.start, slices.stop, device=self.coarse.device, dtype=torch.float64)
        return slice(begin, end), ((index - self.first) / self.step).clamp_(0, groups - 1) - begin

    def at(self, slices: slice) -> torch.Tensor:
        """The amplitudes (2, members, C, slices, rows, columns) at the pixels of a range of slices."""
        groups, places = self.among(slices)
        some = self.coarse[:, :, :, groups]
        fine = torch.nn.functional.interpolate(some.reshape(1, -1, *some.shape[-2:]), self.shape, mode="bilinear")
        fine = fine.reshape(*some.shape[:-2], *self.shape)
        near = places.long()
        far = (near + 1).clamp(max=some.shape[3] - 1)
        return torch.lerp(fine[:, :, :, near], fine[:, :, :, far], (places - near).to(fine)[:, None, None])


def noise_levels(volumes: torch.Tensor, spacing: tuple[float, float], across_mm: float) -> NoiseLevels:
    """The amplitudes by which the noise of volumes (members, C, slices, rows, columns) in HU is scaled.

    A ray along which the line integral is p brings noise of the variance ``exp(p)``, of a frequency across the ray. The
    tube current follows each view's greatest attenuation, in the slice and from slice to slice (Gies et al. 1999). A
    bowtie filter weakens the outer rays. A few projections of the smoothed slice give the variances (Divel & Pelc
    2020), here for two halves of the views: those with frequencies rather along the first axis, and the others. They
    are scaled so that the mean variance in soft tissue is 1 over a member's volumes, or where there is none,
    everywhere.

    Args:
        volumes: in HU.
        spacing: in mm along rows and columns.
        across_mm: from slice to slice. Slices 12 mm apart are looked at.

    Example:
        >>> air = torch.full((1, 1, 1, 64, 64), -1000.0)
        >>> amplitudes = noise_levels(air, (1.0, 1.0), 1.0).at(slice(0, 1))
        >>> [round(float(a), 1) for a in amplitudes[:, 0, 0, 0, 32, 32]]
        [1.0, 1.0]
    """
    members, channels, slices, rows, columns = volumes.shape
    step = max(1, min(slices, round(_GROUP_MM / across_mm)))
    few, size = _coarse_grid((rows, columns), spacing)
    first = min(step // 2, (slices - 1) // 2)
    rarer = [max(1, n // (f * _SAMPLES)) for n, f in zip((rows, columns), few, strict=True)]
    looked = volumes.detach()[:, :, first::step, rarer[0] // 2 :: rarer[0], rarer[1] // 2 :: rarer[1]]
    groups = looked.shape[2]
    coarse = _smoothed(looked.reshape(-1, 1, *looked.shape[3:]), few)
    amplitude = _amplitudes(coarse, few, size, members, _MODULATION, _BOWTIE_MM)
    return NoiseLevels(amplitude.reshape(2, members, channels, groups, *few), first, step, (rows, columns))


def noise_amplitudes(slices: torch.Tensor, spacing: tuple[float, float], samples: int) -> torch.Tensor:
    """The amplitudes at each pixel in records without ``thickness_mm``: the tube current follows more closely.

    Args:
        slices: (N, 1, rows, columns) in HU, equally many of each sample, one sample after another.
        spacing: in mm along rows and columns.
        samples: how many samples the slices belong to.

    Returns:
        (2, N, 1, rows, columns): for frequencies along the first and along the second axis of the slice.

    Example:
        >>> air = torch.full((1, 1, 64, 64), -1000.0)
        >>> [round(float(a), 3) for a in noise_amplitudes(air, (1.0, 1.0), 1)[:, 0, 0, 5, 5]]
        [1.0, 1.0]
    """
    rows, columns = slices.shape[-2:]
    few, size = _coarse_grid((rows, columns), spacing)
    amplitude = _amplitudes(_smoothed(slices, few), few, size, samples, 0.5, None).reshape(-1, 1, *few)
    fine = torch.nn.functional.interpolate(amplitude, (rows, columns), mode="bilinear")
    return fine.reshape(2, *slices.shape)


def _coarse_grid(shape: tuple[int, int], spacing: tuple[float, float]) -> tuple[tuple[int, int], tuple[float, float]]:
    """Shape and spacing of the smoothed slice."""
    step = max(n * s for n, s in zip(shape, spacing, strict=True)) / _PIXELS
    few = [min(n, max(1, round(n * s / step))) for n, s in zip(shape, spacing, strict=True)]
    rows, columns = (n * s / f for n, s, f in zip(shape, spacing, few, strict=True))
    return (few[0], few[1]), (rows, columns)


def _smoothed(slices: torch.Tensor, few: tuple[int, int]) -> torch.Tensor:
    """Slices (N, 1, rows, columns) as rows (N, few pixels) of mean HU, without padding and metal."""
    clean = torch.where(slices > PADDING_HU, slices, AIR_HU).clamp_(AIR_HU, _DENSEST_HU)
    return torch.nn.functional.adaptive_avg_pool2d(clean, few).flatten(1)


def _amplitudes(
    coarse: torch.Tensor,
    few: tuple[int, int],
    size: tuple[float, float],
    samples: int,
    modulation: float,
    bowtie_mm: float | None,
) -> torch.Tensor:
    """Amplitudes (2, N, pixels) from smoothed slices (N, pixels)."""
    compiled = loops(_LOOPS, coarse, dtypes=[torch.float32])
    if compiled is None:
        onto, back, weakened = (sent(w, coarse.device, coarse.dtype) for w in _view_weights(few, size, bowtie_mm))
        paths = ((coarse - AIR_HU) @ onto).unflatten(1, (_VIEWS, -1))
        variance = torch.exp(paths - modulation * paths.amax(2, keepdim=True) + weakened)
        both = torch.stack([v.flatten(1) @ b for v, b in zip(variance.chunk(2, 1), back, strict=True)])
    else:
        width, count = _detectors(few, size)
        both = torch.zeros(2, *coarse.shape)
        per_hu = WATER_PER_MM / 1000 * size[0] * size[1] / width
        weakened = _through_bowtie(count, width, bowtie_mm)
        fixed = (coarse.numpy(), few, size, width, _angles().numpy(), per_hu, AIR_HU, modulation, weakened.numpy())
        over_rows(partial(compiled.ray_levels, *fixed, both.numpy()), len(coarse), 16)

    body = (coarse > BODY_HU).to(both).reshape(samples, -1)
    body = torch.where(body.sum(1, keepdim=True) > 0, body, 1.0)
    mean = (both.sum(0).reshape(samples, -1) * body).sum(1) / (2 * body.sum(1))
    return torch.sqrt(both.reshape(2, samples, -1) / mean[:, None]).reshape(both.shape)


def _angles() -> torch.Tensor:
    """Of the views, from the first axis: those of the first half lie rather along it."""
    return (torch.arange(_VIEWS, dtype=torch.float64) + 0.5) * (math.pi / _VIEWS) - math.pi / 4


def _detectors(shape: tuple[int, int], spacing: tuple[float, float]) -> tuple[float, int]:
    """Width in mm and number of the detectors."""
    width = 1.5 * max(spacing)  # wider than a pixel, so that all get their share
    reach = math.hypot(*((n - 1) / 2 * s for n, s in zip(shape, spacing, strict=True)))
    return width, 2 * math.ceil(reach / width) + 3


def _through_bowtie(count: int, width: float, bowtie_mm: float | None) -> torch.Tensor:
    """Line integrals of the bowtie filter (detectors,)."""
    aside = (torch.arange(count, dtype=torch.float64) - (count - 1) / 2) * width
    if bowtie_mm is None:
        return torch.zeros_like(aside)
    return WATER_PER_MM * bowtie_mm * (1 - torch.sqrt((1 - (aside / bowtie_mm) ** 2).clamp_min(0)))


@functools.lru_cache(maxsize=4)
def _view_weights(
    shape: tuple[int, int], spacing: tuple[float, float], bowtie_mm: float | None
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Matrices of projection and back-projection, by linear interpolation at the pixels' shadows.

    Returns:
        From HU above air to line integrals (pixels, views * detectors); from variances to their sums (2, views / 2 *
        detectors, pixels); line integrals of the bowtie filter (detectors,).
    """
    y, x = ((torch.arange(n, dtype=torch.float64) - (n - 1) / 2) * s for n, s in zip(shape, spacing, strict=True))
    angle = _angles()[:, None, None]
    shadow = y[:, None] * torch.cos(angle) + x * torch.sin(angle)
    width, count = _detectors(shape, spacing)
    place = shadow.flatten(1) / width + (count - 1) / 2
    distance = (place[..., None] - torch.arange(count, dtype=torch.float64)).abs()
    weights = (1 - distance).clamp_min(0)  # (views, pixels, detectors)
    onto = weights.transpose(0, 1).flatten(1) * (WATER_PER_MM / 1000 * spacing[0] * spacing[1] / width)
    back = weights.transpose(1, 2).reshape(2, -1, place.shape[1])
    return onto.float(), back.float(), _through_bowtie(count, width, bowtie_mm).float()
