"""Figures that tell whether anatomy and pathology survived: volumes, topology, contrast."""

from __future__ import annotations

import numpy as np
import torch

_RING_VOXELS = 4
_SPECK_SHARE = 0.01  # of the lesion: parts below it come and go with the sampling


def label_counts(labels: torch.Tensor, region: torch.Tensor | None = None) -> dict[str, int]:
    """Voxels of each non-zero label inside a region, of (C, *spatial); named by value, with the channel if several.

    Example:
        >>> label_counts(torch.tensor([[[0, 1, 1, 7]]]))
        {'1': 2, '7': 1}
    """
    counts = {}
    for channel, values in enumerate(labels):
        inside = values if region is None else values[region]
        found, numbers = torch.unique(inside.to(torch.float64), return_counts=True)
        for value, number in zip(found.tolist(), numbers.tolist(), strict=True):
            if value != 0:
                name = f"{value:g}" if len(labels) == 1 else f"{channel}:{value:g}"
                counts[name] = number
    return counts


def counting_slack(voxels: float, axes: int) -> float:
    """Two standard deviations of the relative volume of a compact label of n voxels that is sampled anew.

    About n^((axes - 1) / axes) voxels lie on its boundary, and each falls in or out at random: 2 n^(-(axes + 1) / (2
    axes)), 27 % for 20 voxels in 3D and 2 % for 1000.
    """
    return float(2 * max(voxels, 1.0) ** (-(axes + 1) / (2 * axes)))


def lesion_topology(mask: np.ndarray) -> dict[str, int]:
    """Connected components and cavities of a mask, not counting specks below 1 % of it; and its Euler number."""
    from scipy.ndimage import generate_binary_structure
    from scipy.ndimage import label as connected
    from skimage.measure import euler_number

    speck = _SPECK_SHARE * mask.sum()
    parts, _ = connected(mask, generate_binary_structure(mask.ndim, mask.ndim))
    sizes = np.bincount(parts.ravel())[1:]
    holes, _ = connected(np.pad(~mask, 1, constant_values=True))
    hole_sizes = np.bincount(holes.ravel())[1:]
    outside = holes.flat[0]
    hole_sizes[outside - 1] = 0
    return {
        "components": int((sizes >= max(speck, 1)).sum()),
        "cavities": int((hole_sizes >= max(speck, 1)).sum()),
        "euler_number": int(euler_number(mask, connectivity=mask.ndim)),
    }


def contrast_to_noise(image: torch.Tensor, mask: torch.Tensor) -> float:
    """(mean inside - mean of the ring) / standard deviation of the ring, for one channel and a mask of its shape.

    The ring are the voxels within 4 voxels of the mask; 0 where there is none or it is constant.
    """
    x = image.double()
    grown = mask[None, None].float()
    pool = torch.nn.functional.max_pool2d if mask.ndim == 2 else torch.nn.functional.max_pool3d
    ring = (pool(grown, 2 * _RING_VOXELS + 1, stride=1, padding=_RING_VOXELS)[0, 0] > 0) & ~mask
    if not bool(ring.any()) or not bool(mask.any()):
        return 0.0
    spread = x[ring].std(correction=0)
    return float((x[mask].mean() - x[ring].mean()) / spread) if spread > 0 else 0.0
