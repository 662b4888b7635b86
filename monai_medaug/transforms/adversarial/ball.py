"""Adversarial augmentation on batches: what a given network bears worst, within bounds.

These need a network, a target and a whole batch, so they are no `Operation` with a batch face: the array classes take
``(image, target)``, the dictionary classes a collated batch. Both go one way, `NetworkAttack.run`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from monai.config import KeysCollection
from monai.transforms.transform import Randomizable
from monai.utils.misc import get_seed

from monai_medaug.core.arguments import flag, number, whole_number
from monai_medaug.core.call import REGISTRY, Entry, KeyView, Params
from monai_medaug.core.operation import Operation
from monai_medaug.functional.adversarial.ball import (
    start_radius,
)
from monai_medaug.functional.adversarial.field import (
    bias_field_ascent,
    times_bias_field,
)
from monai_medaug.functional.adversarial.gradient import (
    Loss,
    LossGradient,
    class_probabilities,
)
from monai_medaug.functional.mri.coil import EXPONENTS
from monai_medaug.transforms.adversarial.base import (
    BallAttack,
    DictionaryAttack,
    Network,
    NetworkAttack,
    RandomDictionaryAttack,
)
from monai_medaug.transforms.mri.coil import MRImage


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
        self.random_start = flag("random_start", random_start)
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
