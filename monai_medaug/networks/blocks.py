"""Parts that the networks share: convolutions, residual blocks and sub-pixel upsampling."""

from __future__ import annotations

import torch
from monai.networks.layers.factories import Conv
from torch import nn


def convolution(
    spatial_dims: int, inputs: int, outputs: int, size: int = 3, bias: bool = True, dilation: int = 1
) -> nn.Module:
    """A convolution that keeps the image's size, with zeros beyond its border; taps lie ``dilation`` voxels apart."""
    made = Conv["conv", spatial_dims]
    return made(inputs, outputs, size, padding=size // 2 * dilation, dilation=dilation, bias=bias)


def silent(layer: nn.Module) -> nn.Module:
    """The layer with all its parameters at zero, so that it gives zero until it is trained."""
    for value in layer.parameters():
        nn.init.zeros_(value)
    return layer


def require_positive(**sizes: int) -> None:
    """Raise a ValueError unless ``spatial_dims`` is 2 or 3 and all other sizes are positive integers."""
    for name, value in sizes.items():
        if name == "spatial_dims" and value not in (2, 3):
            raise ValueError(f"spatial_dims must be 2 or 3, got {value!r}")
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            raise ValueError(f"{name} must be a positive integer, got {value!r}")


class TwoConvolutions(nn.Module):
    """``x + scale * conv(relu(conv(x)))``, without normalisation (Lim et al. 2017)."""

    def __init__(self, spatial_dims: int, features: int, scale: float = 1.0) -> None:
        super().__init__()
        self.first = convolution(spatial_dims, features, features)
        self.second = convolution(spatial_dims, features, features)
        self.scale = scale

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.scale * self.second(torch.relu(self.first(x)))


class Shuffle(nn.Module):
    """Channels rearranged to voxels: ``factor`` times as large, ``factor ** spatial_dims`` times fewer channels.

    Of a pixel's channels the first ones go along its last axis.
    """

    def __init__(self, factor: int) -> None:
        super().__init__()
        self.factor = factor

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if x.dim() == 4:
            return torch.pixel_shuffle(x, self.factor)
        f = self.factor
        n, c, a, b, d = x.shape
        c = c // (f * f * f)
        x = x.reshape(n, c, f, f, f, a, b, d).permute(0, 1, 5, 2, 6, 3, 7, 4)
        return x.reshape(n, c, a * f, b * f, d * f)


def sub_pixel(spatial_dims: int, features: int, scale: int) -> nn.Sequential:
    """An image ``scale`` times as large: a convolution to ``scale ** spatial_dims`` times the channels, rearranged.

    A power of 2 takes stages of 2 (W. Shi et al. 2016; Lim et al. 2017).

    Example:
        >>> sub_pixel(3, 8, 2)(torch.zeros(1, 8, 3, 4, 5)).shape
        torch.Size([1, 8, 6, 8, 10])
    """
    factors = [2] * (scale.bit_length() - 1) if scale & (scale - 1) == 0 else [scale]
    stages = [(convolution(spatial_dims, features, features * f**spatial_dims), Shuffle(f)) for f in factors]
    return nn.Sequential(*(layer for stage in stages for layer in stage))
