"""The picture of a search: the score of each trial, and the operations of the best policies."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from monai_medaug.figures.comparison import save_png

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_BEST = 5


def plot_search(search: Mapping[str, Any], path: str | os.PathLike | None = None) -> Figure:
    """Draw a search: on the left the scores over the trials with the best so far, on the right the best policies.

    Hollow points were pruned. The right panel has a column for each of the best
    five policies and a row for each operation: the area of a mark is the share of samples that get the operation, its
    colour the mean magnitude.

    Args:
        search: from `search_policy`, or the content of its JSON.
        path: where to write a PNG, whose meta data stays empty.

    Raises:
        ValueError: it is no search.

    Example:
        >>> steps = [{"operation": "rotate", "probability": 0.5, "magnitude": 0.4}]
        >>> policy = {"sub_policies": [{"weight": 1.0, "steps": steps}]}
        >>> trial = {"number": 0, "state": "complete", "score": 0.8, "constraints": {}, "policy": policy}
        >>> [axes.get_title() for axes in plot_search({"trials": [trial]}).axes if axes.get_title()]
        ['score over trials', 'the best policies']
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    if not isinstance(search, Mapping) or not isinstance(search.get("trials"), list):
        raise ValueError(f"search must be that of search_policy, got {type(search).__name__}")
    scored = [t for t in search["trials"] if t["score"] is not None]
    inside = [t for t in scored if t["state"] == "complete" and all(v <= 0 for v in t["constraints"].values())]
    best = sorted(inside, key=lambda t: (-t["score"], t["number"]))[:_BEST]
    figure = Figure(figsize=(10, 4.2), dpi=110, facecolor="white", layout="constrained")
    FigureCanvasAgg(figure)
    left, right = figure.subplots(1, 2, width_ratios=(3, 2))
    _draw_scores(left, scored, inside)
    _draw_policies(figure, right, best)
    if path is not None:
        save_png(figure, path)
    return figure


def _draw_scores(axes: Axes, scored: list[Mapping[str, Any]], inside: list[Mapping[str, Any]]) -> None:
    pruned = [t for t in scored if t["state"] == "pruned"]
    for trials, name, colour in ((inside, "complete", "#1f77b4"), (pruned, "pruned", "none")):
        if trials:
            numbers, scores = ([t[key] for t in trials] for key in ("number", "score"))
            axes.scatter(numbers, scores, s=18, label=name, facecolors=colour, edgecolors="#1f77b4")
    if inside:
        ordered = sorted(inside, key=lambda t: t["number"])
        best = np.maximum.accumulate([t["score"] for t in ordered])
        axes.step([t["number"] for t in ordered], best, where="post", color="#d62728", label="best so far")
    axes.set_title("score over trials")
    axes.set_xlabel("trial")
    axes.set_ylabel("score")
    if axes.get_legend_handles_labels()[0]:
        axes.legend(fontsize=8)


def _draw_policies(figure: Figure, axes: Axes, best: list[Mapping[str, Any]]) -> None:
    shares: dict[str, np.ndarray] = {}
    sums: dict[str, np.ndarray] = {}
    for column, trial in enumerate(best):
        subs = trial["policy"]["sub_policies"]
        total = sum(sub["weight"] for sub in subs)
        for sub in subs:
            for step in sub["steps"]:
                share = step["probability"] * sub["weight"] / total
                for table, value in ((shares, share), (sums, share * step["magnitude"])):
                    table.setdefault(step["operation"], np.zeros(len(best)))[column] += value
    names = sorted(shares, key=lambda name: float(shares[name].sum()))
    for row, name in enumerate(names):
        used = np.flatnonzero(shares[name] > 0)
        colours = sums[name][used] / shares[name][used]
        size = 300 * shares[name][used]
        marks = axes.scatter(used, [row] * len(used), s=size, c=colours, vmin=0, vmax=1, cmap="viridis")
    if names:
        figure.colorbar(marks, ax=axes, label="magnitude")
    axes.set_yticks(range(len(names)), names, fontsize=8)
    axes.set_xticks(range(len(best)), [f"trial {t['number']}\n{t['score']:.3f}" for t in best], fontsize=8)
    axes.margins(x=0.15, y=0.08)
    axes.set_title("the best policies")
