"""Is a searched policy better than one that costs no search? On the lungs and the pneumonia of `strategies`.

A search sees 200 images of the source: it trains on 140 and scores on 60, of other patients. Then all strategies train
on the 200, with the same budget, over seeds, and are judged on the test sets of `strategies`, which no search has seen.
All is kept below ``out``: a killed search or comparison goes on.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from monai_medaug.experiments import DensityMatching, PolicyTraining, judge_policies, plot_strategies
from monai_medaug.policies import AdaptiveAugmentd, PreservationConstraint, search_policy
from tests.benchmarks.strategies import NETWORKS, SHIFTS, Sample, split_by_patient

IMAGES, SCORED = 200, 60


def first_images(samples: Sequence[Sample], count: int, seed: int) -> list[Sample]:
    """Images of whole patients in a random order, until there are as many."""
    patients = sorted({s["patient"] for s in samples})
    order = np.random.default_rng(seed).permutation(len(patients))
    chosen = [s for i in order for s in samples if s["patient"] == patients[i]]
    return chosen[:count]


def policy_table(
    name: str,
    seeds: Sequence[int],
    out: Path,
    minutes: float = 30,
    trials: int = 60,
    sampler: str = "tpe",
    kind: str = "density",
) -> list[dict]:
    """Search within the minutes, by density matching or full training, then compare; print and return the figures."""
    torch.set_num_threads(1)
    shift = SHIFTS[name]
    source, test, shifted = shift.samples()
    if not test:
        test, source = split_by_patient(source, 0.25, 2026)
    images = first_images(source, IMAGES, 17)
    scored, trained = images[-SCORED:], images[:-SCORED]
    scored = [s for s in scored if s["patient"] not in {t["patient"] for t in trained}]
    common: dict[str, Any] = {"task": shift.task, "batch_size": shift.batch, "normalize": shift.normalize}
    common |= {"epochs": 10, "epoch_length": shift.steps}
    folder = out / f"policies_{name}_{kind}_{sampler}"
    given = (NETWORKS[shift.network], trained, scored)
    objective: PolicyTraining = PolicyTraining(*given, test_batch_size=32, **common)
    if kind == "density":
        objective = DensityMatching(*given, folder / "network", test_batch_size=32, **common)
    limit = PreservationConstraint(trained, draws=16, most=0.2) if shift.task == "segmentation" else None
    began, before = time.monotonic(), time.process_time()
    found = search_policy(
        objective,
        "xray",
        folder / "study.journal",
        trials=trials,
        hours=minutes / 60,
        sampler=sampler,
        constraint=limit,
    )
    spent = sum(t["seconds"] or 0 for t in found["trials"]) / 60
    (folder / "search.json").write_text(found.to_json())
    print(f"{name}, {len(trained)} images trained on and {len(scored)} scored on\n\n{found}\n")
    used = (time.process_time() - before) / 60
    print(f"trials took {spent:.1f} minutes; this call {(time.monotonic() - began) / 60:.1f}, of one core {used:.1f}\n")
    print(f"{found.best}\n")
    masks = "label" if shift.task == "segmentation" else ()
    judged = judge_policies(
        {"searched": found.best},
        NETWORKS[shift.network],
        images,
        {"in domain": test, "shifted": shifted},
        folder / "judged",
        schemes={
            "nnunet": "nnunet",
            "xray_standard": "xray_standard",
            "adaptive": AdaptiveAugmentd("image", "xray", mask_keys=masks),
        },
        seeds=seeds,
        group_key="patient",
        test_batch_size=32,
        **common,
    )
    print(judged)
    plot_strategies(judged["against"]["none"], folder / "comparison.png")
    return [{"shift": name, "search": found, "judged": judged}]
