"""The picture of a restoration: before, after, and what was removed."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import numpy as np

from monai_medaug.figures.comparison import compared_slices, display_range, save_png

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def restoration_figure(
    original: Any,
    restored: Any,
    title: str = "restored",
    path: str | os.PathLike | None = None,
    window: str | None = None,
    inverted: bool = False,
) -> Figure:
    """Before, after, and the residual, which should show noise alone: the middle slice, and its centre enlarged.

    Args:
        original: channel-first image, (C, H, W) or (C, D, H, W); the first channel is shown.
        restored: what became of it, on the same grid.
        title: what was done.
        path: where to write a PNG, whose meta data stays empty.
        window: name of the display window of a CT, see `HUWindow`; None shows from the 0.5th to the 99.5th percentile.
        inverted: whether low values are bright, as in MONOCHROME1.

    Raises:
        ValueError: the images differ in shape.

    Example:
        >>> import torch
        >>> noisy = torch.randn(1, 32, 32)
        >>> [axes.get_title() for axes in restoration_figure(noisy, 0 * noisy).axes][:2]
        ['original', 'restored']
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    plane, source, result = compared_slices(original, restored, "restored")
    low, high = display_range(source, window)
    residual = source - result
    half = max(3 * float(residual.std()), 1e-12)
    figure = Figure(figsize=(12.9, 8.9), dpi=110, facecolor="white", layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(2, 3)
    grey = {"cmap": "gray_r" if inverted else "gray", "vmin": low, "vmax": high}
    change = {"cmap": "gray", "vmin": -half, "vmax": half}
    columns: tuple[tuple[np.ndarray, dict[str, Any], str], ...] = (
        (source, grey, "original"),
        (result, grey, title),
        (residual, change, f"removed, ±{half:.3g}"),
    )
    middle = tuple(slice(n // 2 - n // 8, n // 2 + max(n // 8, 1)) for n in source.shape)
    for (whole, enlarged), (picture, style, name) in zip(panels.T, columns, strict=True):
        whole.set_title(name, fontsize=12)
        for axes, values in ((whole, picture), (enlarged, picture[middle])):
            axes.imshow(values, aspect=plane.aspect, interpolation="nearest", **style)
            axes.set_axis_off()
    save_png(figure, path)
    return figure
