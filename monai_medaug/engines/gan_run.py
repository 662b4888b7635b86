"""The state of a GAN's training and its files: checkpoint, weights, history and grids of samples."""

from __future__ import annotations

import json
import math
import os
import pickle
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel

from monai_medaug.functional.generation.grid import image_grid
from monai_medaug.networks.generated import generate_samples
from monai_medaug.networks.weights import UNITS, load_weights, save_weights

GAN_WEIGHTS, GAN_CHECKPOINT, HISTORY, GRIDS = "weights.safetensors", "checkpoint.pt", "history.json", "samples"


@dataclass
class GanRun:
    """What a run must keep to go on, and its files."""

    generator: nn.Module
    discriminator: nn.Module
    average: AveragedModel
    generator_step: torch.optim.Optimizer
    discriminator_step: torch.optim.Optimizer
    folder: Path
    grid_size: int
    seed: int
    history: list[dict[str, float]] = field(default_factory=list)
    losses: list[tuple[float, float]] = field(default_factory=list)
    """Of the steps of this epoch: generator's and discriminator's."""

    def __post_init__(self) -> None:
        (self.folder / GRIDS).mkdir(parents=True, exist_ok=True)

    def parts(self) -> dict[str, Any]:
        names = ("generator", "discriminator", "average", "generator_step", "discriminator_step")
        return {name: getattr(self, name) for name in names}

    def load(self) -> int:
        """The epochs that are done; 0 without a checkpoint."""
        file = self.folder / GAN_CHECKPOINT
        if not file.is_file():
            return 0
        try:
            kept = torch.load(file, map_location="cpu", weights_only=True)
            if kept["value_range"] != getattr(self.generator, UNITS):
                raise ValueError(f"its value_range is {kept['value_range']}")
            for name, part in self.parts().items():
                part.load_state_dict(kept[name])
            self.history = list(kept["history"])
        except (KeyError, RuntimeError, ValueError, EOFError, pickle.UnpicklingError) as error:
            raise ValueError(
                f"output_dir must hold no {GAN_CHECKPOINT}, or one of this training, to resume: {error}"
            ) from error
        return len(self.history)

    def save(self, epoch: int, figures: Mapping[str, float]) -> None:
        """The grid, the weights if they are the best yet, the history, and last the checkpoint, to go on from."""
        row: dict[str, float] = {"epoch": epoch}
        means = torch.tensor(self.losses, dtype=torch.float64).mean(0).tolist()
        row |= {"generator_loss": means[0], "discriminator_loss": means[1]}
        row |= {name: float(value) for name, value in figures.items()}
        averaged = self.average.module
        samples = generate_samples(averaged, self.grid_size, self.seed)
        picture = image_grid(samples, getattr(averaged, UNITS))
        _replaced(self.folder / GRIDS / f"{epoch:04d}.png", lambda file: picture.save(file, "PNG"))
        merit = next(iter(figures), None)
        earlier = [old[merit] for old in self.history if merit in old] if merit else []
        if merit is None or not earlier or row[merit] < min(earlier):
            save_weights(averaged, self.folder / GAN_WEIGHTS)
        self.history.append(row)
        text = json.dumps(
            [{k: v if math.isfinite(v) else None for k, v in old.items()} for old in self.history], indent=1
        )
        _replaced(self.folder / HISTORY, lambda file: file.write_text(text + "\n", encoding="utf-8"))
        states = {name: part.state_dict() for name, part in self.parts().items()}
        kept = {**states, "history": self.history, "value_range": getattr(self.generator, UNITS)}
        _replaced(self.folder / GAN_CHECKPOINT, lambda file: torch.save(kept, file))

    def best_generator(self) -> nn.Module:
        """The averaged generator with the weights that were kept, in evaluation mode."""
        return load_weights(self.average.module, self.folder / GAN_WEIGHTS).eval()


def _replaced(file: Path, write: Callable[[Path], Any]) -> None:
    """Write a file under a temporary name first."""
    temporary = file.with_name(f"{file.name}.part")
    try:
        write(temporary)
        os.replace(temporary, file)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
