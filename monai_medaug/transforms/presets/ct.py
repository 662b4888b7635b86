"""The CT preset."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from monai.config import KeysCollection

from monai_medaug.core.arguments import flag, number, wide_span
from monai_medaug.functional.hounsfield import PADDING_HU
from monai_medaug.transforms.ct.acquisition import RandCTBeamHardeningd
from monai_medaug.transforms.ct.dose import RandCTDosed
from monai_medaug.transforms.ct.hu import HUFromWindowd, HUWindowd, RandHUContrastd
from monai_medaug.transforms.ct.metal import RandCTMetald
from monai_medaug.transforms.ct.motion import RandCTMotiond
from monai_medaug.transforms.ct.ring import RandCTRingd
from monai_medaug.transforms.ct.units import require_hu, require_window, units_known
from monai_medaug.transforms.presets.base import SMOOTH, AugmentationPreset, Steps, build_preset, chosen_strength
from monai_medaug.transforms.resolution import RandThickSliced
from monai_medaug.transforms.spatial import RandAffineElasticd

RANGE_HU = (-1000.0, 1000.0)
_SLICES: dict[str, Any] = {"axis": "through"}  # a single slice has no thickness to change
_CT_STEPS: dict[str, Steps] = {
    "light": [
        (
            RandAffineElasticd,
            1,
            {"rotate_degrees": 3, "translate_fraction": 0.02, "scale_fraction": 0.05, "elastic_mm": (0, 1.5)} | SMOOTH,
        ),
        (RandHUContrastd, 1, {"factor": (0.95, 1.05)}),
        (RandCTDosed, 1, {"noise_hu": (1, 5)}),
    ],
    "standard": [
        (RandAffineElasticd, 1, {"elastic_mm": (0, 4)} | SMOOTH),  # 5°, 5 % and 10 % are its defaults
        (RandHUContrastd, 1, {"factor": (0.9, 1.1)}),
        (RandCTMotiond, 0.1, {"shift_mm": (0, 1.5), "rotate_degrees": (0, 1)}),
        (RandCTBeamHardeningd, 0.1, {}),
        (RandCTRingd, 0.1, {}),
        (RandThickSliced, 0.2, {"thickness_mm": (2, 5)} | _SLICES),
        (RandCTDosed, 1, {"noise_hu": (1, 10)}),
    ],
    "strong": [
        (
            RandAffineElasticd,
            1,
            {"rotate_degrees": 15, "translate_fraction": 0.07, "scale_fraction": 0.15, "elastic_mm": (0, 8)} | SMOOTH,
        ),
        (RandHUContrastd, 1, {"factor": (0.8, 1.2)}),
        (RandCTMotiond, 0.25, {}),
        (RandCTBeamHardeningd, 0.25, {}),
        (RandCTMetald, 0.1, {}),
        (RandCTRingd, 0.25, {}),
        (RandThickSliced, 0.3, _SLICES),
        (RandCTDosed, 1, {"noise_hu": (5, 25)}),
    ],
    "source": [
        (RandAffineElasticd, 1, {"elastic_alpha": 1000}),  # at the default sigma 8
        (RandHUContrastd, 1, {"factor": (0.85, 1.15)}),
        (RandCTMotiond, 0.375, {}),  # 0.3 at the default probability
        (RandCTDosed, 1, {"noise_hu": (1, 12.3), "kernel": "white", "slice_correlation": 0}),
    ],
}
_SCREENING_HU = {"light": (10, 20), "standard": (15, 30), "strong": (20, 40)}
_SCREENING_STEPS: Steps = [  # a chest in one breath without contrast medium, at one voltage
    (RandHUContrastd, 0.5, {"factor": (0.97, 1.03)}),
    (RandCTMotiond, 0.1, {"shift_mm": (0, 1.5), "rotate_degrees": 0}),
    (RandCTRingd, 0.05, {}),
]


class CTAugmentationPreset(AugmentationPreset):
    """The preset of `ct_augmentation`, which checks the unit of its images and the HU range of its results."""

    def check_image(self, image: torch.Tensor, name: str) -> None:
        if "window" in self.settings:
            require_window(image[None], self.settings["window"], name)
        else:
            require_hu(image, name, "put the preset before intensity scaling, or state it by window=(low, high)")

    def run_seeded(self, data: Mapping, seed: int) -> dict:
        with units_known():
            return super().run_seeded(data, seed)

    def run_batch(self, data: Any, draws: Sequence[Any], run: Any) -> Any:
        with units_known():
            return super().run_batch(data, draws, run)

    def findings(self, images: torch.Tensor, name: str) -> list[dict[str, Any]]:
        if "window" in self.settings:
            low, high = self.settings["window"]
            images = images * (high - low) + low
        return [{"range_check": check} for check in range_checks(images)]


def range_checks(images: torch.Tensor) -> list[dict[str, Any]]:
    """The shares of voxels below and above [-1000, 1000] HU, without padding at or below -1400 HU, of each image.

    Example:
        >>> check = range_checks(torch.tensor([[[-2048.0, -1000.0, -1010.0, 40.0, 1500.0]]]))[0]
        >>> check["share_below"], check["share_above"], check["passed"]
        (0.25, 0.25, False)
    """
    values = images.flatten(1)
    seen = values > PADDING_HU
    counts = [seen, seen & (values < RANGE_HU[0]), values > RANGE_HU[1]]
    figures = torch.stack([*values.aminmax(dim=1), *(c.sum(1) for c in counts)]).double().T.tolist()
    checks = []
    for low, high, voxels, below, above in figures:
        checks.append(
            {
                "range_hu": list(RANGE_HU),
                "share_below": below / max(voxels, 1),
                "share_above": above / max(voxels, 1),
                "minimum": low,
                "maximum": high,
                "passed": below == above == 0,
            }
        )
    return checks


def ct_augmentation(
    keys: KeysCollection = "image",
    mask_keys: KeysCollection | None = (),
    lesion_key: str | None = None,
    strength: str = "standard",
    prob: float = 0.8,
    sample_key: str | None = None,
    seed: int = 0,
    padding_mode: str | float = "automatic",
    ignore: float | None = None,
    window: Sequence[float] | None = None,
    allow_missing_keys: bool = False,
    low_dose_screening: bool = False,
    mirror_axes: int | Sequence[int] | None = None,
    patches: bool = False,
) -> AugmentationPreset:
    """Augmentation of CT images in HU, in physical order: patient, scan, slice, noise.

    ====================  =====  ========  ======  =========================================
    step                  light  standard  strong  source
    ====================  =====  ========  ======  =========================================
    geometry              all    all       all     ±5°, ±5 %, ±10 %, alpha 1000 at sigma 8
    contrast              all    all       all     0.85 to 1.15
    motion                       1/10      1/4     3/8
    beam hardening               1/10      1/4
    metal                                  1/10
    rings                        1/10      1/4
    thick slices (3D)            1/5       3/10
    dose                  all    all       all     white noise of up to 12.3 HU
    ====================  =====  ========  ======  =========================================

    Each step is applied on its own with the table's share of ``prob``. With masks or a lesion the steps run in a
    `PreservingCompose`, which reduces or rejects harmful changes. `augmentation_report` lists the steps, the verdicts,
    and the share of voxels outside [-1000, 1000] HU; `replay` repeats the call. Values are not clipped: if a network
    needs that, append ``HUWindowd(keys, center=0, width=2000, out_range=(-1000, 1000))``, or `RandHUWindowd` for a
    random display window, whose defaults are the source's.

    Of 32 draws (8 on each of four scans) of "light" 4 changed nothing visible, less than 2 % RMS of the display range
    within the body; of "standard" 1; of each strength of ``low_dose_screening`` 4. None of the 32 of "standard" and of
    the screening's looked wrong to the authors, who are no radiologists, at the size of a contact sheet; of "strong"
    they would reject 4 of 32 (repeated borders of a crop within the body, a brain lost in noise).

    In a pipeline the preset stands after spacing and cropping and before intensity scaling. One that scales first, by
    ``ScaleIntensityRanged(keys, a_min=low, a_max=high, b_min=0, b_max=1)``, may keep its order: the preset then goes to
    the end with ``window=(low, high)``, works in HU inside (`HUFromWindow`, `HUWindow`) and returns the same scale.
    What the scaling clipped is unknown: the sinogram steps take air for the window's low end. A result may leave
    [0, 1]; ``ScaleIntensityRanged(keys, 0, 1, 0, 1, clip=True)`` clips it.

    Args:
        keys: CT images in HU, or scaled as ``window`` says, 2D or 3D.
        mask_keys: label maps that move along and must be preserved.
        lesion_key: lesion mask that moves along and must be preserved; of several channels their union.
        strength: ``"light"``, ``"standard"``, ``"strong"``, or ``"source"``, with a patient's motion in place of the
            source's blur.
        prob: probability to which the steps' shares refer.
        sample_key: key of the sample's id. The draws then depend on ``seed``, the id and the epoch alone, not on the
            workers, see `SampleSeeded`; set the epoch by ``set_epoch``.
        seed: of the experiment, with ``sample_key``.
        padding_mode: what the geometry fills in from outside the image. ``"automatic"``: its own air or padding, and 0
            in masks, where at most three tenths of its border is tissue; it goes on through two opposite faces where
            the body leaves both. Other images, such as crops within a body, repeat the edge, in images and masks alike;
            ``"border"`` does so always. A number in the images' unit (-1000 for air) fills the images, and masks get 0.
        ignore: value of the masks there, such as 255, for a loss that ignores it; None for none.
        window: (low, high), the HU of the values 0 and 1 of scaled images; for another scale see `HUFromWindow`.
        allow_missing_keys: skip missing keys instead of raising a KeyError.
        low_dose_screening: a chest scanned for lung cancer screening, for ``"light"``, ``"standard"`` and ``"strong"``:
            their geometry, then always (with ``prob``) the noise of a fifth of the dose or less, 10 to 20, 15 to 30 and
            20 to 40 HU beside what the scan has; half of them a slight change of contrast, a tenth motion, a twentieth
            rings, and neither metal, beam hardening nor thick slices. (Screening scans have noise indices of 15 to 40
            HU: J.-H. Chen et al., PLoS ONE 2014.)
        mirror_axes: spatial axes along which half of the images are mirrored (`RandMirror`), such as that from left to
            right where both sides are alike; None for none.
        patches: the images are patches about a small structure, such as a nodule, whose lie and size say little: the
            geometry mirrors along all axes (or those of ``mirror_axes``), turns by any angle (about the slices' normal
            where they are thick), scales by 0.7 to 1.3 and leaves out the elastic part. Their corners repeat
            the edge: cut them with a margin where you can. Of 29 training patches of lung
            nodules a small network gained 0.198 of Dice so, and 0.117 by the geometry for organs.

    Returns:
        A MONAI Compose, for dictionaries. With one key and no masks it also takes a bare image, for chains of array
        transforms; only a MetaTensor carries the trace that the report and the inverse need.

    Raises:
        ValueError: an argument is out of its range, or in a call an image can't be in HU, or not scaled by the window.

    Example:
        >>> import torch
        >>> from monai.data import MetaTensor
        >>> from monai_medaug.transforms import augmentation_report
        >>> augment = ct_augmentation("image", strength="source").set_random_state(0)
        >>> out = augment({"image": MetaTensor(torch.randn(1, 64, 64) * 100)})
        >>> print(str(augmentation_report(out)).splitlines()[-1].strip())
        seed             209652396
    """
    steps = chosen_strength(_CT_STEPS, strength)
    settings: dict[str, Any] = {"strength": strength, "prob": prob}
    if flag("low_dose_screening", low_dose_screening):
        if strength == "source":
            raise ValueError("low_dose_screening must be False with strength 'source', got True")
        dose = (RandCTDosed, 1, {"noise_hu": _SCREENING_HU[strength]})
        steps = [*(s for s in steps if s[0] is RandAffineElasticd), *_SCREENING_STEPS, dose]
        settings["low_dose_screening"] = True
    if window is not None:
        low, high = settings["window"] = list(wide_span("window", window))
        to_window = {"center": (low + high) / 2, "width": high - low, "clip": False}
        if not isinstance(padding_mode, str):
            padding_hu = low + (high - low) * number("padding_mode", padding_mode)
            if not -4096 <= padding_hu <= 32767:
                raise ValueError(f"padding_mode must be in the unit of the scaled images, got {padding_hu:g} HU")
            padding_mode = padding_hu  # inside, all is in HU
        steps = [(HUFromWindowd, None, {"window": (low, high)}), *steps, (HUWindowd, None, to_window)]
    return build_preset(
        "ct_augmentation",
        steps,
        keys,
        mask_keys,
        lesion_key,
        settings,
        sample_key=sample_key,
        seed=seed,
        preset=CTAugmentationPreset,
        padding_mode="air" if padding_mode == "automatic" else padding_mode,
        ignore=ignore,
        allow_missing_keys=allow_missing_keys,
        mirror_axes=mirror_axes,
        patches=patches,
    )
