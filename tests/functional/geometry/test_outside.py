"""Whether an image ends in its background, and what that is."""

from __future__ import annotations

import nibabel as nib
import numpy as np
import pytest
import torch

from monai_medaug.functional.geometry.outside import background_values
from monai_medaug.functional.geometry.pull_back import PullBack
from monai_medaug.functional.geometry.warp import warp
from tests.scan_files import real_scan


def body(shape=(40, 40, 20), air=-1000.0, tissue=40.0, noise=10.0) -> torch.Tensor:
    """A body that leaves the volume through its first and last slice, on a table."""
    at = np.meshgrid(*[np.linspace(-1, 1, n) for n in shape], indexing="ij")
    values = np.where(at[0] ** 2 + at[1] ** 2 < 0.5, tissue, air)
    values[30:32, 4:36] = tissue
    values = values + noise * np.random.default_rng(0).normal(size=shape)
    return torch.from_numpy(values).float()[None, None]


def test_a_scan_is_filled_with_air_and_a_crop_within_the_body_is_not():
    scan = body()
    assert background_values(scan, "air")[0]["background"] == [pytest.approx(-1000, abs=2)]
    assert background_values(scan[..., 14:26, 14:26, :], "air") == [None]
    assert background_values(scan[..., 10], "air")[0]["background"] == [pytest.approx(-1000, abs=2)]
    assert background_values(scan[..., 14:26, 14:26, 10], "air") == [None]
    assert background_values(scan[..., :, :20, :], "air") == [None]  # cut in halves: the body's side would end in air


def test_samples_and_channels_are_judged_on_their_own():
    scan = body(air=0, tissue=300, noise=0)
    both = torch.cat([(scan - 50) / 100, scan * 0.1 + 7], 1)
    assert background_values(both, "background") == [{"background": [-0.5, 7.0], "through": 2}]
    pair = torch.cat([scan, scan.roll((20, 20), (2, 3))])
    assert background_values(pair, "background") == [{"background": [0.0], "through": 2}, None]


@pytest.mark.parametrize("padding", [-3024.0, -2048.0, -1500.0])
def test_padding_is_the_outside_of_a_ct_that_has_it(padding):
    scan = body()
    circle = np.hypot(*np.meshgrid(*[np.linspace(-1, 1, 40)] * 2, indexing="ij")) > 1
    scan[..., torch.from_numpy(circle), :] = padding
    found = background_values(scan, "air")[0]
    assert found is not None
    assert found["background"][0] < -900
    wide = torch.nn.functional.pad(scan, (0, 0, 3, 3, 3, 3), value=padding)
    assert background_values(wide, "air") == [{"background": [padding], "through": 2}]
    closed = torch.nn.functional.pad(wide, (0, 3), value=padding)
    assert background_values(closed, "air") == [{"background": [padding], "through": -1}]


def test_air_that_was_clipped_away_is_unknown():
    """Lung is as dark then: a crop of it must not count as outside."""
    assert background_values(body().clamp(-160, 240), "air") == [None]
    assert background_values(torch.full((1, 1, 16, 16, 16), -600.0), "air") == [None]
    assert background_values(body().clamp(-1000, 240), "air")[0] is not None


def test_soft_tissue_beside_bone_is_no_background():
    """In HU brain is dark against bone, and lung dark against the chest wall."""
    brain = body((24, 24, 24), tissue=1500, air=35)
    assert background_values(brain, "air") == [None]
    assert background_values(body((24, 24, 24), tissue=40, air=-850), "air") == [None]


@pytest.mark.parametrize(
    ("name", "kind", "value"),
    [
        ("ct_head_ge_512", "air", -1500),
        ("lidc_0001_ct", "air", -1024),
        ("lungdx_A0001_ct_kernelL", "air", -993),
        ("lidc_0003_ct", "air", -1024),
        ("msd_spleen2_ct_image", "air", None),
        ("sts_001_ct_image", "air", None),
        ("stroke_flair", "background", 0),
        ("t2w_head", "background", 0),
        ("mr_thorax_lge", "background", 2),
        ("sts_001_mr_t1_image", "background", None),
    ],
)
def test_real_scans(name, kind, value):
    """The scans of the abdomen and the thigh are crops, cut at their sides."""
    scan = torch.from_numpy(np.asarray(nib.load(real_scan(f"{name}.nii.gz")).dataobj, np.float32))[None, None]
    found = background_values(scan, kind)[0]
    assert (found and found["background"]) == (None if value is None else [pytest.approx(value, abs=5)])


def test_nothing_is_interpolated_between_the_image_and_its_background():
    """Slices lie 0.4 and 0.6 of their distance outside: the first is still the scan's, the second its background."""
    image = torch.full((1, 2, 6, 6, 6), 100.0)
    image[:, 1] = 7
    eye = torch.eye(3, 4, dtype=torch.float64)[None]
    for shift, outside in ((0.4, 0), (0.6, 36), (1.4, 36)):
        moved = eye.clone()
        moved[0, 0, 3] = shift
        step = PullBack(eye, moved, torch.eye(3, dtype=torch.float64)[None], torch.zeros(1, 3, 2, 2, 2))
        out = warp(image, step, padding_mode={"background": [-5.0, 3.0], "through": -1})
        assert set(out[0, 0].unique().tolist()) <= {100, -5}
        assert set(out[0, 1].unique().tolist()) <= {7, 3}
        assert int((out[0, 0] == -5).sum()) == int((out[0, 1] == 3).sum()) == outside
        assert bool((warp(image, step, padding_mode={"background": [-5.0, 3.0], "through": 0}) == image).all())
        across = warp(image, step, padding_mode={"background": [-5.0, 3.0], "through": 1})
        assert torch.equal(across, out)
