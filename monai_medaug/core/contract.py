"""What an operation gives, apart from the faces that run it, and the `Call` that its kernel is told of.

An operation is a class with at most: a constructor, `draw` (what is random), `settings` (what is constant), `apply`
(the kernel call), and class attributes that say the rest. To add one, write its kernel in ``functional/``, then

    class RandGain(RandomOperation):
        '''What it models, formula, units, source, example.'''

        identity = {"factor": 1.0}

        def __init__(self, factor=(0.9, 1.1), prob=1.0):
            super().__init__(prob)
            self.factor = span("factor", factor)

        def draw(self):
            return {"factor": self.R.uniform(*self.factor)}

        @classmethod
        def apply(cls, image, call):
            return gain(image, call.column("factor"))

    RandGaind = dictionary_twin(RandGain)
    RandGainD = RandGainDict = RandGaind

`apply` is a class method of plain numbers alone, so that a record in the trace is all that inverse and replay need.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
import torch

from monai_medaug.core.gallery_entry import GalleryEntry
from monai_medaug.core.tensors import require_finite
from monai_medaug.functional.geometry.grid import VoxelGrid

Params = dict[str, Any]
REGISTRY: dict[str, type[OperationContract]] = {}
"""Array classes by their names and those of their twins: all that a record may name."""


@dataclass
class Call:
    """What `OperationContract.apply` may know besides the image, for one key of a call.

    In `OperationContract.plan` it is that of the first key, whose grid is the reference for all.

    Attributes:
        image: of the key, (B, C, *spatial), for type, device and shape.
        draws: what was drawn, one dict a sample.
        settings: the constants of the operation.
        grids: the key's voxel grid, one a sample.
        name: of the key, for error messages.
        index: position among the transform's keys; noise seeds derive from it, so that no two keys share a field.
        mode: interpolation; ``"nearest"`` marks a mask.
        padding: what lies outside, see `functional.geometry.warp.warp`.
        plan: what `OperationContract.plan` returned.
        inputs: the further images or masks that the operation declares, where they were given.
        resources: what no record can hold, such as a network; empty where a record is replayed.
        out_dtype: the type in which the result goes back.
        inverse: undo instead.
        known: the figures of the forward call where it is undone or replayed: nothing is searched again.
        keys: the calls of all keys, for a plan that looks at their images (`OperationContract.plans_by_image`).
        notes: figures of this key for its record, see `note`.
    """

    image: torch.Tensor
    draws: Sequence[Params]
    settings: Params
    grids: Sequence[VoxelGrid]
    name: str = "image"
    index: int = 0
    mode: str = "bilinear"
    padding: str | float = "border"
    plan: Any = None
    inputs: Mapping[str, Any] = field(default_factory=dict)
    resources: Mapping[str, Any] = field(default_factory=dict)
    out_dtype: torch.dtype = torch.float32
    inverse: bool = False
    known: Sequence[Params] | None = None
    keys: Sequence[Call] = ()
    notes: list[Params] = field(default_factory=list)

    def drawn(self, name: str) -> list[Any]:
        """One drawn quantity of all samples."""
        return [draw[name] for draw in self.draws]

    def column(self, name: str) -> torch.Tensor:
        """One drawn number of all samples as a tensor (B, 1, ...) that broadcasts over the batch."""
        return self.spread(self.drawn(name))

    def spread(self, values: Sequence[float]) -> torch.Tensor:
        """One number a sample as a tensor (B, 1, ...) that broadcasts over the batch."""
        return self.image.new_tensor(values).reshape(-1, *[1] * (self.image.ndim - 1))

    def seeds(self) -> list[int]:
        """One noise seed a sample for this key, from the drawn ``seed`` and the key's position."""
        return [(draw.get("seed", 0) + 0x9E3779B97F4A7C15 * self.index) % (1 << 63) for draw in self.draws]

    def note(self, figures: Iterable[Params]) -> None:
        """Add figures that were found in this key's image to its record, one dict a sample."""
        self.notes.extend(figures)

    def of(self, members: Sequence[int]) -> Call:
        """The call of some of the samples, for kernels that take samples of one kind together."""
        return Call(
            self.image[list(members)],
            [self.draws[i] for i in members],
            self.settings,
            [self.grids[i] for i in members],
            index=self.index,
        )


@dataclass(frozen=True)
class Input:
    """A further image, mask or target of an operation, named in `OperationContract.inputs`.

    The array face takes it by this name, the dictionary twin by the key in ``<name>_key``.

    Attributes:
        doc: what it is, for the twin's docstring: "a second image of the same shape, ...".
        kind: ``"image"``: real, finite, in the type to compute in; ``"mask"``: where it is not zero, bool; both of the
            image's shape or of one channel. ``"any"``: whatever it is, handed on as it came.
        required: whether a call needs it.
        early: whether the twin takes its key right after the arguments without a default, not at the end.
    """

    doc: str
    kind: str = "image"
    required: bool = False
    early: bool = False


class OperationContract:
    """What an operation defines; `core.operation` gives it its faces."""

    geometric: ClassVar[bool] = False
    """Whether voxels move: keys have a mode and a padding, the inverse undoes it, points and boxes follow."""
    modality: ClassVar[str] = ""
    """The modality it models, ``"ct"``, ``"mri"`` or ``"xray"``; empty where it suits any."""
    phrases: ClassVar[Mapping[str, str]] = {}
    """How reports and figures say a drawn quantity or a figure of the plan: format strings by its name."""
    headline: ClassVar[Sequence[str] | None] = None
    """The quantities in the short summary of a figure; None for all that have a phrase."""
    gallery: ClassVar[GalleryEntry] = GalleryEntry()
    """What the gallery shows of it."""
    identity: ClassVar[Params] = {}
    """The value of each drawn quantity that does nothing. Quantities without one are never scaled."""
    inputs: ClassVar[Mapping[str, Input]] = {}
    """Further images, masks and targets by name, which `apply` and `plan` find in ``call.inputs``."""
    accepts_complex: ClassVar[bool] = False
    """Whether images may be complex; else they are refused."""
    replayable: ClassVar[str] = ""
    """Why a record alone can't repeat it, in words ("it mixed the samples of a batch"); empty where it can."""
    differentiable: ClassVar[bool] = True
    """Whether gradients may flow through it; where not, an image comes out detached."""
    memory: ClassVar[int] = 1
    """Working memory of `apply` beside its result, in images. Above 1 large batches are taken in pieces, and `apply`
    can't count on the plan, which is of all samples."""
    takes_batches: ClassVar[bool] = False
    """Whether it works on whole batches alone, because samples need one another or a network is asked once for all."""
    joins_keys: ClassVar[bool] = False
    """Whether all keys are one input, joined along the channels: a call needs them all, on one grid."""
    plans_by_image: ClassVar[bool] = False
    """Whether `plan` looks at the images (``call.keys``)."""
    mixes_samples: ClassVar[bool] = False
    """Whether a result holds voxels of another sample: no verdict on a sample's anatomy holds after it."""
    common_pattern: ClassVar[bool] = False
    """Whether an operation with noise also does something that is alike for all keys."""
    dtypes: ClassVar[tuple[torch.dtype, ...]] = (
        *(torch.float16, torch.bfloat16, torch.float32, torch.float64),
        *(torch.int16, torch.uint16, torch.uint8),
    )
    """The types that the contract tests feed it besides `example`; narrower where an operation needs it."""
    spatial_dims: ClassVar[tuple[int, ...]] = (2, 3)
    """Of the images that it takes."""
    example_arguments: ClassVar[Params | None] = None
    """Constructor arguments for tests; None takes the defaults, or those of the docstring's example."""
    changes_grid: ClassVar[bool] = False
    """Whether `out_grid` is the operation's own; set by itself."""
    variants: ClassVar[Sequence[Params]] = ({},)
    """Constructor arguments of its forms, where they draw different quantities, for tests."""
    abstract: ClassVar[bool] = True
    """Set on a base class that is no operation itself; not inherited."""

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        cls.changes_grid = cls.out_grid.__func__ is not OperationContract.out_grid.__func__  # type: ignore[attr-defined]
        if not cls.__dict__.get("abstract", False):
            REGISTRY[cls.__name__] = cls

    def draw(self) -> Params:
        """What is random in a call: numbers, strings and lists of them."""
        return {}

    def settings(self) -> Params:
        """What is constant: numbers, strings and lists of them, under other names than those of `draw`."""
        return {}

    def resources(self) -> dict[str, Any]:
        """What `apply` needs and no record can hold, such as a network; `replayable` then says so."""
        return {}

    @property
    def reach(self) -> int | None:
        """How many voxels away a voxel may influence another, for slabs and sliding windows; None for any distance."""
        return None

    @classmethod
    def check(cls, image: torch.Tensor, name: str) -> None:
        """Raise a ValueError that names the key if the image is not one for this operation."""
        require_finite(image, name)

    @classmethod
    def plan(cls, call: Call) -> Any:
        """What all keys share and what is dear to compute; may hold tensors, never enters the trace."""
        return None

    @classmethod
    def figures(cls, plan: Any) -> list[Params]:
        """Plain figures of the plan for the trace, one dict a sample."""
        return []

    @classmethod
    def recorded(cls, call: Call, plan: Any) -> Sequence[Params | None]:
        """What the record of each sample holds as its parameters; None where the plan left a sample as it was."""
        return [{**draw, **call.settings} for draw in call.draws]

    @classmethod
    def apply(cls, image: torch.Tensor, call: Call) -> torch.Tensor:
        """The kernel call, on (B, C, *spatial). Never writes to ``image``.

        A result in the image's type is cast to ``call.out_dtype``; one in another type stays in that.
        """
        raise NotImplementedError

    @classmethod
    def out_grid(cls, grid: VoxelGrid, params: Params) -> VoxelGrid:
        """The grid of the result of a sample on ``grid``, by what its record holds; the same where it stays."""
        return grid

    @classmethod
    def move_points(
        cls, params: Params, known: Params, grid: VoxelGrid, world: np.ndarray, inverse: bool
    ) -> np.ndarray:
        """World positions (N, 3) moved as the anatomy on the reference grid, or back, by a record's numbers."""
        return world

    @classmethod
    def example(cls, spatial_dims: int = 3) -> torch.Tensor:
        """A small image (1, *spatial) that the operation accepts, for tests and galleries."""
        axes = torch.meshgrid(*[torch.linspace(-1, 1, n) for n in (24, 21, 18)[:spatial_dims]], indexing="ij")
        return 100 + 50 * torch.cos(3 * torch.stack([a * (i + 1) for i, a in enumerate(axes)]).sum(0))[None]
