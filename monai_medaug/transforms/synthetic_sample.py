"""Generated images in the place of some real ones."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from monai_medaug.core.arguments import number, wide_span
from monai_medaug.core.contract import Call, Input, Params
from monai_medaug.core.operation import RandomOperation
from monai_medaug.core.tensors import say_once
from monai_medaug.core.twin import dictionary_twin
from monai_medaug.functional.geometry.upscale import cubic_resized
from monai_medaug.networks.generated import drawn_latents, images_of, in_units, sample_labels
from monai_medaug.networks.weights import UNITS

_SHOWN = {"_target_": "monai_medaug.networks.DiffusionGenerator", "channels": [8, 16], "steps": 2}


class RandSyntheticSample(RandomOperation):
    """A generated image of the same class in the place of an image, for a share of the samples.

    Sample and label stay together: a generator with classes makes an image of the sample's own class, so that the
    classes' shares don't change. Masks and points of the sample would be of another image: it is for classification.
    Place it behind the resizing, before the intensity steps: it needs the generator's units, and resizes what it makes,
    with a notice, where the images have another size.

    Generated images add nothing to what the generator's training images hold; measure whether they help
    (`train_on_synthetic`), and whether they show somebody (`generation_report`).

    Args:
        generator: `DCGANGenerator`, `DiffusionGenerator` or another that `generate_samples` takes; weights by
            `load_weights` or `load_pretrained`.
        share: of the samples that are generated, 0 to 1.
        value_range: values of the images that are darkest and brightest to the generator; None takes the units in which
            it was trained, its own ``value_range``.
        prob: factor of the share, for containers that lower probabilities.

    Raises:
        TypeError: the generator is no module with latents.
        ValueError: an argument is out of its range, an image has another number of channels than the generator's, which
            may be 1, or a label is no class of the generator.

    Source: M. Frid-Adar et al., GAN-based synthetic medical image augmentation, Neurocomputing 2018.

    Example:
        >>> from monai_medaug.networks import DCGANGenerator
        >>> swap = RandSyntheticSample(DCGANGenerator(image_size=32, features=16), share=1.0).set_random_state(0)
        >>> image = torch.zeros(1, 32, 32)
        >>> bool(swap(image).any()), bool(torch.equal(swap(image), swap(image)))
        (True, False)
    """

    replayable = "it ran a network"
    differentiable = False
    mixes_samples = True
    spatial_dims = (2,)
    inputs = {"label": Input("the class of each sample, for a generator with classes.", "any")}
    example_arguments = {"generator": _SHOWN, "share": 1.0}

    def __init__(
        self,
        generator: torch.nn.Module,
        share: float = 0.5,
        value_range: Sequence[float] | None = None,
        prob: float = 1.0,
    ) -> None:
        self.share = number("share", share, 0, 1)
        super().__init__(self.share * number("prob", prob, 0, 1))
        drawn_latents(generator, 1, 0)  # raises for what is no generator
        self.generator = generator
        units = getattr(generator, UNITS, (-1.0, 1.0)) if value_range is None else value_range
        self.value_range = wide_span("value_range", units)

    def draw(self) -> Params:
        return {"latent_seed": int(self.R.randint(2**31 - 1))}

    def settings(self) -> Params:
        return {"value_range": list(self.value_range), "generator": type(self.generator).__name__}

    def resources(self) -> dict[str, Any]:
        return {"network": self.generator}

    @classmethod
    def apply(cls, image: torch.Tensor, call: Call) -> torch.Tensor:
        generator = call.resources["network"]
        latents = torch.cat([drawn_latents(generator, 1, seed) for seed in call.drawn("latent_seed")])
        labels = None
        if getattr(generator, "num_classes", 0):
            if "label" not in call.inputs:
                raise ValueError(f"label must be given for a generator with {generator.num_classes} classes, got none")
            each = torch.as_tensor(call.inputs["label"]).flatten()
            labels = sample_labels(generator, len(image), each[list(call.samples)] if len(each) > 1 else each)
        made = in_units(images_of(generator, latents, labels), call.settings["value_range"])
        if made.shape[1] not in (1, image.shape[1]):
            raise ValueError(f"{call.name} must have the generator's {made.shape[1]} channels, got {image.shape[1]}")
        if made.shape[2:] != image.shape[2:]:
            say_once("generated images have another size than those they replace: they are resized")
            made = cubic_resized(made, list(image.shape[2:]), True)
        return made.to(image).expand_as(image).clone()

    @classmethod
    def example(cls, spatial_dims: int = 2) -> torch.Tensor:
        axes = torch.meshgrid(torch.linspace(-1, 1, 32), torch.linspace(-1, 1, 32), indexing="ij")
        return torch.cos(3 * axes[0] + 6 * axes[1])[None] + 2


RandSyntheticSampled = dictionary_twin(RandSyntheticSample)
RandSyntheticSampleD = RandSyntheticSampleDict = RandSyntheticSampled
