"""Weights as data: safetensors files, and weights of a 2D net as a start for a 3D one."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TypeVar

import torch
from torch import nn

Net = TypeVar("Net", bound=nn.Module)
UNITS = "value_range"
"""Attribute of a network that tells `NetworkRestore` its units."""


def save_weights(network: nn.Module, file: str | Path, half: bool = False) -> None:
    """Write the weights of a network as safetensors, under a temporary name first.

    An attribute ``value_range`` of the network, see `NetworkRestore`, is kept with them.

    Args:
        network: whose ``state_dict`` is written.
        file: path, ending in ``.safetensors``.
        half: in half precision; integers keep their type.

    Raises:
        ValueError: the file's name ends otherwise.
    """
    from safetensors.torch import save

    path = Path(file)
    if path.suffix != ".safetensors":
        raise ValueError(f"file must end in .safetensors, got {path.name!r}")
    state = {
        name: (value.half() if half and value.is_floating_point() else value).detach().cpu().contiguous()
        for name, value in network.state_dict().items()
    }
    units = getattr(network, UNITS, None)
    data = save(state, None if units is None else {UNITS: json.dumps(units)})
    temporary = path.with_name(f"{path.name}.part")
    try:
        temporary.write_bytes(data)
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def load_weights(network: Net, file: str | Path) -> Net:
    """Put the weights of a file into a network, which is returned.

    A file is data: a ``.safetensors`` file, or one of ``torch.save`` that holds tensors alone, never code. Half
    precision becomes the network's own. A ``value_range`` that the file holds becomes an attribute of the network.

    Args:
        network: of the same structure.
        file: path; of ``torch.save``, a dict of tensors, or one under ``"state_dict"`` or ``"model"``.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file holds no weights, or those of another network; the network then stays as it was.

    Example:
        >>> import tempfile
        >>> from monai_medaug.networks import DnCNN
        >>> net = DnCNN(num_layers=3, features=4)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     save_weights(net, f"{folder}/net.safetensors")
        ...     type(load_weights(DnCNN(num_layers=3, features=4), f"{folder}/net.safetensors")).__name__
        'DnCNN'
    """
    state = _state_of(Path(file))
    own = network.state_dict()
    missing, unknown = sorted(own.keys() - state.keys()), sorted(state.keys() - own.keys())
    unlike = [n for n in own if n in state and own[n].shape != state[n].shape]
    if missing or unknown or unlike:
        faults = [
            f"{what} {_some(names)}"
            for what, names in (("lacks", missing), ("has besides", unknown), ("has in another shape", unlike))
            if names
        ]
        raise ValueError(
            f"file must hold weights of {type(network).__name__}, {Path(file).name} {' and '.join(faults)}"
        )
    if not all(bool(torch.isfinite(v).all()) for v in state.values() if v.is_floating_point()):
        raise ValueError(f"file must hold finite weights, {Path(file).name} has NaN or infinite ones")
    units = _units_of(Path(file))
    network.load_state_dict(state)
    if units is not None:
        setattr(network, UNITS, units)
    return network


def network_range(value_range: Sequence[float] | str) -> list[float] | str:
    """A ``value_range`` as it is kept: ``"percentile"``, or the two values that are 0 and 1 to a network.

    Raises:
        ValueError: it is neither, or the values don't rise.

    Example:
        >>> network_range((-1024, 1500))
        [-1024.0, 1500.0]
    """
    if value_range == "percentile":
        return "percentile"
    try:
        low, high = (float(v) for v in value_range)
        if isinstance(value_range, str) or not low < high:
            raise ValueError
    except (TypeError, ValueError):
        message = f"value_range must be a pair (low, high), 'percentile' or None, got {value_range!r}"
        raise ValueError(message) from None
    return [low, high]


def _units_of(path: Path) -> list[float] | str | None:
    """The ``value_range`` that a file holds."""
    if path.suffix != ".safetensors":
        return None
    from safetensors import safe_open

    with safe_open(path, "pt") as opened:
        text = (opened.metadata() or {}).get(UNITS)
    try:
        return None if text is None else network_range(json.loads(text))
    except ValueError as error:
        raise ValueError(f"file must hold a valid value_range, {path.name} holds {text!r}") from error


def _state_of(path: Path) -> dict[str, torch.Tensor]:
    if not path.is_file():
        raise FileNotFoundError(f"file must be a file of weights, there is no {path}")
    if path.suffix == ".safetensors":
        from safetensors import SafetensorError
        from safetensors.torch import load_file

        try:
            return load_file(path)
        except SafetensorError as error:
            raise ValueError(f"file must be a safetensors file, {path.name} is none: {error}") from error
    try:
        found = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises many kinds for what is no file of tensors
        raise ValueError(
            f"file must hold tensors alone (torch.save, safetensors), {path.name} doesn't: {error}"
        ) from error
    for key in ("state_dict", "model"):
        if isinstance(found, dict) and isinstance(found.get(key), dict):
            found = found[key]
    if not isinstance(found, dict) or not found or not all(isinstance(v, torch.Tensor) for v in found.values()):
        raise ValueError(f"file must hold a dict of tensors, got {type(found).__name__} in {path.name}")
    return found


def _some(names: list[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def inflate_weights(network: Net, flat: nn.Module) -> Net:
    """Give a 3D net the weights of a 2D net of the same structure, as a start for its training.

    Each kernel becomes the middle of a 3D one along the last axis, so that the 3D net does to each slice what the 2D
    net does. Sub-pixel convolutions repeat the result along the last axis.

    Args:
        network: the 3D net, which is returned.
        flat: the 2D net.

    Raises:
        ValueError: their structures differ.

    Example:
        >>> from monai_medaug.networks import EDSR
        >>> small = {"features": 4, "num_blocks": 1}
        >>> flat, deep = EDSR(2, **small), EDSR(3, **small)
        >>> image = torch.rand(1, 1, 6, 7, 1).expand(-1, -1, -1, -1, 3)
        >>> out = inflate_weights(deep, flat)(image)
        >>> bool(torch.allclose(out[..., 2], flat(image[..., 0]), atol=1e-5))
        True
    """
    given, own = flat.state_dict(), network.state_dict()
    if given.keys() != own.keys():
        raise ValueError(f"flat must have the structure of the 3D {type(network).__name__}, got {type(flat).__name__}")
    new = {}
    for name, value in own.items():
        kernel = given[name]
        if value.ndim == 5 and kernel.ndim == 4:
            repeated = _repeated(kernel, value.shape[0], name)
            new[name] = torch.zeros_like(value)
            new[name][..., value.shape[-1] // 2] = repeated
        else:
            new[name] = _repeated(kernel, value.shape[0], name) if value.ndim else kernel
        if new[name].shape != value.shape:
            raise ValueError(f"flat must have the structure of the 3D net, {name} has shape {tuple(kernel.shape)}")
    network.load_state_dict(new)
    return network


def _repeated(values: torch.Tensor, count: int, name: str) -> torch.Tensor:
    """Values repeated to a count: sub-pixel channels run fastest along the last axis."""
    if count % len(values):
        raise ValueError(f"flat must have the structure of the 3D net, {name} has {len(values)} channels for {count}")
    return values.repeat_interleave(count // len(values), 0)
