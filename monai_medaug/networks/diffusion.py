"""A small diffusion model of MONAI's own parts, with the face of a generator."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from monai.networks.nets.diffusion_model_unet import DiffusionModelUNet
from monai.networks.schedulers.ddim import DDIMScheduler
from torch import nn

from monai_medaug.core.arguments import whole_number
from monai_medaug.networks.dcgan import checked_ids


class DiffusionGenerator(nn.Module):
    """Images from noise of their own size, denoised step by step: MONAI's `DiffusionModelUNet` and `DDIMScheduler`.

    Its latent "vector" is the noise image, and the steps of DDIM draw nothing more: the same noise gives the same
    image, so that `generate_samples` and `RandSyntheticSample` take it as they take a `DCGANGenerator`. An image takes
    ``steps`` runs of its network, a GAN's one. Train ``denoiser`` by `restoration_trainer` and
    `NoisePredictionPrepareBatch`.

    Args:
        image_size: pixels a side, a multiple of 2 for each further stage of ``channels``.
        out_channels: of the images.
        channels: of each stage, multiples of 8; the last one has attention.
        num_classes: of labels, 0 for none.
        steps: of denoising, 2 to ``train_steps``.
        train_steps: of noising in training.

    Raises:
        ImportError: einops is missing, which MONAI's attention needs: ``pip install monai-medaug[train]``.
        ValueError: an argument is out of its range; noise or labels of a call have another shape.

    Source: J. Ho et al., Denoising diffusion probabilistic models, NeurIPS 2020; J. Song et al., Denoising diffusion
        implicit models, ICLR 2021.

    Example:
        >>> net = DiffusionGenerator(16, channels=(8, 16), steps=2).eval()
        >>> net(torch.randn(2, 1, 16, 16)).shape
        torch.Size([2, 1, 16, 16])
    """

    def __init__(
        self,
        image_size: int = 32,
        out_channels: int = 1,
        channels: Sequence[int] = (32, 64, 64),
        num_classes: int = 0,
        steps: int = 25,
        train_steps: int = 1000,
    ) -> None:
        super().__init__()
        wide = [whole_number("channels", c, 8) for c in channels]
        if any(c % 8 for c in wide) or len(wide) < 2:
            raise ValueError(f"channels must be two multiples of 8 or more, got {tuple(channels)}")
        size = whole_number("image_size", image_size, 8)
        if size % (1 << (len(wide) - 1)):
            raise ValueError(f"image_size must be a multiple of {1 << (len(wide) - 1)}, got {size}")
        self.num_classes = whole_number("num_classes", num_classes, 0)
        self.latent_shape = (whole_number("out_channels", out_channels, 1), size, size)
        self.train_steps = whole_number("train_steps", train_steps, 2)
        self.steps = whole_number("steps", steps, 2, self.train_steps)
        self.denoiser = DiffusionModelUNet(
            spatial_dims=2,
            in_channels=out_channels,
            out_channels=out_channels,
            channels=wide,
            attention_levels=[False] * (len(wide) - 1) + [True],
            num_res_blocks=1,
            num_head_channels=8,
            norm_num_groups=8,
            num_class_embeds=self.num_classes or None,
        )
        self.scheduler = DDIMScheduler(num_train_timesteps=self.train_steps, clip_sample=True)

    def forward(self, latents: torch.Tensor, labels: torch.Tensor | None = None) -> torch.Tensor:
        """Images (B, *latent_shape) within [-1, 1] of noise (B, *latent_shape) and class ids (B,)."""
        if tuple(latents.shape[1:]) != self.latent_shape:
            raise ValueError(f"latents must be (B, *{list(self.latent_shape)}), got {list(latents.shape)}")
        if labels is not None and not self.num_classes:
            raise ValueError("labels must be None for a network without classes")
        ids = checked_ids(labels, latents, self.num_classes) if self.num_classes else None
        self.scheduler.set_timesteps(self.steps, device=latents.device)
        image = latents
        for time in self.scheduler.timesteps:
            each = torch.full((len(image),), int(time), device=image.device)
            noise = self.denoiser(image, each, class_labels=ids)
            image, _ = self.scheduler.step(noise, int(time), image)
        return image.clamp(-1, 1)
