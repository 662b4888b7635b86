"""Measures a deformation from outside: coordinate images go through the public transform."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from monai.data import MetaTensor
from scipy.ndimage import binary_erosion

from monai_medaug.transforms import RandAffineElastic, RandAffineElasticd

NO_AFFINE = {"rotate_degrees": 0, "translate_fraction": 0, "scale_fraction": 0}


@dataclass(frozen=True)
class SampledMap:
    """The pull-back map (output voxel to input voxel) of one call.

    Attributes:
        source: coordinates (D, *shape) in voxels of the input, clamped to the image.
        inside: voxels whose source lies inside the image.
        determinants: central-difference det J over the inside, eroded by one.
        rms: root mean square displacement in voxels over the inside.
        record: the trace record's extra information.
    """

    source: np.ndarray
    inside: np.ndarray
    determinants: np.ndarray
    rms: float
    record: dict[str, Any]


def indices(shape: tuple[int, ...]) -> torch.Tensor:
    """Channel k holds the index along axis k, (D, *shape) in float64: interpolation reproduces it exactly."""
    return torch.stack(torch.meshgrid(*[torch.arange(n, dtype=torch.float64) for n in shape], indexing="ij"))


def determinants(source: np.ndarray) -> np.ndarray:
    """Det of the map by central differences, without the outermost voxels."""
    axes = len(source)
    inner = (slice(None),) + (slice(1, -1),) * axes
    jacobian = np.stack([np.gradient(source, axis=a + 1)[inner] for a in range(axes)], axis=1)
    return np.linalg.det(np.moveaxis(jacobian, (0, 1), (-2, -1)))


def inside_of(source: np.ndarray) -> np.ndarray:
    """Where clamped source coordinates were not clamped."""
    last = np.array(source.shape[1:]).reshape(-1, *[1] * (source.ndim - 1)) - 1
    return ((source > 0) & (source < last)).all(0)


def sampled_map(shape: tuple[int, ...], seed: int, affine: np.ndarray | None = None, **arguments: Any) -> SampledMap:
    """Warp a coordinate image with RandAffineElastic, affine part off unless ``arguments`` say otherwise."""
    index = indices(shape)
    image = MetaTensor(index, affine=torch.eye(4) if affine is None else torch.as_tensor(affine))
    out = RandAffineElastic(prob=1.0, **{**NO_AFFINE, **arguments}).set_random_state(seed)(image)
    source = out.numpy()
    inside = inside_of(source)
    eroded = binary_erosion(inside, np.ones((3,) * len(shape)))[(slice(1, -1),) * len(shape)]
    displacement = ((source - index.numpy()) ** 2).sum(0)[inside]
    return SampledMap(
        source,
        inside,
        determinants(source)[eroded],
        float(np.sqrt(displacement.mean())),
        out.applied_operations[-1]["extra_info"],
    )


def unclamped_map(
    shape: tuple[int, ...], seed: int, margin: int, **arguments: Any
) -> tuple[np.ndarray, dict[str, Any]]:
    """The same map for every voxel, also where its source lies outside: (D, *shape), and the record.

    A second key whose grid is larger by ``margin`` on every side carries the coordinates.
    """
    large = tuple(n + 2 * margin for n in shape)
    affine = torch.eye(4, dtype=torch.float64)
    affine[: len(shape), 3] = -margin
    data = {
        "reference": MetaTensor(torch.zeros(1, *shape), affine=torch.eye(4)),
        "coordinates": MetaTensor(indices(large) - margin, affine=affine),
    }
    transform = RandAffineElasticd(["reference", "coordinates"], prob=1.0, **{**NO_AFFINE, **arguments})
    out = transform.set_random_state(seed)(data)
    inner = (slice(None),) + (slice(margin, -margin),) * len(shape)
    source = out["coordinates"].numpy()[inner]
    assert np.abs(source).max() < max(large) - margin - 1, "the margin is too small"
    return source, out["reference"].applied_operations[-1]["extra_info"]
