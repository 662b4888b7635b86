"""Adaptive augmentation on real images: what is worse than usual is not made worse, and the report says why."""

import os
from pathlib import Path

import numpy as np
import pytest
import torch
from monai.data import MetaTensor

from monai_medaug.functional.geometry.grid import VoxelGrid
from monai_medaug.policies import AdaptiveAugment, AdaptiveAugmentd, Burden, image_burdens, policy_operations
from monai_medaug.policies.adaptive import _ADDS
from monai_medaug.policies.operations import POLICY_MODALITIES, every_policy_operation
from monai_medaug.transforms import (
    RandBlur,
    RandCTDose,
    RandIntensityCurve,
    RandMRIGhosting,
    RandMRINoise,
    augmentation_report,
    replay,
)
from tests.transforms.test_intensity import ct_slice


def mr_slice():
    """A T1 slice of the template that nilearn ships, with the faint noise of a scan."""
    pytest.importorskip("nilearn")
    from nilearn.datasets import load_mni152_template

    plane = load_mni152_template(resolution=1).get_fdata()[:, :, 80].astype(np.float32)
    rng = np.random.default_rng(0)
    real, imaginary = rng.normal(0, 0.01, (2, *plane.shape))
    return torch.from_numpy(np.hypot(plane + real, imaginary).astype(np.float32) * 1000)[None]


def chosen(augment, image, draws=12):
    """The operations' classes in some draws."""
    found = []
    for seed in range(draws):
        out = augment.set_random_state(seed)({"image": image})["image"]
        found += [r["class"] for r in out.applied_operations if r["class"].startswith("Rand") and r["do_transforms"]]
    return found


def noise_added(augment, image, name, quantity, draws=12):
    """The greatest drawn value of a quantity of an operation; 0 where it was never chosen."""
    greatest = 0.0
    for seed in range(draws):
        out = augment.set_random_state(seed)({"image": image})["image"]
        records = [r for r in out.applied_operations if r["class"] == name and r["do_transforms"]]
        greatest = max([greatest, *(r["extra_info"]["params"][quantity] for r in records)])
    return greatest


def test_a_noisy_ct_is_not_made_noisier_and_the_report_says_why():
    augment = AdaptiveAugmentd("image", "ct")
    quiet = RandBlur(fwhm_mm=3, prob=1.0)(ct_slice())
    noisy = MetaTensor(RandCTDose(noise_hu=(40, 40), prob=1.0).set_random_state(0)(quiet))
    assert noise_added(augment, noisy, "RandCTDosed", "noise_hu") == 0
    assert noise_added(augment, MetaTensor(quiet), "RandCTDosed", "noise_hu") > 4
    report = augmentation_report(augment({"image": noisy}))
    assert report["choice"]["ct_noise"].startswith("left out: noise ")
    assert "of 25 HU" in str(report)
    assert "ct_noise" in str(report)
    assert "rotate" not in report["choice"]


def test_between_the_limits_magnitudes_shrink_with_what_is_there():
    """Drawn noise and that of the image together stay below the limit."""
    augment = AdaptiveAugmentd("image", "mri", operations=["mri_noise", "rotate"], magnitude=1.0)
    image = mr_slice()
    before = image_burdens(image, VoxelGrid(tuple(image.shape[1:])), "mri")["noise"]
    for snr in (40, 15):
        noisy = MetaTensor(RandMRINoise(snr=(snr, snr), prob=1.0).set_random_state(1)(image))
        burden = image_burdens(noisy.as_tensor(), VoxelGrid(tuple(image.shape[1:])), "mri")["noise"]
        assert before.level < burden.level
        assert burden.level == pytest.approx(1 / snr, rel=0.6)
        added = noise_added(augment, noisy, "RandMRINoised", "noise_to_signal")
        assert 0 < added <= 0.125 * burden.room + 1e-6
        before = burden


def test_a_draw_is_scaled_by_the_room_that_its_image_leaves():
    augment = AdaptiveAugmentd("image", "ct", operations=["ct_noise"], n=1, prob=1.0)
    quiet = RandBlur(fwhm_mm=3, prob=1.0)(ct_slice())
    drawn = []
    for image in (quiet, RandCTDose(noise_hu=(15, 15), prob=1.0).set_random_state(0)(quiet)):
        out = augment.set_random_state(3)({"image": MetaTensor(image)})["image"]
        record = next(r for r in out.applied_operations if r["class"] == "RandCTDosed")
        drawn.append((record["extra_info"]["params"]["noise_hu"], augment.burdens["noise"].room))
    assert drawn[1][1] < 0.9 < drawn[0][1] + 0.1
    assert drawn[0][0] / drawn[0][1] == pytest.approx(drawn[1][0] / drawn[1][1], rel=1e-6)


def test_a_thick_stack_is_not_made_thicker_and_a_blurred_image_not_blunter():
    volume = torch.nn.functional.interpolate(ct_slice()[None, :, :64, :64, None].repeat(1, 1, 1, 1, 2), (64, 64, 12))[0]
    for spacing, thick in ((1.0, True), (5.0, False)):
        image = MetaTensor(volume, affine=torch.diag(torch.tensor([0.8, 0.8, spacing, 1], dtype=torch.float64)))
        augment = AdaptiveAugmentd("image", "ct", spatial_dims=3, operations=["thick_slice", "rotate"])
        assert ("RandThickSliced" in chosen(augment, image, 8)) == thick
    sharp, blunt = MetaTensor(ct_slice()), MetaTensor(RandBlur(fwhm_mm=8, prob=1.0)(ct_slice()))
    rooms = [image_burdens(i.as_tensor(), VoxelGrid((128, 128)), "ct")["blur"].room for i in (sharp, blunt)]
    assert rooms[0] > 0.6
    assert rooms[1] < 0.1
    assert "RandBlurd" not in chosen(AdaptiveAugmentd("image", "ct"), blunt, 8)


def test_ghosts_are_seen_in_the_background():
    image = mr_slice()
    grid = VoxelGrid(tuple(image.shape[1:]))
    ghosted = RandMRIGhosting(intensity=(0.4, 0.4), prob=1.0).set_random_state(0)(image)
    clean, bad = (image_burdens(i, grid, "mri")["artefact"] for i in (image, ghosted))
    assert clean.level < 0.3
    assert bad.level > clean.level + 0.3
    report = augmentation_report(AdaptiveAugmentd("image", "mri")({"image": MetaTensor(ghosted)}))
    assert "ghosting" in report["choice"]


def test_low_contrast_is_not_lowered_further():
    """An image between a few bright and dark points, nearly flat."""
    image = ct_slice()
    flat = RandIntensityCurve(contrast=0.2, gamma=1, brightness=0, prob=1.0)(image)
    flat[0, 0, :8], flat[0, 0, 8:16] = image.min(), image.max()
    levels = [image_burdens(i, VoxelGrid((128, 128)), "xray")["contrast"].room for i in (image, flat)]
    assert levels[0] == 1
    assert levels[1] < 0.9


def test_metal_keeps_further_artefacts_of_the_scan_away():
    image = ct_slice()
    image[:, 60:66, 60:66] = 3071.0
    augment = AdaptiveAugmentd("image", "ct")
    assert not {"RandCTRingd", "RandCTMotiond", "RandCTBeamHardeningd"} & {*chosen(augment, MetaTensor(image), 15)}
    assert {"RandCTRingd", "RandCTMotiond", "RandCTBeamHardeningd"} & {*chosen(augment, MetaTensor(ct_slice()), 15)}


def test_replay_inverse_and_batches_follow_each_image():
    from monai_medaug.transforms import Batched

    augment = AdaptiveAugmentd("image", "ct", guard=False)
    images = [ct_slice(), RandCTDose(noise_hu=(40, 40), prob=1.0).set_random_state(0)(ct_slice())]
    for seed, image in enumerate(images):
        out = augment.set_random_state(seed)({"image": MetaTensor(image)})
        text = augmentation_report(out).to_json()
        assert torch.equal(replay({"image": MetaTensor(image)}, text)["image"], out["image"])
        augment({"image": MetaTensor(images[1 - seed])})  # another image in between
        assert torch.equal(replay({"image": MetaTensor(image)}, text, transform=augment)["image"], out["image"])
    together = Batched(augment).set_random_state(4)({"image": torch.stack(images)})["image"]
    augment.set_random_state(4)
    for one, result in zip(images, together, strict=True):
        assert torch.equal(augment({"image": one})["image"], result)


@pytest.mark.parametrize("modality", POLICY_MODALITIES)
@pytest.mark.parametrize("value", [0.0, -1000.0, 7.0])
def test_images_of_nothing_are_no_trouble(modality, value):
    for shape in ((1, 40, 40), (1, 12, 12, 3), (1, 2, 2), (1, 1, 30)):
        out = AdaptiveAugment(modality).set_random_state(0)(torch.full(shape, value))
        assert bool(torch.isfinite(out).all())
        noise = torch.randn(shape, generator=torch.Generator().manual_seed(0)) * 30 + value
        assert bool(torch.isfinite(AdaptiveAugment(modality).set_random_state(0)(noise)).all())


def test_every_name_that_adds_is_an_operation():
    every = {name for modality in POLICY_MODALITIES for name in every_policy_operation(modality)}
    assert set(_ADDS) <= every
    assert not {"rotate", "translate", "elastic"} & set(_ADDS)


def test_rooms():
    assert Burden("noise", 0.0, 25.0, "HU").room == 1
    assert Burden("noise", 25.0, 25.0, "HU").room == 0
    assert Burden("slices", 3.0, 6.0, "mm").room == 0
    assert Burden("contrast", 0.06, 0.12, "").room == 0.5
    assert "could not be measured" in Burden("blur", None, 4.0, "mm").text()


@pytest.mark.skipif(not os.environ.get("MONAI_MEDAUG_DATA"), reason="needs real scans")
def test_on_real_scans_the_figures_are_what_people_see():
    """A plastic head smooth and sharp, the same scan: blur and noise tell them apart."""
    import nibabel as nib

    folder = Path(os.environ["MONAI_MEDAUG_DATA"])
    found = {}
    for kernel in ("B", "L"):
        held = nib.load(folder / f"lungdx_A0001_ct_kernel{kernel}.nii.gz")
        image = torch.from_numpy(np.asarray(held.dataobj, np.float32))[None]
        found[kernel] = image_burdens(image, VoxelGrid(tuple(image.shape[1:]), held.affine.tolist()), "ct")
    assert found["L"]["noise"].level > 1.5 * found["B"]["noise"].level
    assert found["L"]["blur"].level < found["B"]["blur"].level
    assert found["B"]["slices"].room == 0
    assert "thick_slice" in policy_operations("ct", 3)
