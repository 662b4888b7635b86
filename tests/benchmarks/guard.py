"""CPU time of the guard: presets with it against the same draws without, one thread, an image and a label map."""

from __future__ import annotations

import statistics
import time
import warnings
from typing import Any

import numpy as np
import torch
from monai.data import MetaTensor

from tests.benchmarks.loader import SHAPES, phantom
from tests.benchmarks.peers import size
from tests.benchmarks.pipelines import PRESETS

CASES = {"CT": ("ct", 4), "MR, one label": ("mri", 1), "MR, 45 labels": ("mri", 45), "X-ray": ("xray", 4)}
TARGET, DRAWS = 0.25, 3


def labelled(modality: str, labels: int) -> dict[str, MetaTensor]:
    """The loader's phantom; its body as one label, its organs, or its body in many pieces of about equal size."""
    image, mask = phantom(modality)
    if labels == 1:
        mask = (mask > 0).to(torch.uint8)
    elif labels > int(mask.max()):
        where = torch.nonzero(mask[0])
        seeds = where[torch.from_numpy(np.random.RandomState(0).permutation(len(where))[:labels])].float()
        nearest = torch.cat([torch.cdist(part.float(), seeds).argmin(1) for part in where.split(1 << 16)])
        mask[0][tuple(where.T)] = (1 + nearest).to(torch.uint8)
    return {"image": MetaTensor(image), "mask": MetaTensor(mask)}


def guard_times(modality: str, labels: int, draws: int) -> dict[str, float]:
    """Medians in ms over draws of the preset: the steps alone, and what the guard adds to each."""
    data = labelled(modality, labels)
    guarded, bare = (PRESETS[modality]("image", mask_keys="mask") for _ in range(2))
    guard = guarded.transforms[0]
    guard.on_violation = "warn"  # each draw once
    bare.transforms = guard.transforms
    steps, added = [], []
    for seed in range(-2, draws):  # two to warm up
        guarded.set_random_state(seed % 1000)
        start = time.process_time()
        out = guarded(data)
        whole = time.process_time() - start
        drawn = out["image"].applied_operations[-2]["extra_info"]["seed"]
        start = time.process_time()
        bare.run_seeded(data, drawn)
        alone = time.process_time() - start
        if seed >= 0:
            steps.append(1e3 * alone)
            added.append(1e3 * (whole - alone))
    return {"steps_ms": statistics.median(steps), "guard_ms": statistics.median(added)}


def guard_table(repeats: int) -> list[dict[str, Any]]:
    """Measure and print, a line a case."""
    warnings.simplefilter("ignore")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    results = []
    try:
        for name, (modality, labels) in CASES.items():
            times = guard_times(modality, labels, DRAWS * repeats)
            ratio = times["guard_ms"] / times["steps_ms"]
            print(
                f"{name:<14} {size(SHAPES[modality]):<6} steps {times['steps_ms']:6.1f} ms, "
                f"guard {times['guard_ms']:5.1f} ms, {ratio:4.2f} of the steps (target ≤ {TARGET})",
                flush=True,
            )
            results.append({"case": name, **times, "ratio": ratio, "target": TARGET})
    finally:
        torch.set_num_threads(threads)
    return results
