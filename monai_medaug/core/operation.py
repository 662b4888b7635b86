"""The array face of an operation: the definition of `core.contract` as a MONAI transform.

- ``Foo(...)(image)``: one draw, the kernel with B = 1;
- the dictionary twin, ``Food(keys, ...)(data)``, see `core.twin`: one draw for all keys;
- the batch face, ``Batched(Foo(...))(batch)``, see `core.batch`: B draws, one kernel call.
"""

from __future__ import annotations

import hashlib
import json
import uuid
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from monai.data.meta_tensor import MetaTensor
from monai.transforms.inverse import InvertibleTransform
from monai.transforms.lazy.functional import apply_pending_transforms
from monai.transforms.traits import RandomizableTrait
from monai.transforms.transform import RandomizableTransform
from monai.utils.enums import TransformBackends
from monai.utils.misc import get_seed

from monai_medaug.core.arguments import flag, interpolation, number, padding
from monai_medaug.core.call import Outcome, apply_record, run_operation
from monai_medaug.core.contract import OperationContract, Params
from monai_medaug.core.entry import Entry, Given, grid_of
from monai_medaug.core.random_state import WatchedRandomState
from monai_medaug.core.tensors import affine_of, plain_tensor, steady_state, with_meta
from monai_medaug.core.trace import last_record, without_record
from monai_medaug.functional.geometry.grid import VoxelGrid


class Operation(OperationContract, InvertibleTransform):
    """Base of the array classes; deterministic unless it derives from `RandomOperation`.

    A result has the kind of the input. MONAI's transforms make a MetaTensor of any array; here an array or Tensor stays
    one, so that code around a call keeps its types, and nobody takes an affine of 1 mm for measured. The price: only a
    MetaTensor carries the trace that `inverse`, `augmentation_report` and `replay` need, and they say so. In a chain,
    MONAI's `LoadImage` or `EnsureType` makes one.
    """

    backend = [TransformBackends.TORCH, TransformBackends.NUMPY]
    abstract = True

    def __init__(self) -> None:
        self.face: tuple = ()
        self._uid = uuid.uuid4().hex if isinstance(self, RandomizableTrait) else None

    @property
    def uid(self) -> str:
        """The name of the instance in its records.

        Equal deterministic instances have the same, in any process: they pickle alike, by which MONAI finds a cached
        result, and undo what the others did. The dictionary twins say in ``face`` what tells them apart.
        """
        if self._uid is None:
            text = json.dumps([type(self).__name__, *self.face, self.settings()])
            self._uid = hashlib.blake2b(text.encode(), digest_size=16).hexdigest()
        return self._uid

    def __getstate__(self) -> Any:
        self._uid = self.uid  # whether it was used before or not
        return steady_state(super().__getstate__())

    def next_params(self, randomize: bool = True) -> Params | None:
        """The draw of the next call, or the last one again; None if it is skipped."""
        return self.draw()

    def batch_params(self, size: int, randomize: bool = True) -> list[Params | None]:
        """The draw of each sample of a batch, or the last one again."""
        return [self.next_params(randomize) for _ in range(size)]

    @property
    def trace_uid(self) -> str | None:
        """The uid for records; None if tracing is off."""
        return self.uid if self.tracing else None

    def entry(
        self,
        data: Any,
        name: str,
        batched: bool = False,
        given: Mapping[str, Given] | None = None,
        mode: str | int | None = None,
        padding_mode: str | float | None = None,
    ) -> Entry:
        """One image as `run_operation` takes it; mode and padding of a geometric one are its own unless given."""
        mode = getattr(self, "mode", "bilinear") if mode is None else interpolation("mode", mode)
        pad = getattr(self, "padding_mode", "border") if padding_mode is None else padding("padding_mode", padding_mode)
        moves = mode if self.geometric else None
        return Entry(data, name, 0, moves, pad, batched, given or {}, accepts_complex=self.accepts_complex)

    def run(self, name: str, entries: Sequence[Entry], draws: Sequence[Params | None]) -> Outcome:
        """Run a call with these draws; ``name`` is the class of the face, for the record. See `run_operation`."""
        return run_operation(
            type(self), name, entries, draws, self.settings(), self.trace_uid, resources=self.resources()
        )

    def __call__(self, img: Any, **inputs: Any) -> Any:
        """Apply to one channel-first image (C, H, W) or (C, D, H, W); further inputs are keyword arguments."""
        return self.apply_to(img, "img", inputs)

    def apply_to(
        self,
        data: Any,
        name: str,
        inputs: Mapping[str, Any],
        randomize: bool = True,
        mode: str | int | None = None,
        padding_mode: str | float | None = None,
    ) -> Any:
        """Apply to one image, or to a batch if `takes_batches`; ``name`` is for error messages."""
        given = self.given_inputs(inputs)
        entry = self.entry(without_pending(data, name), name, self.takes_batches, given, mode, padding_mode)
        draws = self.batch_params(len(entry.tensor), randomize) if self.takes_batches else [self.next_params(randomize)]
        return self.run(type(self).__name__, [entry], draws).results[0]

    def given_inputs(self, inputs: Mapping[str, Any]) -> dict[str, Given]:
        """The further inputs of an array call, checked against the class's declarations."""
        name = type(self).__name__
        unknown = sorted(inputs.keys() - self.inputs.keys())
        if unknown:
            raise TypeError(f"{name} takes {sorted(self.inputs) or 'no further inputs'}, got {', '.join(unknown)}")
        missing = [n for n, declared in self.inputs.items() if declared.required and n not in inputs]
        if missing:
            raise TypeError(f"{name} needs {missing[0]}: {self.inputs[missing[0]].doc}")
        return {
            n: Given(n, v if self.inputs[n].kind == "any" else without_pending(v, n))
            for n, v in inputs.items()
            if v is not None or self.inputs[n].kind == "any"
        }

    def inverse(self, data: Any) -> Any:
        """Undo the last call on this MetaTensor: geometry is inverted; intensities stay and only lose their record."""
        return invert_entry(self, data, "img")


class RandomOperation(Operation, WatchedRandomState, RandomizableTransform):
    """Base of the random array classes: each instance has its own random state."""

    abstract = True
    drawn: Any
    """The draw of the last call; None if it was skipped."""
    strength: float
    """Share of each drawn magnitude that a guard leaves, see `toward_identity`."""
    limit: float
    """The same, as what an image bears already leaves room for."""

    def __init__(self, prob: float) -> None:
        Operation.__init__(self)
        RandomizableTransform.__init__(self, number("prob", prob, 0, 1))
        self.strength = self.limit = 1.0
        self.set_random_state(get_seed())

    def __call__(self, img: Any, randomize: bool = True, **inputs: Any) -> Any:
        """Apply to one channel-first image (C, H, W) or (C, D, H, W); further inputs are keyword arguments.

        With ``randomize=False`` it repeats the last draw, also one that skipped the call.

        Raises:
            RuntimeError: ``randomize=False`` before the first draw.
        """
        return self.apply_to(img, "img", inputs, randomize)

    def next_params(self, randomize: bool = True) -> Params | None:
        if flag("randomize", randomize):
            self.randomize()
        elif not hasattr(self, "drawn"):
            raise RuntimeError(f"{type(self).__name__} has no draw to repeat: call randomize() before randomize=False")
        return self.drawn

    def randomize(self, data: Any = None) -> None:
        """Decide whether to apply, and draw the parameters."""
        self.watch_state()
        super().randomize(None)
        share = self.strength * self.limit
        self.drawn = toward_identity(self.draw(), self.identity, share) if self._do_transform else None


def without_pending(data: Any, name: str) -> Any:
    """The data with its pending lazy operations applied, on a copy: MONAI would clear the caller's list."""
    if not isinstance(data, MetaTensor) or not data.has_pending_operations:
        return data
    return apply_pending_transforms(with_meta(plain_tensor(data, name, accepts_complex=True), data), None)


def toward_identity(params: Params, identity: Params, strength: float) -> Params:
    """Scale a draw toward the identity: identity + strength * (value - identity).

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


def invert_entry(operation: Operation, data: Any, name: str) -> Any:
    """Undo the operation's last record on one MetaTensor and return a new one; on a batch only drop the records."""
    if not isinstance(data, MetaTensor):
        if operation.geometric:
            raise ValueError(
                f"{name} must be a MetaTensor to be inverted, got {type(data).__name__}: it has no trace, which only "
                "calls on MetaTensors leave"
            )
        return data
    out, record = without_record(data, operation.uid), last_record(data, operation.uid)
    if not operation.geometric:
        if operation.changes_grid and record is not None and record["do_transforms"]:
            raise ValueError(f"{name} can't be inverted: {type(operation).__name__} changes the grid")
        return out
    if record is None:
        raise ValueError(f"{name} has no record of this {type(operation).__name__} to invert")
    if not record["do_transforms"]:
        return out
    tensor = plain_tensor(data, name, accepts_complex=operation.accepts_complex)
    grid = VoxelGrid(tuple(tensor.shape[1:]), affine_of(data))
    if operation.changes_grid:
        extra = record["extra_info"]
        grid = grid_of(extra["own_grid"])
        expected = operation.out_grid(grid, extra["params"]).shape
        if tuple(tensor.shape[1:]) != expected:
            raise ValueError(f"{name} must have the spatial shape {expected} to be inverted, got {tensor.shape[1:]}")
        if grid.affine is not None:
            out.affine = torch.tensor(grid.affine, dtype=torch.float64)
    return with_meta(apply_record(record, tensor, grid, inverse=True, resources=operation.resources()), out)
