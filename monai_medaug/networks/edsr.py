"""EDSR: residual blocks at low resolution, then sub-pixel upsampling."""

from __future__ import annotations

import torch
from torch import nn

from monai_medaug.networks.blocks import TwoConvolutions, convolution, require_positive, sub_pixel


class EDSR(nn.Module):
    """Super-resolution by residual blocks without normalisation on the small image, and sub-pixel convolutions.

    A scale of 4 takes two stages of 2; nothing but the last convolution follows the upsampling.

    Args:
        spatial_dims: 2 or 3.
        in_channels: of the image.
        features: channels inside.
        num_blocks: residual blocks.
        scale: of the result's size, an integer from 2.
        residual_scale: factor of what each block adds; the paper takes 0.1 with 256 features.

    Raises:
        ValueError: a size is not positive, or the scale below 2.

    Source: B. Lim et al., Enhanced deep residual networks for single image super-resolution, CVPR workshops 2017.

    Example:
        >>> net = EDSR(scale=2)
        >>> net(torch.zeros(1, 1, 12, 15)).shape, sum(p.numel() for p in net.parameters())
        (torch.Size([1, 1, 24, 30]), 1367553)
    """

    def __init__(
        self,
        spatial_dims: int = 2,
        in_channels: int = 1,
        features: int = 64,
        num_blocks: int = 16,
        scale: int = 2,
        residual_scale: float = 1.0,
    ) -> None:
        super().__init__()
        require_positive(
            spatial_dims=spatial_dims, in_channels=in_channels, features=features, num_blocks=num_blocks, scale=scale
        )
        if scale < 2:
            raise ValueError(f"scale must be at least 2, got {scale}")
        self.scale = scale
        self.head = convolution(spatial_dims, in_channels, features)
        self.body = nn.Sequential(
            *(TwoConvolutions(spatial_dims, features, residual_scale) for _ in range(num_blocks)),
            convolution(spatial_dims, features, features),
        )
        self.upsampling = sub_pixel(spatial_dims, features, scale)
        self.tail = convolution(spatial_dims, features, in_channels)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.head(x)
        return self.tail(self.upsampling(x + self.body(x)))
