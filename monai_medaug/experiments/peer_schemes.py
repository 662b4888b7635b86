"""Published augmentation schemes of tutorials, as (before normalisation, after it)."""

from __future__ import annotations

from collections.abc import Sequence
from math import pi
from typing import Any

from monai.transforms.compose import Compose, OneOf
from monai.transforms.intensity.dictionary import (
    RandBiasFieldd,
    RandGaussianNoised,
    RandScaleIntensityd,
    RandShiftIntensityd,
)
from monai.transforms.spatial.dictionary import RandFlipd, RandRotated, RandZoomd

from monai_medaug.transforms.mri.motion import RandMRIMotiond
from monai_medaug.transforms.spatial import RandAffineElasticd


def with_mask(image_key: str, mask_key: str | None) -> list[str]:
    """The keys that move.

    Example:
        >>> with_mask("image", None), with_mask("image", "label")
        (['image'], ['image', 'label'])
    """
    return [image_key] if mask_key is None else [image_key, mask_key]


def modes(image: Any, mask: Any, keys: Sequence[str]) -> list[Any]:
    """A setting for each key that moves.

    Example:
        >>> modes("bilinear", "nearest", ["image"])
        ['bilinear']
    """
    return [image, mask][: len(keys)]


def monai_brats_scheme(image_key: str, mask_key: str | None, size: Sequence[int]) -> tuple[Any, Any]:
    """Flips along each axis before normalisation, scaling and shift of normalised intensities by up to 0.1 after it.

    Source: Project-MONAI/tutorials, 3d_segmentation/brats_segmentation_3d.ipynb.
    """
    keys = with_mask(image_key, mask_key)
    flips = [RandFlipd(keys, prob=0.5, spatial_axis=axis) for axis in range(len(size))]
    intensities = [
        RandScaleIntensityd(image_key, factors=0.1, prob=1.0),
        RandShiftIntensityd(image_key, offsets=0.1, prob=1.0),
    ]
    return Compose(flips), Compose(intensities)


def monai_mednist_scheme(image_key: str, mask_key: str | None, size: Sequence[int]) -> tuple[Any, Any]:
    """Rotation by up to 15°, a flip along the first axis, and zoom by 0.9 to 1.1, each of half the samples.

    Source: Project-MONAI/tutorials, 2d_classification/mednist_tutorial.ipynb.
    """
    keys = with_mask(image_key, mask_key)
    steps = [
        RandRotated(keys, range_x=pi / 12, prob=0.5, keep_size=True, mode=modes("bilinear", "nearest", keys)),
        RandFlipd(keys, prob=0.5, spatial_axis=0),
        RandZoomd(keys, min_zoom=0.9, max_zoom=1.1, prob=0.5, mode=modes("area", "nearest", keys)),
    ]
    return None, Compose(steps)


def torchio_scheme(image_key: str, mask_key: str | None, size: Sequence[int]) -> tuple[Any, Any]:
    """Motion (1/5) and bias field (3/10) of magnitude MR; then noise (1/2), a flip, affine (4/5) or elastic (1/5).

    TorchIO's default ranges: two movements of up to 10° and 10 mm, polynomials of the third order with coefficients up
    to 0.5, noise up to 0.25 standard deviations, scaling 0.9 to 1.1, 10°. Ours moves within k-space where TorchIO's
    motion averages the poses, and its elastic field of 2.5 mm RMS is what TorchIO's control points of up to 7.5 mm make
    of their splines; neither folds here.

    Source: F. Pérez-García et al., TorchIO, Comput. Methods Programs Biomed. 2021, and the tutorial on augmentation.
    """
    keys = with_mask(image_key, mask_key)
    common: dict[str, Any] = {"prob": 1.0, "mode": modes("bilinear", "nearest", keys), "translate_fraction": 0}
    affine = RandAffineElasticd(keys, rotate_degrees=10, scale_fraction=0.1, elastic_mm=0, **common)
    elastic = RandAffineElasticd(
        keys, rotate_degrees=0, scale_fraction=0, elastic_mm=2.5, elastic_sigma=max(size) / 12, **common
    )
    before = [
        RandMRIMotiond(image_key, translate_mm=(0, 10), rotate_degrees=(0, 10), movements=2, prob=0.2),
        RandBiasFieldd(image_key, degree=3, coeff_range=(-0.5, 0.5), prob=0.3),
    ]
    after = [
        RandGaussianNoised(image_key, std=0.25, prob=0.5),
        RandFlipd(keys, prob=0.5, spatial_axis=0),
        OneOf([affine, elastic], [0.8, 0.2]),
    ]
    return Compose(before), Compose(after)
