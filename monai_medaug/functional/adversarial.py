"""Kernels of adversarial augmentation: ascent of a network's loss within bounds, the network left as it was."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch.nn import functional as F
from torch.nn.parameter import is_lazy

from monai_medaug.functional.grid import VoxelGrid
from monai_medaug.functional.mri import EXPONENTS, foreground, index_polynomial, polynomial_field, zero_point

Loss = Callable[[Any, Any], torch.Tensor]
"""A loss of (prediction, target); what it returns is summed if it is no scalar."""


# ---- the network ---------------------------------------------------------------------------------------------


@contextmanager
def evaluating(*functions: Any) -> Iterator[None]:
    """Put all modules of some callables into evaluation mode, and leave them exactly as they were.

    The flag ``training`` of each module is set and restored by itself, not by ``train()`` and ``eval()``, which would
    carry a frozen part along and which some modules override (to merge weights, for instance). Buffers are restored
    if the call wrote to them or put others in their place, also when it raises. Casts of weights are not kept in the
    cache of a surrounding autocast, where the caller's own step would find them.

    Args:
        functions: modules, their bound methods, ``functools.partial`` of either or with either among its arguments.
            Of other callables nothing is known.
    """
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
    """d loss / d image of a network as a function of the image; each sample's is scaled by a factor of its own.

    The chain rule is cut at the prediction: the loss is differentiated in float32 or better and its slope scaled to a
    maximum of 1 a sample before it goes back through the network. So a mean over many voxels or a saturated sample
    doesn't underflow in half precision; the direction, which is all that an attack uses, stays. What is not finite
    counts as zero. Parameters get no ``.grad``, and theirs are not even computed.

    Args:
        network: takes (B, C, *spatial), in the type of its first parameter.
        target: handed to the loss.
        loss: None for `class_loss`.

    Raises:
        ValueError: on a call, if the loss does not depend on the prediction or that not on the image.

    Example:
        >>> image = torch.tensor([[1.0, 2.0]])
        >>> LossGradient(lambda x: x**2, torch.zeros(1, 2), F.l1_loss)(image)
        tensor([[2., 4.]])
    """

    def __init__(self, network: Callable[[torch.Tensor], Any], target: Any, loss: Loss | None = None) -> None:
        if isinstance(network, torch.nn.parallel.DistributedDataParallel):
            network = network.module  # its hooks wait for gradients of parameters, which don't come
        self.network, self.target, self.loss = network, target, loss
        self.dtype = next(
            (p.dtype for m in _modules_in(network) for p in m.parameters() if p.is_floating_point()), None
        )
        self._classes: torch.Tensor | None = None

    def predict(self, image: torch.Tensor) -> Any:
        """The network's prediction on a copy of the image: the network may write to it."""
        return self.network(image.to(self.dtype or image.dtype, copy=True))

    def __call__(self, image: torch.Tensor) -> torch.Tensor:
        """The gradient in the image's shape and type."""
        with torch.enable_grad():
            x = image.detach().requires_grad_()
            prediction = self.predict(x)
            if isinstance(prediction, torch.Tensor) and prediction.requires_grad:
                end = prediction.detach().to(_at_least_float32(prediction.dtype)).requires_grad_()
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
            raise ValueError(f"loss must be given for a network that returns {type(prediction).__name__}")
        if self._classes is None:
            self._classes = class_target(prediction, self.target)
        return class_loss(prediction, self._classes)


def _at_least_float32(dtype: torch.dtype) -> torch.dtype:
    return torch.float64 if dtype == torch.float64 else torch.float32


def _derivative(
    value: torch.Tensor, of: torch.Tensor, what: str, name: str, slope: torch.Tensor | None = None
) -> torch.Tensor:
    (found,) = torch.autograd.grad(value, of, slope, allow_unused=True) if value.requires_grad else (None,)
    if found is None:
        raise ValueError(f"{what} must be differentiable with respect to {name}, got no gradient")
    return found


def _unit_slope(slope: torch.Tensor, batch: int) -> torch.Tensor:
    """Finite, and scaled to a greatest magnitude of 1, each sample by itself where the first axis is the batch."""
    slope = slope.nan_to_num(0, 0, 0)
    rows = slope.reshape(batch if slope.ndim and len(slope) == batch else 1, -1)
    return (rows / _peaks(rows)).reshape(slope.shape)


def _peaks(rows: torch.Tensor) -> torch.Tensor:
    """Greatest magnitude of each row (n, 1), 1 for rows of zeros; six times as fast as the maximum norm."""
    peak = torch.maximum(rows.amax(1, keepdim=True), -rows.amin(1, keepdim=True))
    return torch.where(peak > 0, peak, 1)


def class_target(prediction: torch.Tensor, target: Any) -> torch.Tensor:
    """A target as `class_loss` takes it: ids (B, *spatial), or probabilities of the prediction's shape.

    Args:
        prediction: logits (B, classes, *spatial), or (B, 1, *spatial) or (B,) for two classes.
        target: ids of any number type, (B, *spatial) or (B, 1, *spatial), -100 to ignore; or probabilities.

    Raises:
        ValueError: it is neither, or an id is not among the classes.

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
            raise ValueError(f"target must lie within [0, 1] for a prediction of {classes} channel(s) of its shape")
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
    """Cross-entropy of logits; of a single channel the binary one. The target is one of `class_target`."""
    if prediction.ndim == 1 or prediction.shape[1] == 1:
        return F.binary_cross_entropy_with_logits(prediction, target)
    return F.cross_entropy(prediction, target)


def class_probabilities(prediction: torch.Tensor) -> torch.Tensor:
    """Softmax over the channels of logits; of a single channel the logistic function."""
    single = prediction.ndim == 1 or prediction.shape[1] == 1
    return prediction.sigmoid() if single else prediction.softmax(1)


# ---- attacks within a ball -----------------------------------------------------------------------------------


def start_radius(epsilon: float, step_size: float, num_steps: int) -> float:
    """Radius of the random start: from any start the steps shall reach any point of the ball.

    That is ``num_steps * step_size - epsilon``, within [0, epsilon]. A start in all of the ball would make an attack
    of few steps weaker in a larger ball: noise that the steps cannot undo.

    Example:
        >>> [round(start_radius(e, 0.003, 5), 4) for e in (0.005, 0.01, 0.1)]
        [0.005, 0.005, 0.0]
    """
    return min(max(num_steps * step_size - epsilon, 0.0), epsilon)


def ball_samples(
    shape: Sequence[int], seeds: Sequence[int], radius: float, norm: str, like: torch.Tensor
) -> torch.Tensor:
    """Points drawn uniformly in a ball, (B, *shape), sample b from a generator seeded with ``seeds[b]``.

    Args:
        shape: without the batch.
        seeds: one a sample.
        radius: of the ball.
        norm: ``"linf"`` or ``"l2"``, the latter over all that a sample holds.
        like: gives device and type.

    Example:
        >>> points = ball_samples((1, 9, 9), [1, 2], 0.5, "l2", torch.zeros(1))
        >>> bool((points.flatten(1).norm(dim=1) <= 0.5).all())
        True
    """
    out = like.new_empty((len(seeds), *shape))
    for sample, seed in zip(out, seeds, strict=True):
        generator = torch.Generator(like.device).manual_seed(seed)
        if norm == "linf":
            sample.uniform_(-radius, radius, generator=generator)
        else:
            sample.normal_(generator=generator)
            share = torch.rand((), generator=generator, device=like.device).to(sample) ** (1 / sample.numel())
            sample.mul_(radius * share / torch.linalg.vector_norm(sample))
    return out


def projected_ascent(
    gradient: Callable[[torch.Tensor], torch.Tensor],
    image: torch.Tensor,
    low: torch.Tensor,
    high: torch.Tensor,
    epsilon: float,
    step_size: float,
    num_steps: int = 1,
    norm: str = "linf",
    start: torch.Tensor | None = None,
    mask: torch.Tensor | None = None,
) -> torch.Tensor:
    """Steps along the gradient, each followed by the projection onto the ball round the image and the valid range.

    ``x = P(x + a sign(g))`` for the maximum norm, ``x = P(x + a g / |g|)`` for the Euclidean norm over all voxels and
    channels of a sample.

    Args:
        gradient: of the loss, called with (B, C, *spatial).
        image: (B, C, *spatial), float32 or float64; never written to.
        low: lower end of the valid range, broadcasts to the image.
        high: upper end; a voxel outside the range goes no further.
        epsilon: radius of the ball, in the units of the image.
        step_size: a, likewise.
        num_steps: how many steps.
        norm: ``"linf"`` or ``"l2"``.
        start: added first, within the ball.
        mask: where the perturbation may be, broadcasts to the image.

    Example:
        >>> image, zero, one = torch.tensor([[[0.5, 0.995]]]), torch.tensor(0.0), torch.tensor(1.0)
        >>> projected_ascent(torch.ones_like, image, zero, one, 0.01, 0.01)
        tensor([[[0.5100, 1.0000]]])
    """
    lower, upper = torch.minimum(image, low), torch.maximum(image, high)
    if norm == "linf":
        lower, upper = torch.maximum(lower, image - epsilon), torch.minimum(upper, image + epsilon)
    if mask is not None:
        lower, upper = torch.where(mask, lower, image), torch.where(mask, upper, image)
    x = image.clone() if start is None else torch.clamp(image + start, lower, upper)
    for _ in range(num_steps):
        slope = gradient(x)
        if norm == "linf":
            x.add_(slope.sign_(), alpha=step_size)
        else:
            slope = slope if mask is None else slope * mask
            moved = (x - image).add_(_unit_length(slope), alpha=step_size)
            length = _sample_norms(moved)
            x = moved.mul_((epsilon / length.clamp_min(torch.finfo(x.dtype).tiny)).clamp_max(1)).add_(image)
        torch.clamp(x, lower, upper, out=x)
    return x


def _sample_norms(x: torch.Tensor) -> torch.Tensor:
    return torch.linalg.vector_norm(x.flatten(1), dim=1).reshape(-1, *[1] * (x.ndim - 1))


def _unit_length(x: torch.Tensor) -> torch.Tensor:
    """Each sample divided by its Euclidean norm, without underflow in the squares; zero stays zero."""
    x = x / _peaks(x.flatten(1)).reshape(-1, *[1] * (x.ndim - 1))
    return x.div_(_sample_norms(x).clamp_min(1))


def rounded_toward(changed: torch.Tensor, image: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """Cast to a narrower type, toward the image where that would round away from it: no change grows.

    Example:
        >>> image = torch.ones(2, dtype=torch.bfloat16)
        >>> rounded_toward(image.float() + torch.tensor([0.01, 0.016]), image, torch.bfloat16)
        tensor([1.0078, 1.0156], dtype=torch.bfloat16)
    """
    out = changed.to(dtype)
    if dtype not in (torch.float16, torch.bfloat16):
        return out
    grown = (out.to(changed.dtype) - image).abs() > (changed - image).abs()
    return torch.where(grown, torch.nextafter(out, image.to(dtype)), out)


# ---- adversarial coil field ----------------------------------------------------------------------------------


def bias_field_ascent(
    gradient: Callable[[torch.Tensor], torch.Tensor],
    image: torch.Tensor,
    grids: Sequence[VoxelGrid],
    start: torch.Tensor,
    start_peak: torch.Tensor,
    peak_to_peak: float,
    step_size: float,
    num_steps: int,
) -> tuple[torch.Tensor, torch.Tensor]:
    """The smooth coil field that a network bears worst, by normalised steps along the gradient of its coefficients.

    The image times ``exp(f - m)``, f a cubic polynomial in mm, m its mean over the foreground. A step changes f along
    the gradient by a peak to peak of ``step_size``; where the factor's maximum minus minimum over the foreground then
    exceeds ``peak_to_peak``, f is scaled back to it. The foreground is where any channel has signal, see
    `mri.foreground`; without any it is everything.

    Args:
        gradient: of the loss, called with (B, C, *spatial).
        image: (B, C, *spatial).
        grids: of the samples.
        start: coefficients to begin with, (B, 19), in the order of `mri.EXPONENTS`.
        start_peak: the factor's peak to peak to which the start is scaled, (B,).
        peak_to_peak: the greatest allowed.
        step_size: in the same units.
        num_steps: how many steps.

    Returns:
        ``[-m, coefficients of f]`` of each sample (B, 20), and the factor's peak to peak (B,), both float64 on the CPU.
        `times_bias_field` applies the former.
    """
    zero = zero_point(image)
    inside = foreground(image, zero).any(1, keepdim=True)
    inside = inside | ~inside.flatten(1).any(1).reshape(-1, *[1] * (image.ndim - 1))
    to_index = torch.from_numpy(np.stack([_terms_on(g.size, _linear(g)) for g in grids]))  # (B, 64, 19)
    count = inside.flatten(1).sum(1).double().cpu()
    mean = _on_terms(to_index, _moments(inside.to(image.dtype))) / count[:, None]

    def with_mean(terms: torch.Tensor) -> torch.Tensor:
        return torch.cat([-(terms * mean).sum(1, keepdim=True), terms], 1)

    def extremes(terms: torch.Tensor) -> torch.Tensor:
        """Least and greatest log factor over the foreground, (B, 2)."""
        field = polynomial_field(_index_terms(with_mean(terms), to_index).to(image), image.shape[2:])
        axes = tuple(range(1, image.ndim))
        ends = [torch.where(inside, field, torch.inf).amin(axes), torch.where(inside, field, -torch.inf).amax(axes)]
        return torch.stack(ends, 1).double().cpu()

    terms = start.double().cpu()
    scale, peak = peak_scale(extremes(terms), start_peak.double().cpu())
    terms = terms * scale[:, None]
    for _ in range(num_steps):
        gain = polynomial_field(_index_terms(with_mean(terms), to_index).to(image), image.shape[2:]).exp_()
        signal = (image - zero).mul_(gain)
        pull = gradient(signal + zero).mul_(signal).sum(1, keepdim=True)
        moments = _moments(pull)
        ascent = _on_terms(to_index, moments) - mean * moments[:, :1]
        ascent = ascent / ascent.abs().amax(1, keepdim=True).clamp_min(1e-300)
        ends = extremes(ascent)
        width = ends[:, 1:] - ends[:, :1]
        terms = terms + torch.where(width > 1e-12, step_size / width.clamp_min(1e-12), 0.0) * ascent
        scale, peak = peak_scale(extremes(terms), torch.full_like(peak, peak_to_peak), shrink_only=True)
        terms = terms * scale[:, None]
    return with_mean(terms), peak


def times_bias_field(image: torch.Tensor, terms: Sequence[Sequence[float]], grids: Sequence[VoxelGrid]) -> torch.Tensor:
    """Multiply the signal above the zero point by exp of a cubic polynomial with its constant term.

    Args:
        image: (B, C, *spatial).
        terms: for each sample the constant, then the coefficients in the order of `mri.EXPONENTS`.
        grids: of the samples.
    """
    to_index = torch.from_numpy(np.stack([_terms_on(g.size, _linear(g)) for g in grids]))
    coefficients = _index_terms(torch.tensor(terms, dtype=torch.float64), to_index)
    gain = polynomial_field(coefficients.to(image), image.shape[2:]).expm1_()
    return torch.addcmul(image, image - zero_point(image), gain)


def peak_scale(
    ends: torch.Tensor, wanted: torch.Tensor, shrink_only: bool = False
) -> tuple[torch.Tensor, torch.Tensor]:
    """The factor s for which exp(s high) - exp(s low) is as wanted, and that difference.

    Args:
        ends: low <= 0 <= high, (B, 2).
        wanted: (B,).
        shrink_only: leave what is not wider than wanted.

    Example:
        >>> scale, peak = peak_scale(torch.tensor([[-1.0, 2.0]]), torch.tensor([0.4]))
        >>> [round(float(v), 4) for v in (scale, peak)]
        [0.1246, 0.4]
    """
    low, high = ends.unbind(1)
    width = high - low
    flat = width <= 1e-12
    scale = wanted / torch.where(flat, 1.0, width)
    for _ in range(20):
        up, down = torch.exp(scale * high), torch.exp(scale * low)
        scale = scale - (up - down - wanted) / torch.where(flat, 1.0, high * up - low * down)
    scale = torch.where(flat, 0.0, scale)
    if shrink_only:
        scale = scale.clamp_max(1.0)
    return scale, torch.exp(scale * high) - torch.exp(scale * low)


def _linear(grid: VoxelGrid) -> tuple[float, ...]:
    return tuple(grid.matrix[:3, :3].ravel().tolist())


@functools.lru_cache(maxsize=256)
def _terms_on(size: tuple[int, int, int], linear: tuple[float, ...]) -> np.ndarray:
    """The matrix (64, 19) from coefficients in the world to those of the index polynomial."""
    matrix = np.eye(4)
    matrix[:3, :3] = np.reshape(linear, (3, 3))
    grid = VoxelGrid(size, matrix.tolist())
    return np.stack([index_polynomial(row.tolist(), grid).ravel() for row in np.eye(len(EXPONENTS))], 1)


def _index_terms(terms: torch.Tensor, to_index: torch.Tensor) -> torch.Tensor:
    """Index polynomials (B, 4, 4, 4) of [constant, coefficients]."""
    out = (to_index @ terms[:, 1:, None])[..., 0]
    out[:, 0] += terms[:, 0]
    return out.reshape(-1, 4, 4, 4)


def _on_terms(to_index: torch.Tensor, moments: torch.Tensor) -> torch.Tensor:
    """Derivatives by the coefficients in the world (B, 19), from those by the index polynomial."""
    return (to_index.mT @ moments[..., None])[..., 0]


def _moments(weight: torch.Tensor) -> torch.Tensor:
    """Sums of (B, 1, *spatial) times the products of powers of the index, (B, 64), float64 on the CPU."""
    volume = weight[:, 0] if weight.ndim == 5 else weight
    for n in reversed(volume.shape[1:]):
        index = torch.linspace(-1, 1, n, dtype=torch.float64).mul(n > 1)[:, None].pow(torch.arange(4)).to(volume)
        volume = torch.tensordot(volume, index, dims=([3], [0])).movedim(3, 1)
    return volume.reshape(len(volume), 64).double().cpu()
