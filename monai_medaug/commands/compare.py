"""``monai-medaug compare``: which augmentation helps on one's own data, in domain and shifted?"""

from __future__ import annotations

import argparse
import importlib.util
import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from monai_medaug.commands.command import Command
from monai_medaug.commands.reading import whole_number_from

_STEPS = ("load", "normalize", "network")


def _add_compare_arguments(parser: argparse.ArgumentParser) -> None:
    from monai_medaug.experiments import STRATEGY_NAMES
    from monai_medaug.experiments.outcomes import MEASURES_OF

    parser.add_argument(
        "data",
        type=Path,
        metavar="DATA.json",
        help="a MONAI datalist: training, and any number of test sets under other names, each a list of image and "
        "label; if wanted load, normalize and network as in a bundle's config, whose code runs as a bundle's does",
    )
    parser.add_argument(
        "--out", type=Path, required=True, metavar="DIR", help="results; a killed run goes on from here"
    )
    parser.add_argument(
        "--strategy", action="append", choices=STRATEGY_NAMES, metavar="NAME", help=f"of {', '.join(STRATEGY_NAMES)}"
    )
    parser.add_argument("--task", choices=tuple(MEASURES_OF), default="segmentation")
    parser.add_argument("--seeds", type=whole_number_from(1), default=3, metavar="N", help="runs of each (default: 3)")
    parser.add_argument(
        "--epochs", type=whole_number_from(1), default=10, metavar="N", help="of each run (default: 10)"
    )
    parser.add_argument("--batch-size", type=whole_number_from(1), default=8, metavar="N", help="default: 8")
    parser.add_argument("--group-key", metavar="KEY", help="of what tells the patient in the datalist")


def _run_compare(arguments: argparse.Namespace) -> None:
    from monai_medaug.experiments import compare_strategies, plot_strategies

    if importlib.util.find_spec("ignite") is None:
        raise ValueError("compare needs pytorch-ignite: pip install monai-medaug[train]")
    if len(arguments.strategy or ()) < 2 or len(set(arguments.strategy)) < len(arguments.strategy):
        raise ValueError("--strategy must be given twice or more, each another; the first is the baseline")
    config = _read_config(arguments.data)
    sets = {
        name: _loaded(name, items, config, arguments)
        for name, items in config.items()
        if name not in _STEPS and isinstance(items, list)
    }
    if len(sets) < 2 or "training" not in sets:
        raise ValueError("the datalist must hold training and a test set, each a list")
    training = sets.pop("training")
    found = compare_strategies(
        arguments.strategy,
        _network_maker(config, training, arguments.task),
        training,
        sets,
        arguments.out,
        task=arguments.task,
        seeds=arguments.seeds,
        epochs=arguments.epochs,
        batch_size=arguments.batch_size,
        normalize=_made_step(config, "normalize", {"_target_": "NormalizeIntensityd", "keys": "image"}),
        group_key=arguments.group_key,
        test_batch_size=1,
    )
    plot_strategies(found, arguments.out / "comparison.png")
    print(f"{found}\n\nwritten, with figures as JSON and a picture")


def _read_config(file: Path) -> dict[str, Any]:
    try:
        config = json.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise ValueError(f"the datalist cannot be read: {error.strerror or type(error).__name__}") from None
    except ValueError:
        raise ValueError("the datalist cannot be read: it is no JSON") from None
    if not isinstance(config, dict):
        raise ValueError("the datalist must be a JSON object with training and test sets")
    return config


def _made_step(config: dict[str, Any], name: str, default: dict[str, Any]) -> Any:
    """A part of the configuration, made as a bundle makes it."""
    from monai.bundle import ConfigParser

    try:
        return ConfigParser({name: config.get(name, default)}).get_parsed_content(name)
    except Exception as error:
        raise ValueError(f"{name} of the datalist cannot be made ({type(error).__name__})") from None


def _loaded(name: str, items: list[Any], config: dict[str, Any], arguments: argparse.Namespace) -> list[dict[str, Any]]:
    """The samples of a set, read; paths are relative to the datalist."""
    masks = arguments.task == "segmentation"
    keys = ["image", *(["label"] if masks else [])]
    steps = [{"_target_": "LoadImaged", "keys": keys}, {"_target_": "EnsureChannelFirstd", "keys": keys}]
    load: Callable[[Any], Any] = _made_step(config, "load", {"_target_": "Compose", "transforms": steps})
    found = []
    for number, item in enumerate(items, 1):
        if not isinstance(item, dict) or not {"image", "label"} <= item.keys():
            raise ValueError(f"sample {number} of {name!r} must have image and label")
        paths = {key: str(arguments.data.parent / item[key]) for key in keys if isinstance(item[key], str)}
        try:
            found.append(load({**item, **paths}))
        except Exception as error:  # whose message names the path
            raise ValueError(f"sample {number} of {name!r} cannot be loaded ({type(error).__name__})") from None
    return found


def _network_maker(config: dict[str, Any], training: list[dict[str, Any]], task: str) -> Callable[[], Any]:
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
    _made_step(config, "network", default)
    return partial(_made_step, config, "network", default)


COMMAND = Command(
    "train one network under several augmentation strategies and compare them, in domain and shifted",
    _add_compare_arguments,
    _run_compare,
)
