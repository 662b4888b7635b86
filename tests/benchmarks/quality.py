"""The folding protocol: alpha 1000, sigma 8, affine off, next to the naive displacement of the same figures."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.ndimage import gaussian_filter

from tests.folding import determinants, sampled_map

ALPHA, SIGMA = 1000, 8
SEEDS = 100


def naive_fold_share(shape: tuple[int, ...], seed: int) -> float:
    """Share of voxels that the displacement ``alpha * gaussian_filter(uniform(-1, 1), sigma)`` folds."""
    random = np.random.default_rng(seed)
    index = np.stack(np.meshgrid(*[np.arange(n, dtype=float) for n in shape], indexing="ij"))
    moved = index + ALPHA * np.stack([gaussian_filter(random.uniform(-1, 1, shape), SIGMA) for _ in shape])
    return float((determinants(moved) <= 0).mean())


def fold_table(seeds: int = SEEDS) -> list[dict[str, Any]]:
    """Measure and print, one line a size."""
    head = f"{'size':<6} {'seeds':>5} {'folded':>7} {'min det J':>10} {'RMS':>8} {'lowest RMS':>11} {'naive folds':>12}"
    print(head, "-" * len(head), sep="\n", flush=True)
    results = []
    for name, shape in (("256²", (256, 256)), ("96³", (96, 96, 96))):
        folded, least, lengths = 0, np.inf, []
        for seed in range(seeds):
            moved = sampled_map(shape, seed, elastic_alpha=ALPHA, elastic_sigma=SIGMA)
            folded += int((moved.determinants <= 0).sum())
            least = min(least, float(moved.determinants.min()))
            lengths.append(moved.rms)
        naive = float(np.mean([naive_fold_share(shape, seed) for seed in range(min(seeds, 5))]))
        results.append(
            {
                "size": name,
                "seeds": seeds,
                "folded": folded,
                "min_det_j": least,
                "rms": float(np.mean(lengths)),
                "lowest_rms": min(lengths),
                "naive_fold_share": naive,
            }
        )
        figures = f"{folded:>7} {least:>10.4f} {np.mean(lengths):>8.3f} {min(lengths):>11.3f} {naive:>11.1%}"
        print(f"{name:<6} {seeds:>5} {figures}", flush=True)
    print(
        f"{'target':<12} {'0':>7} {'≥ 0.2':>10} {'≥ 4.0':>8}   (RMS vector length in voxels, averaged over the seeds)"
    )
    return results
