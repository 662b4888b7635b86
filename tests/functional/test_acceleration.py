from __future__ import annotations

import threading

import pytest
import torch

from monai_medaug.functional import acceleration
from monai_medaug.functional.acceleration import compiled, over_rows, torch_only

CPU = torch.device("cpu")


def test_compiled_loops_serve_the_cpu_only():
    assert compiled("geometry._numba_warp", CPU) is not None
    assert compiled("geometry._numba_warp", torch.device("cuda")) is None
    assert compiled("_no_such_module", CPU) is None


def test_torch_only_ends_with_its_block_even_on_an_error():
    def fails() -> None:
        with torch_only():
            assert compiled("geometry._numba_warp", CPU) is None
            raise KeyError

    with pytest.raises(KeyError):
        fails()
    assert compiled("geometry._numba_warp", CPU) is not None


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
