"""Labels that are nearly whole numbers count as whole everywhere; the user's values stay."""

import numpy as np
import pytest
import torch
from monai.data import MetaTensor

from monai_medaug.core.entry import Entry, Given, further_inputs
from monai_medaug.figures.planes import DisplayPlane
from monai_medaug.functional.geometry.grid import VoxelGrid
from monai_medaug.functional.labels import label_array, near_whole, whole_labels
from monai_medaug.functional.mixing.lesion_paste import lesion_mask
from monai_medaug.functional.mixing.mix import soft_labels, soft_masks
from monai_medaug.functional.preservation import label_counts
from monai_medaug.transforms import PGDAttack, PreservingCompose, RandAffineElasticd, augmentation_report

NEARLY = torch.tensor([[[0.0, 1.0000153, 0.99999, -0.0001], [1.996, 2.0, 0.996, 0.0001]]])


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_within_three_hundredths_is_whole_and_beyond_is_refused(dtype):
    values = torch.tensor([0.97, 1.03, -0.03, 4.98]).to(dtype)
    if dtype in (torch.float32, torch.float64):  # half precision rounds 1.03 beyond it
        assert whole_labels(values, "m").tolist() == [1, 1, 0, 5]
    assert str(near_whole(torch.tensor([-0.001], dtype=dtype)).item()) == "0.0"
    with pytest.raises(ValueError, match=r"m must hold whole numbers to count, got fractions, up to 0\.25 away"):
        whole_labels(torch.tensor([0.125, 1.75, 1.0], dtype=dtype), "m", " to count")
    with pytest.raises(ValueError, match="got NaN or infinite"):
        whole_labels(torch.tensor([float("nan")], dtype=dtype), "m")
    integers = torch.tensor([3])
    assert whole_labels(integers, "m") is integers


def test_counts_are_by_label_and_large_labels_keep_their_digits():
    assert label_counts(label_array(NEARLY)) == {1: 3, 2: 2}
    assert label_array(NEARLY).dtype == np.int16
    large = [1000001, 1000002, 182305696]
    assert label_counts(label_array(torch.tensor(large))) == dict.fromkeys(large, 1)
    assert label_counts(label_array(torch.tensor(large, dtype=torch.float64))) == dict.fromkeys(large, 1)
    assert label_counts(label_array(torch.tensor([0.5, 1.0]))) == {0.5: 1, 1: 1}
    assert label_counts(label_array(torch.tensor([-1, 1, 1]))) == {-1: 1, 1: 2}
    assert label_counts(label_array(torch.tensor([True, False]))) == {1: 1}


def test_ids_and_masks_of_mixes():
    assert soft_labels(torch.tensor([1.996, 0.0001]), 3, "y").tolist() == [[0, 0, 1], [1, 0, 0]]
    assert soft_masks(NEARLY[None], 3, "m").sum((2, 3)).tolist() == [[3, 3, 2]]
    flags = soft_masks(torch.tensor([[[[-0.001, 1.0000153, 0.98]]]]), None, "m")
    assert flags.flatten().tolist() == [0, 1, pytest.approx(0.98)]  # a soft mask keeps its weights
    for fractions, call in ((torch.tensor([0.5]), soft_labels), (torch.tensor([[[[0.5]]]]), soft_masks)):
        with pytest.raises(ValueError, match=r"up to 0\.5 away"):
            call(fractions, 3, "y")
    assert lesion_mask(NEARLY, (2,), "m").sum() == 2
    assert lesion_mask(NEARLY, (1,), "m").sum() == 3


def test_a_nearly_empty_background_does_not_open_a_mask():
    image = Entry(torch.zeros(1, 2, 4), "image", 0)
    image.given = {"mask": Given("mask", NEARLY)}
    assert further_inputs(PGDAttack, image, [0])["mask"].sum() == 5


def test_a_picture_outlines_each_label_once():
    plane = DisplayPlane.through(VoxelGrid((2, 4)))
    assert np.unique(plane.resampled(NEARLY)).tolist() == [0, 1, 2]


@pytest.mark.parametrize("off", [1.53e-5, -0.004, 0.02])
def test_the_verdict_counts_labels_and_the_result_keeps_the_values(off):
    label = torch.full((1, 48, 48), off / 10)
    label[:, 12:36, 12:36] = 1 + off
    label[:, 20:28, 20:28] = 2 - off
    lesion = torch.full((1, 48, 48), off / 10)
    lesion[:, 16:32, 16:32] = 1 + off
    data = {"image": MetaTensor(100 * (lesion > 0.5) + 40 * torch.rand(1, 48, 48)), "label": MetaTensor(label)}
    data["lesion"] = MetaTensor(lesion)
    modes = ["bilinear", "nearest", "nearest"]
    deform = RandAffineElasticd(["image", "label", "lesion"], prob=1.0, elastic_alpha=0, scale_fraction=0, mode=modes)
    out = PreservingCompose([deform], "label", "lesion").set_random_state(1)(data)
    info = out["label"].applied_operations[-1]["extra_info"]
    verdict = info["verdict"]
    assert info["strength"] > 0
    assert verdict["violations"] == []
    assert verdict["anatomy"] == verdict["pathology"] == "yes"
    assert set(verdict["checks"]["label: volume change"]) == {"1", "2"}
    assert verdict["checks"]["lesion topology before"]["components"] == 1
    assert set(out["label"].unique().tolist()) - {0.0} == set(label.unique().tolist())
    assert augmentation_report(out)["anatomy_preserved"] == "yes"


def test_labels_that_are_fractions_are_refused_with_their_distance():
    data = {"label": MetaTensor(torch.full((1, 8, 8), 0.4))}
    compose = PreservingCompose([RandAffineElasticd("label", prob=1.0, mode="nearest")], "label")
    with pytest.raises(ValueError, match=r"'label' must hold whole numbers to be a label map, .* up to 0\.4 away"):
        compose(data)
