"""What the denoisers reach on the protocols, as transforms: PSNR, bias, whiteness, noise levels, on real images.

DIPY's T1 slice, nilearn's T1, pydicom-data's CT and radiograph; more where MONAI_MEDAUG_DATA is set. Noise is that of
`numpy.random.default_rng(0)`.
"""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import nibabel as nib
import numpy as np
import torch

from monai_medaug.functional.denoise import collaborative
from monai_medaug.transforms import (
    CollaborativeDenoise,
    NonLocalMeansDenoise,
    NonLocalMeansDenoised,
    RandCTDose,
    WaveletDenoise,
)

AWGN, RICIAN, VOLUME, QUANTA = 25 / 255, 0.05, 0.07, 15.0
STRONG: dict[str, Any] = {
    "non-local means": NonLocalMeansDenoise,
    "wavelet": WaveletDenoise,
    "collaborative": CollaborativeDenoise,
}
Result = dict[str, Any]


def decibel(image: Any, truth: np.ndarray, span: float = 1.0) -> float:
    return float(20 * np.log10(span) - 10 * np.log10(np.mean((np.asarray(image, float) - truth) ** 2)))


def unit_range(image: np.ndarray) -> np.ndarray:
    shifted = image.astype(float) - image.min()
    return shifted / shifted.max()


def run(transform: Any, image: np.ndarray) -> np.ndarray:
    return transform(torch.from_numpy(image).float()[None])[0].numpy()


def t1_slice() -> np.ndarray | None:
    """DIPY's, from 0 to 1, if it is installed."""
    found = importlib.util.find_spec("dipy")
    path = Path(found.origin).parent / "data/files/t1_coronal_slice.npy" if found and found.origin else None
    if path is None or not path.exists():
        return None
    image = np.load(path).astype(float)
    return image / image.max()


def t1_volume() -> np.ndarray:
    """64³ out of nilearn's T1, from 0 to 1."""
    from nilearn.datasets import load_mni152_template

    whole = load_mni152_template(resolution=1).get_fdata()
    return whole[60:124, 80:144, 60:124] / whole.max()


def dicom_image(name: str) -> np.ndarray:
    import pydicom
    from pydicom.data import get_testdata_file

    data = pydicom.dcmread(get_testdata_file(name, download=False))
    return data.pixel_array * float(data.get("RescaleSlope", 1)) + float(data.get("RescaleIntercept", 0))


def more_images() -> dict[str, np.ndarray]:
    """Slices of the folder MONAI_MEDAUG_DATA."""
    folder = Path(os.environ.get("MONAI_MEDAUG_DATA", ""))
    if not (folder / "t2w_head.nii.gz").exists():
        return {}
    names = {"T2": ("t2w_head", 30), "FLAIR": ("stroke_flair", 70), "CT head": ("ct_head_ge_512", 6)}
    slices = {k: nib.load(folder / f"{n}.nii.gz").get_fdata()[:, :, z] for k, (n, z) in names.items()}
    with np.load(folder / "t1_brain_aseg.npz") as stored:
        return {"T1": stored["vol"][80], **slices}


def white_noise() -> Iterator[Result]:
    truth = t1_slice()
    if truth is None:
        return
    from skimage.restoration import cycle_spin, denoise_nl_means, denoise_wavelet

    image = truth + np.random.default_rng(0).normal(0, AWGN, truth.shape)
    peer = denoise_nl_means(image, 5, 6, h=0.8 * AWGN, sigma=AWGN, fast_mode=True)
    spun = {"sigma": AWGN, "wavelet": "db4", "wavelet_levels": 3, "method": "BayesShrink"}
    what = "T1 slice, σ 25/255"
    yield {"what": what, "how": "scikit-image nl_means fast", "dB": decibel(peer, truth)}
    yield {
        "what": what,
        "how": "scikit-image BayesShrink, 16 shifts",
        "dB": decibel(cycle_spin(image, func=denoise_wavelet, max_shifts=3, func_kw=spun), truth),
    }
    for name, transform, target in (
        ("non-local means, 1 pass", NonLocalMeansDenoise(AWGN, passes=1), "≥ 33.3"),
        ("non-local means, 2 passes", NonLocalMeansDenoise(AWGN), "≥ 33.8"),
        ("wavelet, translation-invariant haar", WaveletDenoise(sigma=AWGN), "≥ 33.2"),
        ("wavelet, translation-invariant db4", WaveletDenoise(wavelet="db4", sigma=AWGN), "≥ 32.5"),
        ("wavelet, universal db4", WaveletDenoise("universal", sigma=AWGN), ""),
        ("wavelet, bayes db4", WaveletDenoise("bayes", sigma=AWGN), ""),
        ("collaborative", CollaborativeDenoise(AWGN), "≥ 35.16"),
        ("collaborative, σ estimated", CollaborativeDenoise(), ""),
    ):
        yield {"what": what, "how": name, "dB": decibel(run(transform, image), truth), "target": target}


def rician_noise() -> Iterator[Result]:
    truth = t1_slice()
    if truth is None:
        return
    random = np.random.default_rng(0)
    image = np.hypot(truth + random.normal(0, RICIAN, truth.shape), random.normal(0, RICIAN, truth.shape))
    what = "T1 slice, Rician σ 0.05"
    yield {"what": what, "how": "as it comes", "dB": decibel(image, truth)}
    for noise, target in (("gaussian", ""), ("rician", "≥ 37.3"), ("rician_squared", "")):
        for name, cls in STRONG.items():
            out = run(cls(noise=noise, sigma=RICIAN), image)
            bias = abs(float(out[truth == 0].mean())) / RICIAN
            figures = {"dB": decibel(out, truth), "background, σ": bias}
            yield {"what": what, "how": f"{name}, {noise}", **figures, "target": target}


def volumes() -> Iterator[Result]:
    from skimage.restoration import denoise_nl_means

    truth = t1_volume()
    image = truth + np.random.default_rng(0).normal(0, VOLUME, truth.shape)
    what = "T1, 64³, σ 7 %"
    peer = max(
        decibel(denoise_nl_means(image, 3, 5, h=h * VOLUME, sigma=VOLUME, fast_mode=True), truth) for h in (0.3, 0.4)
    )
    yield {"what": what, "how": "scikit-image nl_means fast, its best h", "dB": peer}
    for name, cls in STRONG.items():
        target = "" if name == "wavelet" else f"≥ {peer + 1.5:.2f}"
        yield {"what": what, "how": name, "dB": decibel(run(cls(sigma=VOLUME), image), truth), "target": target}


def ct_noise() -> Iterator[Result]:
    truth = dicom_image("693_UNCR.dcm")
    tissue = (truth > -150) & (truth < 150)
    drawn = RandCTDose(noise_hu=QUANTA, prob=1.0).set_random_state(0)
    image = np.asarray(drawn(torch.from_numpy(truth).float()[None]))[0]
    what = f"CT head, {QUANTA:.0f} HU of quantum noise"

    def error(out: np.ndarray) -> float:
        return float(np.sqrt(np.mean((out - truth)[tissue] ** 2)))

    yield {"what": what, "how": "as it comes", "HU": error(image)}
    for noise in ("gaussian", "ct"):
        for name, cls in STRONG.items():
            yield {"what": what, "how": f"{name}, {noise}, σ estimated", "HU": error(run(cls(noise=noise), image))}


def noise_levels() -> Iterator[Result]:
    images = {"radiograph": dicom_image("RG1_UNCR.dcm")[::2, ::2], **more_images()}
    for name, image in images.items():
        clean = unit_range(image)
        for sigma in (0.05, 0.1):
            noisy = clean + np.random.default_rng(0).normal(0, sigma, clean.shape)
            found, _ = WaveletDenoise().measured(torch.from_numpy(noisy).float()[None])
            error = 100 * (found / sigma - 1)
            yield {"what": f"noise of {sigma:.0%} added", "how": name, "error of the estimate, %": error}


def flat_and_clean() -> Iterator[Result]:
    flat = 500 + np.random.default_rng(0).normal(0, 20, (256, 256))
    clean = unit_range(np.add.outer(np.hanning(200), (np.arange(190) // 40 % 2)))
    for name, cls in STRONG.items():
        residual = flat - run(cls(sigma=20), flat)
        residual -= residual.mean()
        lag = max(abs((residual[1:] * residual[:-1]).mean()), abs((residual[:, 1:] * residual[:, :-1]).mean()))
        corner = np.abs(run(cls(), np.full((33, 40), -1000.0)) + 1000).max()
        yield {"what": "flat phantom, σ 20", "how": name, "lag 1 of residual": lag / residual.var(), "target": "< 0.05"}
        yield {"what": "noiseless image", "how": name, "dB": decibel(run(cls(), clean), clean), "target": "≥ 60"}
        yield {"what": "constant -1000 HU", "how": name, "HU": corner, "target": "< 1e-3"}


def guided() -> Iterator[Result]:
    folder = Path(os.environ.get("MONAI_MEDAUG_DATA", ""))
    if not (folder / "stroke_t1.nii.gz").exists():
        return
    t1, flair = (nib.load(folder / f"stroke_{n}.nii.gz").get_fdata()[:, :, 70] for n in ("t1", "flair"))
    image = flair + np.random.default_rng(0).normal(0, 25, flair.shape)
    data = {"flair": torch.from_numpy(image).float()[None], "t1": torch.from_numpy(t1).float()[None]}
    span = float(np.ptp(flair))
    yield {"what": "FLAIR, σ 25", "how": "as it comes", "dB": decibel(image, flair, span)}
    for how, key in (("alone", None), ("guided by T1", "t1")):
        out = NonLocalMeansDenoised("flair", sigma=25, guide_key=key)(data)["flair"][0].numpy()
        yield {"what": "FLAIR, σ 25", "how": f"non-local means {how}", "dB": decibel(out, flair, span)}


def rician_ways() -> Iterator[Result]:
    """What subtracting squares gains over stabilising, on the mean of the MR images at three noise levels."""
    images = {k: unit_range(v) for k, v in more_images().items() if k != "CT head"}
    slice_ = t1_slice()
    images |= {} if slice_ is None else {"T1 slice": slice_}
    for name, cls in STRONG.items() if images else ():
        gains = []
        for truth in images.values():
            for sigma in (0.03, 0.05, 0.1):
                random = np.random.default_rng(0)
                noisy = np.hypot(truth + random.normal(0, sigma, truth.shape), random.normal(0, sigma, truth.shape))
                ways = [decibel(run(cls(noise=n, sigma=sigma), noisy), truth) for n in ("rician_squared", "rician")]
                gains.append(ways[0] - ways[1])
        yield {"what": f"squared less stabilised, {len(gains)} runs", "how": name, "dB": float(np.mean(gains))}


def lesions() -> Iterator[Result]:
    """What is left of small lesions in 20 HU of quantum noise, and the error on a head with as much added."""
    sides, contrast = (4, 6, 8, 12), (60, 60, 40, 30)
    plane, places = np.full((200, 200), 40.0), []
    for i, (side, height) in enumerate(zip(sides, contrast, strict=True)):
        for j in range(4):
            places.append((i, slice(20 + 45 * i, 20 + 45 * i + side), slice(20 + 45 * j, 20 + 45 * j + side)))
            plane[places[-1][1:]] += height
    head = dicom_image("693_UNCR.dcm")
    tissue = (head > -150) & (head < 150)
    scans = [
        RandCTDose(noise_hu=20, prob=1.0).set_random_state(seed)(torch.from_numpy(image).float()[None])[0].numpy()
        for seed, image in ((3, plane), (0, head))
    ]
    for name, transform, alike in (
        ("non-local means", NonLocalMeansDenoise(noise="ct", strength=1), None),
        ("non-local means, smoothing 1.1", NonLocalMeansDenoise(noise="ct", strength=1, smoothing=1.1), None),
        ("wavelet", WaveletDenoise(noise="ct", strength=1), None),
        ("collaborative", CollaborativeDenoise(noise="ct", strength=1), None),
        ("collaborative, no equals", CollaborativeDenoise(noise="ct", strength=1), (0.0, 0.0)),
        ("collaborative, more equals", CollaborativeDenoise(noise="ct", strength=1), (2.5, 0.2)),
    ):
        with mock.patch.object(collaborative, "GRAINY_ALIKE", alike or collaborative.GRAINY_ALIKE):
            lesion, restored = (run(transform, scan) for scan in scans)
        left = {
            f"of {height} HU, {side}²": float(np.mean([lesion[y, x].mean() - 40 for k, y, x in places if k == i]))
            for i, (side, height) in enumerate(zip(sides, contrast, strict=True))
        }
        error = float(np.sqrt(np.mean((restored - head)[tissue] ** 2)))
        yield {"what": "lesions, 20 HU of quantum noise", "how": name, **left, "HU error": error}


PROTOCOLS = (white_noise, rician_noise, rician_ways, volumes, ct_noise, lesions, noise_levels, flat_and_clean, guided)


def denoise_table() -> list[Result]:
    """Measure and print, one line a result."""
    results = []
    for protocol in PROTOCOLS:
        for result in protocol():
            results.append(result)
            figures = [f"{v:9.4g} {k}" for k, v in result.items() if k not in ("what", "how", "target")]
            aim = result.get("target", "")
            print(f"{result['what']:<32} {result['how']:<42} {'  '.join(figures)}  {aim}".rstrip(), flush=True)
    return results
