"""Super-resolution of images whose fine version is known: PSNR and SSIM of each before and after, and averages."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from monai_medaug.bundles.pretrained import load_pretrained
from monai_medaug.core.arguments import whole_number
from monai_medaug.core.tensors import plain_tensor
from monai_medaug.figures.comparison import save_png
from monai_medaug.figures.evaluation import evaluation_figure
from monai_medaug.functional.geometry.upscale import reduced
from monai_medaug.metrics.full_reference import BoundedPSNRMetric, SeparableSSIMMetric
from monai_medaug.transforms.network_restore import NetworkRestore
from monai_medaug.transforms.superresolution import Upscale


class CaseStudy(dict):
    """Rows and averages as plain values; ``str()`` is a Markdown table, `to_json` is for machines.

    Entries: ``scale``, ``images`` (a row each) and ``average``, with ``psnr_before``, ``psnr_after``, ``ssim_before``
    and ``ssim_after``.

    Example:
        >>> row = {"psnr_before": 30.0, "psnr_after": 32.0, "ssim_before": 0.8, "ssim_after": 0.9}
        >>> print(CaseStudy(scale=2, images=[{"image": "1", **row}], average=row))
        | ×2 | PSNR before, dB | after | gain | SSIM before | after | gain |
        | --- | --- | --- | --- | --- | --- | --- |
        | 1 | 30.00 | 32.00 | +2.00 | 0.8000 | 0.9000 | +0.1000 |
        | average | 30.00 | 32.00 | +2.00 | 0.8000 | 0.9000 | +0.1000 |
    """

    def to_json(self) -> str:
        """The study as JSON text."""
        return json.dumps(self, indent=2, ensure_ascii=False)

    def __str__(self) -> str:
        head = [f"×{self['scale']}", "PSNR before, dB", "after", "gain", "SSIM before", "after", "gain"]
        lines = [head, ["---"] * len(head)]
        for row in [*self["images"], {"image": "average", **self["average"]}]:
            cells = [row["image"]]
            for measure, form in (("psnr", ".2f"), ("ssim", ".4f")):
                before, after = row[f"{measure}_before"], row[f"{measure}_after"]
                cells += [f"{before:{form}}", f"{after:{form}}", f"{after - before:+{form}}"]
            lines.append(cells)
        return "\n".join("| " + " | ".join(cells) + " |" for cells in lines)


def super_resolution_case_study(
    images: Sequence[Any] | Mapping[str, Any],
    network: str | nn.Module = "mri_sr",
    scale: int = 2,
    data_range: float | None = None,
    out_dir: str | Path | None = None,
) -> CaseStudy:
    """Reduce real images, enlarge them again by a network, and compare with what they were.

    Each image is reduced by ``scale`` along every axis (antialiased cubic interpolation). *Before* is the coarse image
    brought to the fine grid by cubic interpolation, *after* is what the network makes of it: both have the size of the
    truth, for images of different sizes can't be compared. A few rows or columns are cut where the size is no multiple
    of the scale.

    Args:
        images: channel-first images (1, rows, columns) or (1, rows, columns, slices), named or numbered from 1.
        network: name of a bundle that enlarges (``"mri_sr"``, ``"ct_sr"``, ``"mri_sr_srcnn"``), or such a network.
        scale: 2 or more.
        data_range: greatest minus least possible value, such as 2000 HU; None takes each true image's own.
        out_dir: folder for ``case_study.json``, ``case_study.md`` and a picture of the first image; None for none.

    Raises:
        ValueError: there is no image, one is not finite, constant or too small, or an argument is out of its range.

    Source: C. Dong et al., Image super-resolution using deep convolutional networks, IEEE TPAMI 2016 (the protocol).

    Example:
        >>> from monai_medaug.networks import MultiScaleSR
        >>> image = torch.rand(1, 32, 32, generator=torch.Generator().manual_seed(0))
        >>> study = super_resolution_case_study([image], MultiScaleSR(features=4, num_blocks=1))
        >>> len(study["images"]), sorted(study["average"])
        (1, ['psnr_after', 'psnr_before', 'ssim_after', 'ssim_before'])
    """
    scale = whole_number("scale", scale, 2, 8)
    named = dict(images) if isinstance(images, Mapping) else {str(n): image for n, image in enumerate(images, 1)}
    if not named:
        raise ValueError("images must hold an image, got none")
    enlarge = NetworkRestore(load_pretrained(network) if isinstance(network, str) else network, scale=scale)
    rows, shown = [], None
    for name, image in named.items():
        truth = plain_tensor(image, f"images[{name!r}]").float()
        fine = [n // scale * scale for n in truth.shape[1:]]
        if max(fine, default=0) < 11 * scale:
            raise ValueError(f"images[{name!r}] must have an axis of {11 * scale} or more, got {tuple(truth.shape)}")
        truth = truth[(slice(None), *(slice(n) for n in fine))]
        coarse = reduced(truth[None], [n // scale for n in fine])[0]
        results = {"before": Upscale(scale)(coarse), "after": enlarge(coarse)}
        extent = float(truth.max() - truth.min()) if data_range is None else float(data_range)
        if not extent > 0:
            raise ValueError(f"images[{name!r}] must not be constant where data_range is None, got {extent:g}")
        row: dict[str, Any] = {"image": str(name)}
        for when, result in results.items():
            pair = torch.as_tensor(result).float()[None], truth[None]
            row[f"psnr_{when}"] = float(BoundedPSNRMetric(extent)(*pair))
            row[f"ssim_{when}"] = float(SeparableSSIMMetric(extent)(*pair))
        rows.append(row)
        shown = shown or (results["before"], results["after"], truth)
    keys = [key for key in rows[0] if key != "image"]
    study = CaseStudy(scale=scale, images=rows, average={k: sum(r[k] for r in rows) / len(rows) for k in keys})
    if out_dir is not None and shown is not None:
        _write_study(study, shown, Path(out_dir))
    return study


def _write_study(study: CaseStudy, shown: tuple[Any, Any, torch.Tensor], folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "case_study.json").write_text(study.to_json() + "\n", encoding="utf-8")
    (folder / "case_study.md").write_text(f"{study}\n", encoding="utf-8")
    figure = evaluation_figure(*shown)
    for axes, title in zip(figure.axes, ("before: cubic interpolation", "after: the network", "truth"), strict=False):
        axes.set_title(title, fontsize=12)
    save_png(figure, folder / "case_study.png")
