"""DnCNN: a denoiser that predicts the noise."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from monai.networks.layers.factories import Norm
from torch import nn

from monai_medaug.core.arguments import number, whole_number
from monai_medaug.networks.blocks import convolution, require_positive, silent


class DnCNN(nn.Module):
    """Residual denoising: ``y = x - f(x)``, f a chain of 3×3 convolutions with ReLU, batch-normalised inside.

    The last convolution starts at zero, so that an untrained net returns its input. Any size; a result depends on as
    many voxels to each side as the dilations add up to, ``num_layers`` without.

    Args:
        spatial_dims: 2 or 3.
        in_channels: of the image; the result has as many.
        num_layers: convolutions, at least 3.
        features: channels inside.
        noise_map: whether the input has one channel more, which holds the noise level in each voxel in units of the
            image (K. Zhang et al., FFDNet, 2018), so that one net serves all levels.
        norm: ``"batch"``, or None for biases instead.
        gain: values are that many times greater inside, ``y = x - f(gain x) / gain``. About the inverse of ten times
            the usual noise lets it learn a noise that is small against the range of values, as that of CT.
        dilations: how many voxels apart each convolution's taps lie, one number for each layer; None for 1. Strong
            noise needs wide surroundings: 1, 2, 3, 4, 3, 2, 1 see 16 voxels to each side at the cost of 7.

    Raises:
        ValueError: a size is not positive, ``num_layers`` below 3, or the dilations are not as many.

    Source: K. Zhang et al., Beyond a Gaussian denoiser, IEEE Trans. Image Process. 2017; the dilations:
        K. Zhang et al., Learning deep CNN denoiser prior for image restoration, CVPR 2017.

    Example:
        >>> net = DnCNN()
        >>> sum(p.numel() for p in net.parameters())
        556097
        >>> image = torch.rand(1, 1, 33, 40)
        >>> bool((net.eval()(image) == image).all())
        True
    """

    def __init__(
        self,
        spatial_dims: int = 2,
        in_channels: int = 1,
        num_layers: int = 17,
        features: int = 64,
        noise_map: bool = False,
        norm: str | None = "batch",
        gain: float = 1.0,
        dilations: Sequence[int] | None = None,
    ) -> None:
        super().__init__()
        require_positive(spatial_dims=spatial_dims, in_channels=in_channels, num_layers=num_layers, features=features)
        if num_layers < 3:
            raise ValueError(f"num_layers must be at least 3, got {num_layers}")
        if norm not in ("batch", None):
            raise ValueError(f"norm must be 'batch' or None, got {norm!r}")
        self.in_channels, self.noise_map = in_channels, noise_map
        self.gain = number("gain", gain, 1e-6, 1e6)
        apart = [1] * num_layers if dilations is None else [whole_number("dilations", d, 1, 64) for d in dilations]
        if len(apart) != num_layers:
            raise ValueError(f"dilations must be {num_layers} numbers, one for each layer, got {len(apart)}")
        layers = [
            convolution(spatial_dims, in_channels + noise_map, features, dilation=apart[0]),
            nn.ReLU(inplace=True),
        ]
        for dilation in apart[1:-1]:
            layers.append(convolution(spatial_dims, features, features, bias=norm is None, dilation=dilation))
            if norm is not None:
                layers.append(Norm[norm, spatial_dims](features))
            layers.append(nn.ReLU(inplace=True))
        inside = nn.Sequential(*layers)
        for value in inside.parameters():
            if value.ndim > 1:
                nn.init.kaiming_normal_(value, nonlinearity="relu")
        self.noise = inside.append(silent(convolution(spatial_dims, features, in_channels, dilation=apart[-1])))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x[:, : self.in_channels] - self.noise(self.gain * x) / self.gain
