"""A polychromatic X-ray beam through water, bone and metal, and the scanner's water correction."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import torch

from monai_medaug.functional.acceleration import sent
from monai_medaug.functional.ct.projection import hu_to_attenuation

# Photon energies, their shares in a 120 kV spectrum at the patient, and attenuation per mm at each
SPECTRUM_KEV = (40.0, 55.0, 70.0, 85.0, 105.0)
REFERENCE = 2
"""The energy of 70 keV, at which HU are defined here."""
SPECTRUM = (0.12, 0.28, 0.30, 0.20, 0.10)
WATER = (0.0268, 0.0214, 0.0192, 0.0180, 0.0167)
BONE = (0.128, 0.070, 0.049, 0.0398, 0.0331)
METALS = {
    "amalgam": (16.2, 6.97, 3.69, 5.35, 3.12),
    "cocr": (3.49, 1.458, 0.779, 0.490, 0.313),
    "gold": (20.6, 8.94, 4.78, 10.3, 6.02),
    "steel": (2.86, 1.22, 0.65, 0.42, 0.27),
    "titanium": (0.997, 0.428, 0.245, 0.163, 0.115),
}
"""From mass attenuation (Hubbell & Seltzer 1995; Elam et al. 2002) of titanium (4.5 g/cm³), iron (7.87 g/cm³), CoCrMo
(8.3 g/cm³, 64 % Co, 28 % Cr, 6 % Mo), dental amalgam (11 g/cm³, 47 % Hg, 31 % Ag, 14 % Sn, 8 % Cu) and a dental gold
alloy (16 g/cm³, 76 % Au, 11 % Ag, 8 % Cu, 5 % Pd and Pt). Above 81 keV gold and mercury absorb more again."""
TISSUE_HU, CORTICAL_HU = 100.0, 1765.0
"""Up to the first value there is no bone, at the second nothing else: cortical bone, as CatSim's phantoms take it."""
_RAMP_HU = (150.0, 400.0)


def mixed_tissue(hu: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Attenuation per mm at 70 keV of the soft tissue and of the bone in a voxel.

    Above `TISSUE_HU` a voxel is a mixture: v of its volume is cortical bone, 1 - v tissue of 100 HU; enamel has v > 1.

    Example:
        >>> tissue, bone = mixed_tissue(torch.tensor([-1000.0, 0.0, 932.5, 1765.0]))
        >>> bone / BONE[2], tissue / WATER[2]
        (tensor([0.0000, 0.0000, 0.5000, 1.0000]), tensor([0.0000, 1.0000, 0.5500, 0.0000]))
    """
    bone = ((hu - TISSUE_HU) / (CORTICAL_HU - TISSUE_HU)).clamp_min(0)
    return hu_to_attenuation(hu.clamp_max(TISSUE_HU)) * (1 - bone).clamp_min(0), bone * BONE[REFERENCE]


def ramped_tissue(hu: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """As `mixed_tissue`, but all is water below 150 HU and all bone above 400 HU: the model of old records."""
    low, high = _RAMP_HU
    share = ((hu - low) / (high - low)).clamp(0, 1)
    attenuation = hu_to_attenuation(hu)
    return attenuation * (1 - share), attenuation * share


TISSUES: Mapping[str, Callable[[torch.Tensor], tuple[torch.Tensor, torch.Tensor]]] = {
    "mixture": mixed_tissue,
    "ramp": ramped_tissue,
}
"""What a CT number is made of, by the name in the records."""


def monochromatic(water: torch.Tensor, bone: torch.Tensor) -> torch.Tensor:
    """Line integrals at 70 keV of these lengths."""
    return water * WATER[REFERENCE] + bone * BONE[REFERENCE]


def polychromatic(lengths: Sequence[tuple[torch.Tensor, Sequence[Any]]]) -> torch.Tensor:
    """-ln of the transmission of the spectrum through lengths (mm) of materials with these attenuations.

    An attenuation is a number for all slices, or a tensor that broadcasts over them.
    """
    # relative to the highest energy, which is attenuated least, so that no exponential overflows
    total = torch.full_like(lengths[0][0], SPECTRUM[-1])
    for e, weight in enumerate(SPECTRUM[:-1]):
        total.add_(_weighted((length, mu[-1] - mu[e]) for length, mu in lengths).exp_(), alpha=weight)
    return _weighted((length, mu[-1]) for length, mu in lengths).sub_(total.log_())


def _weighted(terms: Iterable[tuple[torch.Tensor, Any]]) -> torch.Tensor:
    """Sum of tensors times factors, a new tensor."""
    (first, factor), *others = terms
    total = first * factor
    for tensor, factor in others:
        total = total.addcmul_(tensor, factor) if torch.is_tensor(factor) else total.add_(tensor, alpha=factor)
    return total


def water_corrected(measured: torch.Tensor) -> torch.Tensor:
    """The monochromatic line integral of the water that gives a polychromatic measurement; a table to 1200 mm.

    Example:
        >>> seen = polychromatic([(torch.tensor([0.0, 100.0, 300.0]), WATER)])
        >>> (water_corrected(seen) / WATER[2]).round()
        tensor([  0., 100., 300.])
    """
    table, step = _water_table(measured.device, measured.dtype)
    place = measured.clamp_min(0) / step
    node = place.long().clamp_max(len(table) - 2)
    return torch.lerp(table[node], table[node + 1], place - node)


@functools.lru_cache(maxsize=8)
def _water_table(device: torch.device, dtype: torch.dtype) -> tuple[torch.Tensor, float]:
    """Monochromatic line integrals for polychromatic 0, step, 2 step ... up to 1200 mm of water, and the step."""
    length = torch.linspace(0, 1200, 2**15 + 1, dtype=torch.float64)
    measured = polychromatic([(length, WATER)]).numpy()
    even = np.linspace(0, measured[-1], 2**15 + 1)
    table = np.interp(even, measured, length.numpy() * WATER[REFERENCE])
    return sent(table, device, dtype), float(even[1])
