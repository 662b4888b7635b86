"""The bundles' networks on patients kept for judging, against our classical methods: noise, scale, contrast, kernels.

Slices of the part "test" of `training_scans`. Figures are means over patients; an interval is that of 95 % of the
difference, patients drawn again (bootstrap). CT: HU clipped to ±1000, peak 2000. MR: peak the 99th percentile.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import nibabel as nib
import numpy as np
import torch
from monai.data import MetaTensor
from scipy.ndimage import binary_erosion, gaussian_filter

from monai_medaug.bundles import load_pretrained
from monai_medaug.functional.geometry.upscale import cubic_resized, reduced
from monai_medaug.transforms import (
    CollaborativeDenoise,
    NetworkRestore,
    NonLocalMeansDenoise,
    RandCTDose,
    Upscale,
    WaveletDenoise,
)
from tests.benchmarks.training_scans import found

CLASSICAL: dict[str, Any] = {
    "non-local means": NonLocalMeansDenoise,
    "wavelet": WaveletDenoise,
    "collaborative": CollaborativeDenoise,
}
_MOST, _SMALL = 256, 64  # pixels along a side of what is compared, and of images that count as patches
_DISC_MM, _CONTRAST_HU = 5.0, 20.0
Method = Callable[[torch.Tensor], torch.Tensor]
Result = dict[str, Any]


class Slice(NamedTuple):
    """A slice (1, X, Y) of a patient, its pixel in mm, and the peak of its signal."""

    patient: str
    image: torch.Tensor
    spacing: float
    peak: float


def slices(modality: str, quick: bool, axis: int = -1) -> list[Slice]:
    """A few slices of each patient; of collections of small images at most 14 patients each, of which quick takes 3."""
    chosen, counts = [], {}
    for item in found():
        if item.modality != modality or item.part != "test":
            continue
        patient, collection = item.name.rsplit("-", 1)[0], item.name[:4]
        small = min(item.values.shape[:2]) <= 100
        known = counts.setdefault(collection, [])
        if patient not in known:
            if small and len(known) >= (3 if quick else 14):
                continue
            known.append(patient)
        elif small or quick:
            continue
        depth = item.values.shape[axis]
        for place in (0.5,) if small or quick else (0.4, 0.6):
            plane = np.take(item.values, int(depth * place), axis).astype(np.float32)
            plane = plane[tuple(slice((n - min(n, _MOST)) // 2, (n + min(n, _MOST)) // 2) for n in plane.shape)]
            image = torch.from_numpy(np.ascontiguousarray(plane))[None]
            spacing = float(np.linalg.norm(item.affine[:3, 0]))
            if modality == "ct":  # whose noise has a scale in mm
                image = MetaTensor(image, affine=torch.diag(torch.tensor([spacing, spacing, 1, 1])))
            chosen.append(
                Slice(patient, image, spacing, 2000.0 if modality == "ct" else float(np.percentile(plane, 99)))
            )
    return [s for s in chosen if s.peak > 0]


def graded(out: torch.Tensor, truth: torch.Tensor, peak: float, ct: bool) -> tuple[float, float]:
    """PSNR and SSIM."""
    from skimage.metrics import structural_similarity

    a, b = (torch.as_tensor(x)[0].double().numpy() for x in (out, truth))
    if ct:
        a, b = a.clip(-1000, 1000), b.clip(-1000, 1000)
    side = min(7, *(n if n % 2 else n - 1 for n in a.shape))
    ratio = 20 * np.log10(peak) - 10 * np.log10(max(np.mean((a - b) ** 2), 1e-12))
    return float(ratio), float(structural_similarity(a, b, data_range=peak, win_size=side))


def compared(
    what: str, trials: list[tuple[Slice, torch.Tensor, torch.Tensor]], methods: dict[str, Method], ct: bool
) -> Iterator[Result]:
    """A row for each method on (slice, input, truth); the first method's gain over the others, with its interval."""
    patients = sorted({s.patient for s, _, _ in trials})
    means = {}
    for name, method in methods.items():
        each = [(s.patient, graded(method(given), truth, s.peak, ct)) for s, given, truth in trials]
        means[name] = np.array([np.mean([g for p, g in each if p == patient], 0) for patient in patients])
    first = means[next(iter(methods))]
    for name, values in means.items():
        row: Result = {"what": what, "how": name, "dB": values[:, 0].mean(), "SSIM": values[:, 1].mean()}
        if values is not first:
            gains = (first - values)[:, 0]
            row |= {"gain": gains.mean(), "low": interval(gains)[0], "high": interval(gains)[1]}
        yield {**row, "patients": len(patients)}


def interval(gains: np.ndarray) -> tuple[float, float]:
    """95 % of the mean, patients drawn again."""
    draws = np.random.default_rng(0).integers(len(gains), size=(4000, len(gains)))
    low, high = np.percentile(gains[draws].mean(1), (2.5, 97.5))
    return float(low), float(high)


def ct_noise(quick: bool) -> Iterator[Result]:
    network = NetworkRestore(load_pretrained("ct_denoise_dncnn"))
    found_slices = slices("ct", quick)
    for level in (25,) if quick else (10, 25, 50):
        trials = []
        for seed, s in enumerate(found_slices):
            noisy = RandCTDose(noise_hu=(level, level), prob=1.0).set_random_state(seed)(s.image)
            trials.append((s, noisy, s.image))
        told: dict[str, Method] = {name: cls(noise="ct", sigma=level, strength=1.0) for name, cls in CLASSICAL.items()}
        methods: dict[str, Method] = {"DnCNN": network, **told, "as it comes": lambda x: x}
        yield from compared(f"CT, {level} HU of noise", trials, methods, True)


def mr_noise(quick: bool) -> Iterator[Result]:
    network = NetworkRestore(load_pretrained("mri_denoise_dncnn"))
    found_slices = slices("mr", quick)
    for share in (0.07,) if quick else (0.03, 0.07, 0.12):
        trials = []
        for seed, s in enumerate(found_slices):
            real, imaginary = (
                share * s.peak * torch.randn(2, *s.image.shape, generator=torch.Generator().manual_seed(seed))
            )
            trials.append((s, torch.hypot(s.image + real, imaginary), s.image))
        levels = {id(given): share * s.peak for s, given, _ in trials}

        def told(cls: Any, levels: dict[int, float] = levels) -> Method:
            return lambda x: cls(noise="rician", sigma=levels[id(x)])(x)

        classical = {name: told(cls) for name, cls in CLASSICAL.items()}
        methods: dict[str, Method] = {"DnCNN": network, **classical, "as it comes": lambda x: x}
        yield from compared(f"MR, Rician σ {share:.0%}", trials, methods, False)


def enlarging(quick: bool) -> Iterator[Result]:
    for modality, name in (("ct", "ct_sr"), ("mr", "mri_sr")):
        network, found_slices = load_pretrained(name), slices(modality, quick)
        for scale in (2,) if quick else (2, 4):
            trials = []
            for s in found_slices:
                truth = s.image[:, : s.image.shape[1] // 4 * 4, : s.image.shape[2] // 4 * 4]
                trials.append((s, reduced(truth[None], [n // scale for n in truth.shape[1:]])[0], truth))
            methods: dict[str, Method] = {
                "MultiScaleSR": NetworkRestore(network, scale=scale),
                "bicubic": Upscale(scale),
                "back-projection": Upscale(scale, "backprojection"),
            }
            if modality == "mr" and scale == 2:
                methods["SRCNN"] = NetworkRestore(load_pretrained("mri_sr_srcnn"))
            yield from compared(f"{modality.upper()}, ×{scale}", trials, methods, modality == "ct")


def through_plane(quick: bool) -> Iterator[Result]:
    """Planes across the slices, thick ones made of thin: a network enlarges both axes, and one is reduced again."""
    network = load_pretrained("mri_sr")
    planes = [s for s in slices("mr", quick, 0) if min(s.image.shape[1:]) >= 30]
    for scale in (4,) if quick else (3, 4, 5):
        trials = []
        for s in planes:
            truth = s.image[:, :, : s.image.shape[2] // scale * scale]
            coarse = [truth.shape[1], truth.shape[2] // scale]
            trials.append((s, reduced(truth[None], coarse, "gaussian")[0], truth))

        def by_network(x: torch.Tensor, scale: int = scale) -> torch.Tensor:
            both = NetworkRestore(network, scale=scale)(x)
            return cubic_resized(both[None], [x.shape[1], x.shape[2] * scale], True)[0]

        methods: dict[str, Method] = {
            "MultiScaleSR, reduced in the slice": by_network,
            "bicubic": Upscale((1, scale)),
            "back-projection": Upscale((1, scale), "backprojection", "gaussian"),
        }
        yield from compared(f"MR, slices ×{scale}", trials, methods, False)


def structure(quick: bool) -> Iterator[Result]:
    """What a denoiser makes of flat tissue and of a low-contrast disc in it: contrast kept, and mean change."""
    level = 25.0
    methods: dict[str, Method] = {"DnCNN": NetworkRestore(load_pretrained("ct_denoise_dncnn"))}
    methods |= {name: cls(noise="ct", sigma=level, strength=1.0) for name, cls in CLASSICAL.items()}
    places, draws = [], 1 if quick else 3
    for s in slices("ct", True):
        if min(s.image.shape[1:]) <= _SMALL:
            continue
        values = gaussian_filter(s.image[0].numpy(), 2)
        tissue = binary_erosion((values > 0) & (values < 120), iterations=int(8 / s.spacing))
        rows, columns = np.nonzero(tissue)
        for k in np.random.default_rng(0).permutation(len(rows))[: 1 if quick else 3]:
            places.append((s, rows[k], columns[k]))
    for name, method in methods.items():
        kept, bias = [], []
        for s, row, column in places:
            grid = np.indices(s.image.shape[1:])
            radius = np.hypot(grid[0] - row, grid[1] - column) * s.spacing
            disc = torch.from_numpy(radius <= _DISC_MM / 2)
            around = torch.from_numpy(radius <= 8)
            changes = []
            for seed in range(draws):
                dose = RandCTDose(noise_hu=(level, level), prob=1.0)
                noise = dose.set_random_state(seed)(s.image) - s.image
                without, lesion = (method(x + noise)[0] for x in (s.image, s.image + _CONTRAST_HU * disc))
                kept.append(float((lesion - without)[disc].mean()) / _CONTRAST_HU)
                changes.append((without - s.image[0])[around].mean())
            bias.append(float(torch.stack(changes).mean()))
        yield {
            "what": f"CT, {level:g} HU of noise, disc of {_DISC_MM:g} mm and {_CONTRAST_HU:g} HU",
            "how": name,
            "% of the contrast": 100 * float(np.mean(kept)),
            "± of places": 100 * float(np.std(np.reshape(kept, (len(places), -1)).mean(1))),
            "HU bias (rms)": float(np.sqrt(np.mean(np.square(bias)))),
            "target": "90 to 110 %",
        }


def kernels(quick: bool) -> Iterator[Result]:
    """One scan by a sharp and by a smooth kernel: how near a denoiser brings the sharp one to the smooth one."""
    folder = Path(os.environ.get("MONAI_MEDAUG_DATA", "absent"))
    files = [folder / f"lungdx_A0001_ct_kernel{k}.nii.gz" for k in "BL"]
    if not all(f.exists() for f in files):
        return
    smooth, sharp = (np.asarray(nib.load(f).dataobj, np.float32) for f in files)
    methods: dict[str, Method] = {
        "as it comes": lambda x: x,
        "DnCNN": NetworkRestore(load_pretrained("ct_denoise_dncnn")),
    }
    methods |= {name: cls(noise="ct", strength=1.0) for name, cls in CLASSICAL.items()}
    depths = [10] if quick else [4, 10, 16]
    for name, method in methods.items():
        errors, grain = [], []
        for z in depths:
            out, target = method(torch.from_numpy(sharp[None, ..., z].copy()))[0].numpy(), smooth[..., z]
            tissue = binary_erosion(np.abs(gaussian_filter(target, 2)) < 150, iterations=4)
            errors.append(np.mean((out - target)[tissue] ** 2))
            grain.append(np.std((out - gaussian_filter(out, 2))[tissue]))
        figures = {"HU from the smooth kernel (rms)": np.sqrt(np.mean(errors)), "HU of grain": np.mean(grain)}
        yield {"what": "CT, sharp kernel of a real pair", "how": name, **{k: float(v) for k, v in figures.items()}}


PROTOCOLS = (ct_noise, mr_noise, enlarging, through_plane, structure, kernels)


def restoration_table(quick: bool = False) -> list[Result]:
    """Measure and print, one line a result."""
    results = []
    for protocol in PROTOCOLS:
        for result in protocol(quick):
            results.append(result)
            gain = (
                f"gain {result['gain']:+.2f} dB [{result['low']:+.2f}, {result['high']:+.2f}]"
                if "gain" in result
                else ""
            )
            hidden = ("what", "how", "target", "gain", "low", "high", "patients")
            figures = [f"{v:8.4g} {k}" for k, v in result.items() if k not in hidden]
            people = f"{result['patients']} patients" if "patients" in result else result.get("target", "")
            print(
                f"{result['what']:<40} {result['how']:<36} {'  '.join(figures)}  {gain:<32} {people}".rstrip(),
                flush=True,
            )
    return results
