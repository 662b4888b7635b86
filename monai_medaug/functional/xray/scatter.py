"""Scattered radiation by superposition of kernels."""

from __future__ import annotations

import functools
import math

import numpy as np
import torch

from monai_medaug.functional.acceleration import loops, over_rows

THICKNESS_CLASSES = 4
_OBJECT = 20
WIDTH_GROWTH = (0.6, 1.4)
"""Width of the scatter kernel of the thinnest and of the thickest class, as a share of the mean width."""

_LAST_PHASE = 4.0  # frequencies at which a scatter kernel is below exp(-4² / 2) = 0.03 % are left out


def object_share(attenuation: torch.Tensor, depth: torch.Tensor) -> torch.Tensor:
    """How far a pixel lies behind the object: 0 in the open field, 1 from a twentieth of the greatest attenuation on.

    Example:
        >>> object_share(torch.tensor([0.0, 0.1, 3.0]), torch.tensor(4.0))
        tensor([0.0000, 0.5000, 1.0000])
    """
    return (attenuation * (_OBJECT / depth)).clamp(0, 1)


def scatter_share(
    attenuation: torch.Tensor,
    depth: torch.Tensor,
    ratio: torch.Tensor,
    fwhm: torch.Tensor,
    spacing: torch.Tensor,
    whole: bool = False,
) -> torch.Tensor:
    """Scattered radiation on the detector as a share of the open field, by kernel superposition.

    A pencil beam through an attenuation p scatters with the amplitude ``p exp(-p)`` (Ohnesorge et al. 1999) and a
    spread that grows with thickness (Sun & Star-Lack 2010). So the beams are sorted into four classes of thickness by
    linear weights; each is convolved with a Gaussian, 0.6 to 1.4 times ``fwhm`` wide from the thinnest to the thickest,
    with mirrored borders, and the sum is scaled to the ratio of total scatter to total primary behind the object, see
    `object_share`: the open field, which may cover half of an image or none of it, does not count.

    The convolution multiplies cosine transforms, which imply mirrored borders; as the kernels are wide, only the lowest
    frequencies are computed.

    Args:
        attenuation: p, (B, C, rows, columns) or (B, C, rows, columns, radiographs).
        depth: greatest attenuation.
        ratio: total scatter to total primary.
        fwhm: full width at half maximum in mm.
        spacing: of rows and columns in mm, (B, 2).
        whole: the totals are those of the whole image.

    Returns:
        Scatter, of the attenuation's shape; 0 for a radiograph without an object.
    """
    flat = [t.reshape(-1, 1, 1, 1) for t in (depth, ratio, fwhm)]
    p = attenuation if attenuation.ndim == 4 else attenuation.movedim(-1, 2).flatten(1, 2)
    p = p.contiguous()  # the same order of summation for any memory layout
    sigma = flat[2] / math.sqrt(8 * math.log(2))
    modes = [_modes(n, sigma * WIDTH_GROWTH[0], spacing[:, a]) for a, n in enumerate(p.shape[2:])]
    bases = [_cosine_table(n)[:m].to(p) for m, n in zip(modes, p.shape[2:], strict=True)]
    primary = torch.exp(-p)
    parts = _along_columns(p, primary, flat[0], bases[0]) @ bases[1].T
    low, high = WIDTH_GROWTH
    widths = [sigma * (low + (high - low) * k / (THICKNESS_CLASSES - 1)) for k in range(THICKNESS_CLASSES)]
    for axis, n in enumerate(p.shape[2:]):
        gains = [_gains(modes[axis], n, width, spacing[:, axis], axis) for width in widths]
        parts = parts * torch.stack(gains, 2)
    scatter = (bases[0].T @ parts.sum(2) @ bases[1]).clamp_min(0)
    counted = torch.ones_like(p) if whole else object_share(p, flat[0])
    total = (scatter * counted).sum((2, 3), keepdim=True)
    scale = (
        flat[1] * (primary * counted).sum((2, 3), keepdim=True) / torch.where(total > 0, total, torch.ones_like(total))
    )
    scatter = scatter * torch.where(total > 0, scale, torch.zeros_like(scale))
    if attenuation.ndim == 5:
        scatter = scatter.unflatten(1, (attenuation.shape[1], -1)).movedim(2, -1)
    return scatter


def _along_columns(p: torch.Tensor, primary: torch.Tensor, depth: torch.Tensor, basis: torch.Tensor) -> torch.Tensor:
    """Cosine transforms along the columns of each class's source, (B, C, classes, modes, columns).

    Cosines of even order are alike on both sides of the middle, those of odd order opposite: half the products suffice.
    """
    batch, channels, rows, columns = p.shape
    per_class = (THICKNESS_CLASSES - 1) / depth
    if (compiled := loops("xray._numba_scatter", p, primary, dtypes=[torch.float32])) is not None:
        half = (rows + 1) // 2
        sources = p.new_empty(batch, channels, THICKNESS_CLASSES, 2, half, columns)
        for b, rate in enumerate(per_class.flatten().expand(batch).tolist()):
            for c in range(channels):
                given = (p[b, c].numpy(), primary[b, c].numpy(), np.float32(rate), sources[b, c].numpy())
                over_rows(functools.partial(compiled.sources_by_thickness, *given), half, 128)
        found = p.new_empty(batch, channels, THICKNESS_CLASSES, len(basis), columns)
        for odd in (0, 1):
            found[..., odd::2, :] = basis[odd::2, :half] @ sources[..., odd, :, :]
        return found
    source, place = primary * p, p * per_class
    classes = range(THICKNESS_CLASSES)
    return torch.stack([basis @ (source * (1 - (place - k).abs()).clamp_min(0)) for k in classes], 2)


def _modes(n: int, sigma: torch.Tensor, spacing: torch.Tensor) -> int:
    """Number of cosine frequencies along n pixels that the narrowest kernel of the batch passes."""
    needed = _LAST_PHASE * n / math.pi * float((spacing / sigma.flatten()).max())
    return min(n, math.ceil(needed) + 1)


@functools.lru_cache(maxsize=8)
def _cosine_table(n: int) -> torch.Tensor:
    """The orthonormal cosine transform (n, n), lowest frequency first, in float64."""
    k, i = torch.arange(n, dtype=torch.float64)[:, None], torch.arange(n, dtype=torch.float64)[None]
    table = torch.cos(math.pi / n * k * (i + 0.5)) * math.sqrt(2 / n)
    table[0] /= math.sqrt(2)
    return table


def _gains(modes: int, n: int, sigma: torch.Tensor, spacing: torch.Tensor, axis: int) -> torch.Tensor:
    """Gain of a Gaussian at each cosine frequency; independent of other samples in the batch."""
    frequency = torch.arange(modes, device=sigma.device, dtype=sigma.dtype) * (math.pi / n)
    phase = frequency * (sigma.flatten() / spacing)[:, None]
    gains = torch.where(phase < _LAST_PHASE, torch.exp(-0.5 * phase**2), torch.zeros_like(phase))
    return gains[:, None, :, None] if axis == 0 else gains[:, None, None, :]


def scatter_change(
    attenuation: torch.Tensor,
    scatter: torch.Tensor,
    white: torch.Tensor | None,
    quantum_noise: torch.Tensor,
    level: torch.Tensor,
) -> torch.Tensor:
    """Change of the attenuation by scatter and its quantum noise: ``-ln((P + S + noise) / (level P))``.

    Example:
        >>> t = torch.tensor
        >>> scatter_change(torch.zeros(1), t([1.0]), None, t(0.0), t(1.0))
        tensor([-0.6931])
    """
    total = scatter
    if white is not None:
        total = (
            scatter
            + quantum_noise * torch.sqrt(scatter) * white
            + (white * white - 1) * (quantum_noise**2 / 6) * (scatter > 0)
        )
    thickness = torch.exp(attenuation)
    share = torch.maximum(1 + total * thickness, torch.clamp_max(quantum_noise**2 / 2 * thickness, 1.0))
    return -torch.log(share / level)
