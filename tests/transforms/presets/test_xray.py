"""The preset of radiographs: what lies outside, contrast, and the chest at the bedside."""

import pytest
import torch
from monai.data import MetaTensor

from monai_medaug.transforms import RandAffineElasticd, augmentation_report, xray_augmentation


def chest(inverted: bool = False) -> MetaTensor:
    """A bright abdomen and shoulders up to the border, lungs, and air beside them that saturates."""
    y, x = torch.meshgrid(torch.linspace(-1, 1, 96), torch.linspace(-1, 1, 96), indexing="ij")
    image = 200 - 120 * torch.exp(-((x.abs() - 0.4) ** 2 / 0.05 + y**2 / 0.3)) + 6 * torch.sin(25 * y)
    image[x.abs() > 0.8] = 0
    return MetaTensor((255 - image if inverted else image)[None], affine=torch.diag(torch.tensor([3.0, 3, 1, 1])))


@pytest.mark.parametrize("inverted", [False, True])
def test_outside_is_black(inverted):
    image = chest(inverted)
    step = RandAffineElasticd("image", 1.0, translate_fraction=(0.1, 0.1), rotate_degrees=0, elastic_alpha=0)
    preset = xray_augmentation("image", inverted=inverted)
    step.paddings = preset.transforms[0].paddings
    out = step.set_random_state(0)({"image": image})["image"].as_tensor()
    black = float(image.max() if inverted else image.min())
    assert bool((out[:, 0] == black).all() or (out[:, -1] == black).all())


@pytest.mark.parametrize("strength", ["light", "standard", "strong"])
def test_no_draw_wipes_the_radiograph_out(strength):
    """Half of the standard deviation is kept in all of 60 draws, with air in a fifth of the image."""
    image = chest()
    augment = xray_augmentation("image", strength=strength, prob=1.0)
    outs = [augment.set_random_state(s)({"image": image})["image"].clamp(0, 255) for s in range(60)]
    assert min(float(out.std() / image.std()) for out in outs) > 0.5


def test_a_chest_at_the_bedside():
    image = chest()
    for strength in ("light", "standard", "strong"):
        augment = xray_augmentation("image", strength=strength, prob=1.0, portable=True).set_random_state(1)
        report = augmentation_report(augment({"image": image}))
        assert [s["name"] for s in report["steps"] if s["applied"]] == [
            "RandAffineElasticd",
            "RandXRayCollimationd",
            "RandXRayScatterd",
            "RandXRayExposured",
        ]
        assert report["settings"]["portable"] is True
    with pytest.raises(ValueError, match="portable must be False with strength 'source'"):
        xray_augmentation(strength="source", portable=True)
    with pytest.raises(ValueError, match="portable must be True or False"):
        xray_augmentation(portable=1)


def test_blades_leave_open_what_the_masks_show():
    image = chest()
    label = torch.zeros_like(image)
    label[:, 10:-10, 10:-10] = 1
    preset = xray_augmentation("image", mask_keys="label", strength="strong", prob=1.0)
    for seed in range(6):
        out = preset.set_random_state(seed)({"image": image, "label": label})
        report = augmentation_report(out)
        closed = [s for s in report["steps"] if s["name"] == "RandXRayCollimationd" and s["applied"]]
        assert not closed or report["anatomy_preserved"] != "no"
