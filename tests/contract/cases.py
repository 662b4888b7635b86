"""Finds every public transform and builds what the contract's checks feed it: nothing here names a transform.

A class takes part by being public. It says itself what the checks cannot guess:

- ``example(spatial_dims)``: an image that it accepts;
- ``example_arguments``: constructor arguments, where some are required (otherwise the docstring's example gives them);
- ``spatial_dims``: those it can do, ``(2, 3)`` where it says nothing;
- ``dtypes``: what it accepts, all real types where it says nothing.
"""

from __future__ import annotations

import ast
import functools
import inspect
import sys
from collections.abc import Callable, Sequence
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch
from monai.bundle.config_parser import ConfigParser
from monai.data.meta_tensor import MetaTensor

from monai_medaug import transforms
from monai_medaug.core.dictionary import DictionaryOperation
from monai_medaug.core.operation import Operation, RandomOperation
from monai_medaug.core.twin import dictionary_twin
from monai_medaug.functional.geometry.grid import VoxelGrid

DTYPES = (
    torch.float16,
    torch.bfloat16,
    torch.float32,
    torch.float64,
    torch.int16,
    torch.uint16,
    torch.uint8,
)
KINDS = ("numpy", "tensor", "meta")
LABELS: dict[torch.dtype, list] = {
    torch.uint8: [0, 1, 7, 255],
    torch.int16: [0, 1, -3, 30001],
    torch.uint16: [0, 1, 7, 65535],
    torch.int32: [0, 1, -3, 2**24 + 1],
    torch.int64: [0, 1, -3, 2**53 + 1],
    torch.bool: [False, True],
    torch.float32: [0.0, 1.0, 0.1, -3.7],
}
AFFINE = torch.tensor([[0, 2, 0, -30], [1.5, 0, 0, 10], [0, 0, 3, 5], [0, 0, 0, 1]], dtype=torch.float64)
EARLIER = {"class": "EarlierStep", "id": 7, "tracing": True, "do_transforms": True, "extra_info": {"list": [1, 2]}}


@dataclass(frozen=True)
class Case:
    """One operation: its array class and its dictionary twin."""

    cls: type[Operation]
    twin_class: type[DictionaryOperation]

    def __str__(self) -> str:
        return self.cls.__name__

    @property
    def random(self) -> bool:
        return issubclass(self.cls, RandomOperation)

    @property
    def geometric(self) -> bool:
        return self.cls.geometric

    @property
    def pads(self) -> bool:
        """Whether it takes a padding_mode."""
        return "padding_mode" in inspect.signature(self.cls).parameters

    @property
    def keeps_grid(self) -> bool:
        return not self.cls.changes_grid

    @property
    def dims(self) -> tuple[int, ...]:
        return self.cls.spatial_dims

    @property
    def dtypes(self) -> tuple[torch.dtype, ...]:
        return self.cls.dtypes

    @property
    def arguments(self) -> dict[str, Any]:
        return _arguments(self.cls)

    def array(self, seed: int = 0, **changes: Any) -> Any:
        """An array instance that always applies, seeded."""
        return self._seeded(self.cls(**self._always(changes)), seed)

    def twin(self, keys: Any = "image", seed: int = 0, **changes: Any) -> Any:
        """A dictionary instance that always applies, seeded."""
        return self._seeded(self.twin_class(keys, **self._always(changes)), seed)

    def image(self, dims: int | None = None, dtype: torch.dtype = torch.float32) -> torch.Tensor:
        """The class's example (1, *spatial) in a type, clipped to its range; complex where it takes nothing else."""
        if dtype == torch.float32 and dtype not in self.dtypes:
            dtype = self.dtypes[0]
        return cast(self.cls.example(dims or self.dims[-1]), dtype)

    def out_grid(self, data: Any) -> VoxelGrid:
        """The grid of the result of an image (C, *spatial)."""
        affine = data.affine.tolist() if isinstance(data, MetaTensor) else None
        made = self.array()
        return self.cls.out_grid(VoxelGrid(tuple(data.shape[1:]), affine), {**made.draw(), **made.settings()})

    def out_shape(self, data: Any) -> tuple[int, ...]:
        """The shape of the result of an image (C, *spatial)."""
        return (data.shape[0], *self.out_grid(data).shape)

    def _always(self, changes: dict[str, Any]) -> dict[str, Any]:
        written = {name: v for name, v in changes.items() if isinstance(v, dict) and "_target_" in v}
        given = {**self.arguments, **written}
        parser = ConfigParser(given)  # a network may be given as a bundle's config would
        with torch.random.fork_rng():
            torch.manual_seed(0)
            made = {name: parser.get_parsed_content(name) for name in given}
        ready = {name: v for name, v in changes.items() if name not in written}
        return {**made, **({"prob": 1.0} if self.random else {}), **ready}

    def _seeded(self, transform: Any, seed: int) -> Any:
        return transform.set_random_state(seed) if self.random else transform


def public(kind: type) -> list[type]:
    """The public classes of a kind, each once, whatever its aliases."""
    found = {getattr(transforms, name) for name in transforms.__all__}
    return sorted((c for c in found if inspect.isclass(c) and issubclass(c, kind)), key=lambda c: c.__name__)


def case_of(cls: type[Operation]) -> Case:
    """The case of an array class; a twin that is missing is made, for `test_names` to complain about."""
    twin = getattr(sys.modules[cls.__module__], f"{cls.__name__}d", None)
    return Case(cls, twin if twin is not None else dictionary_twin(cls))


EVERY_CASE = [case_of(cls) for cls in public(Operation)]
CASES = [case for case in EVERY_CASE if not case.cls.takes_batches]
BATCH_CASES = [case for case in EVERY_CASE if case.cls.takes_batches]
RANDOM_CASES = [case for case in CASES if case.random]
GEOMETRIC_CASES = [case for case in CASES if case.geometric]
MOVING_CASES = [case for case in GEOMETRIC_CASES if case.pads]


def contract(checks: Sequence[Callable[[Case], None]], cases: Sequence[Case] = CASES) -> Any:
    """Decorator: run each of the checks on each of the cases, a test each."""

    def decorated(test: Any) -> Any:
        named = [pytest.param(c, id=c.__name__.removeprefix("check_")) for c in checks]
        return pytest.mark.parametrize("case", cases, ids=str)(pytest.mark.parametrize("check", named)(test))

    return decorated


@functools.cache
def _arguments(cls: type[Operation]) -> dict[str, Any]:
    if cls.example_arguments is not None:
        return dict(cls.example_arguments)
    try:
        cls()
        return {}
    except (TypeError, ValueError):
        found = _documented_arguments(cls)
    assert found is not None, f"{cls.__name__} needs arguments: declare example_arguments"
    return found


def _documented_arguments(cls: type) -> dict[str, Any] | None:
    """The literal keyword arguments of the first call of the class in its docstring's example."""
    for line in (inspect.getdoc(cls) or "").splitlines():
        if not line.strip().startswith(">>>"):
            continue
        try:
            tree = ast.parse(line.strip()[3:].strip())
        except SyntaxError:
            continue
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == cls.__name__:
                return {k.arg: ast.literal_eval(k.value) for k in node.keywords if k.arg}
    return None


# ---- data --------------------------------------------------------------------------------------------------------


def cast(image: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """The image in another type: clipped to its range, and rounded for integers."""
    if dtype.is_floating_point or dtype.is_complex:
        return image.to(dtype)
    bounds = torch.iinfo(dtype)
    return image.double().round().clamp(max(bounds.min, -(2**53)), min(bounds.max, 2**53)).to(dtype)


def as_kind(image: torch.Tensor, kind: str) -> Any:
    """A copy of the image as a numpy array, Tensor or MetaTensor (of 1 mm) that carries meta data and a trace."""
    if kind == "numpy":
        return image.clone().numpy()
    return meta_tensor(image, torch.eye(4, dtype=torch.float64)) if kind == "meta" else image.clone()


def meta_tensor(image: torch.Tensor, affine: torch.Tensor = AFFINE, traced: bool = True) -> MetaTensor:
    """A copy of the image as MetaTensor that carries meta data and, if ``traced``, a step of somebody else's."""
    meta = {"filename_or_obj": "case.nii", "nested": {"values": [1, 2]}}
    steps = [deepcopy(EARLIER)] if traced else []
    return MetaTensor(image.clone(), affine=affine.clone(), meta=meta, applied_operations=steps)


def labels(shape: Sequence[int], dtype: torch.dtype) -> torch.Tensor:
    """A mask (1, *shape) in which all `LABELS` of the type lie in blobs."""
    values = torch.tensor(LABELS[dtype], dtype=dtype)
    axes = torch.meshgrid(*[torch.arange(n) for n in shape], indexing="ij")
    return values[(torch.stack([a // 4 for a in axes]).sum(0) % len(values))[None]]


def voxels(data: Any) -> torch.Tensor:
    """The values as a plain tensor, detached."""
    if isinstance(data, np.ndarray):
        return torch.from_numpy(data)
    return (data.as_tensor() if isinstance(data, MetaTensor) else data).detach()


def exact(data: Any) -> torch.Tensor:
    """The values in a type that can be compared and loses nothing: float64 or int64."""
    tensor = voxels(data)
    if tensor.is_complex():
        tensor = torch.view_as_real(tensor)
    return tensor.double() if tensor.is_floating_point() else tensor.to(torch.int64)


def same(one: Any, other: Any) -> bool:
    """Whether shape, type and every value are equal."""
    a, b = voxels(one), voxels(other)
    return a.shape == b.shape and a.dtype == b.dtype and torch.equal(exact(a), exact(b))


def distance(one: Any, other: Any) -> float:
    """Greatest difference as a share of the greater range."""
    a, b = exact(one).double(), exact(other).double()
    extent = max(float(a.max() - a.min()), float(b.max() - b.min()), 1e-12)
    return float((a - b).abs().max()) / extent


def snapshot(data: Any) -> tuple:
    """What must not change in the caller's data: every value, the meta data, both traces."""
    values = exact(data).clone()
    if not isinstance(data, MetaTensor):
        return values, None
    return values, deepcopy((dict(data.meta), data.applied_operations, data.pending_operations, data.is_batch))


def assert_untouched(data: Any, before: tuple, what: str) -> None:
    values, rest = snapshot(data)
    assert torch.equal(values, before[0]), f"{what}: the caller's voxels were written to"
    assert alike(rest, before[1]), f"{what}: the caller's meta data or trace changed from {before[1]} to {rest}"


def alike(one: Any, other: Any) -> bool:
    """Equality of nested values that hold tensors."""
    if type(one) is not type(other):
        return False
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(alike(v, other[k]) for k, v in one.items())
    if isinstance(one, (list, tuple)):
        return len(one) == len(other) and all(alike(a, b) for a, b in zip(one, other, strict=True))
    return torch.equal(one, other) if isinstance(one, torch.Tensor) else bool(one == other)


def records(data: Any) -> list[dict]:
    """Our records on a MetaTensor."""
    return [r for r in data.applied_operations if "uid" in (r.get("extra_info") or {})]
