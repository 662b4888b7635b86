"""Training of restoration networks by MONAI's trainer: averaged weights, a schedule, and a run that can be resumed."""

from __future__ import annotations

import math
import os
import pickle
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from monai.inferers.inferer import SimpleInferer
from monai.losses.ssim_loss import SSIMLoss
from torch import nn
from torch.optim.swa_utils import AveragedModel

from monai_medaug.core.arguments import flag, number, whole_number
from monai_medaug.core.seeded import seed_children
from monai_medaug.networks.weights import UNITS, network_range, save_weights

WEIGHTS, CHECKPOINT = "weights.safetensors", "checkpoint.pt"


class RestorationLoss(nn.Module):
    """Mean absolute error, and a share of ``1 - SSIM``.

    Voxels whose target is NaN don't count, as those that a blind-spot network can see.

    Args:
        ssim_share: 0 to 1; 0.16 to 0.84 absolute error is usual (H. Zhao et al., IEEE Trans. Comput. Imaging 2017).
        spatial_dims: 2 or 3, for the SSIM.
        value_range: extent of the values, for the SSIM.

    Raises:
        ValueError: an argument is out of its range, or a target of an SSIM has NaN.

    Example:
        >>> target = torch.tensor([[[[1.0, float("nan")]]]])
        >>> RestorationLoss()(torch.tensor([[[[3.0, 9.0]]]]), target)
        tensor(2.)
    """

    def __init__(self, ssim_share: float = 0.0, spatial_dims: int = 2, value_range: float = 1.0) -> None:
        super().__init__()
        self.share = number("ssim_share", ssim_share, 0, 1)
        self.ssim = SSIMLoss(spatial_dims, data_range=number("value_range", value_range, 1e-12))

    def forward(self, prediction: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        counted = ~torch.isnan(target)
        error = torch.where(counted, prediction - target, 0).abs().sum() / counted.sum().clamp_min(1)
        if self.share == 0:
            return error
        if not bool(counted.all()):
            raise ValueError("target must have no NaN for a loss with SSIM, got some")
        return (1 - self.share) * error + self.share * self.ssim(prediction.float(), target.float())


def restoration_trainer(
    network: nn.Module,
    loader: Iterable,
    output_dir: str | Path,
    max_epochs: int = 100,
    learning_rate: float = 1e-3,
    loss: Callable[[torch.Tensor, torch.Tensor], torch.Tensor] | None = None,
    prepare_batch: Callable[..., Any] | None = None,
    validate: Callable[[nn.Module], float] | None = None,
    average_steps: int = 1000,
    value_range: Sequence[float] | str | None = None,
    device: str | torch.device | None = None,
    amp: bool = False,
    seed: int = 0,
    resume: bool = True,
    progress: bool = True,
) -> Any:
    """A MONAI `SupervisedTrainer` for a restoration network, ready to ``run()``.

    Adam, its learning rate along a quarter cosine wave to zero; the moving average of the weights is what is kept.
    After each epoch ``output_dir`` holds ``checkpoint.pt`` and ``weights.safetensors`` (the average; with ``validate``
    the best so far), both written under a temporary name first. Each epoch draws from a seed of its own, so that a run
    that was killed goes on from its last epoch to the same result. In distributed training, set up by the caller as
    ``torchrun`` asks for, the network is wrapped and rank 0 writes.

    Args:
        network: to train.
        loader: of batches with ``"image"`` and ``"label"``, or of what ``prepare_batch`` takes.
        output_dir: folder, made if absent.
        max_epochs: at which it ends.
        learning_rate: of the first step.
        loss: of (prediction, target); None for the mean absolute error.
        prepare_batch: makes input and target of a batch, such as those of `engines`; None takes image and label.
        validate: gives a figure of merit of the averaged network after each epoch, greater for better.
        average_steps: over which the average of the weights reaches back.
        value_range: kept with the weights, for `NetworkRestore`: the units in which the network was trained.
        device: None for a GPU if there is one.
        amp: compute in bfloat16.
        seed: of the draws.
        resume: go on from the checkpoint in ``output_dir`` if there is one.
        progress: show a progress bar.

    Raises:
        ImportError: pytorch-ignite is missing: ``pip install monai-medaug[train]``.
        ValueError: an argument is out of its range, or the checkpoint is that of another network.

    Example:
        >>> import tempfile
        >>> from monai_medaug.networks import DnCNN
        >>> batches = [{"image": torch.rand(2, 1, 16, 16), "label": torch.rand(2, 1, 16, 16)}]
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     net = DnCNN(num_layers=3, features=4)
        ...     trainer = restoration_trainer(net, batches, folder, max_epochs=2, progress=False)
        ...     trainer.run()
        ...     sorted(f.name for f in Path(folder).iterdir())
        ['checkpoint.pt', 'weights.safetensors']
    """
    from ignite.engine import Events
    from ignite.handlers import ProgressBar
    from monai.engines.trainer import SupervisedTrainer
    from monai.engines.utils import PrepareBatchDefault

    epochs, reach = whole_number("max_epochs", max_epochs, 1), whole_number("average_steps", average_steps, 1)
    seed, step = whole_number("seed", seed, 0), number("learning_rate", learning_rate, 0)
    folder = Path(output_dir)
    folder.mkdir(parents=True, exist_ok=True)
    place = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
    distributed = torch.distributed.is_available() and torch.distributed.is_initialized()
    rank = torch.distributed.get_rank() if distributed else 0
    network = network.to(place)
    optimizer = torch.optim.Adam(network.parameters(), step)
    run = _Run(
        network,
        AveragedModel(network, avg_fn=lambda mean, new, steps: mean + (new - mean) * max(1 / reach, 9 / (10 + steps))),
        optimizer,
        torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs),
        folder,
    )
    if value_range is not None:
        setattr(run.average.module, UNITS, network_range(value_range))
    done = run.load() if flag("resume", resume) else 0
    trainer = SupervisedTrainer(
        device=place,
        max_epochs=epochs,
        train_data_loader=loader,
        network=nn.parallel.DistributedDataParallel(network) if distributed else network,
        optimizer=optimizer,
        loss_function=RestorationLoss() if loss is None else loss,
        prepare_batch=PrepareBatchDefault() if prepare_batch is None else prepare_batch,
        inferer=_Inferer(place.type, flag("amp", amp)),
        decollate=False,
    )
    trainer.state.epoch, trainer.state.iteration = done, done * (trainer.state.epoch_length or 0)
    drawing, hook = [getattr(getattr(loader, "dataset", None), "transform", None)], prepare_batch
    while hook is not None:
        drawing += getattr(hook, "drawing", [])
        hook = getattr(hook, "prepare_batch", None)

    @trainer.on(Events.STARTED)
    def end_if_done(engine: Any) -> None:
        if done >= epochs:
            engine.terminate()

    @trainer.on(Events.EPOCH_STARTED)
    def draw_by_epoch(engine: Any) -> None:
        own = seed + 100_003 * engine.state.epoch + rank
        torch.manual_seed(own)
        seed_children(drawing, own)

    @trainer.on(Events.ITERATION_COMPLETED)
    def average(engine: Any) -> None:
        if not torch.isfinite(engine.state.output["loss"]):
            raise ValueError(f"loss must be finite, got {float(engine.state.output['loss'])}: lower learning_rate")
        run.average.update_parameters(network)

    @trainer.on(Events.EPOCH_COMPLETED)
    def keep(engine: Any) -> None:
        run.schedule.step()
        if rank == 0:
            run.save(engine.state.epoch, None if validate is None else validate(run.average.module.eval()))

    if flag("progress", progress) and rank == 0:
        ProgressBar(persist=True).attach(trainer, output_transform=lambda x: {"loss": x["loss"].item()})
    return trainer


class _Inferer(SimpleInferer):
    """The network's call, in bfloat16 if asked for."""

    def __init__(self, kind: str, amp: bool) -> None:
        super().__init__()
        self.kind, self.amp = kind, amp

    def __call__(self, inputs: torch.Tensor, network: Callable[..., torch.Tensor], *args: Any, **kwargs: Any) -> Any:
        with torch.autocast(self.kind, torch.bfloat16, enabled=self.amp):
            return super().__call__(inputs, network, *args, **kwargs).float()


@dataclass
class _Run:
    """What a run must keep to go on, and its files."""

    network: nn.Module
    average: AveragedModel
    optimizer: torch.optim.Optimizer
    schedule: Any
    folder: Path
    best: float = -math.inf

    def parts(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in ("network", "average", "optimizer", "schedule")}

    def load(self) -> int:
        """The epochs that are done; 0 without a checkpoint."""
        file = self.folder / CHECKPOINT
        if not file.is_file():
            return 0
        try:
            kept = torch.load(file, map_location="cpu", weights_only=True)
            for name, part in self.parts().items():
                part.load_state_dict(kept[name])
            self.best, done = float(kept["best"]), int(kept["epoch"])
        except (KeyError, RuntimeError, ValueError, EOFError, pickle.UnpicklingError) as error:
            raise ValueError(
                f"output_dir must hold no {CHECKPOINT}, or one of this training, to resume: {error}"
            ) from error
        return done

    def save(self, epoch: int, score: float | None) -> None:
        """The weights if they are the best yet, then the checkpoint, by which a run goes on."""
        if score is None or score > self.best:
            save_weights(self.average.module, self.folder / WEIGHTS)
            self.best = self.best if score is None else float(score)
        states = {name: part.state_dict() for name, part in self.parts().items()}
        temporary = self.folder / f"{CHECKPOINT}.part"
        try:
            torch.save({**states, "epoch": epoch, "best": self.best}, temporary)
            os.replace(temporary, self.folder / CHECKPOINT)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
