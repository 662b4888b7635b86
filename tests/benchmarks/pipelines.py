"""Whole pipelines of each package by modality, as a loader's worker makes them: an image and a mask in, both out.

The peers' are those that come closest to the standard preset: as many steps with the same probabilities, the nearest
that each has where it lacks one. Each factory imports its package, and raises an ImportError where that is missing.
"""

from __future__ import annotations

from collections.abc import Callable
from math import radians
from typing import Any

import numpy as np
import torch
from monai.data import MetaTensor
from monai.transforms import (
    Compose,
    Rand2DElasticd,
    Rand3DElasticd,
    RandBiasFieldd,
    RandCoarseDropoutd,
    RandGaussianNoised,
    RandGaussianSmoothd,
    RandGibbsNoised,
    RandKSpaceSpikeNoised,
    RandRicianNoised,
    RandScaleIntensityd,
    RandSimulateLowResolutiond,
)

from monai_medaug.transforms import ct_augmentation, mri_augmentation, xray_augmentation

Pipeline = Callable[[torch.Tensor, torch.Tensor], tuple[Any, Any]]
PRESETS = {"ct": ct_augmentation, "mri": mri_augmentation, "xray": xray_augmentation}
NOISE = {"ct": 10.0, "mri": 5.0, "xray": 0.02}
ANGLE, SCALE, SHIFT = 5, 0.1, 0.05


def ours(modality: str, shape: tuple[int, ...], seed: int, guarded: bool = True) -> Pipeline:
    """The standard preset with a mask; without the guard, the same steps on both keys."""
    preset = PRESETS[modality]("image", mask_keys="mask")
    if not guarded:
        preset.transforms = preset.transforms[0].transforms
    preset.set_random_state(seed)

    def run(image: torch.Tensor, mask: torch.Tensor) -> tuple[Any, Any]:
        out = preset({"image": MetaTensor(image), "mask": MetaTensor(mask)})
        return out["image"].as_tensor(), out["mask"].as_tensor()

    return run


def monai(modality: str, shape: tuple[int, ...], seed: int) -> Pipeline:
    """MONAI's own; smoothing for motion, spikes for rings and ghosts, a bias field for shading."""
    shift, std = SHIFT * shape[0], NOISE[modality]
    common = {"translate_range": (shift,) * len(shape), "scale_range": (SCALE,) * len(shape), "padding_mode": "border"}
    common |= {"mode": ("bilinear", "nearest"), "prob": 0.8}
    keys = ("image", "mask")
    if len(shape) == 3:
        steps: list[Any] = [Rand3DElasticd(keys, (8, 8), (1000, 1000), rotate_range=(radians(ANGLE),) * 3, **common)]
    else:
        steps = [Rand2DElasticd(keys, (32, 32), (5, 10), rotate_range=(radians(ANGLE),), **common)]
    contrast = RandScaleIntensityd("image", 0.1, prob=0.8)
    noise = RandGaussianNoised("image", prob=0.8, std=std)
    low = RandSimulateLowResolutiond("image", prob=0.16, zoom_range=(0.3, 0.6))
    steps += {
        "ct": [
            contrast,
            RandGaussianSmoothd("image", prob=0.08),
            RandBiasFieldd("image", prob=0.08),
            RandKSpaceSpikeNoised("image", prob=0.08),
            low,
            noise,
        ],
        "mri": [
            RandGaussianSmoothd("image", prob=0.12),
            RandBiasFieldd("image", prob=0.8),
            low,
            RandKSpaceSpikeNoised("image", prob=0.08),
            RandGibbsNoised("image", prob=0.08),
            RandRicianNoised("image", prob=0.8, std=std),
            RandKSpaceSpikeNoised("image", prob=0.04),
            RandGibbsNoised("image", prob=0.08),
        ],
        "xray": [
            RandCoarseDropoutd("image", 1, (350, 350), False, 1.0, max_spatial_size=(500, 500), prob=0.16),
            RandBiasFieldd("image", prob=0.32),
            contrast,
            noise,
        ],
    }[modality]
    pipeline = Compose(steps).set_random_state(seed)

    def run(image: torch.Tensor, mask: torch.Tensor) -> tuple[Any, Any]:
        out = pipeline({"image": MetaTensor(image), "mask": MetaTensor(mask)})
        return out["image"].as_tensor(), out["mask"].as_tensor()

    return run


def torchio(modality: str, shape: tuple[int, ...], seed: int) -> Pipeline:
    """TorchIO 2; spikes for rings, a bias field for shading, blur for lines left out."""
    import torchio as tio

    if int(tio.__version__.split(".")[0]) < 2:
        raise ImportError("TorchIO 2 is the peer")
    torch.manual_seed(seed)
    flat, std, shift = len(shape) == 2, NOISE[modality], SHIFT * shape[0]
    geometry = tio.Spatial(
        scales=(1 - SCALE, 1 + SCALE),
        degrees=(0, 0, 0, 0, -ANGLE, ANGLE) if flat else (-ANGLE, ANGLE),
        translation=(-shift, shift, -shift, shift, 0, 0) if flat else (-shift, shift),
        max_displacement=(5, 5, 5, 5, 0, 0) if flat else 5,
        num_control_points=(7, 7, 5) if flat else 7,
        p=0.8,
    )
    thick = tio.Anisotropy(downsampling=(2, 5), p=0.16)
    motion = {"degrees": 2, "translation": 2}
    steps = {
        "ct": [
            tio.Gamma(log_gamma=(-0.1, 0.1), p=0.8),
            tio.Motion(**motion, p=0.08),
            tio.BiasField(p=0.08),
            tio.Spike(intensity=0.1, p=0.08),
            thick,
            tio.Noise(std=(1, std), p=0.8),
        ],
        "mri": [
            tio.Motion(**motion, p=0.12),
            tio.BiasField(p=0.8),
            thick,
            tio.Ghosting(intensity=(0.15, 0.4), p=0.08),
            tio.Blur(std=(0.5, 1), p=0.08),
            tio.Noise(std=std, rician=True, p=0.8),
            tio.Spike(intensity=0.1, p=0.04),
            tio.Blur(std=(0.5, 1), p=0.08),
        ],
        "xray": [
            tio.Mask(masking_method="mask", p=0.16),
            tio.BiasField(p=0.32),
            tio.Gamma(log_gamma=(-0.1, 0.1), p=0.8),
            tio.Noise(std=std, p=0.8),
        ],
    }[modality]
    pipeline = tio.Compose([geometry, *steps])

    def run(image: torch.Tensor, mask: torch.Tensor) -> tuple[Any, Any]:
        image, mask = (x[..., None] if flat else x for x in (image, mask))
        out = pipeline(tio.Subject(image=tio.ScalarImage(image), mask=tio.LabelMap(mask)))
        return out["image"].data.reshape(1, *shape), out["mask"].data.reshape(1, *shape)

    return run


def batchgenerators(modality: str, shape: tuple[int, ...], seed: int) -> Pipeline:
    """batchgeneratorsv2 (nnU-Net's); blur for motion, brightness gradients for shading, gamma spots for ghosts."""
    from batchgeneratorsv2.transforms.intensity.brightness import MultiplicativeBrightnessTransform
    from batchgeneratorsv2.transforms.intensity.contrast import ContrastTransform
    from batchgeneratorsv2.transforms.intensity.gaussian_noise import GaussianNoiseTransform
    from batchgeneratorsv2.transforms.local.brightness_gradient import BrightnessGradientAdditiveTransform
    from batchgeneratorsv2.transforms.local.local_gamma import LocalGammaTransform
    from batchgeneratorsv2.transforms.noise.blank_rectangle import BlankRectangleTransform
    from batchgeneratorsv2.transforms.noise.gaussian_blur import GaussianBlurTransform
    from batchgeneratorsv2.transforms.noise.rician import RicianNoiseTransform
    from batchgeneratorsv2.transforms.spatial.low_resolution import SimulateLowResolutionTransform
    from batchgeneratorsv2.transforms.spatial.spatial import SpatialTransform
    from batchgeneratorsv2.transforms.utils.compose import ComposeTransforms
    from batchgeneratorsv2.transforms.utils.random import RandomTransform

    np.random.seed(seed)
    torch.manual_seed(seed)
    std = NOISE[modality]
    geometry = SpatialTransform(
        shape,
        patch_center_dist_from_border=0,
        random_crop=False,
        p_elastic_deform=0.8,
        elastic_deform_scale=8 / shape[0],
        elastic_deform_magnitude=5.0,
        p_rotation=0.8,
        rotation=(-radians(ANGLE), radians(ANGLE)),
        p_scaling=0.8,
        scaling=(1 - SCALE, 1 + SCALE),
        p_synchronize_scaling_across_axes=1,
        mode_seg="nearest",
    )
    blur = GaussianBlurTransform(blur_sigma=(0.5, 1.0))
    contrast = ContrastTransform((0.9, 1.1), preserve_range=False, synchronize_channels=True)
    shading = BrightnessGradientAdditiveTransform(scale=shape[0] / 2, max_strength=std)
    spots = LocalGammaTransform(scale=shape[0] / 4)
    low = SimulateLowResolutionTransform((0.3, 0.6), True, True, None)
    noise = GaussianNoiseTransform((0, std**2), synchronize_channels=True)
    steps = {
        "ct": [(contrast, 0.8), (blur, 0.08), (shading, 0.08), (spots, 0.08), (low, 0.16), (noise, 0.8)],
        "mri": [
            (blur, 0.12),
            (shading, 0.8),
            (low, 0.16),
            (spots, 0.08),
            (low, 0.08),
            (RicianNoiseTransform((0, std**2)), 0.8),
            (spots, 0.04),
            (blur, 0.08),
        ],
        "xray": [
            (BlankRectangleTransform(((20, 100),) * len(shape), 0.0, 1), 0.16),
            (shading, 0.32),
            (MultiplicativeBrightnessTransform((0.9, 1.1), synchronize_channels=True), 0.8),
            (noise, 0.8),
        ],
    }[modality]
    pipeline = ComposeTransforms([geometry, *(RandomTransform(step, p) for step, p in steps)])

    def run(image: torch.Tensor, mask: torch.Tensor) -> tuple[Any, Any]:
        out = pipeline(image=image.clone(), segmentation=mask.to(torch.int16))
        return out["image"], out["segmentation"]

    return run


def medaugmentx(modality: str, shape: tuple[int, ...], seed: int) -> Pipeline:
    """MedAugmentX; blur for motion of a CT and for ringing, stripes for rings and spikes."""
    import medaugmentx.transforms as mx
    from medaugmentx import Compose as Chain
    from medaugmentx import MedVolume

    std = NOISE[modality]
    geometry = [
        mx.RandomAffine((-ANGLE, ANGLE), (1 - SCALE, 1 + SCALE), (-SHIFT, SHIFT), mode="nearest", p=0.8),
        mx.ElasticDeform(alpha=1000.0, sigma=8.0, mode="nearest", p=0.8),
    ]
    low = mx.SimulateLowResolution(zoom_range=(0.3, 0.6), p=0.16)
    contrast = mx.BrightnessContrast(contrast=(0.9, 1.1), p=0.8)
    noise = mx.GaussianNoise(std=std, p=0.8)
    steps = {
        "ct": [
            contrast,
            mx.GaussianBlur(p=0.08),
            mx.BeamHardening(p=0.08),
            mx.GridArtifact(p=0.08),
            low,
            noise,
        ],
        "mri": [
            mx.MRIMotion(degrees=(0.0, 2.0), translation=(0.0, 2.0), p=0.12),
            mx.BiasField(alpha=0.2, p=0.8),
            low,
            mx.GhostingArtifact(p=0.08),
            mx.KSpaceDropout(p=0.08),
            mx.RicianNoise(std=std, p=0.8),
            mx.GridArtifact(p=0.04),
            mx.GaussianBlur(p=0.08),
        ],
        "xray": [mx.CoarseDropout(p=0.16), mx.ScatterSimulation(p=0.32), contrast, noise],
    }[modality]
    pipeline = Chain([*geometry, *steps], seed=seed)

    def run(image: torch.Tensor, mask: torch.Tensor) -> tuple[Any, Any]:
        out = pipeline(MedVolume(image[0].numpy(), mask[0].numpy()))
        return torch.from_numpy(np.ascontiguousarray(out.image)), torch.from_numpy(np.ascontiguousarray(out.mask))

    return run


PIPELINES: dict[str, Callable[..., Pipeline]] = {
    "ours, guarded": ours,
    "ours, without the guard": lambda *given: ours(*given, guarded=False),
    "MONAI": monai,
    "TorchIO 2": torchio,
    "batchgeneratorsv2": batchgenerators,
    "MedAugmentX": medaugmentx,
}
