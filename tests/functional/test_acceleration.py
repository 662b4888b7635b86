from __future__ import annotations

import threading

import numpy as np
import pytest
import torch

from monai_medaug.functional import acceleration
from monai_medaug.functional.acceleration import loops, over_rows, torch_only
from monai_medaug.functional.ct.projection import ParallelBeam
from monai_medaug.functional.denoise.bilateral import bilateral_smooth
from monai_medaug.functional.denoise.collaborative import collaborative_filter
from monai_medaug.functional.denoise.median import median_smooth
from monai_medaug.functional.denoise.nlm import non_local_means
from monai_medaug.functional.denoise.smoothing import gaussian_smooth
from monai_medaug.functional.denoise.wavelet_shrinkage import wavelet_shrinkage
from monai_medaug.functional.geometry.deformation import compose
from monai_medaug.functional.geometry.pull_back import PullBack
from monai_medaug.functional.geometry.warp import warp
from monai_medaug.functional.mri.coil import bias

NAME = "geometry._numba_warp"


def test_loops_serve_plain_tensors_on_the_cpu():
    x = torch.zeros(2)
    assert loops(NAME) is not None
    assert loops(NAME, x, x.double()) is not None
    assert loops(NAME, x, x, dtypes=[torch.float32]) is not None
    assert loops(NAME, x, x.double(), dtypes=[torch.float32]) is None
    assert loops(NAME, x, x.clone().requires_grad_()) is None
    assert loops(NAME, x, torch.zeros(2, device="meta")) is None
    assert loops("_no_such_module", x) is None


def test_torch_only_ends_with_its_block_even_on_an_error():
    def fails() -> None:
        with torch_only():
            assert loops(NAME) is None
            raise KeyError

    with pytest.raises(KeyError):
        fails()
    assert loops(NAME) is not None


ONE = torch.ones(1)
BEAM = ParallelBeam((20, 24), views=12)
COEFFICIENTS = torch.from_numpy(np.random.default_rng(0).normal(size=(1, 4, 4, 4)))


def pulled_back(image: torch.Tensor) -> torch.Tensor:
    eye, u = torch.eye(3, 4, dtype=torch.float64)[None], torch.randn(1, 3, 1, 4, 4, generator=seeded())
    return warp(image, PullBack(torch.diag(torch.tensor([0.0, 0.1, 0.1]).double()) @ eye, eye, eye[..., :3], u))


def seeded() -> torch.Generator:
    return torch.Generator().manual_seed(0)


KERNELS = {
    "warp": pulled_back,
    "compose": lambda x: compose(0.01 * x.reshape(1, 3, 4, 8, 5), 0.02 * x.reshape(1, 3, 4, 8, 5).flip(2)),
    "project": BEAM.project,
    "adjoint": lambda x: ParallelBeam((30, 30), views=20, detectors=24).adjoint(x),
    "fbp": lambda x: ParallelBeam((30, 30), views=20, detectors=24).fbp(x),
    "bias": lambda x: bias(x.abs(), COEFFICIENTS, 0.3 * ONE),
    "gaussian_smooth": lambda x: gaussian_smooth(x, torch.ones(1, 2)),
    "median_smooth": lambda x: median_smooth(x, 7),
    "bilateral_smooth": lambda x: bilateral_smooth(x, 5, 2 * ONE, torch.ones(1, 2)),
    "non_local_means": lambda x: non_local_means(x, ONE, 3, 4, 0.8),
    "wavelet_shrinkage": lambda x: wavelet_shrinkage(x, ONE),
    "collaborative_filter": lambda x: collaborative_filter(x, ONE),
}


@pytest.mark.parametrize("kernel", KERNELS.values(), ids=KERNELS)
def test_every_path_of_a_kernel_gives_the_same(kernel):
    """Compiled, torch alone, in float64, and where a gradient is wanted, which then flows."""
    image = torch.randn(1, 1, 20, 24, generator=seeded())
    compiled = kernel(image)
    with torch_only():
        torch.testing.assert_close(kernel(image), compiled, rtol=1e-4, atol=1e-4)
    double = kernel(image.double())
    assert double.dtype == torch.float64
    torch.testing.assert_close(double.float(), compiled, rtol=1e-4, atol=1e-4)
    tracked = image.clone().requires_grad_()
    out = kernel(tracked)
    torch.testing.assert_close(out.detach(), compiled, rtol=1e-4, atol=1e-4)
    (gradient,) = torch.autograd.grad(out.square().sum(), tracked)
    assert gradient.isfinite().all()
    assert gradient.any()


@pytest.mark.parametrize("rows", [1, 1023, 2048, 5000])
@pytest.mark.parametrize("threads", [1, 3])
def test_every_row_is_visited_once(monkeypatch, rows, threads):
    monkeypatch.setattr(acceleration.torch, "get_num_threads", lambda: threads)
    seen: list[int] = []
    lock = threading.Lock()

    def kernel(first: int, last: int) -> None:
        with lock:
            seen.extend(range(first, last))

    over_rows(kernel, rows)
    assert sorted(seen) == list(range(rows))


def test_an_error_in_a_worker_reaches_the_caller(monkeypatch):
    monkeypatch.setattr(acceleration.torch, "get_num_threads", lambda: 3)

    def kernel(first: int, last: int) -> None:
        if first > 0:
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        over_rows(kernel, 6000)
