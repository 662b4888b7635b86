"""Draws that depend on seed, sample and epoch alone."""

import copy
import pickle
import threading
import warnings
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from monai.data import (
    CacheDataset,
    DataLoader,
    Dataset,
    GridPatchDataset,
    MetaTensor,
    PatchDataset,
    PatchIterd,
    decollate_batch,
    list_data_collate,
    partition_dataset,
    set_track_meta,
)
from monai.transforms import (
    Compose,
    Lambdad,
    OneOf,
    RandCropByLabelClassesd,
    RandCropByPosNegLabeld,
    RandFlipd,
    RandGaussianNoised,
    RandGridPatchd,
    RandSpatialCropSamplesd,
    RandWeightedCropd,
)

from monai_medaug.core.sample_seed import SampleSeeds
from monai_medaug.transforms import (
    Batched,
    RandCTDosed,
    RandHUContrastd,
    SampleSeeded,
    augmentation_report,
    ct_augmentation,
    replay,
)

SIZE = 9


def items(size=SIZE):
    ramp = torch.linspace(-900, 900, 20 * 16).reshape(1, 20, 16)
    return [{"image": MetaTensor(ramp + i), "case": f"case_{i}", "number": i} for i in range(size)]


def chain():
    return Compose(
        [
            RandFlipd("image", prob=0.5),
            OneOf([RandHUContrastd("image", prob=1.0), RandCTDosed("image", prob=1.0)]),
            RandGaussianNoised("image", prob=0.5),
        ]
    )


TRANSFORMS = {
    "wrapper": lambda: SampleSeeded(chain(), "case", seed=4),
    "wrapper of a preset": lambda: SampleSeeded(ct_augmentation("image"), "number", seed=4),
    "preset": lambda: ct_augmentation("image", sample_key="case", seed=4),
}


def epoch_of(loader):
    """The images of an epoch by sample."""
    return {sample["case"]: sample["image"].as_tensor() for batch in loader for sample in decollate_batch(batch)}


def same(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)


@pytest.mark.parametrize("name", TRANSFORMS)
def test_workers_order_ranks_and_resuming_make_no_difference(name):
    def epochs(transform, workers, shuffle=False, persistent=False, batch_size=2, data=None, which=(0, 1)):
        dataset = Dataset(items() if data is None else data, transform)
        loader = DataLoader(
            dataset, batch_size=batch_size, shuffle=shuffle, num_workers=workers, persistent_workers=persistent
        )
        found = []
        for epoch in which:
            transform.set_epoch(epoch)
            found.append(epoch_of(loader))
        return found

    first, second = epochs(TRANSFORMS[name](), 0)
    assert not same(first, second)
    assert len({float(x.std()) for x in first.values()}) > SIZE // 2
    for options in (
        {"workers": 1},
        {"workers": 2, "shuffle": True, "persistent": True},
        {"workers": 0, "shuffle": True, "batch_size": 3},
    ):
        other = epochs(TRANSFORMS[name](), **options)
        assert same(first, other[0])
        assert same(second, other[1])
    assert same(second, epochs(TRANSFORMS[name](), 0, which=(1,))[0])  # resumed
    ranks = partition_dataset(items(), num_partitions=2, shuffle=True, seed=1, even_divisible=False)
    parts = [epochs(TRANSFORMS[name](), 0, data=part)[0] for part in ranks]
    assert same(first, {**parts[0], **parts[1]})


@pytest.mark.parametrize("name", TRANSFORMS)
def test_a_batch_gets_what_its_samples_get(name):
    transform = TRANSFORMS[name]()
    transform.set_epoch(3)
    wanted = [transform(item) for item in items()]
    out = Batched(transform)(list_data_collate(items()))
    for found, single in zip(decollate_batch(out), wanted, strict=True):
        torch.testing.assert_close(found["image"].as_tensor(), single["image"].as_tensor(), rtol=0, atol=2e-3)


def test_copies_pickles_and_other_seeds():
    transform = TRANSFORMS["wrapper"]()
    transform.set_epoch(2)
    wanted = transform(items()[0])["image"]
    for twin in (copy.deepcopy(transform), pickle.loads(pickle.dumps(transform))):
        assert torch.equal(twin(items()[0])["image"].as_tensor(), wanted.as_tensor())
    other = SampleSeeded(chain(), "case", seed=5)
    other.set_epoch(2)
    assert not torch.equal(other(items()[0])["image"].as_tensor(), wanted.as_tensor())


def test_caching_stops_before_it():
    transform = TRANSFORMS["wrapper"]()
    data = CacheDataset(items(3), Compose([transform]), progress=False)
    first = data[0]["image"].clone()
    transform.set_epoch(1)
    assert not torch.equal(first, data[0]["image"])


def test_a_report_repeats_it():
    transform, item = TRANSFORMS["preset"](), items()[0]
    transform.set_epoch(7)
    out = transform(item)
    report = augmentation_report(out)
    assert torch.equal(replay(item, report)["image"].as_tensor(), out["image"].as_tensor())
    back = transform.inverse(out)
    assert back["image"].applied_operations == []


@pytest.mark.parametrize("number", [7, np.int64(7), torch.tensor(7), torch.tensor([7]), np.array(7)])
def test_whole_numbers_of_any_kind_are_one_id(number):
    transform = SampleSeeded(RandCTDosed("image", prob=1.0), "number")
    image = torch.zeros(1, 8, 8)
    wanted = transform({"image": image, "number": 7})["image"]
    assert torch.equal(transform({"image": image, "number": number})["image"], wanted)


def test_what_is_wrong_is_said():
    transform = SampleSeeded(RandCTDosed("image", prob=1.0), "number")
    image = torch.zeros(1, 8, 8)
    with pytest.raises(KeyError, match="'number' of the sample's id is missing"):
        transform({"image": image})
    for bad in (1.5, True, None, [1, 2], torch.tensor([1, 2])):
        with pytest.raises(ValueError, match="'number' must be a string or a whole number"):
            transform({"image": image, "number": bad})
    with pytest.raises(TypeError, match="dictionary with the sample's id"):
        transform(image)
    with pytest.raises(ValueError, match="epoch must be"):
        transform.set_epoch(-1)
    with pytest.raises(ValueError, match="without sample_key"):
        ct_augmentation("image").set_epoch(1)
    assert not hasattr(transform, "set_random_state")  # a loader's workers would call it


@pytest.mark.parametrize("name", TRANSFORMS)
def test_threads_that_share_it(name):
    transform = TRANSFORMS[name]()
    wanted = [transform(item)["image"].as_tensor() for item in items(24)]
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda item: transform(item)["image"].as_tensor(), items(24)))
    assert all(torch.equal(a, b) for a, b in zip(found, wanted, strict=True))


class HoldsLock:
    """A callable that can't be copied, and counts its calls."""

    def __init__(self):
        self.lock, self.calls = threading.Lock(), 0

    def __call__(self, value):
        self.calls += 1
        return value


@pytest.mark.parametrize("main", [True, False])
def test_threads_see_what_is_changed_and_keep_what_children_hold(main):
    held = HoldsLock()
    chain = Compose([Lambdad("image", held), RandCTDosed("image", prob=1.0)])
    for transform in (SampleSeeded(chain, "number"), ct_augmentation("image", prob=1.0)):
        steps = chain.transforms if isinstance(transform, SampleSeeded) else transform.transforms
        with ThreadPoolExecutor(1) as pool:
            for prob in (1.0, 0.0):
                steps[-1].prob = prob
                out = transform(items()[0]) if main else pool.submit(transform, items()[0]).result()
                step = [r for r in out["image"].applied_operations if r["class"] == "RandCTDosed"][-1]
                assert step["do_transforms"] == bool(prob)
    assert held.calls == 2


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda t: pickle.loads(pickle.dumps(t))])
def test_workers_of_a_copy_hear_of_the_epoch(copied):
    transform = copied(TRANSFORMS["wrapper"]())
    loader = DataLoader(Dataset(items(), transform), batch_size=2, num_workers=2, persistent_workers=True)
    epochs = []
    for epoch in (0, 1):
        transform.set_epoch(epoch)
        epochs.append(epoch_of(loader))
    assert not same(*epochs)


# ---- crops of one case ---------------------------------------------------------------------------------------------


def cases(size=3, shape=(24, 24)):
    """Images of one value with a label, so that a draw shows as the factor of `RandHUContrastd`."""
    label = (torch.arange(24 * 24).reshape(1, *shape) % 5 == 0).float()
    return [
        {"image": MetaTensor(torch.full((1, *shape), 100.0)), "label": MetaTensor(label), "id": f"case_{i}"}
        for i in range(size)
    ]


BOTH = ["image", "label"]
CROPS = {
    "pos-neg": lambda: RandCropByPosNegLabeld(BOTH, "label", (8, 8), num_samples=4),
    "spatial": lambda: RandSpatialCropSamplesd(BOTH, (8, 8), 4, random_size=False),
    "weighted": lambda: RandWeightedCropd(BOTH, "label", (8, 8), num_samples=4),
    "classes": lambda: RandCropByLabelClassesd(BOTH, "label", (8, 8), [1, 1], num_classes=2, num_samples=4),
}


def contrast():
    return SampleSeeded(RandHUContrastd("image", prob=1.0), "id", seed=1)


def drawn(samples):
    """The factor that each sample got."""
    return [sample["image"].applied_operations[-1]["extra_info"]["params"]["factor"] for sample in samples]


@pytest.mark.parametrize("make", CROPS.values(), ids=CROPS)
def test_each_crop_of_a_case_has_its_own_draw(make):
    """The same in the sample, in a collated batch, in the preset, and in any worker."""
    stable = contrast()
    pipeline = Compose([make().set_random_state(0), stable])
    outs = [out for case in cases() for out in pipeline(case)]
    factors = drawn(outs)
    assert len(set(factors)) == 12
    again = Compose([make().set_random_state(5), contrast()])  # other places of the crops
    assert drawn([out for case in cases() for out in again(case)]) == factors
    batch = list_data_collate([make()(case) for case in cases()])
    assert drawn(decollate_batch(Batched(stable)(batch))) == factors
    loader = DataLoader(Dataset(cases(), pipeline), batch_size=1, num_workers=2)
    assert drawn([sample for batch in loader for sample in decollate_batch(batch)]) == factors
    preset = Compose([make(), ct_augmentation("image", sample_key="id", prob=1.0)])
    assert len({augmentation_report(out)["seed"] for case in cases() for out in preset(case)}) == 12


def test_without_crops_the_seed_is_that_of_the_id():
    assert SampleSeeds("id", 1).of(cases()[0]) == SampleSeeds("id", 1).of({"id": "case_0"})


def test_patches_of_monai_datasets():
    crop = RandSpatialCropSamplesd(BOTH, (8, 8), 4, random_size=False)
    assert len(set(drawn(PatchDataset(cases(), crop, samples_per_image=4, transform=contrast())))) == 12
    stable = contrast()
    patches = list(GridPatchDataset(cases(), PatchIterd(BOTH, (12, 12)), transform=stable, with_coordinates=False))
    assert len(set(drawn(patches))) == 12
    grid = PatchIterd(BOTH, (12, 12))
    batch = list_data_collate([patch for case in cases() for patch, _ in grid(case)])
    assert drawn(decollate_batch(Batched(stable)(batch))) == drawn(patches)


def test_patches_along_the_batch_axis():
    """As `RandGridPatchd` gives them: one id for all."""
    patches = RandGridPatchd("image", (12, 12), num_patches=4)(cases()[0])
    out = Batched(contrast())(patches)["image"]
    assert len({trace[-1]["extra_info"]["params"]["factor"] for trace in out.applied_operations}) == 4


def test_a_crop_of_a_crop_counts_what_its_meta_data_tell():
    """The key that only the first crop cut keeps that one's index."""
    outer = RandSpatialCropSamplesd(BOTH, (16, 16), 2, random_size=False)
    inner = RandSpatialCropSamplesd("image", (8, 8), 3, random_size=False)
    assert len(set(drawn([contrast()(crop) for part in outer(cases()[0]) for crop in inner(part)]))) == 6


def test_samples_that_can_not_be_told_apart_are_said():
    crop = CROPS["spatial"]()
    set_track_meta(False)
    try:
        crops = crop(cases()[0])
    finally:
        set_track_meta(True)
    stable = contrast()
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        for sample in [*cases(), *cases()]:
            stable(sample)
        for sample in crop(cases()[0]):
            stable(sample)
        stable(cases()[0])
        stable.set_epoch(1)
        stable(cases()[0])
        assert [str(w.message) for w in said] == []
        for sample in (*crops, *crops):
            stable(sample)
    assert ["twice in a row" in str(w.message) for w in said] == [True]
