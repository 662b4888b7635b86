"""Copies of training images are found, real images of other patients are not; thresholds, shares of the nearer."""

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter

from monai_medaug.functional.generation.copies import CHANGES, CopyTest, planted_copies, training_share
from monai_medaug.functional.generation.neighbours import NeighbourSearch, moved_copies, standardised

from .radiographs import radiographs_by_patient

COVERED = CHANGES[:4]


def fields(count: int, seed: int, size: int = 20, width: float = 1.5) -> torch.Tensor:
    noise = np.random.default_rng(seed).standard_normal((count, 1, size, size))
    return torch.from_numpy(gaussian_filter(noise, (0, 0, width, width))).float()


def plain_distance(image: np.ndarray, reference: np.ndarray, shift: int) -> float:
    """The least distance of a mirrored, shifted image, one pair after another."""
    best = -1.0
    height, width = image.shape
    for mirrored in (image, image[:, ::-1], image[::-1], image[::-1, ::-1]):
        own = mirrored[shift : height - shift, shift : width - shift].ravel()
        for down in range(2 * shift + 1):
            for right in range(2 * shift + 1):
                other = reference[down : height - 2 * shift + down, right : width - 2 * shift + right].ravel()
                best = max(best, np.corrcoef(own, other)[0, 1])
    return float(np.sqrt(2 - 2 * best))


@pytest.mark.parametrize("shift", [0, 2])
def test_distances_are_those_of_a_plain_search(shift):
    images, references = fields(3, 0), fields(7, 1)
    found = NeighbourSearch(references, shift=shift).nearest(images)
    for i, image in enumerate(images[:, 0].double().numpy()):
        each = [plain_distance(image, r, shift) for r in references[:, 0].double().numpy()]
        assert float(found.pixel[i]) == pytest.approx(min(each), abs=1e-4)
        assert int(found.pixel_index[i]) == int(np.argmin(each))


@pytest.mark.parametrize("change", COVERED)
def test_a_changed_copy_has_no_distance(change):
    references = fields(60, 0)
    found = NeighbourSearch(references, candidates=8).nearest(planted_copies(references[:30], change, seed=3))
    assert found.pixel_index.tolist() == list(range(30))
    assert float(found.pixel.max()) < 2e-3


def test_features_are_of_the_same_mirror_images_and_shifts():
    """With pixels themselves as features, a feature search finds a mirrored and shifted copy."""
    references = fields(40, 0, 24)
    search = NeighbourSearch(references, lambda x: x[..., 3:-3, 3:-3].flatten(1), shift=2)
    copies = torch.stack(list(moved_copies(references[5:6], 2)))[:, 0]
    assert len(copies) == 36
    found = search.nearest(2 * copies - 1)
    assert found.feature_index.tolist() == [5] * 36
    assert float(found.feature.max()) < 0.35 < float(search.nearest(fields(9, 1, 24)).feature.min())
    flat = standardised(references).flatten(1)
    assert torch.allclose(flat.mean(1), torch.zeros(40), atol=1e-6)
    assert torch.allclose(flat.std(1), torch.ones(40), atol=1e-6)


def test_a_threshold_holds_what_it_promises():
    """Of the images that set it, one less than their share lies below; of others about as many."""
    parts = fields(500, 0, 14).split([60, 199, 241])
    test = CopyTest(parts[0], parts[1], level=0.1)
    assert int((test.reference < test.threshold).sum()) == 19
    assert 0.05 < float(test.judge(parts[2]).flagged.double().mean()) < 0.16
    verdict = test.judge(torch.cat([parts[0][:9], parts[2]]))
    assert bool(verdict.flagged[:9].all())
    assert verdict.index[:9].tolist() == list(range(9))
    assert float(verdict.p[:9].max()) == pytest.approx(1 / 200)
    assert torch.equal(verdict.flagged, verdict.p <= 0.1)


@pytest.mark.parametrize("with_features", [False, True])
def test_the_positive_control_on_radiographs(with_features):
    """≥ 95 % of exact copies and ≥ 80 % of changed ones are flagged, ≤ 5 % of real images of other patients."""
    (training, held_out, test), *_ = radiographs_by_patient()

    def rows_and_columns(images: torch.Tensor) -> torch.Tensor:
        return torch.cat([images.mean(2).flatten(1), images.mean(3).flatten(1)], 1)

    judge = CopyTest(training, held_out, rows_and_columns if with_features else None).judge
    assert float(judge(test).flagged.double().mean()) <= 0.05
    copied = training[::3]
    for change in COVERED:
        verdict = judge(planted_copies(copied, change))
        least = 0.95 if change == "exact" else 0.8
        assert float(verdict.flagged.double().mean()) >= least, change
        assert float((verdict.index == torch.arange(0, len(training), 3)).double().mean()) >= least, change


def test_a_threshold_needs_other_patients():
    """Images of the training's patients among those held out hide copies: they lie near, as copies would."""
    (training, held_out, _), _, _ = radiographs_by_patient()
    clean = CopyTest(training, held_out)
    leaked = torch.cat([held_out[:-20], planted_copies(training[:20], "rotated")])
    assert CopyTest(training, leaked).threshold < 0.95 * clean.threshold


@pytest.mark.parametrize("smoothed", [False, True])
def test_samples_of_the_population_lie_as_near_to_held_out_images(smoothed):
    """The share is a half for new images, however smooth, and 1 for smoothed copies, which only the share finds out."""
    (training, held_out, test), _, (patients, _, _) = radiographs_by_patient()
    held_out = held_out[torch.randperm(len(held_out), generator=torch.Generator().manual_seed(0))[:120]]
    search, other = NeighbourSearch(training), NeighbourSearch(held_out)

    def share(images: torch.Tensor) -> tuple[float, float]:
        if smoothed:
            images = torch.from_numpy(gaussian_filter(images.numpy(), (0, 0, 1.5, 1.5)))
        near = search.nearest(images).similarity, other.nearest(images).similarity
        return training_share(*near, groups=patients)

    new, p = share(test)
    assert 0.4 < new < 0.6
    assert p > 0.01
    copied, p = share(training)
    assert copied > new + 0.1
    assert p < 0.01


def test_groups_are_drawn_together():
    """Each patient's images are near to one sample: drawn apart, both halves would hold every patient."""
    patients = np.repeat(np.arange(10), 4)
    near = torch.from_numpy((patients[None] == np.arange(10)[:, None]).astype(np.float32))
    share, _ = training_share(near, torch.full((10, 20), 0.5), patients)
    assert share == pytest.approx(0.5)
    assert training_share(near, torch.full((10, 20), 0.5))[0] > 0.9


def test_what_can_not_be_judged_is_refused_in_words():
    images = fields(50, 0)
    broken = images.clone()
    broken[3, 0, 4, 5] = torch.nan
    flat = images.clone()
    flat[:2] = 7
    flat[1, 0, 0] += 5e-7  # as resampling leaves it
    for call, message in (
        (lambda: NeighbourSearch(broken), "references must be finite, got NaN or infinite values in 1 images"),
        (lambda: NeighbourSearch(flat), "references must not be constant, got 2 images of one value"),
        (lambda: NeighbourSearch(images[:1]), "references must be 2 images or more of 12 pixels a side"),
        (lambda: NeighbourSearch(images[..., :9]), "references must be 2 images or more of 12 pixels a side"),
        (lambda: NeighbourSearch(images[0]), r"references must be images \(B, C, H, W\), got \(1, 20, 20\)"),
        (lambda: NeighbourSearch(images).nearest(images[..., :18]), "images must have the references' shape"),
        (lambda: CopyTest(images, images[:20]), "held_out must be 39 images or more for a level of 0.025, got 20"),
        (lambda: CopyTest(images, images), "held_out must hold new images, got copies of training images"),
        (lambda: CopyTest(images, images, level=0.5), r"level must be within \[0.001, 0.2\], got 0.5"),
        (lambda: planted_copies(images, "bent"), "change must be one of exact, mirrored, shifted"),
        (lambda: training_share(torch.zeros(3, 10), torch.zeros(3, 6)), "at most half as many as 10 training images"),
    ):
        with pytest.raises(ValueError, match=message):
            call()
