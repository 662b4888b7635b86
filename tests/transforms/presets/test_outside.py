"""What presets fill in from outside the image: images and masks alike."""

import numpy as np
import pytest
import torch
from monai.data import MetaTensor, list_data_collate

from monai_medaug.transforms import (
    Batched,
    PreservingCompose,
    RandAffineElasticd,
    augmentation_report,
    ct_augmentation,
    mri_augmentation,
    replay,
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


# ---- the images' own background ----------------------------------------------------------------------------------


def scan(modality: str) -> dict[str, MetaTensor]:
    """A body in its background, which it leaves through the first and last slice, with an organ."""
    at = torch.meshgrid(*[torch.linspace(-1, 1, n) for n in (48, 48, 12)], indexing="ij")
    inside = at[0] ** 2 + at[1] ** 2 < 0.55
    low, high = (-1000.0, 50.0) if modality == "ct" else (0.0, 300.0)
    noise = torch.rand(inside.shape, generator=torch.Generator().manual_seed(0))
    image = torch.where(inside, high + 20 * noise, low)[None]
    organ = ((at[0] ** 2 + at[1] ** 2 < 0.2) & (at[2].abs() < 0.8))[None]
    return {"image": MetaTensor(image), "mask": MetaTensor(organ.to(torch.uint8))}


def records_of(image: MetaTensor) -> dict:
    return next(r for r in image.applied_operations if "padding" in r["extra_info"])["extra_info"]


@pytest.mark.parametrize(("modality", "value"), [("ct", -1000), ("mri", 0)])
def test_scans_are_filled_with_their_background_and_masks_with_0(modality, value):
    data = scan(modality)
    data["image"][:, 42, 10:38] = 60  # a table
    data["image"][..., 11] = value
    preset = PRESETS[modality]("image", "mask", strength="strong", prob=1.0)
    out = geometry_of(preset).set_random_state(3)(data)
    assert records_of(out["image"])["padding"] == {"background": [value], "through": -1}
    assert records_of(out["mask"])["padding"] == {"background": [0.0], "through": -1}
    ones = {"image": data["image"], "mask": MetaTensor(data["mask"].as_tensor() * 0 + 1)}
    outside = geometry_of(preset).set_random_state(3)(ones)["mask"].as_tensor() == 0
    assert outside.float().mean() > 0.02
    assert bool((out["image"].as_tensor()[outside] == value).all())


def test_a_body_goes_on_through_the_ends_of_a_slab():
    """Tilted by 15°, a slab shows background beside the body and no cut through it."""
    data = scan("mri")
    arguments = {"rotate_degrees": (15, 15), "scale_fraction": 0, "translate_fraction": 0, "elastic_alpha": 0}
    deform = RandAffineElasticd(("image", "mask"), 1.0, mode=(1, 0), padding_mode="background", **arguments)
    for seed in range(5):
        out = deform.set_random_state(seed)(data)
        assert records_of(out["mask"])["padding"] == {"background": [0.0], "through": 2}
        assert bool((out["image"].as_tensor()[:, 20:28, 20:28] > 200).all())
        assert bool((out["image"].as_tensor()[out["mask"].as_tensor() > 0] > 200).all())


@pytest.mark.parametrize("modality", ["ct", "mri"])
def test_crops_repeat_their_border(modality):
    out = geometry_of(PRESETS[modality]("image", "mask", prob=1.0)).set_random_state(3)(crop(modality))
    assert records_of(out["image"])["padding"] == records_of(out["mask"])["padding"] == "border"


def test_replay_inverse_and_batches_take_what_was_found():
    whole, part = scan("mri"), crop("mri")
    part = {k: MetaTensor(v[:, :48, :48, :12].clone()) for k, v in part.items()}
    deform = RandAffineElasticd(("image", "mask"), 1.0, mode=("bilinear", "nearest"), padding_mode="background")
    singles = [deform.set_random_state(1)(whole), deform(part)]
    batch = list_data_collate([{k: MetaTensor(v.as_tensor()) for k, v in d.items()} for d in (whole, part)])
    together = Batched(deform).set_random_state(1)(batch)
    for i, single in enumerate(singles):
        for key in ("image", "mask"):
            torch.testing.assert_close(together[key][i].as_tensor(), single[key].as_tensor(), rtol=0, atol=2e-3)
        source = (whole, part)[i]
        again = replay(source, augmentation_report(single).to_json())
        assert all(torch.equal(again[k].as_tensor(), single[k].as_tensor()) for k in single)
        assert records_of(again["image"])["padding"] == records_of(single["image"])["padding"]
    back = deform.inverse(singles[0])
    assert float(back["image"].as_tensor().min()) == 0
    turned = RandAffineElasticd("image", 1.0, padding_mode="background", elastic_alpha=0, translate_fraction=(0.2, 0.2))
    shifted = turned.set_random_state(0)({"image": MetaTensor((whole["image"].as_tensor() - 100) / 50)})
    assert float(turned.inverse(shifted)["image"].as_tensor().min()) >= -2.0001


def test_contrasts_of_one_patient_are_filled_each_with_its_own():
    data = scan("mri")
    data["other"] = MetaTensor(data["image"].as_tensor() * 0.01 - 1.5)
    arguments = {"padding_mode": "background", "rotate_degrees": 15}
    deform = RandAffineElasticd(("image", "other", "mask"), 1.0, mode=("bilinear", 1, 0), **arguments)
    out = deform.set_random_state(0)(data)
    torch.testing.assert_close(out["other"].as_tensor(), out["image"].as_tensor() * 0.01 - 1.5, rtol=0, atol=1e-4)
    joined = {"image": MetaTensor(torch.cat([data["image"], data["other"]]).as_tensor())}
    one = RandAffineElasticd("image", 1.0, padding_mode="background", rotate_degrees=15)
    both = one.set_random_state(0)(joined)
    assert records_of(both["image"])["padding"] == {"background": [0.0, -1.5], "through": 2}
    torch.testing.assert_close(both["image"][1].as_tensor(), out["other"][0].as_tensor(), rtol=0, atol=1e-4)


def test_scaled_images_in_a_window():
    data = scan("ct")
    data["image"] = (data["image"] + 1000) / 1400
    out = ct_augmentation("image", "mask", window=(-1000, 400), strength="light").set_random_state(1)(data)
    assert float(out["image"].as_tensor()[:, 0].mean()) == pytest.approx(0, abs=0.02)
    assert augmentation_report(out)["settings"]["padding_mode"] == "air"
