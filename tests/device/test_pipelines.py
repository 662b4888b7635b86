"""Presets, mixes, attacks and MONAI's hooks on a pretended CUDA device give what they give on the CPU."""

import pytest
import torch
from monai.data import MetaTensor
from monai.data.utils import list_data_collate
from monai.transforms import Compose, RandFlipd
from torch import nn
from torch.nn.functional import cross_entropy

from monai_medaug.engines import AdversarialPrepareBatch, AugmentingPrepareBatch, MixingPrepareBatch
from monai_medaug.functional.acceleration import torch_only
from monai_medaug.transforms import (
    AdversarialBiasFieldd,
    BatchCutMixd,
    Batched,
    BatchMixUpd,
    FGSMAttackd,
    PGDAttackd,
    RandAffineElasticd,
    RandMRIBiasFieldd,
)
from tests.contract.cases import distance
from tests.device.pretend import CUDA, PretendCuda
from tests.transforms.presets.test_base import MODALITIES, SHAPES, sample

PRESET_WAITS = 40
KEYS = ("image", "label")


def batch_of(modality, size, shape=SHAPES[0]):
    items = [sample(modality, shape) for _ in range(size)]
    for k, item in enumerate(items):
        item["image"] = item["image"] * (1 + 0.01 * k)
    return list_data_collate(items)


def moved(data, device=CUDA):
    return {k: v.to(device) if isinstance(v, torch.Tensor) else v for k, v in data.items()}


def assert_equal_on_the_device(run, data, limit=1e-5, keys=KEYS):
    """A function of a batch gives the same on both devices, and all of it lies where the batch does."""
    with torch_only():
        expected = run(data)
    with PretendCuda():
        found = run(moved(data))
        for key in data:
            assert found[key].device == CUDA, f"{key} came back on the CPU"
        back = moved(found, "cpu")
    for key in keys:
        assert distance(expected[key], back[key]) < limit, key


@pytest.mark.parametrize("shape", SHAPES, ids=["2D", "3D"])
@pytest.mark.parametrize("modality", MODALITIES)
def test_presets_equal_the_cpu(modality, shape):
    preset = MODALITIES[modality][0]
    data = batch_of(modality, 3, shape)
    assert_equal_on_the_device(
        lambda x: Batched(preset("image", prob=1.0)).set_random_state(2)(x), data, keys=["image"]
    )


@pytest.mark.parametrize("modality", MODALITIES)
def test_guarded_presets_equal_the_cpu(modality):
    preset = MODALITIES[modality][0]
    data = sample(modality, SHAPES[0])
    assert_equal_on_the_device(lambda x: preset("image", "label", "lesion", prob=1.0).set_random_state(3)(x), data)


@pytest.mark.parametrize("modality", MODALITIES)
def test_presets_seldom_wait(modality):
    counts = []
    for size in (3, 8):
        data = {"image": batch_of(modality, size, SHAPES[1])["image"]}
        with PretendCuda() as gpu:
            given = moved(data)
            gpu.clear()
            Batched(MODALITIES[modality][0]("image", prob=1.0)).set_random_state(1)(given)
            counts.append(gpu.waits.total())
    assert counts[1] <= PRESET_WAITS, gpu.waits.most_common(8)
    assert counts[1] <= counts[0] + 20, counts


@pytest.mark.parametrize("modality", MODALITIES)
def test_guarded_presets_on_a_batch_seldom_wait(modality):
    """The guard fetches the whole batch before and after the steps, and works on the host."""
    guarded, own = [], []
    for size in (3, 8):
        data = batch_of(modality, size, SHAPES[1])
        with PretendCuda() as gpu:
            given = moved({key: data[key] for key in KEYS})
            gpu.clear()
            Batched(MODALITIES[modality][0]("image", "label", prob=1.0)).set_random_state(1)(given)
        guarded.append(gpu.waits.total())
        own.append([sum(n for (_, line), n in c.items() if "safety" in line) for c in (gpu.waits, gpu.launches)])
    assert guarded[1] <= PRESET_WAITS, gpu.waits.most_common(8)
    assert guarded[1] <= guarded[0] + 20, guarded
    assert own == [[4, 0], [4, 0]]
    assert not any("functional.voxels" in line or "functional.labels" in line for _, line in gpu.waits | gpu.launches)


@pytest.mark.parametrize("modality", MODALITIES)
def test_guarded_presets_on_a_batch_equal_the_cpu(modality):
    preset = MODALITIES[modality][0]
    data = batch_of(modality, 3)
    assert_equal_on_the_device(
        lambda x: Batched(preset("image", "label", "lesion", prob=1.0)).set_random_state(3)(x), data
    )


MIXES = {
    "mixup": lambda: BatchMixUpd(KEYS),
    "cutmix": lambda: BatchCutMixd(KEYS),
}


@pytest.mark.parametrize("mix", MIXES)
def test_mixes_equal_the_cpu(mix):
    data = batch_of("mri", 4)
    data["label"] = data["label"].float()
    assert_equal_on_the_device(lambda x: MIXES[mix]().set_random_state(5)(x), data)


def classifier():
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(1, 4, 3, stride=2), nn.ReLU(), nn.AdaptiveAvgPool2d(4), nn.Flatten(), nn.Linear(64, 3)
    )


def on(net, data):
    """The net where the data lie."""
    return net.to(data["image"].device) if data["image"].is_cuda else net


ATTACKS = {
    "fgsm": lambda net: FGSMAttackd("image", net, "class"),
    "pgd": lambda net: PGDAttackd("image", net, "class", num_steps=2),
    "field": lambda net: AdversarialBiasFieldd("image", net, "class", num_steps=2),
}


def with_classes(data):
    return {"image": data["image"], "class": torch.arange(len(data["image"])) % 3}


@pytest.mark.parametrize("attack", ATTACKS)
def test_attacks_equal_the_cpu(attack):
    data = with_classes(batch_of("mri", 4))

    def run(given):
        step = ATTACKS[attack](on(classifier(), given))
        return (step.set_random_state(0) if attack != "fgsm" else step)(given)

    assert_equal_on_the_device(run, data, keys=["image"])


HOOKS = {
    "augmenting": lambda net: AugmentingPrepareBatch(RandMRIBiasFieldd("image", prob=1.0), seed=0),
    "mixing": lambda net: MixingPrepareBatch(BatchMixUpd("image", "class", num_classes=3), seed=0),
    "adversarial": lambda net: AdversarialPrepareBatch(
        FGSMAttackd("image", net, "class", loss=lambda found, wanted: cross_entropy(found, wanted)), share=0.5, seed=0
    ),
}


@pytest.mark.parametrize("hook", HOOKS)
def test_hooks_equal_the_cpu(hook):
    pytest.importorskip("ignite")
    data = {"image": batch_of("mri", 4)["image"], "class": torch.arange(4) % 3}
    data["label"] = data["class"]

    def run(device):
        image, label = HOOKS[hook](on(classifier(), moved(data, device)))(dict(data), device)[:2]
        return {"image": image, "label": label}

    with torch_only():
        expected = run(torch.device("cpu"))
    with PretendCuda():
        found = run(CUDA)
        assert {x.device for x in found.values()} == {CUDA}
        back = moved(found, "cpu")
    assert distance(expected["image"], back["image"]) < 1e-5


def test_other_keys_stay_where_they_are():
    """Also where a step of MONAI's goes sample by sample."""
    data = {**batch_of("mri", 3), "weight": torch.rand(3), "vector": torch.rand(3, 5), "count": torch.arange(3)}
    steps = Compose([RandFlipd(KEYS, prob=1.0), RandAffineElasticd(KEYS, mode=("bilinear", "nearest"))])
    assert_equal_on_the_device(lambda x: Batched(steps.set_random_state(0))(x), data)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int16, torch.uint16, torch.int32, torch.bool])
def test_masks_of_every_type(dtype):
    data = batch_of("mri", 4)
    data["label"] = MetaTensor(data["label"].as_tensor().to(dtype), meta=data["label"].meta)
    data["label"].is_batch = True
    for prob in (1.0, 0.5):  # some stay as they are
        twin = RandAffineElasticd(KEYS, mode=("bilinear", "nearest"), padding_mode="zeros", prob=prob)
        assert_equal_on_the_device(lambda x, twin=twin: Batched(twin.set_random_state(3))(x), data)


@pytest.mark.parametrize(
    "step",
    [
        lambda: Batched(RandAffineElasticd(KEYS, mode=("bilinear", "nearest"), prob=1.0)),
        lambda: BatchMixUpd(KEYS),
    ],
)
def test_keys_on_two_devices_are_named(step):
    with PretendCuda():
        data = {**batch_of("mri", 4), "class": torch.arange(4) % 3}
        data["label"] = data["label"].float()
        data["image"] = data["image"].cuda()
        with pytest.raises(ValueError, match="'image' on cuda:0 and 'label' on cpu"):
            step()(data)
