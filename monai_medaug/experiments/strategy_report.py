"""The result of a comparison of strategies: figures with intervals, histories, a table, JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from monai_medaug.experiments.outcomes import SetOutcomes, finite_or_none
from monai_medaug.functional.crossed import crossed_draws
from monai_medaug.functional.paired import interval_of


class StrategyComparison(dict):
    """A comparison as plain values; ``str()`` is a Markdown table, `to_json` is for machines.

    Entries: ``task``, ``baseline``, ``seeds``, ``level``, ``settings``, ``tests`` (by name the numbers of cases and
    groups) and ``strategies``: by name ``tests``, by test and measure ``mean``, ``interval`` and ``seeds`` (each seed's
    figure), and against the baseline ``gain``, ``gain_interval`` and ``seeds_better``; and ``history``, for each seed
    ``loss`` and by test ``loss`` and measures, a figure an epoch. None stands for what is not defined, as the
    baseline's gain over itself.

    Example:
        >>> found = StrategyComparison.from_json('{"task": "segmentation"}')
        >>> found["task"]
        'segmentation'
    """

    @staticmethod
    def from_json(text: str | Path) -> StrategyComparison:
        """From the text, or the file, that `to_json` wrote.

        Raises:
            ValueError: it is no such thing.
        """
        source = text.read_text(encoding="utf-8") if isinstance(text, Path) else text
        try:
            found = json.loads(source)
        except json.JSONDecodeError as error:
            raise ValueError(f"text must be the JSON of a comparison, got what can't be read: {error.msg}") from None
        if not isinstance(found, dict) or "task" not in found:
            raise ValueError("text must be the JSON of a comparison, got something else")
        return StrategyComparison(found)

    def to_json(self) -> str:
        """The comparison as JSON text."""
        return json.dumps(self, indent=1, ensure_ascii=False)

    def __str__(self) -> str:
        blocks = []
        for test, size in self["tests"].items():
            measures = list(next(iter(self["strategies"].values()))["tests"][test])
            head = ["strategy", *(f"{m} [{self['level']:.0%}]" for m in measures)]
            head += [f"{m} against {self['baseline']}" for m in measures] + ["seeds better"]
            rows = [head, ["---"] * len(head)]
            for name, found in self["strategies"].items():
                own = found["tests"][test]
                means = [_figure_with_interval(own[m]["mean"], own[m]["interval"], ".3f") for m in measures]
                gains = [_figure_with_interval(own[m]["gain"], own[m]["gain_interval"], "+.3f") for m in measures]
                better = own[measures[0]]["seeds_better"]
                rows.append([name, *means, *gains, "-" if better is None else f"{better} of {len(self['seeds'])}"])
            lines = ["| " + " | ".join(row) + " |" for row in rows]
            of = "" if size["groups"] == size["cases"] else f" of {size['groups']} groups"
            blocks.append("\n".join([f"{test}: {size['cases']} cases{of}, {len(self['seeds'])} seeds", "", *lines]))
        return "\n\n".join(blocks)


def _figure_with_interval(figure: float | None, interval: Sequence[float] | None, form: str) -> str:
    if figure is None or interval is None:
        return "-"
    return f"{figure:{form}} [{interval[0]:{form}}, {interval[1]:{form}}]"


def compared_outcomes(
    runs: Mapping[str, Sequence[Mapping[str, Any]]],
    groups: Mapping[str, np.ndarray],
    baseline: str,
    level: float,
    draws: int,
) -> tuple[dict[str, Any], dict[str, Any]]:
    """The figures of each strategy, and the sizes of the test sets.

    Args:
        runs: by strategy one run for each seed, as from `trained_outcomes`.
        groups: by test the group of each case.
        baseline: the strategy that the others are compared with, case by case and seed by seed.
        level: of the intervals.
        draws: of the bootstrap.
    """
    strategies: dict[str, Any] = {
        name: {"tests": {}, "history": [r["history"] for r in own]} for name, own in runs.items()
    }
    for test, group in groups.items():
        found = {name: _outcomes_of(own, test) for name, own in runs.items()}
        seeds = len(runs[baseline])
        ones = np.ones((1, len(group)))
        for name, outcomes in found.items():
            strategies[name]["tests"][test] = own = {}
            before = found[baseline].measures()
            for measure, figure in outcomes.measures().items():
                each = figure(ones)[0]
                own[measure] = {
                    "mean": finite_or_none(np.mean(each)),
                    "interval": _shares(_interval(figure, seeds, group, draws, level)),
                    "seeds": [finite_or_none(v) for v in each],
                    "gain": None,
                    "gain_interval": None,
                    "seeds_better": None,
                }
                if name == baseline:
                    continue
                base = before[measure]
                gains = each - base(ones)[0]
                own[measure] |= {
                    "gain": finite_or_none(np.mean(gains)),
                    "gain_interval": _interval(lambda w, f=figure, b=base: f(w) - b(w), seeds, group, draws, level),
                    "seeds_better": int((gains > 0).sum()),
                }
    sizes = {test: {"cases": len(group), "groups": len(np.unique(group))} for test, group in groups.items()}
    return strategies, sizes


def _outcomes_of(runs: Sequence[Mapping[str, Any]], test: str) -> SetOutcomes:
    values = np.array([run["outcomes"][test]["values"] for run in runs])
    return SetOutcomes(values, np.array(runs[0]["outcomes"][test]["truth"], dtype=int))


def _shares(interval: list[float] | None) -> list[float] | None:
    """All measures are shares; the stretch for few seeds reaches beyond them."""
    return None if interval is None else [min(max(end, 0.0), 1.0) for end in interval]


def _interval(statistic: Any, seeds: int, group: np.ndarray, draws: int, level: float) -> list[float] | None:
    found = crossed_draws(statistic, seeds, group, draws, level=level)
    return list(interval_of(found, level)) if len(found) else None
