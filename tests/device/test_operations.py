"""On a CUDA device, a pretended one here, every operation gives what torch gives on the CPU, and seldom waits."""

import pytest
import torch
from monai.data.utils import list_data_collate
from torch.nn.functional import interpolate

from monai_medaug.functional.acceleration import torch_only
from monai_medaug.functional.ct.projection import ParallelBeam
from monai_medaug.transforms import Batched, RandCTMetal
from tests.contract.cases import CASES, distance, meta_tensor
from tests.device.pretend import CUDA, PretendCuda, on_device

SIDE, LAUNCHES, WAITS, OWN_LAUNCHES = 32, 1500, 15, 64
SEARCH_LAUNCHES = 12_000  # of a sample, where an operation searches step by step: its steps are few, and none waits
IMPLANTS = [{"implant": kind} for kind in ("rods", "dental", "clips")]


def variants_of(case):
    """Sets of arguments that make an operation take another path."""
    return [*case.cls.variants, *(IMPLANTS if str(case) == "RandCTMetal" else [])]


VARIED = [
    pytest.param(case, variant, id="-".join(map(str, [case, *variant.values()])))
    for case in CASES
    for variant in variants_of(case)
]


def batch(image, size):
    return list_data_collate([meta_tensor(image * (1 + 0.01 * k)) for k in range(size)])


def of_side(case, side):
    """The example of a class in its greatest number of axes, of a cubic shape."""
    image = case.image()
    if image.is_complex():
        return torch.complex(*(interpolate(p[None], (side,) * (image.ndim - 1))[0] for p in (image.real, image.imag)))
    return interpolate(image[None], (side,) * (image.ndim - 1))[0]


@pytest.mark.parametrize(("case", "arguments"), VARIED)
def test_batches_equal_the_cpu(case, arguments):
    for dims in case.dims:
        given = batch(case.image(dims), 2)
        with torch_only():
            expected = Batched(case.array(0, **arguments))(given)
        with PretendCuda():
            found = Batched(case.array(0, **arguments))(given.cuda())
            assert found.device == CUDA
            assert on_device(found)
            assert distance(expected, found.cpu()) < 1e-6


@pytest.mark.parametrize("case", CASES, ids=str)
def test_twins_equal_the_cpu(case):
    item = {key: meta_tensor(case.image(case.dims[0]) * (1 + 0.01 * k)) for k, key in enumerate("ab")}
    with torch_only():
        expected = case.twin(("a", "b"))(item)
    with PretendCuda():
        found = case.twin(("a", "b"))({key: image.cuda() for key, image in item.items()})
        for key in "ab":
            assert found[key].device == CUDA
            assert distance(expected[key], found[key].cpu()) < 1e-6


def counted(case, image, size, **arguments):
    """Launches and waits of a batch."""
    with PretendCuda() as gpu:
        given = batch(image, size).cuda()
        gpu.clear()
        Batched(case.array(0, **arguments))(given)
    return gpu


@pytest.mark.parametrize(("case", "arguments"), VARIED)
def test_launches_and_waits_are_few(case, arguments):
    gpu = counted(case, of_side(case, SIDE), 8, **arguments)
    most = 8 * SEARCH_LAUNCHES if case.cls.searches else LAUNCHES * case.cls.reconstructions
    assert gpu.launches.total() <= most, gpu.launches.most_common(5)
    assert gpu.waits.total() <= WAITS, gpu.waits.most_common(5)


@pytest.mark.parametrize(("case", "arguments"), VARIED)
def test_launches_and_waits_do_not_grow_with_the_batch(case, arguments):
    """But for a few small ones of each sample: its own noise, poses, detectors."""
    few, many = (counted(case, of_side(case, 12), size, **arguments) for size in (2, 6))
    assert many.waits.total() <= few.waits.total() + 2, many.waits.most_common(5)
    own = SEARCH_LAUNCHES if case.cls.searches else OWN_LAUNCHES
    assert many.launches.total() <= few.launches.total() + 4 * own, many.launches.most_common(5)


def test_wires_round_a_sternum():
    """Implants of many pieces."""
    image = torch.full((1, SIDE, SIDE, SIDE), -1000.0)
    image[:, 4:28, 4:28] = 40.0
    image[:, 22:26, 11:21] = 700.0
    given = batch(image, 8)
    with torch_only():
        expected = Batched(RandCTMetal(implant="wires", prob=1.0).set_random_state(0))(given)
    assert float(expected.max()) > 3000
    with PretendCuda() as gpu:
        sent = given.cuda()
        gpu.clear()
        found = Batched(RandCTMetal(implant="wires", prob=1.0).set_random_state(0))(sent)
        assert gpu.launches.total() <= LAUNCHES
        assert gpu.waits.total() <= WAITS
        assert distance(expected, found.cpu()) < 1e-6


def test_launches_do_not_grow_with_the_views():
    counts = []
    for views in (60, 360):
        beam = ParallelBeam((12, 14), (1.0, 0.8), views)
        with PretendCuda() as gpu:
            sinogram = beam.project(torch.rand(2, 3, 12, 14).cuda())
            beam.fbp(sinogram)
            beam.adjoint(sinogram)
        counts.append((gpu.launches.total(), gpu.waits.total()))
    assert counts[0] == counts[1]
    assert counts[0][0] < 150


@pytest.mark.parametrize("field", [None, (8, 10)])
def test_projector_equals_the_cpu(field):
    beam = ParallelBeam((12, 14), (1.0, 0.8), 50, centre=(1.5, -2.0), field=field)
    image = torch.rand(2, 3, 12, 14, generator=torch.Generator().manual_seed(0))
    sinogram = beam.project(image)  # compiled
    with PretendCuda():
        assert distance(sinogram, beam.project(image.cuda()).cpu()) < 1e-6
        assert distance(beam.adjoint(sinogram), beam.adjoint(sinogram.cuda()).cpu()) < 1e-6
        assert distance(beam.fbp(sinogram), beam.fbp(sinogram.cuda()).cpu()) < 2e-6
