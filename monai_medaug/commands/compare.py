"""``monai-medaug compare``: which augmentation helps on one's own data, in domain and shifted?"""

from __future__ import annotations

import argparse
import importlib.util
from pathlib import Path

from monai_medaug.commands.command import Command
from monai_medaug.commands.datalist import DATALIST, loaded_sets, network_maker, normalization, read_datalist
from monai_medaug.commands.reading import whole_number_from


def _add_compare_arguments(parser: argparse.ArgumentParser) -> None:
    from monai_medaug.experiments import STRATEGY_NAMES
    from monai_medaug.experiments.outcomes import MEASURES_OF

    parser.add_argument(
        "data",
        type=Path,
        metavar="DATA.json",
        help=f"{DATALIST}; training, and any number of test sets under other names",
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
    config = read_datalist(arguments.data)
    sets = loaded_sets(config, arguments.data.parent, arguments.task)
    if len(sets) < 2 or "training" not in sets:
        raise ValueError("the datalist must hold training and a test set, each a list")
    training = sets.pop("training")
    found = compare_strategies(
        arguments.strategy,
        network_maker(config, training, arguments.task),
        training,
        sets,
        arguments.out,
        task=arguments.task,
        seeds=arguments.seeds,
        epochs=arguments.epochs,
        batch_size=arguments.batch_size,
        normalize=normalization(config),
        group_key=arguments.group_key,
        test_batch_size=1,
    )
    plot_strategies(found, arguments.out / "comparison.png")
    print(f"{found}\n\nwritten, with figures as JSON and a picture")


COMMAND = Command(
    "train one network under several augmentation strategies and compare them, in domain and shifted",
    _add_compare_arguments,
    _run_compare,
)
