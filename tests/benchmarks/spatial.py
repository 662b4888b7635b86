"""Affine and elastic deformation of an image and its mask, in one call, against the peers' way to the same end."""

from __future__ import annotations

from collections.abc import Iterator
from math import radians

import numpy as np
import torch
from monai.data import MetaTensor
from monai.transforms import Rand2DElasticd, Rand3DElasticd

from monai_medaug.functional.acceleration import torch_only
from monai_medaug.transforms import RandAffineElasticd
from tests.benchmarks.harness import Call, Row

SIDE, PLANE = 128, 512
ANGLE, SCALE = 5, 0.1
KEYS, MODES = ("image", "mask"), ("bilinear", "nearest")


def volumes(*shape: int) -> tuple[torch.Tensor, torch.Tensor]:
    """A float32 image and a uint8 mask of three labels, channel first."""
    image = torch.randn(1, *shape, generator=torch.Generator().manual_seed(0))
    return image, (image > 0).to(torch.uint8) + (image > 1).to(torch.uint8)


def sample(*shape: int) -> dict[str, MetaTensor]:
    """The same as the MetaTensors that MONAI's LoadImaged gives."""
    return {key: MetaTensor(x) for key, x in zip(KEYS, volumes(*shape), strict=True)}


def ours(*shape: int) -> Call:
    data = sample(*shape)
    transform = RandAffineElasticd(
        KEYS, prob=1.0, rotate_degrees=ANGLE, scale_fraction=SCALE, mode=MODES, padding_mode="border"
    ).set_random_state(0)
    return lambda: transform(data)


def monai_3d() -> Call:
    data = sample(SIDE, SIDE, SIDE)
    transform = Rand3DElasticd(
        KEYS,
        sigma_range=(8, 8),
        magnitude_range=(1000, 1000),
        prob=1.0,
        rotate_range=(radians(ANGLE),) * 3,
        translate_range=(0.05 * SIDE,) * 3,
        scale_range=(SCALE,) * 3,
        mode=MODES,
        padding_mode="border",
    ).set_random_state(0)
    return lambda: transform(data)


def monai_2d() -> Call:
    data = sample(PLANE, PLANE)
    transform = Rand2DElasticd(
        KEYS,
        spacing=(32, 32),
        magnitude_range=(5, 10),
        prob=1.0,
        rotate_range=(radians(ANGLE),),
        translate_range=(0.05 * PLANE,) * 2,
        scale_range=(SCALE,) * 2,
        mode=MODES,
        padding_mode="border",
    ).set_random_state(0)
    return lambda: transform(data)


def torchio(affine: bool, elastic: bool) -> Call:
    import torchio as tio

    if int(tio.__version__.split(".")[0]) < 2:
        raise ImportError("TorchIO 2 is the peer")
    image, mask = volumes(SIDE, SIDE, SIDE)
    subject = tio.Subject(image=tio.ScalarImage(image), mask=tio.LabelMap(mask))
    arguments = {}
    if affine:
        shift = 0.05 * SIDE
        arguments |= {"scales": (1 - SCALE, 1 + SCALE), "degrees": (-ANGLE, ANGLE), "translation": (-shift, shift)}
    if elastic:
        arguments |= {"max_displacement": 7.5, "num_control_points": 7}
    transform = tio.Spatial(**arguments)
    return lambda: transform(subject)


def medaugmentx() -> Call:
    from medaugmentx import Compose, MedVolume
    from medaugmentx.transforms.spatial import ElasticDeform, RandomAffine

    image, mask = (x[0].numpy() for x in volumes(SIDE, SIDE, SIDE))
    volume = MedVolume(image, mask)
    steps = [
        RandomAffine(rotation=ANGLE, scale=(1 - SCALE, 1 + SCALE), translation=(-0.05, 0.05), mode="nearest"),
        ElasticDeform(alpha=1000.0, sigma=8.0, mode="nearest"),
    ]
    transform = Compose(steps, seed=0)
    return lambda: transform(volume)


def batchgenerators(mode_seg: str) -> Call:
    from batchgeneratorsv2.transforms.spatial.spatial import SpatialTransform

    image, mask = volumes(SIDE, SIDE, SIDE)
    mask = mask.to(torch.int16)
    np.random.seed(0)
    transform = SpatialTransform(
        (SIDE,) * 3,
        patch_center_dist_from_border=0,
        random_crop=False,
        p_elastic_deform=1,
        elastic_deform_scale=8 / SIDE,
        elastic_deform_magnitude=8.0,
        p_rotation=1,
        rotation=(-radians(ANGLE), radians(ANGLE)),
        p_scaling=1,
        scaling=(1 - SCALE, 1 + SCALE),
        p_synchronize_scaling_across_axes=1,
        mode_seg=mode_seg,
    )
    return lambda: transform(image=image, segmentation=mask)


def rows() -> Iterator[Row]:
    """128³ and 512², image + mask, the fold guarantee included in ours."""
    name = f"affine + elastic, image + mask, {SIDE}³"
    volume = (SIDE,) * 3

    def mine() -> Call:
        return ours(*volume)

    yield Row(name, "MONAI Rand3DElasticd", monai_3d, mine, 0.10)
    yield Row(f"{name}, torch alone", "MONAI Rand3DElasticd", monai_3d, mine, 0.45, within=torch_only)
    yield Row(name, "TorchIO 2, affine only", lambda: torchio(True, False), mine, 0.18)
    yield Row(name, "TorchIO 2, elastic only", lambda: torchio(False, True), mine, 0.18)
    yield Row(name, "TorchIO 2, both", lambda: torchio(True, True), mine, 0.18)
    yield Row(name, "MedAugmentX", medaugmentx, mine)
    yield Row(name, "batchgeneratorsv2, nearest", lambda: batchgenerators("nearest"), mine, 0.15)
    yield Row(name, "batchgeneratorsv2, default", lambda: batchgenerators("bilinear"), mine, 0.15)

    name = f"affine + elastic, image + mask, {PLANE}²"
    yield Row(name, "MONAI Rand2DElasticd", monai_2d, lambda: ours(PLANE, PLANE))
    yield Row(f"{name}, torch alone", "MONAI Rand2DElasticd", monai_2d, lambda: ours(PLANE, PLANE), within=torch_only)
