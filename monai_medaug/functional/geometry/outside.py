"""What lies beyond the border of an image: more of its own background, or the rest of a body that it cuts."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from monai_medaug.functional.geometry.padded import padding_levels
from monai_medaug.functional.hounsfield import AIR_HU, PADDING_HU

Background = dict[str, Any]
BACKGROUNDS = ("air", "background")
"""Kinds of background: of a CT in HU, and of any other image."""
_LOOKS = 4096
"""Voxels of the image and of each of its faces that are looked at."""
_BACKGROUND = 0.12
"""The background of an image lies in this lowest part of the range of its values, but for their top twentieth."""
_CLOTHES_HU = 100.0
"""Air lies up to this above -1000 HU. Where values are clipped above that, lung could not be told from it."""
_TISSUE, _ONE_SIDE = {"air": 0.3, "background": 0.2}, 0.5
"""An image lies in its background if no more of its faces is tissue, and of any one, but for two opposite ones."""


def background_values(images: torch.Tensor, kind: str) -> list[Background | None]:
    """For each sample of (B, C, *spatial) the background of its channels, or None if its border cuts the body.

    A dictionary of plain values: ``background``, one for each channel, and ``through``, the axis along which a body
    leaves both ends of the volume, where it goes on, or -1.

    It is the median of the background on the faces: air, the padding of a CT, or what 0 of an MR image has become. In
    3D the axis with most tissue on its faces doesn't count, since most scans end within the body along one. A crop
    within a body has tissue on more faces.

    Args:
        images: of any scale; in HU for ``"air"``.
        kind: ``"air"`` or ``"background"``.

    Example:
        >>> head = torch.zeros(1, 1, 16, 16, 16)
        >>> head[..., 4:12, 4:12, :] = 100.0
        >>> background_values(head, "background"), background_values(head[..., 5:, 5:, :], "background")
        ([{'background': [0.0], 'through': 2}], [None])
    """
    x = images.detach()
    dims, flat = x.ndim - 2, x.flatten(2)
    padded = torch.isfinite(padding_levels(x)).flatten(1).tolist()
    parts = [flat[..., :: max(1, flat.shape[2] // _LOOKS)]]
    for axis in range(2, x.ndim):
        for end in (0, -1):
            face = x.select(axis, end).flatten(2)
            parts.append(face[..., :: max(1, face.shape[2] // _LOOKS)])
    sizes = [p.shape[2] for p in parts]
    looks = torch.cat([*parts], 2).to("cpu", torch.float32).numpy()
    found: list[Background | None] = []
    for sample, has_padding in zip(looks, padded, strict=True):
        shares, values = [], []
        for channel, with_padding in zip(sample, has_padding, strict=True):
            whole, *faces = np.split(channel, np.cumsum(sizes)[:-1])
            measured = whole[whole > PADDING_HU] if with_padding and (whole > PADDING_HU).any() else whole
            if kind == "air":
                low, limit = measured.min(), AIR_HU + _CLOTHES_HU
            else:
                low, high = np.quantile(measured, (0.005, 0.95))
                limit = low + _BACKGROUND * (high - low)
            shares.append([(f > limit).mean() for f in faces])
            border = np.concatenate(faces)
            dark = border[border <= limit]
            values.append(float(np.median(dark)) if len(dark) else float(low))
        tissue = np.mean(shares, 0).reshape(dims, 2)
        most = int(tissue.mean(1).argmax())
        sides = np.delete(tissue, most, 0) if dims == 3 else tissue
        through = most if dims == 3 and tissue[most].min() > _TISSUE[kind] else -1
        ends_outside = sides.mean() <= _TISSUE[kind] and sides.max() <= _ONE_SIDE
        found.append({"background": values, "through": through} if ends_outside else None)
    return found
