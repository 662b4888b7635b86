"""RandMirror against plain flips, on grids of several kinds, and in the presets."""

import numpy as np
import pytest
import torch
from monai.data import MetaTensor
from monai.transforms import FlipD

from monai_medaug.transforms import (
    RandMirror,
    RandMirrord,
    augmentation_report,
    ct_augmentation,
    mri_augmentation,
    xray_augmentation,
)

KEYS = ["image", "mask"]


def mirrored(out: MetaTensor) -> list[int]:
    record = next(r for r in out.applied_operations if "Mirror" in r["class"])
    return record["extra_info"]["figures"]["mirrored"] if record["do_transforms"] else []


@pytest.mark.parametrize(("shape", "axes", "sets"), [((7, 6), None, 3), ((5, 6, 4), None, 7), ((5, 6, 4), (0, 2), 3)])
def test_all_sets_of_axes_alike(shape, axes, sets):
    image = MetaTensor(torch.rand(1, *shape))
    mirror = RandMirror(prob=1.0, axes=axes).set_random_state(0)
    found: dict[tuple, int] = {}
    for _ in range(100 * sets):
        out = mirror(image)
        own = mirrored(out)
        assert torch.equal(out.as_tensor(), image.as_tensor().flip([1 + a for a in own]))
        assert torch.equal(mirror.inverse(out).as_tensor(), image.as_tensor())
        found[tuple(own)] = found.get(tuple(own), 0) + 1
    assert len(found) == sets
    assert () not in found
    assert all(70 < n < 130 for n in found.values())  # three standard deviations of 100


def test_a_mask_on_a_finer_grid_follows():
    coarse, fine = torch.diag(torch.tensor([2.0, 2, 2, 1])), torch.eye(4)
    coarse[:3, 3], fine[:3, 3] = 0.5, 0.0  # the same field of view
    place = torch.zeros(1, 8, 8, 8, dtype=torch.uint8)
    place[0, 1:4, 2, 6] = 3
    data = {"image": MetaTensor(torch.rand(1, 4, 4, 4), affine=coarse), "mask": MetaTensor(place, affine=fine)}
    out = RandMirrord(KEYS, prob=1.0, axes=0, mode=["bilinear", "nearest"])(data)
    assert torch.equal(out["image"].as_tensor(), data["image"].as_tensor().flip(1))
    assert torch.equal(out["mask"].as_tensor(), place.flip(1))


def test_a_mask_whose_axes_lie_otherwise_follows_in_the_world():
    turned = torch.tensor([[0.0, -1, 0, 5], [1, 0, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]])  # axes exchanged
    place = torch.zeros(1, 6, 6, 3, dtype=torch.int16)
    place[0, 1, 4, 0] = 2
    data = {"image": MetaTensor(torch.rand(1, 6, 6, 3)), "mask": MetaTensor(place, affine=turned)}
    out = RandMirrord(KEYS, prob=1.0, axes=0, mode=["bilinear", "nearest"])(data)
    assert torch.equal(out["mask"].as_tensor(), place.flip(2))


def test_points_follow():
    points = torch.tensor([[1.0, 2.0, 3.0]])
    data = {"image": MetaTensor(torch.rand(1, 10, 11, 12)), "points": points}
    out = RandMirrord("image", prob=1.0, axes=(1,), point_keys="points")(data)
    assert torch.allclose(torch.as_tensor(out["points"]).float(), torch.tensor([[1.0, 8.0, 3.0]]))


def test_samples_of_a_batch_are_mirrored_on_their_own():
    from monai_medaug.transforms import Batched

    images = torch.rand(12, 1, 5, 6)
    single = RandMirror(prob=0.7).set_random_state(3)
    wanted = torch.stack([single(image) for image in images])
    assert torch.equal(Batched(RandMirror(prob=0.7).set_random_state(3))(images), wanted)
    assert len({tuple(w.flatten().tolist()) for w in wanted}) == 12


@pytest.mark.parametrize(
    ("given", "message"),
    [({"axes": 3}, "axes must be"), ({"axes": ()}, "axes must name at least one axis"), ({"axes": -1}, "axes must be")],
)
def test_wrong_axes(given, message):
    with pytest.raises(ValueError, match=message):
        RandMirror(**given)


def test_axes_that_the_image_lacks_and_grids_that_do_not_fit():
    with pytest.raises(ValueError, match=r"axes must be axes of the image, below 2, got \[2\]"):
        RandMirror(prob=1.0, axes=2)(torch.rand(1, 4, 4))
    shifted = torch.eye(4)
    shifted[0, 3] = 1.0
    data = {"image": MetaTensor(torch.rand(1, 4, 4, 4)), "mask": MetaTensor(torch.zeros(1, 4, 4, 4), affine=shifted)}
    with pytest.raises(ValueError, match="'mask' must lie on a grid over the field of view of the first key"):
        RandMirrord(KEYS, prob=1.0, axes=0)(data)


def square(modality: str) -> dict:
    """A patch with a label in one corner, in the unit of a modality."""
    mask = torch.zeros(1, 32, 32, dtype=torch.uint8)
    mask[0, 4:14, 6:12] = 1
    low, high = {"ct": (-800.0, 50.0), "mri": (40.0, 120.0), "xray": (0.2, 0.6)}[modality]
    image = low + (high - low) * mask.float()
    image += 0.02 * (high - low) * torch.randn(image.shape, generator=torch.Generator().manual_seed(0))
    return {"image": MetaTensor(image), "mask": MetaTensor(mask)}


@pytest.mark.parametrize("modality", ["ct", "mri", "xray"])
def test_presets_of_patches_cover_all_ways_to_lie(modality):
    make = {"ct": ct_augmentation, "mri": mri_augmentation, "xray": xray_augmentation}[modality]
    preset = make("image", "mask", patches=True, prob=1.0).set_random_state(0)
    data = square(modality)
    angles, turned, sizes = [], 0, []
    for _ in range(40):
        out = preset(data)
        report = augmentation_report(out)
        step = next(s for s in report["steps"] if s["name"] == "RandAffineElasticd")
        if step["applied"]:
            angles.append(step["params"]["rotate_degrees"])
            sizes.append(step["params"]["scale"])
            assert step["params"]["elastic_mm"] == 0
        turned += bool(mirrored(out["image"]))
        assert report["settings"]["patches"] is True
        assert set(out["mask"].unique().tolist()) <= {0, 1}
    assert min(angles) < -120 < 120 < max(angles)
    assert min(sizes) < 0.8 < 1.2 < max(sizes)
    assert 8 <= turned <= 32


def test_half_of_the_images_are_mirrored_along_the_axes_named():
    preset = mri_augmentation("image", prob=0.0, mirror_axes=1).set_random_state(0)
    image = MetaTensor(torch.rand(1, 8, 9, 6) + 1)
    outs = [preset({"image": image})["image"] for _ in range(60)]
    plain, turned = image.as_tensor(), FlipD("image", 1)({"image": image})["image"].as_tensor()
    same = np.array([[torch.equal(o.as_tensor(), w) for w in (plain, turned)] for o in outs])
    assert same.sum(1).tolist() == [1] * 60
    assert 18 <= same[:, 1].sum() <= 42


def test_settings_of_patches_are_checked():
    with pytest.raises(ValueError, match="patches must be False with strength 'source'"):
        ct_augmentation("image", strength="source", patches=True)
    with pytest.raises(ValueError, match="mirror_axes must be"):
        mri_augmentation("image", mirror_axes=(0, 3))
    with pytest.raises(ValueError, match="patches must be True or False"):
        ct_augmentation("image", patches=1)
