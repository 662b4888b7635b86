"""SSIM in CPU time beside MONAI's and scikit-image's, and sharpness beside the plain variance of the Laplacian."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from monai.metrics import SSIMMetric
from scipy.ndimage import laplace
from skimage.metrics import structural_similarity

from monai_medaug.metrics import SeparableSSIMMetric, SharpnessMetric
from tests.benchmarks.denoise_quality import t1_slice
from tests.images import smooth_noise

SHAPE = (2, 1, 96, 96, 96)
TARGET = 0.12  # of MONAI's CPU time
NOISE = 0.05  # of the range
SEEDS = 20


def cpu_seconds(call: Callable[[], object], repeats: int) -> float:
    """Median CPU time of a call, all threads together, after a first one."""
    call()
    times = []
    for _ in range(repeats):
        start = time.process_time()
        call()
        times.append(time.process_time() - start)
    return statistics.median(times)


def similarity_table(repeats: int) -> list[dict[str, Any]]:
    """Measure and print: SSIM of a 3D batch on one thread, and how noise moves sharpness."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    truth = torch.from_numpy(np.stack([smooth_noise(SHAPE[2:], s) for s in range(2)])[:, None]).float()
    image = truth + 0.1 * torch.randn(SHAPE, generator=torch.Generator().manual_seed(0))

    def by_skimage() -> list[float]:
        pairs = zip(image[:, 0].double().numpy(), truth[:, 0].double().numpy(), strict=True)
        gaussian = {"gaussian_weights": True, "use_sample_covariance": False, "data_range": 1.0}
        return [structural_similarity(x, y, **gaussian) for x, y in pairs]

    ours, theirs = SeparableSSIMMetric(1.0), SSIMMetric(3, data_range=1.0)
    seconds = {
        "MONAI": cpu_seconds(lambda: theirs(image, truth), min(repeats, 3)),
        "scikit-image": cpu_seconds(by_skimage, min(repeats, 3)),
        "ours": cpu_seconds(lambda: ours(image, truth), repeats),
    }
    torch.set_num_threads(threads)
    off = float(np.abs(ours(image, truth)[:, 0].numpy() - by_skimage()).max())
    ratio = seconds["ours"] / seconds["MONAI"]
    print(f"SSIM, batch 2 of 96³, CPU seconds: {', '.join(f'{n} {s:.3f}' for n, s in seconds.items())}")
    print(f"  ratio to MONAI {ratio:.3f} (target ≤ {TARGET}), greatest difference from scikit-image {off:.1e} (≤ 1e-5)")
    rows: list[dict[str, Any]] = [{"name": "SSIM 3D", **seconds, "ratio": ratio, "target": TARGET, "difference": off}]
    clean = t1_slice()
    if clean is None:
        print("sharpness: DIPY's slice is not installed")
        return rows
    metric = SharpnessMetric()
    before = float(metric(torch.from_numpy(clean)[None, None]))
    changes, plain = [], []
    for seed in range(SEEDS):
        noisy = clean + NOISE * np.random.default_rng(seed).standard_normal(clean.shape)
        changes.append(float(metric(torch.from_numpy(noisy)[None, None])) / before - 1)
        plain.append(laplace(noisy).var() / laplace(clean).var())
    worst = float(np.abs(changes).max())
    print(
        f"sharpness of a T1 slice with noise of {NOISE} of the range, {SEEDS} seeds: off by {np.mean(changes):+.1%} on "
        f"the average, {worst:.1%} at most (≤ 10 %); the plain variance of the Laplacian grows "
        f"{np.mean(plain):.1f}-fold"
    )
    return [*rows, {"name": "sharpness", "worst": worst, "plain_growth": float(np.mean(plain))}]
