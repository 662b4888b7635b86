"""What the simulated bodies are made of, and the beam: five energies of a 120 kV spectrum."""

from __future__ import annotations

import numpy as np

KEV = (40.0, 55.0, 70.0, 85.0, 105.0)
SHARES = np.array([0.12, 0.28, 0.30, 0.20, 0.10])
REFERENCE = 2  # HU are defined at 70 keV

BASES = {
    "water": (0.0268, 0.0214, 0.0192, 0.0180, 0.0167),
    "bone": (0.128, 0.070, 0.049, 0.0398, 0.0331),
    "steel": (2.86, 1.22, 0.65, 0.42, 0.27),
    "ti64": (0.941, 0.406, 0.230, 0.156, 0.110),
    "cocr": (3.45, 1.44, 0.772, 0.486, 0.311),
    "amalgam": (16.2, 6.97, 3.69, 5.35, 3.12),
    "dental_gold": (20.7, 8.98, 4.80, 10.1, 5.92),
    "gold": (25.1, 10.9, 5.90, 15.1, 8.80),
    "hydroxyapatite": (0.312, 0.152, 0.0990, 0.0759, 0.0610),
    "iodine": (2.21, 0.956, 0.502, 0.299, 0.171),
}
"""Attenuation per mm. The first three are the protocol's, the others from Elam, Ravel & Sieber 2002 (Radiat. Phys.
Chem. 63, 121), elements weighted by mass: Ti-6Al-4V (4.43 g/cm³), CoCrMo (8.3), dental amalgam (11; 47 % Hg, 31 % Ag,
14 % Sn, 8 % Cu), dental gold (16; 76 % Au, 11 % Ag, 8 % Cu, 5 % Pd), gold (19.3), hydroxyapatite (3.16), iodine at
1 g/cm³."""
NAMES = tuple(BASES)
MU = np.array(list(BASES.values()))  # (bases, energies)

TISSUES = {
    "air": {},
    "lung": {"water": 0.28},
    "fat": {"water": 0.90},
    "soft": {"water": 1.04},
    "muscle": {"water": 1.06},
    "liver": {"water": 1.07},
    "spongiosa": {"water": 0.98, "bone": 0.09},
    "cortical": {"water": 0.30, "bone": 0.75},
    "dentine": {"water": 0.20, "bone": 1.0},
    "enamel": {"bone": 0.3, "hydroxyapatite": 0.60},
    "calcified": {"water": 0.75, "hydroxyapatite": 0.30},
    "vessel": {"water": 1.05, "iodine": 0.012},
    "bolus": {"water": 1.04, "iodine": 0.055},
    "nodule": {"water": 1.08},
}
"""Shares of the bases by volume or, of iodine, g/cm³."""


def fractions(material: str) -> np.ndarray:
    """How much of each base a mm of a tissue or metal holds."""
    mixture = TISSUES.get(material, {material: 1.0})
    return np.array([mixture.get(name, 0.0) for name in NAMES])


def hounsfield(material: str) -> float:
    """At 70 keV."""
    mu = fractions(material) @ MU[:, REFERENCE]
    return float(1000 * (mu / MU[0, REFERENCE] - 1))


def transmission(lengths: np.ndarray) -> np.ndarray:
    """Share of the photons that pass lengths (..., bases) in mm."""
    return sum(w * np.exp(-(lengths @ MU[:, e])) for e, w in enumerate(SHARES))


def water_corrected(measured: np.ndarray) -> np.ndarray:
    """The line integral at 70 keV of the water that attenuates as much."""
    water = np.linspace(0, 1500, 6001)
    polychromatic = -np.log(sum(w * np.exp(-water * MU[0, e]) for e, w in enumerate(SHARES)))
    return np.interp(measured, polychromatic, water * MU[0, REFERENCE])


def tissue_maps(hu: np.ndarray) -> np.ndarray:
    """Water and bone in each pixel of a real slice, (bases, rows, columns): above 100 HU a mixture with bone."""
    bone_hu = 1000 * (MU[1, REFERENCE] / MU[0, REFERENCE] - 1)
    bone = ((hu - 100) / (bone_hu - 100)).clip(0)
    maps = np.zeros((len(NAMES), *hu.shape))
    maps[0] = (1 + hu.clip(-1000, 100) / 1000) * (1 - bone).clip(0)
    maps[1] = bone
    return maps
