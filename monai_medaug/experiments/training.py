"""One training under one strategy with one seed, by MONAI's engines, which goes on where it was killed."""

from __future__ import annotations

import os
import pickle
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from monai.data.dataloader import DataLoader
from monai.data.meta_tensor import MetaTensor
from torch import nn

from monai_medaug.core.seeded import seed_children
from monai_medaug.experiments.outcomes import SetOutcomes, case_outcomes, finite_or_none
from monai_medaug.experiments.samples import DrawnSamples, seeded_everywhere


class InfiniteLoss(ValueError):
    """A training whose loss is not finite."""


@dataclass(frozen=True)
class TrainingPlan:
    """What all runs of a comparison have in common.

    Attributes:
        task: ``"segmentation"`` or ``"classification"``.
        make_network: makes the network, with weights drawn from torch's generator.
        loss: of (prediction, target).
        tests: by name, datasets of samples as the network takes them.
        epochs: of every run.
        batch_size: of training.
        test_batch_size: of the test sets.
        learning_rate: of Adam.
        image_key: of the images.
        label_key: of masks or classes.
        device: to train on.
        inferer: MONAI's, for the test sets; None calls the network.
        num_workers: of the training loader.
    """

    task: str
    make_network: Callable[[], nn.Module]
    loss: Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
    tests: Mapping[str, Any]
    epochs: int
    batch_size: int
    test_batch_size: int
    learning_rate: float
    image_key: str
    label_key: str
    device: torch.device
    inferer: Any
    num_workers: int


def initial_network(make_network: Callable[[], nn.Module], seed: int) -> nn.Module:
    """A network with the weights that a seed gives, the same under every strategy.

    Raises:
        TypeError: what came out is no network.
    """
    with seeded_everywhere(seed):
        network = make_network()
    if not isinstance(network, nn.Module):
        raise TypeError(f"network must make a torch.nn.Module, got {type(network).__name__}")
    return network


def trained_outcomes(
    plan: TrainingPlan,
    samples: DrawnSamples,
    batch_step: Any,
    checkpoint: Path,
    told: Callable[[int, Mapping[str, Any]], Any],
) -> dict[str, Any]:
    """Train, evaluate after every epoch, and return the history and the outcomes after the last.

    Args:
        plan: what all runs have in common.
        samples: of the run, which carry its seed.
        batch_step: transform of a collated batch, or None.
        checkpoint: file that holds the state after each epoch; removed by the caller.
        told: is told each epoch's number and the history so far; ends the training there if it returns True.

    Raises:
        InfiniteLoss: the loss is not finite.
    """
    from ignite.engine import Events
    from monai.engines.trainer import SupervisedTrainer

    network = initial_network(plan.make_network, samples.seed).to(plan.device)
    optimizer = torch.optim.Adam(network.parameters(), plan.learning_rate)
    history, done = _resumed(checkpoint, network, optimizer)
    last: dict[str, SetOutcomes] = {}
    stopped = any(told(epoch, _history_until(history, epoch)) is True for epoch in range(1, done + 1))
    if done < plan.epochs and not stopped:
        loader = DataLoader(samples, plan.num_workers, batch_size=plan.batch_size, worker_init_fn=_keep_draws)
        trainer = SupervisedTrainer(
            device=plan.device,
            max_epochs=plan.epochs,
            train_data_loader=loader,
            network=network,
            optimizer=optimizer,
            loss_function=plan.loss,
            prepare_batch=_Prepared(plan, batch_step),
            decollate=False,
        )
        trainer.state.epoch, trainer.state.iteration = done, done * len(loader)
        losses: list[float] = []

        @trainer.on(Events.EPOCH_STARTED)
        def begin(engine: Any) -> None:
            own = samples.seed + 100_003 * engine.state.epoch
            torch.manual_seed(own)  # for layers that draw
            seed_children([batch_step], own)
            samples.set_epoch(engine.state.epoch - 1)
            losses.clear()

        @trainer.on(Events.ITERATION_COMPLETED)
        def count(engine: Any) -> None:
            losses.append(float(engine.state.output["loss"].detach()))
            if not losses[-1] - losses[-1] == 0:
                raise InfiniteLoss(f"loss must be finite, got {losses[-1]}: lower learning_rate, or look at the images")

        @trainer.on(Events.EPOCH_COMPLETED)
        def judge(engine: Any) -> None:
            history["loss"].append(sum(losses) / len(losses))
            for name, test in plan.tests.items():
                loss, last[name] = evaluated(plan, network, test)
                own = history["tests"].setdefault(name, {"loss": []})
                own["loss"].append(loss)
                for measure, figure in last[name].measures().items():
                    ones = torch.ones(1, len(test)).numpy()
                    own.setdefault(measure, []).append(finite_or_none(figure(ones)[0, 0]))
            _save(checkpoint, network, optimizer, history)
            if told(engine.state.epoch, history) is True:
                engine.terminate()

        trainer.run()
    for name in plan.tests.keys() - last.keys():  # it was killed after its last epoch
        last[name] = evaluated(plan, network, plan.tests[name])[1]
    outcomes = {name: {"values": own.values[0].tolist(), "truth": own.truth.tolist()} for name, own in last.items()}
    return {"history": history, "outcomes": outcomes}


def evaluated(plan: TrainingPlan, network: nn.Module, test: Any) -> tuple[float, SetOutcomes]:
    """The mean loss on a test set and each case's outcome, by MONAI's evaluator."""
    import numpy as np
    from ignite.engine import Events
    from monai.engines.evaluator import SupervisedEvaluator
    from monai.inferers.inferer import SimpleInferer

    values: list[Any] = []
    truth: list[Any] = []
    losses: list[float] = []
    evaluator = SupervisedEvaluator(
        device=plan.device,
        val_data_loader=DataLoader(test, batch_size=plan.test_batch_size),
        network=network,
        inferer=plan.inferer or SimpleInferer(),
        prepare_batch=_Prepared(plan, None),
        decollate=False,
    )

    @evaluator.on(Events.ITERATION_COMPLETED)
    def keep(engine: Any) -> None:
        prediction, target = (_without_meta(engine.state.output[key]) for key in ("pred", "label"))
        rows, classes = case_outcomes(plan.task, prediction, target)
        losses.append(float(plan.loss(prediction, target).detach()) * len(rows))
        values.extend(rows)
        truth.extend(classes)

    evaluator.run()
    return sum(losses) / len(values), SetOutcomes(np.array([values]), np.array(truth, dtype=int))


def _history_until(history: Mapping[str, Any], epoch: int) -> dict[str, Any]:
    """The history as it was after an epoch."""
    tests = {name: {key: figures[:epoch] for key, figures in own.items()} for name, own in history["tests"].items()}
    return {"loss": history["loss"][:epoch], "tests": tests}


class _Prepared:
    """A batch's images and labels, on the device, after the transform of whole batches."""

    def __init__(self, plan: TrainingPlan, batch_step: Any) -> None:
        self.plan, self.batch_step = plan, batch_step

    def __call__(self, batchdata: Any, device: Any = None, non_blocking: bool = False, **kwargs: Any) -> tuple:
        batch = batchdata if self.batch_step is None else self.batch_step(batchdata)
        image, label = (
            torch.as_tensor(_without_meta(batch[key])) for key in (self.plan.image_key, self.plan.label_key)
        )
        return image.to(device, torch.float32), label.to(device)


def _without_meta(value: Any) -> Any:
    return value.as_tensor() if isinstance(value, MetaTensor) else value


def _keep_draws(worker: int) -> None:
    """MONAI would seed the transforms of each worker: here each sample does."""


def _save(file: Path, network: nn.Module, optimizer: torch.optim.Optimizer, history: dict) -> None:
    temporary = file.with_name(f"{file.name}.{os.getpid()}.part")
    try:
        torch.save(
            {"network": network.state_dict(), "optimizer": optimizer.state_dict(), "history": history}, temporary
        )
        os.replace(temporary, file)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def _resumed(file: Path, network: nn.Module, optimizer: torch.optim.Optimizer) -> tuple[dict[str, Any], int]:
    """The history of what is done, with the weights that go with it; from the start without a usable checkpoint."""
    if file.is_file():
        try:
            kept = torch.load(file, map_location="cpu", weights_only=True)
            network.load_state_dict(kept["network"])
            optimizer.load_state_dict(kept["optimizer"])
            return kept["history"], len(kept["history"]["loss"])
        except (KeyError, RuntimeError, ValueError, EOFError, pickle.UnpicklingError) as error:
            raise ValueError(
                f"out_dir must hold no checkpoint of another training, got a {file.name} that does not fit: remove it"
            ) from error
    return {"loss": [], "tests": {}}, 0
