"""MultiScaleSR: one body, a head for each scale, other scales by cascades and a resize."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from monai_medaug.functional.geometry.upscale import cubic_resized
from monai_medaug.networks.blocks import TwoConvolutions, convolution, require_positive, silent, sub_pixel


class MultiScaleSR(nn.Module):
    """Super-resolution at several scales with one set of weights: a shared body, and a sub-pixel head for each scale.

    A head adds details to the cubic interpolation, and starts at zero: an untrained net interpolates. Scales that no
    head has are made by this rule: the largest head is repeated, and the smallest that reaches the scale comes last
    (8 = 4 · 2); if that is too large, the result is reduced by antialiased cubic interpolation (1.5 is 2 reduced to
    three quarters, 3 is 4 reduced, 5 is 4 · 2 reduced). Scales of 1 or less, or above 64, are refused.

    Args:
        spatial_dims: 2 or 3.
        in_channels: of the image.
        scales: of the heads, integers from 2.
        features: channels inside.
        num_blocks: residual blocks of the body.

    Raises:
        ValueError: a size is not positive, ``scales`` are none or below 2, or ``scale`` of a call is out of its range.

    Source: body and heads as in B. Lim et al., MDSR, CVPR workshops 2017.

    Example:
        >>> net = MultiScaleSR(features=8, num_blocks=2).eval()
        >>> image = torch.zeros(1, 1, 10, 12)
        >>> [tuple(net(image, scale).shape[2:]) for scale in (2.0, 3.0, 8.0)]
        [(20, 24), (30, 36), (80, 96)]
    """

    def __init__(
        self,
        spatial_dims: int = 2,
        in_channels: int = 1,
        scales: Sequence[int] = (2, 4),
        features: int = 64,
        num_blocks: int = 16,
    ) -> None:
        super().__init__()
        require_positive(spatial_dims=spatial_dims, in_channels=in_channels, features=features, num_blocks=num_blocks)
        if not scales or len(set(scales)) < len(scales) or any(not isinstance(s, int) or s < 2 for s in scales):
            raise ValueError(f"scales must be different integers from 2, got {scales!r}")
        self.scales = sorted(scales)
        self.head = convolution(spatial_dims, in_channels, features)
        self.body = nn.Sequential(
            *(TwoConvolutions(spatial_dims, features) for _ in range(num_blocks)),
            convolution(spatial_dims, features, features),
        )
        self.heads = nn.ModuleDict()
        for scale in self.scales:
            last = silent(convolution(spatial_dims, features, in_channels))
            self.heads[str(scale)] = nn.Sequential(sub_pixel(spatial_dims, features, scale), last)

    def forward(self, x: torch.Tensor, scale: float = 2.0) -> torch.Tensor:
        if not 1.0 < scale <= 64.0:
            raise ValueError(f"scale must be above 1 and at most 64, got {scale}")
        small, reached = x, 1
        for step in self.chain(scale):
            x = self.enlarged(x, step)
            reached = reached * step
        if abs(reached - scale) < 1e-6:
            return x
        return cubic_resized(x, [int(round(n * scale)) for n in small.shape[2:]], True)  # noqa: RUF046 - a float in TorchScript

    @torch.jit.export
    def chain(self, scale: float) -> list[int]:
        """The heads that make a scale, in their order.

        Example:
            >>> net = MultiScaleSR(features=1, num_blocks=1)
            >>> net.chain(8.0), net.chain(3.0), net.chain(5.0)
            ([4, 2], [4], [4, 2])
        """
        steps: list[int] = []
        left = scale
        while left > 1.0 + 1e-6:
            step = self.scales[-1]
            for larger in self.scales[::-1]:
                if larger >= left - 1e-6:
                    step = larger
            steps.append(step)
            left = left / step
        return steps

    @torch.jit.export
    def enlarged(self, x: torch.Tensor, scale: int) -> torch.Tensor:
        """The image by one of the heads."""
        features = self.head(x)
        features = features + self.body(features)
        out = cubic_resized(x, [n * scale for n in x.shape[2:]])
        for name, head in self.heads.items():
            if name == str(scale):
                out = out + head(features)
        return out
