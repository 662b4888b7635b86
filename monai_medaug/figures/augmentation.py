"""The picture of an augmentation: before, after, what moved, and the report in short."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from monai_medaug.core.contract import REGISTRY
from monai_medaug.core.phrases import phrase
from monai_medaug.core.trace import Record
from monai_medaug.figures.comparison import (
    compared_slices,
    display_range,
    draw_deformation_grid,
    geometric_record,
    save_png,
)
from monai_medaug.figures.planes import DisplayPlane
from monai_medaug.functional.hounsfield import AIR_HU, PADDING_HU

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_GRID_LINES = 22
_BLUE, _ORANGE = "#56b4e9", "#ffb000"
_VERDICT_COLOURS = {"yes": "#007a3d", "no": "#c1121f", "not checked": "#6c757d"}


def augmentation_figure(
    original: Any,
    augmented: Any,
    mask: Any = None,
    augmented_mask: Any = None,
    report: Mapping[str, Any] | None = None,
    record: Record | None = None,
    path: str | os.PathLike | None = None,
    window: str | None = "soft_tissue",
    inverted: bool = False,
    oriented: bool = True,
) -> Figure:
    """Original, augmented, difference, deformation grid and mask contour, side by side.

    A volume shows the axial slice that holds most of the mask, or its middle one; the patient's right is on the left,
    as radiologists look at it, and pixels have their true proportions.

    Args:
        original: channel-first image, (C, H, W) or (C, D, H, W), CT in HU; the first channel is shown.
        augmented: what became of it, on the same grid.
        mask: the labels before; may lie on another grid.
        augmented_mask: the labels after; their outline is drawn over the augmented image.
        report: the `augmentation_report`, for the verdict in the title.
        record: the geometric step to draw; None for the last one on ``augmented``.
        path: where to write a PNG, whose meta data stays empty.
        window: name of the display window of a CT, see `HUWindow`; None shows from the 0.5th to the 99.5th percentile.
        inverted: whether low values are bright, as in MONOCHROME1.
        oriented: whether the affine tells how the patient lay; radiographs have none.

    Raises:
        ValueError: the images differ in shape.

    Example:
        >>> import torch
        >>> figure = augmentation_figure(torch.zeros(1, 32, 32), torch.ones(1, 32, 32))
        >>> [axes.get_title() for axes in figure.axes][:2]
        ['original', 'augmented']
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.patheffects import withStroke

    plane, source, result = compared_slices(original, augmented, "augmented", mask)
    height = float(np.clip(4.2 * source.shape[0] * plane.aspect / source.shape[1], 1.8, 6.5))
    figure = Figure(figsize=(12.9, 2 * (height + 0.4)), dpi=110, facecolor="white")
    FigureCanvasAgg(figure)
    panels = figure.subplots(2, 3).ravel()
    figure.subplots_adjust(
        left=0.008, right=0.992, bottom=0.012, top=1 - 0.19 / (height + 0.4), wspace=0.03, hspace=0.1
    )
    low, high = display_range(source, window)
    unit, difference = "", result - source
    if window is not None:
        unit = " HU"
        difference = np.subtract(*(np.where(p > PADDING_HU, p, AIR_HU) for p in (result, source)))  # padding as air
    grey = {"cmap": "gray_r" if inverted else "gray", "vmin": low, "vmax": high}
    half = max((high - low) / 2, 1e-12)
    shown = f"{half:.0f}" if half >= 100 else f"{half:.3g}"
    change = {"cmap": "RdBu_r", "vmin": -half, "vmax": half}
    for axes, name, picture, style in (
        (panels[0], "original", source, grey),
        (panels[1], "augmented", result, grey),
        (panels[2], f"difference, -{shown} (blue) to +{shown}{unit} (red)", difference, change),
        (panels[3], "deformation grid", result, grey),
        (panels[4], "mask: before (white), after (orange)", result, grey),
    ):
        axes.imshow(picture, aspect=plane.aspect, interpolation="antialiased", **style)
        axes.set_title(name, fontsize=12, pad=5)
    for axes in panels:
        axes.set_axis_off()
    step = record or geometric_record(augmented)
    draw_deformation_grid(panels[3], plane, step, _GRID_LINES, colors=_BLUE, linewidths=0.8)
    if step is None:
        panels[3].set_title("no deformation", fontsize=12, pad=5)
    _draw_contours(panels[4], [None if m is None else plane.resampled(m) for m in (mask, augmented_mask)])
    outlined: dict[str, Any] = {"color": "w", "path_effects": [withStroke(linewidth=2, foreground="black")]}
    letters = plane.letters if oriented else ("", "")
    for x, y, letter in ((0.5, 0.965, letters[0]), (0.03, 0.5, letters[1])):
        panels[0].text(x, y, letter, ha="center", va="center", transform=panels[0].transAxes, **outlined)
    _write_summary(panels[5], plane, report)
    save_png(figure, path)
    return figure


def _draw_contours(axes: Axes, contours: list[np.ndarray | None]) -> None:
    styles: tuple[dict[str, Any], ...] = (
        {"colors": "w", "linestyles": "dashed", "linewidths": 1.1},
        {"colors": _ORANGE, "linewidths": 1.7},
    )
    drawn = False
    for labels, style in zip(contours, styles, strict=True):
        if labels is None or min(labels.shape) < 2:
            continue
        for value in np.unique(labels[labels != 0]):
            axes.contour(labels == value, levels=[0.5], **style)
            drawn = True
    if not drawn:
        axes.set_title("no mask here", fontsize=12, pad=5)


def _write_summary(axes: Axes, plane: DisplayPlane, report: Mapping[str, Any] | None) -> None:
    """What was applied, and the verdict."""
    lines = []
    if plane.axis is not None:
        lines.append((f"slice {plane.index + 1} of {plane.grid.shape[plane.axis]}", "black"))
    if report is not None:
        for step in report["steps"]:
            if step["applied"]:
                values = {**step.get("params", {}), **step.get("figures", {})}
                lines += [(text, "black") for text in _step_in_words(step["name"], values)]
        lines += [(name.removeprefix("Rand"), "black") for name in report.get("untraced", [])]
        if report.get("rejected"):
            lines.append(("rejected: the input was returned", "black"))
        elif report.get("strength", 1) < 1:
            lines.append((f"eased to {report['strength']:.0%} of what was drawn", "black"))
        for subject in ("anatomy", "pathology"):
            verdict = report[f"{subject}_preserved"]
            lines.append((f"{subject} preserved: {verdict}", _VERDICT_COLOURS[verdict]))
    for number, (text, colour) in enumerate(lines):
        axes.text(0.06, 0.9 - 0.085 * number, text, color=colour, fontsize=13, va="top", transform=axes.transAxes)


def _step_in_words(name: str, values: Mapping[str, Any]) -> list[str]:
    """The quantities of an operation's headline, else its name."""
    if name not in REGISTRY:
        return [name.removeprefix("Rand")]
    operation = REGISTRY[name]
    chosen = operation.phrases if operation.headline is None else operation.headline
    said = [phrase(operation, quantity, values[quantity]) for quantity in chosen if quantity in values]
    return said or [operation.__name__.removeprefix("Rand")]
