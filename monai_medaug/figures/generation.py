"""The picture of a generation report: samples beside real images, distances, nearest pairs, and the three axes."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from monai_medaug.figures.comparison import save_png
from monai_medaug.functional.generation.grid import image_grid

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_SHOWN, _PAIRS = 36, 6


@dataclass(frozen=True)
class GenerationPictures:
    """Images (B, C, H, W) that a picture shows: generated, training and held-out ones."""

    samples: torch.Tensor
    training: torch.Tensor
    held_out: torch.Tensor


def generation_figure(
    report: Mapping[str, Any], images: GenerationPictures, path: str | os.PathLike | None = None
) -> Figure:
    """Draw a report: samples and real images, scores of copies, nearest pairs, planted copies.

    Args:
        report: from `generation_report`.
        images: that it is about.
        path: where to write a PNG, whose meta data stays empty.

    Raises:
        ValueError: it is no report.

    Example:
        >>> copies = {"scores": [0.9, 1.0], "scores_floor": [1.0, 1.1], "threshold": 0.6, "nearest": [0, 1],
        ...           "control": {"exact": 1.0, "mirrored": 1.0}, "verdict": "not found", "flagged": 0.0,
        ...           "flagged_floor": 0.0, "nearer_to_training": 0.5}
        >>> found = {"fidelity": {"fid": 2.0, "fid_floor": 1.0}, "memorising": copies,
        ...          "diversity": {"mean_distance": 0.9, "nearest_distance": 0.8, "recall": 0.7}}
        >>> parts = GenerationPictures(*torch.rand(3, 4, 1, 8, 8))
        >>> [axes.get_title() for axes in generation_figure(found, parts).axes][:2]
        ['generated', 'real, held out']
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    if not isinstance(report, Mapping) or not {"fidelity", "diversity", "memorising"} <= report.keys():
        raise ValueError(f"report must be that of generation_report, got {type(report).__name__}")
    figure = Figure(figsize=(13, 8.6), dpi=110, facecolor="white", layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(2, 3)
    low, high = np.percentile(images.held_out[:, 0].numpy(), (0.5, 99.5))
    copies = report["memorising"]
    for axes, title, own in (
        (panels[0, 0], "generated", images.samples),
        (panels[0, 1], "real, held out", images.held_out),
    ):
        _show(axes, title, image_grid(own[:_SHOWN], (low, high)))
    closest = np.argsort(copies["scores"], kind="stable")[:_PAIRS]
    nearest = [copies["nearest"][i] for i in closest]
    pairs = torch.stack([images.samples[closest], images.training[nearest]], 1).flatten(0, 1)
    _show(panels[0, 2], "lowest scores: generated, nearest training", image_grid(pairs, (low, high), 4))
    _draw_copy_scores(panels[1, 0], copies)
    _draw_control(panels[1, 1], copies)
    _write_axes(panels[1, 2], report)
    save_png(figure, path)
    return figure


def _show(axes: Axes, title: str, picture: Any) -> None:
    axes.imshow(np.asarray(picture), cmap="gray", vmin=0, vmax=255)
    axes.set_title(title, fontsize=11)
    axes.set_axis_off()


def _draw_copy_scores(axes: Axes, copies: Mapping[str, Any]) -> None:
    """Histograms of the scores of samples and of held-out images, with the threshold."""
    sets = {"held out": copies["scores_floor"], "generated": copies["scores"]}
    edges = np.linspace(0, max(max(v) for v in sets.values()), 41)
    for (name, values), colour in zip(sets.items(), ("0.6", "tab:blue"), strict=True):
        weights = np.full(len(values), 1 / len(values))
        axes.hist(values, edges.tolist(), weights=weights, histtype="stepfilled", alpha=0.55, color=colour, label=name)
    axes.axvline(copies["threshold"], color="tab:red", label="threshold: a copy lies left")
    axes.set_title("score: distance to the nearest training image", fontsize=11)
    axes.set_xlabel("in medians of held-out images")
    axes.set_ylabel("share of images")
    axes.legend(frameon=False, fontsize=9)


def _draw_control(axes: Axes, copies: Mapping[str, Any]) -> None:
    """Shares of planted copies that were found, and of samples and held-out images that were flagged."""
    shares = {f"planted: {name}": share for name, share in copies["control"].items()}
    shares |= {"generated": copies["flagged"], "held out": copies["flagged_floor"]}
    colours = ["tab:green"] * len(copies["control"]) + ["tab:blue", "0.6"]
    axes.barh(range(len(shares)), list(shares.values()), color=colours)
    for place, share in enumerate(shares.values()):
        axes.text(min(share, 0.84) + 0.02, place, f"{share:.1%}", va="center", fontsize=9)
    axes.set_yticks(range(len(shares)), list(shares), fontsize=9)
    axes.set_xlim(0, 1)
    axes.invert_yaxis()
    axes.set_title("flagged as a copy", fontsize=11)


def _write_axes(axes: Axes, report: Mapping[str, Any]) -> None:
    """The report's own text, or its first figures where it has none."""
    own = report["fidelity"]
    lines = [f"FID {own['fid']:.3g}, of real images {own['fid_floor']:.3g}"]
    various = report["diversity"]
    for name in ("mean_distance", "nearest_distance", "recall"):
        beside = f"{name}_floor"
        floor = f", of real images {various[beside]:.2f}" if beside in various else ""
        lines.append(f"{name.replace('_', ' ')} {various[name]:.2f}{floor}")
    copies = report["memorising"]
    lines.append(f"nearer to a training image {copies['nearer_to_training']:.1%}, by chance 50%")
    if "task" in report:
        task = report["task"]
        lines.append(f"{task['measure']} trained on generated {task['synthetic']:.3f}, on real {task['real']:.3f}")
    lines.append(f"copies of training images: {copies['verdict']}")
    axes.set_axis_off()
    axes.text(0, 0.95, "\n\n".join(lines), va="top", fontsize=11, transform=axes.transAxes)
