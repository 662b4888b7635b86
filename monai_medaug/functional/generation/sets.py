"""How two sets of images lie to each other in the space of their features."""

from __future__ import annotations

import torch


def manifold_share(points: torch.Tensor, of: torch.Tensor, neighbours: int = 3) -> float:
    """Share of points that lie among others: within the distance of one of these to its k-th nearest of its own.

    Of generated images among real ones it is the precision (are they realistic?), of real ones among generated the
    recall (is everything there?).

    Args:
        points: features (P, F).
        of: features (N, F), more than ``neighbours``.
        neighbours: k.

    Raises:
        ValueError: there are too few of the others.

    Source: T. Kynkäänniemi et al., Improved precision and recall metric for assessing generative models, NeurIPS 2019.

    Example:
        >>> others = torch.tensor([[0.0], [1.0], [2.0], [3.0]])
        >>> manifold_share(torch.tensor([[0.5], [9.0]]), others, neighbours=1)
        0.5
    """
    if len(of) <= neighbours:
        raise ValueError(f"of must be more than {neighbours} points, got {len(of)}")
    radius = torch.cdist(of, of).kthvalue(neighbours + 1, 1).values  # the first is itself
    return float((torch.cdist(points, of) <= radius).any(1).double().mean())


def mean_distance(points: torch.Tensor) -> float:
    """Mean distance of two different points of a set (N, F).

    Example:
        >>> mean_distance(torch.tensor([[0.0], [1.0], [2.0]]))
        1.3333333333333333
    """
    return float(torch.pdist(points.double()).mean())


def nearest_distance(points: torch.Tensor) -> float:
    """Median distance of a point of a set (N, F) to the nearest other: near 0 where a set repeats itself.

    Example:
        >>> nearest_distance(torch.tensor([[0.0], [1.0], [5.0]]))
        1.0
    """
    apart = torch.cdist(points.double(), points.double()).fill_diagonal_(torch.inf)
    return float(apart.amin(1).median())
