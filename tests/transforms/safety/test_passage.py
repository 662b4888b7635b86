"""Positions followed through a call, against the image that the call made."""

import numpy as np
import pytest
import torch
from monai.data import MetaTensor
from monai.transforms import Affined, CenterSpatialCropd, Compose, Flipd, Rotate90d, SpatialPadd, Zoomd

from monai_medaug.functional.voxels import values_at
from monai_medaug.transforms import RandAffineElasticd
from monai_medaug.transforms.safety.passage import Passage

AFFINE = torch.tensor([[0, -1.2, 0, 20], [0.9, 0, 0, -30], [0, 0, 2.5, 5], [0, 0, 0, 1]], dtype=torch.float64)
ELASTIC = RandAffineElasticd("image", prob=1.0, rotate_degrees=(5, 5), elastic_sigma=6)
STEPS = {
    "nothing": [],
    "ours": [ELASTIC],
    "flip": [Flipd("image", spatial_axis=1)],
    "turn": [Rotate90d("image")],
    "affine": [Affined("image", rotate_params=(0.2, 0.1, 0), translate_params=(2, 0, 1), padding_mode="border")],
    "crop": [CenterSpatialCropd("image", (20, 24, 15))],
    "pad": [SpatialPadd("image", (50, 50, 50))],
    "zoom": [Zoomd("image", 1.2, mode="trilinear")],
    "chain": [Flipd("image", 0), ELASTIC, CenterSpatialCropd("image", (20, 24, 15)), ELASTIC],
}


def smooth(shape):
    axes = np.meshgrid(*[np.linspace(0, 3, n) for n in shape], indexing="ij")
    return torch.from_numpy(np.cos(sum((i + 1) * a for i, a in enumerate(axes))))[None].float()


@pytest.mark.parametrize("name", STEPS)
@pytest.mark.parametrize("shape", [(34, 32, 28), (48, 44)])
def test_back_shows_the_value_that_came_from_there_and_ahead_inverts_it(name, shape):
    if len(shape) == 2 and name in ("crop", "pad", "zoom", "affine", "chain"):
        pytest.skip("written for three axes")
    image = MetaTensor(smooth(shape), affine=AFFINE)
    chain = Compose(STEPS[name]).set_random_state(3)
    out = chain({"image": image})["image"]
    passage = Passage(image, out)
    random = np.random.RandomState(0)
    size = np.array(passage.grids[1].size)
    index = random.uniform(0.15, 0.85, (400, 3)) * (size - 1)
    before = passage.back(index)
    expected, _ = values_at(image[0].as_tensor(), before)
    inside = ((before >= -1e-6) & (before <= np.array(passage.grids[0].size) - 1 + 1e-6)).all(1)
    found, _ = values_at(out[0].as_tensor(), index)
    assert inside.mean() > 0.3
    assert np.abs(found - expected)[inside].max() < 0.1
    assert np.abs(passage.ahead(before) - index).max() < 0.2
    spread = passage.density(index)
    assert spread == pytest.approx(1 / passage.volume_scale, rel=0.5 if passage.steps else 0.02)


def test_the_same_steps_are_known_again():
    data = {k: MetaTensor(smooth((24, 22, 20))) for k in ("image", "label", "other")}
    both = RandAffineElasticd(("image", "label"), prob=1.0, mode=["bilinear", "nearest"])
    out = both(data)
    a, b, c = (Passage(data[k], out[k]) for k in data)
    assert a.moved_like(b)
    assert not a.moved_like(c)
