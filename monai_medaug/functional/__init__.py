"""Kernels: pure functions on tensors (B, C, *spatial), with per-sample parameters. Nothing here knows MONAI."""

from monai_medaug.functional import (
    acceleration,
    ct,
    ct_acquisition,
    deformation,
    grid,
    maps,
    mri,
    mri_kspace,
    mri_motion,
    noise,
    preservation,
    projection,
    resolution,
    warp,
    xray,
)

__all__ = [
    "acceleration",
    "ct",
    "ct_acquisition",
    "deformation",
    "grid",
    "maps",
    "mri",
    "mri_kspace",
    "mri_motion",
    "noise",
    "preservation",
    "projection",
    "resolution",
    "warp",
    "xray",
]
