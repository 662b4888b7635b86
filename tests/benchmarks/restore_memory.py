"""``monai-medaug restore`` on a CT of 512×512×300: seconds and peak memory of the process, for each method."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np

from monai_medaug.scans.restore import RESTORATIONS

SHAPE = (512, 512, 300)
LIMIT_GB = 8.0
SPACING = (0.7, 0.7, 1.5)


def write_scan(path: Path) -> None:
    """A body with bone and noise, neighbours alike, as int16."""
    random = np.random.default_rng(0)
    x, y = np.meshgrid(*[np.linspace(-1, 1, n) for n in SHAPE[:2]], indexing="ij")
    plane = np.where(x**2 + y**2 < 0.7, 40.0, -1000.0) + 900 * ((x - 0.4) ** 2 + y**2 < 0.02)
    volume = np.empty(SHAPE, np.int16)
    for k in range(SHAPE[2]):
        white = random.normal(0, 20, (SHAPE[0] + 1, SHAPE[1] + 1))
        volume[:, :, k] = plane + (white[1:, 1:] + white[1:, :-1] + white[:-1, 1:] + white[:-1, :-1]) / 2
    nib.save(nib.Nifti1Image(volume, np.diag([*SPACING, 1.0])), path)


def restore_table() -> list[dict[str, Any]]:
    """Measure and print, one line a method."""
    results = []
    with tempfile.TemporaryDirectory() as folder:
        scan = Path(folder) / "scan.nii.gz"
        write_scan(scan)
        for method in RESTORATIONS:
            command = [sys.executable, "-m", "monai_medaug", "restore", str(scan), "--method", method]
            start = time.perf_counter()
            with subprocess.Popen(
                [*command, "--out", f"{folder}/out.nii.gz"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
            ) as process:
                _, status, usage = os.wait4(process.pid, 0)
                process.returncode = os.waitstatus_to_exitcode(status)
            seconds, peak = time.perf_counter() - start, usage.ru_maxrss / 1024**2
            results.append({"method": method, "seconds": seconds, "peak_gb": peak, "code": process.returncode})
            print(f"{method:<14} {seconds:6.0f} s {peak:6.2f} GiB (limit {LIMIT_GB:g}), exit code {process.returncode}")
    return results
