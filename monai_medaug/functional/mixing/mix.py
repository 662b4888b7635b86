"""Mixing of the samples of a batch: blending, pasting of boxes and regions, and soft targets."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch

from monai_medaug.functional.acceleration import one_thread
from monai_medaug.functional.labels import near_whole, whole_labels
from monai_medaug.functional.mixing.lesion_blend import SoftSeam, joined
from monai_medaug.functional.precision import computing_dtype

Corner = tuple[float, ...]


class Paste(NamedTuple):
    """Where a sample takes its partner's voxels: a box, or the voxels of ``region`` in it.

    Those of the partner's box ``origin`` where it isn't the same; an image joins them by a ``seam``.
    """

    box: tuple[slice, ...]
    region: torch.Tensor | None = None
    origin: tuple[slice, ...] | None = None
    seam: SoftSeam | None = None

    def voxels(self) -> int:
        """Number of voxels that are pasted."""
        if self.region is not None:
            return int(self.region.sum())
        return math.prod(max(s.stop - s.start, 0) for s in self.box)


def box_of_share(share: float, centre: Sequence[float]) -> tuple[Corner, Corner]:
    """Box of a share of the image around a centre, clipped at the border; in fractions of the image's sides.

    Each side is share^(1/d) of the image's: sqrt(1 - λ) in 2D, as in CutMix, (1 - λ)^(1/3) in 3D.

    Example:
        >>> box_of_share(0.25, (0.5, 0.875))
        ((0.25, 0.625), (0.75, 1.0))
    """
    half = share ** (1 / len(centre)) / 2
    return tuple(max(c - half, 0.0) for c in centre), tuple(min(c + half, 1.0) for c in centre)


def box_on_grid(low: Sequence[float], high: Sequence[float], shape: Sequence[int]) -> tuple[slice, ...]:
    """A box in fractions as slices on a grid, edges rounded to the nearest voxel boundary.

    Example:
        >>> box_on_grid((0.25, 0.0), (0.75, 0.5), (8, 5))
        (slice(2, 6, None), slice(0, 3, None))
    """
    ends = zip(low, high, shape, strict=True)
    return tuple(slice(math.floor(a * n + 0.5), math.floor(b * n + 0.5)) for a, b, n in ends)


def blended(x: torch.Tensor, permutation: torch.Tensor, weights: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """λ x + (1 - λ) x[permutation], with one λ per sample; exactly x where λ is 1.

    Args:
        x: (B, ...), of any real type; computed in float32, or float64 for float64.
        permutation: (B,) indices of the partners.
        weights: (B,) λ.
        dtype: of the result.

    Example:
        >>> blended(torch.tensor([0, 10, 20]), torch.tensor([1, 2, 0]), torch.tensor([1.0, 0.5, 0.75]), torch.float32)
        tensor([ 0., 15., 15.])
    """
    compute = computing_dtype(x.dtype)
    w = weights.to(x.device, compute).reshape(-1, *[1] * (x.ndim - 1))
    out = x[permutation.to(x.device)].to(compute)  # a copy, into which the result is written
    return out.lerp_(x.to(compute), w).to(dtype)


def mixed(
    x: torch.Tensor,
    permutation: torch.Tensor,
    weights: torch.Tensor | None,
    pastes: Sequence[Sequence[Paste]],
    dtype: torch.dtype,
) -> torch.Tensor:
    """Blend the samples with their partners, then paste the partners' voxels; never writes to ``x``.

    Args:
        x: (B, C, *spatial).
        permutation: (B,) indices of the partners.
        weights: (B,) λ of the blend, 1 for the samples that are not blended; None to blend none, which keeps labels.
        pastes: those of each sample, carried out in turn.
        dtype: of the result.

    Example:
        >>> x = torch.arange(8).reshape(2, 1, 2, 2)
        >>> mixed(x, torch.tensor([1, 0]), None, [[Paste((slice(0, 1), slice(0, 2)))], []], x.dtype)[0, 0].tolist()
        [[4, 5], [2, 3]]
    """
    out = x.to(dtype, copy=True) if weights is None else blended(x, permutation, weights, dtype)
    with one_thread():
        for sample, (partner, own) in enumerate(zip(permutation.tolist(), pastes, strict=True)):
            floor: torch.Tensor | None = None
            for paste in own:
                if not paste.voxels():
                    continue
                at, there = (slice(None), *paste.box), (slice(None), *(paste.origin or paste.box))
                given = x[partner][there].to(dtype)
                if paste.seam is not None:
                    if floor is None:
                        floor = torch.minimum(x[sample].flatten(1).amin(1), x[partner].flatten(1).amin(1)).to(dtype)
                    given = joined(out[sample][at], given, paste.seam, floor)
                elif paste.region is not None:
                    given = torch.where(paste.region.to(x.device), given, out[sample][at])
                out[sample][at] = given
    return out


def soft_labels(labels: torch.Tensor, classes: int | None, name: str) -> torch.Tensor:
    """Labels as targets that can be mixed: floats as they are, flags as floats, class ids as one-hot rows.

    Args:
        labels: class ids (B,), integers; one-hot, soft or multi-label rows (B, ...), floats, or integers of 0 and 1.
        classes: number of classes, for ids; given it, integers (B, 1) are ids too.
        name: for error messages.

    Raises:
        ValueError: ids without ``classes`` or beyond them, integer rows with values other than 0 and 1, no batch axis.

    Example:
        >>> soft_labels(torch.tensor([2, 0]), 3, "label")
        tensor([[0., 0., 1.],
                [1., 0., 0.]])
    """
    if labels.ndim == 0:
        raise ValueError(f"{name} must have a batch axis, got a single value")
    if labels.ndim > 3:
        raise ValueError(f"{name} must have at most 3 axes, got shape {tuple(labels.shape)}: give it as a mask")
    ids_wanted = classes is not None and labels.shape[1:] in ((), (1,))
    if labels.is_floating_point():
        if not ids_wanted:
            return labels
        labels = whole_labels(labels, name, " with num_classes").long()
    if labels.dtype == torch.bool:
        if not ids_wanted:
            return labels.float()
        labels = labels.long()
    if labels.ndim == 1 or (labels.shape[1:] == (1,) and classes is not None):
        if classes is None:
            raise ValueError(
                f"{name} must be given with num_classes, got class ids alone; or use target_form='pair' and weigh the "
                "losses of both targets"
            )
        ids = _countable(labels.reshape(-1))
        _require_classes(ids, classes, name)
        return (ids[:, None] == torch.arange(classes, device=ids.device)).float()
    _require_flags(labels, name, "integer rows must be one-hot or multi-label; class ids have the shape (B,)")
    return labels.float()


def soft_masks(masks: torch.Tensor, classes: int | None, name: str) -> torch.Tensor:
    """Segmentation masks as targets that can be mixed, so that a blend of labels 0 and 2 is never a label 1.

    Args:
        masks: (B, C, *spatial). One channel of whole numbers and ``classes``: one-hot (B, classes, *spatial) in
            float32. Flags (values 0 and 1, any number of channels): float32. Floats within [0, 1]: as they are, and
            clamped if up to 0.03 beyond.
        classes: number of labels of a one-channel mask, background included.
        name: for error messages.

    Raises:
        ValueError: a one-channel mask of several labels without ``classes``, or labels beyond them.

    Example:
        >>> soft_masks(torch.tensor([[[[0, 2]]]]), 3, "mask")[0, :, 0].tolist()
        [[1.0, 0.0], [0.0, 0.0], [0.0, 1.0]]
    """
    if masks.shape[1] == 1 and classes is not None:
        masks = whole_labels(masks, name, " with num_mask_classes")
        masks = masks.to(torch.uint8) if masks.dtype == torch.bool else _countable(masks)
        _require_classes(masks, classes, name)
        spread = torch.arange(classes, device=masks.device).reshape(1, -1, *[1] * (masks.ndim - 2))
        return (masks == spread).float()
    if masks.dtype == torch.bool:
        return masks.float()
    if masks.is_floating_point():
        ends = torch.stack([masks.min(), masks.max()])
        if bool(((ends >= 0) & (ends <= 1)).all()):
            return masks
        ends = near_whole(ends)
        if bool(((ends >= 0) & (ends <= 1)).all()):
            return masks.clamp(0, 1)
    hint = "a mask of several labels needs num_mask_classes to be blended, or target_form='pair'"
    _require_flags(masks, name, hint)
    return masks.float()


def _countable(values: torch.Tensor) -> torch.Tensor:
    """Unsigned integers above 8 bit, which torch cannot compare, as int64; others as they are."""
    return values.to(torch.int64) if values.dtype in (torch.uint16, torch.uint32, torch.uint64) else values


def _require_classes(ids: torch.Tensor, classes: int, name: str) -> None:
    low, high = int(ids.min()), int(ids.max())
    if low < 0 or high >= classes:
        raise ValueError(f"{name} must lie within 0..{classes - 1} for {classes} classes, got {low}..{high}")


def _require_flags(values: torch.Tensor, name: str, hint: str) -> None:
    values = _countable(values)
    low, high = values.min().item(), values.max().item()
    if low < 0 or high > 1:
        raise ValueError(f"{name} must hold values of 0 and 1, got {low:g}..{high:g}: {hint}")
