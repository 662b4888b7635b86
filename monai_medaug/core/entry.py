"""The input of a call: one key's data, further inputs, and their grids."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch
from monai.data.meta_tensor import MetaTensor

from monai_medaug.core.contract import Call, Input, OperationContract, Params
from monai_medaug.core.label_maps import label_count
from monai_medaug.core.tensors import affine_of, image_dtype, plain_tensor, require_finite, say_once
from monai_medaug.functional.geometry.grid import VoxelGrid
from monai_medaug.functional.geometry.outside import BACKGROUNDS, background_values
from monai_medaug.functional.labels import near_whole
from monai_medaug.functional.precision import computing_dtype, samples_at

_SAME_PLACE = 0.25
"""Distance in voxels from which grids of one shape differ: headers round."""
_MASKS = ("mask", "labels")


class Given(NamedTuple):
    """A further input of a call, unchanged."""

    name: str
    data: Any
    key: str = ""
    """The dictionary's key, for the record; empty in an array call."""


@dataclass
class Entry:
    """One key's data in a call.

    Attributes:
        data: array, Tensor or MetaTensor.
        name: for error messages.
        index: position among the transform's keys.
        mode: interpolation of a geometric operation; ``"nearest"`` marks a mask; else None.
        padding: values outside the image.
        batched: whether there is a batch axis.
        given: further inputs by their declared names.
        settings: constants of this key alone, beside those of the operation.
        accepts_complex: whether complex numbers are allowed.
        loose: whether a MetaTensor with a batch axis may be uncollated; it then gets no record.
    """

    data: Any
    name: str
    index: int = 0
    mode: str | None = None
    padding: str | float = "border"
    batched: bool = False
    given: Mapping[str, Given] = field(default_factory=dict)
    settings: Params = field(default_factory=dict)
    accepts_complex: bool = False
    loose: bool = False
    tensor: torch.Tensor = field(init=False)
    affine: list | None = None
    backgrounds: dict[int, Any] = field(default_factory=dict)
    """What `settle_padding` found to fill in, by sample."""

    def __post_init__(self) -> None:
        self.tensor = plain_tensor(self.data, self.name, self.batched, self.accepts_complex)
        if self.mode == "nearest" and isinstance(self.padding, (int, float)):
            fits = torch.tensor(self.padding, dtype=torch.float64).to(self.tensor.dtype).double().item()
            if fits != self.padding:
                raise ValueError(
                    f"padding_mode must be a value of {self.tensor.dtype} for the mask {self.name}, got {self.padding}"
                )

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(self.tensor.shape[2 if self.batched else 1 :])

    @property
    def channels(self) -> int:
        return int(self.tensor.shape[1 if self.batched else 0])

    @property
    def out_dtype(self) -> torch.dtype:
        return self.tensor.dtype if self.mode == "nearest" else image_dtype(self.tensor.dtype)

    def samples(self, chosen: Sequence[int]) -> torch.Tensor:
        """The chosen samples (B, C, ...) in their own type."""
        x = self.tensor if self.batched else self.tensor[None]
        return samples_at(x, chosen) if len(chosen) < x.shape[0] else x

    def batch(self, chosen: Sequence[int]) -> torch.Tensor:
        """The chosen samples (B, C, ...) in the computing type; masks keep theirs."""
        x = self.samples(chosen)
        return x if self.mode == "nearest" else x.to(computing_dtype(x.dtype)).contiguous()

    def padding_of(self, sample: int) -> Any:
        """What is filled in from outside a sample: a mode, a number, or one for each channel."""
        return self.backgrounds.get(sample, self.padding)

    def grid(self, sample: int) -> VoxelGrid:
        affine = self.affine
        if affine is not None and self.batched and isinstance(affine[0][0], list):  # one per sample
            affine = affine[sample]
        return VoxelGrid(self.shape, affine)


def key_call(entry: Entry, samples: Sequence[int], call: Call) -> Call:
    """The call of one key for some samples."""
    return Call(
        entry.batch(samples),
        call.draws,
        {**call.settings, **entry.settings} if entry.settings else call.settings,
        [entry.grid(s) for s in samples],
        entry.name,
        entry.index,
        entry.mode or "bilinear",
        [entry.padding_of(s) for s in samples],
        resources=call.resources,
        samples=samples,
        out_dtype=entry.out_dtype,
    )


def settle_padding(entries: Sequence[Entry], samples: Sequence[int]) -> None:
    """Find what lies outside each sample where the padding is its background, see `background_values`.

    The first image decides for all keys whether they are filled: images with their own background, masks with 0. Else
    all repeat their borders.
    """
    chosen = [e for e in entries if e.padding in BACKGROUNDS]
    images = [e for e in chosen if e.mode != "nearest"]
    found = [background_values(e.batch(samples), str(e.padding)) for e in images]
    for place, sample in enumerate(samples):
        first = found[0][place] if images else None
        for entry in chosen:
            entry.backgrounds[sample] = "border" if first is None else {**first, "background": [0.0]}
        for entry, outside in zip(images, found, strict=True):
            own = outside[place]
            if first is not None and own is not None:
                entry.backgrounds[sample] = {**first, "background": own["background"]}


def further_inputs(
    cls: type[OperationContract], entry: Entry, samples: Sequence[int], channels: int | None = None
) -> dict[str, Any]:
    """The further inputs of a key for the chosen samples, converted as declared."""
    found = {}
    for name, given in entry.given.items():
        declared = cls.inputs[name]
        if given.data is not None:
            fitting = given.data if declared.kind == "any" else _fitting(declared, given, entry, samples, channels)
            if fitting is not None:
                found[name] = fitting
    return found


def _fitting(
    declared: Input, given: Given, entry: Entry, samples: Sequence[int], channels: int | None
) -> torch.Tensor | None:
    """An image or mask (B, C or 1, *spatial) that goes with a key; None for labels on another grid."""
    what = repr(given.key) if given.key else given.name
    data = given.data
    if declared.kind in _MASKS and getattr(data, "ndim", 0) == entry.tensor.ndim - 1:
        data = data[:, None] if entry.batched else data[None]
    tensor = plain_tensor(data, what, entry.batched, entry.accepts_complex)
    whole = tensor if entry.batched else tensor[None]
    if declared.kind == "labels":
        if tuple(whole.shape[2:]) != tuple(entry.shape):
            say_once(f"{what} lies on another grid than {entry.name}, which is processed without it")
            return None
        channels = whole.shape[1]
    count = channels or entry.channels
    wanted = [len(entry.tensor) if entry.batched else 1, count, *entry.shape]
    if list(whole.shape) not in (wanted, [wanted[0], 1, *wanted[2:]]):
        shown = wanted if entry.batched else wanted[1:]
        raise ValueError(
            f"{what} must have the shape {shown} of {entry.name}, or one channel, as its {given.name}, got "
            f"{list(tensor.shape)}"
        )
    if len(samples) < len(whole):
        whole = samples_at(whole, list(samples))
    whole = whole.to(entry.tensor.device)
    if declared.kind in _MASKS:
        return near_whole(whole) != 0
    require_finite(tensor, what)
    return whole.to(computing_dtype(whole.dtype)).contiguous()


def require_one_batch(entries: Sequence[Entry]) -> None:
    """Raise unless all keys hold the same number of samples and MetaTensors are collated."""
    for entry in entries:
        if isinstance(entry.data, MetaTensor) and not entry.data.is_batch and not entry.loose:
            raise ValueError(f"{entry.name} must be collated by list_data_collate, got a MetaTensor of a single sample")
        if len(entry.tensor) != len(entries[0].tensor):
            raise ValueError(
                f"{entry.name} must have the batch size of {entries[0].name}, {len(entries[0].tensor)}, "
                f"got {len(entry.tensor)}"
            )


def require_one_device(named: Iterable[tuple[str, torch.Tensor]]) -> None:
    """Raise unless tensors lie on one device; the keys are named.

    Example:
        >>> require_one_device([("image", torch.zeros(2)), ("label", torch.zeros(2, device="meta"))])
        Traceback (most recent call last):
        ValueError: keys must lie on one device, got image on cpu and label on meta
    """
    devices = {name: tensor.device for name, tensor in named}
    if len(set(devices.values())) > 1:
        shown = " and ".join(f"{name} on {device}" for name, device in devices.items())
        raise ValueError(f"keys must lie on one device, got {shown}")


def require_one_shape(entries: Sequence[Entry]) -> None:
    """Raise unless all keys have the same spatial shape, to be joined along the channels."""
    for entry in entries:
        if entry.shape != entries[0].shape:
            raise ValueError(
                f"{entry.name} must have the spatial shape of {entries[0].name}, {entries[0].shape}, to be joined with "
                f"it along the channels, got {entry.shape}"
            )


def require_inputs(cls: type[OperationContract], entry: Entry) -> None:
    """Raise unless the inputs that the operation can't do without were given."""
    for name, declared in cls.inputs.items():
        if declared.required and name not in entry.given:
            raise ValueError(f"{cls.__name__} needs {name}: {declared.doc}")


def share_affines(entries: Sequence[Entry], geometric: bool) -> None:
    """Give a key without an affine that of the first key of equal shape; without any, geometry assumes 1 mm."""
    for entry in entries:
        entry.affine = affine_of(entry.data)
    for entry in entries:
        if entry.affine is None:
            entry.affine = next((e.affine for e in entries if e.affine is not None and e.shape == entry.shape), None)
        if entry.affine is None and geometric:
            say_once("an image has no affine: its voxels count as 1 mm")
        differs = geometric and entry.affine != entries[0].affine and entry.shape == entries[0].shape
        if differs and (entry.grid(0).displaced_from(entries[0].grid(0)) > _SAME_PLACE).any():
            say_once(
                f"{entry.name} has the shape of {entries[0].name} and another affine: each is moved where its own "
                "affine places it"
            )


def has_equal_channels(entry: Entry, sample: int) -> bool:
    """Whether a sample has several channels, all equal."""
    if entry.channels == 1:
        return False
    image = entry.tensor[sample] if entry.batched else entry.tensor
    first = image[0].reshape(-1)
    some = slice(None, None, max(1, len(first) // 1024))
    return all(
        torch.equal(other.reshape(-1)[some], first[some]) and torch.equal(other, image[0]) for other in image[1:]
    )


def say_if_labels(operation: str, entry: Entry) -> None:
    """Notice that an image looks like a label map: few different whole numbers, and neighbours mostly equal."""
    labels = label_count(entry.tensor)
    if labels:
        say_once(
            f"{entry.name} looks like a label map, with {labels} different whole numbers, and {operation} changes "
            "intensities: masks move along, and must not be among the keys of such a step"
        )


def plain_grid(grid: VoxelGrid) -> dict[str, Any]:
    """A grid as plain values for the trace."""
    plain: dict[str, Any] = {"shape": list(grid.shape)}
    if grid.affine is not None:
        plain["affine"] = [list(row) for row in grid.affine]
    return plain


def grid_of(plain: Mapping[str, Any]) -> VoxelGrid:
    """A grid from its plain values.

    Example:
        >>> grid_of({"shape": [4, 5]}).shape
        (4, 5)
    """
    return VoxelGrid(tuple(plain["shape"]), plain.get("affine"))
