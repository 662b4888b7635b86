"""The torch path holds no more memory than operations declare."""

import sys

import pytest
from torch.nn.functional import interpolate
from torch.profiler import ProfilerActivity, profile

from monai_medaug.core import call
from monai_medaug.functional.acceleration import torch_only
from monai_medaug.transforms import Batched
from tests.contract.cases import CASES
from tests.device.test_operations import batch

FEW, MANY = 4, 8
PIECE, PIECES = 1 << 18, 16  # elements of a piece, and how many temporary tensors of such a size there may be
SINOGRAMS, IMAGES = (64, 64, 2), (128, 128, 16)  # so that four samples fill a piece
BY_SLICES = ("RandCTBeamHardening", "RandCTDose", "RandCTMetal", "RandCTMotion", "RandCTRing")

VARIED = [
    pytest.param(case, variant, id="-".join(map(str, [case, *variant.values()])))
    for case in CASES
    if str(case) in BY_SLICES
    for variant in case.cls.variants
]


def peak_bytes(run):
    """The greatest memory that torch holds for a function beside its result."""
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as events:
        result = run()
    held = most = 0
    for event in events.profiler.kineto_results.events():
        if event.name() == "[memory]":
            held += event.nbytes()
            most = max(most, held)
    return most - result.as_tensor().nbytes


@pytest.mark.parametrize(("case", "arguments"), VARIED)
def test_memory_grows_with_the_batch_as_declared(case, arguments, monkeypatch):
    """Beside a number of temporary tensors of the greatest size, which hold pieces of the stack of slices."""
    monkeypatch.setattr(call, "_LARGE", 1 << 62)
    for name, module in list(sys.modules.items()):
        if name.startswith("monai_medaug") and hasattr(module, "elements_at_once"):
            monkeypatch.setattr(module, "elements_at_once", lambda device: PIECE)
    in_image = str(case) == "RandCTDose" and "domain" not in arguments
    image = interpolate(case.image(3)[None], IMAGES if in_image else SINOGRAMS)[0]
    peaks = []
    for size in (1, FEW, MANY):  # the first builds tables that are kept
        given = batch(image, size)
        with torch_only():
            peaks.append(peak_bytes(lambda given=given: Batched(case.array(0, **arguments))(given)))
    own = given.as_tensor().nbytes / MANY
    growth = (peaks[2] - peaks[1]) / (own * (MANY - FEW))
    fixed = peaks[2] - growth * own * MANY
    assert growth <= case.cls.memory
    assert fixed / (4 * PIECE) <= PIECES
