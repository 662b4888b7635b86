"""The report on generated images: what it says of new images, of copies, of few modes, of noise, and of bad input."""

import json

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from monai_medaug.core.batch import Batched
from monai_medaug.engines import train_feature_network
from monai_medaug.engines.generation_monitor import image_features
from monai_medaug.experiments import GenerationReport, generation_report, train_on_synthetic
from monai_medaug.functional.generation.copies import planted_copies
from monai_medaug.functional.generation.neighbours import NeighbourSearch
from monai_medaug.transforms import RandAffineElasticd
from tests.functional.generation.radiographs import radiographs_by_patient


def coarse(images: torch.Tensor) -> torch.Tensor:
    """Features that need no training: means of 4 × 4 pixels."""
    return F.avg_pool2d(images, 4).flatten(1)


@pytest.fixture(scope="module")
def parts() -> dict:
    (training, held_out, new), labels, patients = radiographs_by_patient(16)
    return {
        "new": new,
        "training": training,
        "held_out": held_out,
        "new_labels": labels[2],
        "labels": {"training_labels": labels[0], "held_out_labels": labels[1]},
        "groups": {"training_groups": patients[0], "held_out_groups": patients[1]},
    }


def report_on(samples: torch.Tensor, parts: dict, **changes) -> GenerationReport:
    given = {"features": coarse, "level": 0.05, **parts["groups"], **changes}
    return generation_report(samples, parts["training"], parts["held_out"], **given)


def test_real_images_of_new_patients_are_what_a_perfect_generator_makes(parts, tmp_path):
    """Their figures are the floor's, none of them is a copy, and the report says so in words, JSON and a picture."""
    labels = {**parts["labels"], "sample_labels": parts["new_labels"]}
    report = report_on(parts["new"], parts, out_dir=tmp_path, **labels)
    fidelity, diversity, copies = (report[k] for k in ("fidelity", "diversity", "memorising"))
    assert fidelity["fid_over_floor"] < 2
    assert fidelity["spectrum_db"] < 2 * fidelity["spectrum_db_floor"] < 1.5
    assert abs(fidelity["precision"] - fidelity["precision_floor"]) < 0.15
    assert 0.9 < diversity["mean_distance"] < 1.1
    assert 0.85 < diversity["nearest_distance"] < 1.15
    assert copies["verdict"] == "not found"
    assert copies["flagged"] <= 0.1
    assert copies["flagged_floor"] <= 0.1
    assert all(copies["control"][change] > 0.95 for change in ("exact", "mirrored", "shifted", "gain"))
    assert 0.4 < copies["nearer_to_training"] < 0.6
    assert report["task"]["measure"] == "AUC"
    assert min(report["task"]["synthetic"], report["task"]["real"]) > 0.7
    assert report["images"]["by_patient"]
    text = (tmp_path / "generation_report.txt").read_text()
    assert "copies of training images: not found" in text
    assert "split by patient" in text
    assert json.loads((tmp_path / "generation_report.json").read_text()) == json.loads(report.to_json())
    assert (tmp_path / "generation_report.png").stat().st_size > 50_000
    for patient in (*parts["groups"]["training_groups"], *parts["groups"]["held_out_groups"]):
        assert patient not in report.to_json()


def test_held_out_images_that_are_copies_are_left_out_and_counted(parts):
    """Public sets hold images twice: they would set the threshold so low that it finds nothing."""
    leaked = torch.cat([planted_copies(parts["training"][:30], "gain"), parts["held_out"]])
    patients = np.concatenate([[f"new {n}" for n in range(30)], parts["groups"]["held_out_groups"]])
    groups = {"training_groups": parts["groups"]["training_groups"], "held_out_groups": patients}
    given = {"features": coarse, "level": 0.05}
    report = generation_report(parts["new"], parts["training"], leaked, **given, **groups)
    assert report["images"]["held_out_copies"] == 30
    assert report["images"]["held_out"] == len(parts["held_out"])
    assert "30 further held-out images are copies of training images: left out" in str(report)
    assert report["memorising"]["control_sound"]


@pytest.mark.parametrize("change", ["mirrored", "shifted", "gain"])
def test_a_generator_that_copies_some_patients_is_found_out(change, parts):
    """A quarter of the samples are changed copies: the rest, and the look of all, are those of real images."""
    samples = parts["new"].clone()
    samples[::4] = planted_copies(parts["training"][: len(samples[::4])], change)
    copies = report_on(samples, parts)["memorising"]
    assert copies["verdict"] == "found"
    assert copies["flagged_p"] < 1e-6
    low = [i for i, score in enumerate(copies["scores"]) if score < copies["threshold"]]
    assert len(set(low) & set(range(0, len(samples), 4))) >= 0.95 * len(samples[::4])
    assert [copies["nearest"][i] for i in range(0, len(samples), 4)] == list(range(len(samples[::4])))


def test_smoothed_copies_are_found_by_whom_they_lie_nearer_to(parts):
    samples = F.avg_pool2d(parts["training"][::2], 3, 1, 1, count_include_pad=False)
    copies = report_on(samples, parts)["memorising"]
    assert copies["verdict"] == "found"
    assert copies["nearer_to_training_p"] < 0.01


def test_few_modes_are_not_diverse(parts):
    """Twelve images over and over, each a little noisy."""
    noise = 0.03 * torch.randn(144, 1, 16, 16, generator=torch.Generator().manual_seed(0))
    report = report_on(parts["new"][torch.arange(144) % 12] + noise, parts)
    assert report["diversity"]["nearest_distance"] < 0.3
    assert report["diversity"]["recall"] < 0.5 * report["diversity"]["recall_floor"]
    assert report["memorising"]["verdict"] == "not found"


def test_noise_is_not_real(parts):
    samples = torch.rand(144, 1, 16, 16, generator=torch.Generator().manual_seed(0))
    report = report_on(samples, parts)
    assert report["fidelity"]["fid_over_floor"] > 20
    assert report["fidelity"]["spectrum_db"] > 5 * report["fidelity"]["spectrum_db_floor"]
    assert report["fidelity"]["precision"] == 0
    assert report["memorising"]["flagged"] == 0


def test_a_test_that_finds_no_planted_copy_says_that_it_can_not_tell(parts, monkeypatch):
    """Where held-out images lie as near as copies do, here because all images are noise of one shape, no verdict."""
    from monai_medaug.experiments import generation_axes

    monkeypatch.setattr(generation_axes, "planted_copies", lambda images, change, seed: parts["new"][: len(images)])
    copies = report_on(parts["new"], parts)["memorising"]
    assert copies["verdict"] == "can't tell"
    assert not copies["control_sound"]


def test_without_patients_it_says_so(parts):
    report = report_on(parts["new"], parts, training_groups=None)
    assert not report["images"]["by_patient"]
    assert "PATIENTS NOT KNOWN" in str(report)


def test_the_same_seed_gives_the_same_report(parts):
    first, second = (report_on(parts["new"][:60], parts, seed=3).to_json() for _ in range(2))
    assert first == second


@pytest.mark.slow
def test_trained_features_see_what_pixels_miss(parts):
    """Copies turned by 8°, shifted and scaled lie out of the search by pixels; features that learned to know an image
    again find twice as many.
    """
    training = parts["training"]
    net = train_feature_network(training, epochs=30, batch_size=64)
    move = RandAffineElasticd("image", 1.0, (8, 8), 0.05, 0.1, elastic_alpha=0).set_random_state(1)
    moved = torch.as_tensor(Batched(move)({"image": training})["image"])
    nearest = {
        "features": torch.cdist(image_features(net, moved), image_features(net, training)).argmin(1),
        "pixels": NeighbourSearch(training).nearest(moved).pixel_index,
    }
    hits = {name: float((own == torch.arange(len(training))).double().mean()) for name, own in nearest.items()}
    assert hits["features"] > 1.5 * hits["pixels"], hits


@pytest.mark.slow
def test_training_on_labels_that_mean_nothing_teaches_nothing(parts):
    sets = {n: (parts[n], parts["labels"][f"{n}_labels"]) for n in ("training", "held_out")}
    shuffled = parts["new_labels"][torch.randperm(len(parts["new"]), generator=torch.Generator().manual_seed(0))]
    found = train_on_synthetic((parts["new"], shuffled), sets["training"], sets["held_out"])
    assert found["synthetic"] < 0.7 < found["real"]


def test_what_can_not_be_judged_is_refused_in_words(parts):
    new, training, held_out = parts["new"], parts["training"], parts["held_out"]
    broken = new.clone()
    broken[5] = torch.nan
    for changes, message in (
        ({"samples": new[:5]}, "samples must be 20 images or more, got 5"),
        ({"samples": broken}, "samples must be finite, got NaN or infinite values in 1 images"),
        ({"samples": torch.ones_like(new)}, f"samples must not be constant, got {len(new)} images of one value"),
        ({"training": training[:1]}, "training must be 2 images or more, got 1"),
        ({"training": training[:7], "features": None}, "training must be 8 images or more, got 7"),
        ({"held_out": training[:80], "held_out_groups": None}, "all 80 are copies of its"),
        ({"training": training[..., :14]}, "training must have the samples' shape"),
        ({"held_out": held_out[:30]}, "must be 19 images or more for a level of 0.05"),
        (
            {"held_out": held_out[:50], "features": lambda x: x.flatten(1)[:, :40]},
            "half of held_out must be more images",
        ),
        ({"held_out_groups": ["a"]}, f"held_out_groups must be {len(held_out)}, one for each image, got 1"),
        (
            {"training_groups": np.arange(len(training)), "held_out_groups": np.arange(len(held_out))},
            "held_out_groups must hold no group of the training",
        ),
        ({"level": 0.7}, "level must be finite and within"),
    ):
        given = {"samples": new, "training": training, "held_out": held_out, "features": coarse, "level": 0.05}
        with pytest.raises(ValueError, match=message):
            generation_report(**{**given, **changes})
