"""MR acquisition in k-space: weights of lines along the phase-encoding axis, and spikes.

A line of k-space is complete along all axes but the phase-encoding one, so that the other transforms cancel and weights
of lines act as a circulant matrix along that axis. The whole image needs no transform, and weights of 1 change nothing.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from scipy.linalg import circulant

from monai_medaug.functional.acceleration import sent
from monai_medaug.functional.geometry.resolution import along_axis

_SIGNAL = 0.1  # of the foreground's mean
_FULL = 0.1  # of the fullest slice: the others may hold a few voxels of a vertex or of noise


def line_positions(lines: int) -> np.ndarray:
    """Distance of each line from the centre of k-space, in the order of acquisition from one edge to the other.

    Example:
        >>> line_positions(6)
        array([-3, -2, -1,  0,  1,  2])
    """
    return np.arange(lines) - lines // 2


def line_matrix(weights: np.ndarray) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Real and imaginary part (1, n, n) of the matrix that weights the lines of k-space of a column of n voxels.

    ``A = F⁻¹ diag(w) F``, circulant. The imaginary part is None for weights symmetric about the centre.

    Args:
        weights: (n,) in the order of `line_positions`.

    Example:
        >>> real, imaginary = line_matrix(np.array([0.0, 0, 1, 0]))  # the centre alone: the mean
        >>> real[0, 0].tolist(), imaginary
        ([0.25, 0.25, 0.25, 0.25], None)
    """
    kernel = np.fft.ifft(np.fft.ifftshift(weights))
    real, imaginary = (torch.from_numpy(circulant(part))[None] for part in (kernel.real, kernel.imag))
    return real, imaginary if imaginary.abs().max() > 1e-9 else None


def weight_lines(image: torch.Tensor, weights: Sequence[np.ndarray], axes: Sequence[int]) -> torch.Tensor:
    """Magnitude of images after weighting their k-space lines along an axis.

    Args:
        image: (B, C, *spatial).
        weights: of the lines, in the order of `line_positions`, one array per sample.
        axes: phase-encoding axis of each sample, 0 the first spatial one.
    """
    out = []
    for x, w, axis in zip(image.split(1), weights, axes, strict=True):
        change, imaginary = weighted_parts(x, w - 1, axis)  # of the change, so that weights of 1 change nothing
        y = change.add_(x)
        out.append(y.abs_() if imaginary is None else torch.hypot(y, imaginary))
    return out[0] if len(out) == 1 else torch.cat(out)


def weighted_parts(image: torch.Tensor, weights: np.ndarray, axis: int) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Real and imaginary part of images (B, C, *spatial) whose k-space lines along an axis are weighted.

    On the CPU by a real Fourier transform: weights that are even about the centre give the real part, odd ones the
    imaginary part, None if there are none. On other devices one product with `line_matrix`.

    Example:
        >>> real, imaginary = weighted_parts(torch.tensor([[[[1.0], [3.0]]]]), np.array([0.0, 1.0]), 0)
        >>> real.flatten().tolist(), imaginary
        ([2.0, 2.0], None)
    """
    if image.device.type != "cpu":
        whole, rest = line_matrix(weights)
        return along_axis(image, whole, axis), None if rest is None else along_axis(image, rest, axis)
    n, dim = len(weights), axis + 2
    w = np.fft.ifftshift(weights)
    mirrored = np.roll(w[::-1], 1)
    spectrum = torch.fft.rfft(image, dim=dim)
    even, odd = (
        torch.from_numpy(part[: n // 2 + 1] / 2).to(image).reshape(-1, *[1] * (image.ndim - dim - 1))
        for part in (w + mirrored, w - mirrored)
    )
    rest = None if np.abs(w - mirrored).max() < 1e-9 else torch.fft.irfft(spectrum * (-1j * odd), n, dim)
    return torch.fft.irfft(spectrum.mul_(even), n, dim), rest


def central_lines(lines: int, kept: float) -> np.ndarray:
    """Weight 1 for the lines up to ``kept`` of the greatest distance from the centre, 0 for those beyond.

    The first line beyond has a fraction as weight, so that the lines change gradually with ``kept``.

    Example:
        >>> central_lines(8, 0.5625).tolist()
        [0.0, 0.25, 1.0, 1.0, 1.0, 1.0, 1.0, 0.25]
    """
    return np.clip(kept * lines / 2 + 1 - np.abs(line_positions(lines)), 0.0, 1.0)


def ghost_weights(lines: int, ghosts: int, intensity: float, centre_fraction: float) -> np.ndarray:
    """Weight 1 - intensity for lines whose distance from the centre is a multiple of ``ghosts``, but not the centre.

    Example:
        >>> ghost_weights(8, 2, 0.4, 0).tolist()
        [0.6, 1.0, 0.6, 1.0, 1.0, 1.0, 0.6, 1.0]
    """
    k = line_positions(lines)
    return np.where((k % ghosts == 0) & (np.abs(k) > centre_fraction * lines / 2), 1 - intensity, 1.0)


def sampled_lines(lines: int, acceleration: float, centre_fraction: float, pattern: str, seed: int) -> np.ndarray:
    """Lines acquired (1) or not (0): lines / acceleration of them, always with the centre.

    Args:
        lines: of the full k-space.
        acceleration: at least 1, which acquires all.
        centre_fraction: share of lines about the centre that are always acquired.
        pattern: ``"variable_density"`` draws the others with the density (1 - |k| / kmax)²; ``"partial_fourier"``
            leaves out one end, at most one half but the centre.
        seed: of the lines drawn, or of the choice of the end.

    Example:
        >>> sampled_lines(8, 1.6, 0.25, "partial_fourier", 0).tolist()
        [0.0, 0.0, 0.0, 1.0, 1.0, 1.0, 1.0, 1.0]
    """
    k = line_positions(lines)
    random = np.random.RandomState(seed)
    wanted = max(1, round(lines / acceleration))
    rank: np.ndarray
    if pattern == "partial_fourier":
        rank = (k if random.randint(2) == 0 else -k).astype(float)
        wanted = max(wanted, math.ceil(lines * (1 + centre_fraction) / 2))
    else:
        density = np.maximum(1 - np.abs(k) / (lines / 2 + 1), 1e-3) ** 2
        rank = np.log(random.uniform(1e-12, 1, lines)) / density  # the greatest ranks are a draw without replacement
        centre = (np.abs(k) <= centre_fraction * lines / 2) | (k == 0)
        rank[centre] = np.inf
        wanted = max(wanted, int(centre.sum()))
    kept = np.zeros(lines)
    kept[np.argsort(-rank, kind="stable")[:wanted]] = 1
    return kept


def spiked(
    image: torch.Tensor, amplitude: float, frequencies: np.ndarray, phases: np.ndarray, level: torch.Tensor
) -> torch.Tensor:
    """Magnitude of an image with spikes in k-space: each adds a complex plane wave.

    ``y = |x + a m sum_j exp(i (2 pi k_j · r + phi_j))|`` with the mean m of the foreground.
    k_j is the point of the image's k-space nearest to the frequency, so that the wave is periodic.

    Args:
        image: one sample (C, *spatial).
        amplitude: a.
        frequencies: (J, spatial axes) in cycles per voxel, within ±0.5.
        phases: (J,) in radians.
        level: m of each channel, (C, 1, ...).
    """
    shape = image.shape[1:]
    wave = np.zeros(shape, np.complex64)
    for frequency, phase in zip(frequencies, phases, strict=True):
        term = np.exp(1j * phase)
        for n, cycles in zip(shape, np.round(frequency * shape), strict=True):
            turns = (np.arange(n) * cycles % n) / n
            term = np.multiply.outer(term, np.exp(2j * math.pi * turns)).astype(np.complex64)
        wave += term
    real, imaginary = (sent(part, image.device, image.dtype) for part in (wave.real, wave.imag))
    level = amplitude * level
    return torch.hypot(image + level * real, level * imaginary)


def spiked_slices(
    image: torch.Tensor,
    amplitude: float,
    frequencies: np.ndarray,
    phases: np.ndarray,
    level: torch.Tensor,
    axis: int,
    places: Sequence[float],
) -> torch.Tensor:
    """As `spiked`, for a scan of 2D slices, each spike in the k-space of one of them.

    Args:
        image: one sample (C, *spatial).
        amplitude: as for `spiked`.
        frequencies: (J, spatial axes); the component along ``axis`` is not used.
        phases: (J,).
        level: as for `spiked`.
        axis: of the slices.
        places: (J,) in [0, 1), which of the slices with at least a tenth of the fullest one's signal voxels.
    """
    area = (image > _SIGNAL * level).movedim(axis + 1, 0).flatten(1).sum(1)
    filled = torch.nonzero(area >= _FULL * area.max()).flatten().tolist()
    hit = np.array([filled[int(place * len(filled))] for place in places])
    out, within = image.clone(), [a for a in range(frequencies.shape[1]) if a != axis]
    for index in np.unique(hit):
        chosen = hit == index
        plane = image.select(axis + 1, int(index))
        wave = spiked(plane, amplitude, frequencies[chosen][:, within], phases[chosen], level.squeeze(axis + 1))
        out.select(axis + 1, int(index)).copy_(wave)
    return out
