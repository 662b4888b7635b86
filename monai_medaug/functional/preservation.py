"""Measures of preserved anatomy and pathology: volumes, topology, contrast."""

from __future__ import annotations

import numpy as np
import torch

from monai_medaug.functional.labels import near_whole

_RING_VOXELS = 4
_SPECK_SHARE = 0.01  # of the lesion: smaller parts depend on the sampling


def label_counts(labels: torch.Tensor, region: torch.Tensor | None = None) -> dict[str, int]:
    """Voxels of each non-zero label of (C, *spatial) in a region, by value, with several channels "channel:value".

    Values within 0.03 of a whole number count as that number.

    Example:
        >>> label_counts(torch.tensor([[[0, 1, 1, 7]]]))
        {'1': 2, '7': 1}
    """
    counts = {}
    for channel, values in enumerate(labels):
        inside = values if region is None else values[region]
        found, numbers = torch.unique(near_whole(inside).to(torch.float64), return_counts=True)
        for value, number in zip(found.tolist(), numbers.tolist(), strict=True):
            if value != 0:
                shown = str(int(value)) if value.is_integer() else f"{value:g}"
                counts[shown if len(labels) == 1 else f"{channel}:{shown}"] = number
    return counts


def counting_slack(voxels: float, axes: int) -> float:
    """Two standard deviations of the relative volume of a compact label of n voxels under resampling.

    About n^((axes - 1) / axes) voxels lie on its boundary, each in or out at random: 2 n^(-(axes + 1) / (2 axes)), 27 %
    for 20 voxels in 3D and 2 % for 1000.
    """
    return float(2 * max(voxels, 1.0) ** (-(axes + 1) / (2 * axes)))


def lesion_topology(mask: torch.Tensor) -> dict[str, int]:
    """Components and cavities of at least 1 % of a mask (*spatial), and its Euler number."""
    from scipy.ndimage import generate_binary_structure
    from scipy.ndimage import label as connected
    from skimage.measure import euler_number

    if not bool(mask.any()):
        return {"components": 0, "cavities": 0, "euler_number": 0}
    inside = mask[around(mask, 1)].cpu().numpy()
    speck = _SPECK_SHARE * inside.sum()
    parts, _ = connected(inside, generate_binary_structure(inside.ndim, inside.ndim))
    sizes = np.bincount(parts.ravel())[1:]
    holes, _ = connected(np.pad(~inside, 1, constant_values=True))
    hole_sizes = np.bincount(holes.ravel())[1:]
    outside = holes.flat[0]
    hole_sizes[outside - 1] = 0
    return {
        "components": int((sizes >= max(speck, 1)).sum()),
        "cavities": int((hole_sizes >= max(speck, 1)).sum()),
        "euler_number": int(euler_number(inside, connectivity=inside.ndim)),
    }


def ring_around(mask: torch.Tensor) -> torch.Tensor:
    """The voxels within 4 voxels of a mask (*spatial) and outside it.

    Example:
        >>> ring_around(torch.tensor([0, 1, 0, 0, 0, 0, 0]).bool()).int()
        tensor([1, 0, 1, 1, 1, 1, 0], dtype=torch.int32)
    """
    ring = torch.zeros_like(mask)
    if bool(mask.any()):
        box = around(mask, _RING_VOXELS)
        grown = mask[box]
        for axis in range(mask.ndim):
            line = torch.movedim(grown, axis, -1).float()
            flat = line.reshape(1, -1, line.shape[-1])
            flat = torch.nn.functional.max_pool1d(flat, 2 * _RING_VOXELS + 1, 1, _RING_VOXELS)
            grown = torch.movedim(flat.reshape(line.shape), -1, axis) > 0
        ring[box] = grown & ~mask[box]
    return ring


def contrast_to_noise(image: torch.Tensor, mask: torch.Tensor, ring: torch.Tensor) -> float:
    """(mean inside - mean of the ring) / standard deviation of the ring, for one channel; 0 if one is empty.

    Example:
        >>> image = torch.tensor([9.0, 10.0, 11.0, 30.0])
        >>> mask = torch.tensor([False, False, False, True])
        >>> round(contrast_to_noise(image, mask, ~mask), 1)
        24.5
    """
    inside, outside = image[mask].double(), image[ring].double()
    spread = outside.std(correction=0) if len(outside) else torch.zeros(())
    return float((inside.mean() - outside.mean()) / spread) if len(inside) and spread > 0 else 0.0


def around(mask: torch.Tensor, margin: int) -> tuple[slice, ...]:
    """The box around a non-empty mask, with a margin of voxels, as slices.

    Example:
        >>> around(torch.tensor([[0, 0, 0, 0, 1]]).bool(), 1)
        (slice(0, 2, None), slice(3, 6, None))
    """
    places = mask.nonzero()
    low, high = places.amin(0).tolist(), places.amax(0).tolist()
    return tuple(slice(max(a - margin, 0), b + margin + 1) for a, b in zip(low, high, strict=True))
