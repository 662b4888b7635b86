"""Adversarial augmentation on batches: what a given network bears worst, within bounds.

These need a network, a target and a whole batch, so they are no `Operation` with a batch face: the array classes take
``(image, target)``, the dictionary classes a collated batch. Both go one way, `NetworkAttack.run`.
"""

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
from monai.utils.misc import get_seed

from monai_medaug.functional.adversarial import (
    Loss,
    LossGradient,
    ball_samples,
    bias_field_ascent,
    class_probabilities,
    evaluating,
    projected_ascent,
    rounded_toward,
    start_radius,
    times_bias_field,
)
from monai_medaug.functional.mri import EXPONENTS
from monai_medaug.transforms.base import Operation, number, span
from monai_medaug.transforms.batch import require_one_batch
from monai_medaug.transforms.call import REGISTRY, Entry, KeyView, Params, plain_grid, share_affines
from monai_medaug.transforms.mri import MRImage, whole_number
from monai_medaug.transforms.tensors import plain_tensor, require_finite, restored, with_meta
from monai_medaug.transforms.trace import new_record, pop_record, push_batch_records

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
        if norm not in ("linf", "l2"):
            raise ValueError(f"norm must be 'linf' or 'l2', got {norm!r}")
        self.norm = norm
        self.value_range: tuple[float, float] | None = None
        if value_range is not None:
            self.value_range = span("value_range", value_range)
            if self.value_range[0] == self.value_range[1]:
                raise ValueError(f"value_range must be a pair (low, high), got {value_range!r}")

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


class FGSMAttack(BallAttack):
    """Fast gradient sign method: one step of full size up the loss.

    ``x' = clip(x + epsilon sign(dL/dx))``, for the Euclidean norm ``x + epsilon g / |g|``. The network runs in
    evaluation mode meanwhile: the attack is on the function that will be deployed, batch statistics are neither used
    nor updated, dropout is off. Afterwards modes, buffers and gradients are as before. The caller's autocast holds.
    float16 and bfloat16 images come back rounded toward the original.

    Args:
        network: a module or another callable of (B, C, *spatial). Of a plain function, its modules are not known:
            put them into evaluation mode yourself.
        epsilon: greatest change, in the units of the image: of any voxel for ``"linf"``, of a sample's Euclidean norm
            over all voxels and channels for ``"l2"`` (a root mean square change r is ``r * sqrt(C * voxels)``).
        loss: ``loss(prediction, target)``, whatever is to rise, summed if it is no scalar; it sees the prediction in
            float32. None is cross-entropy of logits with class ids, of one channel the binary one.
        value_range: valid values (low, high); None takes each sample's own minimum and maximum, over the channels of
            a key.
        norm: ``"linf"`` or ``"l2"``.

    Raises:
        TypeError: network or loss is not callable.
        ValueError: an argument or the image is out of its range, or there is no gradient.

    Source: I. J. Goodfellow, J. Shlens & C. Szegedy, Explaining and harnessing adversarial examples, ICLR 2015. 0.01
    of a range of 1 is below what a reader sees.

    Example:
        >>> import torch
        >>> network = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 2))
        >>> image = torch.rand(3, 1, 8, 8)
        >>> attacked = FGSMAttack(network, epsilon=0.01, value_range=(0, 1))(image, torch.tensor([0, 1, 1]))
        >>> round(float((attacked - image).abs().max()), 4)
        0.01
    """

    def __init__(
        self,
        network: Network,
        epsilon: float = 0.01,
        loss: Loss | None = None,
        value_range: Sequence[float] | None = None,
        norm: str = "linf",
    ) -> None:
        super().__init__(network, epsilon, loss, value_range, norm)

    def steps(self) -> tuple[float, int]:
        return self.epsilon, 1


class PGDAttack(BallAttack, Randomizable):
    """Projected gradient descent on the negative loss: small steps up, each clipped to the ball and the valid range.

    ``x' = P(x + step_size sign(dL/dx))``, for the Euclidean norm ``P(x + step_size g / |g|)``, from a random start. The
    start is uniform in a ball of radius ``num_steps * step_size - epsilon``, at most epsilon: so the steps can reach
    every point of the ball from every start. A start in the whole ball, as in the source, would be noise that few
    steps can't undo: a larger epsilon would make a weaker attack. Where the steps don't reach the ball's border
    (``num_steps * step_size <= epsilon``) the attack begins at the image and is deterministic. The network is treated
    as by `FGSMAttack`.

    Args:
        network: a module or another callable of (B, C, *spatial), see `FGSMAttack`.
        epsilon: greatest change, in the units of the image, see `FGSMAttack`.
        step_size: of one step, in the same units and norm.
        num_steps: how many steps, 1 to 1000; each costs a forward and a backward pass.
        norm: ``"linf"`` or ``"l2"``.
        loss: ``loss(prediction, target)``, None for cross-entropy, see `FGSMAttack`.
        value_range: valid values (low, high), None for each sample's own.
        random_start: whether to begin at a random point.

    Raises:
        TypeError: network or loss is not callable.
        ValueError: an argument or the image is out of its range, or there is no gradient.

    Source: A. Madry et al., Towards deep learning models resistant to adversarial attacks, ICLR 2018.

    Example:
        >>> import torch
        >>> network = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 2))
        >>> attack = PGDAttack(network, value_range=(0, 1)).set_random_state(0)
        >>> image = torch.rand(3, 1, 8, 8)
        >>> round(float((attack(image, torch.tensor([0, 1, 1])) - image).abs().max()), 4)
        0.01
    """

    def __init__(
        self,
        network: Network,
        epsilon: float = 0.01,
        step_size: float = 0.003,
        num_steps: int = 5,
        norm: str = "linf",
        loss: Loss | None = None,
        value_range: Sequence[float] | None = None,
        random_start: bool = True,
    ) -> None:
        super().__init__(network, epsilon, loss, value_range, norm)
        self.step_size = number("step_size", step_size, 0)
        self.num_steps = whole_number("num_steps", num_steps, 1, 1000)
        self.random_start = bool(random_start)
        self.set_random_state(get_seed())

    def steps(self) -> tuple[float, int]:
        return self.step_size, self.num_steps

    def seeds(self, count: int) -> list[int] | None:
        return [int(self.R.randint(2**31 - 1)) for _ in range(count)] if self.random_start else None


class AdversarialBiasField(NetworkAttack, Randomizable):
    """The smooth coil field that the network bears worst, no stronger than a real one.

    ``y = x exp(f - m)`` with a cubic polynomial f in the world's mm, as in `RandMRIBiasField`: m is its mean over the
    foreground, where the factor has the geometric mean 1; the factor's maximum minus minimum over the foreground is at
    most ``peak_to_peak``. From a random field the coefficients go up the loss in normalised steps, after each of which
    the field is scaled back to the bound. The record holds the coefficients, so that `replay` needs no network. Zeros
    stay zero; where there are negative values the minimum counts as zero, with a warning. The network is treated as by
    `FGSMAttack`. (The source has a B-spline lattice for the field.)

    Args:
        network: a module or another callable of (B, C, *spatial), see `FGSMAttack`.
        peak_to_peak: greatest maximum minus minimum of the factor, in [0, 2]; 0.4 is the 40 % of BrainWeb.
        step_size: change of the field's peak to peak in one step; None is ``4 peak_to_peak / num_steps``, twice what
            it takes from any field to any other: the projection takes much of a step back.
        num_steps: how many steps, 1 to 1000; each costs a forward and a backward pass.
        loss: ``loss(prediction, target)``, None for cross-entropy, see `FGSMAttack`.

    Raises:
        TypeError: network or loss is not callable.
        ValueError: an argument is out of its range, the image is not finite, or there is no gradient.

    Source: C. Chen et al., Enhancing MR image segmentation with realistic adversarial data augmentation, Med. Image
    Anal. 2022; D. L. Collins et al., IEEE Trans. Med. Imaging 1998, for the range.

    Example:
        >>> import torch
        >>> network = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 2))
        >>> attack = AdversarialBiasField(network, peak_to_peak=0.3).set_random_state(0)
        >>> field = attack(torch.ones(2, 1, 8, 8), torch.tensor([0, 1]))
        >>> round(float((field.amax((1, 2, 3)) - field.amin((1, 2, 3))).max()), 4)
        0.3
    """

    def __init__(
        self,
        network: Network,
        peak_to_peak: float = 0.4,
        step_size: float | None = None,
        num_steps: int = 5,
        loss: Loss | None = None,
    ) -> None:
        super().__init__(network, loss)
        self.peak_to_peak = number("peak_to_peak", peak_to_peak, 0, 2)
        self.num_steps = whole_number("num_steps", num_steps, 1, 1000)
        given = 4 * self.peak_to_peak / self.num_steps if step_size is None else step_size
        self.step_size = number("step_size", given, 0)
        self.set_random_state(get_seed())

    def __call__(self, image: Any, target: Any = None) -> Any:
        """Attack a batch (B, C, *spatial), an array, Tensor or collated MetaTensor; returns the same kind.

        Args:
            image: the batch; all channels get the same field.
            target: of the loss. None is the network's own prediction on the image, for images without labels: as class
                probabilities for the default loss, as it is for another.
        """
        return self.run(type(self).__name__, [Entry(image, "image", batched=True)], target)[0]

    def perturb(
        self, entries: Sequence[Entry], image: torch.Tensor, target: Any, mask: torch.Tensor | None
    ) -> tuple[torch.Tensor, list[Params], list[Params]]:
        for entry in entries:
            MRImage.check(entry.tensor, entry.name)
        grids = [entries[0].grid(s) for s in range(len(image))]
        draws = [(self.R.uniform(), [self.R.normal() / sum(e) for e in EXPONENTS]) for _ in grids]
        radius = start_radius(self.peak_to_peak, self.step_size, self.num_steps)
        peaks = torch.tensor([share * radius for share, _ in draws], dtype=torch.float64)
        start = torch.tensor([terms for _, terms in draws], dtype=torch.float64)
        gradient = LossGradient(self.network, target, self.loss)
        if target is None:
            own = gradient.predict(image)
            gradient.target = class_probabilities(own.float()) if self.loss is None else own
        found, reached = bias_field_ascent(
            gradient, image, grids, start, peaks, self.peak_to_peak, self.step_size, self.num_steps
        )
        params = [{"log_offset": row[0], "coefficients": row[1:]} for row in found.tolist()]
        figures = [{"peak_to_peak": p} for p in reached.tolist()]
        return _BiasFieldRecord.apply(image, params, None, KeyView(0, grids)), params, figures


# ---- records -------------------------------------------------------------------------------------------------


class _BallRecord(Operation):
    """Perturbation along the gradient of a network's loss."""

    abstract = True

    @classmethod
    def check(cls, image: torch.Tensor, name: str) -> None:
        raise ValueError(
            f"{name}: an attack along a network's gradient can't be replayed from its record, which doesn't hold the "
            "network: run the attack again"
        )


class _BiasFieldRecord(MRImage, Operation):
    """Smooth multiplicative shading of the receive coil, chosen against a network."""

    abstract = True

    @classmethod
    def apply(cls, image: torch.Tensor, params: Sequence[Params], plan: Any, view: KeyView) -> torch.Tensor:
        return times_bias_field(image, [[p["log_offset"], *p["coefficients"]] for p in params], view.grids)


# ---- dictionary classes --------------------------------------------------------------------------------------


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


class FGSMAttackd(DictionaryAttack):
    """Dictionary version of `FGSMAttack`, on a collated batch.

    Args:
        keys: the network's input: one key, or several that are joined along the channels in this order.
        network: a module or another callable of (B, C, *spatial).
        target_key: key of the target.
        epsilon: greatest change, in the units of the image.
        loss: ``loss(prediction, target)``, None for cross-entropy.
        value_range: valid values (low, high), None for each sample's own, key by key.
        norm: ``"linf"`` or ``"l2"``.
        mask_key: key of a mask to which the perturbation is confined.
        allow_missing_keys: pass on a batch that lacks any of these keys instead of raising a KeyError.

    Example:
        >>> import torch
        >>> network = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 2))
        >>> batch = {"image": torch.rand(3, 1, 8, 8), "label": torch.tensor([0, 1, 1])}
        >>> out = FGSMAttackd("image", network, "label", value_range=(0, 1))(batch)
        >>> round(float((out["image"] - batch["image"]).abs().max()), 4)
        0.01
    """

    def __init__(
        self,
        keys: KeysCollection,
        network: Network,
        target_key: Any,
        epsilon: float = 0.01,
        loss: Loss | None = None,
        value_range: Sequence[float] | None = None,
        norm: str = "linf",
        mask_key: Any = None,
        allow_missing_keys: bool = False,
    ) -> None:
        attack = FGSMAttack(network, epsilon, loss, value_range, norm)
        super().__init__(keys, attack, target_key, mask_key, allow_missing_keys)


class PGDAttackd(RandomDictionaryAttack):
    """Dictionary version of `PGDAttack`, on a collated batch.

    Args:
        keys: the network's input: one key, or several that are joined along the channels in this order.
        network: a module or another callable of (B, C, *spatial).
        target_key: key of the target.
        epsilon: greatest change, in the units of the image.
        step_size: of one step.
        num_steps: how many steps.
        norm: ``"linf"`` or ``"l2"``.
        loss: ``loss(prediction, target)``, None for cross-entropy.
        value_range: valid values (low, high), None for each sample's own, key by key.
        random_start: whether to begin at a random point.
        mask_key: key of a mask to which the perturbation is confined.
        allow_missing_keys: pass on a batch that lacks any of these keys instead of raising a KeyError.

    Example:
        >>> import torch
        >>> network = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 2))
        >>> batch = {"image": torch.rand(3, 1, 8, 8), "label": torch.tensor([0, 1, 1])}
        >>> out = PGDAttackd("image", network, "label", value_range=(0, 1)).set_random_state(0)(batch)
        >>> round(float((out["image"] - batch["image"]).abs().max()), 4)
        0.01
    """

    def __init__(
        self,
        keys: KeysCollection,
        network: Network,
        target_key: Any,
        epsilon: float = 0.01,
        step_size: float = 0.003,
        num_steps: int = 5,
        norm: str = "linf",
        loss: Loss | None = None,
        value_range: Sequence[float] | None = None,
        random_start: bool = True,
        mask_key: Any = None,
        allow_missing_keys: bool = False,
    ) -> None:
        attack = PGDAttack(network, epsilon, step_size, num_steps, norm, loss, value_range, random_start)
        super().__init__(keys, attack, target_key, mask_key, allow_missing_keys)


class AdversarialBiasFieldd(RandomDictionaryAttack):
    """Dictionary version of `AdversarialBiasField`, on a collated batch; all keys get the same field.

    Args:
        keys: the network's input: one key, or several that are joined along the channels in this order.
        network: a module or another callable of (B, C, *spatial).
        target_key: key of the target, None for the network's own prediction.
        peak_to_peak: greatest maximum minus minimum of the factor over the foreground, in [0, 2].
        step_size: change of the field's peak to peak in one step, None for ``4 peak_to_peak / num_steps``.
        num_steps: how many steps.
        loss: ``loss(prediction, target)``, None for cross-entropy.
        allow_missing_keys: pass on a batch that lacks any of these keys instead of raising a KeyError.

    Example:
        >>> import torch
        >>> network = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 2))
        >>> field = AdversarialBiasFieldd("image", network)({"image": torch.ones(2, 1, 8, 8)})["image"]
        >>> bool((field.amax((1, 2, 3)) - field.amin((1, 2, 3)) < 0.4001).all())
        True
    """

    def __init__(
        self,
        keys: KeysCollection,
        network: Network,
        target_key: Any = None,
        peak_to_peak: float = 0.4,
        step_size: float | None = None,
        num_steps: int = 5,
        loss: Loss | None = None,
        allow_missing_keys: bool = False,
    ) -> None:
        attack = AdversarialBiasField(network, peak_to_peak, step_size, num_steps, loss)
        super().__init__(keys, attack, target_key, None, allow_missing_keys)


FGSMAttackD = FGSMAttackDict = FGSMAttackd
PGDAttackD = PGDAttackDict = PGDAttackd
AdversarialBiasFieldD = AdversarialBiasFieldDict = AdversarialBiasFieldd
REGISTRY |= dict.fromkeys(("FGSMAttack", "FGSMAttackd", "PGDAttack", "PGDAttackd"), _BallRecord)
REGISTRY |= dict.fromkeys(("AdversarialBiasField", "AdversarialBiasFieldd"), _BiasFieldRecord)
