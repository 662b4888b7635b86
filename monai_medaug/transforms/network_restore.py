"""Any restoring network as a transform: units, windows, planes of volumes, scale, and the place in the world."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from monai.inferers.utils import sliding_window_inference

from monai_medaug.core.arguments import flag, interpolation, number, whole_number
from monai_medaug.core.contract import Call, Params
from monai_medaug.core.gallery_entry import GalleryEntry
from monai_medaug.core.operation import Operation
from monai_medaug.core.twin import dictionary_twin
from monai_medaug.functional.adversarial.gradient import evaluating
from monai_medaug.functional.geometry.grid import VoxelGrid
from monai_medaug.functional.geometry.upscale import cubic_resized, nearest_resized
from monai_medaug.functional.mri.signal import FOREGROUND, foreground_level, zero_point
from monai_medaug.functional.noise.level import mad_sigma
from monai_medaug.networks.weights import UNITS, network_range
from monai_medaug.transforms.ct.units import require_hu

_WINDOW = {2: 512, 3: 96}
_OVERLAP = 0.25
_AIR_HU = -500.0  # a range of values that starts below can only be one of HU
_SHOWN = {"_target_": "monai_medaug.bundles.load_pretrained", "name": "ct_sr"}


class NetworkRestore(Operation):
    """A restoring network on whole images: denoising, or super-resolution that stays in place.

    Values are brought to the network's range and back. It runs in evaluation mode, on its own device, in windows that
    overlap by a quarter and are blended by a Gaussian, and each channel by itself if it takes one. A 2D network treats
    a volume slice by slice, across the axis of widest spacing. A network that enlarges keeps the outer corners of the
    field in place in the world: affine and spacing follow, masks (``mode="nearest"``) keep their values, and the
    inverse reduces again; so does MONAI's ``SaveImaged``, to the file's grid, unless it is told ``resample=False``.

    Args:
        network: a module of (N, C, *spatial), such as those of `networks`. One with ``scales`` is called with the scale
            too; one with ``noise_map`` gets the noise level as a further channel.
        value_range: values that are 0 and 1 to the network: a pair, such as (-1024, 3071) in HU, beyond which values
            pass by unchanged, and where it begins below -500 it means HU: other images are refused; ``"percentile"``:
            zero signal and the 99th percentile of the channel, for MR; None: those that the network's weights were
            trained with (its ``value_range``), or else values as they are.
        scale: of the result's size; None takes the network's own ``scale``, or 1.
        strength: share of the change that is made, 0 to 1; of a super-resolution, as against cubic interpolation.
        sigma: noise level in the image's unit for a network with ``noise_map``; None estimates white noise.
        window: voxels of a window along each axis; None takes 512 in 2D and 96 in 3D.
        self_ensemble: average over all mirrored images, 4 or 8 times the time.
        amp: compute in bfloat16 where that is faster.
        mode: ``"bilinear"`` for images, ``"nearest"`` for masks.

    Raises:
        TypeError: the network is no module.
        ValueError: an argument is out of its range, the network takes another number of channels or axes, its result
            has another size than ``scale`` says, or is not finite; an image can't be in HU where the range is.

    Source: R. Timofte et al., Seven ways to improve example-based single image super resolution, CVPR 2016 (the
    self-ensemble).

    Example:
        >>> import torch
        >>> from monai_medaug.networks import MultiScaleSR
        >>> sharpen = NetworkRestore(MultiScaleSR(features=8, num_blocks=1), value_range="percentile", scale=2)
        >>> sharpen(torch.rand(1, 24, 20, 6)).shape
        torch.Size([1, 48, 40, 6])
    """

    geometric = True
    differentiable = False
    replayable = "it ran a network"
    memory = 8
    gallery = GalleryEntry(
        (
            {"network": _SHOWN, "scale": 2, "strength": 0.5},
            {"network": _SHOWN, "scale": 2},
            {"network": _SHOWN, "scale": 2, "self_ensemble": True},
        ),
        remark="The weights have seen this image: their README has figures of other patients.",
        reduced=2,
    )
    example_arguments = {"network": {"_target_": "monai_medaug.networks.MultiScaleSR", "features": 4, "num_blocks": 1}}

    def __init__(
        self,
        network: torch.nn.Module,
        value_range: Sequence[float] | str | None = None,
        scale: float | None = None,
        strength: float = 1.0,
        sigma: float | None = None,
        window: int | None = None,
        self_ensemble: bool = False,
        amp: bool = False,
        mode: str = "bilinear",
    ) -> None:
        super().__init__()
        if not isinstance(network, torch.nn.Module):
            raise TypeError(f"network must be a torch.nn.Module, got {type(network).__name__}")
        kernels = [p for p in network.parameters() if p.ndim > 3]
        if not kernels or kernels[0].ndim not in (4, 5):
            raise ValueError(f"network must have convolutions in 2D or 3D, got {type(network).__name__} without")
        self.network = network
        self.network_dims = kernels[0].ndim - 2
        units = getattr(network, UNITS, None) if value_range is None else value_range
        self.value_range = "as is" if units is None else network_range(units)
        own = getattr(network, "scale", 2 if hasattr(network, "scales") else 1)
        self.scale = number("scale", own if scale is None else scale, 1, 64)
        self.strength = number("strength", strength, 0, 1)
        self.sigma = None if sigma is None else number("sigma", sigma, 0)
        self.window = whole_number("window", _WINDOW[self.network_dims] if window is None else window, 8)
        self.self_ensemble, self.amp = flag("self_ensemble", self_ensemble), flag("amp", amp)
        self.mode = interpolation("mode", mode)

    def resources(self) -> dict[str, Any]:
        return {"network": self.network}

    def settings(self) -> Params:
        names = ("value_range", "scale", "strength", "window", "self_ensemble", "amp", "network_dims")
        noise = {"sigma": "estimated" if self.sigma is None else self.sigma} if _has_map(self.network) else {}
        return {**{name: getattr(self, name) for name in names}, **noise, "network": type(self.network).__name__}

    @classmethod
    def out_grid(cls, grid: VoxelGrid, params: Params) -> VoxelGrid:
        if params["scale"] == 1:
            return grid
        across = _across(grid, params)
        return grid.resized([n if a == across else round(n * params["scale"]) for a, n in enumerate(grid.shape)])

    @classmethod
    def apply(cls, image: torch.Tensor, call: Call) -> torch.Tensor:
        own = call.settings
        sizes = {grid.shape if call.inverse else cls.out_grid(grid, own).shape for grid in call.grids}
        if len(sizes) > 1:
            raise ValueError(f"{call.name} must have its slices across one axis in all samples to be enlarged together")
        (size,) = sizes
        if call.mode == "nearest":
            return nearest_resized(image, size)
        if call.inverse:
            return image if size == image.shape[2:] else cubic_resized(image, list(size), True)
        if own["network_dims"] > image.ndim - 2:
            raise ValueError(f"{call.name} must be a volume for a 3D network, got the shape {tuple(image.shape[1:])}")
        if isinstance(own["value_range"], list) and own["value_range"][0] < _AIR_HU:
            for sample in image:
                require_hu(sample, call.name, "its weights were trained in HU")
        low, width = _ends_of_range(image, own["value_range"])
        inside = image.clamp(low, low + width) if isinstance(own["value_range"], list) else image
        scaled = (inside - low) / width
        level = torch.zeros(image.shape[:2])
        if _has_map(call.resources["network"]):
            level = mad_sigma(scaled) if own["sigma"] == "estimated" else own["sigma"] / width.flatten(1)
        across = [_across(grid, own) for grid in call.grids]
        with torch.no_grad(), evaluating(call.resources["network"]):
            if len(set(across)) == 1:
                out = _by_network(scaled, level, across[0], call)
            else:
                parts = zip(scaled.split(1), level.split(1), across, strict=True)
                out = torch.cat([_by_network(x, v, a, call) for x, v, a in parts])
        out = out * width + low
        if not bool(torch.isfinite(out.sum())):
            raise ValueError(f"network must give finite values, and did not for {call.name}")
        plain = inside if size == image.shape[2:] else cubic_resized(inside, list(size))
        return plain.lerp(out, own["strength"]) + nearest_resized(image - inside, size)


NetworkRestored = dictionary_twin(NetworkRestore)
NetworkRestoreD = NetworkRestoreDict = NetworkRestored


def _ends_of_range(image: torch.Tensor, value_range: list[float] | str) -> tuple[torch.Tensor, torch.Tensor]:
    """What is 0 to the network, and how much more is 1, (B, C, 1, ...)."""
    if value_range == "percentile":
        zero = zero_point(image)
        unit = (foreground_level(image, zero) - zero) / FOREGROUND
        return zero, torch.where(unit > 0, unit, 1)
    low, high = (0.0, 1.0) if isinstance(value_range, str) else value_range
    some = image.new_full((*image.shape[:2], *[1] * (image.ndim - 2)), low)
    return some, torch.full_like(some, high - low)


def _across(grid: VoxelGrid, params: Params) -> int | None:
    """The axis across the slices that a 2D network treats one by one; None if it treats the image whole."""
    return grid.slice_axis(1) if params["network_dims"] < len(grid.shape) else None


def _has_map(network: torch.nn.Module) -> bool:
    return bool(getattr(network, "noise_map", False))


def _by_network(images: torch.Tensor, level: torch.Tensor, across: int | None, call: Call) -> torch.Tensor:
    """Images (B, C, *spatial) in the network's range, with the noise levels (B, C) of their channels."""
    network, own = call.resources["network"], call.settings
    planes = images[:, None] if across is None else torch.movedim(images, across + 2, 1)
    shape = planes.shape[:3]  # samples, slices, channels
    taken = next(p for p in network.parameters() if p.ndim > 3).shape[1] - _has_map(network)
    if taken not in (1, shape[2]):
        raise ValueError(f"{call.name} must have {taken} channels for the network, got {shape[2]}")
    stack = planes.reshape(-1, taken, *planes.shape[3:])
    if _has_map(network):
        each = level if taken == 1 else level.mean(1, keepdim=True)
        each = each[:, None].expand(-1, shape[1], -1).reshape(-1, *[1] * (stack.ndim - 1))
        stack = torch.cat([stack, each.to(stack).expand(-1, 1, *stack.shape[2:])], 1)
    out = _in_windows(stack, network, own)
    wanted = [round(n * own["scale"]) for n in stack.shape[2:]]
    if list(out.shape[2:]) != wanted:
        raise ValueError(
            f"scale must be that of the network, got {own['scale']:g} where it makes {tuple(out.shape[2:])} of "
            f"{tuple(stack.shape[2:])}"
        )
    out = out.reshape(*shape, *out.shape[2:])
    return out[:, 0] if across is None else torch.movedim(out, 1, across + 2)


def _in_windows(stack: torch.Tensor, network: torch.nn.Module, own: Params) -> torch.Tensor:
    """The network on a stack (N, C, *spatial): whole where a window holds it, else in blended windows."""
    home = next(network.parameters())
    there = stack.to(home.device, home.dtype)
    axes, scale = tuple(range(2, stack.ndim)), own["scale"]
    if max(stack.shape[2:]) > own["window"] and hasattr(network, "chain"):
        scale = _whole_scale(network, scale)

    def predict(x: torch.Tensor) -> torch.Tensor:
        with torch.autocast(home.device.type, torch.bfloat16, enabled=own["amp"]):
            out = network(x, scale) if hasattr(network, "scales") else network(x)
        return out.to(home.dtype)

    mirrors: list[tuple[int, ...]] = [()]
    if own["self_ensemble"]:
        mirrors = [m for n in range(len(axes) + 1) for m in itertools.combinations(axes, n)]
    run = _windowed(predict, stack.shape[2:], own)
    total: torch.Tensor | None = None
    for mirror in mirrors:
        out = run(there.flip(mirror)).flip(mirror)
        total = out if total is None else total + out
    assert total is not None
    if scale != own["scale"]:
        total = cubic_resized(total, [round(n * own["scale"]) for n in stack.shape[2:]], True)
    return (total / len(mirrors)).to(stack)


def _whole_scale(network: torch.nn.Module, scale: float) -> float:
    """The scale at which windows fit on voxels: the network's own resize would shift each by a part of a voxel."""
    return scale if scale == int(scale) else float(math.prod(network.chain(scale)))  # type: ignore[operator]


def _windowed(
    predict: Callable[[torch.Tensor], torch.Tensor], size: Sequence[int], own: Params
) -> Callable[[torch.Tensor], torch.Tensor]:
    if max(size) <= own["window"]:
        return lambda x: torch.cat([predict(part) for part in x.split(4)])
    roi = [min(own["window"], n) for n in size]
    return lambda x: sliding_window_inference(x, roi, 4, predict, _OVERLAP, "gaussian", padding_mode="replicate")
