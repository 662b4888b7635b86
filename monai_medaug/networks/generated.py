"""Images from a generator: the same for the same seed, whatever the size of the batches."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import nn

from monai_medaug.core.arguments import whole_number
from monai_medaug.functional.adversarial.gradient import evaluating
from monai_medaug.networks.weights import UNITS

_OUTPUT = (-1.0, 1.0)  # of a Tanh


def generate_samples(
    generator: nn.Module,
    n: int,
    seed: int = 0,
    labels: int | Sequence[int] | torch.Tensor | None = None,
    batch_size: int = 64,
) -> torch.Tensor:
    """Images from a generator, on the CPU.

    Image i depends on the seed and i alone (and on its label), not on ``n`` or ``batch_size``, but for rounding. The
    generator runs in evaluation mode on its own device and is left as it was.

    Args:
        generator: called with latents (B, *latent_shape), drawn as N(0, 1), and with class ids (B,) if its
            ``num_classes`` is above 0; `DCGANGenerator`, `DiffusionGenerator`, or another with ``latent_shape`` or
            ``latent_dim``.
        n: how many, from 1.
        seed: of the latents.
        labels: of a generator with classes: one for all, or one for each image; None takes the classes in turn, 0, 1,
            0, 1, …
        batch_size: images at a time.

    Returns:
        (n, C, *spatial), float32, in the units of the generator's ``value_range``, the values that its -1 and 1 stand
        for; without, within [-1, 1].

    Raises:
        TypeError: the generator is no module, or has no ``latent_dim``.
        ValueError: an argument is out of its range, labels don't fit, or an image is not finite.

    Example:
        >>> from monai_medaug.networks import DCGANGenerator
        >>> images = generate_samples(DCGANGenerator(image_size=32, features=16), 3, seed=1)
        >>> images.shape, bool((images.abs() <= 1).all())
        (torch.Size([3, 1, 32, 32]), True)
    """
    count, size = whole_number("n", n, 1), whole_number("batch_size", batch_size, 1)
    latents = drawn_latents(generator, count, whole_number("seed", seed, 0))
    images = images_of(generator, latents, sample_labels(generator, count, labels), size)
    return in_units(images, getattr(generator, UNITS, None))


def images_of(
    generator: nn.Module, latents: torch.Tensor, labels: torch.Tensor | None, batch_size: int = 64
) -> torch.Tensor:
    """A generator's images of latents, within [-1, 1], on the CPU; the generator is left as it was.

    Raises:
        ValueError: an image is not finite.
    """
    home = next(generator.parameters())
    made = []
    with torch.no_grad(), evaluating(generator):
        for start in range(0, len(latents), batch_size):
            part = slice(start, start + batch_size)
            of_class = () if labels is None else (labels[part].to(home.device),)
            made.append(generator(latents[part].to(home.device, home.dtype), *of_class).float().cpu())
    images = torch.cat(made)
    if not bool(torch.isfinite(images).all()):
        raise ValueError(f"generator must give finite images, {type(generator).__name__} gave NaN or infinite ones")
    return images


def sample_labels(generator: Any, n: int, labels: Any = None) -> torch.Tensor | None:
    """The class ids (n,) with which `generate_samples` calls a generator; None for one without classes.

    Raises:
        ValueError: there are labels for a generator without classes, another number, or one is no class.

    Example:
        >>> from monai_medaug.networks import DCGANGenerator
        >>> sample_labels(DCGANGenerator(image_size=32, features=16, num_classes=2), 3)
        tensor([0, 1, 0])
    """
    classes = int(getattr(generator, "num_classes", 0))
    if not classes:
        if labels is not None:
            raise ValueError("labels must be None for a generator without classes")
        return None
    if labels is None:
        return torch.arange(n) % classes
    ids = torch.as_tensor(labels)
    if ids.is_floating_point() or ids.ndim > 1 or (ids.ndim == 1 and len(ids) != n):
        raise ValueError(f"labels must be a class or {n} of them, got {labels!r}")
    if bool(((ids < 0) | (ids >= classes)).any()):
        raise ValueError(f"labels must be classes of 0 to {classes - 1}, got {labels!r}")
    return ids.to(torch.int64).expand(n).clone()


def drawn_latents(generator: Any, n: int, seed: int) -> torch.Tensor:
    """Latents (n, *latent_shape), N(0, 1); the first ones are the same for any n.

    Raises:
        TypeError: the generator is no module with ``latent_shape`` or ``latent_dim``.
    """
    dim = getattr(generator, "latent_dim", None)
    shape = getattr(generator, "latent_shape", None if dim is None else (dim,))
    if not isinstance(generator, nn.Module) or shape is None:
        raise TypeError(f"generator must be a module with latent_dim or latent_shape, got {type(generator).__name__}")
    drawn = np.random.default_rng(seed).standard_normal((n, *shape), dtype=np.float32)
    return torch.from_numpy(drawn)


def in_units(images: torch.Tensor, value_range: Sequence[float] | str | None) -> torch.Tensor:
    """Images of -1 to 1 with the two values that these stand for.

    Example:
        >>> in_units(torch.tensor([-1.0, 0.0, 1.0]), (0, 255))
        tensor([  0.0000, 127.5000, 255.0000])
    """
    if value_range is None or isinstance(value_range, str):
        return images
    low, high = value_range
    return (images - _OUTPUT[0]) * ((high - low) / (_OUTPUT[1] - _OUTPUT[0])) + low


def in_output_range(images: torch.Tensor, value_range: Sequence[float]) -> torch.Tensor:
    """The inverse of `in_units`: the two values of the range become -1 and 1."""
    low, high = value_range
    return (images - low) * ((_OUTPUT[1] - _OUTPUT[0]) / (high - low)) + _OUTPUT[0]
