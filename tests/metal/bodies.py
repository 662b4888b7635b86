"""Bodies for the metal cases: painted shapes in mm, and real slices."""

from __future__ import annotations

import os
from pathlib import Path

import nibabel as nib
import numpy as np

from tests.metal.scanner import Anatomy, Shape


def ring(x: float, y: float, a: float, b: float, wall: float, degrees: float = 0.0) -> list[Shape]:
    """A bone: cortical outside, spongiosa inside."""
    return [Shape("cortical", x, y, a, b, degrees), Shape("spongiosa", x, y, a - wall, b - wall, degrees)]


def vertebra(x: float, y: float) -> list[Shape]:
    """Body, canal, pedicles and spinous process."""
    arch = [Shape("cortical", x + s * 15, y + 22, 5, 10, s * 15) for s in (-1, 1)]
    processes = [Shape("cortical", x + s * 28, y + 31, 13, 4, s * 15) for s in (-1, 1)]
    return [
        *ring(x, y, 23, 18, 2),
        *arch,
        *processes,
        Shape("cortical", x, y + 42, 4, 12),
        Shape("soft", x, y + 24, 10, 8),
    ]


def trunk(a: float, b: float, fat: float = 14) -> list[Shape]:
    return [Shape("fat", 0, 0, a, b), Shape("muscle", 0, 0, a - fat, b - fat)]


def abdomen() -> list[Shape]:
    return [
        *trunk(160, 112),
        Shape("fat", 0, -12, 118, 68),
        Shape("liver", -62, -20, 58, 52, 20),
        Shape("soft", 88, -8, 26, 34, -15),
        Shape("soft", 20, -42, 34, 16),
        Shape("air", 26, -48, 16, 6),
        Shape("vessel", 10, 24, 10, 9),
        Shape("soft", -14, 24, 11, 8),
        Shape("soft", -62, 40, 20, 24, 30),
        Shape("soft", 62, 40, 20, 24, -30),
        *vertebra(0, 52),
        Shape("nodule", -84, -32, 7, 7),
    ]


def water_body() -> list[Shape]:
    """The plain body of the protocol: tissue with lungs of a kind and four bones."""
    return [
        Shape("soft", 0, 0, 150, 105),
        Shape("lung", -80, -15, 34, 48),
        Shape("fat", 75, -20, 30, 40),
        *ring(0, 62, 20, 18, 3),
        *ring(0, -72, 22, 10, 3),
        *ring(122, 20, 9, 14, 3),
        *ring(-122, 20, 9, 14, 3),
    ]


def even_body() -> list[Shape]:
    """Soft tissue alone within 60 mm of the middle, with bones beyond."""
    bones = [*ring(0, 82, 20, 14, 3), *ring(122, 20, 9, 14, 3), *ring(-122, 20, 9, 14, 3), *ring(0, -88, 22, 8, 3)]
    return [Shape("soft", 0, 0, 150, 105), *bones]


def pelvis() -> list[Shape]:
    femurs = [part for s in (-1, 1) for part in ring(s * 92, 6, 26, 26, 3)]
    ischia = [part for s in (-1, 1) for part in ring(s * 66, 20, 9, 34, 3, s * 20)]
    return [
        *trunk(180, 112, 16),
        Shape("fat", 0, 0, 62, 66),
        Shape("soft", 0, -18, 36, 26),
        Shape("soft", 0, 12, 22, 15),
        Shape("soft", 0, 44, 18, 16),
        Shape("air", 2, 42, 7, 6),
        *ischia,
        *femurs,
        *ring(0, 72, 12, 9, 2),
    ]


def thigh() -> list[Shape]:
    return [
        Shape("fat", 0, 0, 88, 82),
        Shape("muscle", 0, 2, 74, 68),
        Shape("fat", -30, 14, 22, 2.5, 35),
        Shape("fat", 26, 20, 24, 2.5, -40),
        Shape("cortical", 4, -8, 16, 15),
        Shape("fat", 4, -8, 9, 8),
        Shape("vessel", -22, -2, 4, 4),
    ]


def chest() -> list[Shape]:
    ribs = [
        Shape(
            "cortical",
            138 * np.cos(t),
            2 + 88 * np.sin(t),
            11,
            3.5,
            np.rad2deg(np.arctan2(88 * np.cos(t), -138 * np.sin(t))),
        )
        for t in np.deg2rad([20, 55, 125, 160, 200, 235, 305, 340])
    ]
    return [
        *trunk(162, 108, 12),
        *ribs,
        Shape("lung", -74, -4, 52, 72),
        Shape("lung", 74, -4, 52, 72),
        Shape("soft", 14, -20, 50, 44),
        Shape("vessel", 2, -18, 14, 14),
        Shape("vessel", 28, 34, 11, 11),
        *vertebra(0, 44),
        *ring(0, -86, 20, 6, 2),
        Shape("nodule", -70, 14, 6, 6),
    ]


def shoulders() -> list[Shape]:
    arms = [part for s in (-1, 1) for part in ring(s * 158, 4, 24, 24, 3)]
    blades = [Shape("cortical", s * 112, 42, 34, 4, s * -25) for s in (-1, 1)]
    return [
        Shape("fat", 0, 8, 205, 84),
        Shape("muscle", 0, 8, 194, 73),
        *arms,
        *blades,
        Shape("lung", -52, 4, 32, 44),
        Shape("lung", 52, 4, 32, 44),
        Shape("soft", 0, 0, 26, 40),
        Shape("air", 0, 0, 8, 8),
        Shape("vessel", -16, -22, 8, 8),
        *vertebra(0, 36),
    ]


TEETH = tuple((44 * np.sin(t), -16 - 38 * np.cos(t), np.rad2deg(t)) for t in np.deg2rad(np.linspace(-100, 100, 14)))
"""Where the teeth of a jaw stand: x, y, and the direction of the arch."""


def jaw() -> list[Shape]:
    teeth = []
    for k, (x, y, degrees) in enumerate(TEETH):
        size = 5.2 if k in (0, 1, 2, 11, 12, 13) else 3.6
        teeth += [
            Shape("enamel", x, y, size, size - 0.4, degrees),
            Shape("dentine", x, y, size - 1.2, size - 1.6, degrees),
        ]
    return [
        Shape("fat", 0, 0, 74, 88),
        Shape("muscle", 0, 0, 70, 84),
        Shape("cortical", 0, -16, 50, 44),
        Shape("soft", 0, -14, 38, 32),
        Shape("muscle", 0, 28, 52, 30),
        *teeth,
        Shape("air", 0, 22, 13, 7),
        *vertebra(0, 48),
        Shape("soft", -48, 40, 12, 16),
        Shape("soft", 48, 40, 12, 16),
        Shape("vessel", -40, 30, 4, 4),
        Shape("vessel", 40, 30, 4, 4),
    ]


def data_file(name: str) -> Path | None:
    """A file of the folder MONAI_MEDAUG_DATA, if it is there."""
    folder = os.environ.get("MONAI_MEDAUG_DATA")
    return Path(folder) / name if folder and (Path(folder) / name).is_file() else None


def real_slice(name: str, index: int) -> Anatomy | None:
    """A slice of the folder MONAI_MEDAUG_DATA in a square of air; None where there is none."""
    path = data_file(name)
    if path is None:
        return None
    stored = nib.load(path)
    hu = np.asarray(stored.dataobj[..., index], float).clip(-1000, 2800)
    side = max(hu.shape)
    before = [(side - n) // 2 for n in hu.shape]
    square = np.pad(hu, [(b, side - n - b) for b, n in zip(before, hu.shape, strict=True)], constant_values=-1000.0)
    return Anatomy(square, float(stored.header.get_zooms()[0]))
