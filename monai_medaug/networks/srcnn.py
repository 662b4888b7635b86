"""SRCNN: three convolutions on an interpolated image."""

from __future__ import annotations

import torch
from torch import nn

from monai_medaug.functional.geometry.upscale import cubic_resized
from monai_medaug.networks.blocks import convolution, require_positive


class SRCNN(nn.Module):
    """Super-resolution by cubic interpolation, then convolutions of 9, 1 and 5 voxels with 64 and 32 features.

    The net itself doesn't enlarge: its input is interpolated first, corners in place, and its convolutions sharpen it.

    Args:
        spatial_dims: 2 or 3.
        in_channels: of the image.
        scale: of the result's size, an integer.

    Raises:
        ValueError: a size or the scale is not positive.

    Source: C. Dong et al., Image super-resolution using deep convolutional networks, IEEE Trans. Pattern Anal. 2016.

    Example:
        >>> net = SRCNN(scale=2)
        >>> net(torch.zeros(1, 1, 24, 31)).shape, sum(p.numel() for p in net.parameters())
        (torch.Size([1, 1, 48, 62]), 8129)
    """

    def __init__(self, spatial_dims: int = 2, in_channels: int = 1, scale: int = 2) -> None:
        super().__init__()
        require_positive(spatial_dims=spatial_dims, in_channels=in_channels, scale=scale)
        self.scale = scale
        self.sharpening = nn.Sequential(
            convolution(spatial_dims, in_channels, 64, 9),
            nn.ReLU(inplace=True),
            convolution(spatial_dims, 64, 32, 1),
            nn.ReLU(inplace=True),
            convolution(spatial_dims, 32, in_channels, 5),
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        size = [n * self.scale for n in x.shape[2:]]
        return self.sharpening(cubic_resized(x, size))
