"""The pretended device refuses what a real one refuses, and counts."""

import numpy as np
import pytest
import torch

from tests.device.pretend import CUDA, HOST, PretendCuda, on_device


@pytest.fixture
def gpu():
    with PretendCuda() as device:
        yield device


def test_what_is_made_of_device_tensors_lies_there(gpu):
    x = torch.rand(2, 3).cuda()
    for made in (x + 1, x[0], x.new_zeros(3), torch.zeros_like(x), torch.arange(3, device="cuda"), x.double(), x.T):
        assert made.device == CUDA
        assert made.is_cuda
        assert on_device(made)
    assert x.cpu().device == HOST
    assert x.to(torch.float64).device == CUDA
    assert torch.zeros(2).to(x).device == CUDA
    assert x.to(torch.zeros(2)).device == HOST


@pytest.mark.parametrize(
    "refused",
    [
        lambda x: x + torch.ones(3),
        lambda x: torch.stack([x, torch.ones(3)]),
        lambda x: torch.ones(3)[x.long()],
        lambda x: x.index_select(0, torch.tensor([1])),
        lambda x: x.numpy(),
        lambda x: np.asarray(x),
        lambda x: torch.randn(3, generator=torch.Generator("cuda")),
        lambda x: x.normal_(generator=torch.Generator()),
        lambda x: x.to(torch.uint16)[torch.tensor([0])],
        lambda x: torch.fft.irfft2(torch.complex(x.new_ones(4, 3), torch.rand(4, 3).cuda()), s=(4, 4)),
    ],
)
def test_refuses(gpu, refused):
    with pytest.raises((RuntimeError, TypeError, NotImplementedError)):
        refused(torch.rand(3).cuda())


def test_allows(gpu):
    x = torch.rand(3).cuda()
    x + torch.tensor(2.0)
    x[torch.tensor([0, 1])]
    x[0] = 3.0
    x.copy_(torch.ones(3))
    torch.randn(3, device="cuda", generator=torch.Generator("cuda"))
    spectrum = torch.fft.rfftn(torch.rand(2, 5, 6, 8).cuda(), dim=(1, 2, 3))
    torch.fft.irfftn(spectrum, s=(5, 6, 8))


def test_refuses_kernels_without_a_deterministic_form(gpu):
    x = torch.rand(3, 3).cuda()
    x.kthvalue(1)
    torch.use_deterministic_algorithms(True)
    try:
        for refused in (lambda: x.kthvalue(1), lambda: x.median(0), lambda: x.cumsum(0)):
            with pytest.raises(RuntimeError, match="deterministic"):
                refused()
        x.median()
        x.sort()
    finally:
        torch.use_deterministic_algorithms(False)


@pytest.mark.parametrize(
    ("waits", "call"),
    [
        (1, lambda x: float(x[0])),
        (1, lambda x: x.tolist()),
        (1, lambda x: bool((x > 0).any())),
        (1, lambda x: x[x > 0.5]),
        (1, lambda x: torch.nonzero(x)),
        (1, lambda x: x.cpu()),
        (1, lambda x: torch.ones(3).to(x)),
        (1, lambda x: x.new_tensor([1, 2])),
        (1, lambda x: x[[0, 1]]),
        (0, lambda x: torch.ones(3).pin_memory().to("cuda", non_blocking=True)),
        (0, lambda x: torch.where(x > 0.5, x, 0.0)),
        (0, lambda x: x.masked_fill_(x > 0.5, 1.0)),
    ],
)
def test_counts_waits(gpu, waits, call):
    x = torch.rand(3).cuda()
    gpu.clear()
    call(x)
    assert gpu.waits.total() == waits


def test_counts_launches_and_not_views(gpu):
    x = torch.rand(3, 3).cuda()
    gpu.clear()
    x.T.reshape(9)[:3].exp_().add(1)
    assert gpu.launches.total() == 3  # a copy by reshape


def test_as_default_device():
    with PretendCuda(default=True):
        assert torch.zeros(3).device == CUDA
        assert torch.tensor([1.0]).device == CUDA
        assert torch.zeros(3, device="cpu").device == HOST
        assert torch.from_numpy(np.zeros(3)).device == HOST


def test_products_round_as_tensor_cores_where_allowed(gpu):
    x, one = torch.full((1, 1), -1000.1), torch.ones(1, 1)
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("high")
    try:
        assert float(x @ one) == pytest.approx(-1000.1)
        assert float(x.cuda() @ one.cuda()) == -1000.0
    finally:
        torch.set_float32_matmul_precision(before)
    assert float(x.cuda() @ one.cuda()) == pytest.approx(-1000.1)
