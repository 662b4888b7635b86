"""The attacks as MONAI users meet them: kinds of data, nets, losses, modes of autograd, bounds and strength."""

from __future__ import annotations

import copy
import functools
import itertools
import json
import os
import pickle
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from monai.data import MetaTensor, decollate_batch, list_data_collate, set_track_meta
from monai.losses import DiceLoss
from monai.networks.nets import UNet
from monai.transforms import Compose
from torch import nn
from torch.nn import functional as F

from monai_medaug.core.replay import replay
from monai_medaug.core.report import augmentation_report
from monai_medaug.functional.geometry.grid import VoxelGrid
from monai_medaug.functional.mri.coil import bias, index_polynomial
from monai_medaug.functional.mri.signal import foreground, zero_point
from monai_medaug.transforms.adversarial.ball import FGSMAttack, FGSMAttackd, PGDAttack, PGDAttackd
from monai_medaug.transforms.adversarial.field import AdversarialBiasField, AdversarialBiasFieldd
from monai_medaug.transforms.mri.coil import RandMRIBiasField

ATTACKS = [FGSMAttack, PGDAttack, AdversarialBiasField]
TWINS = {FGSMAttack: FGSMAttackd, PGDAttack: PGDAttackd, AdversarialBiasField: AdversarialBiasFieldd}
SPACES = [(16, 16), (8, 8, 8)]
AFFINE = torch.tensor([[0, 2, 0, -30], [1.5, 0, 0, 10], [0, 0, 3, 5], [0, 0, 0, 1]], dtype=torch.float64)


@functools.cache
def segmenter(dims: int, channels: int = 1, classes: int = 2) -> nn.Module:
    torch.manual_seed(0)
    return UNet(dims, channels, classes, channels=(4, 8), strides=(2,), norm="batch", dropout=0.2)


def classifier(dims: int) -> nn.Module:
    torch.manual_seed(0)
    conv, norm = (nn.Conv2d, nn.BatchNorm2d) if dims == 2 else (nn.Conv3d, nn.BatchNorm3d)
    pool = nn.AdaptiveAvgPool2d(1) if dims == 2 else nn.AdaptiveAvgPool3d(1)
    return nn.Sequential(conv(1, 4, 3), norm(4), nn.ReLU(), nn.Dropout(0.5), pool, nn.Flatten(), nn.Linear(4, 3))


def batch(*shape: int, count: int = 3, channels: int = 1) -> torch.Tensor:
    """Ellipsoids of 0.2..1 with zeros round them."""
    axes = torch.meshgrid(*[torch.linspace(-1, 1, n) for n in shape], indexing="ij")
    noise = torch.rand(count, channels, *shape, generator=torch.Generator().manual_seed(0))
    return torch.where(torch.stack(axes).square().sum(0) < 0.8, 0.2 + 0.8 * noise, 0.0)


def labels(image: torch.Tensor) -> torch.Tensor:
    return (image[:, :1] > 0.6).to(torch.uint8)


def make(kind: type, network: Any, **arguments: Any) -> Any:
    attack = kind(network, **arguments)
    return attack if kind is FGSMAttack else attack.set_random_state(0)


# ---- tasks and data ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", SPACES)
@pytest.mark.parametrize("kind", ATTACKS)
@pytest.mark.parametrize("task", ["classes", "voxels", "dice", "restoration"])
def test_the_loss_rises(kind, shape, task):
    image = batch(*shape)
    net: nn.Module
    target: torch.Tensor
    if task == "classes":
        net, loss, target = classifier(len(shape)), None, torch.tensor([0, 2, 1])
    elif task == "restoration":
        net, loss, target = segmenter(len(shape), 1, 1), nn.L1Loss(), image
    else:
        loss = DiceLoss(to_onehot_y=True, softmax=True) if task == "dice" else None
        net, target = segmenter(len(shape)), labels(image)
    before = image.clone()
    out = make(kind, net, loss=loss)(image, target)
    assert torch.equal(image, before)
    assert type(out) is torch.Tensor
    assert out.shape == image.shape
    assert out.dtype == image.dtype
    assert not out.requires_grad
    assert not torch.equal(out, image)
    if kind is not AdversarialBiasField:
        assert float((out - image).abs().max()) <= 0.01 + 1e-6
        assert 0 <= float(out.min()) <= float(out.max()) <= float(image.max())
    net = copy.deepcopy(net).eval()

    @torch.no_grad()
    def value(x):
        prediction = net(x)
        if loss is not None:
            return float(loss(prediction, target))
        return float(F.cross_entropy(prediction, (target[:, 0] if target.ndim > 1 else target).long()))

    assert value(out) > value(image)


@pytest.mark.parametrize("kind", ATTACKS)
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64, torch.uint8, torch.int16])
def test_types(kind, dtype):
    """Float types are kept, integers become float32, numpy arrays stay such; bounds hold after the cast."""
    scaled = batch(16, 16) * (1 if dtype.is_floating_point else 200)
    image, target = scaled.to(dtype), labels(batch(16, 16))
    arguments: dict = {} if kind is AdversarialBiasField else {"epsilon": 0.03 * float(image.max())}
    if kind is PGDAttack:
        arguments["step_size"] = arguments["epsilon"] / 3
    out = make(kind, segmenter(2), **arguments)(image, target)
    assert out.dtype == (dtype if dtype.is_floating_point else torch.float32)
    assert not torch.equal(out.double(), image.double())
    if kind is not AdversarialBiasField:
        change = (out.double() - image.double()).abs()
        assert float(change.max()) <= arguments["epsilon"] + 1e-6 * float(image.max())
        assert 0 <= float(out.min()) <= float(out.max()) <= float(image.max())
        assert float(change.mean()) > 0.2 * arguments["epsilon"]
    if dtype != torch.bfloat16:
        array = make(kind, segmenter(2), **arguments)(image.numpy(), target.numpy())
        assert isinstance(array, np.ndarray)
        assert torch.equal(torch.from_numpy(array), out)
        big = image.numpy().astype(image.numpy().dtype.newbyteorder(">"))
        assert np.array_equal(make(kind, segmenter(2), **arguments)(big, target.numpy()), array)


@pytest.mark.parametrize("kind", ATTACKS)
def test_network_in_half_precision(kind):
    net, image = copy.deepcopy(segmenter(2)).bfloat16(), batch(16, 16)
    out = make(kind, net)(image, labels(image))
    assert out.dtype == torch.float32
    assert not torch.equal(out, image)


@pytest.mark.parametrize("kind", ATTACKS)
def test_modes_of_autograd(kind):
    """The same under no_grad and inference mode; nothing of the result is an inference tensor."""
    image, target = batch(16, 16), labels(batch(16, 16))
    wanted = make(kind, segmenter(2))(image, target)
    with torch.no_grad():
        assert torch.equal(make(kind, segmenter(2))(image, target), wanted)
        assert not torch.is_grad_enabled()
    with torch.inference_mode():
        out = make(kind, segmenter(2))(image.clone(), target.float().clone())
        assert not out.is_inference()
        assert torch.equal(out, wanted)
        assert torch.is_inference_mode_enabled()
    leaf = image.clone().requires_grad_()
    out = make(kind, segmenter(2))(leaf * 1, target)
    assert torch.equal(out, wanted)
    assert not out.requires_grad
    assert leaf.grad is None


@pytest.mark.parametrize("kind", ATTACKS)
def test_autocast(kind):
    image, target = batch(16, 16), labels(batch(16, 16))
    seen = []
    net = segmenter(2)
    hook = net.register_forward_hook(lambda m, i, o: seen.append(o.dtype))
    with torch.autocast("cpu", torch.bfloat16):
        out = make(kind, net)(image, target)
    hook.remove()
    assert set(seen) == {torch.bfloat16}
    wanted = make(kind, net)(image, target)
    share = F.cosine_similarity((out - image).flatten(), (wanted - image).flatten(), dim=0)
    assert float(share) > 0.7


@pytest.mark.parametrize("kind", ATTACKS)
def test_network_and_caller_are_left_alone(kind):
    net, image = copy.deepcopy(segmenter(2)).train(), batch(16, 16)
    net.model[0].eval()
    F.cross_entropy(net(image), labels(image)[:, 0].long()).backward()
    modes = [m.training for m in net.modules()]
    assert len(set(modes)) == 2
    values, grads = copy.deepcopy(net.state_dict()), [p.grad.clone() for p in net.parameters()]
    ids = [id(p.grad) for p in net.parameters()]
    target = labels(image)
    for loss in (None, lambda p, t: 1 / 0):
        attack = make(kind, net, loss=loss)
        if loss is None:
            attack(image, target)
        else:
            with pytest.raises(ZeroDivisionError):
                attack(image, target)
        assert [m.training for m in net.modules()] == modes
        assert all(torch.equal(v, net.state_dict()[k]) for k, v in values.items())
        assert all(torch.equal(g, p.grad) for g, p in zip(grads, net.parameters(), strict=True))
        assert [id(p.grad) for p in net.parameters()] == ids
        assert all(p.requires_grad for p in net.parameters())
        assert torch.equal(image, batch(16, 16))
        assert not image.requires_grad


# ---- range, ball, mask -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [FGSMAttack, PGDAttack])
def test_value_ranges(kind):
    """Each sample's own, or the pair that is given; HU here."""
    image = batch(16, 16) * torch.tensor([1000.0, 100, 10]).reshape(3, 1, 1, 1) - 500
    arguments = {"epsilon": 5.0, "loss": lambda p, t: p.sum()} | ({"step_size": 2.0} if kind is PGDAttack else {})
    network = nn.Identity()
    out = make(kind, network, **arguments)(image, None)
    ends = image.amax((1, 2, 3), keepdim=True)
    torch.testing.assert_close(out, torch.minimum(image + 5, ends), rtol=0, atol=1e-3)
    assert torch.all(out <= ends)
    assert torch.all((out - image).abs() <= 5 + 1e-6 * 1000)
    out = make(kind, network, value_range=(-1000, 1000), **arguments)(image, None)
    torch.testing.assert_close(out, image + 5, rtol=0, atol=1e-3)
    with pytest.raises(ValueError, match=r"image must lie within value_range \(0\.0, 1\.0\), got values from -500"):
        make(kind, network, value_range=(0, 1), **arguments)(image, None)


@pytest.mark.parametrize("kind", [FGSMAttack, PGDAttack])
@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_mask(kind, norm):
    image, target = batch(16, 16), labels(batch(16, 16))
    mask = torch.zeros(3, 1, 16, 16)
    mask[:, :, 4:9, 3:12] = 1
    arguments: dict = {"norm": norm, "epsilon": 0.01 if norm == "linf" else 0.2}
    if kind is PGDAttack and norm == "l2":
        arguments["step_size"] = 0.08
    out = make(kind, segmenter(2), **arguments)(image, target, mask)
    assert torch.equal(out[mask == 0], image[mask == 0])
    assert not torch.equal(out, image)
    same = make(kind, segmenter(2), **arguments)(image, target, mask[:, 0].numpy() > 0)
    assert torch.equal(same, out)
    twin = TWINS[kind]("image", segmenter(2), "y", mask_key="m", **arguments)
    if kind is PGDAttack:
        twin.set_random_state(0)
    assert torch.equal(twin({"image": image, "y": target, "m": mask})["image"], out)
    with pytest.raises(ValueError, match="mask must have the shape"):
        make(kind, segmenter(2))(image, target, mask[..., 1:])


def test_euclidean_ball():
    image, target = 0.25 + 0.5 * batch(16, 16), labels(batch(16, 16))
    for attack in (
        FGSMAttack(segmenter(2), 0.3, norm="l2", value_range=(0, 1)),
        PGDAttack(segmenter(2), 0.3, 0.1, 8, "l2", value_range=(0, 1)).set_random_state(0),
    ):
        size = (attack(image, target) - image).flatten(1).norm(dim=1)
        torch.testing.assert_close(size, torch.full((3,), 0.3), rtol=1e-5, atol=0)


def test_nothing_happens_within_zero():
    image, target = batch(16, 16), labels(batch(16, 16))
    for attack in (FGSMAttack(segmenter(2), 0), PGDAttack(segmenter(2), 0), AdversarialBiasField(segmenter(2), 0)):
        out = attack(image, target)
        assert torch.equal(out, image)
        assert out.data_ptr() != image.data_ptr()


def test_random_start():
    image, target = batch(16, 16), labels(batch(16, 16))
    for kind in (PGDAttack, AdversarialBiasField):
        attack = kind(segmenter(2)).set_random_state(1)
        first, second = attack(image, target), attack(image, target)
        assert not torch.equal(first, second)
        assert torch.equal(attack.set_random_state(1)(image, target), first)
        twin = TWINS[kind]("image", segmenter(2), "y").set_random_state(1)
        data = {"image": image, "y": target}
        assert torch.equal(twin(data)["image"], first)
        again = pickle.loads(pickle.dumps(twin))
        assert torch.equal(again(data)["image"], second)
        assert torch.equal(twin(data)["image"], second)
        runs = [Compose([twin]).set_random_state(5)(data)["image"] for _ in range(2)]
        assert torch.equal(*runs)
    for attack in (FGSMAttack(segmenter(2)), PGDAttack(segmenter(2), random_start=False)):
        assert torch.equal(attack(image, target), attack(image, target))
    assert not hasattr(FGSMAttack(segmenter(2)), "set_random_state")
    assert not hasattr(FGSMAttackd("image", segmenter(2), "y"), "set_random_state")


# ---- dictionaries, meta data, records ----------------------------------------------------------------------------


def collated(keys=("image",), count: int = 3, **more: Any) -> dict:
    """A collated batch of MetaTensors with different affines, labels and an id."""
    image = batch(16, 16, count=count, channels=len(keys))
    scale = [torch.diag(torch.tensor([s, s, s, 1.0], dtype=torch.float64)) for s in (1, 0.8, 1.3)]
    items = [
        {
            k: MetaTensor(image[i, c : c + 1].clone(), affine=AFFINE @ scale[i], meta={"id": i})
            for c, k in enumerate(keys)
        }
        | {"label": labels(image)[i], "id": i, **more}
        for i in range(count)
    ]
    return list_data_collate(items)


@pytest.mark.parametrize("kind", ATTACKS)
@pytest.mark.parametrize("keys", [("image",), ("t1", "t2")])
def test_dictionary(kind, keys):
    data = collated(keys)
    before = {k: (data[k].as_tensor().clone(), copy.deepcopy(data[k].applied_operations)) for k in keys}
    network = segmenter(2, len(keys))
    twin = TWINS[kind](keys, network, "label")
    if kind is not FGSMAttack:
        twin.set_random_state(0)
    out = twin(data)
    assert out["id"].tolist() == [0, 1, 2]
    joined = torch.cat([data[k] for k in keys], 1)
    wanted = make(kind, network)(joined, data["label"])
    for i, key in enumerate(keys):
        assert type(out[key]) is MetaTensor
        assert torch.equal(data[key].as_tensor(), before[key][0])
        assert data[key].applied_operations == before[key][1]
        assert torch.equal(out[key].affine, data[key].affine)
        if kind is AdversarialBiasField:
            assert torch.equal(out[key].as_tensor(), wanted[:, i : i + 1].as_tensor())
        elif kind is FGSMAttack or len(keys) == 1:
            greatest = data[key].as_tensor().amax((1, 2, 3), keepdim=True)  # each key has its own range
            assert torch.equal(out[key].as_tensor(), torch.minimum(wanted[:, i : i + 1].as_tensor(), greatest))
    reports = augmentation_report(out)
    assert len(reports) == 3
    for report in reports:
        (step,) = report["steps"]
        assert step["name"] == twin.__class__.__name__
        assert step["keys"] == {k: {"key": i} for i, k in enumerate(keys)}
        assert step["applied"]
        json.loads(report.to_json())
        assert str(report)
        assert report["anatomy_preserved"] == "not checked"
        if kind is AdversarialBiasField:
            assert step["figures"]["peak_to_peak"] == pytest.approx(0.4, rel=0.01)
        else:
            assert step["params"]["epsilon"] == 0.01
            assert step["figures"]["perturbation_linf"] == pytest.approx(0.01, rel=1e-3)
    for sample in decollate_batch(out):
        back = twin.inverse(sample)
        assert all(back[k].applied_operations == [] for k in keys)
        assert all(torch.equal(back[k], sample[k]) for k in keys)
        assert all(len(sample[k].applied_operations) == 1 for k in keys)
    again = twin(out)
    assert [len(t) for t in again[keys[0]].applied_operations] == [2, 2, 2]


def test_replay():
    """The field needs no network; an attack on voxels says that it does."""
    data = collated(("t1", "t2"))
    field = AdversarialBiasFieldd(("t1", "t2"), segmenter(2, 2), "label").set_random_state(0)
    out = field(data)
    for sample, done, report in zip(decollate_batch(data), decollate_batch(out), augmentation_report(out), strict=True):
        again = replay(sample, report.to_json())
        for key in ("t1", "t2"):
            torch.testing.assert_close(again[key].as_tensor(), done[key].as_tensor(), rtol=0, atol=1e-6)
    for twin in (FGSMAttackd("image", segmenter(2), "label"), PGDAttackd("image", segmenter(2), "label")):
        out = twin(collated())
        with pytest.raises(ValueError, match=r"'image'.*doesn't hold the network"):
            replay(decollate_batch(collated())[0], augmentation_report(out)[0])


@pytest.mark.parametrize("kind", ATTACKS)
def test_array_face_of_a_collated_metatensor(kind):
    data = collated()
    out = make(kind, segmenter(2))(data["image"], data["label"])
    assert type(out) is MetaTensor
    assert out.is_batch
    assert [t[-1]["class"] for t in out.applied_operations] == [kind.__name__] * 3
    attack = make(kind, segmenter(2))
    attack.tracing = False
    untraced = attack(data["image"], data["label"])
    assert untraced.applied_operations == data["image"].applied_operations
    set_track_meta(False)
    try:
        assert type(make(kind, segmenter(2))(data["image"], data["label"])) is torch.Tensor
    finally:
        set_track_meta(True)
    assert attack.inverse(data["image"].as_tensor()[0]) is not None


@pytest.mark.parametrize("kind", ATTACKS)
def test_names_and_aliases(kind):
    name = kind.__name__
    for ending in ("D", "Dict"):
        assert getattr(sys.modules[kind.__module__], f"{name}{ending}") is TWINS[kind]


# ---- errors ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("call", "error", "what"),
    [
        (lambda n, x, y: FGSMAttack(3), TypeError, "network must be callable"),
        (lambda n, x, y: FGSMAttack(n, loss="dice"), TypeError, "loss must be callable"),
        (lambda n, x, y: FGSMAttack(n, -0.1), ValueError, "epsilon"),
        (lambda n, x, y: FGSMAttack(n, norm="l1"), ValueError, "norm"),
        (lambda n, x, y: FGSMAttack(n, value_range=(1, 0)), ValueError, "value_range"),
        (lambda n, x, y: FGSMAttack(n, value_range=(1, 1)), ValueError, "value_range"),
        (lambda n, x, y: PGDAttack(n, step_size=-1), ValueError, "step_size"),
        (lambda n, x, y: PGDAttack(n, num_steps=0), ValueError, "num_steps"),
        (lambda n, x, y: PGDAttack(n, num_steps=2.5), ValueError, "num_steps"),
        (lambda n, x, y: AdversarialBiasField(n, 3), ValueError, "peak_to_peak"),
        (lambda n, x, y: AdversarialBiasField(n, num_steps=0), ValueError, "num_steps"),
        (lambda n, x, y: FGSMAttack(n)(x[0], y), ValueError, r"image must be channel-first \(B, C"),
        (lambda n, x, y: FGSMAttack(n)([1], y), TypeError, "image must be a numpy array or a torch tensor"),
        (lambda n, x, y: FGSMAttack(n)(x * torch.nan, y), ValueError, "image must be finite"),
        (lambda n, x, y: FGSMAttack(n)(MetaTensor(x), y), ValueError, "image must be collated"),
        (lambda n, x, y: FGSMAttack(n)(x, y[:2]), ValueError, "target must hold class ids"),
        (lambda n, x, y: FGSMAttack(n)(x, y + 5), ValueError, "target must hold class ids below 2"),
        (lambda n, x, y: FGSMAttackd("a", n, "y")({"y": y}), KeyError, "'a'"),
        (lambda n, x, y: FGSMAttackd("a", n, "y")({"a": x}), KeyError, "'y'"),
        (lambda n, x, y: FGSMAttackd("a", n, "y", mask_key="m")({"a": x, "y": y}), KeyError, "'m'"),
        (lambda n, x, y: FGSMAttackd("a", n, "y")([x]), TypeError, "data must be a dictionary"),
        (lambda n, x, y: FGSMAttackd(("a", "b"), n, "y")({"a": x, "b": x[:2], "y": y}), ValueError, "'b'.*batch size"),
        (lambda n, x, y: FGSMAttackd(("a", "b"), n, "y")({"a": x, "b": x[..., 2:], "y": y}), ValueError, "'b'.*shape"),
    ],
)
def test_errors(call, error, what):
    image = batch(16, 16)
    with pytest.raises(error, match=what):
        call(segmenter(2), image, labels(image))


def test_missing_keys_may_be_allowed():
    image = batch(16, 16)
    twin = PGDAttackd(("a", "b"), segmenter(2, 2), "y", allow_missing_keys=True)
    data = {"a": image, "y": labels(image)}
    out = twin(data)
    assert out is not data
    assert out["a"] is image


def test_negative_values_are_said_by_the_field():
    image = batch(16, 16) - 0.5
    with pytest.warns(UserWarning, match="negative values"):
        AdversarialBiasField(segmenter(2))(image, labels(image))


# ---- strength ----------------------------------------------------------------------------------------------------


def trained_segmenter() -> tuple[nn.Module, torch.Tensor, torch.Tensor]:
    """A net that tells bright from dark tissue in ellipsoids of two grey values: shading is what it bears worst."""
    generator = torch.Generator().manual_seed(0)
    axes = torch.stack(torch.meshgrid(torch.linspace(-1, 1, 32), torch.linspace(-1, 1, 32), indexing="ij"))
    centres = 0.5 * torch.rand(48, 2, 1, 1, generator=generator) - 0.25
    inner = ((axes - centres).square().sum(1) < 0.2)[:, None]
    body = (axes.square().sum(0) < 0.8).expand(48, 1, 32, 32)
    noise = 0.05 * torch.randn(48, 1, 32, 32, generator=generator)
    image = (0.6 * body + 0.2 * inner + noise).clamp_min(0) * body
    torch.manual_seed(0)
    net = UNet(2, 1, 2, channels=(8, 16), strides=(2,), norm="batch")
    optimiser = torch.optim.Adam(net.parameters(), 0.01)
    target = inner.long()
    for _ in range(40):
        optimiser.zero_grad()
        F.cross_entropy(net(image), target[:, 0]).backward()
        optimiser.step()
    return net.eval(), image, target


@pytest.fixture(scope="module")
def segmentation():
    return trained_segmenter()


def sample_losses(net: nn.Module, image: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    with torch.no_grad():
        return F.cross_entropy(net(image), target[:, 0], reduction="none").mean((1, 2))


@pytest.mark.parametrize("known", [True, False])
def test_the_worst_field_is_worse_than_random_ones(segmentation, known):
    """Of the same peak to peak, with a target and without; and within its bounds."""
    net, image, target = segmentation
    data = MetaTensor(image, meta={"affine": torch.eye(4).repeat(48, 1, 1)})
    data.is_batch = True
    out = AdversarialBiasField(net, 0.4).set_random_state(0)(data, target if known else None).as_tensor()
    inside = foreground(image, zero_point(image))
    for one, before, where in zip(out, image, inside, strict=True):
        gain = (one / before)[where].double()
        assert float(gain.max() - gain.min()) <= 0.4 * (1 + 1e-4)
        assert abs(float(gain.log().mean())) < 1e-5
    worst = sample_losses(net, out, target)
    field = RandMRIBiasField(0.4, prob=1.0).set_random_state(1)
    grid = VoxelGrid((32, 32))
    random = []
    for _ in range(30):
        terms = torch.from_numpy(np.stack([index_polynomial(field.draw()["coefficients"], grid) for _ in image]))
        random.append(sample_losses(net, bias(image, terms.float(), torch.full((48, 1, 1, 1), 0.4)), target))
    draws = torch.stack(random)
    assert float(worst.mean()) > 1.25 * float(draws.mean()) > 2.5 * float(sample_losses(net, image, target).mean())
    assert float((worst > draws).double().mean()) > 0.9


def test_more_of_everything_is_worse(segmentation):
    net, image, target = segmentation
    values = [float(sample_losses(net, FGSMAttack(net, e)(image, target), target).mean()) for e in (0, 0.005, 0.02)]
    assert values == sorted(values)
    single = FGSMAttack(net, 0.02)(image, target)
    several = PGDAttack(net, 0.02, 0.005, 10).set_random_state(0)(image, target)
    assert sample_losses(net, several, target).mean() > sample_losses(net, single, target).mean()


DATA = Path(os.environ.get("MONAI_MEDAUG_DATA", "")) / "pneumonia_28_trainval.npz"


@pytest.mark.skipif(not DATA.is_file(), reason="MONAI_MEDAUG_DATA is not set")
def test_accuracy_under_attack_falls_with_epsilon():
    """Chest radiographs: accuracy doesn't rise by more than a point with epsilon, and the bounds hold."""
    with np.load(DATA) as data:
        order = np.random.RandomState(0).permutation(len(data["train_images"]))[:2000]
        train = torch.from_numpy(data["train_images"][order])[:, None] / 255
        train_labels = torch.from_numpy(data["train_labels"][order].astype(np.int64))[:, 0]
        image = torch.from_numpy(data["val_images"][:250])[:, None] / 255
        target = torch.from_numpy(data["val_labels"][:250].astype(np.int64))[:, 0]
    torch.manual_seed(0)
    net = nn.Sequential(
        *(nn.Conv2d(1, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Conv2d(16, 32, 3, padding=1), nn.BatchNorm2d(32), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Flatten(), nn.Dropout(0.3), nn.Linear(32 * 49, 2)),
    )
    optimiser = torch.optim.Adam(net.parameters(), 1e-3)
    for _ in range(3):
        for rows in torch.randperm(len(train)).split(64):
            optimiser.zero_grad()
            F.cross_entropy(net(train[rows]), train_labels[rows]).backward()
            optimiser.step()
    epsilons = (0, 0.005, 0.01, 0.02, 0.05, 0.1)

    def accuracy(x: torch.Tensor) -> float:
        net.eval()
        with torch.no_grad():
            share = float((net(x).argmax(1) == target).double().mean())
        net.train()
        return share

    def accuracies(attack_of: Any) -> list[float]:
        found = []
        for epsilon in epsilons:
            out = attack_of(epsilon)(image, target)
            assert float((out - image).abs().max()) <= epsilon + 1e-6
            assert 0 <= float(out.min()) <= float(out.max()) <= 1
            found.append(accuracy(out))
        return found

    fixed = accuracies(lambda e: PGDAttack(net, e, value_range=(0, 1)).set_random_state(0))
    scaled = accuracies(lambda e: PGDAttack(net, e, e / 3, 6, value_range=(0, 1)).set_random_state(0))
    single = accuracies(lambda e: FGSMAttack(net, e, value_range=(0, 1)))
    for found in (fixed, scaled, single[:-1]):  # one single step of 0.1 overshoots
        assert found[0] > 0.9
        assert all(b <= a + 0.01 for a, b in itertools.pairwise(found)), found
    assert fixed[2] < fixed[0] - 0.03
    assert fixed[-1] < fixed[0] - 0.06
    assert scaled[-1] < 0.3
    assert net.training
