"""Train on generated images, test on real ones."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from monai_medaug.engines.feature_training import train_feature_network
from monai_medaug.functional.paired import area_under_curve

Labelled = tuple[torch.Tensor, torch.Tensor]
_STEPS = 120


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
    found = {}
    for name, (images, labels) in (("synthetic", samples), ("real", training)):
        ids = torch.as_tensor(labels).flatten()
        if len(ids) != len(images) or len(truth) != len(held_out[0]):
            raise ValueError(f"labels must be one for each image, got {len(ids)} for {len(images)}")
        own = torch.from_numpy(chosen.permutation(len(images))[:size])
        batch = min(64, size)
        epochs = max(1, _STEPS * batch // size)
        network = train_feature_network(images[own], ids[own], epochs, batch, seed=seed)
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
