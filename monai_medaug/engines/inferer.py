"""An inferer for MONAI's evaluators: `NetworkRestore` on a batch."""

from __future__ import annotations

from typing import Any

import torch
from monai.data.utils import decollate_batch, list_data_collate
from monai.inferers.inferer import Inferer

from monai_medaug.transforms.network_restore import NetworkRestore


class RestorationInferer(Inferer):
    """`NetworkRestore` as the inferer of an evaluator: units, windows, planes of volumes, scale and place in the world.

    Args:
        arguments: of `NetworkRestore`, but for the network, which the evaluator passes.

    Example:
        >>> from monai_medaug.networks import MultiScaleSR
        >>> batch = torch.rand(1, 1, 12, 10, 3)
        >>> out = RestorationInferer(scale=2)(batch, MultiScaleSR(features=4, num_blocks=1))
        >>> out.shape
        torch.Size([1, 1, 24, 20, 3])
    """

    def __init__(self, **arguments: Any) -> None:
        super().__init__()
        self.arguments = arguments

    def __call__(self, inputs: torch.Tensor, network: Any, *args: Any, **kwargs: Any) -> torch.Tensor:
        """The restored batch (N, C, *spatial), with meta data if it had some."""
        module = getattr(network, "module", network)  # of a network that is distributed
        restore = NetworkRestore(module, **self.arguments)
        samples = decollate_batch(inputs) if getattr(inputs, "is_batch", False) else list(inputs)
        return list_data_collate([restore(sample) for sample in samples])
