"""The steps of the MR preset against what may be seen: visible artefacts, and skulls that stay skulls."""

from __future__ import annotations

import pytest
import torch
from monai.data import MetaTensor
from torch.nn.functional import avg_pool3d

from monai_medaug.transforms import RandAffineElasticd, RandMRIGhosting, RandMRIGhostingd
from monai_medaug.transforms.presets.mri import _MRI_STEPS


def head(shape: tuple[int, ...] = (64, 72, 48)) -> MetaTensor:
    """A textured ellipsoid of about 100 in noise of 2, 3 mm voxels."""
    axes = torch.meshgrid(*[torch.linspace(-1, 1, n) for n in shape], indexing="ij")
    inside = torch.stack(axes).square().sum(0) < 0.6
    texture = 100 + 30 * torch.sin(9 * axes[0]) * torch.cos(7 * axes[1])
    noise = 2 * torch.randn(shape, generator=torch.Generator().manual_seed(0))
    return MetaTensor((texture * inside + noise).abs()[None], affine=torch.diag(torch.tensor([3.0, 3, 3, 1])))


def arguments_of(strength: str, step: type) -> dict:
    return next(arguments for cls, _, arguments in _MRI_STEPS[strength] if cls is step)


@pytest.mark.parametrize("strength", ["standard", "strong", None])
def test_every_draw_of_ghosts_is_visible(strength):
    """A change of 2 % of the display range in 1 % of the voxels, smoothed over 9 of a slice."""
    image = head()
    arguments = {} if strength is None else arguments_of(strength, RandMRIGhostingd)
    transform = RandMRIGhosting(**{**arguments, "prob": 1.0}).set_random_state(0)
    for _ in range(30):
        change = avg_pool3d((transform(image) - image).as_tensor()[None], (3, 3, 1)).abs()
        assert change.quantile(0.99) > 0.02 * 130


def test_the_strong_preset_bulges_no_skulls():
    transform = RandAffineElasticd("image", **arguments_of("strong", RandAffineElasticd), prob=1.0).set_random_state(0)
    figures = []
    for _ in range(12):
        out = transform({"image": head((40, 44, 40))})["image"]
        figures.append(out.applied_operations[-1]["extra_info"]["figures"])
    assert 3 < max(f["elastic_rms_mm"] for f in figures) < 5.5
    assert max(f["elastic_max_mm"] for f in figures) < 12
