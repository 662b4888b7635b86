"""Attacks within a ball around the image: ascent, projection, random start."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch

from monai_medaug.functional.adversarial.gradient import peaks


def start_radius(epsilon: float, step_size: float, num_steps: int) -> float:
    """Radius of the random start from which the steps reach any point of the ball.

    It is ``num_steps * step_size - epsilon``, within [0, epsilon]. With a start anywhere in the ball, an attack of few
    steps would be weaker in a larger ball: the steps cannot undo the start.

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
        seeds: one per sample.
        radius: of the ball.
        norm: ``"linf"``, or ``"l2"`` over all values of a sample.
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
    """Steps along the gradient, each followed by projection onto the ball around the image and the valid range.

    ``x = P(x + a sign(g))`` for the maximum norm, ``x = P(x + a g / |g|)`` for the Euclidean norm over all voxels and
    channels of a sample.

    Args:
        gradient: of the loss, called with (B, C, *spatial).
        image: (B, C, *spatial), float32 or float64; never written to.
        low: lower end of the valid range, broadcasts to the image.
        high: upper end; a voxel outside the range moves no further out.
        epsilon: radius of the ball, in the units of the image.
        step_size: a, in the same units.
        num_steps: number of steps.
        norm: ``"linf"`` or ``"l2"``.
        start: added first, within the ball.
        mask: where the image may change, broadcasts to it.

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
    """Each sample divided by its Euclidean norm, without underflow of the squares; 0 stays 0."""
    x = x / peaks(x.flatten(1)).reshape(-1, *[1] * (x.ndim - 1))
    return x.div_(_sample_norms(x).clamp_min(1))


def rounded_toward(changed: torch.Tensor, image: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """Cast to a narrower type, rounding toward the image where a change would grow.

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
