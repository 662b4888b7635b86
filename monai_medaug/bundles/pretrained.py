"""The networks of the bundles with their weights."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from monai.bundle import ConfigParser
from torch import nn

from monai_medaug.core.arguments import choice
from monai_medaug.networks.weights import load_weights

_FOLDER = Path(__file__).parent
PRETRAINED = tuple(sorted(found.parent.name for found in _FOLDER.glob("*/configs")))
"""The bundles' names."""
GENERATORS = ("xray_dcgan",)
"""Those that make images instead of restoring them."""


def load_pretrained(name: str) -> nn.Module:
    """A network of a bundle with its weights, in evaluation mode and in single precision.

    Its ``value_range`` tells `NetworkRestore`, or `generate_samples`, the units that it was trained with. What it was
    trained on, what it reaches on other patients and what it must not be used for stands in the bundle's
    ``docs/README.md``. Train on with `restoration_trainer`, `train_gan` or the bundle's ``train`` config.

    Args:
        name: ``"ct_denoise_dncnn"``, ``"mri_denoise_dncnn"``, ``"ct_sr"``, ``"mri_sr"`` or ``"mri_sr_srcnn"``, which
            restore; ``"xray_dcgan"``, which generates, see `generate_samples`.

    Raises:
        ValueError: there is no such bundle.

    Example:
        >>> from monai_medaug.transforms import NetworkRestore, RandCTDose
        >>> noisy = RandCTDose(noise_hu=30, prob=1.0).set_random_state(0)(torch.zeros(1, 64, 64))
        >>> bool(NetworkRestore(load_pretrained("ct_denoise_dncnn"))(noisy).std() < 10)
        True
    """
    folder = _FOLDER / choice("name", name, PRETRAINED)
    config = json.loads((folder / "configs" / "inference.json").read_text())
    with torch.random.fork_rng(devices=[]):  # the weights that it starts with are drawn
        network = ConfigParser({"network_def": config["network_def"]}).get_parsed_content("network_def")
    return load_weights(network, folder / "models" / "model.safetensors").eval()
