"""Training of the small network whose features judge generated images, on the images at hand: nothing is downloaded."""

from __future__ import annotations

import torch
from torch.nn import functional as F

from monai_medaug.core.arguments import number, whole_number
from monai_medaug.core.batch import Batched
from monai_medaug.core.seeded import seed_children
from monai_medaug.functional.generation.neighbours import comparable, standardised
from monai_medaug.networks.image_features import ImageFeatureNet
from monai_medaug.transforms.spatial import RandAffineElasticd

_TEMPERATURE = 0.2
_NOISE = 0.1  # of the standard deviation


def train_feature_network(
    images: torch.Tensor,
    labels: torch.Tensor | None = None,
    epochs: int = 10,
    batch_size: int = 128,
    learning_rate: float = 2e-3,
    features: int = 64,
    seed: int = 0,
) -> ImageFeatureNet:
    """Train features on the images that a generator learns from: what tells images, and classes, apart.

    Two moved and noisy versions of an image (turned by up to 10°, shifted by 5 %, scaled by 10 %, mirrored) shall have
    like features, unlike those of other images (instance discrimination); with labels the features shall tell the
    classes too. Such features see copies that pixels miss.

    Args:
        images: (N, C, H, W) of training patients, 8 or more.
        labels: class ids (N,), or None.
        epochs: passes over the images.
        batch_size: images a step.
        learning_rate: of Adam, along a cosine to zero.
        features: numbers of a feature vector.
        seed: of the start and the draws.

    Returns:
        The network in evaluation mode; call it for features.

    Raises:
        ValueError: there are too few images, they are not finite, or one is constant; labels don't fit.

    Source: T. Chen et al., A simple framework for contrastive learning of visual representations, ICML 2020; E. Pizzi
        et al., A self-supervised descriptor for image copy detection, CVPR 2022.

    Example:
        >>> images = torch.rand(16, 1, 16, 16, generator=torch.Generator().manual_seed(0))
        >>> train_feature_network(images, torch.arange(16) % 2, epochs=1)(images).shape
        torch.Size([16, 64])
    """
    known = comparable(images, "images")
    if len(known) < 8:
        raise ValueError(f"images must be 8 or more, got {len(known)}")
    ids = None if labels is None else torch.as_tensor(labels).flatten().to(torch.int64)
    if ids is not None and (len(ids) != len(known) or int(ids.min()) < 0):
        raise ValueError(f"labels must be {len(known)} class ids from 0, got {len(ids)}, the least {int(ids.min())}")
    size = min(whole_number("batch_size", batch_size, 2), len(known))
    seed, steps = whole_number("seed", seed, 0), whole_number("epochs", epochs, 1) * (len(known) // size)
    move = RandAffineElasticd("image", 1.0, 10, 0.05, 0.1, elastic_alpha=0)
    seed_children([move], seed)
    views = Batched(move)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        classes = 0 if ids is None else int(ids.max()) + 1
        network = ImageFeatureNet(known.shape[1], classes, features)
        optimizer = torch.optim.Adam(network.parameters(), number("learning_rate", learning_rate, 0))
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
        order = torch.empty(0, dtype=torch.int64)
        for _ in range(steps):
            if len(order) < size:
                order = torch.randperm(len(known))
            chosen, order = order[:size], order[size:]
            pair = standardised(known[chosen]).repeat(2, 1, 1, 1)
            mirrored = torch.rand(len(pair)) < 0.5
            pair = torch.where(mirrored[:, None, None, None], pair.flip(-1), pair)
            moved = torch.as_tensor(views({"image": pair})["image"])
            own = network(moved + _NOISE * torch.randn(moved.shape))
            loss = instance_loss(own, _TEMPERATURE)
            if ids is not None and network.classes is not None:
                loss = loss + F.cross_entropy(network.classes(torch.relu(own)), ids[chosen].repeat(2))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
    return network.eval()


def instance_loss(features: torch.Tensor, temperature: float) -> torch.Tensor:
    """Cross-entropy of finding each image's other view among all others by the cosine of their features.

    Args:
        features: (2 B, F), the two views of image b in rows b and B + b.
        temperature: by which cosines are divided.

    Example:
        >>> alike = torch.eye(4).repeat(2, 1)
        >>> bool(instance_loss(alike, 0.1) < 0.01)
        True
    """
    unit = F.normalize(features, dim=1)
    cosine = unit @ unit.T / temperature
    cosine = cosine.masked_fill(torch.eye(len(unit), dtype=torch.bool), -torch.inf)
    half = len(unit) // 2
    return F.cross_entropy(cosine, torch.arange(len(unit)).roll(half))
