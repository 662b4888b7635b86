"""What the acceptance tests of the three modalities share: the data's folder, a marker of organs, and two workers."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from monai.data import CacheDataset, DataLoader, MetaTensor, set_track_meta

from monai_medaug.core.call import apply_record
from monai_medaug.functional.geometry.grid import VoxelGrid
from tests.workers import fresh_processes

FOLDER = Path(os.environ.get("MONAI_MEDAUG_DATA", "absent"))
needs_data = pytest.mark.skipif("MONAI_MEDAUG_DATA" not in os.environ, reason="MONAI_MEDAUG_DATA is not set")


def carried(mask: torch.Tensor, image: MetaTensor, mode: str = "nearest") -> torch.Tensor:
    """Where the values of an augmented image stem from a mask (C, ...) of the input, repeated borders included.

    The mask goes through the image's own geometric record, with the padding of the image and without a guard; a mode of
    ``"bilinear"`` gives the share of each value.
    """
    grid = VoxelGrid(tuple(mask.shape[1:]), image.affine.tolist())
    for record in image.applied_operations:
        if record["class"] == "RandAffineElasticd" and record["do_transforms"]:
            padding = record["extra_info"]["padding"]
            filled = padding if isinstance(padding, str) else 0.0  # a number stems from no organ
            mask = apply_record(record, mask, grid, mode=mode, padding=filled)
    return mask


def share_lost(before: Any, after: Any, image: MetaTensor) -> float:
    """The share of the organ voxels of an augmented image that its label calls background, over all channels."""
    organ = carried((before.as_tensor() != 0).to(torch.uint8), image) > 0
    lost = organ & (after.as_tensor() == 0)
    return float(lost.sum() / organ.sum().clamp_min(1))


@contextlib.contextmanager
def without_meta() -> Iterator[None]:
    """MONAI's ``set_track_meta(False)`` for a while."""
    set_track_meta(False)
    try:
        yield
    finally:
        set_track_meta(True)


@contextlib.contextmanager
def stderr_of_all_processes() -> Iterator[list[str]]:
    """Lines on stderr of this process and its children, filled in at the end."""
    lines: list[str] = []
    with tempfile.TemporaryFile("w+") as file:
        kept = os.dup(2)
        os.dup2(file.fileno(), 2)
        try:
            yield lines
        finally:
            os.dup2(kept, 2)
            os.close(kept)
            file.seek(0)
            lines += file.read().splitlines()


def epochs(
    data: list[dict], transform: Any, workers: int, preset: Any = None, method: str = "spawn"
) -> list[list[dict]]:
    """The batches of two epochs of a cached data set; the epoch is told to a preset with a ``sample_key``."""
    dataset = CacheDataset(data, transform, progress=False, num_workers=None)
    started = {"multiprocessing_context": fresh_processes(method), "persistent_workers": True} if workers else {}
    loader = DataLoader(dataset, batch_size=1, num_workers=workers, **started)  # torch gives a worker one thread
    found = []
    for epoch in range(2):
        if preset is not None:
            preset.set_epoch(epoch)
        found.append([dict(batch) for batch in loader])
    return found
