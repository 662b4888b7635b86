"""What presets fill in from outside the image: images and masks alike."""

import numpy as np
import pytest
import torch
from monai.data import MetaTensor

from monai_medaug.transforms import (
    PreservingCompose,
    RandAffineElasticd,
    augmentation_report,
    ct_augmentation,
    mri_augmentation,
    xray_augmentation,
)

PRESETS = {"ct": ct_augmentation, "mri": mri_augmentation, "xray": xray_augmentation}


def crop(modality: str, one_hot: bool = False) -> dict[str, MetaTensor]:
    """An organ that fills half of the image, cut by its border as in a training crop."""
    label = torch.zeros(1, 48, 48, 24) if modality != "xray" else torch.zeros(1, 64, 64)
    label[:, :24] = 1
    tissue = 100.0 + 50 * label + torch.rand(label.shape, generator=torch.Generator().manual_seed(0))
    tissue = tissue - 160 if modality == "ct" else tissue
    if one_hot:
        label = torch.cat([1 - label, label])
    return {"image": MetaTensor(tissue), "mask": MetaTensor(label.to(torch.uint8))}


def geometry_of(preset):
    return preset.transforms[0].transforms[0]


def mislabelled(preset, data: dict) -> float:
    """The share of voxels of an organ, as the image shows it, that are labelled otherwise: by a marker in the image's
    place, moved by the same draw.
    """
    steps = geometry_of(preset)
    marker = {"image": MetaTensor(data["mask"].as_tensor().float()[-1:]), "mask": data["mask"]}
    out = steps.set_random_state(3)(marker)
    organ = out["image"][0] > 0.999
    return float((out["mask"][-1][organ] != 1).float().mean())


@pytest.mark.parametrize("strength", ["light", "standard", "strong"])
@pytest.mark.parametrize("modality", PRESETS)
def test_organs_are_not_labelled_background(modality, strength):
    preset = PRESETS[modality]("image", "mask", strength=strength, prob=1.0)
    assert mislabelled(preset, crop(modality)) == 0


@pytest.mark.parametrize("modality", PRESETS)
@pytest.mark.parametrize(
    "arguments", [{}, {"padding_mode": -1000}, {"padding_mode": "zeros"}, {"padding_mode": "reflection"}]
)
def test_one_hot_masks_keep_one_class_everywhere(modality, arguments):
    preset = PRESETS[modality]("image", "mask", strength="strong", prob=1.0, **arguments)
    out = geometry_of(preset).set_random_state(3)(crop(modality, one_hot=True))
    assert (out["mask"].as_tensor().sum(0) == 1).all()


def test_a_number_fills_the_images_and_masks_get_0():
    preset = ct_augmentation("image", "mask", strength="strong", prob=1.0, padding_mode=-1000)
    out = geometry_of(preset).set_random_state(3)(crop("ct"))
    outside = out["image"] == -1000
    assert 0.01 < float(outside.float().mean()) < 0.6
    assert not out["mask"].as_tensor()[outside].any()


def test_a_value_to_ignore_marks_what_is_made_up():
    data = crop("ct")
    plain = geometry_of(ct_augmentation("image", "mask", strength="strong", prob=1.0)).set_random_state(3)(data)
    preset = ct_augmentation("image", "mask", strength="strong", prob=1.0, ignore=255)
    marked = geometry_of(preset).set_random_state(3)(data)
    ignored = marked["mask"] == 255
    assert torch.equal(marked["image"].as_tensor(), plain["image"].as_tensor())
    assert torch.equal(marked["mask"].as_tensor()[~ignored], plain["mask"].as_tensor()[~ignored])
    assert 0.01 < float(ignored.float().mean()) < 0.6
    light = ct_augmentation("image", "mask", strength="light", prob=1.0, ignore=255)
    report = augmentation_report(light.set_random_state(1)(data))
    assert report["anatomy_preserved"] == "yes"
    assert report["settings"]["ignore"] == 255
    assert report["strength"] == 1


def test_an_ignored_lesion_has_the_same_verdict():
    data = crop("ct")
    data["lesion"] = MetaTensor(torch.zeros(1, 48, 48, 24, dtype=torch.uint8))
    data["lesion"][:, 20:28, 20:28, 8:16] = 1
    verdicts = []
    for ignore in (None, 255):
        preset = ct_augmentation("image", lesion_key="lesion", strength="light", prob=1.0, ignore=ignore)
        out = preset.set_random_state(1)(data)
        verdicts.append(out["lesion"].applied_operations[-2]["extra_info"]["verdict"])
    assert verdicts[0] == verdicts[1]


@pytest.mark.parametrize(
    "padding", [("border", "zeros"), ("reflection", "zeros"), (-1000, "border"), ("border", "reflection")]
)
def test_the_verdict_sees_images_and_masks_that_are_filled_differently(padding):

    deform = RandAffineElasticd(
        ("image", "mask"), 1.0, mode=["bilinear", "nearest"], padding_mode=padding, translate_fraction=(0.1, 0.2)
    )
    data = crop("ct")
    data["mask"][:] = torch.from_numpy(np.arange(48) // 4).to(torch.uint8)[:, None, None]
    safe = PreservingCompose([deform], "mask", on_violation="warn").set_random_state(0)
    with pytest.warns(UserWarning, match="same padding_mode"):
        assert augmentation_report(safe(data))["anatomy_preserved"] == "no"


@pytest.mark.parametrize("padding", [("border", "border"), (-1000, "zeros"), ("zeros", 0), ("border", 255)])
def test_and_is_content_with_those_that_are_filled_alike(padding):

    arguments = {"mode": ["bilinear", "nearest"], "padding_mode": padding, "elastic_alpha": 0}
    deform = RandAffineElasticd(("image", "mask"), 1.0, **arguments)
    safe = PreservingCompose([deform], "mask", on_violation="reject").set_random_state(0)
    assert augmentation_report(safe(crop("ct")))["anatomy_preserved"] == "yes"


@pytest.mark.parametrize("padding", ["darkest", "brightest"])
@pytest.mark.parametrize("one_hot", [False, True])
def test_masks_get_0_where_images_get_a_value_of_their_own(padding, one_hot):
    """A crop within an organ has no 0 of its own to fill with."""
    move = {"rotate_degrees": (20, 20), "elastic_alpha": 0, "translate_fraction": 0}
    deform = RandAffineElasticd(("image", "mask"), 1.0, mode=["bilinear", "nearest"], padding_mode=padding, **move)
    organ = torch.ones(1, 40, 40, dtype=torch.uint8)
    mask = torch.cat([1 - organ, organ]) if one_hot else organ
    out = deform.set_random_state(0)({"image": MetaTensor(torch.rand(1, 40, 40)), "mask": MetaTensor(mask)})
    assert out["mask"][-1].unique().tolist() == [0, 1]
    assert not one_hot or (out["mask"].as_tensor().sum(0) == 1).all()
