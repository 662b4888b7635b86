"""``prepare_batch`` hooks: augmentation of whole batches on the device, by one argument of a MONAI trainer.

They compose: each changes the batch and passes it to the next, the last one returns image and label,

    AugmentingPrepareBatch(transform, MixingPrepareBatch(mix, AdversarialPrepareBatch(attack)))
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from monai.data.utils import decollate_batch, list_data_collate
from monai.engines.utils import PrepareBatch, PrepareBatchDefault
from monai.transforms.transform import Randomizable
from monai.utils.misc import get_seed

from monai_medaug.core.arguments import number
from monai_medaug.core.batch import Batched

_SOURCE = "give it a dictionary with keys, as MONAI's dictionary pipelines yield it"


class BatchTransforming(PrepareBatch):
    """Base of the hooks: move the batch to the device, `change` it, call the next hook.

    Args:
        prepare_batch: the next hook; None returns ``"image"`` and ``"label"`` as MONAI does.
        seed: of the draws. In distributed training the ranks' draws differ, with or without it.
        drawing: the objects that draw at random.
    """

    def __init__(self, prepare_batch: Callable[..., Any] | None, seed: int | None, *drawing: Any) -> None:
        if prepare_batch is not None and not callable(prepare_batch):
            raise TypeError(f"prepare_batch must be callable, got {type(prepare_batch).__name__}")
        self.prepare_batch = PrepareBatchDefault() if prepare_batch is None else prepare_batch
        self.seed = seed
        self.drawing = [d for d in drawing if isinstance(d, Randomizable)]
        self._seeded = False

    def change(self, batch: dict[Any, Any]) -> Mapping:
        """The batch after this hook's step."""
        raise NotImplementedError

    def __call__(
        self,
        batchdata: Any,
        device: str | torch.device | None = None,
        non_blocking: bool = False,
        **kwargs: Any,
    ) -> Any:
        """The trainer's input from a collated dictionary; the network and its gradients stay unchanged."""
        if not isinstance(batchdata, Mapping):
            raise TypeError(f"batchdata must be a dictionary, got {type(batchdata).__name__}: {_SOURCE}")
        if not self._seeded:
            self._seed_rank()
        batch = {
            key: item.to(device=device, non_blocking=non_blocking) if isinstance(item, torch.Tensor) else item
            for key, item in batchdata.items()
        }
        with torch.no_grad():
            changed = self.change(batch)
        return self.prepare_batch(changed, device, non_blocking, **kwargs)

    def _seed_rank(self) -> None:
        """Seed the draws by rank, at the first batch, when the process group exists."""
        self._seeded = True
        distributed = torch.distributed.is_available() and torch.distributed.is_initialized()
        rank = torch.distributed.get_rank() if distributed else 0
        if self.seed is None and rank == 0:
            return
        for position, drawing in enumerate(self.drawing):
            base = int(drawing.R.randint(2**31 - 1)) if self.seed is None else int(self.seed)
            own = np.random.SeedSequence([base, rank, position]).generate_state(1)[0]
            drawing.set_random_state(int(own))


class AugmentingPrepareBatch(BatchTransforming):
    """Augment each batch on the device, every sample with its own draw, see `Batched`.

    Args:
        transform: a dictionary transform of this package, a Compose of them, or a preset.
        prepare_batch: the next hook; None returns ``"image"`` and ``"label"``.
        seed: of the draws, which differ between ranks.

    Raises:
        TypeError: the batch is not a dictionary.

    Example:
        >>> from monai_medaug.transforms import RandMRINoised
        >>> hook = AugmentingPrepareBatch(RandMRINoised("image", prob=1.0), seed=0)
        >>> batch = {"image": torch.ones(4, 1, 8, 8), "label": torch.tensor([0, 1, 1, 0])}
        >>> image, label = hook(batch, "cpu")
        >>> len({float(x.std()) for x in image}), label.tolist()
        (4, [0, 1, 1, 0])
    """

    def __init__(
        self, transform: Any, prepare_batch: Callable[..., Any] | None = None, seed: int | None = None
    ) -> None:
        super().__init__(prepare_batch, seed, transform)
        self.batched = Batched(transform)

    def change(self, batch: dict[Any, Any]) -> Mapping:
        return self.batched(batch)


class MixingPrepareBatch(BatchTransforming):
    """Mix the samples of each batch with one another by MixUp, CutMix or either.

    The label in the trainer's loss is then soft: cross-entropy accepts it, metrics of hard labels do not.

    Args:
        mix: a `BatchMixUpd`, `BatchCutMixd` or `BatchMixd`, which names the keys of images, labels and masks.
        prepare_batch: the next hook; None returns ``"image"`` and ``"label"``.
        seed: of the draws, which differ between ranks.

    Raises:
        TypeError: the batch is not a dictionary.

    Example:
        >>> from monai_medaug.transforms import BatchMixd
        >>> hook = MixingPrepareBatch(BatchMixd("image", label_keys="label", num_classes=2), seed=0)
        >>> image, label = hook({"image": torch.rand(4, 1, 8, 8), "label": torch.tensor([0, 1, 1, 0])}, "cpu")
        >>> label.shape, label.sum(1).tolist()
        (torch.Size([4, 2]), [1.0, 1.0, 1.0, 1.0])
    """

    def __init__(self, mix: Any, prepare_batch: Callable[..., Any] | None = None, seed: int | None = None) -> None:
        super().__init__(prepare_batch, seed, mix)
        self.mix = mix

    def change(self, batch: dict[Any, Any]) -> Mapping:
        return self.mix(batch)


class AdversarialPrepareBatch(BatchTransforming, Randomizable):
    """Replace a share of each batch's samples by attacked ones.

    The network's mode, buffers and gradients are restored, which suits gradient accumulation, AMP and DDP.

    Args:
        attack: a `FGSMAttackd`, `PGDAttackd` or `AdversarialBiasFieldd`, which names the network and the keys.
        prepare_batch: the next hook; None returns ``"image"`` and ``"label"``.
        share: share of attacked samples, chosen at random; their number is rounded up or down at random.
        seed: of the draws, which differ between ranks.

    Raises:
        TypeError: the batch is not a dictionary.
        ValueError: the share is not within [0, 1].

    Source: half clean, half attacked samples as in A. Kurakin et al., Adversarial machine learning at scale, ICLR 2017.

    Example:
        >>> from monai_medaug.transforms import FGSMAttackd
        >>> network = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 2))
        >>> hook = AdversarialPrepareBatch(FGSMAttackd("image", network, "label"), share=0.5, seed=0)
        >>> batch = {"image": torch.rand(4, 1, 8, 8), "label": torch.tensor([0, 1, 1, 0])}
        >>> image, label = hook(batch, "cpu")
        >>> int(((image - batch["image"]).abs().amax((1, 2, 3)) > 0).sum())
        2
    """

    def __init__(
        self,
        attack: Any,
        prepare_batch: Callable[..., Any] | None = None,
        share: float = 0.5,
        seed: int | None = None,
    ) -> None:
        super().__init__(prepare_batch, seed, attack, self)
        self.attack = attack
        self.share = number("share", share, 0, 1)
        self.set_random_state(get_seed())

    def change(self, batch: dict[Any, Any]) -> Mapping:
        present = [key for key in self.attack.keys if key in batch]
        size = len(batch[present[0]]) if present else 0
        count = int(self.share * size + self.R.uniform())  # exact on average, also for a batch of one
        chosen = sorted(self.R.permutation(size)[:count].tolist())
        if len(chosen) == size:
            return self.attack(batch)
        if not chosen:
            return batch
        needed = [*present, *self.attack.input_keys.values()]
        samples = decollate_batch({key: batch[key] for key in needed if key in batch})
        attacked = decollate_batch(self.attack(list_data_collate([samples[i] for i in chosen])))
        for i, sample in zip(chosen, attacked, strict=True):
            samples[i] = sample
        return {**batch, **list_data_collate([{key: sample[key] for key in present} for sample in samples])}
