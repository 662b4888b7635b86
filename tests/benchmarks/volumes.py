"""Whole CT scans: what the artefacts in the sinogram cost on many slices, and the preset with a mask and without.

CPU time of all threads beside the wall's: a shared machine tells little by the latter.
"""

from __future__ import annotations

import statistics
import time
from typing import Any

import torch
from monai.data import MetaTensor

from monai_medaug.transforms import RandCTBeamHardening, RandCTMetal, RandCTMotion, RandCTRing, ct_augmentation
from tests.benchmarks.harness import Call
from tests.benchmarks.peers import ellipsoid

SIDE = 512
SPACING_MM = (0.8, 0.8, 2.5)
MOST_SECONDS = 5.0
"""Wanted for each artefact of 100 slices on two threads."""
MOST_WITH_MASK = 1.3
"""Wanted of the preset with a mask to that without."""


def scan(slices: int) -> tuple[MetaTensor, MetaTensor]:
    """Soft tissue with two bones in air, and the label of an organ."""
    image = ellipsoid((SIDE, SIDE, slices), 30.0, -1000.0, 20)
    image[:, 240:280, 150:190] = image[:, 240:280, 320:360] = 800
    organ = torch.zeros_like(image, dtype=torch.uint8)
    organ[:, 300:360, 200:300, slices // 4 : -(slices // 4)] = 1
    affine = torch.diag(torch.tensor([*SPACING_MM, 1.0], dtype=torch.float64))
    return MetaTensor(image, affine=affine), MetaTensor(organ, affine=affine)


def seconds(call: Call, repeats: int) -> tuple[float, float]:
    """Medians of wall and CPU time of a call."""
    found = []
    for _ in range(repeats):
        wall, cpu = time.perf_counter(), time.process_time()
        call()
        found.append((time.perf_counter() - wall, time.process_time() - cpu))
    walls, cpus = zip(*found, strict=True)
    return statistics.median(walls), statistics.median(cpus)


def volume_table(slices: int, repeats: int) -> list[dict[str, Any]]:
    """Measure and print; the same draws with the mask and without."""
    image, organ = scan(slices)
    print(f"{SIDE} x {SIDE} x {slices}, {torch.get_num_threads()} threads")
    print(f"{'what':<40} {'wall s':>8} {'CPU s':>8} {'ratio':>7}", flush=True)
    results: list[dict[str, Any]] = []

    def show(name: str, wall: float, cpu: float, ratio: float | None = None) -> None:
        wanted = f"≤ {MOST_WITH_MASK}" if ratio else f"≤ {MOST_SECONDS * slices / 100:.1f} s" if "Rand" in name else ""
        print(
            f"{name:<40} {wall:>8.2f} {cpu:>8.2f} {'' if ratio is None else f'{ratio:.2f}':>7}   {wanted}", flush=True
        )
        results.append({"name": name, "slices": slices, "wall_s": wall, "cpu_s": cpu, "ratio": ratio})

    for transform in (
        RandCTMotion(prob=1.0),
        RandCTBeamHardening(prob=1.0),
        RandCTMetal(prob=1.0),
        RandCTRing(prob=1.0),
    ):
        transform.set_random_state(0)
        show(type(transform).__name__, *seconds(lambda transform=transform: transform(image), repeats))
    guard = ct_augmentation("image", mask_keys="label").transforms[0]
    cases = ((ct_augmentation("image"), {"image": image}), (guard, {"image": image, "label": organ}))
    times: list[list[tuple[float, float]]] = [[], []]
    for seed in range(repeats):
        for found, (steps, data) in zip(times, cases, strict=True):
            found.append(seconds(lambda steps=steps, data=data, seed=seed: steps.run_seeded(data, seed), 1))
    (wall, cpu), (more_wall, more_cpu) = ([sum(column) for column in zip(*each, strict=True)] for each in times)
    show(f"ct_augmentation, {repeats} draws", wall, cpu)
    show("the same draws with a mask", more_wall, more_cpu, more_cpu / cpu)
    return results
