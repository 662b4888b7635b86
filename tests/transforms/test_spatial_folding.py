"""No fold, and no timid deformation either: measured from outside, by coordinate images through the transform."""

from __future__ import annotations

import numpy as np
import pytest

from monai_medaug.functional.acceleration import torch_only
from tests.folding import determinants, sampled_map, unclamped_map

SOURCE = {"elastic_alpha": 1000, "elastic_sigma": 8}


def check_protocol(shape: tuple[int, ...], seeds: range) -> None:
    """Alpha 1000, sigma 8, affine off: 0 folded, min det J ≥ 0.2, RMS averaged over the seeds ≥ 4 voxels."""
    lengths = []
    for seed in seeds:
        moved = sampled_map(shape, seed, **SOURCE)
        assert moved.inside.mean() > 0.8
        assert (moved.determinants <= 0).sum() == 0
        assert moved.determinants.min() >= 0.2, f"seed {seed}"
        lengths.append(moved.rms)
    assert np.mean(lengths) >= 4.0
    assert min(lengths) >= 3.0  # no seed is dropped to nothing


@pytest.mark.parametrize(("shape", "seeds"), [((256, 256), 12), ((96, 96, 96), 3)])
def test_the_protocol(shape, seeds):
    check_protocol(shape, range(seeds))


@pytest.mark.slow
@pytest.mark.parametrize("shape", [(256, 256), (96, 96, 96)])
def test_the_protocol_in_full(shape):
    check_protocol(shape, range(100))


@pytest.mark.parametrize("shape", [(160, 150), (60, 64, 56)])
@pytest.mark.parametrize("seed", [0, 1])
def test_the_protocol_in_torch_alone(shape, seed):
    with torch_only():
        moved = sampled_map(shape, seed, **SOURCE)
    assert moved.determinants.min() >= 0.2
    assert moved.rms > 3


@pytest.mark.parametrize("min_jacobian", [0.05, 0.5, 0.8])
@pytest.mark.parametrize("arguments", [{"elastic_sigma": 4}, {"elastic_sigma": 15}, {"elastic_alpha": 20000}])
@pytest.mark.parametrize("shape", [(120, 90), (40, 50, 36)])
def test_the_bound_asked_for_is_kept(shape, arguments, min_jacobian):
    moved = sampled_map(shape, 5, **{**SOURCE, **arguments, "min_jacobian": min_jacobian})
    assert moved.determinants.min() >= min_jacobian - 1e-4
    assert moved.rms > 0.3


@pytest.mark.parametrize("shape", [(128, 128), (48, 48, 48)])
@pytest.mark.parametrize("scale", [-0.4, 0.5])
def test_the_bound_holds_for_the_whole_map(shape, scale):
    """Affine part included, where the scaling alone leaves 1.5^-2 = 0.44 or 1.5^-3 = 0.30."""
    affine = {"rotate_degrees": (20, 20), "translate_fraction": 0.05, "scale_fraction": (scale, scale)}
    moved = sampled_map(shape, 3, **SOURCE, **affine)
    assert moved.determinants.min() >= 0.2 - 1e-4
    assert moved.determinants.std() > 0.02


@pytest.mark.parametrize("affine", [{}, {"rotate_degrees": (5, 5), "scale_fraction": (0.1, 0.1)}])
@pytest.mark.parametrize(("shape", "seeds"), [((256, 256), 4), ((80, 72, 64), 2)])
def test_the_record_says_what_was_measured(shape, seeds, affine):
    """Determinants within 1e-3, lengths (taken at the lattice's nodes) within 5 %; all voxels, sources outside too."""
    axes = len(shape)
    for seed in range(seeds):
        source, extra = unclamped_map(shape, seed, 48, **SOURCE, **affine)
        figures = extra["figures"]
        det = determinants(source)
        assert figures["min_det_j"] == pytest.approx(det.min(), abs=1e-3)
        assert figures["max_det_j"] == pytest.approx(det.max(), rel=1e-3)
        index = np.stack(np.meshgrid(*[np.arange(n) for n in shape], indexing="ij"))
        length = np.sqrt(((source - index) ** 2).sum(0))
        assert figures["displacement_rms_mm"] == pytest.approx(np.sqrt((length**2).mean()), rel=0.05)
        assert figures["displacement_max_mm"] == pytest.approx(length.max(), rel=0.02)
        if not affine:
            assert figures["elastic_rms_mm"] == pytest.approx(figures["displacement_rms_mm"])
            assert 0 < figures["elastic_kept"] <= 1
        else:
            assert figures["volume_scale"] == pytest.approx(1.1**axes)


def test_a_gentle_deformation_is_kept_as_drawn():
    """Alpha 60 at sigma 8 asks for 1.7 px in 2D, which needs no limiting: the flow runs for the whole time."""
    lengths = []
    for seed in range(8):
        moved = sampled_map((128, 128), seed, elastic_alpha=60, elastic_sigma=8)
        assert moved.record["figures"]["flow_time"] == 1
        assert moved.record["figures"]["elastic_kept"] == pytest.approx(1, abs=1e-6)
        lengths.append(moved.rms)
    assert np.mean(lengths) == pytest.approx(np.sqrt(2) * 60 / np.sqrt(3) / (2 * np.sqrt(np.pi) * 8), rel=0.1)
