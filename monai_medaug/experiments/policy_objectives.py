"""What a search of policies can maximise: the score of a network trained under one, or of one trained before."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from monai_medaug.core.arguments import choice, flag, number, whole_number
from monai_medaug.experiments.outcomes import MEASURES_OF, TaskLoss
from monai_medaug.experiments.samples import DrawnSamples, cached_items, data_digest, seeded_everywhere, training_chain
from monai_medaug.experiments.strategy import AugmentationStrategy
from monai_medaug.experiments.training import InfiniteLoss, TrainingPlan, evaluated, initial_network, trained_outcomes
from monai_medaug.policies import AugmentationPolicy, PolicyPruned, PolicyTrial

_VALIDATION = "validation"


class PolicyTraining:
    """Train a network under the policy, from the same weights for each, and score it on the validation set.

    The direct objective, and the dearest. The score is that of the last epoch, as in `compare_strategies`: Dice, or the
    area under the ROC curve; each epoch's is reported, so that Hyperband can end what has no prospect.

    Args:
        network: makes the network, such as ``lambda: UNet(2, 1, 2, (8, 16, 32), (2, 2))``.
        training: raw samples, dictionaries.
        validation: the same, of other patients, and not those on which the winner will be judged.
        task: ``"segmentation"`` or ``"classification"``.
        epochs: of each trial.
        batch_size: of training.
        learning_rate: of Adam, constant.
        epoch_length: batches of an epoch; None goes through the samples once.
        load: deterministic dictionary transform, carried out once.
        normalize: dictionary transform of intensities, after the policy.
        loss: of (logits, label); None for the task's usual one.
        image_key: of the images.
        label_key: of masks or classes.
        guard: let a `PreservingCompose` judge each sample; without it give `search_policy` a `PreservationConstraint`.
        inferer: MONAI's, for validation images larger than what the network takes.
        test_batch_size: of validation images; 1 if their sizes differ.
        num_workers: processes that augment.
        device: None for a GPU if there is one.

    Raises:
        ImportError: pytorch-ignite is missing: ``pip install monai-medaug[train]``.
        ValueError: an argument is out of its range.

    Source: E. D. Cubuk et al., AutoAugment: Learning augmentation strategies from data, CVPR 2019.

    Example:
        >>> from monai.networks.nets.unet import UNet
        >>> rng = np.random.default_rng(0)
        >>> masks = [np.pad(np.ones((1, n, 8), np.uint8), ((0, 0), (2, 14 - n), (4, 4))) for n in (5, 6, 7, 8)]
        >>> items = [{"image": m + rng.normal(0, 0.1, m.shape).astype("f"), "label": m} for m in masks]
        >>> score = PolicyTraining(lambda: UNet(2, 1, 2, (4, 8), (2,)), items[:2], items[2:], epochs=1)
        >>> 0 <= score(AugmentationPolicy("xray", [[["gamma", 1, 0.5]]]), PolicyTrial(0, seed=0)) <= 1
        True
    """

    def __init__(
        self,
        network: Callable[[], nn.Module],
        training: Sequence[Mapping],
        validation: Sequence[Mapping],
        task: str = "segmentation",
        epochs: int = 10,
        batch_size: int = 8,
        learning_rate: float = 1e-3,
        epoch_length: int | None = None,
        load: Callable[[Any], Any] | None = None,
        normalize: Callable[[Any], Any] | None = None,
        loss: Callable[[torch.Tensor, torch.Tensor], torch.Tensor] | None = None,
        image_key: str = "image",
        label_key: str = "label",
        guard: bool = False,
        inferer: Any = None,
        test_batch_size: int = 16,
        num_workers: int = 0,
        device: str | torch.device | None = None,
    ) -> None:
        for name, items in (("training", training), ("validation", validation)):
            if not isinstance(items, Sequence) or not items or not all(isinstance(i, Mapping) for i in items):
                raise ValueError(f"{name} must be a list of dictionaries, at least one, got {type(items).__name__}")
        self.task, self.guard = choice("task", task, tuple(MEASURES_OF)), flag("guard", guard)
        self.epochs = whole_number("epochs", epochs, 1)
        self.measure, self.normalize = MEASURES_OF[self.task][0], normalize
        batch_size = whole_number("batch_size", batch_size, 1)
        steps = -(-len(training) // batch_size)
        steps = steps if epoch_length is None else whole_number("epoch_length", epoch_length, 1)
        self.count = len(training) if epoch_length is None else steps * batch_size
        self.loaded, self.validation = cached_items(training, load), cached_items(validation, load)
        self.settings: dict[str, Any] = {
            "kind": type(self).__name__,
            "task": self.task,
            "steps_per_epoch": steps,
            "batch_size": batch_size,
            "learning_rate": number("learning_rate", learning_rate, 1e-12),
            "guard": self.guard,
            "training": data_digest(training),
            "validation": data_digest(validation),
        }
        self.plan = TrainingPlan(
            task=self.task,
            make_network=network,
            loss=TaskLoss(self.task) if loss is None else loss,
            tests={_VALIDATION: cached_items(list(self.validation), normalize)},
            epochs=self.epochs,
            batch_size=batch_size,
            test_batch_size=whole_number("test_batch_size", test_batch_size, 1),
            learning_rate=self.settings["learning_rate"],
            image_key=image_key,
            label_key=label_key,
            device=torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu")),
            inferer=inferer,
            num_workers=whole_number("num_workers", num_workers, 0),
        )

    def __call__(self, policy: AugmentationPolicy, trial: PolicyTrial) -> float:
        """The score on the validation set after the last epoch."""
        with tempfile.TemporaryDirectory() as folder:
            strategy = AugmentationStrategy(self.augmentation(policy))
            try:
                found = self.trained(strategy, trial.seed, Path(folder) / "state.pt", trial)
            except InfiniteLoss:  # a fault of this policy, not of the search
                raise PolicyPruned from None
        return found["history"]["tests"][_VALIDATION][self.measure][-1]

    def augmentation(self, policy: AugmentationPolicy) -> Any:
        """The policy as a transform of raw samples."""
        masks = self.plan.label_key if self.task == "segmentation" else ()
        return policy.to_compose(self.plan.image_key, masks, guard=self.guard)

    def trained(
        self, strategy: AugmentationStrategy, seed: int, checkpoint: Path, trial: PolicyTrial | None = None
    ) -> dict[str, Any]:
        """History and outcomes of a training; the last state is left in the checkpoint.

        Raises:
            PolicyPruned: the trial was not worth going on with.
        """
        pruned: list[PolicyPruned] = []

        def tell(epoch: int, history: Mapping[str, Any]) -> bool:
            try:
                if trial is not None:
                    trial.report(history["tests"][_VALIDATION][self.measure][-1], epoch)
            except PolicyPruned as reason:
                pruned.append(reason)
            return bool(pruned)

        samples = DrawnSamples(self.loaded, training_chain(strategy, self.normalize), seed, self.count)
        with seeded_everywhere(seed):
            found = trained_outcomes(self.plan, samples, strategy.batch, checkpoint, tell)
        if pruned:
            raise pruned[0]
        return found


class DensityMatching(PolicyTraining):
    """Train once without augmentation, then score each policy by what the network makes of validation samples under it.

    A policy whose samples the network still recognises is one whose samples look like the data; a trial costs an
    inference instead of a training. What it can't see is whether they teach anything: doing nothing scores best, and
    only the least probabilities and magnitudes of the search space (0.1) keep the search from it. Judge the result by
    `judge_policies`.

    Args:
        network: makes the network.
        training: raw samples, dictionaries, on which it is trained once.
        validation: other raw samples, which the policies are applied to.
        folder: where the trained network is kept, for other workers and for a search that goes on.
        draws: of each validation sample under each policy; all policies get the same seeds.
        settings: further arguments of `PolicyTraining`.

    Raises:
        ImportError: pytorch-ignite is missing: ``pip install monai-medaug[train]``.
        ValueError: an argument is out of its range, or the folder holds another network.

    Source: S. Lim et al., Fast AutoAugment, NeurIPS 2019.

    Example:
        >>> from monai.networks.nets.unet import UNet
        >>> mask = np.pad(np.ones((1, 6, 8), np.uint8), ((0, 0), (4, 6), (4, 4)))
        >>> items = [{"image": mask * 1.0, "label": mask} for _ in range(4)]
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     score = DensityMatching(lambda: UNet(2, 1, 2, (4, 8), (2,)), items[:2], items[2:], folder, epochs=1)
        ...     0 <= score(AugmentationPolicy("xray", [[["gamma", 1, 0.5]]]), PolicyTrial(0, seed=0)) <= 1
        True
    """

    def __init__(
        self,
        network: Callable[[], nn.Module],
        training: Sequence[Mapping],
        validation: Sequence[Mapping],
        folder: str | Path,
        draws: int = 2,
        **settings: Any,
    ) -> None:
        super().__init__(network, training, validation, **settings)
        self.folder, self.draws = Path(folder), whole_number("draws", draws, 1)
        self.training_epochs, self.epochs = self.epochs, None  # type: ignore[assignment]  # a trial has none
        self.settings |= {"draws": self.draws, "training_epochs": self.training_epochs}
        self._networks: dict[int, nn.Module] = {}

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_networks": {}}  # each process reads it from the folder

    def __call__(self, policy: AugmentationPolicy, trial: PolicyTrial) -> float:
        """The network's score on the validation samples under the policy."""
        chain = training_chain(AugmentationStrategy(self.augmentation(policy)), self.normalize)
        samples = DrawnSamples(self.validation, chain, trial.seed, self.draws * len(self.validation))
        _, outcomes = evaluated(self.plan, self._network(trial.seed), samples)
        return float(outcomes.measures()[self.measure](np.ones((1, len(samples))))[0, 0])

    def _identity(self, seed: int) -> str:
        """A digest of all that the trained network depends on, so that no other one is taken for it."""
        first = training_chain(AugmentationStrategy(), self.normalize)(dict(self.loaded[0]))
        weights = initial_network(self.plan.make_network, seed).state_dict().values()
        told = [{"image": v.float().reshape(1, -1)} for v in weights if v.numel()]
        settings = {
            name: value for name, value in self.settings.items() if name not in ("validation", "draws", "guard")
        }
        return data_digest([*told, {"first": first[self.plan.image_key], "settings": str(settings)}])

    def _network(self, seed: int) -> nn.Module:
        """Trained, or read."""
        if seed not in self._networks:
            self.folder.mkdir(parents=True, exist_ok=True)
            file = self.folder / f"network.{seed}.{self._identity(seed)}.pt"
            self.trained(AugmentationStrategy(), seed, file)
            network = initial_network(self.plan.make_network, seed)
            network.load_state_dict(torch.load(file, map_location="cpu", weights_only=True)["network"])
            self._networks[seed] = network.to(self.plan.device)
        return self._networks[seed]
