"""Whether a task goes better on enhanced images than on the originals: the comparison and its report."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import torch
from monai.metrics.metric import CumulativeIterationMetric

from monai_medaug.core.arguments import number, whole_number
from monai_medaug.functional.paired import bootstrap_draws, interval_of, percent_gain, wilcoxon_p


class ImprovementReport(dict):
    """By measure: means before and after, gain with interval and p; ``str()`` is a table, `to_json` is for machines.

    A gain above 0 is an improvement, also where lower values are better. Entries: ``original`` and ``enhanced`` (means
    over cases), ``gain``, ``interval`` (low, high), ``percent`` (of the original; None on 0), ``p``, ``cases``; all but
    the last None where the measure is not defined.
    """

    def to_json(self) -> str:
        """The report as JSON text."""
        return json.dumps(self, indent=2, ensure_ascii=False)

    def __str__(self) -> str:
        lines = [f"{'':16}{'original':>10}{'enhanced':>10}{'gain':>11}{'interval':>26}{'per cent':>10}{'p':>10}"]
        for name, found in self.items():
            if found["gain"] is None:
                lines.append(f"{name:16}{'not defined for these cases':>38}")
                continue
            low, high = found["interval"]
            percent = "-" if found["percent"] is None else f"{found['percent']:+.1f} %"
            lines.append(
                f"{name:16}{found['original']:>10.4g}{found['enhanced']:>10.4g}{found['gain']:>+11.4g}"
                f"{f'{low:+.4g} to {high:+.4g}':>26}{percent:>10}{found['p']:>10.3g}"
            )
        return "\n".join(lines)


class ImprovementMetric(CumulativeIterationMetric):
    """A task's measures on originals against enhanced images of the same cases.

    MONAI's handlers and evaluators call it with (y_pred, y), where ``y_pred`` holds both predictions of each case:
    ``torch.stack([original, enhanced], dim=1)``, (B, 2, …). `aggregate` gives the gain in the first measure, by which a
    handler may choose; `report` gives everything.
    """

    def __init__(self, level: float = 0.95, draws: int = 2000, seed: int = 0) -> None:
        super().__init__()
        self.level = number("level", level, 0.5, 0.9999)
        self.draws = whole_number("draws", draws, 10)
        self.seed = whole_number("seed", seed, 0)

    def add_cases(
        self,
        predictor: Callable[[Any], torch.Tensor],
        originals: Iterable[Any],
        enhanced: Iterable[Any],
        targets: Iterable[Any],
    ) -> None:
        """Predict both versions of each case by any callable, and add what came out.

        Args:
            predictor: from an image to a prediction for it, (C, …): a network wrapped so that it takes one image, say.
            originals: images.
            enhanced: the same images, enhanced.
            targets: what is true of each.
        """
        for original, improved, target in zip(originals, enhanced, targets, strict=True):
            with torch.no_grad():
                pair = torch.stack([torch.as_tensor(predictor(x)) for x in (original, improved)])
            self([pair], [target])

    def aggregate(self, *args: Any, **kwargs: Any) -> torch.Tensor:
        """The mean gain in the first measure; nan where it is not defined."""
        first = next(iter(self.report().values()))["gain"]
        return torch.tensor(np.nan if first is None else first)

    def report(self) -> ImprovementReport:
        """All measures with their intervals."""
        raise NotImplementedError

    def _entry(
        self,
        before: float,
        after: float,
        gain: Callable[[np.ndarray], np.ndarray],
        cases: int,
        p: Callable[[np.ndarray], float],
    ) -> dict[str, Any]:
        """The entry of a measure, with its gain over drawn cases (draws, cases), and p by the sorted draws."""
        whole = float(gain(np.arange(cases)[None])[0])
        if not np.isfinite(whole):
            return dict.fromkeys(("original", "enhanced", "gain", "interval", "percent", "p")) | {"cases": cases}
        draws = bootstrap_draws(gain, cases, self.draws, self.seed)
        return {
            "original": float(before),
            "enhanced": float(after),
            "gain": whole,
            "interval": list(interval_of(draws, self.level)),
            "percent": percent_gain(float(before), whole),
            "p": p(draws),
            "cases": cases,
        }

    def _mean_entry(self, before: np.ndarray, after: np.ndarray, lower_is_better: bool) -> dict[str, Any]:
        """The entry of a measure that each case has."""
        gains = before - after if lower_is_better else after - before
        means = before.mean(), after.mean()
        return self._entry(*means, lambda drawn: gains[drawn].mean(1), len(gains), lambda _: wilcoxon_p(gains))
