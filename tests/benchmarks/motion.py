"""What `MRIMotionCorrection` reaches on real images with motion put in: PSNR before and after, and CPU seconds.

PSNR of the magnitude, for several coils of their root sum of squares; the peak is the truth's maximum. The reference
pose is that of the segment with k = 0, in the truth as in the correction, so that nothing is aligned first. Motion is
put in by `tests.segmented_motion`, not by the model of the correction. Settings were chosen on the T1 slice, seeds 0
to 3 with rotation and without; judged are seeds 10 to 14, and the other images.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

from monai_medaug.transforms import MRIMotionCorrection
from tests.benchmarks.denoise_quality import more_images, t1_slice
from tests.segmented_motion import magnitude_psnr, random_poses, scanned, smooth_phase

SEEDS = range(10, 15)
MOTIONS = ((4, 4.0, 0.0), (8, 3.0, 0.0), (4, 4.0, 3.0), (8, 3.0, 3.0))
Result = dict[str, Any]


def t1_head() -> np.ndarray:
    """The T1 of nilearn with the air around it, at 3 mm, 66×78×63, from 0 to 1."""
    from nilearn.datasets import load_mni152_template

    whole = load_mni152_template(resolution=1).get_fdata()[::3, ::3, ::3]
    return whole / whole.max()


def judged(
    what: str,
    truth: np.ndarray,
    segments: int,
    mm: float,
    degrees: float,
    seed: int,
    maps: np.ndarray | None = None,
    known: bool = True,
) -> Result:
    """One scan with motion, corrected."""
    lines = np.array_split(np.arange(truth.shape[0]), segments)
    reference = next(j for j, own in enumerate(lines) if truth.shape[0] // 2 in own)
    shifts, turns = random_poses(segments, reference, truth.ndim, mm, degrees, seed)
    scan = scanned(truth, lines, shifts, turns, maps)
    transform = MRIMotionCorrection(segments, translate_mm=10, rotate_degrees=2 * degrees)
    given = {} if maps is None or not known else {"maps": torch.from_numpy(maps).to(torch.complex64)}
    start = time.process_time()
    out = transform(torch.from_numpy(scan).to(torch.complex64), **given).numpy()
    seconds = time.process_time() - start
    wanted = truth[None] if maps is None else maps * truth
    return {
        **{"what": what, "segments": segments, "mm": mm, "degrees": degrees, "seed": seed},
        **{"before": magnitude_psnr(scan, wanted), "after": magnitude_psnr(out, wanted), "seconds": seconds},
    }


def unmoved(what: str, truth: np.ndarray, noise: float) -> Result:
    """A scan without motion: the result against the scan."""
    random = np.random.default_rng(0)
    level = noise * np.abs(truth)[np.abs(truth) > 0.1 * np.abs(truth).max()].mean()
    scan = truth + level * (random.normal(size=truth.shape) + 1j * random.normal(size=truth.shape)) / np.sqrt(2)
    given = torch.from_numpy(scan[None]).to(torch.complex64)
    out = MRIMotionCorrection(8)(given)
    same = "the input, bit for bit" if torch.equal(out, given) else f"{magnitude_psnr(out.numpy(), given.numpy()):.1f}"
    return {"what": f"{what}, no motion, noise {noise:.0%}", "unchanged": same}


def cases() -> Iterator[Result]:
    images = more_images()
    slice_ = t1_slice()
    if slice_ is not None:
        images = {"T1 coronal": slice_, **images}
    images.pop("CT head", None)
    for name, image in images.items():
        truth = image / image.max() * smooth_phase(image.shape, 1)
        for motion in MOTIONS:
            for seed in SEEDS if name == "T1 coronal" else SEEDS[:1]:
                yield judged(name, truth, *motion, seed)
        for noise in (0.0, 0.05):
            yield unmoved(name, truth, noise)
    folder = Path(os.environ.get("MONAI_MEDAUG_DATA", ""))
    if (folder / "brain_32ch_maps_and_image.npz").exists():
        with np.load(folder / "brain_32ch_maps_and_image.npz") as stored:
            maps, image = stored["maps"].astype(complex), stored["image"].astype(complex)
        for motion in MOTIONS:
            yield judged("32 coils, maps", image, *motion, SEEDS[0], maps)
            yield judged("32 coils, no maps", image, *motion, SEEDS[0], maps, False)
    volume = t1_head()
    yield judged("T1 3 mm, 3D", volume * smooth_phase(volume.shape, 1), 4, 3.0, 0.0, SEEDS[0])
    yield judged("T1 3 mm, 3D", volume * smooth_phase(volume.shape, 1), 4, 3.0, 3.0, SEEDS[0])


def motion_table() -> list[Result]:
    """Measure and print."""
    results = []
    head = f"{'image':<24}{'segments':>9}{'mm':>5}{'°':>5}{'seed':>6}{'before dB':>11}{'after dB':>10}{'CPU s':>8}"
    print(f"{head}\n{'-' * len(head)}", flush=True)
    for found in cases():
        results.append(found)
        if "unchanged" in found:
            print(f"{found['what']:<40} {found['unchanged']}", flush=True)
            continue
        print(
            f"{found['what']:<24}{found['segments']:>9}{found['mm']:>5g}{found['degrees']:>5g}{found['seed']:>6}"
            f"{found['before']:>11.2f}{found['after']:>10.2f}{found['seconds']:>8.1f}",
            flush=True,
        )
    for motion in MOTIONS:
        after = [
            r["after"]
            for r in results
            if r["what"] == "T1 coronal" and (r["segments"], r["mm"], r["degrees"]) == motion
        ]
        if after:
            print(f"T1 coronal, {motion}: mean {np.mean(after):.2f}, least {min(after):.2f}")
    return results
