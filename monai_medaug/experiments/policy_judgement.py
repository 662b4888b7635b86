"""Whether a learned policy was worth its search: trained again over seeds, beside what costs no search."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import nn

from monai_medaug.experiments.comparison import compare_strategies
from monai_medaug.experiments.outcomes import MEASURES_OF
from monai_medaug.experiments.strategy_report import StrategyComparison
from monai_medaug.policies import AugmentationPolicy, MedTrivialAugmentd
from monai_medaug.policies.operations import POLICY_MODALITIES

_TRIVIAL, _NONE = "trivial", "none"


class PolicyJudgement(dict):
    """The comparison against each baseline: ``against`` holds a `StrategyComparison` by its name.

    ``str()`` says plainly for each test and policy whether it beats doing nothing, and whether it beats TrivialAugment.

    Example:
        >>> PolicyJudgement(against={}, policies=[])["policies"]
        []
    """

    def sentences(self) -> list[str]:
        """One for each policy, test and baseline."""
        found = []
        for baseline, comparison in self["against"].items():
            measure = MEASURES_OF[comparison["task"]][0]
            for test in comparison["tests"]:
                for name in self["policies"]:
                    own = comparison["strategies"][name]["tests"][test][measure]
                    said = _outcome_verb(own["gain_interval"])
                    found.append(f"{test}: {name} {said} {_TITLES.get(baseline, baseline)} in {measure}")
        return found

    def __str__(self) -> str:
        tables = [f"Against {name}:\n\n{comparison}" for name, comparison in self["against"].items()]
        return "\n\n".join([*tables, "\n".join(f"- {sentence}" for sentence in self.sentences())])


_TITLES = {_NONE: "no augmentation", _TRIVIAL: "TrivialAugment"}


def _outcome_verb(interval: Sequence[float] | None) -> str:
    if interval is None:
        return "can't be told from"
    return "beats" if interval[0] > 0 else "loses to" if interval[1] < 0 else "is not told from"


def judge_policies(
    policies: Mapping[str, AugmentationPolicy] | Sequence[AugmentationPolicy],
    network: Callable[[], nn.Module],
    training: Sequence[Mapping] | Callable[[int], Sequence[Mapping]],
    tests: Mapping[str, Sequence[Mapping]],
    out_dir: str | Path,
    schemes: Mapping[str, Any] | Sequence[str] = ("nnunet",),
    guard: bool = True,
    **comparison: Any,
) -> PolicyJudgement:
    """Train anew under each policy, no augmentation, TrivialAugment and named schemes, over seeds, and compare.

    The score by which a search chose a policy is the best of many, on one validation set and with one seed, and so too
    good. Here all get the same budget, on test sets that no search has seen, in domain and shifted, with intervals over
    seeds and patients; a search that doesn't help says so. Finished runs stay on disk, see `compare_strategies`.

    Args:
        policies: by name, or a list, such as ``found.top(3)``: they are called ``policy 1`` and so on.
        network: makes the network.
        training: samples, or a function that gives those of a seed.
        tests: by name, such as ``"in domain"`` and ``"shifted"``.
        out_dir: folder for results and checkpoints.
        schemes: names of `named_strategy`, or strategies by name, as further comparisons.
        guard: judge the samples of policies and TrivialAugment by a `PreservingCompose`, as the presets do.
        comparison: further arguments of `compare_strategies`: ``task``, ``seeds``, ``epochs``, …

    Raises:
        ImportError: pytorch-ignite is missing: ``pip install monai-medaug[train]``.
        TypeError: a policy is none.
        ValueError: there are none, they differ in modality, or an argument is out of its range.
    """
    named = policies if isinstance(policies, Mapping) else {f"policy {n}": p for n, p in enumerate(policies, 1)}
    if wrong := [p for p in named.values() if not isinstance(p, AugmentationPolicy)]:
        raise TypeError(f"policies must be AugmentationPolicy objects, got {type(wrong[0]).__name__}")
    modalities = [m for m in POLICY_MODALITIES if any(p.modality == m for p in named.values())]
    if len(modalities) != 1:
        raise ValueError(f"policies must be of one modality, at least one, got {modalities or 'none'}")
    image = comparison.get("image_key", "image")
    masks = comparison.get("label_key", "label") if comparison.get("task", "segmentation") == "segmentation" else ()
    others = dict(schemes) if isinstance(schemes, Mapping) else {name: name for name in schemes}
    if taken := [name for name in others if name in (_NONE, _TRIVIAL, *named)]:
        raise ValueError(f"schemes must have names of their own, got {taken[0]!r}")
    strategies = {
        _NONE: None,
        _TRIVIAL: MedTrivialAugmentd(image, modalities[0], masks, guard=guard),
        **others,
        **{name: policy.to_compose(image, masks, guard=guard) for name, policy in named.items()},
    }
    against: dict[str, StrategyComparison] = {
        baseline: compare_strategies(strategies, network, training, tests, out_dir, baseline=baseline, **comparison)
        for baseline in (_NONE, _TRIVIAL)
    }
    return PolicyJudgement(policies=list(named), against=against)
