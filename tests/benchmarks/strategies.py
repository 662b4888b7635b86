"""Augmentation strategies on four real shifts: the same network, the same budget, in domain and shifted.

Splits are by patient, drawn once. The training set of a fraction is drawn anew for each seed, so that the intervals
hold for other training sets too. Nothing is chosen on a test set. Results are cached below ``out``: a killed run goes
on.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from monai.data import MetaTensor
from monai.networks.nets import UNet
from monai.transforms import NormalizeIntensityd, ScaleIntensityRanged
from torch import nn

from monai_medaug.experiments import compare_strategies, plot_strategies
from monai_medaug.experiments.strategy_report import StrategyComparison, compared_outcomes
from monai_medaug.transforms import ct_augmentation, mri_augmentation, xray_augmentation

Sample = dict[str, Any]
NETWORKS: dict[str, Callable[[], nn.Module]] = {
    "plane": lambda: UNet(2, 1, 2, (8, 16, 32, 64), (2, 2, 2)),
    "volume": lambda: UNet(3, 1, 2, (8, 16, 32), (2, 2), num_res_units=1),
    "classes": lambda: nn.Sequential(*_stage(1, 16), *_stage(16, 32), *_stage(32, 64), nn.Flatten(), nn.Linear(576, 2)),
}


def _stage(before: int, after: int) -> list[nn.Module]:
    return [nn.Conv2d(before, after, 3, padding=1), nn.InstanceNorm2d(after, affine=True), nn.ReLU(), nn.MaxPool2d(2)]


@dataclass(frozen=True)
class Shift:
    """Data of a shift, and how it is trained.

    Attributes:
        samples: gives the samples of the source, those of its test if it has one of its own, and the shifted test.
        network: of `NETWORKS`.
        strategies: of `compare_strategies`.
        normalize: of the intensities.
        task: of `compare_strategies`.
        batch: samples a step.
        steps: an epoch, of 10, for every training set.
        chosen: the seed that split off the half of the shifted patients with whom a strategy was chosen.
    """

    samples: Callable[[], tuple[list[Sample], list[Sample], list[Sample]]]
    network: str
    strategies: dict[str, Any]
    normalize: Any
    task: str = "segmentation"
    batch: int = 4
    steps: int = 40
    chosen: int | None = None


def _data(name: str) -> Any:
    folder = Path(os.environ.get("MONAI_MEDAUG_DATA", "absent"))
    if not (folder / name).is_file():
        raise SystemExit(f"the benchmark needs {name} in the folder that MONAI_MEDAUG_DATA names")
    return np.load(folder / name)


def _sample(image: np.ndarray, label: Any, patient: Any, spacing: Sequence[float]) -> Sample:
    """An image of one channel that knows its spacing, with a mask or a class."""
    affine = torch.diag(torch.tensor([*spacing, *[1.0] * (4 - len(spacing))], dtype=torch.float64))
    placed = MetaTensor(torch.from_numpy(image.astype(np.float32))[None], affine=affine)
    if np.ndim(label):
        label = MetaTensor(torch.from_numpy(np.asarray(label, np.uint8))[None], affine=affine)
    return {"image": placed, "label": label if np.ndim(label) else int(label), "patient": str(patient)}


def lungs() -> tuple[list[Sample], list[Sample], list[Sample]]:
    """Lungs of children in Guangzhou, and of adults with COVID-19 in Hannover, mostly at the bedside."""
    found = []
    for name, pixel in (("cxr_lung_guangzhou128_open.npz", 2.0), ("cxr_lung_hannover128_open.npz", 3.0)):
        held = _data(name)
        masks = np.unpackbits(held["lung"], axis=-1)
        shown = held["has_lung"] > 0 if "has_lung" in held.files else np.ones(len(masks), bool)
        each = zip(held["img"][shown], masks[shown], held["patient"][shown], strict=True)
        found.append([_sample(image, mask, patient, (pixel, pixel)) for image, mask, patient in each])
    return found[0], [], found[1]


def pneumonia() -> tuple[list[Sample], list[Sample], list[Sample]]:
    """Pneumonia of children against normal chests; adults of NIH with pneumonia, consolidation or infiltration."""
    held, other = _data("pneumonia_28_trainval.npz"), _data("nih_cxr64_open.npz")
    source, test = (
        [
            _sample(image, label, f"{part}{n}", (9.0, 9.0))
            for n, (image, label) in enumerate(zip(held[f"{part}_images"], held[f"{part}_labels"][:, 0], strict=True))
        ]
        for part in ("train", "val")
    )
    names = [str(n) for n in other["finding_names"]]
    opacity = other["findings"][:, [names.index(n) for n in ("Pneumonia", "Consolidation", "Infiltration")]].any(1)
    used = opacity | (other["findings"].sum(1) == 0)
    small = nn.functional.interpolate(
        torch.from_numpy(other["img"][used]).float()[:, None], (28, 28), mode="bilinear", antialias=True
    )[:, 0].numpy()
    each = zip(small, opacity[used], other["patient"][used], strict=True)
    return source, test, [_sample(image, label, patient, (13.0, 13.0)) for image, label, patient in each]


def nodules() -> tuple[list[Sample], list[Sample], list[Sample]]:
    """Lung nodules in slices of at most 1.25 mm, and of at least 2 mm, of other patients."""
    held = _data("lidc_nodules_open.npz")
    thin, thick = held["slice_thickness"] <= 1.25, held["slice_thickness"] >= 2
    both = set(held["patient"][thin]) & set(held["patient"][thick])
    alone = ~np.isin(held["patient"], list(both))
    parts = []
    for chosen in (thin & alone, thick & alone):
        each = zip(
            *(held[key][chosen] for key in ("slice48", "mask48", "patient")), held["spacing"][chosen, :2], strict=True
        )
        parts.append([_sample(i, m, p, [float(v) for v in s]) for i, m, p, s in each if m.any()])
    return parts[0], [], parts[1]


def hippocampus() -> tuple[list[Sample], list[Sample], list[Sample]]:
    """The hippocampus of the Decathlon, reduced to 2 mm, and that of IXI's scans by another protocol of labelling."""
    size = (24, 32, 24)
    held = _data("msd_hippocampus_open.npz")
    images, labels = held["img"], held["seg"]
    source = []
    for n, shape in enumerate(held["shape"]):
        part = slice(held["offset"][n], held["offset"][n + 1])
        image, mask = (torch.from_numpy(a[part].reshape(shape).astype(np.float32)) for a in (images, labels > 0))
        halves = [nn.functional.avg_pool3d(x[None], 2)[0].numpy() for x in (image, mask)]
        source.append(_sample(_fitted(halves[0], size), _fitted(halves[1] >= 0.5, size), held["case"][n], (2, 2, 2)))
    other = _data("ixi_hh_t1_2mm_open.npz")
    shifted = []
    for image, muse, patient in zip(other["img"], other["muse"], other["id"], strict=True):
        for side in (47, 48):
            mask = muse == side
            centre = [round(float(c.mean())) for c in np.nonzero(mask)]
            corner = [min(max(c - s // 2, 0), n - s) for c, s, n in zip(centre, size, image.shape, strict=True)]
            box = tuple(slice(c, c + s) for c, s in zip(corner, size, strict=True))
            shifted.append(_sample(image[box], mask[box], patient, (2, 2, 2)))
    return source, [], shifted


def _fitted(volume: np.ndarray, size: Sequence[int]) -> np.ndarray:
    """Padded with its edge, or cropped, about the middle."""
    for axis, n in enumerate(size):
        lack = max(n - volume.shape[axis], 0)
        volume = np.pad(volume, [(lack // 2, lack - lack // 2) if a == axis else (0, 0) for a in range(3)], mode="edge")
        start = (volume.shape[axis] - n) // 2
        volume = np.take(volume, range(start, start + n), axis)
    return volume


_RADIOGRAPHS = ["none", "nnunet", "monai_mednist", "xray_light", "xray_standard"]
SHIFTS = {
    "lungs": Shift(
        lungs,
        "plane",
        {n: n for n in _RADIOGRAPHS} | {"xray_portable": xray_augmentation("image", "label", portable=True)},
        NormalizeIntensityd("image"),
    ),
    "pneumonia": Shift(
        pneumonia,
        "classes",
        {n: n for n in _RADIOGRAPHS} | {"xray_portable": xray_augmentation("image", portable=True)},
        NormalizeIntensityd("image"),
        "classification",
        16,
        20,
    ),
    "nodules": Shift(
        nodules,
        "plane",
        {n: n for n in ("none", "nnunet", "monai_brats", "ct_light", "ct_standard")}
        | {"ct_patches": ct_augmentation("image", "label", patches=True)},
        ScaleIntensityRanged("image", -1000, 400, -1.5, 1.5, clip=True),
        batch=8,
    ),
    "hippocampus": Shift(
        hippocampus,
        "volume",
        {n: n for n in ("none", "nnunet", "monai_brats", "torchio", "mri_light", "mri_standard")}
        | {"mri_mirrored": mri_augmentation("image", "label", mirror_axes=0)},
        NormalizeIntensityd("image"),
        chosen=11,
    ),
}


def split_by_patient(samples: list[Sample], share: float, seed: int) -> tuple[list[Sample], list[Sample]]:
    """A share of the patients, and the others."""
    patients = sorted({s["patient"] for s in samples})
    order = np.random.default_rng(seed).permutation(len(patients))
    chosen = {patients[i] for i in order[: max(1, round(share * len(patients)))]}
    return [s for s in samples if s["patient"] in chosen], [s for s in samples if s["patient"] not in chosen]


def on_unseen_patients(
    folder: Path, names: Sequence[str], seeds: Sequence[int], shifted: list[Sample], chosen: int, baseline: str | None
) -> str:
    """The table of the shifted patients with whom nothing was chosen, from the runs in a folder."""
    kept = {s["patient"] for s in split_by_patient(shifted, 0.5, chosen)[1]}
    seen = [i for i, s in enumerate(shifted) if s["patient"] in kept]
    runs: dict[str, list[dict]] = {}
    for name in names:
        runs[name] = []
        for seed in seeds:
            run = json.loads((folder / "runs" / f"{name}.{seed}.json").read_text())
            values = run["outcomes"]["shifted"]["values"]
            run["outcomes"] = {"unseen": {"values": [values[i] for i in seen], "truth": []}}
            runs[name].append(run)
    groups = {"shifted, patients with whom nothing was chosen": np.array([shifted[i]["patient"] for i in seen])}
    runs = {
        n: [r | {"outcomes": dict.fromkeys(groups, r["outcomes"]["unseen"])} for r in own] for n, own in runs.items()
    }
    first = baseline or names[0]
    figures, sizes = compared_outcomes(runs, groups, first, 0.95, 2000)
    return str(
        StrategyComparison(
            task="segmentation",
            baseline=first,
            seeds=[*seeds],
            level=0.95,
            settings={},
            tests=sizes,
            strategies=figures,
        )
    )


def strategy_table(
    name: str,
    fraction: float,
    seeds: Sequence[int],
    out: Path,
    only: Sequence[str] = (),
    baseline: str | None = None,
) -> list[dict]:
    """Compare on one shift, print the table, draw it; returns the figures."""
    torch.set_num_threads(1)
    shift = SHIFTS[name]
    source, test, shifted = shift.samples()
    if not test:
        test, source = split_by_patient(source, 0.25, 2026)

    def training(seed: int) -> list[Sample]:
        return source if fraction >= 1 else split_by_patient(source, fraction, 1000 + seed)[0]

    folder = out / f"{name}_{round(100 * fraction)}"
    strategies = {n: s for n, s in shift.strategies.items() if not only or n in only}
    found = compare_strategies(
        strategies,
        NETWORKS[shift.network],
        training,
        {"in domain": test, "shifted": shifted},
        folder,
        task=shift.task,
        seeds=seeds,
        batch_size=shift.batch,
        epoch_length=shift.steps,
        normalize=shift.normalize,
        group_key="patient",
        baseline=baseline,
        test_batch_size=32,
    )
    print(f"{name}, {fraction:.0%} of the training set: {len(training(0))} samples\n\n{found}")
    if shift.chosen is not None:
        print(f"\n{on_unseen_patients(folder, [*strategies], seeds, shifted, shift.chosen, baseline)}")
    plot_strategies(found, folder / "comparison.png")
    return [{"shift": name, "fraction": fraction, **found}]
