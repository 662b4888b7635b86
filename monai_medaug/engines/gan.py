"""Training of a GAN by MONAI's `GanTrainer`: averaged weights, grids of fixed latents, runs that can be resumed."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from monai.utils.enums import GanKeys
from torch import nn
from torch.optim.swa_utils import AveragedModel

from monai_medaug.core.arguments import flag, number, span, whole_number, wide_span
from monai_medaug.core.seeded import seed_children
from monai_medaug.core.tensors import plain_tensor, require_finite
from monai_medaug.engines.gan_losses import NonSaturatingLosses, Sample
from monai_medaug.engines.gan_run import GanRun
from monai_medaug.networks.generated import in_output_range, sample_labels
from monai_medaug.networks.weights import UNITS

_MEASURED = 8  # batches of latents by which the averaged weights' BatchNorm is measured


def train_gan(
    generator: nn.Module,
    discriminator: nn.Module,
    loader: torch.utils.data.DataLoader,
    output_dir: str | Path,
    max_epochs: int = 100,
    learning_rate: float = 2e-4,
    betas: Sequence[float] = (0.5, 0.999),
    value_range: Sequence[float] = (0.0, 1.0),
    augment: Any = None,
    gradient_penalty: float = 0.0,
    average_steps: int = 1000,
    monitor: Callable[[nn.Module], Mapping[str, float]] | None = None,
    handlers: Sequence[Any] = (),
    image_key: str = "image",
    label_key: str = "label",
    grid_size: int = 64,
    device: str | torch.device | None = None,
    seed: int = 0,
    resume: bool = True,
    progress: bool = True,
) -> nn.Module:
    """Train a generator against a discriminator by MONAI's `GanTrainer`, and return the average of its weights.

    Adam and the non-saturating loss on logits, see `NonSaturatingLosses`. What is kept and returned is the moving
    average of the generator's weights, with BatchNorm statistics measured anew on drawn latents.

    After each epoch ``output_dir`` holds ``weights.safetensors`` (with a ``monitor`` those of the best epoch so far),
    ``checkpoint.pt``, ``history.json`` (losses and the monitor's figures of each epoch) and
    ``samples/0001.png``, … of latents that stay the same; each is written under a temporary name first. Every epoch
    draws from a seed of its own: a run that was killed goes on from its last whole epoch, and on a CPU ends as if it
    had not been.

    A generator trained on patients may show them: check it by `generation_report` before its images or weights leave.

    Args:
        generator: such as `DCGANGenerator`: latents (B, latent_dim), and class ids if it has ``num_classes``, to
            images within [-1, 1]. The average is taken of a copy; this one holds the last step's weights.
        discriminator: such as `DCGANDiscriminator`: images (and class ids) to logits.
        loader: a DataLoader of dictionaries with the images (B, C, *spatial), and class ids (B,) where the networks
            have classes. Batches of 2 and more.
        output_dir: folder, made if absent.
        max_epochs: at which it ends.
        learning_rate: of both networks.
        betas: of Adam.
        value_range: values of the loader's images that are -1 and 1 to the networks; images must lie within. It is kept
            with the weights, so that `generate_samples` returns images in these units.
        augment: what the discriminator sees, such as `discriminator_augmentation()`, for small sets: 350 radiographs of
            64² were memorised without, 4000 of 32² gained nothing by shifts. None for the images as they are.
        gradient_penalty: of the discriminator, 0 for none. Begin at 0.0002 times the pixels of an image by the batch
            size (T. Karras et al., NeurIPS 2020), 0.03 for those 350 in batches of 32. Without, the discriminator had
            won after 900 steps; with 1 it was blind to a mesh of single pixels.
        average_steps: over which the average of the weights reaches back.
        monitor: gives figures of the averaged generator after each epoch, the first the smaller the better, such as
            `GenerationMonitor`; None for none.
        handlers: further handlers of the trainer, objects with ``attach``.
        image_key: of the images.
        label_key: of the class ids.
        grid_size: images of the grid.
        device: None for a GPU if there is one.
        seed: of the draws.
        resume: go on from the checkpoint in ``output_dir`` if there is one.
        progress: show a progress bar.

    Raises:
        ImportError: pytorch-ignite is missing: ``pip install monai-medaug[train]``.
        TypeError: the loader is no DataLoader.
        ValueError: an argument is out of its range, images are not finite, beyond ``value_range``, or all equal, a loss
            is not finite, or the checkpoint is that of another training.

    Source: A. Radford et al., ICLR 2016; I. Goodfellow et al., NeurIPS 2014; T. Karras et al., Progressive growing of
        GANs, ICLR 2018 (averaged weights).

    Example:
        >>> import tempfile
        >>> from monai.data import DataLoader, Dataset
        >>> from monai_medaug.networks import DCGANDiscriminator, DCGANGenerator
        >>> loader = DataLoader(Dataset([{"image": torch.rand(1, 32, 32)} for _ in range(4)]), batch_size=2)
        >>> nets = DCGANGenerator(8, 32, features=16), DCGANDiscriminator(32, features=16)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     trained = train_gan(*nets, loader, folder, max_epochs=2, progress=False)
        ...     sorted(f.name for f in Path(folder).iterdir())
        ['checkpoint.pt', 'history.json', 'samples', 'weights.safetensors']
    """
    from ignite.engine import Events
    from ignite.handlers import ProgressBar
    from monai.engines.trainer import GanTrainer

    epochs, reach = whole_number("max_epochs", max_epochs, 1), whole_number("average_steps", average_steps, 1)
    seed, step = whole_number("seed", seed, 0), number("learning_rate", learning_rate, 0)
    low, high = span("betas", betas, 0, 0.99999)
    require_loader(loader)
    place = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
    generator, discriminator = generator.to(place), discriminator.to(place)
    setattr(generator, UNITS, list(wide_span("value_range", value_range)))
    losses = NonSaturatingLosses(discriminator, augment, gradient_penalty, image_key)
    average = AveragedModel(
        generator, avg_fn=lambda mean, new, steps: mean + (new - mean) * max(1 / reach, 9 / (10 + steps))
    )
    run = GanRun(
        generator,
        discriminator,
        average,
        torch.optim.Adam(generator.parameters(), step, (low, high)),
        torch.optim.Adam(discriminator.parameters(), step, (low, high)),
        Path(output_dir),
        whole_number("grid_size", grid_size, 1, 1024),
        seed,
    )
    done = run.load() if flag("resume", resume) else 0
    batches = GanBatches(generator, image_key, label_key)
    trainer = GanTrainer(
        device=place,
        max_epochs=epochs,
        train_data_loader=loader,
        g_network=generator,
        g_optimizer=run.generator_step,
        g_loss_function=losses.of_generator,
        d_network=discriminator,
        d_optimizer=run.discriminator_step,
        d_loss_function=losses.of_discriminator,
        g_inferer=batches.generated,
        latent_shape=batches.latent_dim,
        d_prepare_batch=batches.reals,
        train_handlers=list(handlers),
        decollate=False,
    )
    trainer.state.epoch, trainer.state.iteration = done, done * len(loader)
    drawing = [getattr(loader.dataset, "transform", None), augment]

    @trainer.on(Events.STARTED)
    def end_if_done(engine: Any) -> None:
        if done >= epochs:
            engine.terminate()

    @trainer.on(Events.EPOCH_STARTED)
    def draw_by_epoch(engine: Any) -> None:
        own = seed + 100_003 * engine.state.epoch
        torch.manual_seed(own)
        seed_children(drawing, own)
        run.losses.clear()

    @trainer.on(Events.ITERATION_COMPLETED)
    def follow(engine: Any) -> None:
        out = engine.state.output
        for name in (GanKeys.GLOSS, GanKeys.DLOSS):
            if not math.isfinite(out[name]):
                raise ValueError(f"{name} must be finite, got {out[name]}: lower learning_rate")
        run.losses.append((out[GanKeys.GLOSS], out[GanKeys.DLOSS]))
        run.average.update_parameters(generator)

    @trainer.on(Events.EPOCH_COMPLETED)
    def keep(engine: Any) -> None:
        measure_norms(run.average.module, loader.batch_size or 2, engine.state.epoch)
        run.save(engine.state.epoch, {} if monitor is None else monitor(run.average.module.eval()))

    if flag("progress", progress):
        shown = {"g_loss": GanKeys.GLOSS, "d_loss": GanKeys.DLOSS}
        ProgressBar(persist=True).attach(trainer, output_transform=lambda x: {n: x[key] for n, key in shown.items()})
    trainer.run()
    return run.best_generator()


class GanBatches:
    """What a `GanTrainer` feeds its networks: images and class ids of a batch, and generated ones.

    Args:
        generator: to know its latents and classes.
        image_key: of the images.
        label_key: of the class ids, for a generator with classes.
    """

    def __init__(self, generator: nn.Module, image_key: str, label_key: str) -> None:
        self.generator, self.image_key, self.label_key = generator, image_key, label_key
        self.classes = int(getattr(generator, "num_classes", 0))
        self.latent_dim = int(generator.latent_dim)  # type: ignore[arg-type]

    def reals(self, batchdata: Any, device: Any = None, non_blocking: bool = False, **kwargs: Any) -> Sample:
        """Images within [-1, 1], with class ids where the networks have classes."""
        keys = [self.image_key, *([self.label_key] if self.classes else [])]
        if not isinstance(batchdata, Mapping) or not set(keys) <= batchdata.keys():
            raise ValueError(f"the loader must give dictionaries with {keys}, got {type(batchdata).__name__}")
        images = plain_tensor(batchdata[self.image_key], self.image_key, batch=True).to(device, torch.float32)
        require_finite(images, self.image_key)
        low, high = self.generator.value_range  # type: ignore[misc]
        least, most, slack = float(images.min()), float(images.max()), 1e-3 * (high - low)
        if least < low - slack or most > high + slack:
            raise ValueError(
                f"{self.image_key!r} must lie within value_range [{low:g}, {high:g}], got [{least:g}, {most:g}]"
            )
        if len(images) > 1 and bool((images == images[:1]).all()):
            raise ValueError(f"{self.image_key!r} must hold different images, got a batch of {len(images)} equal ones")
        images = in_output_range(images, (low, high))
        return (images, torch.as_tensor(batchdata[self.label_key]).to(device).flatten()) if self.classes else images

    def generated(self, latents: torch.Tensor, network: nn.Module) -> Sample:
        """Images of the network, with the drawn class ids."""
        if not self.classes:
            return network(latents)
        labels = torch.randint(self.classes, (len(latents),)).to(latents.device)
        return network(latents, labels), labels


def require_loader(loader: Any) -> None:
    """Raise unless it is a DataLoader with batches of 2 or more, of a set of 2 or more images.

    Raises:
        TypeError: it is no DataLoader.
        ValueError: batches or the set are too small.
    """
    if not isinstance(loader, torch.utils.data.DataLoader):
        raise TypeError(f"loader must be a DataLoader, got {type(loader).__name__}")
    size = len(loader.dataset) if hasattr(loader.dataset, "__len__") else 2
    if size < 2:
        raise ValueError(f"loader must hold 2 images or more, got {size}: there is nothing to learn from one")
    if loader.batch_size is None or loader.batch_size < 2:
        raise ValueError(f"loader must have a batch_size of 2 or more, got {loader.batch_size}")
    if not len(loader):
        raise ValueError(f"loader must give a batch an epoch, got none of {size} images with drop_last")


@torch.no_grad()
def measure_norms(network: nn.Module, batch_size: int, seed: int) -> None:
    """Measure the BatchNorm statistics of a generator anew: those of other weights don't fit an average.

    Args:
        network: a generator, left in evaluation mode.
        batch_size: of the latents.
        seed: of the latents.
    """
    norms = [m for m in network.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
    moments = [m.momentum for m in norms]
    home = next(network.parameters())
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # a plain mean over the batches
    network.train()
    drawn = torch.Generator().manual_seed(seed)
    for _ in range(_MEASURED if norms else 0):
        latents = torch.randn(batch_size, int(network.latent_dim), generator=drawn).to(home.device, home.dtype)  # type: ignore[arg-type]
        labels = sample_labels(network, batch_size)
        network(latents, *(() if labels is None else (labels.to(home.device),)))
    for norm, moment in zip(norms, moments, strict=True):
        norm.momentum = moment
    network.eval()
