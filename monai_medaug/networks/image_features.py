"""A small network whose features stand for what an image shows."""

from __future__ import annotations

import torch
from torch import nn

from monai_medaug.core.arguments import whole_number

_STAGES = 3


class ImageFeatureNet(nn.Module):
    """Features of images, for distances between images and between sets of them: three strided stages and a mean.

    Each image is scaled to mean 0 and standard deviation 1 first: features don't see gain and offset. GroupNorm keeps
    the images of a batch independent. Call it for features; `classified` gives logits of classes from them. Trained by
    `train_feature_network`.

    Args:
        in_channels: of the images.
        num_classes: that `classified` tells apart; 0 for none.
        features: numbers of a feature vector.
        width: channels of the first stage, a multiple of 8; each further one has twice as many.

    Raises:
        ValueError: an argument is out of its range.

    Example:
        >>> net = ImageFeatureNet(num_classes=2).eval()
        >>> net(torch.rand(3, 1, 28, 28)).shape, net.classified(torch.rand(3, 1, 28, 28)).shape
        (torch.Size([3, 64]), torch.Size([3, 2]))
    """

    def __init__(self, in_channels: int = 1, num_classes: int = 0, features: int = 64, width: int = 16) -> None:
        super().__init__()
        before = whole_number("in_channels", in_channels, 1)
        wide = whole_number("width", width, 8)
        if wide % 8:
            raise ValueError(f"width must be a multiple of 8, got {width}")
        layers: list[nn.Module] = []
        for place in range(_STAGES):
            after = wide << place
            layers += [nn.Conv2d(before, after, 3, padding=1), nn.GroupNorm(8, after), nn.ReLU(inplace=True)]
            layers += [nn.Conv2d(after, after, 3, 2, 1), nn.GroupNorm(8, after), nn.ReLU(inplace=True)]
            before = after
        self.stages = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(2), nn.Flatten())
        self.features = nn.Linear(4 * before, whole_number("features", features, 2))
        classes = whole_number("num_classes", num_classes, 0)
        self.classes = nn.Linear(features, classes) if classes else None

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Feature vectors (B, features) of images (B, C, H, W)."""
        flat = images.flatten(1)
        spread = flat.std(1, keepdim=True).clamp_min(1e-6)
        scaled = ((flat - flat.mean(1, keepdim=True)) / spread).reshape(images.shape)
        return self.features(self.stages(scaled))

    def classified(self, images: torch.Tensor) -> torch.Tensor:
        """Logits (B, num_classes) of images.

        Raises:
            ValueError: the network has no classes.
        """
        if self.classes is None:
            raise ValueError("num_classes must be above 0 to classify, got 0")
        return self.classes(torch.relu(self.forward(images)))
