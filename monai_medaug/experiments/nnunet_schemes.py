"""nnU-Net's augmentation in MONAI's transforms, for images that are already normalised to mean 0 and deviation 1."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import radians
from typing import Any

import numpy as np
import torch
from monai.transforms.compose import Compose, OneOf
from monai.transforms.intensity.dictionary import (
    RandAdjustContrastd,
    RandCoarseDropoutd,
    RandGaussianNoised,
    RandGaussianSmoothd,
    RandScaleIntensityd,
    RandScaleIntensityFixedMeand,
    RandShiftIntensityd,
)
from monai.transforms.spatial.dictionary import (
    RandAffined,
    RandFlipd,
    RandRotate90d,
    RandRotated,
    RandSimulateLowResolutiond,
    RandZoomd,
)
from monai.transforms.transform import MapTransform, RandomizableTransform
from monai.transforms.utility.dictionary import Identityd

from monai_medaug.experiments.peer_schemes import modes, with_mask
from monai_medaug.transforms.denoise.smoothing import MedianDenoised


def nnunet_scheme(image_key: str, mask_key: str | None, size: Sequence[int]) -> tuple[Any, Any]:
    """The default of nnU-Net v2: rotation and scaling of a fifth each, noise, blur, brightness, contrast, gamma, flips.

    A plane turns by up to 180° (15° where it is more than 1.5 times as long as wide), a volume by up to 30° about each
    axis. The noise's "variance" of up to 0.1 is used as a deviation there, and so here. Probabilities for a channel are
    multiplied in, as for images of one. Gamma is drawn evenly, not half of the time below 1; the branch for volumes of
    thick slices, which turns within them, is left out.

    Source: F. Isensee et al., nnU-Net, Nat. Methods 2021; MIC-DKFZ/nnUNet, nnUNetTrainer.get_training_transforms with
    batchgeneratorsv2.
    """
    keys = with_mask(image_key, mask_key)
    flat = len(size) == 2
    linear = modes("bilinear" if flat else "trilinear", "nearest", keys)
    zoom: dict[str, Any] = {"mode": linear, "padding_mode": "constant", "prob": 0.2}
    steps = [
        _rotation(keys, size, 0.2),
        OneOf(
            [
                RandZoomd(keys, min_zoom=1, max_zoom=1 / 0.7, **zoom),
                RandZoomd(keys, min_zoom=1 / 1.4, max_zoom=1, **zoom),
            ]
        ),
        RandGaussianNoised(image_key, std=0.1, prob=0.1),
        RandGaussianSmoothd(image_key, *((0.5, 1.0),) * 3, prob=0.1),
        RandScaleIntensityd(image_key, factors=0.25, prob=0.15),
        RandScaleIntensityFixedMeand(image_key, factors=0.25, preserve_range=True, prob=0.15),
        RandSimulateLowResolutiond(image_key, zoom_range=(0.5, 1.0), prob=0.125, upsample_mode=linear[0]),
        RandAdjustContrastd(image_key, gamma=(0.7, 1.5), invert_image=True, retain_stats=True, prob=0.1),
        RandAdjustContrastd(image_key, gamma=(0.7, 1.5), retain_stats=True, prob=0.3),
        *(RandFlipd(keys, prob=0.5, spatial_axis=axis) for axis in range(len(size))),
    ]
    return None, Compose(steps)


def nnunet_da5_scheme(image_key: str, mask_key: str | None, size: Sequence[int]) -> tuple[Any, Any]:
    """nnU-Net's DA5: more of all, quarter turns, median filters, rectangles, local brightness and gamma, sharpening.

    A transposition is a quarter turn and a flip, which are there. Median filters have odd sizes of 3 to 7, rectangles
    are filled with the image's mean, not their own, and brightness is shifted evenly with the same deviation.

    Source: MIC-DKFZ/nnUNet, nnUNetTrainerDA5.get_training_transforms.
    """
    keys = with_mask(image_key, mask_key)
    axes = len(size)
    linear = modes("bilinear" if axes == 2 else "trilinear", "nearest", keys)
    contrast: dict[str, Any] = {"keys": image_key, "prob": 0.1}
    gamma: dict[str, Any] = {"gamma": (0.7, 1.5), "invert_image": True, "retain_stats": True, "prob": 0.1}
    median = [MedianDenoised(image_key, size=side) for side in (3, 5, 7)]
    steps = [
        _rotation(keys, size, 0.4),
        RandAffined(
            keys,
            prob=0.2,
            scale_range=((-0.3, 0.43),) * axes,
            mode=modes("bilinear", "nearest", keys),
            padding_mode="zeros",
        ),
        *([RandRotate90d(keys, prob=0.375, max_k=3, spatial_axes=pair)] if (pair := _equal_axes(size)) else []),
        OneOf(
            [Identityd(image_key), *median, RandGaussianSmoothd(image_key, *((0.3, 1.5),) * 3, prob=1.0)],
            [0.9, *(0.05 / 3,) * 3, 0.05],
        ),
        RandGaussianNoised(image_key, std=0.1, prob=0.1),
        RandShiftIntensityd(image_key, offsets=0.5 * np.sqrt(3), prob=0.05),
        OneOf(
            [
                RandScaleIntensityFixedMeand(factors=factors, preserve_range=kept, **contrast)
                for factors in ((-0.5, 0), (0, 1))
                for kept in (True, False)
            ]
        ),
        RandSimulateLowResolutiond(image_key, zoom_range=(0.25, 1.0), prob=0.075, upsample_mode=linear[0]),
        RandAdjustContrastd(image_key, **gamma),
        RandAdjustContrastd(image_key, **gamma),
        *(RandFlipd(keys, prob=0.5, spatial_axis=axis) for axis in range(axes)),
        RandCoarseDropoutd(
            image_key,
            holes=1,
            max_holes=5,
            spatial_size=[max(1, n // 10) for n in size],
            max_spatial_size=[max(1, n // 3) for n in size],
            fill_value=0.0,
            prob=0.2,
        ),
        RandEffectd(image_key, brightness_gradient, prob=0.15),
        RandEffectd(image_key, local_gamma, prob=0.15),
        RandEffectd(image_key, sharpened, prob=0.1),
    ]
    return None, Compose(steps)


def _rotation(keys: Sequence[str], size: Sequence[int], prob: float) -> RandRotated:
    flat = len(size) == 2
    most = radians((15 if max(size) > 1.5 * min(size) else 180) if flat else 30)
    ranges = {"range_x": most} if flat else {"range_x": most, "range_y": most, "range_z": most}
    return RandRotated(keys, **ranges, prob=prob, mode=modes("bilinear", "nearest", keys), padding_mode="zeros")


def _equal_axes(size: Sequence[int]) -> tuple[int, int] | None:
    """Two axes of one length, within which a quarter turn keeps the shape."""
    pairs = [(i, j) for i in range(len(size)) for j in range(i + 1, len(size)) if size[i] == size[j]]
    return pairs[0] if pairs else None


class RandEffectd(RandomizableTransform, MapTransform):
    """An effect that draws what it needs itself, the same for all keys.

    Args:
        keys: images (C, *spatial).
        effect: from an image and a `numpy.random.RandomState` to the image after it.
        prob: probability of applying it.

    Example:
        >>> data = {"image": torch.zeros(1, 8, 8)}
        >>> out = RandEffectd("image", brightness_gradient, prob=1.0).set_random_state(0)(data)["image"]
        >>> 1 <= float(out.abs().max()) <= 5
        True
    """

    def __init__(self, keys: Any, effect: Callable[[torch.Tensor, Any], torch.Tensor], prob: float = 0.1) -> None:
        MapTransform.__init__(self, keys)
        RandomizableTransform.__init__(self, prob)
        self.effect = effect

    def __call__(self, data: Any) -> dict:
        """Apply to a dictionary."""
        out = dict(data)
        self.randomize(None)
        if self._do_transform:
            seed = int(self.R.randint(2**31 - 1))
            for key in self.key_iterator(out):
                out[key] = self.effect(torch.as_tensor(out[key]).float(), np.random.RandomState(seed))
        return out


def brightness_gradient(image: torch.Tensor, state: Any) -> torch.Tensor:
    """Add a Gaussian bump, a sixth to all of the image wide, of 1 to 5 deviations up or down.

    Example:
        >>> brightness_gradient(torch.zeros(1, 8, 8), np.random.RandomState(0)).shape
        torch.Size([1, 8, 8])
    """
    bump = _bump(image.shape[1:], state).to(image)
    return image + bump / bump.max().clamp_min(1e-8) * state.uniform(1, 5) * state.choice([-1.0, 1.0])


def local_gamma(image: torch.Tensor, state: Any) -> torch.Tensor:
    """A gamma of 0.01 to 0.8 or 1.5 to 4 of the image's range, faded in by a Gaussian bump.

    Example:
        >>> local_gamma(torch.zeros(1, 8, 8), np.random.RandomState(0)).abs().max()
        tensor(0.)
    """
    bump = _bump(image.shape[1:], state).to(image)
    share = (bump - bump.min()) / (bump.max() - bump.min()).clamp_min(1e-8)
    gamma = state.uniform(0.01, 0.8) if state.uniform() < 0.5 else state.uniform(1.5, 4)
    low, extent = image.min(), image.max() - image.min()
    unit = (image - low) / extent.clamp_min(1e-8)
    return ((1 - share) * unit + share * unit**gamma) * extent + low


def sharpened(image: torch.Tensor, state: Any) -> torch.Tensor:
    """Subtract a share of 0.1 to 1 of the Laplacian, within the image's range.

    Example:
        >>> sharpened(torch.ones(1, 4, 4), np.random.RandomState(0)).unique()
        tensor([1.])
    """
    neighbours = torch.zeros_like(image)
    for axis in range(1, image.ndim):
        last = image.shape[axis] - 1
        index = torch.arange(last + 1, device=image.device)
        neighbours += image.index_select(axis, (index - 1).clamp_min(0))
        neighbours += image.index_select(axis, (index + 1).clamp_max(last))
    edges = 2 * (image.ndim - 1) * image - neighbours
    return (image + state.uniform(0.1, 1) * edges).clamp(image.min(), image.max())


def _bump(shape: Sequence[int], state: Any) -> torch.Tensor:
    """A Gaussian that lies within or around the image."""
    exponent = torch.zeros(tuple(shape))
    for axis, n in enumerate(shape):
        width = np.exp(state.uniform(np.log(max(n // 6, 1)), np.log(n)))
        away = (torch.arange(n) - state.uniform(-0.5, 1.5) * n) / width
        exponent += (away**2).reshape([-1 if a == axis else 1 for a in range(len(shape))])
    return torch.exp(-0.5 * exponent)
