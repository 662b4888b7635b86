"""Denoisers trained on noisy scans alone: plain and structured blind spots, neighbouring slices, against clean targets.

Each learns from the same noisy volumes, drawn once, as a user's scans are; judged by PSNR on slices of other patients
with fresh noise. CT volumes are smoothed along the slices, so that they are thin, and alike from slice to slice, and
hold little noise of their own; the noise put in is `RandCTDose`'s, which correlates within a slice. In MR it is white,
and errors count in tissue alone: the bias of magnitudes in the background is in the noisy targets, too.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from monai.data import DataLoader, Dataset, MetaTensor
from monai.transforms import CenterSpatialCrop, Compose, RandFlipd, RandSpatialCropd
from scipy.ndimage import gaussian_filter1d, zoom

from monai_medaug.engines import BlindSpotPrepareBatch, NeighbourSlicePrepareBatch, restoration_trainer
from monai_medaug.networks import DnCNN, load_weights
from monai_medaug.transforms import NetworkRestore, RandCTDose
from tests.benchmarks.restoration import Method, Result, compared, slices
from tests.benchmarks.training_scans import found

_CT_RANGE = (-1024.0, 1500.0)
_LEVEL_HU, _SHARE = 25.0, 0.07
_SIDE, _BATCH, _LAYERS, _FEATURES = 48, 8, 8, 32


class SlicePairs:
    """Input and target are the same slice of two volumes, noisy and clean, or one with a hook's blind spots."""

    def __init__(self, hook: Any = None) -> None:
        self.hook = hook

    def __call__(self, batch: Mapping[str, Any], *args: Any, **kwargs: Any) -> tuple[torch.Tensor, torch.Tensor]:
        image, label = (batch[k].as_tensor()[..., 0] for k in ("image", "label"))
        return (image, label) if self.hook is None else self.hook({"image": image})


def volumes(modality: str) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Clean and noisy volumes (1, X, Y, Z) for training; CT is 0 to 1 over its range, MR over its peak."""
    for seed, item in enumerate(i for i in found() if i.modality == modality and i.part == "train"):
        values = item.values.astype(np.float32)
        if min(values.shape) < (3 if modality == "ct" else 80):
            continue
        if modality == "ct":
            spacing = np.linalg.norm(item.affine[:3, :3], axis=0)
            fine = max(round(spacing[2]), 1)
            values = CenterSpatialCrop((256, 256, -(-48 // fine)))(values[None])[0]
            values = gaussian_filter1d(zoom(values, (1, 1, fine), order=1), fine, axis=2)
            affine = torch.from_numpy(np.diag([*spacing[:2], spacing[2] / fine, 1.0]))
            clean = MetaTensor(torch.from_numpy(values)[None], affine=affine)
            dose = RandCTDose(noise_hu=(_LEVEL_HU, _LEVEL_HU), prob=1.0).set_random_state(seed)
            low, high = _CT_RANGE
            yield tuple(((v.as_tensor() - low) / (high - low)).contiguous() for v in (clean, dose(clean)))
        elif seed % 4 == 0:
            clean = torch.from_numpy(values / max(float(np.percentile(values, 99)), 1e-6))[None]
            real, imaginary = _SHARE * torch.randn(2, *clean.shape, generator=torch.Generator().manual_seed(seed))
            yield clean, torch.hypot(clean + real, imaginary)


def trained(data: list[tuple[torch.Tensor, torch.Tensor]], hook: Any, modality: str, epochs: int) -> Method:
    """A network trained with a hook, as a transform; the same first weights, volumes and number of steps for each."""
    torch.manual_seed(0)
    network = DnCNN(num_layers=_LAYERS, features=_FEATURES, gain=25 if modality == "ct" else 4)
    steps = Compose(
        [
            RandSpatialCropd(["image", "label"], (_SIDE, _SIDE, 2), random_size=False),
            RandFlipd(["image", "label"], 0.5, 0),
        ]
    )
    items = [{"label": clean, "image": noisy} for clean, noisy in data]
    repeated = items * max(64 // len(items), 1)
    loader = DataLoader(Dataset(repeated, steps), batch_size=_BATCH, shuffle=True)
    with tempfile.TemporaryDirectory() as folder:
        units = _CT_RANGE if modality == "ct" else "percentile"
        restoration_trainer(
            network,
            loader,
            folder,
            epochs,
            3e-3,
            prepare_batch=hook,
            average_steps=100,
            value_range=units,
            progress=False,
        ).run()
        return NetworkRestore(load_weights(network, Path(folder, "weights.safetensors")).eval())


def _in_tissue(method: Method, truths: dict[int, tuple[torch.Tensor, torch.Tensor]]) -> Method:
    def restored(image: torch.Tensor) -> torch.Tensor:
        truth, tissue = truths[id(image)]
        return torch.where(tissue, method(image), truth)

    return restored


def self_supervised_table(
    epochs: int = 100, quick: bool = False, modalities: tuple[str, ...] = ("ct", "mr")
) -> list[Result]:
    """Train, measure and print; a gain is that of the first line over another, with its interval over patients."""
    results = []
    for modality in modalities:
        data = list(volumes(modality))
        hooks: dict[str, Any] = {
            "clean targets": SlicePairs(),
            "neighbouring slices": NeighbourSlicePrepareBatch(),
            "blind spots, plain": SlicePairs(BlindSpotPrepareBatch(0.02)),
        }
        if modality == "ct":
            for reach in (1, 2, 4):  # of which a sixth of the voxels is hidden each time
                hook = BlindSpotPrepareBatch(0.15 / (2 * reach + 1) ** 2, reach)
                hooks[f"blind spots, reach {reach}"] = SlicePairs(hook)
        methods: dict[str, Method] = {
            name: trained(data, hook, modality, 2 if quick else epochs) for name, hook in hooks.items()
        }
        methods["as it comes"] = lambda x: x
        trials = []
        for seed, s in enumerate(slices(modality, quick)):
            if modality == "ct":
                noisy = RandCTDose(noise_hu=(_LEVEL_HU, _LEVEL_HU), prob=1.0).set_random_state(seed)(s.image)
            else:
                generator = torch.Generator().manual_seed(seed)
                real, imaginary = _SHARE * s.peak * torch.randn(2, *s.image.shape, generator=generator)
                noisy = torch.hypot(s.image + real, imaginary)
            trials.append((s, noisy, s.image))
        what = f"CT, {_LEVEL_HU:g} HU" if modality == "ct" else f"MR, σ {_SHARE:.0%}"
        if modality == "mr":  # noisy targets teach nothing of the background's bias: judged in tissue
            truths = {id(given): (truth, truth > 0.2 * s.peak) for s, given, truth in trials}
            methods = {name: _in_tissue(method, truths) for name, method in methods.items()}
        for row in compared(f"{what}, {len(data)} volumes", trials, methods, modality == "ct"):
            results.append(row)
            gain = f"  {-row['gain']:+.2f} dB [{-row['high']:+.2f}, {-row['low']:+.2f}]" if "gain" in row else ""
            print(f"{row['what']:<26} {row['how']:<24} {row['dB']:6.2f} dB  SSIM {row['SSIM']:.3f}{gain}", flush=True)
    return results
