"""The picture of a comparison of strategies: loss and accuracy by epoch with bands, and a forest plot of the gains."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from monai_medaug.figures.comparison import save_png

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_NAMES = {"dice": "Dice", "auc": "area under the ROC curve", "accuracy": "accuracy"}


def plot_strategies(comparison: Mapping[str, Any], path: str | os.PathLike | None = None) -> Figure:
    """Draw a comparison: above the histories, below what each strategy gains.

    Lines are means over seeds, bands reach from the least to the greatest seed. Points are gains over the baseline
    after the last epoch with their intervals over seeds and cases; those that exclude 0 are filled.

    Args:
        comparison: from `compare_strategies`, or the content of its ``comparison.json``.
        path: where to write a PNG, whose meta data stays empty.

    Raises:
        ValueError: it is no comparison.

    Example:
        >>> epochs = [0.9, 0.5]
        >>> history = [{"loss": epochs, "tests": {"shifted": {"loss": epochs, "dice": [0.5, 0.7]}}}]
        >>> own = {"mean": 0.7, "interval": [0.6, 0.8], "gain": 0.1, "gain_interval": [0.0, 0.2]}
        >>> base = own | {"gain": None, "gain_interval": None}
        >>> found = {"task": "segmentation", "baseline": "none", "level": 0.95, "tests": {"shifted": {"cases": 9}},
        ...          "strategies": {"none": {"history": history, "tests": {"shifted": {"dice": base}}},
        ...                         "ours": {"history": history, "tests": {"shifted": {"dice": own}}}}}
        >>> [axes.get_title() for axes in plot_strategies(found).axes if axes.get_title()]
        ['training loss', 'shifted: Dice', 'shifted: gain over none, 95%']
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    if not isinstance(comparison, Mapping) or not {"strategies", "tests", "baseline"} <= comparison.keys():
        raise ValueError(f"comparison must be that of compare_strategies, got {type(comparison).__name__}")
    tests, strategies = list(comparison["tests"]), comparison["strategies"]
    measure = next(iter(next(iter(strategies.values()))["tests"][tests[0]]))
    colours = dict(zip(strategies, _colours(len(strategies)), strict=True))
    height = 2.8 + max(2.0, 0.32 * len(strategies) + 0.9)
    figure = Figure(figsize=(4.2 * (1 + len(tests)), height), dpi=110, facecolor="white", layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(2, 1 + len(tests), squeeze=False, height_ratios=(2.8, height - 2.8))
    for name, found in strategies.items():
        history = found["history"]
        _draw_band(panels[0, 0], [run["loss"] for run in history], colours[name], name)
        for column, test in enumerate(tests, 1):
            each = [run["tests"][test][measure] for run in history]
            _draw_band(panels[0, column], each, colours[name], name)
    panels[0, 0].set_title("training loss", fontsize=11)
    legend = panels[1, 0]
    legend.set_axis_off()
    legend.legend(*panels[0, 0].get_legend_handles_labels(), loc="upper left", frameon=False, fontsize=10)
    for column, test in enumerate(tests, 1):
        panels[0, column].set_title(f"{test}: {_NAMES.get(measure, measure)}", fontsize=11)
        title = f"{test}: gain over {comparison['baseline']}, {comparison['level']:.0%}"
        panels[1, column].set_title(title, fontsize=11)
        gains = {name: found["tests"][test][measure] for name, found in strategies.items()}
        _draw_forest(panels[1, column], gains, colours)
    for axes in panels[0]:
        axes.set_xlabel("epoch")
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.grid(alpha=0.3)
    save_png(figure, path)
    return figure


def _colours(count: int) -> list[Any]:
    from matplotlib import colormaps

    table = colormaps["tab10" if count <= 10 else "tab20"]
    return [table(i % table.N) for i in range(count)]


def _draw_band(axes: Axes, each: Sequence[Sequence[float]], colour: Any, name: str) -> None:
    """The mean over runs by epoch, and the span of the runs."""
    values = np.asarray(each, dtype=float)
    epochs = np.arange(1, values.shape[1] + 1)
    axes.plot(epochs, values.mean(0), color=colour, label=name, marker="." if len(epochs) < 20 else None)
    axes.fill_between(epochs, values.min(0), values.max(0), color=colour, alpha=0.15, linewidth=0)


def _draw_forest(axes: Axes, gains: Mapping[str, Mapping[str, Any]], colours: Mapping[str, Any]) -> None:
    """A point with its interval for each strategy but the baseline."""
    shown = [name for name, own in gains.items() if own["gain"] is not None and own["gain_interval"] is not None]
    for place, name in enumerate(shown):
        low, high = gains[name]["gain_interval"]
        filled = low > 0 or high < 0
        axes.plot([low, high], [place, place], color=colours[name], linewidth=2)
        face = colours[name] if filled else "white"
        axes.plot(gains[name]["gain"], place, "o", color=colours[name], markerfacecolor=face, markersize=7)
    axes.axvline(0, color="0.4", linewidth=1)
    axes.set_yticks(range(len(shown)), shown)
    axes.set_ylim(max(len(shown), 1) - 0.5, -0.5)
    axes.locator_params(axis="x", nbins=5)
    axes.grid(axis="x", alpha=0.3)
