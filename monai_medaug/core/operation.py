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
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
import torch
from monai.data.meta_tensor import MetaTensor
from monai.transforms.inverse import InvertibleTransform
from monai.transforms.lazy.functional import apply_pending_transforms
from monai.transforms.transform import RandomizableTransform
from monai.utils.enums import TransformBackends
from monai.utils.misc import get_seed

from monai_medaug.core.arguments import number
from monai_medaug.core.call import REGISTRY, Entry, KeyView, Params, apply_record, run_operation
from monai_medaug.core.gallery_entry import GalleryEntry
from monai_medaug.core.tensors import affine_of, plain_tensor, require_finite, with_meta
from monai_medaug.core.trace import pop_record
from monai_medaug.functional.geometry.grid import VoxelGrid


class Operation(InvertibleTransform):
    """Base of the array classes; deterministic unless it derives from `RandomOperation`."""

    backend = [TransformBackends.TORCH, TransformBackends.NUMPY]
    geometric: ClassVar[bool] = False
    """Whether voxels move: keys have a mode and a padding, the inverse undoes it, points and boxes follow."""
    dtypes: ClassVar[tuple[torch.dtype, ...]] = (
        *(torch.float16, torch.bfloat16, torch.float32, torch.float64),
        *(torch.int16, torch.uint16, torch.uint8),
    )
    """The types that the contract tests feed it besides `example`; narrower where an operation needs it."""
    abstract: ClassVar[bool] = True
    """Set on a base class that is no operation itself; not inherited."""
    differentiable: ClassVar[bool] = True
    """Whether gradients may flow through it; where not, an image comes out detached."""
    memory: ClassVar[int] = 1
    """Working memory of `apply` beside its result, in images. Above 1 large batches are taken in pieces, and `apply`
    can't count on the plan, which is of all samples."""
    guided: ClassVar[bool] = False
    """Whether the dictionary twin takes ``guide_key``, an image that `apply` finds in its view."""
    common_pattern: ClassVar[bool] = False
    """Whether an operation with noise also does something that is alike for all keys."""
    identity: ClassVar[Params] = {}
    """The value of each drawn quantity that does nothing. Quantities without one are never scaled."""
    modality: ClassVar[str] = ""
    """``"ct"``, ``"mri"`` or ``"xray"`` for an operation of one modality; empty for any."""
    gallery: ClassVar[GalleryEntry] = GalleryEntry()
    """What the gallery shows of it."""
    phrases: ClassVar[Mapping[str, str]] = {}
    """How figures say a drawn quantity or a figure of the plan, as format strings by its name, see `phrase`."""
    headline: ClassVar[Sequence[str] | None] = None
    """The quantities in the short summary of a figure; None for all that have a phrase."""

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if not cls.__dict__.get("abstract", False):
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
        cls,
        params: Sequence[Params],
        reference: Sequence[VoxelGrid],
        device: torch.device,
        known: Sequence[Params] | None = None,
        inverse: bool = False,
    ) -> Any:
        """What all keys share and what is dear to compute; may hold tensors, never enters the trace.

        ``known`` are the figures of the forward call when a record is inverted or replayed: nothing is searched again.
        """
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
    def move_points(
        cls, params: Params, known: Params, grid: VoxelGrid, world: np.ndarray, inverse: bool
    ) -> np.ndarray:
        """World positions (N, 3) moved as the anatomy on the reference grid, or back; for geometric operations."""
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

    @property
    def trace_uid(self) -> str | None:
        """The uid to leave on records, None where tracing is off."""
        return self.uid if self.tracing else None

    def entry(self, data: Any, name: str, batched: bool = False) -> Entry:
        mode = getattr(self, "mode", "bilinear") if self.geometric else None
        return Entry(data, name, 0, mode, getattr(self, "padding_mode", "border"), batched)

    def __call__(self, img: Any) -> Any:
        """Apply to one channel-first image (C, H, W) or (C, D, H, W)."""
        if isinstance(img, MetaTensor) and img.has_pending_operations:
            img = apply_pending_transforms(with_meta(plain_tensor(img, "img"), img), None)
        entries, draws = [self.entry(img, "img")], [self.next_params()]
        return run_operation(type(self), type(self).__name__, entries, draws, self.trace_uid)[0]

    def inverse(self, data: Any) -> Any:
        """Undo the last call on this MetaTensor: geometry is inverted, intensities stay and lose their record."""
        return invert_entry(self, data, "img")


class RandomOperation(Operation, RandomizableTransform):
    """Base of the random array classes: each instance has a random state of its own."""

    abstract = True

    def __init__(self, prob: float) -> None:
        Operation.__init__(self)
        RandomizableTransform.__init__(self, number("prob", prob, 0, 1))
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
