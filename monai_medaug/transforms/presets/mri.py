"""The MRI preset."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from monai.config import KeysCollection

from monai_medaug.core.arguments import flag
from monai_medaug.transforms.mri.coil import RandMRIBiasFieldd, RandMRINoised
from monai_medaug.transforms.mri.kspace import RandMRIGhostingd, RandMRISpiked
from monai_medaug.transforms.mri.motion import RandMRIMotiond
from monai_medaug.transforms.mri.undersampling import RandMRIGibbsd, RandMRIUndersamplingd
from monai_medaug.transforms.presets.base import SMOOTH, AugmentationPreset, Steps, build_preset, chosen_strength
from monai_medaug.transforms.resolution import RandThickSliced
from monai_medaug.transforms.spatial import RandAffineElasticd

_STIFF: dict[str, Any] = SMOOTH | {"elastic_mm": (0, 5), "elastic_sigma": 30}  # 8 mm at sigma 20 bulge a skull

_MRI_STEPS: dict[str, Steps] = {
    "light": [
        (
            RandAffineElasticd,
            1,
            {"rotate_degrees": 3, "translate_fraction": 0.02, "scale_fraction": 0.05, "elastic_mm": (0, 1.5)} | SMOOTH,
        ),
        (RandMRIBiasFieldd, 1, {"peak_to_peak": (0.05, 0.2)}),
        (RandMRINoised, 1, {"snr": (20, 40)}),
    ],
    "standard": [
        (RandAffineElasticd, 1, {"translate_fraction": 0.03, "elastic_mm": (0, 2.5)} | SMOOTH),  # else its defaults
        (RandMRIMotiond, 0.15, {"translate_mm": (0, 2), "rotate_degrees": (0, 2)}),
        (RandMRIBiasFieldd, 1, {}),
        (RandThickSliced, 0.2, {"thickness_mm": (2, 3), "axis": "through", "keep_zeros": None}),
        (RandMRIGhostingd, 0.1, {"ghosts": (2, 4), "intensity": (0.15, 0.4)}),
        (RandMRIUndersamplingd, 0.1, {"acceleration": (1.2, 2)}),
        (RandMRINoised, 1, {"snr": (10, 40)}),
        (RandMRISpiked, 0.05, {"amplitude": (0.02, 0.05)}),
        (RandMRIGibbsd, 0.1, {"kept": (0.7, 0.9)}),
    ],
    "strong": [
        (
            RandAffineElasticd,
            1,
            {"rotate_degrees": 15, "translate_fraction": 0.1, "scale_fraction": 0.2} | _STIFF,
        ),
        (RandMRIMotiond, 0.3, {}),
        (RandMRIBiasFieldd, 1, {"peak_to_peak": (0.2, 0.8)}),
        (RandThickSliced, 0.3, {"axis": "through", "keep_zeros": None}),
        (RandMRIGhostingd, 0.2, {}),
        (RandMRIUndersamplingd, 0.2, {}),
        (RandMRINoised, 1, {"snr": (8, 25)}),
        (RandMRISpiked, 0.1, {}),
        (RandMRIGibbsd, 0.2, {"kept": (0.5, 0.8)}),
    ],
    "source": [
        (RandMRIBiasFieldd, 1, {"peak_to_peak": 0.4}),  # an amplitude of 0.2 to either side
        (RandMRINoised, 1, {"snr": (0.5, 1.5), "signal": "deviation"}),
    ],
}


def _of_brain(step: type, arguments: dict[str, Any]) -> dict[str, Any]:
    """What changes for a skull-stripped brain."""
    if step is RandAffineElasticd:
        return {"elastic_mm": (0, min(2, arguments["elastic_mm"][1]))}
    return {} if step is RandMRIBiasFieldd else {"keep_zeros": True}  # a factor keeps 0 anyway


def mri_augmentation(
    keys: KeysCollection = "image",
    mask_keys: KeysCollection | None = (),
    lesion_key: str | None = None,
    strength: str = "standard",
    prob: float = 0.8,
    sample_key: str | None = None,
    seed: int = 0,
    padding_mode: str | float = "automatic",
    ignore: float | None = None,
    allow_missing_keys: bool = False,
    skull_stripped: bool = False,
    mirror_axes: int | Sequence[int] | None = None,
    patches: bool = False,
) -> AugmentationPreset:
    """Augmentation of MR magnitude images, in physical order: patient, coil, slice, k-space, receiver.

    ====================  =====  ========  ======  =========================================
    step                  light  standard  strong  source
    ====================  =====  ========  ======  =========================================
    geometry              all    all       all
    motion                       3/20      3/10
    bias field            all    all       all     40 % peak to peak
    thick slices (3D)            1/5       3/10
    ghosts                       1/10      1/5
    undersampling                1/10      1/5
    Rician noise          all    all       all     SNR 0.5 to 1.5 times the standard deviation
    spikes                       1/20      1/10
    Gibbs ringing                1/10      1/5
    ====================  =====  ========  ======  =========================================

    Each step is applied on its own with the table's share of ``prob``. Put the preset before the normalisation
    (`NormalizeIntensityd`, `ScaleIntensityd`): noise is Rician only if 0 means zero signal. A masked background, as
    after skull stripping, stays as it is, with a notice. Volumes whose slices lie at least three times as far apart as
    the voxels within them rotate about the slices' normal.

    Shares of the standard draws that change less than 2 % of the display range in all but 1 % of the voxels (three head
    scans): ghosts none, bias field none, thick slices none, undersampling a quarter, motion two fifths.

    Of 32 draws (8 on each of four scans) of the whole preset 4 of "light" changed nothing visible, less than 2 % RMS of
    the display range within the body, none of "standard" and "strong"; with ``skull_stripped`` 1, none and none. By eye
    on contact sheets the authors, who are no radiologists, would reject 1 of 32 of "standard" (a ghost that ends at the
    border of a crop), 4 of "strong" (ghosts and repeated borders in a crop) and none of the skull-stripped "standard".

    Args:
        keys: magnitude images of any scale, 2D or 3D. They share the draws: co-registered contrasts stay aligned.
        mask_keys: label maps that move along and must be preserved.
        lesion_key: lesion mask that moves along and must be preserved; of several channels their union.
        strength: ``"light"``, ``"standard"``, ``"strong"``, or ``"source"``, which leaves the geometry alone.
        prob: probability to which the steps' shares refer.
        sample_key: key of the sample's id. The draws then depend on ``seed``, the id and the epoch alone, not on the
            workers, see `SampleSeeded`; set the epoch by ``set_epoch``.
        seed: of the experiment, with ``sample_key``.
        padding_mode: what the geometry fills in from outside the image. ``"automatic"``: its own background, whatever 0
            has become, and 0 in masks, where at most a fifth of its border is tissue; it goes on through two opposite
            faces where the body leaves both. Other images, such as crops within a body, repeat the edge, in images and
            masks alike; ``"border"`` does so always. A number (0) fills the images, and masks get 0.
        ignore: value of the masks there, such as 255, for a loss that ignores it; None for none.
        allow_missing_keys: skip missing keys instead of raising a KeyError.
        skull_stripped: a brain whose background was set to 0, for ``"light"``, ``"standard"`` and ``"strong"``: their
            steps, but the 0 stay in each without a notice, and the elastic part is at most 2 mm RMS, as between brains
            in one space. Without it such a background is noticed and kept too.
        mirror_axes: spatial axes along which half of the images are mirrored (`RandMirror`), such as that from left to
            right where both sides are alike, as of a brain or a hippocampus; None for none.
        patches: the images are patches about a small structure, such as a nodule, whose lie and size say little: the
            geometry mirrors along all axes (or those of ``mirror_axes``), turns by any angle (about the slices' normal
            where they are thick), scales by 0.7 to 1.3 and leaves out the elastic part. Their corners repeat
            the edge: cut them with a margin where you can.

    Returns:
        A MONAI Compose, for dictionaries. With one key and no masks it also takes a bare image, for chains of array
        transforms; only a MetaTensor carries the trace that the report and the inverse need.

    Raises:
        ValueError: an argument is out of its range.

    Example:
        >>> import torch
        >>> from monai.data import MetaTensor
        >>> from monai_medaug.transforms import RandMRINoise, augmentation_report
        >>> augment = mri_augmentation("image", strength="light").set_random_state(0)
        >>> report = augmentation_report(augment({"image": MetaTensor(RandMRINoise.example(2))}))
        >>> [step["name"] for step in report["steps"] if step["applied"]]
        ['RandAffineElasticd', 'RandMRIBiasFieldd', 'RandMRINoised']
    """
    steps = chosen_strength(_MRI_STEPS, strength)
    settings: dict[str, Any] = {"strength": strength, "prob": prob}
    if flag("skull_stripped", skull_stripped):
        if strength == "source":
            raise ValueError("skull_stripped must be False with strength 'source', got True")
        steps = [(step, share, arguments | _of_brain(step, arguments)) for step, share, arguments in steps]
        settings["skull_stripped"] = True
    return build_preset(
        "mri_augmentation",
        steps,
        keys,
        mask_keys,
        lesion_key,
        settings,
        sample_key=sample_key,
        seed=seed,
        padding_mode="background" if padding_mode == "automatic" else padding_mode,
        ignore=ignore,
        allow_missing_keys=allow_missing_keys,
        mirror_axes=mirror_axes,
        patches=patches,
    )
