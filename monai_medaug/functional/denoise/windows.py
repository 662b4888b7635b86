"""Parts of equal shape at many places of images at once, for the torch paths of the filters."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class Windows:
    """Windows of one shape into images.

    Attributes:
        flat: images (N, voxels).
        strides: of the images' spatial axes, in voxels.
        index: of a window's voxels from its first one, (*shape).
    """

    flat: torch.Tensor
    strides: torch.Tensor
    index: torch.Tensor

    @classmethod
    def of(cls, images: torch.Tensor, shape: Sequence[int]) -> Windows:
        """Windows of a shape into images (N, *spatial)."""
        index = torch.arange(images[0].numel(), device=images.device).reshape(images.shape[1:])
        strides = torch.stack([index.narrow(a, min(1, n - 1), 1).flatten()[0] for a, n in enumerate(index.shape)])
        return cls(images.flatten(1), strides, index[tuple(slice(0, n) for n in shape)])

    def at(self, places: torch.Tensor) -> torch.Tensor:
        """A copy (N, K, *shape) of the windows whose first voxels lie at ``places`` (K, axes).

        Example:
            >>> row = torch.arange(5.0)[None]
            >>> Windows.of(row, (3,)).at(torch.tensor([[0], [2]]))
            tensor([[[0., 1., 2.],
                     [2., 3., 4.]]])
        """
        first = (places * self.strides).sum(1).reshape(-1, *[1] * self.index.ndim)
        index = first + self.index
        return self.flat.index_select(1, index.flatten()).unflatten(1, index.shape)
