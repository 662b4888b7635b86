"""Named strategies: what they keep, how often they act, and the effects that MONAI lacks."""

import numpy as np
import pytest
import torch
from monai.data import MetaTensor
from scipy.ndimage import laplace

from monai_medaug.core.seeded import seed_children
from monai_medaug.experiments import STRATEGY_NAMES, named_strategy
from monai_medaug.experiments.nnunet_schemes import brightness_gradient, local_gamma, sharpened
from monai_medaug.experiments.samples import training_chain
from tests.images import smooth_noise


def sample(size, mask: bool = True) -> dict:
    values = smooth_noise(size, 0)
    found = {"image": MetaTensor(torch.from_numpy(1000 * values - 300).float()[None])}
    return found | ({"label": MetaTensor(torch.from_numpy(values > 0.55).to(torch.uint8)[None])} if mask else {})


def normalised(data: dict) -> dict:
    image = data["image"]
    return {**data, "image": (image - image.mean()) / image.std()}


PEERS = [name for name in STRATEGY_NAMES if not name.startswith(("ct_", "mri_", "xray_"))]


@pytest.mark.parametrize("name", [*PEERS, "ct_light", "mri_light", "xray_light"])
@pytest.mark.parametrize("size", [(40, 40), (24, 24, 16)])
def test_every_strategy_keeps_shape_and_labels(name, size):
    chain = training_chain(named_strategy(name, "image", "label", size), normalised)
    changed = 0
    for seed in range(4):
        given = sample(size)
        seed_children([chain], seed)
        out = chain(given)
        assert out["image"].shape == given["image"].shape
        assert out["label"].shape == given["label"].shape
        assert set(torch.unique(torch.as_tensor(out["label"])).tolist()) <= {0, 1}
        assert bool(torch.isfinite(torch.as_tensor(out["image"])).all())
        changed += not torch.equal(torch.as_tensor(out["image"]), torch.as_tensor(normalised(given)["image"]))
    assert changed == 0 if name == "none" else changed >= 2


def test_without_a_mask():
    for name in PEERS:
        chain = training_chain(named_strategy(name, size=(40, 40)), normalised)
        seed_children([chain], 0)
        assert chain(sample((40, 40), False))["image"].shape == (1, 40, 40)


@pytest.mark.parametrize("name", ["nnunet", "nnunet_da5", "monai_mednist"])
def test_masks_move_with_images(name):
    """A step of intensity may hide the edge, so most draws have to agree, not all."""
    chain = training_chain(named_strategy(name, "image", "label", (48, 48)), None)
    mask = torch.zeros(1, 48, 48)
    mask[:, 10:20, 14:36] = 1
    overlaps = []
    for seed in range(20):
        seed_children([chain], seed)
        out = chain({"image": MetaTensor(4 * mask - 1), "label": MetaTensor(mask.to(torch.uint8))})
        label = torch.as_tensor(out["label"]) > 0
        found = torch.as_tensor(out["image"]) > 1
        overlaps.append(float(2 * (label & found).sum() / (label.sum() + found.sum()).clamp_min(1)))
    assert np.median(overlaps) > 0.97


def test_how_often_nnunet_turns_and_flips():
    """A corner that is marked tells what geometry did: flips leave it in a corner, rotation and zoom don't always."""
    steps = named_strategy("nnunet", "image", None, (32, 32)).after.transforms
    assert [type(step).__name__ for step in steps[:2]] == ["RandRotated", "OneOf"]
    counts = np.zeros(3)
    image = torch.arange(1024.0).reshape(1, 32, 32)
    for seed in range(150):
        seed_children(steps, seed)
        for place, step in enumerate([*steps[:2], steps[-1]]):
            counts[place] += not torch.equal(torch.as_tensor(step({"image": image})["image"]), image)
    np.testing.assert_allclose(counts / 150, [0.2, 0.2, 0.5], atol=0.1)


def test_the_effects_that_monai_lacks():
    image = torch.from_numpy(smooth_noise((30, 26), 1)).float()[None]
    state = np.random.RandomState(0)
    share = np.random.RandomState(0).uniform(0.1, 1)
    edges = -torch.from_numpy(laplace(image[0].numpy(), mode="nearest"))[None]
    expected = (image + share * edges).clamp(image.min(), image.max())
    torch.testing.assert_close(sharpened(image, state), expected)
    for seed in range(20):
        changed = local_gamma(image, np.random.RandomState(seed))
        assert changed.min() >= image.min() - 1e-6
        assert changed.max() <= image.max() + 1e-6
        order = (changed - image).abs().max()
        assert order > 1e-4
        added = brightness_gradient(image, np.random.RandomState(seed)) - image
        assert 1 <= float(added.abs().max()) <= 5
        assert bool((added >= 0).all()) or bool((added <= 0).all())


def test_unknown_names_are_refused():
    with pytest.raises(ValueError, match="name must be one of"):
        named_strategy("nnunet_da6")
