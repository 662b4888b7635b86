"""`Batched` on a batch against a loop of MONAI's transforms over its samples, on the CPU and on a GPU if any."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from monai.data import MetaTensor, list_data_collate
from monai.transforms import Rand3DElastic, RandBiasField, RandGaussianNoise, RandRicianNoise

from monai_medaug.transforms import Batched, RandAffineElastic, RandCTDose, RandMRIBiasField, RandMRINoise
from tests.benchmarks.harness import Call, Row

SAMPLES = 8
SIDES = {"cpu": 96, "cuda": 128}


def batch(device: str, traced: bool) -> torch.Tensor:
    """(8, 1, *sides) on a device, plain or as collated MetaTensors."""
    side = SIDES[device]
    x = torch.rand(SAMPLES, 1, side, side, side, generator=torch.Generator().manual_seed(0)).mul_(100).to(device)
    return list_data_collate([MetaTensor(sample) for sample in x]) if traced else x


def synchronised(call: Call, device: str) -> Call:
    """A call that ends when the device is done."""
    if device == "cpu":
        return call

    def waited() -> object:
        result = call()
        torch.cuda.synchronize()
        return result

    return waited


def loop(make: Callable[[], Any], device: str) -> Call:
    """MONAI's transform on one sample after another, stacked."""
    x = batch(device, False)
    transform = make().set_random_state(0)
    return synchronised(lambda: torch.stack([transform(sample) for sample in x]), device)


def vectorised(make: Callable[[], Any], device: str, traced: bool) -> Call:
    """Ours on the batch."""
    x = batch(device, traced)
    transform = Batched(make()).set_random_state(0)
    return synchronised(lambda: transform(x), device)


def elastic(device: str) -> Rand3DElastic:
    return Rand3DElastic(
        sigma_range=(8, 8),
        magnitude_range=(1000, 1000),
        prob=1.0,
        rotate_range=(0.087,) * 3,
        translate_range=(5,) * 3,
        scale_range=(0.1,) * 3,
        padding_mode="border",
        device=torch.device(device),
    )


def rows(devices: Sequence[str] = ("cpu", "cuda")) -> Iterator[Row]:
    """Plain tensors, and for the device named "with trace" MetaTensors with a record a sample."""
    pairs: list[tuple[str, str, Callable[[str], Any], Callable[[], Any], float]] = [
        ("affine + elastic", "Rand3DElastic", elastic, lambda: RandAffineElastic(prob=1.0), 23),
        (
            "Rician noise",
            "RandRicianNoise",
            lambda d: RandRicianNoise(prob=1.0, std=5.0),
            lambda: RandMRINoise(prob=1.0),
            282,
        ),
        ("bias field", "RandBiasField", lambda d: RandBiasField(prob=1.0), lambda: RandMRIBiasField(prob=1.0), 1118),
        (
            "CT noise",
            "RandGaussianNoise",
            lambda d: RandGaussianNoise(prob=1.0, std=5.0),
            lambda: RandCTDose(prob=1.0),
            0,
        ),
    ]
    for device in devices if torch.cuda.is_available() else [d for d in devices if d != "cuda"]:
        for name, peer, theirs, ours, faster in pairs:
            for traced in (False, True):
                yield Row(
                    f"{name}, {SAMPLES}×{SIDES[device]}³, {device}{', with trace' if traced else ''}",
                    f"loop of MONAI {peer}",
                    lambda theirs=theirs, device=device: loop(lambda: theirs(device), device),
                    lambda ours=ours, device=device, traced=traced: vectorised(ours, device, traced),
                    1 / faster if device == "cuda" and faster and not traced else None,
                )
