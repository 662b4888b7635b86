"""The adversarial coil field: gradient ascent of a network's loss by the field's coefficients."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence

import numpy as np
import torch

from monai_medaug.functional.geometry.grid import VoxelGrid
from monai_medaug.functional.mri.coil import EXPONENTS, index_polynomial, peak_scale, polynomial_field
from monai_medaug.functional.mri.signal import foreground, zero_point


def bias_field_ascent(
    gradient: Callable[[torch.Tensor], torch.Tensor],
    image: torch.Tensor,
    grids: Sequence[VoxelGrid],
    start: torch.Tensor,
    start_peak: torch.Tensor,
    peak_to_peak: float,
    step_size: float,
    num_steps: int,
) -> tuple[torch.Tensor, torch.Tensor]:
    """A smooth coil field that raises a network's loss, by normalised steps along the gradient of its coefficients.

    The image is multiplied by ``exp(f - m)``, f a cubic polynomial in mm, m its mean over the foreground. A step
    changes f along the gradient by a peak to peak of ``step_size``; if the factor's max - min over the foreground then
    exceeds ``peak_to_peak``, f is scaled back to it. Foreground is where any channel has signal (see
    `mri.signal.foreground`), without any the whole image.

    Args:
        gradient: of the loss, called with (B, C, *spatial).
        image: (B, C, *spatial).
        grids: of the samples.
        start: coefficients of the start, (B, 19), in the order of `mri.coil.EXPONENTS`.
        start_peak: peak to peak of the factor to which the start is scaled, (B,).
        peak_to_peak: greatest allowed one.
        step_size: in the same units.
        num_steps: number of steps.

    Returns:
        ``[-m, coefficients of f]`` of each sample (B, 20), for `times_bias_field`, and the factor's peak to peak (B,),
        both float64 on the CPU.
    """
    zero = zero_point(image)
    inside = foreground(image, zero).any(1, keepdim=True)
    inside = inside | ~inside.flatten(1).any(1).reshape(-1, *[1] * (image.ndim - 1))
    to_index = torch.from_numpy(np.stack([_terms_on(g.size, _linear(g)) for g in grids]))  # (B, 64, 19)
    count = inside.flatten(1).sum(1).double().cpu()
    mean = _on_terms(to_index, _moments(inside.to(image.dtype))) / count[:, None]

    def with_mean(terms: torch.Tensor) -> torch.Tensor:
        return torch.cat([-(terms * mean).sum(1, keepdim=True), terms], 1)

    def extremes(terms: torch.Tensor) -> torch.Tensor:
        """Least and greatest log factor over the foreground, (B, 2)."""
        field = polynomial_field(_index_terms(with_mean(terms), to_index).to(image), image.shape[2:])
        axes = tuple(range(1, image.ndim))
        ends = [torch.where(inside, field, torch.inf).amin(axes), torch.where(inside, field, -torch.inf).amax(axes)]
        return torch.stack(ends, 1).double().cpu()

    terms = start.double().cpu()
    scale, peak = peak_scale(extremes(terms), start_peak.double().cpu())
    terms = terms * scale[:, None]
    for _ in range(num_steps):
        gain = polynomial_field(_index_terms(with_mean(terms), to_index).to(image), image.shape[2:]).exp_()
        signal = (image - zero).mul_(gain)
        pull = gradient(signal + zero).mul_(signal).sum(1, keepdim=True)
        moments = _moments(pull)
        ascent = _on_terms(to_index, moments) - mean * moments[:, :1]
        ascent = ascent / ascent.abs().amax(1, keepdim=True).clamp_min(1e-300)
        ends = extremes(ascent)
        width = ends[:, 1:] - ends[:, :1]
        terms = terms + torch.where(width > 1e-12, step_size / width.clamp_min(1e-12), 0.0) * ascent
        scale, peak = peak_scale(extremes(terms), torch.full_like(peak, peak_to_peak), shrink_only=True)
        terms = terms * scale[:, None]
    return with_mean(terms), peak


def times_bias_field(image: torch.Tensor, terms: Sequence[Sequence[float]], grids: Sequence[VoxelGrid]) -> torch.Tensor:
    """Multiply the signal above the zero point by exp of a cubic polynomial with its constant term.

    Args:
        image: (B, C, *spatial).
        terms: for each sample the constant, then the coefficients in the order of `mri.coil.EXPONENTS`.
        grids: of the samples.
    """
    to_index = torch.from_numpy(np.stack([_terms_on(g.size, _linear(g)) for g in grids]))
    coefficients = _index_terms(torch.tensor(terms, dtype=torch.float64), to_index)
    gain = polynomial_field(coefficients.to(image), image.shape[2:]).expm1_()
    return torch.addcmul(image, image - zero_point(image), gain)


def _linear(grid: VoxelGrid) -> tuple[float, ...]:
    return tuple(grid.matrix[:3, :3].ravel().tolist())


@functools.lru_cache(maxsize=256)
def _terms_on(size: tuple[int, int, int], linear: tuple[float, ...]) -> np.ndarray:
    """Matrix (64, 19) from coefficients in the world to those of the index polynomial."""
    matrix = np.eye(4)
    matrix[:3, :3] = np.reshape(linear, (3, 3))
    grid = VoxelGrid(size, matrix.tolist())
    return np.stack([index_polynomial(row.tolist(), grid).ravel() for row in np.eye(len(EXPONENTS))], 1)


def _index_terms(terms: torch.Tensor, to_index: torch.Tensor) -> torch.Tensor:
    """Index polynomials (B, 4, 4, 4) of [constant, coefficients]."""
    out = (to_index @ terms[:, 1:, None])[..., 0]
    out[:, 0] += terms[:, 0]
    return out.reshape(-1, 4, 4, 4)


def _on_terms(to_index: torch.Tensor, moments: torch.Tensor) -> torch.Tensor:
    """Derivatives by the coefficients in the world (B, 19), from those by the index polynomial's (B, 64)."""
    return (to_index.mT @ moments[..., None])[..., 0]


def _moments(weight: torch.Tensor) -> torch.Tensor:
    """Sums of (B, 1, *spatial) times products of powers of the index, (B, 64), float64 on the CPU."""
    volume = weight[:, 0] if weight.ndim == 5 else weight
    for n in reversed(volume.shape[1:]):
        index = torch.linspace(-1, 1, n, dtype=torch.float64).mul(n > 1)[:, None].pow(torch.arange(4)).to(volume)
        volume = torch.tensordot(volume, index, dims=([3], [0])).movedim(3, 1)
    return volume.reshape(len(volume), 64).double().cpu()
