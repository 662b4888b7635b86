"""Distances between generated and real images after each epoch of a training: by MONAI's metrics, and of spectra."""

from __future__ import annotations

import torch
from monai.metrics.fid import FIDMetric
from monai.metrics.mmd import MMDMetric
from torch import nn

from monai_medaug.core.arguments import whole_number
from monai_medaug.functional.generation.neighbours import Features, comparable, standardised
from monai_medaug.functional.generation.sets import spectrum_distance
from monai_medaug.networks.generated import generate_samples


class GenerationMonitor:
    """FID, MMD and spectrum of a generator's images beside real ones, for the ``monitor`` of `train_gan`.

    `train_gan` keeps the epoch of the least FID. Features that know an image again overlook noise, blur and meshes:
    look at the spectrum, in dB off (`spectrum_distance`), and at the grids before an early epoch is taken for the best.

    Args:
        features: of images (B, C, H, W) scaled to mean 0 and standard deviation 1, such as an `ImageFeatureNet` trained
            by `train_feature_network`.
        real: images of patients whom the generator doesn't learn from, and whom no later report is based on: the best
            epoch is chosen by them. More than there are features.
        labels: of the real images (N,), for a generator with classes: it makes as many of each.
        seed: of the latents, the same after each epoch.

    Raises:
        ValueError: there are too few images for the features' covariance.

    Example:
        >>> from monai_medaug.networks import DCGANGenerator
        >>> monitor = GenerationMonitor(lambda x: x.flatten(2).std(2).repeat(1, 2), torch.rand(9, 1, 32, 32))
        >>> sorted(monitor(DCGANGenerator(8, 32, features=16)))
        ['fid', 'mmd', 'spectrum_db']
    """

    def __init__(
        self, features: Features, real: torch.Tensor, labels: torch.Tensor | None = None, seed: int = 0
    ) -> None:
        self.features, self.labels = features, labels
        self.seed = whole_number("seed", seed, 0)
        self.images = comparable(real, "real")
        self.real = image_features(features, self.images)
        require_enough(self.real, "real")

    def __call__(self, generator: nn.Module) -> dict[str, float]:
        """The figures of a generator, ``"fid"`` first."""
        made = generate_samples(generator, len(self.real), self.seed, self.labels)
        figures = set_distances(image_features(self.features, made), self.real)
        return figures | {"spectrum_db": spectrum_distance(made, self.images)}


def image_features(features: Features, images: torch.Tensor) -> torch.Tensor:
    """Features (B, F) of images, scaled to mean 0 and standard deviation 1, without gradients."""
    with torch.no_grad():
        return torch.cat([features(standardised(part.float())).float().cpu() for part in images.split(256)])


def set_distances(made: torch.Tensor, real: torch.Tensor) -> dict[str, float]:
    """FID and MMD (linear kernel) between as many features (N, F) of either set, by MONAI's metrics.

    Example:
        >>> made, real = torch.randn(2, 50, 4, generator=torch.Generator().manual_seed(0))
        >>> set_distances(made, real)["fid"] < set_distances(made + 1, real)["fid"]
        True
    """
    size = min(len(made), len(real))
    fid, mmd = FIDMetric()(made, real), MMDMetric()(real[:size], made[:size])
    return {"fid": float(fid), "mmd": float(mmd)}


def require_enough(features: torch.Tensor, name: str) -> None:
    """Raise unless there are more images than features, else their covariance is singular.

    Raises:
        ValueError: there are too few.
    """
    if len(features) <= features.shape[1]:
        raise ValueError(
            f"{name} must be more images than there are features, {features.shape[1]}, got {len(features)}"
        )
