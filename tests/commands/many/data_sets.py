"""Small data sets on disk, and work that is light or deadly."""

import json
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from monai_medaug.scans import staged
from tests.scan_files import ct_volume, write_nifti


def noisy_body(seed: int, shape=(16, 16, 6)) -> tuple[np.ndarray, np.ndarray]:
    """A CT of a body with noise, and the mask of the body."""
    body = ct_volume(shape)
    noise = np.random.default_rng(seed).normal(0, 15, shape)
    return (body + noise).astype(np.int16), (body > -300).astype(np.uint8)


def decathlon(folder: Path, training: int, test: int = 0) -> Path:
    """A data set of MSD."""
    for name in ("imagesTr", "labelsTr", "imagesTs"):
        (folder / name).mkdir(parents=True)
    content: dict[str, list] = {"training": [], "test": []}
    for k in range(training + test):
        image, mask = noisy_body(k)
        where, name = ("imagesTr" if k < training else "imagesTs"), f"body {k:02d}.nii.gz"
        write_nifti(folder / where / name, image)
        if k < training:
            write_nifti(folder / "labelsTr" / name, mask)
            content["training"].append({"image": f"./{where}/{name}", "label": f"./labelsTr/{name}"})
        else:
            content["test"].append(f"./{where}/{name}")
    (folder / "dataset.json").write_text(json.dumps(content))
    return folder


def contents(folder: Path) -> dict[str, bytes]:
    """All files by their paths."""
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


@dataclass(frozen=True)
class Deadly:
    """Writes two files a scan; kills its process once for scans named *once*, always for those named *always*."""

    out: Path

    def targets(self, case):
        return [self.out / f"{case.name}.{n}" for n in "ab"]

    def samples(self, case):
        return [{"image": f"{case.name}.a"}]

    def __call__(self, case):
        with staged(self.out) as folder:
            for target in self.targets(case):
                (folder / target.name).write_text(case.key)
                died = self.out / f"died {case.name}"
                if "always" in case.name or ("once" in case.name and not died.exists()):
                    died.touch()
                    os.kill(os.getpid(), 9)
