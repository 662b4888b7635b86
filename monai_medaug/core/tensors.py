"""Conversion of numpy arrays, tensors and MetaTensors of any dtype to plain tensors, and back."""

from __future__ import annotations

import cmath
import contextlib
import os
import sys
import threading
import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from monai.data.meta_obj import get_track_meta, set_track_meta
from monai.data.meta_tensor import MetaTensor

from monai_medaug.core.notices import is_first_to_say
from monai_medaug.functional.precision import computing_dtype

_said: set[str] = set()
_thread = threading.local()
_tracking_lock = threading.Lock()
_tracking, _tracked_before = 0, True


def _leave_other_threads() -> None:
    """In a forked child: the threads that held the lock, or were tracking, are not here."""
    global _tracking_lock, _tracking
    _tracking_lock = threading.Lock()
    if _tracking:
        _tracking = 0
        set_track_meta(_tracked_before)


if hasattr(os, "register_at_fork"):  # not on Windows
    os.register_at_fork(after_in_child=_leave_other_threads)


class Notice(UserWarning):
    """A notice about a call; it quotes neither values nor paths."""


def say_once(message: str) -> None:
    """Warn, once for a process and the workers of its loaders."""
    if message in _said:
        return
    _said.add(message)
    if not is_first_to_say(message):
        return
    level, frame = 2, sys._getframe(1)  # climb to the user's line
    while frame.f_back is not None and str(frame.f_globals.get("__name__")).startswith("monai_medaug."):
        level, frame = level + 1, frame.f_back
    warnings.warn(message, Notice, stacklevel=level)


def meta_is_tracked() -> bool:
    """Whether results carry meta data: by MONAI's global setting, or within `tracking`."""
    return getattr(_thread, "tracking", False) or get_track_meta()


@contextlib.contextmanager
def tracking(everywhere: bool) -> Iterator[None]:
    """Within this block our operations track meta data, whatever the global setting: the guard judges by the trace.

    Args:
        everywhere: MONAI's steps too, by the global setting, which is that of all threads; the last one to leave
            restores it.
    """
    global _tracked_before, _tracking
    before, _thread.tracking = getattr(_thread, "tracking", False), True
    try:
        if not everywhere:
            yield
            return
        with _tracking_lock:
            if _tracking == 0:
                _tracked_before = get_track_meta()
                set_track_meta(True)
            _tracking += 1
        try:
            yield
        finally:
            with _tracking_lock:
                _tracking -= 1
                if _tracking == 0:
                    set_track_meta(_tracked_before)
    finally:
        _thread.tracking = before


def plain_tensor(data: Any, name: str, batch: bool = False, accepts_complex: bool = False) -> torch.Tensor:
    """The voxels of an array, Tensor or MetaTensor, in shared memory where possible.

    Args:
        data: channel-first image, (C, H, W) or (C, D, H, W), with a leading batch axis if ``batch``.
        name: key or argument for error messages.
        batch: whether there is a batch axis.
        accepts_complex: whether complex numbers are allowed.

    Raises:
        TypeError: not an array of numbers, or complex but not allowed to be.
        ValueError: of another rank, or empty.
    """
    if isinstance(data, torch.Tensor):
        with torch._C.DisableTorchFunctionSubclass():
            tensor = data.as_subclass(torch.Tensor)
    elif isinstance(data, np.ndarray):
        array = data if data.dtype.isnative else data.astype(data.dtype.newbyteorder("="))
        fits = array.dtype.kind in "biuf" and array.dtype.itemsize <= 8
        if not fits and not (array.dtype.kind == "c" and array.dtype.itemsize <= 16 and accepts_complex):
            raise TypeError(f"{name} must hold real numbers of up to 64 bit, got dtype {data.dtype}")
        if not array.flags.writeable or any(s < 0 for s in array.strides):
            array = array.copy()
        tensor = torch.from_numpy(array)
    else:
        raise TypeError(f"{name} must be a numpy array or a torch tensor, got {type(data).__name__}")
    if tensor.is_complex() and not accepts_complex:
        raise TypeError(f"{name} must hold real numbers, got dtype {tensor.dtype}")
    ranks = (4, 5) if batch else (3, 4)
    if tensor.ndim not in ranks:
        lead = "(B, C, ...)" if batch else "(C, ...)"
        raise ValueError(
            f"{name} must be channel-first {lead} with 2 or 3 spatial axes, got shape {tuple(tensor.shape)}"
        )
    if tensor.numel() == 0:
        raise ValueError(f"{name} must not be empty, got shape {tuple(tensor.shape)}")
    return tensor


def require_finite(tensor: torch.Tensor, name: str) -> None:
    """Raise if a tensor holds NaN or Inf. Its sum is tested first, in one pass; only if that fails, each value."""
    if not tensor.is_floating_point() and not tensor.is_complex():
        return
    if cmath.isfinite(tensor.detach().sum(dtype=computing_dtype(tensor.dtype)).item()):
        return
    bad = ~torch.isfinite(tensor.detach())
    count = int(bad.sum())
    if count:
        first = tuple(int(i) for i in bad.nonzero()[0])
        raise ValueError(f"{name} must be finite, got {count} NaN or Inf values, the first at index {first}")


def image_dtype(dtype: torch.dtype) -> torch.dtype:
    """The type of an image's result: floats keep theirs, integers become float32."""
    return dtype if dtype.is_floating_point or dtype.is_complex else torch.float32


def restored(tensor: torch.Tensor, original: Any) -> Any:
    """The tensor in the kind of the original: numpy array, Tensor, or MetaTensor with a copy of its meta data."""
    if isinstance(original, np.ndarray):
        return tensor.numpy()
    if isinstance(original, MetaTensor) and meta_is_tracked():
        return with_meta(tensor, original)
    return tensor


def with_meta(tensor: torch.Tensor, original: MetaTensor) -> MetaTensor:
    """The tensor as a MetaTensor with copies of the original's meta data and lists."""
    with torch._C.DisableTorchFunctionSubclass():
        out = tensor.as_subclass(MetaTensor)
    state = dict(original.__dict__)
    for name, value in state.items():
        if isinstance(value, (dict, list)):
            state[name] = value.copy()
    out.__dict__ = state
    return out


def steady_state(value: Any) -> Any:
    """Plain values of a state as new objects, but equal strings as one, so that equal states pickle to equal bytes."""
    if type(value) is str:
        return sys.intern(value)
    if type(value) is dict:
        return {steady_state(k): steady_state(v) for k, v in value.items()}
    if type(value) in (list, tuple):
        return type(value)(map(steady_state, value))
    return value


def affine_of(data: Any) -> list[list[float]] | None:
    """The affine of a MetaTensor as nested lists, for a batch a list of them; None without one."""
    if isinstance(data, MetaTensor):
        affine = data.meta.get("affine")
        if affine is not None:
            return affine.tolist()
    return None
