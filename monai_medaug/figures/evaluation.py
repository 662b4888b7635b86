"""The picture of an evaluation: both images, and where they are wrong, or differ."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import numpy as np

from monai_medaug.figures.comparison import compared_slices, display_range, save_png

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def evaluation_figure(
    original: Any,
    enhanced: Any,
    reference: Any = None,
    mask: Any = None,
    path: str | os.PathLike | None = None,
    window: str | None = None,
    inverted: bool = False,
) -> Figure:
    """One slice of both images with the map of the error below each, or of the change where there is no reference.

    Args:
        original: channel-first image, (C, H, W) or (C, D, H, W); the first channel is shown.
        enhanced: what became of it, on the same grid.
        reference: the truth, on the same grid.
        mask: the slice that holds most of it is shown.
        path: where to write a PNG, whose meta data stays empty.
        window: name of the display window of a CT, see `HUWindow`; None shows from the 0.5th to the 99.5th percentile.
        inverted: whether low values are bright, as in MONOCHROME1.

    Raises:
        ValueError: the images differ in shape.

    Example:
        >>> import torch
        >>> image = torch.randn(1, 32, 32)
        >>> [axes.get_title() for axes in evaluation_figure(image, 0.9 * image).axes][:3]
        ['original', 'enhanced', 'enhanced - original, ±0...']
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    plane, before, after = compared_slices(original, enhanced, "enhanced", mask)
    pictures, errors = {"original": before, "enhanced": after}, {"enhanced - original": after - before}
    if reference is not None:
        truth = compared_slices(original, reference, "reference", mask)[2]
        pictures["reference"] = truth
        errors = {f"{name} - reference": pictures[name] - truth for name in ("original", "enhanced")}
    low, high = display_range(before, window)
    half = max(float(np.percentile(np.abs(np.stack([*errors.values()])), 99.5)), 1e-12)
    columns = len(pictures) if reference is not None else 3
    height = float(np.clip(4.3 * plane.aspect * before.shape[0] / before.shape[1], 1.5, 9.0)) + 0.4  # and a title
    rows = 1 if reference is None else 2
    figure = Figure(figsize=(4.3 * columns, rows * height), dpi=110, facecolor="white", layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(rows, columns, squeeze=False)
    grey = {"cmap": "gray_r" if inverted else "gray", "vmin": low, "vmax": high}
    drawn: list[tuple[np.ndarray, dict[str, Any], str]] = [(picture, grey, name) for name, picture in pictures.items()]
    error_style = {"cmap": "RdBu_r", "vmin": -half, "vmax": half}
    drawn += [(error, error_style, f"{name}, ±{half:.3g}") for name, error in errors.items()]
    for axes in panels.flat:
        axes.set_axis_off()
    for axes, (picture, style, name) in zip(panels.flat, drawn, strict=False):
        shown = axes.imshow(picture, aspect=plane.aspect, interpolation="nearest", **style)
        axes.set_title(name, fontsize=12)
    figure.colorbar(shown, ax=panels[-1, -1], shrink=0.8)
    save_png(figure, path)
    return figure
