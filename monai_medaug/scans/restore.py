"""Restoration of whole scans in bounded memory, for ``monai-medaug restore``."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch

from monai_medaug.core.arguments import choice
from monai_medaug.core.contract import REGISTRY
from monai_medaug.core.tensors import affine_of, plain_tensor, say_once
from monai_medaug.functional.ct.slices import slice_axis
from monai_medaug.functional.geometry.grid import VoxelGrid
from monai_medaug.functional.mri.signal import zero_point
from monai_medaug.transforms.denoise.base import NEGATIVE_MAGNITUDES, NoiseRemoval
from monai_medaug.transforms.denoise.level import is_rician

RESTORATIONS: dict[str, type[NoiseRemoval]] = {
    cls.command: cls for _, cls in sorted(REGISTRY.items()) if issubclass(cls, NoiseRemoval)
}
"""The denoisers by method."""

SLAB_VOXELS = 8 << 20
_ENOUGH_VOXELS, _BLOCKS, _LEAST_THICK = 32 << 20, 8, 4


def restoration(
    method: str, sigma: float | None = None, noise: str = "gaussian", strength: float | None = None
) -> NoiseRemoval:
    """The transform of a method.

    Raises:
        ValueError: the method is unknown.

    Example:
        >>> type(restoration("wavelet")).__name__
        'WaveletDenoise'
        >>> restoration("blur")
        Traceback (most recent call last):
        ValueError: method must be one of 'bilateral', 'collaborative', ..., got 'blur'
    """
    return RESTORATIONS[choice("method", method, tuple(RESTORATIONS))](sigma=sigma, noise=noise, strength=strength)


def restored_scan(
    image: torch.Tensor,
    method: str,
    sigma: float | None = None,
    noise: str = "gaussian",
    progress: bool = False,
    strength: float | None = None,
) -> tuple[torch.Tensor, float | None]:
    """A scan denoised slab by slab, so that the working memory doesn't grow with its length.

    The noise is estimated once, on the whole scan or on blocks spread over it. Each slab is filtered with a margin, so
    that slab borders leave no trace.

    Args:
        image: MetaTensor or tensor (1, X, Y) or (1, X, Y, Z).
        method: see `restoration`.
        sigma: noise level; None estimates it.
        noise: ``"gaussian"``, ``"rician"``, ``"rician_squared"`` or ``"ct"``.
        progress: show a progress bar.
        strength: share of what the filter finds that is removed, 0 to 1; None for 1, or 0.6 for CT noise.

    Returns:
        The restored image in the kind of the input, and the noise level, or None if the method needs none.

    Raises:
        ValueError: the method is unknown, or the image is not finite.

    Example:
        >>> noisy = 100 + 10 * torch.randn(1, 32, 32, 20, generator=torch.Generator().manual_seed(0))
        >>> clean, level = restored_scan(noisy, "wavelet")
        >>> bool(clean.std() < 4), 9 < level < 11
        (True, True)
    """
    from tqdm import tqdm

    transform = restoration(method, sigma, noise, strength)
    axis = int(np.argmax(image.shape[1:])) + 1
    thickness = max(1, SLAB_VOXELS // max(1, image.numel() // image.shape[axis]))
    transform = transform.fitted(image if noise == "ct" else _part_of(image, axis))
    level = transform.sigma if transform.needs_sigma(transform.settings()) else None
    # zero signal is the same for all slabs
    zero = float(zero_point(plain_tensor(image, "image")[None].float())) if is_rician(noise) else 0.0
    if zero < 0:
        say_once(NEGATIVE_MAGNITUDES)
    if image.ndim == 3:
        return transform(image), level
    halo = transform.reach
    if halo is None:
        return transform(image), level
    out = torch.empty_like(image) if image.is_floating_point() else torch.empty_like(image, dtype=torch.float32)
    levels, across = transform.slice_levels, slice_axis(VoxelGrid(tuple(image.shape[1:]), affine_of(image)))
    for start, stop in tqdm(
        [*_slab_edges(image.shape[axis], thickness)], desc="restoring", unit="slab", disable=not progress
    ):
        first = max(0, start - halo) // transform.step * transform.step
        slab = _narrowed(image, axis, first, stop + halo)
        if levels is not None and across == axis - 1:
            transform.slice_levels = levels[first : stop + halo]
        part = transform(slab - zero) + zero if zero else transform(slab)
        _narrowed(out, axis, start, stop).copy_(_narrowed(part, axis, start - first, stop - first))
    return out, level


def _slab_edges(length: int, thickness: int) -> Iterator[tuple[int, int]]:
    for start in range(0, length, thickness):
        yield start, min(length, start + thickness)


def _narrowed(image: torch.Tensor, axis: int, start: int, stop: int) -> torch.Tensor:
    """A slab as a view; a MetaTensor keeps its affine, whose spacing alone matters here."""
    stop = min(stop, image.shape[axis])
    return image.narrow(axis, start, stop - start)


def _part_of(image: torch.Tensor, axis: int) -> torch.Tensor:
    """Blocks spread over a large scan, with enough voxels for a reliable estimate; a small scan unchanged."""
    length = image.shape[axis]
    thick = int(_ENOUGH_VOXELS / image.numel() * length / _BLOCKS)
    if thick * _BLOCKS >= length or thick < _LEAST_THICK:
        return image
    starts = np.linspace(0, length - thick, _BLOCKS).round().astype(int)
    return torch.cat([_narrowed(image, axis, s, s + thick) for s in starts], axis)
