"""What the attacks share: the call, the bounds, the records, and the base of the dictionary classes."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from monai.config import KeysCollection
from monai.data.meta_obj import get_track_meta
from monai.data.meta_tensor import MetaTensor
from monai.transforms.inverse import InvertibleTransform
from monai.transforms.transform import MapTransform, Randomizable
from monai.utils.enums import TransformBackends

from monai_medaug.core.arguments import choice, number, wide_span
from monai_medaug.core.batch import require_one_batch
from monai_medaug.core.call import Entry, Params, plain_grid, share_affines
from monai_medaug.core.tensors import plain_tensor, require_finite, restored, with_meta
from monai_medaug.core.trace import new_record, pop_record, push_batch_records
from monai_medaug.functional.adversarial.ball import (
    ball_samples,
    projected_ascent,
    rounded_toward,
    start_radius,
)
from monai_medaug.functional.adversarial.gradient import (
    Loss,
    LossGradient,
    evaluating,
)

Network = Callable[[torch.Tensor], Any]
_RANGE_TOLERANCE = 1e-3


class NetworkAttack(InvertibleTransform):
    """Base of the attacks: from what came in to results and records; the network comes back as it was."""

    backend = [TransformBackends.TORCH]

    def __init__(self, network: Network, loss: Loss | None) -> None:
        for name, given in (("network", network), ("loss", loss)):
            if not callable(given) and not (name == "loss" and given is None):
                raise TypeError(f"{name} must be callable, got {type(given).__name__}")
        self.network, self.loss = network, loss
        self.uid = uuid.uuid4().hex

    def perturb(
        self, entries: Sequence[Entry], image: torch.Tensor, target: Any, mask: torch.Tensor | None
    ) -> tuple[torch.Tensor, list[Params], list[Params]]:
        """The perturbed batch, and for each sample what was set and drawn, and the figures reached."""
        raise NotImplementedError

    def run(self, name: str, entries: Sequence[Entry], target: Any, mask: Any = None) -> list[Any]:
        """Attack the images, concatenated along the channels, and leave a record on each.

        Args:
            name: the face's class name, for the records.
            entries: batches, one a key.
            target: what the loss compares with.
            mask: where the perturbation may be.

        Raises:
            ValueError: an image is not finite, or shapes don't fit.
        """
        with torch.inference_mode(False), torch.no_grad():
            require_one_batch(entries)
            for entry in entries:
                require_finite(entry.tensor, entry.name)
                if entry.shape != entries[0].shape:
                    raise ValueError(
                        f"{entry.name} must have the spatial shape of {entries[0].name}, {entries[0].shape}, to be "
                        f"joined with it along the channels, got {entry.shape}"
                    )
            share_affines(entries)
            samples = range(len(entries[0].tensor))
            image = torch.cat([e.batch(samples) for e in entries], 1)
            allowed = None if mask is None else _mask_like(image, mask)
            with evaluating(self.network, self.loss):
                out, params, figures = self.perturb(entries, image, _plain_target(target, image.device), allowed)
            grids = [plain_grid(entries[0].grid(s)) for s in samples]
            results, first = [], 0
            for entry in entries:
                last = first + entry.tensor.shape[1]
                part = self.cast(out[:, first:last], image[:, first:last], entry.out_dtype)
                result = restored(part.contiguous(), entry.data)
                if self.tracing and isinstance(result, MetaTensor) and get_track_meta():
                    infos = [
                        {"uid": self.uid, "params": p, "figures": f, "grid": g, "key": entry.index}
                        for p, f, g in zip(params, figures, grids, strict=True)
                    ]
                    push_batch_records(result, [new_record(name, True, entry.shape, i) for i in infos])
                results.append(result)
                first = last
            return results

    def cast(self, out: torch.Tensor, image: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
        """The result in the type in which the image came."""
        return out.to(dtype)

    def inverse(self, data: Any) -> Any:
        """Drop the record of the last call from one sample after ``decollate_batch``; the voxels stay."""
        return self.without_record(data, "image")

    def without_record(self, data: Any, name: str) -> Any:
        """The sample as a new object without this attack's last record."""
        if not isinstance(data, MetaTensor):
            return data
        out = with_meta(plain_tensor(data, name), data)
        pop_record(out, self.uid)
        return out


def _mask_like(image: torch.Tensor, mask: Any) -> torch.Tensor:
    """Where it is not zero, (B, 1 or C, *spatial); a mask (B, *spatial) gets the channel axis."""
    if isinstance(mask, (torch.Tensor, np.ndarray)) and mask.ndim == image.ndim - 1:
        mask = mask[:, None]
    where = plain_tensor(mask, "mask", batch=True).to(image.device) != 0
    wanted = tuple(image.shape)
    if tuple(where.shape) not in (wanted, (wanted[0], 1, *wanted[2:])):
        raise ValueError(f"mask must have the shape {wanted} of the image, or one channel, got {tuple(where.shape)}")
    return where


def _plain_target(target: Any, device: torch.device) -> Any:
    """Arrays and MetaTensors as plain tensors on the image's device, which autograd may keep; others as they are."""
    if isinstance(target, np.ndarray):
        target = torch.from_numpy(target.astype(target.dtype.newbyteorder("=")))
    if isinstance(target, torch.Tensor):
        with torch._C.DisableTorchFunctionSubclass():
            target = target.detach().as_subclass(torch.Tensor).to(device)
        return target.clone() if target.is_inference() else target
    if isinstance(target, (list, tuple)) and any(isinstance(t, (torch.Tensor, np.ndarray)) for t in target):
        return type(target)(_plain_target(t, device) for t in target)
    return target


class BallAttack(NetworkAttack):
    """Base of the attacks whose perturbation lies in a ball round the image and within the valid range."""

    def __init__(
        self,
        network: Network,
        epsilon: float,
        loss: Loss | None,
        value_range: Sequence[float] | None,
        norm: str,
    ) -> None:
        super().__init__(network, loss)
        self.epsilon = number("epsilon", epsilon, 0)
        self.norm = choice("norm", norm, ("linf", "l2"))
        self.value_range = None if value_range is None else wide_span("value_range", value_range)

    def __call__(self, image: Any, target: Any, mask: Any = None) -> Any:
        """Attack a batch (B, C, *spatial), an array, Tensor or collated MetaTensor; returns the same kind.

        Args:
            image: the batch.
            target: of the loss; class ids (B, *spatial) or (B, 1, *spatial) for the default.
            mask: the perturbation is confined to where it is not zero, (B, 1 or C, *spatial).
        """
        return self.run(type(self).__name__, [Entry(image, "image", batched=True)], target, mask)[0]

    def steps(self) -> tuple[float, int]:
        """Size and number of the steps."""
        raise NotImplementedError

    def seeds(self, count: int) -> list[int] | None:
        """One integer a sample for the random start, None without one."""
        return None

    def perturb(
        self, entries: Sequence[Entry], image: torch.Tensor, target: Any, mask: torch.Tensor | None
    ) -> tuple[torch.Tensor, list[Params], list[Params]]:
        size, count = self.steps()
        ends = [self._valid_range(e, image.dtype) for e in entries]
        low, high = (torch.cat(end, 1) for end in zip(*ends, strict=True))
        set_values = {"epsilon": self.epsilon, "norm": self.norm, "step_size": size, "num_steps": count}
        seeds, start = self.seeds(len(image)), None
        params = [set_values | ({"seed": seed} if seeds else {}) for seed in seeds or [0] * len(image)]
        if seeds:
            radius = start_radius(self.epsilon, size, count)
            start = ball_samples(image.shape[1:], seeds, radius, self.norm, image)
            start = start if mask is None else start * mask
        out = image
        if self.epsilon > 0:
            gradient = LossGradient(self.network, target, self.loss)
            out = projected_ascent(
                gradient, image, low, high, self.epsilon, size, count, self.norm, start=start, mask=mask
            )
        figures: list[Params] = [{} for _ in params]
        if self.tracing and get_track_meta() and any(isinstance(e.data, MetaTensor) for e in entries):
            change = (out - image).flatten(1)
            norms = [torch.linalg.vector_norm(change, order, dim=1).tolist() for order in (torch.inf, 2)]
            figures = [{"perturbation_linf": a, "perturbation_l2": b} for a, b in zip(*norms, strict=True)]
        return out, params, figures

    def cast(self, out: torch.Tensor, image: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
        return rounded_toward(out, image, dtype)

    def _valid_range(self, entry: Entry, dtype: torch.dtype) -> tuple[torch.Tensor, torch.Tensor]:
        """Lower and upper end for each channel, (B, C, 1, ...)."""
        tensor = entry.tensor.to(dtype)
        axes = tuple(range(1, tensor.ndim))
        low, high = tensor.amin(axes, keepdim=True), tensor.amax(axes, keepdim=True)
        if self.value_range is not None:
            least, greatest = self.value_range
            slack = _RANGE_TOLERANCE * (greatest - least)
            found = float(low.min()), float(high.max())
            if found[0] < least - slack or found[1] > greatest + slack:
                raise ValueError(
                    f"{entry.name} must lie within value_range {self.value_range}, got values from {found[0]:g} to "
                    f"{found[1]:g}"
                )
            low, high = torch.full_like(low, least), torch.full_like(high, greatest)
        shape = (-1, tensor.shape[1], *[1] * (tensor.ndim - 2))
        return low.expand(shape), high.expand(shape)


class DictionaryAttack(MapTransform, InvertibleTransform):
    """Base of the attacks on a collated batch dictionary; several keys are one input, joined along the channels."""

    def __init__(
        self,
        keys: KeysCollection,
        attack: NetworkAttack,
        target_key: Any,
        mask_key: Any,
        allow_missing_keys: bool,
    ) -> None:
        MapTransform.__init__(self, keys, allow_missing_keys)
        self.attack, self.target_key, self.mask_key = attack, target_key, mask_key

    @property
    def tracing(self) -> bool:
        """Whether calls leave a record: that of the array instance."""
        return self.attack.tracing

    @tracing.setter
    def tracing(self, value: bool) -> None:
        self.attack.tracing = value

    def __call__(self, data: Mapping) -> dict:
        """Attack the keys of a collated batch; returns a new dictionary, the rest passes through."""
        if not isinstance(data, Mapping):
            raise TypeError(f"data must be a dictionary, got {type(data).__name__}")
        needed = [*self.keys, *(k for k in (self.target_key, self.mask_key) if k is not None)]
        missing = [k for k in needed if k not in data]
        if missing and not self.allow_missing_keys:
            raise KeyError(f"key {missing[0]!r} is missing in the data")
        if missing:
            return dict(data)
        entries = [Entry(data[key], repr(key), i, batched=True) for i, key in enumerate(self.keys)]
        target, mask = (None if k is None else data[k] for k in (self.target_key, self.mask_key))
        results = self.attack.run(type(self).__name__, entries, target, mask)
        return {**data, **dict(zip(self.keys, results, strict=True))}

    def inverse(self, data: Mapping) -> dict:
        """Drop the records of the last call from one sample after ``decollate_batch``; the voxels stay."""
        return {k: self.attack.without_record(v, repr(k)) if k in self.keys else v for k, v in data.items()}


class RandomDictionaryAttack(DictionaryAttack, Randomizable):
    """The same for attacks that draw: the random state is that of the array instance."""

    attack: Any

    def set_random_state(
        self, seed: int | None = None, state: np.random.RandomState | None = None
    ) -> RandomDictionaryAttack:
        self.attack.set_random_state(seed, state)
        return self

    @property
    def R(self) -> np.random.RandomState:
        return self.attack.R
