"""Attacks within a ball round the image, in one or several steps along the gradient of the loss."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from monai.transforms.transform import Randomizable
from monai.utils.misc import get_seed

from monai_medaug.core.arguments import choice, flag, number, whole_number, wide_span
from monai_medaug.core.contract import Call, Input, Params
from monai_medaug.core.twin import dictionary_twin
from monai_medaug.functional.adversarial.ball import ball_samples, projected_ascent, rounded_toward, start_radius
from monai_medaug.functional.adversarial.gradient import Loss
from monai_medaug.transforms.adversarial.base import Network, NetworkAttack, attacked_loss, target_input

_RANGE_TOLERANCE = 1e-3


@dataclass(frozen=True)
class Perturbation:
    """The joined input before and after the attack, and the attacked parts of the keys."""

    before: torch.Tensor
    after: torch.Tensor
    parts: Sequence[torch.Tensor]


class BallAttack(NetworkAttack):
    """Base of the attacks whose perturbation lies in a ball round the image and within the valid range."""

    abstract = True
    inputs = {
        "target": target_input(required=True),
        "mask": Input("a mask, of the image's shape or of one channel, that confines the perturbation.", "mask"),
    }
    replayable = "its record doesn't hold the network: run the attack again"

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

    def __call__(self, image: Any, target: Any, mask: Any = None) -> Any:  # type: ignore[override]
        """Attack a batch (B, C, *spatial), an array, Tensor or collated MetaTensor; returns the same kind.

        Args:
            image: the batch.
            target: of the loss; class ids (B, *spatial) or (B, 1, *spatial) for the default loss.
            mask: (B, 1 or C, *spatial); the perturbation is confined to its non-zero voxels.
        """
        return self.apply_to(image, "image", {"target": target, "mask": mask})

    @property
    def steps(self) -> tuple[float, int]:
        """Size and number of steps."""
        raise NotImplementedError

    def settings(self) -> Params:
        size, count = self.steps
        constants = {"epsilon": self.epsilon, "norm": self.norm, "step_size": size, "num_steps": count}
        return constants if self.value_range is None else {**constants, "value_range": list(self.value_range)}

    @classmethod
    def plan(cls, call: Call) -> Perturbation:
        epsilon, norm, size, count = (call.settings[n] for n in ("epsilon", "norm", "step_size", "num_steps"))
        ends = [_valid_range(key) for key in call.keys]
        low, high = (torch.cat(end, 1) for end in zip(*ends, strict=True))
        mask = call.inputs.get("mask")
        with attacked_loss(call) as (image, gradient):
            start = None
            if "seed" in call.draws[0]:
                start = ball_samples(
                    image.shape[1:], call.drawn("seed"), start_radius(epsilon, size, count), norm, image
                )
                start = start if mask is None else start * mask
            out = image
            if epsilon > 0:
                out = projected_ascent(gradient, image, low, high, epsilon, size, count, norm, start=start, mask=mask)
            return Perturbation(image, out, out.split([key.image.shape[1] for key in call.keys], 1))

    @classmethod
    def figures(cls, plan: Perturbation) -> list[Params]:
        change = (plan.after - plan.before).flatten(1)
        norms = [torch.linalg.vector_norm(change, order, dim=1).tolist() for order in (torch.inf, 2)]
        return [{"perturbation_linf": a, "perturbation_l2": b} for a, b in zip(*norms, strict=True)]

    @classmethod
    def apply(cls, image: torch.Tensor, call: Call) -> torch.Tensor:
        return rounded_toward(call.plan.parts[call.index], image, call.out_dtype).contiguous()


def _valid_range(key: Call) -> tuple[torch.Tensor, torch.Tensor]:
    """Lower and upper end for each channel of a key, (B, C, 1, ...): ``value_range``, or each sample's own range."""
    axes = tuple(range(1, key.image.ndim))
    low, high = key.image.amin(axes, keepdim=True), key.image.amax(axes, keepdim=True)
    if "value_range" in key.settings:
        least, greatest = key.settings["value_range"]
        slack = _RANGE_TOLERANCE * (greatest - least)
        found = float(low.min()), float(high.max())
        if found[0] < least - slack or found[1] > greatest + slack:
            raise ValueError(
                f"{key.name} must lie within value_range {(least, greatest)}, got values from {found[0]:g} to "
                f"{found[1]:g}"
            )
        low, high = torch.full_like(low, least), torch.full_like(high, greatest)
    shape = (-1, key.image.shape[1], *[1] * (key.image.ndim - 2))
    return low.expand(shape), high.expand(shape)


class FGSMAttack(BallAttack):
    """Fast gradient sign method: one step of full size that increases the loss.

    ``x' = clip(x + epsilon sign(dL/dx))``, or ``x + epsilon g / |g|`` with g = dL/dx for the Euclidean norm. The
    network runs in evaluation mode, as deployed: batch statistics are neither used nor updated, and dropout is off.
    Afterwards its modes, buffers and gradients are restored. The caller's autocast stays in effect. float16 and
    bfloat16 images are rounded toward the original.

    Args:
        network: a module or another callable of (B, C, *spatial). The modules inside a plain function are not found:
            put them into evaluation mode yourself.
        epsilon: greatest change, in the units of the image: of any voxel for ``"linf"``, of a sample's Euclidean norm
            over all voxels and channels for ``"l2"`` (a root mean square change r is ``r * sqrt(C * voxels)``).
        loss: ``loss(prediction, target)`` to increase, summed if not a scalar; the prediction is float32. None takes
            cross-entropy of logits with class ids, binary for one channel.
        value_range: valid values (low, high); None takes each sample's own minimum and maximum, over the channels of
            a key.
        norm: ``"linf"`` or ``"l2"``.

    Raises:
        TypeError: network or loss is not callable.
        ValueError: an argument or the image is out of its range, or there is no gradient.

    Source: I. J. Goodfellow, J. Shlens & C. Szegedy, Explaining and harnessing adversarial examples, ICLR 2015. 0.01
    of a range of 1 is invisible to a reader.

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

    @property
    def steps(self) -> tuple[float, int]:
        return self.epsilon, 1


FGSMAttackd = dictionary_twin(FGSMAttack)
FGSMAttackD = FGSMAttackDict = FGSMAttackd


class PGDAttack(BallAttack, Randomizable):
    """Projected gradient descent on the negative loss, within a ball and the valid range.

    ``x' = P(x + step_size sign(dL/dx))``, or ``P(x + step_size g / |g|)`` with g = dL/dx for the Euclidean norm, where
    P projects to the ball and the valid range. The start is uniform in a ball of radius ``num_steps * step_size -
    epsilon``, at most epsilon, from which the steps can reach every point of the ball. A start anywhere in the ball, as
    in the source, is noise that few steps can't undo, so that a larger epsilon could weaken the attack. With
    ``num_steps * step_size <= epsilon`` the attack starts at the image and is deterministic. The network is treated as
    by `FGSMAttack`.

    Args:
        network: a module or another callable of (B, C, *spatial), see `FGSMAttack`.
        epsilon: greatest change, in the units of the image, see `FGSMAttack`.
        step_size: size of a step, in the units and norm of epsilon.
        num_steps: number of steps, 1 to 1000; each costs a forward and a backward pass.
        norm: ``"linf"`` or ``"l2"``.
        loss: ``loss(prediction, target)``, None for cross-entropy, see `FGSMAttack`.
        value_range: valid values (low, high), None for each sample's own.
        random_start: whether to start at a random point.

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

    @property
    def steps(self) -> tuple[float, int]:
        return self.step_size, self.num_steps

    def draw(self) -> Params:
        return {"seed": int(self.R.randint(2**31 - 1))} if self.random_start else {}


PGDAttackd = dictionary_twin(PGDAttack)
PGDAttackD = PGDAttackDict = PGDAttackd
