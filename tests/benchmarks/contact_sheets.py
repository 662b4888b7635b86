"""Contact sheets of the presets: draws of each strength on real scans, to be looked at, and how many change nothing."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import torch
from monai.data import MetaTensor

from monai_medaug.transforms import ct_augmentation, mri_augmentation, xray_augmentation

DRAWS = 8
_INVISIBLE = 0.02  # RMS change within the body, of the display range
SHEETS: dict[str, tuple[Callable[..., Any], dict[str, Any]]] = {
    "ct": (ct_augmentation, {}),
    "ct_low_dose_screening": (ct_augmentation, {"low_dose_screening": True}),
    "mri": (mri_augmentation, {}),
    "mri_skull_stripped": (mri_augmentation, {"skull_stripped": True}),
    "xray": (xray_augmentation, {}),
    "xray_portable": (xray_augmentation, {"portable": True}),
}
_SCANS = {
    "ct": ("lidc_0001_ct", "lungdx_A0001_ct_kernelB", "msd_spleen2_ct_image", "ct_head_ge_512"),
    "ct_low_dose_screening": ("lidc_0001_ct", "lungdx_A0001_ct_kernelB", "lungdx_A0001_ct_kernelL", "lidc_0003_ct"),
    "mri": ("t2w_head", "studyforrest_t1_1mm", "mr_thorax_lge", "sts_001_mr_t1_image"),
    "mri_skull_stripped": ("stroke_flair", "stroke_t1", "stroke_t2", "t1_brain_aseg"),
}
_WINDOWS = {"lidc": (-1350, 150), "lungdx": (-1350, 150), "msd": (-160, 240), "ct_head": (-20, 100)}


def scans(sheet: str) -> Iterator[tuple[MetaTensor, tuple[float, float]]]:
    """Four scans of a few slices, or radiographs, each with its display window."""
    folder = Path(os.environ["MONAI_MEDAUG_DATA"])
    if sheet.startswith("xray"):
        for name in ("cxr_lung_guangzhou128_open", "cxr_lung_hannover128_open"):
            stored = np.load(folder / f"{name}.npz")
            images = next(stored[n] for n in stored.files if stored[n].ndim == 3 and stored[n].shape[2] == 128)
            for image in images[[3, 20]]:
                yield MetaTensor(torch.from_numpy(image.astype(np.float32))[None]), (0, 255)
        return
    for name in _SCANS[sheet]:
        affine = np.eye(4)
        if name == "t1_brain_aseg":
            volume = np.load(folder / f"{name}.npz")["vol"].astype(np.float32)
        else:
            loaded = nib.load(folder / f"{name}.nii.gz")
            volume, affine = np.asarray(loaded.dataobj, np.float32), loaded.affine
        middle, step = volume.shape[2] // 2, 1 + max(volume.shape[:2]) // 260
        scaled = affine @ np.diag([step, step, 1, 1])
        part = volume[::step, ::step, max(0, middle - 5) : middle + 5]
        window = next((w for start, w in _WINDOWS.items() if name.startswith(start)), None)
        yield (
            MetaTensor(torch.from_numpy(part.copy())[None], affine=torch.from_numpy(scaled)),
            window or (0.0, float(np.quantile(volume, 0.995))),
        )


def shown(image: torch.Tensor, window: tuple[float, float]) -> np.ndarray:
    """An image on its display, 0 to 1."""
    return ((np.asarray(image[0], dtype=np.float32) - window[0]) / (window[1] - window[0])).clip(0, 1)


def contact_sheets(out: Path, names: list[str]) -> dict[str, Any]:
    """Draw the sheets into a folder and print the shares of draws that change nothing visible."""
    import matplotlib.pyplot as plt

    out.mkdir(parents=True, exist_ok=True)
    table: dict[str, Any] = {}
    for name in names or SHEETS:
        make, arguments = SHEETS[name]
        sources = list(scans(name))
        for strength in ("light", "standard", "strong"):
            preset = make("image", strength=strength, **arguments)
            figure, axes = plt.subplots(4, DRAWS + 1, figsize=(2 * (DRAWS + 1), 8), squeeze=False)
            changes = []
            for row, (image, window) in zip(axes, sources, strict=True):
                before = shown(image, window)
                body = before > 0.1
                row[0].imshow(_slice(before), cmap="gray", vmin=0, vmax=1)
                for seed, place in enumerate(row[1:]):
                    after = shown(preset.set_random_state(seed)({"image": image})["image"], window)
                    changes.append(float(np.sqrt(np.square(after - before)[body].mean())))
                    place.imshow(_slice(after), cmap="gray", vmin=0, vmax=1)
                    place.set_title(f"{changes[-1]:.1%}", fontsize=7)
            for place in axes.flat:
                place.axis("off")
            figure.tight_layout(pad=0.2)
            figure.savefig(out / f"{name}_{strength}.png", dpi=60)
            plt.close(figure)
            unseen = float(np.mean([c < _INVISIBLE for c in changes]))
            table[f"{name} {strength}"] = {"draws": len(changes), "change nothing visible": unseen}
            print(f"{name:24s}{strength:10s}{len(changes):4d} draws, nothing visible in {unseen:.0%}", flush=True)
    return table


def _slice(image: np.ndarray) -> np.ndarray:
    return image if image.ndim == 2 else image[..., image.shape[2] // 2].T
