"""Base of the attacks: the network, the target, and the call on a whole batch."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch

from monai_medaug.core.call import Outcome
from monai_medaug.core.contract import Call, Input, Params
from monai_medaug.core.entry import Entry
from monai_medaug.core.operation import Operation
from monai_medaug.core.surroundings import as_the_caller
from monai_medaug.functional.adversarial.gradient import Loss, LossGradient, evaluating

Network = Callable[[torch.Tensor], Any]


class NetworkAttack(Operation):
    """Base of the attacks: the worst case for a network within bounds; the network's state is restored.

    `plan` searches it, on all keys joined along the channels as the network's input.
    """

    abstract = True
    takes_batches = True
    joins_keys = True
    plans_by_image = True

    def __init__(self, network: Network, loss: Loss | None) -> None:
        for name, given in (("network", network), ("loss", loss)):
            if not callable(given) and not (name == "loss" and given is None):
                raise TypeError(f"{name} must be callable, got {type(given).__name__}")
        super().__init__()
        self.network, self.loss = network, loss

    def resources(self) -> dict[str, Any]:
        return {"network": self.network, "loss": self.loss}

    def run(self, name: str, entries: Sequence[Entry], draws: Sequence[Params | None]) -> Outcome:
        with torch.inference_mode(False), torch.no_grad():
            return super().run(name, entries, draws)


class UsersLossGradient(LossGradient):
    """A `LossGradient` whose network and loss run under the caller's autocast and default device."""

    def predict(self, image: torch.Tensor) -> Any:
        with as_the_caller():
            return super().predict(image)

    def _value(self, prediction: Any) -> torch.Tensor:
        with as_the_caller():
            return super()._value(prediction)


@contextmanager
def attacked_loss(call: Call) -> Iterator[tuple[torch.Tensor, LossGradient]]:
    """The joined input of a call and the gradient of its loss, with the network in evaluation mode."""
    network, loss = call.resources["network"], call.resources["loss"]
    with evaluating(network, loss):
        image = torch.cat([key.image for key in call.keys], 1)
        yield image, UsersLossGradient(network, _plain_target(call.inputs.get("target"), image.device), loss)


def target_input(required: bool) -> Input:
    """The declaration of an attack's target."""
    return Input("the target of the loss.", kind="any", required=required, early=True)


def _plain_target(target: Any, device: torch.device) -> Any:
    """Arrays and MetaTensors as plain tensors on the image's device that autograd may keep; other types unchanged."""
    if isinstance(target, np.ndarray):
        target = torch.from_numpy(target.astype(target.dtype.newbyteorder("=")))
    if isinstance(target, torch.Tensor):
        with torch._C.DisableTorchFunctionSubclass():
            target = target.detach().as_subclass(torch.Tensor).to(device)
        return target.clone() if target.is_inference() else target
    if isinstance(target, (list, tuple)) and any(isinstance(t, (torch.Tensor, np.ndarray)) for t in target):
        return type(target)(_plain_target(t, device) for t in target)
    return target
