"""The mechanism: an operation is written once, as an array class, and has three faces.

An array class is a signature, a `draw` that returns plain JSON numbers, and an `apply` that hands them to a kernel on
a batch (B, C, *spatial). `apply` is a class method of the numbers alone, so that a record in the trace is all that
the inverse and the replay need. From it come:

- the array face, ``Food(...)(image)``: one draw, the kernel with B = 1;
- the dictionary twin, ``Foodd(keys, ...)(data)``, see `twin.py`: one draw for all keys;
- the batch face, ``Batched(Food(...))(batch)``, see `batch.py`: B draws, one kernel call.

To add an operation: write its kernel in ``functional/``, then

    class RandGain(RandomOperation):
        '''What it models, formula, units, source, example.'''

        identity = {"factor": 1.0}

        def __init__(self, factor=(0.9, 1.1), prob=1.0):
            super().__init__(prob)
            self.factor = span("factor", factor)

        def draw(self):
            return {"factor": self.R.uniform(*self.factor)}

        @classmethod
        def apply(cls, image, params, plan, view):
            return kernel(image, per_sample(image, params, "factor"))

    RandGaind = dictionary_twin(RandGain)
    RandGainD = RandGainDict = RandGaind
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
import torch
from monai.data.meta_obj import get_track_meta
from monai.data.meta_tensor import MetaTensor
from monai.transforms.inverse import InvertibleTransform
from monai.transforms.lazy.functional import apply_pending_transforms
from monai.transforms.transform import RandomizableTransform
from monai.utils.enums import TransformBackends
from monai.utils.misc import get_seed

from monai_medaug.functional.grid import VoxelGrid
from monai_medaug.transforms.tensors import (
    affine_of,
    computing_dtype,
    image_dtype,
    plain_tensor,
    require_finite,
    restored,
    with_meta,
)
from monai_medaug.transforms.trace import new_record, pop_record, push_batch_records, push_record

Params = dict[str, Any]
REGISTRY: dict[str, type[Operation]] = {}


@dataclass(frozen=True)
class KeyView:
    """How one key takes part in a call: what `Operation.apply` may know besides the numbers.

    Attributes:
        index: position among the transform's keys; noise seeds derive from it, so that no two keys share a field.
        grids: the key's voxel grid, one a sample.
        mode: interpolation; ``"nearest"`` marks a mask.
        padding: what lies outside, see `functional.warp.warp`.
    """

    index: int
    grids: Sequence[VoxelGrid]
    mode: str = "bilinear"
    padding: str | float = "border"

    def seeds(self, params: Sequence[Params]) -> list[int]:
        """One noise seed a sample for this key, from the drawn ``seed`` and the key's position."""
        return [(p["seed"] + 0x9E3779B97F4A7C15 * self.index) % (1 << 63) for p in params]


@dataclass
class Entry:
    """One key's data in a call."""

    data: Any
    name: str
    index: int = 0
    mode: str | None = None
    padding: str | float = "border"
    batched: bool = False
    tensor: torch.Tensor = field(init=False)
    affine: list | None = None

    def __post_init__(self) -> None:
        self.tensor = plain_tensor(self.data, self.name, self.batched)

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(self.tensor.shape[2 if self.batched else 1 :])

    @property
    def out_dtype(self) -> torch.dtype:
        return self.tensor.dtype if self.mode == "nearest" else image_dtype(self.tensor.dtype)

    def batch(self, samples: Sequence[int]) -> torch.Tensor:
        """The chosen samples (B, C, ...), in the type to compute in; masks as they are."""
        x = self.tensor if self.batched else self.tensor[None]
        if len(samples) < len(x):
            x = x[list(samples)]
        return x if self.mode == "nearest" else x.to(computing_dtype(x.dtype))

    def grid(self, sample: int) -> VoxelGrid:
        affine = self.affine[sample] if self.affine is not None and self.batched else self.affine
        return VoxelGrid(self.shape, affine)

    def view(self, samples: Sequence[int]) -> KeyView:
        return KeyView(self.index, [self.grid(s) for s in samples], self.mode or "bilinear", self.padding)


class Operation(InvertibleTransform):
    """Base of the array classes; deterministic unless it derives from `RandomOperation`."""

    backend = [TransformBackends.TORCH, TransformBackends.NUMPY]
    geometric: ClassVar[bool] = False
    """Whether voxels move: keys have a mode and a padding, the inverse undoes it, points and boxes follow."""
    identity: ClassVar[Params] = {}
    """The value of each drawn quantity that does nothing. Quantities without one are never scaled."""

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        REGISTRY[cls.__name__] = cls

    def __init__(self) -> None:
        self.uid = uuid.uuid4().hex

    # ---- what an operation defines ---------------------------------------------------------------------------

    def draw(self) -> Params:
        """The call's parameters: numbers, strings and lists of them, all that `apply` needs."""
        raise NotImplementedError

    @classmethod
    def check(cls, image: torch.Tensor, name: str) -> None:
        """Raise a ValueError that names the key if the image is not one for this operation."""
        require_finite(image, name)

    @classmethod
    def plan(
        cls, params: Sequence[Params], reference: Sequence[VoxelGrid], device: torch.device, inverse: bool = False
    ) -> Any:
        """What all keys share and what is dear to compute; may hold tensors, never enters the trace."""
        return None

    @classmethod
    def figures(cls, plan: Any) -> list[Params]:
        """Plain figures of the plan for the trace, one dict a sample."""
        return []

    @classmethod
    def apply(cls, image: torch.Tensor, params: Sequence[Params], plan: Any, view: KeyView) -> torch.Tensor:
        """The kernel call, on (B, C, *spatial) with one dict of parameters a sample. Never writes to ``image``."""
        raise NotImplementedError

    @classmethod
    def example(cls, spatial_dims: int = 3) -> torch.Tensor:
        """A small image (1, *spatial) that the operation accepts, for tests and galleries."""
        axes = torch.meshgrid(*[torch.linspace(-1, 1, n) for n in (24, 21, 18)[:spatial_dims]], indexing="ij")
        return 100 + 50 * torch.cos(3 * torch.stack([a * (i + 1) for i, a in enumerate(axes)]).sum(0))[None]

    # ---- the array face --------------------------------------------------------------------------------------

    def next_params(self) -> Params | None:
        """The parameters of the next call, None where the call is skipped."""
        return self.draw()

    def entry(self, data: Any, name: str, batched: bool = False) -> Entry:
        mode = getattr(self, "mode", "bilinear") if self.geometric else None
        return Entry(data, name, 0, mode, getattr(self, "padding_mode", "border"), batched)

    def __call__(self, img: Any) -> Any:
        """Apply to one channel-first image (C, H, W) or (C, D, H, W)."""
        if isinstance(img, MetaTensor) and img.has_pending_operations:
            img = apply_pending_transforms(with_meta(plain_tensor(img, "img"), img))
        return run_operation(self, type(self).__name__, [self.entry(img, "img")], [self.next_params()])[0]

    def inverse(self, data: Any) -> Any:
        """Undo the last call on this MetaTensor: geometry is inverted, intensities stay and lose their record."""
        return invert_entry(self, data, "img")


class RandomOperation(Operation, RandomizableTransform):
    """Base of the random array classes: each instance has a random state of its own."""

    def __init__(self, prob: float) -> None:
        Operation.__init__(self)
        if not 0 <= prob <= 1:
            raise ValueError(f"prob must be within [0, 1], got {prob}")
        RandomizableTransform.__init__(self, float(prob))
        self.strength = 1.0
        self.set_random_state(get_seed())

    def next_params(self) -> Params | None:
        self.randomize()
        return self.drawn

    def randomize(self, data: Any = None) -> None:
        """Decide whether to apply, and draw the parameters."""
        super().randomize(None)
        self.drawn = toward_identity(self.draw(), self.identity, self.strength) if self._do_transform else None


def toward_identity(params: Params, identity: Params, strength: float) -> Params:
    """Scale a draw toward doing nothing: identity + strength * (value - identity).

    Example:
        >>> toward_identity({"factor": 1.2, "seed": 7}, {"factor": 1.0}, 0.5)
        {'factor': 1.1, 'seed': 7}
    """
    if strength == 1:
        return params

    def scaled(value: Any, rest: Any) -> Any:
        if isinstance(value, list):
            return [scaled(v, r) for v, r in zip(value, rest, strict=True)]
        return rest + strength * (value - rest)

    return {k: scaled(v, identity[k]) if k in identity else v for k, v in params.items()}


def per_sample(image: torch.Tensor, params: Sequence[Params], name: str) -> torch.Tensor:
    """One parameter of all samples as a tensor (B, 1, ...) that broadcasts over the batch."""
    return image.new_tensor([p[name] for p in params]).reshape(-1, *[1] * (image.ndim - 1))


def span(
    name: str, value: float | Sequence[float], low: float = -np.inf, high: float = np.inf, signed: bool = False
) -> tuple[float, float]:
    """A range argument as (low, high).

    A pair is the range. A single number v means (-v, v) for a ``signed`` quantity, and exactly v for one that cannot
    be negative.

    Raises:
        ValueError: not a number or an ordered pair, or outside [low, high].

    Example:
        >>> span("rotate_degrees", 5, signed=True), span("noise_hu", 12.3), span("snr", (5, 40))
        ((-5.0, 5.0), (12.3, 12.3), (5.0, 40.0))
    """
    try:
        pair = [float(v) for v in value] if isinstance(value, Sequence) else [float(value)] * 2
    except (TypeError, ValueError):
        pair = []
    if signed and not isinstance(value, Sequence) and pair:
        pair[0] = -pair[0]
    if len(pair) != 2 or not pair[0] <= pair[1]:
        raise ValueError(f"{name} must be a number or a pair (low, high), got {value!r}")
    if pair[0] < low or pair[1] > high:
        raise ValueError(f"{name} must lie within [{low}, {high}], got {value!r}")
    return pair[0], pair[1]


# ---- the one path that every face takes --------------------------------------------------------------------------


def run_operation(
    operation: Operation, name: str, entries: Sequence[Entry], draws: Sequence[Params | None]
) -> list[Any]:
    """Apply an operation to the keys of a call and leave a record on each.

    Args:
        operation: the array instance.
        name: the face's class name, for the record.
        entries: the keys that are present, the first gives the reference grid.
        draws: parameters, one a sample (one in all unless the entries are batched), None where it is skipped.

    Returns:
        The results in the order of the entries, each of the kind that came in.
    """
    samples = [s for s, p in enumerate(draws) if p is not None]
    params = [p for p in draws if p is not None]
    extra: list[dict[str, Any]] = [{"uid": operation.uid} for _ in draws]
    plan = None
    if samples and entries:
        for entry in entries:
            operation.check(entry.tensor, entry.name)
        share_affines(entries)
        reference = [entries[0].grid(s) for s in samples]
        plan = operation.plan(params, reference, entries[0].tensor.device)
        figures = operation.figures(plan)
        for position, s in enumerate(samples):
            extra[s]["params"] = params[position]
            extra[s]["grid"] = plain_grid(reference[position])
            if figures:
                extra[s]["figures"] = figures[position]
    results = []
    for entry in entries:
        out = entry.tensor
        if samples:
            view = entry.view(samples)
            out = operation.apply(entry.batch(samples), params, plan, view).to(entry.out_dtype)
            if not entry.batched:
                out = out[0]
            elif len(samples) < len(draws):
                whole = entry.tensor.to(entry.out_dtype, copy=True)
                whole[samples] = out
                out = whole
        elif out.dtype != entry.out_dtype:
            out = out.to(entry.out_dtype)
        result = restored(out, entry.data)
        if isinstance(result, MetaTensor) and operation.tracing and get_track_meta():
            records = []
            for s, p in enumerate(draws):
                info = {**extra[s], "key": entry.index}
                if operation.geometric and entry.mode is not None:
                    info |= {"mode": entry.mode, "padding": entry.padding}
                records.append(new_record(name, p is not None, entry.shape, info))
            push_batch_records(result, records) if entry.batched else push_record(result, records[0])
        results.append(result)
    return results


def share_affines(entries: Sequence[Entry]) -> None:
    """A key without an affine takes that of the first key of equal shape."""
    for entry in entries:
        entry.affine = affine_of(entry.data)
    for entry in entries:
        if entry.affine is None:
            entry.affine = next((e.affine for e in entries if e.affine is not None and e.shape == entry.shape), None)


def plain_grid(grid: VoxelGrid) -> dict[str, Any]:
    """A grid as plain values for the trace; without an affine it has none."""
    plain: dict[str, Any] = {"shape": list(grid.shape)}
    if grid.affine is not None:
        plain["affine"] = [list(row) for row in grid.affine]
    return plain


def apply_record(
    record: dict[str, Any], tensor: torch.Tensor, grid: VoxelGrid, inverse: bool = False, **changes: Any
) -> torch.Tensor:
    """Run a record on a plain image (C, ...): its class and numbers are all there is to know.

    Args:
        record: one of ours, with ``do_transforms``.
        tensor: the image; its type is kept for masks, else it is computed and returned as `Operation` says.
        grid: the image's grid.
        inverse: undo instead; possible for geometric operations.
        changes: ``mode``, ``padding`` or ``index`` instead of the recorded ones.

    Raises:
        ValueError: the record names no operation of this package.
    """
    extra = record["extra_info"]
    cls = REGISTRY.get(record["class"])
    if cls is None:
        raise ValueError(f"record names {record['class']!r}, which is no operation of monai_medaug")
    params = [{**extra["params"], **extra.get("figures", {})}]
    reference = [VoxelGrid(tuple(extra["grid"]["shape"]), extra["grid"].get("affine"))]
    view = KeyView(
        changes.get("index", extra.get("key", 0)),
        [grid],
        changes.get("mode", extra.get("mode", "bilinear")),
        changes.get("padding", extra.get("padding", "border")),
    )
    mask = cls.geometric and view.mode == "nearest"
    x = tensor if mask else tensor.to(computing_dtype(tensor.dtype))
    plan = cls.plan(params, reference, tensor.device, inverse=inverse)
    out = cls.apply(x[None], params, plan, view)[0]
    return out.to(tensor.dtype if mask else image_dtype(tensor.dtype))


def invert_entry(operation: Operation, data: Any, name: str) -> Any:
    """Undo the operation's last record on one MetaTensor, given as a new object."""
    if not isinstance(data, MetaTensor):
        if operation.geometric:
            raise ValueError(f"{name} must be a MetaTensor to be inverted, got {type(data).__name__}: it has no trace")
        return data
    tensor = plain_tensor(data, name)
    out = with_meta(tensor, data)
    record = pop_record(out, operation.uid)
    if record is None:
        if operation.geometric:
            raise ValueError(f"{name} has no record of this {type(operation).__name__} to invert")
        return out
    if operation.geometric and record["do_transforms"]:
        grid = VoxelGrid(tuple(tensor.shape[1:]), affine_of(data))
        return with_meta(apply_record(record, tensor, grid, inverse=True), out)
    return out
