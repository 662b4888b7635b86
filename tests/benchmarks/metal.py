"""Metal artefact reduction on slices of known truth, beside a plain LI and NMAR that were written apart from it.

``--cases generated`` runs the judging half of `tests.metal.cases` with its controls and the detectability of a disc
near metal, ``choosing`` the other half, ``catsim`` the slices of an independent simulator with the eight figures of the
AAPM CT-MAR challenge, ``real`` scans without truth, of which only pictures and the size of the change are given.
``time`` takes the seconds of slices of 512².
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import torch
from monai.data import MetaTensor

import monai_medaug.transforms as package
from monai_medaug.functional.detectability import (
    hotelling_detectability,
    laguerre_gauss_channels,
    npw_detectability,
)
from tests.benchmarks import volumes
from tests.metal import reference
from tests.metal.bodies import data_file, even_body
from tests.metal.cases import MetalCase, Slice, disc, names, root_mean_square, scanned, simulated
from tests.metal.challenge import NAMES, Challenge
from tests.metal.scanner import Scanner, Shape

Correct = Callable[[np.ndarray, np.ndarray | None, float], np.ndarray]

CATSIM = (
    "dental_amalgam_gold",
    "hip_single_cocr",
    "shoulder_cocr",
    "clips_several",
    "steel_plate_femur",
    "spine_screws_ti",
)
CATSIM_CONTROLS = ("control_bone", "control_contrast")
REAL = (("lidc_0003_ct.nii.gz", (2, 5, 9)), ("ct_head_ge_512.nii.gz", (0, 3, 6)), ("lidc_0001_ct.nii.gz", (4, 18)))
NEAR_METAL = MetalCase("detectability", True, even_body, (disc("cocr", 15, 0, 9),), Scanner())
PLACES = tuple(
    (15 + r * np.cos(a), r * np.sin(a))
    for r, count, turn in ((22, 6, 0.0), (40, 10, 0.3))
    for a in turn + 2 * np.pi * np.arange(count) / count
)
DISC_MM, DRAWS, PATCH = 4.0, 4, 17


def ours(method: str) -> Correct:
    """The package's class as a user calls it."""
    transform = package.CTMetalArtifactReduction(threshold_hu=2000, method=method)

    def run(image: np.ndarray, mask: np.ndarray | None, pixel_mm: float) -> np.ndarray:
        affine = np.diag([pixel_mm, pixel_mm, 1.0, 1.0])
        data = MetaTensor(torch.from_numpy(image).float()[None], affine=affine)
        given = {} if mask is None else {"metal_mask": torch.from_numpy(mask)[None]}
        return np.asarray(transform(data, **given))[0].astype(float)

    return run


def plain(method: str) -> Correct:
    """The baseline of the tests; without a mask all above 2000 HU is metal."""

    def run(image: np.ndarray, mask: np.ndarray | None, pixel_mm: float) -> np.ndarray:
        return reference.reduced(image, image > 2000 if mask is None else mask, pixel_mm, method)

    return run


def methods() -> dict[str, tuple[Correct, bool]]:
    """By name: the method, and whether it is given the mask. Only the baseline where the package has no class."""
    found: dict[str, tuple[Correct, bool]] = {"plain LI": (plain("li"), True), "plain NMAR": (plain("nmar"), True)}
    if hasattr(package, "CTMetalArtifactReduction"):
        for method in ("li", "nmar"):
            found |= {method.upper(): (ours(method), True), f"{method.upper()} alone": (ours(method), False)}
    return found


def catsim(name: str) -> Slice | None:
    """A case of the independent simulator in the folder MONAI_MEDAUG_DATA."""
    path = data_file(f"catsim/{name}.npz")
    if path is None:
        return None
    with np.load(path) as file:
        image, truth, noisy = (file[key].astype(float) for key in ("image", "truth", "truth_noisy"))
        return Slice(image, truth, noisy, file["metal_mask"] > 0, float(file["pixel_mm"]))


def corrected(given: Slice, keep: Sequence[str] | None = None) -> Iterator[tuple[str, np.ndarray, float]]:
    """Each method's name, result and seconds of the processor."""
    for name, (correct, masked) in methods().items():
        if keep is None or name in keep:
            start = time.process_time()
            result = correct(given.image, given.mask if masked else None, given.pixel_mm)
            yield name, result, time.process_time() - start


def error_rows(
    slices: Iterator[tuple[str, Slice]],
    folder: Path | None,
    judge: Callable[[str, Slice, dict[str, np.ndarray]], object] = lambda *_: None,
) -> list[dict[str, Any]]:
    """Print the errors of each case and their means; ``judge`` also gets the images."""
    print(
        f"{'RMSE, HU, body / near':<22}" + "".join(f"{n:>14}" for n in ("input", *methods())),
        "  NMAR/LI  NMAR/plain LI",
    )
    rows, seconds = [], {name: [] for name in methods()}
    for name, given in slices:
        row, results = {"case": name, "input": root_mean_square(given.image, given)}, {"input": given.image}
        for method, result, spent in corrected(given):
            row[method], results[method] = root_mean_square(result, given), result
            seconds[method].append(spent)
        rows.append(row)
        print(f"{name:<22}{_errors(row)}  {_worse(row)}", flush=True)
        judge(name, given, results)
        if folder is not None:
            picture(folder / f"{name}.png", results | {"truth": given.truth}, given.truth)
    if rows:
        means = {key: np.mean([row[key] for row in rows], 0) for key in rows[0] if key != "case"}
        print(f"{'mean':<22}{_errors(means)}")
        print(f"{'seconds, median':<36}" + "".join(f"{np.median(s):>14.2f}" for s in seconds.values()))
    return rows


def _errors(row: dict[str, Any]) -> str:
    cells = "".join(f"{row[n][0]:>7.0f}/{row[n][1]:<6.0f}" for n in ("input", *methods()))
    if "NMAR" in row:
        for base in ("LI", "plain LI"):
            cells += f"  {row['NMAR'][0] / row[base][0]:.2f}/{row['NMAR'][1] / row[base][1]:.2f}"
    return cells


def _worse(row: dict[str, Any]) -> str:
    own = [n for n in row if n in ("LI", "NMAR", "LI alone", "NMAR alone")]
    worse = [n for n in own if any(a > b for a, b in zip(row[n], row["input"], strict=True))]
    return f"WORSE than the input: {', '.join(worse)}" if worse else ""


def control_rows(slices: Iterator[tuple[str, Slice]]) -> list[dict[str, Any]]:
    """Print the greatest change of slices that hold no metal, without a mask."""
    rows = []
    for name, given in slices:
        for method in ("LI alone", "NMAR alone"):
            for _, result, _ in corrected(given, (method,)):
                change = float(np.abs(result - given.image.astype(np.float32)).max())
                rows.append({"case": name, "method": method, "change_hu": change})
                print(f"{name:<22}{method:<12} greatest change {change:8.3g} HU (target 0)", flush=True)
    return rows


def score_rows(name: str, given: Slice, results: dict[str, np.ndarray]) -> list[dict[str, Any]]:
    """The eight figures of each image of a case."""
    challenge = Challenge(given)
    return [{"case": name, "method": method, **challenge.scores(image)} for method, image in results.items()]


def print_scores(rows: list[dict[str, Any]]) -> None:
    """By case and method, and the means by method."""
    columns = (*NAMES, "mean")
    print(f"\n{'AAPM figures, 0 to 4':<36}" + "".join(f"{n:>10}" for n in columns))
    for method in dict.fromkeys(row["method"] for row in rows):
        mine = [row for row in rows if row["method"] == method]
        for row in [*mine, {"case": "mean"} | {n: float(np.mean([r[n] for r in mine])) for n in columns}]:
            print(f"{row['case']:<22}{method:<14}" + "".join(f"{row[n]:>10.2f}" for n in columns))


def seen_discs(correct: Callable[[Slice], np.ndarray], draws: int = DRAWS) -> tuple[float, float]:
    """Detectability of a disc of 40 HU, 8 mm across, 13 to 29 mm beside a cobalt-chromium pin of 18 mm.

    The artefact counts as background: 16 places round the pin times the draws of the noise are the sample, answers are
    differences to the surroundings.

    Returns:
        d' of the non-prewhitening and of the channelised Hotelling observer (Laguerre-Gauss channels).
    """
    discs = tuple(Shape("nodule", x, y, DISC_MM, DISC_MM) for x, y in PLACES)
    patches: list[list[np.ndarray]] = [[], []]
    for draw in range(draws):
        for patch, extra, number in ((patches[0], discs, 2 * draw), (patches[1], (), 2 * draw + 1)):
            given = simulated(NEAR_METAL, "detectability", extra=extra, draw=number)
            patch += _cut(correct(given), given.pixel_mm)
    present, absent = (torch.from_numpy(np.stack(p)) for p in patches)
    pixel = NEAR_METAL.scanner.pixel_mm
    y, x = (np.arange(PATCH) - PATCH // 2)[:, None] * pixel, (np.arange(PATCH) - PATCH // 2) * pixel
    signal = 1.0 * (np.hypot(x, y) <= DISC_MM)
    template = torch.from_numpy(signal / signal.sum() - (signal == 0) / (signal == 0).sum())
    channels = laguerre_gauss_channels((PATCH, PATCH), 3 * DISC_MM, 5, (pixel, pixel))
    channels = channels - channels.mean((1, 2), keepdim=True)
    npw = npw_detectability(present, absent, template)
    return float(npw), float(hotelling_detectability(present, absent, channels))


def _cut(image: np.ndarray, pixel: float) -> list[np.ndarray]:
    middle, half = (len(image) - 1) / 2, PATCH // 2
    places = [(round(y / pixel + middle), round(x / pixel + middle)) for x, y in PLACES]
    return [image[r - half : r + half + 1, c - half : c + half + 1] for r, c in places]


def detectability_rows() -> list[dict[str, Any]]:
    """Print d' before and after each method, and without metal."""
    ways: dict[str, Callable[[Slice], np.ndarray]] = {"input": lambda s: s.image, "no metal": lambda s: s.noisy}
    for name, (correct, masked) in methods().items():
        if masked:
            ways[name] = lambda s, correct=correct: correct(s.image, s.mask, s.pixel_mm)
    rows = []
    print("\nd' of a disc of 40 HU beside a pin: non-prewhitening, channelised Hotelling")
    for name, way in ways.items():
        npw, hotelling = seen_discs(way)
        rows.append({"case": "detectability", "method": name, "npw": npw, "hotelling": hotelling})
        print(f"{name:<22}{npw:>8.2f}{hotelling:>8.2f}", flush=True)
    return rows


def real_rows(folder: Path | None) -> list[dict[str, Any]]:
    """Print how much real scans change, the mask found by the method itself."""
    rows = []
    for file, places in REAL:
        path = data_file(file)
        if path is None:
            continue
        stored = nib.load(path)
        for k in places:
            image = np.asarray(stored.dataobj[..., k], float)
            given = Slice(image, image, image, image > 1e9, float(stored.header.get_zooms()[0]))
            name, results = f"{file.split('.')[0]}_{k}", {"input": image}
            for method, result, spent in corrected(given, ("LI alone", "NMAR alone")):
                results[method], change = result, np.abs(result - image)
                row = {"case": name, "method": method, "changed": float((change > 10).mean()), "seconds": spent}
                rows.append(row)
                most = f"changed by > 10 HU: {row['changed']:6.1%}, most {change.max():6.0f} HU, {spent:.1f} s"
                print(f"{name:<26}{method:<12} {most}", flush=True)
            if folder is not None:
                picture(folder / f"{name}.png", results, image)
    return rows


def time_rows(repeats: int) -> list[dict[str, Any]]:
    """Print the seconds of a slice with two rods of titanium that are searched: alone, and in a stack."""
    body = volumes.scan(4)[0][..., 1:2]  # a slice
    body = body + 10 * torch.randn(body.shape, generator=torch.Generator().manual_seed(0))
    rods = package.RandCTMetal("titanium", implant="rods", rods=2, prob=1.0).set_random_state(0)(body)
    transform, rows = package.CTMetalArtifactReduction(), []
    for count, wanted in ((1, 3.0), (8, 1.0)):
        stack = MetaTensor(rods.repeat(1, 1, 1, count).as_tensor(), affine=body.affine)
        transform(stack)  # compiled loops are loaded once
        wall, cpu = (t / count for t in volumes.seconds(lambda stack=stack: transform(stack), repeats))
        rows.append({"case": "time", "slices": count, "wall_s": wall, "cpu_s": cpu})
        name = "a slice" if count == 1 else f"a slice of {count}"
        print(f"{name:<14} {wall:5.2f} s, CPU {cpu:5.2f} s (at most {wanted:g} s)", flush=True)
    return rows


def picture(path: Path, images: dict[str, np.ndarray], truth: np.ndarray) -> None:
    """The images in a soft tissue window, and below them their differences to the truth."""
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(2, len(images), figsize=(4 * len(images), 8), squeeze=False)
    for (name, image), above, below in zip(images.items(), *axes, strict=True):
        above.imshow(image, cmap="gray", vmin=-250, vmax=350)
        below.imshow(image - truth, cmap="gray", vmin=-300, vmax=300)
        above.set_title(name)
        above.axis("off")
        below.axis("off")
    figure.tight_layout()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=60)
    plt.close(figure)


def metal_table(cases: str, folder: Path | None, size: int = 256, repeats: int = 3) -> list[dict[str, Any]]:
    """Measure and print."""
    if cases == "time":
        return time_rows(repeats)
    if cases == "real":
        return real_rows(folder)
    if cases == "catsim":
        slices = [(name, given) for name in CATSIM if (given := catsim(name)) is not None]
        none = [(name, given) for name in CATSIM_CONTROLS if (given := catsim(name)) is not None]
        scores: list[dict[str, Any]] = []
        errors = error_rows(iter(slices), folder, lambda *case: scores.extend(score_rows(*case)))
        print_scores(scores)
        return [*errors, *scores, *control_rows(iter(none))]
    judged = cases == "generated"
    rows = error_rows(((name, scanned(name, size)) for name in names(judged)), folder)
    rows += control_rows((name, scanned(name, size)) for name in names(judged, control=True))
    return rows + (detectability_rows() if judged else [])
