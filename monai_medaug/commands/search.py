"""``monai-medaug search``: a policy of augmentation for one's own data."""

from __future__ import annotations

import argparse
import importlib.util
import subprocess
import sys
from pathlib import Path
from typing import Any

from monai_medaug.commands.command import Command
from monai_medaug.commands.datalist import DATALIST, loaded_sets, network_maker, normalization, read_datalist
from monai_medaug.commands.reading import whole_number_from

_WORKER = "--worker"
"""Given to the further processes of ``--jobs``: they only work on the study."""


def _add_search_arguments(parser: argparse.ArgumentParser) -> None:
    from monai_medaug.experiments.outcomes import MEASURES_OF
    from monai_medaug.policies.operations import POLICY_MODALITIES
    from monai_medaug.policies.search import SAMPLERS

    parser.add_argument(
        "data", type=Path, metavar="DATA.json", help=f"{DATALIST}; training, and validation, of other patients"
    )
    parser.add_argument("--modality", choices=POLICY_MODALITIES, required=True, help="what the images are; CT in HU")
    parser.add_argument(
        "--out", type=Path, required=True, metavar="DIR", help="results; an interrupted search goes on from here"
    )
    parser.add_argument("--task", choices=tuple(MEASURES_OF), default="segmentation")
    parser.add_argument(
        "--objective",
        choices=("density", "training"),
        default="density",
        help="density: train once, score a policy by inference; training: train under each (default: density)",
    )
    parser.add_argument(
        "--trials", type=whole_number_from(1), metavar="N", help="budget (default: 50, without --hours)"
    )
    parser.add_argument(
        "--hours", type=_positive_number, metavar="H", help="budget of time; what has begun is finished"
    )
    parser.add_argument("--sampler", choices=SAMPLERS, default="tpe", help="default: tpe")
    parser.add_argument("--seed", type=whole_number_from(0), default=0, metavar="N", help="default: 0")
    parser.add_argument("--epochs", type=whole_number_from(1), default=10, metavar="N", help="default: 10")
    parser.add_argument("--batch-size", type=whole_number_from(1), default=8, metavar="N", help="default: 8")
    parser.add_argument("--sub-policies", type=whole_number_from(1), default=5, metavar="N", help="default: 5")
    parser.add_argument("--steps", type=whole_number_from(1), default=2, metavar="N", help="of each (default: 2)")
    parser.add_argument(
        "--jobs", type=whole_number_from(1), default=1, metavar="N", help="processes that share the search (default: 1)"
    )
    parser.add_argument(_WORKER, action="store_true", help=argparse.SUPPRESS)


def _run_search(arguments: argparse.Namespace) -> None:
    from monai_medaug.experiments.policy_objectives import DensityMatching, PolicyTraining
    from monai_medaug.figures.search import plot_search
    from monai_medaug.policies import PolicySpace, PreservationConstraint, search_policy

    for package, name, extra in (("optuna", "Optuna", "search"), ("ignite", "pytorch-ignite", "train")):
        if importlib.util.find_spec(package) is None:
            raise ValueError(f"search needs {name}: pip install monai-medaug[{extra}]")
    config = read_datalist(arguments.data)
    sets = loaded_sets(config, arguments.data.parent, arguments.task)
    if not {"training", "validation"} <= sets.keys():
        raise ValueError("the datalist must hold training and validation, each a list")
    training, validation = sets["training"], sets["validation"]
    common: dict[str, Any] = {
        "task": arguments.task,
        "epochs": arguments.epochs,
        "batch_size": arguments.batch_size,
        "normalize": normalization(config),
        "test_batch_size": 1,
    }
    network = network_maker(config, training, arguments.task)
    objective = (
        DensityMatching(network, training, validation, arguments.out / "network", **common)
        if arguments.objective == "density"
        else PolicyTraining(network, training, validation, **common)
    )
    space = PolicySpace(
        arguments.modality,
        sub_policies=arguments.sub_policies,
        steps=arguments.steps,
        spatial_dims=training[0]["image"].ndim - 1,
    )
    trials = 50 if arguments.trials is None and arguments.hours is None else arguments.trials
    limit = PreservationConstraint(training) if arguments.task == "segmentation" else None

    def worked(hours: float | None, progress: bool) -> Any:
        return search_policy(
            *(objective, space, arguments.out / "study.journal"),
            trials=trials,
            hours=hours,
            sampler=arguments.sampler,
            constraint=limit,
            seed=arguments.seed,
            progress=progress,
        )

    helpers = [_started_helper(arguments) for _ in range(0 if arguments.worker else arguments.jobs - 1)]
    try:
        found = worked(arguments.hours, not arguments.worker)
        for helper in helpers:
            helper.wait()
    finally:
        for helper in helpers:
            helper.terminate()
    if arguments.worker:
        return
    if helpers:
        found = worked(0, False)  # their last trials too
    best = found.best
    best.write(arguments.out / "policy.json")
    for name, text in (("search.json", found.to_json()), ("search.md", f"{found}\n\n{best}\n")):
        temporary = arguments.out / f"{name}.part"
        temporary.write_text(text, encoding="utf-8")
        temporary.replace(arguments.out / name)
    plot_search(found, arguments.out / "search.png")
    print(f"{found}\n\n{best}\n\nwritten, with the best policy as JSON and a picture")


def _started_helper(arguments: argparse.Namespace) -> subprocess.Popen:
    """The same command in another process, as a worker."""
    given = [str(arguments.data), "--out", str(arguments.out), _WORKER]
    names = ("modality", "task", "objective", "trials", "hours", "sampler", "seed", "epochs", "batch_size")
    for name in (*names, "sub_policies", "steps"):
        if (value := getattr(arguments, name)) is not None:
            given += [f"--{name.replace('_', '-')}", str(value)]
    return subprocess.Popen([sys.executable, "-m", "monai_medaug", "search", *given], stdout=subprocess.DEVNULL)


def _positive_number(text: str) -> float:
    try:
        if 0 < float(text) < 1e6:
            return float(text)
    except ValueError:
        raise argparse.ArgumentTypeError("must be a number") from None
    raise argparse.ArgumentTypeError("must be above 0")


COMMAND = Command(
    "search a policy of augmentation for your own data: which operations, how often, how far",
    _add_search_arguments,
    _run_search,
)
