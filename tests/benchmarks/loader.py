"""Images per second out of a DataLoader, image + mask: what users wait for. And batches on a GPU, where one is.

Two workers of one thread each. The loaders of all packages live side by side and take turns, an epoch each, so that a
busy machine slows all of them. The table shows the median over the epochs, and the rate over all of them, which a
seldom but slow step lowers. Phantoms, and crops of real scans where MONAI_MEDAUG_DATA is set.
"""

from __future__ import annotations

import statistics
import time
import warnings
from typing import Any

import torch
from monai.data import MetaTensor
from torch.utils.data import DataLoader, Dataset, get_worker_info

from tests.benchmarks import batch
from tests.benchmarks.harness import time_table
from tests.benchmarks.peers import ellipsoid, size
from tests.benchmarks.pipelines import PIPELINES, Pipeline
from tests.transforms.safety.scans import available, scan

SHAPES = {"ct": (96,) * 3, "mri": (128,) * 3, "xray": (512,) * 2}
REAL = {"ct": "sarcoma_ct", "mri": "brain", "xray": "adult"}
WORKERS, EPOCH = 2, 4  # an epoch has few samples, so that all packages see the same load of the machine
TARGETS = {"ct": 2.0, "mri": 2.0, "xray": 1.5}
GUARD = 0.8
GUARDED, BARE = "ours, guarded", "ours, without the guard"
WITH_META = (GUARDED, BARE, "MONAI")  # they know a voxel's size


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


def real(modality: str) -> tuple[MetaTensor, MetaTensor]:
    """A crop of a scan with its labels, in its voxel size; the radiograph enlarged to the phantom's, in [0, 1]."""
    sample = scan(REAL[modality]).sample()
    image, mask = sample["image"], sample["label"]
    if modality == "xray":
        side = SHAPES[modality]
        finer = [image.shape[1] / side[0], image.shape[2] / side[1], 1, 1]
        affine = image.affine @ torch.diag(torch.tensor(finer, dtype=torch.float64))
        large = torch.nn.functional.interpolate(image.as_tensor()[None] / 255, side, mode="bicubic")[0].clamp(0, 1)
        labels = torch.nn.functional.interpolate(mask.as_tensor()[None], side, mode="nearest")[0]
        image, mask = MetaTensor(large, affine=affine), MetaTensor(labels, affine=affine)
    return image, mask


SOURCES = {"phantom": phantom, "real": real}


class Samples(Dataset):
    """An image again and again through a pipeline, which each worker makes for itself when it is first asked."""

    def __init__(self, package: str, modality: str, source: str) -> None:
        self.package, self.modality = package, modality
        given = [MetaTensor(x) for x in SOURCES[source](modality)]
        self.image, self.mask = given if package in WITH_META else [x.as_tensor() for x in given]
        self.pipeline: Pipeline | None = None

    def __len__(self) -> int:
        return EPOCH

    def __getitem__(self, index: int) -> tuple[Any, Any, float]:
        if self.pipeline is None:
            warnings.simplefilter("ignore")
            worker = get_worker_info()
            shape = tuple(self.image.shape[1:])
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


def compare(modality: str, source: str, start: str, epochs: int) -> dict[str, Any]:
    """Figures of the packages with a modality's pipelines; None for those that are not installed."""
    loaders = {
        package: DataLoader(
            Samples(package, modality, source),
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
    shown = {}
    for package, turns in found.items():
        rates, cpu = zip(*turns, strict=True)
        shown[package] = {
            "images_per_second": statistics.median(rates),
            "over_all": statistics.harmonic_mean(rates),
            "cpu_ms": statistics.mean(cpu),
        }
    return {package: shown.get(package) for package in PIPELINES}


def loader_table(epochs: int, starts: tuple[str, ...] = ("spawn", "fork")) -> list[dict[str, Any]]:
    """Measure and print, modality by modality; then the rows that need a GPU."""
    torch.set_num_threads(1)  # as in the workers
    warnings.simplefilter("ignore")
    results: list[dict[str, Any]] = []
    for start in starts:
        for source in SOURCES:
            for modality in SHAPES:
                if source == "phantom" or REAL[modality] in available():
                    results.append(one_table(modality, source, start, epochs))
    if torch.cuda.is_available():
        print("\nbatches on the GPU")
        results += time_table(batch.rows(("cuda",)), epochs)
    else:
        print("\nbatches on the GPU: no CUDA device here")
    return results


def one_table(modality: str, source: str, start: str, epochs: int) -> dict[str, Any]:
    """Measure and print one modality."""
    shape = tuple(SOURCES[source](modality)[0].shape[1:])
    print(f"\n{modality} {source} {size(shape)}, {start}, {WORKERS} workers, {epochs} epochs of {EPOCH} images")
    print(f"  {'images/s':<26} {'median':>8} {'over all':>9} {'mean CPU, ms':>13}")
    rates = compare(modality, source, start, epochs)
    for package, figures in rates.items():
        shown = "not installed"
        if figures:
            shown = f"{figures['images_per_second']:8.2f} {figures['over_all']:9.2f} {figures['cpu_ms']:13.1f}"
        print(f"  {package:<26} {shown}", flush=True)
    facts = {"modality": modality, "source": source, "start": start, "rates": rates}
    return facts | verdict(modality, rates)


def verdict(modality: str, rates: dict[str, Any]) -> dict[str, float]:
    """Ours guarded against the best peer and against ours without the guard, printed with the targets."""
    ratios: dict[str, float] = {}
    for figure, what in (("images_per_second", "median"), ("over_all", "over all")):
        speed = {package: figures[figure] for package, figures in rates.items() if figures}
        peers = {package: rate for package, rate in speed.items() if package not in (GUARDED, BARE)}
        best = max(peers, key=peers.__getitem__)
        own, other = speed[GUARDED] / speed[BARE], speed[GUARDED] / peers[best]
        ratios |= {f"guarded / without, {what}": own, f"guarded / best peer, {what}": other}
        print(
            f"  {what}: guarded / without {own:.2f} (target ≥ {GUARD}), guarded / {best} {other:.2f} "
            f"(target ≥ {TARGETS[modality]})",
            flush=True,
        )
    return ratios
