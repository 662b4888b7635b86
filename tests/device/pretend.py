"""A CUDA device for tests on machines without one.

    with PretendCuda() as gpu:
        out = Batched(RandCTDose(prob=1.0))(torch.rand(4, 1, 8, 8).cuda())
    gpu.waits.total(), gpu.launches.total()

All memory is the host's. A tensor "lies on the device" if its storage bears a mark, so that views, MetaTensors and
autograd are the real ones and values can be compared. Two layers watch:

- what Python asks (`TorchFunctionMode`): ``device``, ``is_cuda``, moves, factories, generators, ``numpy()``;
- what torch runs (`TorchDispatchMode`, below autograd): each operation, with the places of its operands.

What a device refuses raises: operands of two devices (but for CPU scalars and CPU indices), ``numpy()``, a generator of
the other device, kernels that CUDA lacks for wide unsigned integers, kernels without a deterministic form where these
are asked for, and an inverse real transform of a spectrum that isn't Hermitian, which cuFFT leaves undefined. Matrix
products round as in TF32 where ``torch.set_float32_matmul_precision`` allows it, convolutions by default.

Each wait of the host (a value read, a result of unknown size, a copy but for pinned ones that don't block) and each
launch is counted with the line that asked. Not seen: how CUDA rounds, what else it refuses, memory, streams, autocast's
own lists, and that some operations take several launches.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack, contextmanager
from typing import Any
from unittest import mock

import torch
from torch.overrides import TorchFunctionMode, _get_current_function_mode_stack
from torch.utils._device import DeviceContext, _device_constructors
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map_only

HOST, CUDA = torch.device("cpu"), torch.device("cuda", 0)

aten = torch.ops.aten
EMPTY = {aten.empty, aten.empty_like, aten.empty_strided, aten.new_empty, aten.new_empty_strided}
VALUE_READS = {aten._local_scalar_dense, aten.equal, aten.is_nonzero}
UNKNOWN_SIZES = {
    aten.nonzero,
    aten.masked_select,
    aten._unique2,
    aten.unique_dim,
    aten.unique_consecutive,
    aten.bincount,
}
INDEXING = {aten.index, aten.index_put, aten.index_put_}
ANY_DEVICE = {aten.copy_, aten._to_copy}
PRODUCTS = {aten.mm, aten.bmm, aten.addmm, aten.baddbmm}
CONVOLUTIONS = {aten.convolution}
NOT_FOR_WIDE_UNSIGNED = {aten.index, aten.index_select, aten.where, aten.any, aten.all, aten.amin, aten.amax, aten.sort}
NOT_DETERMINISTIC = {
    aten.kthvalue,
    aten.histc,
    aten.put_,
    aten.nll_loss2d_forward,
    aten.grid_sampler_2d_backward,
    aten.grid_sampler_3d_backward,
    aten._adaptive_avg_pool2d_backward,
    aten.avg_pool3d_backward,
    aten.upsample_trilinear3d_backward,
    aten.upsample_bilinear2d_backward,
}
"""Of those in the documentation of `torch.use_deterministic_algorithms`; median and cumsum depend on the overload."""
WIDE_UNSIGNED = {torch.uint16, torch.uint32, torch.uint64}


def on_device(tensor: torch.Tensor) -> bool:
    """Whether a tensor lies on the pretended device."""
    return bool(getattr(tensor.untyped_storage(), "on_device", False))


def _put(tensor: torch.Tensor) -> torch.Tensor:
    tensor.untyped_storage().on_device = True  # type: ignore[attr-defined]
    return tensor


def _means_cuda(device: Any) -> bool:
    return device is not None and torch.device(device).type == "cuda"


def _tensors(tree: Any) -> list[torch.Tensor]:
    return [leaf for leaf in tree_leaves(tree) if isinstance(leaf, torch.Tensor)]


class _Generator(torch._C.Generator):  # type: ignore[misc]
    """A generator of the host that says it belongs to the device it was asked for."""

    def __new__(cls, device: Any = HOST) -> _Generator:
        self = super().__new__(cls, HOST)
        self.belongs_to = CUDA if _means_cuda(device) else HOST
        return self

    def __init__(self, device: Any = HOST) -> None:
        """All is done in `__new__`."""

    @property
    def device(self) -> torch.device:
        return self.belongs_to  # type: ignore[attr-defined, no-any-return]


class PretendCuda(TorchFunctionMode):
    """The device, see the module.

    Args:
        default: whether it is the default device, as after ``torch.set_default_device("cuda")``.
        package: whose lines the counters name.

    Attributes:
        waits: of the host, by kind and line.
        launches: by operation and line.
    """

    def __init__(self, default: bool = False, package: str = "monai_medaug") -> None:
        super().__init__()
        self.default, self.package = default, package
        self.waits: Counter[tuple[str, str]] = Counter()
        self.launches: Counter[tuple[str, str]] = Counter()
        self.goes_to: bool | None = None
        """Where new memory lies: on the device or the host; None follows the operands."""
        self.without_operands = False
        """Where memory made without operands lies, within a function of tensors."""
        self._answers: dict[str, Callable[..., Any]] = {
            "numpy": self._to_numpy,
            "__array__": self._to_numpy,
            "tolist": self._to_list,
            "to": self._move,
            "cpu": self._move,
            "cuda": self._move,
            "type_as": self._move,
            "pin_memory": self._pin,
            "is_pinned": lambda func, args, kwargs: getattr(args[0].untyped_storage(), "pinned", False),
            "tensor": self._from_data,
            "as_tensor": self._from_data,
            "asarray": self._from_data,
            "new_tensor": self._from_data,
        }

    def __enter__(self) -> PretendCuda:
        self._stack = ExitStack()
        for name, new in {"torch.Generator": _Generator, "torch.cuda.synchronize": lambda *_: None}.items():
            self._stack.enter_context(mock.patch(name, new))
        if self.default:
            self._stack.enter_context(mock.patch("torch.get_default_device", return_value=CUDA))
        self._stack.enter_context(_Kernels(self))
        super().__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        super().__exit__(*error)
        self._stack.close()

    def clear(self) -> None:
        """Count from 0 again."""
        self.waits.clear()
        self.launches.clear()

    def count(self, counter: Counter, what: str) -> None:
        """Count at the innermost line of the package."""
        frame: Any = sys._getframe(1)
        while frame is not None and not str(frame.f_globals.get("__name__")).startswith(self.package):
            frame = frame.f_back
        counter[what, "" if frame is None else f"{frame.f_globals['__name__']}:{frame.f_lineno}"] += 1

    # ---- what Python asks ------------------------------------------------------------------------------------------

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs, name = dict(kwargs or {}), getattr(func, "__name__", "")
        first = next((a for a in args[:1] if isinstance(a, torch.Tensor)), None)
        here = first is not None and on_device(first)
        if name == "__get__" and first is not None:
            asked = getattr(func.__self__, "__name__", "")
            known = {"device": CUDA if here else HOST, "is_cuda": here, "is_cpu": not here}
            return known[asked] if asked in known else func(*args, **kwargs)
        if name == "get_device":
            return 0 if here else -1
        if self.default and func in _device_constructors() and kwargs.get("device") is None:
            kwargs["device"] = self._default_for(func, args, kwargs)
        self._check_generator(kwargs, here)
        if name in self._answers:
            return self._answers[name](func, args, kwargs)
        if _means_cuda(kwargs.get("device")):
            kwargs["device"] = HOST
            return self._run_at(True, func, args, kwargs)
        before, self.without_operands = self.without_operands, any(map(on_device, _tensors(args)))
        try:
            return func(*args, **kwargs)
        finally:
            self.without_operands = before

    def _default_for(self, func: Any, args: Any, kwargs: Any) -> torch.device | None:
        """`as_tensor` of a tensor keeps its device, as do the ``_like`` and ``new_`` functions, which aren't listed."""
        if func in (torch.as_tensor, torch.asarray) and isinstance(args[0], torch.Tensor):
            return None
        blocks = [mode.device for mode in _get_current_function_mode_stack() if isinstance(mode, DeviceContext)]
        return blocks[-1] if blocks else CUDA

    def _check_generator(self, kwargs: dict, here: bool) -> None:
        generator, device = kwargs.get("generator"), kwargs.get("device")
        wanted = here if device is None else _means_cuda(device)
        if generator is not None and _means_cuda(generator.device) != wanted:
            raise RuntimeError(f"Expected a '{'cuda' if wanted else 'cpu'}' device type for generator")

    def _run_at(self, device: bool, func: Any, args: Any, kwargs: Any) -> Any:
        before, self.goes_to = self.goes_to, device
        try:
            return func(*args, **kwargs)
        finally:
            self.goes_to = before

    def _to_numpy(self, func: Any, args: Any, kwargs: Any) -> Any:
        if on_device(args[0]):
            raise TypeError("can't convert cuda:0 device type tensor to numpy. Use Tensor.cpu() first")
        return func(*args, **kwargs)

    def _to_list(self, func: Any, args: Any, kwargs: Any) -> Any:
        if on_device(args[0]):
            self.count(self.waits, "to the host")
            with self._unwatched():
                return func(*args, **kwargs)
        return func(*args, **kwargs)

    @contextmanager
    def _unwatched(self) -> Any:
        """Torch copies a whole list at once: its single reads are no waits."""
        before = self.waits.copy()
        try:
            yield
        finally:
            self.waits.clear()
            self.waits.update(before)

    def _pin(self, func: Any, args: Any, kwargs: Any) -> torch.Tensor:
        if on_device(args[0]):
            raise RuntimeError("cannot pin 'torch.cuda.FloatTensor', only dense CPU tensors can be pinned")
        out = args[0].clone()
        out.untyped_storage().pinned = True
        return out

    def _from_data(self, func: Any, args: Any, kwargs: Any) -> Any:
        """Tensors from numbers, arrays and other tensors."""
        own = func.__name__ == "new_tensor"
        data, device = args[int(own)], kwargs.get("device")
        there = on_device(args[0]) if own and device is None else _means_cuda(device)
        if isinstance(data, torch.Tensor):
            if device is None and not own:
                return func(*args, **kwargs)
            return self._moved(data.to(kwargs.get("dtype") or data.dtype), there, kwargs.get("dtype"), False)
        if device is not None:
            kwargs["device"] = HOST
        made = self._run_at(False, func, args, kwargs)
        return self._moved(made, True, None, False) if there else made

    def _move(self, func: Any, args: Any, kwargs: Any) -> torch.Tensor:
        name, tensor, rest = func.__name__, args[0], args[1:]
        other = rest[0] if rest and isinstance(rest[0], torch.Tensor) else kwargs.get("other")
        there, dtype, waits_not = on_device(tensor), None, bool(kwargs.get("non_blocking", False))
        if name in ("cpu", "cuda"):
            there = name == "cuda"
        elif other is not None:
            there, dtype = on_device(other), other.dtype
        else:
            options = {k: v for k, v in kwargs.items() if k != "copy"}
            device, dtype, non_blocking, _ = torch._C._nn._parse_to(
                *[a for a in rest if not isinstance(a, bool)], **options
            )
            there, waits_not = there if device is None else _means_cuda(device), waits_not or non_blocking
        if there == on_device(tensor):
            kept = {k: v for k, v in kwargs.items() if k in ("copy", "memory_format")}
            return torch.Tensor.to(tensor, dtype or tensor.dtype, **kept)
        return self._moved(tensor, there, dtype, waits_not)

    def _moved(self, tensor: torch.Tensor, there: bool, dtype: torch.dtype | None, waits_not: bool) -> torch.Tensor:
        if there == on_device(tensor):
            return tensor if dtype is None else tensor.to(dtype)
        pinned = getattr(tensor.untyped_storage(), "pinned", False)
        if not (there and waits_not and pinned):
            self.count(self.waits, "to the device" if there else "to the host")
        return self._run_at(there, torch.Tensor.to, (tensor, dtype or tensor.dtype), {"copy": True})


class _Kernels(TorchDispatchMode):
    """Every operation of torch: what it is given, where its results lie, what it costs."""

    def __init__(self, gpu: PretendCuda) -> None:
        super().__init__()
        self.gpu = gpu

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        gpu, kwargs, packet = self.gpu, kwargs or {}, func.overloadpacket
        given = _tensors((args, kwargs))
        here = [on_device(t) for t in given]
        follows = gpu.goes_to is None
        there = (any(here) or (not given and gpu.without_operands)) if follows else gpu.goes_to
        if any(here) and follows:
            _refuse_mixed(func, args, kwargs, given)
            _refuse_unknown(func, args, given)
            args = _as_tf32(packet, args)
        before = {t.untyped_storage()._cdata for t in given}
        out = func(*args, **kwargs)
        new = [t for t in _tensors(out) if t.untyped_storage()._cdata not in before]
        if there:
            for tensor in new:
                _put(tensor)
        if (any(here) and follows) or (there and not given):
            self._count(func, args, given, bool(new) or func._schema.is_mutable)
        return out

    def _count(self, func: Any, args: Any, given: list[torch.Tensor], works: bool) -> None:
        packet, gpu = func.overloadpacket, self.gpu
        if packet in VALUE_READS:
            gpu.count(gpu.waits, "a value")
            return
        if packet in UNKNOWN_SIZES:
            gpu.count(gpu.waits, "a size")
        for index in _tensors(args[1]) if packet in INDEXING else ():
            one_value = len(args) > 2 and args[2].numel() == 1  # a masked fill
            if index.dtype in (torch.bool, torch.uint8) and not one_value:
                gpu.count(gpu.waits, "a size")
            elif not on_device(index):
                gpu.count(gpu.waits, "to the device")
        if packet is aten.copy_ and on_device(given[0]) != on_device(given[-1]):
            gpu.count(gpu.waits, "to the device" if on_device(given[0]) else "to the host")
        elif works and packet not in EMPTY:
            gpu.count(gpu.launches, str(packet))


def _refuse_mixed(func: Any, args: Any, kwargs: Any, given: list[torch.Tensor]) -> None:
    """Raise for operands of both devices, but for what torch allows."""
    packet, others = func.overloadpacket, [t for t in given if not on_device(t)]
    if not others or packet in ANY_DEVICE:
        return
    scalars = torch.Tag.pointwise in func.tags and not (func._schema.is_mutable and not on_device(args[0]))
    if packet in INDEXING and on_device(args[0]):  # the indices may lie anywhere, a single value too
        others, scalars = [t for t in _tensors((args[2:], kwargs)) if not on_device(t)], True
    if packet is aten.fill_ or (scalars and all(t.ndim == 0 for t in others)):
        return
    found = [(tuple(t.shape), "cuda:0" if on_device(t) else "cpu") for t in given]
    raise RuntimeError(f"Expected all tensors to be on the same device, but found {found} in {func}")


def _refuse_unknown(func: Any, args: Any, given: list[torch.Tensor]) -> None:
    """Raise where CUDA has no kernel, none that is deterministic, or no defined result."""
    packet, overload = func.overloadpacket, func._overloadname
    if packet in NOT_FOR_WIDE_UNSIGNED and any(t.dtype in WIDE_UNSIGNED for t in given):
        raise NotImplementedError(f"{func} not implemented for wide unsigned integers on CUDA")
    if torch.are_deterministic_algorithms_enabled():
        indices_too = packet in (aten.median, aten.nanmedian) and overload.startswith("dim")
        running_sum = packet in (aten.cumsum, aten.cumsum_) and given[0].dtype not in (torch.int64, torch.int32)
        if packet in NOT_DETERMINISTIC or indices_too or running_sum:
            raise RuntimeError(f"{func} does not have a deterministic implementation on CUDA")
    if packet is aten._fft_c2r:
        _refuse_not_hermitian(args[0], args[1], args[3])


def _refuse_not_hermitian(spectrum: torch.Tensor, axes: list[int], size: int) -> None:
    """Along the last axis, the first frequency and, of an even size, the last one belong to real signals."""
    *rest, last = [a % spectrum.ndim for a in axes]
    for k in [0, size // 2] if size % 2 == 0 else [0]:
        plane = spectrum.select(last, k)
        shifted = [a - (a > last) for a in rest]
        mirror = plane.flip(shifted).roll([1] * len(shifted), shifted) if shifted else plane
        off = torch.view_as_real(plane) - torch.view_as_real(mirror) * torch.tensor([1.0, -1.0])  # conj is lazy here
        if float(off.abs().max()) > 1e-4 * float(spectrum.abs().max()):
            raise RuntimeError("cuFFT leaves the result of a spectrum that isn't Hermitian undefined")


def _as_tf32(packet: Any, args: Any) -> Any:
    """The operands as tensor cores take them where that is allowed."""
    products = packet in PRODUCTS and torch.backends.cuda.matmul.fp32_precision == "tf32"
    convolutions = packet in CONVOLUTIONS and torch.backends.cudnn.allow_tf32
    return tree_map_only(torch.Tensor, _ten_bits, args) if products or convolutions else args


def _ten_bits(factor: torch.Tensor) -> torch.Tensor:
    if factor.dtype != torch.float32:
        return factor
    return ((factor.contiguous().view(torch.int32) + 0x1000) & ~0x1FFF).view(torch.float32)
