"""The data of the commands that train: a MONAI datalist, with what a bundle's configuration may say beside it."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

DATALIST = (
    "a MONAI datalist, each set a list of image and label; if wanted load, normalize and network as in a bundle's "
    "config, whose code runs as a bundle's does"
)
"""What the file is, for the help."""
_STEPS = ("load", "normalize", "network")


def read_datalist(file: Path) -> dict[str, Any]:
    """The content of the file."""
    try:
        config = json.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise ValueError(f"the datalist cannot be read: {error.strerror or type(error).__name__}") from None
    except ValueError:
        raise ValueError("the datalist cannot be read: it is no JSON") from None
    if not isinstance(config, dict):
        raise ValueError("the datalist must be a JSON object with training and test sets")
    return config


def made_step(config: dict[str, Any], name: str, default: dict[str, Any]) -> Any:
    """A part of the configuration, made as a bundle makes it."""
    from monai.bundle import ConfigParser

    try:
        return ConfigParser({name: config.get(name, default)}).get_parsed_content(name)
    except Exception as error:
        raise ValueError(f"{name} of the datalist cannot be made ({type(error).__name__})") from None


def normalization(config: dict[str, Any]) -> Any:
    """The transform of intensities: that of the datalist, or to mean 0 and deviation 1."""
    return made_step(config, "normalize", {"_target_": "NormalizeIntensityd", "keys": "image"})


def loaded_sets(config: dict[str, Any], folder: Path, task: str) -> dict[str, list[dict[str, Any]]]:
    """All sets of a datalist by name, read; paths are relative to the folder."""
    sets = {name: items for name, items in config.items() if name not in _STEPS and isinstance(items, list)}
    keys = ["image", *(["label"] if task == "segmentation" else [])]
    steps = [{"_target_": "LoadImaged", "keys": keys}, {"_target_": "EnsureChannelFirstd", "keys": keys}]
    load: Callable[[Any], Any] = made_step(config, "load", {"_target_": "Compose", "transforms": steps})
    return {name: _loaded(name, items, load, folder, keys) for name, items in sets.items()}


def _loaded(
    name: str, items: list[Any], load: Callable[[Any], Any], folder: Path, keys: list[str]
) -> list[dict[str, Any]]:
    found = []
    for number, item in enumerate(items, 1):
        if not isinstance(item, dict) or not {"image", "label"} <= item.keys():
            raise ValueError(f"sample {number} of {name!r} must have image and label")
        paths = {key: str(folder / item[key]) for key in keys if isinstance(item[key], str)}
        try:
            found.append(load({**item, **paths}))
        except Exception as error:  # whose message names the path
            raise ValueError(f"sample {number} of {name!r} cannot be loaded ({type(error).__name__})") from None
    return found


def network_maker(config: dict[str, Any], training: list[dict[str, Any]], task: str) -> Callable[[], Any]:
    """The network of the configuration, or a small one of MONAI's that fits the samples."""
    import torch

    channels, *size = torch.as_tensor(training[0]["image"]).shape
    classes = 1 + int(max(torch.as_tensor(item["label"]).max() for item in training))
    if task == "segmentation":
        default = {
            "_target_": "UNet",
            "channels": [16, 32, 64, 128],
            "strides": [2, 2, 2],
            "num_res_units": 1,
        }
    else:
        default = {"_target_": "DenseNet", "init_features": 32, "growth_rate": 16, "block_config": [4, 8, 8]}
    default |= {"spatial_dims": len(size), "in_channels": channels, "out_channels": max(classes, 2)}
    made_step(config, "network", default)
    return partial(made_step, config, "network", default)
