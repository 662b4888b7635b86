"""What a user has set for a network's sake changes no operation: autocast, TF32, determinism, the default device."""

import contextlib

import pytest
import torch

from monai_medaug.functional.acceleration import torch_only
from monai_medaug.transforms import Batched
from tests.contract.cases import CASES, distance
from tests.device.pretend import PretendCuda
from tests.device.test_operations import batch


@contextlib.contextmanager
def tensor_cores():
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("high")
    try:
        yield
        assert torch.get_float32_matmul_precision() == "high"
    finally:
        torch.set_float32_matmul_precision(before)


@contextlib.contextmanager
def deterministic():
    torch.use_deterministic_algorithms(True)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(False)


SETTINGS = {
    "autocast": lambda: torch.autocast("cpu", dtype=torch.bfloat16),
    "tf32": tensor_cores,
    "deterministic": deterministic,
    "default device": contextlib.nullcontext,
}


@pytest.mark.parametrize("setting", SETTINGS)
@pytest.mark.parametrize("case", CASES, ids=str)
def test_settings_change_nothing(case, setting):
    given = batch(case.image(case.dims[0]), 2)
    with torch_only():
        expected = Batched(case.array(0))(given)
    with SETTINGS[setting](), PretendCuda(default=setting == "default device"):
        found = Batched(case.array(0))(given.cuda()).cpu()
    assert distance(expected, found) < 1e-6
