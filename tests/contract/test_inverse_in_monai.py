"""MONAI's inverse machinery around our containers: Invertd, allow_missing_keys_mode, batch inverse, test time."""

import copy
import pickle

import pytest
import torch
from monai.data import CacheDataset, DataLoader, Dataset, MetaTensor, decollate_batch
from monai.data.test_time_augmentation import TestTimeAugmentation as Averaged
from monai.transforms import (
    BatchInverseTransform,
    Compose,
    Flipd,
    Invertd,
    MapTransform,
    OneOf,
    RandFlipd,
    RandomOrder,
    SomeOf,
    Spacingd,
    allow_missing_keys_mode,
)

from monai_medaug.transforms import (
    Batched,
    PreservingCompose,
    RandAffineElasticd,
    RandCTDosed,
    RandHUContrastd,
    SampleSeeded,
    ct_augmentation,
    mri_augmentation,
)

BOTH = ("image", "label")


def moved(**changes):
    arguments = {"prob": 1.0, "mode": ("bilinear", "nearest"), "elastic_mm": (0, 1), "elastic_sigma": 6, **changes}
    return RandAffineElasticd(BOTH, **arguments)


CONTAINERS = {
    "twin": moved,
    "preset": lambda: ct_augmentation("image", prob=1.0),
    "preset with masks": lambda: ct_augmentation("image", "label", prob=1.0, strength="light"),
    "mri preset with masks": lambda: mri_augmentation("image", "label", prob=1.0),
    "guard": lambda: PreservingCompose([moved(), RandFlipd(BOTH, 1.0, 0), RandCTDosed("image")], "label"),
    "guard of a Compose": lambda: PreservingCompose([Compose([moved(), Flipd(BOTH, 1)])], "label"),
    "seeded": lambda: SampleSeeded(Compose([moved(), RandFlipd(BOTH, 1.0, 0)]), "id"),
    "seeded guard": lambda: SampleSeeded(PreservingCompose([moved(), Flipd(BOTH, 0)], "label"), "id"),
    "batched": lambda: Batched(Compose([moved(), RandHUContrastd("image", prob=1.0)])),
    "batched preset": lambda: Batched(ct_augmentation("image", "label", prob=1.0, strength="light")),
}
AROUND = {  # MONAI's allow_missing_keys_mode does not reach into its OneOf and SomeOf, whose own steps must allow it
    "alone": lambda t: t,
    "Compose": lambda t: Compose([Flipd(BOTH, 0), Compose([t])]),
    "OneOf": lambda t: Compose([Flipd(BOTH, 0), OneOf([t, copy.deepcopy(t)])]),
    "SomeOf": lambda t: Compose([Flipd(BOTH, 0), SomeOf([t, Flipd(BOTH, 1, True)], num_transforms=2)]),
    "RandomOrder": lambda t: Compose([Flipd(BOTH, 0), RandomOrder([t, RandFlipd(BOTH, 1.0, 1, True)])]),
}


def items(count=3, shape=(36, 32)):
    axes = torch.meshgrid(*[torch.linspace(-1, 1, n) for n in shape], indexing="ij")
    inside = torch.stack(axes).square().sum(0) < 0.4
    image = torch.where(inside, 60.0, -900.0)[None] + 20 * torch.sin(9 * axes[0])
    affine = torch.diag(torch.tensor([1.0, 1.5, 2.0, 1.0], dtype=torch.float64))
    return [
        {
            "image": MetaTensor(image + i, affine=affine),
            "label": MetaTensor(inside[None].byte(), affine=affine),
            "id": i,
        }
        for i in range(count)
    ]


def augmented(transform, name):
    """A batch, collated, through workers' machinery; `Batched` runs on the collated batch."""
    if name.startswith("batched"):
        return transform(next(iter(DataLoader(Dataset(items()), batch_size=3))))
    data = CacheDataset(items(), transform, progress=False)
    return next(iter(DataLoader(data, batch_size=3)))


@pytest.mark.parametrize("around", AROUND)
@pytest.mark.parametrize("name", CONTAINERS)
def test_a_prediction_is_inverted(name, around):
    """After inference: image and pred, or only what the network gave under the image's key; without the label."""
    if name.startswith("batched") and around != "alone":
        return
    container = CONTAINERS[name]()
    transform = AROUND[around](container)
    if isinstance(transform, Compose):
        transform.set_random_state(1)
    batch = augmented(transform, name)
    predicted = MetaTensor((batch["image"].as_tensor() > -400).float(), is_batch=True)
    for keys in (("image",), ("image", "label")):
        after = {key: batch[key] for key in keys} | {"pred": predicted}
        for item in decollate_batch(after):
            assert len(item["image"].applied_operations) > 0
            back = Invertd("pred", transform, orig_keys="image")(dict(item))
            assert set(back) == {*keys, "pred"}
            assert back["pred"].shape == (1, 36, 32)
            assert set(back["pred"].unique().tolist()) <= {0.0, 1.0}
            wanted = (items()[0]["image"] > -400).float()
            assert float((back["pred"] != wanted).float().mean()) < 0.08
            assert [r for r in back["pred"].applied_operations if "RandFlipd" in str(r["class"])] == []
            smooth = Invertd("pred", transform, orig_keys="image", nearest_interp=False)(dict(item))["pred"]
            assert smooth.shape == (1, 36, 32)
            alone = Invertd("image", transform, orig_keys="image")({"image": item["image"]})["image"]
            assert alone.applied_operations == []
            assert container.allow_missing_keys is False


def test_allow_missing_keys_mode_finds_containers_and_restores_them():
    for name, make in CONTAINERS.items():
        for wrap in (lambda t: t, lambda t: Compose([t]), lambda t: Compose([Compose([t, Flipd("image", 0)])])):
            container = make()
            assert isinstance(container, MapTransform), name
            assert container.allow_missing_keys is False
            whole = wrap(container)
            with allow_missing_keys_mode(whole):
                assert container.allow_missing_keys, name
                out = whole({"image": items(1)[0]["image"], "id": 0}) if "batch" not in name else {"image": 0}
                assert "label" not in out
            assert container.allow_missing_keys is False


def test_allow_missing_keys_mode_gives_each_step_its_own_state_back():
    """A container is one transform to MONAI: its steps that differ must differ again, at any depth."""
    for outer in (
        lambda s: PreservingCompose(s, None),
        lambda s: SampleSeeded(Compose(s)),
        lambda s: Batched(Compose(s)),
    ):
        steps = [
            moved(allow_missing_keys=True),
            Flipd(BOTH, 0),
            PreservingCompose([moved(), Flipd("x", 0, True)], None),
        ]
        inner = steps[2].transforms
        container = outer(steps)
        seen = (*steps[:2], *inner)
        before = [s.allow_missing_keys for s in seen]
        assert before == [True, False, False, True]
        for _ in range(2):
            with allow_missing_keys_mode(Compose([container])):
                assert all(s.allow_missing_keys for s in seen)
                with allow_missing_keys_mode(container):
                    assert all(s.allow_missing_keys for s in seen)
                assert all(s.allow_missing_keys for s in seen)
            assert [s.allow_missing_keys for s in seen] == before
        container.allow_missing_keys = True
        twin = pickle.loads(pickle.dumps(container)) if not isinstance(container, SampleSeeded) else container
        assert twin.allow_missing_keys
        twin.allow_missing_keys = False
        assert not twin.allow_missing_keys
    assert PreservingCompose([Compose([moved()])], "label").allow_missing_keys is False


def test_a_missing_label_is_noticed_through_a_compose():
    """A PreservingCompose of a Compose once took every missing mask for allowed, and checked nothing."""
    guard = PreservingCompose([Compose([RandCTDosed("image")])], "label")
    with pytest.raises(KeyError, match="'label' of PreservingCompose is missing"):
        guard({"image": items(1)[0]["image"]})


@pytest.mark.parametrize("name", [n for n in CONTAINERS if not n.startswith("batched")])
def test_batch_inverse_and_test_time_augmentation(name):
    transform = Compose([Spacingd(BOTH, (1.0, 1.0), mode=("bilinear", "nearest")), CONTAINERS[name]()])
    transform.set_random_state(0)
    loader = DataLoader(Dataset(items(), transform), batch_size=3)
    inverse = BatchInverseTransform(transform, loader)
    for keys in (BOTH, ("image",)):
        batch = next(iter(loader))  # MONAI empties its traces in place
        with allow_missing_keys_mode(transform):
            back = inverse({key: batch[key] for key in keys})
        assert [i[keys[-1]].shape for i in back] == [(1, 36, 32)] * 3
        assert all(i[key].applied_operations == [] for i in back for key in keys)
    if name.startswith("seeded"):
        return  # its draws don't change from call to call
    average = Averaged(
        transform, 2, 0, lambda x: (x > -400).float(), orig_key="image", nearest_interp=True, progress=False
    )
    mode, mean, spread, _ = average(items(1)[0], num_examples=4)
    assert mode.shape == mean.shape == spread.shape == (1, 36, 32)
    assert float((mode != items(1)[0]["label"]).float().mean()) < 0.08
    assert float(spread.max()) > 0
