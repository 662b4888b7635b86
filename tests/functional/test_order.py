"""Order statistics against torch's, with the ties of a background."""

import pytest
import torch

from monai_medaug.functional.acceleration import torch_only
from monai_medaug.functional.order import order_statistics


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32, torch.float64])
@pytest.mark.parametrize("ties", [0.0, 0.6, 1.0])
def test_as_kthvalue(dtype, ties):
    g = torch.Generator().manual_seed(0)
    x = torch.randn(2, 3, 1001, generator=g).to(dtype)
    x[torch.rand(x.shape, generator=g) < ties] = 0
    places = [1, 2, 500, 991, 1001]
    found = order_statistics(x, places)
    for k, one in zip(places, found, strict=True):
        assert torch.equal(one, x.kthvalue(k, dim=-1).values)
    with torch_only():
        assert all(torch.equal(a, b) for a, b in zip(order_statistics(x, places), found, strict=True))


def test_gradient_flows_and_the_input_stays():
    x = torch.tensor([[3.0, 1.0, 2.0]], requires_grad=True)
    order_statistics(x, [2])[0].sum().backward()
    assert x.grad.tolist() == [[0.0, 0.0, 1.0]]
    y = x.detach()
    order_statistics(y, [2])
    assert y.tolist() == [[3.0, 1.0, 2.0]]
