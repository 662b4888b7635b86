"""The conventions of MONAI that every chain of policies keeps; classes are found, none is named."""

import inspect
import itertools
import pickle
from copy import deepcopy

import numpy as np
import pytest
import torch
from monai.data import CacheDataset, DataLoader, MetaTensor, decollate_batch
from monai.transforms import Compose, Invertd
from monai.transforms.inverse import InvertibleTransform

from monai_medaug import policies
from monai_medaug.policies.pipeline import PolicyChain
from monai_medaug.transforms import Batched, augmentation_report, replay
from tests.contract.cases import KINDS, as_kind, assert_untouched, same, snapshot
from tests.pipelines.shared import without_meta
from tests.workers import fresh_processes

POLICY = {
    "schema": 1,
    "modality": "xray",
    "sub_policies": [[["rotate", 0.9, 1], ["photon_noise", 1, 1]], [["translate", 1, 0.7], ["contrast", 0.5, 1]]],
}
CLASSES = sorted(
    {c for c in vars(policies).values() if inspect.isclass(c) and issubclass(c, PolicyChain)}, key=lambda c: c.__name__
)
DICTIONARY = [c for c in CLASSES if "keys" in inspect.signature(c).parameters]
ARRAY = [c for c in CLASSES if c not in DICTIONARY]

every_dictionary_class = pytest.mark.parametrize("cls", DICTIONARY, ids=lambda c: c.__name__)
each_own_code = pytest.mark.parametrize(
    "cls", [policies.MedTrivialAugmentd, policies.AdaptiveAugmentd], ids=lambda c: c.__name__
)
"""Checks of what all chains inherit: of one that adds nothing, and of the one that overrides."""
every_array_class = pytest.mark.parametrize("cls", ARRAY, ids=lambda c: c.__name__)


def made(cls, seed=0, **changes):
    """An instance for radiographs, seeded."""
    needed = {"policy": POLICY, "modality": "xray", "keys": "image"}
    given = {name: value for name, value in needed.items() if name in inspect.signature(cls).parameters}
    return cls(**given, **changes).set_random_state(seed)


def root_of(error: BaseException) -> BaseException:
    """MONAI's Compose says which transform failed, and keeps why as the cause."""
    while error.__cause__ is not None:
        error = error.__cause__
    return error


def first_error(cls, data, **changes) -> BaseException:
    """Of the draws of 20 seeds: one that skips or leaves the key alone has nothing to say."""
    for seed in range(20):
        try:
            made(cls, seed, **changes)(data)
        except (KeyError, RuntimeError, ValueError) as error:
            return root_of(error)
    raise AssertionError("nothing was said")


def radiograph(seed: int = 0, shape=(40, 36)) -> torch.Tensor:
    rng = np.random.default_rng(seed)
    x, y = np.meshgrid(*[np.linspace(-1, 1, n) for n in shape], indexing="ij")
    body = 3000 * np.clip(0.9 - x**2 - y**2, 0, None) ** 0.5 + 300 * (np.abs(x - 0.2) < 0.1)
    return torch.from_numpy((body + rng.normal(0, 15, shape)).clip(0).astype(np.float32))[None]


def organ(shape=(40, 36), dtype=torch.uint8) -> torch.Tensor:
    mask = torch.zeros(1, *shape, dtype=dtype)
    mask[:, 12:28, 10:26] = 1
    return mask


def sample(seed: int = 0) -> dict:
    return {"image": MetaTensor(radiograph(seed)), "label": MetaTensor(organ())}


def test_classes_are_found_with_their_aliases():
    assert {"PolicyAugmentation", "MedTrivialAugmentd", "MedRandAugmentd"} <= {c.__name__ for c in DICTIONARY}
    for cls in ARRAY:
        twin = getattr(policies, f"{cls.__name__}d")
        assert getattr(policies, f"{cls.__name__}D") is getattr(policies, f"{cls.__name__}Dict") is twin
        assert issubclass(cls, twin)
    assert set(policies.__all__) <= set(vars(policies))


@every_dictionary_class
@pytest.mark.parametrize("kind", KINDS)
def test_kinds_come_back_and_the_callers_data_is_untouched(cls, kind):
    augment = made(cls, mask_keys="label")
    for seed in range(2):
        data = {"image": as_kind(radiograph(seed), kind), "label": as_kind(organ(), kind), "other": "kept"}
        before = {k: snapshot(data[k]) for k in ("image", "label")}
        out = augment(data)
        for key in before:
            assert type(out[key]) is type(data[key])
            assert_untouched(data[key], before[key], key)
        assert out["label"].dtype == data["label"].dtype
        assert out["other"] == "kept"


@each_own_code
@pytest.mark.parametrize("dtype", [torch.int16, torch.uint16, torch.float16, torch.float64])
def test_units_and_types_of_images(cls, dtype):
    image = radiograph().to(dtype)
    out = made(cls)({"image": MetaTensor(image)})["image"]
    assert out.dtype == (dtype if dtype.is_floating_point else torch.float32)
    assert bool(torch.isfinite(out).all())
    assert 0.3 < float(out.double().std() / image.double().std()) < 3


@every_dictionary_class
def test_a_seed_repeats_and_copies_and_pickles_continue(cls):
    augment = made(cls, seed=5)
    first = [augment(sample())["image"] for _ in range(6)]
    again = made(cls, seed=5)
    assert all(same(a, again(sample())["image"]) for a in first)
    assert sum(not same(a, b) for a, b in itertools.pairwise(first)) >= 3, "hardly anything is drawn"
    copies = [deepcopy(augment), pickle.loads(pickle.dumps(augment))]
    following = augment(sample())["image"]
    assert all(same(copy(sample())["image"], following) for copy in copies)


@every_dictionary_class
def test_masks_follow_images_and_keep_their_values(cls):
    """An image that is the mask: geometry moves both alike, other steps keep its two levels apart."""
    augment = made(cls, mask_keys=["label", "onehot"], guard=False)
    for seed in range(5):
        augment.set_random_state(seed)
        mask = organ() * 7
        onehot = torch.cat([organ() == 0, organ() != 0]).float()
        image = 1000 * organ(dtype=torch.float32) + radiograph(seed) / 100
        data = {"image": MetaTensor(image), "label": MetaTensor(mask), "onehot": MetaTensor(onehot)}
        out = augment(data)
        assert set(out["label"].unique().tolist()) <= {0, 7}
        assert bool((out["onehot"].sum(0) == 1).all())
        assert torch.equal(out["onehot"][1] > 0, out["label"][0] > 0)
        inside, outside = (out["image"][0][m].median() for m in (out["label"][0] > 0, out["label"][0] == 0))
        assert float(inside) > float(outside) + 100


@each_own_code
def test_inverse_and_invertd_bring_masks_back(cls):
    augment = made(cls, mask_keys="label", guard=False)
    data = sample()
    moved = 0
    for seed in range(7):
        out = augment.set_random_state(seed)(data)
        back = augment.inverse(out)
        assert not [r for r in back["label"].applied_operations if "extra_info" in r and "uid" in r["extra_info"]]
        union = float((data["label"] + back["label"]).sum())
        assert 2 * float((data["label"] * back["label"]).sum()) / union > 0.85
        moved += not same(out["label"], data["label"])
    assert moved >= 1
    assert isinstance(augment, InvertibleTransform)


@every_dictionary_class
def test_report_and_replay(cls):
    augment = made(cls, mask_keys="label")
    for seed in range(3):
        out = augment.set_random_state(seed)(sample(seed))
        report = augmentation_report(out)
        assert str(report)
        text = report.to_json()
        assert same(replay(sample(seed), text, transform=augment)["image"], out["image"])
        assert same(replay(sample(seed), text, transform=made(cls, seed=99, mask_keys="label"))["image"], out["image"])


@each_own_code
@pytest.mark.parametrize("masks", [(), "label"])
def test_a_batch_is_its_samples(cls, masks):
    data = [sample(s) for s in range(4)]
    collated = {k: torch.stack([d[k].as_tensor() for d in data]) for k in ("image", "label")}
    together = Batched(made(cls, mask_keys=masks)).set_random_state(3)(collated)
    alone = made(cls, mask_keys=masks).set_random_state(3)
    for s, one in enumerate(data):
        out = alone(one)
        assert torch.equal(together["label"][s], out["label"].as_tensor())
        extent = float(one["image"].max() - one["image"].min())
        assert float((together["image"][s] - out["image"].as_tensor()).abs().max()) < 2e-5 * extent


@each_own_code
def test_without_meta_data_the_voxels_are_the_same(cls):
    augment = made(cls, mask_keys="label")
    expected = augment.set_random_state(2)(sample())
    with without_meta():
        out = augment.set_random_state(2)({k: v.as_tensor() for k, v in sample().items()})
    assert type(out["image"]) is torch.Tensor
    assert same(out["image"], expected["image"])


@each_own_code
def test_missing_keys_and_masks_among_images(cls):
    for guard in (False, True):
        found = first_error(cls, {"image": MetaTensor(radiograph())}, mask_keys="label", guard=guard)
        assert isinstance(found, KeyError)
        assert "'label'" in str(found)
    lenient = made(cls, mask_keys="label", allow_missing_keys=True)
    assert "label" not in lenient({"image": MetaTensor(radiograph())})
    with pytest.raises(ValueError, match="keys must be images alone"):
        made(cls, mask_keys="image")


@each_own_code
def test_what_is_not_finite_is_said_by_key(cls):
    image = radiograph()
    image[0, 3, 3] = float("nan")
    found = first_error(cls, {"image": image})
    assert isinstance(found, ValueError)
    assert "'image' must be finite" in str(found)


@each_own_code
def test_draws_by_sample_do_not_depend_on_the_order(cls):
    augment = made(cls, sample_key="id")
    items = [{**sample(s), "id": f"case {s}"} for s in range(3)]
    first = [augment(i)["image"] for i in items]
    assert all(same(a, augment(i)["image"]) for a, i in zip(first[::-1], items[::-1], strict=True))
    augment.set_epoch(1)
    assert any(not same(a, augment(i)["image"]) for a, i in zip(first, items, strict=True))


@every_array_class
def test_array_classes_take_images_and_say_what_else_is_wrong(cls):
    augment = made(cls)
    out = augment(radiograph())
    assert out.shape == (1, 40, 36)
    assert Compose([augment, augment])(radiograph().numpy()).shape == (1, 40, 36)
    with pytest.raises(TypeError, match=f"{cls.__name__}d takes"):
        augment({"image": radiograph()})
    with pytest.raises(TypeError, match="with a d"):
        made(cls, mask_keys="label")


@pytest.mark.slow
def test_two_spawned_workers_give_the_samples_of_none():
    """For one class: the mechanism is common to all."""
    chain = Compose([made(policies.MedTrivialAugmentd, mask_keys="label", sample_key="id")])
    items = [{**sample(s), "id": f"case {s}"} for s in range(4)]
    found = []
    for workers in (0, 2):
        started = {"multiprocessing_context": fresh_processes("forkserver")} if workers else {}
        loader = DataLoader(CacheDataset(items, chain, progress=False), batch_size=2, num_workers=workers, **started)
        found.append([item["image"] for batch in loader for item in decollate_batch(batch)])
    assert all(same(a, b) for a, b in zip(*found, strict=True))


def test_a_prediction_comes_back_through_invertd():
    augment = made(policies.MedTrivialAugmentd, mask_keys="label", operations=["rotate", "shear"], guard=False)
    chain = Compose([augment])
    batch = next(iter(DataLoader([chain(sample(s)) for s in range(2)], batch_size=2)))
    batch["pred"] = batch["label"].clone().float()
    invert = Invertd("pred", chain, orig_keys="label", nearest_interp=True, to_tensor=True)
    for item in decollate_batch(batch):
        back = invert(item)["pred"]
        overlap = 2 * float((back * organ()).sum()) / float((back + organ()).sum())
        assert overlap > 0.9
