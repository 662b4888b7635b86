"""Mixing of a batch: λ, boxes, targets and masks agree, whatever the faces, types and seeds."""

from __future__ import annotations

import os
import pickle
from copy import deepcopy
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from monai.data import MetaTensor, decollate_batch, list_data_collate, set_track_meta
from monai.transforms import Compose
from scipy.ndimage import generate_binary_structure, label
from scipy.stats import beta, kstest

from monai_medaug.core.replay import replay
from monai_medaug.core.report import augmentation_report
from monai_medaug.core.trace import samples_of
from monai_medaug.transforms.mixing.mix import BatchCutMix, BatchCutMixd, BatchMix, BatchMixd, BatchMixUp, BatchMixUpd

FOLDER = os.environ.get("MONAI_MEDAUG_DATA")
needs_data = pytest.mark.skipif(FOLDER is None, reason="MONAI_MEDAUG_DATA is not set")
CLASSES = [BatchMixUp, BatchCutMix, BatchMix]
TWINS = [BatchMixUpd, BatchCutMixd, BatchMixd]
SHAPES = [(12, 20), (9, 14, 6)]


def levels(size: int, shape: tuple[int, ...] = (12, 20), dtype: torch.dtype = torch.float32) -> torch.Tensor:
    """A batch whose sample b is b everywhere, so that each voxel tells where it came from."""
    return torch.arange(size).reshape(-1, 1, *[1] * len(shape)).expand(size, 1, *shape).to(dtype).contiguous()


def noise(size: int, shape: tuple[int, ...] = (12, 20)) -> torch.Tensor:
    return torch.randn(size, 1, *shape, generator=torch.Generator().manual_seed(0))


def lesions(size: int, shape: tuple[int, ...]) -> torch.Tensor:
    """Masks with one to three balls each, labels 1 and 2."""
    rng, at = np.random.default_rng(size), np.indices(shape)
    masks = np.zeros((size, 1, *shape), dtype=np.uint8)
    for mask in masks:
        for _ in range(rng.integers(1, 4)):
            centre = rng.uniform(0, shape).reshape(-1, *[1] * len(shape))
            mask[0][((at - centre) ** 2).sum(0) <= rng.uniform(1, 3) ** 2] = rng.integers(1, 3)
    return torch.from_numpy(masks)


def components(mask: Any) -> tuple[np.ndarray, int]:
    array = np.asarray(mask)
    return label(array, generate_binary_structure(array.ndim, array.ndim))


def collated(size: int = 3, shape: tuple[int, ...] = (12, 20)) -> dict[str, Any]:
    """A batch as a DataLoader gives it."""
    affine = torch.diag(torch.tensor([2.0, 1.5, 3.0, 1.0], dtype=torch.float64))
    samples = [
        {
            "image": MetaTensor(image, affine=affine, meta={"filename_or_obj": f"{i}.nii"}),
            "mask": MetaTensor(mask, affine=affine),
            "label": i,
        }
        for i, (image, mask) in enumerate(zip(noise(size, shape), lesions(size, shape), strict=True))
    ]
    return list_data_collate(samples)


# ---- λ and targets -----------------------------------------------------------------------------------------------


@given(
    cls=st.sampled_from(CLASSES),
    size=st.integers(1, 7),
    dims=st.sampled_from([2, 3]),
    alpha=st.sampled_from([0.001, 0.2, 1.0, 4.0]),
    prob=st.sampled_from([0.5, 1.0]),
    per_sample=st.booleans(),
    seed=st.integers(0, 2**31),
)
@settings(max_examples=150, deadline=None)
def test_mass_of_labels_is_one_and_image_and_target_agree(cls, size, dims, alpha, prob, per_sample, seed):
    shape = SHAPES[dims - 2]
    images, ids = levels(size, shape), torch.arange(size)
    mix = cls(alpha=alpha, prob=prob, per_sample=per_sample, num_classes=size).set_random_state(seed)
    out = mix(images, ids)
    torch.testing.assert_close(out.target.sum(1), torch.ones(size))
    lam = out.weights
    assert bool(((lam >= 0) & (lam <= 1)).all())
    expected = torch.zeros(size, size)
    expected[ids, ids] += lam
    expected[ids, out.permutation] += 1 - lam
    torch.testing.assert_close(out.target, expected)
    # the mean of a voxel's origin is that of the target
    mean = out.image.flatten(1).double().mean(1)
    torch.testing.assert_close(mean, (out.target.double() @ ids.double()), atol=1e-4 * size, rtol=0)
    assert torch.equal(out.targets[0], ids)
    assert torch.equal(out.targets[1], out.permutation)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16, torch.int16])
def test_lambda_of_cutmix_is_the_share_of_own_voxels(shape, dtype):
    images = levels(8, shape, dtype)
    cut = BatchCutMix().set_random_state(0)
    for _ in range(20):
        out = cut(images)
        for b in range(8):
            if out.permutation[b] != b:
                own = int((out.image[b] == b).sum())
                assert out.weights[b] == torch.tensor(own / np.prod(shape), dtype=torch.float32)
                assert own + int((out.image[b] == out.permutation[b]).sum()) == np.prod(shape)


def test_a_box_is_a_box_with_its_sides_in_order():
    """On an image four times as wide as high the box is so too, in the mean; H and W are not swapped."""
    cut, ratios = BatchCutMix().set_random_state(0), []
    for _ in range(200):
        out = cut(levels(2, (20, 80)))
        if out.permutation[0] != 0:
            places = (out.image[0, 0] == 1).nonzero()
            if len(places):
                height, width = (places.amax(0) - places.amin(0) + 1).tolist()
                assert height * width == len(places)
                ratios.append(width / height)
    assert np.median(ratios) == pytest.approx(4, rel=0.1)


@pytest.mark.parametrize("alpha", [0.3, 1.0, 2.5])
def test_lambda_follows_the_beta_distribution_and_differs_by_sample(alpha):
    mix = BatchMixUp(alpha=alpha).set_random_state(1)
    drawn = [mix(levels(10, (1, 1))).weights for _ in range(150)]
    assert all(len(w.unique()) == 10 for w in drawn)
    assert kstest(torch.cat(drawn).numpy(), beta(alpha, alpha).cdf).pvalue > 0.01


def test_one_lambda_and_box_for_the_batch_where_asked_for():
    for cls in CLASSES:
        mix = cls(per_sample=False).set_random_state(3)
        weights = [mix(levels(6)).weights for _ in range(10)]
        assert all(len(w.unique()) == 1 for w in weights)
        assert len(torch.stack(weights)[:, 0].unique()) > 5
    out = BatchCutMix(per_sample=False).set_random_state(0)(levels(4))
    pasted = [out.image[b] != b for b in range(4) if out.permutation[b] != b]
    assert len(pasted) > 1
    assert all(torch.equal(p, pasted[0]) for p in pasted)


def test_centres_of_boxes_are_uniform():
    cut = BatchCutMix(alpha=1.0).set_random_state(0)
    centres = []
    for _ in range(300):
        cut.randomize(4)
        centres += [d["centre"] for d in cut.drawn]
    for axis in range(3):
        assert kstest(np.asarray(centres)[:, axis], "uniform").pvalue > 0.01


def test_mixed_share_is_prob_and_the_rest_is_as_it_was():
    x = noise(50)
    for cls in CLASSES:
        out = cls(prob=0.3).set_random_state(0)(x)
        untouched = [b for b in range(50) if torch.equal(out.image[b], x[b])]
        assert set((out.weights == 1).nonzero().flatten().tolist()) <= set(untouched)
        assert 25 < len(untouched) < 45
        assert torch.equal(cls(prob=0.0)(x).image, x)


def test_batchmix_chooses_and_equals_its_parts():
    """Draws take the same numbers in all classes, so that the ends are MixUp and CutMix exactly."""
    x = noise(6)
    for prob, cls in ((0.0, BatchMixUp), (1.0, BatchCutMix)):
        one, other = BatchMix(cutmix_prob=prob).set_random_state(5)(x), cls().set_random_state(5)(x)
        assert torch.equal(one.image, other.image)
        assert torch.equal(one.weights, other.weights)
    mix = BatchMix(cutmix_prob=0.25).set_random_state(0)
    cuts = 0
    for _ in range(100):
        mix.randomize(8)
        cuts += sum(d["cut"] for d in mix.drawn)
    assert cuts / 800 == pytest.approx(0.25, abs=0.05)
    out = BatchMix().set_random_state(0)(levels(40))
    whole = [len(i.unique()) <= 2 and bool((i == i.round()).all()) for i in out.image]
    assert 10 < sum(whole) < 35


@pytest.mark.parametrize("cls", CLASSES)
def test_randomize_false_repeats_the_mix(cls):
    """The last draw, of a call or of ``randomize``, on another batch of the size; not on one of another size."""
    mix, (x, y) = cls().set_random_state(3), (noise(5), levels(5))
    first, again = mix(x, torch.eye(5)), mix(y, torch.eye(5), randomize=False)
    assert torch.equal(first.permutation, again.permutation)
    assert torch.equal(first.target, again.target)
    assert not torch.equal(mix(x).weights, first.weights)
    fresh = cls().set_random_state(3)
    with pytest.raises(RuntimeError, match=r"has no draw to repeat for 5 samples: call randomize\(5\)"):
        fresh(x, randomize=False)
    fresh.randomize(5)
    assert torch.equal(fresh(x, randomize=False).image, first.image)
    with pytest.raises(RuntimeError, match="for 4 samples"):
        fresh(x[:4], randomize=False)


@pytest.mark.parametrize("cls", CLASSES)
def test_rows_of_every_kind(cls):
    """One-hot, soft and multi-label rows, blended each by its λ."""
    rows = torch.tensor([[1, 0, 0], [0, 1, 0], [1, 0, 1], [0, 0, 0], [1, 1, 1]])
    for targets in (rows, rows.bool(), rows.float() * 0.9, rows.half()):
        out = cls().set_random_state(2)(noise(5), targets)
        lam = out.weights[:, None]
        expected = lam * targets.float() + (1 - lam) * targets[out.permutation].float()
        torch.testing.assert_close(out.target.float(), expected, atol=1e-3, rtol=0)
        assert out.target.dtype == (targets.dtype if targets.is_floating_point() else torch.float32)
    ages = torch.tensor([31.0, 55, 62, 40, 77])
    out = cls().set_random_state(2)(noise(5), ages)
    torch.testing.assert_close(out.target, out.weights * ages + (1 - out.weights) * ages[out.permutation])


def test_ids_without_classes_are_refused_or_given_as_a_pair():
    with pytest.raises(ValueError, match="targets must be given with num_classes"):
        BatchMixUp()(noise(3), torch.arange(3))
    out = BatchMixUp(target_form="pair").set_random_state(0)(noise(3), torch.arange(3))
    assert out.target is None
    assert [t.dtype for t in out.targets] == [torch.int64] * 2


# ---- masks -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", SHAPES)
def test_mixup_of_masks_gives_soft_targets(shape):
    masks = lesions(5, shape)
    out = BatchMixUp(num_mask_classes=3).set_random_state(0)(noise(5, shape), masks=masks)
    assert out.mask.shape == (5, 3, *shape)
    assert out.mask.dtype == torch.float32
    torch.testing.assert_close(out.mask.sum(1), torch.ones(5, *shape))
    b, p = 0, int(out.permutation[0])
    lam = float(out.weights[0])
    expected = sum(w * (masks[i, 0] == 2).float() for w, i in ((lam, b), (1 - lam, p)))
    torch.testing.assert_close(out.mask[b, 2], expected)
    binary = BatchMixUp().set_random_state(0)(noise(5, shape), masks=(masks > 0).byte())
    assert binary.mask.dtype == torch.float32
    torch.testing.assert_close(binary.mask, 1 - out.mask[:, :1])
    with pytest.raises(ValueError, match="num_mask_classes"):
        BatchMixUp()(noise(5, shape), masks=masks)
    pair = BatchMixUp(target_form="pair").set_random_state(0)(noise(5, shape), masks=masks)
    assert pair.mask is None
    assert torch.equal(pair.masks[0], masks)
    assert torch.equal(pair.masks[1], masks[pair.permutation])


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int16, torch.int64, torch.bool, torch.float32])
@pytest.mark.parametrize("shape", SHAPES)
def test_cutmix_pastes_masks_hard_and_as_the_image(shape, dtype):
    size = 6
    masks = torch.stack([torch.full((1, *shape), b) for b in range(size)]).to(dtype)
    out = BatchCutMix().set_random_state(0)(levels(size, shape), masks=masks)
    assert out.mask.dtype == dtype
    assert torch.equal(out.mask, out.image.to(dtype))
    assert set(out.mask.unique().tolist()) <= set(masks.unique().tolist())


def test_masks_of_batchmix_have_one_form():
    shape, masks = (12, 20), lesions(20, (12, 20))
    out = BatchMix(num_mask_classes=3).set_random_state(0)(levels(20), masks=masks)
    torch.testing.assert_close(out.mask.sum(1), torch.ones(20, *shape))
    pair = BatchMix(target_form="pair").set_random_state(0)(levels(20), masks=masks)
    own, partner = (torch.nn.functional.one_hot(m[:, 0].long(), 3).movedim(-1, 1).float() for m in pair.masks)
    w = pair.weights.reshape(-1, 1, 1, 1)
    blended = [b for b in range(20) if not torch.equal(pair.masks[0][b], pair.masks[1][b])]
    torch.testing.assert_close(out.mask[blended], (w * own + (1 - w) * partner)[blended])
    rest = [b for b in range(20) if b not in blended]
    assert rest
    torch.testing.assert_close(out.mask[rest], own[rest])


def test_box_and_mask_agree_on_another_grid():
    batch = {
        "image": levels(6, (32, 48, 24)),
        "low": levels(6, (16, 24, 12)),
        "mask": levels(6, (8, 12, 6), torch.uint8),
        "odd": levels(6, (7, 5, 9), torch.int16),
        "label": torch.arange(6),
    }
    cut = BatchCutMixd(["image", "low"], ["label"], ["mask", "odd"], num_classes=6).set_random_state(1)
    out = cut(batch)
    for b in range(6):
        p = int(out["mix_permutation"][b])
        if p == b:
            continue
        share = (out["image"][b] == b).float().mean()
        assert out["label"][b, b] == pytest.approx(float(share), abs=1e-6)
        assert out["mix_weights"][b] == pytest.approx(float(share), abs=1e-6)
        fine = (out["image"][b, 0] == p).nonzero()
        for key, scale in (("low", 2), ("mask", 4)):
            coarse = (out[key][b, 0] == p).nonzero()
            if len(coarse) and len(fine):
                for a, c in ((fine.amin(0), coarse.amin(0) * scale), (fine.amax(0) + 1, (coarse.amax(0) + 1) * scale)):
                    assert bool(((a - c).abs() <= scale / 2).all())
    assert out["mask"].dtype == torch.uint8
    assert out["odd"].dtype == torch.int16


# ---- lesions -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(24, 30), (20, 18, 16)])
@pytest.mark.parametrize("tries", [1, 20])
def test_no_lesion_is_cut(shape, tries):
    """Image b carries b: where the image is own, the mask is own, and each component of both lies on one side."""
    size, cut_plainly, pasted = 6, 0, 0
    masks = lesions(size, shape)
    for seed in range(12):
        out = BatchCutMix(lesions="whole", tries=tries).set_random_state(seed)(levels(size, shape), masks=masks)
        plain = BatchCutMix().set_random_state(seed)(levels(size, shape), masks=masks)
        for b, p in enumerate(out.permutation.tolist()):
            if p == b:
                continue
            inside = out.image[b, 0] == p
            pasted += bool(inside.any())
            assert float(out.weights[b]) == pytest.approx(1 - float(inside.float().mean()), abs=1e-6)
            for sample in (b, p):
                numbers, count = components(masks[sample, 0])
                for part in range(1, count + 1):
                    within = inside[torch.from_numpy(numbers == part)]
                    assert bool(within.all()) or not bool(within.any())
                    other = (plain.image[b, 0] == p)[torch.from_numpy(numbers == part)]
                    cut_plainly += bool(other.any()) and not bool(other.all())
            assert torch.equal(out.mask[b, 0], torch.where(inside, masks[p, 0], masks[b, 0]))
    assert cut_plainly > 10  # else this would prove nothing
    assert pasted > 30


def test_a_lesion_that_fills_the_image_leaves_it_as_it_was():
    x, masks = levels(4), torch.ones(4, 1, 12, 20, dtype=torch.uint8)
    out = BatchCutMix(lesions="whole").set_random_state(0)(x, torch.eye(4), masks)
    assert torch.equal(out.image, x)
    assert torch.equal(out.weights, torch.ones(4))
    assert torch.equal(out.target, torch.eye(4))


def test_carved_regions_nest_in_one_another():
    """A region is a level set of the distance: smaller ones lie in the lesion, larger ones hold it; both occur."""
    shape = (60, 64)
    masks = torch.zeros(2, 1, *shape, dtype=torch.uint8)
    masks[1, 0, 22:35, 24:40] = 1
    images = 100 + noise(2, shape) + 50 * masks
    inner, outer, sizes = 0, 0, set()
    for seed in range(40):
        out = BatchCutMix(lesions="carve").set_random_state(seed)(images, masks=masks)
        if out.permutation[0] != 1:
            continue
        count = round((1 - float(out.weights[0])) * 60 * 64)
        assert int((out.mask[0, 0] == 1).sum()) == min(count, 13 * 16)
        inner += count < 13 * 16
        outer += count > 13 * 16
        sizes.add(count)
        assert torch.equal(out.image[1], images[1])  # its partner has none
    assert inner > 3
    assert outer > 3
    assert len(sizes) > 5


def test_carving_counts_in_mm():
    shape, spacing = (40, 40, 30), [1.0, 1.0, 5.0]
    mask = torch.zeros(1, *shape, dtype=torch.uint8)
    mask[:, 15:25, 15:25, 13:17] = 1
    affine = torch.diag(torch.tensor([*spacing, 1.0], dtype=torch.float64))
    images = 100 + noise(2, shape) + 50 * torch.stack([mask * 0, mask])
    batch = list_data_collate(
        [{"i": MetaTensor(images[b], affine=affine), "m": MetaTensor(mask * b, affine=affine)} for b in range(2)]
    )
    seen = 0
    for seed in range(20):
        out = BatchCutMixd("i", mask_keys="m", lesions="carve").set_random_state(seed)(batch)
        record = out["i"].applied_operations[0][-1]
        if record["do_transforms"] and out["mix_permutation"][0] == 1:
            t = record["extra_info"]["params"]["growth_mm"]
            places = ((out["i"][0, 0] - images[0, 0]).abs() > 20).nonzero()
            extent = (places.amax(0) - places.amin(0) + 1).tolist()
            if t > 0:
                whole = 10 * 10 * 4 + 4 * 10 * 4 * int(t) + 2 * 100 * int(t / 5)
                assert (1 - float(out["mix_weights"][0])) * 48000 >= whole - 1
                assert extent == [10, 10, 4]  # the lesion; what was carved around it is like its new surroundings
                seen += t > 2
    assert seen


def test_lesions_need_a_mask():
    assert BatchCutMix(lesions="any").settings() == BatchCutMix(lesions="ignore").settings()
    with pytest.raises(ValueError, match="lesions='carve' needs the lesions' mask"):
        BatchCutMix(lesions="carve")(noise(3))
    with pytest.raises(ValueError, match="needs lesion_key"):
        BatchCutMixd("image", lesions="whole")
    with pytest.raises(ValueError, match="lesion_key must be one of mask_keys"):
        BatchCutMixd("image", mask_keys="organs", lesions="whole", lesion_key="lesion")


# ---- the contract ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("cls", CLASSES)
@pytest.mark.parametrize("shape", SHAPES)
def test_the_callers_batch_is_untouched(cls, shape):
    images, masks, targets = noise(5, shape), (lesions(5, shape) > 0).byte(), torch.arange(5)
    before = [t.clone() for t in (images, masks, targets)]
    out = cls(num_classes=5).set_random_state(0)(images, targets, masks)
    assert all(torch.equal(a, b) for a, b in zip(before, (images, masks, targets), strict=True))
    out.image.zero_()
    assert torch.equal(images, before[0])


@pytest.mark.parametrize("cls", CLASSES)
def test_a_batch_of_one_is_as_it_was(cls):
    x = noise(1)
    out = cls(num_classes=3).set_random_state(0)(x, torch.tensor([2]))
    assert torch.equal(out.image, x)
    assert out.weights.tolist() == [1.0]
    assert out.target.tolist() == [[0, 0, 1]]


@pytest.mark.parametrize("cls", CLASSES)
@pytest.mark.parametrize(
    "dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64, torch.uint8, torch.int16, torch.uint16]
)
def test_kinds_and_types(cls, dtype):
    x = (noise(4).abs() * 50).to(dtype)
    out = cls().set_random_state(0)(x).image
    assert out.dtype == (dtype if dtype.is_floating_point else torch.float32)
    exact = cls().set_random_state(0)(x.double()).image
    torch.testing.assert_close(out.double(), exact, rtol=2 * float(torch.finfo(out.dtype).eps), atol=1e-5)
    if dtype != torch.bfloat16:
        for order in ("=", ">"):
            array = x.numpy().astype(x.numpy().dtype.newbyteorder(order))
            result = cls().set_random_state(0)(array).image
            assert isinstance(result, np.ndarray)
            np.testing.assert_array_equal(result, out.numpy())


@pytest.mark.parametrize("cls", CLASSES)
def test_seeds_copies_and_pickles(cls):
    x = noise(6)
    a, b = cls().set_random_state(7), cls().set_random_state(7)
    first = a(x)
    assert torch.equal(first.image, b(x).image)
    copied, stored = deepcopy(a), pickle.loads(pickle.dumps(a))
    following = a(x)
    assert not torch.equal(first.image, following.image)
    assert torch.equal(copied(x).image, following.image)
    assert torch.equal(stored(x).image, following.image)
    assert not torch.equal(cls()(x).weights, cls()(x).weights)


@pytest.mark.parametrize("cls", CLASSES)
def test_draws_do_not_depend_on_the_shape(cls):
    one, other = cls().set_random_state(1), cls().set_random_state(1)
    for shape in SHAPES:
        one(noise(4, shape))
        other(noise(4))
        assert one.drawn == other.drawn
        assert one.permutation == other.permutation


@pytest.mark.parametrize("twin", TWINS)
def test_twin_equals_array(twin):
    cls = {t.__name__: c for t, c in zip(TWINS, CLASSES, strict=True)}[twin.__name__]
    batch = {"image": noise(5), "second": noise(5) + 3, "label": torch.arange(5), "name": list("abcde")}
    out = twin(["image", "second"], "label", num_classes=5).set_random_state(3)(batch)
    expected = cls(num_classes=5).set_random_state(3)(batch["image"], batch["label"])
    assert torch.equal(out["image"], expected.image)
    assert torch.equal(out["label"], expected.target)
    assert torch.equal(out["label_own"], expected.targets[0])
    assert torch.equal(out["label_partner"], expected.targets[1])
    assert torch.equal(out["mix_weights"], expected.weights)
    assert torch.equal(out["mix_permutation"], expected.permutation)
    torch.testing.assert_close(out["second"], out["image"] + 3)
    assert out["name"] is batch["name"]
    assert sorted(batch) == ["image", "label", "name", "second"]


def test_twin_without_labels_mixes_and_says_what_it_did():
    out = BatchCutMixd("image").set_random_state(0)({"image": levels(4)})
    assert sorted(out) == ["image", "mix_permutation", "mix_weights"]
    assert not torch.equal(out["image"], levels(4))


@pytest.mark.parametrize("twin", TWINS)
def test_missing_and_mismatched_keys(twin):
    batch = {"image": noise(4), "label": torch.arange(4)}
    with pytest.raises(KeyError, match="label2"):
        twin("image", ["label", "label2"], num_classes=4)(batch)
    some = twin(["image", "other"], ["label", "label2"], ["mask"], num_classes=4, allow_missing_keys=True)(batch)
    assert some["label"].shape == (4, 4)
    assert "label2" not in some
    with pytest.raises(ValueError, match="'label' must have the batch size of 'image', 4, got 3"):
        twin("image", "label", num_classes=4)({**batch, "label": torch.arange(3)})
    with pytest.raises(ValueError, match="'b' must have the batch size of 'image', 4, got 2"):
        twin(["image", "b"])({**batch, "b": noise(2)})
    with pytest.raises(ValueError, match="once"):
        twin("image", "image")
    with pytest.raises(TypeError, match="dictionary"):
        twin("image")(noise(3))


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
@pytest.mark.parametrize("key", ["image", "mask", "label"])
def test_what_is_not_finite_is_reported(bad, key):
    batch = {"image": noise(3), "mask": torch.rand(3, 1, 12, 20), "label": torch.rand(3, 2)}
    batch[key].view(-1)[5] = bad
    with pytest.raises(ValueError, match=f"'{key}' must be finite, got 1"):
        BatchMixd("image", "label", "mask")(batch)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"alpha": 0}, "alpha"),
        ({"alpha": "1"}, "alpha"),
        ({"prob": 1.2}, "prob"),
        ({"cutmix_prob": -0.1}, "cutmix_prob"),
        ({"target_form": "hard"}, "target_form must be one of"),
        ({"lesions": "some"}, "lesions must be one of"),
        ({"num_classes": 0}, "num_classes"),
        ({"num_mask_classes": 2.5}, "num_mask_classes must be a whole number"),
        ({"tries": 0}, "tries"),
    ],
)
def test_bad_arguments_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        BatchMix(**arguments)


@pytest.mark.parametrize("images", [torch.rand(4, 8), torch.rand(4, 1, 8), torch.rand(0, 1, 8, 8)])
def test_what_is_no_batch_is_refused(images):
    with pytest.raises(ValueError, match="images must"):
        BatchMixUp()(images)


@pytest.mark.parametrize("twin", TWINS)
@pytest.mark.parametrize("shape", SHAPES)
def test_meta_data_records_and_report(twin, shape):
    batch = collated(3, shape)
    before = deepcopy(batch["image"].applied_operations)
    own = {} if twin is BatchCutMixd else {"num_mask_classes": 3}
    mix = twin("image", "label", "mask", num_classes=3, **own).set_random_state(1)
    out = mix(batch)
    assert batch["image"].applied_operations == before
    assert isinstance(out["image"], MetaTensor)
    assert out["image"].meta["filename_or_obj"] == ["0.nii", "1.nii", "2.nii"]
    assert torch.equal(out["image"].affine, batch["image"].affine)
    reports = augmentation_report(out)
    assert len(reports) == 3
    for b, report in enumerate(reports):
        step = report["steps"][0]
        assert step["name"] == twin.__name__
        assert sorted(step["keys"]) == ["image", "mask"]
        assert step["applied"] == (float(out["mix_weights"][b]) < 1)
        if step["applied"]:
            assert step["params"]["weight"] == pytest.approx(float(out["mix_weights"][b]), abs=1e-6)
            assert step["params"]["partner"] == int(out["mix_permutation"][b])
            assert step["models"]
        assert str(report)
        assert report.to_json()
        if step["applied"]:
            with pytest.raises(ValueError, match="can't be replayed"):
                replay({"image": batch["image"][b], "mask": batch["mask"][b]}, report)
    # single samples afterwards, and the record goes as it came
    sample = decollate_batch(out)[1]
    assert len(sample["image"].applied_operations) == 1
    back = Compose([mix]).inverse(sample)
    assert back["image"].applied_operations == []
    assert torch.equal(back["image"], sample["image"])
    assert len(sample["image"].applied_operations) == 1
    assert mix.inverse(out)["mask"].applied_operations == [[], [], []]
    assert out["mask"].applied_operations[0]


def test_records_hold_plain_values():
    plain = (str, int, float, bool)

    def check(value: Any) -> None:
        if isinstance(value, dict):
            [check(v) for v in value.values()]
        elif isinstance(value, list):
            [check(v) for v in value]
        else:
            assert type(value) in plain

    for lesions_ in ("ignore", "whole", "carve", "copy"):
        out = BatchMixd("image", mask_keys="mask", num_mask_classes=3, lesions=lesions_).set_random_state(0)(collated())
        check(out["image"].applied_operations)


def test_tracing_and_tracking_off():
    mix = BatchMixUpd("image").set_random_state(0)
    mix.tracing = False
    assert samples_of(mix(collated())["image"]) == [[], [], []]
    try:
        set_track_meta(False)
        out = BatchMixUp()(collated()["image"]).image
    finally:
        set_track_meta(True)
    assert type(out) is torch.Tensor


def test_twin_keeps_prob_and_random_state_in_one_place():
    twin = BatchMixUpd("image", prob=0.25).set_random_state(4)
    assert twin.prob == twin.operation.prob == 0.25
    assert twin.R is twin.operation.R
    twin.prob = 0.0
    assert torch.equal(twin({"image": noise(4)})["image"], noise(4))
    assert pickle.loads(pickle.dumps(twin)).prob == 0.0


# ---- real images -------------------------------------------------------------------------------------------------


@needs_data
@pytest.mark.parametrize("cls", CLASSES)
def test_radiographs(cls):
    stored = np.load(Path(str(FOLDER)) / "pneumonia_28_trainval.npz")
    images, ids = (next(stored[n] for n in stored.files if stored[n].ndim == d)[:33] for d in (3, 2))
    x, y = torch.from_numpy(images)[:, None], torch.from_numpy(ids.astype(np.int64)).reshape(-1)
    out = cls(num_classes=2).set_random_state(0)(x, y)
    assert out.image.dtype == torch.float32
    assert out.image.shape == x.shape
    assert 0 <= out.image.min() < out.image.max() <= 255
    mean = x.float().mean((1, 2, 3))
    lam = out.weights
    if cls is BatchMixUp:
        expected = lam * mean + (1 - lam) * mean[out.permutation]
        torch.testing.assert_close(out.image.mean((1, 2, 3)), expected, rtol=1e-4, atol=1e-3)
    torch.testing.assert_close(out.target.sum(1), torch.ones(33))


@needs_data
def test_a_real_stroke_lesion():
    """A patient and the mirror image: lesions on either side."""
    flair, lesion = (
        torch.from_numpy(np.asarray(nib.load(Path(str(FOLDER)) / f"stroke_{n}.nii.gz").dataobj).astype(np.float32))
        for n in ("flair", "lesion_label")
    )
    images = torch.stack([flair, flair.flip(0)])[:, None]
    masks = torch.stack([m == 1 for m in (lesion, lesion.flip(0))])[:, None].byte()
    pasted = 0
    for seed in range(4):
        out = BatchCutMix(lesions="whole").set_random_state(seed)(images, masks=masks)
        assert set(out.mask.unique().tolist()) <= {0, 1}
        for b, p in enumerate(out.permutation.tolist()):
            if b == p:
                continue
            changed = (out.image[b, 0] != images[b, 0]) | (out.mask[b, 0] != masks[b, 0])
            pasted += bool(changed.any())
            assert torch.equal(out.image[b, 0][changed], images[p, 0][changed])
            assert int(changed.sum()) <= round((1 - float(out.weights[b])) * changed.numel()) + 1
            for sample in (b, p):
                numbers, count = components(masks[sample, 0])
                kept = out.mask[b, 0].numpy()
                shares = [kept[numbers == n].mean() for n in range(1, count + 1)]
                other = masks[p if sample == b else b, 0].numpy()
                alone = [not other[numbers == n].any() for n in range(1, count + 1)]
                assert all(s in (0.0, 1.0) for s, single in zip(shares, alone, strict=True) if single)
    assert pasted >= 2
