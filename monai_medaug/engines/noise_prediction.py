"""A ``prepare_batch`` hook that trains the denoiser of a diffusion model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from monai.engines.utils import PrepareBatch

from monai_medaug.core.arguments import wide_span
from monai_medaug.core.tensors import require_finite
from monai_medaug.engines.self_supervised import on_device
from monai_medaug.networks.diffusion import DiffusionGenerator
from monai_medaug.networks.generated import in_output_range


class NoisePredictionPrepareBatch(PrepareBatch):
    """Images with noise of a drawn strength as input, the noise as target, for ``denoiser`` of a `DiffusionGenerator`.

    Draws follow torch's seed. With `restoration_trainer` the run has averaged weights and can be resumed.

    Args:
        generator: whose ``denoiser`` is trained; it gets ``value_range``, the units of `generate_samples`.
        value_range: values of the images that are -1 and 1 to the network.
        image_key: of the images (B, C, *spatial).
        label_key: of class ids (B,), for a generator with classes.

    Raises:
        ValueError: the batch lacks a key, or images are not finite.

    Source: J. Ho et al., Denoising diffusion probabilistic models, NeurIPS 2020.

    Example:
        >>> hook = NoisePredictionPrepareBatch(DiffusionGenerator(16, channels=(8, 16), steps=2))
        >>> noisy, noise, arguments, _ = hook({"image": torch.rand(2, 1, 16, 16)})
        >>> noisy.shape, noise.shape, len(arguments[0])
        (torch.Size([2, 1, 16, 16]), torch.Size([2, 1, 16, 16]), 2)
    """

    def __init__(
        self,
        generator: DiffusionGenerator,
        value_range: Sequence[float] = (0.0, 1.0),
        image_key: str = "image",
        label_key: str = "label",
    ) -> None:
        self.generator, self.image_key, self.label_key = generator, image_key, label_key
        self.value_range = wide_span("value_range", value_range)
        generator.value_range = list(self.value_range)  # type: ignore[assignment]

    def __call__(
        self, batchdata: Mapping[str, Any], device: Any = None, non_blocking: bool = False, **kwargs: Any
    ) -> tuple[torch.Tensor, torch.Tensor, tuple, dict]:
        """Input, target and further arguments of the denoiser."""
        images = on_device(batchdata, self.image_key, device, non_blocking).float()
        require_finite(images, self.image_key)
        noise = torch.randn(images.shape).to(images)
        times = torch.randint(self.generator.train_steps, (len(images),)).to(images.device)
        noisy = self.generator.scheduler.add_noise(in_output_range(images, self.value_range), noise, times)
        named = {}
        if self.generator.num_classes:
            named["class_labels"] = torch.as_tensor(batchdata[self.label_key]).to(images.device).flatten()
        return noisy, noise, (times,), named
