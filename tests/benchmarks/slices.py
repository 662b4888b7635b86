"""Single slices on one thread, where a call costs more than its arithmetic: each operation against the fastest peer.

CPU time, medians of interleaved calls; several calls make one timing.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from math import radians
from typing import Any

import numpy as np
import torch
from monai.data import MetaTensor
from monai.transforms import (
    Rand2DElasticd,
    RandBiasField,
    RandCoarseDropout,
    RandGaussianNoise,
    RandGibbsNoise,
    RandKSpaceSpikeNoise,
    RandLambda,
    RandRicianNoise,
    RandScaleIntensity,
    RandShiftIntensity,
    RandSimulateLowResolution,
    ScaleIntensityRange,
)

from monai_medaug.core.operation import RandomOperation
from monai_medaug.transforms import (
    RandAffineElasticd,
    RandCTDose,
    RandHUContrast,
    RandHUWindow,
    RandMRIBiasField,
    RandMRIGhosting,
    RandMRIGibbs,
    RandMRIMotion,
    RandMRINoise,
    RandMRISpike,
    RandMRIUndersampling,
    RandThickSlice,
    RandXRayCollimation,
    RandXRayExposure,
    RandXRayScatter,
)
from tests.benchmarks.harness import Call
from tests.benchmarks.mri import kspace_mask
from tests.benchmarks.peers import batchgenerators, ellipsoid, medaugmentx, monai, ours, size, torchio

SIDES = (128, 256, 512)
TARGET = 1.2
ANGLE, SCALE, SHIFT = 5, 0.1, 0.05
AT_ONCE = 20e-3
"""Seconds of one timing."""

SetUps = dict[str, Callable[[], Call]]
"""The set-up of ours, under "ours", and of each peer: each returns the call to time. A ``~`` marks one that does
so much less that the ratio leaves it out."""


class RandNothingAtAll(RandomOperation):
    """Draws and changes nothing: what the mechanism costs."""

    def __init__(self) -> None:
        super().__init__(1.0)

    @classmethod
    def apply(cls, image: torch.Tensor, call: Any) -> torch.Tensor:
        return image.clone()


def mechanism(shape: tuple[int, ...]) -> dict[str, SetUps]:
    image = ellipsoid(shape, 90.0, 0.0, 20)
    return {
        "the mechanism alone": {
            "ours": lambda: ours(RandNothingAtAll(), image),
            "MONAI": lambda: monai(RandLambda(torch.clone, prob=1.0), image),
            "TorchIO 2": lambda: torchio("Lambda", image, function=torch.clone),
            "~MedAugmentX, without records": lambda: medaugmentx(image, BrightnessContrast={"contrast": 1.0}),
        }
    }


def magnetic(shape: tuple[int, ...]) -> dict[str, SetUps]:
    image, std = ellipsoid(shape, 90.0, 0.0, 20), 5.0
    motion = {"degrees": 5, "translation": 5}
    found: dict[str, SetUps] = {
        "bias field": {
            "ours": lambda: ours(RandMRIBiasField(0.4, prob=1.0), image),
            "MONAI": lambda: monai(RandBiasField(prob=1.0), image),
            "TorchIO 2": lambda: torchio("BiasField", image),
            "MedAugmentX": lambda: medaugmentx(image, BiasField={"alpha": 0.2}),
        },
        "Rician noise": {
            "ours": lambda: ours(RandMRINoise(20, prob=1.0), image),
            "MONAI": lambda: monai(RandRicianNoise(prob=1.0, std=std, sample_std=False), image),
            "TorchIO 2": lambda: torchio("Noise", image, std=std, rician=True),
            "batchgeneratorsv2": lambda: batchgenerators("noise.rician.RicianNoiseTransform", image, (std**2,) * 2),
            "MedAugmentX": lambda: medaugmentx(image, RicianNoise={"std": std}),
        },
        "k-space motion, 2 movements": {
            "ours": lambda: ours(RandMRIMotion(5, 5, movements=2, prob=1.0), image),
            "TorchIO 2": lambda: torchio("Motion", image, num_transforms=2, **motion),
            "MedAugmentX": lambda: medaugmentx(image, MRIMotion={"num_movements": 2, **motion}),
        },
        "undersampling": {
            "ours": lambda: ours(RandMRIUndersampling(4, 0.08, phase_axis=1, prob=1.0), image),
            "MONAI": lambda: kspace_mask(shape),
            "MedAugmentX": lambda: medaugmentx(
                image, KSpaceDropout={"dropout_fraction": 0.75, "phase_encode_axis": "x"}
            ),
        },
        "spikes": {
            "ours": lambda: ours(RandMRISpike(prob=1.0), image),
            "MONAI": lambda: monai(RandKSpaceSpikeNoise(prob=1.0), image),
            "TorchIO 2": lambda: torchio("Spike", image, intensity=0.1),
        },
        "Gibbs ringing": {
            "ours": lambda: ours(RandMRIGibbs(prob=1.0), image),
            "MONAI": lambda: monai(RandGibbsNoise(prob=1.0), image),
        },
    }
    low = RandSimulateLowResolution(prob=1.0, zoom_range=(0.25, 0.25), upsample_mode="bilinear")
    for axis in (0, 1):
        ghosts = {"num_ghosts": 3, "phase_encode_axis": "yx"[axis]}
        found[f"ghosting along axis {axis}"] = {
            "ours": lambda axis=axis: ours(RandMRIGhosting(4, 0.5, 0.02, phase_axis=axis, prob=1.0), image),
            "TorchIO 2": lambda axis=axis: torchio(
                "Ghosting", image, num_ghosts=4, intensity=0.5, restore=0.02, axes=(axis,)
            ),
            "~MedAugmentX, rolled copies": lambda ghosts=ghosts: medaugmentx(image, GhostingArtifact=ghosts),
        }
        found[f"thick slice along axis {axis}"] = {
            "ours": lambda axis=axis: ours(RandThickSlice(4, axis=axis, prob=1.0), image),
            "~MONAI, every fourth voxel": lambda: monai(low, image),
            "TorchIO 2": lambda axis=axis: torchio("Anisotropy", image, axes=(axis,), downsampling=4),
            "MedAugmentX": lambda: medaugmentx(image, SimulateLowResolution={"zoom_range": (0.25, 0.25)}),
        }
    return found


def tomographic(shape: tuple[int, ...]) -> dict[str, SetUps]:
    image = ellipsoid(shape, 30.0, -1000.0, 20)
    return {
        "CT contrast": {
            "ours": lambda: ours(RandHUContrast(prob=1.0), image),
            "MONAI": lambda: monai(RandScaleIntensity(0.1, prob=1.0), image),
            "TorchIO 2": lambda: torchio("Gamma", image, log_gamma=0.1),
            "~MedAugmentX, without records": lambda: medaugmentx(image, BrightnessContrast={}),
        },
        "CT window": {
            "ours": lambda: ours(RandHUWindow(prob=1.0), image),
            "MONAI": lambda: monai([ScaleIntensityRange(-160, 240, 0, 1, clip=True)], image),
        },
        "dose noise": {
            "ours": lambda: ours(RandCTDose(10, prob=1.0), image),
            "MONAI": lambda: monai(RandGaussianNoise(prob=1.0, std=10, sample_std=False), image),
            "TorchIO 2": lambda: torchio("Noise", image, std=10),
            "MedAugmentX": lambda: medaugmentx(image, GaussianNoise={"std": 10.0}),
        },
    }


def radiographic(shape: tuple[int, ...]) -> dict[str, SetUps]:
    image = ellipsoid(shape, 0.4, 0.0, 0.6)
    hole, most = (round(0.68 * shape[0]),) * 2, (round(0.98 * shape[0]),) * 2
    field = RandCoarseDropout(1, hole, dropout_holes=False, fill_value=1.0, max_spatial_size=most, prob=1.0)
    brighter = [RandShiftIntensity(0.3, prob=1.0), RandGaussianNoise(prob=1.0, std=0.02)]
    return {
        "exposure": {
            "ours": lambda: ours(RandXRayExposure(prob=1.0), image),
            "MONAI": lambda: monai(brighter, image),
            "MedAugmentX": lambda: medaugmentx(
                image, BrightnessContrast={"brightness": 0.3}, GaussianNoise={"std": 0.02}
            ),
        },
        "scatter": {
            "ours": lambda: ours(RandXRayScatter(prob=1.0), image),
            "MedAugmentX": lambda: medaugmentx(image, ScatterSimulation={}),
        },
        "collimation": {
            "ours": lambda: ours(RandXRayCollimation(prob=1.0), image),
            "MONAI": lambda: monai(field, image),
        },
    }


def geometric(shape: tuple[int, ...]) -> dict[str, SetUps]:
    image = ellipsoid(shape, 90.0, 0.0, 20)
    mask = (image > 0).to(torch.uint8)
    keys, modes, shift = ("image", "mask"), ("bilinear", "nearest"), SHIFT * shape[0]

    def dictionary(transform: Any) -> Call:
        data = {"image": MetaTensor(image), "mask": MetaTensor(mask)}
        transform.set_random_state(0)
        return lambda: transform(data)

    def theirs() -> Call:
        return dictionary(
            Rand2DElasticd(
                keys,
                (32, 32),
                (5, 10),
                prob=1.0,
                rotate_range=(radians(ANGLE),),
                translate_range=(shift,) * 2,
                scale_range=(SCALE,) * 2,
                mode=modes,
                padding_mode="border",
            )
        )

    def spatial() -> Call:
        import torchio as tio

        subject = tio.Subject(image=tio.ScalarImage(image[..., None]), mask=tio.LabelMap(mask[..., None]))
        transform = tio.Spatial(
            scales=(1 - SCALE, 1 + SCALE),
            degrees=(0, 0, 0, 0, -ANGLE, ANGLE),
            translation=(-shift, shift, -shift, shift, 0, 0),
            max_displacement=(5, 5, 5, 5, 0, 0),
            num_control_points=(7, 7, 5),
        )
        return lambda: transform(subject)

    def nnunet() -> Call:
        from batchgeneratorsv2.transforms.spatial.spatial import SpatialTransform

        np.random.seed(0)
        transform = SpatialTransform(
            shape,
            patch_center_dist_from_border=0,
            random_crop=False,
            p_elastic_deform=1,
            elastic_deform_scale=8 / shape[0],
            elastic_deform_magnitude=5.0,
            p_rotation=1,
            rotation=(-radians(ANGLE), radians(ANGLE)),
            p_scaling=1,
            scaling=(1 - SCALE, 1 + SCALE),
            mode_seg="nearest",
        )
        return lambda: transform(image=image, segmentation=mask.to(torch.int16))

    return {
        "affine + elastic, image + mask": {
            "ours": lambda: dictionary(RandAffineElasticd(keys, prob=1.0, mode=modes)),
            "MONAI": theirs,
            "TorchIO 2": spatial,
            "batchgeneratorsv2": nnunet,
        }
    }


def cpu_ms(set_ups: SetUps, repeats: int) -> dict[str, float]:
    """Medians of the CPU time of a call in ms, of all that are installed, in turn."""
    calls = {}
    for name, set_up in set_ups.items():
        try:
            calls[name] = set_up()
        except ImportError:
            continue
    counts = {}
    for name, call in calls.items():
        call()
        counts[name] = max(1, round(AT_ONCE / max(seconds(call, 2), 1e-6)))
    times: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(repeats):
        for name, call in calls.items():
            times[name].append(1e3 * seconds(call, counts[name]))
    return {name: statistics.median(found) for name, found in times.items()}


def seconds(call: Call, count: int) -> float:
    """CPU time of a call, averaged over several."""
    start = time.process_time()
    for _ in range(count):
        call()
    return (time.process_time() - start) / count


def slice_table(repeats: int, sides: tuple[int, ...] = SIDES) -> list[dict[str, Any]]:
    """Measure and print, side by side."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    head = f"{'operation':<32} {'size':>5} {'ours ms':>9} {'fastest peer':<18} {'ms':>8} {'ratio':>6}   the others"
    print(f"{head}\n{'-' * len(head)}   (target ≤ {TARGET})", flush=True)
    results = []
    for part in (mechanism, magnetic, tomographic, radiographic, geometric):
        for side in sides:
            for name, set_ups in part((side,) * 2).items():
                times = cpu_ms(set_ups, repeats)
                peers = sorted((peer[0] == "~", ms, peer) for peer, ms in times.items() if peer != "ours")
                _, best, peer = peers[0] if peers else (False, float("nan"), "none installed")
                ratio = times["ours"] / best
                others = ", ".join(f"{other} {ms:.2f}" for _, ms, other in peers[1:])
                print(
                    f"{name:<32} {size((side,) * 2):>5} {times['ours']:>9.3f} {peer:<18} {best:>8.3f} {ratio:>6.2f}"
                    f" {'*' if ratio > TARGET else ' '} {others}",
                    flush=True,
                )
                results.append({"name": name, "side": side, "cpu_ms": times, "fastest": peer, "ratio": ratio})
    torch.set_num_threads(threads)
    return results
