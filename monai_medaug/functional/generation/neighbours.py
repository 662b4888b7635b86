"""Nearest neighbours of images among others, whatever mirror image, shift and gain lie between them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch.nn import functional as F

Features = Callable[[torch.Tensor], torch.Tensor]
"""From images (B, C, H, W) to feature vectors (B, F)."""

MIRRORS: tuple[tuple[int, ...], ...] = ((), (-1,), (-2,), (-2, -1))
_COARSE = 32  # pixels a side at which all references are compared
_QUERIES, _REFERENCES = 64, 1024  # at a time, so that the tables stay small


@dataclass(frozen=True)
class Neighbours:
    """The nearest reference of each image.

    Attributes:
        pixel: distance between their pixels (Q,), ``sqrt(2 - 2 r)`` with the correlation r: 0 for a copy, 1.41 for
            images without relation.
        pixel_index: which reference (Q,).
        feature: distance between their features (Q,), or None.
        feature_index: which reference (Q,), or None.
        similarity: the correlation with each reference on the coarse grid (Q, R).
    """

    pixel: torch.Tensor
    pixel_index: torch.Tensor
    feature: torch.Tensor | None
    feature_index: torch.Tensor | None
    similarity: torch.Tensor


class NeighbourSearch:
    """Search for the nearest of some reference images, over mirror images, shifts and gain.

    Pixels: the greatest Pearson correlation of an image's inner part, in four mirror images, with any part of a
    reference that lies up to ``shift`` pixels beside it. Correlation doesn't see gain and offset. All references are
    compared on a coarse grid of at most 32 pixels a side (half of a smaller image), to which the shifted images are
    reduced, the ``candidates`` likest then on the images' own.

    Features: the least distance between standardised feature vectors, of the same mirror images and nine shifts, with
    images scaled to mean 0 and standard deviation 1. Features see likeness that pixels don't, such as a small rotation.

    Args:
        references: images (R, C, H, W), of 8 pixels a side or more.
        features: of images (B, C, H, W) with mean 0 and standard deviation 1; None searches by pixels alone.
        shift: pixels.
        candidates: references that are compared closely.

    Raises:
        ValueError: there are fewer than 2 references, they are small, not finite, or one is constant.

    Example:
        >>> references = torch.rand(20, 1, 16, 16, generator=torch.Generator().manual_seed(0))
        >>> found = NeighbourSearch(references).nearest(3 * references[4:6].flip(-1).roll(1, -2) + 7)
        >>> found.pixel_index.tolist(), bool((found.pixel < 1e-3).all())
        ([4, 5], True)
    """

    def __init__(
        self, references: torch.Tensor, features: Features | None = None, shift: int = 2, candidates: int = 32
    ) -> None:
        known = comparable(references, "references")
        if len(known) < 2 or min(known.shape[2:]) < 8 + 2 * shift:
            raise ValueError(
                f"references must be 2 images or more of {8 + 2 * shift} pixels a side, got {tuple(known.shape)}"
            )
        self.references = standardised(known)
        self.shift, self.candidates = shift, min(candidates, len(references))
        side = max(references.shape[2:])
        self.factor = max(2, -(-side // _COARSE))
        self.coarse = unit_vectors(inner(self.references, shift, self.factor))
        self.lengths = window_lengths(self.references, self.shift)
        self.features = features
        if features is not None:
            own = torch.cat([features(part).float() for part in self.references.split(_QUERIES)])
            self.centre, self.spread = own.mean(0), own.std(0).clamp_min(1e-6)
            self.known = self._scaled(own)

    def nearest(self, images: torch.Tensor) -> Neighbours:
        """The nearest reference of each image (Q, C, H, W).

        Raises:
            ValueError: the images have another size than the references, are not finite, or one is constant.
        """
        images = comparable(images, "images")
        if images.shape[1:] != self.references.shape[1:]:
            wanted, got = tuple(self.references.shape[1:]), tuple(images.shape[1:])
            raise ValueError(f"images must have the references' shape {wanted}, got {got}")
        parts = [self._by_pixels(part) for part in images.split(_QUERIES)]
        distance, index, similarity = (torch.cat(p) for p in zip(*parts, strict=True))
        if self.features is None:
            return Neighbours(distance, index, None, None, similarity)
        by_features = [self._by_features(part) for part in images.split(_QUERIES)]
        feature, feature_index = (torch.cat(p) for p in zip(*by_features, strict=True))
        return Neighbours(distance, index, feature, feature_index, similarity)

    def _by_pixels(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        mirrored = torch.stack([images.flip(m) for m in MIRRORS], 1)  # (Q, 4, C, H, W)
        small = unit_vectors(windows(mirrored.flatten(0, 1), self.shift, self.factor))
        similarity = torch.cat(
            [(small @ part.T).reshape(len(images), -1, len(part)).amax(1) for part in self.coarse.split(_REFERENCES)], 1
        )
        candidates = similarity.topk(self.candidates, 1).indices
        query = unit_vectors(inner(mirrored.flatten(0, 1), self.shift)).reshape(len(images), len(MIRRORS), -1)
        best = []
        for vectors, own in zip(query, candidates, strict=True):  # of mean 0, so that windows need none
            close = self.references[own]
            products = (vectors @ windows(close, self.shift).T).reshape(len(MIRRORS), len(own), -1)
            best.append((products / self.lengths[own]).amax((0, 2)))
        value, place = torch.stack(best).max(1)
        return (2 - 2 * value).clamp_min(0).sqrt(), candidates.gather(1, place[:, None])[:, 0], similarity

    def _by_features(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        assert self.features is not None
        least = torch.full((len(images),), torch.inf)
        index = torch.zeros(len(images), dtype=torch.int64)
        for moved in moved_copies(standardised(images), self.shift):
            value, place = torch.cdist(self._scaled(self.features(moved).float()), self.known).min(1)
            better = value < least
            least, index = torch.where(better, value, least), torch.where(better, place, index)
        return least, index

    def _scaled(self, features: torch.Tensor) -> torch.Tensor:
        return (features - self.centre) / self.spread / features.shape[1] ** 0.5


def comparable(images: torch.Tensor, name: str) -> torch.Tensor:
    """Images as float32 on the CPU.

    Raises:
        ValueError: they are no batch (B, C, H, W), are not finite, or one is constant, which has no likeness.
    """
    if not isinstance(images, torch.Tensor) or images.ndim != 4 or not len(images):
        got = tuple(images.shape) if isinstance(images, torch.Tensor) else type(images).__name__
        raise ValueError(f"{name} must be images (B, C, H, W), got {got}")
    values = images.detach().as_subclass(torch.Tensor).float().cpu()
    finite = torch.isfinite(values).flatten(1).all(1)
    if not bool(finite.all()):
        raise ValueError(f"{name} must be finite, got NaN or infinite values in {int((~finite).sum())} images")
    flat = values.flatten(1)
    high, low = flat.amax(1), flat.amin(1)
    constant = high - low <= 1e-6 * torch.maximum(high.abs(), low.abs())  # resampling leaves rounding
    if bool(constant.any()):
        raise ValueError(f"{name} must not be constant, got {int(constant.sum())} images of one value")
    return values


def standardised(images: torch.Tensor) -> torch.Tensor:
    """Images of mean 0 and standard deviation 1."""
    flat = images.flatten(1)
    flat = (flat - flat.mean(1, keepdim=True)) / flat.std(1, keepdim=True).clamp_min(1e-12)
    return flat.reshape(images.shape)


def moved_copies(images: torch.Tensor, shift: int) -> Iterator[torch.Tensor]:
    """The images in four mirror images, each in its place and shifted to eight sides; borders are repeated."""
    height, width = images.shape[2:]
    steps = (0, shift, 2 * shift) if shift else (0,)
    for mirror in MIRRORS:
        wide = F.pad(images.flip(mirror), [shift] * 4, mode="replicate")
        for down in steps:
            for right in steps:
                yield wide[..., down : down + height, right : right + width]


def inner(images: torch.Tensor, margin: int, factor: int = 1) -> torch.Tensor:
    """The images without a margin, as vectors (B, D), of means over ``factor`` × ``factor`` pixels."""
    height, width = images.shape[2:]
    part = images[..., margin : height - margin, margin : width - margin]
    return (part if factor == 1 else F.avg_pool2d(part, factor)).flatten(1)


def windows(images: torch.Tensor, shift: int, factor: int = 1) -> torch.Tensor:
    """All parts of the images of the size of `inner`, (B (2 shift + 1)², D)."""
    height, width = images.shape[2:]
    parts = images.unfold(2, height - 2 * shift, 1).unfold(3, width - 2 * shift, 1)  # (B, C, size, size, h, w)
    parts = parts.movedim(1, 3).flatten(0, 2)
    return (parts if factor == 1 else F.avg_pool2d(parts, factor)).flatten(1)


def window_lengths(images: torch.Tensor, shift: int) -> torch.Tensor:
    """Lengths of the `windows` of images without their means, (B, (2 shift + 1)²); infinite where one is constant."""
    size = [n - 2 * shift for n in images.shape[2:]]
    wide = images.double()
    mean, square = (F.avg_pool2d(x, size, 1).mean(1) for x in (wide, wide.square()))
    variance = (square - mean.square()).flatten(1)
    values = images.shape[1] * size[0] * size[1]
    return torch.where(variance > 1e-12, (values * variance).sqrt(), torch.inf).float()


def unit_vectors(vectors: torch.Tensor) -> torch.Tensor:
    """Vectors (N, D) of mean 0 and length 1; constant ones become 0."""
    centred = vectors - vectors.mean(1, keepdim=True)
    length = centred.norm(dim=1, keepdim=True)
    scale = vectors.abs().amax(1, keepdim=True).clamp_min(1e-12)
    return torch.where(length > 1e-6 * scale, centred / length.clamp_min(1e-30), torch.zeros(()))
