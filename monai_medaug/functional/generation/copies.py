"""Whether images are copies of others: distances judged against those of images that can't be copies."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch.nn import functional as F

from monai_medaug.functional.generation.neighbours import Features, Neighbours, NeighbourSearch

CHANGES = ("exact", "mirrored", "shifted", "gain", "noisy", "rotated")
"""What `planted_copies` does to a copy; the first four are those that a search covers."""


@dataclass(frozen=True)
class CopyVerdict:
    """Which images are copies of a training image.

    Attributes:
        score: (Q,), 0 for a copy, about 1 for a new image: the lesser of pixel and feature distance, each in units of
            the median of held-out images.
        p: (Q,), the share of held-out images that lie as near to a training image.
        flagged: (Q,), whether p is at most the level: the score is below the threshold.
        index: (Q,), the training image that it lies nearest to.
        neighbours: the distances that the scores come from.
    """

    score: torch.Tensor
    p: torch.Tensor
    flagged: torch.Tensor
    index: torch.Tensor
    neighbours: Neighbours


class CopyTest:
    """Judge whether images are copies of training images, with a threshold that held-out images of other patients set.

    A generated image is flagged if it lies nearer to a training image than all but a share ``level`` of held-out
    real images do, which can't be copies: so many false alarms are to be expected (split conformal prediction). Copies
    are found in mirror images, shifted and with another gain, see `NeighbourSearch`.

    Args:
        training: images (N, C, H, W) that a generator was trained on.
        held_out: images of other patients, ``1 / level`` or more.
        features: for `NeighbourSearch`; None judges by pixels alone.
        level: expected share of false alarms, 0.001 to 0.2.
        shift: pixels, of the search.

    Attributes:
        threshold: scores below it are those of copies.

    Raises:
        ValueError: an argument is out of its range, images don't fit, or there are too few held-out ones.

    Source: V. Vovk et al., Algorithmic learning in a random world, 2005 (the threshold); C. Meehan et al., A
        non-parametric test to detect data-copying in generative models, AISTATS 2020 (held-out distances as the floor).

    Example:
        >>> images = torch.rand(90, 1, 16, 16, generator=torch.Generator().manual_seed(0))
        >>> test = CopyTest(images[:40], images[40:80], level=0.05)
        >>> verdict = test.judge(torch.cat([images[7:9].flip(-1), images[80:]]))
        >>> verdict.flagged[:2].tolist(), verdict.index[:2].tolist()
        ([True, True], [7, 8])
    """

    def __init__(
        self,
        training: torch.Tensor,
        held_out: torch.Tensor,
        features: Features | None = None,
        level: float = 0.025,
        shift: int = 2,
    ) -> None:
        if not 0.001 <= level <= 0.2:
            raise ValueError(f"level must be within [0.001, 0.2], got {level!r}")
        self.search, self.level = NeighbourSearch(training, features, shift), level
        rank = math.floor(level * (len(held_out) + 1))
        if rank < 1:
            raise ValueError(
                f"held_out must be {math.ceil(1 / level) - 1} images or more for a level of {level:g}, got "
                f"{len(held_out)}"
            )
        found = self.search.nearest(held_out)
        self.units = [float(d.median()) for d in (found.pixel, found.feature) if d is not None]
        if min(self.units) <= 0:
            raise ValueError("held_out must hold new images, got copies of training images in half of them or more")
        self.reference = self._score(found).sort().values
        self.threshold = float(self.reference[rank - 1])

    def judge(self, images: torch.Tensor) -> CopyVerdict:
        """The verdict on images (Q, C, H, W)."""
        found = self.search.nearest(images)
        score = self._score(found)
        as_near = torch.searchsorted(self.reference, score, right=True)
        p = (1 + as_near).double() / (1 + len(self.reference))
        index = found.pixel_index
        if found.feature is not None and found.feature_index is not None:
            by_features = found.feature / self.units[1] < found.pixel / self.units[0]
            index = torch.where(by_features, found.feature_index, index)
        return CopyVerdict(score, p, score < self.threshold, index, found)

    def _score(self, found: Neighbours) -> torch.Tensor:
        pixel = found.pixel / self.units[0]
        return pixel if found.feature is None else torch.minimum(pixel, found.feature / self.units[1])


def planted_copies(images: torch.Tensor, change: str, seed: int = 0) -> torch.Tensor:
    """Copies of images as a generator might hide them, for a positive control of a `CopyTest`.

    Args:
        images: (B, C, H, W).
        change: ``"exact"``; ``"mirrored"``: left and right; ``"shifted"``: by 1 or 2 pixels along both axes, borders
            repeated; ``"gain"``: times 0.7 to 1.3; ``"noisy"``: with 5 % of the standard deviation; ``"rotated"``: by 2
            to 4° either way. The last two are beyond what a `NeighbourSearch` covers.
        seed: of the draws.

    Raises:
        ValueError: the change is none of these.

    Example:
        >>> planted_copies(torch.eye(4)[None, None], "mirrored")[0, 0, 0].tolist()
        [0.0, 0.0, 0.0, 1.0]
    """
    if change not in CHANGES:
        raise ValueError(f"change must be one of {', '.join(CHANGES)}, got {change!r}")
    random = np.random.default_rng(seed)
    count = len(images)
    if change == "exact":
        return images.clone()
    if change == "mirrored":
        return images.flip(-1)
    if change == "gain":
        return images * torch.from_numpy(random.uniform(0.7, 1.3, (count, 1, 1, 1))).to(images)
    if change == "noisy":
        noise = torch.from_numpy(random.standard_normal(tuple(images.shape))).to(images)
        return images + 0.05 * images.flatten(1).std(1)[:, None, None, None] * noise
    if change == "rotated":
        angle = torch.from_numpy(np.deg2rad(random.uniform(2, 4, count) * random.choice([-1, 1], count))).to(images)
        rows = [
            torch.stack([angle.cos(), -angle.sin(), 0 * angle], 1),
            torch.stack([angle.sin(), angle.cos(), 0 * angle], 1),
        ]
        grid = F.affine_grid(torch.stack(rows, 1), list(images.shape), align_corners=False)
        return F.grid_sample(images, grid, padding_mode="border", align_corners=False)
    wide, (height, width) = F.pad(images, [2] * 4, mode="replicate"), images.shape[2:]
    places = 2 + random.choice([-2, -1, 1, 2], (count, 2))
    return torch.stack([w[..., a : a + height, b : b + width] for w, (a, b) in zip(wide, places.tolist(), strict=True)])


def training_share(
    similarity_training: torch.Tensor,
    similarity_held_out: torch.Tensor,
    groups: Sequence[object] | np.ndarray | None = None,
    draws: int = 200,
    seed: int = 0,
) -> tuple[float, float]:
    """How often images lie nearer to a training image than to a held-out one, of equally many, and its p.

    Half, if the generator learned the population; more, if it learned its training images. The figure doesn't depend
    on how smooth or typical the images are, which draws distances to training images alone. Training and held-out
    images must be of one population, split at random by patient: with other shares of the sick it would show these.

    Args:
        similarity_training: (Q, N), greater for nearer.
        similarity_held_out: (Q, M), M at most N / 2.
        groups: of the training images (N,): images of a patient are drawn together.
        draws: of M training images.
        seed: of the draws.

    Returns:
        The share, and p: the chance that two such draws of training images differ as much in favour of one.

    Raises:
        ValueError: there are more than half as many held-out images as training images.

    Source: the idea of a two-sample nearest-neighbour test; C. Meehan et al., AISTATS 2020.

    Example:
        >>> near = torch.rand(50, 40, generator=torch.Generator().manual_seed(0))
        >>> share, p = training_share(near + 0.1, near[:, :20])
        >>> share > 0.8, p < 0.02
        (True, True)
    """
    count, size = similarity_training.shape[1], similarity_held_out.shape[1]
    if 2 * size > count:
        raise ValueError(f"held-out images must be at most half as many as {count} training images, got {size}")
    random = np.random.default_rng(seed)
    own = np.arange(count) if groups is None else np.unique(np.asarray(groups), return_inverse=True)[1]
    nearest = similarity_held_out.amax(1)
    shares, chance = [], []
    for _ in range(draws):
        order = np.argsort(random.permutation(own.max() + 1)[own], kind="stable")  # whole groups, one after another
        first = similarity_training[:, torch.from_numpy(order[:size])].amax(1)
        second = similarity_training[:, torch.from_numpy(order[size : 2 * size])].amax(1)
        shares.append(_nearer(first, nearest))
        chance.append(_nearer(first, second))
    share = float(np.mean(shares))
    return share, float((1 + (np.array(chance) >= share).sum()) / (1 + draws))


def _nearer(first: torch.Tensor, second: torch.Tensor) -> float:
    return float((first > second).double().mean() + 0.5 * (first == second).double().mean())
