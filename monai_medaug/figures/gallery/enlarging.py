"""An operation that enlarges in the gallery: a real slice, the same reduced, the results, and their errors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from monai.data.meta_tensor import MetaTensor

from monai_medaug.core.operation import Operation
from monai_medaug.core.tensors import affine_of
from monai_medaug.figures.gallery.images import GalleryImage
from monai_medaug.figures.gallery.restoration import located, shown_part
from monai_medaug.figures.gallery.rows import (
    RowPicture,
    draw_lines,
    png_content,
    psnr_text,
    round_scale,
    row_window_text,
    setting_text,
)
from monai_medaug.figures.planes import DisplayPlane
from monai_medaug.functional.geometry.grid import VoxelGrid
from monai_medaug.functional.geometry.upscale import nearest_resized, reduced

ENLARGING_TEXT = (
    "The slice is reduced as a coarser grid would have sampled it, and enlarged again; a part is shown at twice its "
    "size, and below each result what is wrong in it. PSNR compares the part with the slice as it came, both clipped "
    "to the window shown, whose width is the peak."
)
_CENTRE, _ZOOM, _SATURATED = (0.62, 0.5), 2, 99.5


def draw_enlarging(
    settings: Sequence[Mapping[str, Any]], operations: Sequence[Operation], source: GalleryImage, factor: int
) -> bytes:
    """The pictures as the content of a PNG."""
    side = max(source.image.shape)
    return png_content(draw_lines(enlarging_lines(settings, operations, source, factor), side, side))


def enlarging_lines(
    settings: Sequence[Mapping[str, Any]], operations: Sequence[Operation], source: GalleryImage, factor: int
) -> list[list[RowPicture]]:
    """The line of images, and below it the line of errors."""
    window = source.window
    truth = source.image[:, : source.image.shape[1] // factor * factor, : source.image.shape[2] // factor * factor]
    fine = VoxelGrid(tuple(truth.shape[1:]), affine_of(truth))
    small = fine.resized([n // factor for n in fine.shape])
    values = reduced(truth.as_tensor()[None], small.shape)[0]
    coarse = MetaTensor(values, affine=torch.tensor(small.affine, dtype=torch.float64))
    results = [operation(coarse) for operation in operations]

    plane = DisplayPlane.through(fine)
    voxels = nearest_resized(values[None], fine.shape)[0]
    whole, *others = (
        plane.cut(image[0].numpy()) for image in (truth.as_tensor(), voxels, *(r.as_tensor() for r in results))
    )
    side = max(source.image.shape)
    part = shown_part(whole.shape, _CENTRE, side // _ZOOM)
    clean, given, *after = (picture[part] for picture in (whole, *others))

    half = round_scale(float(np.percentile(np.abs(given - clean), _SATURATED)) / 2)
    unit = " HU" if source.modality == "ct" else ""
    above = [
        RowPicture("as it came", clean, row_window_text(source, window), window),
        RowPicture(f"reduced to 1:{factor}", given, [psnr_text(clean, given, window)], window),
    ]
    scale_text = [f"blue −{half:g}, red +{half:g}{unit} in this line"]
    below = [
        RowPicture("where it lies", located(whole, part, side), [], window),
        RowPicture("reduced − as it came", given - clean, scale_text, (-half, half), colours=True),
    ]
    for setting, picture in zip(settings, after, strict=True):
        title = setting_text({n: v for n, v in setting.items() if not isinstance(v, Mapping)} or {"method": "bicubic"})
        above.append(RowPicture(title, picture, [psnr_text(clean, picture, window)], window))
        below.append(RowPicture("result − as it came", picture - clean, [], (-half, half), colours=True))
    return [above, below]
