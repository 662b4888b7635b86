"""Motion during an MR scan, put in by other means than the correction models it: splines move the anatomy."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy import ndimage
from scipy.spatial.transform import Rotation


def smooth_phase(shape: Sequence[int], seed: int) -> np.ndarray:
    """exp(i p) with a random quadratic polynomial p, of about ±2 radians."""
    random = np.random.default_rng(seed)
    axes = np.meshgrid(*[np.linspace(-1, 1, n) for n in shape], indexing="ij")
    phase = sum(random.normal() * a for a in axes)
    phase = phase + sum(random.normal() * a * b for i, a in enumerate(axes) for b in axes[i:])
    return np.exp(1j * phase)


def phantom(side: int, dims: int = 2) -> np.ndarray:
    """Ellipsoids with inner structure and a smooth phase."""
    axes = np.meshgrid(*[np.linspace(-1, 1, side)] * dims, indexing="ij")

    def inside(centre: tuple, radii: tuple) -> np.ndarray:
        return sum(((a - c) / r) ** 2 for a, c, r in zip(axes, centre, radii, strict=False)) < 1

    image: np.ndarray = 1.0 * inside((0, 0, 0), (0.72, 0.6, 0.66)) - 0.6 * inside((0.05, 0, 0), (0.62, 0.5, 0.56))
    image += 0.4 * inside((-0.2, -0.2, 0.1), (0.2, 0.1, 0.2)) + 0.3 * inside((0.2, 0.2, -0.1), (0.25, 0.12, 0.2))
    image += 0.5 * inside((0.35, -0.1, 0), (0.08, 0.15, 0.1))
    return image * smooth_phase(image.shape, 1)


def moved(image: np.ndarray, shift: Sequence[float], turn: float | Sequence[float]) -> np.ndarray:
    """A complex image with its anatomy rotated about the centre by degrees, in 3D a rotation vector, then shifted."""
    vector = np.array([0.0, 0.0, turn]) if image.ndim == 2 else np.asarray(turn, float)
    back = Rotation.from_rotvec(vector, degrees=True).as_matrix()[: image.ndim, : image.ndim].T
    centre = (np.array(image.shape) - 1) / 2
    offset = centre - back @ (centre + np.asarray(shift))
    real, imaginary = (ndimage.affine_transform(p, back, offset, order=5) for p in (image.real, image.imag))
    return real + 1j * imaginary


def random_poses(segments: int, reference: int, dims: int, mm: float, degrees: float, seed: int) -> tuple:
    """Uniform translations and rotations of each segment, relative to those of the reference."""
    random = np.random.default_rng(seed)
    shifts = random.uniform(-mm, mm, (segments, dims))
    turns = random.uniform(-degrees, degrees, segments if dims == 2 else (segments, 3))
    return shifts - shifts[reference], turns - turns[reference]


def scanned(
    image: np.ndarray,
    lines: Sequence[np.ndarray],
    shifts: np.ndarray,
    turns: np.ndarray,
    maps: np.ndarray | None = None,
) -> np.ndarray:
    """Complex images (C, *shape) of a scan along the first axis whose segments of lines saw the anatomy in these poses.

    Lines are numbered from the most negative frequency.
    """
    coils = np.ones((1, *image.shape)) if maps is None else maps
    axes = tuple(range(1, coils.ndim))
    whole = np.zeros(coils.shape, complex)
    for own, shift, turn in zip(lines, shifts, turns, strict=True):
        spectrum = np.fft.fftshift(np.fft.fftn(coils * moved(image, shift, turn), axes=axes), axes=axes)
        whole[:, own] = spectrum[:, own]
    return np.fft.ifftn(np.fft.ifftshift(whole, axes=axes), axes=axes)


def magnitude_psnr(image: np.ndarray, truth: np.ndarray) -> float:
    """PSNR in dB of the root sum of squares over the coils, with the truth's greatest value as the peak."""
    found, wanted = (np.sqrt((np.abs(x) ** 2).sum(0)) for x in (image, truth))
    return float(20 * np.log10(wanted.max()) - 10 * np.log10(np.mean((found - wanted) ** 2)))
