"""Batched containers: as if the samples came one after another, in one kernel call an operation."""

import copy
import warnings

import pytest
import torch
from monai.data import MetaTensor, decollate_batch, list_data_collate
from monai.transforms import (
    Compose,
    Lambdad,
    OneOf,
    RandFlipd,
    RandGibbsNoised,
    RandomOrder,
    ScaleIntensityd,
    SomeOf,
)

from monai_medaug.core import call
from monai_medaug.transforms import (
    Batched,
    BatchMixd,
    PreservingCompose,
    RandAffineElasticd,
    RandHUContrast,
    RandHUContrastd,
    RandMRIBiasFieldd,
    RandMRINoise,
    RandMRINoised,
    RandThickSliced,
    augmentation_report,
    ct_augmentation,
    mri_augmentation,
    replay,
    xray_augmentation,
)
from tests.contract.cases import CASES, RANDOM_CASES, cast, same

BOTH = ("image", "label")
SHAPES = [(20, 24), (16, 18, 12)]
SIZE = 5


def items(shape, size=SIZE, dtype=torch.float32):
    """Samples of different content and spacing: an MR-like image and its labels."""
    axes = torch.meshgrid(*[torch.linspace(-1, 1, n) for n in shape], indexing="ij")
    inside = torch.stack(axes).square().sum(0) < 0.7
    found = []
    for i in range(size):
        affine = torch.diag(torch.tensor([1.0, 1 + 0.1 * i, 2.0, 1.0], dtype=torch.float64))
        image = torch.where(inside, 100 + 10 * i + 20 * torch.sin((4 + i) * axes[0]), torch.tensor(0.0))[None].to(dtype)
        found.append(
            {
                "image": MetaTensor(image, affine=affine),
                "label": MetaTensor(inside[None].to(torch.uint8), affine=affine),
                "id": i,
            }
        )
    return found


def steps():
    return [
        RandAffineElasticd(("image", "label"), prob=0.7, mode=("bilinear", "nearest"), elastic_sigma=4),
        RandMRIBiasFieldd("image", prob=0.7),
        RandMRINoised("image", prob=0.7),
    ]


CONTAINERS = {
    "Compose": lambda: Compose(steps()),
    "nested": lambda: Compose([OneOf(steps()), Compose(steps()[1:])]),
    "OneOf": lambda: OneOf(steps(), weights=[1.0, 2.0, 1.0]),
    "OneOf of chains": lambda: OneOf([Compose(steps()[:2]), steps()[2], OneOf(steps()[1:])]),
    "with MONAI's": lambda: Compose([RandFlipd("image", prob=0.5), *steps(), OneOf([RandFlipd("image", prob=1.0)])]),
    "mri": lambda: mri_augmentation("image", "label", strength="strong"),
    "mri without masks": lambda: mri_augmentation("image", strength="strong"),
    "xray": lambda: xray_augmentation("image", value_range=(0, 200)),
    "guarded": lambda: PreservingCompose(steps(), "label"),
}


@pytest.mark.parametrize("shape", SHAPES, ids=["2D", "3D"])
@pytest.mark.parametrize("name", CONTAINERS)
def test_equals_one_sample_after_another(name, shape):
    container = CONTAINERS[name]().set_random_state(3)
    batched = Batched(CONTAINERS[name]()).set_random_state(3)
    for _ in range(2):  # the streams go on alike
        expected = [container(item) for item in items(shape)]  # fresh ones: MONAI writes into their trace
        out = batched(list_data_collate(items(shape)))
        assert out["id"].tolist() == list(range(SIZE))
        for found, single in zip(decollate_batch(out), expected, strict=True):
            for key in ("image", "label"):
                assert found[key].dtype == single[key].dtype
                torch.testing.assert_close(found[key].as_tensor(), single[key].as_tensor(), rtol=0, atol=2e-4)
                mine, theirs = (
                    [(r["class"], r.get("do_transforms"), r["extra_info"].get("params")) for r in x.applied_operations]
                    for x in (found[key], single[key])
                )
                assert mine == theirs


def test_ct_preset_checks_the_range_of_each_sample():
    data = [{**d, "image": d["image"] * (10 + 5 * d["id"]) - 1000} for d in items((20, 24))]
    preset = ct_augmentation("image").set_random_state(5)
    wanted = [augmentation_report(preset(d)) for d in data]
    out = Batched(ct_augmentation("image")).set_random_state(5)(list_data_collate(data))
    found = augmentation_report(out)
    assert [r["seed"] for r in found] == [r["seed"] for r in wanted]
    for one, other in zip(found, wanted, strict=True):
        check, expected = one["range_check"]["image"], other["range_check"]["image"]
        figures = ("share_below", "share_above", "minimum", "maximum")
        assert [check[f] for f in figures] == pytest.approx([expected[f] for f in figures], abs=2e-3)
    assert len({r["range_check"]["image"]["share_above"] for r in found}) > 1


@pytest.mark.parametrize("name", ["OneOf", "mri without masks", "Compose"])
def test_one_kernel_call_for_each_operation(name, monkeypatch):
    container, calls = CONTAINERS[name](), []
    for cls in {type(s.operation) for s in steps()}:
        apply = cls.apply.__func__

        def counted(cls, image, *rest, apply=apply):
            calls.append((cls.__name__, len(image)))
            return apply(cls, image, *rest)

        monkeypatch.setattr(cls, "apply", classmethod(counted))
    Batched(container).set_random_state(0)({k: list_data_collate(items((20, 24), 16))[k] for k in ("image", "label")})
    assert max(sum(c == n for c, _ in calls) for n, _ in calls) <= 2  # one for each key
    assert max(size for _, size in calls) > 3


@pytest.mark.parametrize("make", [SomeOf, RandomOrder], ids=["SomeOf", "RandomOrder"])
def test_chains_of_each_sample(make):
    more = {"num_transforms": (1, 3), "replace": True} if make is SomeOf else {}
    chosen = make([RandHUContrastd("image", factor=f, pivot_hu=0, prob=1.0) for f in (2.0, 3.0, 5.0)], **more)
    data = [
        {"image": MetaTensor(torch.full((1, 4, 4), -1000.0).index_fill(2, torch.tensor([0]), 150.0))} for _ in range(12)
    ]
    out = Batched(chosen).set_random_state(1)(list_data_collate(data))
    orders = set()
    for sample in decollate_batch(out):
        trace = sample["image"].applied_operations
        *applied, last = trace
        assert last["class"] == make.__name__
        order = last["extra_info"]["applied_order"]
        assert [r["extra_info"]["params"]["factor"] for r in applied] == [(2.0, 3.0, 5.0)[i] for i in order]
        product = float(torch.tensor([(2.0, 3.0, 5.0)[i] for i in order]).prod())
        assert float(sample["image"][0, 0, 0]) == pytest.approx(50 + 100 * product, rel=1e-5)
        orders.add(tuple(order))
        back = chosen.inverse(copy.deepcopy(sample))
        assert back["image"].applied_operations == []
    assert len(orders) > 4


@pytest.mark.parametrize("name", ["OneOf", "Compose", "mri without masks", "nested"])
def test_inverse_report_and_replay_of_each_sample(name):
    container, data = CONTAINERS[name](), items((20, 24))
    batched = Batched(container).set_random_state(2)
    out = batched(list_data_collate(data))
    reports = augmentation_report(out)
    for item, sample, report in zip(data, decollate_batch(out), reports, strict=True):
        if "untraced" not in report:
            again = replay(item, report)
            torch.testing.assert_close(again["image"].as_tensor(), sample["image"].as_tensor(), rtol=0, atol=2e-4)
        back = batched.inverse(copy.deepcopy(sample))
        assert back["image"].applied_operations == []
        assert back["image"].shape == item["image"].shape
        steady = Batched(ct_augmentation("image"))
        assert steady.keys == ("image",)


def test_replay_of_a_sample_with_the_preset():
    preset, data = mri_augmentation("image", strength="strong", prob=1.0), items((20, 24), 8)
    out = Batched(preset).set_random_state(4)(list_data_collate(data))
    reports = augmentation_report(out)
    assert not any("untraced" in r for r in reports)
    for item, sample, report in zip(data, decollate_batch(out), reports, strict=True):
        again = replay(item, report, transform=mri_augmentation("image", strength="strong", prob=1.0))
        torch.testing.assert_close(again["image"].as_tensor(), sample["image"].as_tensor(), rtol=0, atol=2e-4)


def test_array_transforms_in_containers():
    image = torch.stack([d["image"].as_tensor() for d in items((20, 24))])
    chain = Compose([RandMRINoise(prob=0.5), OneOf([RandHUContrast(prob=1.0), RandMRINoise(prob=1.0)])])
    chain.set_random_state(0)
    wanted = torch.stack([chain(x) for x in image])
    out = Batched(chain).set_random_state(0)(image)
    torch.testing.assert_close(out, wanted, rtol=0, atol=2e-4)


def test_one_notice_for_what_has_no_batch_face():
    chain = Batched(Compose([ScaleIntensityd("image"), RandMRINoised("image"), RandGibbsNoised("image", prob=1.0)]))
    batch = list_data_collate(items((20, 24)))
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        for _ in range(3):
            chain(batch)
    notices = sorted(str(w.message) for w in said if "sample by sample" in str(w.message))
    assert [n.split()[2] for n in notices] == ["RandGibbsNoised", "ScaleIntensityd"]


def test_a_thick_axis_of_each_sample():
    step = RandThickSliced("image", thickness_mm=6, axis=None, prob=1.0)
    data = items((16, 18, 12), 8)
    wanted = [step(d) for d in data] if step.set_random_state(0) else []
    out = Batched(step).set_random_state(0)(list_data_collate(data))
    for found, single in zip(decollate_batch(out), wanted, strict=True):
        torch.testing.assert_close(found["image"].as_tensor(), single["image"].as_tensor(), rtol=0, atol=2e-4)
    assert len({r["steps"][0]["figures"]["thick_axis"] for r in augmentation_report(out)}) > 1


def test_missing_keys_and_wrong_kinds():
    with pytest.raises(KeyError):
        Batched(Compose(steps()))({"image": list_data_collate(items((20, 24)))["image"]})
    lenient = Batched(Compose(steps()))
    assert not lenient.allow_missing_keys
    lenient.allow_missing_keys = True
    assert lenient.allow_missing_keys
    out = lenient({"image": list_data_collate(items((20, 24)))["image"]})
    assert out["image"].shape == (SIZE, 1, 20, 24)
    with pytest.raises(TypeError, match="RandMRINoised"):
        Batched(RandMRINoise())({"image": torch.ones(2, 1, 4, 4)})


@pytest.mark.parametrize("case", [c for c in CASES if c.cls.memory > 1], ids=str)
def test_large_batches_go_in_pieces_and_give_the_same(case, monkeypatch):
    image = case.image(2)
    batch = torch.stack([image + 0.01 * i for i in range(6)])
    wanted = Batched(case.array())(batch)
    sizes, apply = [], case.cls.apply.__func__
    monkeypatch.setattr(call, "_LARGE", 0)

    def counted(cls, image, *rest):
        sizes.append(len(image))
        return apply(cls, image, *rest)

    monkeypatch.setattr(case.cls, "apply", classmethod(counted))
    out = Batched(case.array())(batch)
    assert sum(sizes) == 6
    assert max(sizes) == max(1, 6 // case.cls.memory)
    torch.testing.assert_close(out, wanted, rtol=0, atol=1e-4 * float((wanted - wanted.mean()).abs().max()))


def test_batched_of_batched_is_batched():
    inner = Batched(RandMRINoise(prob=1.0))
    image = torch.stack([d["image"].as_tensor() for d in items((16, 18, 12))])
    wanted = inner.set_random_state(0)(image)
    assert torch.equal(Batched(inner).set_random_state(0)(image), wanted)


# ---- what a step leaves alone, and types that torch cannot index ---------------------------------------------------


def labelled(size=4):
    """A batch with a label of each sample, a weight in half precision, a name and a mask."""
    batch = list_data_collate(items((16, 16), size))
    labels = torch.tensor([0.1, 0.2, 0.3, 0.4][:size], dtype=torch.float32)
    return {**batch, "target": labels, "weight": labels.half(), "class": torch.arange(size, dtype=torch.int32)}


@pytest.mark.parametrize(
    "step",
    [
        ScaleIntensityd("image"),
        RandFlipd("image", prob=0.5),
        OneOf([RandGibbsNoised("image", prob=1.0), RandMRINoised("image", prob=1.0)]),
        PreservingCompose([RandMRINoised("image", prob=1.0)], None),
    ],
    ids=lambda step: type(step).__name__,
)
def test_other_keys_keep_their_objects(step):
    batch = labelled()
    out = Batched(Compose([RandMRINoised("image", prob=1.0), step]))(batch)
    assert out.keys() == batch.keys()
    traced = {"label"} if isinstance(step, OneOf) else set()  # it leaves its record on all
    for key in batch.keys() - {"image"} - traced:
        assert out[key] is batch[key], key
    assert out["image"] is not batch["image"]


def test_keys_that_a_step_changes_keep_their_kind():
    batch = labelled()
    chain = [
        Lambdad("target", lambda y: 2 * y, track_meta=False),
        Lambdad("weight", lambda y: y + 1, track_meta=False),
        Lambdad("class", lambda y: y + 1, track_meta=False),
    ]
    out = Batched(Compose(chain))(batch)
    for key, wanted in (
        ("target", batch["target"] * 2),
        ("weight", batch["weight"] + 1),
        ("class", batch["class"] + 1),
    ):
        assert out[key].dtype == batch[key].dtype
        torch.testing.assert_close(out[key], wanted)
    halves = Batched(Lambdad("class", lambda y: y / 2, track_meta=False))(batch)["class"]
    assert halves.tolist() == [0, 0.5, 1, 1.5]

    def chained(step):
        return Batched(Compose([RandMRINoised("image"), step]))

    added = chained(lambda d: {**d, "sum": d["class"] + 1})(batch)
    assert added["sum"].tolist() == [1, 2, 3, 4]
    with pytest.raises(ValueError, match=r"'odd' must be in all samples .* got 2 of 4"):
        chained(lambda d: {**d, "odd": 1} if d["class"] % 2 else d)(batch)


def test_a_trace_that_monai_writes_into_is_kept():
    out = Batched(RandFlipd(["image", "label"], prob=0.0))(labelled())
    for sample in decollate_batch(out):
        assert [r["class"] for r in sample["label"].applied_operations] == ["RandFlipd"]


MASKS = [torch.bool, torch.uint8, torch.int8, torch.int16, torch.uint16, torch.int32, torch.uint32, torch.int64]


@pytest.mark.parametrize("dtype", [*MASKS, torch.uint64, torch.float16, torch.bfloat16, torch.float64])
def test_masks_of_every_type_where_some_samples_are_skipped(dtype):
    chain = Compose([RandAffineElasticd(BOTH, prob=0.5, mode=("bilinear", "nearest"), elastic_sigma=4)])
    data = [{**d, "label": d["label"].to(dtype)} for d in items((16, 16), 6)]
    chain.set_random_state(1)
    wanted = [chain(d) for d in data]
    out = Batched(chain).set_random_state(1)(list_data_collate(data))
    assert out["label"].dtype == dtype
    applied = [t[-1]["do_transforms"] for t in out["label"].applied_operations]
    assert 0 < sum(applied) < 6
    for found, single in zip(decollate_batch(out), wanted, strict=True):
        assert same(found["label"], single["label"])


@pytest.mark.parametrize("dtype", [torch.uint16, torch.uint32])
def test_masks_of_unsigned_types_elsewhere(dtype, monkeypatch):
    """In groups of unlike grids, in pieces, in a preset with verdicts, and mixed."""
    monkeypatch.setattr(call, "_LARGE", 0)
    data = [{**d, "label": d["label"].to(dtype)} for d in items((16, 16), 6)]
    batch = list_data_collate(data)
    for transform in (
        RandAffineElasticd(BOTH, prob=0.6, mode=("bilinear", "nearest"), elastic_sigma=4),
        mri_augmentation("image", "label", prob=0.7),
        mri_augmentation("image", (), "label", prob=0.7),
    ):
        transform.set_random_state(0)
        wanted = [transform(d) for d in data]
        out = Batched(transform).set_random_state(0)(batch)
        for found, single in zip(decollate_batch(out), wanted, strict=True):
            assert same(found["label"], single["label"])
    for options in ({"target_form": "pair"}, {}):
        mixed = BatchMixd("image", mask_keys="label", num_mask_classes=2, cutmix_prob=0.5, **options)(batch)
        assert mixed["label"].shape[0] == 6


@pytest.mark.parametrize("case", RANDOM_CASES, ids=str)
@pytest.mark.parametrize("dtype", [torch.uint16, torch.uint32])
def test_images_of_unsigned_types_where_some_samples_are_skipped(case, dtype):
    image = case.image(case.dims[0])
    if float(image.min()) < 0:
        image = (image - image.min()) / 8  # no picture of 0 to 255
    batch = cast(image, torch.uint8).to(dtype)[None].repeat(6, *[1] * image.ndim)
    transform = case.array(prob=0.5)
    wanted = [transform(x) for x in batch]
    out = Batched(case.array(prob=0.5))(batch)
    assert out.dtype == wanted[0].dtype
    extent = max(float(torch.stack(wanted).max() - torch.stack(wanted).min()), 1e-6)
    torch.testing.assert_close(out, torch.stack(wanted), rtol=0, atol=1e-3 * extent)
