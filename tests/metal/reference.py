"""Plain metal artefact reduction on images alone, as a baseline: linear interpolation and its normalised form.

Written from Kalender, Hebel & Ebersberger 1987 and Meyer et al. 2010, with none of the refinements of the package: the
image is projected in parallel, the rays that meet the mask are replaced, the change is reconstructed and added.
"""

from __future__ import annotations

import numpy as np
from scipy.ndimage import binary_dilation, gaussian_filter

from tests.metal.scanner import Scanner, projected, projected_share, reconstructed

SOFT, BONE, AIR = 40.0, 250.0, -500.0  # a class and the borders of the classes, HU
LEAST = 0.1  # of a line integral to divide by


def interpolated(integrals: np.ndarray, trace: np.ndarray) -> np.ndarray:
    """Integrals (views, elements) with those of the trace replaced by straight lines along the detector."""
    result, places = integrals.copy(), np.arange(integrals.shape[1])
    for view, hit in zip(result, trace, strict=True):
        if hit.any() and not hit.all():
            view[hit] = np.interp(places[hit], places[~hit], view[~hit])
    return result


def prior_of(image: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Air, one soft tissue, and bone as it is, of a corrected image."""
    smooth = gaussian_filter(image, 1.0)
    smooth[binary_dilation(mask)] = SOFT
    return np.where(smooth < AIR, -1000.0, np.where(smooth < BONE, SOFT, smooth))


def reduced(image: np.ndarray, mask: np.ndarray, pixel_mm: float, method: str) -> np.ndarray:
    """An image in HU corrected by ``li`` or ``nmar``, its metal kept."""
    if not mask.any():
        return image
    field = len(image) * pixel_mm
    scanner = Scanner(len(image), field, views=max(360, len(image)), scan_mm=1.45 * field)
    trace = binary_dilation(projected_share(mask, scanner) > 0, np.ones((1, 3)))
    before = projected(image, scanner)

    def corrected(after: np.ndarray) -> np.ndarray:
        return np.where(mask, image, image + reconstructed(after - before, scanner) + 1000)

    linear = corrected(interpolated(before, trace))
    if method == "li":
        return linear
    prior = projected(prior_of(linear, mask), scanner)
    safe = np.maximum(prior, LEAST)
    return corrected(np.where(trace, interpolated(before / safe, trace) * safe, before))
