"""Small real scans with labels and lesions for attacks on the verdict, and phantoms where all is known.

The real ones need MONAI_MEDAUG_DATA. Limits of a verdict are chosen on the group "choose" and judged on the group
"judge"; no patient is in both. Labels that no reader drew come from a threshold and its largest component. Some lesions
are inserted: balls blurred by half a voxel, as `Scan.about` says.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import nibabel as nib
import numpy as np
import torch
from monai.data import MetaTensor
from scipy.ndimage import binary_fill_holes, binary_opening, distance_transform_edt, gaussian_filter
from scipy.ndimage import label as components


@dataclass(frozen=True, eq=False)  # one and the same is equal: facts of a scan are cached
class Scan:
    """An image, its label map and, where there is one, its lesion; arrays without a channel, affine in mm."""

    name: str
    group: str
    modality: str
    about: str
    image: np.ndarray
    label: np.ndarray
    lesion: np.ndarray | None
    affine: np.ndarray

    @property
    def spacing(self) -> np.ndarray:
        return np.linalg.norm(self.affine[:3, :3], axis=0)[: self.image.ndim]

    @property
    def values(self) -> list[int]:
        """The labels, without 0."""
        return [int(v) for v in np.unique(self.label) if v > 0]

    def sample(self) -> dict[str, MetaTensor]:
        """The dictionary that a transform gets."""
        arrays = {"image": self.image.astype(np.float32), "label": self.label.astype(np.uint8)}
        if self.lesion is not None:
            arrays["lesion"] = self.lesion.astype(np.uint8)
        return {k: MetaTensor(torch.from_numpy(v[None].copy()), affine=self.affine) for k, v in arrays.items()}


Parts = tuple[np.ndarray, np.ndarray, np.ndarray | None, np.ndarray]  # image, label, lesion, affine


# ---- from a threshold to a label -------------------------------------------------------------------------------


def largest(mask: np.ndarray) -> np.ndarray:
    """The largest component of a mask."""
    parts, _ = components(mask)
    return parts == np.bincount(parts.ravel())[1:].argmax() + 1


def body_of(image: np.ndarray, threshold: float) -> np.ndarray:
    """What is brighter, in one piece, its holes filled slice by slice."""
    solid = largest(binary_opening(image > threshold, iterations=1))
    return np.stack([binary_fill_holes(s) for s in np.moveaxis(solid, -1, 0)], -1)


def insert_ball(
    image: np.ndarray, where: np.ndarray, diameter_mm: float, contrast: float, spacing: np.ndarray
) -> Parts:
    """A ball of a contrast in the middle of a region, or of its part that is left after others: image and mask."""
    depth = distance_transform_edt(np.pad(where, 1), sampling=spacing)[(slice(1, -1),) * where.ndim]
    centre = np.unravel_index(depth.argmax(), depth.shape)
    axes = np.meshgrid(
        *[(np.arange(n) - c) * s for n, c, s in zip(where.shape, centre, spacing, strict=True)], indexing="ij"
    )
    mask = sum(a**2 for a in axes) <= (diameter_mm / 2) ** 2
    return image + contrast * gaussian_filter(mask.astype(float), 0.5), mask  # type: ignore[return-value]


# ---- reading ---------------------------------------------------------------------------------------------------


def folder() -> Path:
    return Path(os.environ["MONAI_MEDAUG_DATA"])


def nifti(name: str) -> tuple[np.ndarray, np.ndarray]:
    file = nib.load(folder() / f"{name}.nii.gz")
    return np.asarray(file.dataobj), np.asarray(file.affine, np.float64)


def crop(parts: Parts, centre: np.ndarray, size: tuple[int, ...]) -> Parts:
    """A box of at most a size, moved inside the image."""
    image, label, lesion, affine = parts
    low = [int(np.clip(c - n // 2, 0, max(m - n, 0))) for c, n, m in zip(centre, size, image.shape, strict=True)]
    box = tuple(slice(a, a + n) for a, n in zip(low, size, strict=True))
    moved = affine.copy()
    moved[:3, 3] += affine[:3, : len(low)] @ low
    return image[box], label[box], None if lesion is None else lesion[box], moved


def middle(mask: np.ndarray) -> np.ndarray:
    return np.argwhere(mask).mean(0)


def spleen() -> Parts:
    image, affine = nifti("msd_spleen2_ct_image")
    organ = nifti("msd_spleen2_ct_mask")[0] > 0
    label = np.where(organ, 2, body_of(image, -300)).astype(np.uint8)
    image, lesion = insert_ball(image, organ, 14, -60, np.linalg.norm(affine[:3, :3], axis=0))
    return crop((image, label, lesion, affine), middle(organ), (96, 96, 26))


def sarcoma_ct() -> Parts:
    image, affine = nifti("sts_001_ct_image")
    lesion = nifti("sts_001_ct_mask")[0] > 0
    label = body_of(image, -300).astype(np.uint8)
    bone = largest(binary_opening(image > 250, iterations=1))
    label[bone & (label > 0)] = 2
    return crop((image, label, lesion, affine), middle(lesion), (112, 112, 40))


def sarcoma_mr() -> Parts:
    image, affine = nifti("sts_001_mr_t1_image")
    lesion = nifti("sts_001_mr_t1_mask")[0] > 0
    label = body_of(gaussian_filter(image.astype(float), 1), 60).astype(np.uint8)
    fat = largest(binary_opening((image > 700) & (label > 0), iterations=1))
    label[fat] = 2
    return crop((image, label, lesion, affine), middle(lesion), (112, 112, 40))


def nodule(index: int) -> Parts:
    file = np.load(folder() / "lidc_nodules_open.npz")
    offset, shape = file["offset"], file["shape"][index]
    box = slice(offset[index], offset[index + 1])
    image = 8.0 * file["vox"][box].reshape(shape) - 1024
    lesion = np.unpackbits(file["mask"], count=offset[-1])[box].reshape(shape) > 0
    wall = np.zeros(shape, bool)
    parts, _ = components(binary_opening((image > -300) & ~lesion, iterations=1))
    sizes = np.bincount(parts.ravel())
    for part in np.flatnonzero(sizes[1:] > 400) + 1:  # the chest wall and the mediastinum, not vessels
        wall |= parts == part
    return image, np.where(wall, 2, 1).astype(np.uint8), lesion, np.diag([*file["spacing"][index].astype(float), 1.0])


def stroke(contrast: str) -> Parts:
    image, affine = nifti(f"stroke_{contrast}")
    lesion = largest(nifti("stroke_lesion_label")[0] == 1)
    t1, t2 = (nifti(f"stroke_{c}")[0].astype(float) for c in ("t1", "t2"))
    brain = body_of(gaussian_filter(t1, 1), 40)
    inner = distance_transform_edt(brain) > 12
    ventricles = largest(binary_opening((gaussian_filter(t2, 0.7) > 330) & inner & ~lesion, iterations=1))
    label = np.where(ventricles, 2, brain).astype(np.uint8)
    return crop((image, label, lesion, affine), middle(lesion) + np.array([12, 0, 0]), (80, 80, 64))


def sclerosis(patient: str) -> Parts:
    file = np.load(folder() / f"openms_patient{patient}_mni1mm.npz")
    image, brain, lesion = file["flair"].astype(float), file["brain"], file["lesion"]
    t1 = gaussian_filter(file["t1"].astype(float), 0.7)
    inner = distance_transform_edt(brain) > 15
    ventricles = largest(binary_opening((t1 < 0.45 * np.median(t1[brain])) & inner & ~lesion, iterations=1))
    label = np.where(ventricles, 2, brain).astype(np.uint8)
    return crop((image, label, lesion, file["affine"]), middle(ventricles) + np.array([0, 0, 12]), (96, 96, 64))


def hippocampus(index: int) -> Parts:
    file = np.load(folder() / "msd_hippocampus_open.npz")
    box, shape = slice(*file["offset"][index : index + 2]), file["shape"][index]
    return file["img"][box].reshape(shape), file["seg"][box].reshape(shape), None, np.eye(4)


def head(index: int) -> Parts:
    file = np.load(folder() / "ixi_hh_t1_2mm_open.npz")
    return file["img"][index], file["lut"][file["muse"][index]], None, np.diag([2.0, 2, 2, 1])


def brain() -> Parts:
    file = np.load(folder() / "t1_brain_aseg.npz")
    label = file["seg"]
    values = [v for v in np.unique(label[32:128, 48:144, 64:160]) if v > 0]  # numbers of a byte
    label = np.searchsorted([0, *values], label).astype(np.uint8) * np.isin(label, values)
    return crop((1000 * file["vol"], label, None, np.eye(4)), np.array([80, 96, 112]), (96, 96, 80))


def radiograph(site: str, index: int) -> Parts:
    """Without a pixel size: 2.7 mm for an adult of 350 mm across, 1.6 mm for a child."""
    file = np.load(folder() / f"cxr_lung_{site}128_open.npz")
    image, lung = file["img"][index].astype(float), np.unpackbits(file["lung"][index], axis=-1) > 0
    pitch = 2.7 if site == "hannover" else 1.6
    parts, _ = components(lung)
    order = np.argsort(np.bincount(parts.ravel())[1:])[::-1] + 1
    label = ((parts == order[0]) + 2 * (parts == order[1])).astype(np.uint8)
    image, lesion = insert_ball(image, label == 1, 9 * pitch, 35, np.array([pitch, pitch]))
    return image, label, lesion, np.diag([pitch, pitch, 1, 1])


def lung_thick() -> Parts:
    image, affine = nifti("lungdx_A0001_ct_kernelB")
    body = body_of(image, -400)
    lungs = binary_opening((image < -600) & body, iterations=1)
    label = np.where(lungs, 2, body).astype(np.uint8)
    one = largest(lungs)
    image, lesion = insert_ball(image, one, 16, 800, np.linalg.norm(affine[:3, :3], axis=0))
    return crop((image, label, lesion, affine), middle(lesion), (112, 112, 20))


def phantom(shape: tuple[int, ...]) -> Parts:
    """A body at 40 HU in air with an organ at 110, another at -80, and a lesion of 60 HU; noise of 10 HU."""
    x = np.meshgrid(*[np.linspace(-1, 1, n) for n in shape], indexing="ij")

    def ball(centre: float, radius: float) -> np.ndarray:
        return sum((a - centre * (i != 1)) ** 2 for i, a in enumerate(x)) < radius**2

    label = np.where(ball(0, 0.85), 1, 0)
    label[ball(-0.35, 0.28)], label[ball(0.4, 0.22)] = 3, 2
    lesion = sum((a - c) ** 2 for a, c in zip(x, (0.1, 0.35, 0.0), strict=False)) < 0.2**2
    image = np.array([-1000.0, 40.0, -80.0, 110.0])[label] + 60 * lesion
    noise = gaussian_filter(np.random.RandomState(0).normal(size=shape), 0.7)
    spacing = [*[1.0] * len(shape), *[1.0] * (4 - len(shape))]
    return gaussian_filter(image, 0.6) + 10 * noise / noise.std(), label, lesion, np.diag(spacing)


_SOURCES: dict[str, tuple[str, str, str, Callable[[], Parts]]] = {
    "phantom": ("choose", "ct", "synthetic", lambda: phantom((64, 64, 56))),
    "phantom_flat": ("judge", "ct", "synthetic slice", lambda: phantom((96, 96))),
    "spleen": ("choose", "ct", "portal venous CT at 5 mm; inserted lesion, -60 HU, 14 mm", spleen),
    "sarcoma_ct": ("choose", "ct", "CT at 3.27 mm; body, bone, sarcoma", sarcoma_ct),
    "sarcoma_mr": ("choose", "mr", "T1 at 3.27 mm; body, fat, sarcoma", sarcoma_mr),
    "nodule_thin": ("choose", "ct", "LIDC patient 57 at 1.25 mm; lung, wall, nodule", lambda: nodule(48)),
    "stroke_flair": ("choose", "mr", "FLAIR; brain, ventricles, stroke", lambda: stroke("flair")),
    "ms_07": ("choose", "mr", "FLAIR, skull-stripped; brain, ventricles, many lesions", lambda: sclerosis("07")),
    "hippocampus": ("choose", "mr", "T1; anterior and posterior hippocampus", lambda: hippocampus(3)),
    "head": ("choose", "mr", "IXI T1 at 2 mm; 8 tissues", lambda: head(5)),
    "child": ("choose", "xray", "Guangzhou; lungs, inserted nodule", lambda: radiograph("guangzhou", 10)),
    "nodule_thick": ("judge", "ct", "LIDC patient 53 at 2.5 mm; lung, wall, nodule", lambda: nodule(44)),
    "nodule_noisy": ("judge", "ct", "LIDC patient 220 at 1.25 mm; lung, wall, nodule", lambda: nodule(165)),
    "lung_thick": ("judge", "ct", "Lung-PET-CT-Dx at 5 mm; body, lungs, inserted nodule", lung_thick),
    "ms_19": ("judge", "mr", "FLAIR, skull-stripped; brain, ventricles, large lesions", lambda: sclerosis("19")),
    "brain": ("judge", "mr", "T1, skull-stripped; FreeSurfer labels", brain),
    "adult": ("judge", "xray", "Hannover; lungs, inserted nodule", lambda: radiograph("hannover", 21)),
}
NAMES = tuple(_SOURCES)


@cache
def scan(name: str) -> Scan:
    """A scan by name."""
    group, modality, about, load = _SOURCES[name]
    return Scan(name, group, modality, about, *load())


def available() -> list[str]:
    """The names of the scans that can be read here."""
    return [
        n for n, source in _SOURCES.items() if "MONAI_MEDAUG_DATA" in os.environ or source[2].startswith("synthetic")
    ]
