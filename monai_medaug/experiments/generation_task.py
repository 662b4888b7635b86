"""Train on generated images, test on real ones."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch.nn import functional as F

from monai_medaug.functional.paired import area_under_curve
from monai_medaug.networks.image_features import ImageFeatureNet

Labelled = tuple[torch.Tensor, torch.Tensor]
_STEPS, _BATCH = 150, 64


def train_on_synthetic(samples: Labelled, training: Labelled, held_out: Labelled, seed: int = 0) -> dict[str, Any]:
    """How well a classifier that saw only generated images tells real ones, beside one that saw as many real ones.

    Both are an `ImageFeatureNet` of equal budget.

    Args:
        samples: generated images (S, C, H, W) and class ids (S,).
        training: real images and ids.
        held_out: real images and ids of other patients.
        seed: of start, order and of which real images are drawn.

    Returns:
        ``measure`` (``"AUC"`` of two classes, else ``"accuracy"``), ``synthetic`` and ``real``.

    Raises:
        ValueError: labels are not as many as images.

    Source: C. Esteban et al., Real-valued (medical) time series generation with recurrent conditional GANs, 2017.
    """
    size = min(len(samples[0]), len(training[0]))
    chosen = np.random.default_rng(seed)
    truth = torch.as_tensor(held_out[1]).flatten().numpy()
    found: dict[str, Any] = {}
    for name, (images, labels) in (("synthetic", samples), ("real", training)):
        ids = torch.as_tensor(labels).flatten()
        if len(ids) != len(images) or len(truth) != len(held_out[0]):
            raise ValueError(f"labels must be one for each image, got {len(ids)} for {len(images)}")
        own = torch.from_numpy(chosen.permutation(len(images))[:size])
        network = trained_classifier(images[own].float(), ids[own].to(torch.int64), seed)
        with torch.no_grad():
            logits = torch.cat([network.classified(part) for part in held_out[0].float().split(256)]).numpy()
        if len(np.unique(truth)) == 2 and logits.shape[1] == 2:
            found |= {
                "measure": "AUC",
                name: float(area_under_curve(logits[:, 1] - logits[:, 0], truth == truth.max())),
            }
        else:
            found |= {"measure": "accuracy", name: float((logits.argmax(1) == truth).mean())}
    return found


def trained_classifier(
    images: torch.Tensor, labels: torch.Tensor, seed: int = 0, steps: int = _STEPS
) -> ImageFeatureNet:
    """An `ImageFeatureNet` that tells classes apart, after a fixed number of steps of Adam along a cosine to zero.

    Args:
        images: (N, C, H, W), mirrored at random.
        labels: class ids (N,).
        seed: of the start and the order.
        steps: of 64 images, or of all where there are fewer.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = ImageFeatureNet(images.shape[1], int(labels.max()) + 1)
        optimizer = torch.optim.Adam(network.parameters(), 2e-3)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
        order = torch.empty(0, dtype=torch.int64)
        for _ in range(steps):
            while len(order) < min(_BATCH, len(images)):
                order = torch.cat([order, torch.randperm(len(images))])
            chosen, order = order[:_BATCH], order[_BATCH:]
            batch = images[chosen]
            mirrored = (torch.rand(len(batch)) < 0.5)[:, None, None, None]
            loss = F.cross_entropy(network.classified(torch.where(mirrored, batch.flip(-1), batch)), labels[chosen])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
    return network.eval()
