"""Labels that are nearly whole numbers, as slope and intercept of a file or float arithmetic leave them."""

from __future__ import annotations

import numpy as np
import torch

_CHANNELS = 38  # more would not fit into 64 bits
_NEARLY = 0.03 + 1e-5
"""Distance from a whole number that counts as none, with what float32 adds."""


def near_whole(values: torch.Tensor) -> torch.Tensor:
    """Values within 0.03 of a whole number rounded to it, all others unchanged; integers as they are.

    Example:
        >>> near_whole(torch.tensor([0.996, 2.0000153, -0.001, 0.5])).tolist()
        [1.0, 2.0, 0.0, 0.5]
    """
    if not values.is_floating_point():
        return values
    whole = values.round()
    if torch.equal(whole, values):
        return values
    whole += 0.0  # no negative zero
    return torch.where((values - whole).abs() <= _NEARLY, whole, values)


def label_array(labels: torch.Tensor) -> np.ndarray:
    """Labels on the host, near-whole numbers as whole ones, as integers where they are all whole and small.

    Example:
        >>> label_array(torch.tensor([0.996, 7.0]))
        array([1, 7], dtype=int16)
    """
    near = near_whole(labels).cpu()
    if near.is_floating_point() and near.numel() and bool(torch.isfinite(near.sum())):
        small = near.to(torch.int16)
        if torch.equal(small.to(near.dtype), near):
            return small.numpy()
    return near.numpy()


def one_map(labels: np.ndarray) -> np.ndarray:
    """The channels of label maps (C, *spatial) as one map that differs wherever any of them does.

    Example:
        >>> one_map(np.array([[0, 1, 1], [0, 0, 1]]))
        array([0, 1, 4])
    """
    if len(labels) == 1:
        return labels[0]
    return sum(channel.astype(np.int64) * 3**c for c, channel in enumerate(labels[:_CHANNELS]))


def whole_labels(labels: torch.Tensor, name: str, purpose: str = "") -> torch.Tensor:
    """Labels as whole numbers, in their own type.

    Args:
        labels: numbers; floats may lie up to 0.03 off.
        name: for error messages.
        purpose: continues "must hold whole numbers" in the message.

    Raises:
        ValueError: a value lies further from any whole number.

    Example:
        >>> whole_labels(torch.tensor([0.996, 7.0]), "mask").tolist()
        [1.0, 7.0]
        >>> whole_labels(torch.tensor([0.25, 7.0]), "mask")
        Traceback (most recent call last):
        ValueError: mask must hold whole numbers, got fractions, up to 0.25 away from one
    """
    near = near_whole(labels)
    if near is labels:
        return labels
    if not bool(torch.isfinite(near).all()):
        raise ValueError(f"{name} must hold whole numbers{purpose}, got NaN or infinite values")
    worst = float((near - near.round()).abs().max()) if near.numel() else 0.0
    if worst > 0:
        raise ValueError(f"{name} must hold whole numbers{purpose}, got fractions, up to {worst:.2g} away from one")
    return near
