"""Compiled loop of the sources of scatter."""

# mypy: disable-error-code="no-untyped-def, untyped-decorator"
from __future__ import annotations

import numpy as np

from monai_medaug.functional._njit import njit


@njit(error_model="numpy")
def sources_by_thickness(p, primary, per_class, sources, first, last):
    """Scatter ``p exp(-p)`` of the rows first..last of one half and of their mirror images, by class of thickness.

    p, primary: attenuation and exp(-p), (rows, columns); per_class: classes in a unit of attenuation; sources:
    (classes, 2, half, columns), the sum of both rows and their difference; of an odd number the middle row is its own.
    """
    rows, columns = p.shape
    zero, one, per_class = np.float32(0), np.float32(1), np.float32(per_class)
    for r in range(first, last):
        other = rows - 1 - r
        for k in range(len(sources)):
            alike, opposite, nearest = sources[k, 0, r], sources[k, 1, r], np.float32(k)
            for c in range(columns):
                amount = primary[r, c] * p[r, c] * max(one - abs(p[r, c] * per_class - nearest), zero)
                mirrored = primary[other, c] * p[other, c] * max(one - abs(p[other, c] * per_class - nearest), zero)
                alike[c] = amount + mirrored
                opposite[c] = amount - mirrored
        if other == r:
            for k in range(len(sources)):
                for c in range(columns):
                    sources[k, 0, r, c] *= np.float32(0.5)
