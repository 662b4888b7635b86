"""The picture of a comparison: a line and a band for each strategy, a point for each gain."""

import pytest
from matplotlib.colors import to_rgba

from monai_medaug.figures import plot_strategies


def comparison(names=("none", "theirs", "ours"), seeds: int = 3, epochs: int = 5) -> dict:
    strategies = {}
    for place, name in enumerate(names):
        falling = [1 / (1 + e) + 0.01 * place for e in range(epochs)]
        history = [
            {"loss": falling, "tests": {t: {"loss": falling, "dice": [0.1 * s + e / 10 for e in range(epochs)]}}}
            for s in range(seeds)
            for t in ("shifted",)
        ]
        gain = None if place == 0 else 0.05 * place - 0.07
        ends = None if gain is None else [gain - 0.04, gain + 0.04] if place == 1 else [gain - 0.01, gain + 0.01]
        own = {"dice": {"mean": 0.5, "interval": [0.4, 0.6], "gain": gain, "gain_interval": ends}}
        strategies[name] = {"history": history, "tests": {"shifted": own}}
    tests = {"shifted": {"cases": 9, "groups": 9}}
    return {"baseline": names[0], "level": 0.9, "tests": tests, "strategies": strategies}


def test_lines_bands_and_points(tmp_path):
    figure = plot_strategies(comparison(), tmp_path / "figure.png")
    loss, dice, legend, forest = figure.axes
    assert [len(axes.get_lines()) for axes in (loss, dice)] == [3, 3]
    assert len(dice.collections) == 3
    low = min(p.vertices[:, 1].min() for c in dice.collections for p in c.get_paths())
    assert low == pytest.approx(0)
    assert [text.get_text() for text in legend.get_legend().get_texts()] == ["none", "theirs", "ours"]
    assert [label.get_text() for label in forest.get_yticklabels()] == ["theirs", "ours"]
    points = [line for line in forest.get_lines() if line.get_marker() == "o"]
    assert [float(p.get_xdata()[0]) for p in points] == pytest.approx([-0.02, 0.03])
    assert to_rgba(points[0].get_markerfacecolor()) == to_rgba("white"), "an interval that holds 0 is not filled"
    assert to_rgba(points[1].get_markerfacecolor()) != to_rgba("white")
    assert (tmp_path / "figure.png").stat().st_size > 10_000


def test_many_strategies_and_one_epoch():
    names = [f"strategy {n}" for n in range(23)]
    figure = plot_strategies(comparison(names, seeds=1, epochs=1))
    assert len(figure.axes[0].get_lines()) == 23


def test_what_is_no_comparison_is_refused():
    with pytest.raises(ValueError, match="comparison must be that of compare_strategies"):
        plot_strategies({"task": "segmentation"})
