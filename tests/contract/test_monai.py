"""MONAI's own machinery around our transforms: Compose and its kin, lazy resampling, caches, configs, samples."""

import json
import warnings

import pytest
import torch
from monai.bundle import ConfigParser
from monai.data import CacheDataset, DataLoader, Dataset, SmartCacheDataset
from monai.transforms import (
    Compose,
    OneOf,
    RandFlipd,
    RandSpatialCropSamplesd,
    Rotate90,
    Rotate90d,
    SomeOf,
    Spacing,
    Spacingd,
)
from monai.transforms.traits import RandomizableTrait
from monai.transforms.transform import MapTransform, Randomizable, Transform

import monai_medaug  # noqa: F401
from monai_medaug import transforms

from .cases import (
    AFFINE,
    CASES,
    RANDOM_CASES,
    Case,
    assert_untouched,
    contract,
    distance,
    meta_tensor,
    records,
    same,
    snapshot,
)


def check_kind_of_transform(case: Case) -> None:
    """MONAI recognises what it is: Transform, MapTransform, Randomizable or not; and the backend is declared."""
    array, twin = case.array(), case.twin(("a", "b"))
    assert isinstance(array, Transform)
    assert isinstance(twin, MapTransform)
    assert twin.keys == ("a", "b")
    for transform in (array, twin):
        assert isinstance(transform, Randomizable) == case.random
        assert isinstance(transform, RandomizableTrait) == case.random
    assert case.cls.backend
    assert twin.allow_missing_keys is False
    assert list(twin.key_iterator({"a": 1, "b": 2})) == ["a", "b"]


def check_compose(case: Case) -> None:
    """In a Compose the result depends on the outermost seed alone."""
    data = {"image": meta_tensor(case.image())}

    def run(seed: int):
        pipeline = Compose([RandFlipd("image", 0.5, 0), Compose([case.twin(seed=1)])]).set_random_state(seed)
        return [pipeline(data)["image"] for _ in range(2)]

    first, again, other = run(3), run(3), run(4)
    assert all(same(a, b) for a, b in zip(first, again, strict=True))
    if case.random and not case.cls.permutes:
        assert not same(first[0], first[1])
        assert not same(first[0], other[0])
    array = Compose([case.array(seed=5)])
    array.set_random_state(3)
    assert records(array(data["image"]))[-1]["class"] == case.cls.__name__


def check_one_of_and_some_of(case: Case) -> None:
    """OneOf and SomeOf repeat with their seed, and their own inverse undoes them."""
    image = meta_tensor(case.image(), traced=False)
    for make in (
        lambda: OneOf([case.twin(seed=1), RandFlipd("image", 1.0, 0)]),
        lambda: SomeOf([case.twin(seed=1), RandFlipd("image", 1.0, 0)], num_transforms=2),
    ):
        seen = set()
        for seed in range(5):
            pipeline = make().set_random_state(seed)
            out = pipeline({"image": image})
            again = make().set_random_state(seed)({"image": image})
            assert same(out["image"], again["image"]), "the same seed gave another result"
            seen |= {r["class"] for r in out["image"].applied_operations}
            back = pipeline.inverse(out)["image"]
            assert back.applied_operations == [], "records are left after the inverse"
        assert case.twin_class.__name__ in seen
        assert "RandFlipd" in seen


def check_lazy(case: Case) -> None:
    """Pending operations of lazy transforms are carried out first, and the caller's pending list stays.

    MONAI's resampling makes complex images real: a class that takes nothing else refuses them then.
    """
    dims = case.dims[-1]
    image = meta_tensor(case.image(dims), torch.eye(4, dtype=torch.float64), traced=False)
    steps = [Rotate90d("image", k=1), Spacingd("image", pixdim=(0.8, 1.2, 1.0)[:dims])]
    if image.is_complex():
        with pytest.raises(ValueError, match="must be complex"):
            case.array()(Spacing((0.8, 1.2, 1.0)[:dims], lazy=True)(Rotate90(k=1, lazy=True)(image)))
        return
    eager = Compose(steps)({"image": image})["image"]
    spatial = Compose(steps, lazy=True)({"image": image})["image"]
    assert distance(eager, spatial) < 0.05, "lazy and eager resampling differ before our step"
    wanted = case.array(seed=8)(spatial)
    piped = Compose([*steps, case.twin(seed=1)], lazy=True)
    piped.transforms[-1].set_random_state(8) if case.random else None
    outs = [piped({"image": image})["image"]]
    waiting = Spacing((0.8, 1.2, 1.0)[:dims], lazy=True)(Rotate90(k=1, lazy=True)(image))
    assert waiting.has_pending_operations
    before = snapshot(waiting)
    outs += [case.array(seed=8)(waiting), case.twin(seed=8)({"image": waiting})["image"]]
    assert_untouched(waiting, before, "pending operations")
    for out in outs:
        assert not out.has_pending_operations
        assert out.shape == wanted.shape
        assert distance(out, wanted) < 1e-5
        assert torch.allclose(out.affine, wanted.affine)
        assert not case.keeps_grid or torch.allclose(out.affine, spatial.affine)
        assert len(out.applied_operations) == 3
        assert len(records(out)) == 1, "the spatial steps left no record, or ours left several"


def check_cache(case: Case) -> None:
    """CacheDataset keeps the result of a deterministic transform and draws anew for a random one."""
    data = [{"image": meta_tensor(case.image(), traced=False)}]
    for kind in (CacheDataset, SmartCacheDataset):
        dataset = kind(data, Compose([case.twin()]), progress=False)
        dataset.transform.set_random_state(0)
        cached = dataset._cache[0]["image"]
        assert len(records(cached)) == (0 if case.random else 1)
        before = snapshot(cached)
        one, other = dataset[0]["image"], dataset[0]["image"]
        assert same(one, other) != case.random
        assert len(records(one)) == 1
        assert_untouched(dataset._cache[0]["image"], before, "the cache")


def check_many_samples(case: Case) -> None:
    """After a crop that returns several samples, each has a draw of its own, and MONAI collates them."""
    dims = case.dims[-1]
    crop = RandSpatialCropSamplesd("image", roi_size=(12,) * dims, num_samples=3, random_size=False)
    pipeline = Compose([crop, case.twin()]).set_random_state(0)
    data = {"image": meta_tensor(case.image(dims), traced=False)}
    out = pipeline(data)
    assert len(out) == 3
    drawn = [records(o["image"])[-1]["extra_info"]["params"] for o in out]
    assert (drawn[0] != drawn[1] != drawn[2]) == case.random
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        batch = next(iter(DataLoader(Dataset([data] * 2, pipeline), batch_size=2)))
    assert batch["image"].shape == (6, *case.out_shape(torch.zeros(1, *(12,) * dims)))
    assert [len(t) for t in batch["image"].applied_operations] == [2] * 6


@contract(
    [
        check_kind_of_transform,
        check_compose,
        check_one_of_and_some_of,
        check_lazy,
        check_cache,
        check_many_samples,
    ]
)
def test_monai(check, case):
    check(case)


@pytest.fixture(scope="module")
def configured() -> ConfigParser:
    """Every public transform from JSON: array and twin, by full name, short name and each alias."""
    config = {}
    for case in CASES:
        name = case.cls.__name__
        for prefix in ("monai_medaug.transforms.", ""):
            config[f"{prefix}{name}"] = {"_target_": f"{prefix}{name}", **case.arguments}
            for ending in ("d", "D", "Dict"):
                target = f"{prefix}{name}{ending}"
                config[target] = {"_target_": target, "keys": "image", **case.arguments}
    names = {f"item{i}": entry for i, entry in enumerate(config.values())}
    parser = ConfigParser(json.loads(json.dumps(names)))
    parser.names = dict(zip(config, names, strict=True))
    return parser


@pytest.mark.parametrize("case", CASES, ids=str)
def test_config_parser(case, configured):
    """A bundle's config builds every transform, by its full name and, after importing the package, its short one."""
    for target, item in configured.names.items():
        name = target.split(".")[-1]
        if getattr(transforms, name) not in (case.cls, case.twin_class):
            continue
        built = configured.get_parsed_content(item)
        assert type(built) is getattr(transforms, name), f"{target} gave {type(built)}"
        if case.random:
            built.set_random_state(0)
        image = meta_tensor(case.image(), AFFINE)
        out = built(image) if type(built) is case.cls else built({"image": image})["image"]
        assert tuple(out.shape) == case.out_shape(image)


def test_some_transforms_are_random():
    assert RANDOM_CASES
