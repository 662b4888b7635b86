"""The worst coil field for a network."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from monai.transforms.transform import Randomizable
from monai.utils.misc import get_seed

from monai_medaug.core.arguments import number, whole_number
from monai_medaug.core.contract import Call, Params
from monai_medaug.core.twin import dictionary_twin
from monai_medaug.functional.adversarial.ball import start_radius
from monai_medaug.functional.adversarial.field import bias_field_ascent, times_bias_field
from monai_medaug.functional.adversarial.gradient import Loss, class_probabilities
from monai_medaug.functional.mri.coil import EXPONENTS
from monai_medaug.transforms.adversarial.base import Network, NetworkAttack, attacked_loss, target_input
from monai_medaug.transforms.mri.magnitude import MRImage


@dataclass(frozen=True)
class FoundField:
    """Offset and coefficients of the field's logarithm, and the field's peak to peak, for each sample."""

    rows: list[list[float]]
    peaks: list[float]


class AdversarialBiasField(MRImage, NetworkAttack, Randomizable):
    """Worst smooth coil field for a network, no stronger than a real one.

    ``y = x exp(f - m)`` with a cubic polynomial f of the world position and its mean m over the foreground, as in
    `RandMRIBiasField`; the factor's maximum minus minimum over the foreground is at most ``peak_to_peak``. From a
    random field the coefficients take normalised steps that increase the loss, each followed by scaling to the bound.
    The record holds the coefficients, so that `replay` needs no network. Zeros stay zero; in an image with negative
    values their 0.1th percentile counts as zero, with a notice. The network is treated as by `FGSMAttack`. (The source
    models the field by a B-spline lattice.)

    Args:
        network: a module or another callable of (B, C, *spatial), see `FGSMAttack`.
        peak_to_peak: greatest maximum minus minimum of the factor, in [0, 2]; 0.4 is the 40 % of BrainWeb.
        step_size: change of the field's peak to peak in one step; None takes ``4 peak_to_peak / num_steps``, in total
            twice the greatest distance of two fields, since the projection undoes much of each step.
        num_steps: number of steps, 1 to 1000; each costs a forward and a backward pass.
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

    inputs = {"target": target_input(required=False)}

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

    def __call__(self, image: Any, target: Any = None) -> Any:  # type: ignore[override]
        """Attack a batch (B, C, *spatial), an array, Tensor or collated MetaTensor; returns the same kind.

        Args:
            image: the batch; all channels get the same field.
            target: of the loss. None takes the network's prediction on the image, for images without labels: as class
                probabilities for the default loss, unchanged for another.
        """
        return self.apply_to(image, "image", {"target": target})

    def draw(self) -> Params:
        return {"start_share": self.R.uniform(), "start": [self.R.normal() / sum(e) for e in EXPONENTS]}

    def settings(self) -> Params:
        return {name: getattr(self, name) for name in ("peak_to_peak", "step_size", "num_steps")}

    @classmethod
    def plan(cls, call: Call) -> FoundField | None:
        """The worst field found; None if a record holds it already."""
        if call.known is not None:
            return None
        peak, size, count = (call.settings[n] for n in ("peak_to_peak", "step_size", "num_steps"))
        radius = start_radius(peak, size, count)
        peaks = torch.tensor([share * radius for share in call.drawn("start_share")], dtype=torch.float64)
        start = torch.tensor(call.drawn("start"), dtype=torch.float64)
        with attacked_loss(call) as (image, gradient):
            if gradient.target is None:
                own = gradient.predict(image)
                gradient.target = class_probabilities(own.float()) if gradient.loss is None else own
            found, reached = bias_field_ascent(gradient, image, call.grids, start, peaks, peak, size, count)
        return FoundField(found.tolist(), reached.tolist())

    @classmethod
    def recorded(cls, call: Call, plan: FoundField | None) -> list[Params | None]:
        if plan is None:
            return [*call.draws]
        return [{"log_offset": row[0], "coefficients": row[1:]} for row in plan.rows]

    @classmethod
    def figures(cls, plan: FoundField | None) -> list[Params]:
        return [] if plan is None else [{"peak_to_peak": peak} for peak in plan.peaks]

    @classmethod
    def apply(cls, image: torch.Tensor, call: Call) -> torch.Tensor:
        rows = [[d["log_offset"], *d["coefficients"]] for d in call.draws] if call.plan is None else call.plan.rows
        return times_bias_field(image, rows, call.grids)


AdversarialBiasFieldd = dictionary_twin(AdversarialBiasField)
AdversarialBiasFieldD = AdversarialBiasFieldDict = AdversarialBiasFieldd
