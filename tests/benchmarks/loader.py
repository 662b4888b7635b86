"""Images per second out of a DataLoader, image + mask: what users wait for. And batches on a GPU, where one is.

Two workers of one thread each. The loaders of all packages live side by side and take turns, an epoch each, so that a
busy machine slows all of them; the table shows medians over the epochs.
"""

from __future__ import annotations

import statistics
import time
import warnings
from typing import Any

import torch
from torch.utils.data import DataLoader, Dataset, get_worker_info

from tests.benchmarks import batch
from tests.benchmarks.harness import time_table
from tests.benchmarks.peers import ellipsoid, size
from tests.benchmarks.pipelines import PIPELINES, Pipeline

SHAPES = {"ct": (96,) * 3, "mri": (128,) * 3, "xray": (512,) * 2}
WORKERS, EPOCH = 2, 4  # an epoch has few samples, so that all packages see the same load of the machine
TARGETS = {"ct": 2.0, "mri": 2.0, "xray": 1.5}
GUARD = 0.8
GUARDED, BARE = "ours, guarded", "ours, without the guard"


def phantom(modality: str) -> tuple[torch.Tensor, torch.Tensor]:
    """A body with organs, and their labels: air, body, two lobes, a core."""
    shape = SHAPES[modality]
    air, tissue, texture = {"ct": (-1000.0, 30.0, 40), "mri": (0.0, 90.0, 20), "xray": (0.9, 0.3, 0.1)}[modality]
    lobe, core = {"ct": (-850.0, 700.0), "mri": (40.0, 150.0), "xray": (0.6, 0.1)}[modality]
    image = ellipsoid(shape, tissue, air, texture)
    mask = (ellipsoid(shape, 1.0, 0.0, 0) > 0).to(torch.uint8)
    axes = torch.meshgrid(*[torch.linspace(-1, 1, n) for n in shape], indexing="ij")
    for label, (centre, radius, level) in enumerate(((-0.35, 0.3, lobe), (0.35, 0.3, lobe), (0.0, 0.12, core)), 2):
        shifted = [axes[0] - centre, *axes[1:]]
        inside = (torch.stack(shifted).square().sum(0) < radius**2)[None]
        image[inside] += level - tissue
        mask[inside] = label
    return image, mask


class Samples(Dataset):
    """The phantom again and again through a pipeline, which each worker makes for itself when it is first asked."""

    def __init__(self, package: str, modality: str) -> None:
        self.package, self.modality = package, modality
        self.image, self.mask = phantom(modality)
        self.pipeline: Pipeline | None = None

    def __len__(self) -> int:
        return EPOCH

    def __getitem__(self, index: int) -> tuple[Any, Any, float]:
        if self.pipeline is None:
            warnings.simplefilter("ignore")
            worker = get_worker_info()
            shape = SHAPES[self.modality]
            self.pipeline = PIPELINES[self.package](self.modality, shape, worker.id if worker else 0)
        start = time.process_time()
        image, mask = self.pipeline(self.image, self.mask)
        return image, mask, time.process_time() - start


def epoch(loader: DataLoader) -> tuple[float, float]:
    """Images per second, and CPU time of a pipeline in ms an image."""
    start = time.perf_counter()
    cpu = [seconds for *_, seconds in loader]
    return len(cpu) / (time.perf_counter() - start), 1e3 * sum(map(float, cpu)) / len(cpu)


def installed(package: str, modality: str) -> bool:
    """Whether the pipeline can be made here."""
    try:
        PIPELINES[package](modality, SHAPES[modality], 0)
    except ImportError:
        return False
    return True


def compare(modality: str, start: str, epochs: int) -> dict[str, Any]:
    """Medians of the packages with a modality's pipelines; None for those that are not installed."""
    loaders = {
        package: DataLoader(
            Samples(package, modality),
            batch_size=None,
            num_workers=WORKERS,
            persistent_workers=True,
            multiprocessing_context=start,
        )
        for package in PIPELINES
        if installed(package, modality)
    }
    found: dict[str, list[tuple[float, float]]] = {package: [] for package in loaders}
    for turn in range(1 + epochs):  # the first starts the workers
        for package, loader in loaders.items():
            figures = epoch(loader)
            if turn:
                found[package].append(figures)
    medians = {
        package: dict(
            zip(("images_per_second", "cpu_ms"), map(statistics.median, zip(*turns, strict=True)), strict=True)
        )
        for package, turns in found.items()
    }
    return {package: medians.get(package) for package in PIPELINES}


def loader_table(epochs: int, starts: tuple[str, ...] = ("spawn", "fork")) -> list[dict[str, Any]]:
    """Measure and print, modality by modality; then the rows that need a GPU."""
    torch.set_num_threads(1)  # as in the workers
    warnings.simplefilter("ignore")
    results: list[dict[str, Any]] = []
    for start in starts:
        for modality, shape in SHAPES.items():
            print(
                f"\n{modality} {size(shape)}, {start}, {WORKERS} workers, medians of {epochs} epochs of {EPOCH} images"
            )
            rates = compare(modality, start, epochs)
            for package, figures in rates.items():
                shown = "not installed"
                if figures:
                    shown = f"{figures['images_per_second']:8.2f} images/s {figures['cpu_ms']:9.1f} ms CPU"
                print(f"  {package:<26} {shown}", flush=True)
            results.append({"modality": modality, "start": start, "rates": rates} | verdict(modality, rates))
    if torch.cuda.is_available():
        print("\nbatches on the GPU")
        results += time_table(batch.rows(("cuda",)), epochs)
    else:
        print("\nbatches on the GPU: no CUDA device here")
    return results


def verdict(modality: str, rates: dict[str, Any]) -> dict[str, float]:
    """Ours guarded against the best peer and against ours without the guard, printed with the targets."""
    speed = {package: figures["images_per_second"] for package, figures in rates.items() if figures}
    ratios = {"guarded / without": speed[GUARDED] / speed[BARE]}
    print(f"  guarded / without {ratios['guarded / without']:.2f} (target ≥ {GUARD})")
    peers = {package: rate for package, rate in speed.items() if package not in (GUARDED, BARE)}
    best = max(peers, key=peers.__getitem__)
    ratios["guarded / best peer"] = speed[GUARDED] / peers[best]
    print(f"  guarded / {best} {ratios['guarded / best peer']:.2f} (target ≥ {TARGETS[modality]})", flush=True)
    return ratios
