"""The type that kernels compute in."""

from __future__ import annotations

import torch


def computing_dtype(dtype: torch.dtype) -> torch.dtype:
    """Float64 for float64, else float32; for complex types their complex twins.

    Example:
        >>> computing_dtype(torch.int16), computing_dtype(torch.float64)
        (torch.float32, torch.float64)
    """
    if dtype.is_complex:
        return torch.complex128 if dtype == torch.complex128 else torch.complex64
    return torch.float64 if dtype == torch.float64 else torch.float32
