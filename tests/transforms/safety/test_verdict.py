"""The verdict against attacks: real scans of patients that were not used to choose its limits, and two phantoms."""

import pytest
import torch
from monai.data import MetaTensor
from monai.transforms import AsDiscreted, MapTransform, Rand3DElasticd, RandFlipd

from monai_medaug.transforms import (
    PreservingCompose,
    RandAffineElastic,
    RandAffineElasticd,
    RandCTDosed,
    augmentation_report,
)
from tests.benchmarks.verdict import graded, verdict_on
from tests.transforms.safety.attacks import ATTACKS, HARMLESS
from tests.transforms.safety.scans import available, scan
from tests.transforms.safety.test_preserving import body, verdict_of

JUDGED = ("phantom_flat", "nodule_thick", "nodule_noisy", "adult")


@pytest.mark.filterwarnings("ignore:PreservingCompose")
@pytest.mark.parametrize("name", JUDGED)
def test_no_wrong_yes_and_no_wrong_no(name):
    if name not in available():
        pytest.skip("MONAI_MEDAUG_DATA is not set")
    given, wrong = scan(name), []
    for attack in (*ATTACKS, *HARMLESS):
        found = verdict_on(attack, given)
        if found is not None:
            letters = graded(attack, given, *found)
            wrong += [(attack.name, answer) for answer, letter in letters.items() if letter in "YN"]
    assert wrong == []


class Change(MapTransform):
    """An unknown transform: a function of the arrays of its keys."""

    def __init__(self, keys, change):
        super().__init__(keys)
        self.change = change

    def __call__(self, data):
        return {**data, **{k: data[k] * 0 + self.change(data[k]) for k in self.keys}}


def judged(*steps, lesion="lesion", **kwargs):
    guard = PreservingCompose([*steps], "label", lesion, on_violation="warn", **kwargs).set_random_state(0)
    return augmentation_report(guard(body()))


@pytest.mark.filterwarnings("ignore:PreservingCompose")
def test_what_was_looked_at_stands_beneath_the_answers():
    report = judged(RandCTDosed("image", prob=1.0))
    text = str(report)
    assert "  anatomy preserved    yes\n       labels preserved: volume of 2 labels within 0.0%" in text
    assert "labels preserved: 100% of" in text
    assert "  pathology preserved  yes\n       lesion kept and visible: 100% of the lesion in the image" in text
    assert "lesion kept and visible: visible in image, border contrast" in text
    bad = judged(Change(["image"], lambda x: 7.0))
    assert bad["anatomy_preserved"] == bad["pathology_preserved"] == "no"
    assert "labels preserved:" not in str(bad)


@pytest.mark.filterwarnings("ignore:PreservingCompose")
def test_steps_without_a_record_are_said_and_never_get_a_yes():
    keys = ("image", "label", "lesion")
    turned = judged(Change(keys, lambda x: x.roll(6, 1)))
    assert turned["anatomy_preserved"] != "yes"
    elastic = Rand3DElasticd(
        keys, (4, 5), (200, 300), prob=1.0, mode=("bilinear", "nearest", "nearest"), padding_mode="border"
    )
    assert judged(elastic)["anatomy_preserved"] != "yes"
    assert judged(RandFlipd(keys, prob=1.0, spatial_axis=0))["anatomy_preserved"] == "yes"
    alone = judged(RandFlipd("image", prob=1.0, spatial_axis=0), Change(keys[1:], lambda x: x))
    assert alone["anatomy_preserved"] == "no"
    assert "moved otherwise than image" in " ".join(alone["violations"])


@pytest.mark.filterwarnings("ignore:PreservingCompose")
def test_only_the_kind_of_step_that_harmed_is_eased():
    data = body()
    deform = RandAffineElasticd(
        ("image", "label", "lesion"), prob=1.0, mode=("bilinear", "nearest", "nearest"), elastic_sigma=4
    )
    quiet = RandCTDosed("image", noise_hu=(5, 5), prob=1.0)
    out = PreservingCompose([deform, quiet], "label", max_volume_change=0.025).set_random_state(3)(data)
    info = verdict_of(out)
    assert 0 < info["eased"]["geometry"] < 1
    assert "intensity" not in info["eased"]
    noise = out["image"].applied_operations[1]["extra_info"]["params"]
    assert noise["noise_hu"] == 5
    assert "of what was drawn in geometry" in str(augmentation_report(out))
    loud = RandCTDosed("image", noise_hu=400, prob=1.0)
    gentle = RandAffineElasticd(
        ("image", "label", "lesion"), 1.0, mode=("bilinear", "nearest", "nearest"), elastic_alpha=20
    )
    info = verdict_of(PreservingCompose([gentle, loud], None, "lesion").set_random_state(0)(data), "lesion")
    assert set(info["eased"]) == {"intensity"}


def test_a_lesion_too_faint_to_see_is_not_checked():
    data = body()
    data["image"] = data["image"] - 59.5 * data["lesion"]
    report = augmentation_report(PreservingCompose([RandCTDosed("image", prob=1.0)], "label", "lesion")(data))
    assert report["pathology_preserved"] == "not checked"
    assert "not checked: the lesion was not visible before" in str(report)


def test_several_images_on_other_grids_are_looked_at():
    data = body()
    fine = torch.nn.functional.interpolate(data["image"].as_tensor()[None], scale_factor=2)[0]
    affine = torch.diag(torch.tensor([0.5, 0.5, 0.5, 1.0], dtype=torch.float64))
    affine[:3, 3] = -0.25
    data["fine"] = MetaTensor(fine, affine=affine)
    keys = ("image", "fine", "label", "lesion")
    deform = RandAffineElasticd(keys, 1.0, mode=("bilinear", "bilinear", "nearest", "nearest"), elastic_alpha=20)
    out = PreservingCompose([deform], "label", "lesion").set_random_state(0)(data)
    checks = augmentation_report(out)["checks"]
    assert checks["label: edges kept in fine"] > 0.95
    assert checks["label: edges kept in image"] > 0.95


@pytest.mark.filterwarnings("ignore:PreservingCompose")
def test_labels_that_move_without_the_image_are_seen_whatever_the_keys():
    """The image is in the sample, but no step takes it."""
    for step in (
        RandFlipd(("label", "lesion"), prob=1.0, spatial_axis=0),
        RandAffineElasticd(("label", "lesion"), 1.0, mode="nearest"),
    ):
        report = judged(step)
        assert report["anatomy_preserved"] == "no"
        assert "moved otherwise than image" in " ".join(report["violations"])


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64, torch.int16])
def test_images_of_any_type_are_looked_at(dtype):
    data = body()
    data["image"] = MetaTensor(((data["image"] + 1000) / 8).to(dtype))
    out = PreservingCompose([Change(["image"], lambda x: x)], "label", "lesion")(data)
    assert augmentation_report(out)["anatomy_preserved"] == "yes"


def test_a_lesion_that_fills_the_image_is_not_checked():
    data = body()
    data["lesion"] = torch.ones_like(data["lesion"])
    report = augmentation_report(PreservingCompose([RandCTDosed("image", prob=1.0)], "label", "lesion")(data))
    assert report["pathology_preserved"] == "not checked"


@pytest.mark.filterwarnings("ignore:PreservingCompose")
def test_every_channel_of_a_label_is_looked_at():
    """Classes within one another, as of brain tumours: what the second holds is painted out of the image."""
    data = body((64, 60, 56))
    inner = data["label"] == 2
    data["label"] = MetaTensor(torch.cat([(data["label"] > 0), inner]).to(torch.uint8))
    data["image"] = data["image"] - 60 * data["lesion"] + 60 * inner
    painted = Change(["image"], lambda x: torch.where(inner, x - 60, x))
    report = augmentation_report(PreservingCompose([painted], "label", on_violation="warn")(data))
    assert report["anatomy_preserved"] == "no"


@pytest.mark.parametrize("scale", [1e-8, 1e8])
@pytest.mark.parametrize("offset", [0, 1e3])
def test_the_scale_of_an_image_does_not_count(scale, offset):
    data = body()
    data["image"] = (data["image"].double() + offset) * scale
    report = augmentation_report(PreservingCompose([Change(["image"], lambda x: x)], "label", "lesion")(data))
    assert report["anatomy_preserved"] == report["pathology_preserved"] == "yes"


@pytest.mark.filterwarnings("ignore:PreservingCompose")
@pytest.mark.parametrize("mode", ["warn", "reject"])
def test_steps_that_write_into_their_input_fool_nobody(mode):
    """As MONAI's coarse dropout does; the caller's data and the rejected result are what they were."""

    class Overwrite(MapTransform):
        def __call__(self, data):
            data["image"][:] = 7.0
            return dict(data)

    data = body()
    before = data["image"].clone()
    guard = PreservingCompose([Overwrite(["image"])], "label", "lesion", on_violation=mode)
    out = guard(data)
    assert augmentation_report(out)["anatomy_preserved"] == "no"
    assert torch.equal(data["image"].as_tensor(), before.as_tensor())
    assert torch.equal(out["image"].as_tensor(), before.as_tensor()) == (mode == "reject")


@pytest.mark.filterwarnings("ignore:PreservingCompose")
def test_images_that_are_gone_and_small_lesions_are_said():
    class Drop(MapTransform):
        def __call__(self, data):
            return {k: v for k, v in data.items() if k not in self.keys}

    assert judged(Drop(["image"]))["anatomy_preserved"] == "not checked"
    data = body()
    for z in range(4, 40, 6):  # six lesions of two voxels
        data["lesion"][:, z, 20, 20:22] = 1
    data["image"] = data["image"] + 500 * data["lesion"]
    small = data["lesion"] * 0
    for z in range(4, 40, 6):
        small[:, z, 20, 20:22] = 1
    drop = Change(["lesion"], lambda x: x * (1 - small))
    guard = PreservingCompose([drop], None, "lesion", on_violation="warn")
    assert augmentation_report(guard(data))["pathology_preserved"] == "no"


def test_a_ring_that_enhances_is_visible():
    """Bright without, dark within: the mean step at its border nearly cancels."""
    data, noise = body(), torch.Generator().manual_seed(0)
    axes = torch.meshgrid(*[torch.arange(n) - n / 2 for n in data["image"].shape[1:]], indexing="ij")
    distance = sum(a**2 for a in axes).sqrt()[None]
    data["lesion"] = MetaTensor((distance < 10).to(torch.uint8))
    data["image"] = MetaTensor(
        torch.where(distance < 10, torch.where(distance > 7.6, 80.0, -60.0), 0.0)
        + 4 * torch.randn(distance.shape, generator=noise)
    )
    erased = Change(
        ["image"], lambda x: torch.where(distance < 10, 4 * torch.randn(distance.shape, generator=noise), x)
    )
    report = augmentation_report(PreservingCompose([erased], None, "lesion", on_violation="reject")(data))
    assert report["pathology_preserved"] == "no"


@pytest.mark.filterwarnings("ignore:PreservingCompose")
def test_one_instance_that_draws_for_each_key_anew_is_seen():
    """Two draws of one transform carry one uid."""
    deform = RandAffineElastic(prob=1.0, rotate_degrees=20).set_random_state(0)
    once = Change(["image"], lambda x: x)

    class Apart(MapTransform):
        def __call__(self, data):
            masks = {k: deform(data[k], mode="nearest", randomize=False) for k in ("label", "lesion")}
            return {**data, **masks, "image": deform(data["image"])}

    deform(body()["image"])
    report = judged(Apart(["image", "label", "lesion"]), once)
    assert report["anatomy_preserved"] == "no"
    assert "moved otherwise than image" in " ".join(report["violations"])


@pytest.mark.filterwarnings("ignore:PreservingCompose")
def test_padding_unlike_the_image_on_another_grid_is_seen():
    """Half the resolution; the label ends at the border and is filled with 0 there, the image repeats."""
    data = body((48, 44, 40))
    data["label"][:, :8] = 1
    coarse = MetaTensor(data["image"][:, ::2, ::2, ::2].contiguous(), affine=torch.diag(torch.tensor([2.0, 2, 2, 1])))
    shift = RandAffineElasticd(
        ("image", "label"),
        1.0,
        mode=("bilinear", "nearest"),
        padding_mode=("border", "zeros"),
        elastic_alpha=0,
        rotate_degrees=0,
        scale_fraction=0,
        translate_fraction=(0.1, 0.1),
    )
    guard = PreservingCompose([shift], "label", on_violation="warn")
    for image in (data["image"], coarse):
        checks = augmentation_report(guard({"image": image, "label": data["label"]}))["checks"]
        assert 0.02 < checks["label: labels padded unlike image"] < 0.5


@pytest.mark.filterwarnings("ignore:PreservingCompose")
def test_a_label_of_other_channels_is_judged():
    one_hot = AsDiscreted("label", to_onehot=3)
    deform = RandAffineElasticd(("image", "label"), 1.0, mode=("bilinear", "nearest"), padding_mode=("border", "zeros"))
    assert judged(deform, one_hot)["anatomy_preserved"] == "no"


@pytest.mark.filterwarnings("ignore:PreservingCompose")
def test_metal_anywhere_is_seen_and_a_shutter_is_none():
    """Off the labels; a shutter covers a side and all that lies there."""
    data = body((96, 88))
    metal, shutter = data["image"].clone(), data["image"].clone()
    metal[:, 4:8, 4:8] = 3000
    shutter[:, :10] = 500  # brighter than all, as in an inverted radiograph
    for changed, answer in ((metal, "no"), (shutter, "yes")):
        guard = PreservingCompose([Change(["image"], lambda x, c=changed: c)], "label", on_violation="warn")
        report = augmentation_report(guard(data))
        assert report["anatomy_preserved"] == answer
        assert ("strong structures" in " ".join(report["violations"])) == (answer == "no")


@pytest.mark.filterwarnings("ignore:PreservingCompose")
@pytest.mark.parametrize("spacing", [1.0, 3.0])
def test_a_lesion_off_its_mask_is_seen(spacing):
    """By its edges' shifts together, whatever the slices' thickness."""
    data = body(affine=torch.diag(torch.tensor([spacing, 1, 1, 1], dtype=torch.float64)))
    moved = Change(["image"], lambda x: x.roll((2, 2), (1, 2)))
    report = augmentation_report(PreservingCompose([moved], None, "lesion", on_violation="warn")(data))
    assert "voxels off its mask" in " ".join(report["violations"])
    still = augmentation_report(PreservingCompose([RandCTDosed("image", prob=1.0)], None, "lesion")(data))
    assert still["checks"]["image: voxels by which the lesion moved"] < 0.3
