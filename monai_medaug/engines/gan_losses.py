"""The losses of a GAN on logits, with augmentation of what the discriminator sees and a gradient penalty."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

import torch
from monai.data.meta_tensor import MetaTensor
from monai.transforms.compose import Compose
from torch import nn
from torch.nn import functional as F

from monai_medaug.core.arguments import number
from monai_medaug.core.batch import Batched
from monai_medaug.transforms.spatial import RandAffineElasticd
from monai_medaug.transforms.xray.collimation import RandXRayCollimationd
from monai_medaug.transforms.xray.exposure import RandXRayExposured

Sample = torch.Tensor | tuple[torch.Tensor, torch.Tensor]
"""Images, or images with class ids."""


class NonSaturatingLosses:
    """The losses of generator and discriminator, ``softplus(-D(fake))`` and ``softplus(-D(real)) + softplus(D(fake))``.

    They are the binary cross-entropies of logits. Fakes are detached for the discriminator's loss, which MONAI's
    `GanTrainer` doesn't do. Both losses augment what the discriminator sees, reals and fakes alike, so that a small set
    isn't learned by heart; the generator learns through the augmentation, without imitating it (DiffAugment).

    Args:
        discriminator: gives a logit for each image.
        augment: a dictionary transform of this package, or a Compose of them, that changes the images under ``key`` and
            is differentiable; None for none.
        gradient_penalty: weight γ of ``γ/2 |∇D(real)|²`` (R1), 0 for none.
        key: of the augmentation.

    Raises:
        ValueError: ``gradient_penalty`` is negative, or the augmentation passes no gradient on.

    Source: I. Goodfellow et al., Generative adversarial nets, NeurIPS 2014; S. Zhao et al., Differentiable augmentation
        for data-efficient GAN training, NeurIPS 2020; L. Mescheder et al., Which training methods for GANs do actually
        converge?, ICML 2018.

    Example:
        >>> from monai_medaug.networks import DCGANDiscriminator
        >>> losses = NonSaturatingLosses(DCGANDiscriminator(32, features=16), discriminator_augmentation("image"))
        >>> losses.of_generator(torch.zeros(2, 1, 32, 32)).item() > 0
        True
    """

    def __init__(
        self, discriminator: nn.Module, augment: Any = None, gradient_penalty: float = 0.0, key: Hashable = "image"
    ) -> None:
        self.discriminator, self.key = discriminator, key
        self.augment = None if augment is None else Batched(augment)
        self.gradient_penalty = number("gradient_penalty", gradient_penalty, 0)

    def of_generator(self, fakes: Sample) -> torch.Tensor:
        """The generator's loss."""
        return F.softplus(-self.logits(fakes)).mean()

    def of_discriminator(self, fakes: Sample, reals: Sample) -> torch.Tensor:
        """The discriminator's loss; no gradient reaches the generator."""
        still = (fakes[0].detach(), fakes[1]) if isinstance(fakes, tuple) else fakes.detach()
        loss = F.softplus(self.logits(still)).mean()
        if not self.gradient_penalty:
            return loss + F.softplus(-self.logits(reals)).mean()
        images, *labels = reals if isinstance(reals, tuple) else (reals,)
        seen = self.seen(images).detach().requires_grad_()
        logits = self.discriminator(seen, *labels)
        (slope,) = torch.autograd.grad(logits.sum(), seen, create_graph=True)
        penalty = slope.square().flatten(1).sum(1).mean()
        return loss + F.softplus(-logits).mean() + self.gradient_penalty / 2 * penalty

    def logits(self, sample: Sample) -> torch.Tensor:
        """The discriminator's logits of augmented images."""
        images, *labels = sample if isinstance(sample, tuple) else (sample,)
        return self.discriminator(self.seen(images), *labels)

    def seen(self, images: torch.Tensor) -> torch.Tensor:
        """The images as the discriminator sees them."""
        if self.augment is None:
            return images
        out = self.augment({self.key: images})[self.key]
        out = out.as_tensor() if isinstance(out, MetaTensor) else out
        if images.requires_grad and not out.requires_grad:
            raise ValueError("augment must be differentiable, got a transform that passes no gradient on")
        return out


def discriminator_augmentation(key: Hashable = "image", prob: float = 1.0, strength: float = 1.0) -> Compose:
    """An augmentation for `train_gan` on small sets: shifts, brightness and covered margins, drawn for each image.

    Shifts of up to an eighth of the image, brightness of up to a quarter of the range either way and four margins of up
    to a quarter that are black, the kinds of DiffAugment, made of `RandAffineElastic`, `RandXRayExposure` (without
    noise) and `RandXRayCollimation`. Images lie within [-1, 1], as `train_gan` scales them.

    Args:
        key: of the images.
        prob: of each step; at 1 the discriminator never sees an image as it is.
        strength: factor of the ranges, above 0 to 1.

    Raises:
        ValueError: an argument is out of its range.

    Example:
        >>> augment = discriminator_augmentation().set_random_state(0)
        >>> augment({"image": torch.zeros(1, 32, 32)})["image"].shape
        torch.Size([1, 32, 32])
    """
    share = number("strength", strength, 1e-3, 1)
    display = {"value_range": (-1.0, 1.0), "max_attenuation": 4.0}
    brightness = 0.25 * share * display["max_attenuation"]  # type: ignore[operator]
    factor = (float(torch.tensor(-brightness).exp()), float(torch.tensor(brightness).exp()))
    return Compose(
        [
            RandAffineElasticd(
                key, prob, rotate_degrees=0, translate_fraction=0.125 * share, scale_fraction=0, elastic_alpha=0
            ),
            RandXRayExposured(key, factor, photons=torch.inf, read_noise=0, compensate=False, prob=prob, **display),
            RandXRayCollimationd(key, (0.0, 0.25 * share), rotate_degrees=0, prob=prob, **display),
        ]
    )
