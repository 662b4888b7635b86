"""The type that kernels compute in."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from monai_medaug.functional.acceleration import sent

_SIGNED = {torch.uint16: torch.int16, torch.uint32: torch.int32, torch.uint64: torch.int64}


def computing_dtype(dtype: torch.dtype) -> torch.dtype:
    """Float64 for float64, else float32; for complex types their complex twins.

    Example:
        >>> computing_dtype(torch.int16), computing_dtype(torch.float64)
        (torch.float32, torch.float64)
    """
    if dtype.is_complex:
        return torch.complex128 if dtype == torch.complex128 else torch.complex64
    return torch.float64 if dtype == torch.float64 else torch.float32


def samples_at(x: torch.Tensor, places: Sequence[int] | torch.Tensor) -> torch.Tensor:
    """``x[places]`` for every type: torch has no index for unsigned integers above 8 bit, but for their signed twins.

    Example:
        >>> samples_at(torch.tensor([5, 6, 7], dtype=torch.uint16), [2, 0]).tolist()
        [7, 5]
    """
    signed, index = _SIGNED.get(x.dtype, x.dtype), sent(places, x.device, torch.int64)
    return x.view(signed).index_select(0, index).view(x.dtype)


def put_samples(x: torch.Tensor, places: Sequence[int] | torch.Tensor, values: torch.Tensor) -> None:
    """``x[places] = values`` for every type; see `samples_at`.

    Example:
        >>> x = torch.tensor([5, 6, 7], dtype=torch.uint16)
        >>> put_samples(x, [2, 0], torch.tensor([1, 2], dtype=torch.uint16))
        >>> x.tolist()
        [2, 6, 1]
    """
    signed, index = _SIGNED.get(x.dtype, x.dtype), sent(places, x.device, torch.int64)
    x.view(signed).index_copy_(0, index, values.view(signed))
