"""How sharp an image is, as autofocus measures it."""

from __future__ import annotations

import math

import torch


def gradient_entropy(image: torch.Tensor, weight: torch.Tensor | None = None) -> torch.Tensor:
    """Entropy in nats of the gradient of the root sum of squares of complex images (C, *spatial); less is sharper.

    ``-sum h log h`` with ``h = |grad m| / sum |grad m|``: ghosts and blur spread a few strong edges over many weak ones
    (Atkinson et al. 1997). The logarithm of the number of voxels at most. Gradients flow through it.

    Args:
        image: of all channels.
        weight: (*spatial), within which it is looked at.

    Example:
        >>> image = torch.zeros(1, 8, 8, dtype=torch.complex64)
        >>> image[:, :, 4:] = 1  # two edges of 8 voxels, since the image is periodic
        >>> round(math.exp(gradient_entropy(image)), 1)
        16.0
    """
    _, _, slope = _magnitude_slopes(image if weight is None else image * weight)
    share = slope / slope.sum()
    return -(share * share.log()).sum()


def entropy_and_slope(image: torch.Tensor, weight: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """`gradient_entropy`, and its derivative by the real part of the image plus i times that by the imaginary one.

    In closed form, by a fraction of the operations that automatic differentiation takes.

    Args:
        image: of all channels, (C, *spatial).
        weight: (*spatial), within which it is looked at.

    Example:
        >>> image = torch.tensor([[1.0, 2.0, 4.0]], dtype=torch.complex64)
        >>> entropy, slope = entropy_and_slope(image, torch.ones(3))
        >>> bool((entropy_and_slope(image - 0.01 * slope, torch.ones(3))[0]) < entropy)
        True
    """
    weighted = image * weight
    magnitude, steps, slope = _magnitude_slopes(weighted)
    total = slope.sum()
    logarithm = (slope / total).log()
    entropy = -(slope * logarithm).sum() / total
    by_square = -(logarithm + entropy) / (total * slope)
    by_magnitude = torch.zeros_like(magnitude)
    for axis, step in enumerate(steps):
        flow = by_square * step
        by_magnitude = by_magnitude + torch.roll(flow, 1, axis) - flow
    return entropy, weighted * (by_magnitude / magnitude * weight)


def _magnitude_slopes(image: torch.Tensor) -> tuple[torch.Tensor, list[torch.Tensor], torch.Tensor]:
    """The root sum of squares, its steps along each axis, and the length of its gradient."""
    square = image.real.square().sum(0) + image.imag.square().sum(0)
    magnitude = (square + _FAINT**2 * square.detach().amax() + torch.finfo(square.dtype).tiny).sqrt()
    steps = [torch.roll(magnitude, -1, axis) - magnitude for axis in range(magnitude.ndim)]
    squares = torch.stack(steps).square().sum(0)
    return magnitude, steps, (squares + (_FAINT**2 * squares.detach().amax() + torch.finfo(square.dtype).tiny)).sqrt()


_FAINT = 1e-6
"""Share of the greatest value below which magnitudes and slopes are round, so that they have gradients at 0."""


def body_region(image: torch.Tensor, share: float, sigma: float = 2.0) -> torch.Tensor:
    """Where complex images (C, *spatial) hold anatomy: 1 inside, 0 in the background, from 0 to 1 between.

    Args:
        image: of all channels.
        share: of the greatest smoothed magnitude from which on it is 1; it is 0 up to half of that.
        sigma: of the smoothing in voxels.

    Example:
        >>> image = torch.zeros(1, 16, 16, dtype=torch.complex64)
        >>> image[:, 4:12, 4:12] = 1
        >>> region = body_region(image, 0.1)
        >>> float(region[8, 8]), float(region[0, 0])
        (1.0, 0.0)
    """
    spectrum = torch.fft.fftn(image.abs().square().sum(0).sqrt())
    for axis, n in enumerate(spectrum.shape):
        frequency = torch.fft.fftfreq(n, device=spectrum.device)
        window = torch.exp(-2 * (math.pi * sigma * frequency) ** 2).to(spectrum.dtype)
        spectrum = spectrum * window.reshape([-1 if a == axis else 1 for a in range(spectrum.ndim)])
    smooth = torch.fft.ifftn(spectrum).real
    level = share * smooth.amax().clamp_min(torch.finfo(smooth.dtype).tiny)
    return (2 * smooth / level - 1).clamp(0, 1)


class ShiftedSharpness:
    """``sum |grad(base + part shifted by d)|⁴`` for all shifts d of whole voxels at once; more is sharper.

    By Parseval's theorem the sum of squares is the same for all shifts (up to the little that two parts of k-space
    overlap), so that the fourth power is a kurtosis: great where gradients concentrate in edges. It is a sum of
    correlations of products of the two, a handful of Fourier transforms instead of one image for each shift.

    Args:
        base: complex images (C, *spatial) to which the part is added.

    Example:
        >>> image = torch.zeros(1, 8, 8, dtype=torch.complex64)
        >>> image[:, 3, 3] = 1
        >>> values = ShiftedSharpness(image).of(torch.roll(image, (2, 1), (1, 2)))
        >>> divmod(int(values.argmax()), 8)  # back by 2 and 1
        (6, 7)
    """

    def __init__(self, base: torch.Tensor) -> None:
        self._dims = base.ndim - 1
        self._axes = [a for a in range(1, base.ndim) if base.shape[a] > 1]
        channels = len(base)
        self._pairs = [(i, j) for i in range(channels) for j in range(i, channels)]
        self._of_base = []
        for axis in self._axes:
            b = torch.roll(base, -1, axis) - base
            power, conj = b.abs().square().sum(0), b.conj()
            products = [(self._transform(conj[i] * conj[j]), self._transform(conj[i] * b[j])) for i, j in self._pairs]
            terms = self._transform(power), self._transform(power * conj), self._transform(conj)
            self._of_base.append((*terms, products))

    def of(self, part: torch.Tensor) -> torch.Tensor:
        """The sum for each shift in the order of `torch.fft`, (*spatial), but for what the shift does not change.

        With b and z the gradients, B and Z their powers and X = sum conj(b) z:
        ``sum (B + Z + 2 Re X)² = … + 2 BZ + 4 (B + Z) Re X + 2 |X|² + 2 Re X²``.
        """
        total = torch.zeros(part.shape[1:], dtype=part.dtype, device=part.device)
        for axis, (power, weighted, conj, products) in zip(self._axes, self._of_base, strict=True):
            z = torch.roll(part, -1, axis) - part
            own = z.abs().square().sum(0)
            total = total + 2 * power * self._mirrored(own)
            total = total + 4 * (weighted * self._mirrored(z) + conj * self._mirrored(own * z)).sum(0)
            for (i, j), (same, cross) in zip(self._pairs, products, strict=True):
                both = same * self._mirrored(z[i] * z[j]) + cross * self._mirrored(z[i] * z[j].conj())
                total = total + (2 if i == j else 4) * both
        return torch.fft.ifftn(total).real

    def _transform(self, x: torch.Tensor) -> torch.Tensor:
        return torch.fft.fftn(x, dim=tuple(range(x.ndim - self._dims, x.ndim)))

    def _mirrored(self, x: torch.Tensor) -> torch.Tensor:
        """The transform at -k, by which a product is a correlation."""
        return self._transform(x.conj()).conj()
