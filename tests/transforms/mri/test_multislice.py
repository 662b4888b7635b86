"""Scans of many 2D slices: lines are encoded within the slice, and a spike hits one of them."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from monai.data import MetaTensor

from monai_medaug.core.call import apply_record
from monai_medaug.core.contract import Call
from monai_medaug.functional.geometry.grid import VoxelGrid
from monai_medaug.transforms import (
    RandMRIGhosting,
    RandMRIGibbs,
    RandMRIMotion,
    RandMRISpike,
    RandMRIUndersampling,
)
from monai_medaug.transforms.mri.phase_axis import phase_axes

SHAPE = (24, 20, 18)
LINES = {
    RandMRIGhosting: {"intensity": 1, "ghosts": 2, "centre_fraction": 0},
    RandMRIUndersampling: {"acceleration": 4},
    RandMRIGibbs: {"kept": 0.3},
}


def layers(axis: int, thickness: float) -> MetaTensor:
    """Slices along an axis, each of one value: encoding within them changes nothing."""
    spacing = [thickness if a == axis else 1.0 for a in range(3)]
    values = 100 + 50 * torch.rand(SHAPE[axis], generator=torch.Generator().manual_seed(0))
    image = torch.ones(1, *SHAPE) * values.reshape([-1 if a == axis else 1 for a in range(3)])
    return MetaTensor(image, affine=torch.diag(torch.tensor([*spacing, 1.0])).double())


@pytest.mark.parametrize("cls", LINES, ids=lambda c: c.__name__)
@pytest.mark.parametrize("axis", [0, 1, 2])
def test_a_drawn_axis_lies_within_the_slices(cls, axis):
    transform = cls(prob=1.0, keep_zeros=False, **LINES[cls]).set_random_state(0)
    thick, thin = layers(axis, 2.0), layers(axis, 1.9)
    assert max(float((transform(thick) - thick).abs().max()) for _ in range(12)) < 1e-3
    assert max(float((transform(thin) - thin).abs().max()) for _ in range(12)) > 1


def drawn_axes(settings: dict, shape: tuple[int, ...], spacing: tuple[float, ...]) -> set[int]:
    draws = [{"any_axis": share} for share in np.linspace(0, 0.999, 30)]
    affine = np.diag([*spacing, *[1.0] * (4 - len(spacing))]).tolist()
    image = torch.zeros(30, 1, *shape)
    return set(phase_axes(Call(image, draws, settings, [VoxelGrid(shape, affine)] * 30)))


@pytest.mark.parametrize(
    ("shape", "spacing", "axes"),
    [
        ((32, 32, 32), (1, 1, 1), {0, 1, 2}),
        ((32, 32, 32), (1, 1, 5), {0, 1}),
        ((32, 32, 32), (4, 2, 1), {1, 2}),
        ((32, 32), (1, 5), {0}),
        ((1, 32, 32), (1, 1, 1), {1, 2}),
        ((32, 32, 9), (1, 1, 1.5), {0, 1}),  # a slab: too few lines for an artefact
        ((8, 1, 9), (1, 1, 1), {0, 2}),
        ((1, 1), (1, 1), {0}),
    ],
)
def test_which_axes_are_drawn(shape, spacing, axes):
    assert drawn_axes(RandMRIMotion().settings(), shape, spacing) == axes


def test_records_of_the_first_version_keep_their_axis():
    assert drawn_axes({"phase_axis": "any"}, (32, 32, 9), (1, 1, 5)) == {0, 1, 2}


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_a_spike_hits_one_slice_of_a_multislice_scan(axis):
    image = layers(axis, 3.0)
    transform = RandMRISpike(amplitude=0.2, spikes=1, prob=1.0).set_random_state(1)
    hit = set()
    for _ in range(8):
        out = transform(image)
        changed = (out - image).abs().amax([0, *[a + 1 for a in range(3) if a != axis]]).as_tensor()
        assert int((changed > 1).sum()) == 1
        assert int((changed == 0).sum()) == SHAPE[axis] - 1
        hit.add(int(changed.argmax()))
        again = apply_record(out.applied_operations[-1], image.as_tensor(), VoxelGrid(SHAPE, image.affine.tolist()))
        assert torch.equal(again, out.as_tensor())
    assert len(hit) > 3


def test_a_spike_passes_over_slices_without_signal():
    image = layers(2, 3.0)
    image[..., 4:] = 0
    transform = RandMRISpike(amplitude=0.2, spikes=(1, 3), prob=1.0, keep_zeros=False).set_random_state(1)
    for _ in range(8):
        changed = (transform(image) - image).abs().amax((0, 1, 2)).as_tensor()
        assert changed[:4].max() > 1
        assert not changed[4:].any()


def test_a_spike_of_a_3d_scan_is_everywhere():
    image = layers(2, 1.0)
    out = RandMRISpike(amplitude=0.2, spikes=1, prob=1.0).set_random_state(1)(image)
    assert ((out - image).abs().amax((0, 1, 2)) > 1).all()


def test_gibbs_ringing_counts_the_lines_that_the_image_holds():
    """Zero filled to 1 / 0.6 of its lines, a scan loses the same ones as before it was interpolated."""
    shape, kept = (100, 60), 0.7
    image = 100 + 50 * torch.rand(1, *shape, generator=torch.Generator().manual_seed(0))
    k = torch.fft.fftfreq(shape[0]).abs() * 2
    spectrum = torch.fft.fft(image, dim=1)
    filled = torch.fft.ifft(spectrum * (k <= 0.6)[:, None], dim=1).real
    expected = torch.fft.ifft(spectrum * (k <= 0.6 * kept)[:, None], dim=1).real
    transform = RandMRIGibbs(kept=kept, phase_axis=0, prob=1.0).set_random_state(0)
    out = transform(MetaTensor(filled))
    assert (filled - expected).std() > 3
    assert (out - expected).std() < 0.35 * (filled - expected).std()  # the end is found to a line or two
    record = out.applied_operations[-1]
    assert torch.equal(apply_record(record, filled, VoxelGrid(shape)), out.as_tensor())
    params = {n: v for n, v in record["extra_info"]["params"].items() if n != "of_support"}
    older = {**record, "extra_info": {**record["extra_info"], "params": params}}  # 0.7 of all lines: none is lost
    assert (apply_record(older, filled, VoxelGrid(shape)) - filled).abs().max() < 1e-2
