"""The definition of an operation, apart from the faces that run it, and the `Call` that its kernel receives.

An operation is a class with at most: a constructor, `draw` (random quantities), `settings` (constants), `apply` (the
kernel call), and class attributes for the rest. To add one, write its kernel in ``functional/``, then

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

`apply` is a class method of plain numbers alone, so that inverse and replay need only the record in the trace.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
import torch

from monai_medaug.core.gallery_entry import GalleryEntry
from monai_medaug.core.magnitude import Magnitude
from monai_medaug.core.tensors import require_finite
from monai_medaug.functional.acceleration import sent
from monai_medaug.functional.geometry.grid import VoxelGrid
from monai_medaug.functional.precision import samples_at

Params = dict[str, Any]
REGISTRY: dict[str, type[OperationContract]] = {}
"""Array classes by their own and their twins' names: the only classes that a record may name."""


@dataclass
class Call:
    """The arguments of `OperationContract.apply` besides the image, for one key of a call.

    `OperationContract.plan` gets that of the first key, whose grid is the reference for all.

    Attributes:
        image: of the key, (B, C, *spatial), for type, device and shape.
        draws: one dict per sample.
        settings: the constants of the operation.
        grids: the key's voxel grid, one per sample.
        name: of the key, for error messages.
        index: position among the transform's keys; noise seeds derive from it, so that each key gets its own noise.
        mode: interpolation; ``"nearest"`` marks a mask.
        padding: values outside the image, see `functional.geometry.warp.warp`; a list has one for each sample.
        plan: the result of `OperationContract.plan`.
        samples: the places of these samples in the batch, for inputs of kind ``"any"``, which are of the whole batch.
        inputs: further images or masks by their declared names, as far as given.
        resources: objects that a record cannot hold, such as a network; empty in a replay.
        out_dtype: type of the result.
        inverse: undo instead.
        known: in an inverse or replay, the figures of the forward call, so that nothing is searched again.
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
    padding: Any = "border"
    plan: Any = None
    samples: Sequence[int] = (0,)
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
        """One drawn number of all samples, (B, 1, ...), to broadcast over the batch."""
        return self.spread(self.drawn(name))

    def spread(self, values: Sequence[float]) -> torch.Tensor:
        """One number per sample, (B, 1, ...), to broadcast over the batch."""
        return sent(values, self.image.device, self.image.dtype).reshape(-1, *[1] * (self.image.ndim - 1))

    def seeds(self) -> list[int]:
        """One noise seed per sample for this key, from the drawn ``seed`` and the key's position."""
        return [(draw.get("seed", 0) + 0x9E3779B97F4A7C15 * self.index) % (1 << 63) for draw in self.draws]

    def note(self, figures: Iterable[Params]) -> None:
        """Add figures found in this key's image to its record, one dict per sample."""
        self.notes.extend(figures)

    def of(self, members: Sequence[int]) -> Call:
        """The call of some samples, for kernels that process samples of one kind together."""
        return Call(
            samples_at(self.image, list(members)),
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
        doc: description for the twin's docstring: "a second image of the same shape, ...".
        kind: ``"image"``: real, finite, converted to the computing type; ``"mask"``: converted to bool, True where not
            (nearly) zero; both of the image's shape or of one channel. ``"labels"``: a mask of any number of channels,
            left out with a notice on another grid than the image's. ``"any"``: passed on unchecked and unchanged.
        required: whether a call needs it.
        early: whether its key follows the twin's arguments without a default instead of standing at the end.
    """

    doc: str
    kind: str = "image"
    required: bool = False
    early: bool = False


class OperationContract:
    """The definition of an operation; `core.operation` adds its faces."""

    geometric: ClassVar[bool] = False
    """Whether voxels move: keys have a mode and a padding, points and boxes follow, and the inverse undoes it."""
    permutes: ClassVar[bool] = False
    """Whether voxels only change places: no value is new, the inverse is exact, and few results are possible."""
    modality: ClassVar[str] = ""
    """The modality it models, ``"ct"``, ``"mri"`` or ``"xray"``; empty if it suits any."""
    phrases: ClassVar[Mapping[str, str]] = {}
    """Format strings for figures and the gallery, by the name of a quantity in the record. Others get name and unit."""
    headline: ClassVar[Sequence[str] | None] = None
    """The quantities in the short summary of a figure; None for all that have a phrase."""
    command: ClassVar[str] = ""
    """Its name on the command line, if ``restore`` runs it."""
    gallery: ClassVar[GalleryEntry] = GalleryEntry()
    """Its entry in the gallery."""
    magnitudes: ClassVar[Sequence[Magnitude]] = ()
    """What policies may do with it, each with a strength from 0 to 1; none keeps it out of them."""
    identity: ClassVar[Params] = {}
    """The neutral value of each drawn quantity that `toward_identity` scales; others are never scaled."""
    inputs: ClassVar[Mapping[str, Input]] = {}
    """Declarations of further images, masks and targets, which `apply` and `plan` find in ``call.inputs``."""
    accepts_complex: ClassVar[bool] = False
    """Whether images may be complex."""
    replayable: ClassVar[str] = ""
    """Why a record alone can't repeat it ("it mixed the samples of a batch"); empty if it can."""
    differentiable: ClassVar[bool] = True
    """Whether gradients flow through it; if not, images come out detached."""
    memory: ClassVar[int] = 1
    """Working memory of `apply` beside its result, in images, as far as it grows with the batch. Above 1, large batches
    are processed in pieces, while the plan still covers all samples. Temporary tensors of a size of their own come on
    top: a CT's sinograms without compiled loops up to 16 times `elements_at_once`, 1 GB on a GPU."""
    takes_batches: ClassVar[bool] = False
    """Whether it only works on whole batches, because samples depend on one another or on one run of a network."""
    joins_keys: ClassVar[bool] = False
    """Whether all keys form one input, joined along the channels: a call needs them all, on one grid."""
    plans_by_image: ClassVar[bool] = False
    """Whether `plan` looks at the images (``call.keys``)."""
    mixes_samples: ClassVar[bool] = False
    """Whether a result holds voxels of another sample, so that no verdict on a sample's anatomy holds after it."""
    common_pattern: ClassVar[bool] = False
    """Whether an operation with noise also changes all keys alike."""
    dtypes: ClassVar[tuple[torch.dtype, ...]] = (
        *(torch.float16, torch.bfloat16, torch.float32, torch.float64),
        *(torch.int16, torch.uint16, torch.uint8),
    )
    """Image types for the contract tests."""
    spatial_dims: ClassVar[tuple[int, ...]] = (2, 3)
    """Numbers of spatial axes that it accepts."""
    least_shape: ClassVar[tuple[int, ...]] = ()
    """Fewest voxels along the first spatial axes that it accepts with its example arguments; fewer are a ValueError."""
    reconstructions: ClassVar[int] = 1
    """How many it makes of each slice: its launches on a GPU are as many times those of other operations."""
    searches: ClassVar[bool] = False
    """Whether it searches step by step, so that it launches more on a GPU than others; it still waits as seldom."""
    example_arguments: ClassVar[Params | None] = None
    """Constructor arguments for tests; None takes the defaults, or those of the docstring's example."""
    changes_grid: ClassVar[bool] = False
    """Whether the operation overrides `out_grid`; set automatically."""
    variants: ClassVar[Sequence[Params]] = ({},)
    """Constructor arguments for tests of the forms that draw different quantities."""
    abstract: ClassVar[bool] = True
    """Set on a base class to keep it out of the registry; not inherited."""

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        cls.changes_grid = cls.out_grid.__func__ is not OperationContract.out_grid.__func__  # type: ignore[attr-defined]
        if cls.__dict__.get("abstract", False):
            return
        if cls.geometric and "mode" not in inspect.signature(cls).parameters:
            raise TypeError(f"{cls.__name__} is geometric: its constructor must take mode, by which masks are marked")
        REGISTRY[cls.__name__] = cls

    def draw(self) -> Params:
        """The random quantities of a call: numbers, strings and lists of them."""
        return {}

    def settings(self) -> Params:
        """The constants: numbers, strings and lists of them, under other names than those of `draw`."""
        return {}

    def resources(self) -> dict[str, Any]:
        """Objects that `apply` needs and a record cannot hold, such as a network; `replayable` then says so."""
        return {}

    @property
    def reach(self) -> int | None:
        """Distance in voxels over which a voxel influences others, for slabs and sliding windows; None for any."""
        return None

    @classmethod
    def check(cls, image: torch.Tensor, name: str) -> None:
        """Raise a ValueError with the key's name if the operation does not accept the image."""
        require_finite(image, name)

    @classmethod
    def check_units(cls, image: torch.Tensor, name: str, settings: Params) -> None:
        """Raise a ValueError with the key's name if the values of a sample (C, *spatial) are in another unit.

        Unlike `check` it also runs in skipped calls, so that a wrong image does not stop a training at a random
        iteration; so it must be cheap.
        """

    @classmethod
    def check_batch_units(cls, images: torch.Tensor, name: str, settings: Params) -> None:
        """`check_units` of each sample (N, C, *spatial); a class may look at all at once, to wait for a GPU once."""
        if cls.check_units.__func__ is OperationContract.check_units.__func__:  # type: ignore[attr-defined]
            return
        for image in images:
            cls.check_units(image, name, settings)

    @classmethod
    def plan(cls, call: Call) -> Any:
        """Expensive results that all keys share; may hold tensors and never enters the trace."""
        return None

    @classmethod
    def figures(cls, plan: Any) -> list[Params]:
        """Plain figures of the plan for the trace, one dict per sample."""
        return []

    @classmethod
    def recorded(cls, call: Call, plan: Any) -> Sequence[Params | None]:
        """The parameters in the record of each sample; None where the plan leaves a sample unchanged."""
        return [{**draw, **call.settings} for draw in call.draws]

    @classmethod
    def apply(cls, image: torch.Tensor, call: Call) -> torch.Tensor:
        """The kernel call, on (B, C, *spatial). Never writes to ``image``.

        A result in the image's type is cast to ``call.out_dtype``; one in another type keeps it.
        """
        raise NotImplementedError

    @classmethod
    def out_grid(cls, grid: VoxelGrid, params: Params) -> VoxelGrid:
        """The grid of the result of a sample on ``grid``, from the parameters in its record."""
        return grid

    @classmethod
    def point_map(
        cls, params: Params, known: Params, grid: VoxelGrid, inverse: bool = False
    ) -> Callable[[np.ndarray], np.ndarray]:
        """A function that moves world positions (N, 3) in mm with the anatomy, or back, as a record says.

        Args:
            params: of the record.
            known: its figures.
            grid: its reference grid.
            inverse: move back.
        """
        return lambda world: world

    @classmethod
    def example(cls, spatial_dims: int = 3) -> torch.Tensor:
        """A small image (1, *spatial) that the operation accepts, for tests and galleries."""
        axes = torch.meshgrid(*[torch.linspace(-1, 1, n) for n in (24, 21, 18)[:spatial_dims]], indexing="ij")
        return 100 + 50 * torch.cos(3 * torch.stack([a * (i + 1) for i, a in enumerate(axes)]).sum(0))[None]
