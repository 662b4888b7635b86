"""Kernels on radiographs: effects on the photons, as changes of the displayed attenuation.

A display image shows the attenuation ``p = -ln T`` on a linear scale. Each function works on the transmission T and
returns only the *change* of p, which is added to the image: without an effect the image stays bit for bit.
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass

import torch

THICKNESS_CLASSES = 4
WIDTH_GROWTH = (0.6, 1.4)
"""Width of the scatter kernel of the thinnest and of the thickest class, as a share of the mean width."""

_RANGE_PIXELS, _TAIL = 1 << 15, 1e-3
_LAST_PHASE = 4.0  # frequencies at which a scatter kernel is below exp(-4² / 2) = 0.03 % are left out


@dataclass(frozen=True)
class DisplayScale:
    """How an image shows attenuation: ``p = depth (v - low) / (high - low)``, inverted, or as photons.

    Photons are ``v - low = (high - low) exp(-p)`` with p at most ``depth``. All tensors broadcast to the image (B, C,
    *spatial).

    Args:
        low, high: ends of the display range; equal for a constant image.
        depth: attenuation at the bright end, in natural log units.
        inverted: 1 if bright means little attenuation, else 0.
        linear: 1 for photons, else 0.

    Example:
        >>> t = torch.tensor
        >>> scale = DisplayScale(t(0.0), t(100.0), t(4.0), t(0.0), t(0.0))
        >>> scale.attenuation(t([0.0, 50.0, 100.0])), scale.changed(t([50.0]), t([1.0]))
        (tensor([0., 2., 4.]), tensor([75.]))
    """

    low: torch.Tensor
    high: torch.Tensor
    depth: torch.Tensor
    inverted: torch.Tensor
    linear: torch.Tensor

    def attenuation(self, image: torch.Tensor) -> torch.Tensor:
        """Attenuation in [0, depth]; 0 everywhere in a constant image."""
        extent = self.high - self.low
        share = ((image - self.low) / torch.where(extent > 0, extent, torch.ones_like(extent))).clamp(0, 1)
        p = torch.where(self.inverted > 0, 1 - share, share) * self.depth
        if not bool((self.linear > 0).any()):
            return p
        photons = torch.maximum(share, torch.exp(-self.depth)).log().neg() * (extent > 0)
        return torch.where(self.linear > 0, photons, p)

    def changed(self, image: torch.Tensor, change: torch.Tensor) -> torch.Tensor:
        """The image with ``change`` added to its attenuation."""
        out = torch.addcmul(image, change, (self.high - self.low) / self.depth * (1 - 2 * self.inverted))
        if not bool((self.linear > 0).any()):
            return out
        return torch.where(self.linear > 0, torch.addcmul(image, image - self.low, torch.expm1(-change)), out)


def robust_range(image: torch.Tensor) -> torch.Tensor:
    """Minimum and maximum of each sample (B, C, *spatial) without outliers, (B, 2).

    An end that lies farther than a tenth of the range from the 0.1th or 99.9th percentile is an outlier, such as dead
    pixels and burnt-in letters, and gives way to it. The percentiles are over 2^15 to 2^16 pixels.

    Example:
        >>> image = torch.arange(10000.0).reshape(1, 1, 100, 100)
        >>> image[..., 0, 0] = -50000.0
        >>> robust_range(image).tolist()
        [[10.0, 9999.0]]
    """
    values = image.flatten(1)
    low, high = torch.aminmax(values, dim=1)
    values = values[:, :: max(1, values.shape[1] // _RANGE_PIXELS)]
    places = (1 + round(share * (values.shape[1] - 1)) for share in (_TAIL, 1 - _TAIL))
    least, greatest = (values.kthvalue(k, dim=1).values for k in places)
    slack = 0.1 * (greatest - least)
    return torch.stack(
        [torch.where(low < least - slack, least, low), torch.where(high > greatest + slack, greatest, high)], 1
    )


def exposure_change(
    attenuation: torch.Tensor,
    white: torch.Tensor | None,
    factor: torch.Tensor,
    quantum_noise: torch.Tensor,
    read_noise: torch.Tensor,
    level: torch.Tensor,
) -> torch.Tensor:
    """Change of the measured attenuation at another exposure.

    Of ``lambda = factor exp(-p) / q²`` expected photons a pixel registers, with z standard normal,
    ``N = lambda + sqrt(lambda + r²) z + (z² - 1) / 6``: the Cornish-Fisher expansion of the Poisson quantile (Giles
    2016), accurate in mean, variance and skewness from about 5 photons on, and continuous, as integrating detectors
    are. The reading is ``-ln(q² N / level)`` with N at least half a photon.

    Args:
        attenuation: p, (B, C, *spatial).
        white: standard normal z of the same shape; None without noise.
        factor: relative exposure.
        quantum_noise: q, the relative noise of an unattenuated pixel, photons^-1/2.
        read_noise: r, in photons.
        level: the detector's full exposure: 1, or ``factor`` if it normalises.

    Example:
        >>> t = torch.tensor
        >>> exposure_change(torch.zeros(1), None, t(0.5), t(0.0), t(0.0), t(1.0))
        tensor([0.6931])
    """
    if white is None:
        return -torch.log(factor / level).expand_as(attenuation)
    thickness = torch.exp(attenuation)
    deviation = quantum_noise * torch.sqrt(thickness * (factor + (read_noise * quantum_noise) ** 2 * thickness))
    skewness = (white * white - 1) * (quantum_noise**2 / 6) * thickness
    share = torch.maximum(factor + deviation * white + skewness, quantum_noise**2 / 2 * thickness)
    return -torch.log(share / level)


def scatter_share(
    attenuation: torch.Tensor, depth: torch.Tensor, ratio: torch.Tensor, fwhm: torch.Tensor, spacing: torch.Tensor
) -> torch.Tensor:
    """Scattered radiation on the detector as a share of the open field, by kernel superposition.

    A pencil beam through an attenuation p scatters with the amplitude ``p exp(-p)`` (Ohnesorge et al. 1999) and a
    spread that grows with thickness (Sun & Star-Lack 2010). So the beams are sorted into four classes of thickness by
    linear weights; each is convolved with a Gaussian, 0.6 to 1.4 times ``fwhm`` wide from the thinnest to the thickest,
    with mirrored borders, and the sum is scaled to the ratio of total scatter to total primary.

    The convolution multiplies cosine transforms, which imply mirrored borders; as the kernels are wide, only the lowest
    frequencies are computed.

    Args:
        attenuation: p, (B, C, rows, columns) or (B, C, rows, columns, radiographs).
        depth: greatest attenuation.
        ratio: scatter-to-primary ratio, in total.
        fwhm: full width at half maximum in mm.
        spacing: of rows and columns in mm, (B, 2).

    Returns:
        Scatter, of the attenuation's shape; 0 for a radiograph without an object.
    """
    flat = [t.reshape(-1, 1, 1, 1) for t in (depth, ratio, fwhm)]
    p = attenuation if attenuation.ndim == 4 else attenuation.movedim(-1, 2).flatten(1, 2)
    sigma = flat[2] / math.sqrt(8 * math.log(2))
    modes = [_modes(n, sigma * WIDTH_GROWTH[0], spacing[:, a]) for a, n in enumerate(p.shape[2:])]
    bases = [_cosine_table(n)[:m].to(p) for m, n in zip(modes, p.shape[2:], strict=True)]
    p = p.contiguous()  # the same order of summation for any memory layout
    primary = torch.exp(-p)
    source = primary * p
    place = p * ((THICKNESS_CLASSES - 1) / flat[0])
    spectrum = None
    for k in range(THICKNESS_CLASSES):
        growth = WIDTH_GROWTH[0] + (WIDTH_GROWTH[1] - WIDTH_GROWTH[0]) * k / (THICKNESS_CLASSES - 1)
        weighted = source * (1 - (place - k).abs()).clamp_min(0)
        part = bases[0] @ weighted @ bases[1].T
        for axis, n in enumerate(p.shape[2:]):
            part = part * _gains(part.shape[2 + axis], n, sigma * growth, spacing[:, axis], axis)
        spectrum = part if spectrum is None else spectrum + part
    assert spectrum is not None
    scatter = (bases[0].T @ spectrum @ bases[1]).clamp_min(0)
    total = scatter.sum((2, 3), keepdim=True)
    scale = flat[1] * primary.sum((2, 3), keepdim=True) / torch.where(total > 0, total, torch.ones_like(total))
    scatter = scatter * torch.where(total > 0, scale, torch.zeros_like(scale))
    if attenuation.ndim == 5:
        scatter = scatter.unflatten(1, (attenuation.shape[1], -1)).movedim(2, -1)
    return scatter


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


def collimation_change(
    attenuation: torch.Tensor,
    shares: torch.Tensor,
    angle: torch.Tensor,
    edge: torch.Tensor,
    leakage: torch.Tensor,
    spacing: torch.Tensor,
    depth: torch.Tensor,
) -> torch.Tensor:
    """Change of the attenuation behind the four blades of a collimator, up to ``depth`` in all.

    Args:
        attenuation: p, (B, C, rows, columns) or (B, C, rows, columns, radiographs).
        shares: share of the field behind the first and last blade across rows, then across columns, (B, 4).
        angle: of the collimator in degrees, (B,).
        edge: full width at half maximum of the penumbra in mm, (B,).
        leakage: transmission of the blades.
        spacing: of rows and columns in mm, (B, 2).
        depth: greatest attenuation that the detector resolves.
    """
    middles = [torch.arange(n).to(spacing) - (n - 1) / 2 for n in attenuation.shape[2:4]]

    y, x = middles[0][None, :, None] * spacing[:, :1, None], middles[1][None, None] * spacing[:, 1:, None]
    cos, sin = (f(torch.deg2rad(angle))[:, None, None] for f in (torch.cos, torch.sin))
    across = (y * cos + x * sin, x * cos - y * sin)
    sigma = (edge / math.sqrt(8 * math.log(2)))[:, None, None].clamp_min(1e-6)
    field = torch.ones((), device=spacing.device, dtype=spacing.dtype)
    for axis, position in enumerate(across):
        extent = attenuation.shape[2 + axis] * spacing[:, axis]
        for side in (0, 1):
            edge_at = (extent * (0.5 - shares[:, 2 * axis + side]))[:, None, None]
            inside = edge_at + (position if side == 0 else -position)
            field = field * torch.special.ndtr(inside / sigma)
    field = field[:, None] if attenuation.ndim == 4 else field[:, None, ..., None]
    change = -torch.log(leakage + (1 - leakage) * field)
    return torch.minimum(change, (depth - attenuation).clamp_min(0))
