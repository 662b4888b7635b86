"""Gradients of a network's loss by the image, leaving the network unchanged."""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch.nn import functional as F
from torch.nn.parameter import is_lazy

from monai_medaug.functional.precision import computing_dtype

Loss = Callable[[Any, Any], torch.Tensor]
"""A loss of (prediction, target); its result is summed."""

_ONE_THREAD = threading.RLock()


@contextmanager
def evaluating(*functions: Any) -> Iterator[None]:
    """Put all modules of some callables into evaluation mode, and restore their state exactly.

    The flag ``training`` is set and restored module by module, as ``train()`` and ``eval()`` would include frozen parts
    and may be overridden (to merge weights, for instance). Buffers that the call wrote to or replaced are restored,
    also when it raises. Casts of weights do not enter the cache of a surrounding autocast. Threads that share a module
    wait for each other, or one would restore the state under another's feet.

    Args:
        functions: modules, their bound methods, ``functools.partial`` of either or with either among its arguments;
            other callables are ignored.
    """
    with _ONE_THREAD:
        modules = [*dict.fromkeys(m for f in functions for root in _modules_in(f) for m in root.modules())]
        modes = [m.training for m in modules]
        buffers = [
            (m, name, b, b._version, b.clone())
            for m in modules
            for name, b in m.named_buffers(recurse=False, remove_duplicate=False)
            if not is_lazy(b) and not b.is_inference()
        ]
        cached = torch.is_autocast_cache_enabled()
        try:
            torch.set_autocast_cache_enabled(False)
            for module in modules:
                module.training = False
            yield
        finally:
            torch.set_autocast_cache_enabled(cached)
            for module, mode in zip(modules, modes, strict=True):
                module.training = mode
            with torch.no_grad():
                for module, name, buffer, version, values in buffers:
                    if buffer._version != version:
                        buffer.copy_(values)
                    if module._buffers.get(name) is not buffer:
                        module._buffers[name] = buffer


def _modules_in(function: Any) -> list[torch.nn.Module]:
    if isinstance(function, torch.nn.Module):
        return [function]
    if isinstance(function, functools.partial):
        return [m for part in (function.func, *function.args, *function.keywords.values()) for m in _modules_in(part)]
    owner = getattr(function, "__self__", None)
    return [owner] if isinstance(owner, torch.nn.Module) else []


class LossGradient:
    """Direction of d loss / d image of a network, as a function of the image; each sample is scaled by its own factor.

    The chain rule is split at the prediction: the loss is differentiated in float32 or float64, and its slope scaled to
    a maximum of 1 per sample before it is propagated through the network. So a mean over many voxels or a saturated
    sample doesn't underflow in half precision. Non-finite values count as 0. Parameters get no ``.grad``, and their
    gradients are not computed.

    Args:
        network: takes (B, C, *spatial), in the type of its first parameter.
        target: handed to the loss.
        loss: None for `class_loss`.

    Raises:
        ValueError: on a call, if the loss does not depend on the prediction, or the prediction not on the image.

    Example:
        >>> image = torch.tensor([[1.0, 2.0]])
        >>> LossGradient(lambda x: x**2, torch.zeros(1, 2), F.l1_loss)(image)
        tensor([[2., 4.]])
    """

    def __init__(self, network: Callable[[torch.Tensor], Any], target: Any, loss: Loss | None = None) -> None:
        if isinstance(network, torch.nn.parallel.DistributedDataParallel):
            network = network.module  # its hooks would wait for gradients of parameters
        self.network, self.target, self.loss = network, target, loss
        self.dtype = next(
            (p.dtype for m in _modules_in(network) for p in m.parameters() if p.is_floating_point()), None
        )
        self._classes: torch.Tensor | None = None

    def predict(self, image: torch.Tensor) -> Any:
        """The network's prediction, on a copy of the image as the network may write to it."""
        return self.network(image.to(self.dtype or image.dtype, copy=True))

    def __call__(self, image: torch.Tensor) -> torch.Tensor:
        """The gradient, of the image's shape and type."""
        with torch.enable_grad():
            x = image.detach().requires_grad_()
            prediction = self.predict(x)
            if isinstance(prediction, torch.Tensor) and prediction.requires_grad:
                end = prediction.detach().to(computing_dtype(prediction.dtype)).requires_grad_()
                slope = _unit_slope(_derivative(self._value(end), end, "loss", "the prediction"), len(x))
                gradient = _derivative(prediction, x, "network", "the image", slope.to(prediction.dtype))
            else:
                gradient = _derivative(self._value(prediction), x, "network and loss", "the image")
        return gradient.nan_to_num_(0, 0, 0)

    def _value(self, prediction: Any) -> torch.Tensor:
        if self.loss is not None:
            target = self.target
            if isinstance(target, torch.Tensor) and target.is_floating_point() and isinstance(prediction, torch.Tensor):
                target = target.to(prediction.dtype)
            value = self.loss(prediction, target)
            if not isinstance(value, torch.Tensor):
                raise ValueError(f"loss must return a tensor, got {type(value).__name__}")
            return value.sum()
        if not isinstance(prediction, torch.Tensor):
            raise ValueError(f"loss must be given for a prediction that is no tensor, got {type(prediction).__name__}")
        if self._classes is None:
            self._classes = class_target(prediction, self.target)
        return class_loss(prediction, self._classes)


def _derivative(
    value: torch.Tensor, of: torch.Tensor, what: str, name: str, slope: torch.Tensor | None = None
) -> torch.Tensor:
    (found,) = torch.autograd.grad(value, of, slope, allow_unused=True) if value.requires_grad else (None,)
    if found is None:
        raise ValueError(f"{what} must be differentiable with respect to {name}, got no gradient")
    return found


def _unit_slope(slope: torch.Tensor, batch: int) -> torch.Tensor:
    """Finite and scaled to a greatest magnitude of 1, per sample if the first axis is the batch."""
    slope = slope.nan_to_num(0, 0, 0)
    rows = slope.reshape(batch if slope.ndim and len(slope) == batch else 1, -1)
    return (rows / peaks(rows)).reshape(slope.shape)


def peaks(rows: torch.Tensor) -> torch.Tensor:
    """Greatest magnitude of each row (n, 1), 1 for rows of zeros; faster than the maximum norm."""
    peak = torch.maximum(rows.amax(1, keepdim=True), -rows.amin(1, keepdim=True))
    return torch.where(peak > 0, peak, 1)


def class_target(prediction: torch.Tensor, target: Any) -> torch.Tensor:
    """A target for `class_loss`: ids (B, *spatial), or probabilities of the prediction's shape.

    Args:
        prediction: logits (B, classes, *spatial), or (B, 1, *spatial) or (B,) for two classes.
        target: ids of any number type, (B, *spatial) or (B, 1, *spatial), -100 to ignore; or probabilities.

    Raises:
        ValueError: the target is neither, or an id is not among the classes.

    Example:
        >>> class_target(torch.zeros(2, 3), torch.tensor([[0.0], [2.0]]))
        tensor([0, 2])
    """
    target = torch.as_tensor(target, device=prediction.device)
    classes = prediction.shape[1] if prediction.ndim > 1 else 1
    squeezed = (prediction.shape[0], *prediction.shape[2:])
    shapes: tuple[tuple[int, ...], ...] = (squeezed, (squeezed[0], 1, *squeezed[1:]))
    if tuple(target.shape) == tuple(prediction.shape) or (classes == 1 and tuple(target.shape) in shapes):
        target = target.reshape(prediction.shape).to(prediction.dtype)
        if bool(((target < 0) | (target > 1)).any()):
            low, high = float(target.min()), float(target.max())
            raise ValueError(f"target must lie within [0, 1] as probabilities, got {low:g} to {high:g}")
        return target
    if tuple(target.shape) not in shapes:
        raise ValueError(
            f"target must hold class ids of shape {shapes[0]} or {shapes[1]}, or probabilities of the prediction's "
            f"shape {tuple(prediction.shape)}, got shape {tuple(target.shape)}: give a loss for anything else"
        )
    ids = target.reshape(squeezed).long()
    if bool((((ids < 0) & (ids != -100)) | (ids >= classes)).any()):
        raise ValueError(f"target must hold class ids below {classes}, got {int(ids.min())} to {int(ids.max())}")
    return ids


def class_loss(prediction: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Cross-entropy of logits, binary for a single channel, with a target of `class_target`."""
    if prediction.ndim == 1 or prediction.shape[1] == 1:
        return F.binary_cross_entropy_with_logits(prediction, target)
    whole = target.dtype == torch.int64 and target.shape != prediction.shape
    if whole and prediction.ndim > 2 and torch.are_deterministic_algorithms_enabled():
        # the loss of images has no such form on a GPU
        counted = target != -100
        chosen = prediction.log_softmax(1).gather(1, target.clamp_min(0)[:, None])[:, 0]
        return -torch.where(counted, chosen, 0.0).sum() / counted.sum()
    return F.cross_entropy(prediction, target)


def class_probabilities(prediction: torch.Tensor) -> torch.Tensor:
    """Softmax over the channels of logits; the logistic function of a single channel."""
    single = prediction.ndim == 1 or prediction.shape[1] == 1
    return prediction.sigmoid() if single else prediction.softmax(1)
