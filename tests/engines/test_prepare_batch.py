"""Batch augmentation in MONAI's trainers."""

import copy

import numpy as np
import pytest
import torch
from monai.data import DataLoader, Dataset, MetaTensor, list_data_collate
from monai.engines import SupervisedTrainer
from monai.transforms import Compose, OneOf
from torch import nn

from monai_medaug.core.trace import samples_of
from monai_medaug.engines import (
    AdversarialPrepareBatch,
    AugmentingPrepareBatch,
    MixingPrepareBatch,
    SampleEpochHandler,
)
from monai_medaug.transforms import (
    AdversarialBiasFieldd,
    BatchCutMixd,
    BatchMixd,
    BatchMixUpd,
    FGSMAttackd,
    PGDAttackd,
    RandMRINoised,
    RandXRayExposured,
    RandXRayScatterd,
    SampleSeeded,
    augmentation_report,
    xray_augmentation,
)

from .radiographs import radiographs, small_net

pytest.importorskip("ignite")

HOOKS = {
    "augmenting": lambda net: AugmentingPrepareBatch(xray_augmentation("image", value_range=(0, 1)), seed=0),
    "one of": lambda net: AugmentingPrepareBatch(
        OneOf([RandXRayExposured("image", value_range=(0, 1)), RandXRayScatterd("image", value_range=(0, 1))]), seed=0
    ),
    "mixup": lambda net: MixingPrepareBatch(BatchMixUpd("image", "label", alpha=0.4, num_classes=2), seed=0),
    "cutmix": lambda net: MixingPrepareBatch(BatchCutMixd("image", "label", num_classes=2), seed=0),
    "either": lambda net: MixingPrepareBatch(BatchMixd("image", "label", num_classes=2), seed=0),
    "adversarial": lambda net: AdversarialPrepareBatch(
        PGDAttackd("image", net, "label", value_range=(0, 1)), share=0.5, seed=0
    ),
    "all": lambda net: AugmentingPrepareBatch(
        xray_augmentation("image", value_range=(0, 1)),
        MixingPrepareBatch(
            BatchMixd("image", "label", num_classes=2),
            AdversarialPrepareBatch(FGSMAttackd("image", net, "label"), share=0.25),
        ),
        seed=0,
    ),
}


def trained(hook, net, epochs=3, **more):
    """Mean loss of each epoch."""
    losses = []
    loader = DataLoader(Dataset(radiographs()), batch_size=32, shuffle=True, generator=torch.Generator().manual_seed(0))
    trainer = SupervisedTrainer(
        device=torch.device("cpu"),
        max_epochs=epochs,
        train_data_loader=loader,
        network=net,
        optimizer=torch.optim.Adam(net.parameters(), 2e-3),
        loss_function=nn.CrossEntropyLoss(),
        prepare_batch=hook,
        decollate=False,
        **more,
    )
    from monai.engines.utils import IterationEvents

    trainer.add_event_handler(
        IterationEvents.LOSS_COMPLETED, lambda e: losses.append(float(e.state.output["loss"].detach()))
    )
    trainer.run()
    assert np.isfinite(losses).all()
    return np.reshape(losses, (epochs, -1)).mean(1)


@pytest.mark.parametrize("name", HOOKS)
def test_a_net_learns_from_real_radiographs(name):
    net = small_net()
    losses = trained(HOOKS[name](net), net)
    assert losses[2] < losses[0]
    assert losses[2] < 0.69  # better than guessing


def test_gradient_accumulation():
    net = small_net()
    losses = trained(HOOKS["all"](net), net, accumulation_steps=4)
    assert losses[2] < losses[0]


def test_the_networks_state_and_gradients_stay():
    net, twin = small_net().train(), None
    batch = list_data_collate(radiographs(32))
    net(batch["image"]).sum().backward()
    twin = copy.deepcopy(net)
    gradients = [p.grad.clone() for p in net.parameters()]
    for name in ("adversarial", "all"):
        HOOKS[name](net)(batch, "cpu")
    assert all(torch.equal(a, b) for a, b in zip(net.state_dict().values(), twin.state_dict().values(), strict=True))
    assert all(torch.equal(p.grad, g) for p, g in zip(net.parameters(), gradients, strict=True))
    assert all(m.training for m in net.modules())


@pytest.mark.parametrize("dtype", [torch.bfloat16])
def test_autocast(dtype):
    net, batch = small_net(), list_data_collate(radiographs(16))
    with torch.autocast("cpu", dtype):
        image, label = HOOKS["all"](net)(batch, "cpu")
        loss = nn.CrossEntropyLoss()(net(image), label)
    loss.backward()
    assert image.dtype == torch.float32
    assert torch.isfinite(loss)
    assert all(torch.isfinite(p.grad).all() for p in net.parameters())


def batch_of(size=8, meta=True):
    items = [
        {"image": (MetaTensor if meta else torch.as_tensor)(torch.rand(1, 16, 16) + i), "label": torch.tensor(i % 2)}
        for i in range(size)
    ]
    return list_data_collate(items)


@pytest.mark.parametrize("share", [0.0, 0.25, 0.5, 1.0])
@pytest.mark.parametrize("meta", [True, False])
def test_the_share_that_is_attacked(share, meta):
    batch, net = batch_of(meta=meta), nn.Sequential(nn.Flatten(), nn.Linear(256, 2))
    before = {k: v.clone() for k, v in batch.items()}
    hook = AdversarialPrepareBatch(FGSMAttackd("image", net, "label"), share=share, seed=3)
    image, label = hook(batch, "cpu")
    assert type(image) is type(batch["image"])
    changed = (image - batch["image"]).abs().amax((1, 2, 3)) > 0
    assert int(changed.sum()) == share * 8
    assert torch.equal(label, batch["label"])
    assert all(torch.equal(batch[k], before[k]) for k in batch)
    if meta and share:
        records = [bool(trace) for trace in samples_of(image)]
        assert records == changed.tolist()
    if 0 < share < 1:
        again = hook(batch, "cpu")[0]
        others = (again - batch["image"]).abs().amax((1, 2, 3)) > 0
        assert changed.tolist() != others.tolist() or share == 0.5


def test_attacks_with_a_mask_and_of_fields():
    batch, net = batch_of(), nn.Sequential(nn.Flatten(), nn.Linear(256, 2))
    batch["where"] = torch.zeros(8, 1, 16, 16, dtype=torch.uint8).index_fill(3, torch.arange(4), 1)
    hook = AdversarialPrepareBatch(FGSMAttackd("image", net, "label", mask_key="where"), share=0.5, seed=0)
    change = (hook(batch, "cpu")[0] - batch["image"]).abs()
    assert float(change[..., 4:].max()) == 0 < float(change.max())
    field = AdversarialPrepareBatch(AdversarialBiasFieldd("image", net, num_steps=1), share=0.5, seed=0)
    assert int(((field(batch, "cpu")[0] - batch["image"]).abs().amax((1, 2, 3)) > 1e-4).sum()) == 4


def test_hooks_pass_the_batch_on_in_order():
    seen = []

    def last(batch, device, non_blocking, **kwargs):
        seen.append((sorted(batch), device, non_blocking, kwargs))
        return batch["image"], batch["label"]

    hook = AugmentingPrepareBatch(
        RandMRINoised("image", prob=1.0), MixingPrepareBatch(BatchMixd("image", "label", num_classes=2), last)
    )
    image, label = hook(batch_of(), "cpu", True, copy=False)
    assert seen == [
        (
            ["image", "label", "label_own", "label_partner", "mix_permutation", "mix_weights"],
            "cpu",
            True,
            {"copy": False},
        )
    ]
    steps = [s["name"] for s in augmentation_report(image)[0]["steps"]]
    assert steps == ["RandMRINoised", "BatchMixd"]
    assert label.shape == (8, 2)


def test_seeds_reproduce_and_none_leaves_the_transforms_own():
    batch = batch_of()
    make = lambda seed: AugmentingPrepareBatch(RandMRINoised("image", prob=1.0), seed=seed)  # noqa: E731
    one, same, other = (make(s)(batch, "cpu")[0] for s in (1, 1, 2))
    assert torch.equal(one, same)
    assert not torch.equal(one, other)
    noise = RandMRINoised("image", prob=1.0)
    own = AugmentingPrepareBatch(Compose([noise]))
    noise.set_random_state(5)
    first = own(batch, "cpu")[0]
    noise.set_random_state(5)
    assert torch.equal(first, own(batch, "cpu")[0])


def test_ranks_draw_their_own(monkeypatch):
    batch = batch_of()
    monkeypatch.setattr(torch.distributed, "is_initialized", lambda: True)
    for seed in (3, None):
        images = []
        for rank in (0, 1, 2):
            monkeypatch.setattr(torch.distributed, "get_rank", lambda rank=rank: rank)
            noise = RandMRINoised("image", prob=1.0).set_random_state(0)  # alike on all ranks, as set_determinism does
            images.append(AugmentingPrepareBatch(noise, seed=seed)(batch, "cpu")[0])
        assert not any(torch.equal(images[i], images[j]) for i in range(3) for j in range(i))
    stable = SampleSeeded(RandMRINoised("image", prob=1.0), "id")
    batch["id"] = list(range(8))
    images = []
    for rank in (0, 1):
        monkeypatch.setattr(torch.distributed, "get_rank", lambda rank=rank: rank)
        images.append(AugmentingPrepareBatch(stable, seed=4)(batch, "cpu")[0])
    assert torch.equal(*images)


def test_epochs_reach_the_samples():
    net, epochs = small_net(), []
    stable = SampleSeeded(RandMRINoised("image", prob=1.0), "id")

    class Noted(AugmentingPrepareBatch):
        def change(self, batch):
            epochs.append(stable.seeds.epoch)
            return super().change(batch)

    trained(Noted(stable), net, epochs=3, train_handlers=[SampleEpochHandler(stable)])
    assert sorted(set(epochs)) == [0, 1, 2]
    assert epochs == sorted(epochs)
    with pytest.raises(TypeError, match="set_epoch"):
        SampleEpochHandler(RandMRINoised("image"))


def test_what_is_wrong_is_said():
    with pytest.raises(TypeError, match="batchdata must be a dictionary, got Tensor"):
        AugmentingPrepareBatch(RandMRINoised("image"))(torch.zeros(2, 1, 4, 4), "cpu")
    with pytest.raises(TypeError, match="prepare_batch must be callable"):
        MixingPrepareBatch(BatchMixd("image"), prepare_batch="next")
    with pytest.raises(ValueError, match="share"):
        AdversarialPrepareBatch(FGSMAttackd("image", nn.Identity(), "label"), share=2)


@pytest.mark.parametrize("size", [1, 2, 3, 5])
def test_the_share_is_right_on_average(size):
    net = nn.Sequential(nn.Flatten(), nn.Linear(256, 2))
    hook = AdversarialPrepareBatch(FGSMAttackd("image", net, "label"), share=0.3, seed=0)
    batch = batch_of(size, meta=False)
    counts = [int(((hook(batch, "cpu")[0] - batch["image"]).abs().amax((1, 2, 3)) > 0).sum()) for _ in range(150)]
    assert abs(np.mean(counts) / size - 0.3) < 0.13
