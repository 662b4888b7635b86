"""A row of the gallery: original, three results and the difference, as a PNG."""

from __future__ import annotations

import io
import re
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from monai.data.meta_tensor import MetaTensor

from monai_medaug.core.contract import Params
from monai_medaug.core.operation import Operation
from monai_medaug.core.phrases import phrase
from monai_medaug.core.tensors import affine_of
from monai_medaug.figures.comparison import draw_deformation_grid, geometric_record
from monai_medaug.figures.gallery.images import GalleryImage
from monai_medaug.figures.planes import DisplayPlane
from monai_medaug.functional.geometry.grid import VoxelGrid
from monai_medaug.transforms.ct.hu import HU_PRESETS

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_DPI = 100
_GAP, _MARGIN, _HEAD, _LINE = 12, 12, 30, 19
"""In pixels, as all sizes here."""
_DARK, _INK, _DIM, _GRID = "#14171c", "#f2f4f7", "#aab3be", "#56b4e9"
_GRID_LINES = 16
_NARROW = ("brain", "liver", "soft_tissue")
_WHOLE_CT = (-1000.0, 1500.0)
_SATURATED = 98
"""The percentile of the difference at which its scale ends."""
_CAPTION_STYLE: dict[str, Any] = {"fontsize": 10, "color": _DIM, "va": "top", "ha": "left", "linespacing": 1.3}
_SHOWN_FIGURES = ("displacement_rms_mm",)


@dataclass(frozen=True)
class RowPanel:
    """One result.

    Attributes:
        title: of the picture.
        image: the result.
        params: what was drawn for it.
        figures: what the call recorded besides.
        grey_scale: the range of the result where the operation maps the image to one, as a display window does.
    """

    title: str
    image: MetaTensor
    params: Params = field(default_factory=dict)
    figures: Params = field(default_factory=dict)
    grey_scale: tuple[float, float] | None = None


@dataclass(frozen=True)
class RowPicture:
    """One picture of a row: title, values, lines of text below, and the range shown, in grey or in colours."""

    title: str
    values: np.ndarray
    caption: Sequence[str]
    span: tuple[float, float]
    colours: bool = False


def quantity_text(cls: type[Operation], name: str, value: Any) -> str:
    """A quantity as a caption says it.

    Example:
        >>> from monai_medaug.transforms import RandAffineElastic
        >>> quantity_text(RandAffineElastic, "rotate_degrees", -4.71)
        'rotated by −4.7°'
    """
    return _with_minus(phrase(cls, name, value))


def setting_text(arguments: Mapping[str, Any]) -> str:
    """Arguments of a call as the title of its result.

    Example:
        >>> setting_text({"preset": "soft_tissue"})
        'preset soft tissue'
    """
    return ", ".join(f"{n} {v}".replace("_", " ") for n, v in arguments.items()) or "result"


def _with_minus(text: str) -> str:
    return re.sub(r"(?<![\w.)])-(?=\d)", "−", text)


def draw_row(cls: type[Operation], source: GalleryImage, panels: list[RowPanel]) -> bytes:
    """The row as the content of a PNG."""
    plane = DisplayPlane.through(VoxelGrid(tuple(source.image.shape[1:]), affine_of(source.image)))
    before = plane.cut(source.image.as_tensor()[0].numpy())
    after = [plane.cut(_of_size(p.image.as_tensor(), source.image.shape[1:])[0].numpy()) for p in panels]
    low, high = window = _row_window(cls, source, before, after)
    shown, reference = window, before
    if panels[-1].grey_scale is not None:
        low, high = window = _WHOLE_CT
        black, white = shown = panels[-1].grey_scale
        reference = black + (white - black) * np.clip((before - low) / (high - low), 0, 1)
    unit, scale = "% of the grey scale", 100 / (shown[1] - shown[0])
    if source.modality == "ct" and panels[-1].grey_scale is None:
        unit, scale = "HU", 1.0
    change = (after[-1] - reference) * scale
    extent = float(np.percentile(np.abs(change), _SATURATED))
    if extent == 0 and change.any():  # a single line, for instance
        extent = float(np.percentile(np.abs(change[change != 0]), _SATURATED))
    half = round_scale(extent)

    eased = [n for n, v in panels[-1].params.items() if n in cls.identity and v != cls.identity[n]]
    scale_text = [f"blue −{half:g}, red +{half:g} {unit}", "in the last picture" if len(panels) > 1 else ""]
    pictures = [
        RowPicture("original", before, row_window_text(source, window), window),
        *(RowPicture(p.title, a, _panel_caption(cls, p, eased), shown) for p, a in zip(panels, after, strict=True)),
        RowPicture("difference", change, scale_text, (-half, half), colours=True),
    ]
    figure = draw_lines([pictures], before.shape[1], round(before.shape[0] * plane.aspect))
    if cls.geometric:
        for axes, image in zip(figure.axes, [None, *(p.image for p in panels)], strict=False):
            record = None if image is None else geometric_record(image)
            draw_deformation_grid(axes, plane, record, _GRID_LINES, colors=_GRID, linewidths=0.6, alpha=0.55)
    return png_content(figure)


def draw_lines(lines: Sequence[Sequence[RowPicture]], width: int, height: int) -> Figure:
    """Lines of pictures, each on axes of exactly ``width`` by ``height`` pixels, so that nothing is resampled."""
    from matplotlib.figure import Figure

    deep = [_HEAD + height + 10 + max(len(p.caption) for p in line) * _LINE for line in lines]
    count = max(map(len, lines))
    whole = 2 * _MARGIN + count * width + (count - 1) * _GAP, sum(deep)
    figure = Figure(figsize=(whole[0] / _DPI, whole[1] / _DPI), dpi=_DPI, facecolor=_DARK)
    for line, above in zip(lines, np.cumsum([0, *deep]), strict=False):
        for number, picture in enumerate(line):
            left, bottom = _MARGIN + number * (width + _GAP), whole[1] - above - _HEAD - height
            place = (left / whole[0], bottom / whole[1], width / whole[0], height / whole[1])
            axes = figure.add_axes(place, xticks=[], yticks=[])
            axes.set_axis_off()
            rows, columns = picture.values.shape
            axes.imshow(
                picture.values,
                aspect="auto",
                interpolation="antialiased" if height % rows or width % columns else "nearest",
                cmap=_change_colours() if picture.colours else "gray",
                vmin=picture.span[0],
                vmax=picture.span[1],
            )
            axes.set_title(picture.title, fontsize=12, color=_INK, pad=7)
            axes.text(0, -6 / height, "\n".join(picture.caption), transform=axes.transAxes, **_CAPTION_STYLE)
    return figure


def png_content(figure: Figure) -> bytes:
    """A figure as the content of a PNG without meta data and alpha channel."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from PIL import Image

    canvas, content = FigureCanvasAgg(figure), io.BytesIO()
    canvas.draw()
    Image.fromarray(np.ascontiguousarray(np.asarray(canvas.buffer_rgba())[..., :3])).save(content, format="png")
    return content.getvalue()


def _of_size(image: torch.Tensor, size: Sequence[int]) -> torch.Tensor:
    """On the grid of the original, where a transform changes the number of voxels."""
    image = image.float()
    if image.shape[1:] == torch.Size(size):
        return image
    return torch.nn.functional.interpolate(image[None], tuple(size), mode="bilinear", antialias=True)[0]


def _row_window(
    cls: type[Operation], source: GalleryImage, before: np.ndarray, after: list[np.ndarray]
) -> tuple[float, float]:
    """The image's window; for a CT a narrower one that the change of soft tissue fits, for a radiograph a wider one."""
    low, high = source.window
    if source.modality == "ct" and not cls.geometric:
        extent = np.percentile(np.abs(after[-1] - before)[np.abs(before) < 100], 90)
        for name in _NARROW:
            centre, width = HU_PRESETS[name]
            if width >= 3 * extent > 0:
                return centre - width / 2, centre + width / 2
    elif source.modality == "xray":
        high = max(high, *(float(np.percentile(p, 99)) for p in after))
    return low, high


def row_window_text(source: GalleryImage, window: tuple[float, float]) -> list[str]:
    """What black and white stand for."""
    low, high = window
    if source.modality == "ct":
        return [_with_minus(f"shown from {low:.0f} to {high:.0f} HU")]
    if source.modality == "xray":
        return [_with_minus(f"shown from {low:.2f} to {high:.2f} of its range")]
    return [f"shown from {low:.0f} to {high:.0f}"]


def _panel_caption(cls: type[Operation], panel: RowPanel, eased: list[str]) -> list[str]:
    """What was drawn of the quantities that are eased; where there are none, all that have a phrase, or all."""
    texts = []
    for name in eased or [n for n in cls.phrases if n in panel.params] or list(panel.params):
        value = panel.params[name]
        if isinstance(value, list) and len(value) == 3:
            value = value[: panel.image.ndim - 1]  # of a direction across the slice nothing is seen
        texts.append(quantity_text(cls, name, value))
    texts += [quantity_text(cls, n, panel.figures[n]) for n in _SHOWN_FIGURES if n in panel.figures]
    columns = max(24, panel.image.shape[1] // 7)
    return [line for text in texts for line in textwrap.wrap(text, columns)]


def psnr_text(clean: np.ndarray, picture: np.ndarray, window: tuple[float, float]) -> str:
    """PSNR of a picture, both clipped to the window, whose width is the peak.

    Example:
        >>> psnr_text(np.zeros((4, 4)), np.ones((4, 4)), (0.0, 10.0))
        'PSNR 20.0 dB'
    """
    from skimage.metrics import peak_signal_noise_ratio

    low, high = window
    ratio = peak_signal_noise_ratio(clean.clip(low, high), picture.clip(low, high), data_range=high - low)
    return f"PSNR {ratio:.1f} dB"


def round_scale(value: float) -> float:
    """The next larger round number, of one or two digits."""
    if value <= 0:
        return 1.0
    power = 10 ** np.floor(np.log10(value))
    return float(next(m * power for m in (1, 1.5, 2, 3, 5, 7.5, 10) if m * power >= value * (1 - 1e-9)))


def _change_colours() -> Any:
    """Blue, dark, red: no change is dark, as the page."""
    from matplotlib.colors import LinearSegmentedColormap

    return LinearSegmentedColormap.from_list("change", ["#8fd0ff", "#2f7fd0", "#101317", "#d0402f", "#ffb199"])
