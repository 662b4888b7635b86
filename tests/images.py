"""Images made for tests of quality: random fields of a known fineness."""

import numpy as np
from scipy.ndimage import gaussian_filter


def smooth_noise(shape, seed: int, width: float = 2.0) -> np.ndarray:
    """Smoothed noise from 0 to 1, float64."""
    field = gaussian_filter(np.random.default_rng(seed).standard_normal(shape), width)
    return (field - field.min()) / np.ptp(field)
