"""One call that says whether an enhanced image is better: `evaluate_enhancement`."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from monai.metrics.regression import MAEMetric

from monai_medaug.core.tensors import affine_of, plain_tensor
from monai_medaug.functional.ct.slices import slice_axis
from monai_medaug.functional.denoise.smoothing import gaussian_smooth
from monai_medaug.functional.geometry.grid import VoxelGrid
from monai_medaug.functional.quality.edge_width import edge_widths
from monai_medaug.functional.quality.flat_noise import flat_noise
from monai_medaug.functional.quality.sharpness import laplacian
from monai_medaug.metrics.base import ValueScale, checked_images, checked_mask, value_scale
from monai_medaug.metrics.full_reference import BoundedPSNRMetric, HaarPSIMetric, SeparableSSIMMetric
from monai_medaug.metrics.no_reference import ContrastMetric, EntropyMetric, SharpnessMetric
from monai_medaug.version import __version__

LABELS = {
    "psnr": "PSNR, dB",
    "ssim": "SSIM",
    "mae": "mean absolute error",
    "haarpsi": "HaarPSI",
    "entropy": "entropy, bits",
    "contrast": "contrast",
    "sharpness": "sharpness",
    "flat_noise": "noise in flat parts",
    "edge_width_mm": "edge width, mm",
    "laplacian_variance": "plain Laplacian",
}
"""How reports name each figure."""

_NOTABLE = 0.05  # share by which a figure must change to be called a change
_BLURS = (0.4, 0.6, 0.8, 1.1, 1.5, 2.0, 2.8)  # finest voxels: standard deviations of the blurs tried
_BLUR_REACHES = 0.8  # noise left, as a share of what a blur of the same width leaves, from which on it is only a blur


class EnhancementReport(dict):
    """What `evaluate_enhancement` found; ``str()`` is a table with the warnings, `to_json` is for machines."""

    def to_json(self) -> str:
        """The report as JSON text."""
        return json.dumps(self, indent=2, ensure_ascii=False)

    def __str__(self) -> str:
        against = "against the reference" if self["reference"] else "without a reference"
        lines = [f"enhancement report {against}, {self['package']}", f"  {'':22}{'original':>12}{'enhanced':>12}"]
        for part in ("figures", "checks"):
            lines += [f"  {part}"] if part == "checks" else []
            for name, values in self[part].items():
                said = "".join(f"{'-' if v is None else f'{v:.4g}':>12}" for v in values.values())
                lines.append(f"  {LABELS[name]:22}{said}")
        lines += [f"  ATTENTION: {warning}" for warning in self["warnings"]]
        return "\n".join([*lines, *(f"  {note}" for note in self["notes"])])


def evaluate_enhancement(
    original: Any,
    enhanced: Any,
    reference: Any = None,
    mask: Any = None,
    data_range: float | None = None,
    hu_window: str | Sequence[float] | None = None,
) -> EnhancementReport:
    """Figures of an image before and after enhancement, and a warning where an improvement is none.

    With a reference: PSNR (100 dB at most), SSIM, mean absolute error and HaarPSI of either against it. Without:
    entropy (256 bins over the original's values), contrast (standard deviation) and noise-compensated sharpness.
    Always, as checks: the noise in flat parts, the width of edges, and the plain variance of the Laplacian. By these,

    - *sharper* is only *noisier* if the plain Laplacian and the noise rise, but edges are no narrower;
    - *less noisy* is only *blurrier* if edges widen and no less noise is left than a Gaussian blur that widens them as
      much would leave. If less is left, the report says how much blur was the price.

    Args:
        original: channel-first image, (C, H, W) or (C, D, H, W), an array, tensor or MetaTensor.
        enhanced: what became of it, on the same grid.
        reference: the truth, on the same grid; None if unknown.
        mask: where voxels count, (1, *spatial) or (C, *spatial); None for everywhere.
        data_range: greatest minus least possible value; None takes the reference's, which the report states.
        hu_window: instead, for a CT: a window of `HUWindow` or (centre, width), for SSIM, HaarPSI, PSNR and error.

    Returns:
        A report: ``figures`` and ``checks`` (by name ``original`` and ``enhanced``; None where unknown), ``warnings``
        and ``notes`` in words, ``data_range``, ``spacing_mm``.

    Raises:
        TypeError: not an array of numbers.
        ValueError: shapes differ, an image isn't finite, the mask is empty, or the reference is constant and no
            ``data_range`` given.

    Example:
        >>> edge = (torch.arange(128.0) > 63).float().expand(1, 128, 128)
        >>> noisy = edge + 0.05 * torch.randn(1, 128, 128, generator=torch.Generator().manual_seed(0))
        >>> evaluate_enhancement(edge, noisy)["warnings"][0]
        'noisier, not sharper: ...'
        >>> round(evaluate_enhancement(noisy, edge, reference=edge, data_range=1)["figures"]["psnr"]["enhanced"])
        100
    """
    names = {"original": original, "enhanced": enhanced, **({} if reference is None else {"reference": reference})}
    images = {name: checked_images(plain_tensor(x, name)[None], name) for name, x in names.items()}
    shape = tuple(images["original"].shape[1:])
    for name, image in images.items():
        if tuple(image.shape[1:]) != shape:
            raise ValueError(f"{name} must have the original's shape {shape}, got {tuple(image.shape[1:])}")
    where = None if mask is None else checked_mask(plain_tensor(mask, "mask")[None], images["original"], "mask")
    grid = VoxelGrid(shape[1:], affine_of(original))
    scale = None
    if reference is None:
        figures = _without_reference(images, where)
    else:
        scale = _scale(images["reference"], data_range, hu_window)
        figures = _against_reference(images, scale, where)
    checks, warnings, notes = _checks(images["original"], images["enhanced"], grid, where)
    return EnhancementReport(
        package=f"monai_medaug {__version__}",
        reference=reference is not None,
        figures=figures,
        checks=checks,
        warnings=warnings,
        notes=notes,
        data_range=None if scale is None else scale.data_range,
        spacing_mm=list(grid.spacing),
    )


def _scale(reference: torch.Tensor, data_range: float | None, hu_window: str | Sequence[float] | None) -> ValueScale:
    if data_range is None and hu_window is None:
        data_range = float(reference.max() - reference.min())
        if not data_range > 0:
            raise ValueError("data_range must be given where the reference is constant, got None")
    return value_scale(data_range, hu_window)


def _pair(metric: Any, images: dict[str, torch.Tensor], *others: Any, **masks: Any) -> dict[str, float]:
    return {name: float(metric(images[name], *others, **masks).mean()) for name in ("original", "enhanced")}


def _without_reference(images: dict[str, torch.Tensor], mask: torch.Tensor | None) -> dict[str, dict[str, float]]:
    values = images["original"] if mask is None else images["original"][mask]
    low, high = float(values.min()), float(values.max())
    entropy = EntropyMetric((low, high)) if high > low else EntropyMetric()
    metrics = {"entropy": entropy, "contrast": ContrastMetric(), "sharpness": SharpnessMetric()}
    return {name: _pair(metric, images, mask=mask) for name, metric in metrics.items()}


def _against_reference(
    images: dict[str, torch.Tensor], scale: ValueScale, mask: torch.Tensor | None
) -> dict[str, dict[str, float]]:
    shown = {name: scale(image) for name, image in images.items()}
    reference, data_range = shown["reference"], scale.data_range
    inside = shown if mask is None else {name: x[mask].reshape(1, 1, -1, 1) for name, x in shown.items()}
    figures = {
        "psnr": _pair(BoundedPSNRMetric(data_range), inside, inside["reference"]),
        "mae": _pair(MAEMetric(), inside, inside["reference"]),
    }
    low = float(reference.min()) if scale.low is None else 0.0  # HaarPSI takes 0 for black
    dark = {name: x - low for name, x in shown.items()}
    figures["haarpsi"] = _pair(HaarPSIMetric(data_range, constants="medical"), dark, dark["reference"], mask=mask)
    if max(reference.shape[2:]) >= 11:
        figures["ssim"] = _pair(SeparableSSIMMetric(data_range), shown, reference, mask=mask)
    return {name: figures[name] for name in ("psnr", "ssim", "mae", "haarpsi") if name in figures}


def _checks(
    original: torch.Tensor, enhanced: torch.Tensor, grid: VoxelGrid, mask: torch.Tensor | None
) -> tuple[dict[str, dict[str, float | None]], list[str], list[str]]:
    """The figures that tell noise from detail, and what follows, by the first channel."""
    pair = torch.cat([original[:, 0], enhanced[:, 0]])
    where, across = None if mask is None else mask[0, 0], slice_axis(grid)
    noise = flat_noise(pair, across, where)
    width, _ = edge_widths(pair, grid.spacing, where)
    rough = [float(laplacian(x[None, None], grid.spacing).var(correction=0)) for x in pair]
    checks = {
        name: {side: v if math.isfinite(v) else None for side, v in zip(("original", "enhanced"), values, strict=True)}
        for name, values in (("flat_noise", noise), ("edge_width_mm", width), ("laplacian_variance", rough))
    }
    notes = []
    if any(math.isnan(v) for v in noise):
        notes.append("no flat parts to measure noise in")
    if any(math.isnan(v) for v in width):
        notes.append("no edges to measure blur by")
    warnings = []
    noisier, rougher = (b > (1 + _NOTABLE) * a for a, b in (noise, rough))
    if noisier and rougher and not width[1] < (1 - _NOTABLE) * width[0]:
        warnings.append(
            f"noisier, not sharper: the variance of the Laplacian rises {_fold_change(rough)} and the noise "
            f"{_fold_change(noise)}, but no edge gets narrower"
        )
    if noise[1] < (1 - _NOTABLE) * noise[0] and width[1] > (1 + _NOTABLE) * width[0]:
        by_blur = _noise_after_blur(pair, grid, where)
        edges = f"edges widen from {width[0]:.3g} to {width[1]:.3g} mm"
        if noise[1] > _BLUR_REACHES * by_blur:
            warnings.append(
                f"only blurrier, not less noisy: {edges}, and a Gaussian blur that does as much leaves noise of "
                f"{by_blur:.3g} where {noise[1]:.3g} is left"
            )
        else:
            warnings.append(
                f"less noisy at the price of blur: {edges}; a Gaussian blur that does as much would leave noise of "
                f"{by_blur:.3g}, not {noise[1]:.3g}"
            )
    return checks, warnings, notes


def _noise_after_blur(pair: torch.Tensor, grid: VoxelGrid, mask: torch.Tensor | None) -> float:
    """The noise that a Gaussian blur of the first image leaves, which makes its edges as wide as the second's.

    Tried blurs are measured at the same places, since the edges of anatomy are no Gaussians.
    """
    ratios = torch.tensor([min(grid.spacing) / s for s in grid.spacing], dtype=torch.float64)
    blurred = [gaussian_smooth(pair[:1, None], sigma * ratios[None])[0] for sigma in _BLURS]
    every = torch.cat([pair, *blurred])
    first, wanted, *others = edge_widths(every, grid.spacing, mask)[0]
    noise = flat_noise(every, slice_axis(grid), mask)
    return float(np.interp(wanted, np.maximum.accumulate([first, *others]), [noise[0], *noise[2:]]))


def _fold_change(pair: Sequence[float]) -> str:
    return f"{pair[1] / pair[0]:.3g}-fold" if pair[0] > 0 else "from 0"
