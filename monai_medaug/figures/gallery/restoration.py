"""A denoiser in the gallery: a real image, the same with known noise, the results, and what each removed."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from monai.data.meta_tensor import MetaTensor

from monai_medaug.core.tensors import affine_of, with_meta
from monai_medaug.figures.gallery.images import GalleryImage
from monai_medaug.figures.gallery.rows import (
    RowPicture,
    draw_lines,
    png_content,
    psnr_text,
    round_scale,
    row_window_text,
    setting_text,
)
from monai_medaug.figures.planes import DisplayPlane
from monai_medaug.functional.geometry.grid import VoxelGrid
from monai_medaug.functional.mri.coil import magnitude_noise
from monai_medaug.functional.noise.white import white_noise
from monai_medaug.transforms.ct.dose import RandCTDose
from monai_medaug.transforms.denoise.base import NoiseRemoval

RESTORATION_TEXT = (
    "Noise of a known σ is added to a real slice; a part of it is shown at twice its size. Below each result stands "
    "what was removed, noisy − denoised. It should look like the noise on its left: anatomy that can be recognised in "
    "it was lost, and where it is dark, as at the skull, noise was left. (Rician noise brightens dark regions, so that "
    "it is right to darken them.) PSNR compares the part shown with the slice as it came, both clipped to the window "
    "shown, whose width is the peak. The slice as it came has noise of its own, which these figures count as signal: a "
    "denoiser that removes it too gets a lower figure. The noise of CT is correlated: estimated as white noise it "
    "comes out far too low, and almost nothing is removed; 'ct' estimates it on the whole slice, together with the "
    "slice's own noise. The slices, their white noise and their CT noise are the same for all."
)
_SEED = 0
_ZOOM = 2
_SIGMAS = 2.5
"""The end of the scale of the residuals, in sigma."""


@dataclass(frozen=True)
class NoiseTrial:
    """Noise that is added to an image, and what is tried against it.

    Attributes:
        modality: of the image.
        title: of the noisy image.
        sigma: in the image's units, several times the noise that the image has of its own.
        added: takes the image and sigma, gives the noisy image.
        centre: of the part that is shown, as shares of the picture's height and width.
        window: of the display; None for the image's own.
        settings: arguments of the denoiser, which is told sigma unless they say otherwise; None is an estimate.
    """

    modality: str
    title: str
    sigma: int
    added: Callable[[MetaTensor, int], MetaTensor]
    centre: tuple[float, float]
    window: tuple[float, float] | None
    settings: tuple[Mapping[str, Any], ...]


_RICIAN: tuple[Mapping[str, Any], ...] = (
    {"noise": "gaussian"},
    {"noise": "rician"},
    {"noise": "rician", "sigma": None},
)
_CT_SIGMA = 12
_CORRELATED: tuple[Mapping[str, Any], ...] = (
    {"noise": "gaussian", "sigma": None},
    {"noise": "ct", "sigma": None},
    {"noise": "ct", "sigma": _CT_SIGMA},
)


def noise_trials(cls: type[NoiseRemoval]) -> list[NoiseTrial]:
    """The trials of a denoiser: white noise on MR, Rician noise for all but the classical ones, and CT noise.

    Example:
        >>> from monai_medaug.transforms import MedianDenoise, WaveletDenoise
        >>> [trial.title for cls in (MedianDenoise, WaveletDenoise) for trial in noise_trials(cls)]
        ['with white noise', 'with CT noise', 'with white noise', 'with Rician noise', 'with CT noise']
    """
    settings = cls.gallery.arguments
    white = NoiseTrial("mri", "with white noise", 40, _with_white, (0.5, 0.55), None, settings)
    rician = NoiseTrial("mri", "with Rician noise", 40, _with_rician, (1, 0), None, _RICIAN)
    against_ct = settings if cls.classical else _CORRELATED
    ct = NoiseTrial("ct", "with CT noise", _CT_SIGMA, _with_ct, (0.62, 0.5), (-45, 105), against_ct)
    return [white, ct] if cls.classical else [white, rician, ct]


def _with_white(image: MetaTensor, sigma: int) -> MetaTensor:
    return image + sigma * white_noise(image.shape, [_SEED], image.device)[0]


def _with_rician(image: MetaTensor, sigma: int) -> MetaTensor:
    real, imaginary = white_noise((2, *image.shape), [_SEED], image.device)[0]
    noisy = magnitude_noise(image.as_tensor()[None], torch.tensor(sigma), real[None], imaginary.square()[None])
    return with_meta(noisy[0], image)


def _with_ct(image: MetaTensor, sigma: int) -> MetaTensor:
    return RandCTDose(noise_hu=sigma, prob=1.0).set_random_state(_SEED)(image)


def draw_restoration(
    cls: type[NoiseRemoval], trials: Sequence[NoiseTrial], images: Mapping[str, GalleryImage | None]
) -> tuple[bytes, list[dict[str, Any]]]:
    """The pictures of a denoiser as the content of a PNG, and the arguments of its calls."""
    shown = [(trial, image) for trial in trials if (image := images[trial.modality]) is not None]
    side = max(max(image.image.shape) for _, image in shown)
    lines, calls = [], []
    for trial, source in shown:
        own = [({"sigma": trial.sigma} if cls.by_level else {}) | dict(s) for s in trial.settings]
        lines += trial_lines(trial, source, [cls(**c) for c in own], side)
        calls += own
    return png_content(draw_lines(lines, side, side)), calls


def trial_lines(
    trial: NoiseTrial, source: GalleryImage, denoisers: list[NoiseRemoval], side: int
) -> list[list[RowPicture]]:
    """The line of images, and below it the line of what was added and what was removed."""
    window = trial.window or source.window
    unit = " HU" if trial.modality == "ct" else ""
    noisy = trial.added(source.image, trial.sigma)
    results = [denoiser(noisy) for denoiser in denoisers]

    plane = DisplayPlane.through(VoxelGrid(tuple(source.image.shape[1:]), affine_of(source.image)))
    whole, *others = (plane.cut(i.as_tensor()[0].numpy()) for i in (source.image, noisy, *results))
    part = shown_part(whole.shape, trial.centre, side // _ZOOM)
    clean, before, *after = (picture[part] for picture in (whole, *others))

    half = round_scale(_SIGMAS * trial.sigma)
    scale_text = [f"blue −{half:g}, red +{half:g}{unit} in this line"]
    above = [
        RowPicture("as it came", clean, row_window_text(source, window), window),
        RowPicture(
            trial.title, before, [f"σ {trial.sigma}{unit}, seed {_SEED}", psnr_text(clean, before, window)], window
        ),
    ]
    below = [
        RowPicture("where it lies", located(whole, part, side), [], window),
        RowPicture("noisy − as it came", before - clean, scale_text, (-half, half), colours=True),
    ]
    for setting, result, values in zip(trial.settings, results, after, strict=True):
        caption = [psnr_text(clean, values, window)]
        if setting.get("sigma", trial.sigma) is None:
            level = result.applied_operations[-1]["extra_info"]["figures"]["noise_level"]
            caption.append(f"σ estimated as {level:.1f}{unit}")
        title = setting_text({n: "estimated" if v is None else v for n, v in setting.items()})
        above.append(RowPicture(title, values, caption, window))
        below.append(RowPicture("noisy − denoised", before - values, [], (-half, half), colours=True))
    return [above, below]


def shown_part(shape: tuple[int, ...], centre: tuple[float, float], side: int) -> tuple[slice, ...]:
    """A square around the centre, or as near to it as the picture allows."""
    side = min(side, *shape)
    first = [int(np.clip(round(c * n - side / 2), 0, n - side)) for c, n in zip(centre, shape, strict=True)]
    return tuple(slice(f, f + side) for f in first)


def located(whole: np.ndarray, part: tuple[slice, ...], side: int) -> np.ndarray:
    """The whole picture with a frame around the part, in the middle of a square."""
    framed = whole.copy()
    inside = framed[part]
    inside[[0, -1]] = inside[:, [0, -1]] = whole.max()
    pads = [((side - n) // 2, side - n - (side - n) // 2) for n in whole.shape]
    return np.pad(framed, pads, constant_values=np.nan)
