"""The bundle ``xray_dcgan``: its report on held-out radiographs, and whether its images help a classifier.

Splits are those of its training: of PneumoniaMNIST's 5232 training and validation images 4000 were learned from, 600
chose the epoch, 632 are judged here. Patients aren't told apart in that set.
"""

from __future__ import annotations

import itertools
import os
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.nn import functional as F

from monai_medaug.bundles import load_pretrained
from monai_medaug.engines import generate_samples
from monai_medaug.experiments import generation_report
from monai_medaug.experiments.generation_task import trained_classifier
from monai_medaug.functional.paired import area_under_curve

LEARNED, CHOSEN = 4000, 600
REAL, MADE = 100, 1000  # a class
STEPS = 300
Images = tuple[torch.Tensor, torch.Tensor]


def _data(name: str) -> Any:
    folder = Path(os.environ.get("MONAI_MEDAUG_DATA", "absent"))
    if not (folder / name).is_file():
        raise SystemExit(f"the benchmark needs {name} in the folder that MONAI_MEDAUG_DATA names")
    return np.load(folder / name)


def radiographs() -> tuple[Images, Images, Images]:
    """Images of 32² from 0 to 255 with their classes: learned from, that chose the epoch, held out."""
    data = _data("pneumonia_28_trainval.npz")
    images = np.concatenate([data["train_images"], data["val_images"]])
    labels = np.concatenate([data["train_labels"], data["val_labels"]]).ravel().astype(int)
    order = np.random.RandomState(0).permutation(len(images))
    fine = torch.from_numpy(images[order]).float()[:, None]
    fine = F.interpolate(fine, size=(32, 32), mode="bicubic", antialias=True).clamp(0, 255)
    ids = torch.from_numpy(labels[order])
    ends = (0, LEARNED, LEARNED + CHOSEN, len(images))
    first, second, third = ((fine[a:b], ids[a:b]) for a, b in itertools.pairwise(ends))
    return first, second, third


def adults() -> Images:
    """NIH radiographs of adults at 32², abnormal or not."""
    data = _data("nih_cxr64_open.npz")
    images = F.avg_pool2d(torch.from_numpy(data["img"]).float()[:, None], 2)
    return images, torch.from_numpy(data["abnormal"].astype(int))


def help_of_samples(seeds: int) -> list[dict[str, Any]]:
    """AUC of a classifier of 100 real images a class, with and without generated ones, in domain and on adults."""
    training, _, held_out = radiographs()
    generator = load_pretrained("xray_dcgan")
    tests = {"children, held out": held_out, "adults (NIH)": adults()}
    scores: dict[str, dict[str, list[np.ndarray]]] = {name: {"without": [], "with": []} for name in tests}
    for seed in range(seeds):
        random = np.random.default_rng(seed)
        ids = training[1].numpy()
        own = np.concatenate([random.permutation(np.flatnonzero(ids == k))[:REAL] for k in (0, 1)])
        real = training[0][own], training[1][own]
        labels = torch.arange(2 * MADE) % 2
        made = generate_samples(generator, 2 * MADE, seed, labels)
        repeats = MADE // REAL  # half of each batch is real
        both = torch.cat([real[0].repeat(repeats, 1, 1, 1), made]), torch.cat([real[1].repeat(repeats), labels])
        for name, images in (("without", real), ("with", both)):
            network = trained_classifier(*images, seed=seed, steps=STEPS)
            for test, (cases, _) in tests.items():
                with torch.no_grad():
                    logits = torch.cat([network.classified(part) for part in cases.split(256)])
                scores[test][name].append((logits[:, 1] - logits[:, 0]).numpy())
    stacked = {test: {name: np.stack(runs) for name, runs in own.items()} for test, own in scores.items()}
    return [auc_row(test, own, tests[test][1].numpy()) for test, own in stacked.items()]


def auc_row(test: str, scores: dict[str, np.ndarray], truth: np.ndarray, draws: int = 1000) -> dict[str, Any]:
    """Mean AUC over seeds of both, and their difference with a 95 % interval over seeds and cases."""
    random = np.random.default_rng(0)
    positive = np.broadcast_to(truth == 1, scores["with"].shape)
    means = {name: float(area_under_curve(own, positive).mean()) for name, own in scores.items()}
    gains = []
    for _ in range(draws):
        runs, cases = (random.integers(0, n, n) for n in scores["with"].shape)
        each = [area_under_curve(own[runs][:, cases], positive[runs][:, cases]).mean() for own in scores.values()]
        gains.append(each[1] - each[0])
    low, high = np.nanquantile(gains, (0.025, 0.975))
    return {"test": test, **means, "gain": means["with"] - means["without"], "low": float(low), "high": float(high)}


def generation_table(seeds: int, out: Path) -> list[dict[str, Any]]:
    """Print the report and the table, and return the rows."""
    training, _, held_out = radiographs()
    labels = held_out[1][torch.arange(600) % len(held_out[1])]
    samples = generate_samples(load_pretrained("xray_dcgan"), 600, 7, labels)
    report = generation_report(
        samples,
        training[0],
        held_out[0],
        sample_labels=labels,
        training_labels=training[1],
        held_out_labels=held_out[1],
        out_dir=out,
    )
    print(f"{report}\n  FID over that of real images: {report['fidelity']['fid_over_floor']:.2f}")
    rows = help_of_samples(seeds)
    for row in rows:
        print(
            f"  {row['test']:20s} AUC without {row['without']:.3f}, with {row['with']:.3f}: "
            f"{row['gain']:+.3f} [{row['low']:+.3f}, {row['high']:+.3f}]"
        )
    return [{"report": dict(report)}, *rows]
